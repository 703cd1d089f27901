"""Failover: a channel with several providers asks the first that may be asked; and fallback, from one channel to
another."""

from __future__ import annotations

from actors.messages import BreakerState, BreakerTransitioned, NotificationChannel, NotificationRequested
from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from actors.settings.channel import PRIMARY
from simulation.invariants.base import Context, Finding, Invariant, Objection, observes
from simulation.invariants.breakers import Breakers
from simulation.invariants.feedback import let_through_in, provider_of
from simulation.invariants.lifecycles import State
from simulation.invariants.observations import MessageSent


class FailoverOrder(Breakers):
    """Nothing is let through to a further provider while nothing keeps the first from being asked: its breaker has
    never opened, and it has no bounds that could be met.

    Behind a breaker that has closed the waiters go at a pace, so that one may go to another provider. Of a channel
    that switches providers by the number of the attempt the first is another one each time, which is not looked at.
    """

    name = "failover-order"
    receivers = frozenset({Channel, HedgingChannel})
    watches_actors = True
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._unbounded = {channel for channel in context.channels if _is_unbounded(context, channel)}

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(_is_unbounded(context, channel) for channel in context.channels)

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        self._follow(event)
        return None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is None:
            return None
        (channel, provider), command = provider_of(admitted), admitted.attempt.command
        if provider == PRIMARY or channel not in self._unbounded:
            return None
        key = self.context.breaker_before(channel, PRIMARY, admitted.attempt)
        breaker = self._breaker(key)
        if breaker.state is not BreakerState.CLOSED or breaker.since_ns >= 0:
            return None
        text = f"{command.notification_id} goes to the {provider} provider of {channel}, and breaker {key[0]} is closed"
        return Finding(text, command.notification_id)


class Fallbacks(Invariant):
    """What goes out in place of another notification is for the same user, by the channel that the other one's falls
    back to, and only once that one has been exhausted or suppressed."""

    name = "fallback"
    needs = ("fallback",)

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        first = None if requested.instead_of is None else self.context.lifecycles.get(requested.instead_of)
        if first is None:
            return None
        place = f"{requested.notification_id} goes out in place of {requested.instead_of}"
        if first.state not in (State.DEAD, State.SUPPRESSED, State.DISCARDED):
            return f"{place}, which is {first.state}"
        if requested.user_id != first.user_id:
            return f"{place}, for {requested.user_id} and not for {first.user_id}"
        accepted = next(each for each in first.history if type(each) is NotificationRequested)
        fallback = self.context.channels[accepted.channel].fallback
        if fallback is None or fallback.channel != requested.channel:
            return f"{place} by {requested.channel}, and {accepted.channel} does not fall back to that"
        return None


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
