"""Waiting rooms: the one structure for all lines of attempts, which says which attempt goes next.

A room has a line for each host (a recipient's host, a user or a tenant), or one line for all. In a line the flows,
which are classes of traffic and the keys within a class, take turns by the order of the channel
(:mod:`actors.policies.order`); within a flow the first to join is the first to go. Where lines share a resource, such
as the slots of a provider, the flows of all lines that wait for it take turns.

A room has one heap of expiries and one of the instants at which a line is worth a look, so its owner needs one timer,
at :attr:`WaitingRoom.wake_ns`. Every waiter leaves a room through `_left`, except the waiters that `clear` drops, for
which `on_empty` is not called.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from operator import attrgetter
from typing import Any, Generic, TypeVar

from actors.instants import sooner
from actors.policies.order import Flow, Order, Turns

W = TypeVar("W")

ONE_LINE = ""
"""The host of the line of a room that has only one."""


class Waiting:
    """How many wait for one thing, and the most that have waited at once."""

    __slots__ = ("_whole", "now", "peak")

    def __init__(self, whole: Waiting | None = None) -> None:
        self.now = 0
        self.peak = 0
        self._whole = whole

    def change(self, by: int) -> None:
        self.now += by
        if self.now > self.peak:
            self.peak = self.now
        if self._whole is not None:
            self._whole.change(by)

    def reset(self) -> None:
        """Count none any more: their stage has crashed or dropped them, and they are sent again."""
        self.change(-self.now)


class WaitingCounts:
    """How many attempts wait at the stages, by the resource that they wait for."""

    def __init__(self, whole: WaitingCounts | None = None) -> None:
        self.limit: Waiting = Waiting(None if whole is None else whole.limit)
        """For a user's limit, or a tenant's."""
        self.users = Waiting(self.limit)
        """Attempts that wait for a user's limit."""
        self.tenants = Waiting(self.limit)
        """Attempts that wait for a tenant's limit."""
        self.quota: Waiting = Waiting(None if whole is None else whole.quota)
        """Attempts that wait for the account's quota or the adaptive rate."""
        self.slots: Waiting = Waiting(None if whole is None else whole.slots)
        """For other attempts to end."""
        self.breaker: Waiting = Waiting(None if whole is None else whole.breaker)
        """For a breaker to close, and to let all through again."""

    def reset(self) -> None:
        """Count none any more: their process is gone."""
        for waiting in (self.users, self.tenants, self.quota, self.slots, self.breaker):
            waiting.reset()


_NO_REASONS: frozenset[Any] = frozenset()
"""One empty set for all lines: each would take 216 bytes."""


class PlacedQueue(Generic[W]):
    """The waiters of one flow in the order of their places; any may be taken out.

    A waiter takes two pointers in lists. In an `OrderedDict` it would take 100 bytes, and an empty `deque` takes 600.
    """

    __slots__ = ("_head", "_items", "_place_of", "_places", "size")

    def __init__(self) -> None:
        self._places: list[int] = []
        self._items: list[W | None] = []
        """By index, as the places; None: that waiter has been taken out."""
        self._head = 0
        """The index of the first waiter; all before it have gone."""
        self._place_of: dict[int, int] | None = None
        """By identity; kept only from a search until the lists are compacted, as it takes 100 bytes for each waiter."""
        self.size = 0

    def append(self, place: int, item: W) -> None:
        if self.size:
            self._places.append(place)
            self._items.append(item)
        else:  # most are alone in their flow: a list of one item takes 24 bytes less than an empty list that has grown
            self._places, self._items, self._head = [place], [item], 0
        if self._place_of is not None:
            self._place_of[id(item)] = place
        self.size += 1

    @property
    def first_place(self) -> int:
        return self._places[self._head]

    @property
    def first(self) -> W:
        item = self._items[self._head]
        assert item is not None
        return item

    def pop(self) -> tuple[int, W]:
        """Take the first, which has to exist; return its place, and it."""
        index = self._head
        place, item = self._places[index], self._take(index)
        assert item is not None
        return place, item

    def take_out(self, place: int) -> W | None:
        index = self._index(place)
        return None if index is None else self._take(index)

    def find(self, identity: int) -> int | None:
        """Return the place of the one with an identity; None: it is not here.

        A search hardly takes longer where more wait, but for the first one, and the first after a compaction.
        """
        if self._place_of is None:
            self._place_of = {id(item): place for place, item in self.items()}
        place = self._place_of.get(identity)
        index = None if place is None else self._index(place)
        return place if index is not None and id(self._items[index]) == identity else None

    def __contains__(self, place: int) -> bool:
        return self._index(place) is not None

    def items(self) -> Iterator[tuple[int, W]]:
        for index in range(self._head, len(self._places)):
            if (item := self._items[index]) is not None:
                yield self._places[index], item

    def _index(self, place: int) -> int | None:
        index = bisect_left(self._places, place, self._head)
        is_there = index < len(self._places) and self._places[index] == place and self._items[index] is not None
        return index if is_there else None

    def _take(self, index: int) -> W | None:
        items, head = self._items, self._head
        item, items[index] = items[index], None
        self.size -= 1
        while head < len(items) and items[head] is None:
            head += 1
        if 2 * self.size < len(items):
            self._places = list(compress(self._places, items))
            self._items = list(filter(None, items))
            self._place_of = None
            head = 0
        self._head = head
        return item


class Line(Generic[W]):
    """The waiters of one host, and the reasons why they wait. A line is in its room as long as it has waiters."""

    __slots__ = (
        "asks_at_ns",
        "counted_as",
        "host",
        "is_up_to_time",
        "joined",
        "reasons",
        "room_at",
        "size",
        "slot_wait_ns",
        "slot_wait_since_ns",
        "turns",
        "unreported",
        "wake_ns",
    )

    def __init__(self, host: str, order: Order, counted_as: Waiting | None) -> None:
        self.host = host
        self.size = 0
        """How many wait; 0: the line is no longer in its room."""
        self.turns: Turns[PlacedQueue[W]] = Turns(order, attrgetter("first_place"))
        """The turns of the flows of this line."""
        self.room_at: tuple[int, ...] = ()
        """The lanes at which the line takes turns, as it waits for room there."""
        self.reasons: frozenset[Any] = _NO_REASONS
        """Why the first does not go now, at any of the lanes."""
        self.is_up_to_time = False
        """Whether time alone can make room: then the instant of the next attempt is known."""
        self.asks_at_ns: int | None = None
        """When the line is worth asking again, as far as time decides; room comes by turns."""
        self.slot_wait_ns: int | None = None
        """How long each waits for a slot, at most; None: as long as it takes, or they wait for something else."""
        self.slot_wait_since_ns = 0
        """Since when the line waits for a slot."""
        self.wake_ns: int | None = None
        """When to look at the line next, if nothing happens before."""
        self.counted_as = counted_as
        """The count that the waiters are in; None: none yet."""
        self.unreported: dict[int, W] | None = None
        """By place, the waiters that have joined since the last report; None: the line reports none."""
        self.joined: OrderedDict[int, tuple[int, Flow]] | None = None
        """By place, in order, the instant at which each joined, and its flow; None: not kept."""

    def queue(self, flow: Flow) -> PlacedQueue[W]:
        queue = self.turns.get(flow)
        assert queue is not None
        return queue

    def waiting(self) -> Iterator[W]:
        for flow in self.turns.flows():
            for _, item in self.queue(flow).items():
                yield item

    @property
    def refuses_at_ns(self) -> int | None:
        """When the longest waiter has waited long enough for a slot; None: at no time."""
        if self.slot_wait_ns is None or not self.joined:
            return None
        return max(next(iter(self.joined.values()))[0], self.slot_wait_since_ns) + self.slot_wait_ns

    def wait_for(self, reasons: frozenset[Any], asks_at_ns: int | None, *, is_up_to_time: bool) -> None:
        """Note what blocks the first; the arguments are the attributes of the same names."""
        self.reasons, self.asks_at_ns, self.is_up_to_time = reasons, asks_at_ns, is_up_to_time

    def wait_for_slots(self, wait_ns: int | None, now_ns: int) -> None:
        """Let each waiter wait `wait_ns` for a slot, from when the line began to wait for a slot or the waiter joined,
        whichever is later."""
        if self.slot_wait_ns is None:
            self.slot_wait_since_ns = now_ns
        self.slot_wait_ns = wait_ns

    def take_unreported(self) -> Iterable[W]:
        """Return the waiters that have joined since the last call, in order."""
        if not self.unreported:
            return ()
        unreported, self.unreported = self.unreported, {}
        return unreported.values()

    def count_as(self, waiting: Waiting) -> None:
        """Count the waiters in another count from now on."""
        if waiting is not self.counted_as:
            if self.counted_as is not None:
                self.counted_as.change(-self.size)
            waiting.change(self.size)
            self.counted_as = waiting


class WaitingRoom(Generic[W]):
    """The lines of one place. `now_ns` never goes back from one call to the next.

    Args:
        order: of the channel, at this place; no other room has it.
        lanes: how many things the lines share and wait for, each by its number.
        by_host: whether each host has a line; else there is only :data:`ONE_LINE`.
        reports: whether lines keep the waiters that have not been reported.
        keeps_instants: whether lines keep when each joined, which a bounded wait for a slot needs.
        counted_as: counts the waiters, until their line is counted as something else; None: they are not counted.
        on_empty: called with the host of a line that has become empty, when it is gone.
    """

    def __init__(
        self,
        order: Order,
        lanes: int = 0,
        *,
        by_host: bool = True,
        reports: bool = False,
        keeps_instants: bool = False,
        counted_as: Waiting | None = None,
        on_empty: Callable[[str], None] | None = None,
    ) -> None:
        self.lines: dict[str, Line[W]] = {}
        """By host; none is empty."""
        self.order = order
        self._by_host = by_host
        self._reports = reports
        self._keeps_instants = keeps_instants
        self._counted_as = counted_as
        self._on_empty = on_empty
        self._for_room = [0] * lanes
        """By lane, how many lines wait for room there."""
        self._turns: list[Turns[_Hosts]] = [Turns(order, self._since) for _ in range(lanes if by_host else 0)]
        """The turns, by lane, of the flows of the lines that wait for room there."""
        self._expiries: list[tuple[Any, ...]] = []
        """When each expires, its place, flow, and host if lines are by host; for a while also of some that left."""
        self._wakes: list[tuple[int, str]] = []
        """When a line is worth a look, and its host; entries that no longer hold stay for a while."""

    # ── joining and leaving ─────────────────────────────────────────────────────────────────────────────────────

    def join(self, host: str, flow: Flow, item: W, expires_at_ns: int | None, now_ns: int) -> Line[W]:
        """Let one wait at a host, behind all others of its flow; return the line."""
        line = self.lines.get(host)
        if line is None:
            line = self.lines[host] = Line(host, self.order, self._counted_as)
            if self._reports:
                line.unreported = {}
            if self._keeps_instants:
                line.joined = OrderedDict()
        place = self.order.next_place(now_ns)
        queue = line.turns.get(flow)
        is_first = queue is None
        if queue is None:
            queue = PlacedQueue()
            line.turns.add(flow, queue)
        queue.append(place, item)
        line.size += 1
        if line.counted_as is not None:
            line.counted_as.change(1)
        if line.unreported is not None:
            line.unreported[place] = item
        if line.joined is not None:
            line.joined[place] = now_ns, flow
        if expires_at_ns is not None:
            heapq.heappush(self._expiries, (expires_at_ns, place, flow, *((host,) if self._by_host else ())))
        if is_first and self._by_host:
            for lane in line.room_at:
                self._add(lane, line, flow)
        return line

    def take(self, line: Line[W], flow: Flow, *, goes: bool, at: int | None = None) -> W:
        """Take the first of a flow out of a line.

        Args:
            line: the line of the waiter.
            flow: the flow whose first waiter is taken.
            goes: whether the waiter goes on; if it ends or goes back, its flow keeps the turn.
            at: the lane at which it was the flow's turn; None: no lane.
        """
        queue = line.queue(flow)
        if goes:
            line.turns.take(flow)
            if self._by_host:
                for lane in line.room_at:
                    if lane == at:
                        self._turns[lane].take(flow)
                    else:
                        self._turns[lane].pass_by(flow)
        place, item = queue.pop()
        self._left(line, flow, queue, place)
        return item

    def take_longest(self, line: Line[W]) -> W:
        """Take the longest waiter out of a line that keeps instants."""
        assert line.joined is not None
        place, (_, flow) = next(iter(line.joined.items()))
        item = self._take_out(line, flow, place)
        assert item is not None
        return item

    def take_out(self, host: str, flow: Flow, item: W) -> bool:
        """Take a waiter out of the line of a host; tell whether it was there."""
        line, place = self.lines.get(host), self._place_of(host, flow, item)
        return line is not None and place is not None and self._take_out(line, flow, place) is not None

    def _place_of(self, host: str, flow: Flow, item: W) -> int | None:
        line = self.lines.get(host)
        queue = None if line is None else line.turns.get(flow)
        return None if queue is None else queue.find(id(item))

    def expired(self, now_ns: int) -> Iterator[tuple[int, str, W]]:
        """Take out expired waiters, lazily; yield for each since when it has expired, its host, and it."""
        while self._expiries and self._expiries[0][0] < now_ns:
            expires_at_ns, place, flow, *hosts = heapq.heappop(self._expiries)
            host = hosts[0] if hosts else ONE_LINE
            line = self.lines.get(host)
            if line is not None and (item := self._take_out(line, flow, place)) is not None:
                yield expires_at_ns + 1, host, item

    def clear(self) -> None:
        """Forget all waiters; the room's owner resets the counts."""
        for line in list(self.lines.values()):
            for lane in line.room_at:
                self.wait_for_no_room(line, lane)
        self.lines.clear()
        self._expiries.clear()
        self._wakes.clear()

    def _take_out(self, line: Line[W], flow: Flow, place: int) -> W | None:
        queue = line.turns.get(flow)
        item = None if queue is None else queue.take_out(place)
        if queue is not None and item is not None:
            self._left(line, flow, queue, place)
        return item

    def _left(self, line: Line[W], flow: Flow, queue: PlacedQueue[W], place: int) -> None:
        """Note that a waiter of a flow has left: the only way out of a room, except by `clear`."""
        line.size -= 1
        if line.counted_as is not None:
            line.counted_as.change(-1)
        if line.unreported:
            line.unreported.pop(place, None)
        if line.joined:
            line.joined.pop(place, None)
        if not queue.size:
            line.turns.discard(flow)
            if self._by_host:
                for lane in line.room_at:
                    self._remove(lane, line.host, flow)
        if not line.size:
            del self.lines[line.host]
            for lane in line.room_at:
                self._for_room[lane] -= 1
            if self._on_empty is not None:
                self._on_empty(line.host)
        elif line.slot_wait_ns is not None:
            self.set_wake(line)

    # ── turns for room that the lines share ─────────────────────────────────────────────────────────────────────

    def wait_for_room(self, line: Line[W], lane: int) -> None:
        """Let a line take turns at a lane, if it does not yet."""
        if lane not in line.room_at:
            line.room_at += (lane,)
            self._for_room[lane] += 1
            for flow in line.turns.flows() if self._by_host else ():
                self._add(lane, line, flow)

    def wait_for_no_room(self, line: Line[W], lane: int) -> None:
        """Let a line take no turns at a lane any more, if it does."""
        if lane in line.room_at:
            line.room_at = tuple(each for each in line.room_at if each != lane)
            self._for_room[lane] -= 1
            for flow in line.turns.flows() if self._by_host else ():
                self._remove(lane, line.host, flow)

    def any_for_room(self, lane: int) -> bool:
        return self._for_room[lane] > 0

    def turns_at(self, lane: int) -> Turns[Any]:
        """Return the turns at a lane, of the flows of all lines there; at least one has to wait for room there."""
        return self._turns[lane] if self._by_host else self.lines[ONE_LINE].turns

    def line_at(self, lane: int, flow: Flow) -> Line[W]:
        """Return, of all lines that wait for room at a lane, the line whose first waiter of a flow joined first."""
        if not self._by_host:
            return self.lines[ONE_LINE]
        hosts = self._turns[lane].get(flow)
        assert hosts is not None
        return self.lines[self._first(hosts)[1]]

    def others_wait(self, lane: int, key: str) -> bool:
        """Tell whether any of other keys wait for room at a lane; where there is one line, whether they wait at all."""
        if self._by_host:
            return self._turns[lane].has_others(key)
        return ONE_LINE in self.lines and self.lines[ONE_LINE].turns.has_others(key)

    def are_before(self, lane: int, rank: int) -> bool:
        """Tell whether any waiter for room at a lane goes before a newcomer of a class at another host."""
        return self._turns[lane].are_before(rank) if self._by_host else bool(self.lines)

    def _add(self, lane: int, line: Line[W], flow: Flow) -> None:
        hosts = self._turns[lane].get(flow)
        if hosts is None:
            hosts = _Hosts(flow)
            self._turns[lane].add(flow, hosts)
        if line.host not in hosts.waits:
            heapq.heappush(hosts.heap, (line.queue(flow).first_place, line.host))
        hosts.count += not hosts.waits.get(line.host, False)
        hosts.waits[line.host] = True

    def _remove(self, lane: int, host: str, flow: Flow) -> None:
        hosts = self._turns[lane].get(flow)
        assert hosts is not None
        hosts.waits[host] = False
        hosts.count -= 1
        if not hosts.count:
            self._turns[lane].discard(flow)

    def _since(self, hosts: _Hosts) -> int:
        return self._first(hosts)[0]

    def _first(self, hosts: _Hosts) -> tuple[int, str]:
        heap = hosts.heap
        while True:
            place, host = heap[0]
            if not hosts.waits[host]:
                heapq.heappop(heap)
                del hosts.waits[host]
            elif (now := self.lines[host].queue(hosts.flow).first_place) != place:
                # The first has gone: places only grow, so a stale entry comes up before its line is due.
                heapq.heapreplace(heap, (now, host))
            else:
                return heap[0]

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def set_wake(self, line: Line[W]) -> None:
        """Set when a line is worth a look: when it asks again, or the first has waited long enough for a slot."""
        wake_ns = line.asks_at_ns
        if line.slot_wait_ns is not None:
            wake_ns = sooner(wake_ns, line.refuses_at_ns)
        if wake_ns is not None and wake_ns != line.wake_ns:
            heapq.heappush(self._wakes, (wake_ns, line.host))
        line.wake_ns = wake_ns

    def ask_at(self, line: Line[W], asks_at_ns: int | None) -> None:
        """Set when a line is worth asking again; None: something else brings that."""
        line.asks_at_ns = asks_at_ns
        self.set_wake(line)

    def due(self, now_ns: int) -> list[tuple[int, str]]:
        """Return the hosts of lines that are worth a look now, with the instants since when they are, in order."""
        due = []
        while self._wakes and self._wakes[0][0] <= now_ns:
            wake_ns, host = heapq.heappop(self._wakes)
            if self._is_due(wake_ns, host):
                self.lines[host].wake_ns = None
                due.append((wake_ns, host))
        return due

    @property
    def wake_ns(self) -> int | None:
        """When time next ends a wait or brings an expiry; None: never."""
        while self._wakes and not self._is_due(*self._wakes[0]):
            heapq.heappop(self._wakes)
        while self._expiries and not self._is_waiting(*self._expiries[0][1:]):
            heapq.heappop(self._expiries)
        wake_ns = self._wakes[0][0] if self._wakes else None
        return sooner(wake_ns, self._expiries[0][0] + 1) if self._expiries else wake_ns

    def _is_due(self, wake_ns: int, host: str) -> bool:
        line = self.lines.get(host)
        return line is not None and line.wake_ns == wake_ns

    def _is_waiting(self, place: int, flow: Flow, host: str = ONE_LINE) -> bool:
        line = self.lines.get(host)
        queue = None if line is None else line.turns.get(flow)
        return queue is not None and place in queue


class _Hosts:
    """The hosts at which some of a flow wait for room at a lane, by who joined first."""

    __slots__ = ("count", "flow", "heap", "waits")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.heap: list[tuple[int, str]] = []
        self.waits: dict[str, bool] = {}
        """For each host in the heap, whether any of this flow still wait there."""
        self.count = 0
