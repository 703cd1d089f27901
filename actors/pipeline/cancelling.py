"""Cancelling: takes back what waits at the handler, for its instant, a retry or the end of quiet hours."""

from __future__ import annotations

from collections.abc import Mapping

from actors.domain.delivery import Delivery
from actors.domain.notification_state import CANCELLED
from actors.errors import StoreFailed
from actors.kernel.runtime import Runtime
from actors.messages import NotificationSuppressed
from actors.pipeline.commits import Commits
from actors.pipeline.journal import Journal
from actors.pipeline.orders import CancelNotification, CancelWaiting
from actors.pipeline.retry_budgets import RetryBudgets


class Cancelling:
    """What the handler does with orders to cancel.

    Args:
        system: says what time it is.
        journal: writes down what is cancelled.
        commits: those that are under way: what follows from them comes first.
        budgets: what a retry that is not made is given back to; None where no channel has any.
        deliveries: what is in flight, by notification.
    """

    def __init__(
        self,
        system: Runtime,
        journal: Journal,
        commits: Commits,
        budgets: RetryBudgets | None,
        deliveries: Mapping[str, Delivery],
    ) -> None:
        self._system = system
        self._journal = journal
        self._commits = commits
        self._budgets = budgets
        self._deliveries = deliveries

    def carry_out(self, order: CancelNotification | CancelWaiting) -> None:
        """Cancel what is meant and waits; answer, once that is durable."""
        if isinstance(order, CancelNotification):
            self._one(order)
        else:
            self._all(order)

    def _all(self, order: CancelWaiting) -> None:
        for notification_id, delivery in list(self._deliveries.items()):
            command = delivery.command
            is_meant = order.channels is None or command.channel in order.channels
            if is_meant and order.priority in (None, command.priority):
                self._one(CancelNotification(notification_id))

    def _one(self, order: CancelNotification) -> None:
        delivery = self._deliveries.get(order.notification_id)
        commit = self._commits.under_way.get(order.notification_id)
        if delivery is not None and commit is not None:
            commit.cancels.append(order)
        elif delivery is None or delivery.current is not None:
            order.reply(False)
        else:
            self._cancel(delivery, order)

    def _cancel(self, delivery: Delivery, order: CancelNotification) -> None:
        if self._budgets is not None:
            self._budgets.settle(delivery, self._system.now_ns)
        event = self._journal.event(NotificationSuppressed, delivery.command, reason=CANCELLED)
        try:
            self._journal.commit(event, delivery, lambda _: order.reply(True))
        except StoreFailed:
            if order.answer is not None:
                order.answer.set_exception()
            raise
        commit = self._commits.under_way.get(order.notification_id)
        if commit is not None and commit.event is event:
            commit.sender = order.answer
