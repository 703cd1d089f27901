"""What was due already when a node started, or took it over from another one: it resumes at a pace, not as one herd.

It waits here, in the order of its channel, before it sets out, so nothing of it is under way: new ones pass, and what
is due later goes at its time. What meets an open breaker then waits there as all others do.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from actors.domain.delivery import Delivery
from actors.instants import sooner
from actors.kernel.effects import Cancellable
from actors.messages import Message, NotificationChannel
from actors.pipeline.wiring import Stages
from actors.policies.order import Flow, Order, Turns
from actors.policies.resuming import Pace


class LookAtBacklog(Message, frozen=True, gc=False):
    """Time to look at the backlog."""


LOOK_AT_BACKLOG = LookAtBacklog()


def due_since_ns(delivery: Delivery) -> int:
    """Return since when one that comes from the store was to be sent: the order in which they resume.

    So the latest to fail comes last, and restarts in a row use up the attempts of different ones.
    """
    return delivery.fresh_since_ns if delivery.due_ns is None else delivery.due_ns


_Queue: TypeAlias = "OrderedDict[str, tuple[int, Delivery]]"
"""Deliveries by their ids, in order; with each its place."""


class _Line:
    """The backlog of one channel."""

    __slots__ = ("_expiries", "_order", "_turns", "pace", "size")

    def __init__(self, pace: Pace, order: Order) -> None:
        self.pace = pace
        self.size = 0
        """How many wait."""
        self._order = order
        self._turns: Turns[_Queue] = order.turns(_since)
        self._expiries: list[tuple[int, int, str, Flow]] = []
        """When each expires, and its place: of those that do at once the one that came first goes first."""

    def add(self, delivery: Delivery, until_ns: int | None, now_ns: int) -> None:
        flow = self._order.flow_of(delivery.command)
        queue = self._turns.get(flow)
        if queue is None:
            queue = OrderedDict()
            self._turns.add(flow, queue)
        notification_id = delivery.command.notification_id
        self.size += notification_id not in queue
        place = self._order.next_place(now_ns)
        queue[notification_id] = place, delivery
        if until_ns is not None:
            heapq.heappush(self._expiries, (until_ns, place, notification_id, flow))

    def due(self, now_ns: int) -> Iterator[Delivery]:
        while self._expiries and self._expiries[0][0] < now_ns:
            _, _, notification_id, flow = heapq.heappop(self._expiries)
            if self._is_waiting(notification_id, flow):
                yield self._take_out(notification_id, flow)
        if self.size and self.pace.next_ns <= now_ns:
            self.pace.release(now_ns)
            turn = self._turns.next()
            assert turn is not None
            self._turns.take(turn)
            yield self._take_out(next(iter(self._turns.get(turn) or ())), turn)

    @property
    def wake_ns(self) -> int | None:
        while self._expiries and not self._is_waiting(*self._expiries[0][2:]):
            heapq.heappop(self._expiries)
        return sooner(self.pace.next_ns, self._expiries[0][0] + 1 if self._expiries else None)

    def _is_waiting(self, notification_id: str, flow: Flow) -> bool:
        return notification_id in (self._turns.get(flow) or ())

    def _take_out(self, notification_id: str, flow: Flow) -> Delivery:
        queue = self._turns.get(flow)
        assert queue is not None
        self.size -= 1
        _, delivery = queue.pop(notification_id)
        if not queue:
            self._turns.discard(flow)
        return delivery


def _since(queue: _Queue) -> int:
    """Return the place of the first, which is when it joined."""
    return next(iter(queue.values()))[0]


class Backlog:
    """The backlogs of all channels. `now_ns` never goes back from one call to the next.

    Args:
        stages: the stages of each channel, whose first lane has the settings of the pace.
    """

    def __init__(self, stages: Mapping[NotificationChannel, Stages]) -> None:
        self._stages = stages
        self.lines: dict[NotificationChannel, _Line] = {}
        """Each until its pace would let one go, and none is left."""
        self.timer: Cancellable | None = None
        """Of the next look, which the handler sets."""

    def add(self, delivery: Delivery, until_ns: int | None, now_ns: int) -> None:
        """Let one wait for its turn, behind all others of its class and key on its channel.

        Args:
            delivery: it.
            until_ns: the last instant at which it may be sent; None: it does not expire.
            now_ns: the instant.
        """
        channel = delivery.command.channel
        line = self.lines.get(channel)
        if line is None:
            config = self._stages[channel].lanes[0].config
            order = Order(config.order, config.fair_by)
            line = self.lines[channel] = _Line(Pace(config.circuit_breaker, now_ns), order)
        line.add(delivery, until_ns, now_ns)

    def charge(self, channel: NotificationChannel, now_ns: int) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        line = self.lines.get(channel)
        if line is not None:
            line.pace.charge(now_ns, self._stages[channel].lanes[0].ceiling_per_s(now_ns))

    def due(self, now_ns: int) -> list[Delivery]:
        """Take out those whose turn it is, and those that have expired."""
        for channel in [each for each, line in self.lines.items() if not line.size]:
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
