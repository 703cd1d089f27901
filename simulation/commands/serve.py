"""The command ``retrylab serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.shared import Exit, argument, leaves, say


def serve(
    file: Annotated[Path, argument("CONFIG", "A file of settings, in YAML.")],
    check: Annotated[
        bool, typer.Option("--check", help="Read the settings, and the files that they name, and stop.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Make a living service with the same store, or a node of the same name, drain and end first.",
        ),
    ] = False,
) -> None:
    """Run the notifier as a service, with real transports and HTTP in front.

    On SIGTERM it drains, and keeps the rest of the notifications in flight for the next start; a second SIGTERM stops
    it at once. SIGHUP reloads the settings.

    Exit code 0: it was asked to stop, and has; 1: it failed; 2: bad input, or a service of the same name is alive.
    """
    from functools import partial

    import trio

    from actors.errors import ConfigurationError, StoreError, StoreInUse
    from actors.service.config import load
    from actors.service.serve import check as check_files, serve as run

    try:
        config = load(file)
        if check:
            for warning in trio.run(check_files, file, config):
                say(f"warning: {warning}")
            typer.echo(f"{file}: the settings are valid")
            return
        code = trio.run(partial(run, replace=replace), file, config, lambda url: typer.echo(f"retrylab serves {url}"))
    except* ConfigurationError as group:
        for wrong in leaves(group):
            for problem in wrong.problems if isinstance(wrong, ConfigurationError) else ():
                say(problem if problem.startswith(str(file)) else f"{file}: {problem}")
        code = Exit.BAD_INPUT
    except* StoreError as group:
        for wrong in leaves(group):
            say(f"{file}: store: {wrong}")
        code = Exit.BAD_INPUT if all(isinstance(wrong, StoreInUse) for wrong in leaves(group)) else Exit.DOES_NOT_HOLD
    except* OSError as group:
        for wrong in leaves(group):
            number = wrong.errno if isinstance(wrong, OSError) else None
            say(f"{file}: listen: {config.listen}: {wrong if number is None else os.strerror(number)}")
        code = Exit.DOES_NOT_HOLD
    if code:
        raise typer.Exit(code)
