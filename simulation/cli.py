"""The command line. What a command needs is imported when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from enum import IntEnum, StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from simulation.dlq_command import dlq
from simulation.explore_command import explore
from simulation.fit_command import fit
from simulation.given_path import given_path
from simulation.plot_command import plot
from simulation.serve_command import serve
from simulation.sweep_command import sweep
from simulation.tune_command import tune
from simulation.validate_command import validate
from simulation.whatif_command import whatif

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation.comparison import Comparison
    from simulation.result import Result
    from simulation.scenario import Scenario


class _Commands(TyperGroup):
    """The commands. Who interrupts one is told that it heard; typer alone ends it without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See how your retry, breaker and limiter settings behave in an outage, before the outage does.",
)


class Exit(IntEnum):
    """What the exit code says."""

    HOLDS = 0
    DOES_NOT_HOLD = 1
    BAD_INPUT = 2
    INVARIANT_BROKEN = 3
    WORKER_LOST = 4
    INTERRUPTED = 130
    NOBODY_READS = 141
    """Who read the output has gone, as ``head`` does: what a shell makes of SIGPIPE."""


class RuntimeName(StrEnum):
    """The clock to run on."""

    SIMPY = "simpy"
    TRIO = "trio"


_Files = Annotated[
    list[Path], typer.Argument(parser=given_path, metavar="FILE...", help="Scenario files.", show_default=False)
]
_Seed = Annotated[int | None, typer.Option(help="In place of the scenario's own seed.", show_default=False)]
_Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a setting, e.g. channels.email.retry.max_attempts=8 or workload.0.arrivals.poisson=50/s.",
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def retrylab(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """See how your settings behave in an outage."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"retrylab {version_of('retrylab')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    files: _Files,
    seed: _Seed = None,
    sets: _Sets = None,
    runtime: Annotated[RuntimeName, typer.Option(help="Simulated time, or trio under its MockClock.")] = (
        RuntimeName.SIMPY
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            metavar="DIR",
            help="Write report.html, summary.json, tables and a picture here.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            metavar="TRACE",
            help="Write the history of the run here, to be replayed; one FILE only.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check all invariants that apply, and stop at the first breach.")
    ] = False,
) -> None:
    """Run scenarios. Exit code 0: all expectations hold; 1: one does not; 2: bad input; 3: an invariant broke."""
    from actors.errors import ConfigurationError, InvariantBreach
    from simulation.invariants.replay import shell_command
    from simulation.origin import Origin
    from simulation.terminal import watch_run

    scenarios = _load_all(files, sets or [], seed)
    directories = _directories(files, out)
    if record is not None and len(files) > 1:
        _say(f"--record {record}: wanted one scenario file, got {len(files)}")
        raise typer.Exit(Exit.BAD_INPUT)
    for file, scenario in zip(files, scenarios, strict=True):
        for warning in _warnings(file, scenario, sets or []):
            _say(f"warning: {warning}")
    results = []
    for number, (file, scenario, directory) in enumerate(zip(files, scenarios, directories, strict=True), start=1):
        part = f"{number} of {len(files)}" if len(files) > 1 else ""
        try:
            how = _runner(scenario) if record is None else _recorder(file, record, seed, sets or [])
            if check:
                how = partial(how, invariants="all")
            with watch_run(scenario, quiet=as_json, part=part) as progress:
                result = how(runtime=runtime.value, progress=progress)
        except OSError as error:
            if record is None:
                raise
            _say(f"--record {record}: {error.strerror}")
            raise typer.Exit(Exit.BAD_INPUT) from None
        except ConfigurationError as error:
            for problem in error.problems:
                _say(f"{file}: {problem}")
            raise typer.Exit(Exit.BAD_INPUT) from None
        except InvariantBreach as breach:
            command = shell_command(file, scenario.seed, sets or [], runtime.value, check=check)
            _say(f"{file}: {breach.of_run(scenario.seed, command)}")
            raise typer.Exit(Exit.INVARIANT_BROKEN) from None
        result.origin = Origin(file, tuple(sets or []))
        results.append(result)
        if directory is not None:
            _save(result, directory)
        if not as_json:
            from simulation.console import print_result

            print_result(result, directory)
    if as_json:
        documents = [result.summary for result in results]
        typer.echo(json.dumps(documents if len(files) > 1 else documents[0], indent=2, allow_nan=False))
    if not all(result.holds for result in results):
        raise typer.Exit(Exit.DOES_NOT_HOLD)


@app.command()
def lint(files: _Files, sets: _Sets = None) -> None:
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


@app.command()
def compare(
    file: Annotated[
        Path, typer.Argument(parser=given_path, metavar="FILE", help="A scenario file.", show_default=False)
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=A,B",
            help="Values to compare, e.g. channels.email.retry.jitter=none,full; the first one is the baseline. "
            "Given several times, every combination is run.",
            show_default=False,
        ),
    ] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Runs of each setting, with one seed after the other.")] = 10,
    seed: Annotated[
        int | None, typer.Option(help="The first seed, in place of the file's.", show_default=False)
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="PATH", help="A figure of the summary, e.g. delivery_time_s.p99.", show_default=False
        ),
    ] = None,
    sets: _Sets = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the runs; as many as cores.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=given_path, metavar="DIR", help="Write comparison.json and tables here.", show_default=False
        ),
    ] = None,
) -> None:
    """Compare settings on the same luck: the mean of each, and the differences with their 95% confidence intervals."""
    from simulation.comparison import DOCUMENT
    from simulation.comparison import compare as compare_settings
    from simulation.folders import check_folder
    from simulation.many_runs_command import exits_in_words
    from simulation.terminal import watch_runs
    from simulation.variations import parse_vary

    with exits_in_words(file, None), watch_runs(quiet=as_json) as progress:
        if out is not None:
            check_folder(out, DOCUMENT, [file])
        comparison = compare_settings(
            file,
            parse_vary(vary or []),
            replicates=replicates,
            seed=seed,
            metrics=metrics or None,
            sets=sets or [],
            workers=workers,
            progress=progress,
        )
    if out is not None:
        _save(comparison, out)
    if as_json:
        typer.echo(json.dumps(comparison.document, indent=2, allow_nan=False))
    else:
        from simulation.console import print_comparison

        print_comparison(comparison, out)


app.command()(explore)
app.command()(plot)
app.command()(fit)
app.command()(serve)
app.command()(sweep)
app.command()(tune)
app.command()(validate)
app.command()(whatif)
app.add_typer(dlq, name="dlq")


@app.command()
def replay(
    trace: Annotated[
        Path,
        typer.Argument(
            parser=given_path, metavar="TRACE", help="A trace, written by run --record.", show_default=False
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            metavar="TRACE",
            help="Run nothing, and compare with this trace instead.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.", show_default=False)] = None,
    sets: _Sets = None,
    runtime: Annotated[RuntimeName | None, typer.Option(help="Another clock.", show_default=False)] = None,
) -> None:
    """Run again what a trace was recorded of, and compare. Exit code 0: exact; 1: a difference; 2: bad input."""
    from actors.errors import ConfigurationError
    from simulation.traces.replaying import compare_traces
    from simulation.traces.replaying import replay as replay_trace

    try:
        if against is None:
            outcome = replay_trace(
                trace, sets=sets or [], seed=seed, runtime=None if runtime is None else runtime.value
            )
        elif sets or seed is not None or runtime is not None:
            _say(f"--against {against}: wanted no changes besides, since nothing is run")
            raise typer.Exit(Exit.BAD_INPUT)
        else:
            outcome = compare_traces(trace, against)
    except ConfigurationError as error:
        for problem in error.problems:
            _say(problem)
        raise typer.Exit(Exit.BAD_INPUT) from None
    except ValueError as error:
        _say(f"{trace}: {error}")
        raise typer.Exit(Exit.BAD_INPUT) from None
    typer.echo(outcome)
    if not outcome.exact:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors and other tools."""
    from simulation.scenario import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


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
        for problem in problems:
            _say(problem)
        raise typer.Exit(Exit.BAD_INPUT)
    return scenarios


def _warnings(file: Path, scenario: Scenario, sets: Sequence[str]) -> list[str]:
    from simulation.lint_scenario import lint_scenario, located

    return located(lint_scenario(scenario), file, sets)


def _directories(files: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Return where each result goes: into `out` itself, or a folder each in it when there are several."""
    from actors.errors import ConfigurationError
    from simulation.folders import check_folder
    from simulation.result import SUMMARY_FILE

    if out is None:
        return [None] * len(files)
    directories = [out] if len(files) == 1 else [out / file.stem for file in files]
    for number, directory in enumerate(directories):
        try:
            check_folder(directory, SUMMARY_FILE, files)
        except ConfigurationError as error:
            _say(error.problems[0])
            raise typer.Exit(Exit.BAD_INPUT) from None
        if directory in directories[:number]:
            _say(f"--out {out}: {files[number]} and another file are both called {directory.name}")
            raise typer.Exit(Exit.BAD_INPUT)
    return list(directories)


def _runner(scenario: Scenario) -> Callable[..., Result]:
    from simulation.runner import run as run_scenario

    return partial(run_scenario, scenario)


def _recorder(file: Path, trace: Path, seed: int | None, sets: Sequence[str]) -> Callable[..., Result]:
    from simulation.traces.recording import record

    return partial(record, file, trace, seed=seed, sets=sets)


def _save(result: Result | Comparison, directory: Path) -> None:
    try:
        result.save(directory)
    except OSError as error:
        _say(f"--out {directory}: {error.strerror}")
        raise typer.Exit(Exit.BAD_INPUT) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """Run the command; what goes wrong is said in a line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what its encoding cannot show; stderr escapes that anyway
    trouble: OSError | None = None
    try:
        app()
        code: int | str | None = Exit.HOLDS
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED  # before a command was chosen
    except OSError as error:
        trouble = error
    except SystemExit as end:
        code = end.code
        if isinstance(end.__context__, BrokenPipeError):
            trouble = end.__context__  # of which typer makes a 1, which is what an expectation that does not hold is
    # Python itself would flush at exit, too late to say what came of it.
    trouble = _flush(sys.stdout) or trouble
    if trouble is not None:
        code = Exit.NOBODY_READS if isinstance(trouble, BrokenPipeError) else Exit.BAD_INPUT
        if code == Exit.BAD_INPUT:
            with suppress(OSError):  # that cannot be said either
                _say(f"{trouble.filename or 'output'}: {trouble.strerror}")
    if isinstance(_flush(sys.stderr), BrokenPipeError):
        code = Exit.NOBODY_READS
    sys.exit(code)


def _flush(stream: TextIO | None) -> OSError | None:
    """Return why what was written cannot go where it should; it then goes nowhere."""
    if stream is None:  # it was closed from the start
        return None
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None
