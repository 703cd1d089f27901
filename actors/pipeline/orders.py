"""The messages from callers to the handler, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from actors.kernel.futures import Future
from actors.messages import NO_METADATA, DeadLetterMessage, SendNotification


class Acceptance(StrEnum):
    """The answer to a SendNotification."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same id with the same payload is in flight or has ended already; nothing happens."""

    REFUSED = "refused"
    """It cannot be accepted: the id came with another payload, its channel is not configured, its recipient can be no
    address there, no store could keep it, or as many are pending as may be."""


class Submit(msgspec.Struct, frozen=True):
    """A SendNotification whose sender wants to know when its acceptance is durable."""

    command: SendNotification
    answer: Future[Acceptance]
    """Gets the acceptance, one of NOT_ACCEPTED, or StoreFailed."""

    follows_event: bool = False
    """Whether an event led to it, which was admitted: then it is not asked again whether there is room."""


class Redrive(msgspec.Struct, frozen=True, kw_only=True):
    """Take a dead letter up again, with a fresh set of attempts."""

    letter: DeadLetterMessage
    by: str | None = None
    """Who asked for it, for the record."""

    why: str | None = None
    """Why, for the record."""

    edit: Mapping[str, Any] = NO_METADATA
    """What to change of its command: fields that it has, with values that can be stored."""

    answer: Future[bool] | None = None
    """Gets whether it was a dead letter, once its redrive is durable; or StoreFailed."""
