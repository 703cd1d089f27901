"""How far a setting is from the bounds of the expectations, in the metrics' own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulation.experiments.paired import finite
from simulation.experiments.tuning.goal import Goal, distance, value_in
from simulation.running.executors import RunMetrics
from simulation.scenario import Expectation


@dataclass(frozen=True, slots=True)
class Margin:
    """How far some runs are from the bound of one expectation."""

    expectation: Expectation
    runs: int
    held: int
    """In how many of these it holds."""

    worst: float | None
    """The metric in the run that is nearest to the bound, or the furthest on the wrong side of it; infinite when it is
    never in a run, None when a run does not have it."""

    usual: float | None
    """The metric that is at least so good in the stated share of the runs; infinite when that is never, None when there
    is no such value."""

    median: float | None
    """The median of the metric over the runs; infinite when that is never, None when there is no such value."""

    never: int
    """In how many of the runs the metric is never."""

    @property
    def spare(self) -> float | None:
        """How far the stated share of the runs is inside of the bound, at least, in the metric's unit; less than 0
        outside of it."""
        return None if self.usual is None else distance(self.expectation, self.usual)

    @property
    def spare_at_worst(self) -> float | None:
        """The same of the worst run."""
        return None if self.worst is None else distance(self.expectation, self.worst)

    def relative(self, spare: float | None) -> float | None:
        """Return a distance as a share of the bound; None where that is 0, or the distance infinite."""
        if spare is None or not math.isfinite(spare) or not self.expectation.value:
            return None
        return spare / abs(self.expectation.value)

    @property
    def document(self) -> dict[str, Any]:
        """The margin as plain data; null stands for never too."""
        found = {
            "expectation": self.expectation.text,
            "held": self.held,
            "runs": self.runs,
            "worst": self.worst,
            "usual": self.usual,
            "median": self.median,
            "spare": self.spare,
            "relative": self.relative(self.spare),
            "spare_at_worst": self.spare_at_worst,
            "never": self.never,
        }
        return {name: finite(value) for name, value in found.items()}


def margins(goal: Goal, runs: Sequence[RunMetrics]) -> list[Margin]:
    """Return how far runs, at least one, are from the bound of each expectation."""
    return [_margin(expectation, goal.share_of(expectation), runs) for expectation in goal.expectations]


def _margin(expectation: Expectation, probability: float, runs: Sequence[RunMetrics]) -> Margin:
    values = [value_in(run, expectation) for run in runs]
    worst_first = sorted(values, key=lambda value: distance(expectation, value))
    worse = math.floor(len(runs) * (1 - probability) + 1e-9)
    return Margin(
        expectation,
        len(runs),
        sum(map(expectation.holds_of, values)),
        worst_first[0],
        worst_first[worse],
        worst_first[len(runs) // 2],
        values.count(math.inf),
    )
