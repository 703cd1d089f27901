"""Concurrency limits: they follow latency within their bounds, a step at a time, and no more are under way."""

from __future__ import annotations

import math
from typing import Any

from actors.domain.attempts import CUT, Admitted, Attempt, Requeued
from actors.kernel.effects import Performed
from actors.messages import ActorFailed
from actors.outcomes import Ambiguous
from actors.pipeline.channel import Channel
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.lane import Lane
from actors.settings.adaptive import ConcurrencyLimitConfig, VegasConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import Key, answer_in, lane_of, let_through_in, provider_of
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import MessageSent
from simulation.verification.model.adaptive import is_answer, is_throttled


class _Slots:
    def __init__(self) -> None:
        self.now: int | None = None
        """Their number, once it has been seen."""
        self.fastest_ns: int | None = None
        self.under_way: dict[int, Attempt] = {}
        """By identity, until the breaker has taken note of its outcome."""


class ConcurrencyLimits(Invariant):
    """A concurrency limit stays between its bounds, grows only by an answer to what filled half of it, falls only by
    what was slow, refused or not answered, and by one step at a time; and no more are let through than it says.
    """

    name = "concurrency-limit"
    of_one_process = True
    settings = ("concurrency_limit", "max_in_flight")
    receivers = frozenset({Channel, Handler, HedgingChannel})
    needs = ("concurrency_limit",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs: dict[Key, ConcurrencyLimitConfig] = {}
        self._bounds: dict[Key, tuple[int, int]] = {}
        for key, config in context.providers.items():
            if (adaptive := config.concurrency_limit) is not None:
                bulkhead = math.inf if config.slots is None else config.slots
                self._configs[key] = adaptive
                self._bounds[key] = int(min(bulkhead, adaptive.minimum)), int(min(bulkhead, adaptive.maximum))
        self._slots: dict[Key, _Slots] = {}

    def _of(self, key: Key) -> _Slots:
        slots = self._slots.get(key)
        if slots is None:
            slots = self._slots[key] = _Slots()
        return slots

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._slots.clear()

    def _let_through(self, admitted: Admitted) -> Objection:
        key = channel, provider = provider_of(admitted)
        if key not in self._configs:
            return None
        slots = self._of(key)
        slots.under_way[id(admitted.attempt)] = admitted.attempt
        if slots.now is None or len(slots.under_way) <= slots.now:
            return None
        place = f"at the {provider} provider of {channel}"
        text = f"{len(slots.under_way)} attempts are under way {place}, whose limit is {slots.now}"
        return Finding(text, admitted.attempt.command.notification_id)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (let_through := let_through_in(sent)) is not None:
            return self._let_through(let_through)
        if type(sent.message) is Requeued:  # its lease was over before it was at the provider
            for slots in self._slots.values():
                slots.under_way.pop(id(sent.message.attempt), None)
        if (answer := answer_in(sent)) is None:
            return None
        admitted, performed = answer
        key = provider_of(admitted)
        lane = lane_of(self.context, admitted) if key in self._configs else None
        after = None if lane is None else lane.slots.limit
        if lane is None or after is None:
            return None
        slots = self._of(key)
        slots.under_way.pop(id(admitted.attempt), None)
        before, slots.now = slots.now, after
        least, most = self._bounds[key]
        if not least <= after <= most:
            return self._finding(admitted, lane, f"is {after}, of at least {least} and at most {most}")
        wrong = None
        if before is not None and before != after:
            wrong = _wrong_step(self._configs[key], slots, before, after, admitted, performed)
        latency_ns = max(1, performed.ended_ns - performed.started_ns)
        if performed.result is not CUT:
            slots.fastest_ns = latency_ns if slots.fastest_ns is None else min(slots.fastest_ns, latency_ns)
        if wrong is None:
            return None
        return self._finding(admitted, lane, f"goes from {before} to {after} {wrong}")

    def _finding(self, admitted: Admitted, lane: Lane, what: str) -> Finding:
        return Finding(f"the concurrency limit of {lane.name} {what}", admitted.attempt.command.notification_id)


def _wrong_step(
    config: ConcurrencyLimitConfig, slots: _Slots, before: int, after: int, admitted: Admitted, performed: Performed
) -> str | None:
    outcome: Any = performed.result
    by = f"by the outcome {type(outcome).__name__}"
    answered = is_answer(outcome)
    is_late = isinstance(outcome, Ambiguous) and outcome is not CUT
    if not answered and not is_throttled(outcome) and not is_late:
        return f"{by}, which says nothing of how much the provider can do"
    filled_half = 2 * admitted.in_flight >= before
    grows, least = _steps(config, before)
    if after > before:
        if isinstance(config, VegasConfig) and not answered:
            return by
        if not filled_half:
            return f"{by} of one of {admitted.in_flight} under way, less than half of it"
        return f"{by}, by more than {grows}" if after - before > grows else None
    if not filled_half and (answered or not isinstance(config, VegasConfig)):
        return f"{by} of one of {admitted.in_flight} under way, less than half of it"
    is_fastest = slots.fastest_ns is None or performed.ended_ns - performed.started_ns <= slots.fastest_ns
    if isinstance(config, VegasConfig) and answered and is_fastest:
        return f"{by}, the fastest there was"
    return f"{by}, below {least}" if after < least else None


def _steps(config: ConcurrencyLimitConfig, before: int) -> tuple[int, int]:
    """Return by how much a limit may grow at once, and to what it may fall; what is behind the comma is not shown."""
    if isinstance(config, VegasConfig):
        step = max(1, int(math.log10(before + 1)))
        beta = 6 * step if config.beta is None else config.beta
        least = before - step if config.decrease is None else before * config.decrease
        return 1 + max(step, beta), math.floor(least)
    return 1 + math.ceil(config.smoothing * config.queue_size), math.floor(before * (1 - config.smoothing / 2))
