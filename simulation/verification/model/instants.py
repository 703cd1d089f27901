"""Time: whole nanoseconds since the start of the run, where settings and providers speak of seconds (section 2).

The model counts for itself: were it to take this from the product, both would be wrong by the same nanosecond.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import floor

from actors.settings.faults import FaultConfig

NS_PER_S = 1_000_000_000

LONGEST_WAIT_NS = 2**62
"""No wait is longer, about 146 years, so that every instant it leads to fits into 64 bits."""

NEVER_NS = LONGEST_WAIT_NS

_DAY_NS = 86_400 * NS_PER_S


def ns(seconds: float) -> int:
    """Return the whole number of nanoseconds next to `seconds`; of two as near the even one.

    Seconds are doubles, and so is what they are times 1e9: of 2.01 s that is a little less than 2,010,000,000.
    """
    nanoseconds = seconds * NS_PER_S
    whole = floor(nanoseconds)
    rest = nanoseconds - whole
    return whole + 1 if rest > 0.5 or (rest == 0.5 and whole % 2) else whole


@lru_cache(maxsize=1024, typed=True)
def wait_ns(seconds: float) -> int:
    """Return `seconds`, at least 0, as the nearest nanosecond, or the longest wait if that is less."""
    return ns(seconds) if seconds * NS_PER_S < LONGEST_WAIT_NS else LONGEST_WAIT_NS


def utc(nanoseconds_since_1970: int) -> datetime:
    """Return the UTC datetime of an instant, to the microsecond that it is in."""
    days, rest_ns = divmod(nanoseconds_since_1970, _DAY_NS)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days, microseconds=rest_ns // 1000)


def calendar_ns(instant: datetime) -> int:
    """Return where an instant is on the calendar, in nanoseconds since 1970: to the microsecond, as it is given."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def sooner(*instants_ns: int | None) -> int | None:
    """Return the earliest of some instants, each of which may be None: never."""
    earliest_ns = None
    for each in instants_ns:
        if each is not None and (earliest_ns is None or each < earliest_ns):
            earliest_ns = each
    return earliest_ns


class Window:
    """From when until when a fault lasts."""

    def __init__(self, fault: FaultConfig) -> None:
        self.start_ns = ns(fault.at)
        self.end_ns = NEVER_NS if fault.for_ is None else self.start_ns + ns(fault.for_)

    def is_open(self, now_ns: int) -> bool:
        return self.start_ns <= now_ns < self.end_ns
