"""The limits of a scenario under each stress: all searches side by side, on processes or a Dask cluster."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from actors.formatting import counted
from simulation.experiments.limits.expected import Trial, figures_wanted, held_of, judged_run, texts_of, under
from simulation.experiments.limits.result import DOCUMENT, Limits
from simulation.experiments.limits.search import RUNS, SEEDS, Search
from simulation.experiments.limits.stress import Kind, Stress, stresses
from simulation.experiments.sweeping.journal import Journal
from simulation.results.files import check_folder
from simulation.results.progress import Interrupted
from simulation.running.executors import Executor, RunMetrics, executor, scenario_hash
from simulation.running.own_code import actors_of
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_counts, seeds_of
from simulation.scenario.limits import ALL, WantedLimit
from simulation.scenario.loading import given
from simulation.scenario.metrics import metric_kind, path_of

K = TypeVar("K", bound=Any)
T = TypeVar("T")

KnownBy = tuple[str, int]
"""The hash of the settings that decide about a run, and its seed."""


@dataclass(eq=False)
class _Search(Generic[K]):
    steps: Iterator[Iterable[K]]
    missing: set[K] = field(default_factory=set)


@dataclass
class SideBySide(Generic[K, T]):
    """Carries out searches."""

    task_of: Callable[[K], tuple[KnownBy, T]]
    """Returns the run that answers a question of a search."""

    kept: Callable[[KnownBy, T], RunMetrics | None]
    """Returns a run that was done before."""

    keep: Callable[[KnownBy, RunMetrics], None]
    answer: Callable[[K, RunMetrics], None]
    tell: Callable[[int], None]
    """Called with how many runs are wanted, at first and after each."""

    def carry_out(
        self, searches: Iterable[Iterator[Iterable[K]]], do: Callable[[Iterator[T]], Iterator[tuple[int, RunMetrics]]]
    ) -> None:
        """Carry them out; `do` does runs, and asks for more after each."""
        self._waiting: dict[KnownBy, list[tuple[_Search[K], K]]] = {}
        self._begun: list[KnownBy] = []
        self._agenda: Agenda[T] = Agenda()
        for steps in searches:
            self._go_on(_Search(steps))
        self.tell(len(self._waiting))
        for place, run in do(self._agenda):
            known_by = self._begun[place]
            self.keep(known_by, run)
            for search, key in self._waiting.pop(known_by):
                self.answer(key, run)
                search.missing.discard(key)
                if not search.missing:
                    self._go_on(search)
            self.tell(len(self._waiting))

    def _go_on(self, search: _Search[K]) -> None:
        """Answer the questions of a search from known runs, until one has to be run."""
        for keys in search.steps:
            self._ask(search, sorted(set(keys)))
            if search.missing:
                return

    def _ask(self, search: _Search[K], keys: Sequence[K]) -> None:
        for key in keys:
            known_by, task = self.task_of(key)
            run = self.kept(known_by, task)
            if run is not None:
                self.answer(key, run)
                continue
            if known_by not in self._waiting:
                self._waiting[known_by] = []
                self._begun.append(known_by)
                self._agenda.waiting.append(task)
            self._waiting[known_by].append((search, key))
            search.missing.add(key)


class Agenda(Iterator[T], Generic[T]):
    """Tasks in order; after its end there may be more later."""

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()

    def __next__(self) -> T:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


def limits(
    path: str | Path | Scenario,
    of: Sequence[str] | None = None,
    *,
    on: Sequence[str] = (),
    at: float | None = None,
    seed: int | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    cluster: Any = None,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    code: bool = False,
) -> Limits:
    """Return how much a scenario takes before one of its expectations breaks, and which breaks first.

    Args:
        path: the scenario's file; or a scenario.
        of: the kinds of stress, of :data:`simulation.experiments.limits.stress.KINDS`; all of them when None.
        on: channels, or ``all``; each channel and all together when empty.
        at: when it begins, in seconds; at the end of the first quarter of the scenario's `duration` when None.
        seed: the first seed; the scenario's own when None.
        sets: ``path=value`` changes to the file.
        workers: how many processes share the runs; all cores when None. The result is the same for any number. A script
            that asks for more than one is imported by each, so what it does belongs under
            ``if __name__ == "__main__":``.
        cluster: a Dask cluster that does the runs instead; see :func:`simulation.sweep`.
        out: a folder that keeps runs as they finish, so that the same call goes on where it stopped; and a scenario
            file for each side of each edge. Nothing is kept when None.
        progress: called with how many runs have finished, and about how many there will be.
        code: whether the own actors that the scenario names are imported.

    Example:
        >>> found = simulation.limits(
        ...     "scenarios/flapping-provider.yaml", ["outage"], on=["sms"], sets=["duration=2m", "expect=[sent >= 1]"]
        ... )
        >>> found.in_words(found.edges[0])
        'sms.outage: holds up to 2 min, the most that was tried'

    Raises:
        ConfigurationError: the file, a kind, a channel, the folder or the cluster cannot be used; all problems.
        Interrupted: a `KeyboardInterrupt` came; it has what is known.
        InvariantBreach: a run broke an invariant that always holds: a bug.
        OSError: the folder cannot be written.
        WorkerLost: a process that did runs is gone; the finished runs are kept in `out`.
    """
    check_counts(workers=workers)
    scenario = given(path, sets, seed, code)
    actors_of(scenario)
    found, lacking = stresses(scenario, of, on, at)
    if out is not None:
        check_folder(Path(out), DOCUMENT, [] if isinstance(path, Scenario) else [path])
    with executor(workers, cluster) as runs, Journal.opened(out) as journal:
        searching = _Searching(scenario, found, journal, progress)
        result = Limits(scenario, [search.edge for search in searching.searches], lacking, searching.expectations)
        try:
            searching.carry_out(runs)
        except KeyboardInterrupt:
            raise Interrupted(result) from None
        if out is not None:
            result.save(Path(out))
        return result


def ask(scenario: Scenario, wanted: WantedLimit) -> tuple[bool, str]:
    """Return whether a scenario takes as much as it wants to, and in a few words why, by runs in this process.

    A scenario does not take a stress that cannot be put on it.

    Raises:
        InvariantBreach: a run broke an invariant: a bug.
    """
    found, lacking = stresses(scenario, [wanted.kind], [wanted.on])
    if not found:
        return False, f"it cannot be asked, {'; '.join(lacking)}"
    searching = _Searching(scenario, found[:1], None, None)
    with executor(1) as runs:
        searching.carry_out(runs, only_wanted=True)
    search = searching.searches[0]
    edge = search.edge
    if edge.holds_wanted[wanted.text]:
        return True, "holds"
    if edge.left_out and len(edge.left_out) == len(searching.expectations):
        return False, f"`{searching.expectations[edge.left_out[0]]}` does not hold even without"
    if wanted.amount > edge.stress.most:
        return False, f"at most {edge.stress.text(edge.stress.most)} can be put on"
    return False, searching.broken_text(0, wanted.amount)


Question = tuple[int, float, int]
"""The number of a search, an amount, and the place of a seed."""


class _Searching:
    def __init__(
        self,
        scenario: Scenario,
        found: Sequence[Stress],
        journal: Journal | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._journal = journal
        self._progress = progress
        self._seeds = seeds_of(scenario.seed, SEEDS)
        self.expectations = texts_of(scenario)
        count = len(self.expectations)
        self.searches = [Search(stress, count, {each.text: each.amount for each in stress.wanted}) for stress in found]
        self._scenarios: dict[tuple[int, float], tuple[Scenario, str]] = {}
        self._runs: dict[KnownBy, RunMetrics] = {}

    def carry_out(self, runs: Executor, *, only_wanted: bool = False) -> None:
        # A run with ten times the load takes the longest: it begins first, so that none waits for it at the end.
        order = sorted(range(len(self.searches)), key=lambda each: self._stress(each).kind.name != "load")
        of_channels = {stress.kind.name for stress in map(self._stress, order) if stress.on != ALL}
        later = {number for number in order if self._stress(number).on == ALL} & {
            number for number in order if self._stress(number).kind.name in of_channels
        }
        for numbers in ([number for number in order if number not in later], sorted(later)):
            for number in numbers:
                self.searches[number].hint = self._least_edge(self._stress(number).kind)
            steps = [self._questions(number, only_wanted=only_wanted) for number in numbers]
            side_by_side = SideBySide(self._task_of, self._kept, self._keep, self._answer, self._tell)
            side_by_side.carry_out(steps, partial(runs.map, judged_run))

    def _least_edge(self, kind: Kind) -> tuple[float, float] | None:
        """Return between which amounts the first seed has its edge for the channel whose edge is least."""
        of_kind = [each for each in self.searches if each.edge.stress.kind is kind and each.edge.is_complete]
        broken = [each for each in of_kind if each.edge.breaks_at is not None]
        least = min(broken, default=None, key=lambda each: each.edge.breaks_at or 0.0)
        low, high = (None, None) if least is None else least.of_the_first_seed
        return None if low is None or high is None else (low, high)

    def _questions(self, number: int, *, only_wanted: bool) -> Iterator[list[Question]]:
        search = self.searches[number]
        for probes in search.asked_steps() if only_wanted else search.steps():
            yield [(number, *probe) for probe in probes]

    def _stress(self, number: int) -> Stress:
        return self.searches[number].edge.stress

    def _task_of(self, question: Question) -> tuple[KnownBy, Trial]:
        number, amount, place = question
        stress, seed = self._stress(number), self._seeds[place]
        if (number, amount) not in self._scenarios:
            scenario = under(stress, amount)
            self._scenarios[number, amount] = scenario, scenario_hash(scenario)
        scenario, known_by = self._scenarios[number, amount]
        judged = self.searches[number].ends_runs_early
        trial = Trial(scenario, seed, f"{stress.name} {stress.text(amount)}", judged)
        return ("/".join([known_by, *map(str, judged)]), seed), trial

    def _kept(self, known_by: KnownBy, trial: Trial) -> RunMetrics | None:
        run = self._runs.get(known_by)
        if run is None and self._journal is not None:
            run = self._journal.kept(trial.scenario, *known_by, figures_wanted(trial.scenario))
        if run is not None:
            self._runs[known_by] = run
        return run

    def _keep(self, known_by: KnownBy, run: RunMetrics) -> None:
        self._runs[known_by] = run
        if self._journal is not None:
            self._journal.add(*known_by, run)

    def _answer(self, question: Question, run: RunMetrics) -> None:
        number, amount, place = question
        scenario, _ = self._scenarios[number, amount]
        self.searches[number].add((amount, place), held_of(self._stress(number), scenario, run.figures))

    def broken_text(self, number: int, amount: float) -> str:
        """Return the expectation that breaks with an amount, and the value of its metric in a run in which it does."""
        from simulation.reporting.expectations import with_unit

        scenario, _ = self._scenarios[number, amount]
        tasks = [self._task_of((number, amount, place))[0] for place in range(SEEDS)]
        runs = [self._runs[known_by] for known_by in tasks if known_by in self._runs]
        broken = self.searches[number].broken_at(amount)[0]
        failed = [run for run in runs if held_of(self._stress(number), scenario, run.figures)[broken] is False]
        text = f"`{self.expectations[broken]}` breaks with {len(failed)} of {counted(len(runs), 'seed')}"
        if not self._stress(number).scenario.expect:
            return text
        path = path_of(scenario.expect[broken].path)
        value = failed[0].figures[path]
        if value is None:
            return f"{text}: there is nothing to measure"
        measured = with_unit(value, metric_kind(scenario.outline, path)) if math.isfinite(value) else "never"
        return f"{text}: it is {measured} with the first of them"

    def _tell(self, _wanted: int) -> None:
        if self._progress is not None:
            left = sum(max(1, RUNS - search.edge.runs) for search in self.searches if not search.edge.is_complete)
            self._progress(len(self._runs), len(self._runs) + left)
