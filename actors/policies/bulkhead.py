"""A bulkhead: at most so many under way at once; others wait in line, first come, first served.

It has no clock: whoever does not want to wait any longer leaves the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

W = TypeVar("W")


class Bulkhead(Generic[W]):
    """The slots, and the line of those who wait for one."""

    __slots__ = ("_line", "in_flight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        """How many slots are taken."""
        self._line: dict[W, None] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def try_acquire(self) -> bool:
        """Take a slot, if one is free."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    def join(self, waiter: W) -> None:
        """Wait at the end of the line."""
        self._line[waiter] = None

    def leave(self, waiter: W) -> bool:
        """Wait no more; tell whether it still did: else it has been given a slot."""
        return self._line.pop(waiter, self) is None

    def release(self, wake: Callable[[W], bool]) -> None:
        """Give a slot back: the first in line that `wake` reaches gets it."""
        while self._line:
            waiter = next(iter(self._line))
            del self._line[waiter]
            if wake(waiter):
                return
        self.in_flight -= 1
