"""Durations and rates as other libraries write them: ``00:00:30``, ``PT30S``, ``1m30s``, ``30 seconds``, ``100/m``."""

from __future__ import annotations

import math
import re
from typing import Any

from actors.formatting import plain_number
from actors.settings.quantities import Rate, parse_duration, parse_rate, write_duration

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_NAMES = {
    "ns": "ns|nanos?|nanoseconds?",
    "us": "us|µs|micros?|microseconds?",
    "ms": "ms|msecs?|millis?|milliseconds?",
    "s": "s|secs?|seconds?",
    "m": "m|mins?|minutes?",
    "h": "h|hrs?|hours?",
    "d": "d|days?",
    "w": "w|weeks?",
}
_UNIT = rf"({'|'.join(_NAMES.values())})"
_ANY_CASE = re.IGNORECASE
_TIME_SPAN = re.compile(r"(?:([0-9]+)\.)?([0-9]+):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")
_ISO_8601 = re.compile(
    rf"P(?!$)(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?!$)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", _ANY_CASE
)
_PART = re.compile(rf"{_NUMBER}\s*\.?{_UNIT}(?![a-z])\s*(?:(?:,|and)\s*)?", _ANY_CASE)
_PRODUCT = re.compile(rf"{_NUMBER}\s*\*\s*(?:time|\w*duration)\.{_UNIT}", _ANY_CASE)
_CALL = re.compile(rf"(?:[a-z_.]*\.)?(?:timedelta\(|of_?|from_?)?{_UNIT}\s*[(=]\s*{_NUMBER}\s*\)*", _ANY_CASE)
_RATE = re.compile(rf"{_NUMBER}\s*(?:r?/|r?\s*per\s)\s*{_NUMBER}?\s*{_UNIT}", _ANY_CASE)
_PERIODS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


def foreign_duration(value: Any, unit: float | None = None) -> float | None:
    """Return a duration in seconds, or None when it is none.

    Args:
        value: .NET's ``[d.]hh:mm:ss``, ISO 8601, Go's ``1m30s``, words (``30 seconds``), or a call or product such as
            ``Duration.ofSeconds(30)`` and ``30 * time.Second``; with `unit` also a number.
        unit: the seconds that a plain number counts.
    """
    if (number := foreign_number(value)) is not None:
        return None if unit is None else number * unit
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > 100:
        return None
    if match := _TIME_SPAN.fullmatch(text):
        return sum(float(part or 0) * each for part, each in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
    if match := _ISO_8601.fullmatch(text):
        units = (604800, 86400, 3600, 60, 1)
        return sum(float(part or 0) * each for part, each in zip(match.groups(), units, strict=True))
    if match := _PRODUCT.fullmatch(text):
        return float(match[1]) * _seconds(match[2])
    if match := _CALL.fullmatch(text):
        return float(match[2]) * _seconds(match[1])
    total, at = 0.0, 0
    while match := _PART.match(text, at):
        total, at = total + float(match[1]) * _seconds(match[2]), match.end()
    return total if at == len(text) else None


def foreign_rate(value: Any) -> Rate | None:
    """Return a rate such as ``100/m``, ``100 per minute`` or ``10r/s``, or None when it is none."""
    if not isinstance(value, str) or (rate := parse_rate(value, unit_required=True)) is not None:
        return rate if isinstance(value, str) else None
    match = _RATE.fullmatch(value.strip()[:100])
    period = float(match[2] or 1) * _seconds(match[3]) if match else 0.0
    return Rate(float(match[1]), period) if match and period > 0 else None


def written_otherwise(value: Any, wants: str) -> list[str]:
    """Return how a value may be written where a setting wants another form of it.

    Args:
        value: what was given.
        wants: what is wanted, such as ``a duration of more than 0 such as 80ms``.

    Returns:
        One text, or two where a plain number may count milliseconds or seconds, or be a rate a second or a minute.
    """
    number = foreign_number(value)
    if wants.startswith("a duration"):
        if number:
            return [f"{write_number(number)}ms", f"{write_number(number)}s"]
        seconds = foreign_duration(value, 1)
        return (
            []
            if seconds is None or parse_duration(value, unit_required=True) is not None
            else [write_duration(round(seconds, 9))]
        )
    if wants.startswith("a rate"):
        if number:
            return [f"{write_number(number)}/s", f"{write_number(number)}/min"]
        rate = foreign_rate(value)
        return [] if rate is None or parse_rate(value, unit_required=True) is not None else [write_rate(rate)]
    if wants.startswith("a share"):
        number = foreign_number(value.removesuffix("percent").strip()) if isinstance(value, str) else number
        return (
            []
            if number is None or 1 < number < 2 or number > 100
            else [f"{write_number(number * (100 if number <= 1 else 1))}%"]
        )
    if wants.startswith("a whole number"):
        return [write_number(number)] if number and number.is_integer() and not isinstance(value, int) else []
    return []


def write_rate(rate: Rate) -> str:
    """Return a rate as a file has it, with ``min``, ``h`` and ``d`` for those periods."""
    for period in sorted(_PERIODS, reverse=True):
        if (times := rate.period / period) >= 1 and times.is_integer():
            return f"{write_number(rate.count)}/{'' if times == 1 else write_number(times)}{_PERIODS[period]}"
    return f"{write_number(rate.count)}/{write_number(rate.period * 1000)}ms"


def write_number(number: float) -> str:
    """Return a number in digits, rounded where it has more than 15."""
    return plain_number(number, 15).replace(",", "")


def foreign_number(value: Any) -> float | None:
    """Return a number of at least 0, also where it stands in quotes; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(
        r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[-+]?[0-9]+)?", value.strip()[:100], _ANY_CASE
    ):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest float
        return None
    return number if 0 <= number < 1e15 and math.isfinite(number) else None


def _seconds(name: str) -> float:
    return next(_SECONDS[unit] for unit, names in _NAMES.items() if re.fullmatch(names, name, _ANY_CASE))
