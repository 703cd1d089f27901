"""Everything by which a service would leave its world, refused by the line of the service.

Functions that have a counterpart in the world are replaced (:mod:`simulation.world.threads`, and its sockets). Here is
the rest: an audit hook sees a call of the system past them, a watchdog finds what blocks the event loop, a lock of
`threading` waits in virtual time, and libraries in C that open sockets unseen are refused at their import.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar, Final

import trio

from simulation.world.clock import virtual_monotonic
from simulation.world.patching import Patches
from simulation.world.thread_sockets import thread_sockets
from simulation.world.threads import LOOK_S, Job, Meter, Threads, baton, here, is_outside

# ── locks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


_real_lock: Final = _thread.allocate_lock


class _Lock:
    """A lock of the operating system, with a line of the world's threads that wait for it."""

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

    A thread that waits for a real one from before the block is refused.
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


SEES_NO_SOCKETS: Final = frozenset(
    {
        "MySQLdb",
        "aerospike",
        "confluent_kafka",
        "cx_Oracle",
        "eventlet",
        "gevent",
        "grpc",
        "oracledb",
        "psycopg",
        "psycopg2",
        "pycurl",
        "pymssql",
        "uvloop",
        "zmq",
    }
)
"""Modules that open sockets in C, or bring an event loop of their own: nothing of them would be in the world."""

_process: Final = "a process is started: its time and its network are not the world's"
_socket: Final = "a real socket is opened past the world"
_lookup: Final = "a name is looked up past the world: use trio.socket.getaddrinfo"
_REFUSED: Final = {
    "os.exec": _process,
    "os.fork": _process,
    "os.forkpty": _process,
    "os.posix_spawn": _process,
    "os.spawn": _process,
    "os.system": _process,
    "pty.spawn": _process,
    "subprocess.Popen": _process,
    "time.sleep": "time.sleep is called past the world",  # from Python 3.13 on
    "socket.__new__": _socket,
    "socket.bind": _socket,
    "socket.connect": _socket,
    "socket.sendto": _socket,
    "socket.getaddrinfo": _lookup,
    "socket.gethostbyaddr": _lookup,
    "socket.gethostbyname": _lookup,
    "socket.getnameinfo": _lookup,
}
"""Sentences by audit event."""

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
_open: list[Threads] = []
"""The threads of the world that is open; an audit hook stays for ever, and is silent without any."""


@contextmanager
def refusals(world: Any) -> Iterator[None]:
    """Replace or refuse all that leaves a world; worker threads take turns meanwhile. `world.threads` is set."""
    with baton(world) as threads, virtual_locks(threads), thread_sockets(threads), Patches() as patches:
        world.threads = threads
        _without_proxies(patches)
        patches.put(_posixsubprocess, "fork_exec", _refused_fork_exec)  # multiprocessing's, which has no audit event
        for name in SEES_NO_SOCKETS & sys.modules.keys():
            patches.callback(sys.modules.__setitem__, name, sys.modules.pop(name))
        finder = _Finder()
        sys.meta_path.insert(0, finder)
        patches.callback(sys.meta_path.remove, finder)
        if not _open:
            _add_hook()
        _open.append(threads)
        patches.callback(_open.pop)
        yield


@contextmanager
def watchdog(threads: Threads) -> Iterator[None]:
    """Look after the event loop of this thread in the block; where signals reach it, so in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _Watchdog(threads).watching():
        yield


def _without_proxies(patches: Patches) -> None:
    before = dict(os.environ)
    patches.callback(os.environ.update, before)
    for name in before:
        if name.lower() in _PROXIES:
            del os.environ[name]
    os.environ["NETRC"] = os.devnull


_hooks: list[Any] = []


def _add_hook() -> None:
    if not _hooks:
        _hooks.append(_audit)
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _open or here.is_passing:
        return
    if event in _REFUSED and _is_of_world():
        raise _open[-1].refuse(_REFUSED[event], sys._getframe(1))
    if event == "open" and str(args[0]).endswith((".netrc", "_netrc")):
        raise FileNotFoundError(2, "No such file or directory", args[0])


def _is_of_world() -> bool:
    return here.job is not None or threading.get_ident() == threading.main_thread().ident


def _refused_fork_exec(*_: Any) -> Any:
    raise _open[-1].refuse(_process, sys._getframe(1))


class _Finder:
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name in SEES_NO_SOCKETS and not here.is_passing and _open:
            sentence = f"{name} opens its sockets in C, where the world does not see them"
            raise _open[-1].refuse(sentence, sys._getframe(1))


class _Watchdog:
    """Looks from a thread of its own at the CPU clock of the event loop's, and interrupts code that blocks the loop."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._ends = _thread.allocate_lock()
        self._sentence: str | None = None
        self._loop = threading.get_ident(), threading.get_native_id()
        self._step: Any = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = signal.signal(signal.SIGVTALRM, self._interrupt)
        self._ends.acquire()
        begun, over = _thread.allocate_lock(), _thread.allocate_lock()
        begun.acquire()
        over.acquire()
        _thread.start_new_thread(self._watch, (begun, over))
        begun.acquire()  # what the thread takes of the heap it has taken by then, in each run alike
        try:
            yield
        finally:
            self._ends.release()
            over.acquire()  # else its last signal might come to the handler from before, and end the process
            signal.signal(signal.SIGVTALRM, before)

    def _watch(self, begun: Any, over: Any) -> None:
        meter = Meter()
        begun.release()
        try:
            self._look(meter)
        finally:
            over.release()

    def _look(self, meter: Meter) -> None:
        while not self._ends.acquire(timeout=LOOK_S):
            if self._threads.running is not None:
                meter = Meter()
                continue
            sentence = meter.look(*self._loop)
            if sentence is not None:
                self._sentence = sentence
                meter = Meter()
                signal.pthread_kill(self._loop[0], signal.SIGVTALRM)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        """Refuse the current call of the loop's thread, unless it computes in another step than at the last check."""
        if self._threads.running is not None or not trio.lowlevel.in_trio_run() or frame is None:
            return
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError:
            return
        step, before = (task, task._schedule_points), self._step
        self._step = step
        assert self._sentence is not None
        if "computes" in self._sentence and step != before:
            return
        raise self._threads.refuse(f"the event loop {self._sentence}", frame)
