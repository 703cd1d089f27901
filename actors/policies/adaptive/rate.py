"""A limiter whose rate follows what the provider takes: throttling (a 429) cuts it, success lets it grow."""

from __future__ import annotations

import math
from typing import Protocol

from actors.policies.adaptive.aimd import Aimd
from actors.policies.adaptive.cubic import Cubic
from actors.policies.adaptive.rate_clock import RateClock
from actors.policies.costs import never_fits
from actors.settings.adaptive import AdaptiveRateConfig
from actors.waits import wait_ns

_HEADROOM = 2.0
"""It grows no further than so many times the measured rate: what is not used is not known to be allowed."""


class RateLaw(Protocol):
    """How a rate grows and how it is cut; rates are numbers a second."""

    def grown(self, rate: float, now_ns: int) -> float:
        """Return the rate after a success, when it was `rate`."""

    def cut(self, rate: float, now_ns: int) -> float:
        """Return the rate after throttling, when it was `rate`."""


class AdaptiveRate:
    """One rate for a whole channel, whatever the key, evenly spaced; a limiter like the others, with feedback.

    As the client rate limiter of the AWS SDKs' adaptive mode: a cut starts from what was really sent if that is less
    than what was allowed, there is no limit before the first throttling unless an initial rate is set, and it does not
    grow beyond twice what is sent. Other than there, a quiet time does not lower it.
    """

    __slots__ = ("_clock", "_cooldown_ns", "_cut_at_ns", "_free_at_ns", "_law", "_maximum", "_minimum", "rate")

    def __init__(self, config: AdaptiveRateConfig) -> None:
        if config.kind == "aimd":
            decrease = 0.5 if config.decrease is None else config.decrease
            self._law: RateLaw = Aimd(config.increase.per_second, decrease)
        else:
            decrease = 0.7 if config.decrease is None else config.decrease
            initially = 0.0 if config.initial_rate is None else config.initial_rate.per_second
            self._law = Cubic(decrease, config.scale, initially)
        self.rate = None if config.initial_rate is None else config.initial_rate.per_second
        """How many a second; None for no limit."""
        self._minimum = config.minimum_rate.per_second
        self._maximum = math.inf if config.maximum_rate is None else config.maximum_rate.per_second
        self._cooldown_ns = wait_ns(config.cooldown)
        self._cut_at_ns: int | None = None
        self._free_at_ns = 0
        self._clock = RateClock()

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered: none, they are not told apart."""
        return 0

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted, else the earliest instant at which it fits if the rate stays as it is."""
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns and self.rate is not None:
            self._free_at_ns = now_ns + wait_ns(cost / self.rate)
        return fits_at_ns

    def fits_at(self, _key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        never_fits(cost, cost)
        return max(now_ns, self._free_at_ns)

    def forget_idle(self, _now_ns: int) -> None:
        """There is nothing to forget."""

    def on_success(self, now_ns: int) -> None:
        """Take note that the provider took one."""
        measured = self._clock.record(now_ns)
        if self.rate is None:
            return
        grown = min(self._law.grown(self.rate, now_ns), self._maximum, _HEADROOM * measured)
        if grown > self.rate:
            self._change(grown, now_ns)

    def on_throttled(self, now_ns: int) -> bool:
        """Take note that the provider said we are too fast; return whether that cuts the rate."""
        measured = self._clock.record(now_ns)
        if self._cut_at_ns is not None and now_ns < self._cut_at_ns + self._cooldown_ns:
            return False
        self._cut_at_ns = now_ns
        sent = min(measured or math.inf, math.inf if self.rate is None else self.rate)
        # Throttled from the very first: nobody knows how fast that was.
        cut = self._law.cut(sent if sent < math.inf else self._minimum, now_ns)
        self._change(min(self._maximum, max(self._minimum, cut)), now_ns)
        return True

    def _change(self, rate: float, now_ns: int) -> None:
        if self.rate is not None and self._free_at_ns > now_ns:
            # Who waits, waits for as many as before, at the new rate.
            self._free_at_ns = now_ns + round((self._free_at_ns - now_ns) * self.rate / rate)
        elif self.rate is None:
            self._free_at_ns = now_ns + wait_ns(1 / rate)
        self.rate = rate
