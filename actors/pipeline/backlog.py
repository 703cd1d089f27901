"""What was due already when a node started, or took it over from another one: it resumes at a pace, not as one herd.

It waits here, in the order of its channel, before it sets out, so nothing of it is under way: new ones pass, and what
is due later goes at its time. What meets an open breaker then waits there as all others do.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.domain.delivery import Delivery
from actors.instants import sooner
from actors.kernel.effects import Cancellable
from actors.messages import Message, NotificationChannel
from actors.pipeline.wiring import Stages
from actors.policies.order import Order
from actors.policies.resuming import Pace
from actors.policies.waiting_room import ONE_LINE, WaitingRoom


class LookAtBacklog(Message, frozen=True, gc=False):
    """Time to look at the backlog."""


LOOK_AT_BACKLOG = LookAtBacklog()


def due_since_ns(delivery: Delivery) -> int:
    """Return since when one that comes from the store was to be sent: the order in which they resume.

    So the latest to fail comes last, and restarts in a row use up the attempts of different ones.
    """
    return delivery.fresh_since_ns if delivery.due_ns is None else delivery.due_ns


class Backlog:
    """The backlogs of all channels. `now_ns` never goes back from one call to the next.

    Args:
        stages: the stages of each channel, whose first lane has the settings of the pace.
    """

    def __init__(self, stages: Mapping[NotificationChannel, Stages]) -> None:
        self._stages = stages
        self.rooms: dict[NotificationChannel, tuple[Pace, WaitingRoom[Delivery]]] = {}
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
        if channel not in self.rooms:
            config = self._stages[channel].lanes[0].config
            order = Order(config.order, config.fair_by)
            self.rooms[channel] = Pace(config.circuit_breaker, now_ns), WaitingRoom(order)
        _, room = self.rooms[channel]
        room.join(ONE_LINE, room.order.flow_of(delivery.command), delivery, until_ns, now_ns)

    def charge(self, channel: NotificationChannel, now_ns: int) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.rooms:
            pace, _ = self.rooms[channel]
            pace.charge(now_ns, self._stages[channel].lanes[0].ceiling_per_s(now_ns))

    def due(self, now_ns: int) -> list[Delivery]:
        """Take out those whose turn it is, and those that have expired."""
        due: list[Delivery] = []
        for channel, (pace, room) in list(self.rooms.items()):
            if not room.lines and pace.next_ns <= now_ns:
                del self.rooms[channel]
            due += [delivery for _, _, delivery in room.expired(now_ns)]
            line = room.lines.get(ONE_LINE)
            if line is not None and pace.next_ns <= now_ns and (flow := line.turns.next()) is not None:
                pace.release(now_ns)
                due.append(room.take(line, flow, goes=True))
        return due

    @property
    def wake_ns(self) -> int | None:
        """When to look again; None: nothing waits."""
        wake_ns = None
        for pace, room in self.rooms.values():
            wake_ns = sooner(wake_ns, sooner(pace.next_ns, room.wake_ns))
        return wake_ns
