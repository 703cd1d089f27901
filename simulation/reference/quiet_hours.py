"""Quiet hours "in the user's own time zone, over midnight and over daylight-saving changes" (section 6).

"A notification in quiet hours is scheduled for their end and checked again then": after a step of the clock that check
finds another wall time, and defers once more where it is quiet then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from simulation.reference.instants import utc

_HOUR = timedelta(hours=1)


class QuietHours(NamedTuple):
    """It is quiet while the clock on the wall shows a time in [start, end); over midnight where `end` is less."""

    start: time
    end: time
    zone: str

    def hold_at(self, instant: datetime) -> bool:
        """Return whether it is quiet."""
        shown = instant.astimezone(ZoneInfo(self.zone)).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def end_after(self, instant: datetime) -> datetime:
        """Return the first instant from this one on at which it is not quiet.

        Hour by hour: until the next full one, where the zone's offset stays, the wall goes on as time does; in another
        hour each second is looked at.
        """
        while self.hold_at(instant):
            here, hour = instant.astimezone(ZoneInfo(self.zone)), instant.replace(minute=0, second=0, microsecond=0)
            if here.utcoffset() == (hour + _HOUR).astimezone(ZoneInfo(self.zone)).utcoffset():
                to_end = datetime.combine(here, self.end) - datetime.combine(here, here.time())
                instant += min(to_end % timedelta(days=1), hour + _HOUR - instant)
            else:
                instant = next((look for look in _not_quiet(self, hour) if look > instant), hour + _HOUR)
        return instant


@lru_cache(maxsize=16)
def _not_quiet(hours: QuietHours, hour: datetime) -> tuple[datetime, ...]:
    """Return the instants of an hour at which it is not quiet: of each second, and when the wall may show `end` in it.

    Kept, since all who are deferred over a change of the clocks ask for the same hour, and it takes 20 ms.
    """
    seconds = (hour + timedelta(seconds=number) for number in range(3600))
    looks = (look for second in seconds for look in (second, second.replace(microsecond=hours.end.microsecond)))
    return tuple(look for look in looks if not hours.hold_at(look))


def calendar_ns(instant: datetime) -> int:
    """Return where an instant is on the calendar, in nanoseconds since 1970: to the microsecond, as it is given."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def quiet_until_ns(hours: Iterable[QuietHours], now_ns: int, epoch_ns: int) -> int | None:
    """Return until when it is quiet for a user by any of their rules, in ns since the start; None: it is not.

    The wall shows `epoch_ns` + `now_ns` since 1970, in whole microseconds; a step of the clock is one of `epoch_ns`.
    """
    instant = utc(epoch_ns + now_ns)
    ends = [one.end_after(instant) for one in hours if one.hold_at(instant)]
    return max(now_ns, calendar_ns(max(ends)) - epoch_ns) if ends else None
