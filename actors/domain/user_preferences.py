"""Preferences of users, as a file or a request states them: channels on or off, and quiet hours.

::

    users:
      ann:
        channels: {sms: off}
        quiet_hours: {from: 22:00, to: 07:00, zone: Europe/Berlin}
      bob:
        quiet_hours: null                  # never quiet, whatever stands behind this
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from actors.messages import NotificationChannel
from actors.policies.quiet_hours import QuietHours
from actors.settings.base import Settings
from actors.settings.quantities import Text, TimeOfDay, Wanted, ZoneName, wanted


def _on_or_off(value: Any, _unit_required: bool) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"on": True, "off": False}.get(value) if isinstance(value, str) else None


OnOrOff = Annotated[
    bool, Wanted("on or off", _on_or_off, {"enum": ["on", "off", True, False]}, lambda on: "on" if on else "off")
]


class UserQuietHours(Settings):
    """A user's quiet hours, every day."""

    wanted_text: ClassVar[str] = "quiet hours such as {from: 22:00, to: 07:00, zone: Europe/Berlin}"

    from_: TimeOfDay = Field(alias="from")
    """Local time at which quiet hours start, itself included."""

    to: TimeOfDay
    """Local time at which quiet hours end, itself excluded; earlier than `from` means the next day."""

    zone: ZoneName
    """The user's time zone."""

    @model_validator(mode="after")
    def _some_time(self) -> UserQuietHours:
        if self.from_ == self.to:
            raise wanted("from and to that differ", f"{self.to:%H:%M} twice")
        return self

    @cached_property
    def hours(self) -> QuietHours:
        """The hours, to be asked when they end."""
        return QuietHours(self.from_, self.to, self.zone)


class UserPreferences(Settings):
    """The preferences of one user. A key left out is not set: the preferences behind these hold."""

    wanted_text: ClassVar[str] = "preferences such as {channels: {sms: off}}"

    channels: dict[NotificationChannel, OnOrOff] = Field(default_factory=dict)
    """Which channels are wanted, and which are not."""

    quiet_hours: UserQuietHours | None = None
    """Quiet hours on any channel; null: none."""

    @property
    def sets_quiet_hours(self) -> bool:
        """Whether anything is said about quiet hours, be it that there are none."""
        return "quiet_hours" in self.model_fields_set

    def part(self, *, own: bool) -> UserPreferences | None:
        """Return, with `own`, the settings of the channels beside the four, else all other settings; None: none is
        set."""
        if not own and not any(channel.is_own for channel in self.channels):
            return self
        channels = {channel: on for channel, on in self.channels.items() if channel.is_own is own}
        rest = {} if own else {key: getattr(self, key) for key in self.model_fields_set - {"channels"}}
        set_now = rest | ({"channels": channels} if channels else {})
        return type(self).model_construct(**set_now) if set_now else None

    def with_part(self, other: UserPreferences) -> UserPreferences:
        """Return these settings together with the other part."""
        rest = {key: getattr(other, key) for key in other.model_fields_set}
        return self.model_copy(update=rest | {"channels": {**self.channels, **other.channels}})

    def written(self) -> str:
        """Return them as JSON, with nothing that is not set."""
        return self.model_dump_json(by_alias=True, exclude_unset=True)


class PreferencesFile(Settings):
    """A file of preferences, for some thousands of users at most: the store is for more."""

    wanted_text: ClassVar[str] = "a mapping such as {users: {ann: {channels: {sms: off}}}}"

    users: dict[Text, UserPreferences]
    """By user id."""
