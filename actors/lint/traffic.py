"""What the rules know besides the settings: the traffic of a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from actors.lint.words import plain_number, rate

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig

NEARLY = 1 - 1e-9
"""Rates that are equal but for the rounding of floats are equal."""

SLIGHTLY = 1.01
"""What is above by less is no finding: figures of distributions are rounded."""


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

        No more than the channel's quota lets through. None when the traffic is not known.
        """
        if self.per_s is None:
            return None
        most = self.most_in(seconds) if self.most_in is not None else self.per_s * seconds
        most /= self.nodes if at_one_node else 1
        if config.quota is not None:
            for rate in config.quota.limits:
                at_once = max(rate.count, config.quota.burst or 0)
                most = min(most, at_once + rate.count * (seconds // rate.period))
        return most

    def flow(self, config: ChannelConfig) -> float | None:
        """Return how many first attempts a second come through the limits to the provider. None when not known."""
        if self.per_s is None or self.is_bound:
            return None
        return self.per_s if config.quota is None else min(self.per_s, config.quota.limit.per_second)

    def arriving(self, per_s: float, config: ChannelConfig) -> str:
        """Return a rate of what arrives; where it is the mean of bursts, that it is, and how many come at once."""
        most, is_whole = None if self.most_in is None else self.most_in(1.0), per_s == self.per_s
        is_even = config.quota is not None and per_s == config.quota.limit.per_second and not is_whole
        if is_even or most is None or most < 2 or most * NEARLY <= 2 * (self.per_s or 0.0):
            return rate(per_s)
        return f"{rate(per_s)} on average" + (f" ({plain_number(most)} in a second)" if is_whole else "")
