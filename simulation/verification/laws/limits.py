"""No limit is exceeded: those of users, the quotas of providers, and bulkheads.

What a limit promises is counted anew from the instants at which it let something through, and otherwise than the
limiters do (:mod:`actors.policies.rate_limit.limiter`), so that a mistake in one is seen by the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, partial
from typing import Protocol

from actors.domain.attempts import Admitted, Attempt
from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.messages import ActorFailed, NotificationChannel
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.policies.exact import as_fraction
from actors.settings.quantities import Rate, write_rate
from actors.settings.rate_limit import RateLimitConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import AttemptMade, Key, MessageSent, let_through_in, provider_of


class Meter(Protocol):
    def add(self, now_ns: int) -> str | None:
        """Count one; return what is too much, or None. `now_ns` never goes back."""


@dataclass(slots=True, eq=False)
class WindowMeter:
    """At most so many in any window ``(now - width, now]``."""

    _limit: int
    _width_ns: int
    _instants_ns: deque[int] = field(default_factory=deque)

    def add(self, now_ns: int) -> str | None:
        instants_ns = self._instants_ns
        instants_ns.append(now_ns)
        outside_ns = now_ns - self._width_ns
        while instants_ns[0] <= outside_ns:
            instants_ns.popleft()
        if len(instants_ns) <= self._limit:
            return None
        since = seconds_text(instants_ns[0])
        return f"{len(instants_ns)} since {since}, of at most {self._limit} in {seconds_text(self._width_ns)}"


@dataclass(slots=True, eq=False)
class SeamMeter:
    """At most so many in each window ``[n * width, (n + 1) * width)``, whose width need not be whole nanoseconds."""

    _limit: int
    _width_ns: int | Fraction
    _number: int = -1
    _count: int = 0

    def add(self, now_ns: int) -> str | None:
        number = int(now_ns // self._width_ns)
        if number != self._number:
            self._number, self._count = number, 0
        self._count += 1
        if self._count <= self._limit:
            return None
        since, width = (seconds_text(round(each)) for each in (number * self._width_ns, self._width_ns))
        return f"{self._count} since {since}, of at most {self._limit} in {width}"


@dataclass(slots=True, eq=False)
class BucketMeter:
    """In any span of time at most a burst and what the rate gives: the level of a bucket that leaks, in fractions."""

    _burst: int
    _interval_ns: Fraction
    _text: str
    _level: Fraction = Fraction(0)
    _now_ns: int = 0

    def add(self, now_ns: int) -> str | None:
        leaked = (now_ns - self._now_ns) / self._interval_ns
        self._level = max(Fraction(0), self._level - leaked) + 1
        self._now_ns = now_ns
        if self._level <= self._burst:
            return None
        return f"{float(self._level):.6g} in a bucket of {self._burst} that is emptied at {self._text}"


@cache
def _maker(kind: str, aligned: bool, burst: int | None, rate: Rate) -> Callable[[], Meter]:
    """Return a factory of meters, one a key, for the promise of a limit by one of its rates.

    A sliding counter only estimates; its promise is the limit in each window of the two that it counts in.
    """
    count, width_ns = as_fraction(rate.count), wait_ns(rate.period)
    interval_ns, text = width_ns / count, write_rate(rate)
    match kind:
        case "sliding_window":
            return partial(WindowMeter, int(count), width_ns)
        case "fixed_window" | "sliding_counter":
            return partial(SeamMeter, int(count), width_ns)
        case "leaky_bucket" if aligned:
            return partial(SeamMeter, 1, interval_ns)
        case "leaky_bucket":
            return partial(BucketMeter, 1, interval_ns, text)
        case _:
            return partial(BucketMeter, burst or int(count), interval_ns, text)


class _Counted(Invariant):
    """The base of laws that count admissions by key. A process that starts again has none."""

    of_one_process = True
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._meters: dict[Hashable, list[Meter]] = {}

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._meters.clear()

    def count(self, key: Hashable, limit: RateLimitConfig, now_ns: int) -> str | None:
        if (meters := self._meters.get(key)) is None:
            meters = [_maker(limit.kind, limit.aligned, limit.burst, rate)() for rate in limit.limits]
            self._meters[key] = meters
        return next(filter(None, [meter.add(now_ns) for meter in meters]), None)


class UserLimit(_Counted):
    """No user gets more notifications than the channel's `rate_limit` allows, in any of its windows. A notification
    counts once, at the instant at which its first attempt passes the limiter, and its retries pass."""

    name = "user-limit"
    settings = ("rate_limit",)
    receivers = frozenset({CircuitBreakerActor})
    messages = frozenset({Attempt})
    needs = ("rate_limit",)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        attempt, command = sent.message, sent.message.command
        limit = self.context.channels[command.channel].rate_limit
        if sent.sender is not RateLimiterActor or attempt.charged or limit is None or not command.user:
            return None
        if (text := self.count((command.channel, command.user), limit, sent.at_ns)) is None:
            return None
        text = f"{command.user} gets more by {command.channel} than allowed: {text}"
        return Finding(text, command.notification_id)


class Quota(_Counted):
    """No more is let through to a provider than its `quota` allows, in any of its windows; every copy counts.

    What lies in the mailbox of a channel that is down comes to its provider late, and may be more than that at once.
    """

    name = "quota"
    settings = ("quota",)
    receivers = frozenset({Channel, HedgingChannel})
    messages = frozenset({Admitted})
    needs = ("quota",)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        admitted = let_through_in(sent)
        if admitted is None:
            return None
        return self._look(*provider_of(admitted), sent.at_ns, admitted.attempt.command.notification_id)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        return self._look(made.channel, made.provider, made.at_ns, made.notification_id) if made.is_copy else None

    def _look(self, channel: NotificationChannel, provider: str, now_ns: int, notification_id: str) -> Objection:
        quota = self.context.providers[channel, provider].quota
        if quota is None or (text := self.count(quota.account or (channel, provider), quota, now_ns)) is None:
            return None
        return Finding(
            f"the {provider} provider of {channel} is asked more often than its quota: {text}", notification_id
        )


class Bulkhead(Invariant):
    """No more attempts are under way at a provider than its channel has slots; further copies of one are no attempts.

    A process that starts again does not know what is still under way.
    """

    name = "bulkhead"
    of_one_process = True
    settings = ("max_in_flight", "concurrency_limit")
    needs_order = True
    needs = ("max_in_flight", "concurrency_limit")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._slots: dict[Key, int] = {}
        for key, config in context.providers.items():
            adaptive = config.concurrency_limit
            bounds = [config.slots, None if adaptive is None else adaptive.maximum]
            if known := [bound for bound in bounds if bound is not None]:
                self._slots[key] = min(known)
        self._under_way: dict[Key, dict[int, list[AttemptMade]]] = {key: {} for key in self._slots}
        """By the identity of each attempt: its sends; one that has ended may be left there for a while."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            for under_way in self._under_way.values():
                under_way.clear()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        key = made.channel, made.provider
        slots = self._slots.get(key)
        if slots is None:
            return None
        under_way, number = self._under_way[key], id(made.attempt)
        if made.is_copy:
            if number in under_way:
                under_way[number].append(made)
            return None
        under_way[number] = [made]
        if len(under_way) <= slots:
            return None
        for other in [other for other, sends in under_way.items() if _ends_at_ns(sends) <= made.at_ns]:
            del under_way[other]
        if len(under_way) <= slots:
            return None
        place = f"at the {made.provider} provider of {made.channel}"
        return f"{len(under_way)} attempts are under way {place}, of at most {slots}"


class SlotsGivenBack(Invariant):
    """When all attempts at the providers have ended, no notification holds a slot any more but one that waits with it
    (`holds_slot`).

    Where messages are late, the message that gives it back may still be on its way.
    """

    name = "slots-given-back"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ended_ns = -1
        """When all have ended that were made; what is promised ends at its timeout, or before."""
        self._gone: object = None
        """The pipeline of the latest process that has crashed, or was stopped."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and all(fault.reorder is None for fault in context.faults)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._gone = self.context.pipeline()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> None:
        self._ended_ns = max(self._ended_ns, made.ends_at_ns)

    def at_end(self, now_ns: int) -> Objection:
        pipeline = self.context.pipeline()
        if pipeline is None or pipeline is self._gone:
            return None
        if now_ns <= self._ended_ns or not self.context.lifecycles.is_settled(now_ns):
            return None
        for channel, stages in pipeline.wiring.stages.items():
            if stages.in_flight:
                return f"all attempts on {channel} have ended, and {stages.in_flight} still count as under way"
            held = sum(lane.reserved for lane in stages.lanes)
            if held and not self.context.lifecycles.is_in_flight_on(channel):
                return f"all notifications on {channel} have ended, and {held} slots are still held"
        return None


def _ends_at_ns(sends: Sequence[AttemptMade]) -> int:
    """Return when an attempt ends: its first send does, or a further copy that decides."""
    first, *copies = sends
    deciding = [copy for copy in copies if copy.answered and not isinstance(copy.outcome, (Transient, Ambiguous))]
    return min(each.ends_at_ns for each in (first, *deciding))
