"""Limits by a pace: the token bucket, kept as one instant a key (GCRA), and the leaky bucket as a queue."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, gcd

from actors.instants import NEVER_NS
from actors.policies.exact import never_fits
from actors.policies.rate_limit.recent_keys import RecentKeys


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

    def go_on_from(self, other: TokenBucket, key: str, now_ns: int) -> None:
        """Go on with a key where another bucket has stopped: with as many tokens as that has, or as fit in."""
        full_at = other._recent.get(key) or other._older.get(key) or 0
        missing = max(Fraction(0), Fraction(full_at - now_ns * other._ticks_per_ns, other._interval))
        missing = max(Fraction(0), self._burst - (other._burst - missing))
        self._recent[key] = now_ns * self._ticks_per_ns + ceil(missing * self._interval)

    def _try_acquire(self, key: str, now_ns: int, cost: int) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self.try_acquire(key, now_ns)
            self._recent[key] += (cost - 1) * self._interval
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        if cost != 1 and never_fits(cost, self._burst):
            return NEVER_NS
        full_at = self._recent.get(key) or self._older.get(key) or 0
        return max(now_ns, divided_up(full_at - self._slack + (cost - 1) * self._interval, self._ticks_per_ns))

    def _is_idle(self, full_at: int, now_ns: int) -> bool:
        return full_at <= now_ns * self._ticks_per_ns


def divided_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


class LeakyBucket:
    """One in each ``window_ns / limit``, for each key, and never two at once.

    After Jonathan Turner, "New directions in communications", 1986, in the form of a queue that is emptied at a
    constant rate (the form of a meter, which refuses instead, is the token bucket). Here the queue is either the
    caller's, who asks again at the instant that :meth:`try_acquire` names, or it is kept as reservations by
    :meth:`reserve`. A request of cost n goes in its turn and keeps the next one waiting n intervals; none is too large.

    With `aligned` the departures are bound to the multiples of the interval since the start of the run, one in each,
    as those of failsafe-go's smooth limiter: after a pause two may then be closer than an interval.

    Raises:
        ValueError: `limit` or `window_ns` is less than 1.
    """

    __slots__ = ("_aligned", "_free_at", "_interval", "_many", "_ticks_per_ns", "_went_at_ns")

    def __init__(self, limit: int, window_ns: int, *, aligned: bool = False) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"wanted a limit and a window of at least 1, got {limit!r} and {window_ns!r}")
        divisor = gcd(limit, window_ns)
        # Parts of a nanosecond, as in a token bucket.
        self._ticks_per_ns = limit // divisor
        self._interval = window_ns // divisor
        self._aligned = aligned
        self._free_at: dict[str, int] = {}
        self._went_at_ns: dict[str, int] = {}
        """When the latest went, where departures are aligned: somewhen in its interval."""
        self._many = _FEW

    @property
    def active_keys(self) -> int:
        return len(self._free_at)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self._go(key, now_ns, cost)
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        never_fits(cost, cost)
        return max(now_ns, divided_up(self._free_at.get(key, 0), self._ticks_per_ns))

    def go_on_from(self, other: LeakyBucket, key: str, now_ns: int) -> None:
        """Go on with a key where another bucket has stopped: by the interval of this one after the latest, and not in
        the interval of this one in which that went."""
        if (free_at := other._free_at.get(key)) is not None:
            latest = ceil(Fraction(free_at - other._interval, other._ticks_per_ns) * self._ticks_per_ns)
            if self._aligned:
                self._went_at_ns[key] = other._went_at_ns[key]
                latest = max(latest, self._begin_of(self._went_at_ns[key]))
            self._free_at[key] = latest + self._interval

    def reserve(self, key: str, now_ns: int, max_wait_ns: int | None = None) -> int | None:
        """Take the next place in the queue and return the instant at which its turn comes, `now_ns` if at once.

        None, and nothing is taken, if that would be a wait of more than `max_wait_ns` nanoseconds.
        """
        goes_at_ns = self.fits_at(key, now_ns)
        if max_wait_ns is not None and goes_at_ns - now_ns > max_wait_ns:
            return None
        self._go(key, now_ns, 1)
        return goes_at_ns

    def forget_idle(self, now_ns: int) -> None:
        now = now_ns * self._ticks_per_ns
        self._free_at = {key: free_at for key, free_at in self._free_at.items() if free_at > now}
        self._went_at_ns = {key: went_ns for key, went_ns in self._went_at_ns.items() if key in self._free_at}

    def _go(self, key: str, now_ns: int, cost: int) -> None:
        begins = self._begin_of(now_ns) if self._aligned else now_ns * self._ticks_per_ns
        self._free_at[key] = max(self._free_at.get(key, 0), begins) + cost * self._interval
        if self._aligned:
            self._went_at_ns[key] = now_ns
        if len(self._free_at) > self._many:
            self.forget_idle(now_ns)
            self._many = max(_FEW, 2 * len(self._free_at))

    def _begin_of(self, at_ns: int) -> int:
        at = at_ns * self._ticks_per_ns
        return at - at % self._interval


_FEW = 64
"""Up to this many keys are not worth a look for idle ones."""
