"""Whose turn it is among the lines that wait for room at one lane."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.pipeline.lane import WHOLE_LANE, Lane
from actors.pipeline.waiting_line import WaitingLine
from actors.policies.order import Flow, Order, Turns


class Turn(NamedTuple):
    """The one whose turn it is."""

    host: str
    """That of its line."""

    flow: Flow | None = None
    """Of the line, whose first one it is; None: the line says whose turn it is."""


_THE_LINE = Turn(WHOLE_LANE)


class TurnsOfOneLine(dict[str, None]):
    """The turns where all wait in one line, which has them itself: what is here is that it waits for room.

    A mapping as that of many lines is, so that most of what is asked of it takes no call.
    """

    def __init__(self, lines: Mapping[str, WaitingLine], order: Order) -> None:
        super().__init__()
        self._lines = lines
        self._has_keys = order.has_keys

    def next(self, lane: Lane) -> Turn | None:
        """Return whose turn it is to get the room there is; None: it is kept for others."""
        if not self._has_keys:
            return _THE_LINE
        turns = self._lines[WHOLE_LANE].turns
        assert turns is not None
        flow = lane.next_turn(turns)
        return None if flow is None else Turn(WHOLE_LANE, flow)

    def others_wait(self, key: str) -> bool:
        """Tell whether any of other keys wait, be it for room."""
        turns = self._lines[WHOLE_LANE].turns if self._lines else None
        return turns is not None and turns.has_others(key)

    def waits_before(self, rank: int, order: Order) -> bool:
        """Tell whether one that waits here goes before another one of a class that comes now: it joins the line."""
        return True

    def changed(self, host: str, flow: Flow) -> None:
        """Take note that the first of a flow has joined a line, or the last has left."""

    def has_gone(self, flow: Flow, is_here: bool) -> None:
        """Take note that one has gone, here or on another lane: the line has done so itself."""


class _Hosts:
    """The hosts at which some of a flow wait, by who joined first."""

    __slots__ = ("flow", "heap", "in_heap", "waiting")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.heap: list[tuple[int, str]] = []
        self.in_heap: set[str] = set()
        self.waiting: set[str] = set()


class TurnsOfHosts(dict[str, dict[Flow, None]]):
    """The turns where each host has a line of its own: by class and key, and within these by who joined first.

    Maps the hosts whose lines wait for room here to the flows with which they take part.
    """

    def __init__(self, lines: Mapping[str, WaitingLine], order: Order) -> None:
        super().__init__()
        self._lines = lines
        self._turns: Turns[_Hosts] = order.turns(self._since)

    def setdefault(self, host: str, _: None = None) -> dict[Flow, None]:  # type: ignore[override]
        """Let a line wait for room here, if it does not yet."""
        if host not in self:
            self[host] = {}
            for flow in self._lines[host].flows():
                self._add(host, flow)
        return self[host]

    def pop(self, host: str, default: Any = None) -> Any:
        """Let a line wait here no more, if it does."""
        flows = super().pop(host, default)
        for flow in flows or ():
            self._remove(host, flow)
        return flows

    def clear(self) -> None:
        """Remove all lines."""
        for host in list(self):
            self.pop(host)

    def changed(self, host: str, flow: Flow) -> None:
        """Take note that the first of a flow has joined a line, or the last has left."""
        flows = self.get(host)
        if flows is None:
            return
        if self._lines[host].place(flow) is not None:
            self._add(host, flow)
        elif flow in flows:
            del flows[flow]
            self._remove(host, flow)

    def next(self, lane: Lane) -> Turn | None:
        """Return whose turn it is to get the room there is; None: it is kept for others."""
        flow = lane.next_turn(self._turns)
        if flow is None:
            return None
        hosts = self._turns.get(flow)
        assert hosts is not None
        return Turn(self._first(hosts)[1], flow)

    def others_wait(self, key: str) -> bool:
        """Tell whether any of other keys wait for room here."""
        return self._turns.has_others(key)

    def waits_before(self, rank: int, order: Order) -> bool:
        """Tell whether one that waits here goes before another one of a class that comes now."""
        return bool(self) and not order.is_before_all(rank, self._turns)

    def has_gone(self, flow: Flow, is_here: bool) -> None:
        """Take note that one has gone, here or on another lane."""
        if is_here:
            self._turns.take(flow)
        else:
            self._turns.pass_by(flow)

    def _add(self, host: str, flow: Flow) -> None:
        self[host][flow] = None
        hosts = self._turns.get(flow)
        if hosts is None:
            hosts = _Hosts(flow)
            self._turns.add(flow, hosts)
        hosts.waiting.add(host)
        if host not in hosts.in_heap:
            place = self._lines[host].place(flow)
            assert place is not None
            hosts.in_heap.add(host)
            heapq.heappush(hosts.heap, (place, host))

    def _remove(self, host: str, flow: Flow) -> None:
        hosts = self._turns.get(flow)
        assert hosts is not None
        hosts.waiting.discard(host)
        if not hosts.waiting:
            self._turns.discard(flow)

    def _since(self, hosts: _Hosts) -> int:
        return self._first(hosts)[0]

    def _first(self, hosts: _Hosts) -> tuple[int, str]:
        """Return the place of the one that joined first, and its host."""
        heap = hosts.heap
        while True:
            place, host = heap[0]
            now = self._lines[host].place(hosts.flow) if host in hosts.waiting else None
            if now == place:
                return heap[0]
            # Those before it have gone, or it waits no more: places only grow, so this is found out when it comes up.
            if now is None:
                heapq.heappop(heap)
                hosts.in_heap.discard(host)
            else:
                heapq.heapreplace(heap, (now, host))
