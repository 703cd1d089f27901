"""The sliding counter: the count of this window, and of the one before as far as it still reaches in."""

from __future__ import annotations

from actors.policies.costs import never_fits
from actors.waits import NEVER_NS


class SlidingCounter:
    """About `limit` in any window of `window_ns`, for each key, from two counts instead of a log.

    After Cloudflare ("How we built rate limiting capable of scaling to millions of domains", 2017): windows are fixed
    as those of :class:`~actors.policies.rate_limit.fixed_window.FixedWindow`, and the previous one counts by the share
    of it that a window ending now would cover, as if its admissions had been spread evenly. That estimate is rounded
    down, as in the `limits` library. Two numbers a key, whatever the limit; a burst at the end of a window may let a
    few more through than the limit, or hold a few back for longer than it should.

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
        """Keys for which something is remembered."""
        return len(self._previous.keys() | self._current.keys())

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        if cost != 1 and never_fits(cost, self._limit):
            return NEVER_NS
        self._advance(now_ns)
        previous, current = self._previous.get(key, 0), self._current.get(key, 0)
        fits_at_ns = self._fits_at(previous, current, cost, now_ns)
        if fits_at_ns == now_ns:
            self._current[key] = current + cost
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        if never_fits(cost, self._limit):
            return NEVER_NS
        self._advance(now_ns)
        return self._fits_at(self._previous.get(key, 0), self._current.get(key, 0), cost, now_ns)

    def forget_idle(self, now_ns: int) -> None:
        """Drop every key whose counts make no difference any more."""
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
        # Not in this window any more; in the next one what is now the current count is the previous one.
        return self._starts_at_ns + self._window_ns + self._room_after(current, self._limit - cost)

    def _room_after(self, previous: int, room: int) -> int:
        """Return how far into a window the previous count is first worth at most `room`, rounded down."""
        if previous <= room:
            return 0
        # The first whole e with previous · (window − e) < (room + 1) · window.
        return self._window_ns + 1 + (-(room + 1) * self._window_ns) // previous
