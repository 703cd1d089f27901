"""Durations, rates and shares as a warning says them: three digits, in the unit that suits; and read from it again."""

from __future__ import annotations

import re
from typing import NamedTuple

from actors.formatting import LARGER_UNITS, in_a_unit, plain_number

_UNITS = ((1000, 1e6, "us"), (1000, 1e3, "ms"), *LARGER_UNITS)


def duration(seconds: float) -> str:
    """Return a duration as a file has it: ``250ms``, ``90s``, ``5m``, ``1h``."""
    if seconds == 0:
        return "0s"
    text, unit = ("1", "h") if seconds == 3600 else in_a_unit(seconds, _UNITS)
    return f"{text}{'m' if unit == 'min' else unit}"


def rate(per_second: float) -> str:
    """Return a rate as a file has it: ``20/s``, ``30/min``, ``2/h``."""
    if per_second >= 1:
        return f"{plain_number(per_second)}/s"
    return f"{plain_number(per_second * 60)}/min" if per_second * 60 >= 1 else f"{plain_number(per_second * 3600)}/h"


def percent(share: float) -> str:
    """Return a share in percent; what is not all is never called 100%, and what is not nothing never 0%."""
    if 0.9995 <= share < 1:
        return "more than 99.9%"
    return f"{share * 100:.3g}%" if share == 0 or share >= 0.0005 else "less than 0.05%"


class Number(NamedTuple):
    """A number of a warning."""

    text: str
    """As the warning has it: ``250ms``."""

    value: float
    """In its unit: 0.25."""

    unit: str | None
    """``s``, ``1/s``, or ``share`` between 0 and 1; None where there is nothing but a number."""


_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
"""The seconds in each unit."""

_A_WHILE = {" a second": 1.0, " a minute": 60.0, " an hour": 3600.0}

_NUMBER = re.compile(
    r"(?<![\w.,/-])(?P<number>[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:e-[0-9]+)?)"
    r"(?P<unit>%|us|ms|s|m|h|d|/[0-9.]*(?:us|ms|s|min|m|h|d)|(?: a second| a minute| an hour))?(?![\w%])"
)


def numbers_in(text: str) -> list[Number]:
    """Return the numbers of a warning, in its order, with the digits that it has of each."""
    return [_number(found) for found in _NUMBER.finditer(text)]


def _number(found: re.Match[str]) -> Number:
    factor, unit = _factor(found["unit"])
    value = float(found["number"].replace(",", "")) * factor
    return Number(found[0], float(f"{value:.12g}"), unit)


def _factor(unit: str | None) -> tuple[float, str | None]:
    """Return by what a number with this unit is multiplied, and the unit that it has then."""
    if unit is None:
        return 1.0, None
    if unit == "%":
        return 0.01, "share"
    if unit in _S:
        return _S[unit], "s"
    if unit in _A_WHILE:
        return 1 / _A_WHILE[unit], "1/s"
    many = unit.strip("/abcdefghijklmnopqrstuvwxyz")  # as in 10/5m
    return 1 / (float(many or 1) * _S[unit.lstrip("/0123456789.")]), "1/s"
