"""A store in memory that the nodes of a fleet share, where they all run in one process: for simulations.

It says what the store of several nodes in PostgreSQL says, at once and without fail: a node owns what it has accepted,
redriven or taken over; ids, dead letters, suppressions and preferences are everybody's; who accepts an id that another
node has under way is told that it was :class:`~actors.errors.Overtaken`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from actors.domain.delivery import dead_letter_after
from actors.domain.store import BreakerVote, LettersChanged, NodesChanged, StoredHistory, Takeover
from actors.errors import Overtaken
from actors.kernel.effects import Effect, Foreseen
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.storage.memory import DAY_NS, MemoryStore

_OF_LETTERS = frozenset({NotificationMovedToDeadLetter, NotificationRedriven, DeadLetterDiscarded})
_ENDS = frozenset({NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter, DeadLetterDiscarded})


class Clock(Protocol):
    """The clock of what nodes say to each other: the system that they run on."""

    @property
    def now_ns(self) -> int:
        """The present instant."""

    def call_at(self, instant_ns: int, function: Callable[[], object]) -> object:
        """Call a function at an instant."""


class SharedMemory:
    """What the nodes share. Each has a :class:`NodeStore` of its own, by number."""

    clock: Clock
    """To be set before a node says anything of its breakers."""

    def __init__(
        self,
        numbers: Sequence[int],
        *,
        remember_ids_ns: int = DAY_NS,
        share_latency_ns: Mapping[str, int] | None = None,
    ) -> None:
        """Keep nothing yet.

        Args:
            numbers: of the nodes.
            remember_ids_ns: for how long the id of a notification that has ended is remembered, in nanoseconds.
            share_latency_ns: by the name of a breaker, how long it takes until the others know what a node says of it;
                0 for the others.
        """
        self._share_latency_ns = share_latency_ns or {}
        self.votes: dict[tuple[int, str, str], int] = {}
        """By node, breaker and host, until when a node says that it is open: what all know by now."""
        self.owners: dict[str, NodeStore] = {}
        """By notification that has not ended."""
        whole = MemoryStore(remember_ids_ns=remember_ids_ns)
        self.nodes = {number: NodeStore(self, whole, number) for number in numbers}

    def tell_others(self, store: NodeStore, news: LettersChanged) -> None:
        """Have all nodes but one know of what that has done to dead letters."""
        for other in self.nodes.values():
            if other is not store and other.on_news is not None:
                other.on_news(news)

    def count_living(self, living: Collection[int]) -> None:
        """Have all nodes know which of them have a lease. What the others have said of their breakers is forgotten."""
        nodes = frozenset(living)
        self.votes = {key: until_ns for key, until_ns in self.votes.items() if key[0] in nodes}
        for node in self.nodes.values():
            if node.living_nodes != nodes:
                node.living_nodes = nodes
                if node.on_news is not None:
                    node.on_news(NodesChanged(nodes))

    def say(self, number: int, breaker: str, host: str, open_ns: int) -> None:
        """Have all nodes know a while later what one says of a breaker."""
        now_ns = self.clock.now_ns
        known_ns = now_ns + self._share_latency_ns.get(breaker, 0)
        self.clock.call_at(known_ns, partial(self._is_known, number, breaker, host, now_ns + open_ns, now_ns))

    def _is_known(self, number: int, breaker: str, host: str, until_ns: int, _said_ns: int) -> None:
        """Take in what a node has said, unless its lease has ended meanwhile."""
        if number not in self.nodes[number].living_nodes:
            return
        vote = self._vote(number, breaker, host, until_ns)
        if vote.open_ns:
            self.votes[number, breaker, host] = until_ns
        else:
            self.votes.pop((number, breaker, host), None)
        for other, node in self.nodes.items():
            if other != number and node.on_news is not None:
                node.on_news(vote)

    def said_to(self, number: int) -> list[BreakerVote]:
        """Return what stands of what the others have said, as a node knows it."""
        votes = [self._vote(*key, until_ns) for key, until_ns in sorted(self.votes.items()) if key[0] != number]
        return [vote for vote in votes if vote.open_ns]

    def _vote(self, number: int, breaker: str, host: str, until_ns: int) -> BreakerVote:
        return BreakerVote(number, breaker, host, max(0, until_ns - self.clock.now_ns))

    def shares(self, number: int, heirs: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Return the ids of what a node has that is gone, as others share them; those that get any, by number."""
        left = list(self.nodes[number].open_ids())
        shares = {heir: tuple(left[place :: len(heirs)]) for place, heir in enumerate(heirs)}
        return {heir: share for heir, share in shares.items() if share}

    def hand_over(self, number: int, to: int, ids: Sequence[str]) -> None:
        """Have a node own from now on what another one had, and go on with it."""
        gone, heir = self.nodes[number], self.nodes[to]
        histories = []
        for notification_id in ids:
            entry = heir._open[notification_id] = gone._open.pop(notification_id)
            self.owners[notification_id] = heir
            histories.append(StoredHistory(entry.command, tuple(entry.events)))
        if heir.on_news is not None:
            heir.on_news(Takeover(tuple(histories)))


class NodeStore(MemoryStore):
    """One node's side of the memory that nodes share."""

    def __init__(self, shared: SharedMemory, whole: MemoryStore, number: int) -> None:
        super().__init__()
        self.number = number
        self._shared = shared
        self.remembered = whole.remembered
        self.suppressions = whole.suppressions
        self.endpoints = whole.endpoints
        self.preferences = whole.preferences
        self._open_anywhere = shared.owners
        self._dead = whole._dead
        self._closed = whole._closed
        self._requests = whole._requests
        self._audit = whole._audit

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        kind, notification_id = type(event), event.notification_id
        owners = self._shared.owners
        if kind is NotificationRequested:
            owner = owners.get(notification_id)
            if owner is not None and owner is not self:
                return Foreseen(0, Overtaken(notification_id, owner._open[notification_id].command))
            owners[notification_id] = self
        elif kind in _ENDS:
            owners.pop(notification_id, None)
        elif kind is NotificationRedriven:
            owners[notification_id] = self
        MemoryStore.commit(self, event, command)
        if kind in _OF_LETTERS:
            self._tell_others(event)
        return None

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        self._shared.say(self.number, breaker, host, open_ns)

    def said(self) -> Iterable[BreakerVote]:
        return self._shared.said_to(self.number)

    def _tell_others(self, event: NotificationEvent) -> None:
        """Have the other nodes know of what has been done to a dead letter."""
        notification_id = event.notification_id
        if isinstance(event, NotificationMovedToDeadLetter):
            entry = self._dead[notification_id]
            letter = dead_letter_after(entry.command, entry.events, event)
            self._shared.tell_others(self, LettersChanged(found=(letter,), gone=()))
        else:
            self._shared.tell_others(self, LettersChanged(found=(), gone=(notification_id,)))
