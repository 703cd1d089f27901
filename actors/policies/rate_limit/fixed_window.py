"""The fixed window: a count that starts anew at every multiple of the window."""

from __future__ import annotations

from actors.policies.costs import never_fits
from actors.waits import NEVER_NS


class FixedWindow:
    """At most `limit` in each window ``[n * window_ns, (n + 1) * window_ns)`` since the start of the run, for each key.

    The cheapest, and the way many providers count their quotas. Twice the limit may go within one width, at the seam
    of two windows; where that hurts, take a sliding window.

    Raises:
        ValueError: `limit` or `window_ns` is less than 1.
    """

    __slots__ = ("_counts", "_ends_at_ns", "_limit", "_window_ns")

    def __init__(self, limit: int, window_ns: int) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"wanted a limit and a window of at least 1, got {limit!r} and {window_ns!r}")
        self._limit = limit
        self._window_ns = window_ns
        self._counts: dict[str, int] = {}
        self._ends_at_ns = window_ns

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered."""
        return len(self._counts)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        if cost != 1 and never_fits(cost, self._limit):
            return NEVER_NS
        if now_ns >= self._ends_at_ns:
            self.forget_idle(now_ns)
        count = self._counts.get(key, 0) + cost
        if count > self._limit:
            return self._ends_at_ns
        self._counts[key] = count
        return now_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        if never_fits(cost, self._limit):
            return NEVER_NS
        if now_ns >= self._ends_at_ns or self._counts.get(key, 0) + cost <= self._limit:
            return now_ns
        return self._ends_at_ns

    def forget_idle(self, now_ns: int) -> None:
        """Drop the counts of a window that is over; also happens by itself at the first request of the next one."""
        if now_ns >= self._ends_at_ns:
            self._counts = {}
            self._ends_at_ns = (now_ns // self._window_ns + 1) * self._window_ns
