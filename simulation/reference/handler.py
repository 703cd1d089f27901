"""The handler's rules: what happens to a notification from its acceptance to its end (sections 2, 3, 6, 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count
from typing import Any

import msgspec

from actors.messages import (
    RANKS,
    DeferralCause,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from simulation.reference.accepting import Accepting, Then
from simulation.reference.addresses import DISABLED, ENDPOINT_DISABLED, address, disabled_text, mark_after
from simulation.reference.backoff import Retrying, budget_of
from simulation.reference.bounds import EXPIRED, RETRY_TIME_UP, Ended
from simulation.reference.channel import Way
from simulation.reference.hedging import Hedging
from simulation.reference.instants import NS_PER_S, sooner, wait_ns
from simulation.reference.lane import Lane
from simulation.reference.letters import Letters, Redrive
from simulation.reference.limits import Account
from simulation.reference.loop import Key
from simulation.reference.notifications import (
    Admitted,
    Attempt,
    History,
    Notification,
    Send,
    scheduled_ns,
    state_after,
)
from simulation.reference.people import wanted_from_ns
from simulation.reference.redriving import BREAKER_CLOSED, Redriving
from simulation.reference.resuming import Backlog
from simulation.reference.templates import Missing, filled_in
from simulation.reference.unrecorded import Asked

BUDGET_SPENT = "retry budget spent"
ADDRESS_GONE = "the address is gone"
CANCELLED = "cancelled"

_BEGINS = (NotificationRequested, NotificationRedriven)


class Handler(Accepting):
    """The service while its process runs."""

    def boot(self) -> None:
        """Start a process over the store: what was in memory is as new."""
        self.asked.clear()
        self.forget_all_accepted()
        self.mailboxes.clear()
        channels = self.world.channels.items()
        accounts: dict[str, Account] = {}
        self.ways = {each: Way(self, self, each, config, accounts) for each, config in channels}
        self.hedging = Hedging(self, self)
        self.letters = Letters(self)
        self.redriving = Redriving(self, self.letters, self.ways, self.redrive)
        self.redrives: dict[int, Redrive] = {}
        """Those that wait for room, by their places: the order in which they came."""
        self._redrive_places = count()
        self.start()
        self.follow("dlq", "", self.redriving.boot)
        self.follow("handler", "", self.resume)

    # ── starting, and starting again ────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """A handler that starts knows what is in the store; its budgets and the streams of its jitter are as new."""
        channels = self.world.channels.items()
        self.retrying = {each: Retrying(own.retry, self.stream(f"{each}.backoff")) for each, own in channels}
        self.budgets = {each: budget_of(own.retry.budget) for each, own in channels}
        self.backlog = Backlog(self, {each: way.arrivals for each, way in self.ways.items()})
        self.held: dict[str, Notification] = {}
        """Those that are to be sent when there is a lease."""
        self.admitted = {
            name: state_after(entry.command, entry.events, self.epoch_ns, self.now_ns)
            for name, entry in self.store.open_at(self.node).items()
        }
        for name, commit in self.commits.items():
            self.admitted[name] = commit.notification
            commit.notification.charge = 0

    def resume(self) -> None:
        """ "After a restart only what is overdue is paced" (19); the rest goes at its time."""
        for way in self.ways.values():
            way.first.follow(way.first.flush)
        self.go_on_with([each for name, each in self.admitted.items() if name not in self.commits])
        for _ in range(len(self.redrives)):
            self.take_up_next_redrive()

    def go_on_with(self, notifications: Iterable[Notification]) -> None:
        """Go on with those found in the store: what is overdue in its turn, the rest at its time."""
        for notification in sorted(notifications, key=lambda each: each.due_since_ns):
            if notification.given_up is None and notification.due_since_ns <= self.now_ns:
                self.backlog.add(notification, self.last_start_ns(notification))
            else:
                self._take_up(notification)
        self.look_at_backlog()

    def take_over(self, histories: Iterable[History]) -> None:
        """ "What a dead node had is taken over" (17), as after a restart."""
        found = []
        for history in histories:
            name = history.command.notification_id
            notification = state_after(history.command, history.events, self.epoch_ns, self.now_ns)
            if name in self.commits and isinstance(self.commits[name].event, _BEGINS):
                self.taken_over[name] = notification
            elif name not in self.admitted and name in self.store.open:  # else it has found it in the store since
                self.admitted[name] = notification
                found.append(notification)
        self.go_on_with(found)

    def lease_is_renewed(self) -> None:
        """Go on with what was held, as after a restart."""
        held, self.held = self.held, {}
        self.go_on_with(
            [each for name, each in held.items() if self.admitted.get(name) is each and name not in self.commits]
        )

    def look_at_backlog(self) -> None:
        """Go on with those of the backlog whose turn it is."""
        for notification in self.backlog.take_due():
            name = notification.command.notification_id
            if self.admitted.get(name) is notification and name not in self.commits:  # else it is cancelled
                notification.due_ns = None
                self.prepare(notification)
        self.backlog.set_wake()

    def _take_up(self, notification: Notification) -> None:
        if notification.given_up is not None:
            self._dead_letter_as_decided(notification)
        elif notification.due_ns is None:
            self.prepare(notification)
        else:
            self._wait(notification)

    def send_again(self, channel: str) -> None:
        """A stage has lost its state: what was under way there is sent again, and what it answers yet is stale."""
        first = self.ways[channel].first
        first.follow(first.flush)
        for notification in list(self.admitted.values()):
            attempt = notification.under_way
            if attempt is None or notification.command.channel != channel:
                continue
            if self.is_wanted(notification.command):
                notification.charged = attempt.charged
                self._send(notification)
            else:
                self._requeue(notification, attempt.charged)

    # ── cancelled ───────────────────────────────────────────────────────────────────────────────────────────────

    def cancel_waiting(self, channels: Collection[str] | None, priority: Priority | None) -> None:
        """Cancel by an operator's order what has not begun an attempt: it waits here, or in a line on the way."""
        meant = []
        for name, notification in self.admitted.items():
            command = notification.command
            if (channels is None or command.channel in channels) and priority in (None, command.priority):
                meant.append(name)
        self.cancel(meant)

    def cancel(self, names: Collection[str]) -> None:
        """Cancel those that wait; what is being made durable comes first."""
        on_their_way: dict[str, list[Attempt]] = {}
        for name in names:
            notification = self.admitted.get(name)
            if notification is None:
                continue
            if name in self.commits:
                self.cancels.add(name)
            elif notification.under_way is not None:
                on_their_way.setdefault(notification.command.channel, []).append(notification.under_way)
            else:
                self.due.pop(("go-on", name), None)
                self._suppress(notification, CANCELLED, None, "it waits, and is cancelled")
        for channel, attempts in on_their_way.items():
            first = self.ways[channel].first
            first.follow(first.withdraw, attempts)

    def withdrawn(self, attempt: Attempt) -> None:
        """Cancel one that has been taken out of its line."""
        notification = self._of(attempt)
        if notification is not None:
            self._suppress(notification, CANCELLED, None, "it waits in a line, and is cancelled")
        else:
            self.cancel([attempt.command.notification_id])

    def waits_in_no_line(self, attempts: Collection[Attempt]) -> None:
        """Leave alone what is at a provider; what has come back meanwhile, or is sent again, is cancelled anew."""
        self.cancel([each.command.notification_id for each in attempts if self._of(each) is None])

    # ── whether it may go now ───────────────────────────────────────────────────────────────────────────────────

    def prepare(self, notification: Notification) -> None:
        """ "handler: idempotency → preferences, quiet hours → template" (2)."""
        command = notification.command
        due_ns = scheduled_ns(command, self.epoch_ns)
        if due_ns is not None and due_ns > self.now_ns:
            if notification.expires_at_ns is not None and due_ns > notification.expires_at_ns:
                self._dead_letter(notification, EXPIRED, "the wall clock was set back: not_before is beyond its expiry")
                return
            notification.due_ns = due_ns
            self._wait(notification)
            return
        if address(command) in self.store.gone:
            then = None if self.store.is_delivered(command.notification_id) else self._fall_back
            self._suppress(notification, ADDRESS_GONE, then, "a provider has said that its address is gone")
            return
        until_ns = wanted_from_ns(self.world, command, self.now_ns, self.epoch_ns)
        if until_ns is None:
            self._suppress(notification, "switched off by the user", None, "preferences: the user has it switched off")
        elif until_ns <= self.now_ns:
            if self.store.is_disabled(command):
                self._dead_letter(notification, ENDPOINT_DISABLED, "all attempts have failed for disable_after")
            else:
                self._send(notification)
        elif notification.expires_at_ns is not None and until_ns > notification.expires_at_ns:
            self._dead_letter(notification, EXPIRED, "quiet_hours end only after it has expired")
        else:
            notification.due_ns = until_ns
            quiet = {"cause": DeferralCause.QUIET_HOURS, "resumes_at_ns": until_ns}
            event = self.event(NotificationDeferred, command, **quiet)
            self.happens(event, notification, self._wait, "its user has quiet_hours until then")

    def is_wanted(self, command: SendNotification) -> bool:
        """Tell whether its address is there and its user wants it now: asked again when its turn comes after a wait."""
        if address(command) in self.store.gone or self.store.is_disabled(command):
            return False
        wanted_ns = wanted_from_ns(self.world, command, self.now_ns, self.epoch_ns)
        return wanted_ns is not None and wanted_ns <= self.now_ns

    def _suppress(self, notification: Notification, reason: str, then: Then, why: str) -> None:
        """ "Off means a `NotificationSuppressed`, not silence" (6)."""
        self._leave_budget(notification)
        self.happens(self.event(NotificationSuppressed, notification.command, reason=reason), notification, then, why)

    def _wait(self, notification: Notification) -> None:
        assert notification.due_ns is not None
        self.at(notification.due_ns, "go-on", notification.command.notification_id)

    def go_on(self, name: str) -> None:
        """Go on with one whose wait is over."""
        self.admitted[name].due_ns = None
        self.prepare(self.admitted[name])

    # ── an attempt ──────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, notification: Notification) -> None:
        """Send an attempt on its way, unless its time is up; without a lease it is held until there is one."""
        if not self.has_lease():
            if notification.under_way is not None:
                self._end_attempt(notification, None)
            self.held[notification.command.notification_id] = notification
            return
        command, until_ns = notification.command, self.last_start_ns(notification)
        if until_ns is not None and self.now_ns > until_ns:
            why = "it might have set out until {} s (expires_after, fallback.after, retry.max_elapsed)"
            self._dead_letter(notification, self._reason_of_expiry(notification), why, until_ns / NS_PER_S)
            return
        try:
            command = filled_in(command, self.world.templates, self.world.platform)
        except Missing as missing:
            self._dead_letter(notification, str(missing), "a missing variable is a permanent failure that names it")
            return
        attempt = Attempt(command, notification.attempts + 1, notification.charged, until_ns, notification.edits)
        attempt.wanted_until_ns = notification.expires_at_ns
        notification.charged = True
        if notification.under_way is None:
            self.budgets[command.channel].begin(notification.charge, self.now_ns)
        notification.under_way = attempt
        self.backlog.pass_by(command.channel)
        first = self.ways[command.channel].first
        first.follow(first.enter, attempt)

    def last_start_ns(self, notification: Notification) -> int | None:
        """Return the last instant for the next attempt; `fallback.after` runs from the first, or a restart."""
        channel, addresses = notification.command.channel, notification.command.addresses
        fallback = self.world.channels[channel].fallback
        after_s = None if fallback is None or fallback.channel not in addresses else fallback.after
        if after_s is not None and notification.falls_back_ns is None:
            notification.falls_back_ns = self.now_ns + wait_ns(after_s)
        until_ns = notification.sent_until_ns
        if not notification.attempts:
            return until_ns
        return sooner(until_ns, self.retrying[channel].last_start_ns(notification.fresh_since_ns))

    def _reason_of_expiry(self, notification: Notification) -> str:
        """Return the bound that is the first to pass; the time for retries bounds no first attempt."""
        until_ns = notification.sent_until_ns
        last_ns = self.retrying[notification.command.channel].last_start_ns(notification.fresh_since_ns)
        if not notification.attempts or last_ns is None:
            return EXPIRED
        return RETRY_TIME_UP if until_ns is None or last_ns < until_ns else EXPIRED

    def breaker_closed(self, channel: str, host: str) -> None:
        """Have those redriven that died of a channel fault or an outage, by the channel's `redrive`."""
        self.redriving.breaker_closed(channel, host)

    def lane_of(self, admitted: Admitted) -> Lane:
        """Return what it has been let through by."""
        return self.ways[admitted.attempt.command.channel].lanes[admitted.lane]

    def make(self, admitted: Admitted) -> None:
        """Ask the provider."""
        lane = self.lane_of(admitted)
        if lane.config.hedging is None:
            self.ask(Send(admitted, self.now_ns))
        else:
            self.hedging.begin(lane, admitted)

    def key_of(self, number: int) -> Key:
        """Return how the answer to a send falls due: at the breaker, or where there may be copies at the channel."""
        lane = self.lane_of(self.asked[number].admitted)
        return ("answer", number) if lane.config.hedging is None else ("copy", (lane.place, number))

    def ask(self, send: Send) -> int:
        number = self.timeline.number_of_asked = self.timeline.number_of_asked + 1
        self.asked[number] = send
        if not self.has_lease():
            self.timeline.not_made.append(number)
            send.ended_ns = self.now_ns
            self.at(self.now_ns, *self.key_of(number))
            return number
        lane, attempt = self.lane_of(send.admitted), send.admitted.attempt
        name = attempt.command.notification_id
        key = f"{name}/edit-{attempt.edits}" if attempt.edits else name
        provider, until_ns = lane.provider_name, attempt.wanted_until_ns
        asked = Asked(self.now_ns, self.node, provider, attempt.number, key, attempt.command, until_ns)
        self.expect(asked, "{} has passed all that stands before {}", attempt.name, lane.name)
        return number

    def decided(self, send: Send) -> None:
        """Let the breaker know what has come of an attempt and its copies."""
        way = self.ways[send.admitted.attempt.command.channel]
        way.follow(way.answered, send)

    # ── what follows from its outcome ───────────────────────────────────────────────────────────────────────────

    def _of(self, attempt: Attempt) -> Notification | None:
        """Return the notification whose attempt under way this is; None: an answer to it is stale."""
        notification = self.admitted.get(attempt.command.notification_id)
        return notification if notification is not None and notification.under_way is attempt else None

    def is_awaited(self, attempt: Attempt) -> bool:
        """Tell whether an answer to an attempt is not stale."""
        return self._of(attempt) is not None

    def answered(self, send: Send) -> None:
        """ "sent → NotificationSent; transient → NotificationFailed → retry after backoff" (2)."""
        notification, outcome = self._of(send.admitted.attempt), send.outcome
        if notification is None:
            return
        assert outcome is not None
        lane = self.lane_of(send.admitted)
        is_counted = lane.config.hedging is not None and not isinstance(outcome, Sent)
        self._end_attempt(notification, None if is_counted else outcome)  # each send that failed, when it did
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
        """Take back an attempt that was not made, with an outcome of our own or a reason to end."""
        notification = self._of(attempt)
        if notification is None:
            return
        if end.outcome is None:
            reason = self._reason_of_expiry(notification) if end.reason == EXPIRED else end.reason
            self._dead_letter(notification, reason, "it can no longer be in time, or on_limit: drop")
        else:
            self._end_attempt(notification, None)
            self._failed(notification, end.outcome, None)

    def requeued(self, attempt: Attempt, charged: bool) -> None:
        """ "A notification in quiet hours is scheduled for their end and checked again" (6): also one that waited."""
        notification = self._of(attempt)
        if notification is not None:
            self._requeue(notification, charged)

    def _requeue(self, notification: Notification, charged: bool) -> None:
        self._end_attempt(notification, None)
        notification.charged = charged
        self.prepare(notification)

    def _end_attempt(self, notification: Notification, outcome: Outcome | None) -> None:
        self.budgets[notification.command.channel].end(notification.charge, outcome, self.now_ns)
        notification.charge, notification.under_way = 0, None

    def _failed(self, notification: Notification, outcome: Outcome, made: Send | None) -> None:
        """ "`NotificationFailed` (every failed attempt, the last one too)" (1); then a wait, or a dead letter."""
        command = notification.command
        lane = None if made is None else self.lane_of(made.admitted)
        if isinstance(outcome, ChannelFault):
            text = f"Channel {command.channel} is broken: {outcome.reason}"
            self.follow("alert", "", self.letters.alert, ("broken", command.channel, outcome.reason), text)
        retry_ns, given_up, why = self._retry(notification, outcome)
        known, config = self.store.endpoints.get(address(command)), self.world.channels[command.channel]
        mark = None if lane is None else mark_after(outcome, known, config, self.epoch_ns + self.now_ns)
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
        )
        notification.fail(event)
        notification.due_ns = retry_ns
        then = self._wait if given_up is None else self._dead_letter_as_decided
        self.happens(event, notification, then, why + " (retry: {})", self.world.channels[command.channel].retry)

    def _retry(self, notification: Notification, outcome: Outcome) -> tuple[int | None, str | None, str]:
        """Count a failure; return when it is tried again or why not, and the rule in words."""
        if isinstance(outcome, (Permanent, DeadDestination)):
            notification.attempts += 1
            return None, outcome.reason, "a permanent failure is not tried again"
        assert isinstance(outcome, (Transient, Ambiguous, ChannelFault))
        channel = notification.command.channel
        retrying = self.retrying[channel]
        if notification.progress is None:
            notification.progress = {}
            for failed in notification.counted_failures():
                assert failed.next_retry_at_ns is not None
                again = Transient(reason=failed.reason, throttled=failed.throttled)
                recalled = Ambiguous(reason=failed.reason) if failed.kind == "Ambiguous" else again
                retrying.recall(recalled, failed.next_retry_at_ns - failed.at_ns, notification.progress)
        notification.attempts += not isinstance(outcome, ChannelFault)
        wait = retrying.next_wait_ns(outcome, notification.progress)
        if wait is None:
            return None, outcome.reason, "max_attempts are spent, or the provider forbids a retry"
        retry_ns, until_ns = self.now_ns + wait, notification.sent_until_ns
        if until_ns is not None and retry_ns > until_ns:
            return None, EXPIRED, "a retry that would start after the expiry is not scheduled"
        last_ns = retrying.last_start_ns(notification.fresh_since_ns)
        if last_ns is not None and retry_ns > last_ns:
            return None, RETRY_TIME_UP, "a retry would start after max_elapsed"
        if not isinstance(outcome, ChannelFault):
            charge = self.budgets[channel].ask(outcome, self.now_ns)
            if charge is None:
                return None, BUDGET_SPENT, "the retry budget allows no more"
            notification.charge = charge
        return retry_ns, None, "the wait goes by backoff, jitter and the provider's hint"

    def _leave_budget(self, notification: Notification) -> None:
        """Give back what one has of its channel's budget that ends without an answer of a provider."""
        if notification.under_way is not None:
            self._end_attempt(notification, None)
        elif notification.charge:
            self.budgets[notification.command.channel].give_back(notification.charge, self.now_ns)
            notification.charge = 0

    # ── dead letters, fallbacks, redrives ───────────────────────────────────────────────────────────────────────

    def _dead_letter_as_decided(self, notification: Notification) -> None:
        assert notification.given_up is not None
        self._dead_letter(notification, notification.given_up, "its latest attempt was the last one")

    def _dead_letter(self, notification: Notification, reason: str, why: str, *about: Any) -> None:
        """ "attempts spent, permanent, expired → dead letter queue → admin alert" (2)."""
        self._leave_budget(notification)
        fields: dict[str, Any] = {"attempts": notification.attempts, "requested_at_ns": notification.waited_since_ns}
        fields |= {"reason": reason, "priority": notification.command.priority}
        event = self.event(NotificationMovedToDeadLetter, notification.command, **fields)
        letter = notification.letter(event)

        def bury(notification: Notification) -> None:
            self.follow("dlq", "", self.letters.add, letter)
            self._fall_back(notification)

        self.happens(event, notification, bury, why, *about)

    def _fall_back(self, notification: Notification) -> None:
        """What a channel has dead-lettered goes out on its `fallback`, once, with the id ``<id>/<channel>``."""
        command = notification.command
        fallback, expires_ns = self.world.channels[command.channel].fallback, notification.expires_at_ns
        recipient = None if fallback is None else command.addresses.get(fallback.channel)
        left_s = None if expires_ns is None else (expires_ns - self.now_ns) / NS_PER_S
        if fallback is None or recipient is None or (left_s is not None and left_s < 0):
            return
        name = f"{command.notification_id}/{fallback.channel}"
        if self.known(name) is not None or self.store.is_delivered(command.notification_id):
            return  # it fell back before it was redriven; or another one of its request was delivered
        changes: dict[str, Any] = {"notification_id": name, "channel": fallback.channel, "recipient": recipient}
        changes |= {"user_id": command.user, "expires_after": left_s, "not_before": None}
        other = msgspec.structs.replace(command, **changes)
        self.accept(other, False, instead_of=notification)

    def redrive(self, order: Redrive, place: int | None = None) -> None:
        """ "Redrive is idempotent" (7), waits for room (14), starts afresh and keeps the history (3)."""
        letter, name, without_operator = order.letter, order.letter.command.notification_id, order.without_operator
        if not self.has_room(order.priority):
            self.redrives[next(self._redrive_places) if place is None else place] = order
            return
        is_dead = self.has_letter(letter)
        is_served = is_dead and self.store.is_served(name, lambda other: other in self.admitted)
        if not is_dead or (is_served and order.served == "exclude"):
            if is_dead:
                self.follow("dlq", "", self.letters.put_back, letter)
            self.take_up_next_redrive()
            return
        since_ns = min(letter.requested_at_ns + letter.epoch_ns - self.epoch_ns, self.now_ns)
        notification = self.admitted[name] = Notification(letter.command, since_ns, self.now_ns, charged=True)
        notification.failures, notification.first_failed_ns = letter.history, letter.first_failure_ns + letter.epoch_ns
        notification.accepted, notification.edits = letter.accepted, letter.edits
        changes = {key: value for key, value in order.edit.items() if getattr(letter.command, key) != value}
        notification.edit(changes)
        notification.redriven_without_operator = letter.redriven_without_operator + without_operator
        fields = {"why": BREAKER_CLOSED, "without_operator": True} if without_operator else {}
        event = self.event(
            NotificationRedriven, letter.command, edit=changes, include_served=order.served == "include", **fields
        )
        why = "its breaker has closed, and it is its turn by redrive: {}" if without_operator else "it is asked for"
        self.happens(event, notification, self._take_up, why, self.ways[letter.command.channel].config.redrive)

    def take_up_next_redrive(self) -> None:
        """Have one that waits for room look whether there is any."""
        if self.redrives:
            _, place = min((RANKS[each.priority], place) for place, each in self.redrives.items())
            self.follow("handler", "", self.redrive, self.redrives.pop(place), place)
