"""A lane: one provider of a channel, and what stands in front of it.

An attempt has to pass, in this order: a breaker that is shut, a pause that the provider has asked for, room (slots,
quota, adaptive rate), the pace of what resumes, the bound of its tenant, the breaker's permit, the adaptive throttle;
and is counted against a quota only when it passes all ("a slot is taken before the breaker's permit, so that nothing
queued passes an open breaker", 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from actors.messages import BreakerState
from actors.outcomes import Outcome, Transient
from actors.settings.channel import ChannelConfig
from simulation.verification.model.adaptive import AdaptiveRate, AdaptiveThrottle, concurrency_of
from simulation.verification.model.breaker_groups import BreakersByHost
from simulation.verification.model.breakers import REFUSING, Breaker, Change
from simulation.verification.model.instants import wait_ns
from simulation.verification.model.limits import Slots
from simulation.verification.model.lines import Turns
from simulation.verification.model.notifications import CUT, Admitted, Attempt, Blocked, Send
from simulation.verification.model.order import Flow
from simulation.verification.model.process import Process
from simulation.verification.model.resuming import Learned, Pace, ceiling_per_s


class Lane:
    """One provider of a channel; its state outlives the actors, and not the process."""

    def __init__(
        self,
        process: Process,
        channel: str,
        number: int,
        name: str,
        config: ChannelConfig,
        is_alone: bool,
        on_change: Callable[[Lane, Change], None],
    ) -> None:
        """Begin as the provider of a name, the how-many-th of a channel; `on_change` hears of its breakers."""
        self.process = process
        self.channel = channel
        self.number = number
        self.provider_name = name
        """``primary``, or as `failover` calls it."""
        self.provider = None if is_alone else name
        """As events name it: not at all where there is only one."""
        self.name = channel if number == 0 else f"{channel}/{name}"
        """The name of its breaker: ``email``, ``email/backup``."""
        self.where = f"{channel}/{name}"
        """Where the actor is that asks its provider."""
        self.config = config
        self.timeout_ns = wait_ns(config.timeout)
        self.slot_wait_ns = None if config.slot_wait is None else wait_ns(config.slot_wait)
        self.is_per_host = config.circuit_breaker.per == "host"
        stream = process.stream
        self.breakers = BreakersByHost(
            config.circuit_breaker, stream(f"{self.name}.breaker"), lambda change: on_change(self, change)
        )
        if not self.is_per_host:
            self.breakers.of("", process.now_ns)
        self.paused_until_ns: dict[str, int] = {}
        """By host, or for all by ``""``, after a hint of the provider that holds for others, too."""
        self.half_open: dict[str, int] = {}
        """By host, until when its breaker is half-open at most."""
        self.paces: dict[str, Pace] = {}
        """By host, while what waited for the breaker resumes."""
        self.latest_paces: dict[str, Pace] = {}
        """By host, of the line that has resumed since its breaker closed, and is empty."""
        self.unjudged: dict[str, Learned] = {}
        """By host, what the opening of a breaker teaches, should it prove abrupt by the time it closes."""
        self.learned: dict[str, Learned] = {}
        """By host, in force until its line is empty."""
        self.slots = Slots()
        self._slots_most = config.slots
        self.turns: Turns
        """Of the hosts whose lines wait for room here."""
        limit, throttle = config.concurrency_limit, config.adaptive_throttle
        self._concurrency = None if limit is None else concurrency_of(limit, stream(f"{self.name}.concurrency"))
        self.quota = None if config.quota is None else process.quota_of(config.quota)
        self._rate = None if config.adaptive_rate is None else AdaptiveRate(config.adaptive_rate)
        self._throttle = None if throttle is None else AdaptiveThrottle(throttle, stream(f"{self.name}.throttle"))

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, attempt: Attempt, *, tenant_is_full: bool, holds_slot: bool) -> Admitted | Blocked:
        """Take an attempt, with a permit of the breaker and a slot; or say what is in its way.

        The caller says whether its tenant has as many under way as it may, and whether its notification holds a slot.
        """
        host, now_ns, key = attempt.host, self.process.now_ns, attempt.key
        breaker = self.breakers.of(host, now_ns)
        if breaker.state in REFUSING:
            admits_ns = breaker.admits_at_ns(now_ns)
            if admits_ns != now_ns and breaker.state in REFUSING:
                return self._shut(breaker, admits_ns)  # it claims no turn of an account, as room would not help
        paused_ns = self._paused_ns(host) if self.paused_until_ns else 0
        if paused_ns > now_ns:
            return Blocked("hint", paused_ns)
        room_ns = self.room_at(now_ns, holds_slot=holds_slot)
        if room_ns is None and holds_slot:
            return Blocked("slot", None)
        if room_ns != now_ns:
            return self._without_room(room_ns)
        if key and not holds_slot:
            others_wait = self.turns.has_others(key)
            if self.slots.are_kept_from(key, self.slot_limit, do_others_wait=others_wait):
                return self._without_room(None)
        pace = self.paces.get(host)
        if pace is not None and pace.next_ns > now_ns:
            return Blocked("pace", pace.next_ns)
        if tenant_is_full:
            return Blocked("tenant", None)  # it could go, so it takes neither a permit nor a turn of the pace
        permit = breaker.take_permit(now_ns)
        pace = self.paces.get(host)  # another one where it has closed just now, as its half-open time was up
        if pace is not None:
            pace.go(now_ns, self._ceiling(host))  # counts all that ask: of these a ramp then lets a share go
        if permit is None:
            if pace is not None and breaker.ramping_until_ns is not None:
                return Blocked("pace", pace.next_ns)
            return self._shut(breaker, breaker.admits_at_ns(now_ns))
        if self._throttle is not None and not self._throttle.admits(now_ns):
            breaker.settle(permit, None, now_ns, 0)
            return Blocked("throttle", None)
        self.charge_rates()
        self.slots.change(key, 1)
        return Admitted(attempt, self, permit, self.slots.count)

    @property
    def slot_limit(self) -> int | None:
        """How many attempts may be at the provider at once: `max_in_flight`, or what adapts if that is less."""
        slots = self._slots_most
        if self._concurrency is None:
            return slots
        return self._concurrency.limit if slots is None else min(slots, self._concurrency.limit)

    def room_at(self, now_ns: int, *, holds_slot: bool = False) -> int | None:
        """Return when one more fits, whatever its host; None: when a slot becomes free."""
        limit = self.slot_limit
        if limit is not None and self.slots.are_taken(limit, holds_slot=holds_slot):
            return None
        return self._rates_fit_at(now_ns)

    def next_turn(self) -> tuple[str, Flow | None] | None:
        """Return which line gets the free slot, and for whom; None: no one of those that wait."""
        return self.turns.next(self.slots, self.slot_limit)

    def _rates_fit_at(self, now_ns: int) -> int:
        fits_ns = now_ns
        for limit in (self.quota, self._rate):
            if limit is not None:
                fits_ns = max(fits_ns, limit.fits_at("", now_ns))
        return fits_ns

    def charge_rates(self) -> None:
        for limit in (self.quota, self._rate):
            if limit is not None:
                limit.charge("", self.process.now_ns)

    def lets_copy_go(self, attempt: Attempt) -> bool:
        """Tell whether one more send of an attempt that has its slot may go now."""
        now_ns = self.process.now_ns
        is_open = self.breaker(attempt.host).state in REFUSING
        return not is_open and self._paused_ns(attempt.host) <= now_ns and self._rates_fit_at(now_ns) == now_ns

    def _without_room(self, room_ns: int | None) -> Blocked:
        if room_ns is None:
            return Blocked("full" if self.slot_wait_ns == 0 else "slot", None)
        quota, now_ns = self.config.quota, self.process.now_ns
        drops = quota is not None and quota.on_limit == "drop"
        is_over = drops and self.quota is not None and self.quota.fits_at("", now_ns) != now_ns
        return Blocked("quota" if is_over else "rate", room_ns)

    def _shut(self, breaker: Breaker, until_ns: int | None) -> Blocked:
        if breaker.ramping_until_ns is not None:
            return Blocked("ramp", breaker.ramping_until_ns)
        by_failures = breaker.state in (BreakerState.OPEN, BreakerState.HALF_OPEN)
        return Blocked("breaker", until_ns, breaker.latest_failure if by_failures else None)

    # ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, send: Send) -> None:
        """Free the slot, and have the breaker and all that adapts learn of the outcome, if there is any."""
        now_ns, duration_ns = self.process.now_ns, send.ended_ns - send.started_ns
        admitted, outcome = send.admitted, send.outcome
        attempt = admitted.attempt
        self.slots.change(attempt.key, -1)
        said = None if outcome is CUT else outcome  # "it says nothing to the breaker" (23)
        self.breakers.of(attempt.host, now_ns).settle(admitted.permit, said, now_ns, duration_ns)
        if outcome is None:
            return
        if self.config.hedging is None:
            self.heed(attempt, outcome)
        if self._rate is not None:
            self._rate.after(outcome, now_ns)
        if self._throttle is not None:
            self._throttle.after(outcome, now_ns)
        if self._concurrency is not None:
            self._concurrency.after(outcome, duration_ns, admitted.in_flight)

    def heed(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """ "After a throttled answer with a hint the node starts nothing more to that host, or from that channel, until
        then; at most `retry_after_max`; other nodes within 2 s" (23)."""
        retry, now_ns = self.config.retry, self.process.now_ns
        is_hint = isinstance(outcome, Transient) and outcome.throttled and 0 < (outcome.retry_after or 0) < math.inf
        if retry.after_retry_after == "only_it" or not is_hint:
            return
        assert isinstance(outcome, Transient)
        until_ns = now_ns + min(wait_ns(outcome.retry_after or 0), wait_ns(retry.retry_after_max))
        if until_ns > max(now_ns, self._paused_ns(attempt.host)):
            host = attempt.host if retry.after_retry_after == "host" else ""
            self.paused_until_ns[host] = until_ns
            self.process.says_pause(self, host, until_ns)

    def _paused_ns(self, host: str) -> int:
        return self.paused_until_ns.get(host if self.config.retry.after_retry_after == "host" else "", 0)

    def refused_by_bulkhead(self, host: str) -> None:
        """Count one that got no slot as a failed call: "`counts`: also `refused_by_bulkhead`" (23)."""
        now_ns, counts = self.process.now_ns, self.config.circuit_breaker.counts
        if self.slot_wait_ns is not None and "refused_by_bulkhead" in counts:
            permit = self.breaker(host).take_permit(now_ns)
            if permit is not None:
                self.breaker(host).refused_by_bulkhead(permit, now_ns)

    # ── breakers, and the pace of what waited for them ──────────────────────────────────────────────────────────

    def breaker(self, host: str) -> Breaker:
        return self.breakers.of(host, self.process.now_ns)

    def has_changed(self, change: Change) -> None:
        """Stop the pace of a host whose breaker changes; where it opens, note the lesson of a relapse.

        Those that went last may have failed only now: a line that is empty still counts as resuming for a `timeout`.
        """
        host, now_ns = change.host, self.process.now_ns
        pace = self.paces.pop(host, None)
        if change.before != BreakerState.CLOSED:
            return
        latest = self.latest_paces.pop(host, None)
        if latest is not None and pace is None and now_ns <= (latest.latest_ns or 0) + self.timeout_ns:
            pace = latest
        if pace is not None:
            learned = Learned(now_ns, pace.per_s, self._arriving_per_s(host))
            if learned.is_of_resuming:
                self.unjudged[host] = learned

    def line_is_empty(self, host: str) -> None:
        """Forget what has been learned of a host."""
        self.learned.pop(host, None)
        self.unjudged.pop(host, None)
        pace = self.paces.pop(host, None)
        if pace is not None:
            self.latest_paces[host] = pace

    def resume_paced(self, host: str) -> None:
        """ "Waiting ones queue in order and resume paced, not as one herd" (4)."""
        unjudged = self.unjudged.pop(host, None)
        if unjudged is not None and self.breaker(host).tripped_abruptly:
            self.learned[host] = unjudged
        now_ns = self.process.now_ns
        most = self.learned[host].ceiling_per_s(now_ns) if host in self.learned else math.inf
        self.paces[host] = Pace(self.config.circuit_breaker, now_ns, most)

    def wait_through_ramp(self, host: str) -> int:
        """Let those that the ramp refuses ask again at a pace; the first of them has just asked."""
        self.resume_paced(host)
        self.paces[host].go(self.process.now_ns, self._ceiling(host))
        return self.paces[host].next_ns

    def drop_unused_pace(self, host: str) -> None:
        """Drop the pace of a host at which none is left to resume: its next turn has passed unused."""
        pace = self.paces.get(host)
        if pace is not None and pace.next_ns < self.process.now_ns:
            del self.paces[host]

    def restart_paces(self) -> None:
        """Begin paces anew where a turn has passed unused: all that waited was dropped, and comes again at once."""
        for each in (self.latest_paces, self.unjudged, self.learned):
            each.clear()
        for host, pace in list(self.paces.items()):
            if pace.next_ns < self.process.now_ns:
                self.resume_paced(host)

    def _ceiling(self, host: str) -> float:
        ceiling = ceiling_per_s(self.config.circuit_breaker, self._arriving_per_s(host))
        learned = self.learned.get(host)
        return ceiling if learned is None else min(ceiling, learned.ceiling_per_s(self.process.now_ns))

    def _arriving_per_s(self, host: str) -> float:
        of = host if self.is_per_host else None
        return self.process.arrivals[self.channel].per_second(of, self.process.now_ns)
