"""One notification, an attempt of it on its way, and a change of it that is not durable yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import msgspec

from actors.messages import (
    DeadLetterMessage,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    SendNotification,
)
from actors.outcomes import Ambiguous, Outcome
from simulation.reference.instants import calendar_ns, sooner, wait_ns

EXPIRED = "expired"
RETRY_TIME_UP = "retry time is up"
TIMED_OUT = Ambiguous(reason="timed out")


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt on its way; an answer to any but the latest of its notification is stale."""

    command: SendNotification
    """With its template filled in."""
    number: int
    idempotency_key: str
    """Another one after an edit."""
    counted_for_user: bool
    """Whether its notification was counted against the user's limit before."""
    until_ns: int | None
    """The last instant at which it may start."""
    wanted_until_ns: int | None
    """When its notification expires, whatever else bounds the attempt."""
    host: str = ""
    """That whose breaker decides about it; ``""`` where one does for all."""
    key: str = ""
    """Whose turns it has a part in, where keys take turns."""
    tenant: str = ""
    """Whose bounds hold for it; ``""``: no one's."""

    @property
    def name(self) -> str:
        """How it is called in a report."""
        return f"attempt {self.number} of {self.command.notification_id}"


@dataclass(eq=False, slots=True)
class Admitted:
    """An attempt that has been let through to a provider, with what it has for that."""

    attempt: Attempt
    lane: int
    permit: Any
    in_flight: int
    """How many were at the provider when it set out, itself included."""


@dataclass(eq=False, slots=True)
class Send:
    """One time that a provider is asked."""

    admitted: Admitted
    started_ns: int
    """When it set out; of a copy, when the first did."""
    ended_ns: int = 0
    """When its answer comes: it took until then, also where its breaker is down and learns of that later."""
    outcome: Outcome | None = None
    """None: not known yet; or where it comes back so, that it was not made, as the node had no lease."""
    hedges: int = 0
    """Copies of it that were sent."""


class Ended(NamedTuple):
    """What becomes of an attempt that is neither made nor to wait."""

    outcome: Outcome | None = None
    """As if a provider had said so."""
    reason: str = ""
    """Or why its notification is dead-lettered."""


ENDED_AS_EXPIRED = Ended(reason=EXPIRED)


@dataclass(eq=False, slots=True)
class Notification:
    """The state of one that is accepted and has not ended."""

    command: SendNotification
    waited_since_ns: int
    fresh_since_ns: int
    """When it was accepted or last redriven: its expiry counts from here."""
    attempts: int = 0
    counted_for_user: bool = False
    under_way: Attempt | None = None
    due_ns: int | None = None
    decided_wait_ns: int | None = None
    progress: Any = None
    budget_charge: Any = 0
    """What its retry was charged to the channel's budget."""
    failures: tuple[NotificationFailed, ...] = ()
    first_failed_ns: int | None = None
    """By the calendar."""
    given_up: str | None = None
    falls_back_ns: int | None = None
    accepted: SendNotification | None = None
    edits: int = 0
    redriven_without_operator: int = 0

    @property
    def known_as(self) -> SendNotification:
        """The command as it was accepted: a repetition is the same if it equals that."""
        return self.command if self.accepted is None else self.accepted

    @property
    def expires_at_ns(self) -> int | None:
        """ "A notification older than this is dead-lettered as expired, not sent" (1)."""
        age = self.command.expires_after
        return None if age is None else self.fresh_since_ns + wait_ns(age)

    @property
    def due_since_ns(self) -> int:
        """Since when its next attempt is due, or from when on."""
        return self.fresh_since_ns if self.due_ns is None else self.due_ns

    @property
    def sent_until_ns(self) -> int | None:
        """The last instant at which it may be sent here, where it may fall back."""
        return sooner(self.expires_at_ns, self.falls_back_ns)

    def schedule(self, epoch_ns: int) -> None:
        """It waits until its `not_before`, and "expiry and delivery time count from there"."""
        until_ns = scheduled_ns(self.command, epoch_ns)
        if until_ns is not None and until_ns > self.fresh_since_ns:
            self.due_ns = self.fresh_since_ns = until_ns
            self.waited_since_ns = max(self.waited_since_ns, until_ns)

    def fail(self, event: NotificationFailed) -> None:
        """Take down a failed attempt."""
        self.failures += (event,)
        self.given_up = event.given_up
        self.first_failed_ns = self.first_failed_ns or event.at_ns + event.epoch_ns

    def letter(self, moved: NotificationMovedToDeadLetter) -> DeadLetterMessage:
        """ "`first_failure` is the time of the first *failure*, not of the first attempt" (1)."""
        first_ns, last = self.first_failed_ns, self.failures[-1] if self.failures else None
        return DeadLetterMessage(
            notification_id=moved.notification_id,
            command=self.command,
            failure_reason=moved.reason,
            attempts=moved.attempts,
            requested_at_ns=moved.requested_at_ns,
            first_failure_ns=moved.at_ns if first_ns is None else first_ns - moved.epoch_ns,
            last_failure_ns=moved.at_ns if last is None else last.at_ns + last.epoch_ns - moved.epoch_ns,
            moved_at_ns=moved.at_ns,
            epoch_ns=moved.epoch_ns,
            history=self.failures,
            accepted=self.accepted,
            edits=self.edits,
            redriven_without_operator=self.redriven_without_operator,
        )

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Change fields of the command, as an operator may before a redrive (7)."""
        if changes:
            self.accepted = self.known_as
            self.command = msgspec.structs.replace(self.command, **changes)
            self.edits += not changes.keys() <= {"expires_after", "priority"}  # no provider gets to see these


Then: TypeAlias = Callable[[Notification], None] | None


@dataclass(eq=False, slots=True)
class Commit:
    """A change of a notification that is not durable yet."""

    event: NotificationEvent
    notification: Notification
    then: Then
    """What follows when it is."""
    why: str
    """The rule by which it happens, in words, and the settings that these are about."""
    about: tuple[Any, ...]
    is_cancelled: bool = False
    """Whether it is to be cancelled then, if it waits."""


def scheduled_ns(command: SendNotification, epoch_ns: int) -> int | None:
    """Return the instant before which a command is not to be sent, on the clock that started at `epoch_ns`."""
    return None if command.not_before is None else calendar_ns(command.not_before) - epoch_ns
