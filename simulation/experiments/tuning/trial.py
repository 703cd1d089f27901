"""A setting on trial, with its runs, and which of several are best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from simulation.experiments.paired import mean
from simulation.experiments.tuning.goal import Goal, Objective
from simulation.running.executors import RunMetrics
from simulation.running.sequential_test import Decision, hopeless
from simulation.scenario import Scenario
from simulation.scenario.variations import Setting

COMMON_RUNS = 2
"""So many runs each setting has that is not given up at once; the others only where it looks best."""

Costs: TypeAlias = "tuple[float, ...]"
"""The mean of each objective's metric, with its sign turned where it is to be large: less is better."""


class Trial:
    """A setting of the space that is searched, or the file's own."""

    def __init__(
        self,
        number: int,
        setting: Setting,
        scenario: Scenario,
        goal: Goal,
        reference: Reference | None = None,
        *,
        in_space: bool = True,
    ) -> None:
        self.number = number
        """0 is the file's own settings; the others in the order in which they were tried."""
        self.setting = setting
        self.scenario = scenario
        self.goal = goal
        self.reference = Reference(self) if reference is None else reference
        self.in_space = in_space
        """Whether it may be chosen: the file's own may lie outside of what is searched."""
        self.searched: list[RunMetrics] = []
        """Its runs in the search, with the seeds from the first one on; see :meth:`add`."""
        self._failed = [0] * len(goal.parts)
        """In how many of these each part of the goal did not hold."""
        self.given_up = False
        """Whether it failed too often to be worth more runs, or the metric of an objective was never in one."""
        self.fresh: list[RunMetrics] = []
        """Its runs with fresh seeds, which the search has not seen, from the first of these on."""
        self.decision: Decision | None = None
        """The decision after the fresh runs; None when there are none, or not enough."""
        self.plans: list[tuple[int, ...]] = []
        """After how many fresh runs each part of the goal is confirmed in which none, one or two of them failed; empty
        until it is judged. See :func:`simulation.running.sequential_test.plan`."""

    @property
    def is_baseline(self) -> bool:
        """Whether it is the file's own settings."""
        return self.number == 0

    @property
    def label(self) -> str:
        """As it is displayed."""
        return "the file's own" if self.is_baseline else self.setting.label

    def add(self, runs: Sequence[RunMetrics]) -> None:
        """Take in runs of the search, with the next seeds."""
        parts = self.goal.parts
        for run in runs:
            self.searched.append(run)
            self.given_up = self.given_up or self.goal.is_never(run)
            for place, part in enumerate(parts):
                self._failed[place] += not part.holds(run)
                self.given_up = self.given_up or hopeless(
                    self._failed[place], len(self.searched), part.probability, self.goal.replicates
                )

    @property
    def is_never(self) -> bool:
        """Whether the metric of an objective was never in one of its runs: then it is not chosen."""
        return any(self.goal.is_never(run) for run in (*self.searched, *self.fresh))

    @property
    def costs(self) -> Costs | None:
        """What it costs, as far as the search has seen; None when it has no :meth:`cost` in an objective."""
        return _known([self.cost(objective) for objective in self.goal.objectives])

    def cost(self, objective: Objective) -> float | None:
        """Return what it costs in one objective; None when a run of it has no such metric, or one that is never, or
        none has finished.

        The mean of the reference over all its seeds, and by how much this one differs from it on the seeds that both
        met: so settings with few runs compare with those that have many (a *control variate*: Law, *Simulation Modeling
        and Analysis*, 11.4). No trial has more runs than the reference.
        """
        cost, reference = _mean_cost(objective, self.searched), self.reference.trial.searched
        if cost is None or len(self.searched) >= len(reference):
            return cost
        whole, part = (_mean_cost(objective, runs) for runs in (reference, reference[: len(self.searched)]))
        return cost if whole is None or part is None else cost + (whole - part)

    def fresh_costs(self, count: int) -> Costs | None:
        """Return the mean costs of its first so many fresh runs; None when one of these has no such metric."""
        return _known([_mean_cost(objective, self.fresh[:count]) for objective in self.goal.objectives])

    @property
    def shortfall(self) -> float:
        """How far it is from meeting the expectations, on average over its runs."""
        return mean([self.goal.shortfall(run) for run in (*self.searched, *self.fresh)]) or 0.0

    @property
    def spare(self) -> float:
        """How far it is inside of the bound that it comes nearest to, from -1 to 1, in the worse one of its first runs.

        More runs would bring worse ones, and a setting with more of them would come behind one with few.
        """
        return min((self.goal.spare(run) for run in self.searched[:COMMON_RUNS]), default=-1.0)


def _mean_cost(objective: Objective, runs: Sequence[RunMetrics]) -> float | None:
    """Return the mean cost of runs; None when one has no such metric, or one that is never, or there is none."""
    costs = [cost for run in runs if (cost := objective.cost(run)) is not None]
    return math.fsum(costs) / len(costs) if costs and len(costs) == len(runs) else None


def _known(costs: Sequence[float | None]) -> Costs | None:
    """Return costs if all of them are known, else None."""
    known = tuple(cost for cost in costs if cost is not None)
    return known if len(known) == len(costs) else None


class Reference:
    """The trial that others with fewer runs are measured by: of those that have most runs the best one, which is the
    nearest to the others."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial


def best(trials: Iterable[Trial]) -> list[Trial]:
    """Return those that no other is better than, the Pareto set; with one objective the best one alone.

    One is better than another when it costs no more in any objective; of two with equal costs, the one with more to
    spare, and then the one that was tried first. Trials without a cost are left out.
    """
    return _best(_ordered(trials))


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials in order: the best, then those that would be best without these, and so on (*non-dominated
    sorting*: Deb and others, *IEEE Transactions on Evolutionary Computation* 6, 2002)."""
    left, found = _ordered(trials), []
    while left:
        first = _best(left)
        found += first
        left = [trial for trial in left if trial not in first]
    return found


def nearest(trials: Iterable[Trial]) -> Trial:
    """Return the one that comes nearest to meeting the expectations, of those that may be chosen and have runs.

    The file's own settings, which come first, when there is none.
    """
    first, *others = trials
    tried = [trial for trial in (first, *others) if trial.in_space and trial.searched]
    # With fresh runs it comes further from them, and would be passed by one that has none.
    tried = [trial for trial in tried if trial.fresh] or tried
    return min(tried or [first], key=lambda trial: (trial.shortfall, trial.number))


def no_worse(costs: Costs | None, others: Costs | None) -> bool:
    """Return whether some costs are at most the others, each of them."""
    if costs is None or others is None:
        return costs is not None
    return all(cost <= other for cost, other in zip(costs, others, strict=True))


def _ordered(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials so that none is better than one before it."""
    with_costs = [(trial.costs, -trial.spare, trial.number, trial) for trial in trials if trial.costs is not None]
    return [trial for *_, trial in sorted(with_costs, key=lambda entry: entry[:3])]


def _best(ordered: list[Trial]) -> list[Trial]:
    found: list[Trial] = []
    for trial in ordered:
        if not any(no_worse(other.costs, trial.costs) for other in found):
            found.append(trial)
            if len(trial.goal.objectives) == 1:
                break
    return found
