"""Random draws: one seed a run, and one stream for each name, whatever the others draw.

"Drawn from the system's seeded stream" (section 3); "same seed, same result, on any machine, in any process, under any
PYTHONHASHSEED" (section 9). The names: ``<channel>.backoff`` for the jitter of retries, ``<lane>.breaker`` for open
times, ``<lane>.concurrency`` and ``<lane>.throttle``, where a lane is ``email``, or ``email/backup`` for a further
provider.
"""

from __future__ import annotations

import hashlib
import random


class Stream:
    """The draws of one name. Its generator is seeded with the first 16 bytes of SHA-256 of ``<seed>/<name>``."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self._generator = random.Random(int.from_bytes(digest[:16], "big"))

    def draw(self) -> float:
        """Return U[0, 1)."""
        return self._generator.random()

    def between(self, low: float, high: float) -> float:
        """Return U[low, high)."""
        return low + (high - low) * self.draw()
