"""Folders for what comes of a command: each holds what came of one kind of command, and never a mixture."""

from __future__ import annotations

from pathlib import Path

from actors.errors import ConfigurationError

KINDS = {"summary.json": "a run", "sweep.json": "a sweep", "tuning.json": "a search of tune"}
"""What is in a folder that has a file of this name."""


def check_folder(directory: Path, document: str) -> None:
    """See to it that a folder may take the results of which `document` is one.

    Raises:
        ConfigurationError: it has those of another kind of command, some of whose files have the same names; or nobody
            may look.
    """
    try:
        others = [kind for name, kind in KINDS.items() if name != document and _is_there(directory / name)]
    except OSError as error:
        raise ConfigurationError([f"--out {directory}: {error.strerror}"]) from None
    if others:
        wanted = f"wanted a folder for {KINDS[document]} alone"
        raise ConfigurationError([f"--out {directory}: {wanted}, got one with the results of {others[0]}"])


def _is_there(path: Path) -> bool:
    """Return whether something is at a path.

    Raises:
        OSError: nobody can tell, as `Path.exists` raises it too, but in some versions of Python only.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
