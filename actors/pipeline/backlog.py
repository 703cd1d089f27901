"""What was due already when a node started, or took it over from another one: it resumes at a pace, not as one herd.

It waits here before it sets out, so nothing of it is under way: new ones pass, and what is due later goes at its time.
What meets an open breaker then waits there as all others do.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from actors.domain.delivery import Delivery
from actors.instants import sooner
from actors.messages import Message, NotificationChannel
from actors.pipeline.wiring import Stages
from actors.policies.resuming import Pace


class LookAtBacklog(Message, frozen=True, gc=False):
    """Time to look at the backlog."""


LOOK_AT_BACKLOG = LookAtBacklog()


def due_since_ns(delivery: Delivery) -> int:
    """Return since when one that comes from the store was to be sent: the order in which they resume.

    So the latest to fail comes last, and restarts in a row use up the attempts of different ones.
    """
    return delivery.fresh_since_ns if delivery.due_ns is None else delivery.due_ns


class _Line:
    """The backlog of one channel."""

    __slots__ = ("deliveries", "expiries", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.deliveries: OrderedDict[str, Delivery] = OrderedDict()
        self.expiries: list[tuple[int, str]] = []

    def add(self, delivery: Delivery, until_ns: int | None) -> None:
        self.deliveries[delivery.command.notification_id] = delivery
        if until_ns is not None:
            heapq.heappush(self.expiries, (until_ns, delivery.command.notification_id))

    def due(self, now_ns: int) -> Iterator[Delivery]:
        while self.expiries and self.expiries[0][0] < now_ns:
            expired = self.deliveries.pop(heapq.heappop(self.expiries)[1], None)
            if expired is not None:
                yield expired
        if self.deliveries and self.pace.next_ns <= now_ns:
            self.pace.release(now_ns)
            yield self.deliveries.popitem(last=False)[1]

    @property
    def wake_ns(self) -> int | None:
        while self.expiries and self.expiries[0][1] not in self.deliveries:
            heapq.heappop(self.expiries)
        return sooner(self.pace.next_ns, self.expiries[0][0] + 1 if self.expiries else None)


class Backlog:
    """The backlogs of all channels. `now_ns` never goes back from one call to the next.

    Args:
        stages: the stages of each channel, whose first lane has the settings of the pace.
    """

    def __init__(self, stages: Mapping[NotificationChannel, Stages]) -> None:
        self._stages = stages
        self.lines: dict[NotificationChannel, _Line] = {}
        """Each until its pace would let one go, and none is left."""

    def add(self, delivery: Delivery, until_ns: int | None, now_ns: int) -> None:
        """Let one wait for its turn, behind all others of its channel.

        Args:
            delivery: it.
            until_ns: the last instant at which it may be sent; None: it does not expire.
            now_ns: the instant.
        """
        channel = delivery.command.channel
        line = self.lines.get(channel)
        if line is None:
            line = self.lines[channel] = _Line(Pace(self._stages[channel].lanes[0].config.circuit_breaker, now_ns))
        line.add(delivery, until_ns)

    def charge(self, channel: NotificationChannel, now_ns: int) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        line = self.lines.get(channel)
        if line is not None:
            line.pace.charge(now_ns, self._stages[channel].lanes[0].ceiling_per_s(now_ns))

    def due(self, now_ns: int) -> list[Delivery]:
        """Take out those whose turn it is, and those that have expired."""
        for channel in [each for each, line in self.lines.items() if not line.deliveries]:
            if self.lines[channel].pace.next_ns <= now_ns:
                del self.lines[channel]
        return [delivery for line in self.lines.values() for delivery in line.due(now_ns)]

    @property
    def wake_ns(self) -> int | None:
        """When to look again; None: nothing waits."""
        wake_ns = None
        for line in self.lines.values():
            wake_ns = sooner(wake_ns, line.wake_ns)
        return wake_ns
