"""The dead letter queue and the admin alert (section 7)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from actors.messages import DeadLetterDiscarded, DeadLetterMessage, Priority
from simulation.verification.model.instants import ns
from simulation.verification.model.process import Process
from simulation.verification.model.unrecorded import Alerted

ALERT_QUIET_NS = 300 * 10**9
"""So long the same alert is not raised again."""
LOOKED_AT_MAX = 25
"""The most letters that are looked at in one turn; the next turn comes at once."""


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
    """The queue of dead letters, and when each alert was last raised.

    The letters are those that the store has, the oldest first, but for two kinds: a death that is not durable yet has
    not happened for anyone ("record first", 2), and what is being redriven has left the queue.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.taken: set[str] = set()
        """The ids of letters that the handler is to redrive, and has not come to."""
        self.told: dict[str, DeadLetterMessage] = {}
        """The letters that the actor of the queue knows, in order: without an operator it redrives no others."""
        self.discarding: dict[str, tuple[DeadLetterDiscarded, str, tuple[Any, ...]]] = {}
        """The discards that are not durable yet, each with the rule by which it happens."""
        self.forget_alerts()

    def begin(self) -> None:
        """Begin as its actor that starts: told of what is in the queue."""
        self.told = {name: self.letter(name) for name in self.names()}
        self.look_at_bounds()

    def names(self) -> list[str]:
        return [name for name in self.process.store.dead if self.is_one(name)]

    def is_one(self, name: str) -> bool:
        return name not in self.taken and name not in self.process.commits and self.process.has_letter(name)

    def letter(self, name: str) -> DeadLetterMessage:
        letter = self.process.store.letter(name)
        assert letter is not None
        return letter

    def add(self, letter: DeadLetterMessage) -> None:
        """Be told of a new letter, discard what is too much or too old, and have people told."""
        self.process.expect(letter, "a dead letter has all that is needed to find out why and to try again")
        self.put_back(letter)
        text = f"Notification {letter.notification_id} moved to DLQ: {letter.failure_reason}"
        self.process.follow("alert", "", self.alert, ("letter", letter.channel, letter.failure_reason), text)

    def put_back(self, letter: DeadLetterMessage) -> None:
        """Be told of a letter that another node has written, or that was taken for a redrive, if it is one still."""
        name = letter.notification_id
        if self.is_one(name) and self.process.has_letter(letter):
            self.told[name] = letter  # one that it knows keeps its place
        self.look()

    def take(self, name: str) -> DeadLetterMessage:
        letter = self.letter(name)
        self.taken.add(name)
        self.told.pop(name, None)
        return letter

    def look(self) -> None:
        """ "Retention and size bounds": the oldest beyond `at_most` go, and those whose `keep` has ended, by the
        calendar; these where that is not looked at later."""
        loop, keep = self.process, self.process.world.dead_letters.keep
        for _ in range(LOOKED_AT_MAX):
            is_too_full = self._is_too_full()
            name = next(filter(self.is_one, loop.store.dead), None)
            if name is None or not (is_too_full or (keep is not None and ("ages", "") not in loop.due)):
                return
            if not is_too_full:
                letter = self.letter(name)
                up_ns = letter.moved_at_ns + letter.epoch_ns + ns(keep or 0.0) - loop.epoch_ns
                if up_ns > loop.now_ns:
                    loop.wake("ages", "", up_ns)
                    return
            self._discard(name, "full" if is_too_full else "retention")
        loop.wake("ages", "", loop.now_ns)

    def look_at_bounds(self) -> None:
        """Look at all of them: it is time, or the actor of the queue starts."""
        self.process.wake("ages", "", None)
        self.look()

    def _is_too_full(self) -> bool:
        most = self.process.world.dead_letters.at_most
        return most is not None and len(self.process.store.dead) > most and len(self.names()) > most

    def is_served(self, name: str) -> bool:
        """ "A letter whose fallback was delivered or is under way is served, and no redrive takes it" (15)."""
        commits = self.process.commits
        return self.process.store.is_served(name, lambda other: other in commits or other in self.taken)

    def order_discard(
        self, name: str, reason: str = "discarded by the operator", by: str | None = None, though_taken: bool = False
    ) -> None:
        """Discard a letter by an operator's order, if it is one still; to erase it, also where it is to be redriven."""
        if self.is_one(name) or (though_taken and name in self.taken and self.process.has_letter(name)):
            self._discard(name, reason, by)

    def _discard(self, name: str, reason: str, by: str | None = None) -> None:
        loop, letter = self.process, self.letter(name)
        self.told.pop(name, None)
        event = loop.event(DeadLetterDiscarded, letter.command, reason=reason, by=by)
        why = "an operator has said so, or by dead_letters: {}"
        self.discarding[name] = event, why, (loop.world.dead_letters,)
        loop.make_durable("discarded", event, letter.command)

    def on_discarded(self, name: str) -> None:
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
