"""What counts as tripping, apart from the breaker's table: it sees only results that count, while closed."""

from __future__ import annotations


class ConsecutiveFailures:
    """Trips at the `threshold`-th failure without a success in between.

    Needs no minimum number of calls and no window, so it reacts fast under light load; under heavy load with a share of
    failures it never trips, because some success always comes in between.
    """

    __slots__ = ("count", "threshold")

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.count = 0
        """Failures since the last success."""

    def success(self, _now_ns: int) -> None:
        """Count a success."""
        self.count = 0

    def failure(self, _now_ns: int) -> bool:
        """Count a failure, and return whether it trips."""
        self.count += 1
        return self.count >= self.threshold

    def reset(self) -> None:
        """Forget everything."""
        self.count = 0
