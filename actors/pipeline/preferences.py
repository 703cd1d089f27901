"""Preferences: which channels a user wants, and their quiet hours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime

import msgspec

from actors.channel_names import A_CHANNEL_NAME, EVERY_CHANNEL, channel_named
from actors.domain.user_preferences import UserPreferences
from actors.errors import WrongType
from actors.messages import ChannelName, NotificationChannel
from actors.policies.quiet_hours import QuietHours


class SwitchedOff(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the users does not want these channels."""

    share: float
    """Between 0 and 1."""

    channels: Container[str] = EVERY_CHANNEL


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the users has these quiet hours."""

    share: float
    """Between 0 and 1."""

    hours: QuietHours
    zone_of: Callable[[str], str | None] | None = None
    """Returns a user's time zone; where it returns None, the zone of `hours` holds."""

    channels: Container[str] = EVERY_CHANNEL


class Preferences:
    """The preferences that single users have set, and behind them, rules for shares of all users.

    Whether a user belongs to the share of a rule follows from the user's id alone, so it is the same in every run.

    A class of your own may raise, as when its database is not reachable: the error is logged, the admin gets an alert,
    and the preferences are asked again every ten seconds until the notification expires. After an hour the notification
    becomes a dead letter, whose reason names the error. That uses up no attempt. The methods are plain functions; a
    `quiet_until` without a `zone` parameter does not get a command's zone.
    """

    def __init__(self, *, switched_off: Iterable[SwitchedOff] = (), quiet: Iterable[Quiet] = ()) -> None:
        self._switched_off = tuple(switched_off)
        self._quiet = tuple(quiet)
        self._enabled: dict[tuple[str, NotificationChannel], bool] = {}
        self._hours: dict[str, QuietHours | None] = {}

    def set_channel(self, user_id: str, channel: ChannelName, enabled: bool) -> None:
        """Switch a channel on or off for a user.

        Raises:
            WrongType: there can be no such channel, or the value is not on or off.
        """
        named = channel_named(channel)
        if named is None or not isinstance(enabled, bool):
            raise WrongType(f"wanted {A_CHANNEL_NAME}; and True or False; got {channel!r} and {enabled!r}")
        self._enabled[user_id, named] = enabled

    def set_quiet_hours(self, user_id: str, hours: QuietHours | None) -> None:
        """Set a user's quiet hours on any channel; None: never quiet.

        Raises:
            WrongType: these are no quiet hours.
        """
        if hours is not None and not isinstance(hours, QuietHours):
            raise WrongType(f"wanted QuietHours or None, got {hours!r}")
        self._hours[user_id] = hours

    def quiet_hours_of(self, user_id: str, channel: NotificationChannel) -> list[QuietHours]:
        """Return the user's quiet hours on this channel: of each rule that applies."""
        if user_id in self._hours:
            hours = self._hours[user_id]
            return [] if hours is None else [hours]
        return [
            rule.hours if rule.zone_of is None else rule.hours.in_zone(rule.zone_of(user_id))
            for number, rule in enumerate(self._quiet)
            if channel in rule.channels and _belongs(user_id, f"quiet/{number}", rule.share)
        ]

    def is_enabled(self, user_id: str, channel: NotificationChannel) -> bool:
        """Tell whether the user wants notifications on this channel."""
        chosen = self._enabled.get((user_id, channel))
        if chosen is not None:
            return chosen
        return not any(
            channel in rule.channels and _belongs(user_id, f"off/{number}", rule.share)
            for number, rule in enumerate(self._switched_off)
        )

    def quiet_until(
        self, user_id: str, channel: NotificationChannel, at: datetime, zone: str | None = None
    ) -> datetime | None:
        """Return when the quiet hours that `at` lies in end, or None when it lies in none.

        `zone` is the time zone of the command, in which they hold; None: their own.
        """
        ends = [hours.in_zone(zone).end_of_quiet(at) for hours in self.quiet_hours_of(user_id, channel)]
        return max((end for end in ends if end is not None), default=None)


class LivePreferences(Preferences):
    """The preferences that users have set in a store, behind them those of a file, behind both :class:`Preferences`.

    Each preference is looked up by itself: a user with quiet hours in the store and a channel switched off in the file
    has both. A change holds at once, for every notification that is not sent yet.
    """

    def __init__(self, stored: Mapping[str, UserPreferences]) -> None:
        super().__init__()
        self._stored = stored
        self._of_file: Mapping[str, UserPreferences] = {}

    def replace_file(self, users: Mapping[str, UserPreferences]) -> None:
        """Take the preferences of a file, in place of all that it had before."""
        self._of_file = users

    def set_in_file(self, user_id: str) -> UserPreferences | None:
        return self._of_file.get(user_id)

    def set_in_store(self, user_id: str) -> UserPreferences | None:
        return self._stored.get(user_id)

    def quiet_hours_of(self, user_id: str, channel: NotificationChannel) -> list[QuietHours]:
        for layer in (self._stored, self._of_file):
            chosen = layer.get(user_id)
            if chosen is not None and chosen.sets_quiet_hours:
                return [] if chosen.quiet_hours is None else [chosen.quiet_hours.hours]
        return super().quiet_hours_of(user_id, channel)

    def is_enabled(self, user_id: str, channel: NotificationChannel) -> bool:
        for layer in (self._stored, self._of_file):
            chosen = layer.get(user_id)
            if chosen is not None and channel in chosen.channels:
                return chosen.channels[channel]
        return super().is_enabled(user_id, channel)


def _belongs(user_id: str, rule: str, share: float) -> bool:
    digest = hashlib.sha256(f"{rule}/{user_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
