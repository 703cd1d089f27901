"""A file to import: its text within bounds, and the places of its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from actors.errors import ConfigurationError
from actors.settings.file import text_of

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
        """Return the end of the name in lower case, with its dot."""
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
