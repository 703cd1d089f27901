"""The dead letter queue and the admin alert (section 7)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from actors.instants import ns
from actors.messages import DeadLetterDiscarded
from simulation.reference.notifications import Letter, Notification

if TYPE_CHECKING:
    from simulation.reference.model import Model

ALERT_QUIET_NS = 300 * 10**9
"""An alert is "deduplicated": one for each channel and reason in five minutes."""


class Letters:
    """The letters of a process, the oldest first, and when each alert was last raised."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.kept = model.store.letters()
        self.redrives: deque[tuple[Letter, str]] = deque()
        """Those that wait for room."""
        self._discarding: dict[str, tuple[Any, str, tuple[Any, ...]]] = {}
        self.forget_alerts()

    def begin(self) -> None:
        """Look at what the store has."""
        store, commits = self.model.store, self.model.commits
        self.kept = OrderedDict((name, letter) for name, letter in store.letters().items() if name not in commits)
        self.discard_the_oldest()
        self.look_at_ages()

    # ── what comes in, and what is too old or too much ──────────────────────────────────────────────────────────

    def add(self, letter: Letter) -> None:
        """Take a letter in, discard what is too much, and have people told."""
        model = self.model
        self.kept[letter.command.notification_id] = letter
        self.discard_the_oldest()
        if ("ages", "") not in model.due:
            self.look_at_ages()
        command, reason = letter.command, letter.moved.reason
        text = f"Notification {command.notification_id} moved to DLQ: {reason}"
        model.follow("alert", "", self.alert, ("letter", command.channel, reason), text)

    def discard_the_oldest(self) -> None:
        """ "Retention and size bounds": `dead_letters.at_most`."""
        most = self.model.world.dead_letters.at_most
        while most is not None and len(self.kept) > most:
            name = next(iter(self.kept))
            if name in self.model.store.dead:
                self.discard(name, "full", "dead_letters.at_most is {}", most)
            else:
                del self.kept[name]

    def look_at_ages(self) -> None:
        """Discard those whose retention (`dead_letters.keep`) has ended, by the calendar."""
        model, keep = self.model, self.model.world.dead_letters.keep
        model.wake("ages", "", None)
        if keep is None:
            return
        while (name := next((each for each in self.kept if each in model.store.dead), None)) is not None:
            moved = self.kept[name].moved
            up_ns = moved.epoch_ns + moved.at_ns + ns(keep) - model.epoch_ns
            if up_ns > model.now_ns:
                model.wake("ages", "", up_ns)
                return
            self.discard(name, "retention", "dead_letters.keep is {} s", keep)

    def discard(self, name: str, reason: str, why: str, *about: Any) -> None:
        """Remove a letter for good."""
        model, letter = self.model, self.kept.pop(name)
        event = DeadLetterDiscarded(
            at_ns=model.now_ns,
            epoch_ns=model.epoch_ns,
            notification_id=name,
            channel=letter.command.channel,
            reason=reason,
        )
        model.store.keep(event, letter.command)
        if model.world.commit_latency:
            self._discarding[name] = event, why, about
            model.at(model.now_ns + ns(model.world.commit_latency), "discarded", name)
        else:
            model.expect(event, why, *about)

    def is_discarded(self, name: str) -> None:
        """Record a discard that is durable."""
        event, why, about = self._discarding.pop(name)
        self.model.expect(event, why, *about)

    # ── operators ───────────────────────────────────────────────────────────────────────────────────────────────

    def there_are(self) -> list[tuple[str, Letter, bool]]:
        """Return what an operator sees now: ids, letters, and whether each is served."""
        return [
            (name, letter, self._is_served(name)) for name, letter in self.kept.items() if name in self.model.store.dead
        ]

    def _is_served(self, name: str) -> bool:
        store, commits = self.model.store, self.model.commits
        return store.is_served(name, lambda other: other in commits or (other in store.dead and other not in self.kept))

    def ask_redrive(self, name: str, served: str) -> None:
        """Take a letter out of the queue for a redrive; "no redrive takes a served one unless told" (15)."""
        model = self.model
        if name in self.kept and name in model.store.dead and (served == "include" or not self._is_served(name)):
            model.follow("handler", "", self.redrive, self.kept.pop(name), served)

    def ask_discard(self, name: str, reason: str) -> None:
        """Discard a letter by an operator's order, if it is one still."""
        if name in self.kept and name in self.model.store.dead:
            self.discard(name, reason, "an operator has said so")

    def redrive(self, letter: Letter, served: str) -> None:
        """ "Redrive is idempotent" (7), waits for room (14), starts a fresh set of attempts and keeps the history (3)."""
        model, name = self.model, letter.command.notification_id
        if not model.has_room(letter.command.critical):
            self.redrives.append((letter, served))
            return
        is_dead = name in model.store.dead
        is_served = is_dead and model.store.is_served(name, lambda other: other in model.admitted)
        if not is_dead or (is_served and served == "exclude"):
            if is_dead:
                model.follow("dlq", "", self._put_back, letter)
            self.take_up_next_redrive()
            return
        since_ns = min(letter.moved.requested_at_ns + letter.moved.epoch_ns - model.epoch_ns, model.now_ns)
        notification = model.admitted[name] = Notification(
            letter.command,
            since_ns,
            model.now_ns,
            charged=True,
            failures=letter.history,
            accepted=letter.accepted,
            edits=letter.edits,
        )
        model.redriven(notification, include_served=served == "include")

    def _put_back(self, letter: Letter) -> None:
        self.kept[letter.command.notification_id] = letter
        self.discard_the_oldest()
        if ("ages", "") not in self.model.due:
            self.look_at_ages()

    def take_up_next_redrive(self) -> None:
        """Take up a redrive that waits, as there is room for one again."""
        if self.redrives:
            self.model.follow("handler", "", self.redrive, *self.redrives.popleft())

    def take_up_all_redrives(self) -> None:
        """A handler that starts asks anew whether there is room."""
        for _ in range(len(self.redrives)):
            self.take_up_next_redrive()

    # ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────

    def forget_alerts(self) -> None:
        """Begin as an alert that starts."""
        self._raised: dict[Any, int] = {}

    def alert(self, about: Any, text: str) -> None:
        """ "Admin alert, deduplicated, best effort" (7)."""
        now_ns = self.model.now_ns
        latest_ns = self._raised.get(about)
        if latest_ns is None or now_ns - latest_ns >= ALERT_QUIET_NS:
            self._raised[about] = now_ns
            self.model.alerted(text)
