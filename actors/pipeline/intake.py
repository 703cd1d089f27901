"""The intake: accepts a command once, if its channel is known and there is room."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.domain.delivery import Delivery, requested
from actors.domain.ids import check_id
from actors.domain.store import Store
from actors.errors import IdempotencyConflict, InvalidRecipient, Overloaded, StoreBusy, UnknownChannel, Unstorable
from actors.kernel.runtime import Runtime
from actors.messages import Priority, SendNotification
from actors.pipeline.journal import Journal
from actors.pipeline.orders import Acceptance
from actors.pipeline.wiring import Wiring
from actors.policies.admission import RETRY_AFTER
from actors.policies.breaker.per_host import recipient_host


class Intake:
    """What the handler takes in. It puts into `deliveries` what is accepted.

    Args:
        system: says what time it is.
        store: knows the ids of what has ended lately.
        wiring: of the pipeline.
        journal: writes down what is accepted.
        deliveries: what is in flight, by notification.
    """

    def __init__(
        self, system: Runtime, store: Store, wiring: Wiring, journal: Journal, deliveries: dict[str, Delivery]
    ) -> None:
        self._system = system
        self._store = store
        self._stages = wiring.stages
        self._admission = wiring.admission
        self._scarce_from = wiring.admission.scarce_from
        self._journal = journal
        self._deliveries = deliveries

    def has_room(self, priority: Priority, besides: int = 0) -> bool:
        """Tell whether one more of this class may be accepted, where so many are on their way here already."""
        return self._admission.has_room(len(self._deliveries) + besides, priority)

    def accept(
        self,
        command: SendNotification,
        go_on: Callable[[Delivery], None],
        instead_of: Delivery | None = None,
        traceparent: str | None = None,
        asks_for_room: bool = True,
    ) -> Acceptance:
        """Accept a command, or recognise one that is known.

        Args:
            command: it.
            go_on: called with its delivery when that is durable.
            instead_of: of a fallback, the delivery that it is sent in place of.
            traceparent: the trace that it belongs to; a fallback belongs to the trace of that delivery.
            asks_for_room: whether it is refused where there is no room.

        Raises:
            IdempotencyConflict: its id is known, with another payload.
            UnknownChannel: its channel is not configured.
            InvalidRecipient: no provider of its channel could send to its recipient. A fallback is not asked for that:
                its sender has had an answer, and it becomes a dead letter.
            Overloaded: there is no room.
            StoreBusy: nothing can be made durable for now, and it is asked for room.
            Unstorable: it would not come back from the store as it is, or its id cannot be one.
            StoreFailed: it cannot be made durable.
        """
        system, notification_id = self._system, command.notification_id
        now_ns = system.now_ns
        if instead_of is None:
            check_id(notification_id)
        may_be_known = notification_id in self._deliveries or self._store.remembered.may_know(notification_id)
        if may_be_known and (known := self.known(notification_id)) is not None:
            return self.repeated(command, known)
        stages = self._stages.get(command.channel)
        if stages is None:
            known_channels = ", ".join(self._stages)
            raise UnknownChannel(f"wanted a channel that is configured ({known_channels}), got {command.channel}")
        if (
            instead_of is None
            and stages.recipient_problem is not None
            and (problem := stages.recipient_problem(command)) is not None
        ):
            raise InvalidRecipient(problem)
        if asks_for_room and len(self._deliveries) >= self._scarce_from and not self.has_room(command.priority):
            raise Overloaded(RETRY_AFTER)
        if asks_for_room and self._store.is_busy:
            raise StoreBusy
        stages.arrivals.note(now_ns)
        if stages.lanes[0].breaker is None:  # it has one for each host
            stages.arrivals.note_host(recipient_host(command.recipient), now_ns)
        requested_at_ns = now_ns
        event = requested(command, now_ns, system.epoch_ns)
        if instead_of is not None:
            requested_at_ns, traceparent = instead_of.requested_at_ns, instead_of.traceparent
            event = msgspec.structs.replace(
                event,
                instead_of=instead_of.command.notification_id,
                waited_since_ns=requested_at_ns,
            )
        if traceparent is not None:
            event = msgspec.structs.replace(event, traceparent=traceparent)
        delivery = self._deliveries[notification_id] = Delivery(
            command, requested_at_ns, fresh_since_ns=now_ns, traceparent=traceparent
        )
        if command.not_before is not None:
            delivery.schedule(system.epoch_ns)
            if delivery.due_ns is not None:
                event = msgspec.structs.replace(event, waited_since_ns=delivery.requested_at_ns)
        try:
            self._journal.commit(event, delivery, go_on)
        except Unstorable:
            del self._deliveries[notification_id]
            raise
        return Acceptance.ACCEPTED

    def ids_of(self, user: str) -> list[str]:
        """Return the ids of a user's notifications that are accepted and have not ended."""
        return [notification_id for notification_id, each in self._deliveries.items() if each.command.user == user]

    def known(self, notification_id: str) -> SendNotification | None:
        """Return the command that this id came with, if it is in flight or has ended lately."""
        delivery, system = self._deliveries.get(notification_id), self._system
        if delivery is None:
            return self._store.remembered.get(notification_id, system.epoch_ns + system.now_ns)
        return delivery.known_as

    def repeated(self, command: SendNotification, known: SendNotification) -> Acceptance:
        """Record that the id of a command came before, with the command that is known.

        Raises:
            IdempotencyConflict: that is another one.
        """
        conflict = command != known
        self._journal.ignore_duplicate(command, conflict)
        if conflict:
            differs = tuple(
                name for name in command.__struct_fields__ if getattr(command, name) != getattr(known, name)
            )
            raise IdempotencyConflict(
                f"notification id {command.notification_id!r} is known already, with a different payload: another "
                f"{', '.join(differs)}",
                differs,
            )
        return Acceptance.DUPLICATE
