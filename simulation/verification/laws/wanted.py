"""The wishes of users: nothing by a channel that is switched off, nor in quiet hours.

Quiet hours go by the clock on the user's wall, and not by the code that decides about them.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from actors.instants import utc
from actors.policies.quiet_hours import QuietHours
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade


class Wanted(Invariant):
    """Nothing but what is critical goes to a user who has switched the channel off."""

    name = "wanted"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.preferences is not None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        command, preferences = made.attempt.command, self.context.preferences
        if preferences is None or command.critical or not command.user or made.is_copy:
            return None  # what is copied had set out before
        if preferences.is_enabled(command.user, made.channel):
            return None
        return f"{made.notification_id} is sent, though {command.user} has switched {made.channel} off"


class QuietKept(Invariant):
    """Nothing but what is critical sets out while it is quiet for its user."""

    name = "quiet-hours"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.preferences is not None and not context.mixes_messages_up

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        command, preferences = made.attempt.command, self.context.preferences
        if preferences is None or command.critical or not command.user or made.is_copy:
            return None
        hours = [own.in_zone(command.zone) for own in preferences.quiet_hours_of(command.user, made.channel)]
        at, *before = map(utc, self.context.calendar_ns(made.at_ns))
        if not all(any(shows_quiet(own, each) for own in hours) for each in (at, *before)):
            return None
        return f"{made.notification_id} is sent at {at}, in the quiet hours of {command.user}"


def shows_quiet(hours: QuietHours, at: datetime) -> bool:
    """Tell whether the clock on the wall of these quiet hours shows a time between their start and their end."""
    shown = at.astimezone(ZoneInfo(hours.zone)).time()
    if hours.start > hours.end:  # over midnight: all of the day but from end to start
        return not hours.end <= shown < hours.start
    return hours.start <= shown < hours.end
