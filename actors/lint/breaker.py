"""The breaker: when it can never open, when it opens though nothing is wrong, and when it cannot close."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.health import failing
from actors.lint.schedule import last_start
from actors.lint.traffic import NEARLY, Found, Traffic
from actors.lint.words import counted, duration, percent, plain_number, rate
from actors.policies.resuming import Ceiling
from actors.settings.distribution_moments import mean, median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, CircuitBreakerConfig, RetryConfig

BREAKER_OPEN = "circuit breaker is open"
"""The reason of an attempt that an open breaker refused."""

_MOST = 0.9
"""A breaker that keeps back less by chance is left alone, and so are providers at which nearly all fails."""

_YEAR_S = 365 * 86_400.0

_SOON_S = 3600.0
"""A breaker that opens by chance less often than once an hour is left alone."""


def breaker_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `circuit_breaker`; nothing when it is switched off or only watches."""
    breaker = config.circuit_breaker
    if breaker.enabled and breaker.initial_state == "forced-open" and not traffic.is_operated:
        flow = traffic.flow(config)
        come = "nothing" if not flow else f"nothing of the {traffic.arriving(flow, config)} that arrive"
        yield Found(
            ("circuit_breaker", "initial_state"),
            "breaker-forced-open",
            f"forced-open lets {come} through until an operator changes it",
        )
    if not breaker.enabled or breaker.initial_state in ("disabled", "metrics-only", "forced-open"):
        return
    for rule in (_minimum_calls, _slow_calls, _healthy_failures, _retries_end_before, _never_closes, _resumes_too_fast):
        for path, name, text in rule(config, traffic):
            yield Found(("circuit_breaker", *path), name, text)
    growth = breaker.open_growth
    if growth is not None and growth.jitter == 0 and (growth.multiplier == 1 or growth.max <= breaker.timeout):
        key = "multiplier" if growth.multiplier == 1 else "max"
        value = plain_number(1) if growth.multiplier == 1 else duration(growth.max)
        yield Found(
            ("circuit_breaker", "open_growth", key),
            "open-growth-without-effect",
            f"{value} lets nothing grow: every opening lasts {duration(breaker.timeout)}",
        )
    if breaker.when_open == "fail":
        for key in ("resume_rate", "resume_doubling", "resume_rate_max"):
            if key in breaker.model_fields_set:
                text = "has an effect only after a restart with when_open: fail, where nothing waits for the breaker"
                yield Found(("circuit_breaker", key), "setting-without-effect", text)
    elif breaker.resume_rate_max is not None and (flow := traffic.flow(config)):
        most = breaker.resume_rate_max.per_second
        if most <= flow:
            yield Found(
                ("circuit_breaker", "resume_rate_max"),
                "resume-rate-below-arrivals",
                f"{rate(most)} is no more than the {traffic.arriving(flow, config)} that arrive: the line behind a "
                "breaker that has closed does not end while they do",
            )


def channel_fault_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield that nothing ends the attempts at a channel that is broken: no breaker, no count and no time."""
    is_bound = config.retry.max_elapsed is not None or (
        config.fallback is not None and config.fallback.after is not None
    )
    breakers = [own.circuit_breaker for own in config.by_provider().values()]
    if is_bound or not traffic.meets_channel_faults or any(trips(breaker) for breaker in breakers):
        return
    key, value = ("initial_state", breakers[0].initial_state) if breakers[0].enabled else ("enabled", "false")
    apart = duration(config.retry.calculate_delay(1))
    yield Found(
        ("circuit_breaker", key),
        "channel-fault-retried-forever",
        f"{value}, and a channel fault uses up no attempt: without a max_elapsed, what meets one and has no "
        f"expires_after is tried again, at least {apart} apart, for as long as it lasts",
    )


def one_for_all_hosts(config: ChannelConfig) -> Iterator[Found]:
    """Yield that one host stops all others, where recipients choose theirs."""
    own = {("failover", name): other.circuit_breaker for name, other in config.failover.items()}
    for path, breaker in ((), config.circuit_breaker), *own.items():
        if breaker is None or breaker.per == "host" or "per" not in breaker.model_fields_set or not trips(breaker):
            continue
        if breaker.window is None:
            fail = f"{counted(breaker.failure_threshold, 'failure')} in a row"
        else:
            fail = f"failures of {percent(breaker.failure_rate)} of the calls"
        yield Found(
            (*path, "circuit_breaker", "per"),
            "breaker-shared-by-hosts",
            f"channel, where each recipient chooses a host: {fail} at one of them stop all others for "
            f"{duration(breaker.timeout)}",
        )


def trips(breaker: CircuitBreakerConfig) -> bool:
    """Return whether a breaker ever keeps anything back."""
    return breaker.enabled and breaker.initial_state not in ("disabled", "metrics-only")


def _minimum_calls(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    window = config.circuit_breaker.window
    if window is None or window.time is None:
        return
    calls = traffic.calls_in(window.time, config, at_one_node=True)
    minimum = config.circuit_breaker.minimum_calls or window.default_minimum_calls
    if calls is None or calls >= minimum:
        return
    if traffic.most_in is None or math.isclose(calls, (traffic.per_s or 0.0) * window.time):
        come = f"{rate(traffic.per_s or 0.0)} make {plain_number(calls)} in a window of {duration(window.time)}"
    else:
        come = f"no window of {duration(window.time)} holds more than {plain_number(calls)}"
    attempts = config.retry.max_attempts
    with_retries = calls * attempts
    most = plain_number(with_retries)
    if attempts == 1:
        so = "its failure rate is not looked at, and it hardly ever opens"
    elif with_retries < minimum:
        so = f"nor do retries help ({most} with all {plain_number(attempts)} attempts of each): it hardly ever opens"
    else:
        so = f"only when retries make up the rest ({most} with all {plain_number(attempts)} attempts) can it open"
    text = f"{plain_number(minimum)} calls seldom come together: {come} on average; {so}"
    yield Found(("minimum_calls",), "too-few-calls", text)


def _slow_calls(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    slow, latency = config.circuit_breaker.slow_call, config.provider.latency
    if slow is None:
        return
    if slow.duration >= config.timeout:
        yield Found(
            ("slow_call", "duration"),
            "slow-call-above-timeout",
            f"{duration(slow.duration)} is never exceeded: an attempt ends at the timeout of "
            f"{duration(config.timeout)}, so no call is slow",
        )
    elif (share := share_above(latency, slow.duration)) >= slow.rate:
        yield Found(
            ("slow_call", "rate"),
            "slow-call-rate-when-healthy",
            f"{percent(slow.rate)} is reached with nothing wrong: {percent(share)} of the provider's calls take "
            f"longer than {duration(slow.duration)}",
        )


def _healthy_failures(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """The breaker opens although the provider is as it always is."""
    breaker = config.circuit_breaker
    if config.timeout < median(config.provider.latency):
        return  # which is said of the timeout, and is the cause
    healthy = failing(config)
    if breaker.window is not None:
        if healthy.all and healthy.all >= breaker.failure_rate:
            yield Found(
                ("failure_rate",),
                "failure-rate-when-healthy",
                f"{percent(breaker.failure_rate)} is reached with nothing wrong: {percent(healthy.all)} of the "
                f"provider's calls fail{healthy.timing_out}",
            )
        return
    flow, threshold = traffic.flow(config), breaker.failure_threshold
    if not flow or not healthy.all:
        return
    # Each node has a breaker of its own, and meets its part of what arrives.
    calls, each = _calls_until_run(healthy.all, threshold), flow / traffic.nodes
    if calls / each < _SOON_S:
        yield Found(
            ("failure_threshold",),
            "failures-in-a-row-when-healthy",
            f"{counted(threshold, 'failure')} in a row come by chance about every {duration(calls / each)}"
            f"{traffic.at_each_node}: {percent(healthy.all)} of {traffic.arriving(flow, config)} fail with nothing "
            f"wrong{healthy.timing_out}{_lost_by_chance(breaker, healthy.all, each, calls)}",
        )


def _lost_by_chance(breaker: CircuitBreakerConfig, p: float, flow: float, calls: float) -> str:
    """Return how little goes where a breaker opens after so many calls by chance, and a window at which it does not."""
    k, open_s = plain_number(breaker.failure_threshold), breaker.timeout
    goes_s = _resumes_in(breaker, flow, calls)
    delivered = calls * (1 - p) / (flow * (open_s + goes_s))
    if breaker.when_open == "fail" or delivered > _MOST or p >= _MOST:
        return ""
    share, calls_of_it = _unreached(p, flow)
    many = plain_number(calls_of_it)
    return (
        f"; (1 - p^{k}) / (p^{k} (1 - p)) = {plain_number(calls)} calls go from one opening to the "
        f"next, where {plain_number(flow * (open_s + goes_s))} arrive in {duration(open_s)} open and "
        f"{duration(goes_s)} closed: {percent(delivered)} get through; window: {{calls: {many}}}, minimum_calls: "
        f"{many} and failure_rate: {percent(share)} open less than once a year"
    )


def _resumes_in(breaker: CircuitBreakerConfig, flow: float, calls: float) -> float:
    """Return in how many seconds so many go at the pace of what resumes, which doubles up to its ceiling."""
    rate_s, of_each = breaker.resume_rate.per_second, math.log(2.0) / breaker.resume_doubling
    until = (Ceiling(breaker).per_s(flow) - rate_s) / of_each
    grown_s = math.log2(1.0 + min(calls, until) * of_each / rate_s) * breaker.resume_doubling
    return grown_s + max(0.0, calls - until) / Ceiling(breaker).per_s(flow)


def _unreached(p: float, flow: float) -> tuple[float, int]:
    """Return a failure rate and a number of calls over which chance reaches it less than once a year.

    At most e^(-n D) of the windows of n calls have a share r of failures or more, with the relative entropy D of r to
    the p of each call (Chernoff 1952).
    """
    share = min(1.0, max(0.5, math.ceil(10 * p + 1.5) / 10))
    entropy = share * math.log(share / p) + (1 - share) * (math.log((1 - share) / (1 - p)) if share < 1 else 0.0)
    return share, 50 * max(1, math.ceil(math.log(max(2.0, flow * _YEAR_S)) / entropy / 50))


def _resumes_too_fast(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """What waits resumes at more than the provider serves, and so the breaker opens again."""
    breaker, provider, flow = config.circuit_breaker, config.provider, traffic.flow(config)
    takes, nodes = mean(provider.latency), traffic.nodes
    if provider.capacity is None or not flow or not takes or breaker.when_open == "fail":
        return
    serves, most = provider.capacity / takes, nodes * _fastest(breaker, flow / nodes)
    if config.quota is not None:
        most = min(most, (nodes if config.quota.across == "each" else 1) * config.quota.limit.per_second)
    is_bound = config.slots is not None and nodes * config.slots <= provider.capacity
    better = _MOST * serves / nodes
    if is_bound or most * NEARLY <= serves or flow >= better * nodes:
        return  # at such a load there is hardly room for anything that waits
    yield Found(
        ("resume_rate_max",),
        "resume-above-capacity",
        f"what waits after {duration(breaker.timeout)} open resumes at up to {rate(most / nodes)}"
        f"{traffic.at_each_node}, and the provider serves {rate(serves)}: that may open it again, and then the pace is "
        f"halved; with {rate(better)} it does not",
    )


def _fastest(breaker: CircuitBreakerConfig, flow: float) -> float:
    """Return the pace by which what has come in one open time, and comes meanwhile, has gone; at most the ceiling."""
    first, doubling, most = breaker.resume_rate.per_second, breaker.resume_doubling, Ceiling(breaker).per_s(flow)
    low, high = first, most
    for _ in range(50):
        pace = (low + high) / 2
        arrived = flow * (breaker.timeout + doubling * math.log2(pace / first))
        is_over = (pace - first) * doubling / math.log(2.0) >= arrived
        low, high = (low, pace) if is_over else (pace, high)
    return high


def _calls_until_run(p: float, k: int) -> float:
    """Return the mean number of calls until k failures in a row, (1 - p^k) / (p^k (1 - p)) (Feller 1968, XIII.7)."""
    if p >= 1:
        return float(k)
    power = math.pow(p, min(k, 100_000))
    return (1 - power) / (power * (1 - p)) if power > 1e-300 else math.inf


def _retries_end_before(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    breaker = config.circuit_breaker
    if breaker.when_open != "fail":
        return
    retry = _rule_of_refusals(config.retry)
    latest = last_start(retry, "longest")
    if retry.max_elapsed is not None:
        latest = min(latest, retry.max_elapsed)
    growth = breaker.open_growth
    shortest_open = breaker.timeout * (1 - growth.jitter if growth else 1)
    if latest >= shortest_open:
        return
    if retry.max_attempts == 1:
        ends = "the only attempt is refused"
    else:
        at_most = "" if retry.jitter == "none" else "at most "
        last = f"the last of {counted(retry.max_attempts, 'attempt')}"
        ends = f"{last} starts {at_most}{duration(latest)} after the first"
    yield Found(
        ("when_open",),
        "attempts-end-before-half-open",
        f"fail, and {ends}, before the breaker can be half-open after {duration(shortest_open)}: what meets it just "
        "opened is dead-lettered",
    )


def _rule_of_refusals(retry: RetryConfig) -> RetryConfig:
    rule = retry.per_reason.get(BREAKER_OPEN) or retry.per_outcome.transient
    return retry if rule is None else retry.with_rule(rule)


def _never_closes(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    breaker = config.circuit_breaker
    longest = breaker.half_open_max
    if longest is None or breaker.half_open_then != "open":
        return
    middle = median(config.provider.latency)
    if middle > longest:
        share = percent(share_above(config.provider.latency, longest))
        yield Found(
            ("half_open_max",),
            "probes-longer-than-half-open",
            f"{duration(longest)} is shorter than the provider's median latency of {duration(middle)}: {share} of the "
            "probes come back when it has opened again",
        )
        return
    calls = traffic.calls_in(longest, config)
    if breaker.when_open == "fail" and calls is not None:
        with_retries = calls * config.retry.max_attempts
        if with_retries < breaker.half_open_permits and breaker.decide != "when_decided":
            yield Found(
                ("half_open_permits",),
                "too-few-probes",
                f"{counted(breaker.half_open_permits, 'probe')} seldom come together: {plain_number(calls)} arrive in "
                f"the half_open_max of {duration(longest)} on average ({plain_number(with_retries)} with all their "
                "attempts), and then it opens again",
            )
