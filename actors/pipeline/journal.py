"""The journal: each change of a notification is made durable, recorded and announced before anything follows.

Its changes at the end, too: sent, suppressed, cancelled or dead-lettered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from actors.domain.attempts import Admitted
from actors.domain.delivery import Delivery, dead_letter
from actors.domain.notification_state import CANCELLED
from actors.domain.store import Store
from actors.errors import StoreFailed
from actors.kernel.actor import Actor
from actors.kernel.effects import Performed
from actors.messages import (
    DeadLetterMessage,
    DuplicateIgnored,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.commits import Commit
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.orders import Acceptance, CancelNotification, ReplyTo
from actors.pipeline.readiness import ADDRESS_GONE
from actors.pipeline.retries import RetryBudgets
from actors.pipeline.wiring import Wiring

E = TypeVar("E", bound=NotificationEvent)

_ENDING = frozenset({NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter})


class Journal:
    """Writes down the changes of the handler's notifications, and takes ended notifications out of `deliveries`.

    Args:
        budgets: of retries, in which ended notifications leave nothing; None: there are none.
        bury: called with a durable dead letter.
        fall_back: called with a notification whose address is gone.
    """

    def __init__(
        self,
        handler: Actor,
        store: Store,
        wiring: Wiring,
        deliveries: Deliveries,
        budgets: RetryBudgets | None,
        bury: Callable[[DeadLetterMessage, Delivery], None],
        fall_back: Callable[[Delivery], None],
    ) -> None:
        self._handler = handler
        self._system = handler.system
        self._record = handler.process.record
        self._store = store
        self._commits = wiring.commits
        self._redrives = wiring.redrives
        self._announce = wiring.announce
        self._subscribed = wiring.subscribed
        self._deliveries = deliveries.by_id
        self._stages = wiring.stages
        self._budgets = budgets
        self._bury = bury
        self._fall_back = fall_back

    def event(self, kind: type[E], command: SendNotification, /, **fields: Any) -> E:
        return kind(
            at_ns=self._system.now_ns,
            epoch_ns=self._system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            **fields,
        )

    def commit(
        self,
        event: NotificationEvent,
        delivery: Delivery,
        go_on: Callable[[Delivery], None] | None,
        answer: ReplyTo | None = None,
        is_durable: bool = False,
    ) -> None:
        """Make an event durable if it is not, record it, announce it, answer, and then go on.

        `answer` gets ACCEPTED for an acceptance and True for any other event, or StoreFailed.
        """
        if not is_durable:
            try:
                effect = self._store.commit(event, delivery.command)
            except StoreFailed:
                if answer is not None:
                    answer.set_exception()
                raise
            if effect is not None:
                self._handler.perform(effect, self._commits.begin(event, delivery, go_on, answer))
                return
        kind = type(event)
        if kind in _ENDING:
            self._deliveries.pop(event.notification_id, None)
            if self._redrives:
                self.take_up_next_redrive()
        self._record(event)
        if kind in self._subscribed:
            self._announce(event)
        if answer is not None:
            answer.set(Acceptance.ACCEPTED if kind is NotificationRequested else True)
        if go_on is not None:
            go_on(delivery)

    def take_up_next_redrive(self) -> None:
        """Take up a redrive that waits, if any does, as there is room for one again."""
        if self._redrives:
            self._handler.actor_ref.tell(self._redrives.take())

    def is_done(self, commit: Commit) -> None:
        """Go on after a change that the store has made durable."""
        self._commits.end(commit)
        self.commit(commit.event, commit.delivery, commit.go_on, commit.sender, is_durable=True)
        for answer in commit.duplicates:
            answer.set(Acceptance.DUPLICATE)

    def has_failed(self, error: Exception) -> NoReturn:
        """Fail all answers that wait for a durable change, and end the system."""
        for commit in self._commits.under_way.values():
            commit.fail(error)
        raise error

    def ignore_duplicate(self, command: SendNotification, conflict: bool) -> None:
        """Record and announce that a command came again; that need not be durable."""
        event = self.event(DuplicateIgnored, command, conflict=conflict)
        self._record(event)
        self._announce(event)

    # ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

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
        self.commit(event, delivery, None)

    def suppress(self, delivery: Delivery, reason: str) -> None:
        self._settle(delivery)
        event = self.event(NotificationSuppressed, delivery.command, reason=reason)
        falls_back = reason is ADDRESS_GONE and not self._store.is_delivered(event.notification_id)
        self.commit(event, delivery, self._fall_back if falls_back else None)

    def cancel(self, delivery: Delivery, order: CancelNotification) -> None:
        self._settle(delivery)
        event = self.event(NotificationSuppressed, delivery.command, reason=CANCELLED)
        self.commit(event, delivery, None, order.answer)

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """End a notification that cannot be sent: people decide about it."""
        self._settle(delivery)
        event = self.event(
            NotificationMovedToDeadLetter,
            delivery.command,
            reason=reason,
            attempts=delivery.attempts,
            requested_at_ns=delivery.requested_at_ns,
            priority=delivery.command.priority,
        )
        self.commit(event, delivery, partial(self._bury, dead_letter(delivery, event)))

    def _settle(self, delivery: Delivery) -> None:
        if self._budgets is not None:
            self._budgets.settle(delivery, self._system.now_ns)
        delivery.end()
        self.give_back(delivery)

    def give_back(self, delivery: Delivery) -> None:
        """Take the slot of a notification back, if it holds one; a sent one has lost its slot with the answer."""
        if (stages := self._stages.get(delivery.command.channel)) is not None:
            stages.give_back(delivery.command.notification_id)
