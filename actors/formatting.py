"""Texts as people read them: numbers with few digits, never with an exponent because they are large; no passwords."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from actors.instants import NS_PER_S


def plain_number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits; a larger one is whole. Commas separate thousands."""
    text = f"{value:,.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text


def counted(count: float, one: str, many: str = "") -> str:
    """Return a count, or a mean of some, with its word: ``1 attempt``, ``1,000 attempts``, ``2.5 retries``.

    Args:
        count: how many.
        one: the word for one.
        many: the word for another number, where that takes more than an s.
    """
    return f"{plain_number(count)} {one if count == 1 else many or one + 's'}"


def seconds_text(ns: int) -> str:
    """Return an instant or a duration in seconds, exactly to the nanosecond."""
    return f"{ns // NS_PER_S}.{ns % NS_PER_S:09d}".rstrip("0").rstrip(".") + " s"


def in_a_unit(value: float, units: Sequence[tuple[float, float, str]]) -> tuple[str, str]:
    """Return a number with three digits in a unit that suits it, and the name of the unit.

    Args:
        value: the number.
        units: from small to large, for each unit the rounded number below which it suits, its number in 1, and its
            name. The last unit suits every larger number.
    """
    for below, factor, unit in units[:-1]:
        if abs(float(f"{value * factor:.3g}")) < below:
            return plain_number(value * factor), unit
    _, factor, unit = units[-1]
    return plain_number(value * factor), unit


LARGER_UNITS = ((120, 1, "s"), (120, 1 / 60, "min"), (48, 1 / 3600, "h"), (math.inf, 1 / 86_400, "d"))
"""The units of durations from a second on."""

_UNITS = ((1000, 1000, "ms"), *LARGER_UNITS)


NOTHING = "–"
"""Stands where there is no value."""


def duration_text(seconds: float | None) -> str:
    """Return a duration in seconds with three significant digits, in a unit that suits it: ``83.3 s``, ``5.5 min``."""
    if seconds is None:
        return NOTHING
    return "0 s" if seconds == 0 else " ".join(in_a_unit(seconds, _UNITS))


def instant_text(seconds: float, digits: int = 0) -> str:
    """Return an instant, in seconds from the start, as a stopwatch shows it: ``5:31``, ``1:02:05``, ``3 d 1:02:05``;
    with `digits` decimals of its seconds."""
    minutes, rest = divmod(round(seconds * 10**digits), 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    tail = f"{rest / 10**digits:0{digits + 3 if digits else 2}.{digits}f}"
    day = f"{days:,}\N{NO-BREAK SPACE}d\N{NO-BREAK SPACE}" if days else ""
    return f"{day}{hours}:{minutes:02d}:{tail}" if days or hours else f"{minutes}:{tail}"


_HIDDEN = "**********"
_PASSWORD = re.compile(r"(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^\s'\"\])},]+)", re.IGNORECASE)
_WORDS = re.compile(r"(\s+)")


def without_passwords(text: str) -> str:
    """Return a text without the passwords of addresses such as ``postgresql://user:password@host/database``, and
    without passwords after ``password=``.

    For texts that quote a value given at the wrong place. It takes time in proportion to the length of the text.
    """
    if "assword" not in text and "ASSWORD" not in text and ":/" not in text:
        return text
    return _PASSWORD.sub(rf"\1{_HIDDEN}", "".join(map(_without_password, _WORDS.split(text))))


def _without_password(word: str) -> str:
    begin, end = word.find(":/"), word.rfind("@")
    colon = word.find(":", begin + 2)
    if begin < 0 or not 0 <= colon < end:
        return word
    return f"{word[: colon + 1]}{_HIDDEN}{word[end:]}"
