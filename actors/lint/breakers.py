"""The breaker: when it can never open, when it opens though nothing is wrong, and when it cannot close; and endpoints
that are disabled, which a breaker keeps from being asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actors.lint.findings import Finding, Rules, Said, said
from actors.lint.retries import last_start
from actors.lint.traffic import NEARLY, Traffic, failing, shortest_open_s, trips
from actors.policies.resuming import Ceiling
from actors.settings.distribution_moments import mean, median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, CircuitBreakerConfig, RetryConfig

_RULES = Rules("""
breaker-forced-open  circuit_breaker.initial_state
    forced-open lets {come} through until an operator changes it
too-few-calls  circuit_breaker.minimum_calls
    {minimum} calls seldom come together: {come} on average; {so}
slow-call-above-timeout  circuit_breaker.slow_call.duration
    {slow:duration} is never exceeded: an attempt ends at the timeout of {timeout:duration}, so no call is slow
slow-call-rate-when-healthy  circuit_breaker.slow_call.rate
    {rate:percent} is reached with nothing wrong: {slower:percent} of the provider's calls take longer than
    {slow:duration}
failure-rate-when-healthy  circuit_breaker.failure_rate
    {rate:percent} is reached with nothing wrong: {failing:percent} of the provider's calls fail{timing_out}
failures-in-a-row-when-healthy  circuit_breaker.failure_threshold
    {threshold:failure(s)} in a row come by chance about every {every:duration}{at_each_node}: {failing:percent} of
    {arriving} fail with nothing wrong{timing_out}{loses}
attempts-end-before-half-open  circuit_breaker.when_open
    fail, and {ends}, before the breaker can be half-open after {open:duration}: what meets it just opened is
    dead-lettered
probes-longer-than-half-open  circuit_breaker.half_open_max
    {longest:duration} is shorter than the provider's median latency of {median:duration}: {late:percent} of the probes
    come back when it has opened again
too-few-probes  circuit_breaker.half_open_permits
    {permits:probe(s)} seldom come together: {calls} arrive in the half_open_max of {longest:duration} on average
    ({with_retries} with all their attempts), and then it opens again
resume-above-capacity  circuit_breaker.resume_rate_max
    what waits after {open:duration} open resumes at up to {most:rate}{at_each_node}, and the provider serves
    {serves:rate}: that may open it again, and then the pace is halved; with {better:rate} it does not
open-growth-without-effect  circuit_breaker.open_growth.{key}
    {value} lets nothing grow: every opening lasts {open:duration}
setting-without-effect  circuit_breaker.{key}
    has an effect only after a restart with when_open: fail, where nothing waits for the breaker
resume-rate-below-arrivals  circuit_breaker.resume_rate_max
    {most:rate} is no more than the {arriving} that arrive: the line behind a breaker that has closed does not end while
    they do
channel-fault-retried-forever  circuit_breaker.{key}
    {value}, and a channel fault uses up no attempt: without a max_elapsed, what meets one and has no expires_after is
    tried again, at least {apart:duration} apart, for as long as it lasts
breaker-shared-by-hosts  circuit_breaker.per
    channel, where each recipient chooses a host: {fail} at one of them stop all others for {open:duration}
endpoints-of-one-provider  endpoints
    all of them are asked through one provider, which may fail where none of them does: an outage of {after:duration}
    disables every address that is sent to
endpoint-clock-never-starts  endpoints.disable_after
    two failures start the clock that are at most {span:duration} apart, and an open circuit breaker lets an attempt
    through every {open:duration}: where a whole host is down, no endpoint is disabled
""")

BREAKER_OPEN = "circuit breaker is open"
"""The reason of an attempt that an open breaker refused."""

_MOST = 0.9
"""A breaker that keeps back less by chance is left alone, and so are providers at which nearly all fails."""

_YEAR_S = 365 * 86_400.0

_SOON_S = 3600.0
"""A breaker that opens by chance less often than once an hour is left alone."""


def breaker_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    breaker, flow = config.circuit_breaker, traffic.flow(config)
    if breaker.enabled and breaker.initial_state == "forced-open" and not traffic.is_operated:
        arriving = (
            said("nothing of the {arriving} that arrive", arriving=traffic.arriving(flow, config)) if flow else ""
        )
        yield _RULES.found("breaker-forced-open", come=arriving or "nothing")
    if not trips(breaker) or breaker.initial_state == "forced-open":
        return
    for rule in (_minimum_calls, _slow_calls, _healthy_failures, _retries_end_before, _never_closes, _resumes_too_fast):
        yield from rule(config, traffic)
    growth = breaker.open_growth
    if growth is not None and growth.jitter == 0 and (growth.multiplier == 1 or growth.max <= breaker.timeout):
        value = said("{max:duration}", max=growth.max) if growth.multiplier != 1 else 1
        key = "multiplier" if growth.multiplier == 1 else "max"
        yield _RULES.found("open-growth-without-effect", key=key, value=value, open=breaker.timeout)
    if breaker.when_open == "fail":
        for key in ("resume_rate", "resume_doubling", "resume_rate_max"):
            if key in breaker.model_fields_set:
                yield _RULES.found("setting-without-effect", key=key)
    elif breaker.resume_rate_max is not None and flow and (most := breaker.resume_rate_max.per_second) <= flow:
        yield _RULES.found("resume-rate-below-arrivals", most=most, arriving=traffic.arriving(flow, config))


def channel_fault_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    """Yield a finding where nothing ends the attempts at a broken channel: no breaker, no count and no time."""
    is_bound = (
        config.deadline is not None
        or config.retry.max_elapsed is not None
        or (config.fallback is not None and config.fallback.after is not None)
    )
    breakers = [own.circuit_breaker for own in config.by_provider().values()]
    if is_bound or not traffic.meets_channel_faults or any(trips(breaker) for breaker in breakers):
        return
    key, value = ("initial_state", breakers[0].initial_state) if breakers[0].enabled else ("enabled", "false")
    apart_s = config.retry.calculate_delay(1)
    yield _RULES.found("channel-fault-retried-forever", key=key, value=value, apart=apart_s)


def host_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    """Yield a finding where recipients choose their hosts, and one failing host stops the sending to all others."""
    own = [(("failover", name), other.circuit_breaker) for name, other in config.failover.items()]
    for path, breaker in [((), config.circuit_breaker), *own] if traffic.chooses_hosts else ():
        if breaker is None or breaker.per == "host" or "per" not in breaker.model_fields_set or not trips(breaker):
            continue
        if breaker.window is None:
            fail = said("{threshold:failure(s)} in a row", threshold=breaker.failure_threshold)
        else:
            fail = said("failures of {rate:percent} of the calls", rate=breaker.failure_rate)
        yield _RULES.found("breaker-shared-by-hosts", at=path, fail=fail, open=breaker.timeout)


def endpoint_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    from actors.policies.failing_endpoints import SPAN_SHARE

    if config.endpoints is None:
        return
    after, breaker = config.endpoints.disable_after, config.circuit_breaker
    if breaker.per != "host":
        yield _RULES.found("endpoints-of-one-provider", after=after)
    open_s = breaker.timeout if breaker.open_growth is None else breaker.open_growth.max
    if trips(breaker) and open_s * SPAN_SHARE > after:
        yield _RULES.found("endpoint-clock-never-starts", span=after / SPAN_SHARE, open=open_s)


def _minimum_calls(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    window = config.circuit_breaker.window
    if window is None or window.time is None:
        return
    calls = traffic.calls_in(window.time, config, at_one_node=True)
    minimum = config.circuit_breaker.minimum_calls or window.default_minimum_calls
    if calls is None or calls >= minimum:
        return
    if traffic.most_in is None or math.isclose(calls, (traffic.per_s or 0.0) * window.time):
        come = "{arriving:rate} make {calls} in a window of {window:duration}"
    else:
        come = "no window of {window:duration} holds more than {calls}"
    attempts = config.retry.attempts_bound
    if attempts == 1:
        so = "its failure rate is not looked at, and it hardly ever opens"
    elif calls * attempts < minimum:
        so = "nor do retries help ({most} with all {attempts} attempts of each): it hardly ever opens"
    elif attempts == math.inf:
        so = "only when retries make up the rest can it open"
    else:
        so = "only when retries make up the rest ({most} with all {attempts} attempts) can it open"
    yield _RULES.found(
        "too-few-calls",
        minimum=minimum,
        come=said(come, arriving=traffic.per_s or 0.0, calls=calls, window=window.time),
        so=said(so, most=calls * attempts, attempts=attempts),
    )


def _slow_calls(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    slow = config.circuit_breaker.slow_call
    if slow is None:
        return
    slower = share_above(config.provider.latency, slow.duration)
    if slow.duration >= config.timeout:
        yield _RULES.found("slow-call-above-timeout", slow=slow.duration, timeout=config.timeout)
    elif slower >= slow.rate:
        yield _RULES.found("slow-call-rate-when-healthy", rate=slow.rate, slower=slower, slow=slow.duration)


def _healthy_failures(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    breaker, healthy = config.circuit_breaker, failing(config, config.circuit_breaker.counts)
    if config.timeout < median(config.provider.latency):
        return  # which is said of the timeout, and is the cause
    fails: dict[str, Any] = {"failing": healthy.all, "timing_out": healthy.timing_out}
    if breaker.window is not None:
        if healthy.all and healthy.all >= breaker.failure_rate:
            yield _RULES.found("failure-rate-when-healthy", rate=breaker.failure_rate, **fails)
        return
    flow, threshold = traffic.flow(config), breaker.failure_threshold
    if not flow or not healthy.all:
        return
    # Each node has a breaker of its own, and meets its part of what arrives.
    calls, each = _calls_until_run(healthy.all, threshold), flow / traffic.nodes
    if calls / each < _SOON_S:
        yield _RULES.found(
            "failures-in-a-row-when-healthy",
            threshold=threshold, every=calls / each, at_each_node=traffic.at_each_node,
            arriving=traffic.arriving(flow, config), loses=_lost_by_chance(breaker, healthy.all, each, calls), **fails,
        )  # fmt: skip


def _lost_by_chance(breaker: CircuitBreakerConfig, p: float, flow: float, calls: float) -> Said:
    """Return how few calls get through a breaker that opens by chance after so many, and a window that stays closed."""
    open_s, closed_s = breaker.timeout, _resumes_in(breaker, flow, calls)
    delivered = calls * (1 - p) / (flow * (open_s + closed_s))
    if breaker.when_open == "fail" or delivered > _MOST or p >= _MOST:
        return Said("")
    share, window = _unreached(p, flow)
    return said(
        "; (1 - p^{k}) / (p^{k} (1 - p)) = {calls} calls go from one opening to the next, where {arrive} arrive in "
        "{open:duration} open and {closed:duration} closed: {delivered:percent} get through; window: {{calls: "
        "{window}}}, minimum_calls: {window} and failure_rate: {share:percent} open less than once a year",
        k=breaker.failure_threshold,
        calls=calls,
        arrive=flow * (open_s + closed_s),
        open=open_s,
        closed=closed_s,
        delivered=delivered,
        window=window,
        share=share,
    )


def _resumes_in(breaker: CircuitBreakerConfig, flow: float, calls: float) -> float:
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


def _calls_until_run(p: float, k: int) -> float:
    """Return the mean number of calls until k failures in a row, (1 - p^k) / (p^k (1 - p)) (Feller 1968, XIII.7)."""
    if p >= 1:
        return float(k)
    power = math.pow(p, min(k, 100_000))
    return (1 - power) / (power * (1 - p)) if power > 1e-300 else math.inf


def _resumes_too_fast(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
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
    yield _RULES.found(
        "resume-above-capacity",
        open=breaker.timeout, most=most / nodes, at_each_node=traffic.at_each_node, serves=serves, better=better,
    )  # fmt: skip


def _fastest(breaker: CircuitBreakerConfig, flow: float) -> float:
    first, doubling, most = breaker.resume_rate.per_second, breaker.resume_doubling, Ceiling(breaker).per_s(flow)
    low, high = first, most
    for _ in range(50):
        pace = (low + high) / 2
        arrived = flow * (breaker.timeout + doubling * math.log2(pace / first))
        is_over = (pace - first) * doubling / math.log(2.0) >= arrived
        low, high = (low, pace) if is_over else (pace, high)
    return high


def _retries_end_before(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    if config.circuit_breaker.when_open != "fail":
        return
    retry = _rule_of_refusals(config.retry)
    latest, open_s = last_start(retry, "longest"), shortest_open_s(config.circuit_breaker)
    if (limit := config.deadline or retry.max_elapsed) is not None:
        latest = min(latest, limit)
    if latest >= open_s:
        return
    at_most = "" if retry.jitter == "none" else "at most "
    last = "the last of {attempts:attempt(s)} starts {at_most}{latest:duration} after the first"
    if retry.max_attempts == "unlimited":
        last = "no attempt starts later than {latest:duration} after the first"
    ends = "the only attempt is refused" if retry.max_attempts == 1 else last
    ends_said = said(ends, attempts=retry.attempts_bound, at_most=at_most, latest=latest)
    yield _RULES.found("attempts-end-before-half-open", ends=ends_said, open=open_s)


def _rule_of_refusals(retry: RetryConfig) -> RetryConfig:
    rules = retry.rules()
    return rules.get(("per_reason", BREAKER_OPEN)) or rules.get(("per_outcome", "transient"), retry)


def _never_closes(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    breaker, latency = config.circuit_breaker, config.provider.latency
    longest, permits = breaker.half_open_max, breaker.half_open_permits
    if longest is None or breaker.half_open_then != "open":
        return
    if (middle := median(latency)) > longest:
        late = share_above(latency, longest)
        yield _RULES.found("probes-longer-than-half-open", longest=longest, median=middle, late=late)
        return
    calls = traffic.calls_in(longest, config)
    if breaker.when_open == "fail" and calls is not None and breaker.decide != "when_decided":
        with_retries = calls * config.retry.attempts_bound
        if with_retries < permits:
            yield _RULES.found(
                "too-few-probes", permits=permits, calls=calls, longest=longest, with_retries=with_retries
            )
