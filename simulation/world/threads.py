"""Worker threads in a world: one runs at a time, and the clock stands while it does.

A thread that would wait (it sleeps, reads a socket of the world, wants a lock) gives the baton back to the event loop,
which waits in its place, in virtual time. Threads of the operating system do the work, so thread-local state, idents
and the checks of `sqlite3` hold. They switch only where they wait: a race on plain memory is never seen.
"""

from __future__ import annotations

import contextvars
import math
import sys
import threading
import time
import traceback
from _queue import Empty, SimpleQueue
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

import outcome
import trio
from trio import _threads

from simulation.world.escape import Escape, World, is_of_service, refuse, service_line
from simulation.world.patching import Patches

STANDING_S: Final = 1.0
"""A thread whose CPU clock stands for so long, in real time, waits for something outside of the world."""

COMPUTING_S: Final = 10.0
"""A thread that computes for so long, in CPU time, is refused too: the clock stands meanwhile."""

LOOK_S: Final = 0.25
"""Seconds of real time between two looks at a thread's CPU clock."""

_STANDS_S: Final = 0.001  # less CPU time than this between two looks is none

_real_gettime: Final = time.clock_gettime
_real_thread_start: Final = threading.Thread.start
_real_thread_join: Final = threading.Thread.join
_real_is_alive: Final = threading.Thread.is_alive
_real_start_soon: Final = trio.lowlevel.start_thread_soon
_real_send_message: Final = _threads._send_message_to_trio


class RunEnded(BaseException):
    """The run is over, and so is the thread that still waited in it."""


class _Here(threading.local):
    job: Job | None = None
    """The job that this thread carries out in the world."""
    is_passing: bool = False
    """Whether this thread does something of retrylab's own, which is real."""


here: Final = _Here()


def is_outside() -> bool:
    """Tell whether this thread is not the world's: it does something of retrylab's own, or the run does not run."""
    return here.is_passing or (here.job is None and not trio.lowlevel.in_trio_run())


class Held(Protocol):
    """A lock, and the thread that has it."""

    holder: Job | None


class Job:
    """The work of one thread; `line` is where the service started it."""

    def __init__(self, name: str, line: tuple[str, int], on_end: Callable[[outcome.Outcome[Any]], object]) -> None:
        self.name = name
        self.line = line
        self.on_end = on_end
        self.context: contextvars.Context = contextvars.copy_context() if here.job is None else here.job.context
        """The context of calls that the loop awaits for this thread: they belong to the arrival that started it."""
        self.is_over = False
        self.ended = trio.Event()
        self.request: tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]] | None = None
        """The call that the loop awaits for the parked thread."""
        self.thread_id = (0, 0)
        """The thread's ident, and its number in the operating system."""
        self.waits_for: Held | None = None
        """The lock that the thread waits for, without a timeout."""
        self.go: SimpleQueue[outcome.Outcome[Any]] = SimpleQueue()
        self.back: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        """Functions that the loop calls when the thread hands the baton back; True: the loop keeps the baton."""


class Threads:
    """All threads of a run. Its methods say where they may be called: on the loop, or in a thread."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._jobs: dict[Job, trio.CancelScope] = {}
        self._by_thread: dict[threading.Thread, Job] = {}
        self._is_closed = False
        self.running: Job | None = None
        """The thread that has the baton, while the loop waits for it."""

    # ── in a thread, or on the loop ─────────────────────────────────────────────────────────────────────────────────

    def wait(self, sentence: str, afn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Wait for an async call, from a thread of the world.

        Raises:
            Escape: this is the loop's thread; the sentence names the call that would block it.
        """
        job = here.job
        if job is None:
            raise self.refuse(sentence, sys._getframe(1))

        def park() -> bool:
            job.request = afn, args
            return True

        return self._hand_back(job, park)

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the loop's thread, as all must be that wakes a task; no other thread runs meanwhile."""
        job = here.job
        if job is None:
            return fn(*args)

        def serve() -> bool:
            job.go.put(outcome.capture(fn, *args))
            return False

        return self._hand_back(job, serve)

    def refuse(self, sentence: str, frame: FrameType) -> Escape:
        """Record an escape, and return it; where no frame is the service's, at the line that started the thread."""
        escape = refuse(self.world, sentence, frame)
        if here.job is not None:
            _move(escape, frame, here.job)
        return escape

    def _hand_back(self, job: Job, action: Callable[[], bool]) -> Any:
        if self._is_closed or job.is_over:
            raise RunEnded
        job.back.put(action)
        result = job.go.get()
        try:
            return result.unwrap()
        except Escape as escape:  # found on the loop, where this thread's frames are not to be seen
            _move(escape, sys._getframe(2), job)
            raise
        finally:
            del result

    # ── on the loop ─────────────────────────────────────────────────────────────────────────────────────────────────

    def start_soon(self, fn: Callable[[], Any], deliver: Callable[[Any], object], name: str | None = None) -> None:
        """Stand in for trio's: run a function in a worker thread until it ends or first waits."""
        job = Job(name or "a worker thread", service_line(sys._getframe(1)), deliver)

        def body() -> Any:
            here.job = job
            job.thread_id = threading.get_ident(), threading.get_native_id()
            try:
                job.go.get().unwrap()
                return fn()
            finally:
                here.job = None

        def finish(result: outcome.Outcome[Any]) -> None:
            job.back.put(lambda: self._end(job, result))

        with passing():
            _real_start_soon(body, finish, name)
        self._give(job, outcome.Value(None))
        if not job.is_over:
            trio.lowlevel.spawn_system_task(self._serve, job, context=job.context)

    async def _begin(self, job: Job) -> None:
        self._give(job, outcome.Value(None))
        await self._serve(job)

    async def _serve(self, job: Job) -> None:
        while not job.is_over:
            assert job.request is not None
            with trio.CancelScope() as self._jobs[job]:
                if self._is_closed:
                    self._jobs[job].cancel()
                afn, args = job.request
                result = await outcome.acapture(afn, *args)
            if isinstance(result, outcome.Error) and isinstance(result.error, trio.Cancelled):
                self._is_closed = True
                result = outcome.Error(RunEnded())
            self._give(job, result)
        self._jobs.pop(job, None)

    def _give(self, job: Job, result: outcome.Outcome[Any]) -> None:
        before, self.running = self.running, job
        try:
            job.go.put(result)
            while not self._next_action(job)():
                pass
        finally:
            self.running = before

    def _next_action(self, job: Job) -> Callable[[], bool]:
        meter = Meter()
        while True:
            try:
                return job.back.get(timeout=LOOK_S)
            except Empty:
                sentence = meter.look(*job.thread_id)
            if sentence is not None:
                return self._lost(job, sentence)

    def _lost(self, job: Job, sentence: str) -> Callable[[], bool]:
        frame = sys._current_frames().get(job.thread_id[0])
        escape = refuse(self.world, f"a thread {sentence}", frame)
        escape.add_note("".join(traceback.format_stack(frame)))
        _move(escape, frame, job)
        return lambda: self._end(job, outcome.Error(escape))

    def _end(self, job: Job, result: outcome.Outcome[Any]) -> bool:
        job.is_over = True
        job.ended.set()
        job.on_end(result)
        return True

    def end(self) -> None:
        """Let each thread that waits end, by an exception in it: the run is over. On the loop."""
        self._is_closed = True
        for scope in list(self._jobs.values()):
            scope.cancel()

    def deadlocks(self) -> list[list[tuple[str, int]]]:
        """Return the circles of threads that wait for each other's locks, each as the lines at which they wait."""
        frames, found = sys._current_frames(), list[list[tuple[str, int]]]()
        ahead = list(self._jobs)
        while ahead:
            chain: list[Job] = []
            job: Job | None = ahead[0]
            while job is not None and job not in chain:
                chain.append(job)
                job = None if job.waits_for is None else job.waits_for.holder
            circle = [] if job is None else chain[chain.index(job) :]
            if len(circle) > 1 and circle[0] in ahead:
                found.append([_line(frames.get(each.thread_id[0]), each) for each in circle])
            ahead = [each for each in ahead if each not in chain]
        return found

    # ── the service's own threads ───────────────────────────────────────────────────────────────────────────────────

    def start_thread(self, thread: threading.Thread) -> None:
        if here.is_passing:
            return _real_thread_start(thread)
        if is_outside():
            raise self.refuse("a thread is started before the run begins", sys._getframe(1))
        job = Job(thread.name, service_line(sys._getframe(1)), lambda _: None)
        run = thread.run

        def body() -> None:
            here.job = job
            job.thread_id = threading.get_ident(), threading.get_native_id()
            try:
                job.go.get().unwrap()
                run()
            except RunEnded:
                pass
            except BaseException:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), thread)))
            finally:
                here.job = None
                job.back.put(lambda: self._end(job, outcome.Value(None)))

        thread.run = body  # type: ignore[method-assign]
        self._by_thread[thread] = job
        with passing():
            _real_thread_start(thread)
        self.call(partial(trio.lowlevel.spawn_system_task, self._begin, job, context=job.context))
        return None

    def join_thread(self, thread: threading.Thread, timeout: float | None = None) -> None:
        job = self._by_thread.get(thread)
        if job is not None and not job.is_over:
            if thread is threading.current_thread():
                raise RuntimeError("cannot join current thread")

            async def ended() -> None:
                with trio.move_on_after(float("inf") if timeout is None else max(timeout, 0)):
                    await job.ended.wait()

            self.wait("Thread.join blocks the event loop until the thread ends", ended)
        if job is None or job.is_over:
            with passing():
                _real_thread_join(thread, timeout)

    def is_alive(self, thread: threading.Thread) -> bool:
        job = self._by_thread.get(thread)
        return _real_is_alive(thread) if job is None else not job.is_over

    def send_message(self, token: Any, message: Any) -> Any:
        """Stand in for trio's: the loop awaits requests of `trio.from_thread` like all other calls."""
        if here.job is not None:
            object.__setattr__(message, "queue", _Answer(self))
        return _real_send_message(token, message)


def _move(escape: Escape, frame: FrameType | None, job: Job) -> None:
    escape.file, escape.line = _line(frame, job)
    escape.args = escape.file, escape.line, escape.sentence


def _line(frame: FrameType | None, job: Job) -> tuple[str, int]:
    while frame is not None:
        if is_of_service(frame):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return job.line


class _Answer:
    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._came = trio.Event()
        self._result: Any = None

    def put_nowait(self, result: Any) -> None:
        self._result = result
        self._came.set()

    def get(self) -> Any:
        self._threads.wait("trio.from_thread is called on the loop", self._came.wait)
        return self._result


@contextmanager
def passing() -> Iterator[None]:
    """Let a block of retrylab's own do real things in this thread."""
    before, here.is_passing = here.is_passing, True
    try:
        yield
    finally:
        here.is_passing = before


class Meter:
    """Tells by a thread's CPU clock, which a busy machine does not move, whether it blocks or computes.

    It keeps no objects, and asks the system only about a thread that has stood for long: so a look leaves the heap as
    it was, on whose addresses the order of a service's sets depends.
    """

    def __init__(self) -> None:
        self._cpu_stood_spent = array("d", (math.nan, 0.0, 0.0))

    def look(self, ident: int, native_id: int) -> str | None:
        """Return the fault of a thread, if it has one; call it every `LOOK_S` of real time."""
        known = self._cpu_stood_spent
        went = -known[0]
        known[0] = _real_gettime(time.pthread_getcpuclockid(ident))
        went += known[0]
        if math.isnan(went):
            return None
        known[2] += went
        known[1] = known[1] + LOOK_S if went < _STANDS_S else 0.0
        if known[1] > STANDING_S / 2 and not _sleeps(native_id):
            known[1] = 0.0
        if known[1] >= STANDING_S:
            return f"waits for something outside of the world: its CPU clock stood for {STANDING_S:g} s"
        return f"computes for {COMPUTING_S:g} s, while the clock stands" if known[2] >= COMPUTING_S else None


def _sleeps(native_id: int) -> bool:
    """Tell whether a thread waits, and not for a processor or a disk; True where the system does not say."""
    try:
        return Path(f"/proc/self/task/{native_id}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    except OSError:
        return True


@contextmanager
def baton(world: World) -> Iterator[Threads]:
    """Let worker threads, and threads that the service starts, take turns with the loop."""
    threads = Threads(world)
    with Patches() as patches:
        patches.put(_threads, "start_thread_soon", threads.start_soon)
        patches.put(trio.lowlevel, "start_thread_soon", threads.start_soon)
        patches.put(_threads, "_send_message_to_trio", threads.send_message)
        patches.put(threading.Thread, "start", lambda thread: threads.start_thread(thread))
        patches.put(threading.Thread, "join", lambda thread, timeout=None: threads.join_thread(thread, timeout))
        patches.put(threading.Thread, "is_alive", lambda thread: threads.is_alive(thread))
        yield threads
