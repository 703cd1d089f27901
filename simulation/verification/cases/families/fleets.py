"""Several processes before one provider: what each has of its own, and what that comes to."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import partial

import numpy as np

from actors.messages import NotificationRequested
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import PILOT, Case, Experiment, scenario
from simulation.verification.cases.families.retry_chains import with_breaker, with_bucket
from simulation.verification.cases.families.retry_studies import (
    BREAKER_RETRIES,
    CLIENTS,
    EVENTS,
    load_and_success,
    once_by_breaker,
    solved_load,
    while_tokens_last,
    with_retry_breaker,
)
from simulation.verification.cases.measures import Array, attempts, ended, exponential_cdf
from simulation.verification.cases.quantities import RARE, Follows, Mean, Quantity

# ── clients, each with a bucket or a breaker ────────────────────────────────────────────────────────────────────────


def _in_turn(count: int, calls: int, retry: str, provider: str = "") -> str:
    # What is tried again at once ends before the next call.
    return f"""
duration: {count * calls}s
nodes: {count}
workload: [{{channel: webhook, arrivals: {{constant: 1/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{initial_delay: 0s, {retry}}}
    provider: {{{provider}}}
"""


def _buckets(p: float, count: int, calls: int, share: float, capacity: int) -> Experiment:
    load, success = with_bucket(p, calls, share, capacity)
    most, _ = with_bucket(1.0, calls, share, capacity)
    text = _in_turn(count, calls, while_tokens_last(share, capacity), f"failure_rate: {100 * p}%")
    return Experiment(
        name=f"n={count} p={p:g} token bucket",
        replicate=scenario(text, load_and_success),
        quantities=(solved_load(load, calls, used_up=p > 5 * share * (1 - p), most=most), *_solved_success(success)),
        full_only=count > 100,
        pilot=max(PILOT // 2, min(5000, math.ceil(EVENTS / count / calls / min(load - 1 or 1, success or 1)))),
    )


def _breakers(p: float, count: int, calls: int, share: float) -> Experiment:
    load, success = with_breaker(p, calls, share, BREAKER_RETRIES)
    quantity = Mean(name="load", target=load, within=0.005, because="solved")
    return Experiment(
        name=f"n={count} p={p:g} breaker",
        replicate=partial(with_retry_breaker, _in_turn(count, calls, once_by_breaker()), p, share),
        quantities=(quantity, *_solved_success(success)),
        full_only=count > 100,
        pilot=PILOT // 2,
    )


def _solved_success(success: float) -> tuple[Quantity, ...]:
    return (Mean(name="success", target=success, within=0.02, because="solved"),) if 0.05 < success < 1 - RARE else ()


# ── arrivals that are split, and come together again ────────────────────────────────────────────────────────────────

ARRIVALS = 4000
"""In one replication."""


def _split(count: int, rate: float, rho: float, routing: str) -> Experiment:
    mu = rate / rho
    duration = settling.duration(rate, max(ARRIVALS, 100 * count), settling.servers(rate, mu, 1))
    text = f"""
duration: {duration}s
drain: 30d
nodes: {{count: {count}, routing: {routing}}}
workload: [{{channel: sms, arrivals: {{poisson: {rate}/s}}}}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    retry: {{max_attempts: 1}}
    provider: {{latency: {{exponential: {{mean: {1 / mu}s}}}}, capacity: 1}}
"""
    mean = rate * duration / count
    seen = max(1, int(mean - 6 * math.sqrt(mean)))  # of nearly every run there are so many: no gap is cut off
    at_node = partial(exponential_cdf, rate / count) if routing == "random" else partial(_erlang_cdf, count, rate)
    return Experiment(
        name=f"n={count} λ={rate:g} ρ={rho:g} {routing}",
        replicate=scenario(text, partial(_gaps, duration, seen)),
        quantities=(
            Follows(
                name="gaps at a node",
                distribution=f"{'exponential' if routing == 'random' else f'Erlang of {count}'}, "
                f"mean {count / rate:.4g} s",
                cdf=at_node,
                within=0.02,
            ),
            Follows(
                name="gaps at the provider",
                distribution=f"exponential, mean {1 / rate:.4g} s",
                cdf=partial(exponential_cdf, rate),
                within=0.02,
            ),
            settling.mean("mean sojourn, s", 1 / (mu - rate), rho),
        ),
        full_only=count > 10,
    )


def _erlang_cdf(count: int, rate: float, x: Array) -> Array:
    from scipy.stats import gamma

    shares: Array = gamma.cdf(x, count, scale=1 / rate)
    return shares


def _gaps(duration: float, seen: int, result: Result) -> dict[str, object]:
    first = [event.at_ns / 1e9 for event in result.history if _is_accepted_at_first(event)]
    tried = attempts(result)
    late = tried.requested >= settling.WARM_UP * duration
    return {
        "gaps at a node": np.diff(first, prepend=0.0)[:seen].tolist(),
        "gaps at the provider": np.diff(np.sort(tried.started), prepend=0.0)[: 4 * ARRIVALS // 5].tolist(),
        "mean sojourn, s": (tried.ended - tried.requested)[late].mean(),
    }


def _is_accepted_at_first(event: object) -> bool:
    return type(event) is NotificationRequested and event.node in (None, 1)


# ── a limit that is divided ─────────────────────────────────────────────────────────────────────────────────────────


def let_through(rho: float, burst: int) -> float:
    """Return the share of Poisson arrivals, `rho` for each token, that a full bucket of so many tokens lets through in
    the long run."""
    with localcontext() as context:
        context.prec = 60 + math.ceil(burst * max(1, rho))  # terms of both signs, each far larger than their sum
        load, waits = Decimal(rho), burst - 1
        u, factorial = Decimal(0), Decimal(1)
        for k in range(waits + 1):
            factorial *= max(1, k)
            power = load * (k - waits)
            u += (power**k if k else Decimal(1)) / factorial * (-power).exp()
        return float(u / (1 + load * u))


def _bucket(name: str, count: int, rho: float, rate: float, burst: int) -> Experiment:
    """Return the experiment of `count` nodes, each with a bucket of `burst` tokens, `rate` of which come a second."""
    accepted = let_through(rho, burst)
    forgets = burst**2 / (1 + burst * abs(1 - rho) / 2)
    tokens = max(6000 / count / rho, 6 * forgets)  # of each bucket
    text = f"""
duration: {tokens / rate}s
nodes: {{count: {count}, routing: random}}
workload: [{{channel: sms, arrivals: {{poisson: {rho * rate * count}/s}}}}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    quota: {{rate: {rate}/s, kind: token_bucket, burst: {burst}, on_limit: drop}}
    retry: {{max_attempts: 1}}
    provider: {{latency: 0s}}
"""
    quantities: list[Quantity] = [Mean(name="share let through", target=accepted, within=0.01)]
    if accepted < 0.95:
        because = "few are refused, in bursts"
        quantities.append(Mean(name="share refused", target=1 - accepted, within=0.05, because=because))
    return Experiment(
        name=name,
        replicate=scenario(text, partial(_shares, tokens / rate)),
        quantities=tuple(quantities),
        full_only=rho >= 1,
        pilot=max(PILOT // 2, math.ceil(3 * EVENTS / (tokens * rho * count * max(RARE, 1 - accepted)))),
    )


def _shares(duration: float, result: Result) -> dict[str, float]:
    settled = ended(result).since(0.2 * duration)
    return {"share let through": settled.sent.mean(), "share refused": 1 - settled.sent.mean()}


CASES = (
    Case(
        name="nodes-as-clients",
        title="What limits the retries of a fleet is gone where each process has one of its own",
        source="Brooker, Fixing retries with token buckets and circuit breakers, 2022",
        url="https://brooker.co.za/blog/2022/02/28/retries.html",
        model="2,000 calls go to n nodes in turn, each with the bucket or breaker of the case retry-strategies: "
        "the retry budget of its own pipeline, and a failure rule that counts by node. Expected is the Markov chain of "
        "one node, solved.",
        experiments=(
            *(_buckets(0.3, count, 2000 // count, 0.1, 5) for count in CLIENTS),
            *(_breakers(0.05, count, 2000 // count, 0.1) for count in CLIENTS),
        ),
    ),
    Case(
        name="arrivals-of-nodes",
        title="Poisson arrivals that are split over nodes, and superposed at their provider",
        source="Kingman, Poisson Processes, 1993; Erlang 1917",
        model="Poisson arrivals λ go to n nodes before a provider with one server and exponential times of utilisation "
        "ρ. At random each node has Poisson arrivals λ/n, in turn every n-th: gaps are Erlang of n. What all nodes "
        "send is Poisson again either way, so the provider is M/M/1, whatever n is.",
        experiments=tuple(
            _split(*each) for each in ((5, 10, 0.5, "random"), (5, 10, 0.5, "round_robin"), (20, 100, 0.5, "random"))
        ),
    ),
    Case(
        name="divided-buckets",
        title="N token buckets let through less than one of N times the size",
        source="Erlang 1909; De Kok and Tijms 1985",
        model="Poisson arrivals, ρ for each token, meet a quota with on_limit: drop: a bucket of b tokens at each of n "
        "nodes that get arrivals at random, or one of n·b tokens at n times the rate. A bucket is M/D/1 whose "
        "customers leave unless they wait b − 1 services at most: the share let through is U/(1 + ρU), with Erlang's U "
        "of b − 1.",
        experiments=tuple(
            experiment
            for count, rho, burst in ((4, 0.9, 2), (4, 1.5, 2), (10, 1, 2))
            for experiment in (
                _bucket(f"n={count} ρ={rho:g} b={burst}, each its own", count, rho, 1.0, burst),
                _bucket(f"n={count} ρ={rho:g} b={burst}, one of all", 1, rho, float(count), count * burst),
            )
        ),
    ),
)
