"""Means, and differences between runs that had the same luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.student_t import quantile

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of the differences between two settings, run by run with the same seed."""

    pairs: int
    """Seeds with which both settings have the figure."""

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
        """Whether the settings differ by more than luck explains: the interval is to one side of 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those that are not None, or None if there is none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def difference(values: Sequence[float | None], baseline: Sequence[float | None]) -> Difference | None:
    """Return the mean of `values` minus `baseline`, pair by pair; None if no pair has both.

    The interval is mean ± t · s / √n, with the standard deviation s of the n differences and the quantile t of
    Student's t for n - 1 degrees of freedom (Law, *Simulation Modeling and Analysis*, 10.2.1: the paired-t interval).
    What luck does to both settings alike cancels out in a difference, so it is narrower than one from independent runs.
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
    t = quantile((1 + CONFIDENCE) / 2, count - 1)
    return Difference(count, middle, t * math.sqrt(variance / count))
