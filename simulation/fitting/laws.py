"""What the fitted families are as distributions: the share up to a latency, and draws.

They are functions of a module, given their parameters by :func:`functools.partial`, as a fit that is to go to another
process can hold no others.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from simulation.fitting.log import Floats


def constant_cdf(value: float, x: Floats) -> Floats:
    return (x >= value - 1e-9).astype(np.float64)


def constant_draw(value: float, _random: np.random.Generator, size: int) -> Floats:
    return np.full(size, value)


def exponential_cdf(mean: float, x: Floats) -> Floats:
    return -np.expm1(-x / mean)


def exponential_draw(mean: float, random: np.random.Generator, size: int) -> Floats:
    return random.exponential(mean, size)


def lognormal_cdf(mu: float, sigma: float, x: Floats) -> Floats:
    return special.ndtr((np.log(np.maximum(x, 1e-300)) - mu) / sigma)  # type: ignore[no-any-return]


def lognormal_draw(mu: float, sigma: float, random: np.random.Generator, size: int) -> Floats:
    return random.lognormal(mu, sigma, size)


def gamma_cdf(mean: float, shape: float, x: Floats) -> Floats:
    return special.gammainc(shape, np.maximum(x, 0.0) * shape / mean)  # type: ignore[no-any-return]


def gamma_draw(mean: float, shape: float, random: np.random.Generator, size: int) -> Floats:
    return random.gamma(shape, mean / shape, size)


def normal_cdf(mu: float, sd: float, x: Floats) -> Floats:
    return np.where(x < 0, 0.0, special.ndtr((x - mu) / sd))


def normal_draw(mu: float, sd: float, random: np.random.Generator, size: int) -> Floats:
    return np.maximum(0.0, random.normal(mu, sd, size))


def pareto_cdf(least: float, alpha: float, x: Floats) -> Floats:
    return -np.expm1(-alpha * np.maximum(0.0, np.log(np.maximum(x, 1e-300)) - math.log(least)))


def pareto_draw(least: float, alpha: float, random: np.random.Generator, size: int) -> Floats:
    return least * np.exp(random.exponential(1.0 / alpha, size))


def uniform_cdf(low: float, high: float, x: Floats) -> Floats:
    return np.clip((x - low) / (high - low), 0.0, 1.0)


def uniform_draw(low: float, high: float, random: np.random.Generator, size: int) -> Floats:
    return random.uniform(low, high, size)


def mixture_cdf(weight: float, mus: Floats, sigmas: Floats, x: Floats) -> Floats:
    logs = np.log(np.maximum(x, 1e-300))
    first, second = (special.ndtr((logs - mu) / sigma) for mu, sigma in zip(mus, sigmas, strict=True))
    return weight * first + (1.0 - weight) * second  # type: ignore[no-any-return]


def mixture_draw(weight: float, mus: Floats, sigmas: Floats, random: np.random.Generator, size: int) -> Floats:
    second = (random.random(size) >= weight).astype(int)
    drawn: Floats = np.exp(mus[second] + sigmas[second] * random.standard_normal(size))
    return drawn
