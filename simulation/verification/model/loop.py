"""The four words in which the rules of the model are written; the code below is what they do.

Rules are methods of a `Loop`, which is a process or what surrounds all, and of what belongs to one. They say:

* ``expect(event, why, …)``: this is what happens next, by a rule in words and with the settings that it is about.
* ``follow(actor, where, rule, …)``: that rule is applied at this instant, behind all that follows already, by this
  actor. While the actor is down it waits in a mailbox, as a message would.
* ``at(instant_ns, kind, what)``: that falls due then; ``wake`` does the same in place of the instant set before. By
  which rule and at which actor stands in the `TIMERS` of the class, by kind.
* ``stream(name)``: the random draws of that name.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

from actors.messages import RecordedEvent, SendNotification
from simulation.verification.model.instants import ns
from simulation.verification.model.randomness import Stream
from simulation.verification.model.store import Store
from simulation.verification.model.world import World

E = TypeVar("E", bound=RecordedEvent)
Key = tuple[str, Any]
"""The key of a timer: its kind, and its subject."""
Place = tuple[str, str]
"""An actor of a process, and where it is: ``handler``, ``dlq`` (dead letters) and ``alert`` at ``""``; ``limiter``,
and ``breaker`` of a channel, ``email``; ``channel``, which asks a provider, at ``email/primary``."""


class Timer(NamedTuple):
    """The rule of a timer of one kind."""

    rule: Callable[[Any, Any], None]
    place: Place | Callable[[Any, Any], Place] = ("", "")
    """At which actor, perhaps by what falls due; while that is down it waits in a mailbox."""
    may_look: bool = False
    """Whether its rule only looks whether anything is due, so that one look more does no harm."""


class Step(msgspec.Struct, frozen=True):
    """Something that follows: in which process and at which of its actors, and by which rule."""

    loop: Loop
    place: Place
    rule: Callable[..., None]
    args: tuple[Any, ...]


class Timeline:
    """Time, what is due, what follows, and what is expected next, at whichever process.

    Of what is due at one instant the order is open, and is the product's. All that follows from one thing comes before
    the next, first come, first served. What is for an actor that is down waits in its mailbox, and comes before all
    else when it is restarted. How this is compared with the product stands in `comparing`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_ns = 0
        self.loops: list[Loop] = []
        """All that have an agenda here, each with the same time."""
        self.epoch_ns = world.epoch_ns
        self.store = Store(ns(world.remember_ids))
        self.goes_astray: Callable[[Step], bool] | None = None
        """Brings a message that may come twice or late, and tells whether it is one; None: none is."""
        self.number_of_asked = 0
        """The number of the latest send; numbers are never reused."""
        self.not_made: deque[int] = deque()
        """The numbers of sends that are not made, as their node has no lease."""
        self.agenda: list[tuple[int, int, Loop, Key]] = []
        """A heap of what is due when; it still has what does not hold any more (`Loop.due` has what does)."""
        self.numbers = count()
        self.following: deque[Step] = deque()
        self.handed_over: deque[Step] = deque()
        """The steps in the mailbox of an actor that has just been restarted."""
        self.expected: deque[tuple[Any, str, tuple[Any, ...]]] = deque()
        """Events, each with its rule in words and the settings that this is about."""

    def step_clock(self, by_ns: int) -> None:
        """Move the calendar: instants and waits stay."""
        self.epoch_ns += by_ns
        for loop in self.loops:
            loop.epoch_ns = self.epoch_ns


class Loop:
    """Something with an agenda: a process, or what surrounds all."""

    TIMERS: ClassVar[Mapping[str, Timer]] = {}
    """By kind of what falls due."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        """Make one at which nothing is due; `node` says which one it is of several. None: it is alone."""
        self.timeline = timeline
        self.node = node
        self.world = timeline.world
        self.store = timeline.store
        self.mailboxes: dict[Place, list[Step]] = {}
        """Of the actors that are down."""
        self.due: dict[Key, int] = {}
        self.is_down = True
        self.starts = 0
        self.now_ns = timeline.now_ns
        self.epoch_ns = timeline.epoch_ns
        """Where on the calendar the clock started, as the wall clock shows it now."""
        timeline.loops.append(self)

    def at(self, instant_ns: int, kind: str, what: Any) -> None:
        """Put on the agenda that something falls due; one in the past is now."""
        key, timeline = (kind, what), self.timeline
        due_ns = self.due[key] = max(instant_ns, self.now_ns)
        heapq.heappush(timeline.agenda, (due_ns, next(timeline.numbers), self, key))

    def wake(self, kind: str, what: Any, instant_ns: int | None) -> None:
        """Have it fall due then, and not at the instant set before; None: not at all."""
        if instant_ns is None:
            self.due.pop((kind, what), None)
        elif self.due.get((kind, what)) != instant_ns:
            self.at(instant_ns, kind, what)

    def follow(self, actor: str, where: str, rule: Callable[..., None], *args: Any) -> None:
        """Have a rule applied at this instant, behind all that follows already, or as it goes astray."""
        step, timeline = Step(self, (actor, where), rule, args), self.timeline
        if timeline.goes_astray is None or not timeline.goes_astray(step):
            timeline.following.append(step)

    def event(self, kind: type[E], command: SendNotification | None, /, **fields: Any) -> E:
        """Return an event of this instant, of a notification where it is of one."""
        if command is not None:
            fields["notification_id"], fields["channel"] = command.notification_id, command.channel
        return kind(at_ns=self.now_ns, epoch_ns=self.epoch_ns, node=self.node, **fields)

    def expect(self, event: Any, why: str, *about: Any) -> None:
        """Expect an event next, by a rule in words and with the settings that it is about."""
        self.timeline.expected.append((event, why, about))

    def stream(self, name: str) -> Stream:
        """Return the draws of a name: each of several nodes has its own."""
        return Stream(self.world.seed, name if self.node is None else f"node.{self.node}.{name}")

    def named(self, breaker: str) -> str:
        """Return the name of a breaker in the history: that of email's at node 3 is ``email@3``."""
        return breaker if self.node is None else f"{breaker}@{self.node}"

    def fire(self, kind: str, what: Any) -> None:
        self.TIMERS[kind].rule(self, what)

    def place_of(self, key: Key) -> Place:
        kind, what = key
        place = self.TIMERS[kind].place
        return place if isinstance(place, tuple) else place(self, what)
