"""Retry schedules that services publish: when each attempt is made of what never succeeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

from actors.instants import NS_PER_S, ns
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.measures import attempts
from simulation.verification.cases.quantities import Exactly, Mean

SVIX = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
DRAIN_S = 30 * 86_400
QSTASH = tuple(min(86_400, math.exp(2.5 * number)) for number in range(1, 7))


def _listed(name: str, waits: Sequence[float]) -> Experiment:
    setting = f"schedule: [{', '.join(f'{wait!r}s' for wait in waits)}]"
    return _exact(name, waits, setting)


def _formula(name: str, first: float, multiplier: float, longest: float, count: int) -> Experiment:
    waits = [min(longest, first * multiplier**step) for step in range(count)]
    return _exact(name, waits, _exponential(first, multiplier, longest, count))


def _exponential(first: float, multiplier: float, longest: float, count: int) -> str:
    return (
        f"max_attempts: {count + 1}, initial_delay: {first}s, backoff_multiplier: {multiplier}, max_delay: {longest}s"
    )


def _exact(name: str, waits: Sequence[float], setting: str) -> Experiment:
    # In whole nanoseconds, as the waits are.
    starts = [start_ns / NS_PER_S for start_ns in accumulate(map(ns, waits), initial=0)]
    return Experiment(
        name=name,
        replicate=partial(_both, setting, len(waits)),
        quantities=(
            Exactly(name="attempts start at, s", target=[float(start) for start in starts]),
            Exactly(name="dead-lettered at, s", target=float(starts[-1])),
            Exactly(name="delivered at if three fail, s", target=float(starts[3])),
        ),
    )


def _scenario(setting: str, fault: str, messages: int = 1) -> str:
    return f"""
duration: 1s
drain: 30d
workload: [{{channel: webhook, arrivals: {{burst: {{size: {messages}, every: 1s}}}}}}]
channels: {{webhook: {{circuit_breaker: {{enabled: false}}, retry: {{{setting}}}}}}}
faults: [{{channel: webhook, at: 0s, for: 30d, {fault}}}]
"""


def _both(setting: str, _count: int, seed: int) -> dict[str, object]:
    failing = scenario(_scenario(setting, "failure_rate: 100%"), _times)(seed)
    recovering = scenario(_scenario(setting, "fail_first: 3"), _times)(seed)
    return {
        "attempts start at, s": failing["starts"],
        "dead-lettered at, s": failing["end"],
        "delivered at if three fail, s": recovering["end"],
    }


def _times(result: Result) -> dict[str, object]:
    return {
        "starts": [float(start) for start in result.attempts["start_s"]],
        "end": float(result.notifications["finished_at_s"].iloc[0]),
    }


def _jittered(name: str, first: float, multiplier: float, longest: float, count: int, share: float) -> Experiment:
    setting = (
        _exponential(first, multiplier, longest, count)
        + f", jitter: proportional, jitter_share: {share}, cap_before_jitter: true"
    )
    waits = [min(longest, first * multiplier**step) for step in range(count)]
    return Experiment(
        name=name,
        replicate=scenario(_scenario(setting, "failure_rate: 100%", messages=50), _waits),
        quantities=tuple(
            Mean(name=f"wait {number}, s", target=wait, within=0.02) for number, wait in enumerate(waits, 1)
        ),
    )


def _waits(result: Result) -> dict[str, float]:
    tried = attempts(result)
    starts = [tried.started[tried.number == number].mean() for number in range(1, tried.number.max() + 1)]
    return {f"wait {number}, s": later - earlier for number, (earlier, later) in enumerate(pairwise(starts), 1)}


CASES = (
    Case(
        name="schedules",
        title="Published retry schedules",
        source="Svix, Upstash QStash, gRPC and Kubernetes, documentation",
        url="https://docs.svix.com/retries",
        model="One notification to a provider that always fails; and to one that fails three times. Each attempt is to "
        "be at the sum of the waits before it.",
        experiments=(
            _listed("Svix", SVIX),
            _listed("QStash, min(86400, e^(2.5n))", QSTASH),
            _formula("gRPC connection backoff", 1, 1.6, 120, 13),
            _formula("Kubernetes", 10, 2, 300, 8),
            _jittered("gRPC connection backoff, ±20%", 1, 1.6, 120, 13, 0.2),
        ),
    ),
)
