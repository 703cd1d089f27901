"""The agenda: the notifications that wait at the handler for a turn or the lease, with no attempt under way.

A notification that waits for its own instant, a retry or the end of quiet hours has a timer (`Handler._wait`). The
agenda keeps two others:

- notifications that were already due when their node started or took them over. They resume at a pace and in the order
  of their channel, not as one herd; slot holders first, since the others wait for their slots. New notifications pass
  them, and notifications due later go at their time;
- all notifications, while the node's lease on a shared store has run out: the node sends nothing then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from actors.domain.delivery import Delivery
from actors.instants import sooner
from actors.kernel.actor import Actor
from actors.kernel.effects import Cancellable
from actors.messages import Message, NotificationChannel
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.wiring import Stages
from actors.policies.order import Order
from actors.policies.resuming import Pace
from actors.policies.waiting_room import ONE_LINE, WaitingRoom


class GoOn(Message, frozen=True, gc=False):
    """The instant has come that this notification waits for."""

    delivery: Delivery


class LookAtBacklog(Message, frozen=True, gc=False):
    """Time to look at the notifications that wait for their turns."""


LOOK_AT_BACKLOG = LookAtBacklog()


_HOLDING = "holding"
"""The name, in place of a host, of the line of notifications that hold a slot."""


def due_since_ns(delivery: Delivery) -> int:
    """Return when a notification from the store became due; notifications resume in this order.

    So the latest to fail comes last, and restarts in a row use up the attempts of different notifications.
    """
    return delivery.fresh_since_ns if delivery.due_ns is None else delivery.due_ns


class Agenda:
    """The notifications that wait at the handler for a turn, or for the lease."""

    def __init__(self, handler: Actor, stages: Mapping[NotificationChannel, Stages], deliveries: Deliveries) -> None:
        self._handler = handler
        self._system = handler.system
        self._stages = stages
        self._may_go_on = deliveries.may_go_on
        self.rooms: dict[NotificationChannel, tuple[Pace, WaitingRoom[Delivery]]] = {}
        """Where notifications wait for their turns: each room until its pace would let one go, and none is left."""
        self._next_look: Cancellable | None = None
        self._without_lease: dict[str, Delivery] = {}

    def wait_for_turn(self, delivery: Delivery, until_ns: int | None) -> None:
        """Let a notification wait for its turn behind all others of its class and key on its channel, or of those there
        that hold a slot, until it expires after `until_ns`; None: it does not."""
        channel, now_ns = delivery.command.channel, self._system.now_ns
        if channel not in self.rooms:
            config = self._stages[channel].lanes[0].config
            order = Order(config.order, config.fair_by)
            self.rooms[channel] = Pace(config.circuit_breaker, now_ns), WaitingRoom(order)
        _, room = self.rooms[channel]
        host = _HOLDING if self._stages[channel].holds_again(delivery) else ONE_LINE
        room.join(host, room.order.flow_of(delivery.command), delivery, until_ns, now_ns)

    def charge(self, channel: NotificationChannel) -> None:
        """Count a notification that sets out, whether it has waited or not: the ceiling is for all together."""
        if channel in self.rooms:
            pace, _ = self.rooms[channel]
            now_ns = self._system.now_ns
            pace.charge(now_ns, self._stages[channel].lanes[0].ceiling_per_s(now_ns))

    def turns(self) -> Iterator[Delivery]:
        """Yield the notifications whose turn it is, and the expired ones; then set the timer of the next look."""
        for delivery in self._due(self._system.now_ns):
            if self._may_go_on(delivery):
                delivery.go_on()
                yield delivery
        if self._next_look is not None:
            self._next_look.cancel()
        wake_ns = None
        for pace, room in self.rooms.values():
            wake_ns = sooner(wake_ns, sooner(pace.next_ns, room.wake_ns))
        self._next_look = None if wake_ns is None else self._handler.at(wake_ns, LOOK_AT_BACKLOG)

    def _due(self, now_ns: int) -> list[Delivery]:
        due: list[Delivery] = []
        for channel, (pace, room) in list(self.rooms.items()):
            if not room.lines and pace.next_ns <= now_ns:
                del self.rooms[channel]
            due += [delivery for _, _, delivery in room.expired(now_ns)]
            line = room.lines.get(_HOLDING, room.lines.get(ONE_LINE))
            if line is not None and pace.next_ns <= now_ns and (flow := line.turns.next()) is not None:
                pace.release(now_ns)
                due.append(room.take(line, flow, goes=True))
        return due

    def wait_for_lease(self, delivery: Delivery) -> None:
        self._without_lease[delivery.command.notification_id] = delivery

    def lease_is_back(self) -> list[Delivery]:
        """Take out the notifications that waited for the lease and may go on, in the order in which they came."""
        waited, self._without_lease = self._without_lease, {}
        return [delivery for delivery in waited.values() if self._may_go_on(delivery)]
