"""Failover: who has several providers asks the first that may be asked."""

from __future__ import annotations

from actors.config import PRIMARY
from actors.messages import ActorFailed, BreakerTransitioned, NotificationChannel
from actors.policies.breaker_group import recipient_host
from actors.policies.breaker_table import BreakerState
from simulation.invariants.base import Context, Verdict, breaker_of, observes
from simulation.invariants.breakers import Breakers
from simulation.invariants.observations import AttemptMade


class FailoverOrder(Breakers):
    """No further provider is asked while nothing keeps the first from being asked: its breaker has never opened, and it
    has no bounds that could be met.

    Behind a breaker that has closed those who waited go at a pace, so that one may go to another provider. Of a channel
    that switches providers by the number of the attempt the first is another one each time, which is not looked at.
    """

    name = "failover-order"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._unbounded = {channel for channel in context.channels if _is_unbounded(context, channel)}
        self._up_at_ns = -1

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.mixes_messages_up and any(_is_unbounded(context, channel) for channel in context.channels)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> Verdict:
        self._up_at_ns = event.at_ns + self.context.restarted_within_ns
        return None

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Verdict:
        self._follow(event)
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Verdict:
        if made.provider == PRIMARY or made.channel not in self._unbounded or made.at_ns <= self._up_at_ns:
            return None
        name = breaker_of(made.channel, PRIMARY)
        host = recipient_host(made.attempt.command.recipient) if self._configs[name].per == "host" else None
        breaker = self._breaker((name, host))
        if breaker.state is not BreakerState.CLOSED or breaker.since_ns >= 0:
            return None
        return f"{made.notification_id} goes to the {made.provider} provider of {made.channel}, and {name} is closed"


def _is_unbounded(context: Context, channel: NotificationChannel) -> bool:
    """Tell whether a channel has further providers, and nothing before the first one but its breaker."""
    config = context.channels[channel]
    bounds = (
        config.quota,
        config.max_in_flight,
        config.concurrency_limit,
        config.adaptive_rate,
        config.adaptive_throttle,
        config.switch_after,
        config.circuit_breaker.ramp,
    )
    return bool(config.failover) and all(bound is None for bound in bounds)
