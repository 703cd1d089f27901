"""Before the providers of a channel: what may not go yet waits in one line, or where breakers are per host in one for
each host of recipients. A line takes its turn with the others for what they share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actors.messages import RANKS, DeferralCause
from actors.outcomes import Transient
from actors.settings.channel import ChannelConfig
from simulation.verification.model.gates import wake_of
from simulation.verification.model.held_slots import HeldSlots
from simulation.verification.model.instants import sooner
from simulation.verification.model.lane import Lane
from simulation.verification.model.lines import HostLine, Turns
from simulation.verification.model.notifications import ENDED_AS_EXPIRED, ROOM, Admitted, Attempt, Blocked, Ended
from simulation.verification.model.order import Flow, Order
from simulation.verification.model.process import Process
from simulation.verification.model.stage import Stage, is_too_late
from simulation.verification.model.tenants import TenantBounds

BULKHEAD_IS_FULL = Ended(Transient(reason="bulkhead is full"))


class Waiting(Stage):
    """The lines of a channel before its providers, and what has become of those that have left them."""

    # In channel:
    admit: Callable[[Attempt], dict[int, Blocked]]
    end_of: Callable[[Attempt, dict[int, Blocked]], Ended | None]

    def __init__(self, process: Process, channel: str, config: ChannelConfig, lanes: list[Lane]) -> None:
        super().__init__("breaker", process, channel, config)
        self.lanes = lanes
        self.tenants = TenantBounds(self)
        self.slots = HeldSlots(self, config)
        self.is_per_host = config.circuit_breaker.per == "host"
        self.keys_are_hosts = self.is_per_host and config.fair_by == "host"
        self.taken: dict[Attempt, Admitted | None] = {}
        """The attempts that wait here, and those that have been let through and whose answers have not come."""
        self.forget_those_that_wait()

    # ── joining ─────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_line(self, attempt: Attempt, blocked: dict[int, Blocked]) -> None:
        line = self.lines[attempt.host] = HostLine(attempt.host, self.order)
        line.join(attempt, self.process.now_ns)
        self._note(line, blocked)

    def join(self, line: HostLine, attempt: Attempt) -> None:
        if line.needs_only_time and is_too_late(attempt, self._resumes_at(line)):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
            return
        line.join(attempt, self.process.now_ns)
        self._update_turns(line)
        if line.is_shut:
            self.tenants.park([attempt])
        may_have_room = self.order.has_keys and not self.keys_are_hosts
        if may_have_room:
            self.take_turns()  # a slot that is kept from others
        if line.waiting:
            self._report(line)
        if may_have_room or attempt.until_ns is not None:
            self.set_wake()

    def may_be_preceded(self, attempt: Attempt) -> bool:
        """Tell whether any may wait that have a turn before one that comes now."""
        rank, key = RANKS[attempt.command.priority], attempt.key
        return any(
            lane.turns.are_before(rank) or (key != "" and lane.slots.has_quarter(key, lane.slot_limit))
            for lane in self.lanes
        )

    def _note(self, line: HostLine, blocked: dict[int, Blocked]) -> None:
        was_shut, line.blocked = line.is_shut, blocked
        line.asks_at_ns = wait_ns = None
        for lane in self.lanes:
            reason, until_ns, _ = blocked[lane.number]
            if reason in ROOM:
                lane.turns.add(line)
                if reason == "slot":
                    wait_ns = sooner(wait_ns, lane.slot_wait_ns)
                continue
            lane.turns.discard(line.key)
            if reason == "ramp":
                until_ns = lane.wait_through_ramp(line.key)
            line.asks_at_ns = sooner(line.asks_at_ns, until_ns)
        line.wait_for_slots(wait_ns, self.process.now_ns)
        if line.is_shut and not was_shut:
            self.tenants.park(line.attempts())
        self._report(line)

    def _report(self, line: HostLine) -> None:
        """A wait for a slot alone is not reported."""
        reasons = line.reasons
        if reasons == {"slot"} or not line.unreported:
            return
        cause = DeferralCause.RATE_LIMIT if reasons & {"rate", "quota", "hint"} else DeferralCause.CIRCUIT_BREAKER
        resumes_ns = self._resumes_at(line)
        why = "for {} no provider has a slot, its rate or its breaker's leave now (circuit_breaker: {})"
        for attempt in line.unreported.values():
            self.defer(attempt, cause, resumes_ns, why, self.config.circuit_breaker)
        line.unreported = {}

    def _resumes_at(self, line: HostLine) -> int | None:
        rooms_ns = (lane.room_at(self.process.now_ns) for lane in self.lanes if line.key in lane.turns.hosts)
        return sooner(line.asks_at_ns, *rooms_ns)

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Look at what time has brought: expiries, the end of open or half-open time, the next at a pace."""
        now_ns = self.process.now_ns
        due = []
        half_open = [(until_ns, host, lane) for lane in self.lanes for host, until_ns in lane.half_open.items()]
        for until_ns, host, lane in sorted(half_open, key=lambda each: (each[0], each[1], each[2].number)):
            if until_ns <= now_ns and lane.half_open.get(host) == until_ns:
                del lane.half_open[host]
                lane.breaker(host).advance(now_ns)
                due.append((until_ns, host))
        before = dict(self.lines)
        due += self.end_expired(self.lines)
        returning = dict(self.slots.lines)
        self.end_expired(self.slots.lines)
        for host in returning.keys() - self.slots.lines.keys():
            self.line_is_gone(host)
        for host, line in before.items():
            self._update_turns(line)
            if host not in self.lines:
                self.line_is_gone(host)
        looks = ((line.next_look_ns(), host) for host, line in self.lines.items())
        due += [(instant_ns, host) for instant_ns, host in looks if instant_ns is not None and instant_ns <= now_ns]
        self.look_after(list(dict.fromkeys(host for _, host in sorted(due))))
        self.tenants.look()
        self.tenants.let_in()

    def look_after(self, hosts: Collection[str]) -> None:
        """Let those go that may by now: by turns, and at these hosts."""
        self.take_turns()
        ready = list(hosts)
        while ready:
            host = ready.pop(0)
            if host in self.lines and self._step(self.lines[host]):
                ready.append(host)
        if self.is_per_host:
            self.take_turns()  # where no others wait any more, a key may have more than a quarter of the slots
        self.set_wake()

    def take_turns(self) -> None:
        """Let holders of a slot go first; then, while there is room at a provider, the lines that wait for it take
        turns, one attempt each."""
        self.slots.let_return()
        now_ns = self.process.now_ns
        for lane in self.lanes:
            while lane.turns.hosts and lane.room_at(now_ns) == now_ns and (turn := lane.next_turn()) is not None:
                host, flow = turn
                self._step(self.lines[host], flow, lane)

    def refuse(self, attempt: Attempt, end: Ended) -> None:
        """Turn one away, after the breakers have counted it where no slot was free for it."""
        if end is BULKHEAD_IS_FULL:
            for lane in self.lanes:
                lane.refused_by_bulkhead(attempt.host)
        self.turn_away(attempt, end)

    def _step(self, line: HostLine, flow: Flow | None = None, taken_at: Lane | None = None) -> bool:
        """Admit, end or leave the first of a line, or of a flow in it; return whether the next is worth a look."""
        now_ns = self.process.now_ns
        if taken_at is None:  # else there is room, which comes first
            for attempt in line.take_impatient(now_ns):
                self.refuse(attempt, BULKHEAD_IS_FULL)
        self._update_turns(line)
        if line.waiting:
            if flow is None:
                with_room = (lane for lane in self.lanes if self.order.has_keys and lane.room_at(now_ns) == now_ns)
                flow = line.next_flow((lane.slots, lane.slot_limit) for lane in with_room)
            first, goes = line.first(flow), False
            if is_too_late(first, now_ns):
                self.turn_away(first, ENDED_AS_EXPIRED)
            elif not self.process.is_wanted(first.command):
                self.hand_back(self.process.requeued, first, True)
            elif blocked := self.admit(first):
                if any(each.reason == "tenant" for each in blocked.values()):
                    self.tenants.send_back(first)
                elif (end := self.end_of(first, blocked)) is not None:
                    self.refuse(first, end)
                else:
                    self._note(line, blocked)
                    return False
            else:
                goes = True
            line.pop(flow, goes=goes)
            self._update_turns(line)
            for lane in self.lanes if goes else []:
                lane.turns.has_gone(line.key, flow, is_here=lane is taken_at)
        if not line.waiting:
            del self.lines[line.key]
            self.line_is_gone(line.key)
            return False
        if line.is_paced and (until_ns := self._paced_until(line.key)) is not None:
            line.asks_at_ns = until_ns
            return False
        return True

    def _update_turns(self, line: HostLine) -> None:
        for lane in self.lanes:
            lane.turns.update(line)

    def line_is_gone(self, host: str) -> None:
        """Take note that none waits at a host any more, of those that hold a slot, or of the others."""
        for lane in self.lanes:
            if host not in self.lines:
                lane.turns.discard(host)
            if host not in self.lines and host not in self.slots.lines:
                lane.line_is_empty(host)

    def _paced_until(self, host: str) -> int | None:
        """Return when the first pace is up that holds a line back; None: not all lanes do."""
        paces_ns = [lane.paces[host].next_ns for lane in self.lanes if host in lane.paces]
        is_held_back = len(paces_ns) == len(self.lanes) and min(paces_ns) > self.process.now_ns
        return min(paces_ns) if is_held_back else None

    def set_wake(self) -> None:
        """Set when time will bring something: an expiry, a breaker, a pace, or room that only time brings."""
        now_ns, wake_ns = self.process.now_ns, None
        for line in self.lines.values():
            wake_ns = sooner(wake_ns, line.next_look_ns(), line.next_expiry_ns())
        for tenant in self.tenants.lines.values():
            wake_ns = sooner(wake_ns, wake_of(tenant))
        for returning in self.slots.lines.values():
            wake_ns = sooner(wake_ns, returning.asks_at_ns, returning.next_expiry_ns())
        for lane in self.lanes:
            if lane.half_open:
                wake_ns = sooner(wake_ns, *lane.half_open.values())
            if lane.turns.hosts:
                room_ns = lane.room_at(now_ns)
                if room_ns != now_ns or lane.next_turn() is not None:
                    wake_ns = sooner(wake_ns, room_ns)
        self.process.wake("breaker", self.channel, wake_ns)

    # ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────

    def enter_after_waiting(self, attempt: Attempt) -> None:
        if attempt not in self.taken:
            super().enter_after_waiting(attempt)

    def hand_back(self, rule: Callable[..., None], attempt: Attempt, *more: Any) -> None:
        super().hand_back(rule, attempt, *more)
        self.has_left(attempt)

    def has_left(self, attempt: Attempt) -> None:
        """Take note that one is neither here nor at a provider any more."""
        self.taken.pop(attempt, None)
        if self.tenants.states and not self.slots.counts_on(attempt):
            self.tenants.has_left(attempt)

    def enter_anew(self, attempt: Attempt) -> None:
        """Turn one away whose time is up, or hand it back, as it is not wanted now."""
        if is_too_late(attempt, self.process.now_ns):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            self.hand_back(self.process.requeued, attempt, True)

    def flush(self) -> None:
        self.tenants.flush()
        self._give_up_those_that_wait()
        for lane in self.lanes:
            lane.turns.clear()
            lane.restart_paces()
        self.lines.clear()
        self.slots.lines.clear()
        self.set_wake()

    def withdraw(self, attempts: list[Attempt]) -> None:
        before = dict(self.lines)
        returning = dict(self.slots.lines)
        rest = self.take_out(attempts, self.tenants.lines, self.lines, self.slots.lines)
        for host, line in before.items():
            self._update_turns(line)
            if host not in self.lines:
                self.line_is_gone(host)
        for host in returning.keys() - self.slots.lines.keys():
            self.line_is_gone(host)
        if rest:
            self.process.follow("handler", "", self.process.waits_in_no_line, rest)
        self.set_wake()
        self.tenants.let_in()

    def forget_those_that_wait(self) -> None:
        """Drop the lines before the providers, as their actor has crashed; the handler sends again what was there."""
        self.lines: dict[str, HostLine] = {}
        self.order = Order(self.config)
        for lane in self.lanes:
            lane.turns = Turns(self.lines, self.order, is_per_host=self.is_per_host)
        self._give_up_those_that_wait()
        self.tenants.forget_those_that_wait()
        self.slots.forget_those_that_wait(self.config)
        self.has_news = False

    def _give_up_those_that_wait(self) -> None:
        self.taken = {attempt: admitted for attempt, admitted in self.taken.items() if admitted is not None}
