"""A setting on trial, with its runs, and which of several are best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, TypeAlias

from simulation.experiments.paired import mean
from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.tuning.goal import Goal, Objective
from simulation.results.progress import FinishedCell, RunsProgress
from simulation.running.executors import Executor, RunMetrics, Task, scenario_hash
from simulation.running.sequential_test import Decision, hopeless
from simulation.scenario import Scenario
from simulation.scenario.space import Setting


class Bench:
    """Does runs, each only once. Which runs are done, and in which order trials get them, does not depend on the
    process that does them."""

    def __init__(
        self,
        executor: Executor,
        first_seed: int,
        replicates: int,
        journal: Journal | None,
        progress: RunsProgress | None,
    ) -> None:
        self.first_seed = first_seed
        self.first_fresh_seed = first_seed + replicates
        """The first seed that the search does not see."""
        self.finished = 0
        self.ahead = 0
        """The estimate of the runs to come, besides those that have been requested."""
        self._open: dict[Trial, _InOrder] = {}
        """The latest requests: the runs of each trial, taken in order."""
        self._executor = executor
        self._journal = journal
        self._progress = progress

    def search(self, wanted: Iterable[tuple[Trial, int]]) -> None:
        """Do runs until each trial has its number of runs in the search; after an interrupt, the finished runs count.

        A trial that is given up gets no further runs, and loses those behind the run that decided it: so its runs do
        not depend on how many are done at once. The file's own settings get all requested runs: others are compared
        with them.
        """

        def take(trial: Trial, run: RunMetrics) -> bool:
            already = trial.given_up or trial.is_baseline
            trial.add([run])
            if trial.in_space and not trial.given_up and self._is_complete(trial):
                self._tell(self._left, _cell(trial))
            return already or not trial.given_up

        self._do([(trial, range(len(trial.searched), count)) for trial, count in wanted], self.first_seed, take)

    def freshly(
        self, wanted: Iterable[tuple[Trial, int]], is_clear: Callable[[RunMetrics], bool] | None = None
    ) -> None:
        """Do runs until each trial has at least so many with fresh seeds.

        Args:
            wanted: the trials.
            is_clear: called with each run of a trial in order; returns whether more would change nothing.
        """
        places = [(trial, range(len(trial.fresh), count)) for trial, count in wanted]
        taken: dict[Trial, list[RunMetrics]] = {trial: [] for trial, _ in places}
        clear: set[Trial] = set()

        def take(trial: Trial, run: RunMetrics) -> bool:
            taken[trial].append(run)
            if is_clear is not None and is_clear(run):
                clear.add(trial)
            return trial not in clear

        try:
            self._do(places, self.first_fresh_seed, take)
        finally:
            for trial, seeds in places:
                # A few of those that were planned decide nothing, and would hide those of the search.
                if trial in clear or len(taken[trial]) == len(seeds):
                    trial.fresh += taken[trial]

    def _do(
        self, places: Sequence[tuple[Trial, range]], first_seed: int, take: Callable[[Trial, RunMetrics], bool]
    ) -> None:
        """Do runs by their place among the seeds, and give them to each trial in order, each as soon as the earlier
        ones are done, until `take` returns that the trial wants no more; the rest is not begun.

        When it is interrupted, the trial has taken the runs up to the first one that has not finished.
        """
        hashes = {} if self._journal is None else {trial: scenario_hash(trial.scenario) for trial, _ in places}
        open_runs = {trial: _InOrder(seeds) for trial, seeds in places}

        def finish(trial: Trial, place: int, run: RunMetrics) -> None:
            self.finished += 1
            runs = open_runs[trial]
            runs.finished[place] = run
            while runs.wants_more and (next_run := runs.finished.get(runs.next_place)) is not None:
                runs.next_place += 1
                runs.wants_more = take(trial, next_run)

        if self._journal is not None:
            for trial, seeds in places:
                for place in seeds:
                    run = self._journal.kept(trial.scenario, hashes[trial], first_seed + place)
                    if run is not None:
                        finish(trial, place, run)
        begun: list[tuple[Trial, int]] = []

        def tasks() -> Iterator[Task]:
            for trial, seeds in places:
                for place in seeds:
                    if open_runs[trial].wants_more and place not in open_runs[trial].finished:
                        begun.append((trial, place))
                        yield Task(trial.scenario, first_seed + place, trial.setting.label)

        self._open = open_runs
        self._tell(self._left)
        if not self._left:
            return
        with closing(self._executor.run(tasks())) as found:
            for number, run in found:
                trial, place = begun[number]
                if self._journal is not None:
                    self._journal.add(hashes[trial], first_seed + place, run)
                finish(trial, place, run)
                self._tell(self._left)
                if not self._left:  # what was begun ahead decides nothing any more
                    return

    @property
    def _left(self) -> int:
        return sum(len(runs.seeds) - len(runs.finished) for runs in self._open.values() if runs.wants_more)

    def _is_complete(self, trial: Trial) -> bool:
        return self.first_seed + len(trial.searched) == self.first_fresh_seed

    def _tell(self, left: int, cell: FinishedCell | None = None) -> None:
        if self._progress is not None:
            of = self.finished + left + self.ahead
            self._progress(self.finished, of, cell) if cell is not None else self._progress(self.finished, of)


class _InOrder:
    """The runs of a trial that have finished, in any order, and which of them it takes next."""

    def __init__(self, seeds: range) -> None:
        self.seeds = seeds
        self.next_place = seeds.start
        self.finished: dict[int, RunMetrics] = {}
        self.wants_more = True


def _cell(trial: Trial) -> FinishedCell:
    """Return a setting that has all runs of the search and is not given up, as the progress view shows it."""
    objectives = trial.goal.objectives
    costs = trial.costs or [None] * len(objectives)
    values = {
        objective.metric: None if cost is None else objective.value(cost)
        for objective, cost in zip(objectives, costs, strict=True)
    }
    return FinishedCell(trial.label, values, settings=dict(trial.setting.values))


COMMON_RUNS = 2
"""The runs of each setting that is not given up at once; only the best looking get more."""

Costs: TypeAlias = "tuple[float, ...]"
"""The mean of each objective's metric, with its sign turned where it is to be large: less is better."""


class Change(NamedTuple):
    """How far a setting is from the file's own; a smaller value is less of a change."""

    contradicts: bool
    """Whether a setting has no effect beside another, as in the file it has."""

    others: int

    distance: float
    """The sum of the logarithms of the ratios of changed numbers; 1 for any other change."""


UNCHANGED = Change(contradicts=False, others=0, distance=0.0)


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
        change: Change = UNCHANGED,
    ) -> None:
        self.number = number
        """0 is the file's own settings; the others in the order in which they were tried."""
        self.setting = setting
        self.scenario = scenario
        self.goal = goal
        self.reference = Reference(self) if reference is None else reference
        self.in_space = in_space
        """Whether the setting may be chosen: the file's own may lie outside of the space."""
        self.change = change
        """How far the setting is from the file's own."""
        self.searched: list[RunMetrics] = []
        """Its runs in the search, with the seeds from the first one on; see :meth:`add`."""
        self._failed = [0] * len(goal.parts)
        """In how many of these each part of the goal did not hold."""
        self.given_up = False
        """Whether it failed too often to be worth more runs, or the metric of an objective was never in one."""
        self.fresh: list[RunMetrics] = []
        """Its runs with fresh seeds, which the search has not seen, in the order of the seeds."""
        self.decision: Decision | None = None
        """The decision after the fresh runs; None when there are none, or not enough."""
        self.plans: list[tuple[int, ...]] = []
        """After how many fresh runs each part of the goal is confirmed in which none, one or two of them failed; empty
        until it is judged. See :func:`simulation.running.sequential_test.plan`."""

    @property
    def is_baseline(self) -> bool:
        return self.number == 0

    @property
    def label(self) -> str:
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
        """The cost of the setting as far as the search has seen; None when it has no :meth:`cost` in an objective."""
        return _known([self.cost(objective) for objective in self.goal.objectives])

    def cost(self, objective: Objective) -> float | None:
        """Return the cost in one objective; None when a run has no such metric, or one that is never, or no run has
        finished.

        It is the mean of the reference over all its seeds, plus the difference to it on the seeds that both met: so
        settings with few runs compare with those that have many (a *control variate*: Law, *Simulation Modeling and
        Analysis*, 11.4). No trial has more runs than the reference.
        """
        cost, reference = _mean_cost(objective, self.searched), self.reference.trial.searched
        if cost is None or len(self.searched) >= len(reference):
            return cost
        whole, part = (_mean_cost(objective, runs) for runs in (reference, reference[: len(self.searched)]))
        return cost if whole is None or part is None else cost + (whole - part)

    def fresh_costs(self, count: int) -> Costs | None:
        """Return the mean costs of its first `count` fresh runs; None when one of these has no such metric."""
        return _known([_mean_cost(objective, self.fresh[:count]) for objective in self.goal.objectives])

    @property
    def shortfall(self) -> float:
        """How far the setting is from meeting the expectations, on average over its runs."""
        return mean([self.goal.shortfall(run) for run in (*self.searched, *self.fresh)]) or 0.0

    @property
    def spare(self) -> float:
        """The distance to the nearest bound, from -1 (outside) to 1, in the worse one of its first runs.

        More runs would bring worse values, and rank a setting with more runs behind one with few.
        """
        return min((self.goal.spare(run) for run in self.searched[:COMMON_RUNS]), default=-1.0)


def _mean_cost(objective: Objective, runs: Sequence[RunMetrics]) -> float | None:
    """Return the mean cost of runs; None when one has no such metric, or one that is never, or there is none."""
    costs = [cost for run in runs if (cost := objective.cost(run)) is not None]
    return math.fsum(costs) / len(costs) if costs and len(costs) == len(runs) else None


def _known(costs: Sequence[float | None]) -> Costs | None:
    known = tuple(cost for cost in costs if cost is not None)
    return known if len(known) == len(costs) else None


class Reference:
    """The trial that others with fewer runs are measured by: the best of those with the most runs, which is the nearest
    to the others."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial


def best(trials: Iterable[Trial]) -> list[Trial]:
    """Return the Pareto set, the trials that no other beats; with one objective the best one alone.

    A trial beats another when it costs no more in any objective; of two with equal costs, the one with more to spare
    wins, then the one that changes less, and then the one that was tried first. Trials without a cost are left out.
    """
    return _best(_ordered(trials))


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials in order: the best, then the best of the rest, and so on (*non-dominated sorting*: Deb and others,
    *IEEE Transactions on Evolutionary Computation* 6, 2002)."""
    left, found = _ordered(trials), []
    while left:
        first = _best(left)
        found += first
        left = [trial for trial in left if trial not in first]
    return found


def nearest(trials: Iterable[Trial]) -> Trial:
    """Return the trial nearest to meeting the expectations, of those that may be chosen and have runs; of several as
    near, the one that changes least.

    The file's own settings, which come first, when there is none.
    """
    first, *others = trials
    tried = [trial for trial in (first, *others) if trial.in_space and trial.searched]
    # With fresh runs it comes further from them, and would be passed by one that has none.
    tried = [trial for trial in tried if trial.fresh] or tried
    tried = [trial for trial in tried if not trial.change.contradicts] or tried
    return min(tried or [first], key=lambda trial: (trial.shortfall, trial.change, trial.number))


def no_worse(costs: Costs | None, others: Costs | None) -> bool:
    """Return whether some costs are at most the others, each of them."""
    if costs is None or others is None:
        return costs is not None
    return all(cost <= other for cost, other in zip(costs, others, strict=True))


def _ordered(trials: Iterable[Trial]) -> list[Trial]:
    known = [(trial.costs, trial) for trial in trials if trial.costs is not None]
    known.sort(key=lambda each: (each[0], each[1].change.contradicts, -each[1].spare, each[1].change, each[1].number))
    return [trial for _, trial in known]


def _best(ordered: list[Trial]) -> list[Trial]:
    found: list[Trial] = []
    for trial in ordered:
        if not any(no_worse(other.costs, trial.costs) for other in found):
            found.append(trial)
            if len(trial.goal.objectives) == 1:
                break
    return found
