"""What the other nodes say of a breaker that they share: which of them, until when, and how many it takes.

A node says that its breaker is open from when its own calls have opened it until its open time is over, and passes on
nothing that it has only been told: else two nodes could keep each other's open for good. Each vote comes with its end,
so that none has to be taken back by a node that may be gone by then.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal


class Sharing:
    """How the breakers of a provider are shared.

    Args:
        shared: whether any other node opens them, or so many as are more than half of all.
        nodes: how many live, this one included.
    """

    __slots__ = ("_is_quorum", "_nodes")

    def __init__(self, shared: Literal["any", "quorum"], nodes: int = 1) -> None:
        self._is_quorum = shared == "quorum"
        self._nodes = nodes

    def count(self, nodes: int) -> None:
        """Take in how many live now, this one included."""
        self._nodes = nodes

    @property
    def needed(self) -> int:
        """How many other nodes have to say that one is open to open it here."""
        return self._nodes // 2 + 1 if self._is_quorum else 1


class Votes:
    """The votes of other nodes on one breaker, by node."""

    __slots__ = ("_sharing", "_until_ns")

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._until_ns: dict[int, int] = {}
        """By node, when its vote lapses."""

    def hear(self, node: int, until_ns: int | None) -> None:
        """Note that a node says that it is open until an instant; None: that it is not."""
        if until_ns is None:
            self._until_ns.pop(node, None)
        else:
            self._until_ns[node] = until_ns

    def keep(self, nodes: Collection[int]) -> None:
        """Forget what all others than these nodes say."""
        self._until_ns = {node: until_ns for node, until_ns in self._until_ns.items() if node in nodes}

    def clear(self) -> None:
        self._until_ns.clear()

    def open_until_ns(self, now_ns: int) -> int | None:
        """Return until when as many say so as it takes, as far as is known now; None: they do not."""
        standing = sorted((until_ns for until_ns in self._until_ns.values() if until_ns > now_ns), reverse=True)
        needed = self._sharing.needed
        return standing[needed - 1] if len(standing) >= needed else None
