"""Limits by counting in windows: the exact sliding log, the fixed window, and the sliding counter that estimates."""

from __future__ import annotations

from collections import deque
from itertools import repeat

from actors.instants import NEVER_NS
from actors.policies.exact import never_fits
from actors.policies.rate_limit.recent_keys import RecentKeys


class SlidingWindow(RecentKeys[deque[int]]):
    """At most `limit` in any window of `window_ns`, for each key; the window is half-open, ``(now - width, now]``.

    Exact where a :class:`~actors.policies.rate_limit.windows.SlidingCounter` only estimates, for the price of
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
        if never_fits(cost, self._limit):
            return NEVER_NS
        log = self._recent.get(key) or self._older.get(key)
        if log is None:
            return now_ns
        # This many of the oldest entries have to leave the window before the request fits.
        over = len(log) + cost - self._limit
        return now_ns if over <= 0 else max(now_ns, log[over - 1] + self._window_ns)

    def _is_idle(self, log: deque[int], now_ns: int) -> bool:
        return log[-1] + self._window_ns <= now_ns


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
        return len(self._counts)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
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
        if never_fits(cost, self._limit):
            return NEVER_NS
        if now_ns >= self._ends_at_ns or self._counts.get(key, 0) + cost <= self._limit:
            return now_ns
        return self._ends_at_ns

    def forget_idle(self, now_ns: int) -> None:
        """Drop the counts of a window that has ended; also happens by itself at the first request of the next one."""
        if now_ns >= self._ends_at_ns:
            self._counts = {}
            self._ends_at_ns = (now_ns // self._window_ns + 1) * self._window_ns


class SlidingCounter:
    """About `limit` in any window of `window_ns`, for each key, from two counts instead of a log.

    After Cloudflare ("How we built rate limiting capable of scaling to millions of domains", 2017): windows are fixed
    as those of :class:`~actors.policies.rate_limit.windows.FixedWindow`, and the previous one counts by the share
    of it that a window ending now would cover, as if its admissions had been spread evenly. That estimate is rounded
    down, as in the `limits` library. Two numbers a key, whatever the limit; a burst at the end of a window may let a
    few more through than the limit, or delay a few for longer than it should.

    Raises:
        ValueError: `limit` or `window_ns` is less than 1.
    """

    __slots__ = ("_current", "_limit", "_previous", "_starts_at_ns", "_window_ns")

    def __init__(self, limit: int, window_ns: int) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"wanted a limit and a window of at least 1, got {limit!r} and {window_ns!r}")
        self._limit = limit
        self._window_ns = window_ns
        self._previous: dict[str, int] = {}
        self._current: dict[str, int] = {}
        self._starts_at_ns = 0

    @property
    def active_keys(self) -> int:
        return len(self._previous.keys() | self._current.keys())

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        if cost != 1 and never_fits(cost, self._limit):
            return NEVER_NS
        self._advance(now_ns)
        previous, current = self._previous.get(key, 0), self._current.get(key, 0)
        fits_at_ns = self._fits_at(previous, current, cost, now_ns)
        if fits_at_ns == now_ns:
            self._current[key] = current + cost
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        if never_fits(cost, self._limit):
            return NEVER_NS
        self._advance(now_ns)
        return self._fits_at(self._previous.get(key, 0), self._current.get(key, 0), cost, now_ns)

    def forget_idle(self, now_ns: int) -> None:
        self._advance(now_ns)
        # A count of the previous window is rounded down to 0 before that window is out of sight.
        left = self._window_ns - (now_ns - self._starts_at_ns)
        self._previous = {key: count for key, count in self._previous.items() if count * left >= self._window_ns}

    def _advance(self, now_ns: int) -> None:
        passed = (now_ns - self._starts_at_ns) // self._window_ns
        if passed:
            self._previous = self._current if passed == 1 else {}
            self._current = {}
            self._starts_at_ns += passed * self._window_ns

    def _fits_at(self, previous: int, current: int, cost: int, now_ns: int) -> int:
        room = self._limit - cost - current
        if room >= 0:
            return max(now_ns, self._starts_at_ns + self._room_after(previous, room))
        # Not in this window any more; in the next window the current count becomes the previous one.
        return self._starts_at_ns + self._window_ns + self._room_after(current, self._limit - cost)

    def _room_after(self, previous: int, room: int) -> int:
        """Return how far into a window the previous count is first worth at most `room`, rounded down."""
        if previous <= room:
            return 0
        # The first whole e with previous · (window − e) < (room + 1) · window.
        return self._window_ns + 1 + (-(room + 1) * self._window_ns) // previous
