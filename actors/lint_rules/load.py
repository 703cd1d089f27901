"""Time limits, limiters and slots against what arrives: what cannot keep up, and what cuts off the ordinary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.distribution_shape import limited_mean, median, share_above
from actors.lint_rules.traffic import Found, Traffic
from actors.lint_rules.words import count, duration, number, percent, rate

if TYPE_CHECKING:
    from actors.config import ChannelConfig, RateLimitConfig

_NEARLY = 1 - 1e-9
"""Rates that are equal but for the rounding of floats are equal."""


def load_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield what is to be said of `timeout`, `rate_limit`, `quota`, `max_in_flight` and the provider's capacity."""
    yield from _timeout(config)
    yield from _quota(config, traffic)
    yield from _limit_of_users(config, traffic)
    yield from _slots(config, traffic)


def _timeout(config: ChannelConfig) -> Iterator[Found]:
    middle = median(config.provider.latency)
    if config.timeout < middle:
        share = share_above(config.provider.latency, config.timeout)
        yield (
            ("timeout",),
            f"{duration(config.timeout)} is shorter than the provider's median latency of {duration(middle)}: "
            f"{percent(share)} of the attempts will time out",
        )


def _quota(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    quota, arriving = config.quota, traffic.per_s
    if quota is None or arriving is None or arriving * _NEARLY <= quota.limit.per_second:
        return
    yield (
        ("quota", _key_of(quota)),
        f"{_as_written(quota)} is below the {rate(arriving)} that arrive: "
        f"{_excess(arriving - quota.limit.per_second, quota)}",
    )


def _limit_of_users(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    limit, arriving = config.rate_limit, traffic.per_user_per_s
    if limit is None or arriving is None or arriving * _NEARLY <= limit.limit.per_second:
        return
    yield (
        ("rate_limit", _key_of(limit)),
        f"{_as_written(limit)} is below the {rate(arriving)} that arrive for one user: "
        f"{_excess(arriving - limit.limit.per_second, limit, of=' of each')}",
    )


def _excess(per_s: float, limit: RateLimitConfig, of: str = "") -> str:
    many = f"{number(per_s * 60)} a minute" if per_s * 60 >= 1 else f"{number(per_s * 3600)} an hour"
    return f"{many}{of} are dead-lettered" if limit.on_limit == "drop" else f"the queue{of} grows by {many}"


def _key_of(limit: RateLimitConfig) -> str:
    return "rates" if limit.rates is not None else "rate" if limit.rate is not None else "max_per_minute"


def _as_written(limit: RateLimitConfig) -> str:
    if limit.max_per_minute is not None:
        return f"{limit.max_per_minute:,}"
    return f"{number(limit.limit.count)}/{_period(limit.limit.period)}"


def _period(seconds: float) -> str:
    return {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "d"}.get(seconds) or duration(seconds)


def _slots(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Little's law: what is under way on average is the rate times the mean time that each takes."""
    flow, mean = traffic.flow(config), limited_mean(config.provider.latency, config.timeout)
    if flow is None or mean <= 0:
        return
    bounds = (
        (("max_in_flight",), config.max_in_flight, "slot", "let through"),
        (("provider", "capacity"), config.provider.capacity, "place", "serve"),
    )
    for path, places, noun, verb in bounds:
        if places is not None and places / mean < flow * _NEARLY:
            many = count(places, noun)
            yield (
                path,
                f"{many} at a mean latency of {duration(mean)} {verb if places > 1 else verb.replace('let', 'lets')} "
                f"{rate(places / mean)}, and {rate(flow)} arrive: the queue grows by "
                f"{number((flow - places / mean) * 60)} a minute",
            )
