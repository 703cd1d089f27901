"""Retry budgets: how many retries a channel as a whole may make, whatever each notification would like.

A limit for each notification bounds the work of one; in an outage all of them retry at once, and three attempts each
are three times the load. A budget bounds the retries by the work that is done anyway, so a retry storm cannot start.

Which to choose. `finagle` reads as people say it, a share of the first attempts and a small rate besides. `grpc` asks
how many attempts fail: with few failures all are retried, with many none. `envoy` bounds what is under way at once and
so needs no clock, but says nothing about how many retries a second that makes. `aws` bounds the retries that have
failed, and gives back what succeeded. `token_bucket` is a share of the first attempts too, but remembers for ever what
it was not asked for, up to its capacity, and needs no clock.

The order of calls, for every attempt: :meth:`Budget.start`, then :meth:`Budget.end`; and after an attempt that failed
and would be retried :meth:`Budget.try_retry`. What that returns is the charge of the retry, to be handed to its `start`
and `end`; a first attempt has the charge 0.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from actors.policies.retry.aws_budget import AwsBudget
from actors.policies.retry.envoy_budget import EnvoyBudget
from actors.policies.retry.finagle_budget import FinagleBudget
from actors.policies.retry.grpc_budget import GrpcBudget
from actors.policies.retry.policy import FailureKind
from actors.policies.retry.token_budget import TokenBudget
from actors.settings.retry import (
    AwsBudgetConfig,
    BudgetConfig,
    EnvoyBudgetConfig,
    FinagleBudgetConfig,
    GrpcBudgetConfig,
    TokenBudgetConfig,
)


class Budget(Protocol):
    """What they have in common. `now_ns` never goes back from one call to the next."""

    def start(self, charge: int, now_ns: int) -> None:
        """An attempt sets out, its time in queues included."""

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """An attempt has ended: it succeeded, or it failed in a way that another attempt may not.

        None: neither, as of a permanent failure or of an attempt that was abandoned.
        """

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return the charge of a retry, more than 0, after an attempt that failed in this way; None: no retry."""

    def give_back(self, charge: int, now_ns: int) -> None:
        """A retry that was allowed will never set out."""


def make_budget(config: BudgetConfig) -> Budget:
    """Return the budget that `config` asks for."""
    match config:
        case GrpcBudgetConfig():
            return GrpcBudget(config.max_tokens, config.token_ratio)
        case EnvoyBudgetConfig():
            return EnvoyBudget(config.share, config.min_concurrency, inclusive=config.inclusive)
        case FinagleBudgetConfig():
            return FinagleBudget(config.share, config.min_rate, config.ttl)
        case AwsBudgetConfig():
            return AwsBudget(config.capacity, config.retry_cost, config.throttled_cost, config.timeout_cost)
        case TokenBudgetConfig():
            return TokenBudget(config.share, config.capacity, inclusive=config.inclusive)
        case _:
            assert_never(config)
