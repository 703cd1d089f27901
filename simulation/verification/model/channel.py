"""The way of a channel's attempts to its providers: user limits, then slots, quota, breaker and throttle of each.

"rate limiter → circuit breaker → channel → provider" (2). What may not go yet waits before the providers, in `lines`:
one, or one for each host of recipients. It begins a line or joins one; where there is room, lines take turns; and some
hosts are looked after when something has changed for them. All that waits or is at a provider is in `taken`. How lines
do that is part 2 (`waiting`).
"""

from __future__ import annotations

from typing import Any

from actors.messages import BreakerTransitioned
from actors.outcomes import Transient
from actors.settings.channel import ChannelConfig
from simulation.verification.model.addresses import host_of
from simulation.verification.model.breakers import Change
from simulation.verification.model.gates import OVER_THE_LIMIT, UserLimits
from simulation.verification.model.lane import Lane
from simulation.verification.model.notifications import ENDED_AS_EXPIRED, SHUT, Admitted, Attempt, Blocked, Ended, Send
from simulation.verification.model.process import Process
from simulation.verification.model.stage import Stage, is_too_late
from simulation.verification.model.waiting import BULKHEAD_IS_FULL, Waiting

BREAKER_OPEN = "circuit breaker is open"
THROTTLED = "adaptive throttle"


class Way(Waiting):
    """The way of one channel, and its last stage: the actor ``breaker``, before the providers, each with its `lane`."""

    def __init__(self, process: Process, channel: str, config: ChannelConfig) -> None:
        providers = enumerate(config.by_provider().items())
        lanes = [
            Lane(process, channel, number, name, own, not config.failover, self._transition)
            for number, (name, own) in providers
        ]
        super().__init__(process, channel, config, lanes)
        self.users = UserLimits(self)
        self.first: Stage = self if config.rate_limit is None else self.users

    # ── before the providers ────────────────────────────────────────────────────────────────────────────────────

    def enter(self, attempt: Attempt) -> None:
        """Let an attempt come that has not yet: to its tenant's bound, where the channel has any."""
        if attempt in self.taken:
            return
        self.taken[attempt] = None
        if attempt.command.notification_id in self.slots.held:
            self.slots.join(attempt)
            return
        if self.slots.lines:
            self.take_turns()
        if self.config.tenant is None:
            self.arrive(attempt)
        else:
            self.tenants.enter(attempt)
            self.tenants.let_in()

    def arrive(self, attempt: Attempt) -> None:
        """Let an attempt go to the first provider that takes it, or wait, behind all that wait at its host."""
        attempt.host = host_of(attempt.command.recipient) if self.is_per_host else ""
        attempt.key = self.order.key_of(attempt.command)
        line = self.lines.get(attempt.host)
        if line is not None:
            self.join(line, attempt)
            return
        if (self.lines or self.slots.lines) and self.may_be_preceded(attempt):
            self.take_turns()  # what room there is by now belongs to those that came before
        for lane in self.lanes:
            if lane.paces:
                lane.drop_unused_pace(attempt.host)
        blocked = self.admit(attempt)
        if blocked:
            end = self.end_of(attempt, blocked)
            if end is not None:
                self.refuse(attempt, end)
            else:
                self.begin_line(attempt, blocked)
        self.set_wake()

    def settle(self, send: Send) -> None:
        """Settle an attempt at its provider, once; its slot is free, and its breaker may change."""
        attempt = send.admitted.attempt
        if self.taken.get(attempt) is not send.admitted:
            return
        self.has_news = False  # true if a breaker changes
        send.admitted.lane.settle(send)
        if self.slots.is_on:
            self.slots.has_ended(send)
        if send.outcome is None:
            self.process.follow("handler", "", self.process.requeued, attempt, True)
        else:
            self.process.follow("handler", "", self.process.answered, send)
        self.has_left(attempt)
        if self.lines or self.slots.is_on:
            line = self.lines.get(attempt.host)
            may_go = line is not None and (self.has_news or not line.is_paced)  # a pace goes on by time alone
            self.look_after([attempt.host] if may_go else [])
        self.tenants.let_in()

    def operate(self, order: str, provider: str | None) -> None:
        """ "Operator states forced-open and disabled" (4): an order to the breakers, of one provider or of all."""
        for lane in self.lanes:
            if provider in (None, lane.provider_name):
                lane.breakers.override(order, self.process.now_ns)
        self.look_after(list(self.lines))
        self.tenants.let_in()

    def admit(self, attempt: Attempt) -> dict[int, Blocked]:
        """Let it go to the first provider that takes it now; else say what is in its way at each.

        After so many failed attempts as `switch_after` says it tries the next provider first.
        """
        lanes, after = self.lanes, self.config.switch_after
        if after is not None:
            first = (attempt.number - 1) // after % len(lanes)
            lanes = lanes[first:] + lanes[:first]
        has_tenants = bool(self.tenants.states)
        is_kept_back = has_tenants and self.tenants.keep_back(attempt)
        holds_slot = attempt.command.notification_id in self.slots.held
        blocked = {}
        for lane in lanes:
            admitted = lane.admit(attempt, tenant_is_full=is_kept_back, holds_slot=holds_slot)
            if isinstance(admitted, Admitted):
                if holds_slot:
                    self.slots.set_out(attempt, lane)
                    if attempt.tenant and self.config.tenant is not None:
                        self.tenants.states[attempt] = "before a provider"
                self.taken[attempt] = admitted
                if has_tenants:
                    self.tenants.let_through(attempt)
                self.process.follow("channel", lane.where, self.process.make, admitted)
                return {}
            blocked[lane.number] = admitted
        return blocked

    def end_of(self, attempt: Attempt, blocked: dict[int, Blocked]) -> Ended | None:
        """Return what becomes of one that is blocked so; None: it waits.

        A bulkhead with `wait: 0s` refuses at once, and the adaptive throttle what it drops: failed attempts, as
        "`when_open: wait` (default), or it counts as a failed attempt"; a quota with `on_limit: drop` dead-letters;
        one that waits for room at any of them, and at none has the time for what it waits for, expires at once (3).
        """
        reasons = {each.reason for each in blocked.values()}
        if "throttle" in reasons:
            return Ended(Transient(reason=THROTTLED))
        if "full" in reasons:
            return BULKHEAD_IS_FULL
        if reasons <= SHUT:
            fails = self.config.circuit_breaker.when_open == "fail"
            said = [each.latest_failure for each in blocked.values() if each.latest_failure is not None]
            return Ended(Transient(reason=BREAKER_OPEN, answer=said[0] if said else None)) if fails else None
        if reasons <= SHUT | {"pace"}:
            return None
        if "quota" in reasons and reasons <= SHUT | {"quota"}:
            return Ended(reason=OVER_THE_LIMIT)
        if attempt.until_ns is not None and all(is_too_late(attempt, each.until_ns) for each in blocked.values()):
            return ENDED_AS_EXPIRED
        return None

    # ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────

    def _transition(self, lane: Lane, change: Change) -> None:
        """Take in a transition; waiting attempts resume paced, not as one herd (4)."""
        host, config = change.host, lane.config.circuit_breaker
        lane.has_changed(change)
        self.expect_transition(lane, change, "a breaker trips, opens and closes by its circuit_breaker: {}", config)
        self.has_news = True
        lane.half_open.pop(host, None)
        if change.after == "closed" and self.config.redrive is not None:
            self.process.follow("dlq", "", self.process.redriving.breaker_closed, self.channel, host)
        if change.ends_refusal and (host in self.lines or host in self.slots.lines):
            lane.resume_paced(host)
        elif change.after == "half-open":
            until_ns = lane.breaker(host).changes_at_ns
            if until_ns is not None:
                lane.half_open[host] = until_ns
                self.set_wake()
        self.process.says(lane, change)

    def expect_transition(self, lane: Lane, change: Change, why: str, *about: Any) -> None:
        """ "Each transition is a recorded event" (4)."""
        event = self.process.event(
            BreakerTransitioned,
            None,
            breaker=self.process.named(lane.name),
            host=change.host if self.is_per_host else None,
            from_state=change.before,
            to_state=change.after,
            cause=change.cause,
        )
        self.process.expect(event, why, *about)
