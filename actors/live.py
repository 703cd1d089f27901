"""The actor system on trio: real time, real I/O, inside a user's service.

One task, the dispatcher, drains the ready queue. Effects run as tasks of their own. An ``async`` handler is a task too,
to which the dispatcher hands a turn and waits until it parks on one of our primitives, ends, or goes to a foreign await
(real I/O); from that it comes back in line through the queue. So handlers still run one at a time and in order, and
trio's shuffling of tasks has nothing to shuffle.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import outcome
import pykka
import trio

from actors.actor import Actor
from actors.coroutines import HandlerRun, Parked, Resume
from actors.effects import Cancellable, Performed
from actors.errors import ActorSystemError
from actors.futures import Future
from actors.instants import NS_PER_S, ns
from actors.system import ActorSystem

TOLERANCE_NS = 1_000
"""A timer this close to the clock is exactly due: trio's clock is a float, ours is not."""

MESSAGES_A_TURN = 256
"""How many messages are handled before other tasks get to run."""


class LiveTimer:
    """A message on its way to an actor at an instant."""

    __slots__ = ("actor", "message")

    def __init__(self, actor: Actor | None, message: Any) -> None:
        self.actor = actor
        self.message = message

    def cancel(self) -> None:
        """See to it that the message does not come."""
        self.actor = self.message = None


class Turn:
    """The right to run, lent by the dispatcher to an async handler until it parks or ends."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = trio.Event()


class Waiting:
    """Where the task of a parked handler waits for its next turn."""

    __slots__ = ("error", "event", "turn")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.turn: Turn | None = None
        self.error: BaseException | None = None

    def give(self, turn: Turn, error: BaseException | None = None) -> None:
        """Let the handler go on, with an error to raise in it or with none."""
        self.turn, self.error = turn, error
        self.event.set()


@types.coroutine
def _hand_to_trio(trap: Any) -> Generator[Any, Any, Any]:
    return (yield trap)


class LiveSystem(ActorSystem):
    """Actors under trio; use it as ``async with LiveSystem() as system:``.

    Leaving the block lets the messages that are ready be handled, then cancels what is under way. An error that ends
    the dispatcher cancels the block and is raised from it. `tell`, and asks from other threads, are thread-safe.
    """

    def __init__(
        self, *, seed: int = 0, start: datetime | None = None, record: Callable[[Any], None] | None = None
    ) -> None:
        start = start if start is not None else datetime.now(UTC)
        super().__init__(seed=seed, start=start, **({} if record is None else {"record": record}))
        self._heap: list[tuple[int, int, int, LiveTimer]] = []
        self._sequence = itertools.count()
        self._idle: trio.Event | None = None
        self._stopping = False
        self._stopped = trio.Event()
        self._crash: BaseException | None = None
        self._waiting: dict[HandlerRun, Waiting] = {}
        self._opened: AbstractAsyncContextManager[LiveSystem] | None = None

    async def __aenter__(self) -> LiveSystem:
        if self._opened is not None:
            raise ActorSystemError("a LiveSystem can be entered once")
        self._opened = self._open()
        return await self._opened.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        assert self._opened is not None
        return await self._opened.__aexit__(*exc_info)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[LiveSystem, None]:
        raised: Exception | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._trio_token = trio.lowlevel.current_trio_token()
            self._thread = threading.get_ident()
            self._started_at = trio.current_time()
            nursery.start_soon(self._dispatch)
            try:
                yield self
                self.stop()
                await self._stopped.wait()
            except Exception as error:
                raised = error  # raised below: not inside a group because of a nursery that is nobody's business
            finally:
                nursery.cancel_scope.cancel()
        if self._crash is not None:
            raise self._crash
        if raised is not None:
            raise raised

    async def run(self, *, until: float | None = None, until_ns: int | None = None) -> None:
        """Return when `stop` has been called, or at an instant (seconds, or nanoseconds) before what is due then."""
        if until is not None:
            until_ns = ns(until)
        if until_ns is not None:
            heapq.heappush(self._heap, (until_ns, 0, next(self._sequence), LiveTimer(None, self.stop)))
            self._wake()
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def set_timer(self, instant_ns: int, actor: Actor, message: Any) -> LiveTimer:
        timer = LiveTimer(actor, message)
        heapq.heappush(self._heap, (max(instant_ns, self.now_ns), 1, next(self._sequence), timer))
        if self._idle is not None:
            self._idle.set()
        return timer

    def _wall_ns(self) -> int:
        return round((trio.current_time() - self._started_at) * NS_PER_S)

    def _trio_time(self, instant_ns: int) -> float:
        return self._started_at + instant_ns / NS_PER_S

    def _fire_next_timer(self) -> bool:
        """Make the message of the next timer ready if it is due."""
        heap = self._heap
        while heap and heap[0][3].message is None:
            heapq.heappop(heap)
        if not heap:
            return False
        due_ns, wall_ns = heap[0][0], self._wall_ns()
        if due_ns > wall_ns + TOLERANCE_NS:
            return False
        timer = heapq.heappop(heap)[3]
        self.now_ns = max(self.now_ns, due_ns if wall_ns <= due_ns + TOLERANCE_NS else wall_ns)
        if timer.actor is None:
            timer.message()
        else:
            self._ready.append((timer.actor, timer.message))
        return True

    async def _wait_for_something_to_do(self) -> None:
        self._idle = trio.Event()
        deadline = self._trio_time(self._heap[0][0]) if self._heap else float("inf")
        with trio.CancelScope(deadline=deadline):
            await self._idle.wait()
        told = self._idle.is_set()
        self._idle = None
        if told:
            self.now_ns = max(self.now_ns, self._wall_ns())

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _dispatch(self) -> None:
        try:
            while True:
                await self._drain()
                if self._stopping:
                    return
                if not self._fire_next_timer():
                    await self._wait_for_something_to_do()
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._crash = error
            self._nursery.cancel_scope.cancel()
        finally:
            self._stopping = True
            self._stopped.set()
            for waiting in self._waiting.values():
                waiting.give(Turn())  # nobody hands out turns any more: handlers only unwind now

    async def _drain(self) -> None:
        ready = self._ready
        popleft = ready.popleft
        handled = 0
        while ready:
            actor, message = popleft()
            handler = actor._receptive.get(type(message))
            if handler is None:
                turn = self._deliver(actor, message)
                if turn is not None:
                    await turn.over.wait()
            else:
                try:
                    handler(message)
                except Exception as error:
                    self._failed(actor, message, error)
            handled += 1
            if handled % MESSAGES_A_TURN == 0:
                await trio.lowlevel.checkpoint()

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
                    trio.from_thread.run_sync(self._tell_bounded, actor, message, trio_token=self._trio_token)
            elif get_ident() != self._thread:
                self._post(actor, message)
            else:
                append((actor, message))
                if self._idle is not None:
                    self._idle.set()

        return tell

    def _post(self, actor: Actor, message: Any) -> None:
        if threading.get_ident() == self._thread:
            self._enqueue(actor, message)
            return
        try:
            self._trio_token.run_sync_soon(self._enqueue, actor, message)
        except trio.RunFinishedError:
            raise pykka.ActorDeadError(f"{actor.actor_ref} not found: its system has ended") from None

    def _begin(self, actor: Actor) -> None:
        if not hasattr(self, "_thread"):
            raise ActorSystemError("start actors inside: async with LiveSystem() as system")
        super()._begin(actor)

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.set()

    # ── async handlers ──────────────────────────────────────────────────────────────────────────────────────────

    def _drive(self, run: HandlerRun) -> Turn:
        turn = Turn()
        self._nursery.start_soon(self._run_handler, run, turn)
        return turn

    def _go_on(self, run: HandlerRun, error: BaseException | None) -> Turn | None:
        waiting = self._waiting.get(run)
        if waiting is None or waiting.turn is not None:
            return None
        turn = Turn()
        waiting.give(turn, error)
        return turn

    async def _run_handler(self, run: HandlerRun, turn: Turn) -> None:
        """Run one handler to its end, taking turns with the dispatcher."""
        error: BaseException | None = None
        value: Any = None
        try:
            while (yielded := self._step(run, error, value)) is not None:
                error, value = None, None
                if type(yielded) is Parked:
                    if run.deadline_error is not None:
                        error, run.deadline_error = run.deadline_error, None
                        continue
                    turn, error = await self._wait_parked(run, yielded, turn)
                else:
                    turn, error, value = await self._wait_foreign(run, yielded, turn)
        finally:
            self._waiting.pop(run, None)
            turn.over.set()

    async def _wait_parked(self, run: HandlerRun, parked: Parked, turn: Turn) -> tuple[Turn, BaseException | None]:
        waiting = self._waiting[run] = Waiting()
        self._park(run, parked)
        turn.over.set()
        try:
            await waiting.event.wait()
        except trio.Cancelled as cancelled:
            # A cancel scope round our own primitive. If the dispatcher has just given us the turn we have it already.
            return waiting.turn or await self._come_back_in_line(run), cancelled
        assert waiting.turn is not None
        return waiting.turn, waiting.error

    async def _wait_foreign(self, run: HandlerRun, trap: Any, turn: Turn) -> tuple[Turn, BaseException | None, Any]:
        self._run_now = None
        error: BaseException | None = None
        value: Any = None
        turn.over.set()
        with trio.CancelScope() as scope:
            run.foreign = scope
            if run.deadline_error is not None:
                scope.cancel()
            try:
                value = await _hand_to_trio(trap)
            except BaseException as raised:
                error = raised
        run.foreign = None
        aborted = isinstance(value, outcome.Error) and isinstance(value.error, trio.Cancelled)
        if scope.cancel_called and aborted and run.deadline_error is not None:
            error, run.deadline_error = run.deadline_error, None
        return await self._come_back_in_line(run), error, value

    async def _come_back_in_line(self, run: HandlerRun) -> Turn:
        """Wait for a turn, behind what is in the queue already."""
        if self._stopped.is_set():
            return Turn()
        waiting = self._waiting[run] = Waiting()
        run.park_count += 1
        self._enqueue(run.actor, Resume(run))
        with trio.CancelScope(shield=True):
            await waiting.event.wait()
        assert waiting.turn is not None
        return waiting.turn

    # ── the world outside ───────────────────────────────────────────────────────────────────────────────────────

    def _call(self, actor: Actor, effect: Any, request: Any, timeout_ns: int | None, on_timeout: Any) -> Cancellable:
        started_ns = self.now_ns
        deadline = float("inf") if timeout_ns is None else self._trio_time(started_ns + timeout_ns)
        scope = _EffectScope(deadline)
        self._nursery.start_soon(self._perform, actor, effect, request, started_ns, scope, on_timeout)
        return scope

    async def _perform(
        self, actor: Actor, effect: Any, request: Any, started_ns: int, scope: _EffectScope, on_timeout: Any
    ) -> None:
        result = on_timeout
        with scope.scope:
            try:
                result = await effect()
            except Exception as error:
                result = error
        if scope.cancelled:
            return
        ended_ns = max(self.now_ns, self._wall_ns())
        self._enqueue(actor, Performed(request=request, result=result, started_ns=started_ns, ended_ns=ended_ns))

    def _block_on(self, future: Future[Any], timeout: float | None) -> None:
        if timeout == 0:
            raise self._no_answer(future, timeout)
        if threading.get_ident() == self._thread:
            raise self._would_deadlock()
        answered = threading.Event()
        self._trio_token.run_sync_soon(future.when_done, answered.set)
        if not answered.wait(timeout):
            raise self._no_answer(future, timeout)

    def _wait_outside(self, future: Future[Any]) -> Generator[Any, None, None]:
        answered = trio.Event()
        future.when_done(answered.set)
        yield from answered.wait().__await__()


class _EffectScope:
    """What cancels an effect under way, and tells that from its time-out."""

    __slots__ = ("cancelled", "scope")

    def __init__(self, deadline: float) -> None:
        self.scope = trio.CancelScope(deadline=deadline)
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        self.scope.cancel()
