"""Whether a user wants a notification now: preferences and quiet hours (section 6).

Quiet hours are "in the user's own time zone, over midnight and over daylight-saving changes". "A notification in quiet
hours is scheduled for their end and checked again then": after a step of the clock that check finds another wall time,
and defers once more where it is quiet then.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from actors.messages import SendNotification
from simulation.verification.model.instants import calendar_ns, utc
from simulation.verification.model.world import World


class QuietHours(NamedTuple):
    """Quiet while the clock on the wall shows a time in [start, end); over midnight where `end` is less."""

    start: time
    end: time
    zone: str

    def hold_at(self, instant: datetime) -> bool:
        shown = instant.astimezone(ZoneInfo(self.zone)).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def end_after(self, instant: datetime) -> datetime:
        """Return the first instant from this one on at which it is not quiet.

        That is when the clock on the wall shows `end`, perhaps twice in a day, or when it is changed: no zone does that
        twice in two days.
        """
        zone = ZoneInfo(self.zone)

        def is_changed(seconds: int) -> bool:
            then = instant + timedelta(seconds=seconds)
            return then.astimezone(zone).utcoffset() != instant.astimezone(zone).utcoffset()

        seconds = bisect_left(range(2 * 86_400), True, key=is_changed)
        looks = [instant.replace(microsecond=0) + timedelta(seconds=seconds)]
        today = instant.astimezone(zone).date()
        for days in (-1, 0, 1, 2):
            shown = datetime.combine(today + timedelta(days), self.end, zone)
            looks += [shown.astimezone(UTC), shown.replace(fold=1).astimezone(UTC)]
        return min(look for look in looks if look >= instant and not self.hold_at(look))


def quiet_until_ns(hours: Sequence[QuietHours], now_ns: int, epoch_ns: int) -> int:
    """Return until when it is quiet by any rule, in ns since the start, or `now_ns`.

    The wall shows `epoch_ns` + `now_ns` since 1970, in whole microseconds; a step of the clock is one of `epoch_ns`.
    """
    if not hours:
        return now_ns
    instant = utc(epoch_ns + now_ns)
    ends_ns = [calendar_ns(each.end_after(instant)) - epoch_ns for each in hours if each.hold_at(instant)]
    return max([now_ns, *ends_ns])


def wanted_from_ns(world: World, command: SendNotification, now_ns: int, epoch_ns: int) -> int | None:
    """Return from when on its user wants a command; None: never. "`critical` bypasses" both (1),
    and what has no user (22) has no preferences."""
    if not (world.chosen or world.preferences or world.quiet_hours) or command.critical or not command.user:
        return now_ns
    user, channel = command.user, command.channel
    chosen = world.chosen.get((user, channel))
    if chosen is False:
        return None
    for number, rule in enumerate(world.preferences if chosen is None else ()):
        if channel == rule.channel and _belongs(user, f"off/{number}", rule.share):
            return None
    # "A user's own preferences go above the entry's zone, the command's above both" (25).
    their_zone = next((zone for zone in world.zones if user.startswith(f"{zone}-user-")), "UTC")
    hours = [
        QuietHours(rule.from_, rule.to, command.zone or rule.own_zone or their_zone)
        for number, rule in enumerate(world.quiet_hours)
        if channel in rule.channels and _belongs(user, f"quiet/{number}", rule.share)
    ]
    return quiet_until_ns(hours, now_ns, epoch_ns)


def _belongs(user: str, rule: str, share: float) -> bool:
    digest = hashlib.sha256(f"{rule}/{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
