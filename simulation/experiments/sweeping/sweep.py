"""A sweep: every cell run with the same seeds, and finished runs kept on disk, so that it can go on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

from actors.errors import ConfigurationError
from actors.kernel.randomness import RandomStreams
from simulation.experiments.paired import Interval, OverRuns, Precision, over_runs
from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.sweeping.result import DOCUMENT, SweepResult, save_sweep
from simulation.results.files import check_folder
from simulation.results.progress import FinishedCell, Interrupted, RunsProgress
from simulation.running.executors import RunMetrics, Task, executor, scenario_hash
from simulation.scenario import Scenario, Sweep, load
from simulation.scenario.arguments import check_counts, check_word, seeds_of
from simulation.scenario.ranges import CELLS_MAX, RUNS_MAX, Design, Range
from simulation.scenario.space import Setting, Space, load_all, settings_of, space
from simulation.scenario.writing import file_of

# ── the cells ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def cells(space: Space, design: Design = "grid", samples: int | None = None, seed: int = 0) -> list[Setting]:
    """Return the combinations of values of a space, each once.

    Args:
        space: the values of each path.
        design: how they are chosen; see :data:`simulation.scenario.ranges.Design`.
        samples: how many, at least 1; None for a grid. Combinations that come twice, as they do where there are few
            different values, are left out, so there may be fewer.
        seed: of the random draws; each path has its own, so one more path leaves the values of the others as they are.

    Raises:
        ConfigurationError: no such design, it does not go with the samples or the ranges, or there are too many cells.
    """
    check_word("--design", design, get_args(Design))
    if design == "grid":
        if samples is not None:
            raise ConfigurationError(["--samples: wanted it only with --design random or latin-hypercube, got a grid"])
        return grid(space, "values, steps in the range, or --design latin-hypercube")
    if samples is None:
        raise ConfigurationError([f"--design {design}: wanted --samples beside it, got none"])
    _check_count(samples, CELLS_MAX)
    shares = [_shares(path, design, samples, seed) for path in space]
    rows = [
        tuple(dimension.at(share) for dimension, share in zip(space.values(), row, strict=True))
        for row in zip(*shares, strict=True)
    ]
    return settings_of(list(space), dict.fromkeys(rows))


def grid(space: Space, wanted: str = "values, or steps in the range", most: int = CELLS_MAX) -> list[Setting]:
    """Return every combination of values of a space, each once, the first values of all first.

    Raises:
        ConfigurationError: a range does not say its steps, or there are too many combinations.
    """
    problems = [
        f"--vary {path}: wanted {wanted}, got a range without steps"
        for path, dimension in space.items()
        if isinstance(dimension, Range) and dimension.steps is None
    ]
    if problems:
        raise ConfigurationError(problems)
    levels = [dimension.levels() for dimension in space.values()]
    _check_count(math.prod(map(len, levels)), most)
    return settings_of(list(space), product(*levels))


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise ConfigurationError([f"--vary: wanted at most {most:,} combinations, got {count:,}"])


def _shares(path: str, design: Design, samples: int, seed: int) -> list[float]:
    """Return where in the values of a path each sample lies, from 0 to 1."""
    random = RandomStreams(seed).stream(f"sweep.{path}")
    if design == "random":
        return [random.random() for _ in range(samples)]
    parts = list(range(samples))
    random.shuffle(parts)
    return [min((part + random.random()) / samples, math.nextafter(1.0, 0.0)) for part in parts]


def sweep(
    path: str | Path | Scenario,
    vary: Mapping[str, Any] | None = None,
    *,
    replicates: int | None = None,
    within: Mapping[str, float | str] | None = None,
    design: Design | None = None,
    samples: int | None = None,
    seed: int | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    cluster: Any = None,
    out: str | Path | None = None,
    progress: RunsProgress | None = None,
) -> SweepResult:
    """Run a scenario with many combinations of settings, and return their metrics with confidence intervals.

    Every combination, called a cell, has the same seeds, and every part of a run draws from a stream of its own: so
    cells have the same seeds as far as their settings leave it alone (*common random numbers*), and the difference
    between two of them is known better than either.

    Args:
        path: the scenario's file; or a scenario, as :func:`simulation.parse` returns it.
        vary: for each path into it, such as ``channels.email.retry.max_attempts``, a sequence of values, a text such as
            ``1,2,3`` or ``1..10``, or a range such as ``{"from": "100ms", "to": "10s", "scale": "log"}``. What the
            file's `sweep` says when None.
        replicates: how many runs of each cell, with the seeds `seed`, `seed` + 1 and so on, at least 1; two for an
            interval. What the file's `sweep` says when None, and 10 where it says nothing. With `within`, at most so
            many.
        within: by the path of a metric, how far the ends of its intervals may be from their middles, such as
            ``{"sent_fraction": "0.1%"}``: every cell gets further runs, ten first, until all are so narrow. See
            :class:`simulation.experiments.paired.Precision`.
        design: how the cells are chosen; see :data:`simulation.scenario.ranges.Design`. What the file's `sweep` says
            when None; with `vary`, a grid.
        samples: how many cells, where the design is no grid.
        seed: the first seed, and the seed of the design's random draws; the scenario's own when None.
        sets: ``path=value`` changes to the file that hold for every cell.
        workers: how many processes share the runs; all cores when None. The result is the same for any number. A script
            that asks for more than one is imported by each, so what it does belongs under
            ``if __name__ == "__main__":``.
        cluster: a Dask cluster that does the runs instead: the address of its scheduler, a cluster or a client. Takes
            the extra ``cluster``.
        out: a folder for the results, and for the runs that have finished; those that it has already are not done
            again. Nothing is kept when None.
        progress: called with how many runs have finished, and of how many; at first with those that were there already.
            When a cell is finished, its means and medians are a third argument; see
            :class:`simulation.results.progress.RunsProgress`.

    Example:
        >>> attempts = "channels.sms.retry.max_attempts"
        >>> swept = simulation.sweep(
        ...     "scenarios/flapping-provider.yaml", {attempts: [1, 8]}, replicates=2, sets=["duration=2m"]
        ... )
        >>> swept.runs.groupby(attempts)["delivered"].mean().to_dict()
        {1: 2337.5, 8: 2348.5}

    Raises:
        ConfigurationError: the file, a path, a value, the folder or the cluster cannot be used; all problems.
        InvariantBreach: a run broke an invariant that always holds: a bug.
        OSError: the folder cannot be written.
        ValueError: `replicates` or `workers` is less than 1.
        WorkerLost: a process that did runs is gone; the finished runs are kept in `out`.
    """
    check_counts(workers=workers)
    with file_of(path) as file:
        plan = Plan.of(file, vary, replicates, design, samples, seed, sets, within)
        found = plan.run(workers, cluster, out, progress)
    if isinstance(path, Scenario):
        found.path = None  # it has no file
    return found


@dataclass(frozen=True, eq=False)
class Plan:
    """Which runs a sweep is made of: known, and in order, before any of them is done."""

    path: str | Path

    scenario: Scenario
    space: Space
    settings: list[Setting]
    seeds: range
    scenarios: list[Scenario]
    precision: Precision
    """After which of the seeds it may end."""

    sets: Sequence[str] = ()
    """Changes that hold for every cell."""

    @classmethod
    def of(
        cls,
        path: str | Path,
        vary: Mapping[str, Any] | None,
        replicates: int | None,
        design: Design | None,
        samples: int | None,
        seed: int | None,
        sets: Sequence[str],
        within: Mapping[str, float | str] | None = None,
    ) -> Plan:
        """Plan a sweep; see :func:`sweep` for the arguments and errors."""
        check_counts(replicates=replicates)
        scenario = load(path, sets=sets, seed=seed)
        said = scenario.sweep if scenario.sweep is not None else Sweep()
        if vary is None:
            vary, design, samples = said.vary, design or said.design, said.samples if samples is None else samples
            if not vary:
                raise ConfigurationError([f"{path}: wanted a sweep in the file, or --vary path=a,b, got neither"])
        found = space(vary)
        settings = cells(found, design or "grid", samples, scenario.seed)
        replicates = said.replicates if replicates is None else replicates
        if len(settings) * replicates > RUNS_MAX:
            runs = len(settings) * replicates
            raise ConfigurationError([f"--replicates: wanted at most {RUNS_MAX:,} runs in all, got {runs:,}"])
        seeds = seeds_of(scenario.seed, replicates)
        scenarios = load_all(path, settings, sets, seed)
        return cls(path, scenario, found, settings, seeds, scenarios, Precision.of(within, scenarios, "--within"), sets)

    def run(
        self, workers: int | None, cluster: Any, out: str | Path | None, progress: RunsProgress | None
    ) -> SweepResult:
        """Do the runs that have not finished yet, and return the results of all; see :func:`sweep`."""

        def result_of(done: Done, cells: Sequence[int]) -> SweepResult:
            settings, values = [self.settings[each] for each in cells], [done.of(each) for each in cells]
            return SweepResult.of(self.scenario, self.space, settings, done.seeds, values, self.path)

        try:
            done = self.do(workers, cluster, out, DOCUMENT, progress, Done.over_runs)
        except Interrupted as stopped:
            if cells := stopped.so_far.complete():
                raise Interrupted(result_of(stopped.so_far, cells)) from None
            raise KeyboardInterrupt from None
        result = result_of(done, range(len(self.settings)))
        result.notes = done.notes
        if out is not None:
            save_sweep(result, out)
        return result

    def do(
        self,
        workers: int | None,
        cluster: Any,
        out: str | Path | None,
        document: str,
        progress: RunsProgress | None,
        intervals: Callable[[Done, str], Iterable[Interval | None]],
    ) -> Done:
        """Do the runs that have not finished yet, until the intervals of a metric are as narrow as is wanted.

        Raises:
            Interrupted: a `KeyboardInterrupt` came; it has what is done.
        """
        if out is not None:
            check_folder(Path(out), document, [self.path])
        # The journal is opened last: it leaves no folder where no run can be done.
        with executor(workers, cluster) as runs, Journal.opened(out) as journal:
            done = Done(self, journal, progress)
            for count in self.precision.looks(len(self.seeds)):
                missing = done.begin(self.seeds[:count])
                try:
                    for place, run in runs.run([self.task(*each) for each in missing]) if missing else ():
                        done.add(*missing[place], run)
                except KeyboardInterrupt:
                    raise Interrupted(done) from None
                too_wide = self.precision.too_wide(
                    {metric: intervals(done, metric) for metric in self.precision.half_widths}
                )
                if not too_wide:
                    break
            done.notes = tuple(self.precision.words(too_wide, self.scenario, count))
            return done

    def task(self, cell: int, seed: int) -> Task:
        return Task(self.scenarios[cell], seed, " ".join([*self.sets, *self.settings[cell].sets]))


class Done:
    def __init__(self, plan: Plan, journal: Journal | None, progress: RunsProgress | None) -> None:
        self._plan = plan
        self._journal = journal
        self._progress = progress
        self._hashes = [] if journal is None else [scenario_hash(scenario) for scenario in plan.scenarios]
        self._runs: dict[tuple[int, int], RunMetrics] = {}
        self._count = len(plan.settings) * len(plan.seeds)
        self.seeds = plan.seeds[:0]
        """Of each cell, until now."""
        self.notes: tuple[str, ...] = ()
        """A line for each metric with intervals that are wider than is wanted."""
        self._left: Counter[int] = Counter()
        """How many runs each cell still has to do."""

    def begin(self, seeds: range) -> list[tuple[int, int]]:
        """Begin with these seeds, and return cell and seed of each run that is to be done."""
        self.seeds = seeds
        missing = []
        for cell in range(len(self._plan.settings)):
            for seed in seeds:
                run = self._runs.get((cell, seed))
                if run is None and self._journal is not None:
                    run = self._journal.kept(self._plan.scenarios[cell], self._hashes[cell], seed)
                if run is None:
                    missing.append((cell, seed))
                    self._left[cell] += 1
                else:
                    self._runs[cell, seed] = run
        self._tell()
        return missing

    def add(self, cell: int, seed: int, run: RunMetrics) -> None:
        if self._journal is not None:
            self._journal.add(self._hashes[cell], seed, run)
        self._runs[cell, seed] = run
        self._left[cell] -= 1
        self._tell(None if self._left[cell] else cell)

    def _tell(self, finished: int | None = None) -> None:
        if self._progress is None:
            return
        if finished is None:
            self._progress(len(self._runs), self._count)
            return
        found = {path: over_runs(path, self.values(finished, path)) for path in self.of(finished)[0].figures}
        cell = FinishedCell(
            self._plan.settings[finished].label,
            {path: over.middle for path, over in found.items()},
            {path: over.never for path, over in found.items() if over.never},
        )
        self._progress(len(self._runs), self._count, cell)

    def complete(self) -> list[int]:
        """Return the cells whose runs have all finished."""
        return [cell for cell in range(len(self._plan.settings)) if not self._left[cell]]

    def of(self, cell: int) -> list[RunMetrics]:
        return [self._runs[cell, seed] for seed in self.seeds]

    def values(self, cell: int, metric: str) -> list[float | None]:
        """Return a metric in each run of a cell."""
        return [run.figures.get(metric) for run in self.of(cell)]

    def over_runs(self, metric: str) -> list[OverRuns]:
        return [over_runs(metric, self.values(cell, metric)) for cell in range(len(self._plan.settings))]
