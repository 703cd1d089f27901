"""Student's t distribution: how far a mean of few values may be from the truth."""

from __future__ import annotations

import math

_TINY = 1e-300


def cdf(t: float, degrees: float) -> float:
    """Return P(T <= t) for `degrees` degrees of freedom, more than 0.

    By the incomplete beta function: P(T > t) = I_x(ν/2, 1/2) / 2 with x = ν / (ν + t²), for t >= 0 (DLMF 8.17).
    """
    upper = incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
    return 1 - upper if t >= 0 else upper


def quantile(probability: float, degrees: float) -> float:
    """Return the t with P(T <= t) = `probability`, to twelve digits, by bisection.

    Args:
        probability: more than 0 and less than 1.
        degrees: of freedom, more than 0.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < probability < 1 or not degrees > 0:
        raise ValueError(f"wanted 0 < probability < 1 and degrees > 0, got {probability!r} and {degrees!r}")
    if probability < 0.5:
        return -quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while cdf(high, degrees) < probability:
        low, high = high, 2 * high
    while high - low > 1e-13 * max(1.0, high):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return I_x(a, b), the regularised incomplete beta function, for a, b > 0 and x in [0, 1].

    Its continued fraction (DLMF 8.17.22), which converges fast for x below (a + 1) / (a + b + 2); beyond, the symmetry
    I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate 1 + d1 / (1 + d2 / (1 + …)) from the front, by Lentz's method as Thompson and Barnett changed it."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, 10_000):
        m = term // 2
        if term % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _not_0(1 + coefficient * d)
        c = _not_0(1 + coefficient / c)
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
