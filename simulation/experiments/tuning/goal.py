"""What is searched for: figures to make small or large, among the settings that meet the expectations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from actors.errors import ConfigurationError
from simulation.running.executors import RunMetrics
from simulation.running.replicates import kinds_of_metrics
from simulation.scenario import Expectation, Scenario
from simulation.scenario.arguments import check_texts

DEFAULT_FIGURE = "requests"
"""What is made small unless it is said otherwise: what the providers have to bear."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure of the summary whose mean over the runs is to be small, or large."""

    figure: str
    """By its path, such as ``dlq.peak``."""

    maximize: bool = False

    @property
    def text(self) -> str:
        """For people: ``smallest requests``."""
        return f"{'largest' if self.maximize else 'smallest'} {self.figure}"

    def cost(self, run: RunMetrics) -> float | None:
        """Return the figure of a run, with its sign turned where it is to be large; None where it is of nothing."""
        value = run.figures.get(self.figure)
        return -value if self.maximize and value is not None else value

    def value(self, cost: float) -> float:
        """Return the figure of a cost."""
        return -cost if self.maximize else cost


@dataclass(frozen=True, slots=True)
class Goal:
    """What is searched for."""

    objectives: tuple[Objective, ...]
    expectations: tuple[Expectation, ...]
    probability: float
    """With which all expectations are to hold in a run; more than 0 and less than 1."""

    confidence: float
    """With which that is to be shown; more than 0 and less than 1."""

    replicates: int
    """How many seeds of the search each setting meets at most."""

    def holds(self, run: RunMetrics) -> bool:
        """Return whether all expectations hold in a run."""
        return all(expectation.holds_of(value_in(run, expectation)) for expectation in self.expectations)

    def shortfall(self, run: RunMetrics) -> float:
        """Return how far a run is from meeting the expectations, from 0 to their number: for each that does not hold
        one half, and up to one half for its distance."""
        return math.fsum(
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
    """Return what is searched for in a scenario; each figure is one of it, or of one of the others that it may become.

    Raises:
        ConfigurationError: a figure is none, or comes twice, or nothing is said of what to search for.
    """
    problems: list[str] = []
    figures: dict[str, Objective] = {}
    for name, paths, is_maximized in (("--minimize", minimize, False), ("--maximize", maximize, True)):
        if not paths:
            continue
        try:
            check_texts(name, paths, "sent_fraction")
            for path in kinds_of_metrics(paths, [scenario, *others], name):
                if path in figures:
                    problems.append(f"{name} {path}: wanted a figure either small or large, got both")
                figures[path] = Objective(path, is_maximized)
        except ConfigurationError as error:
            problems += error.problems
    if not scenario.expect and not (minimize or maximize):
        problems.append(
            f"{scenario.name}: wanted expectations to be met, such as --set 'expect=[dead_lettered <= 10]', got none"
        )
    if problems:
        raise ConfigurationError(problems)
    return Goal(
        tuple(figures.values()) or (Objective(DEFAULT_FIGURE),), scenario.expect, probability, confidence, replicates
    )


def value_in(run: RunMetrics, expectation: Expectation) -> float | None:
    """Return the figure that an expectation is about, in a run; None where it is of nothing."""
    return run.figures.get(".".join(expectation.path))


def distance(expectation: Expectation, value: float | None) -> float:
    """Return how far a figure is from the bound of an expectation, in the figure's unit: more than 0 on the side where
    it holds, less on the other. A figure of nothing is infinitely far off."""
    if value is None:
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
