"""Which values settings may take, and settings that differ in them, for `compare`, `sweep` and `tune`.

On a command line ``channels.email.retry.max_attempts=1,2,3,5,8`` are values, ``channels.email.timeout=100ms..10s`` is
a range, and so is ``channels.email.timeout={from: 100ms, to: 10s, scale: log}``, as it stands in a file.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from actors.errors import ConfigurationError
from actors.settings.base import validated
from actors.settings.yaml_tree import Place, Unreadable, data, read
from simulation.scenario import Scenario, load_each
from simulation.scenario.arguments import check_mapping, check_texts, shown
from simulation.scenario.loading import NOT_VARIED
from simulation.scenario.ranges import Range, quantity

_CLOSED_BY = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of values."""

    values: tuple[tuple[str, str], ...]
    """Each path with its value, as it is written."""

    label: str
    """The values for people, with paths as short as they stay unambiguous: ``jitter=full max_attempts=5``."""

    @property
    def sets(self) -> list[str]:
        """The overrides that make it of the file."""
        return [f"{path}={value}" for path, value in self.values]


def settings_of(paths: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Setting]:
    names = short_names(paths)
    return [
        Setting(
            tuple(zip(paths, row, strict=True)),
            " ".join(f"{names[path]}={value}" for path, value in zip(paths, row, strict=True)),
        )
        for row in rows
    ]


def split_values(text: str) -> list[str]:
    """Split a list of YAML values at its commas, except inside brackets, braces and quotes."""
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
    """Return the values given for each path, with no space round the paths.

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
    """Return for each path the fewest last keys that make it unique, but at least `keys_min`."""
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


_ENDS = re.compile(r"([^\s,{\[]+?)\.\.([^\s,{\[]+)")
_FORM = "wanted path=a,b or path=low..high such as channels.email.retry.max_attempts=1..10"


@dataclass(frozen=True, slots=True)
class Choices:
    texts: tuple[str, ...]

    def levels(self) -> list[str]:
        return list(self.texts)

    def at(self, share: float) -> str:
        """Return the value at a share of them, at least 0 and less than 1; each has the same part of the shares."""
        return self.texts[int(share * len(self.texts))]


Space: TypeAlias = "dict[str, Choices | Range]"
"""By path."""


def space(vary: Mapping[str, Any], name: str = "--vary") -> Space:
    """Return the space of settings that is given in Python, in a file or on a command line.

    Args:
        vary: for each path a text, ``1,2,3`` or ``1..10``; a sequence of values; or a :class:`Range`, or its keys; or a
            result of this function.
        name: of the option or the argument, for the errors.

    Raises:
        ConfigurationError: a path or its values cannot be used; all problems.
    """
    found: Space = {}
    problems: list[str] = []
    for path, given in checked_vary(vary, name).items():
        try:
            found[path] = _dimension(path, given)
        except ConfigurationError as error:
            problems += [f"{name} {path}: {problem}" for problem in error.problems]
    if not vary:
        problems.append(f"{name}: {_FORM}, got none")
    if problems:
        raise ConfigurationError(problems)
    return found


def parse_space(texts: Iterable[str], name: str = "--vary") -> Space:
    """Return the space that options such as ``channels.email.retry.max_attempts=1..10`` say.

    Raises:
        ConfigurationError: one cannot be used, or a path comes twice; all problems.
    """
    vary: dict[str, str] = {}
    problems: list[str] = []
    for text in texts:
        path, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not path:
            problems.append(f"{name} {path or text}: {_FORM}")
        elif path in vary:
            problems.append(f"{name} {path}: wanted each path once; give all its values with commas between them")
        else:
            vary[path] = values
    try:
        found = space(vary, name) if vary or not problems else {}
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return found


def number_of(text: str) -> float | None:
    """Return the value of a setting as a number: seconds, events a second, a share from 0 to 1; None if it is none."""
    return quantity(_scalar(text))


def value_of(text: str) -> float | str:
    """Return a value as it stands in a file: a number where it is written as one without a unit, else the text."""
    found = _scalar(text)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else text


def _dimension(path: str, given: Any) -> Choices | Range:
    if not all(path.split(".")):
        raise ConfigurationError([_FORM])
    if path.split(".")[0] in NOT_VARIED:
        raise ConfigurationError([f"wanted a setting of the run, got {path.split('.')[0]}"])
    if isinstance(given, (Choices, Range)):
        return given
    if isinstance(given, str):
        given = _parsed(given)
    if isinstance(given, Mapping):
        return validated(Range, given)
    return Choices(tuple(dict.fromkeys(written_values(given))))


def _parsed(text: str) -> Mapping[str, Any] | Sequence[str]:
    """Return the content of a text: the keys of a range, or values."""
    if ends := _ENDS.fullmatch(text.strip()):
        return {"from": _scalar(ends[1]), "to": _scalar(ends[2])}
    values = split_values(text)
    if len(values) == 1 and values[0].startswith("{"):
        mapping = _scalar(values[0])
        if isinstance(mapping, dict) and {"from", "to"} & set(mapping):
            return mapping
    return values


def _scalar(text: str) -> Any:
    try:
        return data(read(text, Place("value", 1, 1)))
    except Unreadable:
        return text
