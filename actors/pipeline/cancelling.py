"""Cancelling: takes back notifications that wait.

A notification waits at the handler (for its instant, a retry or the end of quiet hours) or in a line of its channel
(for a limit, the quota, a slot or the breaker). The stages own the lines: the handler asks them, and they tell it which
attempts they have taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, get_args

from actors.domain.delivery import Delivery
from actors.messages import NotificationChannel
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.journal import Journal
from actors.pipeline.orders import CancelNotification, CancelWaiting, NotWaiting, Withdraw, Withdrawal
from actors.pipeline.wiring import Wiring

OfCancelling: TypeAlias = CancelNotification | CancelWaiting | Withdrawal | NotWaiting
"""Orders to cancel, and what the stages answer."""

CANCELLING = get_args(OfCancelling)


class Cancelling:
    """Carries out orders to cancel. Where a commit is under way, its consequences come first."""

    def __init__(self, journal: Journal, wiring: Wiring, deliveries: Deliveries) -> None:
        self._journal = journal
        self._commits = wiring.commits
        self._stages = wiring.stages
        self._deliveries = deliveries

    def carry_out(self, order: OfCancelling) -> None:
        """Cancel the notifications that are meant and wait; answer, once that is durable."""
        match order:
            case CancelNotification():
                self._cancel_each([order])
            case CancelWaiting():
                self._cancel_each([CancelNotification(each) for each in self._ids_of(order)])
            case Withdrawal():
                if (delivery := self._whose_is_current(order)) is not None:
                    self._journal.cancel(delivery, order.order)
            case NotWaiting():
                for each in order.wanted:
                    if self._whose_is_current(each) is not None:
                        each.order.reply(False)

    def _ids_of(self, order: CancelWaiting) -> list[str]:
        return [
            notification_id
            for notification_id, delivery in self._deliveries.by_id.items()
            if (order.channels is None or delivery.command.channel in order.channels)
            and order.priority in (None, delivery.command.priority)
        ]

    def _cancel_each(self, orders: Iterable[CancelNotification]) -> None:
        on_their_way: dict[NotificationChannel, list[Withdrawal]] = {}
        for order in orders:
            delivery = self._deliveries.by_id.get(order.notification_id)
            if delivery is None:
                order.reply(False)
            elif (commit := self._commits.under_way.get(order.notification_id)) is not None:
                commit.cancels.append(order)
            elif delivery.current is not None:
                on_their_way.setdefault(delivery.command.channel, []).append(Withdrawal(delivery.current, order))
            else:
                self._journal.cancel(delivery, order)
        for channel, wanted in on_their_way.items():
            self._stages[channel].entrance.tell(Withdraw(tuple(wanted)))

    def _whose_is_current(self, withdrawal: Withdrawal) -> Delivery | None:
        """Return the notification of the attempt that was looked for; if that is stale, carry the order out anew."""
        delivery = self._deliveries.of(withdrawal.attempt)
        if delivery is None:
            self._cancel_each([withdrawal.order])
        return delivery
