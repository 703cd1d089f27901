"""Adaptive throttles: they refuse what the provider would, and as many as their formula says."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from actors.domain.attempts import Admitted, Refused
from actors.instants import wait_ns
from actors.messages import ActorFailed, NotificationChannel
from actors.pipeline.blocked import THROTTLED_HERE
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.settings.adaptive import AdaptiveThrottleConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import answer_in, is_answer
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import MessageSent

_BUCKETS = 60


class _Requests:
    """Requests and accepts of the latest sixty buckets of time, and how many refusals that makes."""

    def __init__(self, config: AdaptiveThrottleConfig) -> None:
        self.config = config
        self._bucket_ns = max(1, wait_ns(config.window) // _BUCKETS)
        self._counts: deque[tuple[int, int, int]] = deque()
        self.refused = 0
        self.expected = 0.0
        """How many refusals there should have been on average."""
        self.variance = 0.0

    def count(self, requests: int, accepts: int, now_ns: int) -> None:
        self._counts.append((now_ns // self._bucket_ns, requests, accepts))

    def rejection(self, now_ns: int) -> float:
        while self._counts and self._counts[0][0] <= now_ns // self._bucket_ns - _BUCKETS:
            self._counts.popleft()
        requests = sum(each[1] for each in self._counts)
        accepts = sum(each[2] for each in self._counts)
        config = self.config
        surplus = requests - config.k * accepts
        return min(config.max_rejection, surplus / (requests + config.padding)) if surplus > 0 else 0.0


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
        self._requests: dict[NotificationChannel, _Requests] = {}

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
            if requests is not None and is_answer(answer[1].result):
                requests.count(0, 1, sent.at_ns)
            return None
        is_refusal = type(message) is Refused and message.outcome.reason == THROTTLED_HERE
        if type(message) is not Admitted and not is_refusal:
            return None
        command = message.attempt.command
        requests = self._of(command.channel)
        return None if requests is None else self._decided(requests, command, is_refusal, sent.at_ns)

    def _of(self, channel: NotificationChannel) -> _Requests | None:
        if channel not in self._configs:
            return None
        if channel not in self._requests:
            self._requests[channel] = _Requests(self._configs[channel])
        return self._requests[channel]

    def _decided(self, requests: _Requests, command: Any, refused: bool, now_ns: int) -> Objection:
        rejection = requests.rejection(now_ns)
        if not refused or requests.config.count_rejected:
            requests.count(1, 0, now_ns)
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
