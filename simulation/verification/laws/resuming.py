"""Waiting notifications resume one after the other, and not as one herd: behind a breaker that has closed, and after a
restart of the process."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.formatting import seconds_text
from actors.instants import NS_PER_S
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeferralCause,
    NodeTookOver,
    NotificationChannel,
    NotificationDeferred,
    NotificationRequested,
)
from actors.policies.breaker.states import NOT_CLOSED
from actors.settings.breaker import CircuitBreakerConfig
from simulation.verification.laws.base import BreakerKey, Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import ON_THE_WAY
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.model.resuming import Arrivals, ceiling_per_s


class _Ceilings(Arrivals):
    def of(self, channel: NotificationChannel, config: CircuitBreakerConfig, now_ns: int) -> float:
        return ceiling_per_s(config, self.per_second(channel, now_ns))


@dataclass(slots=True)
class _Closed:
    since_ns: int
    latest_ns: int | None = None
    ceiling: float = 0.0
    """How many might go a second then."""


class ResumePace(Invariant):
    """The waiters of an open circuit breaker resume at its `resume_rate`, which doubles again and again up to its
    ceiling, and no two of them closer together than that: what could not go in time is not made up for. The ceiling is
    `resume_rate_max`, or else ten times `resume_rate` or twice the rate of new ones in the last minute.

    Unless an actor has failed since: then the waiters are not known any more. Nor are those of a tenant with a bound on
    what it has under way: that may be what they have waited for last. And what has passed a breaker while its channel
    was down goes from the mailbox of the channel, all at once.
    """

    name = "resume-pace"
    of_one_process = True
    settings = ("circuit_breaker.resume_rate", "circuit_breaker.resume_doubling", "circuit_breaker.resume_rate_max")
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._closed: dict[BreakerKey, _Closed] = {}
        self._crashed_ns = -1
        """When an actor has failed last: who waited then comes back from the handler, and at its pace."""
        self._back_ns = -1
        """When that actor is back at the latest."""
        self._taken_over_ns: dict[str, int] = {}
        """By notification, when it has been taken over: before that it waited at another node."""
        self._ceilings = _Ceilings()

    @observes(NotificationRequested)
    def on_requested(self, event: NotificationRequested) -> None:
        self._ceilings.add(event.channel, event.at_ns)

    @observes(NodeTookOver)
    def on_takeover(self, event: NodeTookOver) -> None:
        self._taken_over_ns.update(dict.fromkeys(event.notification_ids, event.at_ns))

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor in ON_THE_WAY:
            self._crashed_ns = event.at_ns
            self._back_ns = event.at_ns + self.context.lifecycles.restarted_within_ns
            self._closed.clear()

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        key = event.breaker, event.host
        self._closed.pop(key, None)
        if event.from_state in NOT_CLOSED and event.to_state not in NOT_CLOSED:
            self._closed[key] = _Closed(event.at_ns)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if not self._closed or made.at_ns <= self._back_ns:
            return None
        key = name, _ = self.context.breaker_before(made.channel, made.provider, made.attempt)
        config = self.context.breakers[name]
        closed, lifecycle = self._closed.get(key), self.context.lifecycles.get(made.notification_id)
        if closed is None or lifecycle is None or not lifecycle.history or self._may_wait_for_its_tenant(made):
            return None
        waited = lifecycle.history[-1]
        if (
            type(waited) is not NotificationDeferred
            or waited.cause is not DeferralCause.CIRCUIT_BREAKER
            or not self._crashed_ns < waited.at_ns < closed.since_ns
            or waited.at_ns <= self._taken_over_ns.get(made.notification_id, -1)
        ):
            return None
        before_ns, closed.latest_ns = closed.latest_ns, made.at_ns
        ceiling, closed.ceiling = closed.ceiling, self._ceilings.of(made.channel, config, made.at_ns)
        if before_ns is None:
            return None
        doublings = (before_ns - closed.since_ns) / NS_PER_S / config.resume_doubling
        least_ns = max(_apart_ns(config, doublings), NS_PER_S / ceiling - 2.0)
        if made.at_ns - before_ns >= least_ns:
            return None
        return (
            f"{made.notification_id}, which waited for breaker {name}, goes on {seconds_text(made.at_ns - before_ns)} "
            f"after the one before it, of at least {least_ns / NS_PER_S:.9g} s"
        )

    def _may_wait_for_its_tenant(self, made: AttemptMade) -> bool:
        bounds = self.context.channels[made.channel].tenant
        is_bounded = bounds is not None and bounds.max_in_flight is not None
        return is_bounded and made.attempt.command.metadata.get("tenant") is not None


def _apart_ns(config: CircuitBreakerConfig, doublings: float) -> float:
    """Return the least gap, in nanoseconds, after so many doublings of the rate at the first of two: the second is
    released when the integral of the rate, which goes on to double, has grown by 1."""
    if doublings > 50:
        return 0.0
    rate = config.resume_rate.per_second * 2.0**doublings
    doubling = config.resume_doubling
    return doubling * math.log2(1.0 + math.log(2.0) / (rate * doubling)) * NS_PER_S * (1.0 - 1e-6) - 2.0
