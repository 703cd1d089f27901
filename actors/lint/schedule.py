"""When the attempts of one notification start, as far as it can be told before any jitter is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from actors.settings.channel import RetryConfig

Bound: TypeAlias = Literal["shortest", "mean", "longest"]

_LOOKED_AT = 10_000
"""So many waits one by one; by then a backoff is at its maximum, or the sum says enough."""

_BEYOND_MEASURE = 1e300
"""Seconds; larger than any wait, and still so far from infinity that differences of such numbers are numbers."""


def waits(retry: RetryConfig, bound: Bound) -> Iterator[float]:
    """Yield the wait in seconds after the first, the second, … failed attempt, without end.

    The shortest and the longest that the jitter can make it, as a wait that is one of these all the way; the mean is
    exact but for `decorrelated` and `soft` jitter, where it is that of a wait whose predecessors had theirs.
    """
    if retry.jitter == "decorrelated":
        yield from _decorrelated(retry, bound)
        return
    attempt = 1
    while True:
        yield _wait(retry, attempt, bound)
        attempt += 1


def starts(retry: RetryConfig, bound: Bound) -> Iterator[float]:
    """Yield when each attempt starts at the soonest, on average or at the latest, in seconds from the first one.

    Attempts are taken to fail at once; at most the first ten thousand.
    """
    start = 0.0
    yield start
    for wait in islice(waits(retry, bound), min(retry.max_attempts, _LOOKED_AT) - 1):
        start += wait
        yield start


def last_start(retry: RetryConfig, bound: Bound) -> float:
    """Return when the last of `max_attempts` attempts starts, in seconds from the first one."""
    latest, previous = 0.0, 0.0
    for start in starts(retry, bound):
        previous, latest = latest, start
    return latest + max(0, retry.max_attempts - _LOOKED_AT) * (latest - previous)


def _wait(retry: RetryConfig, attempt: int, bound: Bound) -> float:
    base = retry.calculate_delay(attempt)
    least, most = (0.0, math.inf) if retry.schedule is not None else (retry.min_delay, retry.max_delay)
    if retry.cap_before_jitter:
        most = math.inf
    low, high = base, base
    match retry.jitter:
        case "full":
            low = min(least, base)
        case "equal":
            low = base / 2
        case "proportional":
            low, high = base * (1 - retry.jitter_share), base * (1 + retry.jitter_share)
        case "additive":
            high = base + retry.jitter_max
        case "soft":
            return _soft(retry, attempt, bound)
    wait = {"shortest": low, "mean": (low + high) / 2, "longest": high}[bound]
    return min(most, max(least, wait))


def _decorrelated(retry: RetryConfig, bound: Bound) -> Iterator[float]:
    low = max(retry.initial_delay, retry.min_delay)
    previous = low
    while True:
        reach = min(retry.jitter_factor * previous, _BEYOND_MEASURE)
        high = max(low, reach if retry.cap_after_draw else min(reach, retry.max_delay))
        wait = {"shortest": low, "mean": _mean_of_uniform(low, high, retry.max_delay), "longest": high}[bound]
        previous = min(retry.max_delay, wait)
        yield previous


def _mean_of_uniform(low: float, high: float, cap: float) -> float:
    """Return the mean of min(U(low, high), cap)."""
    if high <= cap or high == low:
        return (low + high) / 2
    above = min(1.0, (high - cap) / (high - low))
    return above * cap + (1 - above) * (low + cap) / 2


def _soft(retry: RetryConfig, attempt: int, bound: Bound) -> float:
    """The difference of two reaches: of this attempt, between n - 1 and n, and of the one before."""
    attempt = min(attempt, 500)  # beyond all measure already, and still a float
    this, before = {
        "shortest": (attempt - 1.0, attempt - 1.0),
        "mean": (attempt - 0.5, attempt - 1.5),
        "longest": (float(attempt), attempt - 2.0),
    }[bound]
    difference = _reach(retry, this) - _reach(retry, before)
    return max(retry.min_delay, min(retry.max_delay, difference))


def _reach(retry: RetryConfig, t: float) -> float:
    """initial · 2^t · tanh(√(4t)) / 1.4, as in :mod:`actors.policies.retry.backoff`."""
    if t <= 0:
        return 0.0
    return retry.initial_delay / 1.4 * math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t))
