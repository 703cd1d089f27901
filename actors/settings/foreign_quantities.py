"""Values as other libraries write them, and the forms that the table of their words gives them.

Durations and rates are ``00:00:30``, ``PT30S``, ``1m30s``, ``30 seconds``, ``100/m``; forms of the table are ``N``,
``100N%``, ``N/<window s>``, ``<(max+min)/2 s>``.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from actors.formatting import plain_number
from actors.settings.meanings import KEY_MAX, plain
from actors.settings.quantities import Rate, parse_duration, parse_rate, parse_share, write_duration

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_SECONDS = {
    "ns|nanos?|nanoseconds?": 1e-9,
    "us|µs|micros?|microseconds?": 1e-6,
    "ms|msecs?|millis?|milliseconds?": 1e-3,
    "s|secs?|seconds?": 1.0,
    "m|mins?|minutes?": 60.0,
    "h|hrs?|hours?": 3600.0,
    "d|days?": 86400.0,
    "w|weeks?": 604800.0,
}
_UNIT = rf"({'|'.join(_SECONDS)})"
_ANY_CASE = re.IGNORECASE
_TIME_SPAN = re.compile(r"(?:([0-9]+)\.)?([0-9]+):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")
_ISO_8601 = re.compile(
    rf"P(?!$)(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?!$)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", _ANY_CASE
)
_PART = re.compile(rf"{_NUMBER}\s*\.?{_UNIT}(?![a-z])\s*(?:(?:,|and)\s*)?", _ANY_CASE)
_PRODUCT = re.compile(rf"{_NUMBER}\s*\*\s*(?:time|\w*duration)\.{_UNIT}", _ANY_CASE)
_CALL = re.compile(rf"(?:[a-z_.]*\.)?(?:timedelta\(|of_?|from_?)?{_UNIT}\s*[(=]\s*{_NUMBER}\s*\)*", _ANY_CASE)
_RATE = re.compile(rf"{_NUMBER}\s*(?:r?/|r?\s*per\s)\s*{_NUMBER}?\s*{_UNIT}", _ANY_CASE)
_DIGITS = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[-+]?[0-9]+)?", _ANY_CASE)
_PERIODS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}

_SERIES = re.compile(r"\[(?P<first>\w+), (?P<each><.+>) for n below (?P<count>.+)\]")

LIST_MAX = 50
"""Entries of a list that are translated."""

UNIT_SUFFIX = re.compile(r"(.+?)(?:in)?(milliseconds|millis|ms|seconds|secs|sec)")
"""A word with its unit in it, without its capitals and underscores."""

AMOUNT = re.compile(
    r"(?<!\w)N/<(?P<period>\w+) (?P<each>ms|s)>|<(?P<sum>[\w+*/(),.-]+)(?: (?P<of>ms|s|%)(?: over (?P<over>\w+))?)?>"
    r"|(?<!\w)(?P<hundred>100)?N(?P<more>\+1)?(?P<unit>%|ms|s|/s|/min)?(?!\w)"
)


def foreign_duration(value: Any, unit: float | None = None) -> float | None:
    """Return a duration in seconds, or None when it is none; `unit` is the seconds that a plain number counts.

    It may be .NET's ``[d.]hh:mm:ss``, ISO 8601, Go's ``1m30s``, words (``30 seconds``), or a call or product such as
    ``Duration.ofSeconds(30)`` and ``30 * time.Second``.
    """
    if (number := foreign_number(value)) is not None:
        return None if unit is None else number * unit
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > 100:
        return None
    if match := _TIME_SPAN.fullmatch(text) or _ISO_8601.fullmatch(text):
        parts = reversed(match.groups())
        return sum(float(part or 0) * each for part, each in zip(parts, (1, 60, 3600, 86400, 604800), strict=False))
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
    """Return how a value may be written where a setting wants another form, such as ``a duration such as 80ms``.

    There are two texts where a plain number may count milliseconds or seconds, or be a rate a second or a minute.
    """
    number = foreign_number(value)
    for kind, units in (("a duration", ("ms", "s")), ("a rate", ("/s", "/min"))):
        if number and wants.startswith(kind):
            return [write_number(number) + unit for unit in units]
    if wants.startswith("a duration") and parse_duration(value, unit_required=True) is None:
        return [] if (seconds := foreign_duration(value, 1)) is None else [write_duration(round(seconds, 9))]
    if wants.startswith("a rate") and parse_rate(value, unit_required=True) is None:
        return [] if (rate := foreign_rate(value)) is None else [write_rate(rate)]
    if wants.startswith("a share"):
        number = foreign_number(value.removesuffix("percent").strip()) if isinstance(value, str) else number
        if number is not None and number <= 100 and not 1 < number < 2:
            return [f"{write_number(number * (100 if number <= 1 else 1))}%"]
    if wants.startswith("a whole number") and number and number.is_integer() and not isinstance(value, int):
        return [write_number(number)]
    return []


def write_rate(rate: Rate) -> str:
    for period in sorted(_PERIODS, reverse=True):
        if (times := rate.period / period) >= 1 and times.is_integer():
            return f"{write_number(rate.count)}/{'' if times == 1 else write_number(times)}{_PERIODS[period]}"
    return f"{write_number(rate.count)}/{write_number(rate.period * 1000)}ms"


def write_number(number: float) -> str:
    return plain_number(number, 15).replace(",", "")


def foreign_number(value: Any) -> float | None:
    """Return a number of at least 0, also where it stands in quotes; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not _DIGITS.fullmatch(value.strip()[:100]):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest float
        return None
    return number if 0 <= number < 1e15 and math.isfinite(number) else None


def _seconds(name: str) -> float:
    return next(seconds for names, seconds in _SECONDS.items() if re.fullmatch(names, name, _ANY_CASE))


def words_in(form: str) -> set[str]:
    """Return the further words whose values a form of the table uses."""
    found = {match["period"] for match in AMOUNT.finditer(form) if match["period"]}
    for match in AMOUNT.finditer(form):
        nodes = list(ast.walk(ast.parse(match["sum"] or "N", mode="eval")))
        calls = {node.func for node in nodes if isinstance(node, ast.Call)}
        found |= {node.id for node in nodes if isinstance(node, ast.Name) and node not in calls} - {"N"}
    return found


def filled(form: str, value: Any, others: Mapping[str, Any], *, plain_ms: bool = False) -> str | None:
    """Return a text of the table with the value in it; None where the value, or one of `others`, does not fit.

    A list such as ``[0s, <2**n s> for n below count]`` has `count` further entries.
    With `plain_ms`, a plain number is written with its own digits as milliseconds.
    """
    if form.startswith("[") and isinstance(value, (list, tuple)):
        each = [filled(form[1:-1], one, others, plain_ms=plain_ms) for one in value[:LIST_MAX]]
        return None if None in each else f"[{', '.join(map(str, each))}]"
    if match := _SERIES.fullmatch(form):
        count = foreign_number(_computed(match["count"], "", value, others, 0))
        further = range(min(int(count or 0), LIST_MAX))
        each = [filled(match["each"], value, {**others, "n": at}, plain_ms=plain_ms) for at in further]
        return None if count is None or None in each else f"[{', '.join([match['first'], *map(str, each)])}]"
    written = [_amount(match, value, others, plain_ms) for match in AMOUNT.finditer(form)]
    if any(each is None for each in written):
        return None
    following = iter(written)
    return AMOUNT.sub(lambda _: str(next(following)), form)


def _amount(match: re.Match[str], value: Any, others: Mapping[str, Any], plain_ms: bool) -> str | None:
    if match["sum"]:
        return _computed(match["sum"], match["of"] or "", value, others, parse_duration(match["over"] or "0s") or 0)
    number, unit = foreign_number(value), match["unit"]
    if unit in ("ms", "s"):
        if isinstance(value, str) and parse_duration(value, unit_required=True) is not None:
            return value.strip()
        if number is not None and (unit == "s" or plain_ms):
            return f"{write_number(number)}{unit}"
        seconds = foreign_duration(value, 0.001)
        return None if seconds is None else write_duration(round(seconds, 9))
    if unit in ("/s", "/min") and (rate := foreign_rate(value)) is not None:
        return write_rate(rate)
    if unit == "%" and isinstance(value, str) and number is None:
        return value.strip() if parse_share(value) is not None else None
    if number is None:
        return None
    if match["period"]:
        given, own_unit = beside_of(others, match["period"])
        period = foreign_duration(given, 0.001 if (own_unit or match["each"]) == "ms" else 1)
        return write_rate(Rate(number, round(period, 9))) if period else None
    if match["hundred"] and number <= 1:
        number *= 100
    return write_number(number + bool(match["more"])) + (unit or "")


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _computed(form: str, unit: str, value: Any, others: Mapping[str, Any], over: float) -> str | None:
    """Return the result of a form as ``(max+min)/2``: None where a part is no number, null up to `over` seconds."""
    with_units = False

    def number_of(name: str) -> float:
        nonlocal with_units
        given = value if name == "N" else beside_of(others, name)[0]
        with_units |= foreign_number(given) is None
        if (number := foreign_duration(given, 1)) is None:
            raise ValueError(name)
        return number

    def result_of(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](result_of(node.left), result_of(node.right))
        if isinstance(node, ast.Call):
            return (max if ast.unparse(node.func) == "max" else min)(map(result_of, node.args))
        return number_of(node.id) if isinstance(node, ast.Name) else float(ast.literal_eval(node))

    try:
        result = result_of(ast.parse(form, mode="eval").body)
    except (ValueError, ArithmeticError):
        return None
    if not math.isfinite(result):
        return None
    if unit in ("ms", "s"):
        seconds = round(result * (0.001 if unit == "ms" and not with_units else 1), 3 if over else 9)
        return write_duration(seconds) if seconds > over or not over else "null"
    return write_number(round(100 * result, 6)) + "%" if unit else write_number(result)


def beside_of(mapping: Mapping[str, Any], word: str) -> tuple[Any, str]:
    """Return the value of a word in a mapping and the unit that its key has, None and empty where it is not there."""
    for key, value in mapping.items():
        name = plain(str(key)[:KEY_MAX])
        if name == plain(word):
            return value, ""
        if (stem := UNIT_SUFFIX.fullmatch(name)) and stem[1] == plain(word):
            return value, "ms" if stem[2].startswith("m") else "s"
    return None, ""
