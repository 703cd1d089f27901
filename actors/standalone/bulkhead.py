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
from typing import Any, TypeVar

from actors.errors import BulkheadFull
from actors.instants import NS_PER_S, wait_ns
from actors.settings.bulkhead import BulkheadConfig
from actors.standalone.host import Guard, Host, Wait, guarded
from actors.standalone.settings import given_settings

F = TypeVar("F", bound=Callable[..., Any])


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
            limit: calls at once, at least 1.
            wait: seconds that a call waits for a slot, at most; 0: it is refused at once. None: as long as it takes.
            config: both, as the `max_in_flight` of a channel has them.

        Raises:
            ConfigurationError: a setting that cannot be, or `config` beside the others.
        """
        config = given_settings(BulkheadConfig, config, {"limit": limit, "wait": wait})
        self._limit = config.limit
        self._in_flight = 0
        self._line: dict[Host, None] = {}
        self._wait = None if config.wait is None else wait_ns(config.wait) / NS_PER_S
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """How many calls have a slot."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._line)

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async: each call of it is guarded as by :meth:`guard`."""
        return guarded(function, lambda *_args, **_kwargs: BulkheadGuard(self))

    def guard(self) -> BulkheadGuard:
        """Return a guard that lets a block run in a slot: ``with`` in a thread, ``async with`` in trio and asyncio.

        Raises (where it is entered):
            BulkheadFull: no slot became free in time, and the block was not entered.
        """
        return BulkheadGuard(self)

    def acquire(self) -> None:
        """Take a slot, and block the thread for as long as there is none; for :class:`BulkheadGuard`."""
        BulkheadGuard(self).__enter__()

    async def acquire_async(self) -> None:
        """Take a slot, and wait for as long as there is none; for :class:`BulkheadGuard`."""
        await BulkheadGuard(self).__aenter__()

    def release(self) -> None:
        """Give a slot back; for :class:`BulkheadGuard`."""
        with self._lock:
            self._give_back()

    def _try_acquire(self) -> bool:
        if self._in_flight >= self._limit:
            return False
        self._in_flight += 1
        return True

    async def _wait_for_slot(self, host: type[Host]) -> None:
        with self._lock:
            if self._try_acquire():
                return
            if self._wait == 0:
                raise BulkheadFull(self._limit)
            waiter = host()
            self._line[waiter] = None
        try:
            is_woken = await waiter.wait(self._wait)
        except BaseException:
            with self._lock:
                if not self._leave(waiter):
                    self._give_back()
            raise
        if not is_woken:
            with self._lock:
                if self._leave(waiter):
                    raise BulkheadFull(self._limit)

    def _leave(self, waiter: Host) -> bool:
        return self._line.pop(waiter, self) is None

    def _give_back(self) -> None:
        while self._line:
            waiter = next(iter(self._line))
            del self._line[waiter]
            if waiter.wake():  # else its loop is gone
                return
        self._in_flight -= 1


class BulkheadGuard(Guard):
    """One block, and its slot."""

    __slots__ = ("_bulkhead",)

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead = bulkhead

    def begin(self) -> Wait | None:
        with self._bulkhead._lock:
            return None if self._bulkhead._try_acquire() else self._bulkhead._wait_for_slot

    def end(self, error: BaseException | None) -> None:
        self._bulkhead.release()
