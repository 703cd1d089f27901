"""The family of distributions of latencies, and how well it fits.

Families are compared by BIC, where a simpler one is rejected only for a margin of ten (very strong, in the words of
Kass and Raftery 1995). Goodness of fit is the Kolmogorov-Smirnov distance, and without timeouts Anderson and Darling's
statistic, which looks at the tails. As the parameters are estimated from the same values their p-values are not those
of the tables (Lilliefors 1967; Stephens 1974) but by parametric bootstrap (Stute, González Manteiga and Presedo
Quindimil 1993): samples are drawn from the fit, fitted themselves, and their distances compared. Of a large log that is
done with some two thousand of the attempts; with a million even a harmless rounding is significant, so the decision
goes by the distance too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.fitting.families import FAMILIES, LatencyFit, Sample, mixture, theta_of
from simulation.fitting.log import Floats

MARGIN = 10.0
LOST_MIN = 5
"""Of fewer timeouts it is not known whether replies are lost."""
THINNED = 2000
CLOSE, FAIR = 0.02, 0.05
"""Distances: up to so much the distribution functions differ anywhere."""
SIGNIFICANT = 0.01


@dataclass(frozen=True)
class Goodness:
    distance: float
    """Kolmogorov and Smirnov's: the most by which the share below some latency is off; between 0 and 1."""

    distance_p: float | None
    """The share of samples of the fitted distribution that are as far off; None: not computed."""

    anderson_darling: float | None
    """None: there are timeouts."""

    anderson_darling_p: float | None
    resamples: int
    thinned: int | None
    """With how many of the attempts the p-values were made; None: all of them."""

    @property
    def is_poor(self) -> bool:
        """Whether the family is not worth using: it is off by much, and not by chance."""
        return self.distance > FAIR and self.distance_p is not None and self.distance_p <= SIGNIFICANT

    @property
    def degree(self) -> str:
        p = self.distance_p
        if self.distance == 0:
            return "exact"
        if p is None:
            return "not tested"
        if self.is_poor:
            return "poor"
        if p > SIGNIFICANT and (self.anderson_darling_p or 1.0) > SIGNIFICANT:
            return "good"
        return "close" if self.distance <= CLOSE else "fair"

    @property
    def words(self) -> str:
        match self.degree:
            case "exact":
                return "all are the same"
            case "good":
                return "off as samples of it are by chance"
            case "not tested":
                return f"shares are off by up to {100 * self.distance:.2g} points"
            case _:
                return f"shares are off by up to {100 * self.distance:.2g} points, not by chance"


@dataclass(frozen=True, eq=False)
class Latency:
    fit: LatencyFit

    others: tuple[LatencyFit, ...]
    """The other ones, the best first."""

    goodness: Goodness
    sample: Sample
    is_of: str
    """The attempts that it is of, in words."""

    @property
    def margin(self) -> float | None:
        """By how much the BIC of the next best is higher; None: there is none."""
        finite = [other.bic - self.fit.bic for other in self.others]
        return min(finite) if finite and math.isfinite(min(finite)) else None

    @property
    def is_empirical(self) -> bool:
        """Whether no family is good enough, so that the scenario has the measured values themselves."""
        return self.goodness.is_poor

    def measured(self, at_most: int = 1000) -> Floats:
        """Return values that stand for the sample: all of them, or evenly spaced quantiles; a timeout counts as long as
        the sender waited."""
        values: Floats = np.sort(np.concatenate([self.sample.seen, self.sample.censored]))
        if len(values) <= at_most:
            return values
        return np.asarray(np.quantile(values, (np.arange(at_most) + 0.5) / at_most), dtype=np.float64)


def fit_latency(sample: Sample, is_of: str, *, resamples: int, random: np.random.Generator) -> Latency | None:
    """Return the best family; None where nothing was seen."""
    if not len(sample.seen):
        return None
    fits = _all(sample)
    if not fits:
        return None
    best = _chosen(fits)
    others = tuple(sorted((fit for fit in fits if fit is not best and fit.lost >= 0), key=lambda fit: fit.bic))
    return Latency(best, others, goodness(best, sample, resamples=resamples, random=random), sample, is_of)


def _all(sample: Sample) -> list[LatencyFit]:
    zeros = np.count_nonzero(sample.seen <= 0)
    fits = [family(sample) for family in FAMILIES]
    simple = min((fit.bic for fit in fits if fit is not None), default=math.inf)
    five = 5 * math.log(max(sample.size, 2))
    fits.append(mixture(sample, worth=-(simple - MARGIN - five) / 2.0))
    if len(sample.censored) >= LOST_MIN <= len(sample.seen):  # as if some had another reason than their latency
        fits += [family(sample, lost=True) for family in FAMILIES]
    found = [fit for fit in fits if fit is not None and fit.log_likelihood > -math.inf]
    if zeros:  # a density says nothing of a value that comes again and again
        found = [fit for fit in found if fit.family in ("constant", "normal")] or found
    return found


def _chosen(fits: Sequence[LatencyFit]) -> LatencyFit:
    """Return the best of the simple ones, or a richer one that beats it by the margin."""
    plain = [fit for fit in fits if fit.family != "mixture" and fit.lost == 0]
    exponential = next((fit for fit in plain if fit.family == "exponential"), None)
    if exponential is not None:  # which is a gamma of shape 1, and so the simpler one
        plain = [fit for fit in plain if fit.family != "gamma" or fit.bic < exponential.bic - MARGIN]
    rich = [fit for fit in fits if fit.lost > 0 or fit.family == "mixture"]
    best = min(plain, key=lambda fit: fit.bic, default=None)
    richer = min(rich, key=lambda fit: fit.bic, default=None)
    if best is None or richer is None:
        chosen = best or richer
        assert chosen is not None  # a caller has some
        return chosen
    return richer if richer.bic < best.bic - MARGIN else best


def goodness(fit: LatencyFit, sample: Sample, *, resamples: int, random: np.random.Generator) -> Goodness:
    """Return how well a family fits a sample; see above."""
    distance = _distance(fit, sample)
    if fit.family == "constant" or resamples == 0 or len(sample.seen) < 3:
        return Goodness(distance, None, None, None, 0, None)
    thin = sample.thinned(THINNED, random)
    refitted = _again(fit, thin)
    if refitted is None:
        return Goodness(distance, None, None, None, 0, None)
    complete = not len(thin.censored)
    observed = _distance(refitted, thin), _anderson_darling(refitted, thin) if complete else 0.0
    beyond = [0, 0]
    made = 0
    for _ in range(resamples):
        drawn = refitted.draw(random, len(thin.seen) if fit.lost else thin.size)
        again = Sample(drawn[drawn <= thin.limit], np.full(np.count_nonzero(drawn > thin.limit), thin.limit))
        refit = _again(refitted, again)
        if refit is None:
            continue
        made += 1
        beyond[0] += _distance(refit, again) >= observed[0]
        beyond[1] += complete and _anderson_darling(refit, again) >= observed[1]
    p = [(1 + count) / (1 + made) for count in beyond]
    thinned = thin.size if thin is not sample else None
    statistic = _anderson_darling(fit, sample) if complete else None
    return Goodness(distance, p[0], statistic, p[1] if complete else None, made, thinned)


def _again(fit: LatencyFit, sample: Sample) -> LatencyFit | None:
    if not len(sample.seen):
        return None
    if fit.family == "mixture":
        return mixture(sample, start=theta_of(fit))
    family = next(family for family in FAMILIES if family.__name__ == fit.family)
    return family(sample, lost=fit.lost > 0 and bool(len(sample.censored)))


def _distance(fit: LatencyFit, sample: Sample) -> float:
    """Return the largest difference of the distribution functions, as far as everything is seen."""
    seen = sample.seen[sample.seen <= sample.limit]
    if not len(seen):
        return 0.0
    of = len(sample.seen) if fit.lost else sample.size
    expected = fit.cdf(seen)
    if fit.lost and len(sample.limits) and fit.family != "constant":
        expected = expected / fit.cdf(sample.limits[-1:])[0]
    ranks = np.searchsorted(seen, seen, side="right") / of
    before = np.searchsorted(seen, seen, side="left") / of
    left = np.where(seen == 0, 0.0, expected) if fit.family in ("normal", "constant") else expected
    if fit.family == "constant":
        return float(np.max(np.abs(ranks - expected)))
    return float(max(np.max(ranks - expected), np.max(np.where(seen == 0, 0.0, left - before))))


def _anderson_darling(fit: LatencyFit, sample: Sample) -> float:
    """Return n · ∫ (F_n - F)² / (F (1 - F)) dF (Anderson and Darling 1954)."""
    size = len(sample.seen)
    shares = np.clip(fit.cdf(sample.seen), 1e-12, 1.0 - 1e-12)
    odd = 2.0 * np.arange(1, size + 1) - 1.0
    return float(-size - np.sum(odd * (np.log(shares) + np.log1p(-shares[::-1]))) / size)
