"""Does the runs of settings on trial: which seeds there are, which runs have finished, and the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

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
        self._open: dict[Trial, _InOrder] = {}
        """What has been asked for last."""
        self._executor = executor
        self._journal = journal
        self._progress = progress

    def search(self, wanted: Iterable[tuple[Trial, int]]) -> None:
        """Do runs until each trial has at least so many in the search; cut off, those that had finished count.

        A trial that is given up meanwhile has no more, and none that comes after the run with which it was: so which
        runs it has does not depend on how many are done at once. The file's own settings have all that are asked for:
        others are compared with them.
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
        """Do runs by their place among the seeds, and have each trial take them in order, each as soon as those before
        it are there, for as long as it returns that it wants more; what it does not want is not begun.

        When it is cut off, it has taken those up to the first one that has not finished.
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
        """How many of the runs that were asked for are still to be done."""
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
