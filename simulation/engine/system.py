"""The actor system on SimPy's clock: an hour passes in the time that it takes to compute.

No SimPy event is made for a message, and no process for an actor: SimPy is asked only where time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from heapq import heappop, heappush
from math import ceil
from typing import Any, ClassVar, TypeVar

import msgspec
import simpy
import simpy.rt
from simpy.core import EmptySchedule
from simpy.events import NORMAL, URGENT

from actors.errors import ActorSystemError, ForeignAwait
from actors.instants import NS_PER_S, ns
from actors.kernel.actor import Actor
from actors.kernel.async_handlers import HandlerRun, Parked, Scope
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed, Promise
from actors.kernel.futures import Future, Unanswered
from actors.kernel.interceptors import Interceptor
from actors.kernel.promises import Awaited
from actors.kernel.system import START_OF_TIME, ActorSystem

A = TypeVar("A", bound=Actor)
E = TypeVar("E", bound=BaseException)

BEHIND = NORMAL + 1
"""The priority, in SimPy, of an event that comes after all others that are due at its instant."""

_NO_CALLBACKS: list[Any] = []
"""The callbacks of a cancelled event: SimPy cannot take an event back."""


_SAID_WITHOUT_A_LOOP = (
    "must be called from async context",  # trio
    "no running event loop",  # asyncio
    "unknown async library, or not in async context",  # sniffio, and so anyio
)


def _foreign_await(awaited: Any) -> ForeignAwait:
    return ForeignAwait(
        f"an async handler awaited what only a real event loop could answer ({awaited!r}), in simulated time; "
        "await self.sleep() or a future of ask(), or use self.perform()"
    )


class Timer(msgspec.Struct, eq=False):
    """A triggered event, to SimPy; it brings one message to one actor.

    Its callbacks are shared by all timers of a system, which SimPy never changes. A simpy.Event would do the same, and
    take several times as long to make.
    """

    _ok: ClassVar[bool] = True
    _value: ClassVar[None] = None

    actor: Actor
    message: Any
    callbacks: list[Any] | None

    def cancel(self) -> None:
        """Cancel the message, so that it does not come; one that has come already is not called back."""
        self.callbacks = _NO_CALLBACKS
        self.message = None


class SimulatedSystem(ActorSystem):
    """Actors in simulated time.

    ``real_time_factor`` makes the clock follow the wall's, for demonstrations: with 1 a second takes a second, with
    0.1 a tenth of one. Processes of your own may live in the same `env` and tell actors anything.

    Used as ``with SimulatedSystem() as system:``, it is closed in the end, as a live one is. One that is not closed may
    just be dropped; then Python unwinds what its async handlers left off whenever it gets to it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        start: datetime = START_OF_TIME,
        record: Callable[[Any], None] | None = None,
        env: simpy.Environment | None = None,
        real_time_factor: float | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        super().__init__(seed=seed, start=start, record=record, interceptors=interceptors)
        if env is None:
            env = (
                simpy.Environment(initial_time=0)
                if real_time_factor is None
                else simpy.rt.RealtimeEnvironment(initial_time=0, factor=real_time_factor / NS_PER_S, strict=False)
            )
        self.env = env
        self._queue: list[Any] = env._queue
        self._event_ids = env._eid
        self.now_ns = ceil(env.now)
        self._idle = True
        """Whether no handler is running: messages and timers of now come from the environment."""
        self._drain_scheduled = False
        self._stopping = False
        self._fire_callbacks = [self._fire]
        self._drain_callbacks = [self._drain_after_tell]

    def _register(self, actor: Actor) -> None:
        """Leave it out: pykka's registry is the whole process's, and keeps what is in it alive, and runs come by the
        thousand, and nothing ends them. Actors started pykka's own way, by a class bound to a system, are in it."""

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_timer_behind(self, instant_ns: int, actor: Actor, message: Any) -> Timer:
        self._catch_up()
        timer = Timer(actor, message, self._fire_callbacks)
        heappush(self._queue, (max(instant_ns, self.now_ns), BEHIND, next(self._event_ids), timer))
        return timer

    def set_timer(self, instant_ns: int, actor: Actor, message: Any) -> Timer:
        now_ns = self.now_ns
        if self._idle:
            now_ns = self.now_ns = ceil(self.env.now)  # called by a process of the user's, or between runs
        timer = Timer(actor, message, self._fire_callbacks)
        # As env.schedule does, but at an instant: a delay would be added to a clock that a process of the user's may
        # have moved by a fraction.
        heappush(self._queue, (instant_ns if instant_ns > now_ns else now_ns, NORMAL, next(self._event_ids), timer))
        return timer

    def perform(
        self, actor: Actor, effect: Effect, request: Any, timeout_ns: int | None = None, on_timeout: Any = None
    ) -> Cancellable:
        if type(effect) is not Foreseen or self._idle:
            return super().perform(actor, effect, request, timeout_ns, on_timeout)
        # As there, with set_timer taken in: once for each attempt of a run.
        now_ns = self.now_ns
        delay_ns, result = effect.delay_ns, effect.result
        if timeout_ns is not None and delay_ns > timeout_ns:
            delay_ns, result = timeout_ns, on_timeout
        ended_ns = now_ns + delay_ns
        timer = Timer(
            actor,
            Performed(request=request, result=result, started_ns=now_ns, ended_ns=ended_ns),
            self._fire_callbacks,
        )
        heappush(self._queue, (ended_ns, NORMAL, next(self._event_ids), timer))
        return timer

    def _fire(self, timer: Any) -> None:
        self.now_ns = self.env._now  # type: ignore[assignment]
        self._ready.append((timer.actor, timer.message))
        self._drain()

    def run(self, *, until: float | None = None, until_ns: int | None = None) -> None:
        """Run until nothing is left to happen, until `stop`, or until an instant (in seconds, or in nanoseconds).

        Events due at that instant itself do not run. A timer that was cancelled does not move the clock.
        """
        if until is not None:
            until_ns = ns(until)
        end = None
        if until_ns is not None:
            end = simpy.Event(self.env)
            end._ok, end._value = True, None
            end.callbacks.append(lambda _: self.stop())
            self.env.schedule(end, URGENT, max(0, until_ns - self.env.now))
        self._stopping = False
        try:
            self._step_until_stopped()
        except EmptySchedule:
            return
        finally:
            if end is not None and end.callbacks is not None:
                end.callbacks = _NO_CALLBACKS
        if end is not None and end.callbacks is None:
            self.now_ns = ceil(self.env.now)

    def _step_until_stopped(self) -> None:
        env, ready, queue = self.env, self._ready, self._queue
        # A timer of ours needs nothing of what step() does for any event but the clock, so it is handled here. An
        # environment of another class (one in real time) may do more in its step().
        ours = self._fire_callbacks if type(env) is simpy.Environment else None
        while not self._stopping:
            callbacks: Any = queue[0][3].callbacks if queue else None
            if callbacks is ours and not ready and queue:
                self._fire_timers(self._fire_callbacks)
            elif callbacks is _NO_CALLBACKS:
                heappop(queue)  # cancelled: to step over it would move the clock
            else:
                env.step()  # raises EmptySchedule when there is nothing left

    def _fire_timers(self, ours: list[Any]) -> None:
        """Fire the timers that are next, one after the other, until something else is."""
        env, ready, queue = self.env, self._ready, self._queue
        popleft = ready.popleft
        actor: Any
        message: Any
        self._idle = False
        try:
            while queue:
                timer: Any = queue[0][3]
                if timer.callbacks is not ours or self._stopping:
                    break
                self.now_ns = env._now = heappop(queue)[0]  # whole, as set_timer wrote it
                actor, message = timer.actor, timer.message
                # _drain once more, whose first message comes from the timer.
                while True:
                    try:
                        handler = actor._accepting[type(message)]
                    except KeyError:
                        self._deliver(actor, message)
                    else:
                        handler(message)
                    if not ready:
                        break
                    actor, message = popleft()
        except Exception as error:
            self._lifecycle.failed(actor, message, error)
            self._drain()
        finally:
            self._idle = True

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        """Stop all actors, as leaving the block of a live system does, and unwind the async handlers under way.

        Raises:
            ActorSystemError: this is inside a handler.
        """
        if not self._idle:
            raise ActorSystemError("a handler cannot close its system: stop() it, and close it outside of any handler")
        self._lifecycle.stop_all()
        self._drain()
        self.has_ended = True

    def __enter__(self) -> SimulatedSystem:
        return self

    def __exit__(self, *_exc_info: Any) -> None:
        self.close()

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────

    def _teller(self, actor: Actor) -> Callable[[Any], None]:
        stopped = actor.actor_stopped
        if actor.mailbox.capacity is not None:

            def tell_bounded(message: Any) -> None:
                if stopped.is_set():
                    self._raise_dead(actor, message)
                self._tell_bounded(actor, message)

            return tell_bounded

        append = self._ready.append

        def tell(message: Any) -> None:
            if stopped._flag:  # type: ignore[attr-defined]  # is_set() without the call
                self._raise_dead(actor, message)
            append((actor, message))
            if self._idle:
                self._wake()

        return tell

    def _wake(self) -> None:
        if self._idle and not self._drain_scheduled:
            # Sent by no handler: drain when SimPy gets to it, at this same instant.
            self._drain_scheduled = True
            event = simpy.Event(self.env)
            event._ok, event._value = True, None
            event.callbacks = self._drain_callbacks  # type: ignore[assignment]
            self.env.schedule(event)

    def _drain_after_tell(self, _event: Any) -> None:
        self._drain_scheduled = False
        self.now_ns = ceil(self.env.now)
        self._drain()

    def _drain(self) -> None:
        ready = self._ready
        self._idle = False
        try:
            while ready:
                actor, message = ready.popleft()
                handler = actor._accepting.get(type(message))
                if handler is None:
                    self._deliver(actor, message)
                else:
                    try:
                        handler(message)
                    except Exception as error:
                        self._lifecycle.failed(actor, message, error)
        finally:
            self._idle = True

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _drive(self, run: HandlerRun) -> None:
        self._run_on(run, None)

    def _go_on(self, run: HandlerRun) -> None:
        self._run_on(run, None)

    def _cancel_scope(self, run: HandlerRun, scope: Scope) -> None:
        self._run_on(run, scope.error)

    def _enter_trio_scope(self) -> None:
        """Nothing goes on under trio here."""

    def _run_on(self, run: HandlerRun, error: BaseException | None) -> None:
        yielded = self._step(run, error)
        while yielded is not None:
            if type(yielded) is not Parked:
                yielded = self._step(run, _foreign_await(yielded))
            elif (scope := run.cancelled) is not None:
                yielded = self._step(run, scope.error)
            else:
                self._park(run, yielded)
                return

    def _explained(self, error: E) -> E | ForeignAwait:
        if isinstance(error, RuntimeError) and str(error) in _SAID_WITHOUT_A_LOOP:
            explained = _foreign_await(error)
            explained.__cause__ = error
            return explained
        return error

    def _may_block(self) -> bool:
        return self._idle

    def _block_on(self, future: Future[Any], timeout: float | None) -> None:
        end_ns = None if timeout is None else self.env.now + ns(timeout)
        queue = self._queue
        while not future.done:
            while queue and queue[0][3].callbacks is _NO_CALLBACKS:
                heappop(queue)
            next_ns = self.env.peek()
            if next_ns == float("inf") or (end_ns is not None and next_ns > end_ns):
                raise Unanswered.within(timeout, future)
            self.env.step()

    def _wait_outside(self, future: Future[Any]) -> Generator[Any, None, None]:
        raise ForeignAwait("await a future of a simulated system in a handler; elsewhere call its get()")

    def _catch_up(self) -> None:
        if self._idle:
            self.now_ns = ceil(self.env.now)

    def _call(self, actor: Actor, effect: Any, request: Any, timeout_ns: int | None, on_timeout: Any) -> Cancellable:
        if isinstance(effect, Promise):
            return Awaited(self, actor, effect, request, timeout_ns, on_timeout)
        wanted = getattr(effect, "__wrapped__", effect)
        raise ForeignAwait(f"{actor} wants real I/O ({wanted!r}) in simulated time: give it a simulated provider")
