"""Adaptive rates: they follow what the provider answers as their formulas say, and it is asked no faster than that."""

from __future__ import annotations

import math
from typing import Any

from actors.instants import NS_PER_S
from actors.messages import ActorFailed
from actors.pipeline.channel import Channel
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import Key, answer_in, lane_of, let_through_in, provider_of
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import AttemptMade, MessageSent
from simulation.verification.model.adaptive import AdaptiveRate

_NEARLY = 1e-6
"""What rounding to nanoseconds may come to, as a share of one send."""


class AdaptiveRates(Invariant):
    """An adaptive rate is cut by throttling and grows by what the provider takes, as its formula says and never out of
    its bounds; and nothing is let through to its provider faster than that, copies included.

    What lies in the mailbox of a channel that is down comes to its provider late, and perhaps all at once.
    """

    name = "adaptive-rate"
    of_one_process = True
    settings = ("adaptive_rate",)
    receivers = frozenset({Channel, Handler, HedgingChannel})
    needs_order = True
    needs = ("adaptive_rate",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = {
            key: config.adaptive_rate for key, config in context.providers.items() if config.adaptive_rate is not None
        }
        self._rates: dict[Key, AdaptiveRate] = {}
        self._limited_ns: dict[Key, int] = {}
        """When there first was a limit: what goes at that instant has been let through before."""

    def _rate(self, key: Key) -> AdaptiveRate | None:
        if key not in self._configs:
            return None
        if key not in self._rates:
            self._rates[key] = AdaptiveRate(self._configs[key])
        return self._rates[key]

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._rates.clear()
            self._limited_ns.clear()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        return self._send((made.channel, made.provider), made.at_ns, made.notification_id) if made.is_copy else None

    def _send(self, key: Key, now_ns: int, notification_id: str) -> Objection:
        rate = self._rate(key)
        if rate is None or rate.rate is None:
            return None
        early_ns = rate.fits_at("", now_ns) - now_ns
        rate.charge("", now_ns)
        if early_ns <= _NEARLY * NS_PER_S / rate.rate or now_ns == self._limited_ns.get(key):
            return None
        channel, provider = key
        text = f"the {provider} provider of {channel} is asked sooner than at its rate of {rate.rate:.6g}/s"
        return Finding(text, notification_id)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is not None:
            return self._send(provider_of(admitted), sent.at_ns, admitted.attempt.command.notification_id)
        if (answer := answer_in(sent)) is None:
            return None
        admitted, performed = answer
        key = provider_of(admitted)
        rate = self._rate(key)
        if rate is None:
            return None
        outcome: Any = performed.result
        before = rate.rate
        rate.after(outcome, sent.at_ns)
        if before is None and rate.rate is not None:
            self._limited_ns[key] = sent.at_ns
        lane = lane_of(self.context, admitted)
        if lane is None or lane.rate is None:
            return None
        is_rate, should = lane.rate.rate, rate.rate
        if is_rate == should or (is_rate and should and math.isclose(is_rate, should, rel_tol=1e-9)):
            return None
        text = (
            f"the rate of {lane.name} goes from {_a_second(before)} to {_a_second(is_rate)} by the outcome "
            f"{type(outcome).__name__}, and should to {_a_second(should)}, between {_a_second(rate.least)} and "
            f"{_a_second(rate.most)}"
        )
        return Finding(text, admitted.attempt.command.notification_id)


def _a_second(rate: float | None) -> str:
    return "no limit" if rate is None or rate == math.inf else f"{rate:.9g}/s"
