"""Two counts over the last while, in buckets."""

from __future__ import annotations

from collections import deque

_BUCKETS = 60


class RollingCounts:
    """Requests and accepts of about the last `window_ns`: of the current sixtieth of it and the 59 before."""

    __slots__ = ("_bucket_ns", "_buckets", "accepts", "requests")

    def __init__(self, window_ns: int) -> None:
        self._bucket_ns = max(1, window_ns // _BUCKETS)
        self._buckets: deque[list[int]] = deque()
        """Each with its number, its requests and its accepts."""
        self.requests = 0
        self.accepts = 0

    def add(self, requests: int, accepts: int, now_ns: int) -> None:
        """Count."""
        self.forget(now_ns)
        number = now_ns // self._bucket_ns
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += requests
        bucket[2] += accepts
        self.requests += requests
        self.accepts += accepts

    def forget(self, now_ns: int) -> None:
        """Drop what is too long ago."""
        oldest = now_ns // self._bucket_ns - _BUCKETS
        while self._buckets and self._buckets[0][0] <= oldest:
            _, requests, accepts = self._buckets.popleft()
            self.requests -= requests
            self.accepts -= accepts
