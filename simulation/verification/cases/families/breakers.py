"""A circuit breaker as a renewal process, and token buckets."""

from __future__ import annotations

from functools import partial

import numpy as np

from actors.messages import BreakerState, BreakerTransitioned, NotificationFailed, NotificationSent
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.measures import attempts, ended
from simulation.verification.cases.quantities import AtMost, Exactly, Mean, Quantity

CYCLES = 200
"""In one replication: a share of time is a ratio of two means, which is biased by one part in so many."""


def _scenario(p: float, n: int, rate: float, open_s: float, duration: float) -> str:
    return f"""
duration: {duration}s
drain: 0s
workload: [{{channel: sms, arrivals: {{poisson: {rate}/s}}}}]
channels:
  sms:
    circuit_breaker: {{failure_threshold: {n}, timeout: {open_s}s, when_open: fail}}
    retry: {{max_attempts: 1}}
    provider: {{failure_rate: {100 * p}%}}
"""


def _calls_to_a_trip(p: float, n: int) -> float:
    return (1 - p**n) / ((1 - p) * p**n)


def _cycles(p: float, n: int, rate: float, open_s: float) -> Experiment:
    calls = _calls_to_a_trip(p, n)
    rounds = 1 / (1 - p)
    cycle = _calls_to_a_trip(p, n) / rate + 1 / (1 - p) * (open_s + 1 / rate)
    refused = rounds * open_s / cycle
    quantities: tuple[Quantity, ...] = (
        Mean(name="calls to a trip", target=calls),
        Mean(name="rounds of probing", target=rounds),
        Mean(name="a cycle, s", target=cycle),
        *((_share_refused(refused),) if refused >= 0.01 else ()),
        Mean(name="calls a second", target=(calls + rounds) / cycle, within=0.02),
        Mean(
            name="successes a second",
            target=(1 - p) * (calls + rounds) / cycle,
            within=0.02,
            because="Wald: each call succeeds with probability 1 − p",
        ),
    )
    return Experiment(
        name=f"p={p:g} N={n} λ={rate:g}/s T={open_s:g} s",
        replicate=scenario(_scenario(p, n, rate, open_s, 1.5 * CYCLES * cycle), partial(_renewals, CYCLES)),
        quantities=quantities,
        full_only=rate * cycle > 50,
    )


def _share_refused(share: float) -> Quantity:
    within, because = (0.01, "") if share >= 0.1 else (0.05, "5% where it is rare")
    return Mean(name="share refused", target=share, within=within, because=because)


def _renewals(cycles: int, result: Result) -> dict[str, float]:
    """Measure so many whole cycles, from one trip to the one that ends the last of them."""
    trips: list[tuple[float, int, int, int, int]] = []
    calls = refused = sent = probes = 0
    for event in result.history:
        if type(event) is NotificationSent:
            calls, sent = calls + 1, sent + 1
        elif type(event) is NotificationFailed:
            calls, refused = calls + (not event.refused), refused + event.refused
        elif type(event) is BreakerTransitioned:
            if event.to_state is BreakerState.HALF_OPEN:
                probes += 1
            elif event.from_state is BreakerState.CLOSED:
                trips.append((event.at_ns / 1e9, calls, refused, sent, probes))
    first, last = trips[0], trips[cycles]
    span = last[0] - first[0]
    called, turned_away, good, rounds = (last[column] - first[column] for column in range(1, 5))
    return {
        "calls to a trip": (called - rounds) / cycles,
        "rounds of probing": rounds / cycles,
        "a cycle, s": span / cycles,
        "share refused": turned_away / (turned_away + called),
        "calls a second": called / span,
        "successes a second": good / span,
    }


def _always_failing(n: int, rate: float, open_s: float) -> Experiment:
    return Experiment(
        name=f"p=1 N={n} λ={rate:g}/s T={open_s:g} s",
        replicate=scenario(_scenario(1.0, n, rate, open_s, 40 * max(open_s, n / rate)), _probing),
        quantities=(
            Exactly(name="calls before the first trip", target=n),
            Exactly(name="calls in each round after it", target=1),
            Mean(name="time from probe to probe, s", target=open_s + 1 / rate, within=0.01),
        ),
    )


def _probing(result: Result) -> dict[str, object]:
    tried = attempts(result)
    called = tried.ended[~tried.refused]
    opened = result.breaker.query("to == 'open'")["time_s"].to_numpy()
    calls = np.searchsorted(called, opened, side="right")
    rounds = set(np.diff(calls).tolist())
    return {
        "calls before the first trip": int(calls[0]),
        "calls in each round after it": rounds.pop() if len(rounds) == 1 else sorted(rounds),
        "time from probe to probe, s": float(np.diff(opened).mean()),
    }


# ── token buckets ───────────────────────────────────────────────────────────────────────────────────────────────


def _quota(rate: float, limit: float, burst: int, arrivals: float = 2500) -> str:
    return f"""
duration: {arrivals / rate}s
workload: [{{channel: sms, arrivals: {{poisson: {rate}/s}}}}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    quota: {{rate: {limit}/s, kind: token_bucket, burst: {burst}, on_limit: drop}}
"""


def _policing(rate: float, limit: float) -> Experiment:
    return Experiment(
        name=f"λ={rate:g}/s r={limit:g}/s b=1",
        # It begins with a token: enough come that this one does not matter.
        replicate=scenario(_quota(rate, limit, 1, max(2500, 25 * (rate / limit) ** 2)), _refused),
        quantities=(Mean(name="share refused", target=rate / (rate + limit), within=0.01),),
    )


def _refused(result: Result) -> dict[str, float]:
    return {"share refused": 1 - ended(result).sent.mean()}


def bound(rate: float, limit: float, burst: int) -> Experiment:
    return Experiment(
        name=f"λ={rate:g}/s r={limit:g}/s b={burst}, bound",
        replicate=scenario(_quota(rate, limit, burst), partial(_most, limit)),
        quantities=(
            AtMost(
                name="most beyond r·t in any window",
                bound=burst + 1e-6,
                because="b, and what instants in whole nanoseconds make of it",
            ),
        ),
    )


def _most(limit: float, result: Result) -> dict[str, float]:
    ends = ended(result)
    admitted = np.sort(ends.requested[ends.sent])
    # From the i-th to the j-th there are j − i + 1 in t_j − t_i.
    before = np.minimum.accumulate(np.arange(len(admitted)) - limit * admitted)
    return {"most beyond r·t in any window": float((np.arange(len(admitted)) + 1 - limit * admitted - before).max())}


CASES = (
    Case(
        name="breaker-cycles",
        title="A breaker on consecutive failures, as a renewal process",
        source="closed form (renewal-reward; runs in Bernoulli trials, Feller vol. 1, XIII.7)",
        model="Poisson arrivals λ, independent failures p, trip after N in a row, open for T, then one probe. Calls to "
        "a trip (1 − p^N)/((1 − p)p^N), rounds of probing 1/(1 − p) each of T + 1/λ.",
        experiments=(
            _cycles(0.5, 5, 10, 5),
            _cycles(0.3, 3, 10, 10),
            _cycles(0.5, 2, 10, 0.5),
            _always_failing(5, 10, 5),
        ),
    ),
    Case(
        name="token-bucket",
        title="A token bucket polices Poisson arrivals",
        source="closed form; Cruz 1991 for the bound",
        model="A channel's quota of rate r and burst b that drops what does not fit. In any window of length t at most "
        "r·t + b are let through; with b = 1 the share refused of Poisson arrivals λ is λ/(λ + r).",
        experiments=(
            *(_policing(*each) for each in ((15, 10), (8, 10))),
            *(bound(*each) for each in ((15, 10, 1), (50, 10, 20), (8, 10, 5))),
        ),
    ),
)
