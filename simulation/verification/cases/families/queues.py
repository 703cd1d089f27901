"""Queues: a channel with a bulkhead, or a provider with a capacity, against Erlang, Pollaczek and Khinchine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import softmax

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.outcomes import Outcome, Transient
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, one_rule, scenario
from simulation.verification.cases.measures import attempts, ended, exponential_cdf, shares_of_states, time_average
from simulation.verification.cases.quantities import RARE, Follows, Mean, Quantity
from simulation.verification.cases.settling import WARM_UP

GAPS = 1000
"""Of how many departures of a run the gaps are looked at: those of all runs are kept until the last is done."""


def _channel(rate: float, duration: float, latency: str, rest: str, provider: str = "") -> str:
    return f"""
duration: {duration}s
drain: 30d
workload: [{{channel: sms, arrivals: {{poisson: {rate}/s}}}}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    retry: {{max_attempts: 1}}
    {rest}
    provider: {{latency: {latency}{provider}}}
"""


# ── M/M/c ───────────────────────────────────────────────────────────────────────────────────────────────────────


def erlang_c(servers: int, load: float) -> float:
    """Return the probability of having to wait in M/M/c, by the recursion for Erlang B."""
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def erlang_b(servers: int, load: float) -> float:
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked


def mm_c(rate: float, mu: float, servers: int) -> Experiment:
    load = rate / mu
    rho = load / servers
    wait = erlang_c(servers, load)
    mean_wait = wait / (servers * mu - rate)
    sojourn = mean_wait + 1 / mu
    duration = settling.duration(rate, 8000 if rho <= 0.7 else 30_000, settling.servers(rate, mu, servers))
    within, because = settling.precision(rho)
    of_wait, because_of_wait = (within, because) if wait > 0.05 else (0.10, "10% of a rare event")
    quantities: list[Quantity] = [
        settling.mean("mean sojourn, s", sojourn, rho),
        settling.mean("mean number in the system", rate * sojourn, rho),
        Follows(
            name="gaps between departures",
            distribution=f"exponential, mean {1 / rate:.4g} s",
            cdf=partial(exponential_cdf, rate),
            within=0.02,
        ),
    ]
    if wait >= RARE:
        quantities[:0] = [
            Mean(name="P(wait)", target=wait, within=of_wait, because=because_of_wait),
            Mean(name="mean wait, s", target=mean_wait, within=of_wait, because=because_of_wait),
            Mean(
                name="P(wait beyond its 95th percentile)",
                target=min(0.05, wait),  # if so few wait at all, the percentile is 0
                within=2.5 * of_wait,
                because=f"that is {_quantile_of_wait(0.95, wait, servers * mu - rate):.7g} s; rare, so less precise",
            ),
        ]
    if servers == 1:
        quantities += geometric_states(rho, 3, within)
        quantities.append(
            Mean(
                name="P(sojourn beyond its median)",
                target=0.5,
                within=within,
                because=f"sojourns are Exp(μ − λ): {math.log(2) / (mu - rate):.7g} s",
            )
        )
    return Experiment(
        name=f"λ={rate:g} μ={mu:g} c={servers}",
        replicate=scenario(
            _channel(rate, duration, f"{{exponential: {{mean: {1 / mu}s}}}}", f"max_in_flight: {servers}"),
            partial(
                _waits,
                duration,
                _quantile_of_wait(0.95, wait, servers * mu - rate),
                math.log(2) / (servers * mu - rate),
            ),
        ),
        quantities=tuple(quantities),
        full_only=rho > 0.7,
    )


def geometric_states(rho: float, count: int, within: float = 0.02) -> list[Quantity]:
    """Return the probabilities of 0, 1, … at one server, in a queue or shared; without those that hardly ever happen,
    and less precisely those that are rare."""
    shares = [(1 - rho) * rho**n for n in range(count)]
    return [
        Mean(
            name=f"P(N = {n})",
            target=share,
            within=within * (1 if share > 0.05 else 2.5 if share > 0.01 else 5),
            because="(1 − ρ)·ρⁿ",
        )
        for n, share in enumerate(shares)
        if share >= RARE
    ]


def _quantile_of_wait(share: float, wait: float, spare: float) -> float:
    """Return the q with P(W > q) = P(wait)·exp(−(cμ − λ)·q) = 1 − share; 0 if so few wait at all."""
    return math.log(wait / (1 - share)) / spare if wait > 1 - share else 0.0


def _waits(duration: float, quantile: float, median: float, result: Result) -> dict[str, object]:
    tried = attempts(result)
    since = WARM_UP * duration
    late = tried.requested >= since
    wait = (tried.started - tried.requested)[late]
    sojourn = (tried.ended - tried.requested)[late]
    departures = tried.ended[(tried.ended >= since) & (tried.ended < duration)]
    return {
        "P(wait)": (wait > 0).mean(),
        "mean wait, s": wait.mean(),
        "mean sojourn, s": sojourn.mean(),
        "P(sojourn beyond its median)": (sojourn > median).mean(),
        "mean number in the system": time_average(tried.requested, tried.ended, since, duration),
        "P(wait beyond its 95th percentile)": (wait > quantile).mean(),
        "gaps between departures": np.diff(departures)[:GAPS].tolist(),
        **shares_of_states(tried.requested, tried.ended, since, duration, 3),
    }


# ── M/M/c/K ─────────────────────────────────────────────────────────────────────────────────────────────────────

LONG = (
    (1, 1, 2, 2), (3, 1, 5, 5), (8, 1, 10, 10), (95, 1, 100, 100),
    (0.9, 1, 1, 10), (1.2, 1, 1, 10), (8, 1, 10, 15), (12, 1, 10, 15),
)  # fmt: skip
"""λ, μ, c and K of those that take long, as few are refused, or many after one another."""

FULL = Transient(reason="full", throttled=True)


class Room:
    """A provider that refuses an attempt when so many are there: a bounded mailbox."""

    def __init__(self, places: int) -> None:
        self._places = places

    def __call__(self, _attempt: Attempt, _now_ns: int, load: Load) -> Outcome | None:
        return FULL if load.under_way >= self._places else None


def mm_c_k(rate: float, mu: float, servers: int, places: int) -> Experiment:
    present = np.arange(places + 1)
    states = softmax(np.cumsum(np.log(rate / mu / np.clip(present, 1, servers))))
    blocked, number = float(states[-1]), float(present @ states)
    duration = settling.duration(rate, 4000, settling.places(rate, mu, servers, places))
    return Experiment(
        name=f"λ={rate:g} μ={mu:g} c={servers} K={places}",
        replicate=scenario(
            _channel(rate, duration, f"{{exponential: {{mean: {1 / mu}s}}}}", "quota: null", f", capacity: {servers}"),
            partial(_blocked, duration),
            partial(one_rule, "sms", Room, places),
        ),
        quantities=(
            *((_refused(blocked),) if blocked >= RARE else ()),
            Mean(name="mean number in the system", target=number),
            Mean(name="mean sojourn of those accepted, s", target=number / (rate * (1 - blocked))),
        ),
        full_only=(rate, mu, servers, places) in LONG,
    )


def _refused(share: float) -> Quantity:
    within, because = 0.02 if share > 0.1 else 0.04, "4% where it is rare"
    return Mean(name="P(refused)", target=share, within=within, because=because)


def _blocked(duration: float, result: Result) -> dict[str, float]:
    since = WARM_UP * duration
    ends = ended(result)
    late = ends.since(since)
    return {
        "P(refused)": 1 - late.sent.mean(),
        "mean number in the system": time_average(ends.requested[ends.sent], ends.ended[ends.sent], since, duration),
        "mean sojourn of those accepted, s": late.took[late.sent].mean(),
    }


# ── M/G/1 ───────────────────────────────────────────────────────────────────────────────────────────────────────

_LOGNORMAL_MEDIAN = 1 / math.sqrt(5)
_LOGNORMAL_P99 = _LOGNORMAL_MEDIAN * math.exp(2.3263478740408408 * math.sqrt(math.log(5)))

_SCALED: dict[str, tuple[Callable[[float], str], float, float]] = {
    "deterministic": (lambda unit: f"{unit}s", 1, 1),
    "uniform": (lambda unit: f"{{uniform: {{low: 0s, high: {2 * unit}s}}}}", 1, 4 / 3),
    "Erlang-4": (lambda unit: f"{{gamma: {{mean: {unit}s, shape: 4}}}}", 1, 5 / 4),
    "exponential": (lambda unit: f"{{exponential: {{mean: {unit}s}}}}", 1, 2),
    "lognormal, variance 4": (
        lambda unit: f"{{lognormal: {{median: {unit * _LOGNORMAL_MEDIAN}s, p99: {unit * _LOGNORMAL_P99}s}}}}",
        1,
        5,
    ),
    "0.999 Exp(0.1) + 0.001 Exp(10)": (
        lambda unit: (
            f"{{mixture: [{{weight: 999, exponential: {{mean: {100 * unit}ms}}}}, "
            f"{{weight: 1, exponential: {{mean: {10 * unit}s}}}}]}}"
        ),
        0.1099,
        2 * (0.999 * 0.1**2 + 0.001 * 10**2),
    ),
}
"""Service times: how a scenario writes them in a unit of so many seconds, and in that unit their mean and their second
moment."""

LAWS: dict[str, tuple[str, float, float]] = {
    law: (text(1), mean, square) for law, (text, mean, square) in _SCALED.items()
}
"""Service times: as a scenario writes them, their mean in seconds, and their second moment."""


def settles(law: str, rho: float) -> float:
    """Return after how many seconds a queue with one server and services of this law has settled."""
    _, mean, square = LAWS[law]
    return settling.work(rho / mean, mean, square)


def with_mean(law: str, mean_s: float) -> str:
    """Return how a scenario writes a law of :data:`LAWS`, stretched to another mean."""
    text, mean, _ = _SCALED[law]
    return text(mean_s / mean)


def mg_1(law: str, rho: float) -> Experiment:
    latency, mean, square = LAWS[law]
    rate = rho / mean
    wait = rate * square / (2 * (1 - rho))
    heavy = square / mean**2 > 10
    duration = settling.duration(rate, 20_000 if rho > 0.5 else 4000, settles(law, rho))
    sojourn = settling.mean("mean sojourn, s", wait + mean, rho)
    if heavy:
        sojourn = replace(
            sojourn, within=0.10, because="10% where one service in a thousand is a hundred times as long"
        )
    return Experiment(
        name=f"{law}, ρ={rho:g}",
        replicate=scenario(
            _channel(rate, duration, latency, "quota: null", ", capacity: 1"), partial(_sojourn, duration)
        ),
        quantities=(sojourn,),
        full_only=rho > 0.5 or square > 2 * mean**2,
    )


def _sojourn(duration: float, result: Result) -> dict[str, float]:
    return {"mean sojourn, s": ended(result).since(WARM_UP * duration).took.mean()}


def _closed(law: str) -> Experiment:
    latency, mean, _ = LAWS[law]
    return Experiment(
        name=f"{law}, a closed client",
        replicate=scenario(
            f"""
duration: {5000 * mean}s
workload: [{{channel: sms, clients: 1, think: 0s}}]
channels: {{sms: {{circuit_breaker: {{enabled: false}}, timeout: 30d, provider: {{latency: {latency}, capacity: 1}}}}}}
""",
            partial(_sojourn, 0.0),
        ),
        quantities=(Mean(name="mean sojourn, s", target=mean, within=0.02),),
    )


CASES = (
    Case(
        name="mm-c",
        title="M/M/1 and M/M/c",
        source="Erlang 1917; Burke 1956; Kleinrock, Queueing Systems I, 1975",
        model="Poisson arrivals λ at a channel with max_in_flight: c, whose provider takes exponential times of rate "
        "μ: the channel's own waiting line is the queue. Departures are Poisson again (Burke).",
        experiments=tuple(
            mm_c(*each)
            for each in ((0.5, 1, 1), (0.8, 1, 1), (0.9, 1, 1), (8, 1, 10), (18, 1, 20), (3, 2, 2), (95, 10, 10))
        ),
    ),
    Case(
        name="mm-c-k",
        title="Erlang B and M/M/c/K: a bounded mailbox",
        source="Erlang 1917; simmer vignette 06",
        url="https://r-simmer.org/articles/simmer-06-queueing.html",
        model="A provider with capacity: c, and a failure rule that refuses an attempt when K are there. What is "
        "refused is dead-lettered at once.",
        experiments=(
            *(
                mm_c_k(load, 1, servers, servers)
                for servers, load in ((1, 0.5), (2, 1), (5, 3), (10, 8), (10, 12), (100, 95))
            ),
            *(
                mm_c_k(*each)
                for each in ((3, 4, 2, 3), (0.9, 1, 1, 10), (1.2, 1, 1, 10), (8, 1, 10, 15), (12, 1, 10, 15))
            ),
        ),
    ),
    Case(
        name="mg-1",
        title="M/G/1: the wait by Pollaczek and Khinchine, and open against closed",
        source="Pollaczek 1930, Khinchine 1932; Brooker, Open and Closed, Omission and Collapse, 2023",
        url="https://brooker.co.za/blog/2023/05/10/open-closed.html",
        model="Poisson arrivals at a provider with capacity: 1. Mean wait λ·E[S²]/(2(1 − ρ)); a single client that "
        "sends the next when it has the answer never waits.",
        experiments=(
            *(
                mg_1(law, rho)
                for law, rho in (
                    ("deterministic", 0.8),
                    ("uniform", 0.7),
                    ("Erlang-4", 0.8),
                    ("exponential", 0.8),
                    ("lognormal, variance 4", 0.5),
                    ("0.999 Exp(0.1) + 0.001 Exp(10)", 0.8),
                    ("Erlang-4", 0.5),
                )
            ),
            _closed("0.999 Exp(0.1) + 0.001 Exp(10)"),
        ),
    ),
)
