"""When the clocks of a time zone show a time of day, one day after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, time, timedelta

from actors.instants import first_clock_change, time_zone

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def instants_at(at: time, zone: str, days: Collection[str], begins: datetime) -> Iterator[datetime]:
    """Yield the instants, in UTC and from `begins` on, at which it is `at` in a zone on these days of the week.

    A local time that does not exist, since the clocks are put forward over it, goes to the next one that does. Of one
    that comes twice it is the first.
    """
    local = time_zone(zone)
    day = begins.astimezone(local).date() - timedelta(days=1)  # whose time may have been put forward to the next day
    while True:
        if WEEKDAYS[day.weekday()] in days and (instant := _instant_of(datetime.combine(day, at, local))) >= begins:
            yield instant
        day += timedelta(days=1)


def _instant_of(shown: datetime) -> datetime:
    first, second = (shown.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # By the offsets before and after a gap, the two are on either side of it (PEP 495).
    change = first_clock_change(second, first, shown.tzinfo)
    assert change is not None
    return change
