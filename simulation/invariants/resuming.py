"""Behind a breaker that has closed, those who waited for it resume one after the other, and not as one herd."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.instants import NS_PER_S
from actors.messages import BreakerTransitioned, DeferralCause, NotificationDeferred
from actors.policies.breaker_group import recipient_host
from actors.policies.breaker_table import BreakerState
from simulation.invariants.base import Context, Invariant, Verdict, breaker_of, observes
from simulation.invariants.observations import AttemptMade
from simulation.invariants.text import seconds_text


@dataclass(slots=True)
class _Closed:
    """A breaker that has closed."""

    since_ns: int
    resumed: int = 0
    """Of those who had waited for it."""


class ResumePace(Invariant):
    """Those who have waited for an open circuit breaker resume at its `resume_rate`, which doubles again and again.

    Unless an actor has failed since: then who waits is not known any more.
    """

    name = "resume-pace"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = {
            breaker_of(channel, name): config.circuit_breaker for (channel, name), config in context.providers.items()
        }
        self._closed: dict[tuple[str, str | None], _Closed] = {}
        self._crashes = 0

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.mixes_messages_up

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Verdict:
        key = event.breaker, event.host
        self._closed.pop(key, None)
        if event.to_state == BreakerState.CLOSED:
            self._closed[key] = _Closed(event.at_ns)
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Verdict:
        if not self._closed:
            return None
        lives = self.context.lives
        if lives.crashes != self._crashes:
            self._crashes = lives.crashes
            self._closed.clear()
            return None
        name = breaker_of(made.channel, made.provider)
        config = self._configs[name]
        host = recipient_host(made.attempt.command.recipient) if config.per == "host" else None
        closed, life = self._closed.get((name, host)), lives.get(made.notification_id)
        if closed is None or life is None or not life.history:
            return None
        waited = life.history[-1]
        if (
            type(waited) is not NotificationDeferred
            or waited.cause is not DeferralCause.CIRCUIT_BREAKER
            or waited.at_ns >= closed.since_ns
        ):
            return None
        closed.resumed += 1
        doublings = (made.at_ns - closed.since_ns) / NS_PER_S / config.resume_doubling
        if doublings > 50:
            return None
        rate = config.resume_rate.per_second * config.resume_doubling / math.log(2.0)
        most = 1.0 + rate * (2.0**doublings - 1.0) + 1e-6 * closed.resumed
        if closed.resumed <= most:
            return None
        return (
            f"{made.notification_id} is number {closed.resumed} of those who waited for breaker {name} and go on since "
            f"it has closed at {seconds_text(closed.since_ns)}, of at most {math.floor(most)} by now"
        )
