"""How sure one can be, after some runs, that the expectations hold with a probability: when to give a setting up, and
when it is confirmed.

Whether all expectations hold in a run with a fresh seed is a coin with an unknown bias, so everything here is about the
binomial distribution, and exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import cache

GIVEN_UP_BELOW = 0.05
"""A setting is given up when one that reaches the probability would fail so often in at most this share of cases."""

FAILURES_MAX = 2
"""So many runs of a setting may fail and it still be confirmed, if it holds in enough others."""

SPENT = (5 / 6, 19 / 20, 1.0)
"""The share of the error that the looks up to that with none, one and two failures may have together. On average over
settings that fail a fifth as often as they may, and those that never do, hardly any other shares take fewer runs."""

_ROUNDING = 1e-9


class Decision(StrEnum):
    """The decision about a setting after its fresh runs."""

    CONFIRMED = "confirmed"
    """It reaches the probability, with the stated confidence."""

    REJECTED = "rejected"
    """It does not, or not surely enough."""


def hopeless(failed: int, runs: int, probability: float, of: int) -> bool:
    """Return whether a setting is given up in the search, after `failed` of the first `runs` of at most `of` runs.

    That is when it cannot hold in the stated share of all `of` runs any more, or when a setting that has just the
    probability would fail so often, or more often, in at most 5% of all cases (a *race*: Maron and Moore, *Hoeffding
    Races*, NIPS 6, 1994, here with exact binomial bounds in the place of Hoeffding's). As this is looked at after each
    run, one that has just the probability is lost more often than that: with 95% and 20 runs in 28% of all cases, and
    one that fails a fifth as often in 3%. Those that are lost are near the edge, and would hardly be confirmed.
    """
    from scipy.special import bdtrc

    if failed > math.floor(of * (1 - probability) + _ROUNDING):
        return True
    return failed > 0 and float(bdtrc(failed - 1, runs, 1 - probability)) <= GIVEN_UP_BELOW + _ROUNDING


@cache
def plan(probability: float, error: float) -> tuple[int, ...]:
    """Return after how many fresh runs a setting is confirmed in which none, one or two of them failed.

    All looks together confirm a setting that does not reach the probability in at most `error` of all cases: an exact
    test with *error spending* (Lan and DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70,
    1983), computed run by run. A single look at runs none of which may fail would be at ln(error) / ln(probability)
    runs, 59 of them for 95% and 5%; but a setting that fails one run in a hundred, well within the 95%, would be
    refused by it almost every other time, and with three looks in one of five. The first look may err most, see
    :data:`SPENT`: what has not failed in the search hardly fails, and then has to do the fewest runs.

    Args:
        probability: that is to be reached; more than 0 and less than 1.
        error: how often a setting may be confirmed that does not reach it; more than 0 and less than 1.
    """
    looks: list[int] = []
    confirmed, runs = 0.0, 0
    waiting = [1.0, *([0.0] * FAILURES_MAX)]  # at the edge, by how many have failed: neither confirmed nor rejected yet
    while len(looks) <= FAILURES_MAX:
        runs += 1
        before = [0.0, *waiting]
        waiting = [
            share * probability + other * (1 - probability) for share, other in zip(waiting, before, strict=False)
        ]
        failed = len(looks)
        if confirmed + waiting[failed] <= error * SPENT[failed]:
            confirmed += waiting[failed]
            waiting[failed] = 0.0
            looks.append(runs)
    return tuple(looks)


class FreshRuns:
    """The fresh runs of a setting so far, and what they decide: it is rejected when more have failed than may."""

    def __init__(self, looks: Sequence[int]) -> None:
        """Begin with none.

        Args:
            looks: the plan, see :func:`plan`.
        """
        self.runs = 0
        """How many, up to the decision."""
        self.decision: Decision | None = None
        self._failed = 0
        self._looks = looks

    def add(self, holds: bool) -> None:
        """Take in the next run; after the decision it changes nothing.

        Args:
            holds: whether all expectations held.
        """
        if self.decision is not None:
            return
        self.runs += 1
        self._failed += not holds
        if self._failed >= len(self._looks):
            self.decision = Decision.REJECTED
        elif self.runs >= self._looks[self._failed]:
            self.decision = Decision.CONFIRMED


def at_least(held: int, runs: int, confidence: float) -> float:
    """Return the lower confidence bound of a probability, of what held in `held` of `runs` runs.

    One-sided and exact (Clopper and Pearson, *Biometrika* 26, 1934); 0 when it never held.
    """
    from scipy.special import betaincinv

    return float(betaincinv(held, runs - held + 1, 1 - confidence)) if held else 0.0
