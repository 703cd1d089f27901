"""The actor system on trio: real time, real I/O, inside an application.

One task, the dispatcher, drains the ready queue. Effects run as tasks of their own. An ``async`` handler is a task too:
the dispatcher gives it a turn and waits until it parks on one of our primitives, ends, or begins a foreign await (real
I/O); after that await the handler comes back through the queue. So handlers still run one at a time and in order, and
the random order in which trio runs its tasks has no effect.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pykka
import trio

from actors.errors import ActorSystemError
from actors.instants import NS_PER_S, ns, utc
from actors.kernel.actor import Actor
from actors.kernel.async_handlers import Cancel, HandlerRun, Scope
from actors.kernel.effects import Cancellable, Performed, Promise
from actors.kernel.futures import Future, Unanswered
from actors.kernel.interceptors import Interceptor
from actors.kernel.live_handlers import HandlerTask
from actors.kernel.promises import Awaited
from actors.kernel.system import ActorSystem
from actors.kernel.trio_token import trio_token

logger = logging.getLogger(__name__)

TOLERANCE_NS = 1_000
"""A timer this close to the clock is exactly due: trio's clock is a float, ours is not."""

MESSAGES_A_TURN = 256
"""How many messages are handled before other tasks get to run."""

HEAP_SIZE_MIN = 1_000
"""With fewer timers, cancelled ones are not searched for."""

CLOCK_STEP_NS = NS_PER_S
"""By how much the wall clock has to part from the monotonic one to have been set: reading both takes its time, too."""


class LiveTimer:
    """A message on its way to an actor at an instant; without an actor, a function that is called then."""

    __slots__ = ("actor", "message")

    def __init__(self, actor: Any, message: Any) -> None:
        self.actor = actor
        self.message = message

    def cancel(self) -> None:
        self.actor = self.message = None


class LiveTimers:
    """The timers by instant; timers of one instant by place, and then in the order in which they were set."""

    __slots__ = ("_heap", "_sequence", "_size_max")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, LiveTimer]] = []
        self._size_max = HEAP_SIZE_MIN
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, instant_ns: int, place: int, actor: Any, message: Any) -> LiveTimer:
        timer = LiveTimer(actor, message)
        heapq.heappush(self._heap, (instant_ns, place, next(self._sequence), timer))
        if len(self._heap) > self._size_max:
            # Remove cancelled timers before they are due, so often that they fill at most half of the heap.
            self._heap = [entry for entry in self._heap if entry[3].message is not None]
            heapq.heapify(self._heap)
            self._size_max = max(HEAP_SIZE_MIN, 2 * len(self._heap))
        return timer

    @property
    def next_ns(self) -> int | None:
        """When the next timer is due that is not cancelled; None: there is none."""
        heap = self._heap
        while heap and heap[0][3].message is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self) -> LiveTimer:
        return heapq.heappop(self._heap)[3]


class WallClock:
    """The wall clock beside the monotonic one; how far it is ahead stays the same until it is set."""

    def __init__(self) -> None:
        self._ahead_ns = self._read()

    @staticmethod
    def _read() -> int:
        return time.time_ns() - time.monotonic_ns()

    def step_ns(self) -> int:
        """Return by how much the wall clock has been set since the last step; 0 for less than `CLOCK_STEP_NS`."""
        step_ns = self._read() - self._ahead_ns
        if abs(step_ns) < CLOCK_STEP_NS:
            return 0
        self._ahead_ns += step_ns
        return step_ns


class LiveSystem(ActorSystem):
    """Actors under trio; use it as ``async with LiveSystem() as system:``.

    At the end of the block the messages that are ready are handled; then all actors are stopped, and their effects and
    async handlers cancelled. Not even a shield keeps a handler waiting, since no timer and no answer comes any more.
    Questions without an answer are answered with ActorDeadError. An error that ends the dispatcher cancels the block
    and is raised from it.

    `tell`, `stop`, `crash`, and asks from other threads, are thread-safe.

    Without a `start` the system's clock starts now, and `epoch_ns` follows the wall clock when that is set, or when it
    has gone on while the machine slept.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        start: datetime | None = None,
        record: Callable[[Any], None] | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._wall_clock = WallClock() if start is None else None
        start = start if start is not None else datetime.now(UTC)
        super().__init__(seed=seed, start=start, record=record, interceptors=interceptors)
        self._timers = LiveTimers()
        self._idle: trio.Event | None = None
        self.when_idle: list[Callable[[], object]] = []
        """Called each time that no message is ready and no timer is due."""
        self._stopping = False
        self._stopped = trio.Event()
        self._crash: BaseException | None = None
        self._tasks: dict[HandlerRun, HandlerTask] = {}
        self._opened: AbstractAsyncContextManager[LiveSystem] | None = None

    async def __aenter__(self) -> LiveSystem:
        if self._opened is not None:
            raise ActorSystemError("a LiveSystem can be entered once")
        self._trio_token = trio_token()
        self._opened = self._open()
        return await self._opened.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        assert self._opened is not None
        return await self._opened.__aexit__(*exc_info)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[LiveSystem, None]:
        raised: BaseException | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._thread = threading.get_ident()
            self._trio_now = trio.lowlevel.current_clock().current_time
            self._started_at = self._trio_now()
            nursery.start_soon(self._dispatch)
            try:
                yield self
                self.stop()
                await self._stopped.wait()
            except BaseException as error:
                raised = error  # raised below: not in the group of a nursery that is internal
            finally:
                nursery.cancel_scope.cancel()
        if self._crash is not None:
            raise self._crash from (None if isinstance(raised, trio.Cancelled) else raised)
        if raised is not None:
            raise raised

    async def run(self, *, until: float | None = None, until_ns: int | None = None) -> None:
        """Return when `stop` has been called, or at an instant (seconds, or nanoseconds) before its timers."""
        if until is not None:
            until_ns = ns(until)
        if until_ns is not None:
            self._timers.add(until_ns, 0, None, self.stop)
            self._wake()
        await self._stopped.wait()

    def stop(self) -> None:
        """End the run behind the messages that are ready; from any thread."""
        if threading.get_ident() == self._thread:
            self._stopping = True
            self._wake()
        else:
            self._trio_token.run_sync_soon(self.stop)

    def set_timer(self, instant_ns: int, actor: Actor, message: Any) -> LiveTimer:
        return self._add_timer(instant_ns, 1, actor, message)

    def _set_timer_behind(self, instant_ns: int, actor: Actor, message: Any) -> LiveTimer:
        return self._add_timer(instant_ns, 2, actor, message)

    def _add_timer(self, instant_ns: int, place: int, actor: Actor, message: Any) -> LiveTimer:
        if self._idle is not None:
            self._idle.set()
        return self._timers.add(max(instant_ns, self.now_ns), place, actor, message)

    def is_idle_until(self, deadline: float) -> bool:
        """Tell whether nothing will happen by itself before a time of trio's clock: no message is ready, no task is
        running, and no timer is due. A promise that is kept from outside the system is not seen."""
        is_due = self._next_time() < deadline
        return not (is_due or self._ready or len(self._nursery.child_tasks) > 1)  # the one is the dispatcher

    @property
    def present(self) -> datetime:
        """The present instant in UTC, for callers that are no actors: `now_ns` is the latest message's, however old."""
        self._look_at_the_wall_clock()
        return utc(self.epoch_ns + max(self.now_ns, self._wall_ns()))

    def _wall_ns(self) -> int:
        return round((self._trio_now() - self._started_at) * NS_PER_S)

    def _catch_up(self) -> None:
        """Set the clock by trio's, and exactly to the instant of a timer that is due just now."""
        wall_ns = self._wall_ns()
        if wall_ns <= self.now_ns + TOLERANCE_NS:
            return  # messages of this instant may be left, and a timer a nanosecond later comes behind them
        due_ns = self._timers.next_ns
        if due_ns is None or abs(due_ns - wall_ns) > TOLERANCE_NS:
            due_ns = wall_ns
        self.now_ns = max(self.now_ns, due_ns)

    def _look_at_the_wall_clock(self) -> None:
        step_ns = 0 if self._wall_clock is None else self._wall_clock.step_ns()
        if step_ns:
            logger.warning("the wall clock was set by %+.1f s", step_ns / NS_PER_S)
            self.epoch_ns += step_ns

    def _trio_time(self, instant_ns: int) -> float:
        return self._started_at + instant_ns / NS_PER_S

    def _next_time(self) -> float:
        """Return when the next timer is due on trio's clock; infinity: there is none."""
        due_ns = self._timers.next_ns
        return math.inf if due_ns is None else self._trio_time(due_ns)

    def _fire_next_timer(self) -> bool:
        due_ns, wall_ns = self._timers.next_ns, self._wall_ns()
        if due_ns is None or due_ns > wall_ns + TOLERANCE_NS:
            return False
        timer = self._timers.pop()
        self.now_ns = max(self.now_ns, due_ns if wall_ns <= due_ns + TOLERANCE_NS else wall_ns)
        if timer.actor is None:
            timer.message()
        else:
            self._ready.append((timer.actor, timer.message))
        return True

    async def _wait_for_something_to_do(self) -> None:
        self._idle = trio.Event()
        for look in tuple(self.when_idle):
            look()
        with trio.CancelScope(deadline=self._next_time()):
            await self._idle.wait()
        woken = self._idle.is_set()
        self._idle = None
        self._look_at_the_wall_clock()
        if woken:
            self._catch_up()

    async def _dispatch(self) -> None:
        without_a_pause = 0
        try:
            while True:
                without_a_pause += await self._drain()
                if self._stopping:
                    self._lifecycle.stop_all()
                    await self._drain()  # async handlers unwind in an order of ours
                    return
                if not self._fire_next_timer():
                    await self._wait_for_something_to_do()
                    without_a_pause = 0
                elif without_a_pause >= MESSAGES_A_TURN:
                    await self._let_others_run()
                    without_a_pause = 0
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._fail(error)
        finally:
            self._close()

    def _fail(self, error: BaseException) -> None:
        if self._crash is None:
            self._crash = error
        self._nursery.cancel_scope.cancel()

    def _close(self) -> None:
        self._stopping = self.has_ended = True
        self._lifecycle.stop_all()
        while self._ready:
            actor, message = self._ready.popleft()
            if type(message) is Cancel and message.scope.run is not None:
                message.scope.cancel_now()
                message.scope.trio_scope.cancel()
            self._refuse(actor, message)
        for task in self._tasks.values():
            task.go_on()  # if it is back from real I/O, else it unwinds
        self._stopped.set()

    async def _let_others_run(self) -> None:
        await trio.lowlevel.checkpoint()
        self._look_at_the_wall_clock()
        self._catch_up()

    async def _drain(self) -> int:
        ready = self._ready
        popleft = ready.popleft
        handled = 0
        while ready:
            actor, message = popleft()
            handler = actor._accepting.get(type(message))
            if handler is None:
                turn = self._deliver(actor, message)
                if turn is not None:
                    await turn.wait()
            else:
                try:
                    handler(message)
                except Exception as error:
                    self._lifecycle.failed(actor, message, error)
            handled += 1
            if handled % MESSAGES_A_TURN == 0:
                await self._let_others_run()
        return handled

    def _teller(self, actor: Actor) -> Callable[[Any], None]:
        stopped = actor.actor_stopped
        append = self._ready.append
        get_ident = threading.get_ident
        bounded = actor.mailbox.capacity is not None

        def tell(message: Any) -> None:
            if stopped.is_set():
                self._raise_dead(actor, message)
            if bounded:
                if get_ident() == self._thread:
                    self._tell_bounded(actor, message)
                else:
                    self._tell_bounded_from_a_thread(actor, message)
            elif get_ident() != self._thread:
                self._post(actor, message)
            else:
                append((actor, message))
                if self._idle is not None:
                    self._idle.set()

        return tell

    def _tell_bounded_from_a_thread(self, actor: Actor, message: Any) -> None:
        def tell() -> None:
            if actor.actor_stopped.is_set():
                self._raise_dead(actor, message)
            self._tell_bounded(actor, message)

        try:
            trio.from_thread.run_sync(tell, trio_token=self._trio_token)
        except trio.RunFinishedError:
            raise self._system_has_ended(actor) from None

    def _system_has_ended(self, actor: Actor) -> pykka.ActorDeadError:
        return pykka.ActorDeadError(f"{actor.actor_ref} not found: its system has ended")

    def _post(self, actor: Actor, message: Any) -> None:
        if threading.get_ident() == self._thread:
            self._enqueue(actor, message)
            return
        try:
            self._trio_token.run_sync_soon(self._enqueue_from_environment, actor, message)
        except trio.RunFinishedError:
            raise self._system_has_ended(actor) from None

    def _enqueue_from_environment(self, actor: Actor, message: Any) -> None:
        if self.has_ended:
            self._refuse(actor, message)
        else:
            self._enqueue(actor, message)

    def _begin(self, actor: Actor) -> None:
        if not hasattr(self, "_thread"):
            self._lifecycle.refuse_to_begin(actor, "start actors inside: async with LiveSystem() as system")
        super()._begin(actor)

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.set()

    def _drive(self, run: HandlerRun) -> trio.Event:
        run.whole.extend_to(trio.CancelScope())
        task = self._tasks[run] = HandlerTask(self, run)
        self._nursery.start_soon(task.run)
        return task.turn

    def _go_on(self, run: HandlerRun) -> trio.Event | None:
        return self._tasks[run].go_on() if run in self._tasks else None

    def _cancel_scope(self, run: HandlerRun, scope: Scope) -> trio.Event | None:
        # trio cancels everything that a handler can wait for here: real I/O, nurseries, and its turn.
        scope.trio_scope.cancel()
        return self._tasks[run].cancel() if run in self._tasks else None

    def _forget(self, run: HandlerRun) -> None:
        self._tasks.pop(run, None)

    def _enter_trio_scope(self) -> trio.CancelScope:
        return trio.CancelScope().__enter__()

    def _unwound(self, what: Any, raised: BaseException) -> None:
        cancelled: BaseException | None = None
        rest: BaseException | None = raised
        if isinstance(raised, trio.Cancelled):
            cancelled, rest = raised, None
        elif isinstance(raised, BaseExceptionGroup):
            cancelled, rest = raised.split(trio.Cancelled)
        if isinstance(rest, ExceptionGroup):
            logger.error("%s raised when it was cancelled", what, exc_info=rest)
        elif rest is not None:
            self._fail(rest)
        if cancelled is not None:
            raise cancelled

    def _call(self, actor: Actor, effect: Any, request: Any, timeout_ns: int | None, on_timeout: Any) -> Cancellable:
        if isinstance(effect, Promise):
            return Awaited(self, actor, effect, request, timeout_ns, on_timeout)
        deadline = math.inf if timeout_ns is None else self._trio_time(self.now_ns + timeout_ns)
        running = _RunningEffect(self, actor, effect, request, deadline, on_timeout)
        self._nursery.start_soon(running.run)
        return running

    def _may_block(self) -> bool:
        return threading.get_ident() != self._thread

    def _block_on(self, future: Future[Any], timeout: float | None) -> None:
        answered = threading.Event()
        future.when_done(answered.set)
        if not answered.wait(timeout):
            raise Unanswered.within(timeout, future)

    def _current_run(self) -> HandlerRun | None:
        return self._run_now if threading.get_ident() == self._thread else None

    def _wait_outside(self, future: Future[Any]) -> Generator[Any, None, None]:
        # The waiter may be in a trio run of its own, and the answer may come from any thread.
        answered, token, thread = trio.Event(), trio.lowlevel.current_trio_token(), threading.get_ident()

        def wake() -> None:
            if threading.get_ident() == thread:
                answered.set()
            else:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(answered.set)

        future.when_done(wake)
        yield from answered.wait().__await__()


class _RunningEffect:
    __slots__ = ("_actor", "_effect", "_on_timeout", "_request", "_scope", "_started_ns", "_system", "_was_cancelled")

    def __init__(
        self, system: LiveSystem, actor: Actor, effect: Any, request: Any, deadline: float, on_timeout: Any
    ) -> None:
        self._system = system
        self._actor = actor
        self._effect = effect
        self._request = request
        self._started_ns = system.now_ns
        self._scope = trio.CancelScope(deadline=deadline)
        self._on_timeout = on_timeout
        self._was_cancelled = False

    def cancel(self) -> None:
        """Cancel the effect, so that neither its result nor its time-out is delivered."""
        self._was_cancelled = True
        self._scope.cancel()

    async def run(self) -> None:
        system, result = self._system, self._on_timeout
        try:
            with self._scope:
                result = await self._effect()
        except Exception as error:
            result = error
        except BaseException as raised:
            system._unwound(self._effect, raised)
            return
        if not self._was_cancelled:
            system._catch_up()
            done = Performed(request=self._request, result=result, started_ns=self._started_ns, ended_ns=system.now_ns)
            system._enqueue_from_environment(self._actor, done)
