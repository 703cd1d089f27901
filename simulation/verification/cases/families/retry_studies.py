"""Brooker's studies of retries: how many there are, and what a token bucket, a breaker and backoff do about them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Outcome, Transient
from actors.policies.exact import as_fraction
from simulation.results.result import Result
from simulation.verification.cases.case import PILOT, Case, Experiment, parsed, scenario
from simulation.verification.cases.families.attempts import mean_attempts
from simulation.verification.cases.families.retry_chains import with_breaker, with_bucket
from simulation.verification.cases.measures import ended
from simulation.verification.cases.quantities import RARE, Between, Mean, Quantity

REQUESTS = 1000
"""In one replication."""

SERVICE_S = 0.02

EVENTS = 100
"""The mean number of rare events at the first look: fewer are so skewed that they mislead Student's t."""

CLIENTS = (10, 100, 1000)
"""How many share the calls, where that is looked at."""

CLIENT_CALLS = 100
"""Of each client in the study with a token bucket: 10 a second for 10 s."""


def open_clients(p: float, retry: str, rate: float = 1000, requests: int = REQUESTS) -> str:
    return f"""
duration: {requests / rate}s
workload: [{{channel: webhook, arrivals: {{poisson: {rate}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{{retry}}}
    provider: {{failure_rate: {100 * p}%, latency: {{exponential: {{mean: 20ms}}}}}}
"""


def load_and_success(result: Result) -> dict[str, float]:
    summary = result.summary
    return {"success": summary["sent"] / summary["accepted"], "load": summary["attempts"] / summary["accepted"]}


def _strategy(p: float, n: int) -> Experiment:
    quantities: tuple[Quantity, ...] = ()
    if _is_seen(p**n):
        quantities = (Mean(name="success", target=1 - p**n, within=0.01),)
    if n > 1:
        quantities += (Mean(name="load", target=mean_attempts(p, n), within=0.01),)
    return Experiment(
        name=f"p={p:g} {'no retries' if n == 1 else f'{n - 1} retries'}",
        replicate=scenario(open_clients(p, f"max_attempts: {n}, initial_delay: 0s"), load_and_success),
        quantities=quantities,
        full_only=p in (0.05, 0.2, 0.3),
    )


def _is_seen(share: float) -> bool:
    """Return whether a replication has both failures and successes."""
    return RARE < share < 1 - RARE


def _bucket(p: float, calls: int, share: float, capacity: int) -> Experiment:
    load, success = with_bucket(p, calls, share, capacity)
    most, _ = with_bucket(1.0, calls, share, capacity)
    return Experiment(
        name=f"p={p:g} token bucket, {calls} calls each",
        replicate=scenario(
            _clients(calls, while_tokens_last(share, capacity), f"failure_rate: {100 * p}%"), load_and_success
        ),
        quantities=(
            solved_load(load, calls, used_up=p > 5 * share * (1 - p), most=most),
            *_solved_success(success, calls),
        ),
        pilot=max(PILOT, min(5000, math.ceil(EVENTS / calls / min(load - 1 or 1, success or 1)))),
        at_most=10_000,
    )


def _solved_success(success: float, calls: int) -> tuple[Quantity, ...]:
    if not 0.01 < success < 0.99:
        return ()
    noise = (1 - success) / success / calls  # relative, of one replication
    within = 0.01 if noise <= 0.04 else 0.05 if noise <= 1 else 0.10
    because = "solved" if within == 0.01 else f"solved; {within:.0%} where few calls say little"
    return (Mean(name="success", target=success, within=within, because=because),) if noise <= 4 else ()


def _clients(calls: int, retry: str, provider: str = "", count: int = 1) -> str:
    # What is tried again at once ends before the next call of that client.
    entries = ", ".join(["{channel: webhook, arrivals: {constant: 1/s}}"] * count)
    return f"""
duration: {calls}s
workload: [{entries}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{initial_delay: 0s, {retry}}}
    provider: {{{provider}}}
"""


def solved_load(load: float, calls: int, *, used_up: bool, most: float) -> Quantity:
    is_the_most = 0 < (most - load) * calls < 0.05  # hardly a run has a retry less
    if not is_the_most and (not used_up or calls < CLIENT_CALLS):
        return Mean(name="load", target=load, within=0.01, because="solved")
    # Nearly every run uses up all it has, and so has the same load: of the few others there is none in some samples.
    within = 0.001
    return Between(
        name="load", low=load * (1 - within), high=load * (1 + within), because=f"{load:.7g}, solved, to 0.1%"
    )


BREAKER_RETRIES = 3
AGAIN = Transient(reason="closed")
NOT_AGAIN = Transient(reason="open")


class RetryBreaker:
    """Attempts fail with `p`; those after which Brooker's breaker does not retry fail for another reason.

    Each entry of the workload is a client with a breaker of its own; or each node, where there are several.
    """

    def __init__(self, p: float, share: float, seed: int) -> None:
        self._p, self._share = p, as_fraction(share)
        self._random = RandomStreams(seed).stream("breaker")
        self._calls: Counter[str | int] = Counter()
        self._failures: Counter[str | int] = Counter()

    def __call__(self, attempt: Attempt, _now_ns: int, _load: Load) -> Outcome | None:
        client = attempt.node or attempt.command.notification_id.rpartition("-")[0]
        self._calls[client] += attempt.number == 1
        if self._random.random() >= self._p:
            return None
        self._failures[client] += 1
        return AGAIN if self._failures[client] <= self._share * self._calls[client] else NOT_AGAIN


def _breaker(p: float, calls: int, share: float) -> Experiment:
    load, success = with_breaker(p, calls, share, BREAKER_RETRIES)
    success_of_calls = Mean(name="success", target=success, within=0.005, because="solved")
    return Experiment(
        name=f"p={p:g} breaker, {calls} calls each",
        # So many clients, for the results of one are so skewed that a few hundred of them mislead Student's t.
        replicate=partial(
            with_retry_breaker, _clients(calls, once_by_breaker(), count=max(1, 2000 // calls)), p, share
        ),
        quantities=(
            Mean(name="load", target=load, within=0.005, because="solved"),
            *((success_of_calls,) if RARE < success < 1 - RARE else ()),
        ),
        pilot=50,
        full_only=p == 0.05,
    )


def while_tokens_last(share: float, capacity: int) -> str:
    """Return the retries of a client with a token bucket, which alone bounds them."""
    budget = f"budget: {{kind: token_bucket, share: {100 * share}%, capacity: {capacity}, inclusive: false}}"
    return f"max_attempts: 1000000, {budget}"


def once_by_breaker() -> str:
    """Return the retries of a client, none of which follows a failure that Brooker's breaker has seen when open."""
    return f"max_attempts: {1 + BREAKER_RETRIES}, per_reason: {{{NOT_AGAIN.reason}: {{max_attempts: 1}}}}"


def with_retry_breaker(text: str, p: float, share: float, seed: int) -> dict[str, float]:
    """Run a scenario of clients with Brooker's breaker, and return its load and success."""
    from simulation.running.runner import run

    return load_and_success(run(parsed(text), seed=seed, rules={"webhook": [RetryBreaker(p, share, seed)]}))


def _with_backoff(p: float, wait: float) -> Experiment:
    return Experiment(
        name=f"p={p:g} first wait {wait:g} s, open",
        replicate=scenario(open_clients(p, f"max_attempts: 4, initial_delay: {wait}s"), load_and_success),
        quantities=(Mean(name="load", target=mean_attempts(p, 4), within=0.01),),
    )


def _serial(p: float, clients: int, think: float, wait: float) -> Experiment:
    tries = mean_attempts(p, 4)
    response = SERVICE_S * tries + sum(p**k * wait * 2 ** (k - 1) for k in (1, 2, 3))
    duration = max(10.0, 100 * (think + response))
    text = f"""
duration: {duration}s
workload: [{{channel: webhook, clients: {clients}, think: {{exponential: {{mean: {think}s}}}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 4, initial_delay: {wait}s}}
    provider: {{failure_rate: {100 * p}%, latency: {{exponential: {{mean: 20ms}}}}}}
"""
    return Experiment(
        name=f"p={p:g} first wait {wait:g} s, serial",
        replicate=scenario(text, partial(_calls_a_second, duration)),
        quantities=(
            Mean(
                name="calls a second of each client",
                target=1 / (think + response),
                within=0.01,
                because="renewal: 1 / (think + E[response])",
            ),
        ),
    )


def _calls_a_second(duration: float, result: Result) -> dict[str, float]:
    since = 0.1 * duration
    begun = ended(result).requested
    clients = result.scenario.workload[0].clients  # type: ignore[union-attr]
    return {"calls a second of each client": (begun >= since).sum() / (duration - since) / clients}


CASES = (
    Case(
        name="retry-strategies",
        title="No retries, three retries, a token bucket, and a breaker",
        source="Brooker, Fixing retries with token buckets and circuit breakers, 2022",
        url="https://brooker.co.za/blog/2022/02/28/retries.html",
        model="1000 calls in a second fail independently with p; no backoff. Load is attempts for each call. "
        "Clients with a bucket or a breaker make 100 calls each. A call puts 0.1 in a bucket, up to 5, and there are "
        "retries while there is more than 1, which they take: a load of 1 + min(p/(1 − p), 0.1) in the long run. A "
        "breaker allows three while failures are at most 0.1 of the calls so far; it is a failure rule that says which "
        "failures are worth a retry. Expected of both is their Markov chain, solved.",
        experiments=(
            *(_strategy(p, n) for p in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75) for n in (1, 4) if n > 1 or _is_seen(p)),
            *(_bucket(p, CLIENT_CALLS, 0.1, 5) for p in (0.05, 0.3, 0.5)),
            *(_breaker(p, CLIENT_CALLS, 0.1) for p in (0.05, 0.1)),
        ),
    ),
    Case(
        name="client-count",
        title="A token bucket in many small clients is none, and a breaker is always open",
        source="Brooker, Fixing retries with token buckets and circuit breakers, 2022",
        url="https://brooker.co.za/blog/2022/02/28/retries.html",
        model="10,000 calls spread over n clients, each with the bucket or breaker of the case before. Few "
        "with a bucket keep to 1.1; in many, the tokens that were there to begin with do for most failures. "
        "With a breaker many clients hardly retry, as the first failure is too large a share of few calls.",
        experiments=(
            *(
                replace(
                    _bucket(p, 10_000 // count, 0.1, 5),
                    name=f"n={count} p={p:g} token bucket",
                    full_only=p > 0.3 and count > 100,
                )
                for p in (0.3, 0.5)
                for count in CLIENTS
            ),
            *(
                replace(_breaker(0.05, 10_000 // count, 0.1), name=f"n={count} p=0.05 breaker", full_only=count != 100)
                for count in CLIENTS
            ),
        ),
    ),
    Case(
        name="open-and-serial",
        title="Backoff does not cut the work of open clients, but that of serial ones",
        source="Brooker, What is Backoff For?, 2022",
        url="https://brooker.co.za/blog/2022/08/11/backoff.html",
        model="Three retries. Open clients make (1 − p⁴)/(1 − p) attempts for each call, whatever the backoff. A "
        "serial client calls again when it has its answer and has thought: a renewal process, which waits slow down.",
        experiments=tuple(
            experiment
            for p in (0.1, 0.5)
            for wait in dict.fromkeys((0.0, 0.1))
            for experiment in (_with_backoff(p, wait), _serial(p, 20, 0.1, wait))
        ),
    ),
)
