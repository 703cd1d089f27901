"""How fast something goes on, and how long it will take."""

from __future__ import annotations

from collections import deque

WINDOW_S = 5.0
"""How far back a pace looks."""


class Pace:
    """How fast a count rises by the wall clock, over its latest seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def see(self, now_s: float, count: float) -> None:
        """Take in the count at an instant."""
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Its rise a second; None where not enough has been seen."""
        if len(self._seen) < 2:
            return None
        (from_s, low), (to_s, high) = self._seen[0], self._seen[-1]
        return (high - low) / (to_s - from_s) if to_s > from_s else None


def time_left(elapsed_s: float, share: float) -> float | None:
    """Return the seconds that the rest takes, if the pace stays the same; None at the beginning."""
    return elapsed_s * (1 - share) / share if share > 0 else None
