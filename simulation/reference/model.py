"""The reference model: what happens to notifications, event by event, as the specification says.

One loop over time. The model is told what comes from outside (arrivals, what a provider makes of an attempt, crashes,
operators' orders) and keeps an agenda of what falls due. Of what is due at one instant the order is open, and the model
follows the product's; what follows from one thing follows before the next, first come, first served. Everything else it
knows: which event comes next, at which instant and with what in it. The first that differs is a `Difference`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from actors.instants import NS_PER_S, ns, sooner, wait_ns
from actors.messages import (
    DeferralCause,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from simulation.reference.backoff import Retrying, budget_of
from simulation.reference.channel import EXPIRED, Ended, Way, host_of
from simulation.reference.crashes import Backlog, Crashes, turn_that_waits
from simulation.reference.lane import Lane
from simulation.reference.letters import Letters
from simulation.reference.limits import Arrivals
from simulation.reference.notifications import Attempt, Letter, Notification, Store, address, state_after
from simulation.reference.people import NOT_WANTED, People
from simulation.reference.randomness import Stream
from simulation.reference.templates import Missing, filled_in
from simulation.reference.world import World

E = TypeVar("E", bound=NotificationEvent)

RETRY_TIME_UP = "retry time is up"
BUDGET_SPENT = "retry budget spent"
ADDRESS_GONE = "the address is gone"
TIMED_OUT = Ambiguous(reason="timed out")

Key = tuple[str, Any]
"""What falls due: a kind, and of what."""


class Difference(Exception):
    """The product does something else than the model: what, what was expected instead, and by which rule."""


class Asked(msgspec.Struct, frozen=True):
    """A provider is asked to deliver: no recorded event, but as good as one here."""

    at_ns: int
    provider: str
    attempt: int
    key: str
    """The idempotency key."""
    command: SendNotification


class Alerted(msgspec.Struct, frozen=True):
    """An administrator is told."""

    at_ns: int
    text: str


class Refused(msgspec.Struct, frozen=True):
    """An arrival is not accepted."""

    at_ns: int
    why: str


class Model:
    """The state of the service, and what is expected of it next."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_ns = 0
        self.epoch_ns = world.epoch_ns
        self.store = Store(ns(world.remember_ids), ns(world.commit_latency))
        self.people = People(world)
        self.due: dict[Key, int] = {}
        """What falls due when."""
        self._agenda: list[tuple[int, int, Key]] = []
        self._number = self._number_of_asked = 0
        self._following: deque[tuple[str, str, Callable[..., None], tuple[Any, ...]]] = deque()
        """What follows at this instant, in order: where, on which channel, and what."""
        self._handed_over: deque[tuple[str, str, Callable[..., None], tuple[Any, ...]]] = deque()
        """What was in the mailbox of an actor that has just been restarted: it comes before what follows."""
        self._expected: deque[tuple[Any, str, tuple[Any, ...]]] = deque()
        self.asked: dict[int, Attempt] = {}
        """By number, what is at a provider."""
        self.is_down = False
        """Whether the process is."""
        self.boot()
        for number, fault in enumerate(world.faults):
            if fault.crash is not None or fault.clock_step is not None:
                self.at(ns(fault.at), "inject", number)
        for number, operation in enumerate(world.operations):
            self.at(ns(operation.at), "operate", number)

    # ── the loop: what is due, what follows, what is expected ───────────────────────────────────────────────────

    def at(self, instant_ns: int, kind: str, what: Any) -> None:
        """Put on the agenda that something falls due; one in the past is now."""
        self._put((kind, what), max(instant_ns, self.now_ns))

    def wake(self, kind: str, channel: str, instant_ns: int | None) -> None:
        """Have the lines of a stage looked at then, and not at the instant set before; None: at none."""
        key = (kind, channel)
        if instant_ns is None:
            self.due.pop(key, None)
        elif self.due.get(key) != instant_ns:
            self._put(key, max(instant_ns, self.now_ns))

    def _put(self, key: Key, instant_ns: int) -> None:
        self.due[key] = instant_ns
        self._number += 1
        heapq.heappush(self._agenda, (instant_ns, self._number, key))

    def follow(self, place: str, channel: str, rule: Callable[..., None], *args: Any) -> None:
        """Have a rule applied at this instant, behind all that follows already."""
        self._following.append((place, channel, rule, args))

    def drop_what_follows(self) -> None:
        """Drop what was about to be done, as its process is gone."""
        self._following.clear()
        self._handed_over.clear()

    def first(self, mailbox: Iterable[tuple[Any, ...]]) -> None:
        """Have what was in a mailbox handled before all that follows."""
        self._handed_over.extend(mailbox)

    def expect(self, event: Any, why: str, *about: Any) -> None:
        """Expect an event next, by a rule in words."""
        self._expected.append((event, why, about))

    def _run(self) -> None:
        """Apply what follows until an event is expected. What is for an actor that is down waits in its mailbox."""
        while not self._expected and (self._handed_over or self._following):
            if self._handed_over and self._handed_over[0][2] is turn_that_waits:
                return
            self._apply_next()

    def _apply_next(self) -> None:
        step = (self._handed_over or self._following).popleft()
        mailbox = self.crashes.mailboxes.get(step[:2])
        if mailbox is not None:
            mailbox.append(step)
        else:
            step[2](*step[3])

    def settle(self, now_ns: int) -> None:
        """Let time pass: all that was to happen before has to have happened."""
        self._run()
        self._check_that_all_has_come()
        if self._handed_over:
            raise Difference(f"{_said(self._handed_over[0][3][0])} has waited in a mailbox and has not come")
        self.now_ns = now_ns
        while self._agenda and self._agenda[0][0] < now_ns:
            instant_ns, _, key = heapq.heappop(self._agenda)
            if self.due.get(key) != instant_ns:
                continue
            place = self.crashes.place_of(key)
            if place in self.crashes.mailboxes:
                del self.due[key]
                self.crashes.mailboxes[place].append((*place, turn_that_waits, (key,)))
            else:
                raise Difference(f"{_said(key)} was due at {instant_ns / NS_PER_S:.9f} s and has not come")

    def _check_that_all_has_come(self) -> None:
        if self._expected:
            event, why, about = self._expected[0]
            raise Difference(f"{shown(event)} is missing: {why.format(*about)}")

    def turn(self, kind: str, what: Any, now_ns: int, is_first: bool = True) -> None:
        """Take note that it is the turn of something that is due now.

        Args:
            kind: of it.
            what: it is about.
            now_ns: the instant.
            is_first: whether nothing else is under way at this instant; else it comes out of a mailbox.
        """
        key = (kind, what)
        waited = any(step[2] is turn_that_waits and step[3][0] == key for step in self._handed_over)
        if waited or not is_first:
            while self._handed_over and self._handed_over[0][2] is not turn_that_waits:
                self._apply_next()
                self._check_that_all_has_come()
            if waited and self._handed_over.popleft()[3][0] != key:
                raise Difference(f"{_said(key)} has come before what was in the mailbox before it")
        else:
            self.settle(now_ns)
        if waited:
            self._TURNS[kind](self, what)
            return
        instant_ns = self.due.get(key)
        if instant_ns == now_ns:
            del self.due[key]
        elif kind not in ("limiter", "breaker", "backlog", "ages", "other"):  # one look more does no harm
            due = "never" if instant_ns is None else f"due at {instant_ns / NS_PER_S:.9f} s"
            raise Difference(f"{_said(key)} has come at {now_ns / NS_PER_S:.9f} s; it is {due}")
        self._TURNS[kind](self, what)

    def compare(self, event: Any) -> None:
        """Compare what has happened with what is expected."""
        self._run()
        if not self._expected:
            raise Difference(f"nothing is expected now, and this has happened: {shown(event)}")
        expected, why, about = self._expected.popleft()
        if expected != event:
            reason = why.format(*about)
            raise Difference(
                f"{differing(expected, event)}\nrule: {reason}\nexpected: {shown(expected)}\ngot: {shown(event)}"
            )

    # ── what comes from outside ─────────────────────────────────────────────────────────────────────────────────

    def arrives(self, command: SendNotification, asks_for_room: bool) -> None:
        """Take a command that is sent to the service."""
        self.follow("handler", "", self.accept, command, asks_for_room)

    def is_asked(self, asked: Asked, outcome: Outcome | None, delay_ns: int | None) -> int:
        """Compare an attempt at a provider with the one expected, and take what the provider makes of it.

        Args:
            asked: the attempt.
            outcome: what it answers. None: that is not known yet.
            delay_ns: after how long. None: that is not known yet.

        Returns: a number that the attempt has until its answer comes.
        """
        self.compare(asked)
        number = self._number_of_asked
        attempt = self.asked[number]
        timeout_ns = self.ways[attempt.command.channel].lanes[attempt.lane].timeout_ns
        if delay_ns is None or delay_ns > timeout_ns:
            # An answer at the instant of the time-out counts.
            delay_ns, outcome = timeout_ns, TIMED_OUT
        self._answers[number] = outcome
        self.at(self.now_ns + delay_ns, "answer", number)
        return number

    def answers_now(self, number: int, outcome: Outcome, now_ns: int) -> None:
        """Take the answer of a provider that could not be foreseen."""
        if number in self.asked and self._answers.get(number) is TIMED_OUT:
            self._answers[number] = outcome
            self._put(("answer", number), now_ns)

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────────

    def boot(self) -> None:
        """Start a process over the store: what was in memory is as new."""
        self.admitted: dict[str, Notification] = {}
        """What is accepted and has not ended, by id."""
        self._answers: dict[int, Outcome | None] = {}
        self.asked.clear()
        self.commits: dict[str, tuple[NotificationEvent, Notification, str, tuple[Any, ...], Any]] = {}
        """By notification, what is not durable yet."""
        self.crashes = Crashes(self)
        self.arrivals = {channel: Arrivals() for channel in self.world.channels}
        self.ways = {
            channel: Way(self, channel, config, self.arrivals[channel])
            for channel, config in self.world.channels.items()
        }
        self.letters = Letters(self)
        self.forget_what_the_handler_had()
        self.follow("dlq", "", self.letters.begin)
        self.follow("handler", "", self.resume)

    def forget_what_the_handler_had(self) -> None:
        """A handler that starts knows what is in the store; its budgets and the streams of its jitter are as new."""
        channels, seed = self.world.channels, self.world.seed
        self.retrying = {each: Retrying(own.retry, Stream(seed, f"{each}.backoff")) for each, own in channels.items()}
        self.budgets = {each: budget_of(own.retry.budget) for each, own in channels.items()}
        self.backlog = Backlog(self)
        self.admitted = {
            name: state_after(entry.command, entry.events, self.epoch_ns, self.now_ns)
            for name, entry in self.store.open.items()
        }
        for name, (_, notification, *_) in self.commits.items():
            self.admitted[name] = notification
            notification.charge = 0

    def resume(self) -> None:
        """ "After a restart only what is overdue is paced" (19); what waits for its time goes on at its time."""
        for way in self.ways.values():
            way.follow_flush()
        waiting = [each for name, each in self.admitted.items() if name not in self.commits]
        for notification in sorted(waiting, key=_due_since_ns):
            if notification.given_up is None and _due_since_ns(notification) <= self.now_ns:
                self.backlog.add(notification, self.last_start_ns(notification))
            else:
                self._take_up(notification)
        self.backlog.look()
        self.letters.take_up_all_redrives()

    def send_again(self, channel: str) -> None:
        """A stage has lost its state: what was under way there is sent again, and what it answers yet is stale."""
        self.ways[channel].follow_flush()
        for notification in list(self.admitted.values()):
            attempt = notification.under_way
            if attempt is None or notification.command.channel != channel:
                continue
            if self.is_wanted(notification.command):
                notification.charged = attempt.charged
                self.send(notification)
            else:
                self.requeue(notification, attempt.charged)

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────

    def accept(self, command: SendNotification, asks_for_room: bool, instead_of: Notification | None = None) -> None:
        """ "The same `notification_id` is sent once; the same id with a different payload is a conflict, reported" (6).

        "Room is asked once, at the door": of what an event or a fallback gives rise to it is not asked (14).
        """
        name, now_ns = command.notification_id, self.now_ns
        known = (
            self.admitted[name].known_as if name in self.admitted else self.store.known(name, now_ns + self.epoch_ns)
        )
        if known is not None:
            self._duplicate(command, known != command)
            return
        if asks_for_room and not self.has_room(command.critical):
            self.expect(Refused(now_ns, "overloaded"), "max_pending: {} are pending", len(self.admitted))
            return
        arrivals, way = self.arrivals[command.channel], self.ways[command.channel]
        arrivals.add(None, now_ns)
        if way.is_per_host:
            arrivals.add(host_of(command.recipient), now_ns)
        since_ns = now_ns if instead_of is None else instead_of.waited_since_ns
        self.admitted[name] = notification = Notification(command, since_ns, now_ns)
        fields = (
            {}
            if instead_of is None
            else {"instead_of": instead_of.command.notification_id, "waited_since_ns": since_ns}
        )
        event = self._event(NotificationRequested, command, user_id=command.user, **fields)
        self._happens(event, notification, "it has arrived, and its id is new", then=self.prepare)

    def has_room(self, critical: bool) -> bool:
        """ "`max_pending` bounds what is accepted and has not ended"; the last twentieth is for critical ones."""
        most = self.world.max_pending
        return most is None or len(self.admitted) < (most if critical else most - most // 20)

    def _duplicate(self, command: SendNotification, conflict: bool) -> None:
        event = self._event(DuplicateIgnored, command, conflict=conflict)
        self.expect(event, "its id is known (remember_ids: {} s)", self.world.remember_ids)

    # ── an event happens: made durable, recorded, and only then anything follows ────────────────────────────────

    def _event(self, event: type[E], command: SendNotification, **fields: Any) -> E:
        return event(
            at_ns=self.now_ns,
            epoch_ns=self.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            **fields,
        )

    def _happens(
        self,
        event: NotificationEvent,
        notification: Notification,
        why: str,
        *about: Any,
        then: Callable[[Notification], None] | None = None,
    ) -> None:
        """ "Record first, announce afterwards" (2): nothing follows from a change before it is durable."""
        self.store.keep(event, notification.command)
        change = event, notification, why, about, then
        if self.world.commit_latency:
            self.commits[event.notification_id] = change
            self.at(self.now_ns + ns(self.world.commit_latency), "commit", event.notification_id)
        else:
            self._has_happened(*change)

    def _is_durable(self, name: str) -> None:
        self._has_happened(*self.commits.pop(name))

    def _has_happened(
        self,
        event: NotificationEvent,
        notification: Notification,
        why: str,
        about: tuple[Any, ...],
        then: Callable[[Notification], None] | None,
    ) -> None:
        if isinstance(event, (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)):
            self.admitted.pop(event.notification_id, None)
            self.letters.take_up_next_redrive()
        self.expect(event, why, *about)
        if then is not None:
            then(notification)

    # ── whether it may go now ───────────────────────────────────────────────────────────────────────────────────

    def prepare(self, notification: Notification) -> None:
        """ "handler: idempotency → preferences, quiet hours → template" (2)."""
        command = notification.command
        if address(command) in self.store.gone:
            self._suppress(notification, ADDRESS_GONE, "a provider has said that the address is gone")
            return
        until_ns = self.people.wanted_from(command, self.now_ns, self.epoch_ns)
        if until_ns is NOT_WANTED:
            self._suppress(notification, "switched off by the user", "preferences: the user has switched it off")
        elif until_ns is None or until_ns <= self.now_ns:
            self.send(notification)
        elif notification.expires_at_ns is not None and until_ns > notification.expires_at_ns:
            self.dead_letter(notification, EXPIRED, "quiet_hours end only after it has expired")
        else:
            notification.due_ns = until_ns
            event = self._event(NotificationDeferred, command, cause=DeferralCause.QUIET_HOURS, resumes_at_ns=until_ns)
            self._happens(event, notification, "its user has quiet_hours", then=self._wait)

    def is_wanted(self, command: SendNotification) -> bool:
        """Tell whether a user wants this now: asked again when its turn comes after a wait."""
        wanted_ns = self.people.wanted_from(command, self.now_ns, self.epoch_ns)
        return wanted_ns is None or (wanted_ns is not NOT_WANTED and wanted_ns <= self.now_ns)

    def _suppress(self, notification: Notification, reason: str, why: str) -> None:
        """ "Off means a `NotificationSuppressed`, not silence" (6)."""
        self._settle_budget(notification)
        event = self._event(NotificationSuppressed, notification.command, reason=reason)
        self._happens(event, notification, why, then=self._fall_back if reason == ADDRESS_GONE else None)

    def _wait(self, notification: Notification) -> None:
        assert notification.due_ns is not None
        self.at(notification.due_ns, "go-on", notification.command.notification_id)

    def _go_on(self, name: str) -> None:
        notification = self.admitted[name]
        notification.due_ns = None
        self.prepare(notification)

    # ── an attempt ──────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, notification: Notification) -> None:
        """Send an attempt on its way, unless its time is up."""
        command = notification.command
        until_ns = self.last_start_ns(notification)
        if until_ns is not None and self.now_ns > until_ns:
            why = "its last start was at {:.9f} s (expires_after, fallback.after or max_elapsed)"
            self.dead_letter(notification, self._reason_of_expiry(notification), why, until_ns / NS_PER_S)
            return
        try:
            command = filled_in(command, self.world.templates, self.world.platform)
        except Missing as missing:
            self.dead_letter(notification, str(missing), "a missing variable is a permanent failure that names it")
            return
        attempt = Attempt(command, notification.attempts + 1, notification.charged, until_ns, notification.edits)
        notification.charged = True
        if notification.under_way is None:
            self.budgets[command.channel].begin(notification.charge, self.now_ns)
        notification.under_way = attempt
        self.backlog.pass_by(command.channel)
        way = self.ways[command.channel]
        if way.limit is None:
            self.follow("breaker", command.channel, way.ask, attempt)
        else:
            self.follow("limiter", command.channel, way.enter, attempt)

    def last_start_ns(self, notification: Notification) -> int | None:
        """Return the last instant for the next attempt; `fallback.after` runs from when it first sets out, or resumes."""
        fallback = self.world.channels[notification.command.channel].fallback
        if fallback is not None and fallback.after is not None and notification.falls_back_ns is None:
            notification.falls_back_ns = self.now_ns + wait_ns(fallback.after)
        until_ns = notification.sent_until_ns
        if not notification.attempts:
            return until_ns
        return sooner(until_ns, self.retrying[notification.command.channel].last_start_ns(notification.fresh_since_ns))

    def _reason_of_expiry(self, notification: Notification) -> str:
        """The bound that is the first to pass; the time for retries bounds no first attempt."""
        until_ns = notification.sent_until_ns
        last_ns = self.retrying[notification.command.channel].last_start_ns(notification.fresh_since_ns)
        is_retry_time = notification.attempts and last_ns is not None and (until_ns is None or last_ns < until_ns)
        return RETRY_TIME_UP if is_retry_time else EXPIRED

    def make(self, way: Way, lane: Lane, attempt: Attempt) -> None:
        """Ask the provider: what it answers, and when, comes from outside."""
        attempt.started_ns = self.now_ns
        self._number_of_asked += 1
        self.asked[self._number_of_asked] = attempt
        name = attempt.command.notification_id
        key = f"{name}/edit-{attempt.edits}" if attempt.edits else name
        asked = Asked(self.now_ns, lane.provider_name, attempt.number, key, attempt.command)
        self.expect(asked, "{} has passed all that stands before {}", attempt.name, lane.name)

    def _is_answered(self, number: int) -> None:
        attempt, outcome = self.asked.pop(number), self._answers.pop(number)
        assert outcome is not None
        self.ways[attempt.command.channel].answered(attempt, outcome)

    # ── what follows from its outcome ───────────────────────────────────────────────────────────────────────────

    def _of(self, attempt: Attempt) -> Notification | None:
        """Return the notification whose attempt under way this is; None: an answer to it is stale."""
        notification = self.admitted.get(attempt.command.notification_id)
        return notification if notification is not None and notification.under_way is attempt else None

    def answered(self, attempt: Attempt, outcome: Outcome) -> None:
        """ "sent → NotificationSent; transient → NotificationFailed → retry after backoff" (2)."""
        notification = self._of(attempt)
        if notification is None:
            return
        channel = attempt.command.channel
        self.budgets[channel].end(notification.charge, outcome, self.now_ns)
        notification.charge = 0
        lane = self.ways[channel].lanes[attempt.lane]
        if not isinstance(outcome, Sent):
            self._failed(notification, outcome, attempt.started_ns, lane)
            return
        notification.under_way = None
        event = self._event(
            NotificationSent,
            notification.command,
            attempt=notification.attempts + 1,
            started_ns=attempt.started_ns,
            requested_at_ns=notification.waited_since_ns,
            provider=lane.provider,
        )
        self._happens(event, notification, "the provider has taken it")

    def turned_away(self, attempt: Attempt, end: Ended) -> None:
        """Take back an attempt that was not made, with an outcome of our own or a reason to end."""
        notification = self._of(attempt)
        if notification is None:
            return
        if end.outcome is None:
            reason = self._reason_of_expiry(notification) if end.reason == EXPIRED else end.reason
            self.dead_letter(notification, reason, "it can no longer be in time, or its limit drops what exceeds it")
            return
        self.budgets[attempt.command.channel].end(notification.charge, None, self.now_ns)
        notification.charge = 0
        self._failed(notification, end.outcome, self.now_ns, None)

    def requeued(self, attempt: Attempt, charged: bool) -> None:
        """ "A notification in quiet hours is scheduled for their end and checked again then": also one that waited."""
        notification = self._of(attempt)
        if notification is not None:
            self.requeue(notification, charged)

    def requeue(self, notification: Notification, charged: bool) -> None:
        """Take back an attempt that is not wanted now."""
        self.budgets[notification.command.channel].end(notification.charge, None, self.now_ns)
        notification.charge = 0
        notification.under_way, notification.charged = None, charged
        self.prepare(notification)

    def _failed(self, notification: Notification, outcome: Outcome, started_ns: int, lane: Lane | None) -> None:
        """ "`NotificationFailed` (every failed attempt, the last one too)" (1); then a wait, or the dead letter queue."""
        notification.under_way = None
        command = notification.command
        if isinstance(outcome, ChannelFault):
            text = f"Channel {command.channel} is broken: {outcome.reason}"
            self.follow("alert", "", self.letters.alert, ("broken", command.channel, outcome.reason), text)
        retry_ns, given_up, why = self._retry(notification, outcome)
        event = self._event(
            NotificationFailed,
            command,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=notification.attempts,
            started_ns=started_ns,
            next_retry_at_ns=retry_ns,
            answer=outcome.answer,
            throttled=isinstance(outcome, Transient) and outcome.throttled,
            given_up=given_up,
            provider=None if lane is None else lane.provider,
            refused=lane is None,
        )
        notification.failures += (event,)
        notification.given_up, notification.due_ns = given_up, retry_ns
        retry = self.world.channels[command.channel].retry
        then = self._wait if given_up is None else self._dead_letter_as_decided
        self._happens(event, notification, why + " (retry: {})", retry, then=then)

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
            self._recall(notification)
        if not isinstance(outcome, ChannelFault):
            notification.attempts += 1
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
            if self.world.channels[channel].retry.budget is not None:
                notification.charge = charge
        return retry_ns, None, "the wait is by backoff, jitter and the provider's hint"

    def _recall(self, notification: Notification) -> None:
        """After a restart the progress of a notification is what its history tells."""
        counted = [failed for failed in notification.failures if failed.kind != "ChannelFault"]
        for failed in counted[-notification.attempts :] if notification.attempts else ():
            outcome = (
                Ambiguous(reason=failed.reason)
                if failed.kind == "Ambiguous"
                else Transient(reason=failed.reason, throttled=failed.throttled)
            )
            assert failed.next_retry_at_ns is not None
            waited_ns = failed.next_retry_at_ns - failed.at_ns
            self.retrying[notification.command.channel].recall(outcome, waited_ns, notification.progress)

    def _settle_budget(self, notification: Notification) -> None:
        """Give back what one has of its channel's budget that ends without an answer of a provider."""
        budget = self.budgets[notification.command.channel]
        if notification.under_way is not None:
            budget.end(notification.charge, None, self.now_ns)
        elif notification.charge:
            budget.give_back(notification.charge, self.now_ns)
        notification.charge = 0

    # ── dead letters and fallbacks ──────────────────────────────────────────────────────────────────────────────

    def _dead_letter_as_decided(self, notification: Notification) -> None:
        assert notification.given_up is not None
        self.dead_letter(notification, notification.given_up, "its latest attempt was the last one")

    def dead_letter(self, notification: Notification, reason: str, why: str, *about: Any) -> None:
        """ "attempts spent, permanent, expired → NotificationMovedToDeadLetter → dead letter queue → admin alert" (2)."""
        self._settle_budget(notification)
        notification.under_way = None
        event = self._event(
            NotificationMovedToDeadLetter,
            notification.command,
            reason=reason,
            attempts=notification.attempts,
            requested_at_ns=notification.waited_since_ns,
        )
        letter = Letter(notification.command, event, notification.failures, notification.accepted, notification.edits)

        def bury(notification: Notification) -> None:
            self.follow("dlq", "", self.letters.add, letter)
            self._fall_back(notification)

        self._happens(event, notification, why, *about, then=bury)

    def _fall_back(self, notification: Notification) -> None:
        """ "A fallback for each dead letter": on the channel's `fallback`, with the id ``<id>/<channel>``, once."""
        command = notification.command
        fallback = self.world.channels[command.channel].fallback
        recipient = None if fallback is None else command.addresses.get(fallback.channel)
        if fallback is None or recipient is None:
            return
        expires_ns = notification.expires_at_ns
        left_s = None if expires_ns is None else (expires_ns - self.now_ns) / NS_PER_S
        if left_s is not None and left_s < 0:
            return
        name = f"{command.notification_id}/{fallback.channel}"
        known = name in self.admitted or self.store.known(name, self.now_ns + self.epoch_ns) is not None
        if known:
            return  # it fell back before it was redriven
        other = SendNotification(
            notification_id=name,
            channel=fallback.channel,
            recipient=recipient,
            message=command.message,
            subject=command.subject,
            metadata=command.metadata,
            user_id=command.user,
            critical=command.critical,
            expires_after=left_s,
            addresses=command.addresses,
        )
        self.accept(other, False, instead_of=notification)

    def redriven(self, notification: Notification, *, include_served: bool) -> None:
        """Take a dead letter up again."""
        event = self._event(NotificationRedriven, notification.command, include_served=include_served)
        self._happens(event, notification, "an operator has asked for it", then=self._take_up)

    def _take_up(self, notification: Notification) -> None:
        """Go on with what was not under way."""
        if notification.given_up is not None:
            self._dead_letter_as_decided(notification)
        elif notification.due_ns is None:
            self.prepare(notification)
        else:
            self._wait(notification)

    def alerted(self, text: str) -> None:
        """Expect that an administrator is told."""
        self.expect(Alerted(self.now_ns, text), "one alert for each channel and reason in five minutes")

    # ── faults and orders of the scenario ───────────────────────────────────────────────────────────────────────

    def _inject(self, number: int) -> None:
        """ "Clock steps in wall time" (10): instants and waits stay, the calendar moves. And crashes."""
        fault = self.world.faults[number]
        if fault.clock_step is not None:
            self.epoch_ns += ns(fault.clock_step)
        if self.is_down:
            return
        if fault.crash == "process":
            self.crashes.of_process(fault)
        elif fault.crash is not None:
            self.crashes.of_actors(fault)

    def _operate(self, number: int) -> None:
        """Do what an operator of the scenario orders; while the process is down it is lost."""
        operation = self.world.operations[number]
        if self.is_down:
            return
        if operation.breaker is not None:
            for channel in operation.channel:
                if channel in self.ways:
                    self.follow("breaker", channel, self.ways[channel].operate, operation.breaker, operation.provider)
            return
        which = operation.redrive or operation.discard
        for name, letter, _ in self.letters.there_are():
            if operation.channel is not None and letter.command.channel not in operation.channel:
                continue
            if which != "all" and which.reason not in letter.moved.reason:
                continue
            if operation.redrive is not None:
                self.follow("dlq", "", self.letters.ask_redrive, name, operation.served)
            else:
                self.follow("dlq", "", self.letters.ask_discard, name, "discarded by the operator")

    _TURNS: dict[str, Callable[[Any, Any], None]] = {
        "answer": _is_answered,
        "go-on": _go_on,
        "limiter": lambda self, channel: self.ways[channel].look_at_users(),
        "breaker": lambda self, channel: self.ways[channel].look(),
        "commit": _is_durable,
        "discarded": lambda self, name: self.letters.is_discarded(name),
        "backlog": lambda self, _: self.backlog.look(),
        "restart": lambda self, place: self.crashes.restart(place),
        "back": lambda self, _: self.crashes.start_process(),
        "ages": lambda self, _: self.letters.look_at_ages(),
        "inject": _inject,
        "operate": _operate,
        "other": lambda self, _: None,
    }


def _due_since_ns(notification: Notification) -> int:
    return notification.fresh_since_ns if notification.due_ns is None else notification.due_ns


def _said(key: Key) -> str:
    kind, what = key
    if isinstance(what, Notification):
        what = what.command.notification_id
    return f"the turn of {what!r} ({kind})"


def shown(event: Any) -> str:
    """Return an event in one line: its kind, its instant, and what it says."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("at_ns", "epoch_ns")}
    text = ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None)
    return f"{type(event).__name__} at {event.at_ns / NS_PER_S:.9f} s ({text})"


def differing(expected: Any, got: Any) -> str:
    """Return in what two events differ."""
    if type(expected) is not type(got):
        return f"a {type(expected).__name__} is expected, not a {type(got).__name__}"
    names = [name for name in expected.__struct_fields__ if getattr(expected, name) != getattr(got, name)]
    return "; ".join(f"{name} should be {getattr(expected, name)}, not {getattr(got, name)}" for name in names)
