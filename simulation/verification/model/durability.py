"""Changes that are durable only later: `commit_latency`, and the store that the nodes of a fleet share (section 17).

A change is durable `commit_latency` later: then it is known to the others, and its node goes on. Another node may have
been faster with the same id, or the same letter. What is not durable when a node crashes is lost; one that is stopped
in order has all of it be durable first.

A node that is cut off (`partition: store`) has nothing be durable, and hears nothing of the others, before it reaches
the store again; when nine tenths of `takeover_after` have passed it starts no attempt and gets nothing new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from simulation.verification.model.instants import ns
from simulation.verification.model.loop import Loop, Timeline
from simulation.verification.model.node import Node
from simulation.verification.model.store import Store

News: TypeAlias = DeadLetterMessage | str | None
"""The news of a change for the other nodes: a new letter; the id of a letter that is gone; or nothing."""


def news_of(event: NotificationEvent, store: Store) -> News:
    name = event.notification_id
    is_of_letter = isinstance(event, (NotificationMovedToDeadLetter, NotificationRedriven, DeadLetterDiscarded))
    return (store.letter(name) or name) if is_of_letter else None


class LateNode(Node):
    """One process alone whose changes are durable `commit_latency` later, and until then are lost in a crash."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._latency_ns = ns(self.world.commit_latency)
        self._journal: list[tuple[int, NotificationEvent, SendNotification]] = []
        """By when it is durable, each change."""

    def make_durable(self, kind: str, event: NotificationEvent, command: SendNotification) -> None:
        self._journal.append((event.at_ns + self._latency_ns, event, command))
        self.store.keep(event, command, None)
        self.at(self.now_ns + self._latency_ns, kind, event.notification_id)

    def lose(self) -> None:
        self.record_durable(lambda event: event.at_ns + self._latency_ns < self.now_ns)
        self._journal = [change for change in self._journal if change[0] < self.now_ns]
        self.store.begin_empty()
        for _, event, command in self._journal:
            self.store.known(event.notification_id, event.epoch_ns + event.at_ns)  # what was forgotten then is so now
            self.store.keep(event, command, None)


class Change(NamedTuple):
    durable_ns: int
    event: NotificationEvent
    command: SendNotification
    letter: DeadLetterMessage | None
    """The letter of the change, if it has one: a redrive, or a discard."""


class Side:
    """One node's side of the store."""

    def __init__(self, surroundings: Loop, node: int) -> None:
        """Begin as one that reaches it, and has handed over nothing."""
        self._surroundings = surroundings
        self._store = surroundings.store
        self._node = node
        self._latency_ns = ns(surroundings.world.commit_latency)
        self._lease_ns = ns(surroundings.world.nodes.takeover_after)
        self._waiting: deque[Change] = deque()
        self._in_vain: list[NotificationEvent] = []
        """The events since its start that lost to faster nodes."""
        self.nodes: frozenset[int] = frozenset()
        """The nodes that have a lease, as far as it knows."""
        self.partitions = 0
        """How many partitions keep it from the store."""
        self.cut_off_ns = 0
        """Since when the partitions do, in nanoseconds."""
        self.was_refused = False
        """Whether it would have started an attempt and had no lease for that."""
        self.unsaid: dict[tuple[str, str], tuple[int, int]] = {}
        """Its latest unsent report on each breaker and host: until when that is open, and how long news take."""
        self.unheard: list[Callable[[], None]] = []
        """The unheard actions of others."""

    @property
    def is_cut_off(self) -> bool:
        """Whether it does not reach the store."""
        return self.partitions > 0

    def has_lease(self, now_ns: int) -> bool:
        """Tell whether it starts attempts, and gets what arrives: not when nine tenths of its lease have passed."""
        return not self.is_cut_off or now_ns < self.cut_off_ns + int(0.9 * self._lease_ns)

    @property
    def takes_time(self) -> bool:
        """Whether a change is durable only later."""
        return self._latency_ns > 0 or self.is_cut_off

    def hear(self, news: Callable[[], None]) -> None:
        """Have it learn of something, as soon as it reaches the store."""
        if self.is_cut_off:
            self.unheard.append(news)
        else:
            news()

    def hand_over(self, event: NotificationEvent, command: SendNotification) -> None:
        letter = self._store.letter(event.notification_id)
        self._waiting.append(Change(event.at_ns + self._latency_ns, event, command, letter))
        self.set_wake()

    def set_wake(self) -> None:
        is_due = self._waiting and not self.is_cut_off
        self._surroundings.wake("settle", self._node, self._waiting[0].durable_ns if is_due else None)

    def take_durable(self, now_ns: int, *, all_of_it: bool) -> Iterable[Change]:
        """Take out what is durable by now; or all of it, where the node is stopped in order."""
        while self._waiting and not self.is_cut_off and (all_of_it or self._waiting[0].durable_ns <= now_ns):
            yield self._waiting.popleft()
        self.set_wake()

    def faster(self, change: Change) -> SendNotification | None:
        """Return what another node has accepted with the id of a change, or whose letter it has taken."""
        event, store = change.event, self._store
        name = event.notification_id
        first: SendNotification | None = None
        if isinstance(event, NotificationRequested):
            first = store.known(name, event.epoch_ns + event.at_ns) or store.accepted_first(event)
        elif change.letter is not None:
            redriven = event if isinstance(event, NotificationRedriven) else None
            is_served = redriven is not None and not redriven.include_served and store.is_served(name, lambda _: False)
            first = change.command if is_served or not store.has_letter(change.letter) else None
        if first is not None:
            self._in_vain.append(event)
        return first

    def is_durable(self, event: NotificationEvent) -> bool:
        """Tell whether what has been handed over is durable, and not in vain."""
        waiting = [change.event for change in self._waiting]
        return not any(event is each for each in (*waiting, *self._in_vain))

    def has_taken(self, name: str) -> bool:
        """Tell whether a letter is one that it has redriven or discarded, which is not durable yet."""
        return any(each.letter is not None and each.event.notification_id == name for each in self._waiting)

    def crash(self) -> None:
        """Lose what is not durable, nor heard."""
        for each in (self._waiting, self._in_vain, self.unsaid, self.unheard):
            each.clear()
        self.was_refused = False
        self.set_wake()
