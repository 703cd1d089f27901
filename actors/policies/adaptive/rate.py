"""A limiter whose rate follows the provider's: throttling (a 429) cuts it, success lets it grow.

Two formulas say by how much. :class:`Aimd` adds a little and multiplies down; :class:`Cubic` comes back fast to the
rate at which it was cut, stays there for a while, and then tries more. :class:`RateClock` measures a rate of events.
"""

from __future__ import annotations

import math
from typing import Protocol

from actors.instants import NS_PER_S, seconds, wait_ns
from actors.policies.exact import never_fits
from actors.settings.adaptive import AdaptiveRateConfig


class Aimd:
    """Grows by `increase` a second for each second of success, and is multiplied by `decrease` when throttled.

    After Dah-Ming Chiu and Raj Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance",
    1989: of the linear formulas the one by which several senders come to equal shares. It grows by time and not by
    success, so a fast sender gains nothing over a slow one; more than a second without any success counts as one.
    """

    __slots__ = ("_decrease", "_increase", "_since_ns")

    def __init__(self, increase: float, decrease: float) -> None:
        self._increase = increase
        self._decrease = decrease
        self._since_ns = 0

    def grown(self, rate: float, now_ns: int) -> float:
        passed_s = seconds(min(NS_PER_S, now_ns - self._since_ns))
        self._since_ns = now_ns
        return rate + self._increase * passed_s

    def cut(self, rate: float, now_ns: int) -> float:
        self._since_ns = now_ns
        return rate * self._decrease


class Cubic:
    """``scale · (t − k)³ + w_max`` a second, t seconds after the last cut, which was at `w_max`.

    After RFC 9438, on a rate instead of a window, as in the adaptive mode of the AWS SDKs: k is the time at which it is
    at `w_max` again, and `decrease` the share of the rate that a cut leaves.
    """

    __slots__ = ("_cut_at_ns", "_decrease", "_scale", "_w_max", "k")

    def __init__(self, decrease: float, scale: float, w_max: float = 0.0) -> None:
        self._decrease = decrease
        self._scale = scale
        self._cut_at_ns = 0
        self._remember(w_max)

    def grown(self, _rate: float, now_ns: int) -> float:
        """Return the rate a second after a success."""
        growth = seconds(now_ns - self._cut_at_ns) - self.k
        return self._scale * growth * growth * growth + self._w_max

    def cut(self, rate: float, now_ns: int) -> float:
        self._cut_at_ns = now_ns
        self._remember(rate)
        return rate * self._decrease

    def _remember(self, w_max: float) -> None:
        self._w_max = w_max
        self.k: float = (w_max * (1 - self._decrease) / self._scale) ** (1 / 3)
        """Seconds from the last cut to the rate at which it happened."""


_BUCKET_NS = NS_PER_S // 2
_SMOOTHING = 0.8


class RateClock:
    """Counts in buckets of half a second and smooths the rates, 80% of the latest and 20% of the average before.

    After the rate clocker of the AWS SDKs' adaptive mode. A bucket shows only once an event comes after its end, and
    that event is counted in it.
    """

    __slots__ = ("_bucket_ns", "_count", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        """Events a second; 0 in the first half second."""
        self._bucket_ns = 0
        self._count = 0

    def record(self, now_ns: int) -> float:
        """Count one and return the rate."""
        self._count += 1
        bucket_ns = now_ns - now_ns % _BUCKET_NS
        if bucket_ns > self._bucket_ns:
            latest = self._count * NS_PER_S / (bucket_ns - self._bucket_ns)
            self.rate = _SMOOTHING * latest + (1 - _SMOOTHING) * self.rate
            self._bucket_ns, self._count = bucket_ns, 0
        return self.rate


_HEADROOM = 2.0
"""The rate grows no further than this many times the measured rate: an unused rate is not known to be allowed."""


class RateLaw(Protocol):
    """How a rate grows and how it is cut; rates are numbers a second."""

    def grown(self, rate: float, now_ns: int) -> float:
        """Return the rate after a success, when it was `rate`."""

    def cut(self, rate: float, now_ns: int) -> float:
        """Return the rate after throttling, when it was `rate`."""


class AdaptiveRate:
    """One rate for a whole channel, whatever the key, evenly spaced; a limiter like the others, with feedback.

    As the client rate limiter of the AWS SDKs' adaptive mode: a cut starts from the measured rate if that is less than
    the allowed rate, there is no limit before the first throttling unless an initial rate is set, and the rate does not
    grow beyond twice the measured one. Unlike there, a quiet time does not lower the rate.
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
        """Keys for which something is remembered: none, they are not distinguished."""
        return 0

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns and self.rate is not None:
            self._free_at_ns = now_ns + wait_ns(cost / self.rate)
        return fits_at_ns

    def fits_at(self, _key: str, now_ns: int, cost: int = 1) -> int:
        never_fits(cost, cost)
        return max(now_ns, self._free_at_ns)

    def forget_idle(self, _now_ns: int) -> None:
        """There is nothing to forget."""

    def on_success(self, now_ns: int) -> None:
        """Record that the provider took one."""
        measured = self._clock.record(now_ns)
        if self.rate is None:
            return
        grown = min(self._law.grown(self.rate, now_ns), self._maximum, _HEADROOM * measured)
        if grown > self.rate:
            self._change(grown, now_ns)

    def on_throttled(self, now_ns: int) -> bool:
        """Record that the provider said that we send too fast; return whether that cuts the rate."""
        measured = self._clock.record(now_ns)
        if self._cut_at_ns is not None and now_ns < self._cut_at_ns + self._cooldown_ns:
            return False
        self._cut_at_ns = now_ns
        sent = min(measured or math.inf, math.inf if self.rate is None else self.rate)
        # Throttled from the very first: how fast that was is not known.
        cut = self._law.cut(sent if sent < math.inf else self._minimum, now_ns)
        self._change(min(self._maximum, max(self._minimum, cut)), now_ns)
        return True

    def _change(self, rate: float, now_ns: int) -> None:
        if self.rate is not None and self._free_at_ns > now_ns:
            # Waiting requests keep their place in the line, at the new rate.
            self._free_at_ns = now_ns + round((self._free_at_ns - now_ns) * self.rate / rate)
        elif self.rate is None:
            self._free_at_ns = now_ns + wait_ns(1 / rate)
        self.rate = rate
