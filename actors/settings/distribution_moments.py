"""What a distribution of durations is like, by formula and not by drawing from it: its median, its mean, its tail.

Where nothing takes longer than a time limit, the mean is that of the time that is really spent: E[min(X, limit)], the
*limited expected value* of actuaries (Klugman, Panjer and Willmot, *Loss Models*, appendix A). It is finite for every
distribution, also for a Pareto without a mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actors.optional_dependencies import needs

if TYPE_CHECKING:
    from actors.settings.distributions import Distribution, Gamma, Lognormal, Normal, Pareto, Uniform

_P99_OF_STANDARD_NORMAL = 2.3263478740408408


def share_above(distribution: Distribution, seconds: float) -> float:
    """Return P(X > `seconds`), between 0 and 1; what takes exactly so long is not above."""
    if distribution.constant is not None:
        return float(distribution.constant > seconds)
    if distribution.uniform is not None:
        return _uniform_above(distribution.uniform, seconds)
    if distribution.exponential is not None:
        return math.exp(-max(0.0, seconds) / distribution.exponential.mean)
    if distribution.normal is not None:
        return _normal_above(distribution.normal, seconds)
    if distribution.lognormal is not None:
        return _lognormal_above(distribution.lognormal, seconds)
    if distribution.gamma is not None:
        return _gamma_above(distribution.gamma, 0, seconds)
    if distribution.pareto is not None:
        pareto = distribution.pareto
        return 1.0 if seconds < pareto.minimum else math.pow(pareto.minimum / seconds, pareto.alpha)
    if distribution.mixture is not None:
        return _weighted(distribution, [share_above(component, seconds) for component in distribution.mixture])
    measured = distribution.measured
    return sum(value > seconds for value in measured) / len(measured)


def limited_mean(distribution: Distribution, limit: float) -> float:
    """Return E[min(X, `limit`)] in seconds; `limit` is in seconds and more than 0."""
    if distribution.constant is not None:
        return min(distribution.constant, limit)
    if distribution.uniform is not None:
        return _uniform_mean(distribution.uniform, limit)
    if distribution.exponential is not None:
        return -distribution.exponential.mean * math.expm1(-limit / distribution.exponential.mean)
    if distribution.normal is not None:
        return _normal_excess(distribution.normal, 0.0) - _normal_excess(distribution.normal, limit)
    if distribution.lognormal is not None:
        return _lognormal_mean(distribution.lognormal, limit)
    if distribution.gamma is not None:
        gamma = distribution.gamma
        return gamma.mean * (1.0 - _gamma_above(gamma, 1, limit)) + limit * _gamma_above(gamma, 0, limit)
    if distribution.pareto is not None:
        return _pareto_mean(distribution.pareto, limit)
    if distribution.mixture is not None:
        return _weighted(distribution, [limited_mean(component, limit) for component in distribution.mixture])
    measured = distribution.measured
    return math.fsum(min(value, limit) for value in measured) / len(measured)


def mean(distribution: Distribution) -> float:
    """Return the mean in seconds of what is drawn; finite for all, as a heavy tail ends at a hundred years."""
    from actors.settings.quantities import LONGEST_S

    return limited_mean(distribution, LONGEST_S)


def median(distribution: Distribution) -> float:
    """Return the least duration in seconds that at most half of all exceed, to twelve digits."""
    return quantile(distribution, 0.5)


def quantile(distribution: Distribution, share: float) -> float:
    """Return the least duration in seconds that at most all but this share exceed, to twelve digits.

    Args:
        distribution: of durations.
        share: more than 0, less than 1; 0.99 for the 99th percentile.
    """
    more = 1.0 - share
    low, high = 0.0, 1.0
    if share_above(distribution, low) <= more:
        return low
    while share_above(distribution, high) > more:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
        low, high = (middle, high) if share_above(distribution, middle) > more else (low, middle)
    return high


def _weighted(distribution: Distribution, values: list[float]) -> float:
    weights = [component.weight for component in distribution.mixture or ()]
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / math.fsum(weights)


def _standard_normal_above(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _uniform_above(uniform: Uniform, seconds: float) -> float:
    if uniform.low == uniform.high:
        return float(uniform.high > seconds)
    return min(1.0, max(0.0, (uniform.high - seconds) / (uniform.high - uniform.low)))


def _uniform_mean(uniform: Uniform, limit: float) -> float:
    above = _uniform_above(uniform, limit)
    return above * limit + (1.0 - above) * (uniform.low + min(limit, uniform.high)) / 2.0


def _normal_above(normal: Normal, seconds: float) -> float:
    if seconds < 0.0:
        return 1.0  # cut at 0
    if normal.sd == 0.0:
        return float(normal.mean > seconds)
    return _standard_normal_above((seconds - normal.mean) / normal.sd)


def _normal_excess(normal: Normal, over: float) -> float:
    """Return E[max(0, X - over)]."""
    if normal.sd == 0.0:
        return max(0.0, normal.mean - over)
    z = (over - normal.mean) / normal.sd
    density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    return normal.sd * density + (normal.mean - over) * _standard_normal_above(z)


def _sigma(lognormal: Lognormal) -> float:
    return math.log(lognormal.p99 / lognormal.median) / _P99_OF_STANDARD_NORMAL


def _lognormal_above(lognormal: Lognormal, seconds: float) -> float:
    sigma = _sigma(lognormal)
    if seconds <= 0.0:
        return 1.0
    if sigma == 0.0:
        return float(lognormal.median > seconds)
    return _standard_normal_above(math.log(seconds / lognormal.median) / sigma)


def _lognormal_mean(lognormal: Lognormal, limit: float) -> float:
    sigma = _sigma(lognormal)
    if sigma == 0.0:
        return min(lognormal.median, limit)
    z = math.log(limit / lognormal.median) / sigma
    below = _standard_normal_above(sigma - z)
    part = lognormal.median * math.exp(sigma * sigma / 2.0) * below if below else 0.0
    return part + limit * _standard_normal_above(z)


def _gamma_above(gamma: Gamma, more: int, seconds: float) -> float:
    """Return P(X > `seconds`) with so much added to the shape, at the same scale."""
    with needs("lab"):
        from scipy.special import gammaincc

    return float(gammaincc(gamma.shape + more, max(0.0, seconds) * gamma.shape / gamma.mean))


def _pareto_mean(pareto: Pareto, limit: float) -> float:
    if limit <= pareto.minimum:
        return limit
    ratio, exponent = limit / pareto.minimum, 1.0 - pareto.alpha
    # (ratio^exponent - 1) / exponent, which is the logarithm where the exponent is 0 and keeps its digits near it.
    grown = math.log(ratio) if exponent == 0.0 else math.expm1(exponent * math.log(ratio)) / exponent
    return pareto.minimum * (1.0 + grown)
