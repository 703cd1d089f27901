"""Whose turn it is among the lines that wait for room at one lane."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from actors.pipeline.lane import Lane
from actors.pipeline.waiting_line import WaitingLine
from actors.policies.order import Flow, Order, Turns


class Turn(NamedTuple):
    """The one whose turn it is."""

    host: str
    """That of its line."""

    flow: Flow
    """Of the line, whose first one it is."""


class TurnsOfOneLine:
    """The turns where all wait in one line, which has them itself."""

    def __init__(self, lines: Mapping[str, WaitingLine]) -> None:
        self._lines = lines
        self._host: str | None = None
        """That of the line, while it waits for room here."""

    def __bool__(self) -> bool:
        return self._host is not None

    def __contains__(self, host: str) -> bool:
        return self._host == host

    def add(self, host: str) -> None:
        """Let a line wait for room here, if it does not yet."""
        self._host = host

    def discard(self, host: str) -> None:
        """Let a line wait here no more, if it does."""
        if self._host == host:
            self._host = None

    def clear(self) -> None:
        """Remove the line."""
        self._host = None

    def next(self, lane: Lane) -> Turn | None:
        """Return whose turn it is to get the room there is; None: it is kept for others."""
        assert self._host is not None
        line = self._lines[self._host]
        flow = line.next_flow if line.turns is None else lane.next_turn(line.turns)
        return None if flow is None else Turn(self._host, flow)

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


class TurnsOfHosts:
    """The turns where each host has a line of its own: by class and key, and within these by who joined first."""

    def __init__(self, lines: Mapping[str, WaitingLine], order: Order) -> None:
        self._lines = lines
        self._turns: Turns[_Hosts] = order.turns(self._since)
        self._flows: dict[str, dict[Flow, None]] = {}
        """By host, the flows with which its line takes part."""

    def __bool__(self) -> bool:
        return bool(self._flows)

    def __contains__(self, host: str) -> bool:
        return host in self._flows

    def add(self, host: str) -> None:
        """Let a line wait for room here, if it does not yet."""
        if host not in self._flows:
            self._flows[host] = {}
            for flow in self._lines[host].flows():
                self._add(host, flow)

    def discard(self, host: str) -> None:
        """Let a line wait here no more, if it does."""
        for flow in self._flows.pop(host, ()):
            self._remove(host, flow)

    def clear(self) -> None:
        """Remove all lines."""
        for host in list(self._flows):
            self.discard(host)

    def changed(self, host: str, flow: Flow) -> None:
        """Take note that the first of a flow has joined a line, or the last has left."""
        flows = self._flows.get(host)
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

    def waits_before(self, rank: int, order: Order) -> bool:
        """Tell whether one that waits here goes before another one of a class that comes now."""
        return bool(self._flows) and not order.is_before_all(rank, self._turns)

    def has_gone(self, flow: Flow, is_here: bool) -> None:
        """Take note that one has gone, here or on another lane."""
        if is_here:
            self._turns.take(flow)
        else:
            self._turns.pass_by(flow)

    def _add(self, host: str, flow: Flow) -> None:
        self._flows[host][flow] = None
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
