"""The whole pipeline as a queueing network: workers, failures, backoff, the way back to the workers, dead letters."""

from __future__ import annotations

import math
from functools import partial

from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.families.attempts import JITTERS, mean_attempts, moments_of_wait
from simulation.verification.cases.families.queues import erlang_c
from simulation.verification.cases.measures import attempts, ended, time_average
from simulation.verification.cases.quantities import RARE, Mean, Quantity
from simulation.verification.cases.settling import WARM_UP


def product_form(rate: float, mu: float, servers: int, p: float, n: int, base: float, jitter: str) -> Experiment:
    effective = rate * mean_attempts(p, n)
    sojourn = 1 / mu + erlang_c(servers, effective / mu) / (servers * mu - effective)
    waits = [moments_of_wait(jitter, base * 2**step)[0] for step in range(n - 1)]
    duration = settling.duration(rate, 4000, settling.servers(effective, mu, servers))
    rho = effective / mu / servers
    backoff = rate * sum(p ** (k + 1) * wait for k, wait in enumerate(waits))
    quantities: list[Quantity] = [
        settling.mean("sojourn of an attempt, s", sojourn, rho),
        settling.mean("number at the workers", effective * sojourn, rho),
    ]
    if backoff >= RARE and p >= RARE:
        rare, because_rare = (0.02, "") if p >= 0.05 else (0.10, "10% where hardly any fails")
        quantities.append(Mean(name="number in backoff", target=backoff, within=rare, because=because_rare))
    if 1 - p**n >= RARE:
        weights = [p**k * (1 - p) / (1 - p**n) for k in range(n)]
        delivered = sum(weight * ((k + 1) * sojourn + sum(waits[:k])) for k, weight in enumerate(weights))
        quantities.append(settling.mean("mean until delivered, s", delivered, rho))
    if p**n >= RARE:
        quantities += [
            Mean(name="mean until dead-lettered, s", target=n * sojourn + sum(waits), within=0.05, because="rare: 5%"),
            Mean(name="dead letters a second", target=rate * p**n, within=0.05, because="rare: 5%"),
        ]
    return Experiment(
        name=f"λ={rate:g} μ={mu:g} c={servers} p={p:g} N={n} base={base:g} s jitter {jitter}",
        replicate=scenario(
            f"""
duration: {duration}s
drain: 30d
workload: [{{channel: email, arrivals: {{poisson: {rate}/s}}}}]
channels:
  email:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    max_in_flight: {servers}
    retry: {{max_attempts: {n}, initial_delay: {base}s, max_delay: 10h, jitter: {JITTERS[jitter]}}}
    provider: {{failure_rate: {100 * p}%, latency: {{exponential: {{mean: {1 / mu}s}}}}}}
""",
            partial(_measured, duration),
        ),
        quantities=tuple(quantities),
        full_only=RARE <= p**n < 0.1,
    )


def _measured(duration: float, result: Result) -> dict[str, float]:
    since = WARM_UP * duration
    tried = attempts(result)
    late = tried.requested >= since
    ends = ended(result).since(since)
    at_workers = time_average(tried.ready, tried.ended, since, duration)
    return {
        "sojourn of an attempt, s": (tried.ended - tried.ready)[late].mean(),
        "number at the workers": at_workers,
        "number in backoff": _in_flight(result, since, duration) - at_workers,
        "mean until delivered, s": ends.took[ends.sent].mean() if ends.sent.any() else math.nan,
        "mean until dead-lettered, s": ends.took[~ends.sent].mean() if not ends.sent.all() else math.nan,
        "dead letters a second": (~ends.sent).sum() / (duration - since),
    }


def _in_flight(result: Result, since: float, until: float) -> float:
    ends = ended(result)
    return time_average(ends.requested, ends.ended, since, until)


CASES = (
    Case(
        name="pipeline",
        title="The whole pipeline in product form",
        source="Jackson 1957; Baskett, Chandy, Muntz and Palacios 1975",
        model="Poisson arrivals λ, c workers (max_in_flight) with exponential times of rate μ, failures p, a backoff "
        "as an infinite-server node, N attempts. The workers are M/M/c at λ(1 − p^N)/(1 − p), whatever the jitter.",
        experiments=tuple(
            product_form(*each)
            for each in (
                (6, 12, 1, 0.3, 4, 1, "full"),
                (0.5, 1, 1, 0.2, 3, 2, "none"),
                (6, 4, 3, 0.3, 4, 1, "equal"),
                (3, 12, 1, 0.5, 2, 1, "full"),
            )
        ),
    ),
)
