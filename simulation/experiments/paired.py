"""Means with their intervals, and differences between runs that had the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulation.results.statistics import student_t

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of the differences between two settings, run by run with the same seed."""

    pairs: int
    """Seeds with which both settings have the metric."""

    mean: float
    half_width: float | None
    """Half the width of the confidence interval, which is the mean plus and minus this. None: fewer than two pairs."""

    @property
    def low(self) -> float | None:
        """Where the confidence interval begins; None with fewer than two pairs."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Where the confidence interval ends; None with fewer than two pairs."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def excludes_0(self) -> bool:
        """Whether the settings differ by more than chance explains: the interval is to one side of 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def document(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {"pairs": self.pairs, "mean": self.mean, "low": self.low, "high": self.high}


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those that are not None, or None if there is none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def mean_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the mean of some values, their standard deviation, and the ends of the mean's confidence interval.

    The interval is that of Student's t. What is not known of so few values is NaN.
    """
    middle, count = mean(values), len(values)
    if middle is None or count == 1:
        return (math.nan if middle is None else middle), math.nan, math.nan, math.nan
    if len(set(values)) == 1:
        return values[0], 0.0, values[0], values[0]  # without the rounding that the mean would add
    sd = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (count - 1))
    half_width = _t(count - 1) * sd / math.sqrt(count)
    return middle, sd, middle - half_width, middle + half_width


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


def difference(values: Sequence[float | None], baseline: Sequence[float | None]) -> Difference | None:
    """Return the mean of `values` minus `baseline`, pair by pair; None if no pair has both.

    The interval is mean ± t · s / √n, with the standard deviation s of the n differences and the quantile t of
    Student's t for n - 1 degrees of freedom (Law, *Simulation Modeling and Analysis*, 10.2.1: the paired-t interval).
    What the seeds do to both settings alike cancels out in a difference, so it is narrower than one from independent
    runs.
    """
    pairs = zip(values, baseline, strict=True)
    differences = [value - base for value, base in pairs if value is not None and base is not None]
    count = len(differences)
    if not count:
        return None
    middle = math.fsum(differences) / count
    if count == 1:
        return Difference(1, middle, None)
    if len(set(differences)) == 1:
        return Difference(count, differences[0], 0.0)  # without the rounding that the mean would add
    variance = math.fsum((value - middle) ** 2 for value in differences) / (count - 1)
    return Difference(count, middle, _t(count - 1) * math.sqrt(variance / count))
