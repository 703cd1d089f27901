"""The attempts that wait in a stage: first come, first served, and removed when they expire."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from actors.domain.attempts import Attempt


class Waiting:
    """How many attempts wait for one thing, and the most that did at an instant."""

    __slots__ = ("_whole", "now", "peak")

    def __init__(self, whole: Waiting | None = None) -> None:
        """Begin with none.

        Args:
            whole: counts these too, beside those of others.
        """
        self.now = 0
        self.peak = 0
        self._whole = whole

    def change(self, by: int) -> None:
        """Count so many more, or fewer."""
        self.now += by
        if self.now > self.peak:
            self.peak = self.now
        if self._whole is not None:
            self._whole.change(by)

    def reset(self) -> None:
        """Count none any more: what a stage had that has crashed, or has dropped them, is sent again."""
        self.change(-self.now)


class WaitingCounts:
    """How many attempts wait at the stages, by what for."""

    def __init__(self, whole: WaitingCounts | None = None) -> None:
        """Begin with none.

        Args:
            whole: counts these too, beside those of other channels.
        """
        self.limit: Waiting = Waiting(None if whole is None else whole.limit)
        """For a user's limit."""
        self.quota: Waiting = Waiting(None if whole is None else whole.quota)
        """For what the account or the adaptive rate allows."""
        self.slots: Waiting = Waiting(None if whole is None else whole.slots)
        """For other attempts to end."""
        self.breaker: Waiting = Waiting(None if whole is None else whole.breaker)
        """For a breaker to close, and to let all through again."""


class WaitingLine:
    """Attempts in the order in which they came.

    Keeps the expiries in a heap beside the line, so that its owner needs one timer for all of them, however many.
    """

    def __init__(self, waiting: Waiting) -> None:
        """Begin an empty line.

        Args:
            waiting: counts those that wait for the same.
        """
        self._waiting = waiting
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
        self._waiting.change(1)
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
        self._waiting.change(-1)
        return self.attempts.popitem(last=False)[1]

    def now_waits_for(self, waiting: Waiting) -> None:
        """Count those that wait among others from now on."""
        if waiting is not self._waiting:
            self._waiting.change(-len(self.attempts))
            waiting.change(len(self.attempts))
            self._waiting = waiting

    def expired(self, now_ns: int) -> Iterator[Attempt]:
        """Take out those that have expired."""
        while self._expiries and self._expiries[0][0] < now_ns:
            attempt = self.attempts.pop(heapq.heappop(self._expiries)[1], None)
            if attempt is not None:
                self._waiting.change(-1)
                yield attempt

    @property
    def next_expiry_ns(self) -> int | None:
        """The first instant at which a waiting attempt has expired; None when none ever expires."""
        while self._expiries and self._expiries[0][1] not in self.attempts:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] + 1 if self._expiries else None
