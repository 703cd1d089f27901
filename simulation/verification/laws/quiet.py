"""Quiet hours, by what the clock on the user's wall shows: computed apart from the code that decides about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from actors.formatting import seconds_text
from actors.instants import utc, wait_ns
from actors.messages import (
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationRedriven,
    SendNotification,
)
from actors.pipeline.handler import Handler
from actors.pipeline.orders import Submit
from actors.policies.quiet_hours import QuietHours
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade, MessageSent

_MOMENT = timedelta(microseconds=1)


class QuietKept(Invariant):
    """Nothing but what is critical sets out while it is quiet for its user, further copies of what has set out before
    not counted; and what waits for the end of quiet hours waits until then, and no longer. What will have expired by
    then does not wait; where the wall clock steps, that is not known after a crash."""

    name = "quiet-hours"
    receivers = frozenset({Handler})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expires_after: dict[str, float | None] = {}
        """For how many seconds each is wanted that has come to the handler. None: without an end, or it has come with
        several payloads, and it is not known which of them was accepted."""
        self._zone: dict[str, str] = {}
        """The time zone of each command that has one."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.preferences is not None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        command = made.attempt.command
        if made.is_copy or self.context.mixes_messages_up:
            return None  # it had set out before, perhaps, and was late on its way
        at, *before = map(utc, self.context.calendar_ns(made.at_ns))
        hours = self._hours(command.user, made.channel, command.zone)
        if command.critical or not all(_are_quiet(hours, each) for each in (at, *before)):
            return None
        return f"{made.notification_id} is sent at {at}, in the quiet hours of {command.user}"

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> None:
        message = sent.message
        command = message.command if type(message) is Submit else message
        if type(command) is SendNotification:
            name, expires_after = command.notification_id, command.expires_after
            if self._expires_after.setdefault(name, expires_after) != expires_after:
                self._expires_after[name] = None
            if command.zone is not None:
                self._zone[name] = command.zone

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> None:
        if redriven.edit:
            self._expires_after.pop(redriven.notification_id, None)  # perhaps it has another one now

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> Objection:
        lifecycle = self.context.lifecycles.get(deferred.notification_id)
        if deferred.cause is not DeferralCause.QUIET_HOURS or deferred.resumes_at_ns is None or lifecycle is None:
            return None
        expires_after = self._expires_after.get(deferred.notification_id)
        steps = self.context.steps_the_clock and self.context.lifecycles.crashes
        if expires_after is not None and not steps:
            expires_ns = lifecycle.fresh_since_ns + wait_ns(expires_after)
            if deferred.resumes_at_ns > expires_ns:
                return (
                    f"{deferred.notification_id} is to wait for the end of quiet hours at "
                    f"{seconds_text(deferred.resumes_at_ns)}, and has expired by then, at {seconds_text(expires_ns)}"
                )
        user, until = lifecycle.user_id, utc(deferred.epoch_ns + deferred.resumes_at_ns)
        begun = utc(deferred.epoch_ns + deferred.at_ns)
        name = deferred.notification_id  # that of a fallback is its own, a slash and the channel
        zone = self._zone.get(name) or self._zone.get(name.rpartition("/")[0])
        all_hours = self._hours(user, deferred.channel, zone)
        if not _are_quiet(all_hours, begun):
            return f"{deferred.notification_id} waits for the end of quiet hours, and it is not quiet for {user}"
        for hours in all_hours:
            if shows_quiet(hours, begun) and shows_quiet(hours, until) and not _end_between(hours, begun, until):
                return f"{deferred.notification_id} waits until {until}, and quiet hours of {user} last longer"
        if not _are_quiet(all_hours, until - _MOMENT):
            return f"{deferred.notification_id} waits until {until}, and quiet hours of {user} end before"
        return None

    def _hours(self, user: str, channel: NotificationChannel, zone: str | None) -> list[QuietHours]:
        preferences = self.context.preferences
        assert preferences is not None
        return [hours.in_zone(zone) for hours in preferences.quiet_hours_of(user, channel)] if user else []


def _are_quiet(all_hours: Sequence[QuietHours], at: datetime) -> bool:
    return any(shows_quiet(hours, at) for hours in all_hours)


def _end_between(hours: QuietHours, begun: datetime, until: datetime) -> bool:
    """Tell whether quiet hours end after one instant and not after another, as others last that have begun since."""
    zone = ZoneInfo(hours.zone)
    day = begun.astimezone(zone).date()
    while (end := datetime.combine(day, hours.end, zone)) <= until:
        if end > begun and not shows_quiet(hours, end):
            return True
        day += timedelta(days=1)
    return False


def shows_quiet(hours: QuietHours, at: datetime) -> bool:
    """Tell whether the clock on the wall of these quiet hours shows a time between their start and their end."""
    shown = at.astimezone(ZoneInfo(hours.zone)).time()
    if hours.start > hours.end:  # over midnight: all of the day but from end to start
        return not hours.end <= shown < hours.start
    return hours.start <= shown < hours.end
