"""Retry budgets: no retry is made that is not in the budget of its channel, and none refused that is; counted anew."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from actors.messages import (
    ActorFailed,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.pipeline.handler import BUDGET_SPENT
from actors.policies.exact import as_fraction
from actors.retry_config import AwsBudgetConfig, BudgetConfig, EnvoyBudgetConfig, GrpcBudgetConfig
from simulation.invariants.base import Context, Invariant, Verdict, observes

_WORTH_A_RETRY = frozenset({Transient.__name__, Ambiguous.__name__})


class _Account(Protocol):
    """What one channel has of its budget, between bounds where the history does not say all."""

    def failed(self, failed: NotificationFailed) -> None:
        """Take note of a failed attempt, before it is decided about its retry."""

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        """Tell whether a retry could be in the budget."""

    def may_refuse(self, failed: NotificationFailed) -> bool:
        """Tell whether a retry could be beyond it."""

    def grant(self, failed: NotificationFailed) -> None:
        """Charge a retry."""

    def ended(self, event: NotificationEvent) -> None:
        """Take note that a notification has ended."""


class _Grpc:
    def __init__(self, config: GrpcBudgetConfig) -> None:
        self._most = self._tokens = as_fraction(config.max_tokens)
        self._ratio = as_fraction(config.token_ratio)

    def failed(self, failed: NotificationFailed) -> None:
        if failed.kind in _WORTH_A_RETRY and not failed.refused:
            self._tokens = max(Fraction(0), self._tokens - 1)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return 2 * self._tokens > self._most

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return 2 * self._tokens <= self._most

    def grant(self, failed: NotificationFailed) -> None:
        """A retry itself costs nothing."""

    def ended(self, event: NotificationEvent) -> None:
        if type(event) is NotificationSent:
            self._tokens = min(self._most, self._tokens + self._ratio)


class _Aws:
    def __init__(self, config: AwsBudgetConfig) -> None:
        self._config = config
        self._most = self._least = config.capacity
        """What is left of it at most and at least: what was charged for a retry that never set out is given back."""
        self._charges: dict[str, int] = {}

    def failed(self, failed: NotificationFailed) -> None:
        self._charges.pop(failed.notification_id, None)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return self._most >= self._cost(failed)

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return self._least < self._cost(failed)

    def grant(self, failed: NotificationFailed) -> None:
        cost = self._charges[failed.notification_id] = self._cost(failed)
        self._most -= cost
        self._least -= cost

    def ended(self, event: NotificationEvent) -> None:
        charge = self._charges.pop(event.notification_id, 0)
        if type(event) is NotificationSent:
            self._least = min(self._config.capacity, self._least + (charge or 1))
            charge = charge or 1
        self._most = min(self._config.capacity, self._most + charge)

    def _cost(self, failed: NotificationFailed) -> int:
        config = self._config
        if failed.kind == Ambiguous.__name__:
            return config.retry_cost if config.timeout_cost is None else config.timeout_cost
        return config.throttled_cost if failed.throttled else config.retry_cost


class _Envoy:
    def __init__(self, config: EnvoyBudgetConfig) -> None:
        self._config = config
        self._retries: set[str] = set()
        """Whose retry waits or is under way."""

    def failed(self, failed: NotificationFailed) -> None:
        self._retries.discard(failed.notification_id)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        part = as_fraction(self._config.share) * in_flight  # of at most so many under way
        if not self._config.inclusive:
            part -= 1
        return len(self._retries) < self._config.min_concurrency or len(self._retries) <= part

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return len(self._retries) >= self._config.min_concurrency

    def grant(self, failed: NotificationFailed) -> None:
        self._retries.add(failed.notification_id)

    def ended(self, event: NotificationEvent) -> None:
        self._retries.discard(event.notification_id)


class RetryBudgets(Invariant):
    """A retry is made only where the retry budget of its channel has something left, and given up for the budget only
    where it has not.

    Of a Finagle budget nothing is counted anew: how long it remembers is its own affair. Copies of a channel that
    hedges are charged too and in no history, so what is refused there is not looked at; and a handler that has crashed
    has new budgets.
    """

    name = "retry-budget"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._accounts: dict[NotificationChannel, _Account] = {}
        for channel, config in context.channels.items():
            account = _account(config.retry.budget)
            if account is not None:
                self._accounts[channel] = account
        self._hedging = {channel for (channel, _), config in context.providers.items() if config.hedging is not None}
        self._in_flight = dict.fromkeys(context.channels, 0)

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.mixes_messages_up and any(
            _account(config.retry.budget) is not None for config in context.channels.values()
        )

    @observes(ActorFailed)
    def on_crash(self, _event: ActorFailed) -> Verdict:
        self._accounts.clear()
        return None

    @observes(NotificationRequested, NotificationRedriven)
    def on_opening(self, event: NotificationEvent) -> Verdict:
        self._in_flight[event.channel] += 1
        return None

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: NotificationEvent) -> Verdict:
        self._in_flight[event.channel] -= 1
        account = self._accounts.get(event.channel)
        if account is not None:
            account.ended(event)
        return None

    @observes(NotificationFailed)
    def on_failed(self, failed: NotificationFailed) -> Verdict:
        account = self._accounts.get(failed.channel)
        if account is None:
            return None
        account.failed(failed)
        if failed.kind == ChannelFault.__name__:
            return None
        if failed.next_retry_at_ns is not None:
            if not account.may_grant(failed, self._in_flight[failed.channel]):
                spent = f"the retry budget of {failed.channel} is spent"
                return f"{failed.notification_id} is to be tried again, and {spent}"
            account.grant(failed)
        elif failed.given_up == BUDGET_SPENT and failed.channel not in self._hedging and not account.may_refuse(failed):
            return f"{failed.notification_id} is given up for the retry budget of {failed.channel}, which is not spent"
        return None


def _account(config: BudgetConfig | None) -> _Account | None:
    match config:
        case GrpcBudgetConfig():
            return _Grpc(config)
        case AwsBudgetConfig():
            return _Aws(config)
        case EnvoyBudgetConfig():
            return _Envoy(config)
        case _:
            return None
