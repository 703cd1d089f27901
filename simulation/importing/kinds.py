"""The libraries whose files are read, in the order in which they are asked whether a file is theirs; their versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TypeAlias

from simulation.importing.policy import Policy
from simulation.importing.source import SourceFile


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says beside the files: ``--given``, ``--library`` and ``--profile``."""

    values: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    profiles: Sequence[str] = ()

    others: Sequence[SourceFile] = ()
    """The further files with an ending of the kind that were given: constants and base classes may stand there."""

    used: set[str] = field(default_factory=set, compare=False)
    """The names of these in which a reader found what a name means."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A library: its name, the module of ``simulation.importing.readers`` that reads its files, and their endings.

    A module has ``recognises(file)``, which looks at one file and is cheap and never wrong about a file of another
    kind, and ``read(files, given)``, which returns a policy for each task, queue, client or route of all the files.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    """With their dots, in lower case; an empty one is that of a name without a dot."""

    beside: tuple[str, ...] = ()
    """Other libraries whose versions count."""

    @property
    def recognises(self) -> Callable[[SourceFile], bool]:
        """Return whether a file is of this library."""
        return import_module(f"simulation.importing.readers.{self.module}").recognises  # type: ignore[no-any-return]

    @property
    def read(self) -> Callable[[Sequence[SourceFile], Given], Sequence[Policy]]:
        """Return the policies of files of this library; raise ConfigurationError for what cannot be read at all."""
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
    """Return what a reading rests on that the versions of a library do not share; nothing where one is given.

    Args:
        given: what the command line says.
        library: its name.
        since: the version from which on it is read so.
        before: what holds before that version.
    """
    if library in given.versions:
        return []
    return [f"as from {library} {since} on; {before} before (--library {library}=…)"]
