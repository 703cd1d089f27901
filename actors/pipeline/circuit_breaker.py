"""The circuit breaker of one channel, with the channel's bulkhead: who may ask the provider now, and who waits.

A slot of the bulkhead is taken before the breaker's permit. Those who find no slot or an open breaker wait in one line,
in order, at the cost of one timer; behind a breaker that has closed they resume at a pace, not as one herd.
"""

from __future__ import annotations

from typing import Literal, assert_never

from actors.actor import Actor, Supervision, handles
from actors.config import ChannelConfig
from actors.effects import Cancellable, Performed
from actors.messages import (
    BreakerTransitioned,
    DeferralCause,
    Message,
    NotificationChannel,
    NotificationDeferred,
    RecordedEvent,
)
from actors.outcomes import (
    Ambiguous,
    ChannelFault,
    DeadDestination,
    Outcome,
    Permanent,
    Sent,
    Transient,
)
from actors.pipeline.attempts import EXPIRED, Abandoned, Admitted, Attempt, ForgetWaiting, Refused, Stages
from actors.pipeline.waiting_line import WaitingLine
from actors.policies.breaker import Breaker, BreakerEvent, BreakerState, IllegalTransition, Transition
from actors.policies.pace import Pace

BREAKER_OPEN = "circuit breaker is open"


class OperateBreaker(Message, frozen=True, kw_only=True, gc=False):
    """An operator's order to the breaker of a channel; answered with whether it changed anything."""

    order: Literal["force-open", "disable", "close", "metrics-only"]


_ADMITTING = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})


class _Advance(Message, frozen=True, gc=False):
    """Time to look after the line."""


_ADVANCE = _Advance()


class CircuitBreakerActor(Actor):
    """Lets attempts through to the channel, and learns from their outcomes."""

    supervision = Supervision(then="escalate")

    def __init__(self, channel: NotificationChannel, config: ChannelConfig, stages: Stages) -> None:
        super().__init__()
        self._channel = channel
        self._config = config.circuit_breaker
        self._stages = stages
        self._slots = config.max_in_flight
        self._line = WaitingLine()
        if stages.breaker is None:
            stages.breaker = Breaker(
                self._config, name=channel, on_transition=self._on_transition, random=self.stream(f"{channel}.breaker")
            )
        self._breaker = stages.breaker
        self._timer: Cancellable | None = None
        self._timer_ns = 0

    def on_start(self) -> None:
        assert self._stages.channel is not None
        assert self._stages.handler is not None
        self._to_channel = self.route(self._stages.channel)
        self._to_handler = self.route(self._stages.handler)

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        stages = self._stages
        if not self._line.attempts and stages.pace is None and (self._slots is None or stages.in_flight < self._slots):
            permit = self._breaker.try_acquire(self.system.now_ns)
            if permit is not None:
                stages.in_flight += 1
                self._to_channel(Admitted(attempt=attempt, permit=permit))
                return
            shut = True
        else:
            shut = self._breaker.state not in _ADMITTING
        self._refuse_or_wait(attempt, shut)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        admitted: Admitted = performed.request
        self._stages.in_flight -= 1
        self._learn(performed.result, admitted.permit, performed.ended_ns - performed.started_ns)
        self._to_handler(performed)
        if self._line.attempts:
            self._advance()

    @handles(OperateBreaker)
    def on_operate(self, order: OperateBreaker) -> bool:
        try:
            self._breaker.order(BreakerEvent(order.order), self.now_ns)
        except IllegalTransition:
            return False  # it is in that state already
        self._advance()
        return True

    @handles(ForgetWaiting)
    def on_forget_waiting(self, _: ForgetWaiting) -> None:
        self._line = WaitingLine()
        self._set_timer()

    @handles(_Advance)
    def on_advance(self, _: _Advance) -> None:
        self._timer = None
        self._advance()

    def _learn(self, outcome: Outcome, permit: int, duration_ns: int) -> None:
        breaker, now_ns = self._breaker, self.system.now_ns
        match outcome:
            case Sent():
                breaker.record_success(permit, now_ns, duration_ns)
            case Transient() if outcome.throttled:
                breaker.record_neutral(permit, now_ns)
            case Transient() | Ambiguous():
                breaker.record_failure(permit, now_ns, duration_ns)
            case Permanent() | DeadDestination():
                breaker.record_reachable(permit, now_ns, duration_ns)
            case ChannelFault():
                breaker.trip(permit, now_ns)
            case _:
                assert_never(outcome)

    def _refuse_or_wait(self, attempt: Attempt, shut: bool) -> None:
        if shut and self._config.when_open == "fail":
            self._refuse(attempt)
            return
        paced = self._stages.pace is not None
        self._line.append(attempt)
        self._advance()
        if self._line and (shut or paced):
            self._record_deferral(attempt)

    def _refuse(self, attempt: Attempt) -> None:
        self._to_handler(Refused(attempt=attempt, outcome=Transient(reason=BREAKER_OPEN)))

    def _record_deferral(self, attempt: Attempt) -> None:
        self._record(
            NotificationDeferred(
                at_ns=self.now_ns,
                epoch_ns=self.epoch_ns,
                notification_id=attempt.command.notification_id,
                channel=self._channel,
                cause=DeferralCause.CIRCUIT_BREAKER,
                resumes_at_ns=self._breaker.reopen_at_ns,
            )
        )

    def _advance(self) -> None:
        """Let go who may go now, and set the timer for when to look again."""
        now_ns, stages = self.now_ns, self._stages
        self._breaker.advance(now_ns)
        for attempt in self._line.expired(now_ns):
            self._to_handler(Abandoned(attempt=attempt, reason=EXPIRED))
        while self._line and (self._slots is None or stages.in_flight < self._slots):
            if stages.pace is not None and stages.pace.next_ns > now_ns:
                break
            permit = self._breaker.try_acquire(now_ns)
            if permit is None:
                break
            if stages.pace is not None:
                stages.pace.release()
            stages.in_flight += 1
            self._to_channel(Admitted(attempt=self._line.pop(), permit=permit))
        if not self._line:
            stages.pace = None
        self._set_timer()

    def _set_timer(self) -> None:
        now_ns, breaker = self.now_ns, self._breaker
        wakes = [self._line.next_expiry_ns]
        if self._line:
            wakes.append(breaker.admits_at_ns(now_ns))
            if self._stages.pace is not None:
                wakes.append(self._stages.pace.next_ns)
        if breaker.state is BreakerState.HALF_OPEN:
            wakes.append(breaker.changes_at_ns)
        # What is due already waits for a slot, and for no timer.
        wake_ns = None
        for instant_ns in wakes:
            if instant_ns is not None and instant_ns > now_ns and (wake_ns is None or instant_ns < wake_ns):
                wake_ns = instant_ns
        if self._timer is not None:
            if self._timer_ns == wake_ns:
                return
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            self._timer, self._timer_ns = self.at(wake_ns, _ADVANCE), wake_ns

    def _record(self, event: RecordedEvent) -> None:
        self.record(event)
        self._stages.announce(event)

    def _on_transition(self, transition: Transition) -> None:
        self._record(
            BreakerTransitioned(
                at_ns=transition.at_ns,
                epoch_ns=self.epoch_ns,
                breaker=self._channel,
                from_state=transition.from_state,
                to_state=transition.to_state,
                cause=transition.event,
            )
        )
        if transition.to_state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            if transition.from_state in _ADMITTING and self._stages.pace is None:
                self._shut_in_front_of_the_line()
            self._stages.pace = None
        elif transition.to_state is BreakerState.CLOSED and self._line:
            self._stages.pace = Pace(self._config.resume_rate, self._config.resume_doubling, self.now_ns)
        elif transition.to_state is BreakerState.HALF_OPEN and self._config.half_open_max is not None:
            self._set_timer()

    def _shut_in_front_of_the_line(self) -> None:
        """Those who only waited for a slot of the bulkhead now wait for the breaker."""
        if self._config.when_open == "fail":
            while self._line:
                self._refuse(self._line.pop())
        for attempt in self._line:
            self._record_deferral(attempt)
