"""A node's lease by its own clock: whether the node may send, and the callbacks for a change.

Other nodes take over by the clock of the database alone. A node counts its lease from the instant before the renewal,
by a clock that goes on while the machine sleeps, and ends it a bit before other nodes may. So whatever stops a node (a
signal, a machine that sleeps or is moved), it knows when it goes on that others may have its notifications.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from actors.instants import NS_PER_S
from actors.storage.clock_steps import clock_that_counts_sleep

SHARE = 0.9
"""The share of its lease that a node uses: clocks do not all go at the same rate."""


_boot_ns = clock_that_counts_sleep()


def clock() -> float:
    """Return the present instant by the clock of leases, in seconds."""
    return _boot_ns() / NS_PER_S


class Lease:
    """Until when a node owns its notifications, unless it renews the lease; watched in a thread of its own."""

    def __init__(
        self, node: str, length_s: float, *, when_over: Callable[[int], None], when_renewed: Callable[[], None]
    ) -> None:
        """The watching thread calls `when_over` each time that the length of a lease has passed without a renewal,
        with how often that was; the renewing one calls `when_renewed` if :meth:`holds` has said no since the last
        renewal."""
        self._length_s = length_s
        self._when_over = when_over
        self._when_renewed = when_renewed
        self._ends = 0.0
        """When it is over, by the node's own clock and at the earliest."""
        self._was_refused = False
        self._lock = threading.Lock()
        """Guards end and refusals: else a caller refused at the instant of the renewal would never hear of it."""
        self._watcher = threading.Thread(target=self._watch, name=f"lease of {node}", daemon=True)
        self._watched = threading.Event()
        """Set when it need not be watched any more."""

    def keep_from(self, began: float) -> bool:
        """Count it from an instant before it was asked for, and end it a bit before others do; tell whether it was
        over."""
        with self._lock:
            was_over = clock() >= self._ends
            self._ends = began + SHARE * self._length_s
            is_news = self._was_refused and clock() < self._ends
            if is_news:
                self._was_refused = False
        if is_news:
            self._when_renewed()
        return was_over

    def holds(self) -> bool:
        """Return whether it is not over; a caller that is refused hears of the renewal. In any thread."""
        if clock() < self._ends:  # which is never set to less, so no lock is needed to say so
            return True
        with self._lock:
            holds = clock() < self._ends
            self._was_refused |= not holds
            return holds

    def watch(self) -> None:
        self._watcher.start()

    def stop_watching(self) -> None:
        self._watched.set()

    def _watch(self) -> None:
        times, pause = 0, self._ends - clock()
        while not self._watched.wait(max(0.0, pause)):
            pause = self._ends - clock()
            if pause > 0:
                times = 0
                continue
            times, pause = times + 1, SHARE * self._length_s
            self._when_over(times)
