"""Where one notification is now, for the caller that sent it: by its id, from the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from actors.domain.delivery import state_after
from actors.domain.remembered_ids import EndedAs
from actors.instants import utc
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)

if TYPE_CHECKING:
    from actors.domain.store import Store

CANCELLED = "cancelled"
"""The reason of a suppression where the sender has cancelled the notification."""

State: TypeAlias = Literal["in flight", "sent", "suppressed", "cancelled", "dead letter", "discarded", "ended"]
"""Where a notification is; `ended` where it is only remembered that it has come to an end, and not how."""


@dataclass(frozen=True, kw_only=True)
class NotificationState:
    """Where one notification is now."""

    notification_id: str
    state: State
    channel: NotificationChannel
    priority: Priority

    attempts: int | None = None
    """Attempts used up since the acceptance or the redrive, a successful one included; None where that is not kept."""

    requested_at: datetime | None = None
    """When it was accepted; None where that is not kept."""

    resumes_at: datetime | None = None
    """When it goes on, while it waits for a retry, for the end of quiet hours, or for the instant that it is for."""

    reason: str | None = None
    """Why it last failed, was suppressed or became a dead letter, where that is kept."""


def ended_as(event: NotificationEvent) -> EndedAs:
    if type(event) is NotificationSuppressed:
        return "cancelled" if event.reason == CANCELLED else "suppressed"
    return "discarded" if type(event) is DeadLetterDiscarded else "sent"


def known_end(written: object) -> EndedAs | None:
    """Return how a notification has ended as a store has it in writing; None: that is not known."""
    return cast(EndedAs, written) if written in get_args(EndedAs) else None


def state_by(event: NotificationEvent) -> State:
    """Return where a notification is after its latest event."""
    if isinstance(event, NotificationMovedToDeadLetter):
        return "dead letter"
    if isinstance(event, (NotificationSent, NotificationSuppressed, DeadLetterDiscarded)):
        return ended_as(event)
    return "in flight"


async def recalled(store: Store, notification_id: str, now_ns: int) -> tuple[SendNotification, State] | None:
    """Return the command of a notification without a history, and how it ended; None: it is unknown."""
    command = await store.recall(notification_id, now_ns)
    if command is None:
        return None
    return command, await store.ended_as(notification_id, now_ns) or "ended"


async def state_of(store: Store, notification_id: str, now_ns: int) -> NotificationState | None:
    """Return where a notification is; None: its id is unknown, or no longer known."""
    history = await store.past(notification_id)
    if history is None:
        remembered = await recalled(store, notification_id, now_ns)
        if remembered is None:
            return None
        command, state = remembered
        return NotificationState(
            notification_id=notification_id, state=state, channel=command.channel, priority=command.priority
        )
    delivery = state_after(history.command, history.events, 0)
    latest = history.events[-1]
    says_why = (NotificationFailed, NotificationMovedToDeadLetter, NotificationSuppressed, DeadLetterDiscarded)
    return NotificationState(
        notification_id=notification_id,
        state=state_by(latest),
        channel=delivery.command.channel,
        priority=delivery.command.priority,
        attempts=latest.attempt if isinstance(latest, NotificationSent) else delivery.attempts,
        requested_at=history.events[0].at,
        resumes_at=None if delivery.due_ns is None else utc(delivery.due_ns),
        reason=latest.reason if isinstance(latest, says_why) else None,
    )
