"""When notifications arrived, by their first attempts: steadily, as a Poisson process, or as a trace of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from simulation.fitting.estimate import Estimate, rate
from simulation.fitting.log import AttemptLog, Whole

EVEN = 0.1
"""Gaps whose spread is below so much of their mean are all the same."""
STEADY_P = 1e-3
_BUCKETS = 200
_NICE_S = (0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, eq=False)
class Arriving:
    channel: str
    count: int
    rate: Estimate
    """Arrivals a second, over the whole log."""

    process: Literal["constant", "poisson", "trace"]
    every_s: float
    """Width of a bucket of the trace."""

    counts: Whole


def fit_arriving(log: AttemptLog, channel: str, priority: str | None = None) -> Arriving | None:
    """Return how notifications of a channel, or of a class of it, arrived; None where nothing can be said, as of a
    single one."""
    at_s = log.arrivals_s(channel, priority)
    duration_s = max(log.duration_s, float(at_s[-1])) if len(at_s) else 0.0
    if len(at_s) < 2 or duration_s <= 0:
        return None
    gaps = np.diff(at_s)
    buckets = min(_BUCKETS, max(2, len(at_s) // 20))
    every_s = next((nice for nice in _NICE_S if nice >= duration_s / buckets), float(math.ceil(duration_s / buckets)))
    counts = np.bincount((at_s / every_s).astype(np.int64), minlength=math.ceil(duration_s / every_s))
    process: Literal["constant", "poisson", "trace"] = "poisson"
    if np.median(np.abs(gaps - np.median(gaps))) < EVEN * gaps.mean() and np.median(gaps) > 0.5 * gaps.mean():
        process = "constant"
    # Whether counts of a Poisson process vary as much (Fisher's index of dispersion).
    elif stats.chisquare(np.histogram(at_s, bins=buckets, range=(0.0, duration_s))[0]).pvalue < STEADY_P:
        process = "trace"
    return Arriving(channel, len(at_s), rate(len(at_s), duration_s), process, every_s, counts)
