"""Runs a scenario with one seed after the other until its expectations of a share of runs are decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from actors.formatting import counted, plain_number
from simulation.results.result import Result
from simulation.running.executors import Task, executor, summary_of
from simulation.running.sequential_test import Conclusion, SequentialTest, fewest_runs, interval
from simulation.scenario import Expectation, Scenario
from simulation.scenario.arguments import check_counts, seeds_of

if TYPE_CHECKING:
    from simulation.running.runner import RulesByName

Held = tuple[bool, ...]
"""Of each expectation of a scenario, in its order: whether one run is within the bound."""

_HOLDS = {Conclusion.HOLDS: True, Conclusion.FAILS: False, Conclusion.UNDECIDED: None}


def decide(
    result: Result,
    replicates: int,
    *,
    workers: int | None = 1,
    invariants: Literal["default", "all"] = "default",
    rules: Callable[[Scenario], RulesByName] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the scenario of a result again, with the seeds that follow, and note in its summary how often its
    expectations hold.

    An expectation of a share of runs is decided by a :class:`SequentialTest`, fed in the order of the seeds, so that
    the number of workers decides nothing. The runs end when all such expectations are decided; without any, all
    `replicates` runs are done. Any other expectation must hold in the result's own run, as without replicates.

    Each entry of ``expectations`` then has, beside `text` and the result's own `value`: `holds`, true, false, or null
    if undecided; `runs` and `held`, the number of runs and of those in which it held; and the `interval` of the
    probability that it holds, whose bounds have 95% confidence each. The summary has ``replicates``: the `seeds`, first
    and last.

    Args:
        result: of the run with the first seed.
        replicates: how many runs there may be at most, with the first one; at least 1.
        workers: how many processes share the runs; all cores when None.
        invariants: which to check in each further run, ``"default"`` or ``"all"``.
        rules: returns new failure rules for each further run; it is sent to other processes.
        progress: called with how many runs have finished, and of how many at most.

    Raises:
        ConfigurationError: a file could not have one of the seeds.
        KeyboardInterrupt: it was interrupted; the results until then are noted.
        InvariantBreach: a run broke an invariant: a bug.
        ValueError: `replicates` or `workers` is less than 1.
        WorkerLost: a process that did runs is gone.
    """
    check_counts(replicates=replicates, workers=workers)
    scenario, summary = result.scenario, result.summary
    seeds = seeds_of(scenario.seed, replicates)
    evidence = Evidence(scenario.expect)
    evidence.add(held_in(summary, scenario))
    tasks = [Task(scenario, seed) for seed in seeds[1:]]
    if progress is not None:
        progress(evidence.runs, replicates)
    if tasks and not evidence.is_decided:
        how = partial(held_in_run, runtime=summary["runtime"], invariants=invariants, rules=rules)
        share = executor(min(len(tasks), workers) if workers else workers)
        try:
            with share as runs, closing(runs.map(how, tasks)) as found:
                for held in _in_order(found):
                    evidence.add(held)
                    if progress is not None:
                        progress(evidence.runs, replicates)
                    if evidence.is_decided:
                        break
        except KeyboardInterrupt:
            _note(summary, evidence, seeds, replicates)
            raise
    _note(summary, evidence, seeds, replicates)


def _note(summary: dict[str, Any], evidence: Evidence, seeds: Sequence[int], replicates: int) -> None:
    entries = zip(summary["expectations"], evidence.document, strict=True)
    summary["expectations"] = [{**entry, **shown} for entry, shown in entries]
    summary["replicates"] = {
        "runs": evidence.runs,
        "at_most": replicates,
        "seeds": [seeds[0], seeds[evidence.runs - 1]],
    }


class Evidence:
    def __init__(self, expectations: Sequence[Expectation]) -> None:
        self.runs = 0
        self._tests = [None if each.share is None else SequentialTest(each.share) for each in expectations]
        self._holds_in_first: Held = ()
        self._held = [0] * len(expectations)

    @property
    def is_decided(self) -> bool:
        """Whether further runs would change nothing: there are expectations of a share of runs, all decided."""
        tests = [test for test in self._tests if test is not None]
        return bool(tests) and all(test.is_decided for test in tests)

    def add(self, held: Held) -> None:
        self._holds_in_first = self._holds_in_first or held
        self.runs += 1
        for place, holds in enumerate(held):
            self._held[place] += holds
            if (test := self._tests[place]) is not None:
                test.add(holds)

    @property
    def document(self) -> list[dict[str, Any]]:
        """The state of each expectation as plain data; see :func:`decide`."""
        return [self._of(place) for place in range(len(self._tests))]

    def _of(self, place: int) -> dict[str, Any]:
        test = self._tests[place]
        if test is None:
            holds: bool | None = self._holds_in_first[place]
            runs, held = self.runs, self._held[place]
        else:
            holds, runs, held = _HOLDS[test.conclusion], test.runs, test.held
        return {"holds": holds, "runs": runs, "held": held, "interval": list(interval(held, runs))}


def held_in_run(task: Task, rules: Callable[[Scenario], RulesByName] | None = None, **how: Any) -> Held:
    """Do a run in this process, and return of each expectation whether it is within the bound.

    Raises:
        InvariantBreach: it broke an invariant: a bug.
    """
    return held_in(summary_of(task, rules=rules and rules(task.scenario), **how), task.scenario)


def held_in(summary: Mapping[str, Any], scenario: Scenario) -> Held:
    """Return of each expectation whether the run with this summary is within the bound."""
    entries = zip(scenario.expect, summary["expectations"], strict=True)
    return tuple(expectation.holds_of(entry["value"]) for expectation, entry in entries)


def decision_text(expectation: Expectation, entry: Mapping[str, Any], option: str = "--replicates") -> str:
    """Return the result of the replicates in a few words: ``held in 299 of 299 runs, so in 99% to 100% of all``.

    Without replicates, return the number of runs that decide an expectation of a share of runs, and nothing for another
    expectation; `option` is the option for replicates."""
    share, runs = expectation.share, entry.get("runs")
    if runs is None:
        return "" if share is None else f"undecided by one run: it takes {option} {fewest_runs(share)} or more"
    low, high = (f"{plain_number(bound * 100, 4)}%" for bound in entry["interval"])
    return f"held in {entry['held']:,} of {counted(runs, 'run')}, so in {low} to {high} of all"


def _in_order(finished: Iterator[tuple[int, Held]]) -> Iterator[Held]:
    """Yield results, which come with their places in any order, in the order of the places."""
    early: dict[int, Held] = {}
    wanted = 0
    for place, held in finished:
        early[place] = held
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1
