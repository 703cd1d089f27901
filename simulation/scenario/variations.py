"""Settings of a scenario that differ in a few values, and how such values are written."""

from __future__ import annotations

import json
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from simulation.scenario import Scenario, load_each
from simulation.scenario.arguments import check_mapping, check_texts, shown

_CLOSED_BY = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of values."""

    values: tuple[tuple[str, str], ...]
    """Each path with its value, as it is written."""

    label: str
    """The same for people, with paths as short as can be told apart: ``jitter=full max_attempts=5``."""

    @property
    def sets(self) -> list[str]:
        """The overrides that make it of the file."""
        return [f"{path}={value}" for path, value in self.values]


def settings_of(paths: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Setting]:
    """Return a setting for each row of values of these paths."""
    names = short_names(paths)
    return [
        Setting(
            tuple(zip(paths, row, strict=True)),
            " ".join(f"{names[path]}={value}" for path, value in zip(paths, row, strict=True)),
        )
        for row in rows
    ]


def split_values(text: str) -> list[str]:
    """Split a list of YAML values at its commas, but for those inside brackets, braces and quotes."""
    parts, start, quote, before = [], 0, "", ""
    closing: list[str] = []
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and before in ("", "{", "[", ",", ":"):
            quote = character
        elif character in _CLOSED_BY:
            closing.append(_CLOSED_BY[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append(text[start:index].strip())
            start = index + 1
        before = character if not character.isspace() else before
    return [*parts, text[start:].strip()]


def load_all(path: str | Path, settings: Sequence[Setting], sets: Sequence[str], seed: int | None) -> list[Scenario]:
    """Return the scenario of each setting.

    Raises:
        ConfigurationError: the file or a value cannot be used; all problems of all of them.
    """
    check_texts("sets", sets, "seed=7")
    scenarios: list[Scenario] = []
    problems: list[str] = []
    for setting, found in zip(settings, load_each(path, [[*sets, *one.sets] for one in settings], seed), strict=True):
        if isinstance(found, ConfigurationError):
            problems += [_as_varied(problem, setting) for problem in found.problems]
        else:
            scenarios.append(found)
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return scenarios


def _as_varied(problem: str, setting: Setting) -> str:
    for path, _ in setting.values:
        if problem.startswith(f"--set {path}:"):
            return "--vary" + problem.removeprefix("--set")
    return problem


def checked_vary(vary: Mapping[str, Any], name: str = "--vary") -> dict[str, Any]:
    """Return what is given for each path, with no space round the paths.

    Raises:
        ConfigurationError: it is no mapping, or a path of it no text; all problems.
    """
    what = "from paths to their values such as {'channels.email.retry.jitter': ['none', 'full']}"
    check_mapping(name, vary, what)
    problems = [f"{name}: wanted a path as text, got {shown(path)}" for path in vary if not isinstance(path, str)]
    if problems:
        raise ConfigurationError(problems)
    return {path.strip(): given for path, given in vary.items()}


def written_values(given: str | Iterable[Any]) -> list[str]:
    """Return the values that are given for a path, as they are written in a file.

    Args:
        given: a text in which commas part them, or the values one by one, in an order of their own.

    Raises:
        ConfigurationError: they are no values.
    """
    # Bytes and mappings can be iterated too, but not for their values; and sets in another order each time.
    if isinstance(given, (bytes, bytearray, Mapping, Set)) or not isinstance(given, Iterable):
        raise ConfigurationError([f"wanted a list of values, or a text such as '1,2,3', got {shown(given)}"])
    texts = split_values(given) if isinstance(given, str) else list(map(_written, given))
    if not texts or not all(texts):
        raise ConfigurationError(["wanted values with a comma between them, got nothing in the place of one"])
    return texts


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    try:
        return json.dumps(value, default=operator.index)  # numpy's whole numbers have that
    except (TypeError, ValueError):
        raise ConfigurationError([f"wanted a value that can stand in a file, got {shown(value)}"]) from None


def short_names(paths: Collection[str], keys_min: int = 1) -> dict[str, str]:
    """Return for each path as few of its last keys as tell it from the others, but at least so many."""
    names: dict[str, str] = {}
    for path in paths:
        keys = path.split(".")
        others = [other.split(".") for other in paths if other != path]
        count = next(
            (count for count in range(keys_min, len(keys)) if all(other[-count:] != keys[-count:] for other in others)),
            len(keys),
        )
        names[path] = ".".join(keys[-count:])
    return names
