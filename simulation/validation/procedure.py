"""The validation: a pilot, as many replications as the wanted intervals take, and a verdict for each quantity."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from actors.errors import ConfigurationError
from actors.settings import nearest
from simulation.executors import Executor, executor
from simulation.validation.case import Case, Experiment
from simulation.validation.quantities import FALSE_ALARMS, Finding, Quantity, Rigor, Verdict


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity, and what it was found to be."""

    experiment: Experiment
    quantity: Quantity
    finding: Finding


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case."""

    case: Case
    measured: tuple[Measured, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its quantities."""
        verdicts = {each.finding.verdict for each in self.measured}
        return next(one for one in (Verdict.DIFFERS, Verdict.TOO_WIDE, Verdict.HOLDS) if one in verdicts)


@dataclass(frozen=True)
class Validation:
    """What came of a validation."""

    results: tuple[CaseResult, ...]
    seed: int
    full: bool
    alpha: float = field(default=FALSE_ALARMS)
    """How often each stochastic quantity may differ by luck alone."""

    @property
    def holds(self) -> bool:
        """Whether every quantity holds."""
        return all(result.verdict is Verdict.HOLDS for result in self.results)

    @cached_property
    def document(self) -> dict[str, Any]:
        """All of it as a plain dict, which is also the JSON document."""
        from simulation.validation.printing import document

        return document(self)

    def __str__(self) -> str:
        from simulation.validation.printing import text

        return text(self)

    def markdown(self, rows: int | None = None) -> str:
        """Return the table of expected against measured in Markdown, with so many rows of each case or all."""
        from simulation.validation.printing import markdown

        return markdown(self, rows)


def validate(
    cases: Sequence[str | Case] | None = None,
    *,
    full: bool = False,
    seed: int = 0,
    workers: int | None = 1,
    on_result: Callable[[CaseResult], None] | None = None,
    on_experiment: Callable[[str], None] | None = None,
) -> Validation:
    """Compare what retrylab does with published and proved results.

    Args:
        cases: their names, or cases of yours (see :mod:`simulation.validation`); all that there are when None.
        full: every interval as narrow as its quantity says; else 5%, and without what takes long.
        seed: another one is another run of luck. The same one gives the same figures for any number of workers.
        workers: how many processes share the replications; all cores when None. A script that asks for more than one is
            imported by each, so what it does belongs under ``if __name__ == "__main__":``.
        on_result: told of each case as soon as it is done.
        on_experiment: told what is being done.

    Raises:
        ConfigurationError: there is no case of that name; all such names.
        InvariantBreach: a run broke a law that always holds: a bug.
        WorkerLost: a process that did runs is gone.
    """
    chosen = find(cases)
    experiments = {case.name: [each for each in case.experiments if full or not each.full_only] for case in chosen}
    tests = sum(each.stochastic for of_case in experiments.values() for each in of_case)
    rigor = Rigor(FALSE_ALARMS / max(1, tests), full)
    results = []
    with executor(workers) as who:
        for case in chosen:
            measured: list[Measured] = []
            for experiment in experiments[case.name]:
                if on_experiment is not None:
                    on_experiment(f"{case.name}: {experiment.name}")
                measured.extend(_measure(case, experiment, seed, rigor, who))
            if measured:
                results.append(CaseResult(case, tuple(measured)))
                if on_result is not None:
                    on_result(results[-1])
    return Validation(tuple(results), seed, full, rigor.alpha)


def find(cases: Sequence[str | Case] | None) -> list[Case]:
    """Return the cases of these names, and those that are cases already.

    Raises:
        ConfigurationError: there is no case of that name; all such names.
    """
    from simulation.validation.cases import all_cases

    known = {case.name: case for case in all_cases()}
    problems = []
    for name in cases or ():
        if isinstance(name, str) and name not in known:
            guess = nearest(name, known) or next((each for each in known if name and name in each), None)
            hint = f"; did you mean {guess}?" if guess is not None else ""
            problems.append(f"case: wanted one of those that --list prints, got {name!r}{hint}")
    if problems:
        raise ConfigurationError(problems)
    if cases is None:
        return list(known.values())
    chosen = [known[each] if isinstance(each, str) else each for each in cases]
    return list({id(case): case for case in chosen}.values())  # one that is named twice is done once


def _measure(case: Case, experiment: Experiment, seed: int, rigor: Rigor, who: Executor) -> Iterator[Measured]:
    samples = _replications(case, experiment, seed, rigor, who)
    for quantity in experiment.quantities:
        figures = [sample[quantity.key] for sample in samples]
        finding = quantity.judge(figures, rigor)
        if finding.verdict is Verdict.HOLDS and quantity.wanted(figures, rigor) > len(figures):
            finding = replace(finding, verdict=Verdict.TOO_WIDE)
        yield Measured(experiment, quantity, finding)


def _replications(
    case: Case, experiment: Experiment, seed: int, rigor: Rigor, who: Executor
) -> list[Mapping[str, Any]]:
    """Return what came of the pilot, and of as many more replications as all quantities want."""
    samples: list[Mapping[str, Any]] = []
    count = experiment.pilot if experiment.stochastic else 1
    if not experiment.stochastic:
        count = max(quantity.wanted([], rigor) for quantity in experiment.quantities)
    while len(samples) < (count := min(count, experiment.at_most)):
        seeds = [replication_seed(seed, case, experiment, number) for number in range(len(samples), count)]
        done: dict[int, Mapping[str, Any]] = dict(who.map(experiment.replicate, seeds))
        samples.extend(done[place] for place in range(len(seeds)))
        _check_measured(case, experiment, samples[-len(seeds) :])
        if experiment.stochastic:
            count = max(
                quantity.wanted([sample[quantity.key] for sample in samples], rigor)
                for quantity in experiment.quantities
            )
    return samples


def _check_measured(case: Case, experiment: Experiment, samples: Sequence[Mapping[str, Any]]) -> None:
    """See to it that each replication was long enough to measure everything in it.

    Raises:
        ValueError: a figure is none.
    """
    for quantity in experiment.quantities:
        for sample in samples:
            if isinstance(sample[quantity.key], float) and math.isnan(sample[quantity.key]):
                raise ValueError(
                    f"{case.name}: {experiment.name}: wanted replications in which there is something to measure for "
                    f"{quantity.name!r}, got one without; make them longer"
                )


def replication_seed(seed: int, case: Case, experiment: Experiment, number: int) -> int:
    """Return the seed of a replication: no two of them share their luck."""
    digest = hashlib.sha256(f"{seed}/{case.name}/{experiment.name}/{number}".encode()).digest()
    return int.from_bytes(digest[:6])
