"""The traffic that the rules know besides the settings of a channel: its arrivals, and how its provider usually is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from actors.formatting import plain_number
from actors.lint.findings import Number, Said, duration, said
from actors.settings.distribution_moments import share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, CircuitBreakerConfig, RateLimitConfig

NEARLY = 1 - 1e-9
"""Rates that are equal but for the rounding of floats are equal."""

SLIGHTLY = 1.01
"""A smaller excess is no finding, since figures of distributions are rounded."""

_LONG_S = 1e9
"""Seconds in which what may go at once does not count."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The arrivals on a channel. A field is None where it is not known, as in a live service."""

    per_s: float | None = None
    """Notifications a second, on average."""

    per_user_per_s: float | None = None
    """Notifications a second for the busiest user. None: each notification has a user of its own."""

    most_in: Callable[[float], float] | None = None
    """Returns how many are expected in the busiest stretch of so many seconds. None: as many as on average."""

    lasts_s: float | None = None
    """The seconds for which notifications arrive. None: without an end."""

    let_through_in: Callable[[float], float] | None = None
    """Returns the most that the limit of each user lets through in so many seconds. None: no limit is known to bind."""

    expires_after: float | None = None
    """Seconds after which a notification is not sent any more. None: never."""

    nodes: int = 1
    """The number of processes that let notifications through, each as many at once as its settings say."""

    is_bound: bool = False
    """Whether these rates are only upper bounds, as for a provider that is tried after others."""

    is_operated: bool = False
    """Whether it is known that an operator has a breaker let something through."""

    meets_channel_faults: bool = False
    """Whether a provider may say that the channel is broken, to a notification that may never expire."""

    may_never_expire: bool = False
    """Whether there may be a notification without an expiry."""

    chooses_hosts: bool = False
    """Whether each recipient names the host that is asked."""

    @property
    def at_each_node(self) -> Said:
        """The words for a finding about each node, where there are several."""
        return said(" at each of {nodes} nodes", nodes=self.nodes) if self.nodes > 1 else Said("")

    def calls_in(self, seconds: float, config: ChannelConfig, *, at_one_node: bool = False) -> float | None:
        """Return how many first attempts are expected in the busiest stretch of so many seconds.

        No more than the limits of the users and the channel's quota let through. None when the traffic is not known.
        """
        if self.per_s is None:
            return None
        most = self.most_in(seconds) if self.most_in is not None else self.per_s * seconds
        most /= self.nodes if at_one_node else 1
        if self.let_through_in is not None:
            most = min(most, self.let_through_in(seconds))
        return most if config.quota is None else min(most, most_under(config.quota, seconds))

    def flow(self, config: ChannelConfig) -> float | None:
        """Return how many first attempts a second come through the limits to the provider. None when not known."""
        coming = self.behind_limits
        if coming is None or self.is_bound:
            return None
        return coming if config.quota is None else min(coming, config.quota.limit.per_second)

    @property
    def behind_limits(self) -> float | None:
        """The notifications a second that come through the limits of the users, on average. None when not known."""
        if self.per_s is None or self.let_through_in is None:
            return self.per_s
        lasts_s = self.lasts_s or _LONG_S
        return min(self.per_s, self.let_through_in(lasts_s * NEARLY) / lasts_s)  # no window begins at the end

    def arriving(self, per_s: float, config: ChannelConfig) -> Said:
        if per_s == self.behind_limits != self.per_s:
            return said("{arriving:rate} (behind rate_limit)", arriving=per_s)
        most, is_whole = None if self.most_in is None else self.most_in(1.0), per_s == self.per_s
        is_even = config.quota is not None and per_s == config.quota.limit.per_second and not is_whole
        if is_even or most is None or most < 2 or most * NEARLY <= 2 * (self.per_s or 0.0):
            return said("{arriving:rate}", arriving=per_s)
        at_once = " ({at_once} in a second)" if is_whole else ""
        return said("{arriving:rate} on average" + at_once, arriving=per_s, at_once=most)


class Failing(NamedTuple):
    """The shares of the attempts that fail with nothing wrong."""

    all: float

    too_slow: float
    """The attempts that end by their timeout, whose messages may have been sent."""

    @property
    def timing_out(self) -> Said:
        """The words that follow the share of all failures in a text."""
        return said(", {too_slow:percent} by their timeout", too_slow=self.too_slow) if self.too_slow else Said("")


def failing(config: ChannelConfig, counted: Collection[str] = ("transient", "ambiguous")) -> Failing:
    too_slow = share_above(config.provider.latency, config.timeout)
    failed = (1 - too_slow) * config.provider.failure_rate if "transient" in counted else 0.0
    too_slow = too_slow if "ambiguous" in counted else 0.0
    return Failing(too_slow + failed, too_slow)


def trips(breaker: CircuitBreakerConfig) -> bool:
    return breaker.enabled and breaker.initial_state not in ("disabled", "metrics-only")


def shortest_open_s(breaker: CircuitBreakerConfig) -> float:
    return breaker.timeout * (1 - breaker.open_growth.jitter if breaker.open_growth else 1)


def most_under(limit: RateLimitConfig, seconds: float) -> float:
    """Return the most that a limit lets through in so many seconds."""
    from actors.settings.rate_limit import BUCKETS

    if limit.kind in BUCKETS:
        at_once = (1.0 if limit.kind == "leaky_bucket" else limit.burst or rate.count for rate in limit.limits)
        return min(now + rate.per_second * seconds for now, rate in zip(at_once, limit.limits, strict=True))
    return min(rate.count * (1 + seconds // rate.period) for rate in limit.limits)


def key_of(limit: RateLimitConfig) -> str:
    return "rates" if limit.rates is not None else "rate" if limit.rate is not None else "max_per_minute"


def as_written(limit: RateLimitConfig) -> Number:
    if limit.max_per_minute is not None:
        return Number(plain_number(limit.max_per_minute), float(limit.max_per_minute))
    count, period = plain_number(limit.limit.count), limit.limit.period
    unit = {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "d"}.get(period) or duration(period)
    return Number(f"{count}/{unit}", limit.limit.per_second, "1/s")


def growth(per_s: float, of: str = "") -> Said:
    """Return how a queue grows by so many a second."""
    return said("the queue{of} grows by {excess:many}", of=of, excess=per_s)


def refusals(per_s: float) -> Said:
    return said("{excess:many} are refused", excess=per_s)


def excess(per_s: float, limit: RateLimitConfig, of: str = "") -> Said:
    if limit.on_limit == "drop":
        return said("{excess:many}{of} are dead-lettered", of=of, excess=per_s)
    return growth(per_s, of)
