"""The command ``retrylab studio``."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.shared import Exit, argument, leaves, refuse, say


def studio(
    source: Annotated[
        Path | None, argument("[FILE|DIR]", "A scenario, a trace or a folder of them; the current one when left out.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of 127.0.0.1; 0 takes one that is free.")] = 0,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser, too.")] = False,
) -> None:
    """Open a page on this machine to change a scenario and watch its run.

    It prints an address, which works in one browser. It sends nothing anywhere else. Ctrl-C stops it.

    Exit code 1: the port is not available; 2: bad input; 130: it was stopped.
    """
    import trio

    from actors.errors import ConfigurationError
    from simulation.studio.folder import Folder
    from simulation.studio.server import serve

    def announce(url: str) -> None:
        typer.echo(f"retrylab studio: {url}")
        if browse:
            webbrowser.open(url)

    try:
        folder = Folder(source or Path())
    except ConfigurationError as error:
        refuse(error.problems)
    code = Exit.HOLDS
    try:
        trio.run(serve, folder, port, announce)
    except* OSError as group:
        code = Exit.DOES_NOT_HOLD
        for taken in leaves(group):
            say(f"--port {port}: {os.strerror(taken.errno or 0) if isinstance(taken, OSError) else taken}")
    except* KeyboardInterrupt:
        code = Exit.INTERRUPTED
        say("stopped")
    raise typer.Exit(code)
