"""Quantities as people write them in a file: ``80ms``, ``20/s``, ``30%``; and what to say when they do not.

Each is an annotated type for a settings model. A value that does not fit raises a problem whose text is what was
wanted (``a duration such as 80ms, 10s, 5m or 2h``); who reports it adds the place and what was there. In Python a
plain number is taken too (seconds, events a second, a share between 0 and 1); in a file the unit is required, so that
nobody has to guess it: validate with ``context=FROM_FILE``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

FROM_FILE = {"units": "required"}

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_NUMBER = r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(ns|us|µs|ms|s|min|m|h|d)")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(\d+(?:\.\d+)?)?\s*(ms|s|min|m|h|d)")
_SHARE = re.compile(rf"{_NUMBER}\s*%")

_DURATION_PATTERN = r"^\d+(\.\d+)?([eE][+-]?\d+)?\s*(ns|us|µs|ms|s|min|m|h|d)$"
_RATE_PATTERN = r"^\d+(\.\d+)?([eE][+-]?\d+)?\s*/\s*(\d+(\.\d+)?)?\s*(ms|s|min|m|h|d)$"
_SHARE_PATTERN = r"^\d+(\.\d+)?([eE][+-]?\d+)?\s*%$"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in each period: ``100/min`` is 100 in 60 s, which is not the same limit as 5 in 3 s."""

    count: float
    period: float
    """Seconds."""

    @property
    def per_second(self) -> float:
        """Events a second, on average."""
        return self.count / self.period


def wanted(what: str) -> PydanticCustomError:
    """Return the problem that says what was wanted, e.g. ``wanted a whole number of at least 1``."""
    return PydanticCustomError("wanted", "wanted {what}", {"what": what})


def parse_duration(value: Any, *, unit_required: bool = False) -> float | None:
    """Return `value` in seconds (``80ms``, ``10s``, ``5m``, ``2h``, ``1d``), or None when it is not a duration."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        result = float(match[1]) * _SECONDS[match[2]]
        return result if math.isfinite(result) else None
    return None if unit_required else _plain_number(value)


def parse_rate(value: Any, *, unit_required: bool = False) -> Rate | None:
    """Return `value` as a rate (``20/s``, ``100/min``, ``10/5s``), or None when it is not one."""
    if isinstance(value, Rate):
        return value
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        count, period = float(match[1]), float(match[2] or 1) * _SECONDS[match[3]]
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


class Wanted:
    """The marker of an annotated type: reads a value, and says what was wanted when it does not fit.

    Its `read` returns the value, or None for one that does not fit.
    """

    def __init__(self, text: str, read: Callable[[Any, bool], Any], schema: dict[str, Any]) -> None:
        self.text = text
        self._read = read
        self._schema = schema | {"description": text}

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        unit_required = (info.context or {}).get("units") == "required"
        result = self._read(value, unit_required)
        if result is None:
            raise wanted(self.text)
        return result

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        return dict(self._schema)


def _duration(minimum: str, accepts: Callable[[float], bool]) -> Wanted:
    def read(value: Any, unit_required: bool) -> float | None:
        result = parse_duration(value, unit_required=unit_required)
        return result if result is not None and accepts(result) else None

    schema = {"type": "string", "pattern": _DURATION_PATTERN}
    return Wanted(f"a duration{minimum} such as 80ms, 10s, 5m or 2h", read, schema)


def _rate(value: Any, unit_required: bool) -> Rate | None:
    result = parse_rate(value, unit_required=unit_required)
    return result if result is not None and result.count > 0 else None


def _share(text: str, accepts: Callable[[float], bool]) -> Wanted:
    def read(value: Any, _unit_required: bool) -> float | None:
        result = parse_share(value)
        return result if result is not None and accepts(result) else None

    percent = {"type": "string", "pattern": _SHARE_PATTERN}
    return Wanted(text, read, {"anyOf": [percent, {"type": "number", "minimum": 0, "maximum": 1}]})


def whole_number(minimum: int) -> Wanted:
    """Return the marker of a whole number of at least `minimum`."""

    def read(value: Any, _unit_required: bool) -> int | None:
        return value if type(value) is int and value >= minimum else None

    return Wanted(f"a whole number of at least {minimum}", read, {"type": "integer", "minimum": minimum})


def number(minimum: float) -> Wanted:
    """Return the marker of a finite number of at least `minimum`."""

    def read(value: Any, _unit_required: bool) -> float | None:
        result = _plain_number(value)
        return result if result is not None and result >= minimum else None

    return Wanted(f"a number of at least {minimum:g}", read, {"type": "number", "minimum": minimum})


Duration = Annotated[float, _duration("", lambda seconds: seconds >= 0)]
"""Seconds, at least 0."""

PositiveDuration = Annotated[float, _duration(" of more than 0", lambda seconds: seconds > 0)]
"""Seconds, more than 0."""

PositiveRate = Annotated[
    Rate,
    Wanted("a rate of more than 0 such as 20/s or 100/min", _rate, {"type": "string", "pattern": _RATE_PATTERN}),
]
"""A :class:`Rate` of more than 0."""

Share = Annotated[float, _share("a share between 0% and 100%", lambda share: True)]
"""Between 0 and 1."""

PositiveShare = Annotated[float, _share("a share of more than 0% and at most 100%", lambda share: share > 0)]
"""More than 0, at most 1."""

WholeNumber = Annotated[int, whole_number(0)]
PositiveWholeNumber = Annotated[int, whole_number(1)]
