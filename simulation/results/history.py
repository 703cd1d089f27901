"""The history of a run: every event, as objects while they are few, packed beyond that."""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, overload

import msgspec

from actors.domain.codec import StoredEvent
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NodeTookOver,
    OwnActorMessage,
    RecordedEvent,
    UpstreamRequested,
)

Recorded: TypeAlias = (
    StoredEvent | UpstreamRequested | BreakerTransitioned | ActorFailed | NodeTookOver | OwnActorMessage
)
"""Every kind of event in a history."""

OBJECTS = 250_000
"""So many events are kept as objects, which take 200 bytes each; packed they take 20, and half a microsecond."""

_decode = msgspec.msgpack.Decoder(list[Recorded]).decode


class History(Sequence[RecordedEvent]):
    """Events in order, to be read as a list is."""

    def __init__(self) -> None:
        self._objects: list[RecordedEvent] = []
        """The first."""
        self._packed: list[bytes] = []
        """The chunks after them."""
        self._starts = array("q")
        """The number of the first event of each."""
        self._count = 0
        self._last_read: tuple[int, Sequence[RecordedEvent]] | None = None
        """A chunk by its number, and what is in it: those that are asked for are mostly of one."""

    def add(self, chunk: Sequence[RecordedEvent], written: bytes) -> None:
        """Add a chunk of events, which are also given in writing, as msgpack."""
        if self._packed or len(self._objects) >= OBJECTS:
            self._starts.append(self._count)
            self._packed.append(zlib.compress(written, 1))
        else:
            self._objects.extend(chunk)
        self._count += len(chunk)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RecordedEvent]:
        yield from self._objects
        for packed in self._packed:
            yield from _unpacked(packed)

    @overload
    def __getitem__(self, index: int) -> RecordedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedEvent]: ...
    def __getitem__(self, index: int | slice) -> RecordedEvent | list[RecordedEvent]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"wanted one of {self._count} events, got number {index}")
        index %= self._count
        if index < len(self._objects):
            return self._objects[index]
        number = bisect_right(self._starts, index) - 1
        if self._last_read is None or self._last_read[0] != number:
            self._last_read = number, _unpacked(self._packed[number])
        return self._last_read[1][index - self._starts[number]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (History, list)):
            return NotImplemented
        return len(self) == len(other) and all(own == each for own, each in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"History({self._count:,} events)"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last_read": None}


def _unpacked(packed: bytes) -> Sequence[RecordedEvent]:
    return _decode(zlib.decompress(packed))
