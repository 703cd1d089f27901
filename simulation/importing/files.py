"""The files that are imported: which are given, which library each is of, and the policies that its reader finds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.importing.policy import Policy
from simulation.importing.source import KINDS, Given, Kind, SourceFile, held_files, read_source

FILES_MAX = 20_000
_CODE = re.compile(r"\bAdd(?:\w*Resilience(?:Handler|Pipeline)|StandardHedgingHandler|Retry|PolicyHandler)\b")
"""Calls in .NET's code that make retries, which no reader works out."""
POLICIES_MAX = 2_000

_NOT_THEIRS = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "deps", "_build"})
"""Folders with code of others, beside folders whose name begins with a dot."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The policies that were read from files, and the files without one."""

    policies: tuple[Policy, ...]
    files: tuple[str, ...]
    """The files in which a library was recognised, or which gave a name in them its meaning."""

    passed_over: tuple[str, ...] = ()
    """The others."""

    problems: tuple[str, ...] = ()
    """Why files that were found in folders are not read, a line each."""


def import_files(paths: Sequence[Path], given: Given | None = None, kind: str | None = None) -> Imported:
    """Return the policies in files, in the files of folders, and in the matches of patterns such as ``src/**/*.py``.

    A file that is named has to be of a library, or to stand beside one that is; files of folders are passed over.

    Args:
        paths: files, folders and patterns.
        given: the further arguments of the command line.
        kind: read all of them as files of this library; None: each is recognised by itself.

    Raises:
        ConfigurationError: a file that is named cannot be read or is of no known library, there is no such kind, or
            no file has a policy.
    """
    given = replace(given or Given(), used=set())
    kinds = _kinds(kind)
    named, found = _given_files(paths, kinds)
    problems = list(_code_in(paths)) if kind in (None, "dotnet") else []
    sources: dict[SourceFile, list[Kind]] = {}
    for path in (*named, *found):
        try:
            source = read_source(path)
        except ConfigurationError as error:
            if path in named:
                raise
            problems += error.problems
            continue
        for file in (source, *held_files(source)):
            fitting = [each for each in kinds if kind or file.suffix in each.suffixes]
            sources[file] = fitting if kind else [each for each in fitting if each.recognises(file)]
    recognised = [source for source, of in sources.items() if of]
    if not recognised:
        wanted = ", ".join(each.name for each in kinds)
        named_text = ", ".join(map(str, paths[:3])) + (", …" if len(paths) > 3 else "")
        why = f"wanted a file with settings of {wanted}" if kind is None else f"wanted a file of {wanted}"
        raise ConfigurationError([*problems, f"{named_text}: {why}; got none in {counted(len(sources), 'file')}"])
    policies: list[Policy] = []
    for each in kinds:
        own = [source for source, of in sources.items() if each in of]
        if not own:
            continue
        others = [source for source in sources if source not in own and source.suffix in each.suffixes]
        try:
            policies += each.read(own, replace(given, others=others))
        except ConfigurationError as error:
            readable = [
                source for source in own if not any(text.startswith(f"{source.name}:") for text in error.problems)
            ]
            if not found or len(readable) == len(own):
                raise
            problems += error.problems
            if readable:
                policies += each.read(readable, replace(given, others=others))
    if len(policies) > POLICIES_MAX:
        raise ConfigurationError([f"wanted at most {POLICIES_MAX:,} policies, got {len(policies):,}: give fewer files"])
    return Imported(
        tuple(policies),
        tuple(source.name for source, of in sources.items() if of or source.name in given.used),
        tuple(source.name for source, of in sources.items() if not of and source.name not in given.used),
        tuple(problems),
    )


def is_of_libraries(folder: Path) -> bool:
    """Return whether a folder has a file that is recognised; one that cannot be read is passed over."""
    for path in _given_files([folder], _kinds(None))[1]:
        with suppress(ConfigurationError):
            if recognised_kinds(read_source(path)):
                return True
    return False


def recognised_kinds(source: SourceFile) -> list[Kind]:
    both = (source, *held_files(source))
    return [kind for kind in _kinds(None) for each in both if each.suffix in kind.suffixes and kind.recognises(each)]


def _kinds(name: str | None) -> list[Kind]:
    if name is None:
        return list(KINDS.values())
    if name not in KINDS:
        raise ConfigurationError([f"--from: wanted one of {', '.join(KINDS)}, got {name!r}"])
    return [KINDS[name]]


def _given_files(paths: Sequence[Path], kinds: Sequence[Kind]) -> tuple[list[Path], list[Path]]:
    suffixes = {suffix for each in kinds for suffix in each.suffixes}
    named: dict[Path, None] = {}
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(_files_in(path, suffixes))
        elif not path.exists() and has_magic(str(path)):
            matching = [Path(name) for name in sorted(glob(str(path), recursive=True)) if Path(name).is_file()]
            if not matching:
                raise ConfigurationError([f"{path}: no file matches"])
            found |= dict.fromkeys(matching)
        else:
            named[path] = None
        if len(found) > FILES_MAX:
            raise ConfigurationError([f"{path}: wanted at most {FILES_MAX:,} files"])
    return list(named), [path for path in found if path not in named]


def _code_in(paths: Sequence[Path]) -> Iterator[str]:
    files = (path for folder in paths if folder.is_dir() for path in _files_in(folder, {".cs"}))
    for path in islice(files, FILES_MAX):
        with suppress(ConfigurationError):
            for number, line in enumerate(read_source(path).text.split("\n"), 1):
                if (found := _CODE.search(line)) is not None:
                    yield f"{path}:{number}: passed over: {found[0]} makes retries in code, which is not read"
                    break


def _files_in(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_THEIRS and not name.startswith("."))
        shown = sorted(name for name in files if not name.startswith("."))
        yield from (Path(top, name) for name in shown if Path(name).suffix.lower() in suffixes)
