"""The tasks of a service that still wait, the cause of their wait, and whether anything ends it."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import trio
from trio import _timeouts
from trio._core import _parking_lot

from simulation.world.escape import is_of_service, service_line
from simulation.world.patching import Patches
from simulation.world.sockets import WorldSocket, origin
from simulation.world.threads import Threads

_WAITS = {getattr(WorldSocket, name).__code__: name for name in ("connect", "recv", "send", "wait_writable")}

_SLEEPS_S = 0.5
"""A sleep so long with a lock is a wait for better weather."""


class Waiting(NamedTuple):
    """Tasks that wait at one line of the service."""

    tasks: int
    file: str
    line: int
    function: str
    peer: str | None
    """The address at the other end, where they wait for a socket."""
    has_deadline: bool
    """Whether a cancel scope of the service's own ends the wait."""
    held_at: tuple[str, ...] = ()
    """For a thread in a deadlock: where the others wait; each has the lock that the one before waits for."""

    def __str__(self) -> str:
        if self.held_at:
            others = "".join(f", which waits at {line} for the lock of another" for line in self.held_at[:-1])
            return (
                f"{self.file}:{self.line}: a thread waits for the lock of another{others}, which waits at "
                f"{self.held_at[-1]} for the lock of the first: a deadlock"
            )
        what = "" if self.peer is None else f" for {self.peer}"
        without = "" if self.has_deadline or self.peer is None else " without any deadline"
        tasks = "a task waits" if self.tasks == 1 else f"{self.tasks} tasks wait"
        return f"{self.file}:{self.line}: in {self.function} {tasks}{what}{without}"

    @property
    def is_finding(self) -> bool:
        """Whether nothing would ever end the wait: a peer that never answers is waited for, without a deadline, or
        threads wait for each other's locks."""
        return bool(self.held_at) or (self.peer is not None and not self.has_deadline)


def deadlocked_in(threads: Threads) -> list[Waiting]:
    return [
        Waiting(len(circle), *circle[0], "", None, False, tuple(f"{file}:{line}" for file, line in circle[1:]))
        for circle in threads.deadlocks()
    ]


@contextmanager
def sleeps_with_locks(slept: Callable[[str, float, int], object]) -> Iterator[None]:
    """Call a function after each sleep of half a second and more in which a task has held locks of trio's for which
    others wait: with the line of the service, the seconds, and how many wait."""
    real = _timeouts.sleep_until

    async def sleep_until(deadline: float) -> None:
        held = _parking_lot.GLOBAL_PARKING_LOT_BREAKER.get(trio.lowlevel.current_task(), ())
        began = trio.current_time()
        await real(deadline)
        if (waiters := sum(map(len, held))) and (lasted := trio.current_time() - began) >= _SLEEPS_S:
            file, line = service_line(sys._getframe(1))
            slept(f"{file}:{line}", lasted, waiters)

    with Patches() as patches:
        patches.put(_timeouts, "sleep_until", sleep_until)
        yield


def waiting_in(nursery: trio.Nursery) -> list[Waiting]:
    """Return where the tasks in a nursery wait, but for the task that asks."""
    asking = trio.lowlevel.current_task()
    found = Counter(_waiting(task) for task in _leaves(nursery) if task is not asking)
    return [waits._replace(tasks=tasks) for waits, tasks in sorted(found.items(), key=lambda each: each[0][1:4])]


def _leaves(nursery: trio.Nursery) -> Iterator[trio.lowlevel.Task]:
    for task in sorted(nursery.child_tasks, key=lambda task: task._counter):
        if task.child_nurseries:
            for inner in task.child_nurseries:
                yield from _leaves(inner)
        else:
            yield task


def _waiting(task: trio.lowlevel.Task) -> Waiting:
    frames = list(task.iter_await_frames())
    peer = next((_peer(frame) for frame, _ in frames if frame.f_code in _WAITS), None)
    own: Any = [(frame, line) for frame, line in frames if is_of_service(frame)]
    parent: trio.lowlevel.Task | None = task
    while not own and parent is not None and parent.parent_nursery is not None:
        parent = parent.parent_nursery.parent_task
        own = [(frame, line) for frame, line in parent.iter_await_frames() if is_of_service(frame)]
    frame, line = own[-1] if own else frames[-1]
    deadline = task._cancel_status.effective_deadline()
    return Waiting(1, frame.f_code.co_filename, line, frame.f_code.co_qualname, peer, deadline < math.inf)


def _peer(frame: Any) -> str | None:
    sock, address = frame.f_locals.get("self"), frame.f_locals.get("address")
    peer = address or getattr(sock, "_peer", None)
    return None if peer is None else sock._network.name_of(peer)


# ── memory channels ───────────────────────────────────────────────────────────────────────────────────────────────────


_Sender: Any = trio.MemorySendChannel
_Receiver: Any = trio.MemoryReceiveChannel

_WAIT: Final = 4
"""So many values in a channel without a bound count as piled up, once the first has waited for `_FOR_S`."""

_FOR_S: Final = 5.0


class _Sent(NamedTuple):
    value: Any
    origin: str | None
    at_s: float
    line: tuple[str, int] | None
    """Of the service, where the channel has no bound."""


@contextmanager
def memory_channels(piled_up: Callable[[str], object]) -> Iterator[None]:
    """Let values carry the arrival for which they were sent through memory channels: a worker that takes one works for
    it. Call a function with a sentence when one is taken from a channel without a bound in which values have piled up.
    """
    send_nowait, send = _Sender.send_nowait, _Sender.send
    receive_nowait, receive = _Receiver.receive_nowait, _Receiver.receive

    def sent(channel: Any, value: Any) -> _Sent:
        if type(value) is _Sent:
            return value
        line = service_line(sys._getframe(2)) if channel._state.max_buffer_size == math.inf else None
        return _Sent(value, origin.get(), trio.current_time(), line)

    def received(channel: Any, value: Any) -> Any:
        if type(value) is not _Sent:
            return value
        origin.set(value.origin)
        if value.line is not None:
            waiting, for_s = 1 + len(channel._state.data), trio.current_time() - value.at_s
            if waiting >= _WAIT and for_s >= _FOR_S:
                file, line = value.line
                what = f"{waiting} values waited in a memory channel without a bound, the first for {for_s:.3g} s"
                piled_up(f"{file}:{line}: {what}")
        return value.value

    async def send_sent(self: Any, value: Any) -> None:
        await send(self, sent(self, value))

    async def receive_sent(self: Any) -> Any:
        return received(self, await receive(self))

    with Patches() as patches:
        patches.put(_Sender, "send_nowait", lambda self, value: send_nowait(self, sent(self, value)))
        patches.put(_Sender, "send", send_sent)
        patches.put(_Receiver, "receive_nowait", lambda self: received(self, receive_nowait(self)))
        patches.put(_Receiver, "receive", receive_sent)
        yield
