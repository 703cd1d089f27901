"""Failover: a channel with several providers asks the first that may be asked; and fallback, from one channel to
another."""

from __future__ import annotations

from itertools import takewhile

from actors.domain.attempts import Attempt
from actors.messages import BreakerTransitioned, NotificationChannel, NotificationRedriven, NotificationRequested
from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.breaker.states import NOT_CLOSED
from actors.settings.channel import ChannelConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.breakers import Breakers
from simulation.verification.laws.feedback import let_through_in, provider_of
from simulation.verification.laws.lifecycles import Lifecycle, State
from simulation.verification.laws.observations import MessageSent
from simulation.verification.laws.order import key_of


class FailoverOrder(Breakers):
    """An attempt is let through to the first provider that may be asked, in their order; on a channel that switches
    providers, in the order that begins with the one of its number: `switch_after` attempts with the first, then as many
    with the next.

    One that comes before may be asked where its breaker is not open, there is room, and no one who has waited goes at a
    pace. Where an adaptive throttle refuses, or the quota is an account's, that is not known.
    """

    name = "failover-order"
    of_one_process = True
    settings = ("switch_after",)
    receivers = frozenset({Channel, HedgingChannel})
    watches_actors = True

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(config.failover for config in context.channels.values())

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        self._follow(event)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is None:
            return None
        (channel, provider), attempt = provider_of(admitted), admitted.attempt
        providers, after = (
            list(self.context.channels[channel].by_provider()),
            self.context.channels[channel].switch_after,
        )
        first = 0 if after is None else (attempt.number - 1) // after % len(providers)
        for name in takewhile(provider.__ne__, (*providers[first:], *providers[:first])):
            if self._may_be_asked(channel, name, attempt, sent.at_ns):
                text = f"attempt {attempt.number} of {attempt.command.notification_id} goes to the {provider} provider"
                text += f" of {channel}, and the {name} provider is before it and may be asked"
                return Finding(text, attempt.command.notification_id)
        return None

    def _may_be_asked(self, channel: NotificationChannel, provider: str, attempt: Attempt, now_ns: int) -> bool:
        config = self.context.providers[channel, provider]
        key = self.context.breaker_before(channel, provider, attempt)
        breaker = self._breaker(key)
        if breaker.state in NOT_CLOSED or config.adaptive_throttle is not None:
            return False
        if config.quota is not None and config.quota.account is not None:
            return False  # it may be the turn of another lane, and to ask would change whose it is
        has_closed = breaker.since_ns >= 0
        if has_closed and (key[1] is not None or config.circuit_breaker.ramp is not None):
            return False
        pipeline = self.context.pipeline()
        if pipeline is None:
            return not has_closed and _is_unbounded(config)
        lane = next(each for each in pipeline.wiring.stages[channel].lanes if each.provider_name == provider)
        if lane.slots.has_its_share(key_of(self.context.channels[channel], attempt)):
            return False  # a slot that is free may be kept for others
        return not lane.paces.running and lane.room_at_ns(now_ns) == now_ns


class Fallbacks(Invariant):
    """What goes out in place of another notification is for the same user, by the channel that the other one's falls
    back to, and only once that one has been exhausted or suppressed. Where an operator has given it another recipient,
    its user may be that one, as a user is by default."""

    name = "fallback"
    settings = ("fallback",)
    needs = ("fallback",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recipients: dict[str, str] = {}
        """Those that operators have given, by notification."""

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> None:
        if (recipient := redriven.edit.get("recipient")) is not None:
            self._recipients[redriven.notification_id] = recipient

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        first_id = requested.instead_of
        first = None if first_id is None else self.context.lifecycles.get(first_id)
        if first_id is None or first is None:
            return None
        place = f"{requested.notification_id} goes out in place of {requested.instead_of}"
        has_ended = first.state in (State.DEAD, State.SUPPRESSED, State.DISCARDED)
        if not has_ended and not self._have_crossed(first, requested):
            return f"{place}, which is {first.state}"
        if requested.user_id not in (first.user_id, self._recipients.get(first_id)):
            return f"{place}, for {requested.user_id} and not for {first.user_id}"
        accepted = next(each for each in first.history if type(each) is NotificationRequested)
        fallback = self.context.channels[accepted.channel].fallback
        if fallback is None or fallback.channel != requested.channel:
            return f"{place} by {requested.channel}, and {accepted.channel} does not fall back to that"
        return None

    def _have_crossed(self, first: Lifecycle, requested: NotificationRequested) -> bool:
        """Tell whether a letter is redriven while its fallback is being accepted, before either was known to be: what
        another node does is known when it is durable."""
        redriven = [each for each in first.history if type(each) is NotificationRedriven][-1:]
        return any(
            each.at_ns >= requested.at_ns - (0 if each.node == requested.node else self.context.learnt_after_ns)
            for each in redriven
        )


def _is_unbounded(config: ChannelConfig) -> bool:
    bounds = (config.quota, config.slots, config.concurrency_limit, config.adaptive_rate)
    return all(bound is None for bound in bounds)
