"""The timers of a live system, and the steps of the wall clock that it runs by."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import Any

from actors.instants import NS_PER_S

HEAP_SIZE_MIN = 1_000
"""With fewer timers, cancelled ones are not searched for."""

CLOCK_STEP_NS = NS_PER_S
"""By how much the wall clock has to part from the monotonic one to have been set: reading both takes its time, too."""


class LiveTimer:
    """A message on its way to an actor at an instant; without an actor, a function that is called then."""

    __slots__ = ("actor", "message")

    def __init__(self, actor: Any, message: Any) -> None:
        self.actor = actor
        self.message = message

    def cancel(self) -> None:
        self.actor = self.message = None


class LiveTimers:
    """The timers by instant; those of one instant by place, and then in the order in which they were set."""

    __slots__ = ("_heap", "_sequence", "_size_max")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, LiveTimer]] = []
        self._size_max = HEAP_SIZE_MIN
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, instant_ns: int, place: int, actor: Any, message: Any) -> LiveTimer:
        timer = LiveTimer(actor, message)
        heapq.heappush(self._heap, (instant_ns, place, next(self._sequence), timer))
        if len(self._heap) > self._size_max:
            # Cancelled ones go before they are due, as often as keeps the heap at most half full of them.
            self._heap = [entry for entry in self._heap if entry[3].message is not None]
            heapq.heapify(self._heap)
            self._size_max = max(HEAP_SIZE_MIN, 2 * len(self._heap))
        return timer

    @property
    def next_ns(self) -> int | None:
        """When the next timer is due that is not cancelled; None: there is none."""
        heap = self._heap
        while heap and heap[0][3].message is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self) -> LiveTimer:
        return heapq.heappop(self._heap)[3]


class WallClock:
    """The wall clock beside the monotonic one; how far it is ahead stays the same until it is set."""

    def __init__(self) -> None:
        self._ahead_ns = self._read()

    @staticmethod
    def _read() -> int:
        return time.time_ns() - time.monotonic_ns()

    def step_ns(self) -> int:
        """Return by how much the wall clock has been set since the last step; 0 for less than `CLOCK_STEP_NS`."""
        step_ns = self._read() - self._ahead_ns
        if abs(step_ns) < CLOCK_STEP_NS:
            return 0
        self._ahead_ns += step_ns
        return step_ns
