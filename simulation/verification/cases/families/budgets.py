"""The budgets and the throttle of chapter 21 of the SRE book: what keeps retries from multiplying the load."""

from __future__ import annotations

import math
from functools import partial

from scipy.special import pdtr

from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.families.retry_studies import REQUESTS, load_and_success, open_clients
from simulation.verification.cases.measures import attempts
from simulation.verification.cases.quantities import RARE, Between, Mean, Quantity


def _three_attempts(p: float) -> Experiment:
    return Experiment(
        name=f"p={p:g} 3 attempts",
        replicate=scenario(open_clients(p, "max_attempts: 3, initial_delay: 0s"), _histogram),
        quantities=(
            Mean(name="load", target=1 + p + p**2, within=0.01),
            *(
                Mean(name=f"{name} attempts of 1000", target=1000 * rejected, within=0.01)
                for name, rejected in (("second", p), ("third", p**2))
                if rejected >= RARE
            ),
        ),
    )


def _histogram(result: Result) -> dict[str, float]:
    number = attempts(result).number
    first = (number == 1).sum()
    return {
        "load": len(number) / first,
        "second attempts of 1000": 1000 * (number == 2).sum() / first,
        "third attempts of 1000": 1000 * (number == 3).sum() / first,
    }


def _budget(p: float, share: float) -> Experiment:
    budget = f"budget: {{kind: finagle, share: {100 * share}%, min_rate: null, ttl: 1h}}"
    return Experiment(
        name=f"p={p:g} 3 attempts, budget {100 * share:g}%",
        replicate=scenario(open_clients(p, f"max_attempts: 3, initial_delay: 0s, {budget}"), load_and_success),
        quantities=(_used_up(share),),
    )


def _used_up(share: float) -> Quantity:
    """Return that all of a budget is used: each run ends within a retry of it, so there is hardly any chance in it."""
    return Between(
        name="load",
        low=1 + share - 1.1 / REQUESTS,
        high=1 + share,
        because=f"{1 + share:g} but for the part of a retry that is not yet paid for at the end, of some {REQUESTS}",
    )


def _throttle(k: float, accepted: float, offered: float) -> Experiment:
    warm_up, duration = 600.0, 900.0
    return Experiment(
        name=f"K={k:g} C={accepted:g}/s offered {offered:g}/s",
        replicate=scenario(
            f"""
duration: {duration}s
workload: [{{channel: webhook, arrivals: {{poisson: {offered}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 1}}
    adaptive_throttle: {{k: {k}, window: 2m}}
faults: [{{channel: webhook, at: 0s, for: 1d, throttle: {{rate: {accepted}/s, kind: token_bucket}}}}]
""",
            partial(_throttled, warm_up, duration),
        ),
        quantities=(
            Mean(name="sent for each accepted", target=k, within=0.01),
            Mean(name="rejected for each accepted", target=k - 1, within=0.05, because="5% of a tenth, at 1.1"),
            # With little to spare some of what the backend could accept may happen not to be sent.
            *(
                (Mean(name="sent a second", target=k * accepted, within=0.02),)
                if _comes_short(k, accepted) < 0.01
                else ()
            ),
        ),
        pilot=10,
        full_only=offered > 30,
    )


def _comes_short(k: float, accepted: float) -> float:
    """Return how likely fewer are sent in a second than the backend would accept."""
    return float(pdtr(math.ceil(accepted) - 1, k * accepted))


def _throttled(warm_up: float, duration: float, result: Result) -> dict[str, float]:
    tried = attempts(result)
    asked = (tried.started >= warm_up) & ~tried.refused
    sent, accepted = asked.sum(), (asked & tried.succeeded).sum()
    return {
        "sent for each accepted": sent / accepted,
        "sent a second": sent / (duration - warm_up),
        "rejected for each accepted": (sent - accepted) / accepted,
    }


CASES = (
    Case(
        name="retry-budget",
        title="Three attempts are three times the load; with a budget 1.1 times",
        source="Site Reliability Engineering, ch. 21",
        url="https://sre.google/sre-book/handling-overload/",
        model="Each attempt is rejected with probability p; 3 attempts a request: 1 + p + p². A budget of 10% of the "
        "first tries (finagle, which counts retries for each first try) makes it 1.1.",
        experiments=(*(_three_attempts(p) for p in (0.5, 0.9, 0.99)), *(_budget(p, 0.1) for p in (0.5, 0.9, 0.99))),
    ),
    Case(
        name="adaptive-throttle",
        title="Client-side throttling sends K for each that is accepted",
        source="Site Reliability Engineering, ch. 21",
        url="https://sre.google/sre-book/handling-overload/",
        model="A backend that accepts C a second and rejects the rest, offered far more than K·C; the channel's "
        "adaptive_throttle refuses with max(0, (requests − K·accepts)/(requests + 1)) over 2 minutes.",
        experiments=tuple(_throttle(*each) for each in ((2, 10, 60), (1.1, 10, 60), (3, 4, 24))),
    ),
)
