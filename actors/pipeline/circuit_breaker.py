"""The circuit breaker of one channel, with bulkhead and quota: which attempt may go where now, and which waits.

What stands in front of a provider is a :class:`~actors.pipeline.lane.Lane`, and a channel has one for each of its
providers: an attempt goes to the first that takes it. Those that none takes wait in one line for the whole channel, or
in one for each host of recipients where breakers are per host; who goes first is up to the channel's order. A line that
waits for room at a provider is in the turns of that lane: the lines take turns for what they share, and none of their
class that comes later goes before them. However many wait, it costs one timer; behind a breaker that has closed they
resume at a pace, not as one herd.
"""

from __future__ import annotations

import functools
import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from actors.domain.attempts import (
    EXPIRED,
    RATE_LIMIT_EXCEEDED,
    Admitted,
    Attempt,
    FlushQueue,
    Refused,
    Rejected,
    Requeued,
    Unsent,
)
from actors.instants import sooner
from actors.kernel.actor import handles
from actors.kernel.effects import Performed
from actors.messages import RANKS, BreakerState, BreakerTransitioned, DeferralCause, Message, NotificationChannel
from actors.outcomes import Transient
from actors.pipeline.host_line import HostLine
from actors.pipeline.isolation import AttemptEnded
from actors.pipeline.lane import NO_ROOM, WHOLE_LANE, Blocked, BlockReason, Lane
from actors.pipeline.orders import NotWaiting, Withdraw
from actors.pipeline.quotas import QuotaDivided
from actors.pipeline.redriver import BreakerClosed
from actors.pipeline.shared_breakers import NodesCounted, VoteHeard
from actors.pipeline.stage import Stage, is_too_late
from actors.pipeline.tenants import TenantsAtBreaker
from actors.pipeline.turns import TurnsOfHosts, TurnsOfOneLine
from actors.pipeline.waiting_line import Waiting
from actors.pipeline.wiring import Stages
from actors.policies.breaker.breaker import BreakerEvent, Transition
from actors.policies.order import Flow, Order, Turns
from actors.settings.channel import ChannelConfig

BREAKER_OPEN = "circuit breaker is open"
THROTTLED_HERE = "adaptive throttle"
BULKHEAD_FULL = "bulkhead is full"


class OperateBreaker(Message, frozen=True, kw_only=True, gc=False):
    """An operator's override of the breakers of a channel; answered with whether it changed anything."""

    order: Literal["force-open", "disable", "close", "metrics-only"]

    provider: str | None = None
    """Only to that of one of its providers, its own being called ``primary``. None: to all of them."""


class CircuitBreakerActor(Stage):
    """Lets attempts through to the providers of a channel, and learns from their outcomes."""

    def __init__(self, channel: NotificationChannel, config: ChannelConfig, stages: Stages) -> None:
        super().__init__(channel, stages)
        self._fails_when_open = config.circuit_breaker.when_open == "fail"
        self._switch_after = config.switch_after
        self._lanes = stages.lanes
        self._order = Order(config.order, config.fair_by)
        is_only = len(self._lanes) == 1 and self._lanes[0].breaker is not None and not self._order.has_keys
        self._only = self._lanes[0] if is_only else None
        """The lane where there is but one, with one breaker for all and without turns of users, hosts or tenants."""
        self._unbounded = self._only if self._only is not None and self._only.is_plain else None
        """The same, where there is nothing to pass but that breaker."""
        self._is_per_host = config.circuit_breaker.per == "host"
        self._bounds_waits = any(lane.slot_wait_ns for lane in self._lanes)
        self._lines: dict[str, HostLine] = {}
        """By host; none is empty."""
        self._keys_are_hosts = self._is_per_host and config.fair_by == "host"
        self._turns: list[TurnsOfOneLine | TurnsOfHosts] = [
            (TurnsOfHosts if self._is_per_host else TurnsOfOneLine)(self._lines, self._order) for _ in self._lanes
        ]
        """By lane: those of the lines that wait for room there."""
        self._half_open: dict[tuple[str, int], int] = {}
        """By host and lane: until when a breaker is half-open at most."""
        self._wakes: list[tuple[int, str, int]] = []
        """Instant, host, and the lane whose breaker is half-open no longer then; _LINE: of the host's line."""
        self._has_news = False
        """Whether a breaker has changed its state since this was last looked at."""
        self._tenants: TenantsAtBreaker | None = None
        for lane in self._lanes:
            lane.on_transition = self._on_transition
        self._reset_waiting()

    def on_start(self) -> None:
        super().on_start()
        self._isolation = None if self._stages.isolation is None else self._stages.isolation.actor
        self._to_channels = [self.route(lane.channel) for lane in self._lanes if lane.channel is not None]
        if self._stages.on_their_way is not None and self._stages.tenant_bounds is not None:
            self._tenants = TenantsAtBreaker(self._stages.on_their_way, self.route(self._stages.tenant_bounds))
            self._follow_attempts(self._tenants.is_admitted, self._tenants.is_told)
        for lane in self._lanes:
            for host, until_ns in lane.half_open_until():
                self._set_half_open(lane, host, until_ns)
        self._set_timer()

    def _follow_attempts(self, is_admitted: Callable[[Admitted], Admitted], is_told: Callable[[Any], None]) -> None:
        """Have it noted from now on what goes on to a channel, before it does, and what the handler has been told.

        Args:
            is_admitted: returns what is to go on.
            is_told: takes what the handler has been told.
        """
        to_handler = self._to_handler

        def tell_handler(message: Any) -> None:
            to_handler(message)
            is_told(message)

        def noting(to_channel: Callable[[Any], None]) -> Callable[[Any], None]:
            def tell_channel(admitted: Admitted) -> None:
                to_channel(is_admitted(admitted))

            return tell_channel

        self._to_handler = tell_handler
        self._to_channels = [noting(to_channel) for to_channel in self._to_channels]

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        if self._tenants is not None and not self._tenants.is_expected(attempt):
            return
        # First what `_admit` would come to, with fewer calls: the way of nearly every attempt.
        lane = self._unbounded
        if lane is not None and not self._lines and not lane.paces:
            permit = lane.breaker.try_acquire(self.system.now_ns)  # type: ignore[union-attr]
            if permit is not None:
                lane.in_flight += 1
                self._to_channels[0](Admitted(attempt=attempt, permit=permit))
            else:
                self._wait_or_end(attempt, WHOLE_LANE, {0: lane.blocked_by_breaker(WHOLE_LANE, self.system.now_ns)})
            return
        lane = self._only
        if lane is not None and not self._lines and not lane.paces:
            admitted = lane.try_admit(WHOLE_LANE, self.system.now_ns)
            if isinstance(admitted, Blocked):
                self._wait_or_end(attempt, WHOLE_LANE, {0: admitted})
            else:
                self._to_channels[0](Admitted(attempt=attempt, permit=admitted, in_flight=lane.in_flight))
            return
        host = self._lanes[0].host_of(attempt) if self._is_per_host else WHOLE_LANE
        line = self._lines.get(host)
        if line is not None:
            self._join(line, attempt)
            return
        if self._lines and not self._is_before_all(attempt, host):
            self._take_turns()  # there may be room by now, which belongs to those that came before
        for lane in self._lanes:
            lane.drop_unused_pace(host, self.system.now_ns)
        if blocked := self._admit(attempt, host):
            self._wait_or_end(attempt, host, blocked)
        if self._lines:
            self._set_timer()

    def _takes_up(self, message: Any) -> bool:
        is_dropped = type(message) is Attempt and self._tenants is not None and not self._tenants.is_expected(message)
        return is_dropped or super()._takes_up(message)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        admitted: Admitted = performed.request
        self._has_news = False
        lane = self._lanes[admitted.lane]
        host = lane.host_of(admitted.attempt) if self._is_per_host else WHOLE_LANE
        key = self._key_of(admitted.attempt, host) if self._order.has_keys else WHOLE_LANE
        if type(performed.result) is Unsent:
            lane.take_back(admitted.permit, host, self.system.now_ns, key)
            self._to_handler(Requeued(attempt=admitted.attempt, charged=True, error=performed.result.error))
        else:
            lane.settle(
                admitted.permit,
                performed.result,
                host,
                self.system.now_ns,
                performed.ended_ns - performed.started_ns,
                admitted.in_flight,
                key,
            )
            self._to_handler(performed)
        if self._isolation is not None and self._isolation.is_busy:
            self._isolation.actor_ref.tell(AttemptEnded(admitted.attempt))
        if self._lines:
            line = self._lines.get(host)
            # Only time, or a change of the breaker's state, releases those that go at a pace.
            if line is not None and (self._has_news or not line.is_paced):
                self._look_after((host,))
            elif any(self._turns):
                self._take_turns()
                self._set_timer()

    @handles(OperateBreaker)
    def on_operate(self, order: OperateBreaker) -> bool:
        changed = [
            lane.override(BreakerEvent(order.order), self.now_ns)
            for lane in self._lanes
            if order.provider in (None, lane.provider_name)
        ]
        self._look_after(list(self._lines))
        return any(changed)

    @handles(VoteHeard)
    def on_vote_heard(self, heard: VoteHeard) -> None:
        self._lanes[heard.lane].hear(heard.node, heard.host, heard.until_ns, self.now_ns)
        self._look_after((heard.host,))

    @handles(NodesCounted)
    def on_nodes_counted(self, counted: NodesCounted) -> None:
        for lane in self._lanes:
            lane.recount(counted.nodes, self.now_ns)
        self._look_after(list(self._lines))

    @handles(QuotaDivided)
    def on_quota_divided(self, _: QuotaDivided) -> None:
        self._take_turns()
        self._set_timer()

    @handles(FlushQueue)
    def on_flush_queue(self, _: FlushQueue) -> None:
        self._lines.clear()
        self._reset_waiting()
        for turns in self._turns:
            turns.clear()
        for lane in self._lanes:
            lane.restart_paces(self.now_ns)
        self._set_timer()

    @handles(Withdraw)
    def on_withdraw(self, withdraw: Withdraw) -> None:
        rest = self._take_out(withdraw, self._lines, self._lanes[0].host_of)
        if rest is not None:
            assert self._stages.handler is not None
            self._stages.handler.tell(NotWaiting(rest.wanted))
        self._set_timer()

    def _has_fewer(self, line: HostLine, key: str) -> None:
        if line.size:
            self._set_wake(line)
        else:
            self._drop(line)

    def _advance(self) -> None:
        now_ns = self.system.now_ns
        due: dict[str, None] = {}
        while self._wakes and self._wakes[0][0] <= now_ns:
            wake = heapq.heappop(self._wakes)
            if self._is_outdated(wake):
                continue
            host, number = wake[1:]
            due[host] = None
            if number == _LINE:
                self._lines[host].wake_ns = None
            else:
                self._half_open.pop((host, number))
                self._lanes[number].breaker_of(host, now_ns).advance(now_ns)
        self._look_after(due)

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self, attempt: Attempt, host: str) -> dict[int, Blocked]:
        """Send an attempt to the first provider that takes it; else return what blocks it, by number of lane."""
        now_ns = self.system.now_ns
        key = self._key_of(attempt, host) if self._order.has_keys else WHOLE_LANE
        is_kept_back = self._tenants is not None and self._tenants.is_kept_back(attempt)
        blocked = {}
        for lane in self._order_of_lanes(attempt):
            others_wait = self._turns[lane.number].others_wait
            permit = lane.try_admit(host, now_ns, key, others_wait, is_kept_back)
            if not isinstance(permit, Blocked):
                admitted = Admitted(
                    attempt=attempt, permit=permit, lane=lane.number, provider=lane.provider, in_flight=lane.in_flight
                )
                self._to_channels[lane.number](admitted)
                return {}
            blocked[lane.number] = permit
        return blocked

    def _key_of(self, attempt: Attempt, host: str) -> str:
        """Return whose turns an attempt at a host has a part in."""
        return host if self._keys_are_hosts else self._order.key_of(attempt.command)

    def _is_before_all(self, attempt: Attempt, host: str) -> bool:
        """Tell whether an attempt at a host where none waits goes before all that wait for room at other ones."""
        rank, key = RANKS[attempt.command.priority], self._key_of(attempt, host)
        return not any(
            lane.has_its_share(key) or turns.waits_before(rank, self._order)
            for lane, turns in zip(self._lanes, self._turns, strict=True)
        )

    def _order_of_lanes(self, attempt: Attempt) -> Sequence[Lane]:
        if self._switch_after is None:
            return self._lanes
        first = (attempt.number - 1) // self._switch_after % len(self._lanes)
        return self._lanes[first:] + self._lanes[:first]

    def _look_after(self, hosts: Collection[str]) -> None:
        """Release those that may go now: those whose turn it is, and those at hosts whose breakers have changed."""
        self._take_turns()
        ready = deque(hosts)
        while ready:
            host = ready.popleft()
            line = self._lines.get(host)
            if line is not None and self._step(line):
                ready.append(host)
        if self._is_per_host:
            self._take_turns()  # where no others wait any more, a key may have more than its share of the slots
        self._set_timer()

    def _take_turns(self) -> None:
        """Release those for which there is room, by their turns."""
        if not any(self._turns):
            return
        now_ns = self.system.now_ns
        for lane, turns in zip(self._lanes, self._turns, strict=True):
            # A line that room alone does not help leaves these turns, so this loop ends.
            while turns and lane.room_at_ns(now_ns) == now_ns and (turn := turns.next(lane)) is not None:
                self._step(self._lines[turn.host], turn.flow, turns)

    def _step(
        self, line: HostLine, flow: Flow | None = None, taken_at: TurnsOfOneLine | TurnsOfHosts | None = None
    ) -> bool:
        """Deal with the one whose turn it is; return whether the next one is worth a look.

        Args:
            line: where it waits.
            flow: of which it is the first, by the turns of a lane; None: by those of the line.
            taken_at: those turns of the lane.
        """
        now_ns = self.system.now_ns
        for attempt in line.expired(now_ns):
            self._reject(attempt, EXPIRED)
        if self._bounds_waits and taken_at is None:  # else there is room, which comes first
            while (refuses_at_ns := line.refuses_at_ns) is not None and refuses_at_ns <= now_ns:
                self._to_handler(_full(line.pop_longest()))
        if line.size:
            if flow is not None and line.place(flow) is None:
                return True  # those whose turn it was have expired
            if flow is None and line.turns is not None:
                flow = self._next_flow(line, line.turns)
            first, goes = line.first(flow), False
            is_wanted = self._stages.is_wanted
            if is_wanted is not None and not is_wanted(first.command):
                self._to_handler(Requeued(attempt=first, charged=True))
            elif blocked := self._admit(first, line.host):
                reasons = _reasons(blocked.values())
                if BlockReason.TENANT in reasons:
                    self._hand_back(first)
                elif (end := self._end(first, blocked.values(), reasons)) is not None:
                    self._to_handler(end)
                else:
                    self._note(line, blocked, reasons)
                    return False
            else:
                goes = True
            line.pop(flow, uses_turn=goes)
            if goes and flow is not None and self._is_per_host:
                for turns in self._turns:
                    if line.host in turns:
                        turns.has_gone(flow, turns is taken_at)
        if not line.size:
            self._drop(line)
            return False
        if line.is_paced and (asks_at_ns := self._paced_until_ns(line.host)) is not None:
            line.asks_at_ns = asks_at_ns  # as another look would find out, at a higher cost
            self._set_wake(line)
            return False
        return True

    def _next_flow(self, line: HostLine, turns: Turns[Any]) -> Flow:
        """Return the flow of a line whose turn it is, where its lane has said nothing of it."""
        now_ns = self.system.now_ns
        for lane in self._lanes if self._order.has_keys else ():
            if lane.room_at_ns(now_ns) == now_ns and (flow := lane.next_turn(turns)) is not None:
                return flow
        return line.next_flow  # there is no room, or it is kept for others, as it will be told

    def _paced_until_ns(self, host: str) -> int | None:
        """Return when the first pace lets the next one go; None if one of them does now, or there is none."""
        until_ns = None
        for lane in self._lanes:
            pace = lane.paces.get(host)
            if pace is None or pace.next_ns <= self.system.now_ns:
                return None
            until_ns = sooner(until_ns, pace.next_ns)
        return until_ns

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_or_end(self, attempt: Attempt, host: str, blocked: Mapping[int, Blocked]) -> None:
        reasons = _reasons(blocked.values())
        if (end := self._end(attempt, blocked.values(), reasons)) is not None:
            self._to_handler(end)
            return
        line = self._lines[host] = HostLine(host, self._waiting_for(reasons), self._order)
        if self._bounds_waits:
            line.keep_instants()
        line.append(attempt, self.system.now_ns)
        if self._is_per_host:
            line.on_flow = functools.partial(self._on_flow, host)
        self._note(line, blocked, reasons)
        self._set_timer()

    def _end(self, attempt: Attempt, blocked: Collection[Blocked], reasons: Reasons) -> Refused | Rejected | None:
        """Return the fate of an attempt that is blocked so and is not to wait; None when it is to wait."""
        if BlockReason.THROTTLE in reasons:
            return Refused(attempt=attempt, outcome=Transient(reason=THROTTLED_HERE))
        if BlockReason.FULL in reasons:
            return _full(attempt)
        if reasons <= _SHUT:
            return Refused(attempt=attempt, outcome=Transient(reason=BREAKER_OPEN)) if self._fails_when_open else None
        if reasons <= _WAITS_FOR_THE_BREAKER:
            return None
        if BlockReason.QUOTA in reasons and reasons <= _SHUT_OR_OVER_QUOTA:
            return Rejected(attempt=attempt, reason=RATE_LIMIT_EXCEEDED)
        if attempt.expires_at_ns is None or not _is_up_to_time(blocked):
            return None
        expires_first = all(is_too_late(attempt, until_ns) for _, until_ns in blocked)
        return Rejected(attempt=attempt, reason=EXPIRED) if expires_first else None

    def _join(self, line: HostLine, attempt: Attempt) -> None:
        if line.is_up_to_time and is_too_late(attempt, self._resumes_at_ns(line)):
            self._reject(attempt, EXPIRED)
            return
        line.append(attempt, self.system.now_ns)
        if line.is_shut and self._tenants is not None:
            self._tenants.wait_for_breaker((attempt,))
        has_own_turns = self._order.has_keys and not self._keys_are_hosts
        if has_own_turns:
            self._take_turns()  # a slot that is kept for others may be for this one
        if line.size:
            self._report_deferred(line)
            if attempt.expires_at_ns is not None:
                self._set_wake(line)
        if has_own_turns or attempt.expires_at_ns is not None:
            self._set_timer()

    def _on_flow(self, host: str, flow: Flow) -> None:
        for turns in self._turns:
            turns.changed(host, flow)

    def _note(self, line: HostLine, blocked: Mapping[int, Blocked], reasons: Reasons) -> None:
        """Record what a line waits for."""
        line.cause = _cause(reasons)
        line.now_waits_for(self._waiting_for(reasons))
        line.is_paced = reasons == {BlockReason.PACE}
        line.is_up_to_time = not reasons <= _WAITS_FOR_THE_BREAKER and _is_up_to_time(blocked.values())
        asks_at_ns = slot_wait_ns = None
        for lane, turns in zip(self._lanes, self._turns, strict=True):
            reason, until_ns = blocked[lane.number]
            if reason in NO_ROOM:
                turns.setdefault(line.host)
                if reason is BlockReason.SLOT:
                    slot_wait_ns = sooner(slot_wait_ns, lane.slot_wait_ns)
                continue
            turns.pop(line.host, None)
            if reason is BlockReason.RAMP:
                until_ns = lane.wait_through_ramp(line.host, self.system.now_ns)
            asks_at_ns = sooner(asks_at_ns, until_ns)
        line.asks_at_ns = asks_at_ns
        line.wait_for_slots(slot_wait_ns, self.system.now_ns)
        was_shut, line.is_shut = line.is_shut, reasons <= _WAITS_FOR_THE_BREAKER
        if line.is_shut and not was_shut and self._tenants is not None:
            self._tenants.wait_for_breaker(line.waiting())
        self._report_deferred(line)
        self._set_wake(line)

    def _hand_back(self, attempt: Attempt) -> None:
        """Have an attempt that could go wait until its tenant has room."""
        assert self._tenants is not None
        self._tenants.hand_back(attempt)

    def _reset_waiting(self) -> None:
        waiting = self._stages.waiting
        for each in (waiting.quota, waiting.slots, waiting.breaker):
            each.reset()

    def _waiting_for(self, reasons: Reasons) -> Waiting:
        """Return what counts those that are blocked so."""
        waiting = self._stages.waiting
        if reasons <= _WAITS_FOR_THE_BREAKER:
            return waiting.breaker
        return waiting.slots if reasons <= _WAITS_FOR_A_SLOT else waiting.quota

    def _resumes_at_ns(self, line: HostLine) -> int | None:
        """Return when the first of a line may go, as far as time decides."""
        resumes_at_ns = line.asks_at_ns
        for number, turns in enumerate(self._turns):
            if line.host in turns:
                resumes_at_ns = sooner(resumes_at_ns, self._lanes[number].room_at_ns(self.system.now_ns))
        return resumes_at_ns

    def _report_deferred(self, line: HostLine) -> None:
        if line.cause is None or not line.has_unreported:
            return
        resumes_at_ns = self._resumes_at_ns(line)
        for attempt in line.unreported():
            self._publish_deferred(attempt, line.cause, resumes_at_ns)

    def _drop(self, line: HostLine) -> None:
        del self._lines[line.host]
        for lane, turns in zip(self._lanes, self._turns, strict=True):
            turns.pop(line.host, None)
            lane.none_waits(line.host)

    # ── the timer ───────────────────────────────────────────────────────────────────────────────────────────────

    def _set_wake(self, line: HostLine) -> None:
        wake_ns = sooner(line.next_expiry_ns, line.asks_at_ns)
        if self._bounds_waits:
            wake_ns = sooner(wake_ns, line.refuses_at_ns)
        if wake_ns is not None and wake_ns != line.wake_ns:
            heapq.heappush(self._wakes, (wake_ns, line.host, _LINE))
        line.wake_ns = wake_ns

    def _set_half_open(self, lane: Lane, host: str, until_ns: int) -> None:
        self._half_open[host, lane.number] = until_ns
        heapq.heappush(self._wakes, (until_ns, host, lane.number))

    def _is_outdated(self, wake: tuple[int, str, int]) -> bool:
        wake_ns, host, number = wake
        if number != _LINE:
            return self._half_open.get((host, number)) != wake_ns
        line = self._lines.get(host)
        return line is None or line.wake_ns != wake_ns

    def _set_timer(self) -> None:
        while self._wakes and self._is_outdated(self._wakes[0]):
            heapq.heappop(self._wakes)
        wake_ns = self._wakes[0][0] if self._wakes else None
        for number, turns in enumerate(self._turns):
            if turns:
                lane = self._lanes[number]
                room_at_ns = lane.room_at_ns(self.system.now_ns)
                if room_at_ns != self.system.now_ns or turns.next(lane) is not None:
                    wake_ns = sooner(wake_ns, room_at_ns)
                # Else what is free is kept for hosts with fewer slots; the end of an attempt brings more.
        self._wake_at(wake_ns)

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
        self._half_open.pop((host, lane.number), None)
        if transition.to_state is BreakerState.CLOSED and self._stages.redriver is not None:
            self._stages.redriver.tell(BreakerClosed(self._channel, host))
        if transition.ends_refusal and host in self._lines:
            lane.resume_paced(host, self.now_ns)
        elif transition.to_state is BreakerState.HALF_OPEN:
            until_ns = lane.breaker_of(host, self.now_ns).changes_at_ns
            if until_ns is not None:
                self._set_half_open(lane, host, until_ns)
                self._set_timer()


_LINE = -1
Reasons: TypeAlias = frozenset[BlockReason]
"""All that blocks an attempt at any of its providers."""
_SHUT = frozenset({BlockReason.BREAKER, BlockReason.RAMP})
_SHUT_OR_OVER_QUOTA = _SHUT | {BlockReason.QUOTA}
_WAITS_FOR_THE_BREAKER = _SHUT | {BlockReason.PACE, BlockReason.THROTTLE}
"""All that has nothing to do with room."""


_WAITS_FOR_A_SLOT = _WAITS_FOR_THE_BREAKER | {BlockReason.SLOT}


def _full(attempt: Attempt) -> Refused:
    """Return the fate of an attempt that gets no slot."""
    return Refused(attempt=attempt, outcome=Transient(reason=BULKHEAD_FULL))


def _reasons(blocked: Iterable[Blocked]) -> Reasons:
    """Return all that blocks an attempt at any of its providers, of which there is at least one."""
    return frozenset([reason for reason, _ in blocked])


def _cause(reasons: Reasons) -> DeferralCause | None:
    """Return what to call a wait; one for slots alone is not reported."""
    if reasons == {BlockReason.SLOT}:
        return None
    is_over_a_rate = BlockReason.RATE in reasons or BlockReason.QUOTA in reasons
    return DeferralCause.RATE_LIMIT if is_over_a_rate else DeferralCause.CIRCUIT_BREAKER


def _is_up_to_time(blocked: Iterable[Blocked]) -> bool:
    """Return whether nothing can bring room sooner than time does, where it is room that is missing."""
    return all(until_ns is not None for _, until_ns in blocked)
