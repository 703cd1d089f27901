"""The space of settings that a sweep or a search goes through: for each path into a scenario, the values it may take.

On a command line ``channels.email.retry.max_attempts=1,2,3,5,8`` are values, ``channels.email.timeout=100ms..10s`` is
a range, and so is ``channels.email.timeout={from: 100ms, to: 10s, scale: log}``, as it stands in a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from actors.errors import ConfigurationError
from actors.settings.base import validated
from actors.settings.yaml_tree import Place, Unreadable, data, read
from simulation.scenario.loading import NOT_VARIED
from simulation.scenario.ranges import Range, quantity
from simulation.scenario.variations import checked_vary, split_values, written_values

_ENDS = re.compile(r"([^\s,{\[]+?)\.\.([^\s,{\[]+)")
_FORM = "wanted path=a,b or path=low..high such as channels.email.retry.max_attempts=1..10"


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, as they are written in a file."""

    texts: tuple[str, ...]

    def levels(self) -> list[str]:
        """Return all of them."""
        return list(self.texts)

    def at(self, share: float) -> str:
        """Return the value at a share of them, at least 0 and less than 1; each has the same part of the shares."""
        return self.texts[int(share * len(self.texts))]


Space: TypeAlias = "dict[str, Choices | Range]"
"""By path."""


def space(vary: Mapping[str, Any], name: str = "--vary") -> Space:
    """Return the space of settings that is given in Python, in a file or on a command line.

    Args:
        vary: for each path a text, ``1,2,3`` or ``1..10``; a sequence of values; or a :class:`Range`, or its keys;
            or what this returned.
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
    """Return what a text says: the keys of a range, or values."""
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
