"""Futures: pykka's, awaitable in a handler on any clock and in a trio task."""

from __future__ import annotations

import functools
import logging
import queue
import sys
from collections.abc import Callable, Generator
from typing import Any, ClassVar, TypeVar

import pykka

from actors.errors import WouldDeadlock
from actors.kernel.async_handlers import park
from actors.kernel.runtime import Runtime

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Unanswered(pykka.Timeout):
    """There is no answer yet; carries the future that has to be settled first."""

    def __init__(self, text: str, future: Future[Any] | None = None) -> None:
        super().__init__(text, future)
        self.future = future

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def within(cls, timeout: float | None, future: Future[Any]) -> Unanswered:
        """Return the error of a wait of `timeout` seconds."""
        return cls(f"no answer within {timeout} seconds", future)


class Future(pykka.Future[T]):
    """The answer to an `ask`. Each system has a subclass of its own, since pykka makes new ones without arguments.

    May be settled, and waited for, in any thread. It is a :class:`collections.abc.Coroutine` too, so that a nursery
    takes a function that returns one for an async function: ``nursery.start_soon(notifier.send, command)``.
    """

    system: ClassVar[Runtime]

    def __init__(self) -> None:
        super().__init__()
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._callbacks: list[Callable[[], Any]] = []

    def set(self, value: T | None = None) -> None:
        self._settle((value, None))

    def set_exception(self, exc_info: Any = None) -> None:
        """Give an exception, the one being handled when None, as the answer."""
        kind, error, traceback = exc_info if exc_info is not None else sys.exc_info()
        assert kind is not None, "there is no exception to set"
        self._settle((None, (error if error is not None else kind()).with_traceback(traceback)))

    _is_given_up = False

    def give_up(self, error: Exception) -> None:
        """Give an error as the answer though another one is on its way, which is dropped when it comes."""
        if not self.done:
            self._settle((None, error))
            self._is_given_up = True

    def _settle(self, outcome: tuple[Any, BaseException | None]) -> None:
        if self._is_given_up:
            return
        if self.done or self._get_hook is not None:
            raise queue.Full
        self._outcome = outcome
        self._call_back()

    def _call_back(self) -> None:
        # Two threads may get here at once; pop gives each callback to one of them.
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            try:
                callback()
            except Exception:
                logger.exception("a callback of %r raised", self)  # the caller that gave the answer cannot handle it

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have the answer computed by `func` when it is asked for."""
        if self.done:
            raise queue.Full
        super().set_get_hook(func)

    @property
    def done(self) -> bool:
        return self._outcome is not None

    def when_done(self, callback: Callable[[], Any]) -> None:
        """Call `callback` in the thread that gives the answer, or at once if there is an answer already.

        An error of the callback is logged.
        """
        self._callbacks.append(callback)
        if self.done:
            self._call_back()

    def get(self, *, timeout: float | None = None) -> T:
        """Return the answer, or raise it if it is an exception. Blocks where that can work.

        From another thread than a live system's it blocks the thread; at the top level of a simulation it runs the
        clock until the answer is there.

        Raises:
            WouldDeadlock: there is no answer yet and this is a handler, or a task of the system's own thread.
            pykka.Timeout: there is no answer within `timeout` seconds (of the system's clock).
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if self._outcome is None:
            if timeout == 0:
                raise Unanswered.within(timeout, self)
            if not self.system._may_block():
                raise WouldDeadlock
            self.system._block_on(self, timeout)
            assert self._outcome is not None
        value, error = self._outcome
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, T]:
        while True:
            leaf: Future[Any] | None = self
            if self._outcome is not None or self._get_hook is not None:
                try:
                    return self.get(timeout=0)
                except Unanswered as unanswered:
                    # A future made by map() or join() waits for other futures: `leaf` is the unsettled one.
                    leaf = unanswered.future
            assert leaf is not None
            if self.system._current_run() is not None:
                yield from park(functools.partial(self.system._resume_when_done, leaf))
            else:
                yield from self.system._wait_outside(leaf)

    __iter__ = __await__

    _steps: Generator[Any, None, T] | None = None

    def send(self, value: Any) -> Any:
        """Go on with the await that this is as a coroutine."""
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where that await is."""
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        """End that await; there may be an answer all the same."""
        if self._steps is not None:
            self._steps.close()
