"""What the fitted families are as distributions: the share up to a latency, and draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from simulation.fitting.log import Floats


def _share_of_two(x: Floats, weight: float, mus: Floats, sigmas: Floats) -> Floats:
    first, second = (special.ndtr((_log(x) - mu) / sigma) for mu, sigma in zip(mus, sigmas, strict=True))
    return weight * first + (1.0 - weight) * second  # type: ignore[no-any-return]


def _draw_of_two(random: np.random.Generator, size: int, weight: float, mus: Floats, sigmas: Floats) -> Floats:
    second = (random.random(size) >= weight).astype(int)
    drawn: Floats = np.exp(mus[second] + sigmas[second] * random.standard_normal(size))
    return drawn


def _log(x: Floats) -> Floats:
    return np.log(np.maximum(x, 1e-300))


LAWS: dict[str, tuple[Callable[..., Floats], Callable[..., Any]]] = {
    "constant": (
        lambda x, value: (x >= value - 1e-9).astype(np.float64),
        lambda _random, size, value: np.full(size, value),
    ),
    "exponential": (
        lambda x, mean: -np.expm1(-x / mean),
        lambda random, size, mean: random.exponential(mean, size),
    ),
    "lognormal": (
        lambda x, mu, sigma: special.ndtr((_log(x) - mu) / sigma),
        lambda random, size, mu, sigma: random.lognormal(mu, sigma, size),
    ),
    "gamma": (
        lambda x, mean, shape: special.gammainc(shape, np.maximum(x, 0.0) * shape / mean),
        lambda random, size, mean, shape: random.gamma(shape, mean / shape, size),
    ),
    "normal": (
        lambda x, mu, sd: np.where(x < 0, 0.0, special.ndtr((x - mu) / sd)),
        lambda random, size, mu, sd: np.maximum(0.0, random.normal(mu, sd, size)),
    ),
    "pareto": (
        lambda x, least, alpha: -np.expm1(-alpha * np.maximum(0.0, _log(x) - np.log(least))),
        lambda random, size, least, alpha: least * np.exp(random.exponential(1.0 / alpha, size)),
    ),
    "uniform": (
        lambda x, low, high: np.clip((x - low) / (high - low), 0.0, 1.0),
        lambda random, size, low, high: random.uniform(low, high, size),
    ),
    "mixture": (_share_of_two, _draw_of_two),
}
"""By family: its distribution function and its random draws; both take the parameters of the law too."""
