"""The families of latency distributions that a scenario can say, each fitted by maximum likelihood.

Where a closed form is exact it gives the interval too (exponential, uniform, Pareto; Johnson, Kotz and Balakrishnan
1994). Elsewhere the interval is that of the observed information, taken where the parameters have no bounds: logarithms
of durations (Efron and Hinkley 1978). Timeouts are right-censored, see :mod:`simulation.fitting.sample`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from actors.settings.distributions import Distribution
from simulation.fitting import laws
from simulation.fitting.estimate import TAIL, Estimate, Z, of_log
from simulation.fitting.information import Likelihood, covariance_at
from simulation.fitting.log import Floats
from simulation.fitting.sample import Sample
from simulation.fitting.writing import duration

P99 = 2.3263478740408408
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, kw_only=True)
class LatencyFit:
    """One family, fitted."""

    family: str
    parameters: dict[str, Estimate]
    """In the terms of a scenario: durations in seconds, weights and exponents as they are."""

    log_likelihood: float
    free: int
    """How many parameters were fitted."""

    size: int
    """To how many attempts."""

    cdf: Callable[[Floats], Floats]
    draw: Callable[[np.random.Generator, int], Floats]
    intervals: str
    """By what the intervals were made."""

    data: dict[str, Any]
    """As it stands in a scenario."""

    lost: float = 0.0
    """Share of the attempts that timed out for another reason than their latency."""

    @property
    def aic(self) -> float:
        """Akaike's criterion (1974); less is better."""
        return 2.0 * self.free - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's criterion (1978); less is better."""
        return self.free * math.log(max(self.size, 1)) - 2.0 * self.log_likelihood

    @property
    def distribution(self) -> Distribution:
        """As a scenario has it."""
        return Distribution.model_validate(self.data)


def constant(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """All the same, or nothing."""
    seen = sample.seen
    if seen[-1] - seen[0] > 1e-9 or seen[0] > sample.limit:
        return None
    value = float(seen[0])
    return LatencyFit(
        family="constant",
        parameters={"constant": Estimate(value, value, value)},
        log_likelihood=math.inf,
        free=1,
        size=sample.size,
        cdf=partial(laws.constant_cdf, value),
        draw=partial(laws.constant_draw, value),
        intervals="all are the same",
        data={"constant": duration(value)},
        lost=len(sample.censored) / sample.size,
    )


def exponential(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """Memoryless."""
    seen, total = len(sample.seen), float(sample.seen.sum())
    if total <= 0:
        return None

    def likelihood(theta: Floats) -> float:
        return float(-seen * theta[0] - total * math.exp(-theta[0]))

    def log_above(theta: Floats, x: Floats) -> Floats:
        return -x * math.exp(-theta[0])

    spent = total + float(sample.censored.sum())
    start = np.array([math.log((total if lost else spent) / seen)])
    found = _fitted(sample, start, likelihood, log_above, lost=lost)
    if found is None:
        return None
    theta, covariance, log_likelihood = found
    mean = math.exp(theta[0])
    if lost and len(sample.censored):
        interval, how = of_log(theta[0], covariance[0, 0]), "observed information"
    else:  # 2 · total / mean has a chi-squared distribution, with two degrees of freedom for each that was seen
        low, high = (2.0 * spent / stats.chi2.ppf(q, 2 * seen) for q in (1.0 - TAIL, TAIL))
        interval, how = Estimate(mean, float(low), float(high)), "exact (chi-squared)"
    return LatencyFit(
        family="exponential",
        parameters={"mean": interval},
        log_likelihood=log_likelihood,
        free=1 + lost,
        size=sample.size,
        cdf=partial(laws.exponential_cdf, mean),
        draw=partial(laws.exponential_draw, mean),
        intervals=how,
        data={"exponential": {"mean": duration(mean)}},
        lost=_lost_share(sample, math.exp(log_above(theta, np.array([sample.last_limit]))[0])) if lost else 0.0,
    )


def lognormal(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """By median and 99th percentile."""
    if not sample.positive or len(sample.seen) < 2 or sample.log_moments[1] <= 0:
        return None
    (mean, variance), seen = sample.log_moments, len(sample.seen)

    def likelihood(theta: Floats) -> float:
        mu, log_sigma = theta
        square = (variance + (mean - mu) ** 2) * math.exp(-2.0 * log_sigma)
        return float(-seen * (mean + log_sigma + _HALF_LOG_2PI + 0.5 * square))

    def log_above(theta: Floats, x: Floats) -> Floats:
        return special.log_ndtr((theta[0] - np.log(x)) * math.exp(-theta[1]))  # type: ignore[no-any-return]

    found = _fitted(sample, np.array([mean, 0.5 * math.log(variance)]), likelihood, log_above, lost=lost)
    if found is None:
        return None
    theta, covariance, log_likelihood = found
    mu, sigma = float(theta[0]), math.exp(theta[1])
    gradient = np.array([1.0, P99 * sigma])
    median = of_log(mu, covariance[0, 0])
    p99 = of_log(mu + P99 * sigma, float(gradient @ covariance @ gradient))
    return LatencyFit(
        family="lognormal",
        parameters={"median": median, "p99": p99},
        log_likelihood=log_likelihood,
        free=2 + lost,
        size=sample.size,
        cdf=partial(laws.lognormal_cdf, mu, sigma),
        draw=partial(laws.lognormal_draw, mu, sigma),
        intervals="observed information, on the logarithms",
        data={"lognormal": {"median": duration(median.value), "p99": duration(p99.value)}},
        lost=_lost_share(sample, math.exp(log_above(theta, np.array([sample.last_limit]))[0])) if lost else 0.0,
    )


def gamma(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """By mean and shape."""
    if not sample.positive or len(sample.seen) < 2 or sample.log_moments[1] <= 0:
        return None
    mean, mean_log, seen = float(sample.seen.mean()), sample.log_moments[0], len(sample.seen)

    def likelihood(theta: Floats) -> float:
        shape, rate = math.exp(theta[1]), math.exp(theta[1] - theta[0])
        body = shape * (theta[1] - theta[0]) - math.lgamma(shape)
        return float(seen * (body + (shape - 1.0) * mean_log - rate * mean))

    def log_above(theta: Floats, x: Floats) -> Floats:
        above = special.gammaincc(math.exp(theta[1]), x * math.exp(theta[1] - theta[0]))
        return np.log(np.maximum(above, 1e-300))  # type: ignore[no-any-return]

    shape = _likeliest_shape(math.log(mean) - mean_log)
    if shape is None:
        return None
    found = _fitted(sample, np.array([math.log(mean), math.log(shape)]), likelihood, log_above, lost=lost)
    if found is None or not 0.01 <= math.exp(found[0][1]) <= 1e6:  # what a scenario takes
        return None
    theta, covariance, log_likelihood = found
    mean, shape = math.exp(theta[0]), math.exp(theta[1])
    return LatencyFit(
        family="gamma",
        parameters={"mean": of_log(theta[0], covariance[0, 0]), "shape": of_log(theta[1], covariance[1, 1])},
        log_likelihood=log_likelihood,
        free=2 + lost,
        size=sample.size,
        cdf=partial(laws.gamma_cdf, mean, shape),
        draw=partial(laws.gamma_draw, mean, shape),
        intervals="observed information, on the logarithms",
        data={"gamma": {"mean": duration(mean), "shape": float(f"{shape:.6g}")}},
        lost=_lost_share(sample, math.exp(log_above(theta, np.array([sample.last_limit]))[0])) if lost else 0.0,
    )


def _likeliest_shape(gap: float) -> float | None:
    """Return the shape k with log(k) - digamma(k) equal to the gap between the logarithm of the mean and the mean of
    the logarithms (Choi and Wette 1969), or None where it is none that a scenario takes."""
    try:
        log = optimize.brentq(lambda log: log - special.digamma(math.exp(log)) - gap, math.log(0.01), math.log(1e6))
    except ValueError:
        return None
    return math.exp(log)


def normal(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """Normal, cut at 0: what would be negative is 0 (Tobin 1958)."""
    positive = sample.seen[sample.seen > 0]
    zeros = len(sample.seen) - len(positive)
    if len(positive) < 2 or positive[0] == positive[-1]:
        return None
    mean, variance, seen = float(positive.mean()), float(positive.var()), len(positive)

    def likelihood(theta: Floats) -> float:
        mu, log_sd = theta
        sd = math.exp(log_sd)
        body = -seen * (log_sd + _HALF_LOG_2PI + 0.5 * (variance + (mean - mu) ** 2) / (sd * sd))
        return float(body + (zeros * special.log_ndtr(-mu / sd) if zeros else 0.0))

    def log_above(theta: Floats, x: Floats) -> Floats:
        return special.log_ndtr((theta[0] - x) * math.exp(-theta[1]))  # type: ignore[no-any-return]

    start = np.array([mean, 0.5 * math.log(variance)])
    found = _fitted(sample, start, likelihood, log_above, lost=lost, exact=not zeros)
    if found is None or found[0][0] < 0:  # a scenario's mean is at least 0
        return None
    theta, covariance, log_likelihood = found
    mu, sd = float(theta[0]), math.exp(theta[1])
    half = Z * math.sqrt(covariance[0, 0])
    return LatencyFit(
        family="normal",
        parameters={
            "mean": Estimate(mu, max(0.0, mu - half), mu + half),
            "sd": of_log(theta[1], covariance[1, 1]),
        },
        log_likelihood=log_likelihood,
        free=2 + lost,
        size=sample.size,
        cdf=partial(laws.normal_cdf, mu, sd),
        draw=partial(laws.normal_draw, mu, sd),
        intervals="observed information",
        data={"normal": {"mean": duration(mu), "sd": duration(sd)}},
        lost=_lost_share(sample, math.exp(log_above(theta, np.array([sample.last_limit]))[0])) if lost else 0.0,
    )


def pareto(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """By minimum and exponent; the minimum is the least that was seen."""
    if not sample.positive or len(sample.seen) < 3 or sample.seen[0] > sample.limit:
        return None
    least, seen = float(sample.seen[0]), len(sample.seen)
    log_least = math.log(least)
    total = float((sample.logs - log_least).sum())
    if total <= 0:
        return None
    spent = total + float((np.log(sample.censored) - log_least).sum())
    sum_of_logs = float(sample.logs.sum())

    def likelihood(theta: Floats) -> float:
        return float(seen * theta[0] - math.exp(theta[0]) * total - sum_of_logs)

    def log_above(theta: Floats, x: Floats) -> Floats:
        return -math.exp(theta[0]) * (np.log(x) - log_least)

    start = np.array([math.log(seen / (total if lost else spent))])
    found = _fitted(sample, start, likelihood, log_above, lost=lost)
    if found is None or not 0.01 <= math.exp(found[0][0]) <= 1e6:  # what a scenario takes
        return None
    theta, covariance, log_likelihood = found
    alpha = math.exp(theta[0])
    if lost and len(sample.censored):
        exponent = of_log(theta[0], covariance[0, 0])
    else:  # 2 · alpha · spent is chi-squared, the least one being spent on the minimum
        low, high = (float(stats.chi2.ppf(q, 2 * (seen - 1))) / (2.0 * spent) for q in (TAIL, 1.0 - TAIL))
        exponent = Estimate(alpha, low, high)
    # n · log(least / minimum) over the mean of the others is F(2, 2n - 2)
    reach = float(stats.f.ppf(1.0 - 2.0 * TAIL, 2, 2 * (seen - 1))) * spent / (seen - 1) / sample.size
    return LatencyFit(
        family="pareto",
        parameters={"minimum": Estimate(least, least * math.exp(-reach), least), "alpha": exponent},
        log_likelihood=log_likelihood,
        free=2 + lost,
        size=sample.size,
        cdf=partial(laws.pareto_cdf, least, alpha),
        draw=partial(laws.pareto_draw, least, alpha),
        intervals="exact (chi-squared, F)",
        data={"pareto": {"minimum": duration(least), "alpha": float(f"{alpha:.6g}")}},
        lost=_lost_share(sample, math.exp(log_above(theta, np.array([sample.last_limit]))[0])) if lost else 0.0,
    )


def uniform(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """From the least to the longest that was seen, or beyond the timeout where some took longer."""
    low, seen_high, seen = float(sample.seen[0]), float(sample.seen[-1]), len(sample.seen)
    if seen < 3 or seen_high <= low or low > sample.limit:
        return None
    limits, counts, censored = sample.limits, sample.limit_counts, len(sample.censored) and not lost

    def likelihood(high: float) -> float:
        beyond = float(np.sum(counts * np.log(high - limits))) if censored else 0.0
        return -(sample.size if censored else seen) * math.log(high - low) + beyond

    least_high = max(seen_high, float(limits[-1])) if censored else seen_high
    reach = (seen_high - low) * (math.pow(2.0 * TAIL, -1.0 / (seen - 1)) - 1.0)
    high, interval = seen_high, Estimate(seen_high, seen_high, seen_high + reach)
    if censored:
        widest = low + (least_high - low) * 1e4
        found = optimize.minimize_scalar(
            lambda log: -likelihood(least_high + math.exp(log)),
            bounds=(-40.0, math.log(widest - least_high)),
            method="bounded",
        )
        high = least_high + math.exp(float(found.x))
        drop = likelihood(high) - Z * Z / 2.0
        lower = _root(lambda x: likelihood(x) - drop, least_high + 1e-12, high, least_high)
        upper = _root(lambda x: likelihood(x) - drop, high, widest, widest)
        interval = Estimate(high, lower, upper)
    return LatencyFit(
        family="uniform",
        parameters={"low": Estimate(low, max(0.0, low - reach), low), "high": interval},
        log_likelihood=likelihood(high) + (_lost_part(sample) if lost else 0.0),
        free=2 + lost,
        size=sample.size,
        cdf=partial(laws.uniform_cdf, low, high),
        draw=partial(laws.uniform_draw, low, high),
        intervals="likelihood ratio" if censored else "exact (range)",
        data={"uniform": {"low": duration(low), "high": duration(high)}},
        lost=_lost_share(sample, 0.0) if lost else 0.0,
    )


def _fitted(
    sample: Sample,
    start: Floats,
    likelihood: Likelihood,
    log_above: Callable[[Floats, Floats], Floats],
    *,
    lost: bool,
    exact: bool = True,
) -> tuple[Floats, Floats, float] | None:
    """Return the most likely parameters, their covariance, and the logarithm of the likelihood.

    Args:
        sample: Of what is fitted.
        start: The most likely parameters of those that were seen, were there no others.
        likelihood: The logarithm of the density, summed over those that were seen.
        log_above: The logarithm of the share above a latency.
        lost: Leave free how many of the censored ones have another reason, which truncates the others.
        exact: Whether `start` is the most likely there is, were there no censored ones.
    """
    limits, counts = sample.limits, sample.limit_counts

    def of_all(theta: Floats) -> float:
        total = likelihood(theta)
        if len(limits) and lost:
            above = min(math.exp(float(log_above(theta, limits[-1:])[0])), 1.0 - 1e-12)
            total -= len(sample.seen) * math.log1p(-above)
        elif len(limits):
            total += float(np.sum(counts * log_above(theta, limits)))
        return total

    theta = start
    if len(limits) or not exact:
        with np.errstate(all="ignore"):
            found = optimize.minimize(
                lambda theta: -of_all(theta) if np.all(np.abs(theta) < 200.0) else math.inf,
                start,
                method="Nelder-Mead",
                options={"xatol": 1e-7, "fatol": 1e-7, "maxiter": 2000},
            )
        if not math.isfinite(found.fun):
            return None
        theta = found.x
    covariance = covariance_at(of_all, theta)
    if covariance is None:
        return None
    return theta, covariance, of_all(theta) + (_lost_part(sample) if lost else 0.0)


def _lost_part(sample: Sample) -> float:
    """Return the logarithm of the likelihood of how many timed out, at its most likely share."""
    size, censored = sample.size, len(sample.censored)
    if censored in (0, size):
        return 0.0
    return censored * math.log(censored / size) + (size - censored) * math.log1p(-censored / size)


def _lost_share(sample: Sample, above: float) -> float:
    """Return the share that timed out for another reason; less than 0 where more should have."""
    return (len(sample.censored) / sample.size - above) / max(1e-12, 1.0 - above)


def _root(function: Callable[[float], float], low: float, high: float, otherwise: float) -> float:
    try:
        return float(optimize.brentq(function, low, high))
    except ValueError:
        return otherwise


FAMILIES = (constant, uniform, exponential, normal, lognormal, gamma, pareto)
"""Those with a closed form or nearly one; :mod:`simulation.fitting.mixture` has one more."""
