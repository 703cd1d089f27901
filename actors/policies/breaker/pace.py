"""The pace at which those resume who waited for an open circuit breaker."""

from __future__ import annotations

import math

from actors.instants import ns
from actors.settings.quantities import Rate


class Pace:
    """A release rate that starts at `initial` and doubles with every `doubling` seconds.

    So a provider that has just come back does not meet everybody at once, and yet the line empties in the end whatever
    the rate at which others join it. With r the initial rate and d the doubling time, r·d/ln 2·(2^(t/d) − 1) have been
    released by t; solved for t this is the instant of the k-th release.
    """

    def __init__(self, initial: Rate, doubling: float, start_ns: int) -> None:
        self._rate = initial.per_second
        self._doubling = doubling
        self._start_ns = start_ns
        self._released = 0
        self.next_ns = start_ns
        """The earliest instant at which the next one may go; the first may go at once."""

    def release(self, now_ns: int) -> None:
        """Count one that goes now. The pace stood still for as long as it is late: there is nothing to catch up on."""
        self._start_ns += max(0, now_ns - self.next_ns)
        self._released += 1
        k = self._released
        elapsed = self._doubling * math.log2(1.0 + k * math.log(2.0) / (self._rate * self._doubling))
        self.next_ns = max(now_ns + 1, self._start_ns + ns(elapsed))
