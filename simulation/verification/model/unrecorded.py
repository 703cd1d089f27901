"""Effects that are in no history, and count as events here."""

from __future__ import annotations

import msgspec

from actors.messages import SendNotification


class Asked(msgspec.Struct, frozen=True):
    at_ns: int
    node: int | None
    """Which of several asks."""
    provider: str
    attempt: int
    key: str
    """The idempotency key: another one after an edit."""
    command: SendNotification
    wanted_until_ns: int | None


class Refused(msgspec.Struct, frozen=True):
    at_ns: int
    why: str


class Alerted(msgspec.Struct, frozen=True):
    at_ns: int
    text: str
