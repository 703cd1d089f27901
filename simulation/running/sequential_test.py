"""Tests of expectations that must hold in a share of runs, as in ``{that: dlq.peak <= 100, in: 99% of runs}``, and of
settings that `tune` gives up or confirms.

Whether it holds in a run with a fresh seed is a coin with an unknown bias, so everything here is about the binomial
distribution, and exact. The tests are fed with booleans: they do no runs and know no clock.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache

ERROR = 0.05
"""How often a conclusion may be wrong: the complement of 95% confidence."""

LATER = 0.1
"""The error of a wrong ``holds`` that all looks after the first may add, as a share of the allowed error."""


GIVEN_UP_BELOW = 0.05
"""A setting is given up when one that reaches the probability would fail so often in at most this share of cases."""

FAILURES_MAX = 2
"""The most runs of a setting that may fail if it is still to be confirmed; enough other runs must hold."""

SPENT = (5 / 6, 19 / 20, 1.0)
"""The share of the error for the looks up to those with none, one and two failures. On average over settings that fail
a fifth as often as they may, and settings that never do, hardly any other shares take fewer runs."""

_ROUNDING = 1e-9


class Conclusion(StrEnum):
    """The conclusion from runs about an expectation that must hold in a share of them."""

    HOLDS = "holds"
    """It holds in at least the wanted share of runs."""

    FAILS = "fails"
    """It holds in a smaller share."""

    UNDECIDED = "undecided"
    """Neither is shown yet."""


class SequentialTest:
    """Decides run by run whether something holds in at least a wanted share of runs.

    An exact binomial test with *error spending* (Lan and DeMets, *Discrete sequential boundaries for clinical trials*,
    Biometrika 70, 1983), looked at after every run (exact stages of a binomial: Schultz, Nichol, Elfring and Weed,
    *Biometrics* 29, 1973). Its boundaries are computed run by run at the edge, where the probability is just the wanted
    share, and so include the chance of all earlier looks:

    - It ``holds`` with no failure after the fewest runs that this has a chance of at most 5% at the edge: 59 for 95%,
      299 for 99%, 2995 for 99.9%. With k failures it holds after so many runs that all looks up to that one have
      together at most 5% + 0.5% · k / (k + 1): 690 with one for 99%, 982 with two.
    - It ``fails`` with k failures, from two on, in so few runs that this and all before have together at most
      5% · (1 - 1 / k): two failures in 24 runs for 99%, three in 53, ten in 345.

    There is no end: the longer it goes on, the nearer to the share a probability may be and still be distinguished. The
    boundaries do not depend on how many runs there will be at most, so more runs never change a conclusion.

    A wrong ``fails`` comes in at most 5% of all cases. A wrong ``holds`` comes in at most 5.5% at the very edge, and in
    at most 5% where 1.03 times as many runs fail as may, or more: for 99%, up to 98.97%. The looks after the first one
    cost that half a per cent, and would be of no use without it. For 299 runs without a failure have a chance of 4.95%
    at the edge by themselves, and no test with at most 5% that takes these for ``holds`` could tell 99.9% from 99%
    within 700 runs in more than 76.8% of cases, by the lemma of Neyman and Pearson.

    For 99%, exactly, as a share of cases:

    ============  ===================  ===================  ====================
    probability   holds by 299, 700    fails by 299, 700    undecided at 4000
    ============  ===================  ===================  ====================
    99.9%         74.1%, 89.2%         0.03%, 0.03%         0%
    99.5%         22.3%, 27.1%         0.84%, 0.84%         37.9%
    99%           4.95%, 5.25%         4.44%, 4.69%         89.6%
    98.5%         1.09%, 1.10%         13.3%, 17.6%         51.3%
    98%           0.24%, 0.24%         28.7%, 44.9%         1.7%
    97%           0.01%, 0.01%         66.1%, 91.4%         0%
    95%           0%, 0%               97.7%, 99.99%        0%
    ============  ===================  ===================  ====================

    Args:
        share: that is wanted, more than 0 and less than 1.
        error: how often a conclusion may be wrong, in place of the 5% above.

    Raises:
        ValueError: one of them is not between 0 and 1.
    """

    def __init__(self, share: float, error: float = ERROR) -> None:
        if not (0 < share < 1 and 0 < error < 1):
            raise ValueError(f"wanted a share and an error of more than 0 and less than 1, got {share!r}, {error!r}")
        self.share = share
        self.runs = 0
        """The number of runs seen, up to the conclusion."""
        self.held = 0
        """In how many of these it held."""
        self.conclusion = Conclusion.UNDECIDED
        self._boundaries = _boundaries(share, error)

    @property
    def is_decided(self) -> bool:
        """Whether it has come to a conclusion."""
        return self.conclusion is not Conclusion.UNDECIDED

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds of the probability, each with 95% confidence; see :func:`interval`."""
        return interval(self.held, self.runs)

    def add(self, holds: bool) -> Conclusion:
        """Take in whether it holds in the next run, and return the conclusion; after it, further runs change
        nothing."""
        if self.is_decided:
            return self.conclusion
        self.runs += 1
        self.held += holds
        most_to_hold, fewest_to_fail = self._boundaries.after(self.runs)
        failed = self.runs - self.held
        if failed <= most_to_hold:
            self.conclusion = Conclusion.HOLDS
        elif failed >= fewest_to_fail:
            self.conclusion = Conclusion.FAILS
        return self.conclusion


class Boundaries:
    """The numbers of failures at which a test ends, after each number of runs; computed on demand.

    Args:
        share: the wanted share of runs that hold.
        error: how often a conclusion may be wrong.
        holds: returns the share of the error that all looks up to the one with so many failures may spend on ``holds``.
        fails: likewise for ``fails``.
        fewest_to_fail: the least number of failures that shows ``fails``.
    """

    def __init__(
        self,
        share: float,
        error: float,
        holds: Callable[[int], float] = lambda failed: 1 + LATER * (1 - 1 / (failed + 1)),
        fails: Callable[[int], float] = lambda failed: 1 - 1 / failed,
        fewest_to_fail: int = 2,  # no single failure shows anything, however early it comes
    ) -> None:
        self._share = share
        self._error = error
        self._holds = holds
        self._fails = fails
        self._after: list[tuple[int, int]] = []
        self._undecided = [1.0]
        """The chances at the edge to be undecided, by the number of failures from `_most_to_hold` + 1 on."""
        self._most_to_hold = -1
        self._fewest_to_fail = fewest_to_fail
        self._spent_on_holds = 0.0
        self._spent_on_fails = 0.0

    def after(self, runs: int) -> tuple[int, int]:
        """Return the most failures with which it holds after `runs` runs, at least 1, or -1 where it cannot hold yet;
        and the least with which it fails."""
        while len(self._after) < runs:
            self._after.append(self._after_one_more())
        return self._after[runs - 1]

    def _after_one_more(self) -> tuple[int, int]:
        held, failed = self._share, 1 - self._share
        before = self._undecided
        if not before:  # no more failures are left to look at
            return self._most_to_hold, self._fewest_to_fail
        now = [before[0] * held, *(a * held + b * failed for a, b in zip(before[1:], before, strict=False))]
        now.append(before[-1] * failed)
        if self._most_to_hold + len(now) == self._fewest_to_fail:
            if self._spent_on_fails + now[-1] <= self._error * self._fails(self._fewest_to_fail):
                self._spent_on_fails += now.pop()
            else:
                self._fewest_to_fail += 1
        while now and self._spent_on_holds + now[0] <= self._error * self._holds(self._most_to_hold + 1):
            self._spent_on_holds += now.pop(0)
            self._most_to_hold += 1
        self._undecided = now
        return self._most_to_hold, self._fewest_to_fail


@cache
def _boundaries(share: float, error: float) -> Boundaries:
    return Boundaries(share, error)


def fewest_runs(share: float, error: float = ERROR) -> int:
    """Return how many runs without a failure show that something holds in this share of them: 299 for 99%. The answer
    is wrong with the probability `error`; both are between 0 and 1."""
    return max(1, math.ceil(math.log(error) / math.log(share) - 1e-9))


def interval(held: int, runs: int, confidence: float = 1 - ERROR) -> tuple[float, float]:
    """Return the lower and the upper bound of the probability of an event seen in `held` of `runs` runs.

    Each by itself has the `confidence`, and is exact for a number of runs that was fixed before (Clopper and Pearson,
    *Biometrika* 26, 1934).
    """
    from scipy.special import betaincinv

    low = float(betaincinv(held, runs - held + 1, 1 - confidence)) if held else 0.0
    high = float(betaincinv(held + 1, runs - held, confidence)) if held < runs else 1.0
    return low, high


# ── settings in a search ────────────────────────────────────────────────────────────────────────────────────────


class Decision(StrEnum):
    """The decision about a setting after its fresh runs."""

    CONFIRMED = "confirmed"
    """The setting reaches the probability, with the stated confidence."""

    REJECTED = "rejected"
    """The setting does not reach the probability, or not surely enough."""


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
    """Return the numbers of fresh runs after which a setting with none, one or two failures is confirmed.

    All looks together confirm a setting that does not reach the probability in at most `error` of all cases: an exact
    test with error spending, as :class:`SequentialTest`. A single look at runs none of which may fail would be at
    ln(error) / ln(probability) runs, 59 of them for 95% and 5%; but a setting that fails one run in a hundred, well
    within the 95%, would be refused by it almost every other time, and with three looks in one of five. The first look
    may err most, see :data:`SPENT`: a setting that has not failed in the search hardly fails, and then needs the fewest
    runs.

    Args:
        probability: that is to be reached; more than 0 and less than 1.
        error: how often a setting may be confirmed that does not reach it; more than 0 and less than 1.
    """
    edge = Boundaries(probability, error, SPENT.__getitem__, lambda _: math.inf, FAILURES_MAX + 1)
    looks: list[int] = []
    while len(looks) <= FAILURES_MAX:
        runs = looks[-1] if looks else 0
        runs = next(number for number in itertools.count(runs + 1) if edge.after(number)[0] >= len(looks))
        looks.append(runs)
    return tuple(looks)


class FreshRuns:
    """The fresh runs of a setting so far, and their decision: it is rejected when more have failed than may."""

    def __init__(self, looks: Sequence[int]) -> None:
        self.runs = 0
        """The number of runs up to the decision."""
        self.decision: Decision | None = None
        self._failed = 0
        self._looks = looks

    def add(self, holds: bool) -> None:
        """Take in whether all expectations held in the next run; after the decision it changes nothing."""
        if self.decision is not None:
            return
        self.runs += 1
        self._failed += not holds
        if self._failed >= len(self._looks):
            self.decision = Decision.REJECTED
        elif self.runs >= self._looks[self._failed]:
            self.decision = Decision.CONFIRMED
