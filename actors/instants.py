"""Time inside is whole nanoseconds since the start of the run; seconds are for the edges.

Floats break ties: ``(t + 60) - t < 60`` holds at t = 4.1. So every instant on a system's clock is an ``int`` whose
name ends in ``_ns``, and these few functions are the only ones that convert. A wait in seconds, from settings or from
a provider, becomes nanoseconds that are always finite and never negative.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

NS_PER_S = 1_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(seconds: float) -> int:
    """Return `seconds` as the nearest whole number of nanoseconds."""
    return round(seconds * NS_PER_S)


def seconds(nanoseconds: int) -> float:
    """Return a number of nanoseconds as seconds."""
    return nanoseconds / NS_PER_S


def utc(nanoseconds_since_1970: int) -> datetime:
    """Return the UTC datetime of an instant, to the microsecond (what a datetime can hold)."""
    return _EPOCH + timedelta(microseconds=nanoseconds_since_1970 // 1000)


def since_1970_ns(instant: datetime) -> int:
    """Return the nanoseconds from 1970 to `instant`.

    Raises:
        ValueError: `instant` has no time zone, so it names no instant.
    """
    if instant.tzinfo is None:
        raise ValueError(f"wanted a datetime with a time zone, got {instant!r}")
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


@lru_cache(1024)  # zoneinfo itself keeps eight, and reads a file for each further one
def time_zone(name: str) -> ZoneInfo:
    """Return the time zone of this name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; outside the database; `Europe`, which is a directory
        raise ValueError(f"wanted a time zone such as Europe/Berlin, got {name!r:.100}") from None


_STEP = timedelta(hours=1)
"""No zone changes its offset twice within this."""


def first_clock_change(after: datetime, until: datetime, zone: tzinfo | None) -> datetime | None:
    """Return the first instant in ``(after, until]`` with another offset from UTC than `after`, or None."""
    offset = after.astimezone(zone).utcoffset()
    low, high = after, min(after + _STEP, until)
    while high.astimezone(zone).utcoffset() == offset:
        if high == until:
            return None
        low, high = high, min(high + _STEP, until)
    while high - low > timedelta.resolution:
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


LONGEST_WAIT_NS = 2**62
"""About 146 years: an instant of this century plus this wait still fits into 64 bits, which is what a database has."""

NEVER_NS = 2**63 - 1
"""The instant at which that fits which never will; after every instant that a wait leads to."""

_LONGEST_WAIT_S = LONGEST_WAIT_NS / 1e9


def wait_ns(seconds: float) -> int:
    """Return `seconds` (at least 0, not NaN) as the nearest nanosecond, or :data:`LONGEST_WAIT_NS` if that is less."""
    return ns(seconds) if seconds < _LONGEST_WAIT_S else LONGEST_WAIT_NS


def sooner(one_ns: int | None, other_ns: int | None) -> int | None:
    """Return the earlier of two instants; None stands for never."""
    if one_ns is None or other_ns is None:
        return other_ns if one_ns is None else one_ns
    return one_ns if one_ns < other_ns else other_ns
