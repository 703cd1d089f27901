"""Predictions of a future run, one in real time for instance: an interval for each metric.

::

    prediction = simulation.predict("scenarios/provider-outage.yaml", workers=None)
    live = await simulation.run_live("scenarios/provider-outage.yaml", providers)
    prediction.surprises(live.summary)  # [], or ["retry_amplification is 1.41, predicted 1.14 to 1.29"]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted, plain_number
from simulation.results.formatting import line
from simulation.running.executors import Task, figure_at
from simulation.running.replicates import checked_metrics, figures_of_runs
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_counts, seeds_of
from simulation.scenario.loading import given
from simulation.scenario.metrics import NEVER

CONFIDENCE = 0.99
METRICS = ("sent_fraction", "retry_amplification")
"""The metrics that are predicted by default, besides how often each breaker opens."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a metric is expected to be, both ends included; infinite where that may be never."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


def prediction_interval(values: Sequence[float], confidence: float = CONFIDENCE, figures: int = 1) -> Interval:
    """Return an interval that one more value, drawn as these were, is in with at least this probability.

    It goes from the j-th smallest to the j-th largest of the n values: as the new one is equally likely to have any of
    the n + 1 ranks among them, it is outside with a probability of at most 2 j / (n + 1), whatever the distribution,
    and less so where values are equal (Hahn and Meeker, *Statistical Intervals*, 5.4). The largest j that keeps this
    within (1 - confidence) / figures is taken.

    Args:
        values: of independent runs; at least :func:`replicates_needed`.
        confidence: more than 0 and less than 1.
        figures: how many metrics of one run are predicted, so that with this confidence none of them is outside
            (Bonferroni); at least 1.

    Raises:
        ValueError: there are too few values, or another argument is out of its range.
    """
    needed = replicates_needed(confidence, figures)
    if len(values) < needed:
        raise ValueError(f"wanted at least {needed} values, got {len(values)}")
    rank = math.floor((1 - _exact(confidence)) / figures * (len(values) + 1) / 2)
    ordered = sorted(values)
    return Interval(ordered[rank - 1], ordered[-rank])


def replicates_needed(confidence: float, figures: int = 1) -> int:
    """Return how many values it takes for a :func:`prediction_interval`.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < confidence < 1 or figures < 1:
        raise ValueError(f"wanted 0 < confidence < 1 and figures >= 1, got {confidence!r} and {figures!r}")
    return math.ceil(2 * figures / (1 - _exact(confidence))) - 1


def _exact(confidence: float) -> Fraction:
    """Return a confidence as it is written: 1 - 0.99 is to be a hundredth, or it takes one run more."""
    return Fraction(str(confidence))


class Prediction:
    """The prediction for one run: all its metrics together are in their intervals with the confidence given."""

    def __init__(self, scenario: Scenario, values: Mapping[str, Sequence[float]], confidence: float) -> None:
        self.scenario = scenario
        self.values = values
        """By metric, in each replicate; infinite where it is never."""
        self.confidence = confidence
        self.intervals = {metric: prediction_interval(of, confidence, len(values)) for metric, of in values.items()}

    def __repr__(self) -> str:
        count = len(next(iter(self.values.values())))
        facts = [counted(count, "run"), counted(len(self.values), "metric"), f"{self.confidence:.4g} confidence"]
        return line("Prediction", self.scenario.name, facts)

    def surprises(self, summary: Mapping[str, Any]) -> list[str]:
        """Return in words which metrics of a summary are not as predicted."""
        found = []
        for metric, interval in self.intervals.items():
            value = figure_at(summary, metric)
            if value not in interval:
                shown = "null" if value is None else _text(value)
                low, high = _text(interval.low), _text(interval.high)
                found.append(f"{metric} is {shown}, predicted {low} to {high}")
        return found


def _text(value: float) -> str:
    return NEVER if math.isinf(value) else plain_number(value, 6)


def predict(
    scenario: str | Path | Scenario,
    figures: Sequence[str] | None = None,
    *,
    confidence: float = CONFIDENCE,
    replicates: int | None = None,
    seed: int | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Simulate a scenario many times and return the prediction for one more run.

    Args:
        scenario: a file, or a scenario that has been loaded.
        figures: of the summary, by path; :data:`METRICS` and how often each breaker opens when None.
        confidence: with which all metrics of a run are in their intervals, if it goes as in the simulation.
        replicates: how many runs; as few as it takes when None.
        seed: of the first run, the others count up from it; the one after the scenario's own when None. A run to
            compare with needs random draws of its own, so another seed than these.
        sets: ``path=value`` changes to the file.
        workers: how many processes share the runs; all cores when None. A script that asks for more than one is
            imported by each, so what it does belongs under ``if __name__ == "__main__":``.
        progress: called with how many runs have finished, and of how many.

    Example:
        >>> prediction = simulation.predict(
        ...     "scenarios/flapping-provider.yaml", ["attempts"], confidence=0.9, sets=["duration=2m"]
        ... )
        >>> prediction.surprises({"attempts": 9_000})
        ['attempts is 9,000, predicted 2,357 to 2,532']

    Raises:
        ConfigurationError: the file or a metric cannot be used, or a metric is null in one of the runs; all problems.
        InvariantBreach: a run broke an invariant that always holds: a bug.
        ValueError: there are too few replicates, or arguments that do not go together.
    """
    scenario = given(scenario, sets)
    if figures is None:
        figures = [*METRICS, *(f"breaker.{name}.opened" for name in scenario.breakers)]
    paths = checked_metrics(figures, [scenario], "figures")
    needed = replicates_needed(confidence, len(paths))
    check_counts(replicates=replicates, workers=workers)
    replicates = needed if replicates is None else replicates
    if replicates < needed:
        raise ValueError(f"wanted at least {needed} replicates, got {replicates}")
    first = scenario.seed + 1 if seed is None else seed
    tasks = [Task(scenario, one, " ".join(sets)) for one in seeds_of(first, replicates)]
    rows = figures_of_runs(tasks, paths, workers, progress)
    return Prediction(scenario, _columns(paths, rows, first), confidence)


def _columns(paths: Sequence[str], rows: Sequence[Sequence[float | None]], first: int) -> dict[str, list[float]]:
    columns = {}
    problems = []
    for column, path in enumerate(paths):
        values = [row[column] for row in rows]
        if None in values:
            problems.append(f"figures {path}: has no value in the run with seed {first + values.index(None)}")
        columns[path] = [value for value in values if value is not None]
    if problems:
        raise ConfigurationError(problems)
    return columns
