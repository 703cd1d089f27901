"""A retry budget by what is under way, as in Envoy."""

from __future__ import annotations

from actors.policies.exact_share import exact_share
from actors.policies.retry.policy import FailureKind


class EnvoyBudget:
    """Retries at once are at most a `share` of the attempts under way, but `min_concurrency` in any case.

    After Envoy's `retry_budget` (circuit_breaker.proto, `budget_percent` and `min_retry_concurrency`). A retry counts
    from the moment it is allowed, its wait included, and an attempt is under way from its start to its end. With
    `inclusive` one more is allowed while the share is met exactly or not quite, as failsafe-go's budget does.
    """

    __slots__ = ("_active", "_denominator", "_inclusive", "_minimum", "_numerator", "_retries")

    def __init__(self, share: float, min_concurrency: int, *, inclusive: bool = False) -> None:
        self._numerator, self._denominator = exact_share(share).as_integer_ratio()
        self._minimum = min_concurrency
        self._inclusive = inclusive
        self._active = 0
        self._retries = 0

    def start(self, charge: int, now_ns: int) -> None:
        """One more is under way."""
        self._active += 1

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """One less is under way, however it ended."""
        self._active -= 1
        self._retries -= charge

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return 1 and count a retry, or None if there are as many as may be."""
        part = self._numerator * self._active
        if self._inclusive:
            fits = self._retries < self._minimum or self._retries * self._denominator <= part
        else:
            fits = self._retries < max(self._minimum, part // self._denominator)
        if not fits:
            return None
        self._retries += 1
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        """It counts no longer."""
        self._retries -= charge
