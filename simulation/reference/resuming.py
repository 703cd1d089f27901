"""What is overdue when a handler starts: it goes at the pace of what resumes (section 19)."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping

from actors.instants import sooner
from simulation.reference.channel import Way
from simulation.reference.limits import Pace
from simulation.reference.loop import Loop
from simulation.reference.notifications import Notification
from simulation.reference.order import Classes, Flow, Order


class _Line:
    def __init__(self, pace: Pace, order: Order) -> None:
        self.pace = pace
        self.order = order
        self.classes: Classes[OrderedDict[str, Notification]] = Classes(order, self._place)
        self.waiting: dict[str, Flow] = {}
        """By id, the class and the key under which each of them waits."""
        self.places: dict[str, int] = {}
        self.expiries: list[tuple[int, str]] = []

    def add(self, notification: Notification, now_ns: int) -> None:
        name = notification.command.notification_id
        rank, key = self.waiting[name] = self.order.flow_of(notification.command)
        self.classes.keys[rank].setdefault(key, OrderedDict())[name] = notification
        self.places[name] = self.order.next_place(now_ns)

    def _place(self, flow: Flow) -> int:
        return self.places[next(iter(self.classes.keys[flow[0]][flow[1]]))]

    def take(self, name: str) -> Notification:
        rank, key = flow = self.waiting.pop(name)
        notification = self.classes.keys[rank][key].pop(name)
        if not self.classes.keys[rank][key]:
            self.classes.discard(flow)
        return notification

    def take_next(self) -> Notification:
        flow = self.classes.next()
        assert flow is not None
        self.classes.take(flow)
        return self.take(next(iter(self.classes.keys[flow[0]][flow[1]])))


class Backlog:
    """By channel, those that wait for their turn; "newcomers pass"."""

    def __init__(self, loop: Loop, ways: Mapping[str, Way]) -> None:
        self.loop = loop
        self.ways = ways
        self.lines: dict[str, _Line] = {}

    def add(self, notification: Notification, until_ns: int | None) -> None:
        """Let one wait for its turn."""
        channel, name = notification.command.channel, notification.command.notification_id
        if channel not in self.lines:
            way = self.ways[channel]
            self.lines[channel] = _Line(Pace(way.config.circuit_breaker, self.loop.now_ns), Order(way.config))
        self.lines[channel].add(notification, self.loop.now_ns)
        if until_ns is not None:
            heapq.heappush(self.lines[channel].expiries, (until_ns, name))

    def take_due(self) -> list[Notification]:
        """Take out those whose time is up, and of each channel one whose turn it is."""
        now_ns = self.loop.now_ns
        lines = self.lines.items()
        self.lines = {channel: line for channel, line in lines if line.waiting or line.pace.next_ns > now_ns}
        due: list[Notification] = []
        for line in self.lines.values():
            while line.expiries and line.expiries[0][0] < now_ns:
                name = heapq.heappop(line.expiries)[1]
                if name in line.waiting:
                    due.append(line.take(name))
            if line.waiting and line.pace.next_ns <= now_ns:
                line.pace.take_turn(now_ns)
                due.append(line.take_next())
        return due

    def set_wake(self) -> None:
        """Set when to look again."""
        wake_ns = None
        for line in self.lines.values():
            while line.expiries and line.expiries[0][1] not in line.waiting:
                heapq.heappop(line.expiries)
            wake_ns = sooner(wake_ns, line.pace.next_ns)
            wake_ns = sooner(wake_ns, line.expiries[0][0] + 1 if line.expiries else None)
        self.loop.wake("backlog", "", wake_ns)

    def pass_by(self, channel: str) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.lines:
            self.ways[channel].lanes[0].pass_backlog(self.lines[channel].pace)
