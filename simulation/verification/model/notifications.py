"""One notification, an attempt of it and what becomes of that on its way, and a change that is not durable yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from simulation.verification.model.instants import calendar_ns, sooner, wait_ns

EXPIRED = "expired"
RETRY_TIME_UP = "retry time is up"
TIMED_OUT = Ambiguous(reason="timed out")
CUT = Ambiguous(reason="deadline")


class Attempt(msgspec.Struct, eq=False):
    """One attempt on its way; an answer to any but the latest of its notification is stale."""

    command: SendNotification
    """With its template filled in."""
    number: int
    idempotency_key: str
    """Another one after an edit."""
    counted_for_user: bool
    """Whether its notification was counted against the user's limit before."""
    until_ns: int | None
    """The last instant at which it may start, which is the first of

    * ``expires_at_ns``: `expires_after` from when its notification was accepted, last redriven, or scheduled for;
    * ``falls_back_ns``: `fallback.after` from its first attempt, or a restart; with this, ``sent_until_ns`` of both;
    * of a retry, ``last_start_ns`` of its backoff: `retry.max_elapsed` from the same instant as its expiry; or less
      than `deadline` after the first attempt started.
    """
    expires_at_ns: int | None
    """Its expiry alone, which its provider gets to know."""
    host: str = ""
    """The host whose breaker decides about it; ``""`` where one breaker decides for all."""
    key: str = ""
    """The key of the turns that it belongs to, where keys take turns."""
    tenant: str = ""
    """The tenant whose bounds hold for it; ``""``: none."""

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.command.notification_id}"


class Admitted(msgspec.Struct, eq=False):
    """An attempt that has been let through to a provider, with what it has for that."""

    attempt: Attempt
    lane: Any
    """The `lane` of the provider."""
    permit: Any
    in_flight: int
    """How many were at the provider when it set out, itself included."""


class Blocked(NamedTuple):
    """Why a lane does not take an attempt now."""

    reason: str
    """The reason:

    * slot: none is free, or those are kept for other keys; full: the same with `wait: 0s`;
    * hint: the provider has asked for a pause of all, or of all of its host;
    * rate: the quota or the adaptive rate is used up; quota: the same where the quota has `on_limit: drop`;
    * breaker: it refuses; ramp: it has closed, and lets only a share go as yet;
    * pace: attempts that waited for the breaker resume, and the next one may not go yet;
    * throttle: the adaptive throttle drops it; tenant: only the bound of its tenant is in the way.
    """
    until_ns: int | None
    """When it may, as far as time alone decides; None: something has to happen first."""
    latest_failure: str | None = None
    """The latest failure of the provider, where its failures have opened the breaker in the way."""


ROOM = {"slot", "rate", "quota"}
"""The reasons that block all attempts alike, whatever the host of the recipient."""
SHUT = {"breaker", "ramp"}


class Send(msgspec.Struct, eq=False):
    """One time that a provider is asked."""

    admitted: Admitted
    started_ns: int
    """When it set out; of a copy, when the first did."""
    ended_ns: int = 0
    """When its answer comes: it took until then, also where its breaker is down and learns of that later."""
    outcome: Outcome | None = None
    """None: not known yet; at its end: it was not made, as the node had no lease."""
    hedges: int = 0
    cut_ns: int | None = None
    """When the `deadline` cuts it."""


class Ended(NamedTuple):
    """The end of an attempt that is neither made nor waits."""

    outcome: Outcome | None = None
    """As if a provider had said so."""
    reason: str = ""
    """Or why its notification is dead-lettered."""


ENDED_AS_EXPIRED = Ended(reason=EXPIRED)


class Notification(msgspec.Struct, eq=False):
    """The state of one that is accepted and has not ended."""

    command: SendNotification
    waited_since_ns: int
    """Since when its user waits for it, or for what it falls back from."""
    fresh_since_ns: int
    """When it was accepted, last redriven, or is scheduled for: its expiry counts from here."""
    attempts: int = 0
    """How many it has used up since then."""
    counted_for_user: bool = False
    """Whether it was counted against the limit of its user, which is once."""
    under_way: Attempt | None = None
    due_ns: int | None = None
    """Until when it waits at the handler, or is to wait when that starts."""
    progress: Any = None
    """How far its backoff has come; None: that follows from its failures."""
    budget_charge: Any = 0
    """The charge of its retry to the channel's budget."""
    failures: tuple[NotificationFailed, ...] = ()
    older: int = 0
    """How many of them were before it was last redriven."""
    first_failed_ns: int | None = None
    first_start_ns: int | None = None
    """When the first attempt started of those since then that have failed; None: none has."""
    given_up: str | None = None
    """Why there is no retry after its latest failure."""
    falls_back_ns: int | None = None
    accepted: SendNotification | None = None
    """Its command before it was edited, if it was."""
    edits: int = 0
    """How many of its edits a provider gets to see."""
    redriven_without_operator: int = 0

    @property
    def first_provider(self) -> str | None:
        """The provider that its first attempt was made at; those before a redrive do not count."""
        return next((failed.provider for failed in self.failures[self.older :] if not failed.refused), None)

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
        """The last instant at which it may be sent here, whatever bounds its retries."""
        expires_ns = self.expires_at_ns
        return expires_ns if self.falls_back_ns is None else sooner(expires_ns, self.falls_back_ns)

    def schedule(self, epoch_ns: int) -> None:
        """Let it wait until its `not_before`; "expiry and delivery time count from there" (reference.md)."""
        until_ns = scheduled_ns(self.command, epoch_ns)
        if until_ns is not None and until_ns > self.fresh_since_ns:
            self.due_ns = self.fresh_since_ns = until_ns
            self.waited_since_ns = max(self.waited_since_ns, until_ns)

    def fail(self, event: NotificationFailed) -> None:
        """ "The first 20 and the last 80 are kept" (23), and the first that a provider was asked for."""
        self.failures += (event,)
        if len(self.failures) > 100:
            fresh = self.failures[self.older :]
            surplus = [failed for failed in fresh if failed.unlimited][20:-80]
            asked = next((failed for failed in fresh if not failed.refused), None)
            if gone := [failed for failed in surplus if failed is not asked]:
                self.failures = tuple(failed for failed in self.failures if failed not in gone)
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


class Commit(msgspec.Struct, eq=False):
    """A change of a notification that is not durable yet."""

    event: NotificationEvent
    notification: Notification
    then: Then
    """The steps that follow when it is durable."""
    why: str
    """The rule by which it happens, in words, and the settings that these are about."""
    about: tuple[Any, ...]
    is_cancelled: bool = False
    """Whether it is to be cancelled then, if it waits."""


def scheduled_ns(command: SendNotification, epoch_ns: int) -> int | None:
    """Return the instant before which a command is not to be sent, on the clock that started at `epoch_ns`."""
    return None if command.not_before is None else calendar_ns(command.not_before) - epoch_ns
