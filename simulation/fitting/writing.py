"""Numbers as they stand in a scenario: as many digits as a fit can mean, with a unit."""

from __future__ import annotations

import math


def duration(seconds: float, digits: int = 6) -> str:
    """Return a duration such as ``81.2345ms``, ``3.2s``: as many significant digits, zeros at the end left out."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if float(plain(seconds * factor, digits)) >= 1.0:
            return f"{plain(seconds * factor, digits)}{unit}"
    return f"{plain(seconds * 1e9, digits)}ns" if seconds > 0 else "0s"


def instant(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def per_second(rate: float) -> str:
    """Return a rate such as ``19.97/s``, or by the minute, hour or day where it is slow."""
    unit, seconds = _unit_of(rate)
    return f"{plain(rate * seconds)}/{unit}"


def in_unit_of(rate: float, *others: float) -> list[str]:
    """Return other rates in the unit in which this one is written, and the unit: ``19.58``, ``20.3``, ``s``."""
    unit, seconds = _unit_of(rate)
    return [*(plain(other * seconds) for other in others), unit]


def _unit_of(rate: float) -> tuple[str, float]:
    units = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
    return next((each for each in units if rate * each[1] >= 1.0), ("d", 86_400.0))


def percent(share: float) -> str:
    """Return a share such as ``1.23%``."""
    return f"{plain(100.0 * share)}%"


def plain(number: float, digits: int = 4) -> str:
    """Return a number of at least 0 with so many significant digits, never with an exponent."""
    if number == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(number)))
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
