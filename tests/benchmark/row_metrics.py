"""The metrics that a scenario's summary and series have, from the rows that a hand-written model has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from simpy_process import Model

BUCKETS = 300


def metrics(rows: Model) -> dict[str, Any]:
    """Return counts, statistics of durations in seconds, and counts by bucket of time."""
    notifications, attempts = rows.notifications, rows.attempts
    requested_at = np.array([row[3] for row in notifications])
    finished_at = np.array([row[6] for row in notifications])
    is_sent = np.array([row[4] == "sent" for row in notifications])
    failed_at = np.array([row[2] for row in attempts if row[3] != "Sent"])
    simulated_s = float(finished_at.max())
    sent, dead = int(is_sent.sum()), len(rows.dead_letters)
    width = simulated_s / BUCKETS
    return {
        "accepted": len(notifications),
        "sent": sent,
        "dead_lettered": dead,
        "attempts": len(attempts),
        "retries": len(attempts) - len(notifications),
        "deferred": len(rows.deferred),
        "sent_fraction": sent / len(notifications),
        "throughput_per_s": sent / simulated_s,
        "retry_amplification": len(attempts) / len(notifications),
        "delivery_time_s": _quantiles(np.where(is_sent, finished_at - requested_at, np.inf)),
        "sent_time_s": _statistics((finished_at - requested_at)[is_sent]),
        "retry_delay_s": _statistics(np.array([row[5] for row in attempts if row[5]])),
        "dlq": {"final": dead, "peak": dead, "growth_per_min": dead / (simulated_s / 60)},
        "breaker": _breaker(rows.transitions, simulated_s),
        "series": {
            name: np.bincount((times / width).astype(np.int64), minlength=BUCKETS + 1)
            for name, times in {
                "arrivals": requested_at,
                "sent": finished_at[is_sent],
                "failed": failed_at,
                "dead_lettered": finished_at[~is_sent],
            }.items()
        },
    }


def _quantiles(durations: np.ndarray[Any, Any]) -> dict[str, float]:
    """Return quantiles of durations, infinite ones among them."""
    p50, p90, p99 = np.quantile(durations, (0.5, 0.9, 0.99), method="higher")
    return {"p50": p50, "p90": p90, "p99": p99}


def _statistics(durations: np.ndarray[Any, Any]) -> dict[str, float]:
    p50, p90, p99 = np.quantile(durations, (0.5, 0.9, 0.99))
    return {"mean": durations.mean(), "p50": p50, "p90": p90, "p99": p99, "max": durations.max()}


def _breaker(transitions: Sequence[tuple[float, str, str, str]], simulated_s: float) -> dict[str, float]:
    opened, open_s, since = 0, 0.0, None
    for time, _, _, to in (*transitions, (simulated_s, "", "", "")):
        if since is not None:
            open_s, since = open_s + time - since, None
        if to == "open":
            opened, since = opened + 1, time
    return {"opened": opened, "open_s": open_s}
