"""How commands end: the exit codes, and where they say why."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from simulation.comparison import Comparison
    from simulation.result import Result


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


def save(result: Result | Comparison, directory: Path) -> None:
    """Write what has come of a command; say why, and end it, where that cannot be done."""
    try:
        result.save(directory)
    except OSError as error:
        say(f"--out {directory}: {error.strerror}")
        raise typer.Exit(Exit.BAD_INPUT) from None
