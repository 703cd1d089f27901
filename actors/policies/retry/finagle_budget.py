"""A retry budget by the first attempts of the last while, as in Finagle."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from actors.policies.exact import as_fraction
from actors.policies.exact_share import exact_share
from actors.policies.retry.policy import FailureKind
from actors.settings.quantities import Rate
from actors.waits import wait_ns

_SLICES = 10


class FinagleBudget:
    """`share` of a retry for each first attempt of about the last `ttl` seconds, and `min_rate` besides.

    After Finagle's `RetryBudget` on its leaky token bucket. A first attempt puts tokens in, a retry takes some out, and
    both are forgotten after about `ttl`; a whole `ttl` of the minimum rate is always there on top, so that a quiet
    channel may retry too. "About": time is counted in ten slices, each of which begins with the first call after the
    one before has ended, so a call is forgotten after 0.9 to 2 times `ttl`, later the fewer calls there are.

    `share` may be more than 1 here. `min_rate` None is no minimum.
    """

    __slots__ = ("_cost", "_current", "_deposit", "_past", "_reserve", "_slice_began_ns", "_slice_ns")

    def __init__(self, share: float, min_rate: Rate | None, ttl: float) -> None:
        exact = exact_share(share)
        # The price of a retry in tokens of a first attempt, both whole; a share of nothing leaves the minimum rate.
        self._deposit, self._cost = (exact.numerator, exact.denominator) if exact else (0, 1)
        ttl_ns = max(_SLICES, wait_ns(ttl))
        self._slice_ns = ttl_ns // _SLICES
        reserve = Fraction(0)
        if min_rate is not None:
            reserve = as_fraction(min_rate.count) / as_fraction(min_rate.period) * as_fraction(ttl)
        self._reserve = int(reserve * self._cost)
        self._past = deque([0] * (_SLICES - 1), maxlen=_SLICES - 1)
        self._current = 0
        self._slice_began_ns = 0

    def balance(self, now_ns: int) -> int:
        """Return how many retries could be made at once."""
        return self._tokens(now_ns) // self._cost

    def start(self, charge: int, now_ns: int) -> None:
        """A first attempt puts its tokens in."""
        if not charge:
            self._advance(now_ns)
            self._current += self._deposit

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """Nothing depends on it."""

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Take the tokens of a retry and return 1, or None if they are not there."""
        if self._tokens(now_ns) < self._cost:
            return None
        self._current -= self._cost
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        """Put the tokens of a retry back."""
        self._advance(now_ns)
        self._current += self._cost

    def _tokens(self, now_ns: int) -> int:
        self._advance(now_ns)
        return self._reserve + self._current + sum(self._past)

    def _advance(self, now_ns: int) -> None:
        over = (now_ns - self._slice_began_ns) // self._slice_ns
        if over < 1:
            return
        self._past.append(self._current)
        self._past.extend([0] * min(over - 1, _SLICES - 1))
        self._current = 0
        self._slice_began_ns = now_ns
