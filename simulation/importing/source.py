"""A file to import: its text within bounds, and the places of its lines; the libraries that read it, in the order in
which they are asked whether it is theirs, and their versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from actors.errors import ConfigurationError
from actors.settings.file import text_of
from simulation.importing.policy import Policy

CHARACTERS_MAX = 2**22
"""A longer file is refused: settings of retries fill some kilobytes."""

HELD_MAX = 100
"""Files in a ConfigMap that are looked at."""

_CONFIG_MAP = re.compile(r"^kind:[ \t]*[\"']?ConfigMap\b", re.MULTILINE)
_HELD = re.compile(r"^( +)[\"']?([\w.-]+\.(?:ya?ml|properties|json|env))[\"']?:[ \t]*\|[+-]?[ \t]*")
_CONFLICT = re.compile(r"^(?:<{7} |>{7} )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's name as it was given, and its text."""

    name: str
    text: str

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()


def read_source(path: Path) -> SourceFile:
    """Return the file; raise ConfigurationError if it cannot be read, is no UTF-8 or is too long."""
    text = text_of(path).replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > CHARACTERS_MAX:
        raise ConfigurationError([f"{path}: wanted at most {CHARACTERS_MAX:,} characters"])
    return SourceFile(str(path), text)


def held_files(file: SourceFile) -> Iterator[SourceFile]:
    """Yield the files in a ConfigMap of Kubernetes, below its name, each on the lines that it has there."""
    lines = file.text.split("\n") if _CONFIG_MAP.search(file.text) else []
    heads = ((place, found) for place, line in enumerate(lines, 1) if (found := _HELD.fullmatch(line)))
    for start, found in islice(heads, HELD_MAX):
        first = next((line for line in lines[start : start + 100] if line.strip()), "")
        indent = first[: len(first) - len(first.lstrip(" "))]
        if len(indent) > len(found[1]):
            others = (at for at in range(start, len(lines)) if lines[at].strip() and not lines[at].startswith(indent))
            own = [line[len(indent) :] for line in lines[start : next(others, len(lines))]]
            yield SourceFile(f"{file.name}/{found[2]}", "\n" * start + "\n".join(own))


def check_conflict(file: SourceFile) -> None:
    """Raise ConfigurationError, with its line, where a file of source code has a merge conflict."""
    if conflict := _CONFLICT.search(file.text):
        at = file.text.count("\n", 0, conflict.start()) + 1
        raise ConfigurationError([f"{file.name}:{at}: wanted source code, got a merge conflict"])


# ── what the command line says, and the libraries ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of the command line beside the files: ``--given``, ``--library`` and ``--profile``."""

    values: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    profiles: Sequence[str] = ()

    others: Sequence[SourceFile] = ()
    """The further files with an ending of the kind that were given: constants and base classes may stand there."""

    used: set[str] = field(default_factory=set, compare=False)
    """The names of these in which a reader found the meaning of a name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A library: its name, the module of ``simulation.importing.readers`` that reads its files, and their endings.

    A module has ``recognises(file)``, which looks at one file and is cheap and never wrong about a file of another
    kind, and ``read(files, given)``, which returns a policy for each task, queue, client or route of all the files.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    """With their dots, in lower case; an empty one stands for a name without a dot."""

    beside: tuple[str, ...] = ()
    """Other libraries whose versions count."""

    @property
    def recognises(self) -> Callable[[SourceFile], bool]:
        return import_module(f"simulation.importing.readers.{self.module}").recognises  # type: ignore[no-any-return]

    @property
    def read(self) -> Callable[[Sequence[SourceFile], Given], Sequence[Policy]]:
        """Return the policies of files of this library; raise ConfigurationError for an unreadable one."""
        return import_module(f"simulation.importing.readers.{self.module}").read  # type: ignore[no-any-return]


_PYTHON = (".py",)
_JAVASCRIPT = (".ts", ".js", ".mts", ".cts", ".mjs", ".cjs", ".tsx", ".jsx")
_YAML = (".yaml", ".yml")

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("celery", "celery", _PYTHON),
        Kind("bullmq", "bullmq", _JAVASCRIPT),
        Kind("sidekiq", "sidekiq", (".rb", *_YAML), ("rails",)),
        Kind("oban", "oban", (".ex", ".exs")),
        Kind("tenacity", "tenacity", _PYTHON),
        Kind("stamina", "stamina", _PYTHON),
        Kind("resilience4j", "resilience4j", (*_YAML, ".properties")),
        Kind("istio", "istio", (*_YAML, ".json")),
        Kind("envoy", "envoy", (*_YAML, ".json")),
        Kind("grpc", "grpc", (".json", *_YAML)),
        Kind("aws", "aws", ("", ".env", ".ini", ".cfg", ".conf", ".py")),
        Kind("dotnet", "dotnet", (".json",)),
    )
}


Version: TypeAlias = tuple[int, ...]


def version_of(given: Given, library: str, newest: Version) -> Version:
    """Return the version of a library that is given, as whole numbers; the newest known one where none is."""
    text = given.versions.get(library)
    return newest if text is None else tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def rests_on(given: Given, library: str, since: str, before: str) -> list[str]:
    """Return what a reading rests on that the versions of a library do not share; nothing where one is given."""
    if library in given.versions:
        return []
    return [f"as from {library} {since} on; {before} before (--library {library}=…)"]
