"""The families of latency distributions that a scenario can say, each fitted by maximum likelihood.

Where a closed form is exact it gives the interval too (exponential, uniform, Pareto; Johnson, Kotz and Balakrishnan
1994). Elsewhere the interval is that of the observed information, taken where the parameters have no bounds: logarithms
of durations (Efron and Hinkley 1978). Timeouts are right-censored, see :mod:`simulation.fitting.sample`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from actors.settings.distributions import Distribution
from simulation.fitting.estimate import TAIL, Estimate, Likelihood, Z, covariance_at, duration, of_log
from simulation.fitting.log import Floats
from simulation.fitting.sample import Sample


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
    "exponential": (lambda x, mean: -np.expm1(-x / mean), lambda random, size, mean: random.exponential(mean, size)),
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


P99 = 2.3263478740408408
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, kw_only=True)
class LatencyFit:
    family: str
    parameters: dict[str, Estimate]
    """As a scenario has them: durations in seconds, weights and exponents as they are."""

    log_likelihood: float
    free: int

    size: int
    """To how many attempts."""

    law: tuple[Any, ...]
    """Its own parameters, as :data:`simulation.fitting.families.LAWS` has them."""

    intervals: str
    """By what the intervals were made."""

    data: dict[str, Any]
    """As it stands in a scenario."""

    lost: float = 0.0
    """Share of the attempts that timed out for another reason than their latency."""

    def cdf(self, x: Floats) -> Floats:
        return LAWS[self.family][0](x, *self.law)

    def draw(self, random: np.random.Generator, size: int) -> Floats:
        return LAWS[self.family][1](random, size, *self.law)  # type: ignore[no-any-return]

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


class _Found(NamedTuple):
    law: tuple[float, ...]
    parameters: dict[str, Estimate]
    intervals: str


ON_LOGARITHMS = "observed information, on the logarithms"


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
        law=(value,),
        intervals="all are the same",
        data={"constant": duration(value)},
        lost=len(sample.censored) / sample.size,
    )


def exponential(sample: Sample, *, lost: bool = False) -> LatencyFit | None:
    """Memoryless."""
    seen, total = len(sample.seen), float(sample.seen.sum())
    if total <= 0:
        return None
    spent = total + float(sample.censored.sum())

    def likelihood(theta: Floats) -> float:
        return float(-seen * theta[0] - total * math.exp(-theta[0]))

    def log_above(theta: Floats, x: Floats) -> Floats:
        return -x * math.exp(-theta[0])

    def described(theta: Floats, covariance: Floats) -> _Found:
        mean = math.exp(theta[0])
        if lost and len(sample.censored):
            return _Found((mean,), {"mean": of_log(theta[0], covariance[0, 0])}, "observed information")
        # 2 · total / mean has a chi-squared distribution, with two degrees of freedom for each that was seen
        low, high = (float(2.0 * spent / stats.chi2.ppf(q, 2 * seen)) for q in (1.0 - TAIL, TAIL))
        return _Found((mean,), {"mean": Estimate(mean, low, high)}, "exact (chi-squared)")

    start = np.array([math.log((total if lost else spent) / seen)])
    return _fitted("exponential", sample, start, likelihood, log_above, described, lost=lost)


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

    def described(theta: Floats, covariance: Floats) -> _Found:
        mu, sigma = float(theta[0]), math.exp(theta[1])
        gradient = np.array([1.0, P99 * sigma])
        p99 = of_log(mu + P99 * sigma, float(gradient @ covariance @ gradient))
        return _Found((mu, sigma), {"median": of_log(mu, covariance[0, 0]), "p99": p99}, ON_LOGARITHMS)

    start = np.array([mean, 0.5 * math.log(variance)])
    return _fitted("lognormal", sample, start, likelihood, log_above, described, lost=lost)


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

    def described(theta: Floats, covariance: Floats) -> _Found | None:
        if not 0.01 <= math.exp(theta[1]) <= 1e6:  # what a scenario takes
            return None
        found = {name: of_log(theta[at], covariance[at, at]) for at, name in enumerate(("mean", "shape"))}
        return _Found((math.exp(theta[0]), math.exp(theta[1])), found, ON_LOGARITHMS)

    shape = _likeliest_shape(math.log(mean) - mean_log)
    if shape is None:
        return None
    start = np.array([math.log(mean), math.log(shape)])
    return _fitted("gamma", sample, start, likelihood, log_above, described, lost=lost)


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

    def described(theta: Floats, covariance: Floats) -> _Found | None:
        mu, half = float(theta[0]), Z * math.sqrt(covariance[0, 0])
        if mu < 0:  # a scenario's mean is at least 0
            return None
        found = {"mean": Estimate(mu, max(0.0, mu - half), mu + half), "sd": of_log(theta[1], covariance[1, 1])}
        return _Found((mu, math.exp(theta[1])), found, "observed information")

    start = np.array([mean, 0.5 * math.log(variance)])
    return _fitted("normal", sample, start, likelihood, log_above, described, lost=lost, exact=not zeros)


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

    def described(theta: Floats, covariance: Floats) -> _Found | None:
        alpha = math.exp(theta[0])
        if not 0.01 <= alpha <= 1e6:  # what a scenario takes
            return None
        exponent = of_log(theta[0], covariance[0, 0])
        if not (lost and len(sample.censored)):
            # 2 · alpha · spent is chi-squared, the least one being spent on the minimum
            low, high = (float(stats.chi2.ppf(q, 2 * (seen - 1))) / (2.0 * spent) for q in (TAIL, 1.0 - TAIL))
            exponent = Estimate(alpha, low, high)
        # n · log(least / minimum) over the mean of the others is F(2, 2n - 2)
        reach = float(stats.f.ppf(1.0 - 2.0 * TAIL, 2, 2 * (seen - 1))) * spent / (seen - 1) / sample.size
        found = {"minimum": Estimate(least, least * math.exp(-reach), least), "alpha": exponent}
        return _Found((least, alpha), found, "exact (chi-squared, F)")

    start = np.array([math.log(seen / (total if lost else spent))])
    return _fitted("pareto", sample, start, likelihood, log_above, described, lost=lost)


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
    found = _Found(
        (low, high),
        {"low": Estimate(low, max(0.0, low - reach), low), "high": interval},
        "likelihood ratio" if censored else "exact (range)",
    )
    return _fit("uniform", sample, found, likelihood(high), above=0.0 if lost else None)


def _fitted(
    family: str,
    sample: Sample,
    start: Floats,
    likelihood: Likelihood,
    log_above: Callable[[Floats, Floats], Floats],
    described: Callable[[Floats, Floats], _Found | None],
    *,
    lost: bool,
    exact: bool = True,
) -> LatencyFit | None:
    """Return the most likely one of a family, or None where there is none that a scenario takes.

    Args:
        family: Its name.
        sample: Of what is fitted.
        start: The most likely parameters of those that were seen, were there no others.
        likelihood: The logarithm of the density, summed over those that were seen.
        log_above: The logarithm of the share above a latency.
        described: What is to be known of the most likely parameters, with their covariance.
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
    known = None if covariance is None else described(theta, covariance)
    if known is None:
        return None
    above = math.exp(log_above(theta, limits[-1:])[0]) if lost else None
    return _fit(family, sample, known, of_all(theta), above)


def _fit(family: str, sample: Sample, found: _Found, log_likelihood: float, above: float | None) -> LatencyFit:
    """Return what is to be known of a family; `above` is the share above the longest wait where replies are lost."""
    written = {
        name: float(f"{each.value:.6g}") if name in ("alpha", "shape") else duration(each.value)
        for name, each in found.parameters.items()
    }
    return LatencyFit(
        family=family,
        parameters=found.parameters,
        log_likelihood=log_likelihood + (0.0 if above is None else _lost_part(sample)),
        free=len(found.parameters) + (above is not None),
        size=sample.size,
        law=found.law,
        intervals=found.intervals,
        data={family: written},
        lost=0.0 if above is None else ((len(sample.censored) / sample.size - above) / max(1e-12, 1.0 - above)),
    )


def _lost_part(sample: Sample) -> float:
    """Return the logarithm of the likelihood of how many timed out, at its most likely share."""
    size, censored = sample.size, len(sample.censored)
    if censored in (0, size):
        return 0.0
    return censored * math.log(censored / size) + (size - censored) * math.log1p(-censored / size)


def _root(function: Callable[[float], float], low: float, high: float, otherwise: float) -> float:
    try:
        return float(optimize.brentq(function, low, high))
    except ValueError:
        return otherwise


FAMILIES = (constant, uniform, exponential, normal, lognormal, gamma, pareto)
"""Those with a closed form or nearly one; :mod:`simulation.fitting.mixture` has one more."""
