"""All that is known of one notification: what happened to it, where it is now, and what operators did to it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.domain.audit import AuditEntry
from actors.domain.delivery import dead_letter_after, noted, state_after
from actors.domain.notification_state import State, recalled, state_by
from actors.domain.store import Store
from actors.messages import (
    DeadLetterMessage,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    SendNotification,
)


@dataclass(frozen=True)
class Timeline:
    notification_id: str
    state: State
    """The present state; `ended` where only the id is remembered."""
    letter: DeadLetterMessage | None
    command: SendNotification
    """The command as it is tried now, with its edits."""
    accepted: SendNotification
    events: tuple[NotificationEvent, ...]
    """The events, in order, but for waits in the lines of the channel; none where they are not kept."""
    audit: tuple[AuditEntry, ...]

    @property
    def attempts(self) -> list[NotificationFailed | NotificationSent]:
        return [event for event in self.events if isinstance(event, (NotificationFailed, NotificationSent))]


async def timeline(store: Store, notification_id: str, now_ns: int) -> Timeline | None:
    """Return all that a store knows of a notification at an instant (in nanoseconds since 1970), or None where that is
    nothing."""
    history = await store.past(notification_id)
    audit = tuple(reversed(await store.audit_trail(notification_id=notification_id)))
    if history is None:
        remembered = await recalled(store, notification_id, now_ns)
        if remembered is None:
            return None
        command, state = remembered
        return Timeline(notification_id, state, None, command, command, (), audit)
    latest, letter = history.events[-1], None
    if isinstance(latest, NotificationMovedToDeadLetter):
        letter = dead_letter_after(history.command, history.events, latest)
        letter = noted(letter, store.is_served(notification_id))
    command = state_after(history.command, history.events, 0).command
    return Timeline(notification_id, state_by(latest), letter, command, history.command, history.events, audit)
