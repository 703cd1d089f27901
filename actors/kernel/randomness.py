"""Named random streams: one seed a run, one independent stream a component."""

from __future__ import annotations

import hashlib
import itertools
import random
import uuid
from collections.abc import Iterator


class RandomStreams:
    """Hands out a random stream for each name, derived from the run's seed and that name alone.

    So a change in one place (another fault, one more channel) leaves the draws everywhere else as they were, and
    two settings can be compared on the same seeds. The derivation is SHA-256, not ``hash()``, so it is the same in
    every process.
    """

    def __init__(self, seed: int, within: str = "") -> None:
        """Derive the streams of a run with this seed; `within` begins all their names."""
        self.seed = seed
        self._within = within

    def stream(self, name: str) -> random.Random:
        """Return a fresh generator for `name`; the same name gives the same draws again."""
        digest = hashlib.sha256(f"{self.seed}/{self._within}{name}".encode()).digest()
        return random.Random(int.from_bytes(digest[:16]))

    def urns(self, name: str) -> Iterator[str]:
        """Return an endless iterator of URNs: one drawn UUID, in which a counter replaces the last part."""
        prefix = uuid.UUID(int=self.stream(name).getrandbits(128), version=4).urn[:-12]
        return (f"{prefix}{number:012x}" for number in itertools.count(1))

    def within(self, place: str) -> RandomStreams:
        """Return the streams of a part of the run, independent of the streams of the whole and of other parts."""
        return RandomStreams(self.seed, f"{self._within}{place}.")
