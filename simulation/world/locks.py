"""`threading.Lock`, and all that is built on it, in a world: a thread that has to wait for it waits in virtual time."""

from __future__ import annotations

import _thread
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

import trio

from simulation.world.clock import virtual_monotonic
from simulation.world.patching import Patches
from simulation.world.threads import Job, Threads, here, is_outside

_real_lock: Final = _thread.allocate_lock


class _Lock:
    """A lock of the operating system, with a line of those in the world that wait for it."""

    __slots__ = ("__weakref__", "_lot", "_real", "holder")
    _threads: ClassVar[Threads]

    def __init__(self) -> None:
        self._real = _real_lock()
        self._lot: trio.lowlevel.ParkingLot | None = None
        self.holder: Job | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        job = here.job
        if self._real.acquire(blocking=False):
            self.holder = job
            return True
        if not blocking:
            return False
        if is_outside():
            return self._real.acquire(timeout=timeout)
        if job is not None and timeout < 0:
            job.waits_for = self
        sentence = "waiting for a lock, queue or event of threading blocks the event loop"
        is_held = bool(self._threads.wait(sentence, self._wait, timeout))
        assert job is not None
        job.waits_for = None
        if is_held:
            self.holder = job
        return is_held

    async def _wait(self, timeout: float) -> bool:
        lot = self._lot = self._lot or trio.lowlevel.ParkingLot()
        with trio.move_on_after(float("inf") if timeout < 0 else timeout):
            while not self._real.acquire(blocking=False):
                await lot.park()
            return True
        return False

    def release(self) -> None:
        self.holder = None
        self._real.release()
        if self._lot:
            self._threads.call(self._lot.unpark)

    def locked(self) -> bool:
        return self._real.locked()

    def _at_fork_reinit(self) -> None:
        self._real = _real_lock()
        self._lot = self.holder = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


@contextmanager
def virtual_locks(threads: Threads) -> Iterator[None]:
    """Let locks, conditions, events, semaphores, barriers and queues that are made in the block wait in virtual time.

    What has kept a real one from before the block is refused if it waits for that.
    """

    class Lock(_Lock):
        __slots__ = ()
        _threads = threads

    with Patches() as patches:
        recursive = threading._PyRLock  # type: ignore[attr-defined]  # the one in Python, over _allocate_lock
        simple_queue = queue._PySimpleQueue  # type: ignore[attr-defined]
        patches.rebind(
            [
                (_real_lock, Lock),
                (threading.Lock, Lock),
                (threading.RLock, recursive),
                (queue.SimpleQueue, simple_queue),
            ]
        )
        patches.put(threading, "Lock", Lock)
        patches.put(threading, "_allocate_lock", Lock)
        patches.put(threading, "RLock", recursive)
        patches.put(threading, "_time", virtual_monotonic)
        patches.put(queue, "time", virtual_monotonic)
        patches.put(queue, "SimpleQueue", simple_queue)
        yield
