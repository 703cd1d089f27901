"""A provider that works on so many attempts at once while the others queue, first come first served.

The fate of an attempt is fixed when it starts, and so is everything that may change the number of servers and their
speed: the windows of the faults are known beforehand. So nothing has to be simulated: an attempt that joins the queue
learns at once when its service starts and ends (the recursion of Kiefer and Wolfowitz 1955, over a number of servers
that changes with time).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Protocol

import msgspec

from actors.faults.speed import Speed


class ServiceQueue:
    """The servers of one provider, and the attempts that wait for them.

    A server that is free at an instant serves at that very instant. Servers that are added are free at once; those that
    are removed finish what they are at. No attempt leaves the queue: the provider does not know which senders have
    stopped waiting for the answer, so late work costs as much as any other.
    """

    __slots__ = ("_ends_ns", "_latest_start_ns", "_servers", "_speed", "_steps")

    def __init__(self, steps: Sequence[tuple[int, int]], speed: Speed | None = None) -> None:
        """Make an empty queue; `steps` has the number of servers, 1 or more, from each instant on, the first at 0."""
        self._speed = speed
        self._steps = list(reversed(steps))
        """Those still to come, the next one last."""
        self._servers = self._steps.pop()[1]
        self._ends_ns: list[int] = []
        """A heap: when each service ends that is under way at `_latest_start_ns`."""
        self._latest_start_ns = 0

    def join(self, now_ns: int, service_ns: int) -> tuple[int, int]:
        """Take an attempt into the queue and return when its service starts, and when it ends.

        That is `service_ns` after its start at the usual speed. `now_ns` never goes back from one call to the next.
        """
        ends_ns, steps = self._ends_ns, self._steps
        start_ns = max(now_ns, self._latest_start_ns)  # none overtakes
        while True:
            while steps and steps[-1][0] <= start_ns:
                self._servers = steps.pop()[1]
            while ends_ns and ends_ns[0] <= start_ns:
                heappop(ends_ns)
            if len(ends_ns) < self._servers:
                break
            start_ns = min(ends_ns[0], steps[-1][0]) if steps else ends_ns[0]
        end_ns = start_ns + service_ns if self._speed is None else self._speed.end_ns(start_ns, service_ns)
        heappush(ends_ns, end_ns)
        self._latest_start_ns = start_ns
        return start_ns, end_ns


class Locks:
    """The keys that are worked on, and until when: one attempt at a time for each."""

    __slots__ = ("_ends_ns", "_room")

    def __init__(self) -> None:
        self._ends_ns: dict[str, int] = {}
        self._room = 1_000

    def free_at(self, key: str, now_ns: int) -> int:
        """Return the instant from which a key is not worked on any more: `now_ns`, or a later one."""
        return max(now_ns, self._ends_ns.get(key, now_ns))

    def hold(self, key: str, now_ns: int, end_ns: int) -> None:
        """Work on a key until an instant."""
        self._ends_ns[key] = end_ns
        if len(self._ends_ns) > self._room:
            self._ends_ns = {each: until_ns for each, until_ns in self._ends_ns.items() if until_ns > now_ns}
            self._room = max(1_000, 2 * len(self._ends_ns))


class Load(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The work of a provider at one instant, as a failure rule sees it: without the attempt that it is asked about.

    An attempt whose service ends at this instant has ended. What was refused at the gate, met an outage or hangs is
    not in it.
    """

    in_service: int
    """Attempts that it works on."""

    queued: int
    """Attempts that wait until it does; 0 without a capacity."""

    delivered: int
    """Notifications that it has delivered so far, those whose reply was lost included."""

    @property
    def under_way(self) -> int:
        return self.in_service + self.queued


class QueueObserver(Protocol):
    """Learns who waits at one provider. `now_ns` never goes back from one call to the next."""

    def turned_away(self, now_ns: int) -> None:
        """Take note of an attempt that comes when as many wait as may."""

    def waits(self, now_ns: int) -> None:
        """Take note of an attempt that begins to wait."""

    def begins(self, came_ns: int, begins_ns: int) -> None:
        """Take note of when the work begins on an attempt that waits since `came_ns`: now, or later where that is
        known beforehand. In the order of these instants."""


class LoadMeter:
    """Measures the `Load` of a provider. `now_ns` never goes back from one call to the next."""

    __slots__ = ("_delivered", "_starts_ns", "_under_way")

    def __init__(self) -> None:
        self._starts_ns: deque[int] = deque()
        self._under_way: list[tuple[int, bool]] = []
        """A heap of the attempts that wait or are served: when each ends, and whether it is delivered then."""
        self._delivered = 0

    def add(self, start_ns: int, end_ns: int, *, delivers: bool) -> None:
        """Record an attempt that is served in [start, end); each starts no earlier than the one before."""
        self._starts_ns.append(start_ns)
        heappush(self._under_way, (end_ns, delivers))

    def load(self, now_ns: int) -> Load:
        starts_ns, under_way = self._starts_ns, self._under_way
        while starts_ns and starts_ns[0] <= now_ns:
            starts_ns.popleft()
        while under_way and under_way[0][0] <= now_ns:
            self._delivered += heappop(under_way)[1]
        queued = len(starts_ns)
        return Load(in_service=len(under_way) - queued, queued=queued, delivered=self._delivered)
