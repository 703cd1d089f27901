"""The command ``retrylab studio``."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.shared import Exit, given_path, refuse, say


def studio(
    source: Annotated[
        Path | None,
        typer.Argument(
            parser=given_path,
            metavar="[FILE|DIR]",
            help="A scenario file, or a folder of them; the current folder when left out.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: one that is free.")] = 0,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser, too.")] = False,
) -> None:
    """Open a page on this machine to change a scenario and watch its run.

    It prints an address, which is good for one browser. Nothing is sent anywhere else. Ctrl-C stops it.

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
        trio.run(serve, Folder(source or Path()), port, announce, strict_exception_groups=False)
    except ConfigurationError as error:
        refuse(error.problems)
    except OSError as error:
        say(f"--port {port}: {os.strerror(error.errno) if error.errno else error}")
        raise typer.Exit(Exit.DOES_NOT_HOLD) from None
