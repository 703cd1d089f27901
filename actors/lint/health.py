"""How a provider is when nothing is wrong: what every rule about failures starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.lint.words import percent
from actors.settings.distribution_moments import share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


class Failing(NamedTuple):
    """The shares of the attempts that fail with nothing wrong."""

    all: float

    too_slow: float
    """Those by their timeout, which may have been sent."""

    @property
    def timing_out(self) -> str:
        """What to add to a text about all of them."""
        return f", {percent(self.too_slow)} by their timeout" if self.too_slow else ""


def failing(config: ChannelConfig) -> Failing:
    """Return the shares of the attempts that fail although the provider is as it always is."""
    too_slow = share_above(config.provider.latency, config.timeout)
    return Failing(too_slow + (1 - too_slow) * config.provider.failure_rate, too_slow)
