"""Exploration: many small cases of a scenario, each drawn by a seed and checked against every invariant."""

from __future__ import annotations

import itertools
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from actors.formatting import counted
from simulation.exploration.corpus import Corpus, folder_of
from simulation.exploration.coverage import demanded, reached
from simulation.exploration.shrink import RUNS, Shrunk, shrink
from simulation.exploration.swarm import ScheduleKind, case
from simulation.exploration.trial import FailingCase, attempt
from simulation.results.formatting import line
from simulation.running.process_pool import processes
from simulation.scenario import Scenario, load
from simulation.scenario.arguments import check_counts, check_word
from simulation.scenario.seeds import seeds_of

if TYPE_CHECKING:
    from simulation.invariants import Choice

SEEDS_AT_ONCE = 8
"""How many seeds a process gets at a time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one case."""

    seed: int
    notifications: int
    """How many were accepted; 0 where the run broke."""

    reached: frozenset[str]
    """What happened in it of :data:`simulation.exploration.coverage.SOMETIMES`."""

    failing_case: FailingCase | None


@dataclass(frozen=True, slots=True)
class Failure:
    """The first case that broke."""

    seed: int
    case: Scenario
    failing_case: FailingCase
    kept: Path | None = None
    """The file that it was read from, where it is one that broke before."""

    shrunk: Shrunk | None = None
    """A small case that breaks in the same way."""

    file: Path | None = None
    """Where the small case is kept."""


@dataclass
class Exploration:
    """The result of an exploration. It is the same for any number of processes."""

    scenario: Scenario
    path: Path
    first_seed: int
    sets: tuple[str, ...] = ()
    schedule: ScheduleKind = "mixed"
    invariants: Choice = "all"
    cases: int = 0
    """How many cases were run, those kept from before not counted; with a failure, up to it."""

    notifications: int = 0
    """How many notifications were accepted in them."""

    coverage: Counter[str] = field(default_factory=Counter)
    """In how many cases each thing that should happen sometimes happened."""

    mended: list[Path] = field(default_factory=list)
    """Kept cases that broke before and do not break now; their files are gone."""

    failure: Failure | None = None

    def __repr__(self) -> str:
        never = len(self.never)
        facts = ["no case broke" if self.failure is None else f"seed {self.failure.seed} broke"]
        facts += [f"{counted(never, 'thing')} never happened"] if never else []
        return line("Exploration", self.scenario.name, [counted(self.cases, "case"), *facts])

    @property
    def never(self) -> list[str]:
        """What should happen sometimes and never did."""
        return [each.text for each in demanded(self.scenario) if not self.coverage[each.text]]

    @property
    def holds(self) -> bool:
        """Whether no case broke and everything that should happen sometimes did."""
        return self.failure is None and not self.never

    def command(self, first_seed: int, seeds: int) -> str:
        """Return the command that explores some seeds in the same way."""
        words: list[Any] = ["retrylab", "explore", self.path, "--first-seed", first_seed, "--seeds", seeds]
        if self.schedule != "mixed":
            words += ["--schedule", self.schedule]
        for change in self.sets:
            words += ["--set", change]
        return shlex.join(map(str, words))

    @property
    def replay(self) -> str:
        """The command that repeats the failure, or the whole exploration when no case broke."""
        if self.failure is None:
            return self.command(self.first_seed, self.cases)
        if self.failure.kept is not None:
            return self.command(self.first_seed, 1)  # tries what was kept first
        return self.command(self.failure.seed, 1)


def explore(
    path: str | Path,
    *,
    seeds: int = 1000,
    first_seed: int = 0,
    workers: int | None = 1,
    schedule: ScheduleKind = "mixed",
    sets: Sequence[str] = (),
    invariants: Choice = "all",
    failures: str | Path | None = None,
    shrink_runs: int = RUNS,
    progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Run many cases of a scenario, and return the result: the first that broke, and what was reached.

    Cases that broke before and were kept are tried first. An exploration ends with the first case that breaks, in the
    order of the seeds; it is shrunk to a small one, which is kept.

    Args:
        path: the scenario's file.
        seeds: how many cases, with the seeds `first_seed`, `first_seed` + 1 and so on.
        first_seed: the first of them.
        workers: how many processes share them; all cores when None. A script that asks for more than one is imported by
            each, so what it does belongs under ``if __name__ == "__main__":``.
        schedule: which orders of ready messages are drawn, see :data:`simulation.exploration.swarm.ScheduleKind`.
        sets: ``path=value`` changes to the file.
        invariants: those that are checked, as for :func:`simulation.run`; with more than one worker they must be
            importable from their modules.
        failures: the folder of the kept cases; see :func:`simulation.exploration.corpus.folder_of` when None.
        shrink_runs: how many runs to spend on a small case at most; with 0 the case is kept as it is.
        progress: called with how many cases have finished, and of how many; first with 0.

    Raises:
        ConfigurationError: the file, the schedule or the first seed cannot be used.
        ExplorationInterrupted: a `KeyboardInterrupt` came; it has the result so far.
        OSError: a failing case cannot be kept.
        ValueError: `seeds` or `workers` is less than 1.
    """
    check_counts(seeds=seeds, workers=workers)
    check_word("schedule", schedule, get_args(ScheduleKind))
    drawn = seeds_of(first_seed, seeds, "--first-seed")
    scenario, path = load(path, sets=sets), Path(path)
    exploration = Exploration(scenario, path, drawn.start, tuple(sets), schedule, invariants)
    folder = Corpus(folder_of(path) if failures is None else Path(failures))
    folder.check(path)
    try:
        _try_kept(folder, exploration)
        if exploration.failure is None:
            _try_seeds(exploration, drawn, workers or os.cpu_count() or 1, progress)
        if exploration.failure is not None:
            exploration.failure = _kept(exploration.failure, folder, exploration, shrink_runs)
    except KeyboardInterrupt:
        raise ExplorationInterrupted(exploration) from None
    return exploration


class ExplorationInterrupted(KeyboardInterrupt):
    """An exploration was interrupted."""

    def __init__(self, so_far: Exploration) -> None:
        super().__init__("interrupted")
        self.so_far = so_far
        """The result so far; a case that broke may not be shrunk, nor kept."""


def _try_seeds(
    exploration: Exploration, seeds: range, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    """Run the cases of these seeds, up to the first that breaks."""
    scenario, schedule = exploration.scenario, exploration.schedule
    workers = min(workers, -(-len(seeds) // SEEDS_AT_ONCE))
    if progress is not None:
        progress(0, len(seeds))
    with _outcomes(exploration, seeds, workers) as outcomes:
        for outcome in outcomes:
            if outcome.failing_case is not None:  # before it counts as a case: an interrupted run reports both
                broken = case(scenario, outcome.seed, schedule=schedule)
                exploration.failure = Failure(outcome.seed, broken, outcome.failing_case)
            exploration.cases += 1
            exploration.notifications += outcome.notifications
            exploration.coverage.update(outcome.reached)
            if progress is not None:
                progress(exploration.cases, len(seeds))
            if exploration.failure is not None:
                return


def _kept(failure: Failure, folder: Corpus, exploration: Exploration, shrink_runs: int) -> Failure:
    """Shrink a failing case, and keep the result."""
    shrunk = None
    if shrink_runs:
        shrunk = shrink(failure.case, failure.failing_case.kind, invariants=exploration.invariants, runs=shrink_runs)
    small = failure.case if shrunk is None else shrunk.scenario
    failing_case = failure.failing_case if shrunk is None else shrunk.failing_case
    name = f"seed-{failure.seed}" if failure.kept is None else failure.kept.stem
    command = shlex.join(["retrylab", "run", str(folder.folder / f"{name}.yaml"), "--check"])
    comment = f"{failing_case.headline}:\n{failing_case.text}\n\nA case of {exploration.path.name}"
    file = folder.keep(name, small, comment, command)
    return replace(failure, shrunk=shrunk, file=file)


def _try_kept(folder: Corpus, exploration: Exploration) -> None:
    """Run the kept cases, up to the first that breaks still; files of those that do not are removed."""
    for file in folder.files():
        kept = folder.case(file, exploration.scenario)
        if kept is None:
            continue  # of other settings: left where it is
        failing_case = attempt(kept, invariants=exploration.invariants).failing_case
        if failing_case is not None:
            exploration.failure = Failure(kept.seed, kept, failing_case, file)
            return
        file.unlink()
        exploration.mended.append(file)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

_Drawn: TypeAlias = "tuple[Scenario, ScheduleKind, Choice]"
_drawn: _Drawn | None = None
"""What the cases of this process are drawn from: sent once to each, and not with every seed."""


@contextmanager
def _outcomes(exploration: Exploration, seeds: range, workers: int) -> Iterator[Iterable[Outcome]]:
    """Give the outcomes in the order of the seeds; those that are not asked for are not run."""
    drawn = exploration.scenario, exploration.schedule, exploration.invariants
    if workers == 1:
        yield (_explore_one(drawn, seed) for seed in seeds)
        return
    blocks = [seeds[start : start + SEEDS_AT_ONCE] for start in range(0, len(seeds), SEEDS_AT_ONCE)]
    with processes(workers, _begin, drawn) as pool:
        yield itertools.chain.from_iterable(pool.map(_explore_block, blocks))


def _begin(*drawn: Any) -> None:
    global _drawn
    scenario, schedule, invariants = drawn
    _drawn = scenario, schedule, invariants


def _explore_block(seeds: range) -> list[Outcome]:
    assert _drawn is not None
    outcomes = []
    for seed in seeds:
        outcomes.append(_explore_one(_drawn, seed))
        if outcomes[-1].failing_case is not None:
            break  # the later ones are not needed
    return outcomes


def _explore_one(drawn: _Drawn, seed: int) -> Outcome:
    scenario, schedule, invariants = drawn
    drawn_case = case(scenario, seed, schedule=schedule)
    trial = attempt(drawn_case, invariants=invariants)
    if trial.result is None:
        return Outcome(seed, 0, frozenset(), trial.failing_case)
    return Outcome(seed, trial.result.summary["accepted"], reached(trial.result.history, drawn_case), None)
