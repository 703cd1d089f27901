"""Behind a breaker that has closed, its waiters resume one after the other, and not as one herd."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.instants import NS_PER_S
from actors.messages import BreakerState, BreakerTransitioned, DeferralCause, NotificationDeferred
from actors.settings.breaker import CircuitBreakerConfig
from simulation.invariants.base import BreakerKey, Context, Invariant, Objection, observes
from simulation.invariants.observations import AttemptMade
from simulation.invariants.text import seconds_text


@dataclass(slots=True)
class _Closed:
    """A breaker that has closed."""

    since_ns: int
    latest_ns: int | None = None
    """When the latest of its waiters went."""


class ResumePace(Invariant):
    """The waiters of an open circuit breaker resume at its `resume_rate`, which doubles again and again, and
    no two of them closer together than that: what could not go in time is not made up for.

    Unless an actor has failed since: then the waiters are not known any more.
    """

    name = "resume-pace"
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._closed: dict[BreakerKey, _Closed] = {}
        self._crashes = 0

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        key = event.breaker, event.host
        self._closed.pop(key, None)
        if event.to_state == BreakerState.CLOSED:
            self._closed[key] = _Closed(event.at_ns)
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if not self._closed:
            return None
        lifecycles = self.context.lifecycles
        if lifecycles.crashes != self._crashes:
            self._crashes = lifecycles.crashes
            self._closed.clear()
            return None
        key = name, _ = self.context.breaker_before(made.channel, made.provider, made.attempt)
        config = self.context.breakers[name]
        closed, lifecycle = self._closed.get(key), lifecycles.get(made.notification_id)
        if closed is None or lifecycle is None or not lifecycle.history:
            return None
        waited = lifecycle.history[-1]
        if (
            type(waited) is not NotificationDeferred
            or waited.cause is not DeferralCause.CIRCUIT_BREAKER
            or waited.at_ns >= closed.since_ns
        ):
            return None
        before_ns, closed.latest_ns = closed.latest_ns, made.at_ns
        if before_ns is None:
            return None
        doublings = (before_ns - closed.since_ns) / NS_PER_S / config.resume_doubling
        least_ns = _apart_ns(config, doublings)
        if made.at_ns - before_ns >= least_ns:
            return None
        return (
            f"{made.notification_id}, which waited for breaker {name}, goes on {seconds_text(made.at_ns - before_ns)} "
            f"after the one before it, of at least {least_ns / NS_PER_S:.9g} s"
        )


def _apart_ns(config: CircuitBreakerConfig, doublings: float) -> float:
    """Return how far apart two are at least where the rate of the first has doubled so often: one more is released when
    the integral of the rate, which goes on to double, has grown by 1."""
    if doublings > 50:
        return 0.0
    rate = config.resume_rate.per_second * 2.0**doublings
    doubling = config.resume_doubling
    return doubling * math.log2(1.0 + math.log(2.0) / (rate * doubling)) * NS_PER_S * (1.0 - 1e-6) - 2.0
