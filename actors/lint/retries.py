"""Retries: when attempts start, retries that never start or never grow, budgets, and an expiry that ends them early."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from actors.instants import ns
from actors.lint.findings import Finding, Rules, Said, said
from actors.lint.traffic import NEARLY, Failing, Traffic, failing, shortest_open_s
from actors.settings.distribution_moments import limited_mean, median

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RetryConfig

_RULES = Rules("""
setting-without-effect/one-attempt  retry.max_attempts
    {attempts} leaves {keys} without an effect: the only attempt is never retried
setting-without-effect/key  retry.{key}
    has no effect {why}
max-delay-below-initial-delay  max_delay
    {most:duration} is below the initial_delay of {first:duration}: {waits}, and none grows
attempts-without-end  retry.max_attempts
    unlimited, with neither a max_elapsed nor a deadline: a notification that keeps failing and has no expires_after is
    tried for ever, and is never dead-lettered
attempts-end-early/elapsed  retry.max_elapsed
    {ends}
attempts-end-early/deadline  deadline
    {ends}
attempts-end-early/expiry  retry
    an expiry of {ends}
timeout-above-expiry  timeout
    {timeout:duration} is longer than an expires_after of {age:duration}: an attempt that is not answered takes all of
    that, and is never retried
breaker-open-above-expiry  circuit_breaker.timeout
    {open:duration} is longer than an expires_after of {age:duration}: of each opening, what arrives in the first
    {lost:duration} expires before an attempt is let through
budget-allows-nothing/grpc  retry.budget.max_tokens
    {tokens} allows no retry at all: a failure takes one token, and the {left} left {are} not more than half
budget-allows-nothing/envoy  retry.budget.share
    0% with a min_concurrency of 0 allows no {wanted} at all
budget-allows-nothing/finagle  retry.budget.share
    0% with {reserve} allows no {wanted} at all
budget-allows-nothing/aws  retry.budget.retry_cost
    {cost} is more than the whole capacity of {capacity}: no attempt that failed transiently is ever retried
budget-allows-nothing/tokens  retry.budget.capacity
    1 allows no {wanted} at all: without inclusive there has to be more than one token
budget-floor-above-share  retry.budget.min_rate
    {floor:rate} are allowed in any case, more than the {share:percent} of {arriving} that arrive, {of_them:rate}:
    together {allowed:rate}, {allowed_share:percent} of what arrives
budget-runs-out/finagle  retry.budget.share
    {share:percent} of {arriving} and a min_rate of {floor:rate} allow retries at {allowed:rate}, and {needed:rate} are
    needed where {failing:percent} of the attempts fail{timing_out}: with nothing wrong, some of what fails is not
    retried
budget-runs-out/share  retry.budget.share
    {share:percent} allows {allowed:retry/retries} for 100 notifications, and {needed} are needed where
    {failing:percent} of the attempts fail{timing_out}: with nothing wrong, some of what fails is not retried
budget-runs-out/envoy  retry.budget.share
    {share:percent} of the {under_way:attempt(s)} under way and a min_concurrency of {least} allow
    {allowed:retry/retries} at once, and {needed} wait or are under way on average where {failing:percent} of the
    attempts fail{timing_out}: with nothing wrong, some of what fails is not retried
budget-runs-out/grpc  retry.budget.token_ratio
    {ratio} for each success makes up for {bearable:percent} of the attempts failing, and {failing:percent}
    do{timing_out}, so that the tokens run out: with nothing wrong, some of what fails is not retried
budget-runs-out/aws  retry.budget.retry_cost
    {cost} for a retry takes {lost} for 100 notifications where {failing:percent} of the attempts fail{timing_out}, and
    what succeeds gives {given} back, so that the capacity of {capacity} runs out: with nothing wrong, some of what
    fails is not retried
""")

_OF_A_FORMULA = ("initial_delay", "backoff_multiplier", "max_delay", "min_delay", "backoff", "increment")
_OF_RETRIES = (
    "schedule", *_OF_A_FORMULA, "jitter", "jitter_share", "jitter_side", "jitter_max", "jitter_factor", "max_elapsed",
    "budget",
    "on", "retry_after", "retry_after_jitter", "retry_after_excess",
)  # fmt: skip

Bound: TypeAlias = Literal["shortest", "mean", "longest"]

_WAITS_MAX = 10_000
"""The most waits that are added up one by one; by then a backoff is at its maximum, or the sum says enough."""

_WAITS_SUMMED_MAX = 1000
"""Waits of one notification in an expected sum; leaving out the later ones does not raise it."""

_BEYOND_MEASURE = 1e300
"""Seconds; larger than any wait, and still so far from infinity that differences of such numbers are numbers."""


# ── when attempts start ─────────────────────────────────────────────────────────────────────────────────────────


def waits(retry: RetryConfig, bound: Bound) -> Iterator[float]:
    """Yield the wait in seconds after the first, the second, … failed attempt, without end.

    The shortest and the longest that the jitter can make it, as a wait that is one of these all the way; the mean is
    exact but for `decorrelated` and `soft` jitter, where it is that of a wait whose predecessors had theirs.
    """
    if retry.jitter == "decorrelated":
        previous = low = max(retry.initial_delay, retry.min_delay)
        while True:
            reach = min(retry.jitter_factor * previous, _BEYOND_MEASURE)
            high = max(low, reach if retry.cap_after_draw else min(reach, retry.longest_delay))
            wait = {"shortest": low, "mean": _mean_of_uniform(low, high, retry.longest_delay), "longest": high}[bound]
            previous = min(retry.longest_delay, wait)
            yield previous
    attempt = 1
    while True:
        yield _wait(retry, attempt, bound)
        attempt += 1


def starts(retry: RetryConfig, bound: Bound) -> Iterator[float]:
    """Yield when each attempt starts at the soonest, on average or at the latest, in seconds from the first one.

    Attempts are taken to fail at once; at most the first ten thousand.
    """
    start = 0.0
    yield start
    for wait in islice(waits(retry, bound), int(min(retry.attempts_bound, _WAITS_MAX)) - 1):
        start += wait
        yield start


def last_start(retry: RetryConfig, bound: Bound) -> float:
    """Return when the last of `max_attempts` attempts starts, in seconds from the first one; else infinite."""
    if retry.max_attempts == "unlimited":
        return math.inf
    latest, previous = 0.0, 0.0
    for start in starts(retry, bound):
        previous, latest = latest, start
    return latest + max(0, retry.attempts_bound - _WAITS_MAX) * (latest - previous)


def total_wait(retry: RetryConfig) -> float:
    """Return how long a notification that keeps failing is retried on average, in seconds."""
    total = last_start(retry, "mean")
    return total if retry.max_elapsed is None else min(total, retry.max_elapsed)


def _wait(retry: RetryConfig, attempt: int, bound: Bound) -> float:
    low = high = base = retry.calculate_delay(attempt)
    least, most = 0.0 if retry.schedule is not None else retry.min_delay, retry.longest_delay
    if retry.cap_before_jitter:
        most = math.inf
    match retry.jitter:
        case "full":
            low = min(least, base)
        case "equal":
            low = base / 2
        case "proportional":
            low = base if retry.jitter_side == "above" else base * (1 - retry.jitter_share)
            high = base * (1 + retry.jitter_share)
        case "additive" | "by_count":
            high = base + retry.jitter_max * (attempt if retry.jitter == "by_count" else 1)
        case "soft":
            return _soft(retry, attempt, bound)
    wait = {"shortest": low, "mean": (low + high) / 2, "longest": high}[bound]
    return min(most, max(least, wait))


def _mean_of_uniform(low: float, high: float, cap: float) -> float:
    if high <= cap or high == low:
        return (low + high) / 2
    above = min(1.0, (high - cap) / (high - low))
    return above * cap + (1 - above) * (low + cap) / 2


def _soft(retry: RetryConfig, attempt: int, bound: Bound) -> float:
    attempt = min(attempt, 500)  # beyond all measure already, and still a float
    this, before = {
        "shortest": (attempt - 1.0, attempt - 1.0),
        "mean": (attempt - 0.5, attempt - 1.5),
        "longest": (float(attempt), attempt - 2.0),
    }[bound]
    return max(retry.min_delay, min(retry.max_delay, _reach(retry, this) - _reach(retry, before)))


def _reach(retry: RetryConfig, t: float) -> float:
    """initial · 2^t · tanh(√(4t)) / 1.4, as in :mod:`actors.policies.retry.backoff`."""
    return 0.0 if t <= 0 else retry.initial_delay / 1.4 * math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t))


# ── retries without an effect ───────────────────────────────────────────────────────────────────────────────────


def retry_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    retry = config.retry
    if retry.max_attempts == 1 and not retry.rules():
        hedges = any(own.hedging is not None for own in config.by_provider().values())
        given = retry.model_fields_set - ({"budget"} if hedges else set[str]())
        if unused := [key for key in _OF_RETRIES if key in given]:
            yield _RULES.found("setting-without-effect/one-attempt", attempts=1, keys=" and ".join(unused))
        return
    for key, why in _without_effect(retry):
        if key in retry.model_fields_set:
            yield _RULES.found("setting-without-effect/key", key=key, why=why)
    is_ended = retry.max_elapsed or config.deadline or not traffic.may_never_expire
    if retry.attempts_most == math.inf and not is_ended:
        yield _RULES.found("attempts-without-end")
    for path, own in [((), retry), *retry.rules().items()]:
        if own.attempts_bound > 1 and own.longest_delay < own.initial_delay:
            waits = "no wait is longer" if own.jitter != "none" else "every wait is cut to it"
            yield _RULES.found(
                "max-delay-below-initial-delay",
                at=("retry", *path), most=own.max_delay, first=own.initial_delay, waits=waits,
            )  # fmt: skip
    if config.deadline is not None and (ends := ends_too_soon(retry, config.deadline, included=False)):
        yield _RULES.found("attempts-end-early/deadline", ends=ends)
    limit = retry.max_elapsed if retry.max_elapsed_checked == "before_wait" else None
    if limit is not None and (ends := ends_too_soon(retry, limit, included=False)):
        yield _RULES.found("attempts-end-early/elapsed", ends=ends)


def _without_effect(retry: RetryConfig) -> Iterator[tuple[str, str]]:
    if retry.schedule is not None and not retry.rules():
        for key in _OF_A_FORMULA:
            yield key, "beside a schedule, which says every wait itself"
    if retry.jitter == "decorrelated":
        for key in ("backoff", "backoff_multiplier", "increment"):
            yield key, "with jitter: decorrelated, which draws each wait from the one before it"
    elif retry.schedule is None and retry.growth != "exponential":
        yield "backoff_multiplier", f"with backoff: {retry.growth}"
    for key, *kinds in (
        ("jitter_share", "proportional"), ("jitter_max", "additive", "by_count"), ("jitter_factor", "decorrelated"),
    ):  # fmt: skip
        if retry.jitter not in kinds:
            yield key, f"with jitter: {retry.jitter}; it is for {' and '.join(kinds)}"
    if retry.retry_after == "ignore":
        for key in ("retry_after_jitter", "retry_after_excess"):
            yield key, "with retry_after: ignore"


def ends_too_soon(retry: RetryConfig, limit: float, *, included: bool) -> Said | None:
    """Return the warning that a bound on the age of a notification cuts off attempts; None if it cuts off none.

    Args:
        retry: the settings; all failures are taken to be of a kind that has none of its own.
        limit: the age in seconds beyond which no attempt starts.
        included: whether one may start at exactly that age.
    """
    if retry.attempts_bound < 2:
        return None
    is_unlimited = retry.max_attempts == "unlimited"
    none = said("no retry" if is_unlimited else "none of the {retries} retries", retries=retry.attempts_bound - 1)
    first = next(waits(retry, "shortest"))
    if _is_behind(first, limit, included):
        return said(
            "{limit:duration} is {shorter} the first wait of {at_least}{first:duration}: {none} can start",
            limit=limit,
            shorter="shorter than" if first > limit else "no longer than",
            at_least="" if retry.jitter == "none" else "at least ",
            first=first,
            none=none,
        )
    if is_unlimited:
        return None  # which is what the bound is there for
    # Jitter that draws from 0 makes any number of attempts possible: how many are made is not said then.
    is_narrow = retry.jitter in ("none", "proportional", "additive", "by_count")
    for finished, start in enumerate(starts(retry, "shortest" if is_narrow else "mean")):
        if _is_behind(start, limit, included):
            return said(
                "{limit:duration} ends the attempts early: of {attempts}, number {number} would start {on_average}"
                "{start:duration} after the first" + (", so at most {made} {are} made" if is_narrow else ""),
                limit=limit,
                attempts=retry.max_attempts,
                number=finished + 1,
                on_average="" if is_narrow else "on average ",
                start=start,
                made=finished,
                are="is" if finished == 1 else "are",
            )
    return None


def _is_behind(start: float, limit: float, included: bool) -> bool:
    return ns(start) > ns(limit) or (ns(start) == ns(limit) and not included)


# ── expiries ────────────────────────────────────────────────────────────────────────────────────────────────────


def expiry_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    """Yield findings about time limits and open times that last longer than the `expires_after` of a notification.

    A breaker that holds notifications back is looked at where nothing else sends them, no further provider and no
    fallback.
    """
    if (age := traffic.expires_after) is None:
        return
    retry, breaker = config.retry, config.circuit_breaker
    for name, own in config.by_provider().items():
        is_further = name in config.failover
        if is_further and "timeout" not in config.failover[name].model_fields_set:
            continue  # the channel's, of which it is said
        if own.timeout > age and (retry.attempts_bound > 1 or retry.rules()):
            at = ("failover", name) if is_further else ()
            yield _RULES.found("timeout-above-expiry", at=at, timeout=own.timeout, age=age)
    waits = breaker.enabled and breaker.initial_state == "closed" and breaker.when_open == "wait"
    open_s = shortest_open_s(breaker)
    if waits and open_s > age and not config.failover and config.fallback is None:
        yield _RULES.found("breaker-open-above-expiry", open=open_s, age=age, lost=open_s - age)


def early_end_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    age = traffic.expires_after
    if age is not None and (ends := ends_too_soon(config.retry, age, included=True)) is not None:
        yield _RULES.found("attempts-end-early/expiry", ends=ends)


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def budget_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    """Yield findings about `retry.budget`.

    Whether it lasts is looked at only where the retries follow from the failures alone: where all failures have the
    same settings, retries are not bounded by time, and no copies of hedged attempts are charged too.
    """
    retry, hedges = config.retry, config.hedging is not None
    has_rules = bool(retry.rules())
    retries = retry.attempts_bound > 1 or has_rules
    if retry.budget is None or not (retries or hedges):
        return
    if (nothing := _allows_nothing(retry, " and no ".join(["retry"] * retries + ["copy"] * hedges))) is not None:
        yield nothing
        return
    flow = traffic.flow(config) or 0.0
    if floor_is_above_share(config, traffic):
        budget: Any = retry.budget
        floor, of_them = budget.min_rate.per_second, budget.share * flow
        yield _RULES.found(
            "budget-floor-above-share",
            floor=floor, share=budget.share, arriving=traffic.arriving(flow, config), of_them=of_them,
            allowed=of_them + floor, allowed_share=(of_them + floor) / flow,
        )  # fmt: skip
    if has_rules or retry.max_elapsed is not None or config.deadline is not None or hedges:
        return
    healthy = failing(config)
    if healthy.all and config.timeout >= median(config.provider.latency):  # else that is said of the timeout
        yield from _runs_out(config, healthy, traffic)


def floor_is_above_share(config: ChannelConfig, traffic: Traffic) -> bool:
    """Return whether a budget allows more retries in any case than its share of what arrives: it is no share then."""
    budget: Any = config.retry.budget
    floor, flow = getattr(budget, "min_rate", None), traffic.flow(config)
    return floor is not None and flow is not None and bool(floor.per_second * NEARLY > budget.share * flow)


def _allows_nothing(retry: RetryConfig, wanted: str) -> Finding | None:
    """Return the finding of a budget that never allows a retry, not even the first one of all.

    Args:
        retry: the settings, with the budget.
        wanted: the attempts that are asked for: ``retry``, ``copy`` where attempts are hedged, or both. Budgets that a
            failure spends may still allow a copy of a late attempt, and are no finding where only copies are wanted.
    """
    from actors.settings import retry as kinds

    match retry.budget:
        case kinds.GrpcBudgetConfig(max_tokens=tokens) if tokens <= 2 and wanted != "copy":
            left = max(0.0, tokens - 1)
            are = "is" if left == 1 else "are"
            return _RULES.found("budget-allows-nothing/grpc", tokens=tokens, left=left, are=are)
        case kinds.EnvoyBudgetConfig(share=0, min_concurrency=0, inclusive=False):
            return _RULES.found("budget-allows-nothing/envoy", wanted=wanted)
        case kinds.FinagleBudgetConfig(share=0, min_rate=least, ttl=ttl) if least is None or least.per_second * ttl < 1:
            less = said("less than one retry of min_rate in a ttl of {ttl:duration}", ttl=ttl)
            reserve = less if least is not None else "no min_rate"
            return _RULES.found("budget-allows-nothing/finagle", reserve=reserve, wanted=wanted)
        case kinds.AwsBudgetConfig(capacity=capacity, retry_cost=cost) if cost > capacity and wanted != "copy":
            return _RULES.found("budget-allows-nothing/aws", cost=cost, capacity=capacity)
        case kinds.TokenBudgetConfig(capacity=1, inclusive=False):
            return _RULES.found("budget-allows-nothing/tokens", wanted=wanted)
    return None


def _retries(p: float, most: float) -> float:
    return most - 1 if p == 1 else p * (1 - p ** (most - 1)) / (1 - p)


def _runs_out(config: ChannelConfig, healthy: Failing, traffic: Traffic) -> Iterator[Finding]:
    from actors.settings import retry as kinds

    retry, budget, flow, p = config.retry, config.retry.budget, traffic.flow(config), healthy.all
    attempts, needed = retry.attempts_bound, _retries(p, retry.attempts_bound)
    if needed == math.inf:
        return  # nothing ever succeeds
    fails: dict[str, Any] = {"failing": p, "timing_out": healthy.timing_out}
    match budget:
        case kinds.FinagleBudgetConfig(share=share, min_rate=floor) if floor is not None:
            if flow is not None and (allowed := share * flow + floor.per_second) < needed * flow * NEARLY:
                yield _RULES.found(
                    "budget-runs-out/finagle",
                    share=share, arriving=traffic.arriving(flow, config), floor=floor.per_second, allowed=allowed,
                    needed=needed * flow, **fails,
                )  # fmt: skip
        case kinds.FinagleBudgetConfig(share=share) | kinds.TokenBudgetConfig(share=share):
            if share < needed * NEARLY:
                yield _RULES.found(
                    "budget-runs-out/share", share=share, allowed=100 * share, needed=100 * needed, **fails
                )
        case kinds.EnvoyBudgetConfig() if flow is not None:
            latency_s = limited_mean(config.provider.latency, config.timeout)
            under_way = flow * latency_s * (1 + needed)
            means = islice(waits(retry, "mean"), int(min(attempts - 1, _WAITS_SUMMED_MAX)))
            waiting = sum(p**number * wait for number, wait in enumerate(means, start=1))
            retries = flow * (waiting + latency_s * needed)
            allowed = max(budget.min_concurrency, budget.share * under_way) + (1 if budget.inclusive else 0)
            if allowed < retries * NEARLY:
                yield _RULES.found(
                    "budget-runs-out/envoy",
                    share=budget.share, under_way=under_way, least=budget.min_concurrency, allowed=allowed,
                    needed=retries, **fails,
                )  # fmt: skip
        case kinds.GrpcBudgetConfig(token_ratio=ratio):
            if p > (bearable := ratio / (1 + ratio)):
                yield _RULES.found("budget-runs-out/grpc", ratio=ratio, bearable=bearable, **fails)
        case kinds.AwsBudgetConfig(retry_cost=cost, capacity=capacity):
            of_timeouts = cost if budget.timeout_cost is None else budget.timeout_cost
            lost = p * (cost + (of_timeouts - cost) * healthy.too_slow / p) * needed
            if lost > 1 - p:
                yield _RULES.found(
                    "budget-runs-out/aws",
                    cost=cost, lost=100 * lost, given=100 * (1 - p), capacity=capacity, **fails,
                )  # fmt: skip
