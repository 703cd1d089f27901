"""Failures in bursts: Gilbert's two-state chain (1960) in continuous time, seen at the instants of attempts.

The provider is in good and bad spells in turn, each exponentially long; an attempt fails with one probability in a good
spell and with a higher one in a bad spell. Which spell it is cannot be observed: a hidden Markov model. Its likelihood
is a product of two-by-two matrices, one for each attempt (the forward algorithm; Rabiner 1989). Over a gap of t seconds
the chain goes from good to bad with probability π_b (1 - exp(-t / τ)), with π_b the share of time that is bad and
1 / τ = 1 / mean_good + 1 / mean_bad. The product is taken as a tree of pairs: a million attempts are some twenty steps.

When an attempt is made may depend on earlier outcomes, as retries and breakers have it; the likelihood of the outcomes,
each given those before it, stays the same.

Bursts are only claimed where BIC prefers them to independent failures, and to windows of outage. Intervals are by the
observed information, on logarithms and logits; where one of the failure rates is all or nothing its interval is by the
likelihood ratio, the others fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from simulation.fitting.estimate import Estimate, Z, covariance_at, of_log, of_logit
from simulation.fitting.log import Flags, Floats

CLUSTERED = 3.0
"""The standard errors of clustering, at some scale, from which on bursts are looked for."""
_BLOCKS = 100_000
"""More attempts than these are first taken in blocks, to find where to begin."""
_LOGIT_MAX = 9.0
"""A failure rate within 0.01% of none or all is as good as that."""


@dataclass(frozen=True, kw_only=True)
class Bursts:
    base_rate: Estimate
    """Share that fails in good spells."""

    bad_rate: Estimate
    """Share that fails in bad spells."""

    failure_rate: Estimate
    """The failure rate that a bad spell adds: `bad_rate` less `base_rate`, as a scenario has it."""

    mean_good: Estimate
    """Seconds."""

    mean_bad: Estimate
    """Seconds."""

    log_likelihood: float
    spells: float
    """The expected number of bad spells in as long a time."""


def clustering(hit: Flags) -> float:
    """Return the most by which failures are near to each other, in standard errors, over blocks of 1, 2, 4, … attempts.

    It is the correlation of neighbouring blocks, which is about standard normal where failures are independent.
    """
    values = hit.astype(np.float64)
    most = 0.0
    while len(values) >= 16:
        centred = values - values.mean()
        variance = float(np.mean(centred**2))
        if variance == 0:
            break
        most = max(most, float(np.sum(centred[1:] * centred[:-1])) / (variance * math.sqrt(len(values))))
        values = values[: len(values) // 2 * 2].reshape(-1, 2).sum(axis=1)
    return most


@dataclass(frozen=True, eq=False)
class Candidate:
    """A burst model as it is compared with others; :meth:`described` returns its parameters."""

    log_likelihood: float
    """Of a large log at parameters that are nearly the likeliest: a little less than the most."""

    spells: float
    """The expected number of bad spells in as long a time."""

    theta: Floats
    coarse: _Chain
    chain: _Chain

    def described(self) -> Bursts | None:
        """Return the parameters with their intervals; None where the likelihood is flat."""
        if self.coarse is self.chain:
            return _described(self.chain, self.theta, None)
        return _described(self.chain, *_sharpened(self.chain, self.coarse, self.theta))


def candidate(hit: Flags, start_s: Floats, near: Candidate | None = None) -> Candidate | None:
    """Return the most likely burst model, or None where there is nothing that it could be made of."""
    size = len(hit)
    hits = int(np.count_nonzero(hit))
    duration = float(start_s[-1] - start_s[0]) if size else 0.0
    if hits < 2 or hits == size or duration <= 0:
        return None
    chain = _Chain.of(hit, start_s)
    coarse = chain if size <= _BLOCKS else chain.in_blocks(math.ceil(size / _BLOCKS))
    begin = _begin(coarse, hits / size, duration, size) if near is None else [near.theta]
    places = [_maximised(coarse, theta) for theta in begin]
    theta = max(places, key=coarse.log_likelihood)
    spells = duration / (math.exp(theta[2]) + math.exp(theta[3]))
    return Candidate(chain.log_likelihood(theta), spells, theta, coarse, chain)


class _Chain:
    """Attempts, or blocks of them, as the likelihood needs them."""

    def __init__(self, hits: Floats, misses: Floats, gaps_s: Floats) -> None:
        self.hits, self.misses, self.gaps_s = hits, misses, gaps_s
        self.is_single = bool(len(hits)) and float((hits + misses).max()) == 1.0

    @classmethod
    def of(cls, hit: Flags, start_s: Floats) -> _Chain:
        hits = hit.astype(np.float64)
        return cls(hits, 1.0 - hits, np.diff(start_s))

    def in_blocks(self, size: int) -> _Chain:
        """Return the chain with blocks of `size` attempts taken as one, within which the state does not change."""
        at = np.arange(0, len(self.hits), size)
        times = np.concatenate([[0.0], np.cumsum(self.gaps_s)])
        counts = np.diff(np.append(at, len(self.hits)))
        middles = np.add.reduceat(times, at) / counts
        return _Chain(np.add.reduceat(self.hits, at), np.add.reduceat(self.misses, at), np.diff(middles))

    def log_likelihood(self, theta: Floats) -> float:
        """Return the logarithm of the likelihood.

        Args:
            theta: Logits of the failure rates in good and bad spells, logarithms of the mean spells.
        """
        if not np.all(np.abs(theta) < 60.0):
            return -math.inf
        taken_out, good, bad = self._seen(theta[0], theta[1])
        mean_good, mean_bad = math.exp(theta[2]), math.exp(theta[3])
        bad_share = mean_bad / (mean_good + mean_bad)
        turned = -np.expm1(-self.gaps_s * (1.0 / mean_good + 1.0 / mean_bad))
        to_bad, to_good = bad_share * turned, (1.0 - bad_share) * turned
        rows = [(1.0 - to_bad) * good[1:], to_bad * bad[1:], to_good * good[1:], (1.0 - to_good) * bad[1:]]
        log, (a, b, c, d) = _product(rows)
        total = (1.0 - bad_share) * good[0] * (a + b) + bad_share * bad[0] * (c + d)
        return taken_out + log + math.log(total) if total > 0 else -math.inf

    def _seen(self, good: float, bad: float) -> tuple[float, Floats, Floats]:
        """Return the likelihood of each outcome with these logits of the failure rate, scaled so that a block's is not
        too small for a float, and the logarithm of the scale."""
        if self.is_single:
            first, second = (np.where(self.hits == 1.0, special.expit(x), special.expit(-x)) for x in (good, bad))
            return 0.0, first, second
        logs = [self.hits * special.log_expit(x) + self.misses * special.log_expit(-x) for x in (good, bad)]
        most = np.maximum(*logs)
        return float(most.sum()), np.exp(logs[0] - most), np.exp(logs[1] - most)


_SCALED_EVERY = 3
"""Products of so many matrices (as a power of two) are never too small for a float."""


def _product(matrices: list[Floats]) -> tuple[float, tuple[float, float, float, float]]:
    """Return the product of matrices with rows (a b) and (c d), given as four arrays: a logarithm to be added, and the
    matrix that it scales."""
    log = 0.0
    if not len(matrices[0]):
        return 0.0, (1.0, 0.0, 0.0, 1.0)
    level = 0
    while (size := len(matrices[0])) > 1:
        even = size // 2 * 2
        a, b, c, d = (each[0:even:2] for each in matrices)
        e, f, g, h = (each[1:even:2] for each in matrices)
        paired = [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h]
        level += 1
        if level % _SCALED_EVERY == 0 or even == 2:
            scale = np.maximum(np.maximum(paired[0], paired[1]), np.maximum(paired[2], paired[3]))
            if not scale.min() > 0.0:
                return -math.inf, (0.0, 0.0, 0.0, 0.0)
            log += float(np.sum(np.log(scale)))
            paired = [each / scale for each in paired]
        matrices = [np.append(new, old[-1]) if size % 2 else new for new, old in zip(paired, matrices, strict=True)]
    return log, (float(matrices[0][0]), float(matrices[1][0]), float(matrices[2][0]), float(matrices[3][0]))


def _begin(chain: _Chain, usual: float, duration: float, size: int) -> list[Floats]:
    tried = []
    gap = duration / size
    for bad in (0.97, 0.6, 0.3):
        if bad <= 1.5 * usual:
            bad = (1.0 + usual) / 2.0
        for length in (5.0, 30.0, 200.0, 1500.0):
            if (mean_bad := length * gap) > duration / 3.0:
                continue
            for share in (0.3, 0.9):  # of the failures are those of bad spells
                bad_share = min(0.5, share * usual / bad)
                good = max(usual * (1.0 - share), 1.0 / (size + 1.0))
                mean_good = mean_bad * (1.0 - bad_share) / bad_share
                tried.append(
                    np.array([special.logit(good), special.logit(bad), math.log(mean_good), math.log(mean_bad)])
                )
    if not tried:
        tried = [
            np.array([special.logit(usual / 2), special.logit(0.9), math.log(duration / 3), math.log(duration / 10)])
        ]
    return sorted(tried, key=chain.log_likelihood, reverse=True)[:2]


def _maximised(chain: _Chain, theta: Floats, rounds: int = 80) -> Floats:
    size = len(chain.hits)

    def cost(theta: Floats) -> float:
        # A weak pull towards the middle keeps the logit of a rate of all or nothing from running away.
        return -chain.log_likelihood(theta) / size + 1e-9 * float(theta @ theta)

    with np.errstate(all="ignore"):
        found = optimize.minimize(
            cost,
            theta,
            method="L-BFGS-B",
            bounds=[(-12.0, 12.0), (-12.0, 12.0), (-25.0, 25.0), (-25.0, 25.0)],
            options={"maxiter": rounds, "ftol": 1e-13, "gtol": 1e-9},
        )
    theta = found.x
    return theta if theta[0] <= theta[1] else theta[[1, 0, 3, 2]]


def _with(theta: Floats, free: Flags, some: Floats) -> Floats:
    whole = theta.copy()
    whole[free] = some
    return whole


def _sharpened(chain: _Chain, coarse: _Chain, theta: Floats) -> tuple[Floats, Floats | None]:
    """Return the most likely parameters of the attempts, by Newton's method from the parameters of blocks, which are
    near; and the covariance of those that are not extreme, at the last curvature."""
    free = np.abs(theta) <= np.array([_LOGIT_MAX, _LOGIT_MAX, math.inf, math.inf])

    def likelihood(some: Floats) -> float:
        return chain.log_likelihood(_with(theta, free, some))

    at = theta[free]
    about = covariance_at(lambda some: coarse.log_likelihood(_with(theta, free, some)), at)
    covariance = None if about is None else covariance_at(likelihood, at, 0.2 * np.sqrt(np.diag(about)))
    if covariance is None:
        return _maximised(chain, theta, rounds=12), None
    steps = 0.1 * np.sqrt(np.diag(covariance))
    for _ in range(4):
        slope = [(likelihood(at + step) - likelihood(at - step)) / (2.0 * np.sum(step)) for step in np.diag(steps)]
        move = covariance @ np.array(slope)
        if likelihood(at + move) < likelihood(at):
            return _maximised(chain, theta, rounds=12), None
        at = at + move
        if np.all(np.abs(move) < 0.05 * np.sqrt(np.diag(covariance))):
            break
    return _with(theta, free, at), covariance


def _described(chain: _Chain, theta: Floats, inner: Floats | None) -> Bursts | None:
    """Return the model in words of a scenario, with intervals; None where the likelihood is flat."""
    extreme = [bool(abs(theta[at]) > _LOGIT_MAX) for at in (0, 1)]
    free = np.array([not extreme[0], not extreme[1], True, True])

    def likelihood(some: Floats) -> float:
        return chain.log_likelihood(_with(theta, free, some))

    if inner is None or len(inner) != free.sum():
        inner = covariance_at(likelihood, theta[free], np.full(int(free.sum()), 0.01))
    if inner is None:
        return None
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = inner
    rates = [
        _extreme_rate(chain, theta, at) if extreme[at] else of_logit(theta[at], covariance[at, at]) for at in (0, 1)
    ]
    if not extreme[0] and rates[0].value * len(chain.hits) < _FEW and _may_be_extreme(chain, theta, 0):
        rates[0] = Estimate(rates[0].value, 0.0, rates[0].high)
    bad_share = 1.0 / (1.0 + math.exp(theta[2] - theta[3]))
    spared = (1.0 - rates[1].value) * bad_share * len(chain.hits)
    if not extreme[1] and spared < _FEW and _may_be_extreme(chain, theta, 1):
        rates[1] = Estimate(rates[1].value, rates[1].low, 1.0)
    good, bad = (float(special.expit(theta[at])) if not extreme[at] else rates[at].value for at in (0, 1))
    added = bad - good
    gradient = np.array([-good * (1.0 - good), bad * (1.0 - bad), 0.0, 0.0])
    if extreme[1]:
        interval = Estimate(added, max(0.0, rates[1].low - good), 1.0 - good if rates[1].high == 1.0 else added)
        interval = Estimate(added, interval.low, 1.0)  # with none in the good spells it may be all of them
    else:
        slope = 1.0 / max(1e-12, added * (1.0 - added))
        interval = of_logit(float(special.logit(added)), float(gradient @ covariance @ gradient) * slope * slope)
        if rates[1].high == 1.0:
            interval = Estimate(interval.value, interval.low, 1.0)
    lengths = [of_log(float(theta[at]), float(covariance[at, at])) for at in (2, 3)]
    return Bursts(
        base_rate=rates[0],
        bad_rate=rates[1],
        failure_rate=interval,
        mean_good=lengths[0],
        mean_bad=lengths[1],
        log_likelihood=chain.log_likelihood(theta),
        spells=float(chain.gaps_s.sum()) / (lengths[0].value + lengths[1].value),
    )


_FEW = 20
"""If good spells have fewer failures than this, perhaps all of them are of short bad spells."""
_FALL = Z * Z
"""Twice the fall of the likelihood (its logarithm) within an interval of 95%: chi-squared, one degree of freedom."""


def _may_be_extreme(chain: _Chain, theta: Floats, at: int) -> bool:
    """Return whether the rate of good spells may be nothing, or the rate of bad ones all, by the likelihood ratio."""
    held = theta.copy()
    held[at] = -40.0 if at == 0 else 40.0
    others = np.arange(4) != at

    def cost(some: Floats) -> float:
        return -chain.log_likelihood(_with(held, others, some)) / len(chain.hits)

    with np.errstate(all="ignore"):
        found = optimize.minimize(cost, theta[others], method="Nelder-Mead", options={"maxiter": 200, "fatol": 1e-7})
    return bool(2.0 * (chain.log_likelihood(theta) + found.fun * len(chain.hits)) < _FALL)


def _extreme_rate(chain: _Chain, theta: Floats, at: int) -> Estimate:
    """Return a rate of all or nothing, and from where on the likelihood is near enough to the most."""
    sign = 1.0 if theta[at] > 0 else -1.0
    best = theta.copy()
    best[at] = sign * 40.0
    drop = max(chain.log_likelihood(best), chain.log_likelihood(theta)) - Z * Z / 2.0

    def above(logit: float) -> float:
        moved = theta.copy()
        moved[at] = sign * logit
        return chain.log_likelihood(moved) - drop

    try:
        reach = float(optimize.brentq(above, -5.0, 12.0))
    except ValueError:
        reach = -5.0
    value = float(sign > 0)
    other = float(special.expit(sign * reach))
    return Estimate(value, min(value, other), max(value, other))
