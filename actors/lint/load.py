"""Time limits, limiters and slots against what arrives: what cannot keep up, and what cuts off the ordinary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.formatting import plain_number as in_digits
from actors.lint.breaker import trips
from actors.lint.budget import floor_is_above_share
from actors.lint.traffic import NEARLY, Found, Traffic
from actors.lint.words import apart, counted, duration, many_in_a_while, number, percent, plain_number, rate
from actors.settings.distribution_moments import limited_mean, mean, median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RateLimitConfig


def load_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `rate_limit`; and of `quota`, `adaptive_rate`, slots, and what load does to the provider.

    The latter where there is one provider: of several, what is too much for one goes to the next.
    """
    yield from _limit_of_users(config, traffic)
    yield from _no_bulkhead(config, traffic)
    if not config.failover:
        yield from _quota(config, traffic)
        yield from _adaptive_rate(config, traffic)
        yield from _slots(config, traffic)
        yield from _retry_storm(config, traffic)
        yield from _never_settles(config, traffic)


def timeout_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    """Yield findings about the `timeout` of one provider."""
    middle = median(config.provider.latency)
    if config.timeout < middle:
        share = share_above(config.provider.latency, config.timeout)
        yield Found(
            ("timeout",),
            "timeout-below-median-latency",
            f"{duration(config.timeout)} is shorter than the provider's median latency of {duration(middle)}: "
            f"{percent(share)} of the attempts will time out",
        )


def _no_bulkhead(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """What is written to have no bound, has none; what is left out has that of its transport."""
    for name, own in config.by_provider().items():
        is_further = name in config.failover
        given = (config.failover[name] if is_further else config).model_fields_set
        if "max_in_flight" not in given or own.slots is not None or own.concurrency_limit is not None:
            continue
        calls = traffic.calls_in(own.timeout, own)
        many = "" if calls is None else f": {'up to ' * is_further}{plain_number(calls)} attempts"
        yield Found(
            (*(("failover", name) if is_further else ()), "max_in_flight"),
            "slots-unbounded",
            f"null bounds nothing: while the provider does not answer, what arrives in a timeout of "
            f"{duration(own.timeout)} is under way at once{many}",
        )


def _never_settles(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Each attempt makes those that come while it is under way slower by more, all together, than it takes itself.

    With a mean latency L and a rate r of arrivals at random the mean time T is L + c · N for the N that are under way,
    which are r · T (Little 1961): so T is L / (1 - r · c), and there is none where r · c is 1 or more.
    """
    by_load, flow = config.provider.latency_by_load, traffic.flow(config)
    bounds = (config.slots, config.concurrency_limit, config.adaptive_rate)
    if by_load is None or flow is None or any(bound is not None for bound in bounds):
        return
    if flow * by_load.per_in_flight >= NEARLY:
        yield Found(
            ("provider", "latency_by_load", "per_in_flight"),
            "latency-only-grows",
            f"{duration(by_load.per_in_flight)} for each in flight, and {traffic.arriving(flow, config)} arrive: "
            f"above {rate(1.0 / by_load.per_in_flight)} the latency only grows, and nothing bounds what is in flight",
        )


def _retry_storm(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """All attempts of all that arrive are more than the provider takes, and nothing at the sender holds them back."""
    provider, flow, retry = config.provider, traffic.flow(config), config.retry
    takes = mean(provider.latency)
    if provider.capacity is None or flow is None or not takes:
        return
    serves, most = provider.capacity / takes, flow * retry.max_attempts
    holds_back = (
        (retry.budget is not None and not floor_is_above_share(config, traffic))
        or trips(config.circuit_breaker)
        or config.slots is not None
        or config.concurrency_limit is not None
        or config.adaptive_rate is not None
        or config.adaptive_throttle is not None
        or (config.quota is not None and config.quota.limit.per_second * NEARLY <= serves)
    )
    if holds_back or flow * NEARLY > serves or most * NEARLY <= serves:
        return  # that more arrive than it serves is said of the capacity
    yield Found(
        ("retry", "max_attempts"),
        "retries-overload-provider",
        f"{plain_number(retry.max_attempts)} attempts of {traffic.arriving(flow, config)} are up to {rate(most)}, "
        f"and the provider serves {rate(serves)}: with no {'such ' if retry.budget else ''}budget, no breaker and no "
        f"slots, what has failed once may keep it overloaded",
    )


def _quota(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    quota, arriving = config.quota, traffic.behind_limits
    if quota is None or arriving is None or _keeps_up(quota, arriving, traffic):
        return
    yield Found(
        ("quota", key_of(quota)),
        "quota-below-arrivals",
        f"{as_written(quota)} is below the {traffic.arriving(arriving, config)} that arrive: "
        f"{excess(arriving - quota.limit.per_second, quota)}",
    )


def _limit_of_users(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    limit, arriving = config.rate_limit, traffic.per_user_per_s
    if limit is None or arriving is None or _keeps_up(limit, arriving, traffic):
        return
    yield Found(
        ("rate_limit", key_of(limit)),
        "rate-limit-below-arrivals",
        f"{as_written(limit)} is below the {traffic.arriving(arriving, config)} that arrive for one user: "
        f"{excess(arriving - limit.limit.per_second, limit, of=' of each')}",
    )


def _keeps_up(limit: RateLimitConfig, per_s: float, traffic: Traffic) -> bool:
    """Return whether a limit lets so many a second through: without an end, or all of them at once, as ten in ten
    minutes for ``10/h``."""
    if per_s * NEARLY <= limit.limit.per_second:
        return True
    if traffic.lasts_s is None or limit.kind == "leaky_bucket":  # which lets no two through at once
        return False
    return per_s * traffic.lasts_s * NEARLY <= (limit.burst or limit.limit.count)


def _adaptive_rate(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    adaptive, flow = config.adaptive_rate, traffic.flow(config)
    if adaptive is None or adaptive.maximum_rate is None or flow is None:
        return
    most = adaptive.maximum_rate.per_second
    if flow * NEARLY > most:
        yield Found(
            ("adaptive_rate", "maximum_rate"),
            "adaptive-rate-below-arrivals",
            f"{rate(most)} is below the {traffic.arriving(flow, config)} that arrive: {growth(flow - most)}",
        )


def growth(per_s: float, of: str = "") -> str:
    """Return how a queue grows by so many a second."""
    return f"the queue{of} grows by {many_in_a_while(per_s)}"


def excess(per_s: float, limit: RateLimitConfig, of: str = "") -> str:
    """Return what happens to so many a second that are too much for a limit."""
    return f"{many_in_a_while(per_s)}{of} are dead-lettered" if limit.on_limit == "drop" else growth(per_s, of)


def key_of(limit: RateLimitConfig) -> str:
    """Return the key that gives the rate of a limit."""
    return "rates" if limit.rates is not None else "rate" if limit.rate is not None else "max_per_minute"


def as_written(limit: RateLimitConfig) -> str:
    """Return the rate of a limit as a file has it."""
    if limit.max_per_minute is not None:
        return plain_number(limit.max_per_minute)
    count, period = in_digits(limit.limit.count), limit.limit.period
    unit = {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "d"}.get(period) or apart(duration(period))[0]
    return number(f"{count}/{unit}", limit.limit.per_second, "1/s")


def _slots(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Little's law: what is under way on average is the rate times the mean time that each takes.

    A slot of the sender is free again at its timeout, at the latest. A place at the provider is not: what has timed
    out is worked on to its end, whatever the discipline.
    """
    flow, latency = traffic.flow(config), config.provider.latency
    if flow is None:
        return
    at_sender, lasts_s = limited_mean(latency, config.timeout), traffic.lasts_s
    whole = mean(latency)
    # In an hour, no attempt takes up more of a place than an hour.
    at_provider = whole if lasts_s is None else limited_mean(latency, lasts_s)
    cut = f", counted up to the {duration(lasts_s)} of arrivals," if lasts_s and at_provider < 0.999 * whole else ""
    bounds = (
        (("max_in_flight",), config.slots, "slot", "let through", at_sender, ""),
        (
            ("concurrency_limit", "maximum"),
            None if config.concurrency_limit is None else config.concurrency_limit.maximum,
            "slot",
            "let through",
            at_sender,
            "",
        ),
        (("provider", "capacity"), config.provider.capacity, "place", "serve", at_provider, cut),
    )
    for path, places, noun, verb, takes, how in bounds:
        nodes = traffic.nodes if noun == "slot" else 1
        if places is not None and nodes * places < takes * flow * NEARLY:
            of = "slots" if noun == "slot" else "capacity"
            if nodes * places == 1:
                verb = "lets through" if noun == "slot" else "serves"
            yield Found(
                path,
                f"{of}-below-load",
                f"{counted(places, noun)}{traffic.at_each_node if nodes > 1 else ''} at a mean latency of "
                f"{duration(takes)}{how} {verb} {rate(nodes * places / takes)}, and {traffic.arriving(flow, config)} "
                f"arrive: {growth(flow - nodes * places / takes)}",
            )
