"""The windows over which a breaker counts calls: of time, of the last so many calls, or a moving average."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

EXACT_INSTANTS = 10_000
"""A window with more instants than this merges the closest ones."""


class _Window:
    __slots__ = ("_log", "calls", "duration_ns", "failures", "slow")

    def __init__(self) -> None:
        self._log: deque[Any] = deque()
        self.calls = 0
        """Calls in the window."""
        self.failures = 0
        """Those of them that failed."""
        self.slow = 0
        self.duration_ns = 0
        """How long they took together."""

    @property
    def total(self) -> int:
        return self.calls

    def advance(self, _now_ns: int) -> None:
        """Do nothing: time changes nothing here."""

    def clear(self) -> None:
        self._log.clear()
        self.calls = self.failures = self.slow = self.duration_ns = 0


class TimeWindow(_Window):
    """The results of the calls that ended in ``(now - width, now]``, to the nanosecond.

    A sliding log with one entry for each instant, where resilience4j and Polly count in buckets of a second or a tenth
    of the width, which are cheaper and let a whole bucket leave at once. Each call costs a constant (each entry is
    added once and removed once). Memory is bounded: as soon as the log holds :data:`EXACT_INSTANTS` entries, calls
    less than 1/`EXACT_INSTANTS` of the width apart may share an entry, at the instant of the latest of them, so there
    are never more than about twice as many entries, and a call leaves late by that fraction of the width at most.

    Raises:
        ValueError: `width_ns` is less than 1.
    """

    __slots__ = ("_grain_ns", "_width_ns")

    def __init__(self, width_ns: int) -> None:
        if width_ns < 1:
            raise ValueError(f"wanted a window of at least 1 ns, got {width_ns!r}")
        self._width_ns = width_ns
        self._grain_ns = max(1, width_ns // EXACT_INSTANTS)
        super().__init__()

    @property
    def entries(self) -> int:
        return len(self._log)

    def record(self, now_ns: int, failed: bool, slow: bool, duration_ns: int) -> None:
        """Count a call that ended now. `now_ns` never goes back from one call to the next."""
        self.advance(now_ns)
        log = self._log
        entry = log[-1] if log else None
        if entry is None or not self._shares(entry, now_ns):
            entry = _Entry()
            log.append(entry)
        entry.at_ns = now_ns
        entry.calls += 1
        entry.failures += failed
        entry.slow += slow
        entry.duration_ns += duration_ns
        self.calls += 1
        self.failures += failed
        self.slow += slow
        self.duration_ns += duration_ns

    def advance(self, now_ns: int) -> None:
        log, left_ns = self._log, now_ns - self._width_ns
        while log and log[0].at_ns <= left_ns:
            entry = log.popleft()
            self.calls -= entry.calls
            self.failures -= entry.failures
            self.slow -= entry.slow
            self.duration_ns -= entry.duration_ns

    def _shares(self, entry: _Entry, now_ns: int) -> bool:
        if entry.at_ns == now_ns:
            return True
        return len(self._log) >= EXACT_INSTANTS and entry.at_ns // self._grain_ns == now_ns // self._grain_ns


class _Entry:
    __slots__ = ("at_ns", "calls", "duration_ns", "failures", "slow")

    def __init__(self) -> None:
        self.at_ns = self.calls = self.failures = self.slow = self.duration_ns = 0


class CountWindow(_Window):
    """The results of the last `size` calls, however long ago they were (resilience4j's count-based sliding window).

    Knows no time, so it suits traffic that comes and goes; but on a channel with little traffic a failure of yesterday
    still counts today. Costs a constant for each call, and memory for `size` of them.

    Raises:
        ValueError: `size` is less than 1.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"wanted a window of at least 1 call, got {size!r}")
        self._size = size
        super().__init__()

    def record(self, _now_ns: int, failed: bool, slow: bool, duration_ns: int) -> None:
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
        keep = self._keep if self.calls else 0.0
        self.calls += 1
        self.failures = keep * self.failures + (1.0 - keep) * failed
        self.slow = keep * self.slow + (1.0 - keep) * slow
        self.duration_ns += duration_ns

    def advance(self, _now_ns: int) -> None:
        """Do nothing: time changes nothing here."""

    def clear(self) -> None:
        self.calls = self.duration_ns = 0
        self.failures = self.slow = 0.0
