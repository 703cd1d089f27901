"""Does the runs of settings on trial: which seeds there are, which runs have finished, and the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.tuning.trial import Trial
from simulation.results.progress import FinishedCell, RunsProgress
from simulation.running.cache_key import scenario_hash
from simulation.running.executors import Executor, RunMetrics, Task


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
        """Of the search."""
        self.first_fresh_seed = first_seed + replicates
        """Of those that the search does not see."""
        self.finished = 0
        """How many runs have finished."""
        self.ahead = 0
        """How many runs there will be besides those that have been asked for, by the current estimate."""
        self._executor = executor
        self._journal = journal
        self._progress = progress

    def search(self, wanted: Iterable[tuple[Trial, int]]) -> None:
        """Do runs until each trial has at least so many in the search; cut off, those that had finished count."""

        def take(trial: Trial, runs: list[RunMetrics], _missing: int) -> None:
            trial.add(runs)
            if runs and trial.in_space and not trial.given_up and self._is_complete(trial):
                self._tell(0, _cell(trial))

        self._do([(trial, range(len(trial.searched), count)) for trial, count in wanted], self.first_seed, take)

    def freshly(self, wanted: Iterable[tuple[Trial, int]]) -> None:
        """Do runs until each trial has at least so many with fresh seeds."""

        def take(trial: Trial, runs: list[RunMetrics], missing: int) -> None:
            if not missing:  # a few of those that were planned decide nothing, and would hide those of the search
                trial.fresh += runs

        self._do([(trial, range(len(trial.fresh), count)) for trial, count in wanted], self.first_fresh_seed, take)

    def _do(
        self,
        places: Sequence[tuple[Trial, range]],
        first_seed: int,
        take: Callable[[Trial, list[RunMetrics], int], None],
    ) -> None:
        """Do runs by their place among the seeds, and have each trial take them in order, and how many are missing.

        When it is cut off, those up to the first one that has not finished.
        """
        wanted = [(trial, first_seed + place) for trial, seeds in places for place in seeds]
        hashes = {} if self._journal is None else {trial: scenario_hash(trial.scenario) for trial, _ in places}
        done: dict[tuple[Trial, int], RunMetrics] = {}
        for trial, seed in wanted:
            run = None if self._journal is None else self._journal[hashes[trial], seed]
            if run is not None:
                done[trial, seed] = run
        self.finished += len(done)
        left = [each for each in wanted if each not in done]
        try:
            self._tell(len(left))
            tasks = [Task(trial.scenario, seed, trial.setting.label) for trial, seed in left]
            for place, run in self._executor.run(tasks) if tasks else ():
                trial, seed = left[place]
                done[trial, seed] = run
                if self._journal is not None:
                    self._journal.add(hashes[trial], seed, run)
                self.finished += 1
                self._tell(len(wanted) - len(done))
        finally:
            for trial, seeds in places:
                runs = list(takewhile(bool, (done.get((trial, first_seed + place)) for place in seeds)))
                take(trial, [run for run in runs if run is not None], len(seeds) - len(runs))

    def _is_complete(self, trial: Trial) -> bool:
        return self.first_seed + len(trial.searched) == self.first_fresh_seed

    def _tell(self, left: int, cell: FinishedCell | None = None) -> None:
        if self._progress is not None:
            of = self.finished + left + self.ahead
            self._progress(self.finished, of, cell) if cell is not None else self._progress(self.finished, of)


def _cell(trial: Trial) -> FinishedCell:
    """Return a setting that has all runs of the search and is not given up, as the progress view shows it."""
    objectives = trial.goal.objectives
    costs = trial.costs or [None] * len(objectives)
    values = {
        objective.metric: None if cost is None else objective.value(cost)
        for objective, cost in zip(objectives, costs, strict=True)
    }
    return FinishedCell(trial.label, values)
