"""The store: where every change is made durable that must survive the process.

A change is committed before anything else follows from it: the pipeline goes on when the store says so. A store in
memory says so at once; one that has to wait returns an effect, and the pipeline goes on with the message that it is
done. What a store keeps is the history of each notification, from which its state can be told (:func:`state_after`).

What a store answers reflects every change that was handed to `commit`, those that are not durable yet included: only a
crash of the process can lose them. Its histories outlive the process, so the instants in them may be of another run's
clock; they are anchored to the asking one's by way of the calendar. The calendar is as the wall clock shows it: when
that steps while a notification waits in a store, what is read from there afterwards is off by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from actors.effects import Effect
from actors.messages import (
    DeadLetterMessage,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    RecordedEvent,
    SendNotification,
)
from actors.pipeline.attempts import Attempt
from actors.pipeline.suppressions import Suppressions
from actors.policies.idempotency import RememberedIds
from actors.policies.retry import Progress
from actors.policies.waits import sooner, wait_ns
from actors.preferences_config import UserPreferences
from actors.storage.audit import AuditEntry
from actors.storage.settings_change import SettingsChange


class Delivery(msgspec.Struct, gc=False):
    """The state of one notification that has been accepted and has not ended; its handler's own, and mutable."""

    command: SendNotification
    """With what somebody has edited."""

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

    progress: Progress | None = None
    """What its retry policy has to know of it. None until it has failed, and when it comes from a store."""

    charge: int = 0
    """What the retry that it waits for, or that is under way, was charged to the retry budget of its channel; 0 for a
    first attempt."""

    failures: tuple[NotificationFailed, ...] = ()
    """Every failed attempt, those before a redrive included; each with the instants of the run that it was made in."""

    first_failure_since_1970_ns: int | None = None
    """When it first failed, or was first given up: on the calendar, as the wall clock showed it then."""

    given_up: str | None = None
    """Why it is to be given up, when its latest attempt was the last one."""

    falls_back_ns: int | None = None
    """The last instant at which it may be sent here, where it then falls back to another channel; None: no limit, or
    it has not set out yet."""

    accepted: SendNotification | None = None
    """The command as it was accepted, where it has been edited since; else None."""

    edits: int = 0
    """How often it was redriven with another payload."""

    @property
    def known_as(self) -> SendNotification:
        """The command as it was accepted: what comes again with this id is the same if it equals that."""
        return self.command if self.accepted is None else self.accepted

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Change fields of the command; what was accepted is kept beside it."""
        if changes:
            before, self.accepted = self.command, self.known_as
            self.command = msgspec.structs.replace(before, **changes)
            self.edits += not changes.keys() <= NO_PAYLOAD

    @property
    def expires_at_ns(self) -> int | None:
        """The last instant at which anybody wants it."""
        if self.command.expires_after is None:
            return None
        return self.fresh_since_ns + wait_ns(self.command.expires_after)

    @property
    def sent_until_ns(self) -> int | None:
        """The last instant at which it may be sent."""
        return sooner(self.expires_at_ns, self.falls_back_ns)


NO_PAYLOAD = frozenset({"expires_after"})
"""Fields of a command that a provider does not get to see."""


class Past(msgspec.Struct, frozen=True):
    """All that a store knows of one notification."""

    command: SendNotification
    """As it was accepted."""

    events: tuple[NotificationEvent, ...]
    """What happened to it, from its acceptance on, each with the instants of the run that it happened in."""


class TakenOver(msgspec.Struct, frozen=True):
    """This node has taken over what another one had, and is to see to it from now on."""

    pasts: tuple[Past, ...]


class LettersChanged(msgspec.Struct, frozen=True):
    """Other nodes have given notifications up, or have redriven or discarded dead letters."""

    found: tuple[DeadLetterMessage, ...]
    gone: tuple[str, ...]
    """The ids of those that are dead letters no more."""


class Lost(msgspec.Struct, frozen=True):
    """Nothing can be made durable any more, and another node may take over what this one has: nothing more is sent."""

    why: str


News: TypeAlias = TakenOver | LettersChanged | Lost


class Store(Protocol):
    """Keeps every notification that has not ended, dead letters, and the ids of those that ended lately."""

    remembered: RememberedIds
    """By instants since 1970. The id of a dead letter is known for as long as the letter is kept."""

    on_news: Callable[[News], None] | None
    """Called, in the thread of the system, with what comes of other nodes that share the store; the pipeline's to set.
    What the store is asked reflects it already."""

    suppressions: Suppressions
    """Addresses that nothing is sent to: always the same object, in which changes show, those of other nodes too."""

    @property
    def preferences(self) -> Mapping[str, UserPreferences]:
        """What users have set, by user id; always the same mapping."""

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        """Make durable that `event` happened to the notification of `command`, as that is tried, with what is edited.

        Returns None when it is, or an effect at the end of which it is.

        Raises:
            Unstorable: this is how it was requested, and its command would not come back as it is. Nothing happens.
            Overtaken: of an effect. It was requested, redriven or discarded here, and another node that shares the
                store was first. Nothing happens, and the store answers as if it had not been handed over.
            StoreFailed: it cannot be made durable; of an effect that began already, that raises it.
        """

    def open_deliveries(self, epoch_ns: int) -> Iterable[Delivery]:
        """Return what has not ended, in the order of acceptance, for a handler that starts again.

        Args:
            epoch_ns: where on the calendar the handler's clock started; the instants returned are on that clock.
        """

    def dead_letters(self) -> Iterable[DeadLetterMessage]:
        """Return the dead letters, oldest first."""

    def is_dead_letter(self, notification_id: str) -> bool:
        """Tell whether this is the notification of a dead letter."""

    async def past(self, notification_id: str) -> Past | None:
        """Return what happened to a notification that has not ended, or is a dead letter; else None.

        For a while also to one that has ended since somebody redrove or discarded it.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """

    def change(self, change: SettingsChange) -> Effect | None:
        """Make durable what somebody changes of `suppressions` and `preferences`; returns and raises what `note` does.

        What a provider says of an address comes by the event of the failure, and is lifted by that of a redrive.
        """

    def note(self, entry: AuditEntry) -> Effect | None:
        """Make durable that somebody did something; returns and raises what `commit` does.

        That a dead letter was redriven or discarded comes by its event, and needs no note.
        """

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        """Return what people have done, and what the queue has discarded by itself, newest first.

        Args:
            limit: how many at the most; None: all that is kept.
            notification_id: only what was done to this notification.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """


def state_after(command: SendNotification, events: Sequence[NotificationEvent], epoch_ns: int) -> Delivery:
    """Return the state of a notification with this history, whose first event is that it was requested.

    Its instants are on the clock that started at `epoch_ns`.
    """
    requested = events[0]
    accepted_ns = waited_since_ns = anchored(requested, requested.at_ns, epoch_ns)
    if isinstance(requested, NotificationRequested) and requested.waited_since_ns is not None:
        waited_since_ns = anchored(requested, requested.waited_since_ns, epoch_ns)
    delivery = Delivery(command, waited_since_ns, fresh_since_ns=accepted_ns)
    for event in events:
        at_ns = anchored(event, event.at_ns, epoch_ns)
        delivery.due_ns = None
        match event:
            case NotificationFailed():
                delivery.attempts = event.attempt
                delivery.charged = True
                delivery.failures += (event,)
                if delivery.first_failure_since_1970_ns is None:
                    delivery.first_failure_since_1970_ns = event.at_ns + event.epoch_ns
                delivery.given_up = event.given_up
                if event.next_retry_at_ns is not None:
                    delivery.due_ns = anchored(event, event.next_retry_at_ns, epoch_ns)
            case NotificationDeferred():
                if event.resumes_at_ns is not None:
                    delivery.due_ns = anchored(event, event.resumes_at_ns, epoch_ns)
            case NotificationMovedToDeadLetter():
                if delivery.first_failure_since_1970_ns is None:
                    delivery.first_failure_since_1970_ns = event.at_ns + event.epoch_ns
            case NotificationRedriven():
                delivery.edit(event.edit)
                delivery.fresh_since_ns = at_ns
                delivery.attempts = 0
                delivery.charged = True
                delivery.given_up = None
            case _:
                pass
    return delivery


def anchored(event: RecordedEvent, instant_ns: int, epoch_ns: int) -> int:
    """Return an instant that `event` names, on the clock that started at `epoch_ns`."""
    return instant_ns + event.epoch_ns - epoch_ns


def dead_letter_after(
    command: SendNotification, events: Sequence[NotificationEvent], moved: NotificationMovedToDeadLetter
) -> DeadLetterMessage:
    """Return the dead letter of a notification with this history, which `moved` ends."""
    return dead_letter(state_after(command, events, moved.epoch_ns), moved)


def dead_letter(delivery: Delivery, moved: NotificationMovedToDeadLetter) -> DeadLetterMessage:
    """Return the dead letter of a notification in this state, which `moved` ends; on the clock of `moved`."""
    failures, first_ns = delivery.failures, delivery.first_failure_since_1970_ns
    return DeadLetterMessage(
        notification_id=moved.notification_id,
        command=delivery.command,
        failure_reason=moved.reason,
        attempts=moved.attempts,
        requested_at_ns=moved.requested_at_ns,
        first_failure_ns=moved.at_ns if first_ns is None else first_ns - moved.epoch_ns,
        last_failure_ns=anchored(failures[-1], failures[-1].at_ns, moved.epoch_ns) if failures else moved.at_ns,
        moved_at_ns=moved.at_ns,
        epoch_ns=moved.epoch_ns,
        history=failures,
        accepted=delivery.accepted,
        edits=delivery.edits,
    )
