"""The backlog: what is overdue when a handler starts goes at a pace, as what waited for a breaker does (section 19)."""

from __future__ import annotations

from actors.messages import NotificationChannel
from simulation.verification.model.instants import sooner
from simulation.verification.model.notifications import Notification
from simulation.verification.model.order import Order, Queue
from simulation.verification.model.process import Process
from simulation.verification.model.resuming import Pace, ceiling_per_s


class Backlog:
    """By channel, those that wait for their turn; "newcomers pass"."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: dict[NotificationChannel, tuple[Queue[Notification], Pace]] = {}

    def add(self, notification: Notification, until_ns: int | None) -> None:
        channel = notification.command.channel
        if channel not in self.lines:
            config = self.process.world.channels[channel]
            self.lines[channel] = Queue(Order(config)), Pace(config.circuit_breaker, self.process.now_ns)
        line, _ = self.lines[channel]
        line.add(notification, notification.command, until_ns, self.process.now_ns)

    def take_due(self) -> list[Notification]:
        """Take out those whose time is up, and of each channel one whose turn it is."""
        now_ns = self.process.now_ns
        due: list[Notification] = []
        for channel, (line, pace) in list(self.lines.items()):
            if not line.waiting and pace.next_ns <= now_ns:
                del self.lines[channel]
            due += [expired for _, _, expired in line.take_expired(now_ns)]
            if line.waiting and pace.next_ns <= now_ns:
                pace.take_turn(now_ns)
                due.append(line.pop())
        return due

    def set_wake(self) -> None:
        """Set when to look again."""
        wakes = (sooner(pace.next_ns, line.next_expiry_ns()) for line, pace in self.lines.values())
        self.process.wake("backlog", "", sooner(*wakes))

    def pass_by(self, channel: NotificationChannel) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.lines:
            now_ns, config = self.process.now_ns, self.process.world.channels[channel].circuit_breaker
            ceiling = ceiling_per_s(config, self.process.arrivals[channel].per_second(None, now_ns))
            self.lines[channel][1].pass_by(now_ns, ceiling)
