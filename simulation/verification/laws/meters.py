"""What each kind of limit promises, counted anew from the instants at which it let something through.

These are not the limiters (:mod:`actors.policies.rate_limit.limiter`): they decide nothing and count otherwise, so that
a mistake in one is seen by the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from actors.formatting import seconds_text
from actors.instants import NS_PER_S, wait_ns
from actors.policies.exact import as_fraction
from actors.settings.quantities import Rate, write_rate
from actors.settings.rate_limit import RateLimitConfig


class Meter(Protocol):
    def add(self, now_ns: int) -> str | None:
        """Count one; return what is too much, or None. `now_ns` never goes back."""


@dataclass(slots=True, eq=False)
class WindowMeter:
    """At most so many in any window ``(now - width, now]``."""

    _limit: int
    _width_ns: int
    _instants_ns: deque[int] = field(default_factory=deque)

    def add(self, now_ns: int) -> str | None:
        instants_ns = self._instants_ns
        instants_ns.append(now_ns)
        outside_ns = now_ns - self._width_ns
        while instants_ns[0] <= outside_ns:
            instants_ns.popleft()
        if len(instants_ns) <= self._limit:
            return None
        since = seconds_text(instants_ns[0])
        return f"{len(instants_ns)} since {since}, of at most {self._limit} in {seconds_text(self._width_ns)}"


@dataclass(slots=True, eq=False)
class SeamMeter:
    """At most so many in each window ``[n * width, (n + 1) * width)``."""

    _limit: int
    _width_ns: int
    _number: int = -1
    _count: int = 0

    def add(self, now_ns: int) -> str | None:
        number = now_ns // self._width_ns
        if number != self._number:
            self._number, self._count = number, 0
        self._count += 1
        if self._count <= self._limit:
            return None
        since = seconds_text(number * self._width_ns)
        return f"{self._count} since {since}, of at most {self._limit} in {seconds_text(self._width_ns)}"


@dataclass(slots=True, eq=False)
class BucketMeter:
    """In any span of time at most a burst and what the rate gives: the level of a bucket that leaks, in fractions."""

    _burst: int
    _interval_ns: Fraction
    _text: str
    _level: Fraction = Fraction(0)
    _now_ns: int = 0

    def add(self, now_ns: int) -> str | None:
        leaked = (now_ns - self._now_ns) / self._interval_ns
        self._level = max(Fraction(0), self._level - leaked) + 1
        self._now_ns = now_ns
        if self._level <= self._burst:
            return None
        return f"{float(self._level):.6g} in a bucket of {self._burst} that is emptied at {self._text}"


@dataclass(slots=True, eq=False)
class SlotMeter:
    """At most one in each interval since the start of the run, whose length need not be whole nanoseconds."""

    _interval_ns: Fraction
    _text: str
    _number: int = -1

    def add(self, now_ns: int) -> str | None:
        number = int(now_ns / self._interval_ns)
        if number != self._number:
            self._number = number
            return None
        return f"two in one interval of {self._text}"


def meters_of(config: RateLimitConfig) -> list[Meter]:
    """Return the meters for one key: of what a limit promises, whatever comes, one for each of its rates.

    A sliding counter only estimates; what it does promise is the limit in each window of the two that it counts in.
    """
    return [_meter_of(config, rate) for rate in config.limits]


def _meter_of(config: RateLimitConfig, rate: Rate) -> Meter:
    count, width_ns = as_fraction(rate.count), wait_ns(rate.period)
    interval_ns, text = width_ns / count, write_rate(rate)
    match config.kind:
        case "sliding_window":
            return WindowMeter(int(count), width_ns)
        case "fixed_window" | "sliding_counter":
            return SeamMeter(int(count), width_ns)
        case "leaky_bucket" if config.aligned:
            return SlotMeter(interval_ns, text)
        case "leaky_bucket":
            return BucketMeter(1, interval_ns, text)
        case _:
            return BucketMeter(config.burst or int(count), interval_ns, text)


def longest_window_ns(config: RateLimitConfig) -> int:
    """Return the width of the longest of its windows; at least that of a burst that is used up."""
    burst = config.burst or 1
    return max(wait_ns(max(rate.period, burst / rate.count * rate.period)) for rate in config.limits) or NS_PER_S
