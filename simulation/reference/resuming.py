"""What is overdue when a handler starts: it goes at the pace of what resumes (section 19)."""

from __future__ import annotations

from collections.abc import Mapping

from simulation.reference.channel import Way
from simulation.reference.instants import sooner
from simulation.reference.limits import Pace
from simulation.reference.loop import Loop
from simulation.reference.notifications import Notification
from simulation.reference.order import Order, Queue


class _Line(Queue[Notification]):
    def __init__(self, pace: Pace, order: Order) -> None:
        super().__init__(order)
        self.pace = pace


class Backlog:
    """By channel, those that wait for their turn; "newcomers pass"."""

    def __init__(self, loop: Loop, ways: Mapping[str, Way]) -> None:
        self.loop = loop
        self.ways = ways
        self.lines: dict[str, _Line] = {}

    def add(self, notification: Notification, until_ns: int | None) -> None:
        """Let one wait for its turn."""
        channel = notification.command.channel
        if channel not in self.lines:
            way = self.ways[channel]
            self.lines[channel] = _Line(Pace(way.config.circuit_breaker, self.loop.now_ns), Order(way.config))
        self.lines[channel].add(notification, notification.command, until_ns, self.loop.now_ns)

    def take_due(self) -> list[Notification]:
        """Take out those whose time is up, and of each channel one whose turn it is."""
        now_ns = self.loop.now_ns
        lines = self.lines.items()
        self.lines = {channel: line for channel, line in lines if line.waiting or line.pace.next_ns > now_ns}
        due: list[Notification] = []
        for line in self.lines.values():
            due += line.take_expired(now_ns)
            if line.waiting and line.pace.next_ns <= now_ns:
                line.pace.take_turn(now_ns)
                due.append(line.pop())
        return due

    def set_wake(self) -> None:
        """Set when to look again."""
        wakes = (sooner(line.pace.next_ns, line.next_expiry_ns()) for line in self.lines.values())
        self.loop.wake("backlog", "", sooner(*wakes))

    def pass_by(self, channel: str) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.lines:
            self.ways[channel].lanes[0].pass_backlog(self.lines[channel].pace)
