"""The circuit breaker of one channel, with bulkhead and quota: which attempt may go where now, and which waits.

In front of each provider of a channel stands a :class:`~actors.pipeline.lane.Lane`, and an attempt goes to the first
lane that takes it. If none does, the attempt waits in the channel's one line, or where breakers are per host in the
line of its recipient's host; the channel's order says which attempt goes first. A line that waits for room at a
provider is in the turns of that lane, and no later attempt of the same class goes before it. One timer serves all
waiting attempts; behind a breaker that has closed they resume at a pace, not as one herd.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from actors.domain.attempts import (
    EXPIRED,
    Admitted,
    Attempt,
    FlushQueue,
    Refused,
    Rejected,
    Requeued,
    Unsent,
    is_too_late,
)
from actors.instants import sooner
from actors.kernel.actor import handles
from actors.kernel.effects import Performed
from actors.kernel.turns import takes_turn
from actors.messages import BreakerState, BreakerTransitioned, Message, NotificationChannel
from actors.pipeline.before_providers import BeforeProviders
from actors.pipeline.blocked import (
    BULKHEAD_FULL,
    ONLY_PACED,
    WAITS_FOR_BREAKER,
    Blocked,
    BlockReason,
    Reasons,
    end_of,
    full,
    reasons_of,
)
from actors.pipeline.held_slots import GiveBack, WereOut, is_held_after
from actors.pipeline.isolation import AttemptEnded
from actors.pipeline.lane import Lane, record_full_bulkhead
from actors.pipeline.orders import NotWaiting, Withdraw
from actors.pipeline.quotas import QuotaDivided
from actors.pipeline.redriver import BreakerClosed
from actors.pipeline.returning import Returning
from actors.pipeline.shared_breakers import SharedStage
from actors.pipeline.tenants import Tenants
from actors.pipeline.wiring import Stages
from actors.policies.breaker.breaker import BreakerEvent, Transition
from actors.policies.breaker.per_host import WHOLE_LANE
from actors.policies.order import Flow, tenant_of
from actors.policies.waiting_room import Line
from actors.settings.channel import ChannelConfig


class OperateBreaker(Message, frozen=True, kw_only=True, gc=False):
    """An operator's override of the breakers of a channel; answered with whether it changed anything."""

    order: Literal["force-open", "disable", "close", "metrics-only"]

    provider: str | None = None
    """The provider whose breaker is meant; ``primary`` is the channel's own. None: all of its breakers."""


class _HalfOpenTimes:
    """Until when breakers are half-open at most, by host and number of their lane."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._until: dict[tuple[str, int], int] = {}
        self._ends: list[tuple[int, str, int]] = []
        """A heap; also of such as hold no more."""
        for lane in lanes:
            for host, breaker in lane.breakers:
                if breaker.state is BreakerState.HALF_OPEN:
                    self.set(host, lane.number, breaker.changes_at_ns)

    def set(self, host: str, lane: int, until_ns: int | None) -> None:
        """Note until when a breaker is half-open; None: it is not, or for as long as it takes."""
        if until_ns is None:
            self._until.pop((host, lane), None)
        else:
            self._until[host, lane] = until_ns
            heapq.heappush(self._ends, (until_ns, host, lane))

    def due(self, now_ns: int) -> Iterator[tuple[int, str, int]]:
        """Take out the overrides whose time is up, one for each step of the iterator: one may change the next."""
        while (next_ns := self.next_ns) is not None and next_ns <= now_ns:
            due = heapq.heappop(self._ends)
            del self._until[due[1:]]
            yield due

    @property
    def next_ns(self) -> int | None:
        """When the first is up; None: never."""
        while self._ends and self._until.get(self._ends[0][1:]) != self._ends[0][0]:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None


class CircuitBreakerActor(SharedStage):
    """Lets attempts through to the providers of a channel, and learns from their outcomes."""

    _stands_at = "breaker"

    def __init__(self, channel: NotificationChannel, config: ChannelConfig, stages: Stages) -> None:
        super().__init__(channel, stages)
        self._fails_when_open = config.circuit_breaker.when_open == "fail"
        self._before = BeforeProviders(config, stages.lanes, stages.waiting, self.publish_deferred)
        self._rooms = ((self._before.room, self._lanes[0].host_of),)
        self._tenants: Tenants | None = None
        held = self._held = stages.held_slots
        self._returning: Returning | None = None
        """The lines of notifications that hold a slot: they go before all that hold none."""
        if held is not None:
            self._returning = Returning(self, config, stages, self._before, held, self._admit, self._refuse)
            self._rooms = (*self._rooms, (self._returning.room, self._lanes[0].host_of))
        if (counts := stages.tenant_counts) is not None:
            self._tenants = Tenants(self, config, counts, stages.waiting.tenants, self.on_attempt, held)
            self._rooms = ((self._tenants.lines.room, lambda attempt: tenant_of(attempt.command)), *self._rooms)
            handlers = {**self._plain, Attempt: self._tenants.enter}
            self._plain = {kind: self._tenants.letting_in(handler) for kind, handler in handlers.items()}
        if self._returning is not None:
            self._plain = {**self._plain, Attempt: self._returning.first(self._plain[Attempt], self._take_turns)}
        self._lines = self._before.lines
        self._is_per_host = self._before.is_per_host
        self._hosts_share_slots = self._is_per_host and any(lane.slots.are_shared for lane in self._lanes)
        is_only = len(self._lanes) == 1 and not self._is_per_host and not self._before.order.has_keys
        self._only = self._lanes[0] if is_only else None
        """The lane where there is but one, with one breaker for all and without turns of users, hosts or tenants."""
        self._half_open = _HalfOpenTimes(self._lanes)
        self._has_news = False
        """Whether a breaker has changed its state since this was last looked at."""
        for lane in self._lanes:
            lane.follow(self._on_transition)

    def on_start(self) -> None:
        super().on_start()
        self._isolation = None if self._stages.isolation is None else self._stages.isolation.actor
        self._to_channels = [self.route(channel) for channel in self._stages.channels]
        """The one way to the providers: each takes an attempt that has been admitted there."""
        if self._tenants is not None:
            self.tell_handler = self._tenants.seeing_out(self.tell_handler)
            self._to_channels = [self._tenants.seeing_off(to_channel) for to_channel in self._to_channels]
        self.set_timer()

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        lane = self._only
        if lane is not None and not self._lines and not lane.paces.running:
            # The same result as `_admit`, with fewer calls: nearly every attempt goes this way.
            permit = lane.try_admit(WHOLE_LANE, self.system.now_ns)
            if isinstance(permit, int):
                self._to_channels[0](Admitted(attempt=attempt, permit=permit, in_flight=lane.in_flight))
            else:
                self._wait_or_end(attempt, WHOLE_LANE, {0: permit})
            return
        host = self._lanes[0].host_of(attempt) if self._is_per_host else WHOLE_LANE
        if (line := self._lines.get(host)) is not None:
            self._join(line, attempt)
            return
        if self._lines and not self._before.is_before_all(attempt, host):
            self._take_turns()  # there may be room by now, which belongs to earlier attempts
        for lane in self._lanes:
            lane.paces.drop_unused(host, self.system.now_ns)
        if blocked := self._admit(attempt, host):
            self._wait_or_end(attempt, host, blocked)
        if self._lines:
            self.set_timer()

    @handles(Performed)
    @takes_turn("answer")
    def on_performed(self, performed: Performed) -> None:
        admitted: Admitted = performed.request
        self._has_news = False
        lane, host, key = self._only, WHOLE_LANE, WHOLE_LANE
        if lane is None:
            lane = self._lanes[admitted.lane]
            host = lane.host_of(admitted.attempt)
            key = self._before.key_of(admitted.attempt, host)
        if type(performed.result) is Unsent:
            lane.take_back(admitted.permit, host, self.system.now_ns, key)
            if self._held is not None and self._stages.first_start_ns(admitted.attempt) is not None:
                self._held.come_back(admitted.attempt, lane, key)
            self.tell_handler(Requeued(attempt=admitted.attempt, charged=True, error=performed.result.error))
        else:
            took_ns = performed.ended_ns - performed.started_ns
            lane.settle(admitted.permit, performed.result, host, self.system.now_ns, took_ns, admitted.in_flight, key)
            if self._held is not None and self._stages.is_awaited(admitted.attempt):
                if is_held_after(performed.result):
                    self._held.come_back(admitted.attempt, lane, key)
                else:
                    self._held.give_back(admitted.attempt.command.notification_id)
            self.tell_handler(performed)
        if self._isolation is not None and self._isolation.is_busy:
            self._isolation.actor_ref.tell(AttemptEnded(admitted.attempt))
        if self._lines or self._returning is not None:
            line = self._lines.get(host)
            # Only time, or a change of the breaker's state, releases attempts that go at a pace.
            may_go = line is not None and (self._has_news or line.reasons != ONLY_PACED)
            self._look_after((host,) if may_go else ())

    @handles(OperateBreaker)
    @takes_turn("override", lambda breaker, order: (breaker._place, order), when_told=True)
    def on_operate(self, order: OperateBreaker) -> bool:
        changed = [
            lane.breakers.override(BreakerEvent(order.order), self.now_ns)
            for lane in self._lanes
            if order.provider in (None, lane.provider_name)
        ]
        self._look_after(None)
        return any(changed)

    @handles(GiveBack)
    def on_give_back(self, given: GiveBack) -> None:
        assert self._held is not None
        attempt = self._held.give_back(given.notification_id)
        if attempt is not None:
            if self._tenants is not None:
                self._tenants.see_out(attempt)
            self._look_after(())

    @handles(WereOut)
    def on_were_out(self, were_out: WereOut) -> None:
        assert self._held is not None
        self._held.reclaim(were_out, self._before.key_of)

    @handles(QuotaDivided)
    def on_quota_divided(self, _: QuotaDivided) -> None:
        self._take_turns()
        self.set_timer()

    @handles(FlushQueue)
    def on_flush_queue(self, _: FlushQueue) -> None:
        if self._tenants is not None:
            self._tenants.flush()
        self._before.clear(self.now_ns)
        if self._returning is not None:
            self._returning.clear()
        self.set_timer()

    def _hand_on(self, rest: Withdraw) -> None:
        assert self._stages.handler is not None
        self._stages.handler.tell(NotWaiting(rest.wanted))

    def _advance(self) -> None:
        now_ns = self.system.now_ns
        due: list[tuple[int, str]] = []
        for until_ns, host, number in self._half_open.due(now_ns):
            self._lanes[number].breakers.of(host, now_ns).advance(now_ns)
            due.append((until_ns, host))
        for since_ns, host, attempt in self._before.room.expired(now_ns):
            self.reject(attempt, EXPIRED)
            due.append((since_ns, host))
        due += self._before.room.due(now_ns)
        if self._returning is not None:
            self._returning.advance()
        self._look_after(list(dict.fromkeys(host for _, host in sorted(due))))
        if self._tenants is not None:
            self._tenants.lines.advance()

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self, attempt: Attempt, host: str) -> dict[int, Blocked]:
        """Send an attempt to the first provider that takes it; else return what blocks it, by number of lane."""
        now_ns, key, others_wait = self.system.now_ns, self._before.key_of(attempt, host), self._before.room.others_wait
        is_kept_back = self._tenants is not None and self._tenants.is_kept_back(attempt)
        holds_slot = self._held is not None and self._held.has(attempt)
        blocked = {}
        for lane in self._before.in_order(attempt):
            permit = lane.try_admit(host, now_ns, key, others_wait, is_kept_back, holds_slot)
            if isinstance(permit, int):
                if holds_slot and self._held is not None:
                    self._held.set_out(attempt, lane)
                admitted = Admitted(
                    attempt=attempt, permit=permit, lane=lane.number, provider=lane.provider, in_flight=lane.in_flight
                )
                self._to_channels[lane.number](admitted)
                return {}
            blocked[lane.number] = permit
        return blocked

    def _look_after(self, hosts: Collection[str] | None) -> None:
        ready = deque(self._lines if hosts is None else hosts)
        self._take_turns()
        while ready:
            host = ready.popleft()
            if (line := self._lines.get(host)) is not None and self._step(line):
                ready.append(host)
        if self._hosts_share_slots:
            self._take_turns()  # where no others wait any more, a key may have more than its share of the slots
        self.set_timer()

    def _take_turns(self) -> None:
        now_ns = self.system.now_ns
        if self._returning is not None:
            self._returning.let_go()
        for lane in self._lanes:
            # A line that room alone does not help leaves these turns, so this loop ends.
            while (turn := self._before.turn_at(lane, now_ns)) is not None:
                line, flow = turn
                self._step(line, flow, lane.number)

    def _step(self, line: Line[Attempt], flow: Flow | None = None, at: int | None = None) -> bool:
        """Deal with the first attempt of a flow; return whether the next one is worth a look.

        The turns of the lane `at` have chosen the flow; None: those of the line choose it.
        """
        now_ns, room = self.system.now_ns, self._before.room
        if self._before.bounds_waits and at is None:  # else there is room, which comes first
            while (refuses_at_ns := line.refuses_at_ns) is not None and refuses_at_ns <= now_ns:
                self._refuse(full(room.take_longest(line)), line.host)
            if not line.size:
                return False
        if flow is None:
            flow = self._before.turn_in(line, now_ns)
        first = line.queue(flow).first
        is_sent_back = self.sends_back(first)
        blocked = {} if is_sent_back else self._admit(first, line.host)
        if blocked:
            reasons = reasons_of(blocked.values())
            if self._tenants is not None and BlockReason.TENANT in reasons:
                self._tenants.hand_back(first)
            elif end := end_of(first, blocked.values(), reasons, fails_when_open=self._fails_when_open):
                self._refuse(end, line.host)
            else:
                self._wait_for(line, blocked, reasons)
                return False
        room.take(line, flow, goes=not is_sent_back and not blocked, at=at)
        return line.size > 0 and not (line.reasons == ONLY_PACED and self._before.is_held_by_pace(line, now_ns))

    def _refuse(self, end: Refused | Rejected, host: str) -> None:
        if type(end) is Refused and end.outcome.reason == BULKHEAD_FULL:
            for lane in self._lanes:
                record_full_bulkhead(lane, host, self.system.now_ns)
        self.tell_handler(end)

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_or_end(self, attempt: Attempt, host: str, blocked: Mapping[int, Blocked]) -> None:
        reasons = reasons_of(blocked.values())
        if end := end_of(attempt, blocked.values(), reasons, fails_when_open=self._fails_when_open):
            self._refuse(end, host)
            return
        self._wait_for(self._before.join(attempt, host, self.system.now_ns), blocked, reasons)
        self.set_timer()

    def _join(self, line: Line[Attempt], attempt: Attempt) -> None:
        now_ns, before = self.system.now_ns, self._before
        if line.is_up_to_time and is_too_late(attempt, before.resumes_at_ns(line, now_ns)):
            self.reject(attempt, EXPIRED)
            return
        before.join(attempt, line.host, now_ns)
        if self._tenants is not None and line.reasons <= WAITS_FOR_BREAKER:
            self._tenants.wait_for_breaker((attempt,))
        has_own_turns = before.order.has_keys and not before.keys_are_hosts
        if has_own_turns:
            self._take_turns()  # a slot that is kept for others may be for this one
        if line.size:
            before.report(line, now_ns)
        if has_own_turns or attempt.expires_at_ns is not None:
            self.set_timer()

    def _wait_for(self, line: Line[Attempt], blocked: Mapping[int, Blocked], reasons: Reasons) -> None:
        was_shut = bool(line.reasons) and line.reasons <= WAITS_FOR_BREAKER
        self._before.wait_for(line, blocked, reasons, self.system.now_ns)
        if self._tenants is not None and reasons <= WAITS_FOR_BREAKER and not was_shut:
            self._tenants.wait_for_breaker(line.waiting())

    def _next_ns(self) -> int | None:
        wake_ns = sooner(self._before.next_ns(self.system.now_ns), self._half_open.next_ns)
        if self._returning is not None:
            wake_ns = sooner(wake_ns, self._returning.room.wake_ns)
        return wake_ns if self._tenants is None else sooner(wake_ns, self._tenants.lines.room.wake_ns)

    # ── transitions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _on_transition(self, lane: Lane, host: str, transition: Transition) -> None:
        self._publish(
            BreakerTransitioned(
                at_ns=self.now_ns,  # later than `transition.at_ns` where this actor was down when it was due
                epoch_ns=self.epoch_ns,
                breaker=lane.name,
                host=host if self._is_per_host else None,
                from_state=transition.from_state,
                to_state=transition.to_state,
                cause=transition.event,
            )
        )
        self._has_news = True
        is_half_open = transition.to_state is BreakerState.HALF_OPEN
        half_open_until_ns = lane.breakers.of(host, self.now_ns).changes_at_ns if is_half_open else None
        self._half_open.set(host, lane.number, half_open_until_ns)
        if transition.to_state is BreakerState.CLOSED and self._stages.redriver is not None:
            self._stages.redriver.tell(BreakerClosed(self._channel, host))
        if transition.ends_refusal and (host in self._lines or host in self._before.beside):
            lane.paces.resume(host, self.now_ns)
        if half_open_until_ns is not None:
            self.set_timer()
