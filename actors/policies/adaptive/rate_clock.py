"""The rate at which something happens, measured."""

from __future__ import annotations

from actors.instants import NS_PER_S

_BUCKET_NS = NS_PER_S // 2
_SMOOTHING = 0.8


class RateClock:
    """Counts in buckets of half a second and smooths what they show, 80% of the latest and 20% of what was before.

    After the rate clocker of the AWS SDKs' adaptive mode. A bucket shows only once something happens after its end, and
    what happens then is counted in it.
    """

    __slots__ = ("_bucket_ns", "_count", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        """Events a second; 0 in the first half second."""
        self._bucket_ns = 0
        self._count = 0

    def record(self, now_ns: int) -> float:
        """Count one and return the rate."""
        self._count += 1
        bucket_ns = now_ns - now_ns % _BUCKET_NS
        if bucket_ns > self._bucket_ns:
            latest = self._count * NS_PER_S / (bucket_ns - self._bucket_ns)
            self.rate = _SMOOTHING * latest + (1 - _SMOOTHING) * self.rate
            self._bucket_ns, self._count = bucket_ns, 0
        return self.rate
