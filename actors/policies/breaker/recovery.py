"""The ramp after closing: a share of the calls that grows until all are let through."""

from __future__ import annotations

from actors.policies.exact_share import exact_share
from actors.settings.breaker import RampConfig
from actors.waits import wait_ns


class Ramp:
    """Lets a share of the calls through that grows in a straight line from `start` to 1 over `over` seconds.

    What Envoy and nginx call slow start: a provider that has just come back meets a part of its load first. Takes no
    draw: every call adds the share of its instant to a credit, and one that brings it to 1 goes through and takes 1
    away (error diffusion, as Bresenham draws a line). So of any calls from the beginning exactly the whole part of the
    sum of their shares goes through, as evenly as can be. All whole numbers: nothing drifts.
    """

    __slots__ = ("_credit", "_over_ns", "_slope", "_start_ns", "_whole", "_zero")

    def __init__(self, config: RampConfig) -> None:
        part, of = exact_share(config.start).as_integer_ratio()
        self._over_ns = max(1, wait_ns(config.over))
        # A share is counted in parts of 1 / (of * over), so that it is whole at every nanosecond.
        self._whole = of * self._over_ns
        self._zero = part * self._over_ns
        self._slope = of - part
        self._start_ns = 0
        self._credit = 0

    def start(self, now_ns: int) -> None:
        """Begin anew at `now_ns`, with no credit."""
        self._start_ns = now_ns
        self._credit = 0

    @property
    def end_ns(self) -> int:
        """The instant from which on all calls are let through."""
        return self._start_ns + self._over_ns

    def ask(self, now_ns: int) -> bool:
        """Count a call, and return whether it goes through. Ask once a call."""
        self._credit += self._share(now_ns)
        if self._credit < self._whole:
            return False
        self._credit -= self._whole
        return True

    def admits_at_ns(self, now_ns: int) -> int:
        """Return the earliest instant from now on at which the next call goes through, if none asks before it."""
        missing = self._whole - self._credit - self._zero
        return max(now_ns, self._start_ns - (-missing // self._slope))

    def _share(self, now_ns: int) -> int:
        return self._zero + self._slope * min(now_ns - self._start_ns, self._over_ns)
