"""The conditions at the unreliable provider from one instant to the next: its own settings, and the faults.

A window is [at, at + for). Between two instants at which one begins or ends nothing changes but what the faults
themselves remember, so it is all looked up once: that is the :class:`Conditions`. While a rate or a factor changes they
hold for one instant.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import product
from math import prod
from random import Random
from typing import TYPE_CHECKING, TypeAlias, assert_never

import msgspec

from actors.instants import NS_PER_S, ns, seconds
from actors.kernel.randomness import RandomStreams
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Permanent, Transient
from actors.policies.breaker.per_host import recipient_host
from actors.policies.exact import as_fraction
from actors.policies.rate_limit.limiter import FixedWindow, Limiter, SlidingWindow, TokenBucket
from actors.settings.distributions import Draw
from actors.settings.faults import SYSTEM_FAULT_KEYS, Burst, Change, FaultConfig, Flap, QuotaFault, value_at


class BurstChain:
    """Good and bad spells in turn, good first, each exponentially long (Gilbert's chain, 1960, in continuous time).

    The spells are drawn from its own stream as time passes, one draw each, so they are the same whenever and however
    often it is asked: attempts see the chain and do not move it. In the long run it is bad for
    ``mean_bad / (mean_good + mean_bad)`` of the time.
    """

    __slots__ = ("_draw", "_is_bad", "_means_ns", "_until_ns", "failure_rate")

    def __init__(self, burst: Burst, start_ns: int, random: Random) -> None:
        self.failure_rate = burst.failure_rate
        """Share of attempts that fail in a bad spell."""
        self._draw = random.expovariate
        self._means_ns = {False: burst.mean_good * NS_PER_S, True: burst.mean_bad * NS_PER_S}
        self._is_bad = True
        self._until_ns = start_ns
        self._turn()

    def is_bad(self, now_ns: int) -> bool:
        """Tell whether it is a bad spell. A spell is [start, end); `now_ns` never goes back."""
        while now_ns >= self._until_ns:
            self._turn()
        return self._is_bad

    def _turn(self) -> None:
        self._is_bad = not self._is_bad
        self._until_ns += max(1, round(self._draw(1.0) * self._means_ns[self._is_bad]))


if TYPE_CHECKING:
    from actors.domain.attempts import Attempt

Place: TypeAlias = tuple[str | None, int | None]
"""The host of a recipient, and the node that an attempt comes from; None: any that no fault names."""

ELSEWHERE: Place = (None, None)

NEVER_NS = 2**62
"""A latency no timeout outlasts (146 years)."""

FAILED = Transient(reason="injected failure")
REFUSED = Transient(reason="connection refused", connection=True)
PERMANENT = Permanent(reason="injected permanent failure")
THROTTLED = "throttled"
DEAD = DeadDestination(reason="injected dead destination")
CHANNEL_FAULT = ChannelFault(reason="injected channel fault")

_CALM = SYSTEM_FAULT_KEYS | {
    "latency", "latency_factor", "failure_rate", "refused_rate", "permanent_rate", "dead_destination_rate",
    "channel_fault_rate", "lost_reply_rate", "capacity", "speed",
}  # fmt: skip
"""Faults that the draw alone decides: the ladder and the latency have them, or no attempt asks for them. A capacity
leaves no instant of the run calm. Any other fault is looked at for each attempt."""


class StrictWindow:
    """A limiter that lets so many through in any window, and counts those that it refuses too."""

    def __init__(self, count: int, window_ns: int) -> None:
        self._window_ns = window_ns
        self._latest: defaultdict[str, deque[int]] = defaultdict(partial(deque, maxlen=count))
        """The latest instants of each key, as many as it lets through in a window."""

    def try_acquire(self, key: str, now_ns: int) -> int:
        """Return `now_ns` if it is let through, and else a later instant; it is counted in any case."""
        latest = self._latest[key]
        is_full = len(latest) == latest.maxlen and latest[0] > now_ns - self._window_ns
        latest.append(now_ns)
        return now_ns + self._window_ns if is_full else now_ns


class EnforcedQuota:
    """The quota that one window, a provider or an account enforces."""

    def __init__(self, throttle: QuotaFault) -> None:
        count, window_ns = int(throttle.whole.count), ns(throttle.whole.period)
        self._is_per_host = throttle.per == "host"
        self._limit: Limiter | StrictWindow
        match throttle.kind:
            case "sliding_window" if throttle.counts == "all":
                self._limit = StrictWindow(count, window_ns)
            case "fixed_window":
                self._limit = FixedWindow(count, window_ns)
            case "sliding_window":
                self._limit = SlidingWindow(count, window_ns)
            case "token_bucket":
                self._limit = TokenBucket(count, window_ns, throttle.burst or count)
            case _:
                assert_never(throttle.kind)
        self.answer = Transient(reason=THROTTLED, retry_after=throttle.retry_after, throttled=True)

    def lets_through(self, attempt: Attempt, now_ns: int) -> bool:
        host = recipient_host(attempt.command.recipient) if self._is_per_host else ""
        return self._limit.try_acquire(host, now_ns) == now_ns


class Countdown:
    """How many attempts are still to fail."""

    def __init__(self, left: int) -> None:
        self.left = left

    def fails_next(self) -> bool:
        if self.left == 0:
            return False
        self.left -= 1
        return True


class Flapping:
    """Up and down in turn, up first."""

    def __init__(self, flap: Flap, start_ns: int) -> None:
        self._up_ns = ns(flap.up)
        self._cycle_ns = self._up_ns + ns(flap.down)
        self._start_ns = start_ns

    def is_down(self, now_ns: int) -> bool:
        return (now_ns - self._start_ns) % self._cycle_ns >= self._up_ns


class TimedFault:
    """One fault with its window, and its state from one attempt to the next."""

    def __init__(self, fault: FaultConfig, latencies: Random, spells: Random) -> None:
        self.start_ns, self.end_ns = _window_ns(fault)
        self.fault = fault
        self.latency = None if fault.latency is None else fault.latency.sampler(latencies)
        self.throttle = None if fault.throttle is None else EnforcedQuota(fault.throttle)
        self.countdown = None if fault.fail_first is None else Countdown(fault.fail_first)
        self.flapping = None if fault.flap is None else Flapping(fault.flap, self.start_ns)
        self.burst = None if fault.burst is None else BurstChain(fault.burst, self.start_ns, spells)

        changes = [value.over for value in (fault.failure_rate, fault.latency_factor) if isinstance(value, Change)]
        self.changes_until_ns = min(self.end_ns, self.start_ns + ns(max(changes, default=0.0)))
        """When its rate and its factor change no more."""

    def failure_rate(self, now_ns: int) -> float:
        return value_at(self.fault.failure_rate or 0.0, seconds(now_ns - self.start_ns))

    def latency_factor(self, now_ns: int) -> float:
        return value_at(self.fault.latency_factor or 1.0, seconds(now_ns - self.start_ns))

    def holds(self, now_ns: int) -> bool:
        return self.start_ns <= now_ns < self.end_ns

    def hits(self, place: Place) -> bool:
        host, node = place
        return (self.fault.host is None or host in self.fault.host) and (
            self.fault.node is None or node in self.fault.node
        )


class Conditions(msgspec.Struct, frozen=True):
    """What holds between two instants at which a window begins or ends."""

    until_ns: int
    latency: Draw
    latency_factor: float
    hangs: bool
    outage: bool
    throttles: Sequence[EnforcedQuota]
    flapping: Sequence[Flapping]
    countdowns: Sequence[Countdown]
    bursts: Sequence[BurstChain]
    ladder: Sequence[tuple[float, Outcome | None]]
    """The fates that the one draw decides between, each with the upper end of its range; None: the reply is lost."""

    top: float
    """The upper end of the last range: a draw from here on is a success, where no burst says otherwise."""

    calm_until_ns: int
    """Until when nothing but the draw decides, for every recipient: so long the provider does not ask the rules."""

    by_place: Mapping[Place, Conditions]
    """What holds for recipients at hosts, and for nodes, that a window names; for all others it is this."""

    def for_attempt(self, attempt: Attempt) -> Conditions:
        by_place = self.by_place
        host, node = recipient_host(attempt.command.recipient), attempt.node
        for place in ((host, node), (host, None), (None, node)):
            if place in by_place:
                return by_place[place]
        return self


class Forecast:
    """The conditions of the whole run, as far as it is known beforehand."""

    def __init__(
        self,
        latency: Draw,
        failure_rate: float,
        faults: Sequence[FaultConfig],
        streams: RandomStreams,
        name: str,
        *,
        is_ever_calm: bool,
        throttles: Sequence[EnforcedQuota] = (),
    ) -> None:
        """`name` begins the names of the streams. `is_ever_calm`: nothing beside the faults decides about attempts."""
        self._latency = latency
        self._failure_rate = failure_rate
        self._is_ever_calm = is_ever_calm and not throttles
        self._throttles = list(throttles)
        self._timed = [
            TimedFault(
                fault, streams.stream(f"{name}.fault.{number}.latency"), streams.stream(f"{name}.fault.{number}.burst")
            )
            for number, fault in enumerate(faults)
        ]

    def at(self, now_ns: int) -> Conditions:
        open_ = [timed for timed in self._timed if timed.holds(now_ns)]
        until_ns = min((edge for edge in self._edges_ns() if edge > now_ns), default=NEVER_NS)
        if any(now_ns < timed.changes_until_ns for timed in open_):
            until_ns = now_ns + 1  # what changes all the time is looked up for every attempt
        hosts = dict.fromkeys(host for timed in open_ for host in (None, *(timed.fault.host or ())))
        nodes = dict.fromkeys(node for timed in open_ for node in (None, *(timed.fault.node or ())))
        by_place = {
            place: self._conditions(now_ns, [timed for timed in open_ if timed.hits(place)], until_ns, {})
            for place in product(hosts, nodes)
            if place != ELSEWHERE
        }
        return self._conditions(now_ns, [timed for timed in open_ if timed.hits(ELSEWHERE)], until_ns, by_place)

    def _conditions(
        self, now_ns: int, open_: Sequence[TimedFault], until_ns: int, by_place: Mapping[Place, Conditions]
    ) -> Conditions:
        factor = 1.0
        for timed in open_:
            factor *= timed.latency_factor(now_ns)
        ladder = _ladder(
            (sum(timed.fault.refused_rate or 0.0 for timed in open_), REFUSED),
            (sum(timed.fault.dead_destination_rate or 0.0 for timed in open_), DEAD),
            (sum(timed.fault.permanent_rate or 0.0 for timed in open_), PERMANENT),
            (sum(timed.fault.channel_fault_rate or 0.0 for timed in open_), CHANNEL_FAULT),
            (sum(timed.fault.lost_reply_rate or 0.0 for timed in open_), None),
            (self._failure_rate + sum(timed.failure_rate(now_ns) for timed in open_), FAILED),
        )
        latencies = [timed.latency for timed in open_ if timed.latency is not None]
        is_calm = self._is_ever_calm and not by_place and all(timed.fault.injects <= _CALM for timed in open_)
        return Conditions(
            until_ns=until_ns,
            latency=latencies[-1] if latencies else self._latency,
            latency_factor=factor,
            hangs=any(timed.fault.hang for timed in open_),
            outage=any(timed.fault.outage for timed in open_),
            throttles=self._throttles + [timed.throttle for timed in open_ if timed.throttle is not None],
            flapping=[timed.flapping for timed in open_ if timed.flapping is not None],
            countdowns=[timed.countdown for timed in open_ if timed.countdown is not None],
            bursts=[timed.burst for timed in open_ if timed.burst is not None],
            ladder=ladder,
            top=ladder[-1][0] if ladder else 0.0,
            calm_until_ns=until_ns if is_calm else 0,
            by_place=by_place,
        )

    def _edges_ns(self) -> list[int]:
        return sorted(
            {edge for timed in self._timed for edge in (timed.start_ns, timed.changes_until_ns, timed.end_ns)}
        )


def capacity_steps(own: int | None, faults: Sequence[FaultConfig]) -> list[tuple[int, int]]:
    """Return the provider's capacity from each instant on at which it changes; empty if there is never a bound.

    In a window it is the fault's capacity (of several, that of the last) or the provider's own, whichever is smaller.
    """
    windows = [(*_window_ns(fault), fault.capacity) for fault in faults if fault.capacity is not None]
    if own is None and not windows:
        return []
    usual = sys.maxsize if own is None else own
    steps = []
    for edge_ns in _edges_ns(windows):
        injected = [capacity for start_ns, end_ns, capacity in windows if start_ns <= edge_ns < end_ns]
        steps.append((edge_ns, min(usual, injected[-1]) if injected else usual))
    return steps


def speed_steps(faults: Sequence[FaultConfig]) -> list[tuple[int, Fraction]]:
    """Return the provider's speed, 1 as usual, from each instant on at which it changes; empty if it never does.

    The speeds of windows that overlap are multiplied.
    """
    windows = [(*_window_ns(fault), as_fraction(fault.speed)) for fault in faults if fault.speed is not None]
    return [
        (edge_ns, prod((speed for start_ns, end_ns, speed in windows if start_ns <= edge_ns < end_ns), start=_USUAL))
        for edge_ns in (_edges_ns(windows) if windows else ())
    ]


_USUAL = Fraction(1)


def _window_ns(fault: FaultConfig) -> tuple[int, int]:
    start_ns = ns(fault.at)
    return start_ns, NEVER_NS if fault.for_ is None else start_ns + ns(fault.for_)


def _edges_ns(windows: Iterable[tuple[int, int, object]]) -> list[int]:
    edges_ns = {edge_ns for start_ns, end_ns, _ in windows for edge_ns in (start_ns, end_ns) if edge_ns < NEVER_NS}
    return sorted({0, *edges_ns})


def _ladder(*rates: tuple[float, Outcome | None]) -> list[tuple[float, Outcome | None]]:
    ladder: list[tuple[float, Outcome | None]] = []
    top = 0.0
    for rate, outcome in rates:
        top = min(1.0, top + rate)
        if rate > 0:
            ladder.append((top, outcome))
    return ladder
