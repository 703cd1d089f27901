"""The commands ``retrylab run`` and ``retrylab lint``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulation.commands.shared import (
    Exit,
    Sets,
    Workers,
    argument,
    exits_in_words,
    json_option,
    option,
    path_option,
    refuse,
    save,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation.results.result import Result
    from simulation.scenario import Scenario


RuntimeName = Literal["simpy", "trio"]
"""The clock to run on."""

Files = Annotated[list[Path], argument("FILE", "Scenario files.")]


def run(
    files: Files,
    seed: Annotated[int | None, option("The seed, instead of the scenario's own.")] = None,
    sets: Sets = None,
    runtime: Annotated[RuntimeName, typer.Option(help="Simulated time, or trio under its MockClock.")] = "simpy",
    out: Annotated[
        Path | None, path_option("DIR", "Write report.html, summary.json, tables and a picture here.")
    ] = None,
    as_json: Annotated[bool, json_option("the summary as ")] = False,
    record: Annotated[
        Path | None, path_option("TRACE", "Write the history of the run here, to be replayed; one FILE only.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check all invariants that apply, and stop at the first breach.")
    ] = False,
    replicates: Annotated[
        int | None,
        option(
            "Run so many consecutive seeds at most, until each expectation 'in: 99% of runs' is decided with 95% "
            "confidence; 99% takes 299 runs without a failure. Other expectations must hold with the first seed.",
            min=1,
        ),
    ] = None,
    workers: Workers = None,
) -> None:
    """Run scenarios. Exit code 0: no expectation fails, though one may be undecided; 1: one does; 2: bad input; 3: an
    invariant broke; 4: a worker process is gone."""
    from actors.errors import ConfigurationError, InvariantBreach
    from simulation.reporting.terminal import watch_run
    from simulation.results.reproduce import Origin, shell_command

    scenarios = _load_all(files, sets or [], seed)
    directories = _directories(files, out)
    if record is not None and len(files) > 1:
        refuse([f"--record {record}: wanted one scenario file, got {len(files)}"])
    if workers is not None and replicates is None:
        refuse([f"--workers {workers}: wanted it with --replicates, whose runs they share"])
    for file, scenario in zip(files, scenarios, strict=True):
        for warning in _warnings(file, scenario, sets or []):
            say(f"warning: {warning}")
    summaries = []  # and not the results, which may be large
    holds = True
    unsaved: str | None = None
    for number, (file, scenario, directory) in enumerate(zip(files, scenarios, directories, strict=True), start=1):
        part = f"{number} of {len(files)}" if len(files) > 1 else ""
        try:
            how = _runner(scenario) if record is None else _recorder(file, record, seed, sets or [])
            if check:
                how = partial(how, invariants="all")
            with watch_run(scenario, quiet=as_json, part=part) as progress:
                result = how(runtime=runtime, progress=progress)
        except OSError as error:
            if record is None:
                raise
            refuse([f"--record {record}: {error.strerror}"])
        except ConfigurationError as error:
            refuse(
                f"--record {problem}" if problem.startswith(f"{record}: ") else f"{file}: {problem}"
                for problem in error.problems
            )
        except InvariantBreach as breach:
            command = shell_command(file, scenario.seed, sets or [], runtime, check=check)
            say(f"{file}: {breach.of_run(scenario.seed, command)}")
            raise typer.Exit(Exit.INVARIANT_BROKEN) from None
        result.origin = Origin(file, tuple(sets or []))
        if replicates is not None:
            _decide(result, file, replicates, workers, check=check, quiet=as_json)
        summaries.append(result.summary)
        holds &= result.holds
        unsaved = None if directory is None else save(result, directory)
        if not as_json:
            from simulation.reporting.console import print_result

            print_result(result, directory if unsaved is None else None)
        if unsaved is not None:
            break
    if as_json:
        typer.echo(json.dumps(summaries if len(files) > 1 else summaries[0], indent=2, allow_nan=False))
    if unsaved is not None:  # reported after the metrics are printed, which would be lost otherwise
        refuse([unsaved])
    if not holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def lint(files: Files, sets: Sets = None) -> None:
    """Print the settings that cannot do what they say. Exit code 0: none; 1: some; 2: bad input."""
    scenarios = _load_all(files, sets or [], None)
    found = [
        warning
        for file, scenario in zip(files, scenarios, strict=True)
        for warning in _warnings(file, scenario, sets or [])
    ]
    for warning in found:
        typer.echo(warning)
    if found:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _load_all(files: Sequence[Path], sets: Sequence[str], seed: int | None) -> list[Scenario]:
    """Load every file before any runs, and report the problems of all of them."""
    from actors.errors import ConfigurationError
    from simulation.scenario import load

    scenarios: list[Scenario] = []
    problems: list[str] = []
    for file in files:
        try:
            scenarios.append(load(file, sets=sets, seed=seed))
        except ConfigurationError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
    if problems:
        refuse(problems)
    return scenarios


def _warnings(file: Path, scenario: Scenario, sets: Sequence[str]) -> list[str]:
    from simulation.scenario.lint import lint_scenario, located

    return located(lint_scenario(scenario), file, sets)


def _directories(files: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Return where each result goes: into `out` itself, or a folder each in it when there are several."""
    from actors.errors import ConfigurationError
    from simulation.results.files import check_folder
    from simulation.results.result import SUMMARY_FILE

    if out is None:
        return [None] * len(files)
    directories = [out] if len(files) == 1 else [out / file.stem for file in files]
    for number, directory in enumerate(directories):
        try:
            check_folder(directory, SUMMARY_FILE, files)
        except ConfigurationError as error:
            refuse(error.problems)
        if directory in directories[:number]:
            refuse([f"--out {out}: {files[number]} and another file are both called {directory.name}"])
    return list(directories)


def _decide(result: Result, file: Path, replicates: int, workers: int | None, *, check: bool, quiet: bool) -> None:
    """Run the seeds that follow, and note in the summary what all show of the expectations."""
    from simulation.reporting.terminal import watch_runs
    from simulation.running.deciding import decide

    with exits_in_words(file, None), watch_runs(quiet=quiet) as progress:
        decide(result, replicates, workers=workers, invariants="all" if check else "default", progress=progress)


def _runner(scenario: Scenario) -> Callable[..., Result]:
    from simulation.running.runner import run as run_scenario

    return partial(run_scenario, scenario)


def _recorder(file: Path, trace: Path, seed: int | None, sets: Sequence[str]) -> Callable[..., Result]:
    from simulation.running.traces.recording import record

    return partial(record, file, trace, seed=seed, sets=sets)
