"""Quantities that are compared with theory, with their tolerance and their text: exact numbers, means, variances, whole
distributions.

A test that holds with any width of its interval proves nothing, so each stochastic quantity has a largest width
(`within`), and replications are run until the interval is that narrow. Every one of the m stochastic quantities of a
validation is tested at 0.001 / m (Bonferroni), so that a validation of a right simulator fails once in a thousand
times. The interval that decides is therefore wider than the one of 99.9% that is printed, and it is the one that has to
be narrow.

A quantity is measured from one replication; the replications are independent, so Student's t holds for their mean
whatever goes on inside of one (Law, *Simulation Modeling and Analysis*, chapter 9).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from actors.errors import ConfigurationError
from actors.formatting import plain_number
from simulation.results.statistics import student_t

FALSE_ALARMS = 0.001
"""How often a validation of a simulator that is right may fail."""

QUICK = 0.05
"""In the quick slice no interval has to be narrower than this share of its target, and each may be wider by…"""

QUICK_FACTOR = 2.5
"""…this factor than what its quantity says: rare events and second moments say more than 2%."""

_DETERMINISTIC = 1e-9
"""Relative: what floats may lose on the way."""

_A_LITTLE_MORE = 1.1
"""The standard deviation of few replications is itself uncertain: better a few too many than one more round."""

RARE = 1e-3
"""An event of smaller probability hardly happens in a run, and is not measured."""


class Verdict(StrEnum):
    HOLDS = "holds"
    DIFFERS = "differs"
    """The target is outside of the interval."""
    TOO_WIDE = "too wide"
    """Nothing is proved: as many replications as there may be do not make the interval narrow enough."""


@dataclass(frozen=True, slots=True)
class Rigor:
    alpha: float
    """How often each stochastic quantity may be found to differ by chance alone."""

    full: bool
    """Whether intervals have to be as narrow as each quantity says, or only two and a half times that."""

    def within(self, share: float) -> float:
        """Return how wide half an interval may be, as a share of the target."""
        return share if self.full else max(QUICK_FACTOR * share, QUICK)


@dataclass(frozen=True, slots=True)
class Finding:
    """A quantity, as it was measured."""

    expected: str
    measured: str
    """With its 99.9% interval where it has one."""

    verdict: Verdict
    value: Any
    """The measurement, as a number if it is one."""

    interval: tuple[float, float] | None = None
    """The 99.9% interval. None: it is not stochastic, or what was tested is a whole distribution."""

    replications: int = 1


@dataclass(frozen=True, kw_only=True)
class Quantity(ABC):
    """One thing that theory, or a publication, says."""

    name: str
    """Its key in what a replication returns, and its name in the report."""

    because: str = ""
    """Where the target comes from, or the reason for the tolerance, if the case does not say it already."""

    stochastic: ClassVar[bool] = True
    """Whether chance is in it: it is then one of those that share the false alarms."""

    @property
    def key(self) -> str:
        """The key of the quantity in a replication's result, by default its name."""
        return self.name

    def complaint(self, figure: Any) -> str | None:
        """Return what was wanted in place of what a replication returned; None: it can be used."""
        return None if _is_number(figure) else "a finite number"

    @abstractmethod
    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return how many replications it takes, as far as these tell; at most as many as there are if they do."""

    @abstractmethod
    def judge(self, samples: Sequence[Any], rigor: Rigor) -> Finding:
        """Compare what the replications returned with the target."""


@dataclass(frozen=True, kw_only=True)
class Exactly(Quantity):
    """Equality in every replication: of whole numbers and texts; of floats to nine digits; of lists of them."""

    target: Any

    stochastic = False

    def complaint(self, figure: Any) -> str | None:
        """Return None: whatever it is, it is equal or not."""
        return None

    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return 1: it is not stochastic."""
        return 1

    def judge(self, samples: Sequence[Any], rigor: Rigor) -> Finding:
        """See whether all are equal to the target; the first that is not is shown."""
        others = [sample for sample in samples if not _equal(sample, self.target)]
        shown = others[0] if others else samples[0]
        verdict = Verdict.DIFFERS if others else Verdict.HOLDS
        return Finding(written(self.target), written(shown), verdict, shown, replications=len(samples))


@dataclass(frozen=True, kw_only=True)
class AtMost(Quantity):
    """A bound that no replication may exceed."""

    bound: float

    stochastic = False

    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return 10, of which each may break it."""
        return 10

    def judge(self, samples: Sequence[float], rigor: Rigor) -> Finding:
        largest = max(samples)
        verdict = Verdict.HOLDS if largest <= self.bound else Verdict.DIFFERS
        measured = f"{written(largest)} at most"
        return Finding(f"≤ {written(self.bound)}", measured, verdict, largest, replications=len(samples))


@dataclass(frozen=True, kw_only=True)
class Mean(Quantity):
    """The mean over replications: Student's t-interval holds the target, and is narrow."""

    target: float
    within: float = 0.02
    """How wide half the interval may be, as a share of the target."""

    error: float = 0.0
    """The standard error of the target, where that was simulated too."""

    def __post_init__(self) -> None:
        _check(self.name, "a finite target", math.isfinite(self.target), self.target)
        _check(self.name, "within > 0", self.within > 0, self.within)
        known_to = 3.29 * self.error  # 99.9%
        enough = 0 <= known_to <= self.within * abs(self.target)
        _check(self.name, f"a target that is known as well as within={self.within:g} says", enough, f"± {known_to:g}")

    def wanted(self, samples: Sequence[float], rigor: Rigor) -> int:
        """Return how many make the interval narrow enough if they spread as these do."""
        count = len(samples)
        aim = rigor.within(self.within) * abs(self.target)
        spread = _spread(samples)
        if _t(rigor.alpha, count) * spread / math.sqrt(count) <= aim:
            return count
        if aim == 0:
            raise ConfigurationError([f"{self.name}: wanted a target other than 0, of which a share is something"])
        return max(count + 1, math.ceil(_A_LITTLE_MORE * (_z(rigor.alpha) * spread / aim) ** 2))

    def judge(self, samples: Sequence[float], rigor: Rigor) -> Finding:
        count, mean = len(samples), _mean(samples)
        own = _spread(samples) / math.sqrt(count)
        t = _t(rigor.alpha, count)
        off = abs(mean - self.target)
        if off > max(t * math.hypot(own, self.error), _DETERMINISTIC * abs(self.target)):
            # Where all values are equal, what is rare may not have happened yet: near the target that proves nothing.
            are_equal = t * own <= _DETERMINISTIC * abs(self.target)
            is_near = are_equal and off <= rigor.within(self.within) * abs(self.target)
            verdict = Verdict.TOO_WIDE if is_near else Verdict.DIFFERS
        elif t * own > rigor.within(self.within) * abs(self.target):
            verdict = Verdict.TOO_WIDE
        else:
            verdict = Verdict.HOLDS
        expected = written(self.target)
        if self.error:
            expected += f" ± {rounded(3.29 * self.error)}"
        return _found(expected, verdict, mean, _t(FALSE_ALARMS, count) * own, count)


@dataclass(frozen=True, kw_only=True)
class Between(Quantity):
    """A claim without a number: the whole interval of the mean lies between two bounds."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        one_is_there = self.low < self.high and (math.isfinite(self.low) or math.isfinite(self.high))
        _check(self.name, "low < high, one of them finite", one_is_there, f"{self.low:g} and {self.high:g}")

    def wanted(self, samples: Sequence[float], rigor: Rigor) -> int:
        """Return how many take the interval to one side of each bound, if the mean stays where it is."""
        count, mean, spread = len(samples), _mean(samples), _spread(samples)
        room = min(abs(mean - self.low), abs(self.high - mean))
        if spread == 0 or room == math.inf or _t(rigor.alpha, count) * spread / math.sqrt(count) < room:
            return count
        return max(count + 1, math.ceil(_A_LITTLE_MORE * (_z(rigor.alpha) * spread / room) ** 2)) if room else count + 1

    def judge(self, samples: Sequence[float], rigor: Rigor) -> Finding:
        count, mean = len(samples), _mean(samples)
        own = _spread(samples) / math.sqrt(count)
        reach = _t(rigor.alpha, count) * own
        if self.low <= mean - reach and mean + reach <= self.high:
            verdict = Verdict.HOLDS
        elif mean + reach < self.low or self.high < mean - reach:
            verdict = Verdict.DIFFERS
        else:
            verdict = Verdict.TOO_WIDE  # a bound is in the interval
        return _found(self._expected(), verdict, mean, _t(FALSE_ALARMS, count) * own, count)

    def _expected(self) -> str:
        if self.low == -math.inf:
            return f"< {written(self.high)}"
        return f"> {written(self.low)}" if self.high == math.inf else f"{written(self.low)} … {written(self.high)}"


class _OfDraws(Quantity):
    def complaint(self, figure: Any) -> str | None:
        return None if _is_number(figure) or _are_numbers(figure) else "a finite number, or a list of some"


@dataclass(frozen=True, kw_only=True)
class Variance(_OfDraws):
    """The variance of independent and nearly normal numbers, by the chi-square interval; both tails.

    A replication returns one number, or a list of independent ones: counts in windows of a Poisson process, for
    example, of which this is the index of dispersion.
    """

    target: float
    within: float = 0.10

    def __post_init__(self) -> None:
        _check(self.name, "a finite target > 0", 0 < self.target < math.inf, self.target)
        _check(self.name, "within > 0", self.within > 0, self.within)

    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return how many make the interval narrow enough, which does not depend on the values."""
        each = len(_pooled(samples[:1]))
        aim = rigor.within(self.within)
        return max(2, math.ceil(_A_LITTLE_MORE * 2 * (_z(rigor.alpha) / aim) ** 2 / each))

    def judge(self, samples: Sequence[Any], rigor: Rigor) -> Finding:
        pooled = _pooled(samples)
        measured = _spread(pooled) ** 2
        low, high = _variance_interval(measured, len(pooled), rigor.alpha)
        verdict = Verdict.HOLDS if low <= self.target <= high else Verdict.DIFFERS
        low, high = _variance_interval(measured, len(pooled), FALSE_ALARMS)
        return Finding(written(self.target), bounds(measured, low, high), verdict, measured, (low, high), len(samples))


@dataclass(frozen=True, kw_only=True)
class Spread(Quantity):
    """The standard deviation over replications agrees with one that was simulated too, to 15%."""

    of: str
    """The quantity of which it is the standard deviation."""

    target: float
    observations: int
    """How many runs the target is of."""

    within: float = 0.15

    def __post_init__(self) -> None:
        _check(self.name, "a finite target > 0", 0 < self.target < math.inf, self.target)
        _check(self.name, "within > 0", self.within > 0, self.within)
        _check(self.name, "observations of at least 2", self.observations >= 2, self.observations)

    @property
    def key(self) -> str:
        return self.of

    def wanted(self, samples: Sequence[float], rigor: Rigor) -> int:
        """Return how many it takes until a difference of `within` is not chance, on the error of both sides."""
        left = (rigor.within(self.within) / _z(rigor.alpha)) ** 2 - 1 / (2 * self.observations)
        if left <= 0:
            raise ConfigurationError(
                [f"{self.name}: wanted more observations, got {self.observations}, which cannot show {self.within:.0%}"]
            )
        return math.ceil(1 / (2 * left))

    def judge(self, samples: Sequence[float], rigor: Rigor) -> Finding:
        measured = _spread(samples)
        own = 1 / math.sqrt(2 * len(samples))
        differs = abs(measured / self.target - 1) > rigor.within(self.within)
        verdict = Verdict.DIFFERS if differs else Verdict.HOLDS
        expected = f"{written(self.target)} ± {100 * rigor.within(self.within):.3g}%"
        return _found(expected, verdict, measured, _z(FALSE_ALARMS) * own * measured, len(samples))


@dataclass(frozen=True, kw_only=True)
class Follows(_OfDraws):
    """A whole distribution, by Kolmogorov and Smirnov: replications return lists of independent draws from it."""

    distribution: str

    cdf: Callable[[Any], Any]

    within: float = 0.01
    """The largest difference of the distribution functions that may go unnoticed."""

    def __post_init__(self) -> None:
        _check(self.name, "within > 0", self.within > 0, self.within)

    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return how many it takes until no difference larger than `within` goes unnoticed."""
        each = max(1, len(_pooled(samples)) / len(samples))
        return max(1, math.ceil(math.log(2 / rigor.alpha) / 2 / rigor.within(self.within) ** 2 / each))

    def judge(self, samples: Sequence[Any], rigor: Rigor) -> Finding:
        from scipy.stats import kstest

        pooled = _pooled(samples)
        test = kstest(pooled, self.cdf)
        verdict = Verdict.HOLDS if test.pvalue > rigor.alpha else Verdict.DIFFERS
        measured = f"D {rounded(test.statistic)}, p {rounded(test.pvalue)}, of {len(pooled):,}"
        return Finding(self.distribution, measured, verdict, float(test.pvalue), replications=len(samples))


@dataclass(frozen=True, kw_only=True)
class Frequencies(Quantity):
    """How often each of some values comes, by the chi-square test: replications return lists of counts."""

    distribution: str

    shares: tuple[float, ...]
    """Of each value; they sum to 1."""

    observations: int = 100_000
    """How many there have to be in all."""

    def __post_init__(self) -> None:
        are_shares = all(share >= 0 for share in self.shares) and math.isclose(sum(self.shares), 1, abs_tol=1e-6)
        _check(self.name, "shares ≥ 0 that sum to 1", are_shares, f"{sum(self.shares):g} in all")
        _check(self.name, "observations of at least 1", self.observations >= 1, self.observations)

    def complaint(self, figure: Any) -> str | None:
        are_counts = _are_numbers(figure) and len(figure) == len(self.shares) and sum(figure) > 0
        return None if are_counts else f"a list of {len(self.shares)} counts, not all of them 0"

    def wanted(self, samples: Sequence[Any], rigor: Rigor) -> int:
        """Return how many it takes until there are so many observations; a tenth of them in the quick slice."""
        each = max(1, sum(sum(counts) for counts in samples) / len(samples))
        return max(1, math.ceil((self.observations if rigor.full else self.observations / 10) / each))

    def judge(self, samples: Sequence[Any], rigor: Rigor) -> Finding:
        """Compare the counts, those of which fewer than 5 are expected taken together."""
        from scipy.stats import chisquare

        counts = [sum(each) for each in zip(*samples, strict=True)]
        total = sum(counts)
        observed, expected = _merged(counts, [share * total for share in self.shares])
        # Those of one class alone are no chance, but what must never come may have come.
        never = sum(count for count, share in zip(counts, self.shares, strict=True) if share == 0)
        test = chisquare(observed, expected)
        p = test.pvalue if len(observed) > 1 else 1.0
        verdict = Verdict.HOLDS if p > rigor.alpha and not never else Verdict.DIFFERS
        measured = f"χ² {rounded(test.statistic)} of {len(observed) - 1}, p {rounded(p)}, of {total:,}"
        if never:
            measured += f", {never:,} of which never come"
        return Finding(self.distribution, measured, verdict, float(p), replications=len(samples))


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _check(name: str, wanted: str, holds: bool, got: object) -> None:
    if not holds:
        raise ConfigurationError([f"{name}: wanted {wanted}, got {got}"])


def _is_number(figure: Any) -> bool:
    return isinstance(figure, (int, float, np.number)) and math.isfinite(figure)


def _are_numbers(figure: Any) -> bool:
    return isinstance(figure, (list, tuple)) and len(figure) > 0 and all(map(_is_number, figure))


def _found(expected: str, verdict: Verdict, value: float, half_width: float, replications: int) -> Finding:
    measured = interval(value, half_width)
    return Finding(expected, measured, verdict, value, (value - half_width, value + half_width), replications)


# ── statistics ──────────────────────────────────────────────────────────────────────────────────────────────────


def _mean(samples: Sequence[float]) -> float:
    return float(np.mean(samples))


def _spread(samples: Sequence[float]) -> float:
    return float(np.std(samples, ddof=1))


def _t(alpha: float, count: int) -> float:
    return student_t(1 - alpha / 2, count - 1)


def _z(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


def _variance_interval(measured: float, count: int, alpha: float) -> tuple[float, float]:
    from scipy.stats import chi2

    squares = (count - 1) * measured
    return squares / chi2.ppf(1 - alpha / 2, count - 1), squares / chi2.ppf(alpha / 2, count - 1)


def _pooled(samples: Sequence[Any]) -> list[float]:
    return list(chain.from_iterable(sample if isinstance(sample, (list, tuple)) else [sample] for sample in samples))


def _merged(counts: Sequence[int], expected: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return both with neighbours taken together until at least 5 are expected of each."""
    observed_merged: list[float] = []
    expected_merged: list[float] = []
    observed_sum = expected_sum = 0.0
    for count, mean in zip(counts, expected, strict=True):
        observed_sum, expected_sum = observed_sum + count, expected_sum + mean
        if expected_sum >= 5:
            observed_merged.append(observed_sum)
            expected_merged.append(expected_sum)
            observed_sum = expected_sum = 0.0
    observed_merged[-1] += observed_sum
    expected_merged[-1] += expected_sum
    return observed_merged, expected_merged


def _equal(sample: Any, target: Any) -> bool:
    if isinstance(target, (list, tuple)):
        return (
            isinstance(sample, (list, tuple))
            and len(sample) == len(target)
            and all(_equal(one, other) for one, other in zip(sample, target, strict=True))
        )
    if isinstance(target, float) and isinstance(sample, (int, float)):
        return math.isclose(sample, target, rel_tol=_DETERMINISTIC)
    return bool(sample == target)


def rounded(value: float) -> str:
    """Return a number with two digits that count."""
    return plain_number(value, 2)


def interval(mean: float, half_width: float) -> str:
    """Return a mean and half its interval, both to the second digit of the latter that counts."""
    if half_width <= 1e-12 * abs(mean):  # what is left of equal floats
        return written(mean)
    decimals = max(0, 1 - math.floor(math.log10(half_width)))
    return f"{mean:,.{decimals}f} ± {half_width:,.{decimals}f}"


def bounds(value: float, low: float, high: float) -> str:
    """Return a number and its interval, which is not symmetric, all to the second digit of the width that counts."""
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 2))) if high > low else 0
    return f"{value:,.{decimals}f} ({low:,.{decimals}f} … {high:,.{decimals}f})"


def written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        shown = [written(each) for each in value]
        return ", ".join(shown if len(shown) <= 7 else [*shown[:3], "…", *shown[-3:]])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return plain_number(value, 7)
    return f"{value:,}" if isinstance(value, int) else str(value)
