"""The chains behind Brooker's ways to retry, solved: what a client's bucket, and what its breaker, makes of its calls.

A call and its retries end before the next one, so a client is a Markov chain from call to call.
"""

from __future__ import annotations

import numpy as np

from actors.policies.exact import as_fraction


def with_bucket(p: float, calls: int, share: float, capacity: int) -> tuple[float, float]:
    """Return attempts and successes for each call of a client with a token bucket, where attempts fail with `p`."""
    exact = as_fraction(share)
    deposit, token = exact.numerator, exact.denominator
    full = capacity * token
    after, rewards = np.zeros((full + 1, full + 1)), np.zeros((full + 1, 2))
    for before in range(full + 1):
        tokens, reached = min(full, before + deposit), 1.0
        while reached:
            rewards[before] += reached, reached * (1 - p)
            is_last = tokens <= token
            after[before, tokens] += reached * (1 if is_last else 1 - p)
            tokens, reached = tokens - token, 0.0 if is_last else reached * p
    states = np.zeros(full + 1)
    states[full] = 1.0
    totals = np.zeros(2)
    for _ in range(calls):
        totals += states @ rewards
        states = states @ after
    return float(totals[0] / calls), float(totals[1] / calls)


def with_breaker(p: float, calls: int, share: float, retries: int) -> tuple[float, float]:
    """Return attempts and successes for each call of a client with a breaker that never forgets, where attempts fail
    with `p`: it retries, so many times, while failed attempts are at most a share of the calls."""
    exact = as_fraction(share)
    failures = np.zeros(1 + calls * (1 + retries))
    """How likely so many attempts have failed."""
    failures[0] = 1.0
    load = success = 0.0
    for call in range(1, calls + 1):
        allowed = int(exact * call)  # so many may have failed, the latest among them
        ended, trying = np.zeros_like(failures), failures
        for attempt in range(1 + retries):
            load += trying.sum()
            success += (1 - p) * trying.sum()
            ended += (1 - p) * trying
            failed = np.concatenate([[0.0], p * trying[:-1]])
            goes_on = allowed + 1 if attempt < retries else 0
            ended[goes_on:] += failed[goes_on:]
            trying = np.concatenate([failed[:goes_on], np.zeros(len(failed) - goes_on)])
        failures = ended
    return float(load / calls), float(success / calls)
