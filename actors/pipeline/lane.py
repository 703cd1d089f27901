"""A lane: one provider of a channel, with all that stands in front of it, and whether it takes an attempt now.

What an attempt has to pass, in this order: room (a slot of the bulkhead, the quota, the adaptive rate), the pace of
what resumes behind a breaker that has closed, the breaker's permit, the adaptive throttle. Only what passes all of
them is charged: what has to wait at the breaker has taken nothing of the quota, so the provider meets no more than the
quota when they all go. A plain object with the time passed in; its stage keeps the lines of waiting attempts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from enum import IntEnum
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from actors.instants import ns, wait_ns
from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.quotas import Quotas
from actors.policies.adaptive.concurrency import make_concurrency_limit
from actors.policies.adaptive.rate import AdaptiveRate
from actors.policies.adaptive.throttle import AdaptiveThrottle
from actors.policies.breaker.breaker import Breaker, BreakerEvent, IllegalTransition, Transition
from actors.policies.breaker.per_host import KEYS_MAX, BreakerGroup, recipient_host
from actors.policies.breaker.sharing import Sharing
from actors.policies.breaker.states import NOT_CLOSED
from actors.policies.order import Flow, Turns
from actors.policies.rate_limit.limiter import Limiter
from actors.policies.resuming import Arrivals, Ceiling, Pace, Relapse
from actors.settings.channel import PRIMARY, ChannelConfig

if TYPE_CHECKING:
    from actors.domain.attempts import Attempt
    from actors.kernel.actor import ActorRef

WHOLE_LANE = ""
"""The key of what is counted for the whole lane."""


class BlockReason(IntEnum):
    """What may stand in the way of an attempt; whole numbers, as Python compares and hashes them with no call."""

    SLOT = 1
    """All slots are taken: as many attempts are under way as may be."""

    RATE = 2
    """The quota or the adaptive rate does not allow another one yet."""

    QUOTA = 3
    """The quota does not allow another one, and drops what exceeds it."""

    BREAKER = 4
    """The circuit breaker gives no permit."""

    RAMP = 5
    """The breaker has closed and lets a growing share through, of which this one is not."""

    PACE = 6
    """The breaker has closed, and others who waited for it go first."""

    THROTTLE = 7
    """The adaptive throttle has refused it: it is not to be tried here again."""

    FULL = 8
    """All slots are taken, and it is refused for that."""

    TENANT = 9
    """It could go, and its tenant has as many under way as it may."""


class Blocked(NamedTuple):
    """Why a lane does not take an attempt now."""

    reason: BlockReason

    until_ns: int | None = None
    """The earliest instant at which it may, as far as time alone decides; None where something has to happen first."""


NO_ROOM = frozenset({BlockReason.SLOT, BlockReason.RATE, BlockReason.QUOTA})
"""What is in the way of every attempt alike, whatever the host of its recipient, but for a slot kept for others."""

_NO_SLOT = Blocked(BlockReason.SLOT)
_FULL = Blocked(BlockReason.FULL)
_THROTTLED = Blocked(BlockReason.THROTTLE)
_TENANT = Blocked(BlockReason.TENANT)


def _none_waits(_key: str) -> bool:
    """Tell that none of other keys wait."""
    return False


class Lane:
    """One provider of a channel. `now_ns` never goes back from one call to the next.

    Args:
        number: its place in the order of the channel's providers.
        channel: the channel's name.
        provider: the provider's name; None where the channel has only one.
        config: the settings that hold for this provider.
        stream: returns the random stream of a name.
        arrivals: the new ones of its channel, all together and by host.
        quotas: makes those that lanes share; None: it shares none.
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
        self.channel: ActorRef[Any] | None = None
        """The actor that asks the provider."""
        self.in_flight = 0
        """Attempts at the provider."""
        self.on_transition: Callable[[Lane, str, Transition], None] = _ignore_transition
        """Called with the transitions of its breakers and the host of each; ``""`` for that of the whole channel."""

        self.say: Callable[[str, int | None], None] | None = None
        """Called with a host and until when its breaker is open by its own calls; None: it is not any more. Not called
        where nobody shares it."""

        breaker = config.circuit_breaker
        self._sharing = None if breaker.shared == "none" else Sharing(breaker.shared)
        self.breaker: Breaker | None = None
        """The breaker of the whole channel; None where each host has its own."""
        self._group: BreakerGroup | None = None
        random = stream(f"{self.name}.breaker") if breaker.draws else None
        if breaker.per == "host":
            self._group = BreakerGroup(
                breaker,
                name=self.name,
                on_transition=self._transition,
                random=random,
                sharing=self._sharing,
            )
        else:
            self.breaker = Breaker(
                breaker,
                name=self.name,
                on_transition=lambda transition: self._transition(WHOLE_LANE, transition),
                random=random,
                sharing=self._sharing,
            )
        self.paces: dict[str, Pace] = {}
        """By host, while attempts that waited for the breaker resume."""
        self._ended: dict[str, Pace] = {}
        """By host, the pace of a line that has become empty since its breaker closed."""
        self._suspects: dict[str, Relapse] = {}
        """By host, what a breaker that has opened again would tell, until it closes and is judged."""
        self._relapses: dict[str, Relapse] = {}
        """By host, what its line has to heed until it is empty."""
        self._ceiling = Ceiling(breaker)
        self._arrivals = arrivals
        self._slots = config.slots
        self.slot_wait_ns = None if config.slot_wait is None else ns(config.slot_wait)
        """How long an attempt waits for a slot, at most; None: as long as it takes."""
        self._no_slot = _FULL if self.slot_wait_ns == 0 else _NO_SLOT
        self._concurrency = (
            None
            if config.concurrency_limit is None
            else make_concurrency_limit(config.concurrency_limit, stream(f"{self.name}.concurrency"))
        )
        self.quota = None if config.quota is None else (quotas or Quotas()).limiter(config.quota)
        self._quota_drops = config.quota is not None and config.quota.on_limit == "drop"
        self.rate = None if config.adaptive_rate is None else AdaptiveRate(config.adaptive_rate)
        self._rates: list[Limiter] = [limiter for limiter in (self.quota, self.rate) if limiter is not None]
        """What bounds how many go in a time, and is charged for each."""
        self._throttle = (
            None
            if config.adaptive_throttle is None
            else AdaptiveThrottle(config.adaptive_throttle, stream(f"{self.name}.throttle"))
        )
        self.adapts = self._concurrency is not None or self.rate is not None or self._throttle is not None
        """Whether anything but the breaker learns from outcomes."""
        self._has_bounds = self._slots is not None or self._concurrency is not None or bool(self._rates)
        fair_by = config.fair_by
        self._held: dict[str, int] | None = (
            {} if fair_by != "none" and (self._slots is not None or self._concurrency is not None) else None
        )
        """By key, how many attempts are at the provider; None where no key has to leave room for others."""
        self.is_plain = self.breaker is not None and not self._has_bounds and not self.adapts
        """Whether there is nothing to pass but the breaker of the whole channel."""

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def try_admit(
        self,
        host: str,
        now_ns: int,
        key: str = WHOLE_LANE,
        others_wait: Callable[[str], bool] = _none_waits,
        tenant_is_full: bool = False,
    ) -> int | Blocked:
        """Take an attempt and return its permit, which has to be settled with :meth:`settle`; or say what blocks it.

        Args:
            host: that of its recipient; looked at only where each host has a breaker of its own.
            now_ns: the instant.
            key: its user, host or tenant, where these take turns; looked at only there.
            others_wait: tells whether any of other keys than this wait.
            tenant_is_full: whether nothing may go of its tenant: then it does not use up what lets the next one go.
        """
        if self._has_bounds and (room_at_ns := self.room_at_ns(now_ns)) != now_ns:
            return self._blocked_without_room(host, now_ns, room_at_ns)
        if self._held is not None and self.is_kept_for_others(key, others_wait):
            return self._blocked_without_room(host, now_ns, None)
        pace = self.paces.get(host) if self.paces else None
        if pace is not None and pace.next_ns > now_ns:
            return Blocked(BlockReason.PACE, pace.next_ns)
        breaker = self.breaker if self.breaker is not None else self.breaker_of(host, now_ns)
        if tenant_is_full and (breaker.ramping_until_ns is not None or breaker.would_admit(now_ns)):
            return _TENANT
        permit = breaker.try_acquire(now_ns)
        pace = self.paces.get(host) if self.paces else None  # another one where it has closed just now, as time was up
        if pace is not None:
            # Let through by a ramp or not: what resumes is the traffic of which a share goes.
            self._release(pace, host, now_ns)
        if permit is None:
            if pace is not None and breaker.ramping_until_ns is not None:
                return Blocked(BlockReason.PACE, pace.next_ns)
            return self.blocked_by_breaker(host, now_ns)
        if self._throttle is not None and not self._throttle.admits(now_ns):
            breaker.record_neutral(permit, now_ns)
            return _THROTTLED
        if self._rates:
            self.charge(now_ns)
        self.in_flight += 1
        if self._held is not None:
            self._held[key] = self._held.get(key, 0) + 1
        return permit

    def room_at_ns(self, now_ns: int) -> int | None:
        """Return the earliest instant from now on at which one more attempt fits, whatever the host of its recipient.

        `now_ns` itself when there is room now; None when a slot has to become free first.
        """
        limit = self._slots if self._concurrency is None else self.slots
        if limit is not None and self.in_flight >= limit:
            return None
        return self.rates_allow_at_ns(now_ns) if self._rates else now_ns

    def is_kept_for_others(self, key: str, others_wait: Callable[[str], bool]) -> bool:
        """Return whether a slot that is free is not for a key that has a quarter of them: while others wait none is.
        Nor is the last sixteenth ever, so that one that is slow cannot have all before any other comes."""
        slots = self.slots
        if slots is None or not self.has_its_share(key):
            return False
        return slots - self.in_flight <= (slots + 8) // 16 or others_wait(key)

    def next_turn(self, turns: Turns[Any]) -> Flow | None:
        """Return which of those that wait for room gets the slot that is free; None: it is kept for others."""
        if self._held is None:
            return turns.next()
        return turns.next(lambda key: not self.is_kept_for_others(key, turns.has_others))

    def has_its_share(self, key: str) -> bool:
        """Return whether a key has a quarter of the slots, or one. Those without a key are many who share one."""
        if self._held is None or key == WHOLE_LANE or (slots := self.slots) is None:
            return False
        return self._held.get(key, 0) >= max(1, slots // 4)

    def rates_allow_at_ns(self, now_ns: int) -> int:
        """Return the earliest instant from now on at which the quota and the adaptive rate allow one more send."""
        allowed_ns = now_ns
        for limiter in self._rates:
            allowed_ns = max(allowed_ns, limiter.fits_at(WHOLE_LANE, now_ns))
        return allowed_ns

    def charge(self, now_ns: int) -> None:
        """Count a send under the quota and the adaptive rate, which allow it now."""
        for limiter in self._rates:
            limiter.try_acquire(WHOLE_LANE, now_ns)

    def _blocked_without_room(self, host: str, now_ns: int, room_at_ns: int | None) -> Blocked:
        """Return what blocks those without room: room would not help one that waits for an open breaker."""
        breaker = self.breaker_of(host, now_ns)
        if breaker.state in NOT_CLOSED and not breaker.would_admit(now_ns):
            return self.blocked_by_breaker(host, now_ns)
        if room_at_ns is None:
            return self._no_slot
        is_over = self._quota_drops and self.quota is not None and self.quota.fits_at(WHOLE_LANE, now_ns) != now_ns
        return Blocked(BlockReason.QUOTA if is_over else BlockReason.RATE, room_at_ns)

    def blocked_by_breaker(self, host: str, now_ns: int) -> Blocked:
        """Return what blocks an attempt that the breaker has refused."""
        breaker = self.breaker_of(host, now_ns)
        ramping_until_ns = breaker.ramping_until_ns
        if ramping_until_ns is not None:
            return Blocked(BlockReason.RAMP, ramping_until_ns)
        return Blocked(BlockReason.BREAKER, breaker.admits_at_ns(now_ns))

    @property
    def slots(self) -> int | None:
        """How many attempts may be at the provider at once; None: no bound."""
        if self._concurrency is None:
            return self._slots
        return self._concurrency.limit if self._slots is None else min(self._slots, self._concurrency.limit)

    def host_of(self, attempt: Attempt) -> str:
        """Return the host whose breaker decides about an attempt; ``""`` where there is one breaker for all."""
        return self.host_at(attempt.command.recipient)

    def host_at(self, recipient: str) -> str:
        """Return the host whose breaker decides about a recipient; ``""`` where there is one breaker for all."""
        return recipient_host(recipient) if self.breaker is None else WHOLE_LANE

    def is_shut(self, host: str, now_ns: int) -> bool:
        """Tell whether the breaker of a host is open or half-open."""
        return self.breaker_of(host, now_ns).state in NOT_CLOSED

    def breaker_of(self, host: str, now_ns: int) -> Breaker:
        """Return the breaker that decides about recipients at `host`."""
        if self.breaker is not None:
            return self.breaker
        assert self._group is not None
        return self._group.breaker(host, now_ns)

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
            permit: what :meth:`try_admit` gave.
            outcome: how it ended.
            host: that of its recipient.
            now_ns: the instant.
            duration_ns: how long it took.
            in_flight: how many were at the provider when it set out, itself included.
            key: as it was admitted with.
        """
        self.in_flight -= 1
        if self._held is not None:
            _give_back(self._held, key)
        breaker = self.breaker if self.breaker is not None else self.breaker_of(host, now_ns)
        if type(outcome) is Sent:
            breaker.record_success(permit, now_ns, duration_ns)
        else:
            _record_failure_with_breaker(breaker, outcome, permit, now_ns, duration_ns)
        if self.adapts:
            self._adapt(outcome, now_ns, duration_ns, in_flight)

    def take_back(self, permit: int, host: str, now_ns: int, key: str = WHOLE_LANE) -> None:
        """Record that an attempt that was admitted is not made: that says nothing about the provider."""
        self.in_flight -= 1
        if self._held is not None:
            _give_back(self._held, key)
        self.breaker_of(host, now_ns).record_neutral(permit, now_ns)

    def _adapt(self, outcome: Outcome, now_ns: int, duration_ns: int, in_flight: int) -> None:
        throttled = isinstance(outcome, Transient) and outcome.throttled
        answered = isinstance(outcome, (Sent, Permanent, DeadDestination))
        if self.rate is not None:
            if throttled:
                self.rate.on_throttled(now_ns)
            elif answered:
                self.rate.on_success(now_ns)
        if self._throttle is not None and answered:
            self._throttle.on_accepted(now_ns)
        if self._concurrency is not None and (answered or throttled or isinstance(outcome, Ambiguous)):
            # How soon a provider refuses says nothing about how much it can do.
            self._concurrency.on_result(max(1, duration_ns), in_flight, dropped=not answered)

    # ── the pace of waiting attempts ────────────────────────────────────────────────────────────────────────────

    def resume_paced(self, host: str, now_ns: int) -> None:
        """Release those at `host` that wait for the breaker one after the other from now on, not as one herd."""
        suspect = self._suspects.pop(host, None)
        if suspect is not None and self.breaker_of(host, now_ns).tripped_abruptly:
            self._relapses[host] = suspect
        self.paces[host] = Pace(self.config.circuit_breaker, now_ns, self._learned_per_s(host, now_ns))

    def ceiling_per_s(self, now_ns: int) -> float:
        """Return how many of its channel may go a second at most while what was due at a restart resumes."""
        return self._ceiling.per_s(self._arrivals.per_second(None, now_ns))

    def _arriving_per_s(self, host: str, now_ns: int) -> float:
        return self._arrivals.per_second(host if self.breaker is None else None, now_ns)

    def _learned_per_s(self, host: str, now_ns: int) -> float:
        relapse = self._relapses.get(host)
        return math.inf if relapse is None else relapse.ceiling_per_s(now_ns)

    def _release(self, pace: Pace, host: str, now_ns: int) -> None:
        """Count one at `host` that goes at a pace now."""
        ceiling = self._ceiling.per_s(self._arriving_per_s(host, now_ns))
        pace.release(now_ns)
        pace.charge(now_ns, min(ceiling, self._learned_per_s(host, now_ns)) if self._relapses else ceiling)

    def wait_through_ramp(self, host: str, now_ns: int) -> int:
        """Let those at `host` that the ramp has refused ask again at a pace; return when the first of them may."""
        self.resume_paced(host, now_ns)
        self._release(self.paces[host], host, now_ns)  # the one that has just asked
        return self.paces[host].next_ns

    def none_waits(self, host: str) -> None:
        """Record that nothing at `host` waits any more."""
        self._relapses.pop(host, None)
        self._suspects.pop(host, None)
        pace = self.paces.pop(host, None)
        if pace is not None:
            self._ended[host] = pace
            if len(self._ended) > KEYS_MAX:
                del self._ended[next(iter(self._ended))]

    def _note_opening(self, host: str, now_ns: int) -> None:
        """Note at which pace a line resumes whose breaker opens; what went last may have been under way until now."""
        pace = self.paces.get(host)
        ended = self._ended.pop(host, None)
        if pace is None and ended is not None and now_ns - ended.latest_ns <= wait_ns(self.config.timeout):
            pace = ended
        relapse = None if pace is None else Relapse.after(pace, self._arriving_per_s(host, now_ns), now_ns)
        if relapse is not None:
            self._suspects[host] = relapse

    def restart_paces(self, now_ns: int) -> None:
        """Restart the paces: all waiting attempts were flushed and come again at once."""
        for learned in (self._ended, self._suspects, self._relapses):
            learned.clear()
        for host, pace in self.paces.items():
            if pace.next_ns < now_ns:
                self.resume_paced(host, now_ns)

    def drop_unused_pace(self, host: str, now_ns: int) -> None:
        """Drop the pace of a `host` with an empty line, if it was due and nothing used it."""
        pace = self.paces.get(host)
        if pace is not None and pace.next_ns < now_ns:
            del self.paces[host]

    def share(self, say: Callable[[str, int | None], None]) -> None:
        """Have other nodes told, by host, until when its breakers are open; None: they are not."""
        self.say = say

    def connect(self, channel: ActorRef[Any]) -> None:
        """Set the actor that sends to the provider."""
        self.channel = channel

    # ── what other nodes say of its breakers ────────────────────────────────────────────────────────────────────────

    @property
    def is_shared(self) -> bool:
        """Whether other nodes have a say in whether its breakers are open."""
        return self._sharing is not None

    def hear(self, node: int, host: str, until_ns: int | None, now_ns: int) -> None:
        """Take in until when another node says that the breaker of a host is open; None: it does not say so."""
        self.breaker_of(host, now_ns).hear(node, until_ns, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        """Take in which nodes live now, this one included."""
        if self._sharing is not None:
            self._sharing.nodes = len(nodes)
            for _, breaker in list(self.breakers()):
                breaker.recount(nodes, now_ns)

    # ── overrides and transitions ───────────────────────────────────────────────────────────────────────────────

    def override(self, event: BreakerEvent, now_ns: int) -> bool:
        """Override every breaker; return whether that changes anything."""
        if self._group is not None:
            return self._group.override(event, now_ns)
        assert self.breaker is not None
        try:
            self.breaker.override(event, now_ns)
        except IllegalTransition:
            return False  # it is in that state already
        return True

    @property
    def begins(self) -> BreakerState:
        """The state in which another one in its place has to begin, so that an operator's override stays in force."""
        if self._group is not None:
            return self._group.begins
        assert self.breaker is not None
        return self.breaker.state if self.breaker.state in _ORDERED else BreakerState.CLOSED

    def half_open_until(self) -> Iterator[tuple[str, int]]:
        """Iterate over the hosts whose breakers are half-open for so long only, with the instant for each."""
        for host, breaker in self.breakers():
            if breaker.state is BreakerState.HALF_OPEN and breaker.changes_at_ns is not None:
                yield host, breaker.changes_at_ns

    def breakers(self) -> Iterator[tuple[str, Breaker]]:
        """Iterate over its breakers, with the host of each; ``""`` for that of the whole channel."""
        if self._group is not None:
            yield from self._group
        else:
            assert self.breaker is not None
            yield WHOLE_LANE, self.breaker

    def _transition(self, host: str, transition: Transition) -> None:
        if transition.from_state is BreakerState.CLOSED:
            self._note_opening(host, transition.at_ns)
        self.paces.pop(host, None)
        self.on_transition(self, host, transition)
        if self.say is None or transition.event in _NO_NEWS:
            return
        if transition.to_state is BreakerState.OPEN:
            self.say(host, transition.reopen_at_ns)
        elif transition.from_state is BreakerState.OPEN:
            self.say(host, None)


_ORDERED = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
"""States that only the settings or an operator lead to."""


_NO_NEWS = frozenset({BreakerEvent.OTHERS_OPEN, BreakerEvent.WAIT_OVER})
"""What is not said to other nodes: what they have said, and the end of what they were told with its beginning."""


def breaker_name(channel: str, number: int, provider: str | None) -> str:
    """Return the name of the breaker of a channel's provider: ``email``, and of its further ones ``email/backup``."""
    return str(channel) if number == 0 else f"{channel}/{provider}"


def lanes_of(
    channel: str,
    config: ChannelConfig,
    stream: Callable[[str], Random],
    arrivals: Arrivals,
    quotas: Quotas | None = None,
) -> tuple[Lane, ...]:
    """Return a lane for each provider of a channel, in the order in which they are tried."""
    settings = config.by_provider()
    return tuple(
        Lane(number, channel, name if len(settings) > 1 else None, own, stream, arrivals, quotas)
        for number, (name, own) in enumerate(settings.items())
    )


def _give_back(held: dict[str, int], key: str) -> None:
    """Count one less of the slots that a key holds."""
    if held.get(key, 0) > 1:
        held[key] -= 1
    else:
        held.pop(key, None)


def _record_failure_with_breaker(
    breaker: Breaker, outcome: Outcome, permit: int, now_ns: int, duration_ns: int
) -> None:
    match outcome:
        case Transient() if outcome.throttled:
            breaker.record_neutral(permit, now_ns)
        case Transient() | Ambiguous():
            breaker.record_failure(permit, now_ns, duration_ns)
        case Permanent() | DeadDestination():
            breaker.record_reachable(permit, now_ns, duration_ns)
        case ChannelFault():
            breaker.trip(permit, now_ns)
        case Sent():
            raise AssertionError("a success is no trouble")
        case _:
            assert_never(outcome)


def _ignore_transition(_lane: Lane, _host: str, _transition: Transition) -> None:
    """Ignore a transition."""
