"""A bulkhead alone, round calls of your own: under trio, under asyncio and in threads.

::

    bulkhead = Bulkhead(10, wait=0.5)

    @bulkhead
    async def search(text): ...     # or def

    async with bulkhead.guard(): ...  # or with
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from actors.errors import BulkheadFull
from actors.instants import wait_ns
from actors.settings.bulkhead import BulkheadConfig
from actors.standalone.host import ThreadWaiter, Waiter, async_waiter, guarded
from actors.standalone.settings import given_settings

F = TypeVar("F", bound=Callable[..., Any])
W = TypeVar("W", bound=Waiter)


class Bulkhead:
    """At most so many calls at once; others wait in line. It may be shared by threads and by tasks of any loop."""

    def __init__(
        self,
        limit: int | None = None,
        wait: float | None = None,
        *,
        config: BulkheadConfig | Mapping[str, Any] | None = None,
    ) -> None:
        """Make one of so many slots; or by `config`.

        Args:
            limit: how many calls may be under way at once, at least 1.
            wait: seconds that a call waits for a slot, at most; 0: it is refused at once. None: as long as it takes.
            config: both, as the `max_in_flight` of a channel has them.

        Raises:
            ConfigurationError: a setting that cannot be, or `config` beside the others.
        """
        config = given_settings(BulkheadConfig, config, {"limit": limit, "wait": wait})
        self._limit = config.limit
        self._in_flight = 0
        self._line: dict[Waiter, None] = {}
        self._wait_ns = None if config.wait is None else wait_ns(config.wait)
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._line)

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async: each call of it is guarded as by :meth:`guard`."""
        return guarded(function, lambda args, kwargs: BulkheadGuard(self))

    def guard(self) -> BulkheadGuard:
        """Return what lets a block run in a slot: ``with`` in a thread, ``async with`` in trio and asyncio.

        Raises (where it is entered):
            BulkheadFull: no slot became free in time, and the block was not entered.
        """
        return BulkheadGuard(self)

    def acquire(self) -> None:
        """Take a slot, and block the thread for as long as there is none; for :class:`BulkheadGuard`."""
        with self._lock:
            waiter = self._join(ThreadWaiter)
        if waiter is None:
            return
        try:
            is_woken = waiter.wait(self._wait_ns)
        except BaseException:
            self._abandon(waiter)
            raise
        if not is_woken:
            self._come_out_empty(waiter)

    async def acquire_async(self) -> None:
        """Take a slot, and wait for as long as there is none; for :class:`BulkheadGuard`."""
        with self._lock:
            waiter = self._join(async_waiter)
        if waiter is None:
            return
        try:
            is_woken = await waiter.wait(self._wait_ns)
        except BaseException:
            self._abandon(waiter)
            raise
        if not is_woken:
            self._come_out_empty(waiter)

    def _join(self, make_waiter: Callable[[], W]) -> W | None:
        """Take a slot, or return the waiter at the end of the line for one."""
        if self._in_flight < self._limit:
            self._in_flight += 1
            return None
        if self._wait_ns == 0:
            raise BulkheadFull(self._limit)
        waiter = make_waiter()
        self._line[waiter] = None
        return waiter

    def _come_out_empty(self, waiter: Waiter) -> None:
        """Refuse a waiter whose time is up, unless it was given a slot just now."""
        with self._lock:
            if self._leave(waiter):
                raise BulkheadFull(self._limit)

    def _abandon(self, waiter: Waiter) -> None:
        """Take a cancelled waiter out of the line, or give back the slot that it was given just now."""
        with self._lock:
            if not self._leave(waiter):
                self._give_back()

    def _leave(self, waiter: Waiter) -> bool:
        """Leave the line; False: the waiter is not in it, as it has been given a slot."""
        return self._line.pop(waiter, self) is None

    def release(self) -> None:
        """Give a slot back; for :class:`BulkheadGuard`."""
        with self._lock:
            self._give_back()

    def _give_back(self) -> None:
        """Give a slot to the first in line who can still be woken, or to no one."""
        while self._line:
            waiter = next(iter(self._line))
            del self._line[waiter]
            if waiter.wake():
                return
        self._in_flight -= 1


class BulkheadGuard:
    """One block, and its slot."""

    __slots__ = ("_bulkhead",)

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead = bulkhead

    def __enter__(self) -> None:
        self._bulkhead.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bulkhead.release()

    async def __aenter__(self) -> None:
        await self._bulkhead.acquire_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bulkhead.release()
