"""Numbers as a warning says them: three digits, in the unit that suits."""

from __future__ import annotations

from actors.digits import LARGER_UNITS, in_a_unit, plain_number

_UNITS = ((1000, 1e6, "us"), (1000, 1e3, "ms"), *LARGER_UNITS)


def number(value: float) -> str:
    """Return a number with three significant digits, or whole with its thousands set apart."""
    return plain_number(value)


def duration(seconds: float) -> str:
    """Return a duration as a file has it: ``250ms``, ``90s``, ``5m``, ``1h``."""
    if seconds == 0:
        return "0s"
    text, unit = ("1", "h") if seconds == 3600 else in_a_unit(seconds, _UNITS)
    return f"{text}{'m' if unit == 'min' else unit}"


def rate(per_second: float) -> str:
    """Return a rate as a file has it: ``20/s``, ``30/min``, ``2/h``."""
    if per_second >= 1:
        return f"{number(per_second)}/s"
    return f"{number(per_second * 60)}/min" if per_second * 60 >= 1 else f"{number(per_second * 3600)}/h"


def percent(share: float) -> str:
    """Return a share in percent; what is not all is never called 100%, and what is not nothing never 0%."""
    if 0.9995 <= share < 1:
        return "more than 99.9%"
    return f"{share * 100:.3g}%" if share == 0 or share >= 0.0005 else "less than 0.05%"


def count(value: float, noun: str, plural: str | None = None) -> str:
    """Return ``1 attempt`` or ``3 attempts``; the plural may be given, as ``retries``."""
    return f"{number(value)} {noun if value == 1 else plural or noun + 's'}"
