"""A store in memory that the nodes of a fleet share, where they all run in one process: for simulations.

It answers as the store of several nodes in PostgreSQL does, at once and without failures: a node owns the notifications
that it has accepted, redriven or taken over; ids, dead letters, suppressions and preferences belong to all nodes; a
node that accepts an id that another node has under way gets :class:`~actors.errors.Overtaken`.

A node can be cut off from the store. Its changes are then durable, and known to other nodes, only when it reaches the
store again; by then another node may have been faster. It still sees the shared memory as it is. With a commit delay
the same holds for every change until the delay is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from actors.domain.store import BreakerVote, LeaseRenewed, LettersChanged, News, NodesChanged, StoredHistory, Takeover
from actors.errors import Overtaken
from actors.kernel.effects import Effect, Foreseen, Promise
from actors.kernel.runtime import Runtime
from actors.kernel.turns import takes_turn
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
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


class SharedMemory:
    """The memory that nodes share. Each has a :class:`NodeStore` of its own, by number."""

    clock: Runtime
    """The system that the nodes run on; to be set before a node says anything of its breakers."""

    def __init__(
        self,
        numbers: Sequence[int],
        *,
        remember_ids_ns: int = DAY_NS,
        share_latency_ns: Mapping[str, int] | None = None,
        has_leases: bool = False,
        commit_delay_ns: int = 0,
    ) -> None:
        """Keep nothing yet.

        Args:
            numbers: the numbers of the nodes.
            remember_ids_ns: for how long the id of a notification that has ended is remembered, in nanoseconds.
            share_latency_ns: by the name of a breaker, how long it takes until the other nodes know of a vote; 0 for
                breakers not named.
            has_leases: whether nodes may be cut off, so that they have to look at their leases.
            commit_delay_ns: how long after its handing over a change is durable, and known to other nodes.
        """
        self._share_latency_ns = share_latency_ns or {}
        self.votes: dict[tuple[int, str, str], int] = {}
        """The votes that all nodes know by now: by node, breaker and host, until when the node's breaker is open."""
        self.owners: dict[str, NodeStore] = {}
        """The owner of each notification that has not ended."""
        whole = MemoryStore(remember_ids_ns=remember_ids_ns)
        self.commit_delay_ns = commit_delay_ns
        self.living: frozenset[int] = frozenset({1})
        self.nodes = {number: NodeStore(self, whole, number, has_leases=has_leases) for number in numbers}

    @takes_turn("told")
    def tell_others(self, store: NodeStore, news: LettersChanged) -> None:
        for other in self.nodes.values():
            if other is not store:
                other.hear(news)

    def count_living(self, living: Collection[int]) -> None:
        nodes = self.living = frozenset(living)
        self.votes = {key: until_ns for key, until_ns in self.votes.items() if key[0] in nodes}
        for node in self.nodes.values():
            node.count_living()

    def say(self, number: int, breaker: str, host: str, open_ns: int) -> None:
        """Have all nodes know a while later what one says of a breaker."""
        now_ns = self.clock.now_ns
        known_ns = now_ns + self._share_latency_ns.get(breaker, 0)
        self.clock.call_at(known_ns, partial(self._is_known, number, breaker, host, now_ns + open_ns, now_ns))

    @takes_turn("known", lambda _, *said: said)
    def _is_known(self, number: int, breaker: str, host: str, until_ns: int, _said_ns: int) -> None:
        """Take in what a node has said, unless its lease has ended meanwhile."""
        if number not in self.living:
            return
        vote = self._vote(number, breaker, host, until_ns)
        if vote.open_ns:
            self.votes[number, breaker, host] = until_ns
        else:
            self.votes.pop((number, breaker, host), None)
        for other, node in self.nodes.items():
            if other != number:
                node.hear(vote)

    def said_to(self, number: int) -> list[BreakerVote]:
        """Return the votes of the other nodes that still hold, as a node knows them."""
        votes = [self._vote(*key, until_ns) for key, until_ns in sorted(self.votes.items()) if key[0] != number]
        return [vote for vote in votes if vote.open_ns]

    def vote_now(self, vote: BreakerVote) -> BreakerVote:
        """Return a node's earlier vote as it holds by now."""
        key = vote.node, vote.breaker, vote.host
        return self._vote(*key, self.votes.get(key, 0))

    def _vote(self, number: int, breaker: str, host: str, until_ns: int) -> BreakerVote:
        return BreakerVote(number, breaker, host, max(0, until_ns - self.clock.now_ns))

    def shares(self, number: int, heirs: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Return each heir's share of the ids of a gone node, by the heir's number; an heir without a share is left
        out."""
        left = list(self.nodes[number].open_ids())
        shares = {heir: tuple(left[place :: len(heirs)]) for place, heir in enumerate(heirs)}
        return {heir: share for heir, share in shares.items() if share}

    def hand_over(self, number: int, to: int, ids: Sequence[str]) -> None:
        gone, heir = self.nodes[number], self.nodes[to]
        histories = []
        for notification_id in ids:
            entry = heir._open[notification_id] = gone._open.pop(notification_id)
            self.owners[notification_id] = heir
            histories.append(StoredHistory(entry.command, tuple(entry.events)))
        if heir.on_news is not None:
            heir.on_news(Takeover(tuple(histories)))


class _Change(NamedTuple):
    """A change that a node has handed over, and that is not durable yet."""

    durable_ns: int
    """When it is, unless the node is cut off by then."""
    event: NotificationEvent
    command: SendNotification
    promise: Promise
    died_ns: int | None
    """For a change of a dead letter: since when it was one, in nanoseconds since 1970."""


class NodeStore(MemoryStore):
    """One node's side of the memory that nodes share."""

    def __init__(self, shared: SharedMemory, whole: MemoryStore, number: int, *, has_leases: bool) -> None:
        super().__init__()
        self.number = number
        self.lease_holds = self.has_lease if has_leases else None
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
        self._is_cut_off = False
        self._lease_ends_ns = 0
        self._was_refused = False
        """Whether a caller of `has_lease` was refused, and has to hear when the lease holds again."""
        self._waiting: deque[_Change] = deque()
        self._unsaid: dict[tuple[str, str], int] = {}
        """The node's latest votes while it is cut off: by breaker and host, until when the breaker is open."""
        self._unheard: list[News] = []
        self._in_vain: list[NotificationEvent] = []
        """The events for which another node was faster, since this node has started."""

    def cut_off(self, lease_ends_ns: int) -> None:
        """Have it not reach the store from now on.

        Args:
            lease_ends_ns: until when it may start attempts.
        """
        self._is_cut_off, self._lease_ends_ns = True, lease_ends_ns

    def has_lease(self) -> bool:
        """Tell whether the node may start an attempt; if not, the pipeline hears when it may."""
        holds = not self._is_cut_off or self._shared.clock.now_ns < self._lease_ends_ns
        self._was_refused |= not holds
        return holds

    def reconnect(self) -> None:
        """Reach the store again, which takes the node's changes, unless another node was faster."""
        self._is_cut_off = False
        self._settle()
        for change in self._waiting:
            self._shared.clock.call_at(change.durable_ns, self._settle)
        unsaid, self._unsaid = self._unsaid, {}
        for (breaker, host), until_ns in unsaid.items():
            self.say(breaker, host, max(0, until_ns - self._shared.clock.now_ns))
        self.count_living()
        unheard, self._unheard = self._unheard, []
        for news in unheard:
            self.hear(self._shared.vote_now(news) if isinstance(news, BreakerVote) else news)
        if self._was_refused:
            self._was_refused = False
            self.hear(LeaseRenewed())

    @takes_turn("settle", lambda store: store.number)
    def _settle(self) -> None:
        clock = self._shared.clock
        while self._waiting and not self._is_cut_off and self._waiting[0].durable_ns <= clock.now_ns:
            change = self._waiting.popleft()
            event = change.event
            overtaken = self._overtaken(change) or self._write(event, change.command)
            change.promise.keep(overtaken)
            if overtaken is not None:
                self._in_vain.append(event)
                if change.died_ns is not None:
                    self.hear(self._how_is(event.notification_id))
            elif type(event) in _OF_LETTERS:
                # Behind all that this node does at this instant: it records the event then.
                clock.call_at(clock.now_ns + 1, partial(self._shared.tell_others, self, self._news_of(event)))

    def close(self) -> None:
        """Make all changes durable at once, as a node does that is stopped in order and reaches the store."""
        if not self._is_cut_off:
            self._waiting = deque(change._replace(durable_ns=0) for change in self._waiting)
            self._settle()

    def has_made_durable(self, event: NotificationEvent, _now_ns: int) -> bool:
        waiting = (change.event for change in self._waiting)
        return not any(event is each for each in (*self._in_vain, *waiting))

    def crash(self, _now_ns: int, _is_recorded: Callable[[NotificationEvent], bool] | None = None) -> int:
        lost = len(self._waiting)
        for each in (self._waiting, self._unsaid, self._unheard, self._in_vain):
            each.clear()
        self._was_refused = False
        return lost

    def hear(self, news: News) -> None:
        if self._is_cut_off:
            self._unheard.append(news)
        elif self.on_news is not None:
            self.on_news(news)

    def count_living(self) -> None:
        nodes = self._shared.living
        if not self._is_cut_off and self.living_nodes != nodes:
            self.living_nodes = nodes
            self.hear(NodesChanged(nodes))

    def _overtaken(self, change: _Change) -> Overtaken | None:
        notification_id = change.event.notification_id
        if isinstance(change.event, NotificationRequested):
            known = self.remembered.get(notification_id, change.event.epoch_ns + change.event.at_ns)
            return None if known is None else Overtaken(notification_id, known)
        if change.died_ns is None:
            return None
        redriven = change.event if isinstance(change.event, NotificationRedriven) else None
        is_served = redriven is not None and not redriven.include_served and self.is_served(notification_id)
        if is_served or not MemoryStore.is_dead_letter(self, notification_id, change.died_ns):
            return Overtaken(notification_id)
        return None

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        delay_ns = self._shared.commit_delay_ns
        if delay_ns or self._is_cut_off:
            letter = self._dead.get(event.notification_id)
            died_ns = None if letter is None else letter.since_ns
            change = _Change(event.at_ns + delay_ns, event, command, Promise(), died_ns)
            self._waiting.append(change)
            if not self._is_cut_off:
                self._shared.clock.call_at(change.durable_ns, self._settle)
            return change.promise
        overtaken = self._write(event, command)
        if overtaken is not None:
            self._in_vain.append(event)
            return Foreseen(0, overtaken)
        if type(event) in _OF_LETTERS:
            self._shared.tell_others(self, self._news_of(event))
        return None

    def _write(self, event: NotificationEvent, command: SendNotification) -> Overtaken | None:
        kind, notification_id = type(event), event.notification_id
        owners = self._shared.owners
        if kind is NotificationRequested:
            owner = owners.get(notification_id)
            if owner is not None:  # perhaps this node itself, which has taken over the first notification
                return Overtaken(notification_id, owner._open[notification_id].command)
            owners[notification_id] = self
        elif kind in _ENDS:
            owners.pop(notification_id, None)
        elif kind is NotificationRedriven:
            owners[notification_id] = self
        MemoryStore.commit(self, event, command)
        return None

    def dead_letters(self, is_under_way: Callable[[str], bool] | None = None) -> Iterator[DeadLetterMessage]:
        waiting = self._letters_waiting()
        letters = MemoryStore.dead_letters(self, is_under_way)
        return (letter for letter in letters if letter.notification_id not in waiting)

    def count_dead_letters(self) -> int:
        dying = sum(isinstance(each.event, NotificationMovedToDeadLetter) for each in self._waiting)
        return len(self._dead) + dying - sum(each in self._dead for each in self._letters_waiting())

    def is_dead_letter(self, notification_id: str, moved_ns: int | None = None) -> bool:
        return notification_id not in self._letters_waiting() and MemoryStore.is_dead_letter(
            self, notification_id, moved_ns
        )

    def _letters_waiting(self) -> set[str]:
        return {each.event.notification_id for each in self._waiting if each.died_ns is not None}

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        if self._is_cut_off:
            self._unsaid[breaker, host] = self._shared.clock.now_ns + open_ns
        else:
            self._shared.say(self.number, breaker, host, open_ns)

    def said(self) -> Iterable[BreakerVote]:
        return self._shared.said_to(self.number)

    def _news_of(self, event: NotificationEvent) -> LettersChanged:
        if isinstance(event, NotificationMovedToDeadLetter):
            return self._how_is(event.notification_id)
        return LettersChanged(found=(), gone=(event.notification_id,))

    def _how_is(self, notification_id: str) -> LettersChanged:
        entry = self._dead.get(notification_id)
        if entry is None:
            return LettersChanged(found=(), gone=(notification_id,))
        return LettersChanged(found=(entry.as_letter,), gone=())
