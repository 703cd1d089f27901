"""What waits for the lease of a store that several nodes share: nothing is sent on one that is over."""

from __future__ import annotations

from collections.abc import Mapping

from actors.domain.delivery import Delivery
from actors.pipeline.retry_budgets import RetryBudgets


class Held:
    """Notifications that are to be sent when the store has its lease again."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}

    def keep(self, delivery: Delivery, budgets: RetryBudgets | None, now_ns: int) -> None:
        """Keep one back, as the lease is over.

        An attempt of it that is under way is of no interest any more: whoever asked for another one knows that it is
        lost.
        """
        if delivery.current is not None:
            if budgets is not None:
                budgets.attempt_has_ended(delivery, None, now_ns)
            delivery.current = None
        self._deliveries[delivery.command.notification_id] = delivery

    def release(self, in_flight: Mapping[str, Delivery]) -> list[Delivery]:
        """Return those that are still in flight, in the order in which they came."""
        released, self._deliveries = self._deliveries, {}
        return [delivery for each, delivery in released.items() if in_flight.get(each) is delivery]
