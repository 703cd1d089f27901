"""Quantities as people write them in a file: ``80ms``, ``20/s``, ``30%``, ``22:00``; and the problems of bad ones.

Each is an annotated type for a settings model. A value that does not fit raises a problem whose text is the wanted
value (``a duration such as 80ms, 10s, 5m or 2h``); the caller that reports it adds the place and the given value. In
Python a plain number is taken too (seconds, events a second, a share between 0 and 1); in a file the unit is required,
so that no reader has to guess it: validate with ``context=FROM_FILE``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from typing import Annotated, Any

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from actors.instants import time_zone

FROM_FILE = {"units": "required"}

_UNITS: dict[str, Callable[[float], float]] = {
    "ns": lambda number: number / 1e9,  # dividing keeps 7us at the float nearest to 0.000007; times 1e-6 does not
    "us": lambda number: number / 1e6,
    "µs": lambda number: number / 1e6,
    "ms": lambda number: number / 1e3,
    "s": lambda number: number,
    "m": lambda number: number * 60,
    "min": lambda number: number * 60,
    "h": lambda number: number * 3600,
    "d": lambda number: number * 86400,
}
_NUMBER_PATTERN = r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
_DURATION_PATTERN = rf"{_NUMBER_PATTERN} ?(ns|us|µs|ms|s|min|m|h|d)"
_RATE_PATTERN = rf"{_NUMBER_PATTERN} ?/ ?([0-9]+(?:\.[0-9]+)?)? ?(ms|s|min|m|h|d)"
_SHARE_PATTERN = rf"{_NUMBER_PATTERN} ?%"
_DURATION = re.compile(_DURATION_PATTERN)
_RATE = re.compile(_RATE_PATTERN)
_SHARE = re.compile(_SHARE_PATTERN)

WHOLE_NUMBER_MAX = 2**63 - 1
"""The largest whole number that tables and JSON readers can hold."""

LONGEST_S = 36525 * 86400.0
"""A hundred years: no duration in a file may last longer, so that every instant of a run is a date."""

FASTEST_PER_S = 1e9
"""One event a nanosecond, in events a second."""

SLOWEST_PER_S = 1e-12
"""One event in thirty thousand years: as good as never, and still safe to calculate with."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of events in each period: ``100/min`` is 100 in 60 s, which is another limit than 5 in 3 s."""

    count: float
    period: float
    """Seconds."""

    @property
    def per_second(self) -> float:
        return self.count / self.period


def wanted(what: str, got: str | None = None) -> PydanticCustomError:
    """Return the problem that names the wanted value; `got` says in words what was given, where a value cannot."""
    context = {"what": what} if got is None else {"what": what, "got": got}
    return PydanticCustomError("wanted", "wanted {what}", context)


def parse_duration(value: Any, *, unit_required: bool = False) -> float | None:
    """Return `value` in seconds (``80ms``, ``10s``, ``5m``, ``2h``, ``1d``), or None when it is not a duration."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        result = _UNITS[match[2]](float(match[1]))
        return result if math.isfinite(result) else None
    return None if unit_required else _plain_number(value)


def parse_rate(value: Any, *, unit_required: bool = False) -> Rate | None:
    """Return `value` as a rate (``20/s``, ``100/min``, ``10/5s``), or None when it is not one."""
    if isinstance(value, Rate):
        return value
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        count, period = float(match[1]), _UNITS[match[3]](float(match[2] or 1))
        return Rate(count, period) if math.isfinite(count) and 0 < period < math.inf else None
    number = None if unit_required else _plain_number(value)
    return None if number is None else Rate(number, 1.0)


def parse_share(value: Any) -> float | None:
    """Return `value` (``30%``, or a plain 0.3) as a share between 0 and 1, or None when it is not one."""
    if isinstance(value, str) and (match := _SHARE.fullmatch(value.strip())):
        share: float | None = float(match[1]) / 100
    else:
        share = _plain_number(value)
    return share if share is not None and 0 <= share <= 1 else None


def _plain_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest float
        return None
    return number if math.isfinite(number) else None


class Wanted:
    """The marker of an annotated type: reads a value, and says `text` was wanted when it does not fit.

    `read` takes the value and whether a unit is required; it returns None for a value that does not fit. `schema` is
    the JSON Schema of the value in a file, and `write` turns it back into that form, where it is another.
    """

    def __init__(
        self,
        text: str,
        read: Callable[[Any, bool], Any],
        schema: dict[str, Any],
        write: Callable[[Any], Any] | None = None,
    ) -> None:
        self.text = text
        self._read = read
        self._schema = {"description": text} | schema
        self._write = write

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if (result := self._read(value, (info.context or {}).get("units") == "required")) is None:
            raise wanted(self.text)
        return result

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        write = self._write
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=write and core_schema.plain_serializer_function_ser_schema(write, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        return dict(self._schema)


def write_duration(seconds: float) -> str:
    """Return `seconds` as a file has them: ``2h``, ``0.08s``; reading it back gives the very same number."""
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds and seconds % unit == 0:
            return f"{_shortest(seconds / unit)}{name}"
    return f"{_shortest(seconds)}s"


def write_rate(rate: Rate) -> str:
    return f"{_shortest(rate.count)}/{'' if rate.period == 1 else _shortest(rate.period)}s"


def _shortest(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _duration(minimum: str, accepts: Callable[[float], bool], *, plain_0: bool = False) -> Wanted:
    def read(value: Any, unit_required: bool) -> float | None:
        if plain_0 and value == 0 and not isinstance(value, bool):
            return 0.0
        result = parse_duration(value, unit_required=unit_required)
        if result is not None and unit_required and result > LONGEST_S:
            raise wanted("a duration of at most 36525d (a hundred years)")
        return result if result is not None and accepts(result) else None

    schema: dict[str, Any] = {"type": "string", "pattern": f"^{_DURATION_PATTERN}$"}
    schema = {"anyOf": [schema, {"const": 0}]} if plain_0 else schema
    return Wanted(f"a duration{minimum} such as 80ms, 10s, 5m or 2h", read, schema, write_duration)


def _signed_duration(value: Any, unit_required: bool) -> float | None:
    sign = -1 if isinstance(value, str) and value.startswith("-") else 1
    result = parse_duration(value.lstrip("+-") if isinstance(value, str) else value, unit_required=unit_required)
    return sign * result if result is not None and abs(result) <= LONGEST_S else None


def _rate(text: str, *, from_0: bool = False) -> Wanted:
    def read(value: Any, unit_required: bool) -> Rate | None:
        result = parse_rate(value, unit_required=unit_required)
        if result is None or result.count == 0:
            return result if from_0 else None
        if unit_required and result.per_second > FASTEST_PER_S:
            raise wanted("a rate of at most 1000000000/s")
        return result if result.count > 0 and result.per_second >= (SLOWEST_PER_S if unit_required else 0.0) else None

    return Wanted(text, read, {"type": "string", "pattern": f"^{_RATE_PATTERN}$"}, write_rate)


def _share(text: str, accepts: Callable[[float], bool]) -> Wanted:
    def read(value: Any, _unit_required: bool) -> float | None:
        result = parse_share(value)
        return result if result is not None and accepts(result) else None

    percent = {"type": "string", "pattern": r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?([eE]-[0-9]+)?) ?%$"}
    return Wanted(text, read, {"anyOf": [percent, {"type": "number", "minimum": 0, "maximum": 1}]})


def whole_number(minimum: int, maximum: int | None = None, *, or_word: str | None = None) -> Wanted:
    """Return the marker of a whole number from `minimum` to `maximum`, or to the largest that tables can hold; or of
    the word `or_word`."""

    def read(value: Any, _unit_required: bool) -> int | str | None:
        if isinstance(value, str):
            return or_word if value == or_word else None
        if type(value) is int and value > (maximum or WHOLE_NUMBER_MAX):
            raise wanted("a number below 2^63" if maximum is None else f"a whole number from {minimum} to {maximum:,}")
        return value if type(value) is int and value >= minimum else None

    schema: dict[str, Any] = {"type": "integer", "minimum": minimum}
    schema |= {} if maximum is None else {"maximum": maximum}
    if or_word is None:
        return Wanted(f"a whole number of at least {minimum}", read, schema)
    return Wanted(f"a whole number of at least {minimum}, or {or_word}", read, {"anyOf": [schema, {"const": or_word}]})


def matching(text: str, pattern: str, *, but: str | None = None) -> Wanted:
    """Return the marker of a text of ASCII that matches a pattern as a whole and is not `but`."""

    def read(value: Any, _unit_required: bool) -> str | None:
        fits = isinstance(value, str) and value != but and re.fullmatch(pattern, value, re.ASCII)
        return value if fits else None

    schema = {"type": "string", "pattern": f"^{pattern}$"} | ({} if but is None else {"not": {"const": but}})
    return Wanted(text, read, schema)


def number(minimum: float, *, exclusive: bool = False) -> Wanted:
    """Return the marker of a finite number of at least `minimum`, or of more than that."""

    def read(value: Any, _unit_required: bool) -> float | None:
        result = _plain_number(value)
        return result if result is not None and (result > minimum or (result == minimum and not exclusive)) else None

    text, key = ("more than", "exclusiveMinimum") if exclusive else ("at least", "minimum")
    return Wanted(f"a number of {text} {minimum:g}", read, {"type": "number", key: minimum})


def _text(value: Any, _unit_required: bool) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)")


def _shown_text(value: Any, _unit_required: bool) -> str | None:
    if isinstance(value, str) and _NOT_SHOWN.search(value):
        raise wanted("text without control characters")  # a terminal would take them for orders
    return value if isinstance(value, str) else None


def _shown_name(value: Any, unit_required: bool) -> str | None:
    return _text(_shown_text(value, unit_required), unit_required)


Duration = Annotated[float, _duration("", lambda seconds: seconds >= 0)]
"""Seconds, at least 0."""

DurationOr0 = Annotated[float, _duration("", lambda seconds: seconds >= 0, plain_0=True)]
"""Seconds, at least 0, where a file may have a plain 0 too."""

PositiveDuration = Annotated[float, _duration(" of more than 0", lambda seconds: seconds >= 1e-9)]
"""Seconds, at least a nanosecond."""

_SIGNED_DURATION = {"type": "string", "pattern": f"^[+-]?{_DURATION_PATTERN}$"}

SignedDuration = Annotated[
    float, Wanted("a duration such as 90s or -5m", _signed_duration, _SIGNED_DURATION, write_duration)
]
"""Seconds, also less than 0."""

PositiveRate = Annotated[Rate, _rate("a rate of more than 0 such as 20/s or 100/min")]
RateFrom0 = Annotated[Rate, _rate("a rate such as 20/s, 100/min or 0/s", from_0=True)]

Share = Annotated[float, _share("a share between 0% and 100%", lambda share: True)]
"""Between 0 and 1."""

PositiveShare = Annotated[float, _share("a share of more than 0% and at most 100%", lambda share: share > 0)]
"""More than 0, at most 1."""

WholeNumber = Annotated[int, whole_number(0)]
PositiveWholeNumber = Annotated[int, whole_number(1)]

PositiveNumber = Annotated[float, number(0, exclusive=True)]
NotNegative = Annotated[float, number(0)]

Text = Annotated[str, Wanted("text that is not empty", _text, {"type": "string", "pattern": r"\S"})]

ShownText = Annotated[str, Wanted("text", _shown_text, {"type": "string"})]
"""Text that is printed as it is."""

ShownName = Annotated[str, Wanted("text that is not empty", _shown_name, {"type": "string", "pattern": r"\S"})]
"""A shown name that is not empty."""


def _time_of_day(value: Any, _unit_required: bool) -> time | None:
    if isinstance(value, time):
        return value if value.tzinfo is None else None
    if not isinstance(value, str) or not value.isascii() or value.count(":") not in (1, 2):
        return None
    hours, *rest = value.split(":")
    if not all(part.isdigit() and len(part) == 2 for part in rest) or not (hours.isdigit() and len(hours) <= 2):
        return None
    try:
        minute, second = int(rest[0]), int(rest[1]) if len(rest) == 2 else 0
        return time(int(hours), minute, second)
    except ValueError:
        return None


_TIME_OF_DAY = {"type": "string", "pattern": r"^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"}

TimeOfDay = Annotated[time, Wanted("a time of day such as 22:00", _time_of_day, _TIME_OF_DAY, time.isoformat)]


def _zone(value: Any, _unit_required: bool) -> str | None:
    try:
        return value if isinstance(value, str) and time_zone(value) else None
    except ValueError:
        return None


ZoneName = Annotated[str, Wanted("a time zone such as Europe/Berlin", _zone, {"type": "string"})]
