"""One notification on its way: its state, which follows from its history, and its dead letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.domain import caution
from actors.domain.attempts import Attempt
from actors.domain.caution import Caution
from actors.instants import ns, since_1970_ns, sooner, wait_ns
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
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.policies.retry.policy import Progress, RetryPolicy


class RedriveRecord(msgspec.Struct, gc=False):
    """The facts about a notification from before its redrive."""

    first_failure_since_1970_ns: int
    """When it first failed, or was first dead-lettered: on the calendar, as the wall clock showed it then."""

    accepted: SendNotification | None = None
    """The command as it was accepted, where it has been edited since; else None."""

    edits: int = 0
    """How often it was redriven with another payload."""

    without_operator: int = 0
    """How often it was redriven without an operator."""

    failures: int = 0
    """How many of its failures were before its latest redrive."""


class Delivery(msgspec.Struct, gc=False):
    """The state of one notification that has been accepted and has not ended; mutable, and only the handler changes it.

    It is in one of three states:

    - ready to be sent;
    - waiting for an instant, `due_ns`: by `schedule`, `wait_until`, `take_care` or `fail`, until it may `go_on`;
    - on its way, with the attempt `current`: by `set_out`, until it is `answered` or, without an answer, `take_back`.

    It may `end` in any of the three states.
    """

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

    progress: Progress | None = None
    """The attempts and waits that its retry policy counts. None until an attempt has failed, or if read from a
    store."""

    charge: int = 0
    """The charge of its next or present retry to the retry budget of its channel; 0 for a
    first attempt."""

    failures: list[NotificationFailed] | None = None
    """Every failed attempt, those before a redrive included; each with the instants of the run that it was made in.
    None: there has been none, as of nearly all that are in flight."""

    given_up: str | None = None
    """The reason for dead-lettering it, if its latest attempt was its last."""

    falls_back_ns: int | None = None
    """The last instant at which it may be sent here, where it then falls back to another channel; None: no limit, or
    it has not set out yet."""

    redrives: RedriveRecord | None = None
    """None: it was not redriven."""

    caution: Caution | None = None
    """How far it is a suspect for the death of an earlier process; None once an attempt of it has ended."""

    traceparent: str | None = None
    """The trace that it belongs to."""

    first_start_ns: int | None = None
    """When the first of its attempts that failed began, since it was accepted or redriven; None: none has."""

    @property
    def first_provider(self) -> str | None:
        """The provider that the first of its attempts that failed was made at, since it was accepted or redriven."""
        return next((failure.provider for failure in self.fresh_failures if not failure.refused), None)

    @property
    def fresh_failures(self) -> Sequence[NotificationFailed]:
        """The failures since the notification was accepted or redriven."""
        return (self.failures or ())[0 if self.redrives is None else self.redrives.failures :]

    @property
    def known_as(self) -> SendNotification:
        """The command as it was accepted, before any edit: a later command with this id has to equal it."""
        redrives = self.redrives
        return self.command if redrives is None or redrives.accepted is None else redrives.accepted

    def take_care(self, of: Caution | None, now_ns: int) -> None:
        """Note its part in the death of an earlier process, for which it may have to wait, or be dead-lettered."""
        self.caution = of
        if of is not None and of.deaths >= caution.DEATHS_MAX:
            self.given_up = caution.REASON
        elif of is not None and of.deaths:
            self.due_ns = max(self.due_ns or 0, now_ns + ns(caution.PAUSE_S * of.deaths))

    def schedule(self, epoch_ns: int) -> None:
        """Have it wait for the instant that its command names, if that is still to come; on the clock that started at
        `epoch_ns`."""
        if self.command.not_before is None:
            return
        instant_ns = since_1970_ns(self.command.not_before) - epoch_ns
        if instant_ns > self.fresh_since_ns:
            self.fresh_since_ns = self.due_ns = instant_ns
            self.requested_at_ns = max(self.requested_at_ns, instant_ns)

    def note_origin(self, instead_of: Delivery | None, traceparent: str | None, epoch_ns: int) -> dict[str, Any]:
        """Set origin and trace of a new notification, and schedule it; return the fields of its event for these.

        Args:
            instead_of: the notification that a fallback replaces.
            traceparent: the trace that it belongs to; a fallback belongs to the trace of `instead_of`.
            epoch_ns: the calendar's instant at the clock's 0, in nanoseconds since 1970.
        """
        says: dict[str, Any] = {}
        if instead_of is not None:
            self.requested_at_ns, traceparent = instead_of.requested_at_ns, instead_of.traceparent
            says["instead_of"] = instead_of.command.notification_id
        self.traceparent = says["traceparent"] = traceparent
        self.schedule(epoch_ns)
        if instead_of is not None or self.due_ns is not None:
            says["waited_since_ns"] = self.requested_at_ns
        return says

    def wait_until(self, due_ns: int) -> None:
        """Have it wait for an instant: the end of quiet hours, or the next look at what keeps it from being sent."""
        self.due_ns = due_ns

    def go_on(self) -> None:
        """End its wait."""
        self.due_ns = None

    def limit_channel(self, until_ns: int | None) -> None:
        """Set the last instant at which it may be sent here, as it sets out for the first time; None: no limit."""
        self.falls_back_ns = until_ns

    def set_out(
        self, command: SendNotification, until_ns: int | None, wanted_until_ns: int | None, node: int | None
    ) -> Attempt:
        """Return its next attempt, which is on its way now, with the fields that the caller gives; an answer to an
        earlier one is stale."""
        attempt = self.current = Attempt(
            command=command,
            number=self.attempts + 1,
            charged=self.charged,
            expires_at_ns=until_ns,
            wanted_until_ns=wanted_until_ns,
            edits=0 if self.redrives is None else self.redrives.edits,
            caution=self.caution,
            node=node,
            traceparent=self.traceparent,
        )
        self.charged = True
        return attempt

    def note_charged(self, charged: bool) -> None:
        """Take note of whether its user's limit was charged for an attempt that a stage hands back, or has lost."""
        self.charged = charged

    def take_back(self) -> None:
        """End the attempt under way without an answer of a provider."""
        self.current = None

    def take_answer(self, attempt: Attempt) -> bool:
        """End the attempt under way, as its provider has answered; return False if another attempt is under way, so
        that this answer is stale."""
        if self.current is not attempt:
            return False
        self.current = None
        if self.caution is not None:
            self.caution = None
        return True

    def progress_under(self, policy: RetryPolicy) -> Progress:
        """Return the progress that the retry policy counts; after a read from the store, recalled from the failures."""
        if self.progress is None:
            self.progress = _recalled(self, policy) if self.attempts else Progress()
        return self.progress

    def charge_retry(self, charge: int) -> None:
        """Take note of the charge of its retry to the budget of its channel; 0: there is none any more."""
        self.charge = charge

    def fail(self, event: NotificationFailed, retry_at_ns: int | None) -> None:
        """Record a failed attempt; it waits for its retry, at an instant of this run's clock, or is given up."""
        if self.failures is None:
            self.failures = [event]
        else:
            self.failures.append(event)
            if event.unlimited and (gone := left_out(self.fresh_failures)) is not None:
                begin = len(self.failures) - len(self.fresh_failures)
                del self.failures[begin + gone.start]
        if self.first_start_ns is None and not event.refused:
            self.first_start_ns = event.started_ns
        self.attempts = event.attempt
        self.charged = True
        self.due_ns = retry_at_ns
        self.given_up = event.given_up

    def end(self) -> None:
        """Have it neither wait nor be on its way: it is sent, suppressed, cancelled or dead-lettered."""
        self.current = self.due_ns = None

    def note_redrive(self, changes: Mapping[str, Any], without_operator: bool) -> None:
        """Record that it is redriven, with changes of its command; the accepted command is kept beside."""
        redrives = self.redrives
        assert redrives is not None
        if changes:
            redrives.accepted = self.known_as
            redrives.edits += not changes.keys() <= NO_PAYLOAD
            self.command = msgspec.structs.replace(self.command, **changes)
        redrives.without_operator += without_operator
        redrives.failures = len(self.failures or ())

    @property
    def expires_at_ns(self) -> int | None:
        """The last instant at which it is wanted."""
        if self.command.expires_after is None:
            return None
        return self.fresh_since_ns + wait_ns(self.command.expires_after)

    @property
    def sent_until_ns(self) -> int | None:
        """The last instant at which it may be sent; None: there is none."""
        until_ns = self.falls_back_ns
        return until_ns if self.command.expires_after is None else sooner(self.expires_at_ns, until_ns)


def _recalled(delivery: Delivery, policy: RetryPolicy) -> Progress:
    progress = Progress()
    used = missing = 0
    for failure in delivery.fresh_failures:
        missing += left_out_before(failure, used)
        used = failure.attempt
        if failure.kind == ChannelFault.__name__:
            continue
        outcome = (
            Ambiguous(reason=failure.reason)
            if failure.kind == Ambiguous.__name__
            else Transient(reason=failure.reason, throttled=failure.throttled)
        )
        assert failure.next_retry_at_ns is not None  # else the delivery would have been dead-lettered
        unseen = missing if failure.unlimited else 0
        policy.recall(outcome, failure.next_retry_at_ns - failure.at_ns, progress, unseen)
        missing -= unseen
    return progress


FIRST_KEPT, LAST_KEPT = 20, 80
"""How many failed attempts of an unlimited number a history keeps since its notification was accepted or redriven."""


def left_out(history: Sequence[NotificationEvent]) -> slice | None:
    """Return the events that a history leaves out, now that its latest one, an unlimited failure, has been added.

    The history leaves out the oldest failure between the first 20 and the last 80, and the waits for other reasons
    that came after this failure; the numbers of the attempts show the gap. The first attempt that reached a provider
    always stays, as a deadline counts from its start. None: the history is still short enough.
    """
    if len(history) <= FIRST_KEPT + LAST_KEPT:
        return None
    kinds = [*map(type, history)]
    begin = len(kinds) - kinds[::-1].index(NotificationRedriven) if NotificationRedriven in kinds else 0
    failures: list[tuple[int, Any]] = [
        (number, history[number]) for number in range(begin, len(kinds)) if kinds[number] is NotificationFailed
    ]
    asked = next((number for number, failure in failures if not failure.refused), None)
    unlimited = [number for number, failure in failures if failure.unlimited]
    gone = next((number for number in unlimited[FIRST_KEPT:-LAST_KEPT] if number != asked), None)
    if gone is None:
        return None
    end = gone + 1
    while isinstance(history[end], NotificationDeferred):
        end += 1
    return slice(gone, end)


def left_out_before(failure: NotificationFailed, used: int) -> int:
    """Return how many attempts a history leaves out right before a failure; up to the failure before it, `used`
    attempts were used up."""
    return max(0, failure.attempt - used - (failure.kind != ChannelFault.__name__))


NO_PAYLOAD = frozenset({"expires_after", "priority"})
"""Fields of a command that a provider does not get to see."""


def requested(command: SendNotification, at_ns: int, epoch_ns: int) -> NotificationRequested:
    """Return the event that a command is accepted at an instant: to go out at once, in no trace, and no fallback."""
    return NotificationRequested(
        at_ns=at_ns,
        epoch_ns=epoch_ns,
        notification_id=command.notification_id,
        channel=command.channel,
        user_id=command.recipient if command.user_id is None else command.user_id,
        priority=command.priority,
    )


def state_after(
    command: SendNotification, events: Sequence[NotificationEvent], epoch_ns: int, now_ns: int | None = None
) -> Delivery:
    """Return the state of a notification with this history, on the clock that started at `epoch_ns`.

    A history is anchored by the calendar, and the wall clock may have stepped back since. So the acceptance is never
    later than now, and no wait longer than was decided. A scheduled instant goes by the calendar.

    Args:
        command: the command as it was accepted.
        events: its history, from its request on.
        epoch_ns: the calendar's instant at the clock's 0, in nanoseconds since 1970.
        now_ns: the present instant of that clock; None: no instant of the history is later.
    """
    requested = events[0]
    accepted_ns = waited_since_ns = anchored(requested, requested.at_ns, epoch_ns)
    if isinstance(requested, NotificationRequested) and requested.waited_since_ns is not None:
        waited_since_ns = anchored(requested, requested.waited_since_ns, epoch_ns)
    delivery = Delivery(command, waited_since_ns, fresh_since_ns=accepted_ns)
    scheduled_ns = decided_wait_ns = None
    before = requested
    for event in events:
        at_ns = anchored(event, event.at_ns, epoch_ns)
        delivery.due_ns = decided_wait_ns = None
        match event:
            case NotificationRequested():
                delivery.schedule(epoch_ns)
                scheduled_ns = delivery.due_ns
                delivery.traceparent = event.traceparent
            case NotificationFailed():
                retry_at_ns = event.next_retry_at_ns
                if retry_at_ns is not None:
                    decided_wait_ns = retry_at_ns - event.at_ns
                    retry_at_ns = anchored(event, retry_at_ns, epoch_ns)
                first_start_ns = delivery.first_start_ns
                delivery.fail(event, retry_at_ns)
                if first_start_ns is None and not event.refused:
                    delivery.first_start_ns = anchored(event, event.started_ns, epoch_ns)
            case NotificationDeferred():
                if event.resumes_at_ns is not None:
                    delivery.wait_until(anchored(event, event.resumes_at_ns, epoch_ns))
                    decided_wait_ns = event.resumes_at_ns - event.at_ns
            case NotificationRedriven():
                delivery.redrives = delivery.redrives or RedriveRecord(_first_failure_since_1970_ns(delivery, before))
                delivery.note_redrive(event.edit, event.without_operator)
                delivery.fresh_since_ns = at_ns
                scheduled_ns = None
                delivery.attempts = 0
                delivery.first_start_ns = None
                delivery.charged = True
                delivery.given_up = None
            case _:
                pass
        before = event
    if now_ns is not None:
        latest_ns = now_ns if scheduled_ns is None else max(now_ns, scheduled_ns)
        delivery.requested_at_ns = min(delivery.requested_at_ns, latest_ns)
        delivery.fresh_since_ns = min(delivery.fresh_since_ns, latest_ns)
        if delivery.first_start_ns is not None:
            delivery.first_start_ns = min(delivery.first_start_ns, now_ns)
        if delivery.due_ns is not None and decided_wait_ns is not None:
            delivery.due_ns = min(delivery.due_ns, now_ns + decided_wait_ns)
    return delivery


def _first_failure_since_1970_ns(delivery: Delivery, moved: NotificationEvent) -> int:
    """Return when a notification first failed, or was first dead-lettered, which it was last with `moved`."""
    if delivery.redrives is not None:
        return delivery.redrives.first_failure_since_1970_ns
    first = delivery.failures[0] if delivery.failures else moved
    return first.epoch_ns + first.at_ns


def redriven(
    letter: DeadLetterMessage, changes: Mapping[str, Any], now_ns: int, epoch_ns: int, without_operator: bool
) -> Delivery:
    """Return the state of a notification whose dead letter is redriven now.

    Its instants are on the clock that started at `epoch_ns`.
    """
    delivery = Delivery(
        letter.command,
        min(letter.requested_at_ns + letter.epoch_ns - epoch_ns, now_ns),
        fresh_since_ns=now_ns,
        charged=True,
        failures=list(letter.history),
        redrives=RedriveRecord(
            letter.first_failure_ns + letter.epoch_ns, letter.accepted, letter.edits, letter.redriven_without_operator
        ),
    )
    delivery.note_redrive(changes, without_operator)
    return delivery


def noted(letter: DeadLetterMessage, served: bool) -> DeadLetterMessage:
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
    failures, redrives = delivery.failures, delivery.redrives
    return DeadLetterMessage(
        notification_id=moved.notification_id,
        command=delivery.command,
        failure_reason=moved.reason,
        attempts=moved.attempts,
        requested_at_ns=moved.requested_at_ns,
        first_failure_ns=_first_failure_since_1970_ns(delivery, moved) - moved.epoch_ns,
        last_failure_ns=anchored(failures[-1], failures[-1].at_ns, moved.epoch_ns) if failures else moved.at_ns,
        moved_at_ns=moved.at_ns,
        epoch_ns=moved.epoch_ns,
        history=() if failures is None else tuple(failures),
        accepted=None if redrives is None else redrives.accepted,
        edits=0 if redrives is None else redrives.edits,
        redriven_without_operator=0 if redrives is None else redrives.without_operator,
    )
