"""Exploration: many small cases of a scenario, each drawn by a seed and checked against every invariant."""

from __future__ import annotations

import itertools
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from actors.errors import RunTooLarge
from actors.formatting import counted
from simulation.results.formatting import line
from simulation.results.progress import Interrupted
from simulation.running.own_code import actors_of
from simulation.running.process_pool import processes
from simulation.scenario import Scenario, load
from simulation.scenario.arguments import check_counts, check_word, one_seed, seeds_of
from simulation.verification.drawing.drawn_settings import DrawnSettings
from simulation.verification.drawing.swarm import ScheduleKind, SettingsKind, drawn_case
from simulation.verification.exploring.corpus import Corpus
from simulation.verification.exploring.coverage import demanded, reached
from simulation.verification.exploring.guide import ROUND, Guide, Lineage, Parent, case_of
from simulation.verification.exploring.pairs import NOTHING_SEEN, Seen, demanded_pairs, seen_in
from simulation.verification.exploring.shrink import RUNS, DoesNotBreak, Shrunk, shrink
from simulation.verification.exploring.trial import FailingCase, attempt
from simulation.verification.exploring.variation import varied

if TYPE_CHECKING:
    from simulation.running.checking import Choice

SEEDS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    notifications: int
    """How many were accepted; 0 where the run broke."""

    reached: frozenset[str]
    """The members of :data:`simulation.verification.exploring.coverage.SOMETIMES` that happened in it."""

    lineage: Lineage
    """The seeds that led to it, its own the last."""

    case: Scenario

    seen: Seen

    settings: DrawnSettings | None

    failing_case: FailingCase | None


@dataclass(frozen=True, slots=True)
class Failure:
    seed: int
    case: Scenario
    failing_case: FailingCase
    lineage: Lineage = ()
    """The seeds that led to it, its own the last; empty for one that was kept."""

    own_settings: bool = False
    """Whether it has other settings than the scenario that is explored."""

    kept: Path | None = None
    """The file that it was read from, where it is one that broke before."""

    shrunk: Shrunk | None = None

    file: Path | None = None
    """Where the small case is kept; None: nowhere."""

    @property
    def smallest(self) -> Scenario:
        return self.case if self.shrunk is None else self.shrunk.scenario


@dataclass
class Exploration:
    """The result of an exploration. It is the same for any number of processes."""

    scenario: Scenario
    path: Path
    first_seed: int
    sets: tuple[str, ...] = ()
    schedule: ScheduleKind = "mixed"
    settings: SettingsKind = "mixed"
    guided: bool = True
    varies: Lineage = ()
    """The seeds of the case that all of them are variations of; empty: none is given."""

    invariants: Choice = "all"
    folder: Path | None = None
    """Where failing cases are kept; None: nowhere."""

    cases: int = 0
    """How many cases were run, those kept from before not counted; with a failure, up to it."""

    notifications: int = 0
    """How many notifications were accepted in them."""

    coverage: Counter[str] = field(default_factory=Counter)
    """In how many cases each thing that should happen sometimes happened."""

    seen: Counter[str] = field(default_factory=Counter)
    """In how many cases each event, each state and each pair of them was seen."""

    variations: int = 0
    """How many of the cases were variations of others."""

    with_drawn_settings: int = 0
    """In how many of the others settings were drawn."""

    settings_changed: int = 0
    """How many settings were changed in these."""

    settings_refused: int = 0
    """How many further changes the validator refused."""

    mended: list[Path] = field(default_factory=list)
    """Kept cases that broke before and do not break now; their files are gone."""

    failure: Failure | None = None

    keeps_going: bool = False
    """Whether the exploration goes on after a case that broke."""

    later_failures: list[Failure] = field(default_factory=list)
    """The other cases that broke; none where the exploration ends with the first."""

    with_drawn_order: int = 0
    """In how many cases the order of messages was drawn: the reference model is not compared with these."""

    def __repr__(self) -> str:
        never = len(self.never)
        broken = [f"seed {failure.seed} broke" for failure in self.failures]
        facts = broken if len(broken) == 1 else [f"{counted(len(broken), 'case')} broke" if broken else "no case broke"]
        facts += [f"{counted(never, 'thing')} never happened"] if never else []
        return line("Exploration", self.scenario.name, [counted(self.cases, "case"), *facts])

    @property
    def failures(self) -> list[Failure]:
        """All cases that broke, in the order in which they were run."""
        return [] if self.failure is None else [self.failure, *self.later_failures]

    @property
    def _is_over(self) -> bool:
        return self.failure is not None and not self.keeps_going

    def _fail(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure
        else:
            self.later_failures.append(failure)

    @property
    def never(self) -> list[str]:
        """Events that should have happened sometimes and never did, and demanded pairs that were never seen."""
        things = [each.text for each in demanded(self.scenario) if not self.coverage[each.text]]
        return things + [pair for pair in demanded_pairs(self.seen) if not self.seen[pair]]

    @property
    def holds(self) -> bool:
        """Whether no case broke and all that should happen sometimes did."""
        return self.failure is None and not self.never

    def command(self, first_seed: int, seeds: int, varies: Lineage = ()) -> str:
        """Return the command that explores some seeds in the same way, as variations of a case if one is given."""
        words: list[Any] = ["retrylab", "explore", self.path, "--first-seed", first_seed, "--seeds", seeds]
        if self.schedule != "mixed":
            words += ["--schedule", self.schedule]
        if self.settings != "mixed":
            words += ["--settings", self.settings]
        if varies:
            words += ["--varies", ",".join(map(str, varies))]
        elif not self.guided:
            words.append("--unguided")
        for change in self.sets:
            words += ["--set", change]
        if self.scenario.may_import:
            words.append("--code")
        if self.folder is not None:
            words += ["--out", self.folder]
        return shlex.join(map(str, words))

    @property
    def replay(self) -> str:
        """The command that repeats the first failure, or the whole exploration when no case broke."""
        if self.failure is None:
            return self.command(self.first_seed, self.cases, self.varies)
        return self.replay_of(self.failure)

    def replay_of(self, failure: Failure) -> str:
        """Return the command that repeats a failure."""
        if failure.kept is not None:
            return self.command(self.first_seed, 1)  # tries what was kept first
        return self.command(failure.seed, 1, failure.lineage[:-1])


def explore(
    path: str | Path,
    *,
    seeds: int = 1000,
    first_seed: int = 0,
    workers: int | None = 1,
    schedule: ScheduleKind = "mixed",
    settings: SettingsKind = "mixed",
    guided: bool = True,
    varies: Sequence[int] = (),
    sets: Sequence[str] = (),
    invariants: Choice = "all",
    failures: str | Path | None = None,
    shrink_runs: int = RUNS,
    keep_going: bool = False,
    code: bool = False,
    progress: Callable[[int, int], None] | None = None,
    shrinking: Callable[[int], None] | None = None,
) -> Exploration:
    """Run many cases of a scenario, and return the result: those that broke, and what was reached.

    Cases that broke before and were kept in `failures` are tried first. An exploration ends with the first case that
    breaks, in the order of the seeds, unless it is to keep going. A case that broke is shrunk to a small one. Nothing
    is written but into that folder.

    Args:
        path: the scenario's file.
        seeds: how many cases, with the seeds `first_seed`, `first_seed` + 1 and so on.
        first_seed: the first of them.
        workers: how many processes share them; all cores when None. A script that asks for more than one is imported by
            each, so what it does belongs under ``if __name__ == "__main__":``.
        schedule: which orders of ready messages are drawn, see
            :data:`simulation.verification.drawing.swarm.ScheduleKind`.
        settings: which settings the cases have, see :data:`simulation.verification.drawing.swarm.SettingsKind`.
        guided: whether some of the cases are variations of earlier ones, of those that saw something new.
        varies: the seeds that led to a case of which all are variations, as a failure's replay gives them.
        sets: ``path=value`` changes to the file.
        invariants: those that are checked, as for :func:`simulation.run`; with more than one worker they must be
            importable from their modules.
        failures: the folder of the kept cases. None: none is kept, and none is tried first.
        shrink_runs: how many runs to spend on each small case at most; with 0 the case is kept as it is.
        keep_going: whether to run all cases, and return each that broke.
        code: whether the own actors that the scenario names are imported.
        progress: called with how many cases have finished, and of how many; first with 0.
        shrinking: called with the seed of a case that broke, before it is shrunk.

    Example:
        >>> exploration = simulation.explore("scenarios/flapping-provider.yaml", seeds=5)
        >>> exploration.cases, exploration.failure
        (5, None)

    Raises:
        ConfigurationError: the file, the schedule, the kind of settings or a seed cannot be used.
        Interrupted: a `KeyboardInterrupt` came; it has the result so far.
        OSError: a failing case cannot be kept.
        ValueError: `seeds` or `workers` is less than 1.
    """
    check_counts(seeds=seeds, workers=workers)
    check_word("schedule", schedule, get_args(ScheduleKind))
    drawn = seeds_of(first_seed, seeds, "--first-seed")
    check_word("settings", settings, get_args(SettingsKind))
    lineage = tuple(one_seed(seed) for seed in varies)
    scenario, path = load(path, sets=sets).with_code(code), Path(path)
    actors_of(scenario)
    exploration = Exploration(
        scenario, path, drawn.start, tuple(sets), schedule, settings, guided, lineage, invariants,
        None if failures is None else Path(failures), keeps_going=keep_going,
    )  # fmt: skip
    folder = None if failures is None else Corpus(Path(failures))
    if folder is not None:
        folder.check(path)
    try:
        if folder is not None:
            _try_kept(folder, exploration)
        if not exploration._is_over:
            _try_seeds(exploration, drawn, workers or os.cpu_count() or 1, progress)
        for number, failure in enumerate(exploration.failures):
            if shrinking is not None:
                shrinking(failure.seed)
            kept = _kept(failure, folder, exploration, shrink_runs)
            if number:
                exploration.later_failures[number - 1] = kept
            else:
                exploration.failure = kept
    except KeyboardInterrupt:
        raise Interrupted(exploration) from None
    return exploration


def _try_seeds(
    exploration: Exploration, seeds: range, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    workers = min(workers, -(-len(seeds) // SEEDS_AT_ONCE))
    if progress is not None:
        progress(0, len(seeds))
    guide, given = Guide(), _given_parent(exploration)
    with _runs(exploration, workers) as run:
        for start in range(0, len(seeds), ROUND):
            block = seeds[start : start + ROUND]
            parents: Sequence[Parent | None] = [given] * len(block)
            if given is None and exploration.guided:
                parents = guide.parents_of(block, exploration.seen)
            for outcome in run(list(zip(block, parents, strict=True))):
                _count(exploration, outcome, guide)
                if progress is not None:
                    progress(exploration.cases, len(seeds))
                if exploration._is_over:
                    return


def _given_parent(exploration: Exploration) -> Parent | None:
    lineage = exploration.varies
    if not lineage:
        return None
    found = case_of(exploration.scenario, lineage, schedule=exploration.schedule, settings=exploration.settings)
    result = attempt(found, invariants="default").result
    return Parent(lineage, found, NOTHING_SEEN if result is None else seen_in(result.history, found))


def _count(exploration: Exploration, outcome: Outcome, guide: Guide) -> None:
    if outcome.failing_case is not None:  # before it counts as a case: an interrupted run reports both
        # A variation may have the settings of a case with drawn ones.
        own_settings = outcome.settings is not None or len(outcome.lineage) > 1
        exploration._fail(Failure(outcome.seed, outcome.case, outcome.failing_case, outcome.lineage, own_settings))
    exploration.cases += 1
    exploration.notifications += outcome.notifications
    exploration.coverage.update(outcome.reached)
    exploration.variations += len(outcome.lineage) > 1
    exploration.with_drawn_order += outcome.case.schedule is not None
    if outcome.settings is not None:
        exploration.with_drawn_settings += 1
        exploration.settings_changed += outcome.settings.changed
        exploration.settings_refused += outcome.settings.refused
    guide.learn(outcome.lineage, outcome.case, outcome.seen, exploration.seen)
    exploration.seen.update(outcome.seen.names)


def _kept(failure: Failure, folder: Corpus | None, exploration: Exploration, shrink_runs: int) -> Failure:
    shrunk = None
    if shrink_runs:
        with suppress(DoesNotBreak):  # what depends on more than the case is shown as it was found
            kind, invariants = failure.failing_case.kind, exploration.invariants
            shrunk = shrink(failure.case, kind, invariants=invariants, runs=shrink_runs)
    if folder is None:
        return replace(failure, shrunk=shrunk)
    small = failure.case if shrunk is None else shrunk.scenario
    failing_case = failure.failing_case if shrunk is None else shrunk.failing_case
    name = f"seed-{failure.seed}" if failure.kept is None else failure.kept.stem
    command = shlex.join(["retrylab", "run", str(folder.folder / f"{name}.yaml"), "--check"])
    comment = f"{failing_case.headline}:\n{failing_case.text}\n\nA case of {exploration.path.name}"
    file = folder.keep(name, small, comment, command, own_settings=failure.own_settings)
    return replace(failure, shrunk=shrunk, file=file)


def _try_kept(folder: Corpus, exploration: Exploration) -> None:
    """Run the kept cases, up to one that ends the exploration; files of those that break no more are removed."""
    for file in folder.files():
        kept = folder.case(file, exploration.scenario)
        if kept is None:
            continue  # of other settings: left where it is
        failing_case = attempt(kept, invariants=exploration.invariants).failing_case
        if failing_case is not None:
            own_settings = kept.channels != exploration.scenario.channels
            exploration._fail(Failure(kept.seed, kept, failing_case, own_settings=own_settings, kept=file))
            if exploration._is_over:
                return
            continue
        file.unlink()
        exploration.mended.append(file)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

_Drawn: TypeAlias = "tuple[Scenario, ScheduleKind, SettingsKind, Choice, bool]"
"""The arguments of drawing cases, the invariants to check, and whether to go on after a case that broke."""

_Task: TypeAlias = "tuple[int, Parent | None]"
"""A seed, and what its case is a variation of; None: of nothing."""

_drawn: _Drawn | None = None
"""The arguments of drawing in this process: sent once to each, and not with every seed."""


@contextmanager
def _runs(exploration: Exploration, workers: int) -> Iterator[Callable[[list[_Task]], Iterable[Outcome]]]:
    scenario, how = exploration.scenario, (exploration.schedule, exploration.settings, exploration.invariants)
    drawn = (scenario, *how, exploration.keeps_going)
    if workers == 1:
        yield lambda tasks: (_explore_one(drawn, *task) for task in tasks)
        return
    with processes(workers, _begin, drawn) as pool:

        def run(tasks: list[_Task]) -> Iterable[Outcome]:
            blocks = [tasks[start : start + SEEDS_AT_ONCE] for start in range(0, len(tasks), SEEDS_AT_ONCE)]
            return itertools.chain.from_iterable(pool.map(_explore_block, blocks))

        yield run


def _begin(*drawn: Any) -> None:
    global _drawn
    scenario, schedule, settings, invariants, keeps_going = drawn
    _drawn = scenario, schedule, settings, invariants, keeps_going


def _explore_block(tasks: list[_Task]) -> list[Outcome]:
    assert _drawn is not None
    outcomes = []
    for task in tasks:
        outcomes.append(_explore_one(_drawn, *task))
        if outcomes[-1].failing_case is not None and not _drawn[-1]:
            break  # the later ones are not needed
    return outcomes


def _explore_one(drawn: _Drawn, seed: int, parent: Parent | None) -> Outcome:
    scenario, schedule, settings, invariants, _ = drawn
    lineage: Lineage
    if parent is None:
        new = drawn_case(scenario, seed, schedule=schedule, settings=settings)
        found, drawn_settings, lineage = new.scenario, new.settings, (seed,)
    else:
        found, drawn_settings = varied(parent.case, seed, parent.seen.spans), None
        lineage = (*parent.lineage, seed)
    try:
        trial = attempt(found, invariants=invariants)
    except RunTooLarge as error:
        raise RunTooLarge([f"seed {seed}: {problem}" for problem in error.problems]) from None
    result = trial.result
    return Outcome(
        seed,
        0 if result is None else result.summary["accepted"],
        frozenset() if result is None else reached(result.history, found),
        lineage,
        found,
        NOTHING_SEEN if result is None else seen_in(result.history, found),
        drawn_settings,
        trial.failing_case,
    )
