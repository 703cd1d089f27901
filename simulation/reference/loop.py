"""What falls due at one process, and what follows there, on the time that it shares with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from actors.messages import RecordedEvent, SendNotification
from simulation.reference.notifications import Attempt, Notification
from simulation.reference.randomness import Stream
from simulation.reference.timeline import Key, Place, Step, Timeline

E = TypeVar("E", bound=RecordedEvent)


class Loop:
    """A process of the service, as its rules know it; or what surrounds them all."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        """Make one at which nothing is due.

        Args:
            timeline: the time.
            node: which one it is of several. None: it is alone.
        """
        self.timeline = timeline
        self.node = node
        self.world = timeline.world
        self.store = timeline.store
        self.admitted: dict[str, Notification] = {}
        """What is accepted and has not ended, by id."""
        self.asked: dict[int, Attempt] = {}
        """What is at a provider, by number."""
        self.number_of_asked = 0
        """That of the latest; none is given twice, also where the process starts again."""
        self.commits: dict[str, tuple[Any, ...]] = {}
        """What is not durable yet, by notification."""
        self.mailboxes: dict[Place, list[Step]] = {}
        """Of the actors that are down."""
        self.due: dict[Key, int] = {}

    @property
    def now_ns(self) -> int:
        """The instant."""
        return self.timeline.now_ns

    @property
    def epoch_ns(self) -> int:
        """Where on the calendar the clock started, as the wall clock shows it now."""
        return self.timeline.epoch_ns

    def at(self, instant_ns: int, kind: str, what: Any) -> None:
        """Put on the agenda that something falls due; one in the past is now."""
        self.due[kind, what] = max(instant_ns, self.now_ns)
        self.timeline.put_on_agenda(self, (kind, what))

    def wake(self, kind: str, where: str, instant_ns: int | None) -> None:
        """Have a place where some wait looked at then, and not at the instant set before; None: at none."""
        if instant_ns is None:
            self.due.pop((kind, where), None)
        elif self.due.get((kind, where)) != instant_ns:
            self.at(instant_ns, kind, where)

    def follow(self, actor: str, where: str, rule: Callable[..., None], *args: Any) -> None:
        """Have a rule applied at this instant, behind all that follows already."""
        self.timeline.follow(Step(self, (actor, where), rule, args))

    def event(self, kind: type[E], command: SendNotification | None, /, **fields: Any) -> E:
        """Return an event of this instant, of a notification where it is of one."""
        if command is not None:
            fields |= {"notification_id": command.notification_id, "channel": command.channel}
        return kind(at_ns=self.now_ns, epoch_ns=self.epoch_ns, node=self.node, **fields)

    def expect(self, event: Any, why: str, *about: Any) -> None:
        """Expect an event next, by a rule in words and with the settings that it is about."""
        self.timeline.expect(event, why, about)

    def stream(self, name: str) -> Stream:
        """Return the draws of a name: each of several nodes has its own."""
        return Stream(self.world.seed, name if self.node is None else f"node.{self.node}.{name}")

    def named(self, breaker: str) -> str:
        """Return the name of a breaker in the history: that of email's at node 3 is ``email@3``."""
        return breaker if self.node is None else f"{breaker}@{self.node}"

    def take_turn(self, kind: str, what: Any) -> None:
        """Apply the rule for something that is due."""
        raise NotImplementedError

    def place_of(self, key: Key) -> Place:
        """Return the actor that something on the agenda is for."""
        kind, what = key
        if kind == "answer":
            return "breaker", self.asked[what].command.channel
        if kind in ("limiter", "tenants", "breaker"):
            return kind, what
        if kind in ("go-on", "commit", "overtaken", "backlog"):
            return "handler", ""
        return ("dlq", "") if kind in ("ages", "discarded") else ("", "")
