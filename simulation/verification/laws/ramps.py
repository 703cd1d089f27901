"""Ramps: right after a circuit breaker has closed, exactly the growing share goes through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from actors.domain.attempts import Admitted
from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned, NotificationDeferred
from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.exact import as_fraction
from actors.settings.breaker import CircuitBreakerConfig, RampConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, breaker_of, observes
from simulation.verification.laws.feedback import lane_of, let_through_in, provider_of
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import MessageSent

_FROM = frozenset({BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN})


@dataclass(slots=True)
class _Ramp:
    start_ns: int
    looked_ns: int
    let_through: int = 0
    asked: int = 0
    least: Fraction = Fraction(0)
    """The sum of the shares of all that have asked, at least; each has asked between one look and the next."""
    most: Fraction = Fraction(0)


class Ramps(Invariant):
    """Of those that ask while a ramp lasts as many go through as their shares add up to: no more, and no fewer.

    How many have asked is what the breaker says; the shares are counted anew. Behind a breaker for each host, and where
    an adaptive throttle refuses others, it is not known who has asked.
    """

    name = "ramp"
    of_one_process = True
    settings = ("circuit_breaker.ramp",)
    receivers = frozenset({Channel, HedgingChannel})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = _ramps(context)
        self._ramps: dict[str, _Ramp] = {}

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and bool(_ramps(context))

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._ramps.clear()

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        self._ramps.pop(event.breaker, None)
        is_ramp = event.to_state == BreakerState.CLOSED and event.from_state in _FROM and event.cause != "restart"
        if event.breaker in self._configs and is_ramp and self._configs[event.breaker].half_open_then != "closed":
            self._ramps[event.breaker] = _Ramp(event.at_ns, event.at_ns)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is None:
            return None
        name = breaker_of(*provider_of(admitted))
        ramp = self._ramps.get(name)
        if ramp is None:
            return None
        ramp.let_through += 1
        return self._look(name, ramp, admitted, sent.at_ns)

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> None:
        pipeline = self.context.pipeline()
        for name, ramp in list(self._ramps.items()) if pipeline is not None else ():
            assert pipeline is not None
            for lane in pipeline.wiring.stages[deferred.channel].lanes:
                if lane.name == name and lane.breaker is not None:
                    self._sum_up(name, ramp, lane.breaker.refused, deferred.at_ns)

    def _look(self, name: str, ramp: _Ramp, admitted: Admitted, now_ns: int) -> Objection:
        config = self._configs[name].ramp
        lane = lane_of(self.context, admitted)
        assert config is not None
        if lane is None or lane.breaker is None or now_ns >= ramp.start_ns + wait_ns(config.over):
            del self._ramps[name]
            return None
        self._sum_up(name, ramp, lane.breaker.refused, now_ns)
        if math.floor(ramp.least) <= ramp.let_through <= math.floor(ramp.most):
            return None
        shares = f"the shares of {ramp.asked} that have asked add up to {float(ramp.most):.6g}"
        text = f"breaker {name} has let {ramp.let_through} through since {seconds_text(ramp.start_ns)}, and {shares}"
        return Finding(text, admitted.attempt.command.notification_id)

    def _sum_up(self, name: str, ramp: _Ramp, refused: int, now_ns: int) -> None:
        config = self._configs[name].ramp
        assert config is not None
        new = ramp.let_through + refused - ramp.asked
        ramp.least += new * _share(config, ramp.looked_ns - ramp.start_ns)
        ramp.most += new * _share(config, now_ns - ramp.start_ns)
        ramp.asked += new
        ramp.looked_ns = now_ns


def _share(config: RampConfig, after_ns: int) -> Fraction:
    start = as_fraction(config.start)
    return start + (1 - start) * min(Fraction(1), Fraction(after_ns, max(1, wait_ns(config.over))))


def _ramps(context: Context) -> dict[str, CircuitBreakerConfig]:
    """Return the settings of the breakers that have a ramp, and of which it is known who has asked them."""
    return {
        breaker_of(channel, name): config.circuit_breaker
        for (channel, name), config in context.providers.items()
        if config.circuit_breaker.ramp is not None
        and config.circuit_breaker.per != "host"
        and config.adaptive_throttle is None
    }
