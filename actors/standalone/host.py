"""The needs of a policy alone on its host, trio, asyncio or a plain thread: the time, a sleep, and a wake-up.

Which host it is is found out with each call, so that one policy may be shared by all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import trio

from actors.errors import WrongType
from actors.instants import NS_PER_S, ns
from actors.kernel.async_handlers import is_async

F = TypeVar("F", bound=Callable[..., Any])

_ahead_ns: WeakKeyDictionary[trio.abc.Clock, int] = WeakKeyDictionary()
"""By how much each clock of trio's was ahead of the monotonic one when it was first read: it begins anywhere."""


def _host_now_ns() -> int:
    if trio.lowlevel.in_trio_task():
        clock = trio.lowlevel.current_clock()
        now_ns = ns(clock.current_time())
        ahead_ns = _ahead_ns.get(clock)
        if ahead_ns is None:
            ahead_ns = _ahead_ns[clock] = now_ns - time.monotonic_ns()
        return now_ns - ahead_ns
    loop = asyncio._get_running_loop()  # the public one raises where there is none, which takes its time
    return time.monotonic_ns() if loop is None else ns(loop.time())


class MonotonicClock:
    """The monotonic clock of whichever host asks; it never goes back, whatever the hosts' clocks are apart."""

    __slots__ = ("_latest_ns",)

    def __init__(self) -> None:
        self._latest_ns = 0

    def now_ns(self) -> int:
        """Return the present instant, in nanoseconds."""
        now_ns = _host_now_ns()
        if now_ns < self._latest_ns:
            return self._latest_ns
        self._latest_ns = now_ns
        return now_ns


def sleep(seconds: float) -> None:
    """Block the thread."""
    time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Sleep in trio or in asyncio."""
    await (trio.sleep if trio.lowlevel.in_trio_task() else asyncio.sleep)(seconds)


class Guard(Protocol):
    """A guard of one call: ``with`` in a thread, ``async with`` in trio and in asyncio."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...


def guarded(function: F, guard: Callable[[tuple[Any, ...], dict[str, Any]], Guard]) -> F:
    """Return a function that does the same inside a guard, which is made from its arguments; async if that is.

    Raises:
        WrongType: it is a generator.
    """
    check_no_generator(function)
    wrapper: Any
    if is_async(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            async with guard(args, kwargs):
                return await function(*args, **kwargs)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with guard(args, kwargs):
                return no_awaitable(function, function(*args, **kwargs))

    return wrapper  # type: ignore[no-any-return]


def check_no_generator(function: Callable[..., Any]) -> None:
    """Refuse a generator: nothing of it runs in the call, so no policy would learn how it ends.

    Raises:
        WrongType: it is one, plain or async.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise WrongType(f"wanted an async def or a plain function, got a generator: {function!r}")


def no_awaitable(function: Callable[..., Any], result: Any) -> Any:
    """Return the result of a plain function.

    Raises:
        WrongType: it is to be awaited: it has not been done, and no policy would learn how it ends.
    """
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()  # nothing will await it
        raise WrongType(f"wanted an async def or a plain function, got {function!r}, which returned {result!r}")
    return result


class Waiter(Protocol):
    """Who waits, to be woken up by any thread."""

    def wake(self) -> bool:
        """Wake it up; tell whether its host is still there."""


class ThreadWaiter:
    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> bool:
        self._woken.set()
        return True

    def wait(self, timeout_ns: int | None) -> bool:
        """Block until it is woken up, or for so long; tell whether it was."""
        return self._woken.wait(None if timeout_ns is None else min(timeout_ns / NS_PER_S, threading.TIMEOUT_MAX))


class TrioWaiter:
    """A task of trio's that waits."""

    def __init__(self) -> None:
        self._woken = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()

    def wake(self) -> bool:
        if threading.get_ident() == self._thread:
            self._woken.set()
            return True
        try:
            self._token.run_sync_soon(self._woken.set)
        except trio.RunFinishedError:
            return False
        return True

    async def wait(self, timeout_ns: int | None) -> bool:
        """Wait until it is woken up, or for so long; tell whether it was."""
        with trio.move_on_after(float("inf") if timeout_ns is None else timeout_ns / NS_PER_S):
            await self._woken.wait()
        return self._woken.is_set()


class AsyncioWaiter:
    """A task of asyncio's that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()

    def wake(self) -> bool:
        try:
            if asyncio._get_running_loop() is self._loop:
                self._set()
            else:
                self._loop.call_soon_threadsafe(self._set)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _set(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, timeout_ns: int | None) -> bool:
        """Wait until it is woken up, or for so long; tell whether it was."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken, None if timeout_ns is None else timeout_ns / NS_PER_S)
        return self._woken.done() and not self._woken.cancelled()


def async_waiter() -> TrioWaiter | AsyncioWaiter:
    """Return a waiter for the task that calls this."""
    return TrioWaiter() if trio.lowlevel.in_trio_task() else AsyncioWaiter()
