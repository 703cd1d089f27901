"""The validation: a pilot, as many replications as the wanted intervals take, and a result for each quantity."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted
from actors.settings.hints import nearest
from simulation.running.executors import Executor, executor
from simulation.scenario.arguments import one_seed
from simulation.verification.cases.case import Case, Experiment
from simulation.verification.cases.quantities import FALSE_ALARMS, Finding, Quantity, Rigor, Verdict


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity, and what it was found to be."""

    experiment: Experiment
    quantity: Quantity
    finding: Finding


@dataclass(frozen=True, slots=True)
class CaseResult:
    case: Case
    measured: tuple[Measured, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its quantities."""
        verdicts = {each.finding.verdict for each in self.measured}
        return next(one for one in (Verdict.DIFFERS, Verdict.TOO_WIDE, Verdict.HOLDS) if one in verdicts)


@dataclass(frozen=True)
class Validation:
    results: tuple[CaseResult, ...]
    seed: int
    full: bool
    alpha: float = field(default=FALSE_ALARMS)
    """How often each stochastic quantity may differ by chance alone."""

    left_out: int = 0
    """How many experiments of these cases only a full validation runs."""

    @property
    def holds(self) -> bool:
        return all(result.verdict is Verdict.HOLDS for result in self.results)

    @property
    def headline(self) -> str:
        """How many quantities hold, and how they were tested, in a line."""
        count = Counter(each.finding.verdict for result in self.results for each in result.measured)
        total = count.total()
        which = f"{counted(total, 'quantity', 'quantities')} of {counted(len(self.results), 'case')}"
        said = f"{count[Verdict.HOLDS]:,} of {which} hold{'s' if total == 1 else ''}"
        for verdict in (Verdict.DIFFERS, Verdict.TOO_WIDE):
            if count[verdict]:
                said += f"; {count[verdict]:,} {'differ' if verdict is Verdict.DIFFERS else 'are too wide'}"
        how = "full" if self.full else "quick, intervals of 5%, or 2.5 times what a case says"
        if self.left_out:
            how += f", without {counted(self.left_out, 'experiment')} that --full runs"
        return f"{said} · {how} · seed {self.seed}"

    def __repr__(self) -> str:
        return f"<Validation: {self.headline}>"


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
        full: every interval as narrow as its quantity says. Else no narrower than 5%, each may be 2.5 times as wide as
            its quantity says, and of cases given by name those experiments are left out that take long.
        seed: another one gives other random draws. The same one gives the same figures for any number of workers.
        workers: how many processes share the replications; all cores when None. A script that asks for more than one is
            imported by each, so what it does belongs under ``if __name__ == "__main__":``.
        on_result: called with each case as soon as it is done.
        on_experiment: called with what is being done.

    Raises:
        ConfigurationError: there is no case of that name, all such names; or an experiment of yours cannot be run, or
            returns what cannot be compared.
        InvariantBreach: a run broke a law that always holds: a bug.
        WorkerLost: a process that did runs is gone.
    """
    seed = one_seed(seed)
    chosen = find(cases)
    experiments = planned(cases, full=full)
    left_out = sum(len(case.experiments) - len(experiments[case.name]) for case in chosen)
    if workers != 1:
        _check_sendable(chosen)
    tests = sum(each.stochastic for of_case in experiments.values() for each in of_case)
    rigor = Rigor(FALSE_ALARMS / max(1, tests), full)
    results = []
    with executor(workers) as runs:
        for case in chosen:
            measured: list[Measured] = []
            for experiment in experiments[case.name]:
                if on_experiment is not None:
                    on_experiment(f"{case.name}: {experiment.name}")
                measured.extend(_measure(case, experiment, seed, rigor, runs))
            if measured:
                results.append(CaseResult(case, tuple(measured)))
                if on_result is not None:
                    on_result(results[-1])
    return Validation(tuple(results), seed, full, rigor.alpha, left_out)


def planned(cases: Sequence[str | Case] | None, *, full: bool) -> dict[str, list[Experiment]]:
    """Return the experiments that a validation runs, by the name of their case; see :func:`validate`.

    Raises:
        ConfigurationError: there is no case of that name; all such names.
    """
    chosen = find(cases)
    by_name = {each for each in cases or [case.name for case in chosen] if isinstance(each, str)}
    return {
        case.name: [each for each in case.experiments if full or case.name not in by_name or not each.full_only]
        for case in chosen
    }


def find(cases: Sequence[str | Case] | None) -> list[Case]:
    """Return the cases of these names, and those that are cases already.

    Raises:
        ConfigurationError: there is no case of that name; all such names.
    """
    from simulation.verification.cases.families import all_cases

    known = {case.name: case for case in all_cases()}
    problems = []
    if isinstance(cases, str) or (cases is not None and not cases):
        problems.append(f"cases: wanted a list of names and cases, at least one, got {cases!r}")
        cases = None
    for name in cases or ():
        if not isinstance(name, (str, Case)):
            problems.append(f"case: wanted a name or a Case, got {name!r}")
        if isinstance(name, str) and name not in known:
            guess = nearest(name, known) or next((each for each in known if name and name in each), None)
            hint = f"; did you mean {guess}?" if guess is not None else ""
            problems.append(f"case: wanted one of those that --list prints, got {name!r}{hint}")
    if problems:
        raise ConfigurationError(problems)
    if cases is None:
        return list(known.values())
    chosen = [known[each] if isinstance(each, str) else each for each in cases]
    chosen = list({id(case): case for case in chosen}.values())  # one that is named twice is done once
    names = Counter(case.name for case in chosen)
    if len(names) < len(chosen):
        raise ConfigurationError(
            [f"case: wanted one of a name, got {count} named {name}" for name, count in names.items() if count > 1]
        )
    return chosen


def _check_sendable(cases: Sequence[Case]) -> None:
    """Check that what other processes are to run can be sent to them.

    Raises:
        ConfigurationError: it cannot; all such experiments.
    """
    problems = []
    for case in cases:
        for experiment in case.experiments:
            try:
                pickle.dumps(experiment.replicate)
            except Exception as error:
                problems.append(
                    f"{case.name}: {experiment.name}: wanted a replicate that can be sent to other processes, a "
                    f"function of a module or a functools.partial of one, or workers=1; got: {error}"
                )
    if problems:
        raise ConfigurationError(problems)


def _measure(case: Case, experiment: Experiment, seed: int, rigor: Rigor, runs: Executor) -> Iterator[Measured]:
    samples = _replications(case, experiment, seed, rigor, runs)
    for quantity in experiment.quantities:
        figures = [sample[quantity.key] for sample in samples]
        finding = quantity.judge(figures, rigor)
        if finding.verdict is Verdict.HOLDS and quantity.wanted(figures, rigor) > len(figures):
            finding = replace(finding, verdict=Verdict.TOO_WIDE)
        yield Measured(experiment, quantity, finding)


def _replications(
    case: Case, experiment: Experiment, seed: int, rigor: Rigor, runs: Executor
) -> list[Mapping[str, Any]]:
    samples: list[Mapping[str, Any]] = []
    count = experiment.pilot if experiment.stochastic else 1
    if not experiment.stochastic:
        count = max(quantity.wanted([], rigor) for quantity in experiment.quantities)
    while len(samples) < (count := min(count, experiment.at_most)):
        seeds = [replication_seed(seed, case, experiment, number) for number in range(len(samples), count)]
        try:
            done: dict[int, Mapping[str, Any]] = dict(runs.map(experiment.replicate, seeds))
        except ConfigurationError as error:
            where = f"{case.name}: {experiment.name}"
            raise ConfigurationError([f"{where}: {problem}" for problem in error.problems]) from error
        samples.extend(done[place] for place in range(len(seeds)))
        _check_measured(case, experiment, samples[-len(seeds) :])
        if experiment.stochastic:
            count = max(
                quantity.wanted([sample[quantity.key] for sample in samples], rigor)
                for quantity in experiment.quantities
            )
    return samples


def _check_measured(case: Case, experiment: Experiment, samples: Sequence[Mapping[str, Any]]) -> None:
    """Check that each replication has measured everything, and was long enough for that.

    Raises:
        ConfigurationError: a metric is missing or cannot be used; of each quantity the first.
    """
    problems = []
    for quantity in experiment.quantities:
        for sample in samples:
            if quantity.key not in sample:
                problem: str | None = (
                    f"wanted a metric for {quantity.key!r}, got those for {', '.join(map(repr, sample))}"
                )
            elif (wanted := quantity.complaint(sample[quantity.key])) is not None:
                problem = f"wanted {wanted} for {quantity.key!r}, got {sample[quantity.key]!r}"
                if isinstance(sample[quantity.key], float):
                    problem += "; is the replication long enough for something to measure?"
            else:
                continue
            problems.append(f"{case.name}: {experiment.name}: {problem}")
            break
    if problems:
        raise ConfigurationError(problems)


def replication_seed(seed: int, case: Case, experiment: Experiment, number: int) -> int:
    """Return the seed of a replication: no two of them share their random draws."""
    digest = hashlib.sha256(f"{seed}/{case.name}/{experiment.name}/{number}".encode()).digest()
    return int.from_bytes(digest[:6])
