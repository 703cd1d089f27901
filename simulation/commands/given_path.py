"""Paths as they are given at the shell."""

from __future__ import annotations

from pathlib import Path

import typer


def given_path(text: str) -> Path:
    """Return the path of an option or an argument, of which this is the parser.

    Raises:
        typer.BadParameter: it is empty, as of a variable that is not set; pathlib would make the current folder of it.
    """
    if not text:
        raise typer.BadParameter("wanted a path, got an empty one")
    return Path(text)
