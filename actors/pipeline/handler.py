"""The handler: owns every notification from its acceptance to its end, and decides about retries.

It accepts a command once (idempotency), asks for preferences and quiet hours, fills in the template, sends an attempt
on its way and, when the outcome is back, ends the notification or sets the timer of the next attempt. Each change is
committed to the store, recorded, and announced on the bus, in this order, before anything follows from it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from actors.domain.attempts import EXPIRED, Admitted, Attempt, FlushQueue, Refused, Rejected, Requeued
from actors.domain.delivery import Delivery, dead_letter, redriven, state_after
from actors.domain.store import LeaseLost, LeaseRenewed, LettersChanged, Store, Takeover
from actors.errors import (
    NOT_ACCEPTED,
    IdempotencyConflict,
    Overtaken,
    StoreBusy,
    StoreFailed,
    TemplateError,
    UnknownChannel,
    Unstorable,
)
from actors.instants import sooner
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Performed
from actors.kernel.supervision import Restarted
from actors.messages import (
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import ChannelFault, Outcome, Sent, Transient
from actors.pipeline import isolation
from actors.pipeline.agenda import LOOK_AT_BACKLOG, Agenda, GoOn, LookAtBacklog, due_since_ns
from actors.pipeline.alert import ChannelBroken, TemplateUnusable
from actors.pipeline.cancelling import CANCELLING, Cancelling, OfCancelling
from actors.pipeline.commits import Commit
from actors.pipeline.endpoint_watch import EndpointWatch
from actors.pipeline.fallback import Fallbacks
from actors.pipeline.filling import Filling, until_looked_at
from actors.pipeline.intake import Intake
from actors.pipeline.journal import Journal
from actors.pipeline.orders import Acceptance, Redrive, Submit
from actors.pipeline.preferences import Preferences
from actors.pipeline.readiness import ADDRESS_GONE, NotBefore, Readiness, Undeliverable, Unwanted
from actors.pipeline.retries import Retries, succeeded
from actors.pipeline.retry_budgets import RetryBudgets
from actors.pipeline.templates import Templates
from actors.pipeline.wiring import Stages, Wiring
from actors.settings.channel import ChannelConfig

logger = logging.getLogger(__name__)


class Handler(Actor):
    """Accepts notifications and brings each of them to an end.

    When it is restarted it resumes every notification where the store says that it is, and what is due already at a
    pace. What was under way in the stages is sent again and their answers to the old attempt are stale, so that nothing
    is lost; an attempt that was at the provider then reaches it twice, with the same id. Its retry budgets start anew.
    """

    supervision = Supervision(then="escalate")

    def __init__(
        self,
        channels: Mapping[NotificationChannel, ChannelConfig],
        wiring: Wiring,
        store: Store,
        preferences: Preferences | None = None,
        templates: Templates | None = None,
    ) -> None:
        super().__init__()
        self._node_number = self.process.node_number
        self._wiring = wiring
        self._stages = wiring.stages
        self._commits = wiring.commits
        self._store = store
        self._endpoints = EndpointWatch(channels, store.endpoints)
        self._readiness = Readiness(self.system, store.suppressions, self._endpoints, preferences)
        self._filling = None if templates is None else Filling(templates, wiring)
        has_budgets = any(config.retry.budget is not None for config in channels.values())
        self._budgets = RetryBudgets(channels) if has_budgets else None
        self._retries = Retries(channels, self._budgets, self.stream)
        for channel, stages in wiring.stages.items():
            budget = None if self._budgets is None else self._budgets.of(channel)
            fill_in = None if self._filling is None else self._filling.fill_in
            stages.attend(budget, self._is_current, self._readiness.is_wanted, fill_in, store.lease_holds)
        self._lease_holds = store.lease_holds
        self._fallbacks = Fallbacks(channels) if any(config.fallback for config in channels.values()) else None
        self._channels_bound_starts = self._fallbacks is not None or self._retries.bound_time
        """Whether anything but the expiry of a command says until when an attempt may start."""
        self._entrances: dict[NotificationChannel, Callable[[Any], None]] = {}
        # Loaded here and not in on_start, so that while it waits to start again nothing seems to have ended.
        self._deliveries = {
            each.command.notification_id: each for each in store.open_deliveries(self.epoch_ns, self.now_ns)
        }
        for delivery in self._deliveries.values():
            isolation.take_care(delivery, self._store, self.now_ns)
        for notification_id, commit in self._commits.under_way.items():
            self._deliveries[notification_id] = commit.delivery
            commit.delivery.charge_retry(0)  # the budget that it was charged to is gone
        self._agenda = Agenda(self, wiring, self._deliveries)
        self._wait = self._agenda.wait_for_instant
        self._journal = Journal(self, store, wiring, self._deliveries)
        self._commit = self._journal.commit
        self.intake = Intake(self.system, store, wiring, self._journal, self._deliveries)
        """To be asked whether there is room."""
        self._cancelling = Cancelling(self.system, self._journal, wiring, self._budgets, self._deliveries)

    def count_in_flight(self) -> int:
        """Return how many notifications are accepted and have not ended."""
        return len(self._deliveries) - self._commits.opening_count

    def count_by_channel(self) -> Counter[NotificationChannel]:
        """Return how many of them there are on each channel."""
        return Counter(
            delivery.command.channel
            for notification_id, delivery in self._deliveries.items()
            if self._commits.opening(notification_id) is None
        )

    def has_any(self) -> bool:
        """Tell whether a notification is in flight, or will be when its acceptance or redrive is durable."""
        return bool(self._deliveries or self._wiring.redrives.taken)

    def is_in_flight(self, notification_id: str) -> bool:
        """Tell whether a notification is accepted, or about to be, and has not ended."""
        return notification_id in self._deliveries

    # ── starting, and starting again ────────────────────────────────────────────────────────────────────────────

    def on_start(self) -> None:
        assert self._wiring.dead_letter_queue is not None
        assert self._wiring.alert is not None
        self._to_dead_letter_queue = self.route(self._wiring.dead_letter_queue)
        self._to_alert = self.route(self._wiring.alert)
        for channel, stages in self._stages.items():
            self._entrances[channel] = self.route(stages.entrance)
            for ref in stages.actors:
                self.watch(ref)
            self._flush_stages(stages)
        under_way = self._commits.under_way  # which go on when their commits are done
        self._resume([delivery for each, delivery in self._deliveries.items() if each not in under_way])
        for _ in range(len(self._wiring.redrives)):
            self._journal.take_up_next_redrive()

    def _resume(self, deliveries: Iterable[Delivery]) -> None:
        """Go on with what comes from the store: with what is due already at a pace, with the rest at its time."""
        for delivery in sorted(deliveries, key=due_since_ns):
            is_to_be_sent = delivery.given_up is None and delivery.command.channel in self._stages
            if is_to_be_sent and due_since_ns(delivery) <= self.now_ns:
                self._agenda.wait_for_turn(delivery, self._last_start_ns(delivery))
            else:
                self._take_up(delivery)
        self.on_look_at_backlog()

    @handles(LookAtBacklog)
    def on_look_at_backlog(self, _: LookAtBacklog = LOOK_AT_BACKLOG) -> None:
        """Go on with those of the backlog whose turn it is. One look more does no harm."""
        for delivery in self._agenda.turns():
            self._prepare(delivery)

    def _take_up(self, delivery: Delivery) -> None:
        """Go on with what was not in the pipeline; it may have been accepted under other settings."""
        if delivery.given_up is not None:
            self._dead_letter_as_decided(delivery)
        elif delivery.command.channel not in self._stages:
            self._dead_letter(delivery, f"channel {delivery.command.channel} is not configured")
        elif delivery.due_ns is None:
            self._prepare(delivery)
        else:
            self._wait(delivery)

    def _flush_stages(self, stages: Stages) -> None:
        stages.entrance.tell(FlushQueue())  # along the way of the attempts, so that it overtakes none of them

    @handles(Restarted)
    def on_stage_restarted(self, restarted: Restarted) -> None:
        """Send again what was under way in a stage that has lost its state; what it may still answer is stale."""
        for channel, stages in self._stages.items():
            if restarted.ref in stages.actors:
                self._flush_stages(stages)
                for delivery in list(self._deliveries.values()):
                    if delivery.current is not None and delivery.command.channel == channel:
                        delivery.note_charged(delivery.current.charged)  # perhaps it never came to the limiter
                        if stages.is_wanted is not None and not stages.is_wanted(delivery.command):
                            self._requeue(delivery, delivery.charged)
                        else:
                            self._send(delivery)

    @handles(Takeover)
    def on_takeover(self, taken: Takeover) -> None:
        """Go on with what another node had, as after a restart."""
        deliveries = []
        for history in taken.histories:
            notification_id = history.command.notification_id
            delivery = state_after(history.command, history.events, self.epoch_ns, self.now_ns)
            isolation.take_care(delivery, self._store, self.now_ns)
            if (commit := self._commits.opening(notification_id)) is not None:
                commit.meets(delivery)
            elif notification_id not in self._deliveries and notification_id in self._store.open_ids():
                # Else it has been loaded meanwhile, and perhaps has ended.
                self._deliveries[notification_id] = delivery
                deliveries.append(delivery)
        self._resume(deliveries)

    @handles(LeaseRenewed)
    def on_lease_renewed(self, _: LeaseRenewed) -> None:
        """Go on with what waits for the lease, which may have expired or be unwanted by now."""
        self._resume(self._agenda.lease_is_back())

    @handles(LeaseLost)
    def on_lease_lost(self, lost: LeaseLost) -> None:
        self._journal.has_failed(StoreFailed(lost.why))

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────

    @handles(SendNotification)
    def on_send_notification(self, command: SendNotification) -> Acceptance:
        """Accept a command that was sent with `tell`. There is no caller to raise to, so a refusal is logged."""
        try:
            return self.intake.accept(command, self._prepare)
        except NOT_ACCEPTED as error:
            logger.error("not accepted: %s", error)
            return Acceptance.REFUSED

    @handles(Submit)
    def on_submit(self, submit: Submit) -> None:
        """Accept a command, and answer when that is durable."""

        def go_on(delivery: Delivery) -> None:
            submit.answer.set(Acceptance.ACCEPTED)
            self._prepare(delivery)

        try:
            acceptance = self.intake.accept(
                submit.command, go_on, asks_for_room=not submit.follows_event, traceparent=submit.traceparent
            )
            commit = self._commits.opening(submit.command.notification_id) if self._commits.under_way else None
            if commit is None:  # it is durable already
                if acceptance is Acceptance.DUPLICATE:
                    submit.answer.set(Acceptance.DUPLICATE)
            elif acceptance is Acceptance.ACCEPTED:
                commit.answers(submit.answer)
            elif self._store.is_busy and not submit.follows_event:
                raise StoreBusy
            else:
                commit.duplicates.append(submit.answer)
        except NOT_ACCEPTED:
            submit.answer.set_exception()
        except StoreFailed:
            submit.answer.set_exception()
            raise

    # ── preferences and quiet hours ─────────────────────────────────────────────────────────────────────────────

    def _prepare(self, delivery: Delivery) -> None:
        """Ask for preferences and quiet hours, then send the next attempt on its way."""
        obstacle = self._readiness.obstacle(delivery.command)
        if obstacle is None:
            self._send(delivery)
        elif isinstance(obstacle, Unwanted):
            self._suppress(delivery, obstacle.reason)
        elif isinstance(obstacle, Undeliverable):
            self._dead_letter(delivery, obstacle.reason)
        else:
            self._defer(delivery, obstacle)

    def _suppress(self, delivery: Delivery, reason: str) -> None:
        if self._budgets is not None:
            self._budgets.settle(delivery, self.system.now_ns)
        event = self._journal.event(NotificationSuppressed, delivery.command, reason=reason)
        falls_back = reason is ADDRESS_GONE and not self._store.is_delivered(event.notification_id)
        self._commit(event, delivery, self._fall_back if falls_back else None)

    def _defer(self, delivery: Delivery, obstacle: NotBefore) -> None:
        """Wait for the end of quiet hours; or for preferences that raised, which is no event of a notification."""
        due_ns = obstacle.instant_ns
        if delivery.expires_at_ns is not None and due_ns > delivery.expires_at_ns:
            self._dead_letter(delivery, EXPIRED)
            return
        delivery.wait_until(due_ns)
        if obstacle.is_quiet:
            quiet = {"cause": DeferralCause.QUIET_HOURS, "resumes_at_ns": due_ns}
            self._commit(self._journal.event(NotificationDeferred, delivery.command, **quiet), delivery, self._wait)
        else:
            self._wait(delivery)

    @handles(GoOn)
    def on_go_on(self, message: GoOn) -> None:
        if self._agenda.goes_on(message.delivery):
            self._prepare(message.delivery)

    @handles(*CANCELLING)
    def on_cancel(self, order: OfCancelling) -> None:
        self._cancelling.carry_out(order)

    # ── an attempt, and its outcome ─────────────────────────────────────────────────────────────────────────────

    def _send(self, delivery: Delivery) -> None:
        if self._lease_holds is not None and not self._lease_holds():
            self._take_back(delivery)  # whoever asks for another attempt knows that the one under way is lost
            self._agenda.wait_for_lease(delivery)
            return
        command = delivery.command
        until_ns = wanted_until_ns = None
        if self._channels_bound_starts or command.expires_after is not None:
            until_ns, wanted_until_ns = self._last_start_ns(delivery), delivery.expires_at_ns
            if until_ns is not None and self.system.now_ns > until_ns:
                self._dead_letter(delivery, self._retries.reason_of_expiry(delivery))
                return
        if command.metadata and self._filling is not None and "template" in command.metadata:
            try:
                command = self._filling.command_of(delivery)
            except TemplateError as error:
                self._cannot_fill_in(delivery, error)
                return
        if self._budgets is not None and delivery.current is None:  # else it is sent again, and is under way already
            self._budgets.set_out(delivery, self.system.now_ns)
        attempt = delivery.set_out(command, until_ns, wanted_until_ns, self._node_number)
        if self._agenda.rooms:
            self._agenda.charge(command.channel)
        self._entrances[command.channel](attempt)

    def _cannot_fill_in(self, delivery: Delivery, error: TemplateError) -> None:
        if (obstacle := until_looked_at(delivery, error, self.system.now_ns)) is None:
            self._dead_letter(delivery, str(error))
            return
        self._take_back(delivery)
        self._to_alert(TemplateUnusable(channel=delivery.command.channel, reason=str(error)))
        self._defer(delivery, obstacle)

    def _take_back(self, delivery: Delivery) -> None:
        """End the attempt under way, if there is one, which no provider has answered."""
        if delivery.current is not None:
            if self._budgets is not None:
                self._budgets.attempt_has_ended(delivery, None, self.system.now_ns)
            delivery.take_back()

    def _last_start_ns(self, delivery: Delivery) -> int | None:
        """Return the last instant at which the next attempt may start; a time limit of this channel runs from now."""
        command = delivery.command
        if self._fallbacks is not None and delivery.falls_back_ns is None:
            delivery.limit_channel(self._fallbacks.time_limit_ns(command, self.system.now_ns))
        has_limit = command.expires_after is not None or delivery.falls_back_ns is not None
        until_ns = delivery.sent_until_ns if has_limit else None
        return sooner(until_ns, self._retries.last_start_ns(delivery)) if delivery.attempts else until_ns

    def _delivery_of(self, attempt: Attempt) -> Delivery | None:
        """Return the delivery whose attempt under way this is, or None: then an answer to it is stale."""
        delivery = self._deliveries.get(attempt.command.notification_id)
        return delivery if delivery is not None and delivery.current is attempt else None

    def _is_current(self, attempt: Attempt) -> bool:
        return self._delivery_of(attempt) is not None

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        request = performed.request
        if type(request) is Commit:
            if performed.result is None:
                self._journal.is_done(request)
                for order in request.cancels:
                    self._cancelling.carry_out(order)
            elif isinstance(performed.result, Overtaken):
                self._overtaken(request, performed.result)
            else:
                self._journal.has_failed(performed.result)
            return
        attempt = request.attempt
        delivery = self._deliveries.get(attempt.command.notification_id)
        if delivery is None or delivery.current is not attempt:
            return  # an answer to an attempt that is no longer under way
        delivery.answered()
        if self._budgets is not None:
            self._budgets.attempt_has_ended(delivery, succeeded(performed.result, request.counted), self.system.now_ns)
        if type(performed.result) is Sent:
            self._sent(delivery, performed)
        else:
            self._failed(delivery, performed.result, performed.started_ns, request)

    @handles(Refused)
    def on_refused(self, refused: Refused) -> None:
        delivery = self._delivery_of(refused.attempt)
        if delivery is not None:
            self._take_back(delivery)
            self._failed(delivery, refused.outcome, self.now_ns, None)

    @handles(Rejected)
    def on_rejected(self, rejected: Rejected) -> None:
        delivery = self._delivery_of(rejected.attempt)
        if delivery is not None:
            is_expired = rejected.reason == EXPIRED
            reason = self._retries.reason_of_expiry(delivery) if is_expired else rejected.reason
            self._dead_letter(delivery, reason)

    @handles(Requeued)
    def on_requeued(self, requeued: Requeued) -> None:
        delivery = self._delivery_of(requeued.attempt)
        if delivery is not None and requeued.error is not None:
            self._cannot_fill_in(delivery, requeued.error)
        elif delivery is not None:
            self._requeue(delivery, requeued.charged)

    def _requeue(self, delivery: Delivery, charged: bool) -> None:
        """Take back an attempt that is not wanted now; for a retry budget, what follows is a first attempt."""
        delivery.note_charged(charged)
        self._take_back(delivery)
        self._prepare(delivery)

    def _sent(self, delivery: Delivery, performed: Performed) -> None:
        system, command = self.system, delivery.command
        admitted: Admitted = performed.request
        event = NotificationSent(
            at_ns=system.now_ns,
            epoch_ns=system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            attempt=delivery.attempts + 1,
            started_ns=performed.started_ns,
            requested_at_ns=delivery.requested_at_ns,
            provider=admitted.provider,
            hedges=admitted.hedges,
            priority=command.priority,
        )
        self._commit(event, delivery, None)

    def _failed(self, delivery: Delivery, outcome: Outcome, started_ns: int, admitted: Admitted | None) -> None:
        """Record a failed attempt; then wait for the next one, or dead-letter the notification.

        `admitted` is None where no provider was asked.
        """
        system, command = self.system, delivery.command
        if type(outcome) is ChannelFault:
            self._to_alert(ChannelBroken(channel=command.channel, reason=outcome.reason))
        retry_at_ns, given_up = self._retries.after(outcome, delivery, system.now_ns)
        event = NotificationFailed(
            at_ns=system.now_ns,
            epoch_ns=system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=delivery.attempts_after(outcome),
            started_ns=started_ns,
            next_retry_at_ns=retry_at_ns,
            answer=outcome.answer,
            throttled=isinstance(outcome, Transient) and outcome.throttled,
            given_up=given_up,
            provider=None if admitted is None else admitted.provider,
            hedges=0 if admitted is None else admitted.hedges,
            refused=admitted is None,
        )
        if admitted is not None and self._endpoints.is_on:
            mark = self._endpoints.mark_of(command, outcome, system.epoch_ns + system.now_ns, self._to_alert)
            event = msgspec.structs.replace(event, endpoint=mark)
        delivery.fail(event, retry_at_ns)
        self._commit(event, delivery, self._wait if given_up is None else self._dead_letter_as_decided)

    # ── dead-lettered, and redriven ──────────────────────────────────────────────────────────────────────────────

    def _dead_letter_as_decided(self, delivery: Delivery) -> None:
        assert delivery.given_up is not None
        self._dead_letter(delivery, delivery.given_up)

    def _dead_letter(self, delivery: Delivery, reason: str) -> None:
        if self._budgets is not None:
            self._budgets.settle(delivery, self.system.now_ns)
        delivery.end()
        event = self._journal.event(
            NotificationMovedToDeadLetter,
            delivery.command,
            reason=reason,
            attempts=delivery.attempts,
            requested_at_ns=delivery.requested_at_ns,
            priority=delivery.command.priority,
        )
        letter = dead_letter(delivery, event)

        def bury(delivery: Delivery) -> None:
            self._to_dead_letter_queue(letter)
            self._fall_back(delivery)

        self._commit(event, delivery, bury)

    def _fall_back(self, delivery: Delivery) -> None:
        """Send on another channel what this one has dead-lettered, if there is one, once, and unless it has arrived."""
        if self._fallbacks is None or self._store.is_delivered(delivery.command.notification_id):
            return
        command = self._fallbacks.instead_of(delivery.command, self.now_ns, delivery.expires_at_ns)
        if command is None or self.intake.known(command.notification_id) is not None:
            return  # there is none, or it fell back before it was redriven
        try:
            self.intake.accept(command, self._prepare, asks_for_room=False, instead_of=delivery)
        except (UnknownChannel, Unstorable) as error:
            logger.error("no fallback: %s", error)

    @handles(Redrive)
    def on_redrive(self, redrive: Redrive) -> None:
        letter = redrive.letter
        self._wiring.redrives.taken.discard(letter.notification_id)
        if not self.intake.has_room(redrive.priority):
            self._wiring.redrives.wait(redrive)
            return
        # Else it is redriven already, and perhaps dead-lettered again, by another node while this one was down.
        is_dead = self._store.is_dead_letter(letter.notification_id, letter.epoch_ns + letter.moved_at_ns)
        is_served = is_dead and self._store.is_served(letter.notification_id, self.is_in_flight)
        if not is_dead or (is_served and redrive.served == "exclude"):
            if is_dead:
                self._to_dead_letter_queue(LettersChanged((letter,), ()))
            redrive.refuse(is_served)
            self._journal.take_up_next_redrive()
            return
        delivery = redriven(letter, redrive.changes, self.now_ns, self.epoch_ns, redrive.without_operator)
        self._deliveries[letter.notification_id] = delivery
        event = self._journal.event(NotificationRedriven, letter.command, **redrive.record)
        answer = redrive.answer
        if answer is None:
            self._commit(event, delivery, self._take_up)
            return

        def answer_and_take_up(delivery: Delivery) -> None:
            answer.set(True)
            self._take_up(delivery)

        try:
            self._commit(event, delivery, answer_and_take_up)
        except StoreFailed:
            answer.set_exception()
            raise
        if (commit := self._commits.under_way.get(letter.notification_id)) is not None and commit.event is event:
            commit.answers(answer)

    def _overtaken(self, commit: Commit, overtaken: Overtaken) -> None:
        """Leave a notification to what was there first, unless this node has taken that over since."""
        notification_id, command = commit.event.notification_id, commit.delivery.known_as
        self._commits.end(commit)
        commit.cannot_be_cancelled()
        del self._deliveries[notification_id]
        if commit.taken_over is not None:
            self._deliveries[notification_id] = commit.taken_over
            self._resume([commit.taken_over])
        else:
            self._journal.take_up_next_redrive()
        if isinstance(commit.event, NotificationRequested) and commit.event.instead_of is not None:
            self._journal.ignore_duplicate(command, conflict=False)  # it fell back before it was redriven
            return
        try:
            acceptance = self.intake.repeated(command, command if overtaken.known is None else overtaken.known)
        except IdempotencyConflict as error:
            if not commit.waiting:
                logger.error("not accepted: %s", error)
            commit.fail(error)
        else:
            for answer in commit.waiting:
                redrives = answer is commit.sender and type(commit.event) is NotificationRedriven
                answer.set(False if redrives else acceptance)
