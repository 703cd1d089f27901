"""A retry budget as a bucket of tokens, which first attempts fill and retries empty."""

from __future__ import annotations

from actors.policies.exact_share import exact_share
from actors.policies.retry.policy import FailureKind


class TokenBudget:
    """A first attempt puts `share` of a token in, a retry takes one out; what is above `capacity` is lost.

    It is full to begin with. After Brooker, "Fixing retries with token buckets and circuit breakers" (2022). So it
    allows a share of the first attempts, and `capacity` retries at once after a quiet time. That of each of many small
    clients is hardly ever empty: then it allows as good as all. `inclusive`: whether the retry that takes all there is
    may be made.
    """

    __slots__ = ("_capacity", "_cost", "_deposit", "_least", "_tokens")

    def __init__(self, share: float, capacity: int, *, inclusive: bool = True) -> None:
        exact = exact_share(share)
        # A token and what is put in, both as whole parts.
        self._deposit, self._cost = (exact.numerator, exact.denominator) if exact else (0, 1)
        self._capacity = self._tokens = capacity * self._cost
        self._least = self._cost if inclusive else self._cost + 1

    @property
    def tokens(self) -> float:
        """How many are there."""
        return self._tokens / self._cost

    def start(self, charge: int, now_ns: int) -> None:
        """A first attempt puts its part in."""
        if not charge:
            self._tokens = min(self._capacity, self._tokens + self._deposit)

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """Nothing depends on it."""

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Take a token and return 1, or None if there is none to be had."""
        if self._tokens < self._least:
            return None
        self._tokens -= self._cost
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        """Put the token of a retry back."""
        self._tokens = min(self._capacity, self._tokens + self._cost)
