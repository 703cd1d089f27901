"""The retry budgets of the channels that have one, and what each delivery has taken from them."""

from __future__ import annotations

from collections.abc import Mapping

from actors.domain.delivery import Delivery
from actors.messages import NotificationChannel
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.policies.retry.budgets import Budget, make_budget
from actors.policies.retry.policy import failure_kind
from actors.settings.channel import ChannelConfig


class RetryBudgets:
    """The budgets, all of them full; a channel may have none."""

    def __init__(self, channels: Mapping[NotificationChannel, ChannelConfig]) -> None:
        self._budgets: dict[NotificationChannel, Budget] = {
            channel: make_budget(config.retry.budget)
            for channel, config in channels.items()
            if config.retry.budget is not None
        }

    def of(self, channel: NotificationChannel) -> Budget | None:
        return self._budgets.get(channel)

    def set_out(self, delivery: Delivery, now_ns: int) -> None:
        budget = self._budgets.get(delivery.command.channel)
        if budget is not None:
            budget.start(delivery.charge, now_ns)

    def attempt_has_ended(self, delivery: Delivery, succeeded: bool | None, now_ns: int) -> None:
        """Record that an attempt has ended; None where another one could not have done better."""
        budget = self._budgets.get(delivery.command.channel)
        if budget is not None:
            budget.end(delivery.charge, succeeded, now_ns)
            delivery.charge_retry(0)

    def allows(self, delivery: Delivery, outcome: Transient | Ambiguous | ChannelFault, now_ns: int) -> bool:
        """Charge a retry to the budget, and return whether it may be made."""
        budget = self._budgets.get(delivery.command.channel)
        if budget is None or isinstance(outcome, ChannelFault):  # which uses no attempt up, and no budget either
            return True
        charge = budget.try_retry(failure_kind(outcome), now_ns)
        if charge is None:
            return False
        delivery.charge_retry(charge)
        return True

    def settle(self, delivery: Delivery, now_ns: int) -> None:
        """Clear what a notification that ends without a provider's answer still has."""
        if delivery.current is not None:
            self.attempt_has_ended(delivery, None, now_ns)
        elif delivery.charge:
            self._budgets[delivery.command.channel].give_back(delivery.charge, now_ns)
            delivery.charge_retry(0)
