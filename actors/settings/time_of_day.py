"""Times of day and time zones as people write them in a file: ``22:00``, ``Europe/Berlin``."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from actors.settings.quantities import Wanted


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


TimeOfDay = Annotated[
    time,
    Wanted(
        "a time of day such as 22:00",
        _time_of_day,
        {"type": "string", "pattern": r"^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"},
        time.isoformat,
    ),
]


def _zone(value: Any, _unit_required: bool) -> str | None:
    try:
        return value if isinstance(value, str) and ZoneInfo(value).key == value else None
    except (ValueError, OSError, KeyError):
        return None


ZoneName = Annotated[str, Wanted("a time zone such as Europe/Berlin", _zone, {"type": "string"})]
