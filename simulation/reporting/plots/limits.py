"""How much of a channel's quota and of its retry budget is in use, counted again from its attempts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from actors.policies.retry.budgets import (
    AwsBudget,
    Budget,
    FinagleBudget,
    GrpcBudget,
    TokenBudget,
    make_budget,
)
from actors.policies.retry.policy import FailureKind
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import BudgetConfig
from simulation.results.series import nanoseconds

Steps = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Times in seconds, and a share from each of them on."""

_RETRIED = {"transient", "ambiguous"}


def quota_in_use(attempts: pd.DataFrame, quota: RateLimitConfig) -> Steps | None:
    """Return when which share of a quota was in use: how many requests started in the window up to then, of those that
    it allows in any. Of several quotas it is that of which the most is in use; None: there was no attempt.

    Args:
        attempts: the rows of a channel's attempts that its provider was asked for.
        quota: of the channel.
    """
    if attempts.empty:
        return None
    starts = np.sort(attempts["start_s"].to_numpy(float))
    rates = quota.limits
    times = np.unique(np.concatenate([starts, *(starts + rate.period for rate in rates)]))
    shares = [
        (np.searchsorted(starts, times, "right") - np.searchsorted(starts, times - rate.period, "right")) / rate.count
        for rate in rates
    ]
    return times, np.max(shares, axis=0)


def budget_left(attempts: pd.DataFrame, config: BudgetConfig) -> Steps | None:
    """Return when which share of a retry budget was left, of the most that it had in the run.

    None: there was no attempt, or the budget is one of retries at a time, which has nothing to be spent.

    Args:
        attempts: the rows of a channel's attempts.
        config: of the budget.
    """
    budget = make_budget(config)
    if attempts.empty or _left(budget, 0) is None:
        return None
    starts, ends = nanoseconds(attempts["start_s"]), nanoseconds(attempts["end_s"])
    ids, outcomes = attempts["id"].to_list(), attempts["outcome"].to_list()
    throttled, retried = attempts["throttled"].to_list(), attempts["next_retry_at_s"].notna().to_list()
    moments = np.concatenate([ends, starts])
    # At an instant ends come first, as what they give back can be used then; but not before the start of the same one.
    turn = np.concatenate([np.where(starts == ends, 2, 0), np.ones(len(ids), int)])
    order = np.lexsort((turn, moments)).tolist()
    times: list[float] = []
    left: list[float] = []
    due: dict[str, int] = {}  # the charge of the retry that is to come
    charges: dict[int, int] = {}  # those of attempts that have set out
    for place in order:
        row, now_ns = place % len(ids), int(moments[place])
        if place >= len(ids):
            charges[row] = due.pop(ids[row], 0)
            budget.start(charges[row], now_ns)
        else:
            outcome = outcomes[row]
            failed = outcome in _RETRIED
            budget.end(charges.pop(row, 0), True if outcome == "sent" else False if failed else None, now_ns)
            if failed and retried[row]:
                kind: FailureKind = (
                    "throttled" if throttled[row] else "ambiguous" if outcome == "ambiguous" else "transient"
                )
                due[ids[row]] = budget.try_retry(kind, now_ns) or 0
        times.append(now_ns / 1e9)
        left.append(_left(budget, now_ns) or 0.0)
    return np.array(times), np.array(left) / (max(left) or 1.0)


def _left(budget: Budget, now_ns: int) -> float | None:
    match budget:
        case FinagleBudget():
            return float(budget.balance(now_ns))
        case AwsBudget():
            return float(budget.available)
        case GrpcBudget() | TokenBudget():
            return budget.tokens
        case _:
            return None
