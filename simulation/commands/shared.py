"""The shared parts of commands: options, paths as they are given, exit codes, and errors in words."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from simulation.commands.names import Exit as Exit, missing_for_option

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from simulation.experiments.comparison import Comparison
    from simulation.results.progress import FinishedCell, RunsProgress
    from simulation.results.result import Result
    from simulation.scenario import Scenario


def say(text: str) -> None:
    """Print lines on stderr. A terminal gets them broken at words, but commands, which are there to be copied."""
    if sys.stderr is not None and sys.stderr.isatty():
        text = wrapped(text)
    typer.echo(text, err=True)


def columns(in_a_file: int) -> int:
    """Return how many characters a line on stdout has room for; `in_a_file` where it is no terminal."""
    return get_terminal_size().columns if sys.stdout.isatty() else in_a_file


def wrapped(text: str) -> str:
    """Return text with its lines broken at words where a terminal ends, but for commands and indented lines."""
    width = get_terminal_size().columns
    return "\n".join(
        line
        if line.startswith(("retrylab ", "::", " "))
        else fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def print_line(document: Any) -> None:
    """Print a document as JSON on a line, which is out when this returns: typer flushes."""
    typer.echo(json.dumps(document, allow_nan=False))


def print_document(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def import_from_here() -> None:
    """Let modules be imported from the working directory, which the path of a console script is without."""
    from simulation.running.own_code import import_from

    import_from(os.getcwd())


def refuse(problems: Iterable[str]) -> NoReturn:
    for problem in problems:
        say(problem)
    raise typer.Exit(Exit.BAD_INPUT) from None


def save(result: Result | Comparison, directory: Path) -> str | None:
    """Write the results of a command; return why they cannot be written, to be said once the metrics are printed."""
    from actors.errors import ConfigurationError
    from simulation.saving import save as save_found

    try:
        save_found(result, directory)
    except OSError as error:
        return f"--out {directory}: {error.strerror}"
    except ConfigurationError as error:  # the folder has changed since the run began
        return f"--out {error.problems[0]}"
    return None


def check_extras(command: str, **asked: object) -> None:
    """End the command if one of the options that need a further extra is given, and the extra is not installed."""
    for name, value in asked.items():
        if value is not None and (lacking := missing_for_option(f"{command} --{name}")):
            refuse([lacking])


def given_path(text: str) -> Path:
    """Parse the path of an option or an argument.

    Raises:
        typer.BadParameter: it is empty, as of a variable that is not set; pathlib would make the current folder of it.
    """
    if not text:
        raise typer.BadParameter("wanted a path, got an empty one")
    return Path(text)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def option(help: str, *names: str, **more: Any) -> Any:
    """Return an option; most help texts state the default themselves, in place of ``[default: None]``."""
    return typer.Option(*names, help=help, **{"show_default": False, **more})


def argument(metavar: str, help: str) -> Any:
    return typer.Argument(parser=given_path, metavar=metavar, help=help, show_default=False)


def path_option(metavar: str, help: str, *names: str, **more: Any) -> Any:
    return option(help, *names, parser=given_path, metavar=metavar, **more)


def json_option(what: str) -> Any:
    return typer.Option("--json", help=f"Print {what}JSON and nothing else.")


def jsonl_option(what: str) -> Any:
    return typer.Option("--jsonl", help=f"Print a line of JSON for {what}.")


def set_option(help: str) -> Any:
    return option(help, "--set", metavar="PATH=VALUE")


File = Annotated[Path, argument("FILE", "A scenario file.")]
Sets = Annotated[
    list[str] | None,
    set_option("Change a setting, e.g. channels.email.retry.max_attempts=8 or workload.0.arrivals.poisson=50/s."),
]
SetsAsForRun = Annotated[list[str] | None, set_option("Change a setting, as for run.")]
FirstSeed = Annotated[int | None, option("The first seed, in place of the file's.")]
WithinOption = Annotated[
    list[str] | None,
    option(
        "Add runs, ten first, until each 95% interval of a metric ends within this distance of its middle, e.g. "
        "sent_fraction=0.1%.",
        "--within",
        metavar="PATH=WIDTH",
    ),
]
CodeOption = Annotated[
    bool,
    option("Import the code that the file names: own actors, and with --service the functions of its world.", "--code"),
]
Workers = Annotated[int | None, option("Processes that share the runs; as many as cores.", min=1)]
Dask = Annotated[
    str | None,
    option("Have a Dask cluster do the runs, e.g. tcp://10.0.0.1:8786; takes the extra cluster.", metavar="ADDRESS"),
]


def half_widths(within: list[str] | None) -> dict[str, str]:
    """Return the half-widths of `--within` by metric; a text of another form stands as the metric."""
    return {path: width for path, _, width in (text.partition("=") for text in within or [])}


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class FinishedRuns:
    """Counts the finished runs of many, for an end that comes before all have finished."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._count: int | None = None
        """None until the first of them begins."""

    def counted(self, progress: RunsProgress | None) -> RunsProgress:
        def count(finished: int, of: int, cell: FinishedCell | None = None, /) -> None:
            self._count = finished
            if progress is not None:
                progress(finished, of) if cell is None else progress(finished, of, cell)

        return count

    @property
    def kept(self) -> str:
        """The sentence on which runs are kept and how to go on, to stand behind the reason of the end."""
        from actors.formatting import counted

        if self._count is None:
            return ""
        if not self._count:
            return " before a run had finished"
        runs, are = counted(self._count, "finished run"), "is" if self._count == 1 else "are"
        if self._out is None:
            return f": {runs} {are} not kept; with --out DIR the same command would go on from there"
        return f": {runs} {are} kept in {self._out}, and the same command goes on from there"


@contextmanager
def exits_in_words(file: Path, out: Path | None, show: Callable[[Any], None] | None = None) -> Iterator[FinishedRuns]:
    """End the command with a text and an exit code when the block raises; gives the counter of its runs.

    Args:
        file: the scenario's file.
        out: the folder that keeps finished runs, if there is one.
        show: prints the result so far after an interrupt.
    """
    from actors.errors import ConfigurationError, InvariantBreach, WorkerLost
    from simulation.results.progress import Interrupted

    finished = FinishedRuns(out)
    try:
        yield finished
    except ConfigurationError as error:
        refuse(error.problems)
    except InvariantBreach as breach:
        say(f"{file}: an invariant broke, which is a bug: {breach}")
        raise typer.Exit(Exit.INVARIANT_BROKEN) from None
    except WorkerLost as lost:
        say(f"{lost}{finished.kept}")
        raise typer.Exit(Exit.WORKER_LOST) from None
    except OSError as error:
        refuse([f"--out {error.filename or out}: {error.strerror or error}"])
    except KeyboardInterrupt as stopped:
        if show is not None and isinstance(stopped, Interrupted):
            show(stopped.so_far)
        say(f"interrupted{finished.kept}")
        raise typer.Exit(Exit.INTERRUPTED) from None


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether an interrupt has come, so that the block ends where it can; a second one ends
    it at once."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, _: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # an interrupt goes elsewhere
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


def warn_of_varied(file: Path, sets: Sequence[str] | None, varied: Collection[str] | None) -> Scenario | None:
    """Warn of varied settings that cannot change anything; problems of the file are reported elsewhere.

    Returns the scenario, or None where it can be read only once, or cannot be used.
    """
    from actors.errors import ConfigurationError
    from simulation.scenario import load
    from simulation.scenario.lint import lint_varied

    if not file.is_file():  # a pipe can be read only once
        return None
    try:
        scenario = load(file, sets=sets or [])
    except ConfigurationError:
        return None
    if varied is None:
        varied = [] if scenario.sweep is None else list(scenario.sweep.vary)
    for text in lint_varied(scenario, varied):
        say(f"warning: --vary {text}")
    return scenario


def say_what_runs(file: Path, scenarios: Iterable[Scenario]) -> None:
    if any(scenario.is_for_service for scenario in scenarios):
        from simulation.scenario.world import NO_SERVICE

        say(f"{file}: {NO_SERVICE}")


def announce(
    file: Path,
    scenarios: Sequence[Scenario],
    replicates: int = 1,
    workers: int | None = 1,
    dask: str | None = None,
    service: str | None = None,
) -> None:
    """Say how long so many runs of each scenario will take, and how much memory, where that is hours or gigabytes, and
    that they are of the pipeline where a service is missing.
    """
    import os

    from actors.formatting import counted
    from simulation.running.memory import left
    from simulation.scenario.run_size import logger, size_of_runs, warning_of

    if service is None:
        say_what_runs(file, scenarios)
    at_once = 1 if dask is not None else min(workers or os.cpu_count() or 1, replicates * len(scenarios))
    text = warning_of(size_of_runs(scenarios, replicates, at_once), left)
    logger.disabled = True  # the runs need not say it again
    if text is not None:
        runs = replicates * len(scenarios)
        say(f"{file}: {text}" if runs == 1 else f"{file}: up to {counted(runs, 'run')}: {text}")


def check_who_does_them(workers: int | None, dask: str | None) -> None:
    """Check that runs are not to be done both by processes here and by a cluster.

    Raises:
        ConfigurationError: they are.
    """
    from actors.errors import ConfigurationError

    if dask is not None and workers is not None:
        raise ConfigurationError([f"--dask {dask}: wanted it without --workers, since the cluster has its own"])
