"""Filters of dead letters as they are written down: in an address, in a body, on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from actors.service.operations.queries import Filter
from actors.settings.base import Settings, validated
from actors.settings.quantities import Text, Wanted, parse_duration


def read_instant(text: Any, now: datetime) -> datetime | None:
    """Return the instant that is written as a date and time, UTC where it has no zone, or as how long ago: ``2h``."""
    try:
        if isinstance(text, str) and (ago := parse_duration(text, unit_required=True)) is not None:
            return now - timedelta(seconds=ago)
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # or it was before the year 1
        return None


def _instant(value: Any, _unit_required: bool) -> datetime | None:
    return read_instant(value, datetime.now(UTC))


_Instant = Annotated[
    datetime,
    Wanted("a time such as 2026-03-01T14:30Z, or how long ago such as 2h", _instant, {"type": "string"}),
]


class FilterSettings(Settings):
    """A filter in writing; see :class:`~actors.service.operations.queries.Filter` for what its keys mean."""

    wanted_text: ClassVar[str] = "a filter such as {reason: mailbox full, channel: email, since: 2h}"

    reason: Text | None = None
    reason_is: Text | None = None
    channel: NotificationChannel | None = None
    recipient: Text | None = None
    id_prefix: Text | None = Field(default=None, alias="id")
    since: _Instant | None = None
    until: _Instant | None = None

    @property
    def filter(self) -> Filter:
        return Filter(**{name: getattr(self, name) for name in FilterSettings.model_fields})


def filter_of(given: Mapping[str, Any]) -> Filter:
    """Return the filter that is written here, one key for each condition.

    Raises:
        ConfigurationError: it cannot be read; all problems.
    """
    return validated(FilterSettings, given).filter


def readable(given: Mapping[str, str]) -> tuple[Filter, dict[str, str]]:
    """Return the filter that is written here without the conditions that cannot be read, and the problems of these."""
    try:
        return filter_of(given), {}
    except ConfigurationError as error:
        problems = dict(line.split(": ", 1) for line in error.problems)
    return filter_of({name: text for name, text in given.items() if name not in problems}), problems
