"""Names of channels: email, sms, push and webhook, and any other that a service or a scenario has.

Another name is a pseudo-member of the enum, as combinations are of a ``Flag``: compared, hashed and written as the four
are, at no cost to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

_CHANNEL_NAME = "[a-z][a-z0-9_-]{0,62}"
_RESERVED_NAMES = frozenset({"all", "primary", "groups"})
A_CHANNEL_NAME = (
    "the name of a channel, such as email or payments-api (a-z, then at most 62 of a-z, 0-9, _ and -; not all, groups "
    "or primary)"
)
"""The words of a problem for a wrong name of a channel."""


class NotificationChannel(StrEnum):
    """The name of a channel: four have a meaning of their own, and there may be more.

    ``NotificationChannel("payments-api")`` is another one. It is the same object whenever it is asked for, as the
    four are, and is no member: ``list(NotificationChannel)`` has the four.

    Raises:
        ValueError: a text can be no channel's name.
    """

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"

    @classmethod
    def _missing_(cls, value: object) -> NotificationChannel | None:
        if not isinstance(value, str) or value in _RESERVED_NAMES or re.fullmatch(_CHANNEL_NAME, value) is None:
            return None
        with _other_channels_lock:
            found = _other_channels.get(value)
            if found is None:
                found = str.__new__(cls, value)
                found._name_ = found._value_ = str(value)
                _other_channels[found._value_] = found
        return found

    @property
    def is_own(self) -> bool:
        """Whether it is none of the four, so that its settings say its kind."""
        return self not in _RANK

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from pydantic_core import PydanticCustomError, core_schema  # not needed to send

        def read(value: object) -> NotificationChannel:
            if (named := channel_named(value)) is None:
                raise PydanticCustomError("wanted", "wanted {what}", {"what": A_CHANNEL_NAME})
            return named

        written = core_schema.to_string_ser_schema(when_used="json")
        return core_schema.no_info_plain_validator_function(read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        return dict(CHANNEL_NAME_SCHEMA)


_other_channels: WeakValueDictionary[str, NotificationChannel] = WeakValueDictionary()
"""The channels beside the four by name. The table is weak: names that strangers send take no memory."""
_other_channels_lock = Lock()

CHANNEL_NAME_SCHEMA = {
    "type": "string",
    "anyOf": [
        {"enum": [channel.value for channel in NotificationChannel]},
        {"pattern": f"^{_CHANNEL_NAME}$", "not": {"enum": sorted(_RESERVED_NAMES)}},
    ],
}
"""A channel's name, in JSON Schema; it lists the four channels so that editors offer them."""

_RANK = {channel: rank for rank, channel in enumerate(NotificationChannel)}


def in_order(channels: Iterable[NotificationChannel]) -> list[NotificationChannel]:
    """Return each channel once: first the four, then the others in the order in which they are given."""
    return sorted(dict.fromkeys(channels), key=lambda channel: _RANK.get(channel, len(_RANK)))


ChannelName: TypeAlias = NotificationChannel | str
"""A channel, or its name as a text."""


class EveryChannel(tuple[NotificationChannel, ...]):
    """The value of ``all``: it iterates over the four channels, and contains every other channel as well."""

    def __contains__(self, _: object) -> bool:
        return True

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from pydantic_core import core_schema  # not needed to send

        written = core_schema.plain_serializer_function_ser_schema(lambda _: "all")
        return core_schema.any_schema(serialization=written)


EVERY_CHANNEL = EveryChannel(NotificationChannel)


def channel_named(name: object) -> NotificationChannel | None:
    """Return the channel of a name; None: it can be no channel's."""
    try:
        return NotificationChannel(name)  # type: ignore[arg-type]
    except ValueError:
        return None


if TYPE_CHECKING:

    class NamedChannel:
        """A field that takes a channel or its name, and gives the channel."""

        def __get__(self, message: object, owner: type | None = None) -> NotificationChannel: ...
        def __set__(self, message: object, given: ChannelName) -> None: ...

else:
    NamedChannel = NotificationChannel


class ChannelKind(StrEnum):
    """The kind of a channel, which decides what its recipients are."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"
    CALL = "call"
    """A request to a service, such as an API. It needs no recipient, and then it has no user."""
