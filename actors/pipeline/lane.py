"""A lane: one provider of a channel with its breaker, slots, quota, rate and pauses, which say if it takes an attempt.

:meth:`Lane.try_admit` lists the checks, in their order. Only an attempt that passes all of them is charged: an attempt
that waits at the breaker has taken nothing of the quota, so the provider gets no more than the quota when the breaker
closes. A plain object with the time passed in; its stage keeps the lines of waiting attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, assert_never

from actors.domain.attempts import CUT
from actors.instants import ns, wait_ns
from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.blocked import BULKHEAD_FULL, Blocked, BlockReason
from actors.pipeline.quotas import Quotas
from actors.policies.adaptive.concurrency import make_concurrency_limit
from actors.policies.adaptive.rate import AdaptiveRate
from actors.policies.adaptive.throttle import AdaptiveThrottle
from actors.policies.breaker.breaker import Breaker, Transition
from actors.policies.breaker.per_host import WHOLE_LANE, BreakerGroup, recipient_host
from actors.policies.breaker.states import NOT_CLOSED
from actors.policies.order import Flow, Turns
from actors.policies.rate_limit.limiter import Limiter
from actors.policies.resuming import Arrivals, Paces
from actors.policies.retry.pauses import Pauses
from actors.policies.retry.policy import failure_kind
from actors.policies.slots import Slots
from actors.settings.channel import PRIMARY, ChannelConfig

if TYPE_CHECKING:
    from actors.domain.attempts import Attempt

_NO_SLOT = Blocked(BlockReason.SLOT)
_FULL = Blocked(BlockReason.FULL)
_THROTTLED = Blocked(BlockReason.THROTTLE)
_TENANT = Blocked(BlockReason.TENANT)


class Lane:
    """One provider of a channel. `now_ns` never goes back from one call to the next.

    Args:
        number: its place in the order of the channel's providers.
        quotas: makes the quotas that lanes share; None: this lane shares none.
    """

    def __init__(
        self,
        number: int,
        channel: str,
        provider: str | None,
        config: ChannelConfig,
        stream: Callable[[str], Random],
        arrivals: Arrivals,
        quotas: Quotas | None = None,
    ) -> None:
        self.number = number
        self.provider = provider
        self.provider_name = provider or PRIMARY
        """The provider's name in overrides and faults, also where it is the only one."""
        self.name = breaker_name(channel, number, provider)
        """The name of its breaker in the history."""
        self.config = config
        self._on_transition: Callable[[Lane, str, Transition], None] | None = None
        breaker = config.circuit_breaker
        random = stream(f"{self.name}.breaker") if breaker.draws else None
        self.breakers = BreakerGroup(breaker, name=self.name, on_transition=self._transition, random=random)
        self.breaker = self.breakers.only
        """The breaker of the whole lane; None: each host has its own."""
        self.counts = frozenset(breaker.counts)
        """Which outcomes the breaker counts as failures."""
        self._arrivals = arrivals
        self.paces = Paces(
            breaker,
            wait_ns(config.timeout),
            self._arriving_per_s,
            lambda host, now_ns: self.breakers.of(host, now_ns).tripped_abruptly,
        )
        """The paces of lines behind breakers that have closed."""
        self.slot_wait_ns = None if config.slot_wait is None else ns(config.slot_wait)
        """How long an attempt waits for a slot, at most; None: as long as it takes."""
        self._no_slot = _FULL if self.slot_wait_ns == 0 else _NO_SLOT
        self._concurrency = (
            None
            if config.concurrency_limit is None
            else make_concurrency_limit(config.concurrency_limit, stream(f"{self.name}.concurrency"))
        )
        self.slots = Slots(config.slots, self._concurrency, are_shared=config.fair_by != "none")
        self.in_flight = 0
        """Attempts that it has let through and that have not ended: each has a slot."""
        self.reserved = 0
        """Slots held by notifications that have no attempt here now."""
        self.quota = None if config.quota is None else (quotas or Quotas()).limiter(config.quota)
        self._quota_drops = config.quota is not None and config.quota.on_limit == "drop"
        self.rate = None if config.adaptive_rate is None else AdaptiveRate(config.adaptive_rate)
        self._rates: list[Limiter] = [limiter for limiter in (self.quota, self.rate) if limiter is not None]
        """The limiters (quota, rate) that every attempt is charged to."""
        self._throttle = (
            None
            if config.adaptive_throttle is None
            else AdaptiveThrottle(config.adaptive_throttle, stream(f"{self.name}.throttle"))
        )
        retry = config.retry
        self.pauses = (
            None if retry.after_retry_after == "only_it" else Pauses(retry.after_retry_after, retry.retry_after_max)
        )
        """After hints of the provider; None: a hint holds for its own notification alone."""
        self._say_pause: Callable[[str, int | None], None] | None = None
        learns = (self._concurrency, self.rate, self._throttle, self.pauses)
        self.adapts = any(each is not None for each in learns)
        """Whether anything but the breaker learns from outcomes."""
        self._has_bounds = self.slots.are_bounded or bool(self._rates) or self.pauses is not None

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def try_admit(
        self,
        host: str,
        now_ns: int,
        key: str = WHOLE_LANE,
        others_wait: Callable[[int, str], bool] = lambda _lane, _key: False,
        tenant_is_full: bool = False,
        holds_slot: bool = False,
    ) -> int | Blocked:
        """Take an attempt and return its permit, which has to be settled with :meth:`settle`; or say what blocks it.

        The checks come in this order: an open breaker, a pause, the slots and the rates, the slots that are kept for
        other keys, the pace, the tenant, the permit, the throttle. The last two may draw a random number.

        Args:
            host: the recipient's host; used only where each host has a breaker of its own.
            now_ns: the instant, as in all methods.
            key: the attempt's user, host or tenant; used only where these take turns.
            others_wait: tells whether attempts of other keys than this wait for room at the lane of a number.
            tenant_is_full: whether its tenant may send nothing now; then the attempt takes neither permit nor throttle.
            holds_slot: whether its notification holds a slot, here or at another lane.
        """
        if (breaker := self.breaker) is None:
            breaker = self.breakers.of(host, now_ns)
        if not breaker.admits_all and breaker.refuses(now_ns):
            return _blocked_by(breaker, now_ns)
        if self._has_bounds:
            if self.pauses is not None and (until_ns := self.pauses.until_ns(host, now_ns)) != now_ns:
                return Blocked(BlockReason.HINT, until_ns)
            room_at_ns = self.room_at_ns(now_ns, holds_slot)
            if room_at_ns is None:
                return _NO_SLOT if holds_slot else self._no_slot
            if room_at_ns != now_ns:
                return self._blocked_by_rates(now_ns, room_at_ns)
            slots = self.slots
            if slots.are_shared and not holds_slot:
                taken = self.in_flight + self.reserved
                if slots.are_kept_from(key, taken, partial(others_wait, self.number)):
                    return self._no_slot
        paces = self.paces
        if paces.running and (pace := paces.running.get(host)) is not None and pace.next_ns > now_ns:
            return Blocked(BlockReason.PACE, pace.next_ns)
        if tenant_is_full:
            return _TENANT
        permit = breaker.try_acquire(now_ns)
        # The pace counts an attempt whether the ramp lets it through or not.
        pace = paces.go(host, now_ns) if paces.running else None
        if permit is None:
            if pace is not None and breaker.ramping_until_ns is not None:
                return Blocked(BlockReason.PACE, pace.next_ns)
            return _blocked_by(breaker, now_ns)
        if self._throttle is not None and not self._throttle.admits(now_ns):
            breaker.record_neutral(permit, now_ns)
            return _THROTTLED
        self.in_flight += 1
        if self._has_bounds:
            self.charge(now_ns)
            if self.slots.are_shared:
                self.slots.take(key)
        return permit

    def room_at_ns(self, now_ns: int, holds_slot: bool = False) -> int | None:
        """Return the earliest instant from now on at which one more attempt fits, whatever the host of its recipient.

        `now_ns` itself when there is room now; None when a slot has to become free first.
        """
        if self.slots.are_taken(self.in_flight if holds_slot else self.in_flight + self.reserved):
            return None
        return self.rates_allow_at_ns(now_ns) if self._rates else now_ns

    def next_turn(self, turns: Turns[Any]) -> Flow | None:
        """Return the flow that gets the free slot; None: the slot is kept for others."""
        if not self.slots.are_shared:
            return turns.next()
        taken = self.in_flight + self.reserved
        return turns.next(lambda key: not self.slots.are_kept_from(key, taken, turns.has_others))

    def reserve(self, key: str) -> None:
        """Keep the slot of an attempt that has ended, for its notification."""
        self.reserved += 1
        if self.slots.are_shared:
            self.slots.take(key)

    def release(self, key: str) -> None:
        self.reserved -= 1
        if self.slots.are_shared:
            self.slots.give_back(key)

    def rates_allow_at_ns(self, now_ns: int) -> int:
        """Return the earliest instant from now on at which the quota and the adaptive rate allow one more send."""
        allowed_ns = now_ns
        for limiter in self._rates:
            allowed_ns = max(allowed_ns, limiter.fits_at(WHOLE_LANE, now_ns))
        return allowed_ns

    def charge(self, now_ns: int) -> None:
        for limiter in self._rates:
            limiter.try_acquire(WHOLE_LANE, now_ns)

    def is_paused(self, host: str, now_ns: int) -> bool:
        return self.pauses is not None and self.pauses.until_ns(host, now_ns) != now_ns

    def heed(self, outcome: Outcome, host: str, now_ns: int) -> None:
        """Pause, where that is asked for, after an answer that throttles and has a hint."""
        if self.pauses is None or not isinstance(outcome, Transient) or not outcome.throttled:
            return
        paused = self.pauses.after_hint(host, outcome.retry_after, now_ns)
        if paused is not None and self._say_pause is not None:
            self._say_pause(*paused)

    def _blocked_by_rates(self, now_ns: int, room_at_ns: int) -> Blocked:
        is_over = self._quota_drops and self.quota is not None and self.quota.fits_at(WHOLE_LANE, now_ns) != now_ns
        return Blocked(BlockReason.QUOTA if is_over else BlockReason.RATE, room_at_ns)

    def ceiling_per_s(self, now_ns: int) -> float:
        """Return how many of its channel may go a second at most while a backlog resumes after a restart."""
        return self.paces.ceiling_per_s(self._arrivals.per_second(None, now_ns))

    def _arriving_per_s(self, host: str, now_ns: int) -> float:
        return self._arrivals.per_second(host if self.breaker is None else None, now_ns)

    def host_of(self, attempt: Attempt) -> str:
        """Return the host whose breaker decides about an attempt; ``""`` where there is one breaker for all."""
        return self.host_at(attempt.command.recipient)

    def host_at(self, recipient: str) -> str:
        """Return the host whose breaker decides about a recipient; ``""`` where there is one breaker for all."""
        return recipient_host(recipient) if self.breaker is None else WHOLE_LANE

    def is_shut(self, host: str, now_ns: int) -> bool:
        return self.breakers.of(host, now_ns).state in NOT_CLOSED

    # ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(
        self,
        permit: int,
        outcome: Outcome,
        host: str,
        now_ns: int,
        duration_ns: int,
        in_flight: int,
        key: str = WHOLE_LANE,
    ) -> None:
        """Record that an attempt has ended.

        Args:
            permit: the result of :meth:`try_admit`.
            outcome: how it ended.
            host: the host passed to :meth:`try_admit`; `key` likewise.
            now_ns: the instant.
            duration_ns: how long it took.
            in_flight: how many attempts were at the provider when this one set out, itself included.
        """
        self.in_flight -= 1
        if self.slots.are_shared:
            self.slots.give_back(key)
        if (breaker := self.breaker) is None:
            breaker = self.breakers.of(host, now_ns)
        if type(outcome) is Sent:
            breaker.record_success(permit, now_ns, duration_ns)
        else:
            _record_failure_with_breaker(breaker, self.counts, outcome, permit, now_ns, duration_ns)
        if self.adapts:
            if self.config.hedging is None:  # else the channel has told of each copy's answer as it came
                self.heed(outcome, host, now_ns)
            throttled = isinstance(outcome, Transient) and outcome.throttled
            answered = isinstance(outcome, (Sent, Permanent, DeadDestination))
            if self.rate is not None and throttled:
                self.rate.on_throttled(now_ns)
            elif self.rate is not None and answered:
                self.rate.on_success(now_ns)
            if self._throttle is not None and answered:
                self._throttle.on_accepted(now_ns)
            is_late = isinstance(outcome, Ambiguous) and outcome is not CUT
            if self._concurrency is not None and (answered or throttled or is_late):
                # How soon a provider refuses, or a deadline cuts, says nothing about how much the provider can do.
                self._concurrency.on_result(max(1, duration_ns), in_flight, dropped=not answered)

    def take_back(self, permit: int, host: str, now_ns: int, key: str = WHOLE_LANE) -> None:
        """Record that an attempt that was admitted is not made: that says nothing about the provider."""
        self.in_flight -= 1
        if self.slots.are_shared:
            self.slots.give_back(key)
        self.breakers.of(host, now_ns).record_neutral(permit, now_ns)

    def follow(self, on_transition: Callable[[Lane, str, Transition], None]) -> None:
        """Call a function from now on with each transition of a breaker and its host, ``""`` for the breaker of the
        whole channel."""
        self._on_transition = on_transition

    def share_pauses(self, say: Callable[[str, int | None], None]) -> None:
        """Call a function from now on with a host (``""``: all) and until when the provider has asked for a pause."""
        self._say_pause = say

    def _transition(self, host: str, transition: Transition) -> None:
        if transition.from_state is BreakerState.CLOSED:
            self.paces.breaker_opens(host, transition.at_ns)
        self.paces.stop(host)
        if self._on_transition is not None:
            self._on_transition(self, host, transition)


def breaker_name(channel: str, number: int, provider: str | None) -> str:
    """Return the name of the breaker of a channel's provider: ``email``, and of its further ones ``email/backup``."""
    return str(channel) if number == 0 else f"{channel}/{provider}"


def names_among_nodes(breaker: str) -> tuple[str, str]:
    """Return the two names under which nodes share a provider's state: for its breaker's votes and for its pauses.

    The second is no breaker's name: neither a channel nor a provider has a space in its name.
    """
    return breaker, f"{breaker} retry-after"


def lanes_of(
    channel: str,
    config: ChannelConfig,
    stream: Callable[[str], Random],
    arrivals: Arrivals,
    quotas: Quotas | None = None,
) -> tuple[Lane, ...]:
    settings = config.by_provider()
    return tuple(
        Lane(number, channel, name if len(settings) > 1 else None, own, stream, arrivals, quotas)
        for number, (name, own) in enumerate(settings.items())
    )


def record_full_bulkhead(lane: Lane, host: str, now_ns: int) -> None:
    """Have the breaker of a lane count, where it is to, an attempt that got no slot there."""
    if "refused_by_bulkhead" not in lane.counts or lane.slot_wait_ns is None:
        return
    breaker = lane.breakers.of(host, now_ns)
    if (permit := breaker.try_acquire(now_ns)) is not None:
        breaker.record_failure(permit, now_ns, reason=BULKHEAD_FULL)


def _blocked_by(breaker: Breaker, now_ns: int) -> Blocked:
    ramping_until_ns = breaker.ramping_until_ns
    if ramping_until_ns is not None:
        return Blocked(BlockReason.RAMP, ramping_until_ns)
    failure = None if breaker.state is BreakerState.FORCED_OPEN else breaker.latest_failure
    return Blocked(BlockReason.BREAKER, breaker.admits_at_ns(now_ns), failure)


def _record_failure_with_breaker(
    breaker: Breaker, counts: Collection[str], outcome: Outcome, permit: int, now_ns: int, duration_ns: int
) -> None:
    match outcome:
        case Transient() | Ambiguous():
            if outcome is CUT or failure_kind(outcome) not in counts:
                breaker.record_neutral(permit, now_ns)
            else:
                breaker.record_failure(permit, now_ns, duration_ns, outcome.reason)
        case Permanent() | DeadDestination():
            if "permanent" in counts:
                breaker.record_failure(permit, now_ns, duration_ns, outcome.reason)
            else:
                breaker.record_reachable(permit, now_ns, duration_ns)
        case ChannelFault():
            breaker.trip(permit, now_ns, outcome.reason)
        case Sent():
            raise AssertionError("a success is no trouble")
        case _:
            assert_never(outcome)
