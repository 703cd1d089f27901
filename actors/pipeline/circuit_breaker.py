"""The circuit breaker of one channel, with bulkhead and quota: who may ask which provider now, and who waits.

What stands in front of a provider is a :class:`~actors.pipeline.lane.Lane`, and a channel has one for each of its
providers: an attempt goes to the first that takes it. Those whom none takes wait in order, in one line for the whole
channel, or in one for each host of recipients where breakers are per host; hosts then take turns for what they share.
However many wait, it costs one timer; behind a breaker that has closed they resume at a pace, not as one herd.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence, Set
from typing import Literal

from actors.actor import Actor, Supervision, handles
from actors.config import ChannelConfig
from actors.effects import Cancellable, Performed
from actors.messages import BreakerTransitioned, DeferralCause, Message, NotificationChannel, NotificationDeferred
from actors.outcomes import Transient
from actors.pipeline.attempts import (
    EXPIRED,
    RATE_LIMIT_EXCEEDED,
    Abandoned,
    Admitted,
    Attempt,
    ForgetWaiting,
    Refused,
    Stages,
)
from actors.pipeline.lane import EVERYBODY, NO_SLOT, SHARED, Bar, Barred, Lane
from actors.pipeline.waiting_line import WaitingLine
from actors.policies.breaker import BreakerEvent, BreakerState, Transition
from actors.policies.breaker_group import recipient_host

BREAKER_OPEN = "circuit breaker is open"
THROTTLED_HERE = "adaptive throttle"


class OperateBreaker(Message, frozen=True, kw_only=True, gc=False):
    """An operator's order to the breakers of a channel; answered with whether it changed anything."""

    order: Literal["force-open", "disable", "close", "metrics-only"]

    provider: str | None = None
    """Only to that of one of its providers. None: to all of them."""


class _Advance(Message, frozen=True, gc=False):
    """Time to look after those who wait."""


_ADVANCE = _Advance()


class _Line(WaitingLine):
    """Those who wait, all of one host where breakers are per host, and what for."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.cause: DeferralCause | None = None
        """Why they are deferred; None while they only wait for a slot."""
        self.resumes_at_ns: int | None = None
        self.wake_ns: int | None = None
        """When to look after it next, if nothing happens before."""
        self.is_barred_as_all = False
        """Whether what bars it would bar every other line too."""


class CircuitBreakerActor(Actor):
    """Lets attempts through to the providers of a channel, and learns from their outcomes."""

    supervision = Supervision(then="escalate")

    def __init__(self, channel: NotificationChannel, config: ChannelConfig, stages: Stages) -> None:
        super().__init__()
        self._channel = channel
        self._stages = stages
        self._fails_when_open = config.circuit_breaker.when_open == "fail"
        self._switch_after = config.switch_after
        self._lanes = stages.lanes
        self._only = self._lanes[0] if len(self._lanes) == 1 and self._lanes[0].is_plain else None
        """The lane where there is but one, with nothing to pass but its breaker."""
        self._is_per_host = config.circuit_breaker.per == "host"
        self._lines: dict[str, _Line] = {}
        """By host; none is empty."""
        self._turns: OrderedDict[str, None] = OrderedDict()
        """The hosts whose lines wait for what all share, in the order of their turns."""
        self._wakes: list[tuple[int, str]] = []
        self._timer: Cancellable | None = None
        self._timer_ns = 0
        for lane in self._lanes:
            lane.on_transition = self._on_transition

    def on_start(self) -> None:
        assert self._stages.handler is not None
        self._to_handler = self.route(self._stages.handler)
        self._to_channels = [self.route(lane.channel) for lane in self._lanes if lane.channel is not None]

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        lane = self._only
        if lane is not None and not self._lines and not lane.paces:
            # What `_admit` would come to, with fewer calls: the way of nearly every attempt.
            permit = lane.breaker.try_acquire(self.system.now_ns)  # type: ignore[union-attr]
            if permit is not None:
                lane.in_flight += 1
                self._to_channels[0](Admitted(attempt=attempt, permit=permit))
            else:
                self._wait_or_end(attempt, EVERYBODY, [lane.barred_by_breaker(EVERYBODY, self.system.now_ns)])
            return
        host = self._host_of(attempt)
        line = self._lines.get(host)
        if line is not None:
            self._join(line, attempt)
            return
        if self._turns:
            self._wait_or_end(attempt, host, [NO_SLOT])  # others were here before
            return
        for lane in self._lanes:
            lane.forget_unused_pace(host, self.system.now_ns)
        if barred := self._admit(attempt, host):
            self._wait_or_end(attempt, host, barred)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        admitted: Admitted = performed.request
        host = self._host_of(admitted.attempt) if self._is_per_host else EVERYBODY
        self._lanes[admitted.lane].settle(
            admitted.permit,
            performed.result,
            host,
            self.system.now_ns,
            performed.ended_ns - performed.started_ns,
            admitted.in_flight,
        )
        self._to_handler(performed)
        if self._lines:
            self._advance(host)

    @handles(OperateBreaker)
    def on_operate(self, order: OperateBreaker) -> bool:
        changed = [
            lane.order(BreakerEvent(order.order), self.now_ns)
            for lane in self._lanes
            if order.provider is None or order.provider == lane.provider
        ]
        self._advance(*self._lines)
        return any(changed)

    @handles(ForgetWaiting)
    def on_forget_waiting(self, _: ForgetWaiting) -> None:
        self._lines.clear()
        self._turns.clear()
        self._set_timer()

    @handles(_Advance)
    def on_advance(self, _: _Advance) -> None:
        self._timer = None
        now_ns = self.now_ns
        due: dict[str, None] = {}
        while self._wakes and self._wakes[0][0] <= now_ns:
            due[heapq.heappop(self._wakes)[1]] = None
        for host in due:
            for lane in self._lanes:
                lane.breaker_of(host, now_ns).advance(now_ns)
        self._advance(*due)

    def _host_of(self, attempt: Attempt) -> str:
        return recipient_host(attempt.command.recipient) if self._is_per_host else EVERYBODY

    # ── who goes ────────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self, attempt: Attempt, host: str) -> list[Barred]:
        """Send an attempt to the first provider that takes it; else return what bars it from each of them."""
        now_ns = self.system.now_ns
        barred = []
        for lane in self._order_of_lanes(attempt):
            permit = lane.try_admit(host, now_ns)
            if not isinstance(permit, Barred):
                admitted = Admitted(
                    attempt=attempt, permit=permit, lane=lane.number, provider=lane.provider, in_flight=lane.in_flight
                )
                self._to_channels[lane.number](admitted)
                return []
            barred.append(permit)
        return barred

    def _order_of_lanes(self, attempt: Attempt) -> Sequence[Lane]:
        if self._switch_after is None:
            return self._lanes
        first = (attempt.number - 1) // self._switch_after % len(self._lanes)
        return self._lanes[first:] + self._lanes[:first]

    def _advance(self, *hosts: str) -> None:
        """Let those go who may go now: at these hosts, of whose breakers there is news, and whose turn it is."""
        for host in hosts:
            line = self._lines.get(host)
            if line is not None and host not in self._turns:
                self._advance_line(line)
        self._take_turns()
        self._set_timer()

    def _take_turns(self) -> None:
        gone = True
        while gone:
            gone = False
            for host in list(self._turns):
                line = self._lines[host]
                if self._advance_line(line):
                    gone = True
                elif line.attempts and line.is_barred_as_all:
                    return

    def _advance_line(self, line: _Line) -> bool:
        """Let those of a line go who may go, where there are several lines only one; return whether there was one."""
        now_ns = self.now_ns
        for attempt in line.expired(now_ns):
            self._to_handler(Abandoned(attempt=attempt, reason=EXPIRED))
        gone = False
        while line.attempts:
            if gone and self._is_per_host:
                self._turns[line.host] = None
                self._turns.move_to_end(line.host)
                self._set_wake(line, now_ns)
                return True
            barred = self._admit(line.first, line.host)
            if not barred:
                line.pop()
                gone = True
            elif (end := self._end(line.first, barred)) is not None:
                line.pop()
                self._to_handler(end)
            else:
                self._note(line, barred)
                return gone
        self._drop(line)
        return gone

    # ── who waits ───────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_or_end(self, attempt: Attempt, host: str, barred: Sequence[Barred]) -> None:
        if (end := self._end(attempt, barred)) is not None:
            self._to_handler(end)
            return
        line = self._lines[host] = _Line(host)
        line.append(attempt)
        if any(bar is Bar.RAMP for bar, _ in barred):
            for lane in self._lanes:
                lane.wait_through_ramp(host, self.now_ns)
            self._advance_line(line)
        else:
            self._note(line, barred)
        self._set_timer()

    def _end(self, attempt: Attempt, barred: Sequence[Barred]) -> Refused | Abandoned | None:
        """Return what becomes of an attempt that is barred so and is not to wait; None when it is."""
        bars = {bar for bar, _ in barred}
        if Bar.THROTTLE in bars:
            return Refused(attempt=attempt, outcome=Transient(reason=THROTTLED_HERE))
        if bars <= _SHUT:
            return Refused(attempt=attempt, outcome=Transient(reason=BREAKER_OPEN)) if self._fails_when_open else None
        if Bar.QUOTA in bars and bars <= _SHUT | {Bar.QUOTA}:
            return Abandoned(attempt=attempt, reason=RATE_LIMIT_EXCEEDED)
        if _cause(bars) is DeferralCause.RATE_LIMIT and _is_too_late(attempt, _earliest(barred)):
            return Abandoned(attempt=attempt, reason=EXPIRED)
        return None

    def _join(self, line: _Line, attempt: Attempt) -> None:
        if line.cause is DeferralCause.RATE_LIMIT and _is_too_late(attempt, line.resumes_at_ns):
            self._to_handler(Abandoned(attempt=attempt, reason=EXPIRED))
            return
        line.append(attempt)
        self._tell_deferred(line)
        self._set_wake(line, self.now_ns)
        self._set_timer()

    def _note(self, line: _Line, barred: Sequence[Barred]) -> None:
        """Take note of what a line waits for."""
        bars = {bar for bar, _ in barred}
        line.cause = _cause(bars)
        line.resumes_at_ns = _earliest(barred)
        line.is_barred_as_all = bars <= SHARED
        if bars & SHARED:
            self._turns.setdefault(line.host)
        else:
            self._turns.pop(line.host, None)
        self._tell_deferred(line)
        self._set_wake(line, self.now_ns)

    def _tell_deferred(self, line: _Line) -> None:
        if line.cause is None:
            return
        for attempt in line.untold():
            event = NotificationDeferred(
                at_ns=self.now_ns,
                epoch_ns=self.epoch_ns,
                notification_id=attempt.command.notification_id,
                channel=self._channel,
                cause=line.cause,
                resumes_at_ns=line.resumes_at_ns,
            )
            self.record(event)
            self._stages.announce(event)

    def _drop(self, line: _Line) -> None:
        del self._lines[line.host]
        self._turns.pop(line.host, None)
        for lane in self._lanes:
            lane.nobody_waits(line.host)

    def _set_wake(self, line: _Line, now_ns: int) -> None:
        instants = [at_ns for at_ns in (line.next_expiry_ns, line.resumes_at_ns) if at_ns is not None]
        wake_ns = min((at_ns for at_ns in instants if at_ns >= now_ns), default=None)
        if wake_ns is not None and wake_ns != line.wake_ns:
            heapq.heappush(self._wakes, (wake_ns, line.host))
        line.wake_ns = wake_ns

    def _set_timer(self) -> None:
        while self._wakes and self._is_outdated(*self._wakes[0]):
            heapq.heappop(self._wakes)
        wake_ns = self._wakes[0][0] if self._wakes else None
        if self._timer is not None:
            if self._timer_ns == wake_ns:
                return
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            self._timer, self._timer_ns = self.at(wake_ns, _ADVANCE), wake_ns

    def _is_outdated(self, wake_ns: int, host: str) -> bool:
        line = self._lines.get(host)
        if line is not None and line.wake_ns == wake_ns:
            return False
        breakers = [lane.breaker_of(host, self.now_ns) for lane in self._lanes]
        return not any(
            breaker.state is BreakerState.HALF_OPEN and breaker.changes_at_ns == wake_ns for breaker in breakers
        )

    # ── transitions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _on_transition(self, lane: Lane, host: str, transition: Transition) -> None:
        event = BreakerTransitioned(
            at_ns=transition.at_ns,
            epoch_ns=self.epoch_ns,
            breaker=lane.name,
            host=host if self._is_per_host else None,
            from_state=transition.from_state,
            to_state=transition.to_state,
            cause=transition.event,
        )
        self.record(event)
        self._stages.announce(event)
        if transition.to_state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            self._turns.pop(host, None)  # it is the breaker that they wait for now
        elif transition.to_state is BreakerState.CLOSED and host in self._lines:
            lane.resume_paced(host, self.now_ns)
        elif transition.to_state is BreakerState.HALF_OPEN:
            changes_at_ns = lane.breaker_of(host, self.now_ns).changes_at_ns
            if changes_at_ns is not None:
                heapq.heappush(self._wakes, (changes_at_ns, host))
                self._set_timer()


_SHUT = frozenset({Bar.BREAKER, Bar.RAMP})


def _cause(bars: Set[Bar]) -> DeferralCause | None:
    """Return what to call a wait; one for a slot alone is none that anybody is told of."""
    if Bar.SLOT in bars:
        return None
    return DeferralCause.RATE_LIMIT if bars & SHARED else DeferralCause.CIRCUIT_BREAKER


def _earliest(barred: Sequence[Barred]) -> int | None:
    return min((until_ns for _, until_ns in barred if until_ns is not None), default=None)


def _is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    return instant_ns is not None and attempt.expires_at_ns is not None and instant_ns > attempt.expires_at_ns
