"""Failover from a channel's provider to the next, and fallback to another channel, by which no one is reached twice."""

from __future__ import annotations

from itertools import takewhile

from actors.domain.attempts import Attempt
from actors.messages import (
    BreakerTransitioned,
    NotificationChannel,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
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
        providers = list(self.context.channels[channel].by_provider())
        after = self.context.channels[channel].switch_after
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
        if first.user_id and requested.user_id not in (first.user_id, self._recipients.get(first_id)):
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


class ReachedOnce(Invariant):
    """No one is reached twice through a redrive, by a notification and by its fallback.

    What is redriven has no fallback that was sent or is under way, nor is it one of what was or is; and of a request
    one notification is sent. Unless an operator has asked for it: then it may be two, of those that are under way at
    once. Nothing falls back of which one was sent.
    """

    name = "reached-once"
    settings = ("fallback",)
    needs = ("fallback",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._requests: dict[str, list[str]] = {}
        """The notifications of each request in which something has fallen back, by each of them."""
        self._wanted_twice: set[str] = set()

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        if requested.instead_of is not None:
            for other, state in self._others(requested.instead_of):
                if state is State.SENT:
                    return f"{requested.instead_of} falls back, and {other} of the same request is sent"
        # Its id may have come before, and have been forgotten: then it leaves the request of the earlier one.
        earlier = self._requests.pop(requested.notification_id, [])
        if requested.notification_id in earlier:
            earlier.remove(requested.notification_id)
        if requested.instead_of is not None:
            request = self._requests.setdefault(requested.instead_of, [requested.instead_of])
            request.append(requested.notification_id)
            self._requests[requested.notification_id] = request
            if requested.instead_of in self._wanted_twice:
                self._wanted_twice.add(requested.notification_id)
        return None

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        if redriven.include_served:
            self._wanted_twice.update(self._requests.get(redriven.notification_id, ()))
            return None
        for other, state in self._others(redriven.notification_id):
            if state in (State.IN_FLIGHT, State.SENT):
                return f"{redriven.notification_id} is redriven, and {other} of the same request is {state}"
        return None

    @observes(NotificationSent)
    def on_sent(self, sent: NotificationSent) -> Objection:
        if sent.notification_id in self._wanted_twice:
            return None
        for other, state in self._others(sent.notification_id):
            if state is State.SENT:
                return f"{sent.notification_id} is sent, and so was {other} of the same request"
        return None

    def _others(self, notification_id: str) -> list[tuple[str, State]]:
        others = [each for each in self._requests.get(notification_id, ()) if each != notification_id]
        known = [(each, self.context.lifecycles.get(each)) for each in others]
        return [(each, lifecycle.state) for each, lifecycle in known if lifecycle is not None]
