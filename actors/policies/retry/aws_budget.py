"""The retry quota of the AWS SDKs."""

from __future__ import annotations

from actors.policies.retry.policy import FailureKind


class AwsBudget:
    """A retry costs some of the quota; one that succeeds gives its cost back, and a clean success gives 1.

    After the standard mode of the AWS SDKs (botocore's `RetryQuotaChecker`, SDK reference guide, "Retry behavior"). So
    it bounds the retries that have failed, and recovers by ordinary successes. Costs are more than 0.
    """

    __slots__ = ("_capacity", "_costs", "available")

    def __init__(self, capacity: int, retry_cost: int, throttled_cost: int, timeout_cost: int | None = None) -> None:
        self._capacity = capacity
        self.available = capacity
        """What is left of the quota."""
        self._costs: dict[FailureKind, int] = {
            "transient": retry_cost,
            "throttled": throttled_cost,
            "ambiguous": retry_cost if timeout_cost is None else timeout_cost,
        }

    def start(self, charge: int, now_ns: int) -> None:
        """Nothing depends on it."""

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """A success gives back what the retry cost, or 1."""
        if succeeded:
            self.give_back(charge or 1, now_ns)

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return the cost of a retry, which is taken, or None if there is not enough left."""
        cost = self._costs[kind]
        if cost > self.available:
            return None
        self.available -= cost
        return cost

    def give_back(self, charge: int, now_ns: int) -> None:
        """Put a charge back."""
        self.available = min(self._capacity, self.available + charge)
