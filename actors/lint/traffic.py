"""What the rules know besides the settings: the traffic of a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from actors.lint.words import plain_number, rate

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RateLimitConfig

NEARLY = 1 - 1e-9
"""Rates that are equal but for the rounding of floats are equal."""

SLIGHTLY = 1.01
"""What is above by less is no finding: figures of distributions are rounded."""


_LONG_S = 1e9
"""Seconds in which what may go at once does not count."""


def most_under(limit: RateLimitConfig, seconds: float) -> float:
    """Return the most that a limit lets through in so many seconds."""
    from actors.settings.rate_limit import BUCKETS

    if limit.kind in BUCKETS:
        at_once = (1.0 if limit.kind == "leaky_bucket" else limit.burst or rate.count for rate in limit.limits)
        return min(now + rate.per_second * seconds for now, rate in zip(at_once, limit.limits, strict=True))
    return min(rate.count * (1 + seconds // rate.period) for rate in limit.limits)


class Found(NamedTuple):
    """What a rule finds in the settings of a channel."""

    path: tuple[str, ...]
    """Of the setting, inside those of the channel."""

    rule: str
    """The name of the rule, which stays when its text changes: ``timeout-below-median-latency``."""

    text: str
    """The warning about it."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What arrives on a channel. None where it is not known, as in a live service."""

    per_s: float | None = None
    """Notifications a second, on average."""

    per_user_per_s: float | None = None
    """The same for the busiest user."""

    most_in: Callable[[float], float] | None = None
    """Returns how many are expected to arrive in the busiest stretch of so many seconds."""

    lasts_s: float | None = None
    """For how many seconds they arrive. None: without an end."""

    let_through_in: Callable[[float], float] | None = None
    """Returns the most that the limit of each user lets through in so many seconds. None: no limit is known to bind."""

    nodes: int = 1
    """How many processes let through what arrives, each as many at once as its settings say."""

    is_bound: bool = False
    """Whether all this is only the most that there can be, as for a provider that others are tried before."""

    is_operated: bool = False
    """Whether it is known that an operator has a breaker let something through."""

    meets_channel_faults: bool = False
    """Whether a provider may say that the channel is broken, to a notification that may never expire."""

    @property
    def at_each_node(self) -> str:
        """The words for what is so at each node, where there are several."""
        return f" at each of {plain_number(self.nodes)} nodes" if self.nodes > 1 else ""

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
        """How many a second come through the limits of the users, on average. None when not known."""
        if self.per_s is None or self.let_through_in is None:
            return self.per_s
        lasts_s = self.lasts_s or _LONG_S
        return min(self.per_s, self.let_through_in(lasts_s * NEARLY) / lasts_s)  # no window begins at the end

    def arriving(self, per_s: float, config: ChannelConfig) -> str:
        """Return a rate of what arrives; where it is the mean of bursts, that it is, and how many come at once."""
        if per_s == self.behind_limits != self.per_s:
            return f"{rate(per_s)} (behind rate_limit)"
        most, is_whole = None if self.most_in is None else self.most_in(1.0), per_s == self.per_s
        is_even = config.quota is not None and per_s == config.quota.limit.per_second and not is_whole
        if is_even or most is None or most < 2 or most * NEARLY <= 2 * (self.per_s or 0.0):
            return rate(per_s)
        return f"{rate(per_s)} on average" + (f" ({plain_number(most)} in a second)" if is_whole else "")
