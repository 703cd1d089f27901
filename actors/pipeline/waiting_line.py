"""The attempts that wait in a stage: first come, first served, and removed when they expire."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from actors.domain.attempts import Attempt


class WaitingLine:
    """Attempts in the order in which they came.

    Keeps the expiries in a heap beside the line, so that its owner needs one timer for all of them, however many.
    """

    def __init__(self) -> None:
        self.attempts: OrderedDict[int, Attempt] = OrderedDict()
        """By place; to look whether there are any, which is done for every attempt."""
        self._next_place = 0
        self._reported = 0
        self._expiries: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.attempts)

    def append(self, attempt: Attempt) -> None:
        """Let an attempt wait behind all others."""
        place = self._next_place
        self._next_place += 1
        self.attempts[place] = attempt
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._expiries, (attempt.expires_at_ns, place))

    @property
    def first(self) -> Attempt:
        """The one that has waited longest; there has to be one."""
        return next(iter(self.attempts.values()))

    @property
    def has_unreported(self) -> bool:
        """Whether any have come since :meth:`unreported` was called last."""
        return self._reported != self._next_place

    def unreported(self) -> list[Attempt]:
        """Return those that have come since this was called last, in order."""
        unreported = []
        for place in reversed(self.attempts):
            if place < self._reported:
                break
            unreported.append(self.attempts[place])
        self._reported = self._next_place
        return unreported[::-1]

    def pop(self) -> Attempt:
        """Take the one that has waited longest."""
        return self.attempts.popitem(last=False)[1]

    def expired(self, now_ns: int) -> Iterator[Attempt]:
        """Take out those that have expired."""
        while self._expiries and self._expiries[0][0] < now_ns:
            attempt = self.attempts.pop(heapq.heappop(self._expiries)[1], None)
            if attempt is not None:
                yield attempt

    @property
    def next_expiry_ns(self) -> int | None:
        """The first instant at which a waiting attempt has expired; None when none ever expires."""
        while self._expiries and self._expiries[0][1] not in self.attempts:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] + 1 if self._expiries else None
