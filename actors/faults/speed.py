"""How fast a provider works, as its faults have it over time, and so how long its work takes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction

from actors.faults.conditions import NEVER_NS


class Speed:
    """A speed that changes at instants that are known beforehand, as a multiple of the usual one; 0 freezes."""

    def __init__(self, steps: Sequence[tuple[int, Fraction]]) -> None:
        self.steps = tuple(steps)
        self._starts_ns = [start_ns for start_ns, _ in steps]

    def end_ns(self, start_ns: int, work_ns: int) -> int:
        """Return the first instant at which work that begins at `start_ns` is done; NEVER_NS if it never is.

        Work is counted in the nanoseconds that it takes at the usual speed. Nothing ends while all is frozen, not even
        what takes no time.
        """
        left = Fraction(work_ns)
        number = bisect_right(self._starts_ns, start_ns) - 1
        for (_, speed), until_ns in zip(self.steps[number:], [*self._starts_ns[number + 1 :], NEVER_NS], strict=True):
            done = (until_ns - start_ns) * speed
            if speed and left <= done:
                return start_ns + -(-left // speed)
            left, start_ns = left - done, until_ns
        return NEVER_NS
