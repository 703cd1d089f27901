"""How commands end: the exit codes, and where they say why."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulation.experiments.comparison import Comparison
    from simulation.results.result import Result


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


def say(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(text, err=True)


def refuse(problems: Iterable[str]) -> NoReturn:
    """Say what is wrong with the input, a line each, and end the command."""
    for problem in problems:
        say(problem)
    raise typer.Exit(Exit.BAD_INPUT) from None


def save(result: Result | Comparison, directory: Path) -> str | None:
    """Write what has come of a command; return why where that cannot be done, to be said when the figures are out."""
    from actors.errors import ConfigurationError

    try:
        result.save(directory)
    except OSError as error:
        return f"--out {directory}: {error.strerror}"
    except ConfigurationError as error:  # somebody has been at the folder since the run began
        return f"--out {error.problems[0]}"
    return None
