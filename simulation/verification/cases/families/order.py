"""The order in the product's own line before a provider: by class, by weight, in turns."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from actors.instants import NS_PER_S
from actors.messages import NotificationSent
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.families.queues import LAWS, settles
from simulation.verification.cases.quantities import AtMost
from simulation.verification.cases.settling import WARM_UP

CLASSES = ("critical", "normal", "bulk")
ORDERS = {
    "strict": "{kind: strict}",
    "weighted": "{kind: weighted, weights: {critical: 4, normal: 2, bulk: 1}}",
    "turns": "{fair_by: user}",
    "aging": "{aging: 5s}",
}
_CUSTOMERS = 4000
_CUSTOMERS_IF_BUSY = 30_000
"""In one replication, where the utilisation is beyond 0.7."""


def _own_priority(critical: float, normal: float, bulk: float, law: str) -> Experiment:
    _, mean, square = LAWS[law]
    rates = (critical, normal, bulk)
    left = sum(rates) * square / 2
    sigmas = [0.0, *itertools.accumulate(rate * mean for rate in rates)]
    text, duration = _text(rates, law, "strict")
    return Experiment(
        name=f"{critical:g}/s, {normal:g}/s, {bulk:g}/s, {law}",
        replicate=scenario(text, partial(_sojourns, duration)),
        quantities=tuple(
            settling.mean(
                f"mean sojourn of {name} ones, s",
                left / (1 - sigmas[number]) / (1 - sigmas[number + 1]) + mean,
                sigmas[number + 1],
            )
            for number, name in enumerate(CLASSES)
        ),
        full_only=law != "deterministic" or sigmas[-1] > 0.5,
    )


def _conservation(critical: float, normal: float, bulk: float, law: str, order: str) -> Experiment:
    _, mean, square = LAWS[law]
    rates = (critical, normal, bulk)
    rho = sum(rates) * mean
    text, duration = _text(rates, law, order)
    shares = [rate * mean for rate in rates]
    return Experiment(
        name=f"{critical:g}/s, {normal:g}/s, {bulk:g}/s, {law}, {order}",
        replicate=scenario(text, partial(_weighted_sum, duration, shares, mean)),
        quantities=(settling.mean("Σρₖ·Wₖ, s", rho * sum(rates) * square / 2 / (1 - rho), rho),),
        full_only=order != "turns" or rho > 0.5,
    )


def _deficit(weights: tuple[float, float, float]) -> Experiment:
    least = min(weights)
    of = [weight / least for weight in weights]
    given = ", ".join(f"{name}: {weight:g}" for name, weight in zip(CLASSES, weights, strict=True))
    entries = ", ".join(f"{{channel: sms, priority: {name}, arrivals: {{poisson: 12/s}}}}" for name in CLASSES)
    text = f"""
duration: 30s
drain: 0s
workload: [{entries}]
channels:
  sms:
    quota: {{rate: 10/s, kind: token_bucket, burst: 1}}
    order: {{kind: weighted, weights: {{{given}}}}}
"""
    return Experiment(
        name=", ".join(f"{weight:g}" for weight in weights),
        replicate=scenario(text, partial(_differences, of)),
        quantities=tuple(
            AtMost(name=f"{CLASSES[one]} and {CLASSES[other]}", bound=1 + 1 / of[one] + 1 / of[other] + 1e-9)
            for one, other in itertools.combinations(range(3), 2)
        ),
        full_only=weights[0] < weights[2],
    )


def _text(rates: tuple[float, ...], law: str, order: str) -> tuple[str, float]:
    latency, mean, _ = LAWS[law]
    rho = sum(rates) * mean
    customers = _CUSTOMERS if rho <= 0.7 else _CUSTOMERS_IF_BUSY
    duration = settling.duration(sum(rates), customers, settles(law, rho))
    entries = ", ".join(
        f"{{channel: sms, users: 20, priority: {name}, arrivals: {{poisson: {rate}/s}}}}"
        for name, rate in zip(CLASSES, rates, strict=True)
    )
    return (
        f"""
duration: {duration}s
drain: 30d
workload: [{entries}]
channels:
  sms:
    max_in_flight: 1
    order: {ORDERS[order]}
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    provider: {{latency: {latency}}}
""",
        duration,
    )


def _by_class(duration: float, result: Result) -> list[float]:
    rows = [
        (int(event.notification_id.split("-")[1]), event.requested_at_ns, event.at_ns)
        for event in result.history
        if type(event) is NotificationSent
    ]
    table = np.array(rows, dtype=np.int64)
    late = table[table[:, 1] >= WARM_UP * duration * NS_PER_S]
    took = (late[:, 2] - late[:, 1]) / NS_PER_S
    return [float(took[late[:, 0] == number].mean()) for number in range(len(CLASSES))]


def _sojourns(duration: float, result: Result) -> dict[str, float]:
    means = _by_class(duration, result)
    return {f"mean sojourn of {name} ones, s": mean for name, mean in zip(CLASSES, means, strict=True)}


def _weighted_sum(duration: float, shares: list[float], mean: float, result: Result) -> dict[str, float]:
    waits = [sojourn - mean for sojourn in _by_class(duration, result)]
    return {"Σρₖ·Wₖ, s": sum(share * wait for share, wait in zip(shares, waits, strict=True))}


def _differences(quanta: list[float], result: Result) -> dict[str, float]:
    """Return by how much what goes of two classes, by their quanta, differs over any time at most."""
    order = [CLASSES.index(event.priority) for event in result.history if type(event) is NotificationSent]
    order = order[len(order) // 10 :]  # when some of all classes wait
    gone = np.cumsum([[(rank == number) / quanta[number] for number in range(3)] for rank in order], axis=0)
    found = {}
    for one, other in itertools.combinations(range(3), 2):
        course = gone[:, one] - gone[:, other]
        above, below = course - np.minimum.accumulate(course), np.maximum.accumulate(course) - course
        found[f"{CLASSES[one]} and {CLASSES[other]}"] = float(max(above.max(), below.max()))
    return found


CASES = (
    Case(
        name="own-priority",
        title="M/G/1 with three non-preemptive priorities, in our line",
        source="Cobham, Operations Research 2, 1954",
        url="https://doi.org/10.1287/opre.2.1.70",
        model="Three classes, each Poisson, on a channel with max_in_flight: 1 in strict order. With σₖ the "
        "utilisation by the classes up to k and R = λ·E[S²]/2, class k waits for R/((1 − σₖ₋₁)(1 − σₖ)) on average.",
        experiments=tuple(
            _own_priority(*each)
            for each in (
                (0.1, 0.2, 0.3, "exponential"),
                (0.2, 0.3, 0.1, "deterministic"),
                (0.1, 0.1, 0.1, "deterministic"),
            )
        ),
    ),
    Case(
        name="conservation",
        title="The load-weighted sum of waits does not depend on the order",
        source="Kleinrock, Naval Research Logistics Quarterly 12, 1965",
        url="https://doi.org/10.1002/nav.3800120206",
        model="As own-priority, in strict and weighted order, in turns of users, and with aging. Whoever goes first, "
        "Σρₖ·Wₖ = ρ·R/(1 − ρ): what one class does not wait for, the others do.",
        experiments=tuple(
            _conservation(*each)
            for each in (
                (0.1, 0.2, 0.3, "exponential", "strict"),
                (0.1, 0.2, 0.3, "exponential", "weighted"),
                (0.2, 0.2, 0.2, "deterministic", "turns"),
                (0.1, 0.2, 0.3, "exponential", "aging"),
                (0.1, 0.1, 0.2, "deterministic", "turns"),
            )
        ),
    ),
    Case(
        name="deficit-round-robin",
        title="While all classes wait, each gets its weight, but for a round",
        source="Shreedhar and Varghese, SIGCOMM 1995",
        url="https://doi.org/10.1145/217382.217453",
        model="Three classes, of each more than go, on a channel with a quota, in weighted order. Over any time in "
        "which all wait, what goes of two classes, each by its quantum Q (of which the least is 1), differs by "
        "1 + 1/Q₁ + 1/Q₂ at most.",
        experiments=tuple(_deficit(each) for each in ((16, 4, 1), (3, 2, 1), (1, 2.5, 1.5))),
    ),
)
