"""A fitted number with its 95% interval, and the intervals of shares and rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special, stats

from simulation.running.sequential_test import interval

CONFIDENCE = 0.95
TAIL = (1.0 - CONFIDENCE) / 2.0
Z = 1.959963984540054
"""The standard normal is beyond ±Z once in twenty times."""


_LOG_MAX = 300.0
"""A number that may be as large or as small as this many powers of e is not known at all."""


@dataclass(frozen=True)
class Estimate:
    """The most likely value, and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    def contains(self, truth: float) -> bool:
        return self.low <= truth <= self.high

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def of_log(log: float, variance: float) -> Estimate:
    """Return the estimate of a number whose logarithm is about normal, with this variance."""
    half = Z * math.sqrt(variance)
    return Estimate(*(math.exp(min(max(each, -_LOG_MAX), _LOG_MAX)) for each in (log, log - half, log + half)))


def of_logit(logit: float, variance: float) -> Estimate:
    """Return the estimate of a share whose logit is about normal, with this variance."""
    half = Z * math.sqrt(variance)
    return Estimate(*(float(special.expit(each)) for each in (logit, logit - half, logit + half)))


def share(hits: int, of: int) -> Estimate:
    """Return the share of `hits` among `of` independent trials, with the exact interval of Clopper and Pearson (1934).

    It covers the truth at least 95 times in 100 whatever that is. Of nothing, the share may be anything.
    """
    if of == 0:
        return Estimate(0.0, 0.0, 1.0)
    return Estimate(hits / of, *interval(hits, of, 1.0 - TAIL))


def rate(count: int, seconds: float) -> Estimate:
    """Return the rate a second of a Poisson process, with the exact interval of Garwood (1936).

    Args:
        count: How many there were.
        seconds: In how long; more than 0.
    """
    low = 0.0 if count == 0 else float(stats.chi2.ppf(TAIL, 2 * count)) / 2.0
    high = float(stats.chi2.ppf(1.0 - TAIL, 2 * count + 2)) / 2.0
    return Estimate(count / seconds, low / seconds, high / seconds)
