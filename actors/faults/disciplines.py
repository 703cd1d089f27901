"""Servers of a provider with a discipline other than first-come-first-served: stations, in queueing theory.

Under a first-come-first-served discipline it is known when an attempt ends as soon as it comes
(:class:`~actors.faults.queue.ServiceQueue`). Here later arrivals may change it, so a station is asked repeatedly: it is
given the arrivals and the time, and returns the attempts that have ended. Plain objects with the time passed in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from actors.faults.conditions import NEVER_NS
from actors.faults.speed import Speed

T = TypeVar("T")


class Station(ABC, Generic[T]):
    """Servers whose number changes with time, and their jobs; no job leaves before its work is done.

    `now_ns` never goes back from one call to the next. A job that ends at an instant has ended before any arrival then.
    """

    def __init__(self, steps: Sequence[tuple[int, int]], speed: Speed | None = None) -> None:
        """Make an empty station; `steps` has the number of servers, 1 or more, from each instant on, the first at 0."""
        self._steps = list(reversed(steps))
        """Those still to come, the next one last."""
        self._servers = self._steps.pop()[1]
        self._number = count().__next__

    @abstractmethod
    def advance(self, now_ns: int) -> list[T]:
        """Let time go on, and return the jobs that have ended since the last call, in order."""

    @abstractmethod
    def join(self, now_ns: int, work_ns: int, who: T, *, critical: bool = False) -> list[T]:
        """Take in a job with so much work for one server, and return what :meth:`advance` does."""

    @property
    @abstractmethod
    def next_ns(self) -> int:
        """When something may change without an arrival; NEVER_NS if nothing will."""

    @property
    @abstractmethod
    def in_service(self) -> int:
        """How many were being served at the time of the last call."""

    @property
    def queued(self) -> int:
        return 0

    @property
    def _step_ns(self) -> int:
        return self._steps[-1][0] if self._steps else NEVER_NS


class CriticalFirst(Station[T]):
    """Critical jobs go before all others; among equals, first come, first served. A job in service is not interrupted.

    A queue with non-preemptive priority (Cobham 1954). Servers that are taken away finish what they are at.
    """

    def __init__(
        self,
        steps: Sequence[tuple[int, int]],
        speed: Speed | None = None,
        when_begun: Callable[[T, int], None] | None = None,
    ) -> None:
        """Make an empty station; `when_begun` is called with each job as its service begins, and the instant."""
        super().__init__(steps, speed)
        self._speed = speed
        self._when_begun = when_begun
        self._serving: list[tuple[int, int, T]] = []
        """A heap: when each ends, and the order in which they were let in."""
        self._critical: deque[tuple[int, T]] = deque()
        """Those that wait, each with its work."""
        self._ordinary: deque[tuple[int, T]] = deque()

    def advance(self, now_ns: int) -> list[T]:
        ended = []
        serving = self._serving
        while (next_ns := min(serving[0][0] if serving else NEVER_NS, self._step_ns)) <= now_ns:
            while serving and serving[0][0] <= next_ns:
                ended.append(heappop(serving)[2])
            if self._step_ns <= next_ns:
                self._servers = self._steps.pop()[1]
            self._let_in(next_ns)
        return ended

    def join(self, now_ns: int, work_ns: int, who: T, *, critical: bool = False) -> list[T]:
        ended = self.advance(now_ns)
        (self._critical if critical else self._ordinary).append((work_ns, who))
        self._let_in(now_ns)
        return ended

    def _let_in(self, now_ns: int) -> None:
        while len(self._serving) < self._servers and (line := self._critical or self._ordinary):
            work_ns, who = line.popleft()
            end_ns = now_ns + work_ns if self._speed is None else self._speed.end_ns(now_ns, work_ns)
            heappush(self._serving, (end_ns, self._number(), who))
            if self._when_begun is not None:
                self._when_begun(who, now_ns)

    @property
    def next_ns(self) -> int:
        if not self._serving:
            return NEVER_NS
        return min(self._serving[0][0], self._step_ns) if self.queued else self._serving[0][0]

    @property
    def in_service(self) -> int:
        return len(self._serving)

    @property
    def queued(self) -> int:
        return len(self._critical) + len(self._ordinary)


GRAIN = 1 << 40
"""Parts of a nanosecond in which shares are counted: with whole numbers, so that the same comes out on any machine."""

SLACK = GRAIN >> 20
"""What rounding may add up to: a grain for each job that shares, at each arrival. So little late is on time."""


class ProcessorSharing(Station[T]):
    """All jobs are served at once: up to c by a server each, and more of them share c servers equally.

    With one server it is processor sharing (Kleinrock 1967); with several, each gets at most one of them, as a thread
    does that cannot use two processors. None waits. When servers are taken away, all go on more slowly at once.

    Any two jobs have been given the same since the later of them came; so it is enough to count what a permanent job
    would have been given, and to know for each at which count its work is done.
    """

    def __init__(self, steps: Sequence[tuple[int, int]], speed: Speed | None = None) -> None:
        super().__init__(steps, speed)
        self._speeds = [] if speed is None else list(reversed(speed.steps))
        """Those still to come, the next one last."""
        self._speed = (1, 1)
        """Of a server, as a fraction of the usual one."""
        self._change(0)
        self._sharing: list[tuple[int, int, T]] = []
        """A heap: at which count each ends, and the order in which they came."""
        self._given = 0
        """The count, in grains of one server's work, at `_at`."""
        self._at = 0
        """An instant, in grains."""

    def advance(self, now_ns: int) -> list[T]:
        ended = []
        sharing = self._sharing
        while sharing:
            end = self._end_of_next()
            end_ns = _whole_ns(end)
            if min(end_ns, self._step_ns) > now_ns:
                break
            if end_ns <= self._step_ns:
                self._given, _, who = heappop(sharing)
                self._at = end
                ended.append(who)
            else:
                step_ns = self._step_ns
                self._go_on(step_ns * GRAIN)
                self._change(step_ns)
        self._go_on(now_ns * GRAIN)
        self._change(now_ns)
        return ended

    @property
    def _step_ns(self) -> int:
        return min(super()._step_ns, self._speeds[-1][0] if self._speeds else NEVER_NS)

    def _change(self, now_ns: int) -> None:
        while super()._step_ns <= now_ns:
            self._servers = self._steps.pop()[1]
        while self._speeds and self._speeds[-1][0] <= now_ns:
            self._speed = self._speeds.pop()[1].as_integer_ratio()

    def join(self, now_ns: int, work_ns: int, who: T, *, critical: bool = False) -> list[T]:
        ended = self.advance(now_ns)
        heappush(self._sharing, (self._given + work_ns * GRAIN, self._number(), who))
        return ended

    def _end_of_next(self) -> int:
        left = self._sharing[0][0] - self._given
        given, of = self._each_is_given()
        return self._at + -(-left * of // given) if given else NEVER_NS * GRAIN

    def _go_on(self, at: int) -> None:
        if at <= self._at:
            return
        given, of = self._each_is_given()
        self._given = self._given + (at - self._at) * given // of if self._sharing else 0
        self._at = at

    def _each_is_given(self) -> tuple[int, int]:
        """Return what each is given of one server's usual work, as a fraction of the time that passes."""
        speed, of = self._speed
        sharing = len(self._sharing)
        return (speed * self._servers, of * sharing) if sharing > self._servers else (speed, of)

    @property
    def next_ns(self) -> int:
        return min(_whole_ns(self._end_of_next()), self._step_ns) if self._sharing else NEVER_NS

    @property
    def in_service(self) -> int:
        return len(self._sharing)


def _whole_ns(at: int) -> int:
    return -((SLACK - at) // GRAIN)
