"""Files and folders of results: whole or not there, tables as Parquet, a folder for each kind of command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from actors.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd


class FolderKind(NamedTuple):
    """A kind of command whose results are kept in a folder."""

    text: str
    files: tuple[str, ...]
    """The names of the files that it writes there, beside its document, as patterns."""


KINDS = {
    "summary.json": FolderKind("a run", ("scenario.yaml", "report.html", "overview.png", "*.parquet")),
    "sweep.json": FolderKind("a sweep", ("scenario.yaml", "runs.jsonl", "*.parquet")),
    "tuning.json": FolderKind("a search of tune", ("tuned.yaml", "tuned-[0-9]*.yaml", "runs.jsonl", "*.parquet")),
    "limits.json": FolderKind("limits", ("runs.jsonl", "*-holds.yaml", "*-breaks.yaml")),
    "map.json": FolderKind("a map of limits", ("runs.jsonl", "stuck.yaml", "remedy.yaml", "map.png")),
    "comparison.json": FolderKind("a comparison", ("runs.jsonl", "*.parquet")),
}
"""The kind of results in a folder, by the name of its document."""


def check_folder(directory: Path, document: str, scenarios: Sequence[str | Path], name: str = "--out ") -> None:
    """Check that a folder, which need not exist, may take the results whose document, one of :data:`KINDS`, is
    `document`.

    No result may be written in the place of a file of `scenarios`. `name` is of the option, for the error.

    Raises:
        ConfigurationError: it has the results of another kind of command, some of whose files have the same names; or a
            scenario where a result would be; or a file there that no such command has written; or it may not be read
            or written."""
    check_writable(directory, name)
    kind = KINDS[document]
    try:
        others = [other.text for name, other in KINDS.items() if name != document and _is_there(directory / name)]
    except OSError as error:
        raise ConfigurationError([f"{name}{directory}: {error.strerror}"]) from None
    if others:
        wanted = f"wanted a folder for {kind.text} alone"
        raise ConfigurationError([f"{name}{directory}: {wanted}, got one with the results of {others[0]}"])
    there = [path for pattern in (document, *kind.files) for path in directory.glob(pattern)]
    for path in there:
        if any(is_same(path, Path(scenario)) for scenario in scenarios):
            wanted = f"wanted a folder where {path.name} may be written"
            raise ConfigurationError([f"{name}{directory}: {wanted}, got the one where that is the scenario itself"])
    # Nothing else is written before there is a table, or a line for a run.
    if (
        there
        and not any(path.suffix in (".parquet", ".jsonl") for path in there)
        and not _is_ours(directory / document)
    ):
        wanted = f"wanted a folder where {there[0].name} may be written"
        raise ConfigurationError([f"{name}{directory}: {wanted}, got one where that is no result of {kind.text}"])


def check_writable(directory: Path, name: str = "--out ") -> None:
    """Check that a folder can be made if it is not there, and be written, as far as that can be seen without doing it.

    Raises:
        ConfigurationError: it cannot; the error begins with `name`."""
    for there in (directory, *directory.absolute().parents):
        try:
            if not _is_there(there):
                continue
        except OSError as error:
            raise ConfigurationError([f"{name}{directory}: {error.strerror}"]) from None
        which = "" if there is directory else f" at {there}"
        if not there.is_dir():
            raise ConfigurationError([f"{name}{directory}: wanted a folder, got a file{which}"])
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigurationError([f"{name}{directory}: wanted a folder that may be written{which}"])
        return


def _is_ours(document: Path) -> bool:
    """Return whether a file is the document of results: each has the scenario in it."""
    try:
        return "scenario" in json.loads(document.read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def folder_to_fill(directory: str | Path, document: str, scenario: Path | None) -> Path:
    """Return a folder for results; `document`, one of :data:`KINDS`, must be written last.

    The folder is made if it is not there. Where it has a document already, that is removed: so an interrupted write
    leaves none, and never one beside tables of another run. Nothing may take the place of the scenario's own file.

    Raises:
        ConfigurationError: the folder may not take them; see :func:`check_folder`.
        OSError: it cannot be written."""
    directory = Path(directory)
    check_folder(directory, document, [] if scenario is None else [scenario], "")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / document).unlink(missing_ok=True)
    return directory


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same file, which then must not be written while it is read."""
    try:
        return one.samefile(other)
    except OSError:  # one is not there, or may not be looked at: opening it reports that
        return False


def _is_there(path: Path) -> bool:
    """Return whether a path exists; an OSError says that this is unknown, which `Path.exists` raises in some versions
    of Python only."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table in a Parquet file; all its columns when None are named.

    Raises:
        ConfigurationError: it cannot be read, is no such file or a damaged one, or has no such columns."""
    import pandas as pd

    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        problem = "no such file"
    except Exception as error:  # of a damaged one pyarrow raises whatever it comes upon
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"wanted a table as Parquet ({reason})"
    raise ConfigurationError([f"{path}: {problem}"])


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write into, which takes its place when the block ends; its folder is made if it is not there.

    A symbolic link stays one, and its target is written; the permissions of a file stay unchanged. A device or a pipe
    cannot be replaced, so it is written directly: bytes written before the block breaks off stay written.

    Raises:
        OSError: it cannot be written.
    """
    place = Path(os.path.realpath(path))
    if path.exists() and not place.is_file():  # of a pipe such as /dev/fd/63 that is a name for people, and no path
        with path.open("wb") as through:
            yield through
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    try:
        part.unlink(missing_ok=True)  # of a process that was killed; or a link, which would be written through
        with part.open("xb") as file:
            yield file
        if place.exists():
            shutil.copymode(place, part)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
