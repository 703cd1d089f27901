"""The people of a scenario: the channels that a share of them has switched off, their quiet hours, and templates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from actors.channel_names import EVERY_CHANNEL
from actors.messages import NotificationChannel
from actors.settings.base import Settings
from actors.settings.faults import ChannelNames
from actors.settings.quantities import PositiveShare, TimeOfDay, Wanted, ZoneName, wanted


def _false(value: Any, _unit_required: bool) -> bool | None:
    return False if value is False else None


class PreferenceShare(Settings):
    """A share of the users who have switched a channel off."""

    share: PositiveShare
    """The share of users who have switched it off, drawn for each entry by itself; a user may be in several entries."""

    channel: NotificationChannel
    """Which channel they have switched off."""

    enabled: Annotated[
        Literal[False], Wanted("false, since every channel is on to begin with", _false, {"const": False})
    ]
    """Always false: users do not want the channel."""


class QuietHoursShare(Settings):
    """A share of the users who want nothing during some hours of their day."""

    share: PositiveShare
    """The share of users with these hours, drawn for each entry by itself: of 50% and 30%, 15% of all are in both."""

    from_: TimeOfDay = Field(alias="from")
    """Local time at which they start, itself included."""

    to: TimeOfDay
    """Local time at which they end, itself excluded; earlier than `from` means the next day."""

    zone: ZoneName = "UTC"
    """The users' time zone. Left out: the zone of an entry's `users`."""

    channels: ChannelNames = EVERY_CHANNEL
    """Where they apply: one, a list, or `all`."""

    @property
    def own_zone(self) -> str | None:
        """The time zone, where it is given."""
        return self.zone if "zone" in self.model_fields_set else None

    @model_validator(mode="after")
    def _some_time(self) -> QuietHoursShare:
        if self.from_ == self.to:
            raise wanted("from and to that differ", f"{self.to:%H:%M} twice")
        return self


class TemplateText(Settings):
    """A template; `{name}` stands for a variable out of the notification's metadata."""

    wanted_text: ClassVar[str] = "a template such as {subject: Welcome, body: 'Hello {name}!'}"

    subject: str | None = None
    """The subject. None: the notification's own, if it has one."""

    body: str
    """The text."""

    html: StrictBool = False
    """The body is HTML: variables are escaped."""

    @field_validator("subject", "body")
    @classmethod
    def _can_be_used(cls, text: str | None) -> str | None:
        if text is not None and "{" in text:
            from actors.pipeline.template_language import read  # Jinja is imported for them alone

            if problems := read(text, False)[1]:
                raise wanted("a template", "; ".join(f"line {line}: {why}" for line, why in problems))
        return text
