"""Random draws: one seed a run, and one stream for each name, whatever the others draw (sections 3 and 9)."""

from __future__ import annotations

import hashlib
import random


class Stream:
    """The draws of one name. Its generator is seeded with the first 16 bytes of SHA-256 of ``<seed>/<name>``.

    The names: ``<channel>.backoff`` for the jitter of retries, ``<lane>.breaker`` for open times,
    ``<lane>.concurrency`` and ``<lane>.throttle``, where a lane is ``email``, or ``email/backup`` for another provider;
    with several nodes ``node.<n>.`` stands before each, and ``nodes.routing`` says who gets what. Of the messages of a
    channel, ``<channel>.messages.fault.<n>.duplicate`` and ``….reorder``.
    """

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self.random = random.Random(int.from_bytes(digest[:16], "big"))
        self.draw = self.random.random
        """Returns U[0, 1)."""
