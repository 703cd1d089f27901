"""The median, mean and tail of a distribution of durations, by formula and not by drawing from it.

With a time limit, the mean is the mean time really spent: E[min(X, limit)], the *limited expected value* of actuaries
(Klugman, Panjer and Willmot, *Loss Models*, appendix A). It is finite for every distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.settings.distributions import Component, Distribution


def share_above(distribution: Distribution, seconds: float) -> float:
    """Return P(X > `seconds`), between 0 and 1; a duration of exactly `seconds` is not above."""
    if distribution.constant is not None:
        return float(distribution.constant > seconds)
    if distribution.mixture is not None:
        return _weighted(distribution.mixture, [share_above(each, seconds) for each in distribution.mixture])
    if distribution.empirical is not None:
        return sum(value > seconds for value in distribution.measured) / len(distribution.measured)
    return distribution._parametric.share_above(seconds)


def limited_mean(distribution: Distribution, limit: float) -> float:
    """Return E[min(X, `limit`)] in seconds; `limit` is in seconds and more than 0."""
    if distribution.constant is not None:
        return min(distribution.constant, limit)
    if distribution.mixture is not None:
        return _weighted(distribution.mixture, [limited_mean(each, limit) for each in distribution.mixture])
    if distribution.empirical is not None:
        return math.fsum(min(value, limit) for value in distribution.measured) / len(distribution.measured)
    return distribution._parametric.limited_mean(limit)


def mean(distribution: Distribution) -> float:
    """Return the mean of the draws in seconds; finite for all, as a heavy tail ends at a hundred years."""
    from actors.settings.quantities import LONGEST_S  # which loads pydantic

    return limited_mean(distribution, LONGEST_S)


def median(distribution: Distribution) -> float:
    """Return the least duration in seconds that at most half of all exceed, to twelve digits."""
    return quantile(distribution, 0.5)


def quantile(distribution: Distribution, share: float) -> float:
    """Return the least duration in seconds that at most all but this share exceed, to twelve digits.

    `share` is more than 0 and less than 1; 0.99 for the 99th percentile.
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


def _weighted(components: tuple[Component, ...], values: list[float]) -> float:
    weights = [component.weight for component in components]
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / math.fsum(weights)
