"""The ends of a notification: sent, suppressed, cancelled or dead-lettered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from actors.domain.attempts import Admitted
from actors.domain.delivery import Delivery, dead_letter
from actors.domain.notification_state import CANCELLED
from actors.domain.store import Store
from actors.kernel.effects import Performed
from actors.kernel.runtime import Runtime
from actors.messages import DeadLetterMessage, NotificationMovedToDeadLetter, NotificationSent, NotificationSuppressed
from actors.pipeline.journal import Journal
from actors.pipeline.orders import CancelNotification
from actors.pipeline.readiness import ADDRESS_GONE
from actors.pipeline.retries import RetryBudgets
from actors.pipeline.wiring import Wiring


class Endings:
    """Ends notifications; `bury` is called with a durable dead letter, `fall_back` with a notification whose address
    is gone."""

    def __init__(
        self,
        system: Runtime,
        store: Store,
        wiring: Wiring,
        journal: Journal,
        budgets: RetryBudgets | None,
        bury: Callable[[DeadLetterMessage, Delivery], None],
        fall_back: Callable[[Delivery], None],
    ) -> None:
        self._system = system
        self._store = store
        self._stages = wiring.stages
        self._journal = journal
        self._budgets = budgets
        self._bury = bury
        self._fall_back = fall_back

    def sent(self, delivery: Delivery, performed: Performed) -> None:
        system, command = self._system, delivery.command
        admitted: Admitted = performed.request
        event = NotificationSent(
            at_ns=system.now_ns,
            epoch_ns=system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            attempt=delivery.attempts + 1,
            started_ns=performed.started_ns,
            requested_at_ns=delivery.requested_at_ns,
            provider=admitted.provider,
            hedges=admitted.hedges,
            priority=command.priority,
        )
        self._journal.commit(event, delivery, None)

    def suppress(self, delivery: Delivery, reason: str) -> None:
        self._settle(delivery)
        event = self._journal.event(NotificationSuppressed, delivery.command, reason=reason)
        falls_back = reason is ADDRESS_GONE and not self._store.is_delivered(event.notification_id)
        self._journal.commit(event, delivery, self._fall_back if falls_back else None)

    def cancel(self, delivery: Delivery, order: CancelNotification) -> None:
        self._settle(delivery)
        event = self._journal.event(NotificationSuppressed, delivery.command, reason=CANCELLED)
        self._journal.commit(event, delivery, None, order.answer)

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """End a notification that cannot be sent: people decide about it."""
        self._settle(delivery)
        event = self._journal.event(
            NotificationMovedToDeadLetter,
            delivery.command,
            reason=reason,
            attempts=delivery.attempts,
            requested_at_ns=delivery.requested_at_ns,
            priority=delivery.command.priority,
        )
        self._journal.commit(event, delivery, partial(self._bury, dead_letter(delivery, event)))

    def _settle(self, delivery: Delivery) -> None:
        if self._budgets is not None:
            self._budgets.settle(delivery, self._system.now_ns)
        delivery.end()
        self.give_back(delivery)

    def give_back(self, delivery: Delivery) -> None:
        """Take the slot of a notification back, if it holds one; a sent one has lost its slot with the answer."""
        if (stages := self._stages.get(delivery.command.channel)) is not None:
            stages.give_back(delivery.command.notification_id)
