"""What the commands that do runs have in common: what they say when one cannot go on, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from simulation.commands.shared import Exit, refuse, say


@contextmanager
def exits_in_words(file: Path, out: Path | None) -> Iterator[None]:
    """End the command with a text and an exit code when the block raises.

    Args:
        file: the scenario's file.
        out: the folder that keeps what is over, if there is one.
    """
    from actors.errors import ConfigurationError, InvariantBreach, WorkerLost

    kept = "" if out is None else f"; what is over is in {out}, and the same command goes on from there"
    try:
        yield
    except ConfigurationError as error:
        refuse(error.problems)
    except InvariantBreach as breach:
        say(f"{file}: an invariant broke, which is a bug: {breach}")
        raise typer.Exit(Exit.INVARIANT_BROKEN) from None
    except WorkerLost as lost:
        say(f"{lost}{kept}")
        raise typer.Exit(Exit.WORKER_LOST) from None
    except OSError as error:
        refuse([f"--out {error.filename or out}: {error.strerror or error}"])
    except KeyboardInterrupt:
        say(f"interrupted{kept}")
        raise typer.Exit(Exit.INTERRUPTED) from None


def check_who_does_them(workers: int | None, dask: str | None) -> None:
    """See to it that runs are not to be done both by processes here and by a cluster.

    Raises:
        ConfigurationError: they are.
    """
    from actors.errors import ConfigurationError

    if dask is not None and workers is not None:
        raise ConfigurationError([f"--dask {dask}: wanted it without --workers, which are those of the cluster"])
