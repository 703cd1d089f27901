"""Systems whose time a synchronous test moves: nothing passes, and nothing happens, unless it says so."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import simpy
import trio
import trio.testing
from simpy.events import NORMAL

from actors.errors import ActorSystemError
from actors.instants import ns
from actors.kernel.actor import Actor, ActorRef
from actors.kernel.futures import Future, Unanswered
from actors.kernel.interceptors import Interceptor
from actors.kernel.live import LiveSystem
from actors.kernel.system import START_OF_TIME, ActorSystem
from simulation.engine.system import SimulatedSystem

A = TypeVar("A", bound=Actor)
T = TypeVar("T")

ROUNDING = 1e-9
"""Seconds by which trio's clock, a float, may be off from an instant that it was moved to."""


class Stepped(Protocol):
    """Moves the time of a system."""

    @property
    def system(self) -> ActorSystem:
        """The system itself, to look at."""

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``, called in the system's own thread, after all that it sets off at this instant."""

    def advance(self, seconds: float) -> None:
        """Let time pass; events that are due at the end of it have happened too."""

    def close(self) -> None:
        """Stop all actors."""


class SteppedSimulation:
    """A simulated system in steps."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.system = system

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """See :class:`Stepped`."""
        value = function(*args)
        self.advance(0.0)
        return value

    def advance(self, seconds: float) -> None:
        """See :class:`Stepped`."""
        env = self.system.env
        end_ns = self.system.now_ns + ns(seconds)
        end = simpy.Event(env)
        end._ok, end._value = True, None
        assert end.callbacks is not None
        end.callbacks.append(lambda _: self.system.stop())
        # Behind all that is due at that instant, also if it is set only then.
        env.schedule(end, NORMAL + 1, end_ns - env.now)  # type: ignore[arg-type]
        # An actor may stop the system: a step that ended early goes on.
        while not end.processed:
            self.system.run()
        self.system.now_ns = end_ns

    def close(self) -> None:
        """See :class:`Stepped`."""
        self.system.close()


class _Stepping(LiveSystem):
    """A live system whose time moves when someone in another thread waits for an answer."""

    def __init__(self, steps: SteppedLiveSystem, **options: Any) -> None:
        super().__init__(**options)
        self._steps = steps

    def _block_on(self, future: Future[Any], timeout: float | None) -> None:
        if not self._steps._advance_until(lambda: future.done, timeout):
            raise Unanswered.within(timeout, future)


class SteppedLiveSystem:
    """A live system on trio's `MockClock`, for a test that is no coroutine; it needs no pytest plugin.

    trio runs in a thread of its own, and only while this one waits for it: so there is nothing to race with. References
    work as usual: `tell` from the test is handled as soon as time is moved, and a blocking `ask` moves it as far as the
    answer needs.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        start: datetime = START_OF_TIME,
        record: Callable[[Any], None] | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Open a system.

        Args:
            seed: what all random streams are derived from.
            start: the instant on the calendar at which the system's clock reads 0.
            record: receives every event of the history, in order.
            interceptors: stand between it and its actors.
        """
        self._clock = trio.testing.MockClock()
        self._open = threading.Event()
        self._error: BaseException | None = None
        self._make = partial(_Stepping, self, seed=seed, start=start, record=record, interceptors=interceptors)
        self._thread = threading.Thread(target=self._run, name="retrylab live system", daemon=True)
        self._thread.start()
        self._open.wait()

    system: LiveSystem
    """The system itself."""

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self._clock)
        except BaseException as error:
            self._error = error  # raised in the test's thread
        finally:
            self._open.set()

    async def _main(self) -> None:
        async with self._make() as system:
            self.system = system
            self._token = trio.lowlevel.current_trio_token()
            self._close = trio.Event()
            self._open.set()
            await self._close.wait()

    def _in_trio(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return trio.from_thread.run(function, *args, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            self._thread.join()
            error, self._error = self._error, None
            raise error or ActorSystemError("the live system has ended") from None

    # ── what a test does ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def now_ns(self) -> int:
        """The instant, in nanoseconds since the start."""
        return self.system.now_ns

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        """Start an actor, and return the reference to it."""
        return self.call(lambda: self.system.spawn(actor_class, *args, **kwargs))

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``, called in trio's thread, after all that it sets off at this instant."""

        async def call() -> T:
            value = function(*args)
            await _settle()
            return value

        return self._in_trio(call)  # type: ignore[no-any-return]

    def advance(self, seconds: float) -> None:
        """Let time pass; events that are due at the end of it have happened too."""

        async def advance() -> None:
            await _settle()
            end_ns = self.system.now_ns + ns(seconds)
            end = self.system._trio_time(end_ns)
            while (due := _next_due()) <= end + ROUNDING:
                self._clock.jump(max(0.0, due - trio.current_time()))
                await _settle()
            self._clock.jump(max(0.0, end - trio.current_time()))
            self.system.now_ns = end_ns

        self._in_trio(advance)

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        self._advance_until(lambda: False, None)

    def _advance_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Let time pass until `done`, for at most `timeout` seconds, and while there is something to wait for."""

        async def advance() -> bool:
            await _settle()
            end = math.inf if timeout is None else trio.current_time() + timeout
            while not done():
                due = _next_due()
                if due == math.inf or due > end:
                    return False
                self._clock.jump(max(0.0, due - trio.current_time()))
                await _settle()
            return True

        return self._in_trio(advance)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop all actors and end trio's run.

        Raises:
            BaseException: the one that ended the system, if one did and it was not raised yet.
        """
        if self._thread.is_alive():
            with contextlib.suppress(trio.RunFinishedError):  # it may just have ended by itself
                self._token.run_sync_soon(self._close.set)
            self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error


async def _settle() -> None:
    """Return when all that can happen at this instant has happened."""
    await trio.testing.wait_all_tasks_blocked()


def _next_due() -> float:
    """Return when the next timer, deadline or sleep ends, by trio's clock; infinite if none will."""
    return trio.current_time() + trio.lowlevel.current_statistics().seconds_to_next_deadline
