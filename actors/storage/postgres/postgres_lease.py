"""The lease of a node on a store in PostgreSQL, as the node itself counts it: over a bit before others may say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Lease:
    """Until when a node has what it has, unless it is kept up; watched in a thread of its own."""

    def __init__(self, node: str, length_s: float, *, when_over: Callable[[], None]) -> None:
        """Be ready to be watched; `when_over` is called in the thread that watches."""
        self._length_s = length_s
        self._when_over = when_over
        self._ends = 0.0
        """When it is over, by the node's own monotonic clock and at the earliest."""
        self._watcher = threading.Thread(target=self._watch, name=f"lease of {node}", daemon=True)
        self._watched = threading.Event()
        """Set when nobody has to watch it any more."""

    def keep_from(self, began: float) -> None:
        """Count it from an instant that was before it was prolonged; and end it a bit before others do."""
        self._ends = began + 0.9 * self._length_s

    def watch(self) -> None:
        """Have it watched from now on, whatever the node's other thread hangs in."""
        self._watcher.start()

    def stop_watching(self) -> None:
        """Let nobody watch it any more."""
        self._watched.set()

    def _watch(self) -> None:
        while not self._watched.wait(max(0.0, self._ends - time.monotonic())):
            if time.monotonic() >= self._ends:
                self._when_over()
                return
