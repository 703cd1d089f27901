"""Libraries that publish their own numbers: gRPC's retry throttling, the AWS SDKs, resilience4j's breaker."""

from __future__ import annotations

from copy import copy
from functools import partial
from random import Random
from typing import Any

from actors.instants import NS_PER_S, ns
from actors.outcomes import Transient
from actors.policies.adaptive.rate import Cubic, RateClock
from actors.policies.breaker.breaker import Breaker
from actors.policies.retry.budgets import AwsBudget, GrpcBudget
from actors.policies.retry.policy import Progress, RetryPolicy
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import RetryConfig
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.quantities import Between, Exactly, Mean

# ── gRPC ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _throttled(tokens: int, ratio: float) -> Experiment:
    milli, half = round(1000 * ratio), 500 * tokens
    return Experiment(
        name=f"maxTokens={tokens} tokenRatio={ratio:g}",
        replicate=partial(_throttle, tokens, ratio),
        quantities=(
            Exactly(name="attempts in an outage, from full", target=tokens - tokens // 2),
            Exactly(name="successes until a hedge, from 0", target=half // milli + 1),
            Exactly(name="successes until a failure is retried, from 0", target=(half + 1000) // milli + 1),
        ),
    )


def _throttle(tokens: int, ratio: float, seed: int) -> dict[str, Any]:
    budget = f"budget: {{kind: grpc, max_tokens: {tokens}, token_ratio: {ratio}}}"
    outage = scenario(
        f"""
duration: 1s
drain: 1d
workload: [{{channel: push, arrivals: {{constant: 1/s}}}}]
channels: {{push: {{circuit_breaker: {{enabled: false}}, retry: {{max_attempts: {3 * tokens}, {budget}}}}}}}
faults: [{{channel: push, at: 0s, for: 1d, outage: true}}]
""",
        _attempts,
    )(seed)
    return {
        "attempts in an outage, from full": outage["attempts"],
        "successes until a hedge, from 0": _successes(tokens, ratio, own_failure=False),
        "successes until a failure is retried, from 0": _successes(tokens, ratio, own_failure=True),
    }


def _attempts(result: Result) -> dict[str, int]:
    return {"attempts": result.summary["attempts"]}


def _successes(tokens: int, ratio: float, *, own_failure: bool) -> int | None:
    """Return how many successes it takes after an outage until there are retries again; None if none do."""
    recovering = GrpcBudget(tokens, ratio)
    for _ in range(tokens):
        recovering.end(0, False, 0)
    for count in range(1000 * tokens + 1):
        budget = copy(recovering)
        if own_failure:
            budget.end(0, False, 0)
        if budget.try_retry("transient", 0) is not None:
            return count
        recovering.end(0, True, 0)
    return None


def _drift(ratio: float, share: float) -> Experiment:
    target = ratio * (1 - share) - share
    return Experiment(
        name=f"tokenRatio={ratio:g} p={share:g}",
        replicate=partial(_drifts, ratio, share),
        quantities=(Mean(name="tokens gained each attempt", target=target, because="ratio·(1 − p) − p"),),
    )


def _no_drift(ratio: float) -> Experiment:
    share = ratio / (1 + ratio)
    return Experiment(
        name=f"tokenRatio={ratio:g} p={share:.4f}",
        replicate=partial(_drifts, ratio, share),
        quantities=(
            Between(
                name="tokens gained each attempt",
                low=-0.02 * share,
                high=0.02 * share,
                because="0 at p = ratio / (1 + ratio), here to 2% of what failures take",
            ),
        ),
    )


def _drifts(ratio: float, share: float, seed: int) -> dict[str, float]:
    """Half-fill a bucket that is never full nor empty, and see what many attempts make of it."""
    attempts = 20_000
    budget, random = GrpcBudget(4 * attempts, ratio), Random(seed)
    for _ in range(2 * attempts):
        budget.end(0, False, 0)
    before = budget.tokens
    for _ in range(attempts):
        budget.end(0, random.random() >= share, 0)
    return {"tokens gained each attempt": (budget.tokens - before) / attempts}


# ── the AWS SDKs ────────────────────────────────────────────────────────────────────────────────────────────────


def _aws_sdk(_seed: int) -> dict[str, Any]:
    standard = RetryConfig(initial_delay=1, max_delay=20)
    newer = RetryConfig(initial_delay=0.05, max_delay=20)
    cubic, cut = Cubic(0.7, 0.4, 10.0), Cubic(0.7, 0.4, 10.0)
    clock = RateClock()
    rates = [clock.record(ns(at_s)) for at_s in (0.1, 0.2, 0.3, 0.4, 0.49, 0.5)]
    return {
        "standard backoff, s": [standard.calculate_delay(attempt) for attempt in range(1, 10)],
        "backoff of v2.1, s": [newer.calculate_delay(attempt) for attempt in range(1, 12)],
        "quota after 3 failures": _quota("transient"),
        "quota after 3 throttled": _quota("throttled"),
        "quota after a retry succeeds, a clean success, a final failure": _refunds(),
        "x-amz-retry-after 1500, 10000, 0, invalid: s": [_hinted(hint) for hint in (1.5, 10.0, 0.0, float("nan"))],
        "CUBIC k of w_max 10": cubic.k,
        "CUBIC rate and k after an error at 8": [cut.cut(8.0, 0), cut.k],
        "CUBIC rate at t = k": cubic.grown(0.0, ns(cubic.k)),
        "rate of 6 in half a second": rates[-1],
    }


def _quota(kind: Any) -> list[int]:
    budget = AwsBudget(500, 14, 5)
    left = []
    for _ in range(3):
        budget.try_retry(kind, 0)
        left.append(budget.available)
    return left


def _refunds() -> list[int]:
    """Return what is left of 500 after a retry that succeeds; after a failure, a clean success more; and none."""
    succeeded, clean, failed = (AwsBudget(500, 14, 5) for _ in range(3))
    charge = succeeded.try_retry("transient", 0)
    succeeded.end(charge or 0, True, 0)
    clean.try_retry("transient", 0)
    clean.end(0, True, 0)
    charge = failed.try_retry("transient", 0)
    failed.end(charge or 0, False, 0)
    return [succeeded.available, clean.available, failed.available]


def _hinted(hint_s: float) -> float | None:
    policy = RetryPolicy(RetryConfig(initial_delay=0.05, max_delay=20, retry_after_excess=5), Random(0))
    wait_ns = policy.next_wait_ns(Transient(reason="throttled", retry_after=hint_s), Progress())
    return None if wait_ns is None else wait_ns / NS_PER_S


# ── resilience4j ────────────────────────────────────────────────────────────────────────────────────────────────

_STATE_MACHINE_TEST: dict[str, Any] = {
    "window": {"time": 20},
    "minimum_calls": 5,
    "failure_rate": 0.5,
    "timeout": 5,
    "half_open_permits": 4,
    "decide": "when_all_used",
}


def _resilience4j(_seed: int) -> dict[str, Any]:
    at_once, at_once_rates, tripped = _driven("FFFSS", apart_s=0)
    states, rates, _ = _driven("SSSFFF", apart_s=1)
    refused = tripped.try_acquire(0) is None
    counted = tripped.refused
    return {
        "states through F F F S S": at_once,
        "rate through F F F S S": at_once_rates,
        "the next call is refused, and counted": [refused, counted],
        "states through S S S F F F, 1 s apart": states,
        "rate at the 5th and 6th of them": rates[4:],
        "permits while half-open": [tripped.try_acquire(ns(5)) is not None for _ in range(5)],
    }


def _driven(letters: str, apart_s: float) -> tuple[list[str], list[float | None], Breaker]:
    breaker = Breaker(CircuitBreakerConfig(**_STATE_MACHINE_TEST))
    states: list[str] = []
    rates: list[float | None] = []
    for number, letter in enumerate(letters):
        now_ns = ns(number * apart_s)
        permit = breaker.try_acquire(now_ns)
        assert permit is not None
        (breaker.record_success if letter == "S" else breaker.record_failure)(permit, now_ns)
        states.append(str(breaker.state))
        rates.append(breaker.failure_rate(now_ns))
    return states, rates, breaker


CASES = (
    Case(
        name="grpc-throttling",
        title="Retry throttling of gRPC",
        source="gRPC proposal A6",
        url="https://github.com/grpc/proposal/blob/master/A6-client-retries.md",
        model="A failure takes a token, a success gives a share of one, and there are retries only while more than "
        "half of them are there, after the failure has taken its own. A scenario for the outage; else the "
        "budget itself.",
        experiments=(
            _throttled(10, 0.1),
            _drift(0.1, 0.05),
            _drift(0.1, 0.2),
            _no_drift(0.1),
        ),
    ),
    Case(
        name="aws-sdk",
        title="Retry modes of the AWS SDKs",
        source="botocore, tests/unit/retries",
        url="https://github.com/boto/botocore/tree/develop/tests/unit/retries",
        model="Its vectors for backoff, quota, retry-after and the adaptive rate, asked of RetryConfig, RetryPolicy, "
        "AwsBudget, Cubic and RateClock.",
        experiments=(
            Experiment(
                name="",
                replicate=_aws_sdk,
                quantities=(
                    Exactly(name="standard backoff, s", target=[1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0, 20.0]),
                    Exactly(
                        name="backoff of v2.1, s", target=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]
                    ),
                    Exactly(name="quota after 3 failures", target=[486, 472, 458]),
                    Exactly(name="quota after 3 throttled", target=[495, 490, 485]),
                    Exactly(
                        name="quota after a retry succeeds, a clean success, a final failure", target=[500, 487, 486]
                    ),
                    Exactly(name="x-amz-retry-after 1500, 10000, 0, invalid: s", target=[1.5, 5.05, 0.05, 0.05]),
                    Exactly(name="CUBIC k of w_max 10", target=1.9574338205844317),
                    Exactly(name="CUBIC rate and k after an error at 8", target=[5.6, 1.8171205928321397]),
                    Exactly(name="CUBIC rate at t = k", target=10.0),
                    Exactly(name="rate of 6 in half a second", target=9.6),
                ),
            ),
        ),
    ),
    Case(
        name="resilience4j",
        title="State machine of resilience4j's breaker",
        source="resilience4j, CircuitBreakerStateMachineTest",
        url="https://github.com/resilience4j/resilience4j/blob/master/resilience4j-circuitbreaker/src/test/java/io/"
        "github/resilience4j/circuitbreaker/internal/CircuitBreakerStateMachineTest.java",
        model="50% over a window of 20 s with at least 5 calls, open for 5 s, 4 probes; each letter is a call that "
        "succeeded (S) or failed (F), asked of Breaker with the time passed in.",
        experiments=(
            Experiment(
                name="",
                replicate=_resilience4j,
                quantities=(
                    Exactly(name="states through F F F S S", target=["closed"] * 4 + ["open"]),
                    Exactly(name="rate through F F F S S", target=[None] * 4 + [0.6]),
                    Exactly(name="the next call is refused, and counted", target=[True, 1]),
                    Exactly(name="states through S S S F F F, 1 s apart", target=["closed"] * 5 + ["open"]),
                    Exactly(name="rate at the 5th and 6th of them", target=[0.4, 0.5]),
                    Exactly(name="permits while half-open", target=[True] * 4 + [False]),
                ),
            ),
        ),
    ),
)
