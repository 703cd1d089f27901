"""The count window: the last so many calls."""

from __future__ import annotations

from collections import deque


class CountWindow:
    """The results of the last `size` calls, however long ago they were (resilience4j's count-based sliding window).

    Knows no time, so it suits traffic that comes and goes; but on a channel with little traffic a failure of yesterday
    still counts today. Costs a constant for each call, and memory for `size` of them.

    Raises:
        ValueError: `size` is less than 1.
    """

    __slots__ = ("_log", "_size", "calls", "duration_ns", "failures", "slow")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"wanted a window of at least 1 call, got {size!r}")
        self._size = size
        self._log: deque[tuple[bool, bool, int]] = deque()
        self.calls = 0
        """Calls in the window."""
        self.failures = 0
        """Those of them that failed."""
        self.slow = 0
        """Those of them that were slow, failed or not."""
        self.duration_ns = 0
        """How long they took together."""

    @property
    def total(self) -> int:
        """What `failures` and `slow` are a share of."""
        return self.calls

    def record(self, _now_ns: int, failed: bool, slow: bool, duration_ns: int) -> None:
        """Count a call that ended now; the oldest one leaves a full window."""
        log = self._log
        if len(log) == self._size:
            old_failed, old_slow, old_duration_ns = log.popleft()
            self.failures -= old_failed
            self.slow -= old_slow
            self.duration_ns -= old_duration_ns
        else:
            self.calls += 1
        log.append((failed, slow, duration_ns))
        self.failures += failed
        self.slow += slow
        self.duration_ns += duration_ns

    def advance(self, _now_ns: int) -> None:
        """Do nothing: time changes nothing here."""

    def clear(self) -> None:
        """Forget all calls."""
        self._log.clear()
        self.calls = self.failures = self.slow = self.duration_ns = 0
