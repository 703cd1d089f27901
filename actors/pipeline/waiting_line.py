"""The attempts that wait in a stage: in the order of their channel, and removed when they expire."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import compress

from actors.domain.attempts import Attempt
from actors.policies.order import FLOWS, NO_KEY, Flow, Order, Turns


class Waiting:
    """How many attempts wait for one thing, and the most that did at an instant."""

    __slots__ = ("_whole", "now", "peak")

    def __init__(self, whole: Waiting | None = None) -> None:
        """Begin with none.

        Args:
            whole: counts these too, beside those of others.
        """
        self.now = 0
        self.peak = 0
        self._whole = whole

    def change(self, by: int) -> None:
        """Count so many more, or fewer."""
        each: Waiting | None = self
        while each is not None:
            each.now += by
            if each.now > each.peak:
                each.peak = each.now
            each = each._whole

    def reset(self) -> None:
        """Count none any more: what a stage had that has crashed, or has dropped them, is sent again."""
        self.change(-self.now)


class WaitingCounts:
    """How many attempts wait at the stages, by what for."""

    def __init__(self, whole: WaitingCounts | None = None) -> None:
        """Begin with none.

        Args:
            whole: counts these too, beside those of other channels.
        """
        self.limit: Waiting = Waiting(None if whole is None else whole.limit)
        """For a user's limit, or a tenant's."""
        self.users = Waiting(self.limit)
        """Of these, for a user's."""
        self.tenants = Waiting(self.limit)
        """Of these, for a tenant's."""
        self.quota: Waiting = Waiting(None if whole is None else whole.quota)
        """For what the account or the adaptive rate allows."""
        self.slots: Waiting = Waiting(None if whole is None else whole.slots)
        """For other attempts to end."""
        self.breaker: Waiting = Waiting(None if whole is None else whole.breaker)
        """For a breaker to close, and to let all through again."""

    def reset(self) -> None:
        """Count none any more: their process is gone."""
        for waiting in (self.users, self.tenants, self.quota, self.slots, self.breaker):
            waiting.reset()


class PlacedQueue:
    """Attempts in the order of their places, of which any may be taken out.

    Each takes two pointers in lists. An `OrderedDict` takes 100 bytes, and a `deque` 600 before there is any in it.
    """

    __slots__ = ("_attempts", "_head", "_places", "size")

    def __init__(self) -> None:
        self._places: list[int] = []
        self._attempts: list[Attempt | None] = []
        """None: it has been taken out."""
        self._head = 0
        """Where the first is; what is before it has gone."""
        self.size = 0
        """How many there are."""

    def append(self, place: int, attempt: Attempt) -> None:
        """Add one behind all others; its place is larger than theirs."""
        self._places.append(place)
        self._attempts.append(attempt)
        self.size += 1

    @property
    def first_place(self) -> int | None:
        """The place of the first; None: there is none."""
        return self._places[self._head] if self.size else None

    @property
    def first(self) -> Attempt:
        """The first, of which there has to be one."""
        attempt = self._attempts[self._head]
        assert attempt is not None
        return attempt

    def pop(self) -> tuple[int, Attempt]:
        """Take the first, of which there has to be one; return its place, and it."""
        index = self._head
        place, attempt = self._places[index], self._take(index)
        assert attempt is not None
        return place, attempt

    def take_out(self, place: int) -> Attempt | None:
        """Take the one with a place; return None where it has gone."""
        index = self._index(place)
        return None if index is None else self._take(index)

    def __contains__(self, place: int) -> bool:
        return self._index(place) is not None

    def items(self) -> Iterator[tuple[int, Attempt]]:
        """Yield the places and the attempts, in order."""
        for index in range(self._head, len(self._places)):
            if (attempt := self._attempts[index]) is not None:
                yield self._places[index], attempt

    def _index(self, place: int) -> int | None:
        """Return where the one with a place is; None: it has gone."""
        index = bisect_left(self._places, place, self._head)
        is_there = index < len(self._places) and self._places[index] == place and self._attempts[index] is not None
        return index if is_there else None

    def _take(self, index: int) -> Attempt | None:
        attempts, head = self._attempts, self._head
        attempt, attempts[index] = attempts[index], None
        self.size -= 1
        while head < len(attempts) and attempts[head] is None:
            head += 1
        if 2 * self.size < len(attempts):
            self._places = list(compress(self._places, attempts))
            self._attempts = list(filter(None, attempts))
            head = 0
        self._head = head
        return attempt


class WaitingLine:
    """Attempts that wait, in the order of their channel.

    While all are of one class and one key, which is nearly always, they are one queue and nothing is spent on turns.
    Keeps the expiries in a heap beside the line, so that its owner needs one timer for all of them, however many.
    """

    reports = True
    """Whether :meth:`unreported` is asked for those that have come."""

    def __init__(self, waiting: Waiting, order: Order) -> None:
        """Begin an empty line.

        Args:
            waiting: counts those that wait for the same.
            order: of its channel, at its stage.
        """
        self._waiting = waiting
        self._order = order
        self.size = 0
        """How many wait; to look whether there are any, which is done for every attempt."""
        self._queue = PlacedQueue()
        self._flow: Flow = (0, NO_KEY)
        """That of all, while there is but one."""
        self.turns: Turns[PlacedQueue] | None = order.turns(_since) if order.has_keys else None
        """Those of its flows; None while there has been but one, without a key."""
        self.on_flow: Callable[[Flow], None] | None = None
        """Called with each flow of which the first joins, or the last leaves."""
        self._unreported: dict[int, Attempt] = {}
        self._expiries: list[tuple[int, int, Flow]] = []
        self._joined: OrderedDict[int, tuple[int, Flow]] | None = None
        """When each of those that wait joined, and its flow, by its place; in order."""

    def keep_instants(self) -> None:
        """Remember of those that join from now on when they do, for :attr:`waits_since_ns`."""
        self._joined = OrderedDict()

    def append(self, attempt: Attempt, now_ns: int) -> None:
        """Let an attempt wait behind all others of its flow."""
        order = self._order
        place = order.next_place(now_ns)
        flow = order.flow_of(attempt.command) if order.has_keys else FLOWS[attempt.command.priority]
        queue = self._queue
        if self.turns is None and self.size and flow != self._flow:
            self.turns = order.turns(_since)
            self.turns.add(self._flow, queue)
        if self.turns is None:
            self._flow = flow
        else:
            queue = self._queue_in(self.turns, flow)
        is_first = not queue.size
        queue.append(place, attempt)
        self.size += 1
        if self.reports:
            self._unreported[place] = attempt
        self._waiting.change(1)
        if self._joined is not None:
            self._joined[place] = now_ns, flow
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._expiries, (attempt.expires_at_ns, place, flow))
        if is_first and self.on_flow is not None:
            self.on_flow(flow)

    @staticmethod
    def _queue_in(turns: Turns[PlacedQueue], flow: Flow) -> PlacedQueue:
        queue = turns.get(flow)
        if queue is None:
            queue = PlacedQueue()
            turns.add(flow, queue)
        return queue

    @property
    def next_flow(self) -> Flow:
        """The flow whose turn it is; there has to be one."""
        if self.turns is None:
            return self._flow
        flow = self.turns.next()
        assert flow is not None
        return flow

    def flows(self) -> Iterator[Flow]:
        """Yield the flows of those that wait."""
        if self.turns is not None:
            for rank, keys in enumerate(self.turns.classes):
                yield from [(rank, key) for key in keys]
        elif self.size:
            yield self._flow

    def place(self, flow: Flow) -> int | None:
        """Return the place of the first of a flow; None: there is none."""
        return self._queue_of(flow).first_place

    def first(self, flow: Flow | None = None) -> Attempt:
        """Return the first of a flow, of which there has to be one; None: the one whose turn it is."""
        queue = self._queue if self.turns is None else self._queue_of(self.next_flow if flow is None else flow)
        return queue.first

    def waiting(self) -> Iterator[Attempt]:
        """Yield those that wait, by their flows."""
        for flow in self.flows():
            yield from (attempt for _, attempt in self._queue_of(flow).items())

    def unreported(self) -> list[Attempt]:
        """Return those that have come since this was called last, in order."""
        unreported = list(self._unreported.values())
        self._unreported.clear()
        return unreported

    @property
    def has_unreported(self) -> bool:
        """Whether any that wait have come since :meth:`unreported` was called last."""
        return bool(self._unreported)

    def pop(self, flow: Flow | None = None, *, uses_turn: bool = True) -> Attempt:
        """Take the first of a flow; None: the one whose turn it is.

        Args:
            flow: of which it is the first.
            uses_turn: whether it goes on; one that ends or goes back has its flow keep its turn.
        """
        if self.turns is None:
            flow, queue = self._flow, self._queue
        else:
            flow = self.next_flow if flow is None else flow
            queue = self._queue_of(flow)
            if uses_turn:
                self.turns.take(flow)
        place, attempt = queue.pop()
        self._left(flow, queue, place)
        return attempt

    def now_waits_for(self, waiting: Waiting) -> None:
        """Count those that wait among others from now on."""
        if waiting is not self._waiting:
            self._waiting.change(-self.size)
            waiting.change(self.size)
            self._waiting = waiting

    def expired(self, now_ns: int) -> Iterable[Attempt]:
        """Take out those that have expired, as they are asked for."""
        return self._take_expired(now_ns) if self._expiries else ()

    def _take_expired(self, now_ns: int) -> Iterator[Attempt]:
        while self._expiries and self._expiries[0][0] < now_ns:
            _, place, flow = heapq.heappop(self._expiries)
            queue = self._queue_of(flow)
            attempt = queue.take_out(place)
            if attempt is not None:
                self._left(flow, queue, place)
                yield attempt

    @property
    def waits_since_ns(self) -> int | None:
        """When the one joined that has waited longest; None where none waits, or it is not remembered."""
        return next(iter(self._joined.values()))[0] if self._joined else None

    def pop_longest(self) -> Attempt:
        """Take the one that has waited longest, as :attr:`waits_since_ns` has just told."""
        assert self._joined is not None
        place, (_, flow) = next(iter(self._joined.items()))
        queue = self._queue_of(flow)
        attempt = queue.take_out(place)
        assert attempt is not None
        self._left(flow, queue, place)
        return attempt

    def take_out(self, attempts: Container[int]) -> set[int]:
        """Take out attempts, given by their identities; return the identities of those that waited."""
        found = set()
        for flow in list(self.flows()):
            queue = self._queue_of(flow)
            for place in [place for place, attempt in queue.items() if id(attempt) in attempts]:
                found.add(id(queue.take_out(place)))
                self._left(flow, queue, place)
        return found

    @property
    def next_expiry_ns(self) -> int | None:
        """The first instant at which a waiting attempt has expired; None when none ever expires."""
        while self._expiries and self._expiries[0][1] not in self._queue_of(self._expiries[0][2]):
            heapq.heappop(self._expiries)
        return self._expiries[0][0] + 1 if self._expiries else None

    def _queue_of(self, flow: Flow) -> PlacedQueue:
        if self.turns is None:
            return self._queue if flow == self._flow else _NONE
        return self.turns.get(flow) or _NONE

    def _left(self, flow: Flow, queue: PlacedQueue, place: int) -> None:
        """Record that one of a flow waits no more."""
        self.size -= 1
        self._waiting.change(-1)
        if self._unreported:
            self._unreported.pop(place, None)
        if self._joined:
            self._joined.pop(place, None)
        if not queue.size:
            if self.turns is not None:
                self.turns.discard(flow)
            if self.on_flow is not None:
                self.on_flow(flow)


_NONE = PlacedQueue()


def _since(queue: PlacedQueue) -> int:
    """Return the place of the first, which is when it joined."""
    place = queue.first_place
    assert place is not None
    return place
