"""Trio as a guest of an asyncio loop: both run in one thread, and a task of either may wait for one of the other.

A thread has at most one guest. All notifiers of its loop share the guest, which ends with the last of them. See
https://trio.readthedocs.io/en/stable/reference-lowlevel.html#using-guest-mode-to-run-trio-on-top-of-other-event-loops
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import os
import queue
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, TypeVar

import trio

from actors.errors import ActorSystemError, NotifierClosed
from actors.hosts.opening import Reply

logger = logging.getLogger(__name__)

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """Return asyncio's loop that this is called in; raise ActorSystemError where it is called in another loop, or in
    none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        got = "trio's, where Notifier.open opens one" if trio.lowlevel.in_trio_run() else "none"
        raise ActorSystemError(f"wanted an event loop of asyncio's, got {got}") from None


class GuestTask(Reply[T]):
    """A task of trio's that asyncio may wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        super().__init__(functools.partial(set_done, self.ended))
        self._scope = trio.CancelScope()

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> None:
        """Call a function, as a task of trio's that asyncio may cancel."""

        async def call() -> T:
            with self._scope:
                return await function(*args)
            raise asyncio.CancelledError

        await super().run(call)

    def cancel(self) -> None:
        self._scope.cancel()

    @property
    def failure(self) -> BaseException | None:
        """The error it raised, other than a cancellation; None before its end."""
        return None if isinstance(self._error, asyncio.CancelledError) else self._error

    async def wait_for_end(self) -> None:
        """Wait for its end, in asyncio. To cancel this cancels the task, and still waits for its end."""
        await _wait_for(self.ended, self.cancel)

    async def wait(self) -> T:
        """Wait for its end as :meth:`wait_for_end` does, and return its result."""
        await self.wait_for_end()
        return self.result()


def set_done(future: asyncio.Future[None]) -> None:
    """Set a future, unless it is cancelled or its loop is closed, and with it all who wait."""
    if not future.done():
        with contextlib.suppress(RuntimeError):
            future.set_result(None)


async def _wait_for(future: asyncio.Future[None], if_cancelled: Callable[[], object]) -> None:
    """Wait until a future is done, also when this is cancelled; only then is the cancellation raised."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            if_cancelled()
    if cancelled is not None:
        raise cancelled


class Guest:
    """Trio in the thread of an asyncio loop. Get it by :func:`trio_guest`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.users = 0
        """How many need it."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self.has_ended = False
        self._due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        """The next step of trio, once it is due: one at most. It is kept here, since a loop that is closed drops its
        callbacks."""
        self._not_needed = trio.Event()
        self._scope = trio.CancelScope()
        with _no_signal_handler_of_trio():
            trio.lowlevel.start_guest_run(
                self._main,
                run_sync_soon_threadsafe=functools.partial(self._when_due, loop.call_soon_threadsafe),
                run_sync_soon_not_threadsafe=functools.partial(self._when_due, loop.call_soon),
                done_callback=self._done,
                host_uses_signal_set_wakeup_fd=True,  # the loop's business, if any
            )

    async def _main(self) -> None:
        with self._scope:
            await self._not_needed.wait()

    def _when_due(self, call_soon: Callable[[Callable[[], None]], object], step: Callable[[], object]) -> None:
        self._due.put(step)
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is left to finish()
            call_soon(self._step)

    def _step(self) -> None:
        self._due.get()()

    def _done(self, result: Any) -> None:
        self.has_ended = True
        _of_thread.guest = None
        set_done(self.ended)
        result.unwrap()  # raises an internal error of trio's, for the loop to report

    def spawn(self, function: Callable[..., Awaitable[T]], *args: Any) -> GuestTask[T]:
        """Start an async function of trio's, with the context variables of the caller; in the loop's thread."""
        task: GuestTask[T] = GuestTask(self.loop)
        trio.lowlevel.spawn_system_task(task.run, function, *args, context=contextvars.copy_context())
        return task

    async def release(self) -> None:
        """Need it no more; the last one waits for its end, cancelled or not, which takes no I/O."""
        self.users -= 1
        if self.users > 0:
            return
        self._not_needed.set()
        await _wait_for(self.ended, lambda: None)

    def finish(self) -> None:
        """Cancel all that is in it and wait for its end, in its thread, after its loop was closed."""
        logger.error("an asyncio loop was closed before a notifier in it; what that had accepted is in its store")
        self._scope.cancel()
        while not self.has_ended:
            self._step()


class _OfThread(threading.local):
    guest: Guest | None = None


_of_thread = _OfThread()


@asynccontextmanager
async def trio_guest() -> AsyncGenerator[Guest, None]:
    """Have trio in the thread of the running loop for as long as the block lasts; raise ActorSystemError where another
    loop of this thread, or of the process it was forked from, has it; or trio runs here already, and not as a guest; or
    no loop runs."""
    loop = running_loop()
    guest = _of_thread.guest
    if guest is not None:
        if guest.pid != os.getpid():
            raise ActorSystemError(
                "this process was forked in an event loop with an open notifier; fork before one is opened, or spawn"
            )
        if guest.loop is not loop:
            if not guest.loop.is_closed():
                raise ActorSystemError("another event loop of this thread has an open notifier; close that one first")
            guest.finish()
        elif guest.users == 0:
            await asyncio.wait([guest.ended])
    guest = _of_thread.guest  # perhaps another one has made it meanwhile
    if guest is None:
        if trio.lowlevel.in_trio_run():
            raise ActorSystemError("trio runs in this thread already: use Notifier.open there")
        guest = _of_thread.guest = Guest(loop)
    guest.users += 1
    try:
        yield guest
    finally:
        await guest.release()


async def on_asyncio(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function of asyncio's in the loop that trio is a guest of, and wait for it in trio.

    To cancel this cancels the task and still waits for its end.

    Raises:
        NotifierClosed: the loop is closed, or it was cancelled from elsewhere, as tasks are at the end of their loop.
    """
    if loop.is_closed():
        raise NotifierClosed(f"{function!r} was not called: its event loop is closed")
    task: asyncio.Task[Any] = loop.create_task(function(*args))
    ended = trio.Event()
    task.add_done_callback(lambda _: ended.set())
    try:
        await ended.wait()
    except trio.Cancelled:
        if loop.is_closed():
            raise
        task.cancel()
        with trio.CancelScope(shield=True):
            await ended.wait()
        if task.cancelled():
            raise
    if task.cancelled():
        raise NotifierClosed(f"{function!r} was cancelled, perhaps at the end of its event loop")
    return task.result()


@contextlib.contextmanager
def _no_signal_handler_of_trio() -> Generator[None, None, None]:
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    signal.default_int_handler(signum, frame)
