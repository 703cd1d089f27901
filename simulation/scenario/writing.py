"""A scenario back to the text of a file, which gives the same scenario when it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.settings.yaml_tree import plain_scalar
from simulation.scenario.model import Scenario

COLUMNS = 120

_PLAIN = re.compile(r"[A-Za-z0-9_/](?:[A-Za-z0-9_ ./%+<>=*()-]*[A-Za-z0-9_./%+<>=*()-])?", re.ASCII)
"""Text that means itself without quotes, wherever it stands, unless it looks like another kind of scalar."""

_NOT_OF_ONE_RUN = ("sweep",)


@contextmanager
def file_of(scenario: str | Path | Scenario) -> Iterator[str | Path]:
    """Give the file of a scenario, which can be changed setting by setting; of one that was loaded, one of its own."""
    if not isinstance(scenario, Scenario):
        yield scenario
        return
    with TemporaryDirectory(prefix="retrylab-") as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(write(scenario), encoding="utf-8")
        yield path


def as_data(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as the plain data of a file: mappings, lists, texts and numbers, with the given keys and no
    defaults. Paths of data files in it are absolute."""
    data = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        key: value
        for key, value in data.items()
        if key not in _NOT_OF_ONE_RUN and value is not None and value not in ([], {}, "")
    }


def write(scenario: Scenario | Mapping[str, Any], comment: str = "") -> str:
    data = as_data(scenario) if isinstance(scenario, Scenario) else scenario
    above = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*above, *_of_the_file(data)]) + "\n"


def _of_the_file(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, (Mapping, list)) and value:
            yield f"{_scalar(key)}:"
            yield from _block(value, "  ")
        else:
            yield f"{_scalar(key)}: {in_one_line(value)}"


def _block(value: Mapping[str, Any] | list[Any], indent: str) -> Iterator[str]:
    """Yield an entry a line as far as entries fit one, and longer ones in lines of their own."""
    named = isinstance(value, Mapping)
    entries: Any = value.items() if isinstance(value, Mapping) else (("", entry) for entry in value)
    for key, entry in entries:
        head = f"{indent}{_scalar(key)}:" if named else f"{indent}-"
        line = f"{head} {in_one_line(entry)}"
        if len(line) <= COLUMNS or not isinstance(entry, (Mapping, list)) or not entry:
            yield line
        elif isinstance(entry, list) and not any(isinstance(each, (Mapping, list)) for each in entry):
            yield from _wrapped(head, entry, indent)
        elif named:
            yield head
            yield from _block(entry, indent + "  ")
        else:
            first, *others = _block(entry, indent + "  ")
            yield head + first[len(head) :]
            yield from others


def _wrapped(head: str, entries: list[Any], indent: str) -> Iterator[str]:
    """Yield a long list of scalars in as few lines as hold it."""
    line = f"{head} ["
    for number, entry in enumerate(entries):
        text = in_one_line(entry) + ("]" if number == len(entries) - 1 else ",")
        if len(line) + len(text) + 1 > COLUMNS:
            yield line
            line = f"{indent}    "
        line += text if line.endswith(("[", "    ")) else f" {text}"
    yield line


def in_one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {in_one_line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_one_line, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and plain_scalar(value) == value:
        return value
    return json.dumps(value)
