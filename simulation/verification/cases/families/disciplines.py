"""Disciplines of a provider's queue other than first come, first served: priority, and sharing of the processor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from actors.instants import NS_PER_S
from actors.messages import NotificationSent
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.families.queues import LAWS, erlang_c, geometric_states, settles, with_mean
from simulation.verification.cases.measures import ended, shares_of_states
from simulation.verification.cases.quantities import RARE, Mean, Quantity
from simulation.verification.cases.settling import WARM_UP

CIW = "https://github.com/CiwPython/Ciw"

_CUSTOMERS = 4000
_CUSTOMERS_IF_BUSY = 30_000
"""In one replication, where the utilisation is beyond 0.7."""


def _text(workload: Iterable[tuple[float, str]], rho: float, settles_s: float, provider: str) -> tuple[str, float]:
    """Return a scenario whose provider forgets in `settles_s` that it began empty, and how long arrivals last in it."""
    workload = list(workload)
    customers = _CUSTOMERS if rho <= 0.7 else _CUSTOMERS_IF_BUSY
    duration = settling.duration(sum(rate for rate, _ in workload), customers, settles_s)
    entries = ", ".join(f"{{channel: sms, arrivals: {{poisson: {rate}/s}}{rest}}}" for rate, rest in workload)
    return (
        f"""
duration: {duration}s
drain: 30d
workload: [{entries}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    provider: {{{provider}}}
""",
        duration,
    )


# ── priority ────────────────────────────────────────────────────────────────────────────────────────────────────


def priority(critical: float, ordinary: float, law: str) -> Experiment:
    latency, mean, square = LAWS[law]
    rho_critical, rho = critical * mean, (critical + ordinary) * mean
    left = (critical + ordinary) * square / 2
    text, duration = _text(
        [(ordinary, ""), (critical, ", critical: true")],
        rho,
        settles(law, (critical + ordinary) * LAWS[law][1]),
        f"latency: {latency}, capacity: 1, discipline: critical_first",
    )
    return Experiment(
        name=f"critical {critical:g}/s, others {ordinary:g}/s, {law}",
        replicate=scenario(text, partial(_by_class, duration)),
        quantities=(
            Mean(name="mean sojourn of critical ones, s", target=left / (1 - rho_critical) + mean),
            settling.mean("mean sojourn of others, s", left / (1 - rho_critical) / (1 - rho) + mean, rho),
        ),
        full_only=law != "deterministic",
    )


def _by_class(duration: float, result: Result) -> dict[str, float]:
    rows = [
        (event.notification_id.startswith("sms-1-"), event.requested_at_ns, event.at_ns)
        for event in result.history
        if type(event) is NotificationSent
    ]
    table = np.array(rows, dtype=np.int64)
    late = table[table[:, 1] >= WARM_UP * duration * NS_PER_S]
    critical, took = late[:, 0].astype(bool), (late[:, 2] - late[:, 1]) / NS_PER_S
    return {
        "mean sojourn of critical ones, s": float(took[critical].mean()),
        "mean sojourn of others, s": float(took[~critical].mean()),
    }


# ── sharing ─────────────────────────────────────────────────────────────────────────────────────────────────────


def processor_sharing(rate: float, mu: float) -> Experiment:
    rho = rate / mu
    sojourn = 1 / (mu - rate)
    square = sojourn**2 * (1 + (2 + rho) / (2 - rho))
    text, duration = _text(
        [(rate, "")],
        rho,
        settling.servers(rate, mu, 1),
        f"latency: {{exponential: {{mean: {1 / mu}s}}}}, capacity: 1, discipline: processor_sharing",
    )
    within, _ = settling.precision(rho)
    return Experiment(
        name=f"λ={rate:g} μ={mu:g}",
        replicate=scenario(text, partial(_shared, duration, 3)),
        quantities=(
            settling.mean("mean sojourn, s", sojourn, rho),
            Mean(
                name="mean square of the sojourn, s²",
                target=square,
                within=2.5 * within,
                because=f"{250 * within:.3g}%: a second moment; {2 * sojourn**2:.6g} if they queued",
            ),
            *geometric_states(rho, 3, within),
        ),
        full_only=rho > 0.5,
    )


def _mg_1_ps(law: str, rho: float) -> Experiment:
    latency, mean, _ = LAWS[law]
    text, duration = _text(
        [(rho / mean, "")], rho, settles(law, rho), f"latency: {latency}, capacity: 1, discipline: processor_sharing"
    )
    return Experiment(
        name=f"{law}, ρ={rho:g}",
        replicate=scenario(text, partial(_shared, duration, 2)),
        quantities=(
            settling.mean("mean sojourn, s", mean / (1 - rho), rho),
            *geometric_states(rho, 2, settling.precision(rho)[0]),
        ),
        full_only=rho > 0.5 or law != "deterministic",
    )


def states_of_mm_c(rate: float, mu: float, servers: int, count: int) -> list[float]:
    load = rate / mu
    weight, weights = 1.0, [1.0]
    for n in range(1, max(count, servers + 1)):
        weight *= load / min(n, servers)
        weights.append(weight)
    # From c on they are a geometric series.
    empty = 1 / (sum(weights[:servers]) + weights[servers] / (1 - load / servers))
    return [empty * weight for weight in weights[:count]]


def _settles_sharing(rate: float, mu: float, servers: int, law: str) -> float:
    """Return after how many seconds it has settled: that of M/M/c, but longer where services vary more."""
    _, mean, square = LAWS[law]
    return max(1.0, square / mean**2 / 2) * settling.servers(rate, mu, servers)


def limited_sharing(rate: float, mu: float, servers: int, law: str) -> Experiment:
    states = states_of_mm_c(rate, mu, servers, 5)
    sojourn = erlang_c(servers, rate / mu) / (servers * mu - rate) + 1 / mu
    latency = with_mean(law, 1 / mu)
    text, duration = _text(
        [(rate, "")],
        rate / mu / servers,
        _settles_sharing(rate, mu, servers, law),
        f"latency: {latency}, capacity: {servers}, discipline: processor_sharing",
    )
    quantities: list[Quantity] = [
        Mean(
            name=f"P(N = {n})",
            target=share,
            within=0.02 if share > 0.1 else 0.05 if share > 0.01 else 0.10,
            because="2%, or 5 or 10% of a rare one",
        )
        for n, share in enumerate(states)
        if share >= RARE
    ]
    mean_sojourn = settling.mean("mean sojourn, s", sojourn, rate / mu / servers)
    return Experiment(
        name=f"λ={rate:g} μ={mu:g} c={servers}, {law}",
        replicate=scenario(text, partial(_shared, duration, len(states))),
        quantities=(*quantities, mean_sojourn),
        full_only=law != "deterministic",
    )


def _shared(duration: float, states: int, result: Result) -> dict[str, float]:
    since = WARM_UP * duration
    ends = ended(result)
    took = ends.since(since).took
    return {
        "mean sojourn, s": float(took.mean()),
        "mean square of the sojourn, s²": float((took**2).mean()),
        **shares_of_states(ends.requested, ends.ended, since, duration, states),
    }


CASES = (
    Case(
        name="priority",
        title="M/G/1 with non-preemptive priority",
        source="Cobham 1954; Ciw, tests/test_simulation.py",
        url=CIW,
        model="Critical and other notifications, each Poisson, at a provider with capacity: 1 and discipline: "
        "critical_first. With ρ₁ of the critical ones, ρ in all and R = λ·E[S²]/2, critical ones wait for R/(1 − ρ₁) "
        "on average, and all others for R/((1 − ρ₁)(1 − ρ)).",
        experiments=tuple(
            priority(*each)
            for each in ((0.2, 0.6, "exponential"), (0.2, 0.3, "exponential"), (0.2, 0.2, "deterministic"))
        ),
    ),
    Case(
        name="processor-sharing",
        title="M/G/1 processor sharing: the mean depends on the mean alone",
        source="Kleinrock 1967; Coffman, Muntz, Trotter 1970; Ciw, tests/test_processor_sharing.py",
        url=CIW,
        model="Poisson arrivals at a provider with capacity: 1 and discipline: processor_sharing. The mean sojourn is "
        "E[S]/(1 − ρ), whatever the law of S. For exponential ones that is as if they queued, but the variance is "
        "(2 + ρ)/(2 − ρ) times as large.",
        experiments=(
            *(processor_sharing(*each) for each in ((3, 5), (4, 5), (2, 6))),
            *(
                _mg_1_ps(*each)
                for each in (("deterministic", 0.7), ("lognormal, variance 4", 0.6), ("deterministic", 0.4))
            ),
        ),
    ),
    Case(
        name="limited-sharing",
        title="R-PS(c): up to c at full speed, and more of them share",
        source="Ciw, tests/test_processor_sharing.py; Kelly, Reversibility and Stochastic Networks, 1979",
        url=CIW,
        model="Poisson arrivals at a provider with capacity: c and discipline: processor_sharing. There are as many as "
        "in M/M/c, also where all services take the same time: a symmetric queue does not notice their law.",
        experiments=tuple(
            limited_sharing(rate, mu, servers, law)
            for rate, mu, servers in ((10, 12, 3),)
            for law in ("exponential", "deterministic")
        ),
    ),
)
