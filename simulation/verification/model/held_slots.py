"""Slots that are held between attempts (`retry.holds_slot`, section 23), and the lines of those that hold one.

"The slot (and the tenant's) is held from the first attempt's start to the end: waits for back-off, Retry-After and an
open breaker hold it; a half-open probe is taken from those that hold one. With failover it is the slot of the first
attempt's provider and goes along. After a restart or takeover those that were out get slots before newcomers."
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.messages import DeferralCause, SendNotification
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.settings.channel import ChannelConfig
from simulation.verification.model.addresses import host_of
from simulation.verification.model.instants import sooner
from simulation.verification.model.lane import Lane
from simulation.verification.model.lines import HostLine
from simulation.verification.model.notifications import Attempt, Blocked, Notification, Send
from simulation.verification.model.order import KEYS, Order, tenant_of
from simulation.verification.model.stage import is_too_late


@dataclass
class Held:
    """A slot that a notification holds while no attempt of it is there."""

    lane: Lane
    key: str
    attempt: Attempt
    """The latest, which counts for its tenant."""


class HeldSlots:
    """The held slots of one channel, which outlive the actor of its breaker."""

    def __init__(self, way: Any, config: ChannelConfig) -> None:
        self._way = way
        self.is_on = config.retry.holds_slot
        self.held: dict[str, Held] = {}
        """By notification."""
        self.forget_those_that_wait(config)

    def forget_those_that_wait(self, config: ChannelConfig) -> None:
        by_class = config.model_copy(update={"order": config.order.model_copy(update={"fair_by": "none"})})
        self._order = Order(by_class)
        self.lines: dict[str, HostLine] = {}
        """By host, of those that hold a slot and wait before the providers."""

    # ── the slots ───────────────────────────────────────────────────────────────────────────────────────────────

    def set_out(self, attempt: Attempt, lane: Lane) -> None:
        """Have one that is at its own provider hold nothing besides; at another one it goes along."""
        name = attempt.command.notification_id
        held = self.held[name]
        self._way.tenants.states.pop(held.attempt, None)
        held.attempt = attempt
        if held.lane is lane:
            del self.held[name]
            lane.slots.reserved[held.key] -= 1

    def has_ended(self, send: Send) -> None:
        """Have the notification hold the slot of an attempt that may be tried again; what was not made has none, if it
        is the first."""
        attempt, outcome, process = send.admitted.attempt, send.outcome, self._way.process
        notification: Notification | None = process.notification_of(attempt)
        if notification is None:
            return
        if isinstance(outcome, (Transient, Ambiguous, ChannelFault)) or (
            outcome is None and notification.first_start_ns is not None
        ):
            if attempt.command.notification_id not in self.held:
                self._hold(attempt, send.admitted.lane, attempt.key)
        elif outcome is not None:
            self._free(attempt.command.notification_id)

    def counts_on(self, attempt: Attempt) -> bool:
        """Tell whether one that has ended goes on counting for its tenant."""
        held = self.held.get(attempt.command.notification_id)
        return held is not None and held.attempt is attempt

    def give_back(self, name: str) -> None:
        """Free the slot of a notification that has ended, or waits in quiet hours."""
        attempt = self._free(name)
        if attempt is not None:
            self._way.tenants.has_left(attempt)
            self._way.look_after([])
            self._way.tenants.let_in()

    def were_out(self, found: Sequence[tuple[SendNotification, str | None]]) -> None:
        """Have those hold slots again that had made an attempt before a restart or a takeover."""
        for command, provider in found:
            if command.notification_id not in self.held:
                stand_in = Attempt(command, 1, "", True, None, None, tenant=tenant_of(command))
                lanes = self._way.lanes
                lane = next((each for each in lanes if each.provider == provider), lanes[0])
                self._hold(stand_in, lane, KEYS[self._way.config.fair_by](command))
                if stand_in.tenant and self._way.config.tenant is not None:
                    self._way.tenants.states[stand_in] = "at it"

    def _hold(self, attempt: Attempt, lane: Lane, key: str) -> None:
        self.held[attempt.command.notification_id] = Held(lane, key, attempt)
        lane.slots.reserved[key] += 1

    def _free(self, name: str) -> Attempt | None:
        held = self.held.pop(name, None)
        if held is None:
            return None
        held.lane.slots.reserved[held.key] -= 1
        return held.attempt

    # ── before the providers ────────────────────────────────────────────────────────────────────────────────────

    def join(self, attempt: Attempt) -> None:
        attempt.host = host_of(attempt.command.recipient) if self._way.is_per_host else ""
        attempt.key = KEYS[self._way.config.fair_by](attempt.command)
        attempt.tenant = "" if self._way.config.tenant is None else tenant_of(attempt.command)
        line = self.lines.setdefault(attempt.host, HostLine(attempt.host, self._order))
        line.join(attempt, self._way.process.now_ns)
        self._way.take_turns()
        self._way.set_wake()

    def let_return(self) -> None:
        """Let holders of a slot go before all others, at each event: so they are the probes."""
        for line in list(self.lines.values()):
            while line.waiting:
                flow = line.next_flow()
                first, goes = line.first(flow), False
                if is_too_late(first, self._way.process.now_ns) or not self._way.process.is_wanted(first.command):
                    self._way.enter_anew(first)
                elif blocked := self._way.admit(first):
                    end = self._way.end_of(first, blocked)
                    if end is None:
                        self._note(line, blocked)
                        break
                    self._way.refuse(first, end)
                    goes = True
                else:
                    goes = True
                line.pop(flow, goes=goes)
            self.drop_if_empty(line)

    def drop_if_empty(self, line: HostLine) -> None:
        if not line.waiting and self.lines.pop(line.key, None) is not None:
            self._way.line_is_gone(line.key)

    def _note(self, line: HostLine, blocked: dict[int, Blocked]) -> None:
        line.blocked, line.asks_at_ns = blocked, None
        for lane in self._way.lanes:
            reason, until_ns, _ = blocked[lane.number]
            if reason == "ramp":
                until_ns = lane.wait_through_ramp(line.key)
            line.asks_at_ns = sooner(line.asks_at_ns, until_ns)
        if line.reasons == {"slot"} or not line.unreported:
            return
        is_rate = line.reasons & {"rate", "quota", "hint"}
        cause = DeferralCause.RATE_LIMIT if is_rate else DeferralCause.CIRCUIT_BREAKER
        why = "{} holds its slot, and waits for a rate or the breaker (circuit_breaker: {})"
        for attempt in line.unreported.values():
            self._way.defer(attempt, cause, line.asks_at_ns, why, self._way.config.circuit_breaker)
        line.unreported = {}
