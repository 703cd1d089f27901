"""Effects: requests of an actor to its environment, and the message that says it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import msgspec


class Foreseen(msgspec.Struct, frozen=True, gc=False):
    """An effect whose result is known when it begins, such as a simulated provider's: it only takes its time."""

    delay_ns: int
    result: Any


class Promise:
    """An effect that is under way already and is completed elsewhere.

    It may have many waiters. No task has to wait for a promise, so it can be performed in simulated time as well; live
    it can be called like any other effect, too. A time-out or a cancellation only stops the wait: the work goes on.
    """

    __slots__ = ("_callbacks", "_result", "is_kept")

    def __init__(self) -> None:
        self.is_kept = False
        """Whether it has ended."""
        self._callbacks: list[Callable[[Any], object]] = []
        self._result: Any = None

    def keep(self, result: Any = None) -> None:
        """Give the waiters, in the order in which they came, its result: an exception if it failed.

        To be called once, in the thread of the system, and not by an actor: it belongs to the environment.
        """
        self.is_kept, self._result = True, result
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(result)

    def when_kept(self, callback: Callable[[Any], object]) -> None:
        """Call a function with the result when there is one; at once if there is."""
        if self.is_kept:
            callback(self._result)
        else:
            self._callbacks.append(callback)

    def then(self, function: Callable[[Any], Any]) -> Promise:
        """Return a promise that is kept along with this one, with the function's result of its result."""
        other = Promise()
        self.when_kept(lambda result: other.keep(function(result)))
        return other

    async def __call__(self) -> Any:
        """Wait for the result, and return it, or raise it if it is an exception."""
        import trio  # a simulated run does without it

        kept = trio.Event()
        self.when_kept(lambda _: kept.set())
        await kept.wait()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


Effect: TypeAlias = Foreseen | Promise | Callable[[], Awaitable[Any]]
"""Foreseen; a promise; or a call that does real I/O (live only)."""


class Performed(msgspec.Struct, frozen=True, kw_only=True):
    """An effect is done.

    Unlike other messages it is tracked by the garbage collector, as its request may refer to the waiting actor.
    """

    request: Any
    """The request that was passed to `perform`, which identifies it."""
    result: Any
    """The value it returned, the exception it raised, or the result agreed on for a time-out."""
    started_ns: int
    ended_ns: int


class Cancellable(Protocol):
    """A timer or an effect under way."""

    def cancel(self) -> None:
        """Keep its message from being delivered. Once it has come, this does nothing."""
