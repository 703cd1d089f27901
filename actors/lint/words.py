"""Durations, rates and shares as a warning says them: three digits, in the unit that suits."""

from __future__ import annotations

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
