"""Many at once: the slowest of them, and what is delivered twice."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.families.attempts import mean_attempts
from simulation.verification.cases.measures import ended
from simulation.verification.cases.quantities import Exactly, Mean, Quantity

ROUNDS = 100
"""Fans in one replication, ten minutes after one another."""


def _bursts(size: int, latency: str) -> str:
    return f"""
duration: {600 * ROUNDS}s
workload: [{{channel: push, arrivals: {{burst: {{size: {size}, every: 10m}}}}}}]
channels: {{push: {{circuit_breaker: {{enabled: false}}, timeout: 1d, provider: {{latency: {latency}}}}}}}
"""


def _slowest(size: int) -> Experiment:
    return Experiment(
        name=f"n={size}",
        replicate=scenario(_bursts(size, "{exponential: {mean: 1s}}"), partial(_last, size)),
        quantities=(
            Mean(name="the last answer, s", target=sum(1 / number for number in range(1, size + 1)), within=0.01),
        ),
        full_only=size in (3, 10),
    )


def _tail(share: float, size: int) -> Experiment:
    latency = f"{{mixture: [{{weight: {1 - share}, constant: 10ms}}, {{weight: {share}, constant: 1s}}]}}"
    with_one = 1 - (1 - share) ** size
    return Experiment(
        name=f"n={size} q={share:g}",
        replicate=scenario(_bursts(size, latency), partial(_last, size)),
        quantities=(Mean(name="share with a slow one", target=with_one, within=0.01 if with_one > 0.3 else 0.05),),
        full_only=size > 10,
    )


def _last(size: int, result: Result) -> dict[str, float]:
    ends = ended(result)
    order = np.argsort(ends.requested, kind="stable")
    last = ends.took[order].reshape(-1, size).max(axis=1)
    return {"the last answer, s": last.mean(), "share with a slow one": (last >= 1).mean()}


def _lost(q: float, n: int) -> Experiment:
    deliveries = mean_attempts(q, n)
    messages = max(2000, math.ceil(20 / q)) if q else 2000
    too_many: Quantity = Exactly(name="of them too many", target=deliveries - 1)
    if 0 < q < 1 and n > 1:
        too_many = Mean(
            name="of them too many",
            target=deliveries - 1,
            within=0.02 if q > 0.05 else 0.05,
            because="5% where it is one in a hundred",
        )
    return Experiment(
        name=f"q={q:g} N={n}",
        replicate=scenario(
            f"""
duration: 1s
drain: 1d
workload: [{{channel: sms, arrivals: {{burst: {{size: {messages}, every: 1s}}}}}}]
channels: {{sms: {{circuit_breaker: {{enabled: false}}, retry: {{max_attempts: {n}}}}}}}
faults: [{{channel: sms, at: 0s, for: 1d, lost_reply_rate: {100 * q}%}}]
""",
            _deliveries,
        ),
        quantities=(Mean(name="deliveries of each", target=deliveries, within=0.005), too_many),
    )


def _deliveries(result: Result) -> dict[str, float]:
    deliveries = result.summary["attempts"] / result.summary["accepted"]
    return {"deliveries of each": deliveries, "of them too many": deliveries - 1}


CASES = (
    Case(
        name="fan-out",
        title="The slowest of many",
        source="Rényi 1953; Dean and Barroso, The Tail at Scale, CACM 2013",
        url="https://research.google/pubs/the-tail-at-scale/",
        model="Bursts of n notifications. The last of n exponential answers comes after H_n on average; of n answers, "
        "each slow with probability q, at least one is with 1 − (1 − q)^n.",
        experiments=(
            *(_slowest(size) for size in (2, 3, 5, 10, 100)),
            *(_tail(*each) for each in ((0.01, 100), (0.1, 10))),
        ),
    ),
    Case(
        name="duplicates",
        title="What is delivered more than once when replies are lost",
        source="closed form",
        model="Every attempt is delivered, and its reply lost with probability q; without a reply the sender tries "
        "again, N times in all. Deliveries (1 − q^N)/(1 − q).",
        experiments=tuple(_lost(*each) for each in ((0.01, 5), (0.1, 5), (0.3, 3))),
    ),
)
