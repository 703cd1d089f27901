"""Retries on top of retries, and retries on top of what comes anyway: chapter 22 of the SRE book."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from math import prod
from typing import Any

import msgspec

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.instants import NS_PER_S
from actors.kernel.actor import Actor, ActorRef, handles
from actors.outcomes import Outcome, Transient
from actors.policies.rate_limit.windows import FixedWindow
from actors.policies.retry.policy import Progress, RetryPolicy
from actors.settings.channel import RetryConfig
from simulation.engine.system import SimulatedSystem
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, one_rule, scenario
from simulation.verification.cases.families.attempts import mean_attempts
from simulation.verification.cases.measures import attempts
from simulation.verification.cases.quantities import Exactly, Mean, Quantity

# ── layers ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Call(msgspec.Struct, frozen=True):
    """Do it, and answer whether it is done."""


class Bottom(Actor):
    """The layer that all others depend on: fails with some probability."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self._p = p
        self._random = self.stream("bottom")
        self.calls = 0

    @handles(Call)
    def on_call(self, _: Call) -> bool:
        self.calls += 1
        return self._random.random() >= self._p


class Layer(Actor):
    """A service that calls the one below, and tries again if that fails."""

    def __init__(self, below: ActorRef[Any], max_attempts: int) -> None:
        super().__init__()
        self._below = below
        self._policy = RetryPolicy(RetryConfig(max_attempts=max_attempts, jitter="full"), self.stream("jitter"))

    @handles(Call)
    async def on_call(self, call: Call) -> bool:
        progress = Progress()
        while not await self._below.ask(call, block=False):
            wait_ns = self._policy.next_wait_ns(Transient(reason="the layer below failed"), progress)
            if wait_ns is None:
                return False
            await self.sleep(wait_ns / NS_PER_S)
        return True


def layered(
    total: Iterable[tuple[int, int]] = ((3, 4), (5, 3)),
    partial_failures: Iterable[tuple[int, int, float]] = ((3, 4, 0.5), (5, 3, 0.5), (3, 4, 0.9)),
) -> Case:
    settings = dict.fromkeys([*((depth, n, 1.0) for depth, n in total), *partial_failures])
    return Case(
        name="layers",
        title="Retries at every layer multiply",
        source="Site Reliability Engineering, ch. 22; Amazon Builders' Library",
        url="https://sre.google/sre-book/addressing-cascading-failures/",
        model="L actors above each other, each with a RetryPolicy of N attempts; at the bottom a call fails with "
        "probability p. With f_0 = p and f_{i+1} = f_i^N there are Π(1 − f_i^N)/(1 − f_i) calls at the bottom.",
        experiments=tuple(_layers(*each) for each in settings),
    )


def _calls(depth: int, n: int, p: float) -> float:
    failing = [p]
    for _ in range(depth - 1):
        failing.append(failing[-1] ** n)
    return prod(mean_attempts(f, n) for f in failing)


def _layers(depth: int, n: int, p: float) -> Experiment:
    quantity: Quantity = (
        Exactly(name="calls at the bottom for each at the top", target=float(n**depth))
        if p == 1
        else Mean(name="calls at the bottom for each at the top", target=_calls(depth, n, p), within=0.01)
    )
    return Experiment(
        name=f"L={depth} N={n} p={p:g}",
        replicate=partial(_call_through, depth, n, p, 1 if p == 1 else 500),
        quantities=(quantity,),
    )


def _call_through(depth: int, n: int, p: float, requests: int, seed: int) -> dict[str, float]:
    with SimulatedSystem(seed=seed) as system:
        bottom = system.spawn(Bottom, p)
        top: ActorRef[Any] = bottom
        for _ in range(depth):
            top = system.spawn(Layer, top, n)
        for _ in range(requests):
            top.ask(Call())
        return {"calls at the bottom for each at the top": bottom.actor.calls / requests}


# ── layers of a scenario ────────────────────────────────────────────────────────────────────────────────────────

REQUESTS = 4000
"""At the bottom in one replication."""

BETWEEN_REDRIVES_S = 60


def _bottom(rounds: int, attempts_each: int, requests_each: int, p: float) -> tuple[float, float]:
    at_attempt = p**requests_each
    at_round = at_attempt**attempts_each
    made = mean_attempts(at_attempt, attempts_each) * mean_attempts(at_round, rounds)
    return made, made * mean_attempts(p, requests_each)


def _scenario_of_layers(rounds: int, attempts_each: int, requests_each: int, p: float) -> Experiment:
    made, asked = _bottom(rounds, attempts_each, requests_each, p)
    dead = p ** (rounds * attempts_each * requests_each)
    redrives = ", ".join(f"{{at: {each * BETWEEN_REDRIVES_S}s, redrive: all}}" for each in range(1, rounds))
    text = f"""
duration: 1s
drain: 30d
workload: [{{channel: sms, arrivals: {{burst: {{size: {max(10, round(REQUESTS / asked))}, every: 1s}}}}}}]
operations: [{redrives}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: {attempts_each}, initial_delay: 0s}}
    provider:
      upstream:
        failure_rate: {100 * p}%
        retry: {{max_attempts: {requests_each}, initial_delay: 0s}}
"""
    quantities: list[Quantity]
    if p in (0, 1):
        quantities = [
            Exactly(name="attempts for each", target=made),
            Exactly(name="requests at the bottom for each", target=asked),
            Exactly(name="share that stays dead", target=dead),
        ]
    else:
        quantities = [
            Mean(name="attempts for each", target=made, within=0.01),
            Mean(name="requests at the bottom for each", target=asked, within=0.01),
        ]
        if dead > 0.01:
            quantities.append(Mean(name="share that stays dead", target=dead, within=0.05, because="few die"))
    return Experiment(
        name=f"R={rounds} A={attempts_each} U={requests_each} p={p:g}",
        replicate=scenario(text, _for_each),
        quantities=tuple(quantities),
        full_only=0.01 < dead < 0.1,
    )


def _for_each(result: Result) -> dict[str, float]:
    summary = result.summary
    return {
        "attempts for each": summary["attempts"] / summary["accepted"],
        "requests at the bottom for each": summary["upstream_requests"] / summary["accepted"],
        "share that stays dead": summary["dlq"]["final"] / summary["accepted"],
    }


# ── growth ──────────────────────────────────────────────────────────────────────────────────────────────────────


class ServesSoMany:
    """A backend that serves so many in each second, and rejects the rest."""

    def __init__(self, per_second: int) -> None:
        self._served = FixedWindow(per_second, NS_PER_S)

    def __call__(self, _attempt: Attempt, now_ns: int, _load: Load) -> Outcome | None:
        return None if self._served.try_acquire("", now_ns) == now_ns else Transient(reason="rejected", throttled=True)


def growth(capacity: int = 10_000, offered: int = 10_100, attempts_each: int = 10) -> Case:
    excess = max(0, offered - capacity)
    return Case(
        name="retry-growth",
        title="One per cent too much, and retries grow without end",
        source="Site Reliability Engineering, ch. 22",
        url="https://sre.google/sre-book/addressing-cascading-failures/",
        model=f"{capacity:,} a second are served, {offered:,} come; what is rejected is tried again a second later. So "
        f"{excess} more are retried in each second than in the one before, up to {attempts_each} attempts each.",
        experiments=(
            Experiment(
                name=f"capacity {capacity:,}/s offered {offered:,}/s",
                replicate=scenario(
                    f"""
duration: {attempts_each}s
drain: 1h
workload: [{{channel: push, arrivals: {{constant: {offered}/s}}}}]
channels:
  push:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: {attempts_each}, backoff: constant, initial_delay: 1s}}
""",
                    partial(_each_second, attempts_each),
                    partial(one_rule, "push", ServesSoMany, capacity),
                ),
                quantities=(
                    Exactly(
                        name="requests in each second",
                        target=[offered + second * excess for second in range(attempts_each)],
                    ),
                    Exactly(name="of them retries", target=[second * excess for second in range(attempts_each)]),
                ),
            ),
        ),
    )


def _each_second(seconds: int, result: Result) -> dict[str, list[int]]:
    tried = attempts(result)
    every = Counter((tried.started // 1).astype(int).tolist())
    again = Counter((tried.started[tried.number > 1] // 1).astype(int).tolist())
    return {
        "requests in each second": [every[second] for second in range(seconds)],
        "of them retries": [again[second] for second in range(seconds)],
    }


CASES = (
    layered(),
    Case(
        name="layers-of-a-scenario",
        title="An operator's redrives, a channel's attempts and its provider's own retries multiply",
        source="closed form; Site Reliability Engineering, ch. 22",
        url="https://sre.google/sre-book/addressing-cascading-failures/",
        model="A provider asks its upstream up to U times for each of A attempts, and all dead letters are redriven "
        "R − 1 times. With failures of probability p these are truncated geometric layers: f_1 = p, f_2 = f_1^U, "
        "f_3 = f_2^A, with (1 − f_1^U)/(1 − f_1) · (1 − f_2^A)/(1 − f_2) · (1 − f_3^R)/(1 − f_3) requests.",
        experiments=tuple(
            _scenario_of_layers(*each)
            for each in ((3, 3, 3, 1), (2, 4, 5, 1), (1, 3, 3, 0.5), (3, 3, 3, 0.5), (3, 3, 3, 0.9), (2, 4, 5, 0.95))
        ),
    ),
    growth(),
)
