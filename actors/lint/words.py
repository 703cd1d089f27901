"""Durations, rates, shares and counts as a warning says them: three digits, in the unit that suits.

Each goes through the sentence that it is put into with its value and its unit, between marks that no text has, until
:func:`apart` takes both out: so a sentence is written as it reads, and a finding has its numbers as they are.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from actors.formatting import LARGER_UNITS, in_a_unit, plain_number as in_digits

_UNITS = ((1000, 1e6, "us"), (1000, 1e3, "ms"), *LARGER_UNITS)


def duration(seconds: float) -> str:
    """Return a duration as a file has it: ``250ms``, ``90s``, ``5m``, ``1h``."""
    text, unit = {0.0: ("0", "s"), 3600.0: ("1", "h")}.get(seconds) or in_a_unit(seconds, _UNITS)
    return number(f"{text}{'m' if unit == 'min' else unit}", seconds, "s")


def rate(per_second: float) -> str:
    """Return a rate as a file has it: ``20/s``, ``30/min``, ``2/h``."""
    return number("{}/{}".format(*_in_a_while(per_second, "s", "min", "h")), per_second, "1/s")


def many_in_a_while(per_second: float) -> str:
    """Return how many a rate makes: ``240 a minute``, ``2 an hour``."""
    return number("{} {}".format(*_in_a_while(per_second, "", "a minute", "an hour")), per_second, "1/s")


def _in_a_while(per_second: float, second: str, minute: str, hour: str) -> tuple[str, str]:
    times = [(times, unit) for times, unit in ((1, second), (60, minute), (3600, hour)) if unit]
    fits = next((each for each in times if per_second * each[0] >= 1), times[-1])
    return in_digits(per_second * fits[0]), fits[1]


def percent(share: float) -> str:
    """Return a share in percent; what is not all is never called 100%, and what is not nothing never 0%."""
    if 0.9995 <= share < 1:
        return f"more than {number('99.9%', share, 'share')}"
    if 0 < share < 0.0005:
        return f"less than {number('0.05%', share, 'share')}"
    return number(f"{share * 100:.3g}%", share, "share")


def plain_number(value: float) -> str:
    """Return a number as :func:`actors.formatting.plain_number` does."""
    return number(in_digits(value), value)


def counted(count: float, one: str, many: str = "") -> str:
    """Return a count with its word as :func:`actors.formatting.counted` does."""
    return f"{plain_number(count)} {one if count == 1 else many or one + 's'}"


class Number(NamedTuple):
    """A number of a warning."""

    text: str
    """As the warning has it: ``250ms``."""

    value: float
    """In its unit: 0.25."""

    unit: str | None
    """``s``, ``1/s``, or ``share`` between 0 and 1; None where there is nothing but a number."""


_MARKED = re.compile("\x02([^\x02\x03\x1f]*)\x1f(-?[0-9]+(?:[.][0-9]+)?(?:e[+-]?[0-9]+)?)\x1f(s|1/s|share|)\x03")


def number(text: str, value: float, unit: str = "") -> str:
    """Return a text for a sentence, as the number that it says; see :class:`Number`."""
    return f"\x02{text}\x1f{float(value)!r}\x1f{unit}\x03" if math.isfinite(value) else text


def apart(sentence: str) -> tuple[str, tuple[Number, ...]]:
    """Return what a sentence reads, and the numbers that were put into it, in its order."""
    numbers = (Number(text, float(value), unit or None) for text, value, unit in _MARKED.findall(sentence))
    return _MARKED.sub(r"\1", sentence), tuple(numbers)
