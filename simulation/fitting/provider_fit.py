"""The fit of one provider of a channel, and the quota that it enforces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.fitting.estimate import Estimate
from simulation.fitting.failing import Failing
from simulation.fitting.latency import Latency
from simulation.fitting.log import AttemptLog, OutcomeKind
from simulation.fitting.slowness import Brownout

# ── the quota that a provider enforces ────────────────────────────────────────────────────────────────────────────────


LEAST = 10
"""Fewer refusals than these show no quota."""
_SOON = 5.0
"""Refusals within so many times the usual gap between them are in quick succession."""


@dataclass(frozen=True)
class Throttling:
    """A quota, and when it was enforced."""

    rate: Estimate
    """Attempts a second; its interval is a bound."""

    start_s: float

    end_s: float

    refusals: int


def fit_throttling(log: AttemptLog) -> Throttling | None:
    """Return the quota that the refusals show, by what was let through between them; None where there are too few.

    A refusal means that the token bucket was empty, so between two refusals that follow each other soon it let through
    what it was refilled with, give or take one: over all such stretches the rate is known as exactly as that. A long
    time without a refusal says nothing, since the bucket may have been full.
    """
    refused_s = log.start_s[log.kind == OutcomeKind.THROTTLED]
    if len(refused_s) < LEAST:
        return None
    gaps_s = np.diff(refused_s)
    cuts = np.flatnonzero(gaps_s > _SOON * max(float(np.median(gaps_s)), 1e-9)) + 1
    let_through_s = log.start_s[log.kind != OutcomeKind.THROTTLED]
    passed, spent, stretches = 0, 0.0, 0
    for stretch in np.split(refused_s, cuts):
        if len(stretch) < 2 or stretch[-1] <= stretch[0]:
            continue
        first, last = np.searchsorted(let_through_s, (stretch[0], stretch[-1]))
        passed += int(last - first)
        spent += float(stretch[-1] - stretch[0])
        stretches += 1
    if spent <= 0 or passed <= stretches:
        return None
    rate = Estimate(passed / spent, (passed - stretches) / spent, (passed + stretches) / spent)
    return Throttling(rate, float(refused_s[0]), float(refused_s[-1]), len(refused_s))


@dataclass(frozen=True, eq=False)
class ProviderFit:
    channel: str
    provider: str | None
    """Its name, where the log has several."""

    attempts: int
    latency: Latency | None
    """None where the log has no answered attempt with a latency."""

    failing: Failing | None
    """None where the log has no outcomes."""

    brownouts: tuple[Brownout, ...]
    throttling: Throttling | None
    lost_reply_rate: Estimate | None
    """Share whose reply never comes, where more time out than the latency explains."""

    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """``email``, or ``email/backup``."""
        return self.channel if self.provider is None else f"{self.channel}/{self.provider}"
