"""The token bucket, kept as one instant a key: the generic cell rate algorithm (GCRA)."""

from __future__ import annotations

from math import gcd

from actors.policies.costs import never_fits
from actors.policies.rate_limit.recent_keys import RecentKeys
from actors.waits import NEVER_NS


class TokenBucket(RecentKeys[int]):
    """`burst` at once and `limit` in each `window_ns` in the long run, evenly spaced, for each key.

    In any span of time at most ``burst + limit / window_ns * span`` are admitted. Remembers for each key the
    theoretical arrival time of ITU-T I.371, the instant at which its bucket would be full again. All whole numbers:
    time is counted in parts of a nanosecond, as many to the nanosecond as it takes to make ``window_ns / limit``
    whole, so the rate is met exactly and nothing drifts. (With a burst of 1 there is no room to save up the part of a
    nanosecond by which a request comes later than its token, so the pace is that of the next whole nanosecond.)

    Raises:
        ValueError: `limit`, `window_ns` or `burst` is less than 1.
    """

    __slots__ = ("_burst", "_interval", "_slack", "_ticks_per_ns")

    def __init__(self, limit: int, window_ns: int, burst: int) -> None:
        if min(limit, window_ns, burst) < 1:
            raise ValueError(
                f"wanted a limit, a window and a burst of at least 1, got {limit!r}, {window_ns!r} and {burst!r}"
            )
        divisor = gcd(limit, window_ns)
        self._ticks_per_ns = limit // divisor
        self._interval = window_ns // divisor
        self._burst = burst
        self._slack = (burst - 1) * self._interval
        super().__init__(horizon_ns=divided_up(burst * self._interval, self._ticks_per_ns))

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        if cost != 1:
            return self._try_acquire(key, now_ns, cost)
        if now_ns >= self._turn_at_ns:
            self._turn(now_ns)
        now = now_ns * self._ticks_per_ns
        full_at = self._recent.get(key)
        if full_at is None:
            full_at = self._older.pop(key, now)
        fits_at = full_at - self._slack
        if fits_at > now:
            self._recent[key] = full_at
            return divided_up(fits_at, self._ticks_per_ns)
        self._recent[key] = (full_at if full_at > now else now) + self._interval
        return now_ns

    def _try_acquire(self, key: str, now_ns: int, cost: int) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self.try_acquire(key, now_ns)
            self._recent[key] += (cost - 1) * self._interval
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        if never_fits(cost, self._burst):
            return NEVER_NS
        full_at = self._recent.get(key) or self._older.get(key) or 0
        return max(now_ns, divided_up(full_at - self._slack + (cost - 1) * self._interval, self._ticks_per_ns))

    def _is_idle(self, full_at: int, now_ns: int) -> bool:
        return full_at <= now_ns * self._ticks_per_ns


def divided_up(dividend: int, divisor: int) -> int:
    """Return a quotient of whole numbers, rounded up."""
    return -(-dividend // divisor)
