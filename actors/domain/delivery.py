"""One notification on its way: its state, which follows from its history, and its dead letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.domain.attempts import Attempt
from actors.domain.caution import Caution
from actors.instants import since_1970_ns, sooner, wait_ns
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
from actors.policies.retry.policy import Progress


class Delivery(msgspec.Struct, gc=False):
    """The state of one notification that has been accepted and has not ended; its handler's own, and mutable."""

    command: SendNotification
    """With its edits."""

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
    """When it goes on, while it waits for its instant, for a retry or for the end of quiet hours."""

    not_before_ns: int | None = None
    """The instant that it is scheduled for, where that was still to come when it was accepted."""

    decided_wait_ns: int | None = None
    """How long that wait was when it was decided; only where it comes from a store."""

    progress: Progress | None = None
    """What its retry policy has to know of it. None until it has failed, and when it comes from a store."""

    charge: int = 0
    """What the retry that it waits for, or that is under way, was charged to the retry budget of its channel; 0 for a
    first attempt."""

    failures: list[NotificationFailed] | None = None
    """Every failed attempt, those before a redrive included; each with the instants of the run that it was made in.
    None: there has been none, as of nearly all that are in flight."""

    first_failure_since_1970_ns: int | None = None
    """When it first failed, or was first dead-lettered: on the calendar, as the wall clock showed it then."""

    given_up: str | None = None
    """Why it is to be dead-lettered, when its latest attempt was the last one."""

    falls_back_ns: int | None = None
    """The last instant at which it may be sent here, where it then falls back to another channel; None: no limit, or
    it has not set out yet."""

    accepted: SendNotification | None = None
    """The command as it was accepted, where it has been edited since; else None."""

    edits: int = 0
    """How often it was redriven with another payload."""

    redriven_without_operator: int = 0
    """How often it was redriven, and nobody had asked for it."""

    caution: Caution | None = None
    """What is known of the part that it had in the death of an earlier process, until an attempt of it has ended."""

    traceparent: str | None = None
    """The trace that it belongs to."""

    def next_attempt(
        self,
        command: SendNotification,
        expires_at_ns: int | None,
        wanted_until_ns: int | None,
        node: int | None = None,
    ) -> Attempt:
        """Return its next attempt, of its command with the template filled in."""
        return Attempt(
            command=command,
            number=self.attempts + 1,
            charged=self.charged,
            expires_at_ns=expires_at_ns,
            wanted_until_ns=wanted_until_ns,
            edits=self.edits,
            caution=self.caution,
            node=node,
            traceparent=self.traceparent,
        )

    @property
    def known_as(self) -> SendNotification:
        """The command as it was accepted: what comes again with this id is the same if it equals that."""
        return self.command if self.accepted is None else self.accepted

    def schedule(self, epoch_ns: int) -> None:
        """Have it wait for the instant that its command names, if that is still to come; on the clock that started at
        `epoch_ns`."""
        if self.command.not_before is None:
            return
        instant_ns = since_1970_ns(self.command.not_before) - epoch_ns
        if instant_ns > self.fresh_since_ns:
            self.not_before_ns = self.fresh_since_ns = self.due_ns = instant_ns
            self.requested_at_ns = max(self.requested_at_ns, instant_ns)

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Change fields of the command; what was accepted is kept beside it."""
        if changes:
            before, self.accepted = self.command, self.known_as
            self.command = msgspec.structs.replace(before, **changes)
            self.edits += not changes.keys() <= NO_PAYLOAD

    def note_failure(self, event: NotificationFailed) -> None:
        """Record a failed attempt."""
        if self.failures is None:
            self.failures = [event]
        else:
            self.failures.append(event)
        self.given_up = event.given_up
        self._note_first_failure(event)

    def _note_first_failure(self, event: NotificationFailed | NotificationMovedToDeadLetter) -> None:
        if self.first_failure_since_1970_ns is None:
            self.first_failure_since_1970_ns = event.at_ns + event.epoch_ns

    def keep_from_the_future(self, now_ns: int) -> None:
        """Have it accepted now, if it was at an instant still to come; and wait no longer than was decided.

        What comes from a store is anchored by the calendar, and the wall clock may have stepped back meanwhile. What
        it is scheduled for goes by the calendar, and stays.
        """
        latest_ns = now_ns if self.not_before_ns is None else max(now_ns, self.not_before_ns)
        self.requested_at_ns = min(self.requested_at_ns, latest_ns)
        self.fresh_since_ns = min(self.fresh_since_ns, latest_ns)
        if self.due_ns is not None and self.decided_wait_ns is not None:
            self.due_ns = min(self.due_ns, now_ns + self.decided_wait_ns)

    @property
    def expires_at_ns(self) -> int | None:
        """The last instant at which it is wanted."""
        if self.command.expires_after is None:
            return None
        return self.fresh_since_ns + wait_ns(self.command.expires_after)

    @property
    def sent_until_ns(self) -> int | None:
        """The last instant at which it may be sent."""
        return sooner(self.expires_at_ns, self.falls_back_ns)


NO_PAYLOAD = frozenset({"expires_after", "priority"})
"""Fields of a command that a provider does not get to see."""


def requested(command: SendNotification, at_ns: int, epoch_ns: int) -> NotificationRequested:
    """Return the event that a command is accepted at an instant: to go out at once, in no trace, and no fallback."""
    return NotificationRequested(
        at_ns=at_ns,
        epoch_ns=epoch_ns,
        notification_id=command.notification_id,
        channel=command.channel,
        user_id=command.user,
        priority=command.priority,
    )


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
        delivery.due_ns = delivery.decided_wait_ns = None
        match event:
            case NotificationRequested():
                delivery.schedule(epoch_ns)
                delivery.traceparent = event.traceparent
            case NotificationFailed():
                delivery.attempts = event.attempt
                delivery.charged = True
                delivery.note_failure(event)
                if event.next_retry_at_ns is not None:
                    delivery.due_ns = anchored(event, event.next_retry_at_ns, epoch_ns)
                    delivery.decided_wait_ns = event.next_retry_at_ns - event.at_ns
            case NotificationDeferred():
                if event.resumes_at_ns is not None:
                    delivery.due_ns = anchored(event, event.resumes_at_ns, epoch_ns)
                    delivery.decided_wait_ns = event.resumes_at_ns - event.at_ns
            case NotificationMovedToDeadLetter():
                delivery._note_first_failure(event)
            case NotificationRedriven():
                delivery.edit(event.edit)
                delivery.fresh_since_ns = at_ns
                delivery.not_before_ns = None
                delivery.attempts = 0
                delivery.charged = True
                delivery.given_up = None
                delivery.redriven_without_operator += event.without_operator
            case _:
                pass
    return delivery


def redriven(letter: DeadLetterMessage, now_ns: int, epoch_ns: int) -> Delivery:
    """Return the state of a notification whose dead letter is redriven now.

    Its instants are on the clock that started at `epoch_ns`.
    """
    return Delivery(
        letter.command,
        min(letter.requested_at_ns + letter.epoch_ns - epoch_ns, now_ns),
        fresh_since_ns=now_ns,
        charged=True,
        failures=list(letter.history),
        first_failure_since_1970_ns=letter.first_failure_ns + letter.epoch_ns,
        accepted=letter.accepted,
        edits=letter.edits,
        redriven_without_operator=letter.redriven_without_operator,
    )


def noted(letter: DeadLetterMessage, served: bool) -> DeadLetterMessage:
    """Return a dead letter that says whether it is served."""
    return letter if letter.served is served else msgspec.structs.replace(letter, served=served)


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
        history=() if failures is None else tuple(failures),
        accepted=delivery.accepted,
        edits=delivery.edits,
        redriven_without_operator=delivery.redriven_without_operator,
    )
