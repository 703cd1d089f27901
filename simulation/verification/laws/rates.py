"""Adaptive rates: they follow what the provider answers as their formulas say, and it is asked no faster than that."""

from __future__ import annotations

import math
from typing import Any

from actors.instants import NS_PER_S, seconds, wait_ns
from actors.messages import ActorFailed
from actors.outcomes import Outcome
from actors.pipeline.channel import Channel
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.settings.adaptive import AdaptiveRateConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import (
    Key,
    answer_in,
    is_answer,
    is_throttled,
    lane_of,
    let_through_in,
    provider_of,
)
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import AttemptMade, MessageSent

_NEARLY = 1e-6
"""What rounding to nanoseconds may come to, as a share of one send."""


class _Rate:
    """An adaptive rate, counted anew. Rates are numbers a second."""

    def __init__(self, config: AdaptiveRateConfig) -> None:
        self._config = config
        self.least = config.minimum_rate.per_second
        self.most = math.inf if config.maximum_rate is None else config.maximum_rate.per_second
        self.rate = None if config.initial_rate is None else config.initial_rate.per_second
        self._grew_ns = 0
        self._cut_ns: int | None = None
        self._cut_at = self.rate or 0.0
        self._measured = 0.0
        self._half_second = 0
        self._answers = 0
        """Since the half second that was measured last."""
        self._pending = 0.0
        """The part of a send that has to pass before the next one, at an instant."""
        self._due_at_ns = 0
        self._limited_at_ns = -1

    def hear(self, outcome: Outcome, now_ns: int) -> None:
        throttled = is_throttled(outcome)
        if not throttled and not is_answer(outcome):
            return
        self._measure(now_ns)
        rate = self._after_throttling(now_ns) if throttled else self._after_success(now_ns)
        if rate == self.rate or rate is None:
            return
        self._pass_until(now_ns)
        if self.rate is None:
            self._pending, self._limited_at_ns = 1.0, now_ns
        self.rate = rate

    def _measure(self, now_ns: int) -> None:
        self._answers += 1
        passed = 2 * now_ns // NS_PER_S - self._half_second
        if passed:
            self._measured = 0.8 * 2 * self._answers / passed + 0.2 * self._measured
            self._half_second += passed
            self._answers = 0

    def _after_throttling(self, now_ns: int) -> float | None:
        config = self._config
        if self._cut_ns is not None and now_ns - self._cut_ns < wait_ns(config.cooldown):
            return self.rate
        known = [rate for rate in (self.rate, self._measured) if rate]
        self._cut_at = min(known, default=self.least)
        self._cut_ns = self._grew_ns = now_ns
        return min(self.most, max(self.least, self._cut_at * self._decrease))

    def _after_success(self, now_ns: int) -> float | None:
        if self.rate is None:
            return None
        config = self._config
        if config.kind == "aimd":
            wanted = self.rate + config.increase.per_second * min(1.0, seconds(now_ns - self._grew_ns))
            self._grew_ns = now_ns
        else:
            back_s = math.cbrt(self._cut_at * (1 - self._decrease) / config.scale)
            wanted = config.scale * (seconds(now_ns - (self._cut_ns or 0)) - back_s) ** 3 + self._cut_at
        return max(self.rate, min(wanted, self.most, 2 * self._measured))

    @property
    def _decrease(self) -> float:
        if self._config.decrease is not None:
            return self._config.decrease
        return 0.5 if self._config.kind == "aimd" else 0.7

    def _pass_until(self, now_ns: int) -> None:
        if self.rate is not None:
            self._pending = max(0.0, self._pending - seconds(now_ns - self._due_at_ns) * self.rate)
        self._due_at_ns = now_ns

    def send(self, now_ns: int) -> bool:
        if self.rate is None:
            return True
        self._pass_until(now_ns)
        keeps = self._pending <= _NEARLY or now_ns == self._limited_at_ns
        self._pending = 1.0
        return keeps


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
        self._rates: dict[Key, _Rate] = {}

    def _rate(self, key: Key) -> _Rate | None:
        if key not in self._configs:
            return None
        if key not in self._rates:
            self._rates[key] = _Rate(self._configs[key])
        return self._rates[key]

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._rates.clear()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        return self._send((made.channel, made.provider), made.at_ns, made.notification_id) if made.is_copy else None

    def _send(self, key: Key, now_ns: int, notification_id: str) -> Objection:
        rate = self._rate(key)
        if rate is None or rate.send(now_ns):
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
        rate = self._rate(provider_of(admitted))
        if rate is None:
            return None
        outcome: Any = performed.result
        before = rate.rate
        rate.hear(outcome, sent.at_ns)
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
