"""A station on a system's clock: it runs by itself, and keeps the promise of each attempt when its work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.errors import ActorSystemError
from actors.faults.conditions import NEVER_NS
from actors.faults.disciplines import CriticalFirst, ProcessorSharing, Station
from actors.faults.queue import Load, QueueObserver
from actors.faults.speed import Speed
from actors.kernel.effects import Cancellable, Promise

if TYPE_CHECKING:
    from actors.kernel.system import ActorSystem
    from actors.settings.channel import Discipline


class _Job(NamedTuple):
    came_ns: int
    promise: Promise
    result: Any
    delivers: bool


class Clocked:
    """Goes by the clock of one system."""

    def __init__(self, what: str) -> None:
        self._what = what
        """What about its provider needs a clock."""
        self._system: ActorSystem | None = None

    def on_wired(self, system: ActorSystem) -> None:
        if self._system not in (None, system):
            raise ActorSystemError("a simulated provider serves one run: give each system its own providers")
        self._system = system

    @property
    def system(self) -> ActorSystem:
        if self._system is None:
            raise ActorSystemError(
                f"a provider with {self._what} needs a clock: make it part of a pipeline, or call its on_wired() with "
                "a system"
            )
        return self._system


class RunningStation(Clocked):
    """The servers of one provider, and their jobs. No attempt leaves when its sender stops waiting."""

    def __init__(self, discipline: Discipline, steps: Sequence[tuple[int, int]], speed: Speed | None = None) -> None:
        """Make an empty station, of any discipline but ``fifo``, which needs no clock."""
        super().__init__(f"the discipline {discipline}")
        self._station: Station[_Job] = (
            CriticalFirst(steps, speed, self._begun)
            if discipline == "critical_first"
            else ProcessorSharing(steps, speed)
        )
        self._observer: QueueObserver | None = None
        self._timer: Cancellable | None = None
        self._timer_ns = NEVER_NS
        self._over: list[_Job] = []
        """Those that have ended at the instant of the timer, which has not fired yet."""
        self._delivered = 0

    def watch(self, observer: QueueObserver) -> None:
        self._observer = observer

    def work(self, now_ns: int, work_ns: int, result: Any, *, critical: bool, delivers: bool) -> Promise:
        """Take in an attempt with so much work, and return the promise that is kept with its result when it is done.

        Raises:
            ActorSystemError: there is no clock that it could go by.
        """
        _ = self.system  # which raises where there is none
        job = _Job(now_ns, Promise(), result, delivers)
        waiting = self._station.queued  # as of now, where there is an observer: with a bound its load was just asked
        self._note(self._station.join(now_ns, work_ns, job, critical=critical))
        if self._observer is not None and self._station.queued > waiting:
            self._observer.waits(now_ns)
        self._plan()
        return job.promise

    def load(self, now_ns: int) -> Load:
        """Return what there is to do at this instant; of those that share servers, all are in service."""
        self._note(self._station.advance(now_ns))
        station = self._station
        return Load(in_service=station.in_service, queued=station.queued, delivered=self._delivered)

    def _begun(self, job: _Job, now_ns: int) -> None:
        if self._observer is not None and now_ns > job.came_ns:
            self._observer.begins(job.came_ns, now_ns)

    def _note(self, ended: list[_Job]) -> None:
        self._over += ended
        for job in ended:
            self._delivered += job.delivers

    def _plan(self) -> None:
        next_ns = self._station.next_ns
        if self._over or next_ns == self._timer_ns:
            return  # the timer fires now, or at that instant
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_ns = next_ns
        if next_ns < NEVER_NS:
            self._timer = self.system.call_at(next_ns, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_ns = None, NEVER_NS
        self._note(self._station.advance(self.system.now_ns))
        over, self._over = self._over, []
        for job in over:
            job.promise.keep(job.result)
        self._plan()
