"""A fitted number with its 95% interval: of shares, of rates, and by the observed information, which is how sharply a
likelihood is peaked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special, stats

from simulation.fitting.log import Floats
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


Likelihood: TypeAlias = Callable[[Floats], float]
"""The logarithm of a likelihood, of parameters without bounds."""


def log_likelihood_of(hits: int, size: int, share: float | None = None) -> float:
    """Return the logarithm of the likelihood of so many hits, at the given share or at the likeliest one."""
    share = share if share is not None else hits / size if size else 0.0
    found = hits * math.log(share) if hits else 0.0
    return found + ((size - hits) * math.log1p(-share) if size > hits else 0.0)


def covariance_at(likelihood: Likelihood, theta: Floats, steps: Floats | None = None) -> Floats | None:
    """Return the inverse of the observed information, by central differences; None where it is not at a maximum."""
    size = len(theta)
    steps = np.full(size, 1e-3) if steps is None else steps
    scale = _curvature_steps(likelihood, theta, steps)
    hessian = np.empty((size, size))
    middle = likelihood(theta)
    for i in range(size):
        for j in range(i, size):
            e_i, e_j = np.eye(size)[i] * scale[i], np.eye(size)[j] * scale[j]
            if i == j:
                value = likelihood(theta + e_i) - 2.0 * middle + likelihood(theta - e_i)
            else:
                value = (
                    likelihood(theta + e_i + e_j)
                    - likelihood(theta + e_i - e_j)
                    - likelihood(theta - e_i + e_j)
                    + likelihood(theta - e_i - e_j)
                ) / 4.0
            hessian[i, j] = hessian[j, i] = value / (scale[i] * scale[j])
    try:
        covariance: Floats = np.asarray(np.linalg.inv(-hessian), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return covariance if np.all(np.isfinite(covariance)) and np.all(np.diag(covariance) > 0) else None


def _curvature_steps(likelihood: Likelihood, theta: Floats, steps: Floats) -> Floats:
    """Return steps that are some tenth of a standard error: the likelihood then changes by more than it is rounded."""
    middle = likelihood(theta)
    scaled = steps.copy()
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        for _ in range(60):
            step[i] = scaled[i]
            fall = middle - 0.5 * (likelihood(theta + step) + likelihood(theta - step))
            if fall > 0.02:
                scaled[i] /= 2.0
            elif fall < 0.001:
                scaled[i] *= 2.0
            else:
                break
    return scaled


# ── numbers as they stand in a scenario ───────────────────────────────────────────────────────────────────────────────


def duration(seconds: float, digits: int = 6) -> str:
    """Return a duration such as ``81.2345ms``, ``3.2s`` with `digits` significant digits, without zeros at the end."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if float(plain(seconds * factor, digits)) >= 1.0:
            return f"{plain(seconds * factor, digits)}{unit}"
    return f"{plain(seconds * 1e9, digits)}ns" if seconds > 0 else "0s"


def instant(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def per_second(rate: float) -> str:
    """Return a rate such as ``19.97/s``, or by the minute, hour or day where it is slow."""
    unit, seconds = _unit_of(rate)
    return f"{plain(rate * seconds)}/{unit}"


def in_unit_of(rate: float, *others: float) -> list[str]:
    """Return other rates in the unit in which this one is written, and the unit: ``19.58``, ``20.3``, ``s``."""
    unit, seconds = _unit_of(rate)
    return [*(plain(other * seconds) for other in others), unit]


def _unit_of(rate: float) -> tuple[str, float]:
    units = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
    return next((each for each in units if rate * each[1] >= 1.0), ("d", 86_400.0))


def percent(share: float) -> str:
    """Return a share such as ``1.23%``."""
    return f"{plain(100.0 * share)}%"


def plain(number: float, digits: int = 4) -> str:
    """Return a number of at least 0 with `digits` significant digits, never with an exponent."""
    if number == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(number)))
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
