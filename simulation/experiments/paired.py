"""Means and medians with their intervals, and differences between runs that had the same seeds.

A metric that may be never, as a quantile of delivery times, has a median over runs, and the number of runs in which it
was never. Never is infinite: longer than any time, and as long as itself.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol

from pydantic_core import PydanticCustomError

from actors.errors import ConfigurationError
from simulation.results.formatting import metric_text
from simulation.results.statistics import student_t
from simulation.scenario import Scenario
from simulation.scenario.expectations import Expectation
from simulation.scenario.metrics import MetricKind, kind_of, metric_kind, path_of, summary_shape

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two settings in a metric, run by run with the same seed.

    It is the mean of the differences. If a metric is never in one run of a pair there is no mean; then it is the
    median, with the interval of the sign test.
    """

    pairs: int
    """Seeds with which both settings have the metric."""

    more: int
    """In how many pairs the metric is larger than the baseline's; never is larger than any time."""

    less: int
    """In how many pairs it is smaller; in the others both are equal, as they are where both are never."""

    mean: float | None
    """None where one of a pair is never."""

    half_width: float | None
    """Half the width of the confidence interval of the mean, which is the mean plus and minus this. None: there is no
    mean, or there are fewer than two pairs."""

    median: float | None = None
    """Where one of a pair is never: the median, infinite if it is of a pair with never on one side, and None between
    one with never on the one side and one on the other. None too where there is a mean."""

    ends: tuple[float, float] | None = None
    """Where the confidence interval of the median begins and ends. None: there is a mean, or fewer than six pairs."""

    @property
    def value(self) -> float | None:
        return self.median if self.mean is None else self.mean

    @property
    def low(self) -> float | None:
        """Where the confidence interval begins; None with too few pairs."""
        if self.mean is None:
            return None if self.ends is None else self.ends[0]
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Where the confidence interval ends; None with too few pairs."""
        if self.mean is None:
            return None if self.ends is None else self.ends[1]
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def excludes_0(self) -> bool:
        """Whether the settings differ by more than chance explains: the interval is to one side of 0.

        Of a median this is the exact two-sided sign test, in which equal pairs count against a difference.
        """
        if self.mean is None:
            return self.ends is not None and (self.ends[0] > 0 or self.ends[1] < 0)
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def document(self) -> dict[str, Any]:
        """The difference as plain data; an infinite value is null."""
        found = {"pairs": self.pairs, "mean": self.mean, "low": self.low, "high": self.high}
        if self.mean is None:
            found |= {"median": self.median, "more": self.more, "less": self.less}
        return {name: finite(value) for name, value in found.items()}


class OverRuns(NamedTuple):
    """A metric over runs of one setting. NaN: the runs are too few."""

    n: int
    """Runs that have the metric."""

    never: int
    """In how many of them it is never."""

    mean: float
    """NaN where the metric may be never, unless it is asked for."""

    median: float
    """Where the metric may be never, and NaN where it may not; infinite if it is never itself."""

    sd: float
    """NaN where it is never in a run."""

    low: float
    """Where the 95% confidence interval of the mean, or of the median, begins."""

    high: float
    """Where it ends; infinite where that may be never."""

    @property
    def middle(self) -> float | None:
        """The mean or the median; None: no run has the metric."""
        value = self.median if math.isnan(self.mean) else self.mean
        return None if math.isnan(value) else value


def over_runs(path: str, values: Sequence[float | None], *, by_mean: bool = False) -> OverRuns:
    """Return the summary of a metric over runs: the median of a metric that may be never, and the mean of any other.

    Args:
        path: the metric, such as ``delivery_time_s.p99``.
        values: its value in each run; None where the run has none.
        by_mean: take the mean even of a metric that may be never, as it is in none of the runs.
    """
    known = [value for value in values if value is not None]
    never = known.count(math.inf)
    if kind_of(path) is not MetricKind.QUANTILE:
        middle, sd, low, high = mean_interval(known)
        return OverRuns(len(known), 0, middle, math.nan, sd, low, high)
    middle, low, high = median_interval(known)
    mean_of, sd, *ends = (math.nan,) * 4 if never else mean_interval(known)
    if by_mean:
        return OverRuns(len(known), never, mean_of, middle, sd, *ends)
    return OverRuns(len(known), never, math.nan, middle, sd, low, high)


def finite(value: Any) -> Any:
    """Return a value for a JSON document: None in place of a number that is infinite, or not known."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None, or None if there is none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def mean_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the mean of some values, their standard deviation, and the ends of the mean's confidence interval.

    The interval is by Student's t. NaN: the values are too few.
    """
    middle, count = mean(values), len(values)
    if middle is None or count == 1:
        return (math.nan if middle is None else middle), math.nan, math.nan, math.nan
    if len(set(values)) == 1:
        return values[0], 0.0, values[0], values[0]  # without the rounding that the mean would add
    sd = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (count - 1))
    half_width = _t(count - 1) * sd / math.sqrt(count)
    return middle, sd, middle - half_width, middle + half_width


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of some values, any of which may be infinite, and the ends of its confidence interval.

    The median of an even number is half way between the two values in the middle, and infinite where one of these is.
    The interval goes from the k-th smallest to the k-th largest, with the largest k for which so few of n values are
    below the median in at most 2.5% of cases: whatever the distribution (David and Nagaraja, *Order Statistics*, 7.1).
    It takes six values. With fewer, the ends are NaN.
    """
    if not values:
        return math.nan, math.nan, math.nan
    ordered = sorted(values)
    rank = _rank_of_median(len(ordered))
    ends = (ordered[rank - 1], ordered[-rank]) if rank else (math.nan, math.nan)
    return statistics.median(ordered), *ends


def share_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the share of ones among values that are 0 or 1, their standard deviation, and Wilson's score interval.

    It never leaves 0 to 1, and has a width also where all are equal (Wilson, *JASA* 22, 1927).
    """
    from scipy.stats import binomtest

    share, sd, _, _ = mean_interval(values)
    count = len(values)
    if count < 2:
        return share, math.nan, math.nan, math.nan
    found = binomtest(round(math.fsum(values)), count).proportion_ci(CONFIDENCE, "wilson")
    return share, sd, float(found.low), float(found.high)


@cache
def _t(degrees: int) -> float:
    return student_t((1 + CONFIDENCE) / 2, degrees)


@cache
def _rank_of_median(count: int) -> int:
    """Return the k of :func:`median_interval`; 0: there are too few values."""
    from scipy.special import bdtr, bdtrik

    error = (1 - CONFIDENCE) / 2
    rank = math.floor(float(bdtrik(error, count, 0.5))) + 1
    return rank if float(bdtr(rank - 1, count, 0.5)) <= error else rank - 1


def difference(
    values: Sequence[float | None], baseline: Sequence[float | None], *, by_median: bool = False
) -> Difference | None:
    """Return the difference of `values` and `baseline`, pair by pair; None if no pair has both.

    The interval is mean ± t · s / √n, with the standard deviation s of the n differences and the quantile t of
    Student's t for n - 1 degrees of freedom (Law, *Simulation Modeling and Analysis*, 10.2.1: the paired-t interval).
    An effect of the seeds on both settings cancels out in a difference, so it is narrower than one from independent
    runs.

    Where one of a pair is never, the difference is infinite, and of both it is 0. Then, and `by_median`, it is the
    median instead, with the interval of :func:`median_interval`: 0 is outside of it where the sign test tells the
    settings apart (Dixon and Mood, *The Statistical Sign Test*, JASA 41, 1946).
    """
    pairs = zip(values, baseline, strict=True)
    both = [(value, base) for value, base in pairs if value is not None and base is not None]
    if not both:
        return None
    differences = [0.0 if value == base else value - base for value, base in both]
    count, more, less = len(both), sum(one > 0 for one in differences), sum(one < 0 for one in differences)
    if by_median or any(math.inf in pair for pair in both):
        median, low, high = median_interval(differences)
        ends = None if math.isnan(low) else (low, high)
        return Difference(count, more, less, None, None, None if math.isnan(median) else median, ends)
    middle = math.fsum(differences) / count
    if count == 1:
        return Difference(1, more, less, middle, None)
    if len(set(differences)) == 1:
        return Difference(count, more, less, differences[0], 0.0)  # without the rounding that the mean would add
    variance = math.fsum((value - middle) ** 2 for value in differences) / (count - 1)
    return Difference(count, more, less, middle, _t(count - 1) * math.sqrt(variance / count))


def pairs_text(found: Difference) -> str:
    """Return in how many pairs a metric is more, and in how many less: ``12 more, 3 less``."""
    return f"{found.more:,} more, {found.less:,} less"


# ── how narrow intervals have to be ───────────────────────────────────────────────────────────────────────────────────


FIRST_LOOK = 10
"""Runs before the first look."""


class Interval(Protocol):
    """A confidence interval; an end that is not known of so few runs is None or NaN."""

    @property
    def low(self) -> float | None:
        """Where it begins."""

    @property
    def high(self) -> float | None:
        """Where it ends."""


@dataclass(frozen=True)
class Precision:
    """By the path of a metric, half the width that its confidence intervals may have at most; of none: any.

    The half-width of the 95% interval is looked at after ten runs, and then each time after half as many again. That
    looks at the width and not at the mean, so that the interval keeps its confidence as the width wanted becomes small
    (Chow and Robbins, *On the Asymptotic Theory of Fixed-Width Sequential Confidence Intervals for the Mean*, Annals of
    Mathematical Statistics 36, 1965); ten runs and few looks keep it near 95% where it is not.
    """

    half_widths: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, within: Mapping[str, float | str] | None, scenarios: Sequence[Scenario], name: str) -> Precision:
        """Return the precision that is wanted.

        Args:
            within: by the path of a metric, half the width: 0.001, ``0.1%``, ``2s``.
            scenarios: the scenarios whose summaries must have the metrics.
            name: the name of the option or the argument, for the error.

        Raises:
            ConfigurationError: one is no metric of them all, or no width above 0; all problems.
        """
        half_widths, problems = {}, []
        for path, width in (within or {}).items():
            try:
                bound = Expectation.parse(f"{path} <= {width}")
            except PydanticCustomError:
                problems.append(
                    f"{name}: wanted a metric and half a width such as sent_fraction=0.1%, got {path}={width}"
                )
                continue
            if 0 < bound.value < math.inf:
                shapes = [summary_shape(scenario.outline) for scenario in scenarios]
                found = [problem for shape in shapes if (problem := bound.problem(shape)) is not None]
            else:
                found = [f"wanted half a width above 0, got {width}"]
            problems += [f"{name} {path}: {problem}" for problem in found]
            half_widths[path_of(bound.path)] = bound.value
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))
        return cls(half_widths)

    def looks(self, most: int) -> Iterator[int]:
        """Yield after how many runs to look: at last after the most there may be; only then where any width will do."""
        count = FIRST_LOOK if self.half_widths else most
        while count < most:
            yield count
            count += math.ceil(count / 2)
        yield most

    def too_wide(self, intervals: Mapping[str, Iterable[Interval | None]]) -> dict[str, float]:
        """Return the metrics with an interval that is too wide, and half of its width; infinite: it is not known."""
        widest = {metric: max(map(half_width, intervals[metric]), default=0.0) for metric in self.half_widths}
        return {metric: width for metric, width in widest.items() if not width <= self.half_widths[metric]}

    def words(self, too_wide: Mapping[str, float], scenario: Scenario, runs: int) -> list[str]:
        """Return a line for each metric whose intervals are still too wide."""
        lines = []
        for metric, width in too_wide.items():
            kind = metric_kind(scenario.outline, metric)
            is_known = math.isfinite(width)
            got = f"it is ± {metric_text(width, kind)}" if is_known else "it has no end"
            wanted = metric_text(self.half_widths[metric], kind)
            lines.append(f"{metric}: wanted an interval of ± {wanted} at most; after {runs} runs {got}")
        return lines


def half_width(interval: Interval | None) -> float:
    """Return half the width of an interval; infinite: there is none, or it has no end."""
    if interval is None or interval.low is None or interval.high is None:
        return math.inf
    half = (interval.high - interval.low) / 2
    return half if math.isfinite(half) else math.inf
