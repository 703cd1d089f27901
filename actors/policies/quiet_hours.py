"""Quiet hours in a user's own time zone, over midnight and over daylight-saving changes."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from actors.errors import ConfigurationError
from actors.instants import first_clock_change, time_zone


class QuietHours:
    """It is quiet while the clock on the wall in `zone` shows a time in ``[start, end)``.

    Only the clock on the wall counts. With `end` before `start` it is quiet over midnight. When the clock is
    put forward over `end`, quiet ends at the change; when it is put back over `end`, quiet ends at the first `end`, and
    comes back with the repeated hour.

    Raises:
        ConfigurationError: the zone is unknown; `start` or `end` carries a zone of its own; or they are equal, which
            could mean never as well as always.
    """

    __slots__ = ("_zone", "end", "start")

    def __init__(self, start: time, end: time, zone: str) -> None:
        problems = [
            f"quiet_hours.{name}: wanted a local time such as 22:00, got {value!r}"
            for name, value in (("start", start), ("end", end))
            if not isinstance(value, time) or value.tzinfo is not None
        ]
        if not problems and start == end:
            problems = [f"quiet_hours: wanted start and end to differ, got {start.isoformat()} for both"]
        if problems:
            raise ConfigurationError(problems)
        self.start = start
        self.end = end
        self._zone = _zone(zone)

    @property
    def zone(self) -> str:
        """The name of the time zone, e.g. ``Europe/Berlin``."""
        return self._zone.key

    def in_zone(self, zone: str | None) -> QuietHours:
        """Return the same hours on the clocks of another time zone; None: these."""
        return self if zone in (None, self.zone) else QuietHours(self.start, self.end, zone)

    def end_of_quiet(self, at: datetime) -> datetime | None:
        """Return the first instant from `at` on at which it is not quiet, in UTC; None when that is `at` itself.

        Raises:
            ValueError: `at` has no time zone, so it names no instant.
        """
        if at.tzinfo is None:
            raise ValueError(f"wanted a datetime with a time zone, got {at!r}")
        instant = at.astimezone(UTC)
        if not self._is_quiet(instant):
            return None
        while self._is_quiet(instant):
            # Quiet ends when the clock reaches `end`, unless it is put forward or back before.
            reached = instant + self._until_end(instant)
            instant = first_clock_change(instant, reached, self._zone) or reached
        return instant

    def _local(self, instant: datetime) -> datetime:
        return instant.astimezone(self._zone)

    def _is_quiet(self, instant: datetime) -> bool:
        shown = self._local(instant).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def _until_end(self, instant: datetime) -> timedelta:
        return (_since_midnight(self.end) - _since_midnight(self._local(instant).time())) % timedelta(days=1)


def _since_midnight(shown: time) -> timedelta:
    return timedelta(hours=shown.hour, minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond)


def _zone(name: str) -> ZoneInfo:
    try:
        return time_zone(name)
    except ValueError as problem:
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError([f"quiet_hours.zone: {problem}{hint}"]) from None
