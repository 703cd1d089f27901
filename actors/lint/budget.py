"""Retry budgets: what allows no retry at all, and what does not last when nothing is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from actors.lint.health import Failing, failing
from actors.lint.schedule import waits
from actors.lint.traffic import NEARLY, Found, Traffic
from actors.lint.words import counted, duration, percent, plain_number, rate
from actors.settings.distribution_moments import limited_mean, median

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RetryConfig
    from actors.settings.retry import (
        AwsBudgetConfig,
        EnvoyBudgetConfig,
        FinagleBudgetConfig,
        GrpcBudgetConfig,
    )

_LOOKED_AT = 1000
"""So many retries of one notification; leaving out what comes behind makes the sum no larger."""


def budget_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `retry.budget`.

    Whether it lasts is looked at only where the retries follow from the failures alone: where all failures have the
    same settings, retries are not bounded by time, and no copies of hedged attempts are charged too.
    """
    from actors.settings.retry import (
        AwsBudgetConfig,
        EnvoyBudgetConfig,
        FinagleBudgetConfig,
        GrpcBudgetConfig,
        TokenBudgetConfig,
    )

    retry, budget = config.retry, config.retry.budget
    has_rules = any(rule is not None for _, rule in retry.per_outcome) or bool(retry.per_reason)
    retries = retry.max_attempts > 1 or has_rules
    if budget is None or not (retries or config.hedging is not None):
        return
    wanted = " and no ".join(["retry"] * retries + ["copy"] * (config.hedging is not None))
    if (nothing := _allows_none(retry, wanted)) is not None:
        key, text = nothing
        yield Found(("retry", "budget", key), "budget-allows-nothing", text)
        return
    if floor_is_above_share(config, traffic):
        yield _floor(config, traffic)
    if has_rules or retry.max_elapsed is not None or config.hedging is not None:
        return
    healthy = failing(config)
    if not healthy.all or config.timeout < median(config.provider.latency):
        return  # the latter is said of the timeout, and is the cause
    match budget:
        case FinagleBudgetConfig():
            finding = _finagle(budget, config, healthy, traffic)
        case EnvoyBudgetConfig():
            finding = _envoy(budget, config, healthy, traffic.flow(config))
        case GrpcBudgetConfig():
            finding = _grpc(budget, healthy)
        case AwsBudgetConfig():
            finding = _aws(budget, retry, healthy)
        case TokenBudgetConfig():
            finding = _by_share(budget.share, retry, healthy)
    if finding is not None:
        key, text = finding
        so = f"{text}: with nothing wrong, some of what fails is not retried"
        yield Found(("retry", "budget", key), "budget-runs-out", so)


def floor_is_above_share(config: ChannelConfig, traffic: Traffic) -> bool:
    """Return whether a budget allows more retries in any case than its share of what arrives: it is no share then."""
    from actors.settings.retry import FinagleBudgetConfig

    budget, flow = config.retry.budget, traffic.flow(config)
    if not isinstance(budget, FinagleBudgetConfig) or budget.min_rate is None or flow is None:
        return False
    return budget.min_rate.per_second * NEARLY > budget.share * flow


def _floor(config: ChannelConfig, traffic: Traffic) -> Found:
    budget: Any = config.retry.budget
    flow, floor = traffic.flow(config) or 0.0, budget.min_rate.per_second
    allowed = budget.share * flow + floor
    return Found(
        ("retry", "budget", "min_rate"),
        "budget-floor-above-share",
        f"{rate(floor)} are allowed in any case, more than the {percent(budget.share)} of "
        f"{traffic.arriving(flow, config)} that arrive, {rate(budget.share * flow)}: together {rate(allowed)}, "
        f"{percent(allowed / flow)} of what arrives",
    )


def _allows_none(retry: RetryConfig, wanted: str) -> tuple[str, str] | None:
    """Return the key and the text of a budget that never allows a retry, not even the first one of all.

    Args:
        retry: with the budget.
        wanted: what is asked for: ``retry``, ``copy`` where attempts are hedged, or both. Budgets that a failure spends
            may still allow a copy of what is late, so nothing is said of them where only copies are asked for.
    """
    from actors.settings.retry import (
        AwsBudgetConfig,
        EnvoyBudgetConfig,
        FinagleBudgetConfig,
        GrpcBudgetConfig,
        TokenBudgetConfig,
    )

    match retry.budget:
        case GrpcBudgetConfig(max_tokens=tokens) if tokens <= 2 and wanted != "copy":
            left = max(0.0, tokens - 1)
            return (
                "max_tokens",
                f"{plain_number(tokens)} allows no retry at all: a failure takes one token, and the "
                f"{plain_number(left)} left {'is' if left == 1 else 'are'} not more than half",
            )
        case EnvoyBudgetConfig(share=0, min_concurrency=0, inclusive=False):
            return "share", f"0% with a min_concurrency of 0 allows no {wanted} at all"
        case FinagleBudgetConfig(share=0, min_rate=least, ttl=ttl) if least is None or least.per_second * ttl < 1:
            reserve = "no min_rate" if least is None else f"less than one retry of min_rate in a ttl of {duration(ttl)}"
            return "share", f"0% with {reserve} allows no {wanted} at all"
        case AwsBudgetConfig(capacity=capacity, retry_cost=cost) if cost > capacity and wanted != "copy":
            return (
                "retry_cost",
                f"{plain_number(cost)} is more than the whole capacity of {plain_number(capacity)}: "
                "no attempt that failed transiently is ever retried",
            )
        case TokenBudgetConfig(capacity=1, inclusive=False):
            return "capacity", f"1 allows no {wanted} at all: without inclusive there has to be more than one token"
    return None


def _retries(p: float, max_attempts: int) -> float:
    """Return the mean number of retries of a notification, p + p² + … , if each attempt fails with probability p."""
    return max_attempts - 1 if p == 1 else p * (1 - p ** (max_attempts - 1)) / (1 - p)


def _finagle(
    budget: FinagleBudgetConfig, config: ChannelConfig, healthy: Failing, traffic: Traffic
) -> tuple[str, str] | None:
    retry, flow = config.retry, traffic.flow(config)
    if budget.min_rate is None:
        return _by_share(budget.share, retry, healthy)
    if flow is None:
        return None
    needed = _retries(healthy.all, retry.max_attempts)
    fail = f"of the attempts fail{healthy.timing_out}"
    allowed = budget.share * flow + budget.min_rate.per_second
    if allowed >= needed * flow * NEARLY:
        return None
    return (
        "share",
        f"{percent(budget.share)} of {traffic.arriving(flow, config)} and a min_rate of "
        f"{rate(budget.min_rate.per_second)} allow retries at {rate(allowed)}, and {rate(needed * flow)} are needed "
        f"where {percent(healthy.all)} {fail}",
    )


def _by_share(share: float, retry: RetryConfig, healthy: Failing) -> tuple[str, str] | None:
    needed = _retries(healthy.all, retry.max_attempts)
    if share >= needed * NEARLY:
        return None
    return (
        "share",
        f"{percent(share)} allows {counted(100 * share, 'retry', 'retries')} for 100 notifications, and "
        f"{plain_number(100 * needed)} are needed where {percent(healthy.all)} of the attempts "
        f"fail{healthy.timing_out}",
    )


def _envoy(
    budget: EnvoyBudgetConfig, config: ChannelConfig, healthy: Failing, flow: float | None
) -> tuple[str, str] | None:
    """Little's law twice: for the attempts under way, and for the retries that wait or are under way."""
    if flow is None:
        return None
    p, attempts, latency = healthy.all, config.retry.max_attempts, limited_mean(config.provider.latency, config.timeout)
    under_way = flow * latency * (1 + _retries(p, attempts))
    waiting = sum(
        p**number * wait
        for number, wait in enumerate(islice(waits(config.retry, "mean"), min(attempts - 1, _LOOKED_AT)), start=1)
    )
    retries = flow * (waiting + latency * _retries(p, attempts))
    allowed = max(budget.min_concurrency, budget.share * under_way) + (1 if budget.inclusive else 0)
    if allowed >= retries * NEARLY:
        return None
    return (
        "share",
        f"{percent(budget.share)} of the {counted(under_way, 'attempt')} under way and a min_concurrency of "
        f"{plain_number(budget.min_concurrency)} allow {counted(allowed, 'retry', 'retries')} at once, and "
        f"{plain_number(retries)} wait or are under way on average where {percent(p)} of the attempts "
        f"fail{healthy.timing_out}",
    )


def _grpc(budget: GrpcBudgetConfig, healthy: Failing) -> tuple[str, str] | None:
    bearable = budget.token_ratio / (1 + budget.token_ratio)
    if healthy.all <= bearable:
        return None
    return (
        "token_ratio",
        f"{plain_number(budget.token_ratio)} for each success makes up for {percent(bearable)} of the attempts "
        f"failing, and {percent(healthy.all)} do{healthy.timing_out}, so that the tokens run out",
    )


def _aws(budget: AwsBudgetConfig, retry: RetryConfig, healthy: Failing) -> tuple[str, str] | None:
    of_timeouts = budget.retry_cost if budget.timeout_cost is None else budget.timeout_cost
    cost = budget.retry_cost + (of_timeouts - budget.retry_cost) * healthy.too_slow / healthy.all
    lost = healthy.all * cost * _retries(healthy.all, retry.max_attempts)
    given = 1 - healthy.all
    if lost <= given:
        return None
    return (
        "retry_cost",
        f"{plain_number(budget.retry_cost)} for a retry takes {plain_number(100 * lost)} for 100 notifications where "
        f"{percent(healthy.all)} of the attempts fail{healthy.timing_out}, and what succeeds gives "
        f"{plain_number(100 * given)} back, so that the capacity of {plain_number(budget.capacity)} runs out",
    )
