"""The backlog: what is overdue when a handler starts goes at a pace, as what waited for a breaker does (section 19)."""

from __future__ import annotations

from actors.messages import NotificationChannel
from simulation.verification.model.instants import sooner
from simulation.verification.model.notifications import Notification
from simulation.verification.model.order import Order, Queue
from simulation.verification.model.process import Process
from simulation.verification.model.resuming import Pace, ceiling_per_s


class Backlog:
    """By channel, notifications that wait for their turn; "newcomers pass", and holders of a slot go first."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: dict[NotificationChannel, tuple[Queue[Notification], Queue[Notification], Pace]] = {}
        """The notifications that hold a slot, and the others."""

    def add(self, notification: Notification, until_ns: int | None, *, holds_slot: bool) -> None:
        channel = notification.command.channel
        if channel not in self.lines:
            config = self.process.world.channels[channel]
            order, pace = Order(config), Pace(config.circuit_breaker, self.process.now_ns)
            self.lines[channel] = Queue(order), Queue(order), pace
        holding, others, _ = self.lines[channel]
        (holding if holds_slot else others).add(notification, notification.command, until_ns, self.process.now_ns)

    def take_due(self) -> list[Notification]:
        """Take out those whose time is up, and of each channel one whose turn it is."""
        now_ns = self.process.now_ns
        due: list[Notification] = []
        for channel, (holding, others, pace) in list(self.lines.items()):
            if not holding.waiting and not others.waiting and pace.next_ns <= now_ns:
                del self.lines[channel]
            expired = sorted([*holding.take_expired(now_ns), *others.take_expired(now_ns)], key=lambda each: each[:2])
            due += [each for _, _, each in expired]
            line = holding if holding.waiting else others
            if line.waiting and pace.next_ns <= now_ns:
                pace.take_turn(now_ns)
                due.append(line.pop())
        return due

    def set_wake(self) -> None:
        lines = self.lines.values()
        wakes = (sooner(pace.next_ns, one.next_expiry_ns(), other.next_expiry_ns()) for one, other, pace in lines)
        self.process.wake("backlog", "", sooner(*wakes))

    def pass_by(self, channel: NotificationChannel) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.lines:
            now_ns, config = self.process.now_ns, self.process.world.channels[channel].circuit_breaker
            ceiling = ceiling_per_s(config, self.process.arrivals[channel].per_second(None, now_ns))
            self.lines[channel][-1].pass_by(now_ns, ceiling)
