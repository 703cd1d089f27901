"""The unreliable provider: delivers in its own time, and fails as it was told to; on any clock.

The fate of an attempt is fixed when it starts. In this order:

1. `hang`: no answer ever comes, whatever else holds, and nothing is delivered. It takes up none of a capacity: that
   would be until its sender's timeout, which the provider does not know.
2. `latency` (the last window that gives one) in place of the provider's own, times every `latency_factor`.
3. `throttle`: over the quota, the answer is `throttled`. It comes after the latency and takes up no capacity.
4. `outage`, and the down phase of `flap`: a transient failure after the latency, which takes up no capacity either;
   what was queued before is worked on as if nothing were wrong.
5. Failure rules (:data:`FailureRule`), in the order given: the first that returns an outcome decides. A `throttled` one
   is a refusal at the door, as that of 3; any other, a success too, is what the work on the attempt comes to.
6. `fail_first`: a transient failure, until so many attempts have met it.
7. One draw decides about all rates together, so each is a share of the attempts that come this far and not of what
   another one left: with a `dead_destination_rate` of 2% and a `failure_rate` of 50%, 2% find the address gone and 50%
   fail, not 49%. The order is: dead destination, permanent, lost reply, transient; rates of windows that overlap, the
   provider's own, and those of each `burst` that is in a bad spell, add up (to 100% at most).

With a `capacity` (the provider's own or a fault's) whoever comes to step 5 and is not refused there is worked on for
its latency, however it ends, or waits until so many others are done with: first come, first served. The answer comes
when the work is over. That the sender has given up meanwhile does not cancel it: late work costs as much as any other,
which is how retries can keep a provider overloaded long after what began it is over (Bronson et al., HotOS 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from actors.config import ProviderConfig
from actors.distributions import Distribution
from actors.effects import Foreseen
from actors.errors import ConfigurationError
from actors.faults_config import FaultConfig
from actors.outcomes import Outcome, Sent, Transient
from actors.pipeline.attempts import Attempt, Provider
from actors.provider_queue import Load, LoadMeter, ServiceQueue
from actors.randomness import RandomStreams
from actors.settings import validated
from actors.weather import FAILED, NEVER_NS, Forecast, Weather, capacity_steps

FailureRule: TypeAlias = Callable[[Attempt, int, Load], Outcome | None]
"""Decides about an attempt by the state of things: called with the attempt, the instant at which it starts (``now_ns``)
and the provider's :class:`~actors.provider_queue.Load` without it; returns its outcome, or None to let the rest decide.
It may remember what it likes; one that does is good for one run. If it raises, the attempt is ambiguous, as with any
provider that does::

    def collapses(attempt, now_ns, load):
        return Transient(reason="overloaded") if load.under_way >= 100 else None
"""

SENT = Sent()
OUTAGE = Transient(reason="provider outage")


class NotificationService(Provider):
    """A provider that fails as told, for the live pipeline and the simulated one alike.

    It goes by the clock of its system from 0 on, and remembers; so it is good for one run.

    ::

        NotificationService(failure_rate=0.3)                 # 30% of the attempts fail
        NotificationService(fail_count=2)                     # the first two fail, all others succeed
        NotificationService(latency=Distribution(exponential={"mean": 0.2}))
        NotificationService(latency=0.2, capacity=10)         # at most 50 a second; the others queue
        NotificationService(rules=[collapses])                # as a function of yours says
    """

    def __init__(
        self,
        failure_rate: float = 0.0,
        fail_count: int | None = None,
        latency: Distribution | float = 0.0,
        *,
        capacity: int | None = None,
        rules: Sequence[FailureRule] = (),
        faults: Sequence[FaultConfig] = (),
        streams: RandomStreams | None = None,
        name: str = "provider",
    ) -> None:
        """Make a provider.

        Args:
            failure_rate: share of attempts that fail transiently, between 0 and 1.
            fail_count: the first so many attempts fail transiently; at least 0.
            latency: seconds, or a distribution of durations. With a capacity: how long it works on each.
            capacity: how many attempts it works on at once, at least 1; the others queue. No bound when None.
            rules: what decides by the state of things.
            faults: what goes wrong, and when; their `channel` is not looked at.
            streams: where its luck comes from; a seed of 0 when None.
            name: of its random streams; providers of the same name and seed have the same luck.

        Raises:
            ConfigurationError: one of the settings is out of its range, or a rule cannot be called.
        """
        config = validated(ProviderConfig, {"failure_rate": failure_rate, "latency": latency, "capacity": capacity})
        if fail_count:
            faults = (_failing_first(fail_count), *faults)
        for number, rule in enumerate(rules):
            if not callable(rule):
                raise ConfigurationError([f"rules.{number}: wanted a function (attempt, now_ns, load), got {rule!r}"])
        streams = streams if streams is not None else RandomStreams(0)
        steps = capacity_steps(config.capacity, faults)
        self._forecast = Forecast(
            config.latency.sampler(streams.stream(f"{name}.latency")),
            config.failure_rate,
            faults,
            streams,
            name,
            is_ever_calm=not (steps or rules),
        )
        self._draw = streams.stream(f"{name}.fate").random
        self._weather = self._forecast.at(0)
        self._rules = tuple(rules)
        self._queue = ServiceQueue(steps) if steps else None
        self._meter = LoadMeter() if rules else None
        self.delivered = 0
        """How many notifications it has delivered, those whose reply was lost included; each from the start of its
        attempt on, when its fate is fixed."""

    @classmethod
    def from_config(
        cls,
        config: ProviderConfig,
        faults: Sequence[FaultConfig],
        streams: RandomStreams,
        name: str,
        *,
        rules: Sequence[FailureRule] = (),
    ) -> NotificationService:
        """Return the provider of a channel's settings."""
        return cls(
            config.failure_rate,
            latency=config.latency,
            capacity=config.capacity,
            rules=rules,
            faults=faults,
            streams=streams,
            name=name,
        )

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Return what becomes of an attempt that starts now, and after how long."""
        weather = self._weather
        if now_ns >= weather.until_ns:
            weather = self._weather = self._forecast.at(now_ns)
        latency_ns = round(weather.latency() * weather.latency_factor * 1e9)
        # Drawn also where nothing hangs on it, so that the k-th attempt has the same luck whatever went wrong before.
        drawn = self._draw()
        if weather.is_calm:
            if drawn >= weather.top:
                self.delivered += 1
                return Foreseen(latency_ns, SENT)
            return self._work(now_ns, latency_ns, _on_the_ladder(weather, drawn))
        if weather.hangs:
            return Foreseen(NEVER_NS, SENT)
        refusal = _refusal(weather, now_ns)
        if refusal is not None:
            return Foreseen(latency_ns, refusal)
        ruled = self._ruled(attempt, now_ns)
        if ruled is None:
            return self._work(now_ns, latency_ns, _fate(weather, now_ns, drawn))
        if isinstance(ruled, Transient) and ruled.throttled:
            return Foreseen(latency_ns, ruled)
        return self._work(now_ns, latency_ns, ruled)

    def _ruled(self, attempt: Attempt, now_ns: int) -> Outcome | None:
        if self._meter is None:
            return None
        load = self._meter.load(now_ns)
        for rule in self._rules:
            outcome = rule(attempt, now_ns, load)
            if outcome is not None:
                return outcome
        return None

    def _work(self, now_ns: int, latency_ns: int, outcome: Outcome | None) -> Foreseen:
        """Work on an attempt, once there is room for it. None: its reply will be lost."""
        delivers = outcome is None or type(outcome) is Sent
        if delivers:
            self.delivered += 1
        start_ns = now_ns if self._queue is None else self._queue.join(now_ns, latency_ns)
        end_ns = start_ns + latency_ns
        if self._meter is not None:
            self._meter.add(start_ns, end_ns, delivers=delivers)
        return Foreseen(NEVER_NS, SENT) if outcome is None else Foreseen(end_ns - now_ns, outcome)


def _refusal(weather: Weather, now_ns: int) -> Outcome | None:
    for throttle in weather.throttles:
        if not throttle.lets_through(now_ns):
            return throttle.answer
    if weather.outage or any(flapping.is_down(now_ns) for flapping in weather.flapping):
        return OUTAGE
    return None


def _fate(weather: Weather, now_ns: int, drawn: float) -> Outcome | None:
    """Return what luck decides. None: it is delivered, and the reply is lost."""
    for countdown in weather.countdowns:
        if countdown.strikes():
            return FAILED
    if drawn < weather.top:
        return _on_the_ladder(weather, drawn)
    # Transient failures have the last of the ranges, so those of bursts come right behind the ladder.
    bursting = sum(burst.failure_rate for burst in weather.bursts if burst.is_bad(now_ns))
    return FAILED if drawn < weather.top + bursting else SENT


def _on_the_ladder(weather: Weather, drawn: float) -> Outcome | None:
    for upper_end, outcome in weather.ladder:
        if drawn < upper_end:
            return outcome
    raise AssertionError("asked only below its top")


def _failing_first(count: Any) -> FaultConfig:
    if type(count) is not int or count < 0:
        raise ConfigurationError([f"fail_count: wanted a whole number of at least 0, got {count!r}"])
    return FaultConfig.model_validate({"channel": "all", "fail_first": count})
