"""Findings, and how rules are declared: a name, the path of a setting, and a sentence with its numbers.

A module of rules begins with a table of them::

    timeout-below-median-latency  timeout
        {timeout:duration} is shorter than the provider's median latency of {median:duration}

and its functions yield ``_RULES.found("timeout-below-median-latency", timeout=0.1, median=0.25)``. After the colon
stands how a number is written: as a `duration`, a `rate`, `many` in a while, in `percent`, with its noun
(``{n:failure(s)}``, ``{n:retry/retries}``), or, without a colon, as it is.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from string import Formatter
from typing import Any, NamedTuple

from actors.formatting import LARGER_UNITS, in_a_unit, plain_number

_UNITS = ((1000, 1e6, "us"), (1000, 1e3, "ms"), *LARGER_UNITS)


def duration(seconds: float) -> str:
    """Return a duration as a file has it: ``250ms``, ``90s``, ``5m``, ``1h``."""
    text, unit = {0.0: ("0", "s"), 3600.0: ("1", "h")}.get(seconds) or in_a_unit(seconds, _UNITS)
    return f"{text}{'m' if unit == 'min' else unit}"


def rate(per_second: float) -> str:
    """Return a rate as a file has it: ``20/s``, ``30/min``, ``2/h``."""
    return "{}/{}".format(*_in_a_while(per_second, (1, "s"), (60, "min"), (3600, "h")))


def many_in_a_while(per_second: float) -> str:
    """Return how many a rate makes: ``240 a minute``, ``2 an hour``."""
    return "{} {}".format(*_in_a_while(per_second, (60, "a minute"), (3600, "an hour")))


def _in_a_while(per_second: float, *units: tuple[int, str]) -> tuple[str, str]:
    times, unit = next((each for each in units if per_second * each[0] >= 1), units[-1])
    return plain_number(per_second * times), unit


def percent(share: float) -> str:
    """Return a share in percent; less than everything is never called 100%, and more than nothing never 0%."""
    if 0.9995 <= share < 1:
        return "more than 99.9%"
    return "less than 0.05%" if 0 < share < 0.0005 else f"{plain_number(share * 100)}%"


_WRITINGS: dict[str, tuple[Callable[[float], str], str | None]] = {
    "": (plain_number, None),
    "duration": (duration, "s"),
    "rate": (rate, "1/s"),
    "many": (many_in_a_while, "1/s"),
    "percent": (percent, "share"),
}


class Number(NamedTuple):
    """A number of a sentence."""

    text: str
    """The number as the sentence has it: ``250ms``."""

    value: float
    """The number in its unit: 0.25."""

    unit: str | None = None
    """``s``, ``1/s``, or ``share`` between 0 and 1; None of a bare number."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, or a part of one that another sentence takes in as a value."""

    text: str

    numbers: tuple[Number, ...] = ()
    """The numbers of the text, in its order."""

    def __str__(self) -> str:
        return self.text


def said(template: str, /, **values: object) -> Said:
    """Return a template filled in with values: numbers, other sentences with theirs, or texts."""
    text, numbers = "", list[Number]()
    for literal, name, writing, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            part = _written(name, values[name], writing or "")
            text += part.text
            numbers += part.numbers
    return Said(text, tuple(numbers))


def _written(name: str, value: object, writing: str) -> Said:
    if isinstance(value, Said):
        return value
    if isinstance(value, Number):
        return Said(value.text, (value._replace(name=name),))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Said(str(value))
    write, unit = _WRITINGS.get(writing, (plain_number, None))
    text, noun = write(value), ""
    if writing not in _WRITINGS:
        one, _, many = writing.removesuffix("(s)").partition("/")
        noun = f" {one if value == 1 else many or one + 's'}"
    number = Number(text.rpartition("than ")[2], float(value), unit, name)
    return Said(text + noun, (number,) if math.isfinite(value) else ())


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting that cannot do what it says."""

    path: tuple[str, ...]
    """The keys that lead to it, as they are written: ``("channels", "email", "timeout")``."""

    rule: str
    """The name of the rule, which stays when its text changes: ``timeout-below-median-latency``."""

    said: Said
    """The warning, with the numbers in it."""

    def under(self, *keys: str) -> Finding:
        """Return the finding with these keys before its path."""
        return replace(self, path=(*keys, *self.path))

    @property
    def text(self) -> str:
        """The warning, which goes on from the path."""
        return self.said.text

    @property
    def document(self) -> dict[str, Any]:
        """The finding as a plain dict, for a program."""
        numbers = [{"text": each.text, "value": each.value, "unit": each.unit} for each in self.said.numbers]
        return {"rule": self.rule, "path": ".".join(self.path), "message": self.text, "numbers": numbers}

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.text}"


class Rules:
    """The rules that a module declares.

    Args:
        table: for each rule a line with its name and its path, then its sentence, indented. A rule with several
            sentences has one entry for each, ``name/variant``. A key of the path may be a value: ``retry.{key}``.
    """

    def __init__(self, table: str) -> None:
        self.declared: dict[str, tuple[list[str], str]] = {}
        """The path and the sentence of each rule, by its name with the variant."""
        for entry in re.split(r"\n(?=\S)", textwrap.dedent(table).strip()):
            head, _, sentence = entry.partition("\n")
            name, _, path = head.partition("  ")
            if name in self.declared:
                raise ValueError(f"wanted each rule and variant once, got {name} twice")
            self.declared[name] = path.split(".") if path else [], " ".join(sentence.split())

    def found(self, name: str, /, *, at: Iterable[str] = (), **values: object) -> Finding:
        """Return a finding of a rule.

        Args:
            name: the name of the rule, with its variant.
            at: the keys that lead to where the path of the rule begins.
            values: the values that the sentence and the path name.
        """
        path, sentence = self.declared[name]
        keys = (key.format(**values) for key in path)
        return Finding((*at, *keys), name.partition("/")[0], said(sentence, **values))
