"""Quiet hours "in the user's own time zone, over midnight and over daylight-saving changes" (section 6).

"A notification in quiet hours is scheduled for their end and checked again then." The end is an instant of wall time;
when the clock is stepped meanwhile, that check finds another wall time, and defers once more where it is quiet then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from actors.instants import since_1970_ns, utc

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class QuietHours(NamedTuple):
    """It is quiet while the clock on the wall shows a time in [start, end)."""

    start: time
    end: time
    zone: str

    def holds_at(self, instant: datetime) -> bool:
        """Return whether it is quiet; with `end` before `start`, over midnight."""
        shown = instant.astimezone(ZoneInfo(self.zone)).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def end_after(self, instant: datetime) -> datetime:
        """Return the first instant from this one on at which it is not quiet.

        Hour by hour: an hour in which the zone's offset stays the same is one on the wall too; in one in which it
        changes, each whole second is looked at, and each instant at which a clock may show `end`.
        """
        while self.holds_at(instant):
            if self._offset(instant) == self._offset(instant + _HOUR):
                to_end = (_of_day(self.end) - _of_day(instant.astimezone(ZoneInfo(self.zone)).time())) % _DAY
                instant += min(to_end, _HOUR)
                continue
            whole, part = instant.replace(microsecond=0), timedelta(microseconds=self.end.microsecond)
            looks = [whole + number * _SECOND + more for number in range(3601) for more in sorted({_NONE, part})]
            instant += _HOUR
            instant = next((look for look in looks if whole < look < instant and not self.holds_at(look)), instant)
        return instant

    def _offset(self, instant: datetime) -> timedelta | None:
        return instant.astimezone(ZoneInfo(self.zone)).utcoffset()


_NONE = timedelta()


def _of_day(shown: time) -> timedelta:
    return datetime.combine(datetime.min, shown) - datetime.min


def quiet_until_ns(hours: Iterable[QuietHours], now_ns: int, epoch_ns: int) -> int | None:
    """Return until when it is quiet for a user by any of their rules, in ns since the start; None: it is not.

    The wall shows `epoch_ns` + `now_ns` since 1970, in whole microseconds, as a datetime has them; a step of the clock
    is one of `epoch_ns`.
    """
    instant = utc(epoch_ns + now_ns)
    ends = [one.end_after(instant) for one in hours if one.holds_at(instant)]
    return max(now_ns, since_1970_ns(max(ends)) - epoch_ns) if ends else None
