"""The store: where every change is made durable that must survive the process.

A change is committed before anything else follows from it: the pipeline goes on when the store says so. A store in
memory says so at once; one that has to wait returns an effect, and the pipeline goes on with the message that it is
done. What a store keeps is the history of each notification, from which its state can be told (:func:`state_after`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from actors.effects import Effect
from actors.instants import ns
from actors.messages import (
    DeadLetterMessage,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from actors.pipeline.attempts import Attempt
from actors.policies.idempotency import RememberedIds


class Delivery(msgspec.Struct, gc=False):
    """The state of one notification that has been accepted and has not ended; its handler's own, and mutable."""

    command: SendNotification
    requested_at_ns: int
    fresh_since_ns: int
    """When it was accepted, or last redriven: its expiry counts from here."""

    attempts: int = 0
    """Attempts used up since it was accepted or redriven."""

    charged: bool = False
    """Whether an attempt has been on its way: then its user's limit has been charged."""

    current: Attempt | None = None
    """The attempt under way. An answer to any other is stale."""

    due_ns: int | None = None
    """When it goes on, while it waits for a retry or for the end of quiet hours."""

    previous_delay_ns: int | None = None
    """The wait before the latest attempt, which decorrelated jitter starts from."""

    failures: tuple[NotificationFailed, ...] = ()
    """Every failed attempt, those before a redrive included."""

    @property
    def expires_at_ns(self) -> int | None:
        """The last instant at which it may be sent."""
        if self.command.expires_after is None:
            return None
        return self.fresh_since_ns + ns(self.command.expires_after)


class Store(Protocol):
    """Keeps every notification that has not ended, dead letters, and the ids of those that ended lately."""

    remembered: RememberedIds

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        """Make durable that `event` happened to the notification of `command`.

        Returns None when it is, or an effect at the end of which it is.
        """

    def open_deliveries(self) -> Iterable[Delivery]:
        """Return what had not ended, in the order of acceptance, for a handler that starts again."""

    def dead_letters(self) -> Iterable[DeadLetterMessage]:
        """Return the dead letters, oldest first."""


def state_after(command: SendNotification, events: Sequence[NotificationEvent]) -> Delivery:
    """Return the state of a notification with this history, whose first event is that it was requested."""
    delivery = Delivery(command, events[0].at_ns, fresh_since_ns=events[0].at_ns)
    for event in events:
        delivery.due_ns = None
        match event:
            case NotificationFailed():
                delivery.attempts = event.attempt
                delivery.charged = True
                delivery.failures += (event,)
                delivery.due_ns = event.next_retry_at_ns
                if event.next_retry_at_ns is not None:
                    delivery.previous_delay_ns = event.next_retry_at_ns - event.at_ns
            case NotificationDeferred():
                delivery.due_ns = event.resumes_at_ns
            case NotificationRequested() | NotificationRedriven():
                delivery.fresh_since_ns = event.at_ns
                delivery.attempts = 0
                delivery.previous_delay_ns = None
            case _:
                pass
    return delivery


def dead_letter_after(
    command: SendNotification, events: Sequence[NotificationEvent], moved: NotificationMovedToDeadLetter
) -> DeadLetterMessage:
    """Return the dead letter of a notification with this history, which `moved` ends."""
    failures = state_after(command, events).failures
    return DeadLetterMessage(
        notification_id=command.notification_id,
        command=command,
        failure_reason=moved.reason,
        attempts=moved.attempts,
        requested_at_ns=moved.requested_at_ns,
        first_failure_ns=failures[0].at_ns if failures else moved.at_ns,
        last_failure_ns=failures[-1].at_ns if failures else moved.at_ns,
        epoch_ns=moved.epoch_ns,
        history=failures,
    )
