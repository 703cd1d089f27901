"""Limits, slots and time limits, at one provider or several: what cannot keep up with the arrivals, and what cuts off
attempts that are as usual."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from actors.lint.findings import Finding, Rules, said
from actors.lint.retries import floor_is_above_share, last_start, waits
from actors.lint.traffic import NEARLY, Traffic, as_written, excess, failing, growth, key_of, refusals, trips
from actors.settings.distribution_moments import limited_mean, mean, median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RateLimitConfig

_RULES = Rules("""
timeout-below-median-latency  timeout
    {timeout:duration} is shorter than the provider's median latency of {median:duration}: {late:percent} of the
    attempts will time out
hedging-attempts-capped  hedging.max_attempts
    {attempts} are taken as {most}
hedging-delay-above-timeout  hedging.delay
    {delay:duration} is not below the timeout of {timeout:duration}: no late answer brings a copy, only a failure does
hedging-delay-below-median-latency  hedging.delay
    {delay:duration} is shorter than the provider's median latency of {median:duration}: {late:percent} of the attempts
    are sent more than once
throttle-refuses-when-healthy  adaptive_throttle.k
    {k} times what is accepted is less than what is sent where {failing:percent} of the attempts fail{timing_out}: with
    nothing wrong, at the sender {comes_to}
concurrency-limit-above-slots  concurrency_limit.initial
    {initial} at once is more than the max_in_flight of {slots}: it binds only once it has fallen below that
layers-multiply-retries  provider.upstream.retry.max_attempts
    {requests} requests for each of {attempts} attempts are up to {all} of a notification while what is behind the
    provider fails: retries multiply where {layers} layers make them, and {neither} has a budget
layers-multiply-retries/unlimited  provider.upstream.retry.max_attempts
    {requests} requests for each attempt, of which there is no limit, are as many as it takes while what is behind the
    provider fails: retries multiply where {layers} layers make them, and {neither} has a budget
retries-behind-timeout  provider.upstream.retry.max_attempts
    the last of {requests} requests starts at least {last:duration} after the attempt, whose timeout is
    {timeout:duration}: no one waits for it any more
rate-limit-below-arrivals  rate_limit.{key}
    {limit} is below the {arriving} that arrive for one user: {excess}
slots-unbounded  max_in_flight
    null bounds nothing: while the provider does not answer, what arrives in a timeout of {timeout:duration} is under
    way at once{attempts}
quota-below-arrivals  quota.{key}
    {limit} is below the {arriving} that arrive: {excess}
adaptive-rate-below-arrivals  adaptive_rate.maximum_rate
    {most:rate} is below the {arriving} that arrive: {excess}
slots-below-load
    {slots:slot(s)}{nodes} at a mean latency of {latency:duration} {let_through} {most:rate}, and {arriving} arrive:
    {excess}
slots-held-below-load  retry.holds_slot
    {slots:slot(s)}{nodes}, each held for {held:duration} on average where {failing:percent} of the attempts fail, waits
    for retries included, take {most:rate}, and {arriving} arrive: {excess}
capacity-below-load  provider.capacity
    {places:place(s)} at a mean latency of {latency:duration}{counted} {serve} {most:rate}, and {arriving} arrive:
    {excess}
retries-overload-provider  retry.max_attempts
    {attempts} attempts of {arriving} are up to {most:rate}, and the provider serves {serves:rate}: with no
    {such}budget, no breaker and no slots, what has failed once may keep it overloaded
retries-overload-provider/unlimited  retry.max_attempts
    unlimited attempts of {arriving} have no bound, and the provider serves {serves:rate}: with no {such}budget, no
    breaker and no slots, what has failed once may keep it overloaded
latency-only-grows  provider.latency_by_load.per_in_flight
    {each:duration} for each in flight, and {arriving} arrive: above {most:rate} the latency only grows, and nothing
    bounds what is in flight
switch-after-never-reached  switch_after
    {after:failed attempt(s)} never {comes} before another one, as there are at most {most:attempt(s)}: no notification
    tries another provider first
fallback-below-median-latency  fallback.after
    {after:duration} is shorter than the provider's median latency of {median:duration}: {late:percent} of the first
    attempts are still under way then, and none of them that fails is retried
quotas-below-arrivals  quota.{key}
    {limit}, with those of failover {allowed:rate}, is below the {arriving} that arrive: {excess}
providers-below-arrivals  failover
    all providers together let through {most:rate} ({each}), and {arriving} arrive: {excess}
""")


_RETRIES_SUMMED_MAX = 1000
"""Retries of one notification in an expected sum."""


# ── of each provider ────────────────────────────────────────────────────────────────────────────────────────────


def timeout_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    latency, timeout_s = config.provider.latency, config.timeout
    if timeout_s < (middle := median(latency)):
        late = share_above(latency, timeout_s)
        yield _RULES.found("timeout-below-median-latency", timeout=timeout_s, median=middle, late=late)


def hedging_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    from actors.policies.hedging import MOST_SENDS

    hedging, latency = config.hedging, config.provider.latency
    if hedging is None:
        return
    if hedging.max_attempts > MOST_SENDS:
        yield _RULES.found("hedging-attempts-capped", attempts=hedging.max_attempts, most=MOST_SENDS)
    if hedging.delay >= config.timeout:
        yield _RULES.found("hedging-delay-above-timeout", delay=hedging.delay, timeout=config.timeout)
    elif hedging.delay < (middle := median(latency)):
        late = share_above(latency, hedging.delay)
        yield _RULES.found("hedging-delay-below-median-latency", delay=hedging.delay, median=middle, late=late)


def adaptive_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    """Yield findings where a throttle refuses more than fails, and where a limit begins above the slots of a provider.

    Of a share q that is let through, (1 - f) q is accepted where f fails, and next k (1 - f) q is let through: where
    k (1 - f) is below 1 that falls to nothing if what is refused counts as a request. If not, the share let through is
    that of what was let through before, and stays k (1 - f).
    """
    throttle, healthy = config.adaptive_throttle, failing(config)
    if throttle is not None and (let_through := throttle.k * (1 - healthy.all)) < NEARLY:
        refused = min(throttle.max_rejection, 1 - let_through)
        comes_to = "{refused:percent} of the attempts are refused"
        if throttle.count_rejected:
            refused = throttle.max_rejection
            comes_to = "each refusal brings more, up to {refused:percent} of all attempts"
        yield _RULES.found(
            "throttle-refuses-when-healthy",
            k=throttle.k, failing=healthy.all, timing_out=healthy.timing_out, comes_to=said(comes_to, refused=refused),
        )  # fmt: skip
    limit, slots = config.concurrency_limit, config.slots
    if limit is not None and slots is not None and limit.initial > slots:
        yield _RULES.found("concurrency-limit-above-slots", initial=limit.initial, slots=slots)


def upstream_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Finding]:
    upstream, attempts = config.provider.upstream, config.retry.attempts_bound
    layers = [] if upstream is None else [each for each in upstream.chain if each.retry.attempts_bound > 1]
    if attempts > 1 and layers and not any(each.budget for each in (config.retry, *(each.retry for each in layers))):
        requests = prod(each.retry.attempts_bound for each in layers)
        many = ("two", "three", "four", "five")[len(layers) - 1]
        neither = "neither" if len(layers) == 1 else "none"
        if attempts == math.inf:
            yield _RULES.found("layers-multiply-retries/unlimited", requests=requests, layers=many, neither=neither)
        else:
            yield _RULES.found(
                "layers-multiply-retries",
                requests=requests, attempts=attempts, all=requests * attempts, layers=many, neither=neither,
            )  # fmt: skip
    if upstream is None or upstream.retry.max_attempts == 1:
        return
    requests = upstream.retry.attempts_bound
    each = median(upstream.latency) if upstream.timeout is None else min(median(upstream.latency), upstream.timeout)
    last = median(config.provider.latency) + last_start(upstream.retry, "shortest") + (requests - 1) * each
    if last >= config.timeout:
        yield _RULES.found("retries-behind-timeout", requests=requests, last=last, timeout=config.timeout)


# ── of a channel ────────────────────────────────────────────────────────────────────────────────────────────────


def load_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    """Yield findings about `rate_limit`; and of `quota`, `adaptive_rate`, slots, and what load does to the provider.

    The latter where there is one provider: of several, what is too much for one goes to the next.
    """
    limit, quota, of_user, arriving = config.rate_limit, config.quota, traffic.per_user_per_s, traffic.behind_limits
    if limit is not None and of_user is not None and not _keeps_up(limit, of_user, traffic):
        too_much = excess(of_user - limit.limit.per_second, limit, of=" of each")
        yield _RULES.found(
            "rate-limit-below-arrivals",
            key=key_of(limit), limit=as_written(limit), arriving=traffic.arriving(of_user, config), excess=too_much,
        )  # fmt: skip
    yield from _no_bulkhead(config, traffic)
    if config.failover:
        return
    if quota is not None and arriving is not None and not _keeps_up(quota, arriving, traffic):
        too_much = excess(arriving - quota.limit.per_second, quota)
        yield _RULES.found(
            "quota-below-arrivals",
            key=key_of(quota), limit=as_written(quota), arriving=traffic.arriving(arriving, config), excess=too_much,
        )  # fmt: skip
    if (flow := traffic.flow(config)) is not None:
        adaptive = config.adaptive_rate
        most = math.inf if adaptive is None or adaptive.maximum_rate is None else adaptive.maximum_rate.per_second
        if flow * NEARLY > most:
            arrive = traffic.arriving(flow, config)
            yield _RULES.found("adaptive-rate-below-arrivals", most=most, arriving=arrive, excess=growth(flow - most))
        yield from _slots(config, traffic, flow)
        yield from _retry_storm(config, traffic, flow)
        yield from _never_settles(config, traffic, flow)


def _keeps_up(limit: RateLimitConfig, per_s: float, traffic: Traffic) -> bool:
    """Return whether a limit lets so many a second through: without an end, or all of them at once, as ten in ten
    minutes for ``10/h``."""
    if per_s * NEARLY <= limit.limit.per_second:
        return True
    if traffic.lasts_s is None or limit.kind == "leaky_bucket":  # which lets no two through at once
        return False
    return per_s * traffic.lasts_s * NEARLY <= (limit.burst or limit.limit.count)


def _no_bulkhead(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    for name, own in config.by_provider().items():
        is_further = name in config.failover
        given = (config.failover[name] if is_further else config).model_fields_set
        if "max_in_flight" not in given or own.slots is not None or own.concurrency_limit is not None:
            continue
        calls = traffic.calls_in(own.timeout, own)
        many = "" if calls is None else said(f": {'up to ' * is_further}{{calls}} attempts", calls=calls)
        at = ("failover", name) if is_further else ()
        yield _RULES.found("slots-unbounded", at=at, timeout=own.timeout, attempts=many)


def _slots(config: ChannelConfig, traffic: Traffic, flow: float) -> Iterator[Finding]:
    """Little's law: the mean number of attempts under way is their rate times their mean duration.

    A slot of the sender is free again at its timeout, at the latest. A place at the provider is not: what has timed
    out is worked on to its end, whatever the discipline.
    """
    latency, limit, nodes, lasts_s = config.provider.latency, config.concurrency_limit, traffic.nodes, traffic.lasts_s
    arriving, takes = traffic.arriving(flow, config), limited_mean(latency, config.timeout)
    too_many = refusals if config.slot_wait == 0 else growth
    for path, slots in (
        (("max_in_flight",), config.slots),
        (("concurrency_limit", "maximum"), None if limit is None else limit.maximum),
    ):
        if slots is not None and nodes * slots < takes * flow * NEARLY:
            let_through, most = "lets through" if nodes * slots == 1 else "let through", nodes * slots / takes
            yield _RULES.found(
                "slots-below-load",
                at=path, slots=slots, nodes=traffic.at_each_node, latency=takes, let_through=let_through, most=most,
                arriving=arriving, excess=too_many(flow - most),
            )  # fmt: skip
    held = takes + _retried_for(config, takes) if config.retry.holds_slot else 0.0
    if config.slots is not None and takes * flow * NEARLY <= nodes * config.slots < held * flow * NEARLY:
        most = nodes * config.slots / held
        yield _RULES.found(
            "slots-held-below-load",
            slots=config.slots, nodes=traffic.at_each_node, held=held, failing=failing(config).all, most=most,
            arriving=arriving, excess=too_many(flow - most),
        )  # fmt: skip
    whole, places = mean(latency), config.provider.capacity
    # In an hour, no attempt takes up more of a place than an hour.
    takes = whole if lasts_s is None else limited_mean(latency, lasts_s)
    if places is not None and places < takes * flow * NEARLY:
        is_cut = lasts_s and takes < 0.999 * whole
        counted = said(", counted up to the {lasts:duration} of arrivals,", lasts=lasts_s) if is_cut else ""
        serve, most = "serves" if places == 1 else "serve", places / takes
        yield _RULES.found(
            "capacity-below-load",
            places=places, latency=takes, counted=counted, serve=serve, most=most, arriving=arriving,
            excess=growth(flow - most),
        )  # fmt: skip


def _retried_for(config: ChannelConfig, takes: float) -> float:
    share, chance, total = failing(config).all, 1.0, 0.0
    for wait in islice(waits(config.retry, "mean"), int(min(config.retry.attempts_bound, _RETRIES_SUMMED_MAX)) - 1):
        chance *= share
        total += chance * (wait + takes)
    return total


def _retry_storm(config: ChannelConfig, traffic: Traffic, flow: float) -> Iterator[Finding]:
    provider, retry, takes = config.provider, config.retry, mean(config.provider.latency)
    if provider.capacity is None or not takes:
        return
    serves, most = provider.capacity / takes, flow * retry.attempts_bound
    bounds = (config.slots, config.concurrency_limit, config.adaptive_rate, config.adaptive_throttle)
    holds_back = (
        (retry.budget is not None and not floor_is_above_share(config, traffic))
        or trips(config.circuit_breaker)
        or any(bound is not None for bound in bounds)
        or (config.quota is not None and config.quota.limit.per_second * NEARLY <= serves)
    )
    if holds_back or flow * NEARLY > serves or most * NEARLY <= serves:
        return  # that more arrive than it serves is said of the capacity
    arriving_said, such = traffic.arriving(flow, config), "such " if retry.budget else ""
    if most == math.inf:
        yield _RULES.found("retries-overload-provider/unlimited", arriving=arriving_said, serves=serves, such=such)
        return
    yield _RULES.found(
        "retries-overload-provider",
        attempts=retry.attempts_bound, arriving=arriving_said, most=most, serves=serves, such=such,
    )  # fmt: skip


def _never_settles(config: ChannelConfig, traffic: Traffic, flow: float) -> Iterator[Finding]:
    """Each attempt makes those that come while it is under way slower by more, all together, than it takes itself.

    With a mean latency L and a rate r of arrivals at random the mean time T is L + c · N for the N that are under way,
    which are r · T (Little 1961): so T is L / (1 - r · c), and there is none where r · c is 1 or more.
    """
    by_load, bounds = config.provider.latency_by_load, (config.slots, config.concurrency_limit, config.adaptive_rate)
    if by_load is None or any(bound is not None for bound in bounds) or flow * by_load.per_in_flight < NEARLY:
        return
    each, arriving = by_load.per_in_flight, traffic.arriving(flow, config)
    yield _RULES.found("latency-only-grows", each=each, arriving=arriving, most=1.0 / each)


# ── of several providers and channels ───────────────────────────────────────────────────────────────────────────


def failover_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Finding]:
    retry, after, fallback, latency = config.retry, config.switch_after, config.fallback, config.provider.latency
    most = retry.attempts_most
    if after is not None and after >= most:
        comes = "comes" if after == 1 else "come"
        yield _RULES.found("switch-after-never-reached", after=after, comes=comes, most=most)
    if fallback is not None and fallback.after is not None and fallback.after < (middle := median(latency)):
        late = share_above(latency, fallback.after)
        yield _RULES.found("fallback-below-median-latency", after=fallback.after, median=middle, late=late)
    if config.failover and (arriving := traffic.behind_limits) is not None:
        yield from _together(config, traffic, arriving)


def _together(config: ChannelConfig, traffic: Traffic, arriving: float) -> Iterator[Finding]:
    lanes, arriving_said = config.by_provider(), traffic.arriving(arriving, config)
    quotas = [own.quota for own in lanes.values() if own.quota is not None]
    allowed = sum(quota.limit.per_second for quota in quotas)
    if len(quotas) == len(lanes) and allowed < arriving * NEARLY:
        # Only where every quota drops is anything dropped.
        deciding = next((quota for quota in quotas if quota.on_limit != "drop"), quotas[0])
        yield _RULES.found(
            "quotas-below-arrivals",
            key=key_of(quotas[0]), limit=as_written(quotas[0]), allowed=allowed, arriving=arriving_said,
            excess=excess(arriving - allowed, deciding),
        )  # fmt: skip
        return
    through = {name: _most_through(own) for name, own in lanes.items()}
    most = sum(through.values())
    if most < arriving * NEARLY:
        each = ", ".join(f"{name} {{{name}:rate}}" for name in through)
        yield _RULES.found(
            "providers-below-arrivals",
            most=most, each=said(each, **through), arriving=arriving_said, excess=growth(arriving - most),
        )  # fmt: skip


def _most_through(config: ChannelConfig) -> float:
    mean_s = limited_mean(config.provider.latency, config.timeout)
    slots = [config.slots, None if config.concurrency_limit is None else config.concurrency_limit.maximum]
    bounds = [places / mean_s for places in slots if places is not None and mean_s > 0]
    if config.quota is not None:
        bounds.append(config.quota.limit.per_second)
    if config.adaptive_rate is not None and config.adaptive_rate.maximum_rate is not None:
        bounds.append(config.adaptive_rate.maximum_rate.per_second)
    return min(bounds, default=math.inf)
