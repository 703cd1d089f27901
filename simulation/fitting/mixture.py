"""A mixture of two lognormals: a fast way and a slow one, or a core with a tail.

Started by expectation maximisation (Dempster, Laird and Rubin 1977) from several places, and finished on the likelihood
with the timeouts in it. The likelihood of a mixture has no maximum, since one component may shrink onto a single value
(Kiefer and Wolfowitz 1956): a component narrower than a hundredth of the whole, or of fewer than five, does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from simulation.fitting.estimate import covariance_at, duration, of_log, of_logit
from simulation.fitting.families import P99, LatencyFit
from simulation.fitting.log import Floats
from simulation.fitting.sample import Sample

LEAST = 30
"""Of fewer than so many, two components cannot be distinguished."""
_COMPONENT_MIN = 5
_ROUNDS = 300
_ROUNDS_FIRST = 40
"""From each place, before the best of them goes on."""
_NEAR = 10.0
"""By more than this expectation maximisation does not fall short."""


def mixture(sample: Sample, *, start: Floats | None = None, worth: float = -math.inf) -> LatencyFit | None:
    """Return the fit, or None where there is none.

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
    return _fit(sample, theta, covariance, likelihood(theta))


def _fit(sample: Sample, theta: Floats, covariance: Floats, log_likelihood: float) -> LatencyFit:
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
