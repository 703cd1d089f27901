"""The dead letter queue and the admin alert (section 7)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from actors.messages import DeadLetterDiscarded, DeadLetterMessage, Priority
from simulation.reference.instants import ns
from simulation.reference.process import Process
from simulation.reference.unrecorded import Alerted

ALERT_QUIET_NS = 300 * 10**9
"""So long the same alert is not raised again."""


class Redrive(NamedTuple):
    """A letter that is to be redriven, and how."""

    letter: DeadLetterMessage
    served: str = "exclude"
    edit: Mapping[str, Any] = MappingProxyType({})
    without_operator: bool = False
    by: str | None = None
    why: str | None = None

    @property
    def priority(self) -> Priority:
        """Its class, with what is edited."""
        return Priority(self.edit.get("priority", self.letter.command.priority))


def can_be_edited(edit: Mapping[str, Any]) -> bool:
    """Return whether a letter can be edited so: its id, its channel and its user stay (7)."""

    def is_text(value: Any) -> bool:
        return isinstance(value, str)

    fits: dict[str, Callable[[Any], bool]] = {
        "recipient": lambda value: is_text(value) and value.strip() != "",
        "subject": lambda value: value is None or is_text(value),
        "message": is_text,
        "metadata": lambda value: isinstance(value, Mapping) and all(map(is_text, value)),
        "expires_after": lambda value: value is None or (type(value) in (int, float) and 0 <= value < math.inf),
        "priority": lambda value: value in [*Priority],
    }
    return all(name in fits and fits[name](value) for name, value in edit.items())


class Letters:
    """The letters, the oldest first, and when each alert was last raised."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.kept: OrderedDict[str, DeadLetterMessage] = process.store.letters()
        self.discarding: dict[str, tuple[DeadLetterDiscarded, str, tuple[Any, ...]]] = {}
        """Those that are not durable yet, each with the rule by which it happens."""
        self.forget_alerts()

    def begin(self) -> None:
        """Begin as its actor that starts, with what the store has."""
        store, commits = self.process.store, self.process.commits
        letters = store.letters().items()
        self.kept = OrderedDict(
            (name, letter) for name, letter in letters if name not in commits and self.process.has_letter(name)
        )
        self.look_at_all()

    def add(self, letter: DeadLetterMessage) -> None:
        """Take a letter in, discard what is too much or too old, and have people told."""
        self.process.expect(letter, "a dead letter has all that is needed to find out why and to try again")
        self._keep(letter)
        self.look()
        text = f"Notification {letter.notification_id} moved to DLQ: {letter.failure_reason}"
        self.process.follow("alert", "", self.alert, ("letter", letter.channel, letter.failure_reason), text)

    def put_back(self, letter: DeadLetterMessage) -> None:
        """Keep a letter that was taken for a redrive, or that another node has written, if it is one still."""
        if self.process.has_letter(letter.notification_id):
            self._keep(letter)
        self.look()

    def _keep(self, letter: DeadLetterMessage) -> None:
        known = self.kept.get(letter.notification_id)
        if known is not None and known.epoch_ns + known.moved_at_ns != letter.epoch_ns + letter.moved_at_ns:
            del self.kept[letter.notification_id]  # it has died again, and is behind the others
        self.kept[letter.notification_id] = letter

    def look_at_all(self) -> None:
        """ "Retention and size bounds": the oldest beyond `at_most` go, and those whose `keep` has ended."""
        self._look_at_size()
        self.look_at_ages()

    def look(self) -> None:
        """Discard what is too much, or too old."""
        self._look_at_size()
        if ("ages", "") not in self.process.due:
            self.look_at_ages()

    def _look_at_size(self) -> None:
        bounds = self.process.world.dead_letters
        while bounds.at_most is not None and len(self.kept) > bounds.at_most:
            name = next(iter(self.kept))
            if self.is_one(name):
                self._discard(name, "full")
            else:
                del self.kept[name]

    def look_at_ages(self) -> None:
        """Discard those whose retention has ended, by the calendar."""
        loop, keep = self.process, self.process.world.dead_letters.keep
        loop.wake("ages", "", None)
        while keep is not None and (name := next(filter(self.is_one, self.kept), None)) is not None:
            up_ns = self.kept[name].moved_at_ns + self.kept[name].epoch_ns + ns(keep) - loop.epoch_ns
            if up_ns > loop.now_ns:
                loop.wake("ages", "", up_ns)
                return
            self._discard(name, "retention")

    def is_one(self, name: str) -> bool:
        """Return whether a notification is a dead letter here that can be taken."""
        return name in self.kept and self.process.has_letter(name)

    def is_served(self, name: str) -> bool:
        """ "A letter whose fallback was delivered or is under way is served, and no redrive takes it" (15)."""
        store, commits = self.process.store, self.process.commits
        has_letter = self.process.has_letter
        return store.is_served(name, lambda other: other in commits or (has_letter(other) and other not in self.kept))

    def order_discard(self, name: str, reason: str = "discarded by the operator", by: str | None = None) -> None:
        """Discard a letter by an operator's order, if it is one still."""
        if self.is_one(name):
            self._discard(name, reason, by)

    def _discard(self, name: str, reason: str, by: str | None = None) -> None:
        loop, letter = self.process, self.kept.pop(name)
        event = loop.event(DeadLetterDiscarded, letter.command, reason=reason, by=by)
        why = "an operator has said so, or by dead_letters: {}"
        self.discarding[name] = event, why, (loop.world.dead_letters,)
        loop.make_durable("discarded", event, letter.command)

    def on_discarded(self, name: str) -> None:
        """Record a discard that is durable."""
        event, why, about = self.discarding.pop(name)
        self.process.expect(event, why, *about)

    def on_not_discarded(self, name: str) -> None:
        """Leave a letter to the node that was faster with it."""
        del self.discarding[name]

    def forget_alerts(self) -> None:
        """Begin as the alert that starts."""
        self._raised: dict[Any, int] = {}

    def alert(self, about: Any, text: str) -> None:
        """ "Admin alert, deduplicated": one for each channel and reason in five minutes."""
        now_ns = self.process.now_ns
        latest_ns = self._raised.get(about)
        if latest_ns is None or now_ns - latest_ns >= ALERT_QUIET_NS:
            self._raised[about] = now_ns
            self.process.expect(Alerted(now_ns, text), "one alert for each channel and reason in five minutes")
