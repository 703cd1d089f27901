"""The exact sliding window: a log of what was admitted."""

from __future__ import annotations

from collections import deque
from itertools import repeat

from actors.policies.costs import never_fits
from actors.policies.rate_limit.recent_keys import RecentKeys
from actors.waits import NEVER_NS


class SlidingWindow(RecentKeys[deque[int]]):
    """At most `limit` in any window of `window_ns`, for each key; the window is half-open, ``(now - width, now]``.

    Exact where a :class:`~actors.policies.rate_limit.sliding_counter.SlidingCounter` only estimates, for the price of
    `limit` instants a key. When that is too much (a limit of many thousands), take a
    :class:`~actors.policies.rate_limit.buckets.TokenBucket`.

    Raises:
        ValueError: `limit` or `window_ns` is less than 1.
    """

    __slots__ = ("_limit", "_window_ns")

    def __init__(self, limit: int, window_ns: int) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"wanted a limit and a window of at least 1, got {limit!r} and {window_ns!r}")
        super().__init__(horizon_ns=window_ns)
        self._limit = limit
        self._window_ns = window_ns

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        if cost != 1:
            return self._try_acquire(key, now_ns, cost)
        if now_ns >= self._turn_at_ns:
            self._turn(now_ns)
        log = self._recent.get(key)
        if log is None:
            log = self._recent[key] = self._older.pop(key) if key in self._older else deque()
        outside_ns = now_ns - self._window_ns
        while log and log[0] <= outside_ns:
            log.popleft()
        if len(log) >= self._limit:
            return log[0] + self._window_ns
        log.append(now_ns)
        return now_ns

    def _try_acquire(self, key: str, now_ns: int, cost: int) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self.try_acquire(key, now_ns)
            self._recent[key].extend(repeat(now_ns, cost - 1))
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        if never_fits(cost, self._limit):
            return NEVER_NS
        log = self._recent.get(key) or self._older.get(key)
        if log is None:
            return now_ns
        # So many of the oldest have to be out of the window for this one to fit.
        over = len(log) + cost - self._limit
        return now_ns if over <= 0 else max(now_ns, log[over - 1] + self._window_ns)

    def _is_idle(self, log: deque[int], now_ns: int) -> bool:
        return log[-1] + self._window_ns <= now_ns
