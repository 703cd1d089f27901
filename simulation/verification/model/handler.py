"""The way of a notification, from its acceptance to its end (sections 2, 3, 6, 7, 14).

Accepted, and durable; wanted by its user, now; sent on the way of its channel as an attempt (`channel`); what its
provider answers; and what that means: sent, a wait and another attempt, or a dead letter and perhaps a fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import msgspec

from actors.messages import (
    DeferralCause,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from simulation.verification.model.addresses import (
    DISABLED,
    ENDPOINT_DISABLED,
    address,
    disabled_text,
    host_of,
    mark_after,
)
from simulation.verification.model.backlog import Backlog
from simulation.verification.model.backoff import Retrying
from simulation.verification.model.channel import Way
from simulation.verification.model.comparing import Difference
from simulation.verification.model.hedging import Hedging
from simulation.verification.model.instants import NS_PER_S, sooner, wait_ns
from simulation.verification.model.letters import Letters
from simulation.verification.model.loop import Key, Place, Timer
from simulation.verification.model.notifications import (
    CUT,
    EXPIRED,
    RETRY_TIME_UP,
    TIMED_OUT,
    Admitted,
    Attempt,
    Commit,
    Ended,
    Notification,
    Send,
    Then,
    scheduled_ns,
)
from simulation.verification.model.people import wanted_from_ns
from simulation.verification.model.process import Process
from simulation.verification.model.stage import is_too_late
from simulation.verification.model.templates import Missing, filled_in
from simulation.verification.model.unrecorded import Asked, Refused

BUDGET_SPENT = "retry budget spent"
ADDRESS_GONE = "the address is gone"

_ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)


def _at_breaker(handler: Handler, number: int) -> Place:
    """Where answers may go astray they come by one that is never down."""
    if handler.timeline.goes_astray is not None:
        return "", ""
    return "breaker", handler.asked[number].admitted.attempt.command.channel


class Handler(Process):
    ways: dict[str, Way]
    """By channel, that of its attempts to its providers."""
    hedging: Hedging
    retrying: dict[str, Retrying]
    """By channel, its backoff."""
    backlog: Backlog
    """The notifications that were overdue when the handler started."""
    letters: Letters
    # In orders:
    cancel: Callable[[Collection[str]], None]
    take_up_next_redrive: Callable[[], None]

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────

    def accept(self, command: SendNotification, asks_for_room: bool, instead_of: Notification | None = None) -> None:
        """ "The same `notification_id` is sent once; the same id with a different payload is a conflict, reported" (6).

        "Room is asked once, at the door": what an event or a fallback gives rise to is never refused (14).
        """
        name, now_ns = command.notification_id, self.now_ns
        known = self.known(name)
        if known is not None:
            again = self.event(DuplicateIgnored, command, conflict=known != command)
            self.expect(again, "its id is known (remember_ids is {} s)", self.world.remember_ids)
            return
        if command.channel not in self.ways:
            return  # refused: there is no such channel here
        if instead_of is None and self.world.recipient_problem(command) is not None:
            return  # refused: its sender is told; one that comes in place of another has none (6)
        if asks_for_room and not self.has_room(command.priority):
            why = "max_pending is {}, and {} are pending"
            self.expect(Refused(now_ns, "overloaded"), why, self.world.max_pending, len(self.pending))
            return
        self.arrivals[command.channel].add(None, now_ns)
        if self.ways[command.channel].is_per_host:
            self.arrivals[command.channel].add(host_of(command.recipient), now_ns)
        since_ns = now_ns if instead_of is None else instead_of.waited_since_ns
        self.pending[name] = notification = Notification(command, since_ns, now_ns)
        notification.schedule(self.epoch_ns)
        is_new = instead_of is None and notification.due_ns is None
        event = self.event(
            NotificationRequested,
            command,
            user_id=command.user,
            priority=command.priority,
            instead_of=None if instead_of is None else instead_of.command.notification_id,
            waited_since_ns=None if is_new else notification.waited_since_ns,
        )
        self.happens(event, notification, self.prepare, "it has come, and its id is new")

    def known(self, name: str) -> SendNotification | None:
        """Return the command that has an id, as it was accepted; None: the id is new, or forgotten."""
        if name in self.pending:
            return self.pending[name].known_as
        return self.store.known(name, self.now_ns + self.epoch_ns)

    def has_room(self, priority: Priority) -> bool:
        """ "`max_pending` bounds what is accepted and has not ended": bulk gets 80% of it, what is normal 95%."""
        most = self.world.max_pending
        if most is None:
            return True
        kept = {Priority.CRITICAL: 0, Priority.NORMAL: most // 20, Priority.BULK: most // 5}
        return len(self.pending) < most - kept[priority]

    def happens(self, event: NotificationEvent, notification: Notification, then: Then, why: str, *about: Any) -> None:
        """ "Record first, announce afterwards" (2): nothing follows from a change before it is durable.

        When it is, here at once, `on_durable` goes on.
        """
        name = event.notification_id
        self.commits[name] = Commit(event, notification, then, why, about)
        self.make_durable("commit", event, notification.command)

    def on_durable(self, name: str) -> None:
        commit = self.commits.pop(name)
        if isinstance(commit.event, _ENDS):
            self.pending.pop(name, None)
            self.take_up_next_redrive()
        self.expect(commit.event, commit.why, *commit.about)
        if commit.then is not None:
            commit.then(commit.notification)
        if commit.is_cancelled:
            self.cancel([name])

    # ── whether it may go now ───────────────────────────────────────────────────────────────────────────────────

    def prepare(self, notification: Notification) -> None:
        """Have it wait for its `not_before`, and for the end of quiet hours; suppress it where its address is gone or
        its user does not want it; dead-letter it where its endpoint is disabled; else send it.

        What will be too late when it has waited is dead-lettered at once, as a retry is (3).
        """
        command = notification.command
        due_ns = scheduled_ns(command, self.epoch_ns)
        if due_ns is not None and due_ns > self.now_ns:
            if notification.expires_at_ns is not None and due_ns > notification.expires_at_ns:
                self._dead_letter(notification, EXPIRED, "the wall clock was set back: not_before is beyond its expiry")
                return
            notification.due_ns = due_ns
            self.give_back_slot(command)
            self.wait(notification)
            return
        if self.store.is_gone(command):
            # Its user has not ruled it out, so its request may yet be delivered on another channel (15).
            then = None if self.store.is_delivered(command.notification_id) else self._fall_back
            self.suppress(notification, ADDRESS_GONE, then, "a provider has said that its address is gone")
            return
        until_ns = wanted_from_ns(self.world, command, self.now_ns, self.epoch_ns)
        if until_ns is None:
            self.suppress(notification, "switched off by the user", None, "preferences: the user has it switched off")
        elif until_ns <= self.now_ns:
            if self.store.is_disabled(command):
                self._dead_letter(notification, ENDPOINT_DISABLED, "all attempts have failed for disable_after")
            else:
                self.send(notification)
        elif notification.expires_at_ns is not None and until_ns > notification.expires_at_ns:
            self._dead_letter(notification, EXPIRED, "quiet_hours end only after it has expired")
        else:
            notification.due_ns = until_ns
            self.give_back_slot(command)
            event = self.event(NotificationDeferred, command, cause=DeferralCause.QUIET_HOURS, resumes_at_ns=until_ns)
            self.happens(event, notification, self.wait, "its user has quiet_hours until then")

    def is_wanted(self, command: SendNotification) -> bool:
        """Tell whether its address is there and its user wants it now: asked again when its turn comes after a wait."""
        if self.store.is_unreachable(command):
            return False
        wanted_ns = wanted_from_ns(self.world, command, self.now_ns, self.epoch_ns)
        return wanted_ns is not None and wanted_ns <= self.now_ns

    def suppress(self, notification: Notification, reason: str, then: Then, why: str) -> None:
        """ "Off means a `NotificationSuppressed`, not silence" (6)."""
        self.leave_budget(notification)
        self.give_back_slot(notification.command)
        self.happens(self.event(NotificationSuppressed, notification.command, reason=reason), notification, then, why)

    def wait(self, notification: Notification) -> None:
        assert notification.due_ns is not None
        self.at(notification.due_ns, "go-on", notification.command.notification_id)

    def go_on(self, name: str) -> None:
        self.pending[name].due_ns = None
        self.prepare(self.pending[name])

    def take_up(self, notification: Notification) -> None:
        """Go on with one that is found in the store, or redriven."""
        if notification.given_up is not None:
            self.dead_letter_as_decided(notification)
        elif notification.due_ns is None:
            self.prepare(notification)
        else:
            self.wait(notification)

    # ── an attempt ──────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, notification: Notification) -> None:
        """Fill in its template and send an attempt on its way, unless its time is up."""
        command, until_ns = notification.command, self.starts_until_ns(notification)
        if until_ns is not None and self.now_ns > until_ns:
            why = "it might have set out until {} s (expires_after, fallback.after, retry.max_elapsed)"
            self._dead_letter(notification, self._reason_of_expiry(notification), why, until_ns / NS_PER_S)
            return
        try:
            command = filled_in(command, self.world)
        except Missing as missing:  # it has not come to an attempt, so none has failed (1)
            self._dead_letter(notification, str(missing), "a missing variable is a permanent failure that names it")
            return
        name, edits = command.notification_id, notification.edits
        attempt = Attempt(
            command,
            notification.attempts + 1,
            idempotency_key=f"{name}/edit-{edits}" if edits else name,
            counted_for_user=notification.counted_for_user,
            until_ns=until_ns,
            expires_at_ns=notification.expires_at_ns,
        )
        notification.counted_for_user = True
        if notification.under_way is None:  # else it is sent again: a stage had lost it
            self.budgets[command.channel].begin(notification.budget_charge, self.now_ns)
        notification.under_way = attempt
        if self.backlog.lines:
            self.backlog.pass_by(command.channel)
        first = self.ways[command.channel].first
        first.follow(first.enter, attempt)

    def starts_until_ns(self, notification: Notification) -> int | None:
        """Return the last instant for the next attempt; `fallback.after` runs from the first one, or a restart."""
        command = notification.command
        config = self.world.channels[command.channel]
        fallback = config.fallback
        if (
            fallback is not None
            and fallback.after is not None
            and notification.falls_back_ns is None
            and self._address_on(fallback.channel, command) is not None
        ):
            notification.falls_back_ns = self.now_ns + wait_ns(fallback.after)
        last_ns = None if config.deadline is None else self._cut_ns(notification)
        if last_ns is not None:
            last_ns -= 1
        elif notification.attempts:
            last_ns = self.retrying[command.channel].last_start_ns(notification.fresh_since_ns)
        until_ns = notification.sent_until_ns
        return until_ns if last_ns is None else sooner(until_ns, last_ns)

    def _cut_ns(self, notification: Notification) -> int | None:
        """ "`deadline: 30s`: from the first attempt's start, over all providers" (23); None: none, or not yet."""
        deadline = self.world.channels[notification.command.channel].deadline
        began_ns = notification.first_start_ns
        return None if deadline is None or began_ns is None else began_ns + wait_ns(deadline)

    def _reason_of_expiry(self, notification: Notification) -> str:
        if self.starts_until_ns(notification) == notification.sent_until_ns:
            return EXPIRED
        return RETRY_TIME_UP if self._cut_ns(notification) is None else CUT.reason

    # ── at its provider ─────────────────────────────────────────────────────────────────────────────────────────

    def way_of(self, attempt: Attempt) -> Way:
        return self.ways[attempt.command.channel]

    def make(self, admitted: Admitted) -> None:
        lane, cut_ns = admitted.lane, None
        if lane.config.deadline is not None:
            notification = self.notification_of(admitted.attempt)
            first_ns = None if notification is None else self._cut_ns(notification)
            cut_ns = self.now_ns + wait_ns(lane.config.deadline) if first_ns is None else first_ns
        if lane.config.hedging is None:
            self.ask(Send(admitted, self.now_ns, cut_ns=cut_ns))
        else:
            self.hedging.begin(lane, lane.config.hedging, admitted, cut_ns)

    def make_after_waiting(self, admitted: Admitted) -> None:
        """Make an attempt that waited while the channel was down, unless it has expired since or is not wanted now."""
        attempt = admitted.attempt
        if is_too_late(attempt, self.now_ns) or not self.is_wanted(attempt.command):
            self.decided(Send(admitted, self.now_ns, self.now_ns))
        else:
            self.make(admitted)

    def ask(self, send: Send) -> int:
        """Ask the provider once, unless the node has no lease (19); return the number of this send."""
        number = self.timeline.number_of_asked = self.timeline.number_of_asked + 1
        self.asked[number] = send
        if not self.has_lease():
            self.timeline.not_made.append(number)
            self.ends(number, None, self.now_ns)
            return number
        lane, attempt = send.admitted.lane, send.admitted.attempt
        provider, key, until_ns = lane.provider_name, attempt.idempotency_key, attempt.expires_at_ns
        asked = Asked(self.now_ns, self.node, provider, attempt.number, key, attempt.command, until_ns)
        self.expect(asked, "{} has passed all that stands before {}", attempt, lane.name)
        return number

    def on_asked(self, outcome: Outcome | None, delay_ns: int | None) -> int:
        """Return the number of the send that has just been made; it ends with an outcome after so long.

        None for either: that is not known yet.
        """
        number = self.timeline.number_of_asked
        send = self.asked[number]
        timeout_ns = send.admitted.lane.timeout_ns
        left_ns = timeout_ns - (self.now_ns - send.started_ns)  # copies share the time-out of the first
        late, cut_ns = TIMED_OUT, send.cut_ns
        if cut_ns is not None and cut_ns < send.started_ns + timeout_ns:
            left_ns, late = max(0, cut_ns - self.now_ns), CUT
        if delay_ns is None or delay_ns > left_ns:  # an answer at the instant of the time-out counts
            delay_ns, outcome = left_ns, late
        self.ends(number, outcome, self.now_ns + delay_ns)
        return number

    def answers_now(self, number: int, outcome: Outcome, now_ns: int) -> None:
        """Take the answer of a provider that could not be foreseen; one at the instant of the time-out counts."""
        if (now_ns, number) in self.timed_out:
            raise Difference(f"the answer to send {number} comes at the instant of its time-out, and it has timed out")
        send = self.asked.get(number)
        if (
            send is not None
            and (send.outcome is TIMED_OUT or send.outcome is CUT)
            and self._timer_of(number) in self.due
        ):  # else nobody waits
            self.ends(number, outcome, now_ns)

    def ends(self, number: int, outcome: Outcome | None, instant_ns: int) -> None:
        """Have the answer to a send fall due, which `take_answer` then takes, or `hedging`."""
        send = self.asked[number]
        send.outcome, send.ended_ns = outcome, instant_ns
        self.at(instant_ns, *self._timer_of(number))

    def _timer_of(self, number: int) -> Key:
        """Return how an answer falls due: at the breaker, or where there may be copies at the actor that sends them."""
        lane = self.asked[number].admitted.lane
        return ("answer", number) if lane.config.hedging is None else ("copy", (lane.where, number))

    def take_answer(self, number: int) -> None:
        """Let the breaker know the answer to an attempt, and have the rest of its way do what follows."""
        send = self.end_send(number)
        if self.timeline.goes_astray is not None:
            self.decided(send)
        else:
            self.way_of(send.admitted.attempt).settle(send)

    def decided(self, send: Send) -> None:
        """Settle a send later at this instant: as of copies, or of answers that may go astray."""
        way = self.way_of(send.admitted.attempt)
        way.follow(way.settle, send)

    # ── what follows from its outcome ───────────────────────────────────────────────────────────────────────────

    def notification_of(self, attempt: Attempt) -> Notification | None:
        """Return the notification whose attempt under way this is; None: an answer to it is stale."""
        notification = self.pending.get(attempt.command.notification_id)
        return notification if notification is not None and notification.under_way is attempt else None

    def answered(self, send: Send) -> None:
        """ "sent → NotificationSent; transient → NotificationFailed → retry after backoff" (2)."""
        notification, outcome = self.notification_of(send.admitted.attempt), send.outcome
        if notification is None:
            return
        assert outcome is not None
        lane = send.admitted.lane
        is_counted = lane.config.hedging is not None and not isinstance(outcome, Sent)  # each copy was, when it failed
        self.end_attempt(notification, None if is_counted else outcome)
        if not isinstance(outcome, Sent):
            self._failed(notification, outcome, send)
            return
        event = self.event(
            NotificationSent,
            notification.command,
            attempt=notification.attempts + 1,
            started_ns=send.started_ns,
            requested_at_ns=notification.waited_since_ns,
            provider=lane.provider,
            hedges=send.hedges,
            priority=notification.command.priority,
        )
        self.happens(event, notification, None, "the provider has taken it")

    def turned_away(self, attempt: Attempt, end: Ended) -> None:
        """Take back an attempt that was not made: it fails, or its notification ends."""
        notification = self.notification_of(attempt)
        if notification is None:
            return
        if end.outcome is None:
            reason = self._reason_of_expiry(notification) if end.reason == EXPIRED else end.reason
            self._dead_letter(notification, reason, "it can no longer be in time, or on_limit: drop")
        else:
            self.end_attempt(notification, None)
            self._failed(notification, end.outcome, None)

    def requeued(self, attempt: Attempt, counted_for_user: bool) -> None:
        """ "A notification in quiet hours is scheduled for their end and checked again" (6): also one that waited."""
        notification = self.notification_of(attempt)
        if notification is not None:
            self.end_attempt(notification, None)
            notification.counted_for_user = counted_for_user
            self.prepare(notification)

    def end_attempt(self, notification: Notification, outcome: Outcome | None) -> None:
        """Let the retry budget know of its end; None: nothing that counts there."""
        self.budgets[notification.command.channel].end(notification.budget_charge, outcome, self.now_ns)
        notification.budget_charge, notification.under_way = 0, None

    def _failed(self, notification: Notification, outcome: Outcome, made: Send | None) -> None:
        """ "`NotificationFailed` (every failed attempt, the last one too)" (1); then a wait, or a dead letter."""
        command = notification.command
        lane = None if made is None else made.admitted.lane
        if isinstance(outcome, ChannelFault):
            text = f"Channel {command.channel} is broken: {outcome.reason}"
            self.follow("alert", "", self.letters.alert, ("broken", command.channel, outcome.reason), text)
        if notification.first_start_ns is None and made is not None:
            notification.first_start_ns = made.started_ns
        retry_ns, given_up, why = self._retry(notification, outcome, was_asked=made is not None)
        config, mark = self.world.channels[command.channel], None
        if lane is not None and command.recipient and config.endpoints is not None:
            known = self.store.endpoints.get(address(command))
            mark = mark_after(outcome, known, config.endpoints, self.epoch_ns + self.now_ns)
        if mark is not None and mark.state is DISABLED:
            self.follow("alert", "", self.letters.alert, address(command), disabled_text(command, mark, outcome.reason))
        event = self.event(
            NotificationFailed,
            command,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=notification.attempts,
            started_ns=self.now_ns if made is None else made.started_ns,
            next_retry_at_ns=retry_ns,
            answer=outcome.answer,
            throttled=isinstance(outcome, Transient) and outcome.throttled,
            given_up=given_up,
            provider=None if lane is None else lane.provider,
            hedges=0 if made is None else made.hedges,
            refused=lane is None,
            endpoint=mark,
            unlimited=self.retrying[command.channel].is_unlimited(outcome),
        )
        notification.fail(event)
        notification.due_ns = retry_ns
        then = self.wait if given_up is None else self.dead_letter_as_decided
        self.happens(event, notification, then, why + " (retry: {})", config.retry)

    def _retry(
        self, notification: Notification, outcome: Outcome, *, was_asked: bool
    ) -> tuple[int | None, str | None, str]:
        """Count a failure; return when it is tried again or why not, and the rule in words. `was_asked`: a provider,
        for what this service refuses by itself is always tried again."""
        if isinstance(outcome, (Permanent, DeadDestination)):
            notification.attempts += 1
            return None, outcome.reason, "a permanent failure is not tried again"
        assert isinstance(outcome, (Transient, Ambiguous, ChannelFault))
        channel = notification.command.channel
        retrying = self.retrying[channel]
        if notification.progress is None:
            notification.progress = retrying.recalled(notification.failures[notification.older :])
        notification.attempts += not isinstance(outcome, ChannelFault)
        if outcome is CUT:
            return None, outcome.reason, "the attempt that a deadline cuts is the last one"
        if was_asked and retrying.is_final(outcome, outcome is TIMED_OUT):
            return None, outcome.reason, "a failure of this kind is not tried again (retry.on)"
        wait = retrying.next_wait_ns(outcome, notification.progress)
        if wait is None:
            return None, outcome.reason, "max_attempts are spent, or the provider forbids a retry"
        retry_ns, until_ns = self.now_ns + wait, notification.sent_until_ns
        if until_ns is not None and retry_ns > until_ns:  # even if max_elapsed is up sooner: so in the product
            return None, EXPIRED, "a retry that would start after the expiry is not scheduled"
        last_ns = retrying.last_start_ns(notification.fresh_since_ns)
        if last_ns is not None and retry_ns > last_ns:
            return None, RETRY_TIME_UP, "a retry would start after max_elapsed"
        if retrying.is_late_to_fail(notification.fresh_since_ns, self.now_ns):
            return None, RETRY_TIME_UP, "an attempt has failed after max_elapsed"
        cut_ns = self._cut_ns(notification)
        if cut_ns is not None and retry_ns >= cut_ns:
            return None, CUT.reason, "a retry would start after the deadline"
        if not isinstance(outcome, ChannelFault):
            charge = self.budgets[channel].ask(outcome, self.now_ns)
            if charge is None:
                return None, BUDGET_SPENT, "the retry budget allows no more"
            notification.budget_charge = charge
        return retry_ns, None, "the wait goes by backoff, jitter and the provider's hint"

    def give_back_slot(self, command: SendNotification) -> None:
        """ "Expiry, cancel and erase give it back" (23); so do quiet hours."""
        way = self.ways[command.channel]
        if way.slots.is_on:
            way.follow(way.slots.give_back, command.notification_id)

    def leave_budget(self, notification: Notification) -> None:
        """Give back what it has of the retry budget, as it ends without an answer of a provider."""
        if notification.under_way is not None:
            self.end_attempt(notification, None)
        elif notification.budget_charge:
            self.budgets[notification.command.channel].give_back(notification.budget_charge, self.now_ns)
            notification.budget_charge = 0

    # ── dead letters, fallbacks, redrives ───────────────────────────────────────────────────────────────────────

    def dead_letter_as_decided(self, notification: Notification) -> None:
        assert notification.given_up is not None
        self._dead_letter(notification, notification.given_up, "its latest attempt was the last one")

    def _dead_letter(self, notification: Notification, reason: str, why: str, *about: Any) -> None:
        """ "attempts spent, permanent, expired → dead letter queue → admin alert" (2)."""
        self.leave_budget(notification)
        self.give_back_slot(notification.command)
        event = self.event(
            NotificationMovedToDeadLetter,
            notification.command,
            reason=reason,
            attempts=notification.attempts,
            requested_at_ns=notification.waited_since_ns,
            priority=notification.command.priority,
        )
        letter = notification.letter(event)

        def bury(notification: Notification) -> None:
            self.follow("dlq", "", self.letters.add, letter)
            self._fall_back(notification)

        self.happens(event, notification, bury, why, *about)

    def _address_on(self, channel: NotificationChannel, command: SendNotification) -> str | None:
        """Return where a command goes on another channel; None: it has no address there. A call (22) needs none."""
        return command.addresses.get(channel, "" if self.world.channels[channel].kind == "call" else None)

    def _fall_back(self, notification: Notification) -> None:
        """Send a dead-lettered notification on the channel's `fallback`, once, with the id ``<id>/<channel>``."""
        command = notification.command
        fallback, expires_ns = self.world.channels[command.channel].fallback, notification.expires_at_ns
        recipient = None if fallback is None else self._address_on(fallback.channel, command)
        left_s = None if expires_ns is None else (expires_ns - self.now_ns) / NS_PER_S
        if fallback is None or recipient is None or (left_s is not None and left_s < 0):
            return
        name = f"{command.notification_id}/{fallback.channel}"
        if self.known(name) is not None or self.store.is_delivered(command.notification_id):
            return  # it fell back before it was redriven; or another one of its request was delivered
        other = msgspec.structs.replace(
            command,
            notification_id=name,
            channel=fallback.channel,
            recipient=recipient,
            user_id=command.user or None,
            expires_after=left_s,
            not_before=None,
        )
        self.accept(other, False, instead_of=notification)

    TIMERS: ClassVar[Mapping[str, Timer]] = {
        "commit": Timer(on_durable, ("handler", "")),
        "go-on": Timer(go_on, ("handler", "")),
        "answer": Timer(take_answer, _at_breaker),
        "copy": Timer(lambda self, what: self.hedging.answered(what[1]), lambda _, what: ("channel", what[0]), True),
        "hedge": Timer(lambda self, what: self.hedging.look(what[1]), lambda _, what: ("channel", what[0]), True),
    }
