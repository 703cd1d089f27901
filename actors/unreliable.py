"""The unreliable provider: delivers in its own time, and fails as it was told to; on any clock.

The fate of an attempt is fixed when it starts. In this order:

1. `hang`: no answer ever comes, whatever else holds, and nothing is delivered.
2. `latency` (the last window that gives one) in place of the provider's own, times every `latency_factor`.
3. `throttle`: over the quota, the answer is `throttled`.
4. `outage`, and the down phase of `flap`: a transient failure.
5. `fail_first`: a transient failure, until so many attempts have met it.
6. One draw decides about all rates together, so each is a share of the attempts that come this far and not of what
   another one left: with a `dead_destination_rate` of 2% and a `failure_rate` of 50%, 2% find the address gone and 50%
   fail, not 49%. The order is: dead destination, permanent, lost reply, transient; rates of windows that overlap, and
   the provider's own, add up (to 100% at most).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from actors.config import ProviderConfig
from actors.distributions import Distribution, Draw
from actors.effects import Foreseen
from actors.faults_config import FaultConfig, Flap
from actors.instants import ns
from actors.outcomes import DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.attempts import Attempt, Provider
from actors.policies.token_bucket import TokenBucket
from actors.quantities import Rate
from actors.randomness import RandomStreams

NEVER_NS = 2**62
"""A latency no timeout outlasts (146 years)."""

SENT = Sent()
FAILED = Transient(reason="injected failure")
OUTAGE = Transient(reason="provider outage")
PERMANENT = Permanent(reason="injected permanent failure")
DEAD = DeadDestination(reason="injected dead destination")


class _Throttle:
    """The quota that one window enforces."""

    def __init__(self, rate: Rate, retry_after: float | None) -> None:
        whole = max(1, round(rate.count))
        self._bucket = TokenBucket(whole, ns(rate.period * whole / rate.count), whole)
        self.answer = Transient(reason="throttled", retry_after=retry_after, throttled=True)

    def lets_through(self, now_ns: int) -> bool:
        return self._bucket.try_acquire("", now_ns) == now_ns


class _Countdown:
    """How many attempts are still to fail."""

    def __init__(self, left: int) -> None:
        self.left = left

    def strikes(self) -> bool:
        if self.left == 0:
            return False
        self.left -= 1
        return True


class _Flapping:
    """Up and down in turn, up first."""

    def __init__(self, flap: Flap, start_ns: int) -> None:
        self._up_ns = ns(flap.up)
        self._cycle_ns = self._up_ns + ns(flap.down)
        self._start_ns = start_ns

    def is_down(self, now_ns: int) -> bool:
        return (now_ns - self._start_ns) % self._cycle_ns >= self._up_ns


class _Rule:
    """One fault with its window, and what it remembers from one attempt to the next."""

    def __init__(self, fault: FaultConfig, random: Random) -> None:
        self.start_ns = ns(fault.at)
        self.end_ns = NEVER_NS if fault.for_ is None else self.start_ns + ns(fault.for_)
        self.fault = fault
        self.latency = None if fault.latency is None else fault.latency.sampler(random)
        self.throttle = None if fault.throttle is None else _Throttle(fault.throttle.rate, fault.throttle.retry_after)
        self.countdown = None if fault.fail_first is None else _Countdown(fault.fail_first)
        self.flapping = None if fault.flap is None else _Flapping(fault.flap, self.start_ns)


class _Weather(msgspec.Struct, frozen=True):
    """What holds between two instants at which a window begins or ends."""

    until_ns: int
    latency: Draw
    latency_factor: float
    hangs: bool
    outage: bool
    throttles: Sequence[_Throttle]
    flapping: Sequence[_Flapping]
    countdowns: Sequence[_Countdown]
    ladder: Sequence[tuple[float, Outcome | None]]
    """The fates that the one draw decides between, each with the upper end of its range; None: the reply is lost."""

    top: float
    """The upper end of the last range: a draw from here on is a success."""

    is_calm: bool
    """Whether nothing but the draw decides."""


class NotificationService(Provider):
    """A provider that fails as told, for the live pipeline and the simulated one alike.

    ::

        NotificationService(failure_rate=0.3)                 # 30% of the attempts fail
        NotificationService(fail_count=2)                     # the first two fail, all others succeed
        NotificationService(latency=Distribution(exponential={"mean": 0.2}))
    """

    def __init__(
        self,
        failure_rate: float = 0.0,
        fail_count: int | None = None,
        latency: Distribution | float = 0.0,
        *,
        faults: Sequence[FaultConfig] = (),
        streams: RandomStreams | None = None,
        name: str = "provider",
    ) -> None:
        """Make a provider.

        Args:
            failure_rate: share of attempts that fail transiently, between 0 and 1.
            fail_count: the first so many attempts fail transiently.
            latency: seconds, or a distribution of durations.
            faults: what goes wrong, and when; their `channel` is not looked at.
            streams: where its luck comes from; a seed of 0 when None.
            name: of its random streams; providers of the same name and seed have the same luck.
        """
        config = ProviderConfig(
            failure_rate=failure_rate,
            latency=latency if isinstance(latency, Distribution) else Distribution(constant=latency),
        )
        if fail_count:
            faults = (FaultConfig.model_validate({"channel": "all", "fail_first": fail_count}), *faults)
        streams = streams if streams is not None else RandomStreams(0)
        self._failure_rate = config.failure_rate
        self._own_latency = config.latency.sampler(streams.stream(f"{name}.latency"))
        self._draw = streams.stream(f"{name}.fate").random
        self._rules = [
            _Rule(fault, streams.stream(f"{name}.fault.{number}.latency")) for number, fault in enumerate(faults)
        ]
        self._weather = self._weather_at(0)
        self.delivered = 0
        """How many notifications it has delivered, those whose reply was lost included."""

    @classmethod
    def from_config(
        cls, config: ProviderConfig, faults: Sequence[FaultConfig], streams: RandomStreams, name: str
    ) -> NotificationService:
        """Return the provider of a channel's settings."""
        return cls(config.failure_rate, latency=config.latency, faults=faults, streams=streams, name=name)

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Return what becomes of an attempt that starts now, and after how long."""
        weather = self._weather
        if now_ns >= weather.until_ns:
            weather = self._weather = self._weather_at(now_ns)
        latency_ns = round(weather.latency() * weather.latency_factor * 1e9)
        # Drawn also where nothing hangs on it, so that the k-th attempt has the same luck whatever went wrong before.
        drawn = self._draw()
        if weather.is_calm and drawn >= weather.top:
            self.delivered += 1
            return Foreseen(latency_ns, SENT)
        outcome = None if weather.hangs else self._fate(weather, now_ns, drawn)
        return Foreseen(NEVER_NS, SENT) if outcome is None else Foreseen(latency_ns, outcome)

    def _fate(self, weather: _Weather, now_ns: int, drawn: float) -> Outcome | None:
        for throttle in weather.throttles:
            if not throttle.lets_through(now_ns):
                return throttle.answer
        if weather.outage:
            return OUTAGE
        for flapping in weather.flapping:
            if flapping.is_down(now_ns):
                return OUTAGE
        for countdown in weather.countdowns:
            if countdown.strikes():
                return FAILED
        if drawn < weather.top:
            for upper_end, outcome in weather.ladder:
                if drawn < upper_end:
                    self.delivered += outcome is None
                    return outcome
        self.delivered += 1
        return SENT

    def _weather_at(self, now_ns: int) -> _Weather:
        boundaries = [edge for rule in self._rules for edge in (rule.start_ns, rule.end_ns) if edge > now_ns]
        active = [rule for rule in self._rules if rule.start_ns <= now_ns < rule.end_ns]
        factor = 1.0
        for rule in active:
            factor *= rule.fault.latency_factor or 1.0
        ladder = _ladder(
            (sum(rule.fault.dead_destination_rate or 0.0 for rule in active), DEAD),
            (sum(rule.fault.permanent_rate or 0.0 for rule in active), PERMANENT),
            (sum(rule.fault.lost_reply_rate or 0.0 for rule in active), None),
            (self._failure_rate + sum(rule.fault.failure_rate or 0.0 for rule in active), FAILED),
        )
        latencies = [rule.latency for rule in active if rule.latency is not None]
        hangs = any(rule.fault.hang for rule in active)
        outage = any(rule.fault.outage for rule in active)
        throttles = [rule.throttle for rule in active if rule.throttle is not None]
        flapping = [rule.flapping for rule in active if rule.flapping is not None]
        countdowns = [rule.countdown for rule in active if rule.countdown is not None]
        return _Weather(
            until_ns=min(boundaries, default=NEVER_NS),
            latency=latencies[-1] if latencies else self._own_latency,
            latency_factor=factor,
            hangs=hangs,
            outage=outage,
            throttles=throttles,
            flapping=flapping,
            countdowns=countdowns,
            ladder=ladder,
            top=ladder[-1][0] if ladder else 0.0,
            is_calm=not (hangs or outage or throttles or flapping or countdowns),
        )


def _ladder(*rates: tuple[float, Outcome | None]) -> list[tuple[float, Outcome | None]]:
    ladder: list[tuple[float, Outcome | None]] = []
    top = 0.0
    for rate, outcome in rates:
        top = min(1.0, top + rate)
        if rate > 0:
            ladder.append((top, outcome))
    return ladder
