"""The goal of a search: metrics to make small or large, among the settings that meet the expectations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from simulation.experiments.paired import finite
from simulation.running.executors import RunMetrics
from simulation.running.replicates import kinds_of_metrics
from simulation.scenario import Expectation, Scenario
from simulation.scenario.arguments import check_texts
from simulation.scenario.metrics import path_of


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
        """How far the stated share of the runs stays inside of the bound, in the metric's unit; less than 0 outside of
        it."""
        return None if self.usual is None else distance(self.expectation, self.usual)

    @property
    def spare_at_worst(self) -> float | None:
        """How far the worst run stays inside of the bound, in the metric's unit; less than 0 outside of it."""
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


PROBABILITY_MAX = 0.999

DEFAULT_METRIC = "requests"
"""The metric that is minimized by default: the load on the providers."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric of the summary whose mean over the runs is to be small, or large, and in no run never."""

    metric: str
    """By its path, such as ``dlq.peak``."""

    maximize: bool = False

    @property
    def text(self) -> str:
        """As it is displayed: ``smallest requests``."""
        return f"{'largest' if self.maximize else 'smallest'} {self.metric}"

    def cost(self, run: RunMetrics) -> float | None:
        """Return the metric of a run, with its sign turned where it is to be large; None where the run has none, or it
        is never."""
        value = run.figures.get(self.metric)
        if value is None or value == math.inf:
            return None
        return -value if self.maximize else value

    def is_never(self, run: RunMetrics) -> bool:
        return run.figures.get(self.metric) == math.inf

    def value(self, cost: float) -> float:
        return -cost if self.maximize else cost


@dataclass(frozen=True, slots=True)
class Part:
    """Expectations that are to hold together in a share of runs."""

    expectations: tuple[Expectation, ...]
    probability: float
    """The share; more than 0 and less than 1."""

    def holds(self, run: RunMetrics) -> bool:
        """Return whether a run is within all their bounds."""
        return all(expectation.holds_of(value_in(run, expectation)) for expectation in self.expectations)


@dataclass(frozen=True, slots=True)
class Goal:
    objectives: tuple[Objective, ...]
    expectations: tuple[Expectation, ...]
    probability: float
    """With which all expectations are to hold in a run that have no share of their own; more than 0, less than 1."""

    confidence: float
    """With which that is to be shown; more than 0 and less than 1."""

    replicates: int
    """The most seeds of the search that each setting meets."""

    @property
    def parts(self) -> list[Part]:
        """The parts of the goal, shown separately; first all expectations without a share of their own."""
        together = tuple(expectation for expectation in self.expectations if expectation.share is None)
        alone = [Part((each,), each.share) for each in self.expectations if each.share is not None]
        return [Part(together, self.probability), *alone] if together else alone

    def share_of(self, expectation: Expectation) -> float:
        return self.probability if expectation.share is None else expectation.share

    def holds(self, run: RunMetrics) -> bool:
        """Return whether a run is within the bounds of all expectations."""
        return all(expectation.holds_of(value_in(run, expectation)) for expectation in self.expectations)

    def is_never(self, run: RunMetrics) -> bool:
        """Return whether the metric of an objective is never in a run: one such run, and the setting cannot win."""
        return any(objective.is_never(run) for objective in self.objectives)

    def shortfall(self, run: RunMetrics) -> float:
        """Return how far a run is from meeting the expectations, from 0 to their number: for each that does not hold
        one half, and up to one half for its distance. For each objective whose metric is never, 1 more."""
        return sum(objective.is_never(run) for objective in self.objectives) + math.fsum(
            0.5 + 0.5 * _squashed(-distance(expectation, value_in(run, expectation)), expectation.value)
            for expectation in self.expectations
            if not expectation.holds_of(value_in(run, expectation))
        )

    def spare(self, run: RunMetrics) -> float:
        """Return how far a run is inside of the bound that it comes nearest to, as a share of 1."""
        return min(
            (
                _squashed(distance(expectation, value_in(run, expectation)), expectation.value)
                for expectation in self.expectations
            ),
            default=1.0,
        )


def goal(
    scenario: Scenario,
    others: Sequence[Scenario],
    minimize: Sequence[str],
    maximize: Sequence[str],
    *,
    probability: float,
    confidence: float,
    replicates: int,
) -> Goal:
    """Return the goal of a search in a scenario; each metric exists in it, or in one of the others that it may become.

    Raises:
        ConfigurationError: there is no such metric, or it comes twice, or there is nothing to search for.
    """
    problems: list[str] = []
    objectives: dict[str, Objective] = {}
    for name, paths, is_maximized in (("--minimize", minimize, False), ("--maximize", maximize, True)):
        if not paths:
            continue
        try:
            check_texts(name, paths, "sent_fraction")
            for path in kinds_of_metrics(paths, [scenario, *others], name):
                if path in objectives:
                    problems.append(f"{name} {path}: wanted a metric either small or large, got both")
                objectives[path] = Objective(path, is_maximized)
        except ConfigurationError as error:
            problems += error.problems
    if not scenario.expect and not (minimize or maximize):
        problems.append(
            f"{scenario.name}: wanted expectations to be met, such as --set 'expect=[dead_lettered <= 10]', got none"
        )
    problems += [
        f"{scenario.name}: wanted expectations of at most {PROBABILITY_MAX:.1%} of runs in a search, got {each.text}"
        for each in scenario.expect
        if each.share is not None and each.share > PROBABILITY_MAX
    ]
    if problems:
        raise ConfigurationError(problems)
    return Goal(
        tuple(objectives.values()) or (Objective(DEFAULT_METRIC),), scenario.expect, probability, confidence, replicates
    )


def value_in(run: RunMetrics, expectation: Expectation) -> float | None:
    """Return the metric that an expectation is about, in a run; None where the run has none, infinite if never."""
    return run.figures.get(path_of(expectation.path))


def distance(expectation: Expectation, value: float | None) -> float:
    """Return how far a metric is from the bound of an expectation, in the metric's unit: more than 0 on the side where
    it holds, less on the other. A metric that the run does not have, or that is never, is infinitely far off."""
    if value is None or value == math.inf:
        return -math.inf
    if expectation.op in ("<=", "<"):
        return expectation.value - value
    if expectation.op in (">=", ">"):
        return value - expectation.value
    return abs(value - expectation.value) if expectation.op == "!=" else -abs(value - expectation.value)


def _squashed(distance: float, bound: float) -> float:
    """Return a distance relative to the bound it is from, so that 0 to infinity becomes 0 to 1."""
    if math.isinf(distance):
        return math.copysign(1.0, distance)
    return distance / (abs(distance) + (abs(bound) or 1.0))
