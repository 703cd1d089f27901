"""The exponential moving average of results: a window that needs no log."""

from __future__ import annotations

import math


class MovingAverage:
    """The failures and slow calls among all calls, each call weighing e^(-1/size) of the one after it.

    After Finagle's failure accrual by success rate (`Ema` over request counts, window `size`). One number in place of
    a log, whatever the size; in exchange a call never quite leaves, and after a long good time it takes
    ``size * ln 2`` failures in a row to get to a rate of one half.

    Raises:
        ValueError: `size` is less than 1.
    """

    __slots__ = ("_keep", "calls", "duration_ns", "failures", "slow")

    total = 1.0
    """What `failures` and `slow` are a share of."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"wanted an average over at least 1 call, got {size!r}")
        self._keep = math.exp(-1.0 / size)
        self.calls = 0
        """All calls since the beginning or :meth:`clear`."""
        self.failures = 0.0
        """The average of 1 for each failure and 0 for each success."""
        self.slow = 0.0
        """The average of 1 for each slow call and 0 for each other."""
        self.duration_ns = 0
        """How long they all took together."""

    def record(self, _now_ns: int, failed: bool, slow: bool, duration_ns: int) -> None:
        """Count a call that ended now; the first is the average itself."""
        keep = self._keep if self.calls else 0.0
        self.calls += 1
        self.failures = keep * self.failures + (1.0 - keep) * failed
        self.slow = keep * self.slow + (1.0 - keep) * slow
        self.duration_ns += duration_ns

    def advance(self, _now_ns: int) -> None:
        """Do nothing: time changes nothing here."""

    def clear(self) -> None:
        """Forget all calls."""
        self.calls = self.duration_ns = 0
        self.failures = self.slow = 0.0
