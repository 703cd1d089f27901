"""The handler: owns every notification from its acceptance to its end, and decides about retries.

It accepts a command once (idempotency), asks for preferences and quiet hours, fills in the template, sends an attempt
on its way and, when the outcome is back, ends the notification or sets the timer of the next attempt. Each change is
committed to the store, recorded, and announced on the bus, in this order, before anything follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from actors.domain.attempts import EXPIRED, Admitted, Refused, Rejected, Requeued
from actors.domain.delivery import Delivery
from actors.domain.store import LeaseLost, LeaseRenewed, Store, Takeover
from actors.errors import NOT_ACCEPTED, Overtaken, StoreFailed, TemplateError
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Performed
from actors.kernel.supervision import Restarted
from actors.kernel.turns import takes_turn
from actors.messages import (
    DeadLetterMessage,
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    SendNotification,
)
from actors.outcomes import ChannelFault, Outcome, Sent
from actors.pipeline.agenda import LOOK_AT_BACKLOG, Agenda, GoOn, LookAtBacklog, due_since_ns
from actors.pipeline.alert import ChannelBroken, PreferencesUnusable, TemplateUnusable
from actors.pipeline.cancelling import CANCELLING, Cancelling, OfCancelling
from actors.pipeline.commits import Commit
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.endpoint_watch import EndpointWatch
from actors.pipeline.fallback import Fallbacks
from actors.pipeline.filling import Filling, until_looked_at
from actors.pipeline.intake import Intake
from actors.pipeline.journal import Journal
from actors.pipeline.orders import Acceptance, Redrive, Submit
from actors.pipeline.preferences import Preferences
from actors.pipeline.readiness import NotBefore, Readiness, Undeliverable, Unwanted
from actors.pipeline.retries import Retries, succeeded
from actors.pipeline.templates import Templates
from actors.pipeline.wiring import Wiring
from actors.settings.channel import ChannelConfig

logger = logging.getLogger(__name__)


class Handler(Actor):
    """Accepts notifications and brings each of them to an end.

    When the handler is restarted, each notification resumes where the store says that it is; notifications that are due
    already resume at a pace. Attempts in the stages are sent again, and answers to the old ones are stale, so nothing
    is lost; an attempt that was at the provider then reaches it twice, with the same id. Retry budgets start anew.
    """

    supervision = Supervision(then="escalate")
    _stands_at = "handler"

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
        self._endpoints = EndpointWatch(channels, store.endpoints)
        self._readiness = Readiness(self.system, store.suppressions, self._endpoints, preferences)
        self._filling = None if templates is None else Filling(templates, wiring)
        fallbacks = Fallbacks(channels) if any(config.fallback for config in channels.values()) else None
        self._retries = Retries(channels, self.system, fallbacks, self.stream)
        self._budgets = self._retries.budgets
        # Deliveries are loaded here, not in on_start: between the two, `in_flight` has to count them already.
        self.deliveries = Deliveries(self, store, wiring.commits, wiring.redrives)
        for channel, stages in wiring.stages.items():
            budget = None if self._budgets is None else self._budgets.of(channel)
            fill_in = None if self._filling is None else self._filling.fill_in
            stages.attend(budget, self.deliveries, self._readiness.is_wanted, fill_in, store.lease_holds)
        self._lease_holds = store.lease_holds
        self._entrances: dict[NotificationChannel, Callable[[Any], None]] = {}
        self._agenda = Agenda(self, wiring.stages, self.deliveries)
        self._journal = Journal(self, store, wiring, self.deliveries, self._budgets, self._bury, self._fall_back)
        self._commit = self._journal.commit
        self.intake = Intake(
            self.system, store, wiring, self._journal, self.deliveries, fallbacks, self._prepare, self._take_up
        )
        """Other actors ask it whether there is room."""
        self._cancelling = Cancelling(self._journal, wiring, self.deliveries)

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
            stages.flush()
        self._resume(self.deliveries.without_commits())
        for _ in range(len(self._wiring.redrives)):
            self._journal.take_up_next_redrive()

    def _resume(self, deliveries: Iterable[Delivery]) -> None:
        by_due = sorted(deliveries, key=due_since_ns)
        for channel, stages in self._stages.items():
            stages.hold_again(each for each in by_due if each.command.channel == channel)
        for delivery in by_due:
            is_to_be_sent = delivery.given_up is None and delivery.command.channel in self._stages
            if is_to_be_sent and due_since_ns(delivery) <= self.now_ns:
                self._agenda.wait_for_turn(delivery, self._retries.last_start_ns(delivery, self.now_ns))
            else:
                self._take_up(delivery)
        self.on_look_at_backlog()

    @handles(LookAtBacklog)
    @takes_turn("backlog")
    def on_look_at_backlog(self, _: LookAtBacklog = LOOK_AT_BACKLOG) -> None:
        """Let the notifications of the backlog whose turn it is go on. A call too many does no harm."""
        for delivery in self._agenda.turns():
            self._prepare(delivery)

    def _take_up(self, delivery: Delivery) -> None:
        """Go on with a notification from outside; it may have been accepted under other settings."""
        if delivery.given_up is not None:
            self._dead_letter_as_decided(delivery)
        elif delivery.command.channel not in self._stages:
            self._journal.dead_letter(delivery, f"channel {delivery.command.channel} is not configured")
        elif delivery.due_ns is None:
            self._prepare(delivery)
        else:
            self._wait(delivery)

    @handles(Restarted)
    def on_stage_restarted(self, restarted: Restarted) -> None:
        """A stage has lost its state: send its attempts again. Its answers to the old ones are stale."""
        for channel, stages in self._stages.items():
            if restarted.ref in stages.actors:
                stages.flush()
                for delivery, attempt in self.deliveries.on_their_way(channel):
                    delivery.note_charged(attempt.charged)  # perhaps it never came to the limiter
                    if stages.wants(delivery.command):
                        self._send(delivery)
                    else:
                        self._requeue(delivery, delivery.charged)

    @handles(Takeover)
    def on_takeover(self, taken: Takeover) -> None:
        self._resume(self.intake.take_over(taken))

    @handles(LeaseRenewed)
    def on_lease_renewed(self, _: LeaseRenewed) -> None:
        """Go on with the notifications that wait for the lease; some may have expired or be unwanted by now."""
        self._resume(self._agenda.lease_is_back())

    @handles(LeaseLost)
    def on_lease_lost(self, lost: LeaseLost) -> None:
        self._journal.has_failed(StoreFailed(lost.why))

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────

    @handles(SendNotification)
    @takes_turn("command", when_told=True)
    def on_send_notification(self, command: SendNotification) -> Acceptance:
        """Accept a command that was sent with `tell`. There is no caller to raise to, so a refusal is logged."""
        try:
            return self.intake.accept(command)
        except NOT_ACCEPTED as error:
            logger.error("not accepted: %s", error)
            return Acceptance.REFUSED

    @handles(Submit)
    @takes_turn("submit", when_told=True)
    def on_submit(self, submit: Submit) -> None:
        self.intake.submit(submit)

    # ── preferences and quiet hours ─────────────────────────────────────────────────────────────────────────────

    def _prepare(self, delivery: Delivery) -> None:
        obstacle = self._readiness.obstacle(delivery.command)
        if obstacle is None:
            self._send(delivery)
        elif isinstance(obstacle, Unwanted):
            self._journal.suppress(delivery, obstacle.reason)
        elif isinstance(obstacle, Undeliverable):
            self._journal.dead_letter(delivery, obstacle.reason)
        else:
            self._defer(delivery, obstacle)

    def _defer(self, delivery: Delivery, obstacle: NotBefore) -> None:
        due_ns = obstacle.instant_ns
        if obstacle.raised is not None:
            self._to_alert(PreferencesUnusable(channel=delivery.command.channel, reason=obstacle.raised))
        if delivery.expires_at_ns is not None and due_ns > delivery.expires_at_ns:
            self._journal.dead_letter(delivery, EXPIRED)
            return
        delivery.wait_until(due_ns)
        self._journal.give_back(delivery)
        if obstacle.is_quiet:
            quiet = {"cause": DeferralCause.QUIET_HOURS, "resumes_at_ns": due_ns}
            self._commit(self._journal.event(NotificationDeferred, delivery.command, **quiet), delivery, self._wait)
        else:
            self._wait(delivery)

    @handles(GoOn)
    @takes_turn("go-on", lambda handler, go: go.delivery if handler.deliveries.may_go_on(go.delivery) else None)
    def on_go_on(self, message: GoOn) -> None:
        delivery = message.delivery
        if self.deliveries.may_go_on(delivery):
            delivery.go_on()
            self._prepare(delivery)

    @handles(*CANCELLING)
    @takes_turn("cancel", when_told=True)
    def on_cancel(self, order: OfCancelling) -> None:
        self._cancelling.carry_out(order)

    # ── an attempt, and its outcome ─────────────────────────────────────────────────────────────────────────────

    def _send(self, delivery: Delivery) -> None:
        if self._lease_holds is not None and not self._lease_holds():
            self._retries.take_back(delivery)  # every caller knows that an attempt still under way is lost
            self._agenda.wait_for_lease(delivery)
            return
        command = delivery.command
        until_ns = wanted_until_ns = None
        if self._retries.bound_starts or command.expires_after is not None:
            now_ns = self.system.now_ns
            until_ns, wanted_until_ns = self._retries.last_start_ns(delivery, now_ns), delivery.expires_at_ns
            if until_ns is not None and now_ns > until_ns:
                self._journal.dead_letter(delivery, self._retries.reason_of_expiry(delivery))
                return
        if self._filling is not None and command.metadata and "template" in command.metadata:
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
            self._journal.dead_letter(delivery, str(error))
            return
        self._retries.take_back(delivery)
        self._to_alert(TemplateUnusable(channel=delivery.command.channel, reason=str(error)))
        self._defer(delivery, obstacle)

    @handles(Performed)
    @takes_turn("commit")
    def on_performed(self, performed: Performed) -> None:
        request = performed.request
        if type(request) is Commit:
            if performed.result is None:
                self._journal.is_done(request)
                for order in request.cancels:
                    self._cancelling.carry_out(order)
            elif isinstance(performed.result, Overtaken):
                self.intake.overtaken(request, performed.result, self._resume)
            else:
                self._journal.has_failed(performed.result)
            return
        delivery = self.deliveries.by_id.get(request.attempt.command.notification_id)
        if delivery is None or not delivery.take_answer(request.attempt):
            return
        if self._budgets is not None:
            self._budgets.attempt_has_ended(delivery, succeeded(performed.result, request.counted), self.system.now_ns)
        if type(performed.result) is Sent:
            self._journal.sent(delivery, performed)
        else:
            self._failed(delivery, performed.result, performed.started_ns, request)

    @handles(Refused)
    def on_refused(self, refused: Refused) -> None:
        delivery = self.deliveries.of(refused.attempt)
        if delivery is not None:
            self._retries.take_back(delivery)
            self._failed(delivery, refused.outcome, self.now_ns, None)

    @handles(Rejected)
    def on_rejected(self, rejected: Rejected) -> None:
        delivery = self.deliveries.of(rejected.attempt)
        if delivery is not None:
            is_expired = rejected.reason == EXPIRED
            reason = self._retries.reason_of_expiry(delivery) if is_expired else rejected.reason
            self._journal.dead_letter(delivery, reason)

    @handles(Requeued)
    def on_requeued(self, requeued: Requeued) -> None:
        delivery = self.deliveries.of(requeued.attempt)
        if delivery is not None and requeued.error is not None:
            self._cannot_fill_in(delivery, requeued.error)
        elif delivery is not None:
            self._requeue(delivery, requeued.charged)

    def _requeue(self, delivery: Delivery, charged: bool) -> None:
        """Take back an attempt that is not wanted now. A retry budget counts the next one as a first attempt."""
        delivery.note_charged(charged)
        self._retries.take_back(delivery)
        self._prepare(delivery)

    def _failed(self, delivery: Delivery, outcome: Outcome, started_ns: int, admitted: Admitted | None) -> None:
        command = delivery.command
        if type(outcome) is ChannelFault:
            self._to_alert(ChannelBroken(channel=command.channel, reason=outcome.reason))
        event = self._retries.failure(outcome, delivery, started_ns, admitted)
        if admitted is not None and self._endpoints.is_on:
            mark = self._endpoints.mark_of(command, outcome, self.epoch_ns + self.now_ns, self._to_alert)
            event = msgspec.structs.replace(event, endpoint=mark)
        delivery.fail(event, event.next_retry_at_ns)
        self._commit(event, delivery, self._wait if event.given_up is None else self._dead_letter_as_decided)

    # Only methods of the handler may follow a commit: a restart keeps the handler, and makes its parts anew.

    def _wait(self, delivery: Delivery) -> None:
        assert delivery.due_ns is not None
        self.system.set_timer(delivery.due_ns, self, GoOn(delivery))

    def _dead_letter_as_decided(self, delivery: Delivery) -> None:
        assert delivery.given_up is not None
        self._journal.dead_letter(delivery, delivery.given_up)

    def _bury(self, letter: DeadLetterMessage, delivery: Delivery) -> None:
        self._to_dead_letter_queue(letter)
        self._fall_back(delivery)

    def _fall_back(self, delivery: Delivery) -> None:
        self.intake.fall_back(delivery)

    @handles(Redrive)
    def on_redrive(self, redrive: Redrive) -> None:
        self.intake.redrive(redrive, self._to_dead_letter_queue)
