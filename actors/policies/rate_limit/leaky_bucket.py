"""The leaky bucket as a queue: a shaper that lets go one by one, evenly spaced."""

from __future__ import annotations

from math import gcd

from actors.policies.costs import never_fits
from actors.policies.rate_limit.buckets import divided_up


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

    __slots__ = ("_aligned", "_free_at", "_interval", "_many", "_ticks_per_ns")

    def __init__(self, limit: int, window_ns: int, *, aligned: bool = False) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"wanted a limit and a window of at least 1, got {limit!r} and {window_ns!r}")
        divisor = gcd(limit, window_ns)
        # Parts of a nanosecond, as in a token bucket.
        self._ticks_per_ns = limit // divisor
        self._interval = window_ns // divisor
        self._aligned = aligned
        self._free_at: dict[str, int] = {}
        self._many = _FEW

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered."""
        return len(self._free_at)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self._go(key, now_ns, cost)
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        never_fits(cost, cost)
        return max(now_ns, divided_up(self._free_at.get(key, 0), self._ticks_per_ns))

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
        """Drop every key whose state makes no difference any more; also happens by itself as keys become many."""
        now = now_ns * self._ticks_per_ns
        self._free_at = {key: free_at for key, free_at in self._free_at.items() if free_at > now}

    def _go(self, key: str, now_ns: int, cost: int) -> None:
        now = now_ns * self._ticks_per_ns
        turn = max(self._free_at.get(key, 0), now - now % self._interval if self._aligned else now)
        self._free_at[key] = turn + cost * self._interval
        if len(self._free_at) > self._many:
            self.forget_idle(now_ns)
            self._many = max(_FEW, 2 * len(self._free_at))


_FEW = 64
"""So many keys are not worth a look at each."""
