"""The audit trail: who did what, when and why. It is kept by the store, so that it survives a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from actors.frozen import NO_METADATA, FrozenDict
from actors.instants import utc
from actors.messages import DeadLetterDiscarded, Message, NotificationEvent, NotificationRedriven

RETRY = "retry"
DISCARD = "discard"


class AuditEntry(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An action of an operator."""

    at_ns: int
    """When, in nanoseconds since 1970."""

    action: str
    """The action, in a word or two: `retry`, `discard`, `bulk retry`, …"""

    by: str | None = None
    """The operator; None when not given, and when the system itself acted."""

    notification_id: str | None = None
    """To which notification, or by which; None when it was to something else."""

    about: str | None = None
    """To what else, for people: the filter of a bulk, a channel."""

    why: str | None = None
    """The operator's reason; None when not given."""

    message_id: str | None = None
    """The provider's own id of the message, in a delivery report; None when not given."""

    edit: Mapping[str, Any] = NO_METADATA
    """The changes of the notification's command: new values by field. Copied and frozen."""

    def __post_init__(self) -> None:
        if type(self.edit) is not FrozenDict:
            msgspec.structs.force_setattr(self, "edit", FrozenDict(self.edit))

    @property
    def at(self) -> datetime:
        """When, in UTC."""
        return utc(self.at_ns)


def entry_of(said: NotificationEvent | AuditEntry) -> AuditEntry | None:
    """Return an entry, or make one of an operator's action on a dead letter; None for any other event."""
    match said:
        case AuditEntry():
            return said
        case NotificationRedriven():
            action, why, edit = RETRY, said.why, said.edit
        case DeadLetterDiscarded():
            action, why, edit = DISCARD, said.reason, NO_METADATA
        case _:
            return None
    return AuditEntry(
        at_ns=said.epoch_ns + said.at_ns,
        action=action,
        by=said.by,
        notification_id=said.notification_id,
        why=why,
        edit=edit,
    )
