"""Adaptive throttles: they refuse what the provider would, and as many as their formula says."""

from __future__ import annotations

import math
from typing import Any

from actors.domain.attempts import Admitted, Refused
from actors.messages import ActorFailed, NotificationChannel
from actors.pipeline.blocked import THROTTLED_HERE
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.settings.adaptive import AdaptiveThrottleConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import answer_in
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import MessageSent
from simulation.verification.model.adaptive import AdaptiveThrottle
from simulation.verification.model.randomness import Stream


class _Refusals(AdaptiveThrottle):
    def __init__(self, config: AdaptiveThrottleConfig) -> None:
        super().__init__(config, Stream(0, "adaptive-throttle"))
        self.refused = 0
        self.expected = 0.0
        """How many refusals there should have been on average."""
        self.variance = 0.0


class AdaptiveThrottles(Invariant):
    """An adaptive throttle refuses nothing while its provider takes enough, and else as many as its formula says: by
    so many more or fewer that it is chance in hardly one of ten million runs.
    """

    name = "adaptive-throttle"
    of_one_process = True
    settings = ("adaptive_throttle",)
    receivers = frozenset({Channel, HedgingChannel, Handler})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = _throttles(context)
        self._requests: dict[NotificationChannel, _Refusals] = {}

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and bool(_throttles(context))

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._requests.clear()

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.sender is not CircuitBreakerActor:
            return None
        if (answer := answer_in(sent)) is not None:
            requests = self._of(answer[0].attempt.command.channel)
            if requests is not None:
                outcome: Any = answer[1].result
                requests.after(outcome, sent.at_ns)
            return None
        is_refusal = type(message) is Refused and message.outcome.reason == THROTTLED_HERE
        if type(message) is not Admitted and not is_refusal:
            return None
        command = message.attempt.command
        requests = self._of(command.channel)
        return None if requests is None else self._decided(requests, command, is_refusal, sent.at_ns)

    def _of(self, channel: NotificationChannel) -> _Refusals | None:
        if channel not in self._configs:
            return None
        if channel not in self._requests:
            self._requests[channel] = _Refusals(self._configs[channel])
        return self._requests[channel]

    def _decided(self, requests: _Refusals, command: Any, refused: bool, now_ns: int) -> Objection:
        rejection = requests.refusal(now_ns)
        requests.ask(now_ns, not refused)
        if refused and rejection == 0:
            taken = f"the provider of {command.channel} has taken enough"
            return Finding(f"{command.notification_id} is refused by the adaptive throttle, and {taken}")
        requests.refused += refused
        requests.expected += rejection
        requests.variance += rejection * (1 - rejection)
        # Freedman's inequality: beyond this with a probability of less than e^-18, at any time of a run.
        if abs(requests.refused - requests.expected) <= 12 + 6 * math.sqrt(requests.variance):
            return None
        return f"{requests.refused} are refused by the throttle of {command.channel}, of some {requests.expected:.0f}"


def _throttles(context: Context) -> dict[NotificationChannel, AdaptiveThrottleConfig]:
    """Return those of channels with one provider; of several, it is not known which of their throttles has refused."""
    return {
        channel: config.adaptive_throttle
        for channel, config in context.channels.items()
        if config.adaptive_throttle is not None and not config.failover
    }
