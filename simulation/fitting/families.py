"""The families of latency distributions that a scenario can say, each fitted by maximum likelihood.

Where a closed form is exact it gives the interval too (exponential, uniform, Pareto; Johnson, Kotz and Balakrishnan
1994). Elsewhere the interval is that of the observed information, taken where the parameters have no bounds: logarithms
of durations (Efron and Hinkley 1978). Timeouts are right-censored, see :mod:`simulation.fitting.families`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from actors.settings.distributions import Distribution
from simulation.fitting.estimate import (
    TAIL,
    Estimate,
    Likelihood,
    Z,
    covariance_at,
    duration,
    log_likelihood_of,
    of_log,
    of_logit,
)
from simulation.fitting.log import Floats

# ── a sample ──────────────────────────────────────────────────────────────────────────────────────────────────────────


EXACT_MAX = 2000
"""The most values that are taken one by one; more of them go into bins."""
BINS = 2000


class Sample:
    """Latencies as a likelihood needs them: seen ones, and censored ones that are longer than the sender waited.

    An attempt that timed out is right-censored: its latency is only known to be longer. Where replies are lost too, the
    rest of the sample is truncated at the timeout instead, and says nothing of how many are longer: that is the cure
    model of Boag (1949) with its share left free.
    """

    def __init__(self, seen: Floats, censored: Floats | None = None) -> None:
        """Take a sample.

        Args:
            seen: The observed latencies, at least 0.
            censored: For each of the others, the wait that it exceeds.
        """
        self.seen = np.sort(seen)
        self.censored = np.sort(censored) if censored is not None else np.empty(0)
        self.limits, self.limit_counts = np.unique(self.censored, return_counts=True)

    @property
    def size(self) -> int:
        return len(self.seen) + len(self.censored)

    @property
    def positive(self) -> bool:
        return bool(len(self.seen)) and bool(self.seen[0] > 0)

    @property
    def limit(self) -> float:
        """Up to where everything is seen: the shortest of the waits that timed out; infinite if none did."""
        return float(self.limits[0]) if len(self.limits) else np.inf

    @property
    def last_limit(self) -> float:
        return float(self.limits[-1])

    @cached_property
    def logs(self) -> Floats:
        return np.log(self.seen)

    @cached_property
    def log_moments(self) -> tuple[float, float]:
        """Mean and mean square deviation of the logarithms."""
        return float(self.logs.mean()), float(self.logs.var())

    @cached_property
    def binned_logs(self) -> tuple[Floats, Floats]:
        """Values that stand for the logarithms, and how many each stands for; thousands of bins are narrow beside any
        spread that could be fitted."""
        logs = self.logs
        if len(logs) <= EXACT_MAX:
            return logs, np.ones(len(logs))
        counts, edges = np.histogram(logs, bins=BINS)
        sums, _ = np.histogram(logs, bins=edges, weights=logs)
        full = counts > 0
        return sums[full] / counts[full], counts[full].astype(np.float64)

    def thinned(self, size: int, random: np.random.Generator) -> Sample:
        """Return at most `size` of them, drawn without replacement."""
        if self.size <= size:
            return self
        chosen = random.choice(self.size, size, replace=False)
        seen = chosen[chosen < len(self.seen)]
        return Sample(self.seen[seen], self.censored[chosen[chosen >= len(self.seen)] - len(self.seen)])


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
    """The method by which the intervals were made."""

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
    """Normal, cut at 0: a negative value becomes 0 (Tobin 1958)."""
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
    """Return the most likely distribution of a family, or None where no scenario can have it.

    Args:
        family: Its name.
        sample: The latencies.
        start: The most likely parameters of the seen latencies alone.
        likelihood: The logarithm of the density, summed over the seen latencies.
        log_above: The logarithm of the share above a latency.
        described: Describes the most likely parameters, with their covariance.
        lost: Leave free how many of the censored ones have another reason, which truncates the others.
        exact: Whether `start` is the exact maximum without censored latencies.
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
    """Return the description of a fitted family; `above` is the share above the longest wait where replies are lost."""
    written = {
        name: float(f"{each.value:.6g}") if name in ("alpha", "shape") else duration(each.value)
        for name, each in found.parameters.items()
    }
    return LatencyFit(
        family=family,
        parameters=found.parameters,
        log_likelihood=log_likelihood
        + (0.0 if above is None else log_likelihood_of(len(sample.censored), sample.size)),
        free=len(found.parameters) + (above is not None),
        size=sample.size,
        law=found.law,
        intervals=found.intervals,
        data={family: written},
        lost=0.0 if above is None else ((len(sample.censored) / sample.size - above) / max(1e-12, 1.0 - above)),
    )


def _root(function: Callable[[float], float], low: float, high: float, otherwise: float) -> float:
    try:
        return float(optimize.brentq(function, low, high))
    except ValueError:
        return otherwise


FAMILIES = (constant, uniform, exponential, normal, lognormal, gamma, pareto)
"""The families with a closed form or nearly one; :func:`mixture` is fitted too."""


# ── a mixture of two ──────────────────────────────────────────────────────────────────────────────────────────────────


LEAST = 30
"""Two components cannot be distinguished with fewer latencies."""
_COMPONENT_MIN = 5
_ROUNDS = 300
_ROUNDS_FIRST = 40
"""From each place, before the best of them goes on."""
_NEAR = 10.0
"""By more than this expectation maximisation does not fall short."""


def mixture(sample: Sample, *, start: Floats | None = None, worth: float = -math.inf) -> LatencyFit | None:
    """Return a mixture of two lognormals, a fast way and a slow one, or a core with a tail; None where there is none.

    It is started by expectation maximisation (Dempster, Laird and Rubin 1977) from several places, and finished on the
    likelihood with the timeouts in it. The likelihood of a mixture has no maximum, since one component may shrink onto
    a single value (Kiefer and Wolfowitz 1956): a component narrower than a hundredth of the whole, or of fewer than
    five, does not count.

    Args:
        sample: Of what is fitted.
        start: Parameters to begin with, as `theta` has them; several places are tried when None.
        worth: The logarithm of the likelihood that it must come near to.
    """
    if not sample.positive or len(sample.seen) < LEAST or sample.log_moments[1] <= 0:
        return None
    values, counts = sample.binned_logs
    narrowest = 0.01 * math.sqrt(sample.log_moments[1])
    places = [start] if start is not None else _starts(sample)
    likelihood = _likelihood(sample, values, counts)
    tried = [_em(values, counts, place, narrowest, _ROUNDS if start is not None else _ROUNDS_FIRST) for place in places]
    theta = max((each for each in tried if each is not None), key=likelihood, default=None)
    if theta is not None and start is None:
        theta = _em(values, counts, theta, narrowest, _ROUNDS)
    if theta is None or (not len(sample.limits) and likelihood(theta) < worth - _NEAR):
        return None
    if start is None or len(sample.limits):
        with np.errstate(all="ignore"):
            found = optimize.minimize(
                lambda theta: -likelihood(theta) if np.all(np.abs(theta) < 100.0) else 1e300, theta, method="BFGS"
            )
        if likelihood(found.x) >= likelihood(theta):
            theta = found.x
    weight = float(special.expit(theta[0]))
    if theta[1] > theta[3]:
        theta, weight = np.array([-theta[0], theta[3], theta[4], theta[1], theta[2]]), 1.0 - weight
    seen = len(sample.seen)
    if min(weight, 1.0 - weight) * seen < _COMPONENT_MIN or math.exp(min(theta[2], theta[4])) < narrowest:
        return None
    covariance = covariance_at(likelihood, theta) if start is None else np.zeros((5, 5))
    if covariance is None:
        return None
    return _fit_mixture(sample, theta, covariance, likelihood(theta))


def _fit_mixture(sample: Sample, theta: Floats, covariance: Floats, log_likelihood: float) -> LatencyFit:
    weight = float(special.expit(theta[0]))
    parameters = {"weight.0": of_logit(float(theta[0]), float(covariance[0, 0]))}
    data = []
    for number, at in enumerate((1, 3)):
        mu, sigma = float(theta[at]), math.exp(theta[at + 1])
        gradient = np.zeros(5)
        gradient[at] = 1.0
        parameters[f"median.{number}"] = median = of_log(mu, float(gradient @ covariance @ gradient))
        gradient[at + 1] = P99 * sigma
        parameters[f"p99.{number}"] = p99 = of_log(mu + P99 * sigma, float(gradient @ covariance @ gradient))
        share = weight if number == 0 else 1.0 - weight
        component = {"median": duration(median.value), "p99": duration(p99.value)}
        data.append({"weight": float(f"{share:.6g}"), "lognormal": component})
    return LatencyFit(
        family="mixture",
        parameters=parameters,
        log_likelihood=log_likelihood,
        free=5,
        size=sample.size,
        law=(weight, theta[[1, 3]], np.exp(theta[[2, 4]])),
        intervals="observed information, on logit and logarithms",
        data={"mixture": data},
    )


def theta_of(fit: LatencyFit) -> Floats:
    """Return the parameters of a fitted mixture without their bounds: where another fit may begin."""
    at = {name: estimate.value for name, estimate in fit.parameters.items()}
    sigmas = [math.log(at[f"p99.{n}"] / at[f"median.{n}"]) / P99 for n in (0, 1)]
    logs = [math.log(at[f"median.{n}"]) for n in (0, 1)]
    return np.array([special.logit(at["weight.0"]), logs[0], math.log(sigmas[0]), logs[1], math.log(sigmas[1])])


def _starts(sample: Sample) -> list[Floats]:
    mean, sd = sample.log_moments[0], math.sqrt(sample.log_moments[1])
    logs = sample.logs
    places = [np.array([special.logit(0.9), mean, math.log(sd / 2.0), mean, math.log(2.0 * sd)])]
    for quantile in (0.1, 0.5, 0.9, 0.98):
        cut = float(np.quantile(logs, quantile))
        below, above = logs[logs <= cut], logs[logs > cut]
        if len(below) >= 2 and len(above) >= 2 and below.std() > 0 and above.std() > 0:
            spreads = math.log(below.std()), math.log(above.std())
            places.append(np.array([special.logit(quantile), below.mean(), spreads[0], above.mean(), spreads[1]]))
    return places


def _densities(values: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Return the logarithms of both weighted densities of the logarithms of latencies."""
    logs = (special.log_expit(theta[0]), special.log_expit(-theta[0]))
    first, second = (
        log
        - theta[at + 1]
        - 0.5 * math.log(2.0 * math.pi)
        - 0.5 * ((values - theta[at]) * math.exp(-theta[at + 1])) ** 2
        for log, at in zip(logs, (1, 3), strict=True)
    )
    return first, second


def _likelihood(sample: Sample, values: Floats, counts: Floats) -> Callable[[Floats], float]:
    limits = np.log(sample.limits) if len(sample.limits) else sample.limits
    sum_of_logs = float(sample.logs.sum())

    def likelihood(theta: Floats) -> float:
        with np.errstate(all="ignore"):
            total = float(np.sum(counts * np.logaddexp(*_densities(values, theta)))) - sum_of_logs
            if len(limits):
                above = np.logaddexp(
                    special.log_expit(theta[0]) + special.log_ndtr((theta[1] - limits) * math.exp(-theta[2])),
                    special.log_expit(-theta[0]) + special.log_ndtr((theta[3] - limits) * math.exp(-theta[4])),
                )
                total += float(np.sum(sample.limit_counts * above))
        return total if math.isfinite(total) else -math.inf

    return likelihood


def _em(values: Floats, counts: Floats, theta: Floats, narrowest: float, rounds: int) -> Floats | None:
    total = counts.sum()
    last = -math.inf
    for _ in range(rounds):
        first, second = _densities(values, theta)
        both = np.logaddexp(first, second)
        now = float(np.sum(counts * both))
        of_first = np.exp(first - both)
        weight = float(np.sum(counts * of_first)) / total
        if not 1e-9 < weight < 1.0 - 1e-9:
            return None
        parts: list[float] = [float(special.logit(weight))]
        for responsibility in (of_first, 1.0 - of_first):
            share = counts * responsibility
            mean = float(np.sum(share * values) / share.sum())
            sd = math.sqrt(float(np.sum(share * (values - mean) ** 2) / share.sum()))
            if sd < narrowest:
                return None
            parts += [mean, math.log(sd)]
        theta = np.array(parts)
        if now - last < 1e-7 * abs(now):
            break
        last = now
    return theta
