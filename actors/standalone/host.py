"""The hosts of a policy alone: trio, asyncio and plain threads, which may share one policy.

Each wait is written once, as an async function of the host. In a thread all that it awaits blocks, so its first step is
its last; :class:`Guard` takes that step for ``with``, and awaits the function for ``async with``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import GeneratorType, TracebackType
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import sniffio
import trio

from actors.errors import WrongType
from actors.instants import ns
from actors.kernel.async_handlers import is_async

F = TypeVar("F", bound=Callable[..., Any])


class ThreadHost:
    """A plain thread, which blocks; an instance is one waiting call, which any thread may wake up."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    now_ns = staticmethod(time.monotonic_ns)

    @staticmethod
    async def sleep(seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> bool:
        """Wake the call up; return whether its host is still there."""
        self._woken.set()
        return True

    async def wait(self, timeout: float | None) -> bool:
        """Wait until the call is woken up, for at most `timeout` seconds; return whether it was."""
        return self._woken.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))


class TrioHost:
    def __init__(self) -> None:
        self._woken = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()

    @staticmethod
    def now_ns() -> int:
        clock = trio.lowlevel.current_clock()
        now_ns = ns(clock.current_time())
        ahead_ns = _ahead_ns.get(clock)
        if ahead_ns is None:
            ahead_ns = _ahead_ns[clock] = now_ns - time.monotonic_ns()
        return now_ns - ahead_ns

    sleep = staticmethod(trio.sleep)

    def wake(self) -> bool:
        if threading.get_ident() == self._thread:
            self._woken.set()
            return True
        try:
            self._token.run_sync_soon(self._woken.set)
        except trio.RunFinishedError:
            return False
        return True

    async def wait(self, timeout: float | None) -> bool:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await self._woken.wait()
        return self._woken.is_set()


_ahead_ns: WeakKeyDictionary[trio.abc.Clock, int] = WeakKeyDictionary()
"""By how much each clock of trio's was ahead of the monotonic one when it was first read: it begins anywhere."""


class AsyncioHost:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()

    @staticmethod
    def now_ns() -> int:
        return ns(asyncio.get_running_loop().time())

    sleep = staticmethod(asyncio.sleep)

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

    async def wait(self, timeout: float | None) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken, timeout)
        return self._woken.done() and not self._woken.cancelled()


Host: TypeAlias = ThreadHost | TrioHost | AsyncioHost
Wait: TypeAlias = Callable[[type[Host]], Coroutine[Any, Any, None]]
"""A wait, in whichever host."""


def current_host() -> type[Host]:
    """Return the host of the caller: a plain function in a task is in the task's loop."""
    if sniffio.thread_local.name == "trio":  # in_trio_task() would take a sixth of a call under a breaker
        return TrioHost
    # asyncio's public function raises where no loop runs, which takes longer.
    return ThreadHost if asyncio._get_running_loop() is None else AsyncioHost


class MonotonicClock:
    """A clock that never goes back, though hosts whose clocks differ ask it."""

    __slots__ = ("_latest_ns",)

    def __init__(self) -> None:
        self._latest_ns = 0

    def now_ns(self, host: type[Host]) -> int:
        now_ns = host.now_ns()
        if now_ns < self._latest_ns:
            return self._latest_ns
        self._latest_ns = now_ns
        return now_ns


def block(wait: Wait) -> None:
    try:
        wait(ThreadHost).send(None)
    except StopIteration:
        return
    raise AssertionError("a wait in a thread ends with its first step")


class Guard:
    """One block under a policy: ``with`` in a thread, ``async with`` in trio and in asyncio."""

    __slots__ = ()

    def begin(self) -> Wait | None:
        """Begin the block, or return the wait at whose end it has begun."""
        raise NotImplementedError

    def end(self, error: BaseException | None) -> None:
        """End the block."""

    def __enter__(self) -> None:
        wait = self.begin()
        if wait is not None:
            block(wait)

    async def __aenter__(self) -> None:
        wait = self.begin()
        if wait is not None:
            await wait(current_host())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)


def guarded(function: F, guard: Callable[..., Guard]) -> F:
    """Return a function that does the same inside a guard, which is made from its arguments; async if that is. Raise
    WrongType where `function` is a generator."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with guard(*args, **kwargs):
            return no_awaitable(function, function(*args, **kwargs))

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        async with guard(*args, **kwargs):
            return await function(*args, **kwargs)

    return decorated(function, call, call_async)


def decorated(function: F, call: Callable[..., Any], call_async: Callable[..., Awaitable[Any]]) -> F:
    """Return `call`, or `call_async` for an async function, under the name of the function; raise WrongType where
    `function` is a generator: nothing of it runs in the call, so no policy would learn how it ends."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise WrongType(f"wanted an async def or a plain function, got a generator: {function!r}")
    return functools.wraps(function)(call_async if is_async(function) else call)  # type: ignore[return-value]


def no_awaitable(function: Callable[..., Any], result: Any) -> Any:
    """Return the result of a plain function; raise WrongType where `result` is awaitable: the work is not done, so no
    policy would learn how it ends."""
    if _may_be_awaited(type(result)) and inspect.isawaitable(result):  # type: ignore[arg-type]
        if inspect.iscoroutine(result):
            result.close()  # nothing will await it
        raise WrongType(f"wanted an async def or a plain function, got {function!r}, which returned {result!r}")
    return result


@functools.lru_cache  # without it this would be a fifth of a call under a breaker
def _may_be_awaited(kind: type) -> bool:
    return issubclass(kind, (Awaitable, GeneratorType))
