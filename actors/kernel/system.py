"""The actor system: one first-in-first-out queue of ready messages, and the loop that drains it.

Two systems share this code: :class:`actors.kernel.live.LiveSystem` on trio and
:class:`simulation.engine.system.SimulatedSystem` on SimPy. They differ in the source of time, and in nothing that
decides the order of messages; so a run under trio's ``MockClock`` has the same history as a run in simulated time.
Failures of actors are handled in :mod:`actors.kernel.supervision`.

Rules of order: messages are handled in the order in which they were sent, whichever actor they are for; timers due at
the same instant fire in the order in which they were set, and all messages that follow from a timer are handled before
the next timer. The time-outs of promises come last among everything due at their instant.
"""

from __future__ import annotations

import inspect
import logging
import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import msgspec
import pykka

from actors.errors import ActorSystemError, ForeignAwait, InvariantBreach, MailboxFull
from actors.instants import ns, since_1970_ns
from actors.kernel.actor import NOTHING, Actor, StartIncarnation, _spawned_at
from actors.kernel.async_handlers import Cancel, HandlerRun, Parked, Resume, Scope
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed
from actors.kernel.futures import Future
from actors.kernel.interceptors import Intercepted, Interceptor, put_in
from actors.kernel.mailbox import Envelope, Stop, is_stop, opened
from actors.kernel.promises import Environment, ScheduledCall
from actors.kernel.pykka_hooks import ActorRef, pykkas_logger
from actors.kernel.randomness import RandomStreams
from actors.kernel.runtime import Process
from actors.kernel.supervision import FailNow, Lifecycle, Restarted, Terminated

logger = logging.getLogger(__name__)

A = TypeVar("A", bound=Actor)
E = TypeVar("E", bound=BaseException)

UNDELIVERED_KEPT = 1000
START_OF_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a run starts on the calendar by default: fixed, so that runs are repeatable."""


class Undelivered(msgspec.Struct, frozen=True):
    """A message that no handler took: a dead letter in the actors' sense, unrelated to a notification's."""

    recipient: str
    message: Any
    reason: str
    at_ns: int


class _NextFromInbox:
    """Stands in the ready queue for the oldest message in the inbox of a bounded actor."""

    __slots__ = ()


_NEXT_FROM_INBOX = _NextFromInbox()
_OF_THE_SYSTEM = (Resume, Cancel, Stop, StartIncarnation, FailNow, _NextFromInbox, Terminated, Restarted)
"""Messages whose loss does not matter when their actor has stopped."""


class ActorSystem(Intercepted, ABC):
    """The common part of both systems: everything but time.

    Args:
        seed: all random streams are derived from it.
        start: the instant on the calendar at which the system's clock reads 0.
        record: receives every event of the history, in order.
        interceptors: hooks between the system and its actors, the outermost first.
    """

    now_ns: int
    """The instant of the message being handled, in nanoseconds since the start of the run."""
    node_number: int | None = None
    """The number of the process, where several run on the system: see :class:`actors.kernel.node.Node`."""

    has_ended = False
    """Whether all its actors have been stopped for good, so that none is left to take a message."""
    future_class: type[Future[Any]] = Future
    """The class of this system's futures."""

    def __init__(
        self,
        *,
        seed: int = 0,
        start: datetime = START_OF_TIME,
        record: Callable[[Any], None] | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self.now_ns = 0
        self.epoch_ns = since_1970_ns(start)
        """Where on the calendar `now_ns` is 0, in nanoseconds since 1970: the wall clock shows their sum. It changes
        when the wall clock steps, so read it each time the calendar is needed."""
        self.streams = RandomStreams(seed)
        self.record: Callable[[Any], None] = record or (lambda _: None)
        self.undelivered: deque[Undelivered] = deque(maxlen=UNDELIVERED_KEPT)
        """The latest messages that no handler took."""
        self.undelivered_count = 0
        self._new_urn = self.streams.urns("urn").__next__
        self._ready: deque[tuple[Actor, Any]] = deque()
        self._lifecycle = Lifecycle(self)
        self.future_class = type("BoundFuture", (Future,), {"system": self})
        self._environment: ActorRef[Environment] | None = None
        self._run_now: HandlerRun | None = None
        """The async handler whose code is running at this moment."""
        self._handed_over_to: Actor | None = None
        """The actor that is about to handle what stood in its mailbox while it was down, or busy."""
        self.delivers_once = all(interceptor.delivers_once for interceptor in interceptors)
        """Whether each message comes once, and messages of one actor to another in order, as both systems ensure."""
        for interceptor in reversed(interceptors):
            put_in(interceptor, self, self._lifecycle)

    @property
    def is_busy(self) -> bool:
        """Whether more messages wait to be handled at this instant."""
        return bool(self._ready)

    @abstractmethod
    def set_timer(self, instant_ns: int, actor: Actor, message: Any) -> Cancellable:
        """Have `message` come to `actor` at an instant; one in the past is now."""

    @abstractmethod
    def _set_timer_behind(self, instant_ns: int, actor: Actor, message: Any) -> Cancellable:
        """Set a timer that comes behind all others of its instant, those included that are set only then."""

    @abstractmethod
    def stop(self) -> None:
        """End the run behind the message being handled."""

    @abstractmethod
    def _call(self, actor: Actor, effect: Any, request: Any, timeout_ns: int | None, on_timeout: Any) -> Cancellable:
        """Begin an effect whose result is not known beforehand."""

    @abstractmethod
    def _catch_up(self) -> None:
        """Bring `now_ns` up to date for a message from the environment."""

    @abstractmethod
    def _teller(self, actor: Actor) -> Callable[[Any], None]:
        """Return the function that becomes the `tell` of the actor's reference."""

    @abstractmethod
    def _wake(self) -> None:
        """Make sure that the ready queue will be drained."""

    @abstractmethod
    def _may_block(self) -> bool:
        """Tell whether this is a place where a blocking wait can end."""

    @abstractmethod
    def _block_on(self, future: Future[Any], timeout: float | None) -> None:
        """Return when `future` is settled, or raise Unanswered. Called where blocking works."""

    @abstractmethod
    def _wait_outside(self, future: Future[Any]) -> Generator[Any, None, None]:
        """Wait for `future` in a coroutine that is no handler."""

    @abstractmethod
    def _drive(self, run: HandlerRun) -> Any:
        """Start an async handler and run it until it first waits."""

    @abstractmethod
    def _go_on(self, run: HandlerRun) -> Any:
        """Resume a parked async handler and run it until it waits again."""

    @abstractmethod
    def _cancel_scope(self, run: HandlerRun, scope: Scope) -> Any:
        """Cancel the wait of an async handler, and if it is parked, run it until it waits again."""

    @abstractmethod
    def _enter_trio_scope(self) -> Any:
        """Enter a trio cancel scope for a part of an async handler, where there is trio."""

    def step_wall_clock(self, by: float) -> None:
        """Step the wall clock by `by` seconds, back when negative; `now_ns` and timers take no notice."""
        self.epoch_ns += ns(by)

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        return self._spawn(None, actor_class, args, kwargs)

    def bind(self, actor_class: type[A]) -> type[A]:
        """Return a subclass whose ``start()`` puts its actors into this system, as pykka's own classes work."""
        return type(actor_class.__name__, (actor_class,), {"system": self})

    def crash(self, ref: ActorRef[Any], error: Exception, restart_after: float | None = None) -> None:
        self._lifecycle.crash(ref, error, restart_after)

    def kill(self, ref: ActorRef[Any]) -> None:
        self._lifecycle.kill(ref)

    def perform(
        self, actor: Actor, effect: Effect, request: Any, timeout_ns: int | None = None, on_timeout: Any = None
    ) -> Cancellable:
        """Begin an effect whose end is reported to `actor`; see :meth:`Actor.perform`.

        An answer at the instant of the time-out counts.
        """
        if type(effect) is not Foreseen:
            return self._call(actor, effect, request, timeout_ns, on_timeout)
        now_ns = self.now_ns
        delay_ns, result = effect.delay_ns, effect.result
        if timeout_ns is not None and delay_ns > timeout_ns:
            delay_ns, result = timeout_ns, on_timeout
        ended_ns = now_ns + delay_ns
        done = Performed(request=request, result=result, started_ns=now_ns, ended_ns=ended_ns)
        return self.set_timer(ended_ns, actor, done)

    def call_at(self, instant_ns: int, function: Callable[[], object]) -> Cancellable:
        """Have the environment call a function at an instant, or now if that is past. The function must not raise.

        For simulated providers, which are no actors: their calls, which may keep a promise, survive a crash of the
        waiting actors. At one instant, calls and timers go in the order in which they were set.
        """
        return self.set_timer(instant_ns, self._environment_actor(), ScheduledCall(function))

    def look_at_the_clock(self) -> None:
        """Bring `now_ns` up to date in a call from the environment, whether `call_at` has scheduled it or not."""
        if self._environment is None or not self._environment.actor.acts:
            self._catch_up()

    def _call_behind(self, instant_ns: int, function: Callable[[], object]) -> Cancellable:
        """Have the environment call a function behind all else that is due at an instant, timers included that are set
        only then: for time-outs, since an answer at that very instant is in time."""
        return self._set_timer_behind(instant_ns, self._environment_actor(), ScheduledCall(function))

    def _environment_actor(self) -> Environment:
        if self._environment is None:
            self._environment = self.spawn(Environment)
        return self._environment.actor

    def _spawn(
        self, parent: Actor | None, actor_class: type[A], args: Any, kwargs: Any, process: Process | None = None
    ) -> ActorRef[A]:
        token = _spawned_at.set((self, self if process is None else process, parent))
        try:
            actor = actor_class(*args, **kwargs)
        finally:
            _spawned_at.reset(token)
        self._register(actor)
        self._begin(actor)
        return actor._actor_ref

    def _register(self, actor: Actor) -> None:
        actor._actor_ref._register()

    def _begin(self, actor: Actor) -> None:
        self._lifecycle.begin(actor)

    def _watch(self, watcher: Actor, ref: ActorRef[Any]) -> None:
        self._lifecycle.watch(watcher, ref)

    def _enqueue(self, actor: Actor, message: Any) -> None:
        self._ready.append((actor, message))
        self._wake()

    def _post(self, actor: Actor, message: Any) -> None:
        """Put a message into the ready queue, from any thread."""
        self._enqueue(actor, message)

    def _tell_bounded(self, actor: Actor, message: Any) -> None:
        inbox, mailbox = actor.actor_inbox, actor.mailbox
        if len(inbox.queue) < (mailbox.capacity or 0) or is_stop(message):
            inbox.append(message)
            self._post(actor, _NEXT_FROM_INBOX)
            return
        if mailbox.overflow == "refuse":
            raise MailboxFull(f"the mailbox of {actor} holds {mailbox.capacity} messages, its capacity")
        # The place in the ready queue of a message that is dropped is the new one's.
        lost = inbox.replace_oldest(message) if mailbox.overflow == "drop_oldest" else message
        if type(lost) is Envelope:
            _answer(lost.reply_to, None, MailboxFull(f"the mailbox of {actor} was full"))
        else:
            self._not_delivered(actor, lost, "the mailbox was full")

    def route(self, ref: ActorRef[Any]) -> Callable[[Any], None]:
        actor, append = ref.actor, self._ready.append
        if actor.mailbox.capacity is not None:
            return ref.tell

        def tell_within(message: Any) -> None:
            append((actor, message))

        return tell_within

    def _ask(self, ref: ActorRef[Any], message: Any) -> Future[Any]:
        future = self.future_class()
        try:
            ref.tell(Envelope(message, reply_to=future))
        except (pykka.ActorDeadError, MailboxFull):
            future.set_exception()
        return future

    def _deliver(self, actor: Actor, message: Any) -> Any:
        """Handle a message that no plain handler takes at once; return, in a live system, the turn to wait for."""
        kind = type(message)
        if kind is Resume:
            return self._go_on(message.run) if message.park == message.run.park_count else None
        if kind is Cancel:
            scope = message.scope
            if scope.run is None:
                return None  # the handler has left that part
            scope.cancel_now()
            return self._cancel_scope(scope.run, scope)
        if actor.actor_stopped.is_set():
            return None if kind is _NextFromInbox else self._refuse(actor, message)
        if kind is StartIncarnation:
            return self._lifecycle.start_incarnation(actor) if message is actor._incarnation.beginning else None
        if kind is FailNow:
            return self._lifecycle.failed(actor, None, message.error, message.restart_after_ns)
        inbox = actor.actor_inbox
        if actor._accepting is NOTHING:
            if kind is _NextFromInbox:
                inbox.defer_next()
            else:
                inbox.defer(message)
            return None
        if kind is _NextFromInbox:
            if inbox.empty():
                return None  # dropped since, to make room
            message = inbox.get()
            if actor.mailbox.capacity is None:  # in a bounded one all messages stand
                self._handed_over_to = actor
        try:
            return self._handle(actor, message)
        finally:
            self._handed_over_to = None

    def _handle(self, actor: Actor, message: Any) -> Any:
        message, reply_to = opened(message)
        kind = type(message)
        handler = actor._plain.get(kind) or actor._incarnation.async_handlers.get(kind)
        try:
            answer = None
            if self._handed_over_to is not actor or actor._takes_up(message):
                answer = actor._handle_receive(message) if handler is None else handler(message)
        except Exception as error:
            self._raised(actor, message, reply_to, error)
            if actor._accepting is not NOTHING:
                self._take_up_deferred(actor)
            return None
        except BaseException as error:
            if reply_to is not None:
                _answer(reply_to, None, pykka.ActorDeadError(f"{actor.actor_ref} stopped on {error!r}"))
            if handler is not None or isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise  # it ends the run
            self._lifecycle.stop_everything(actor, error)
            return None
        if inspect.iscoroutine(answer):
            return self._drive(actor._begin_run(message, answer, reply_to))
        if reply_to is not None:
            _answer(reply_to, answer)
        if actor.actor_stopped.is_set():
            self._lifecycle.terminated(actor, None)
        else:
            self._take_up_deferred(actor)
        return None

    def _take_up_deferred(self, actor: Actor) -> None:
        if actor.actor_inbox.take_up():
            self._ready.appendleft((actor, _NEXT_FROM_INBOX))

    def _raised(self, actor: Actor, message: Any, reply_to: pykka.Future[Any] | None, error: Exception) -> None:
        if reply_to is None:
            self._lifecycle.failed(actor, message, error)
            return
        pykkas_logger.info(f"Exception returned from {actor} to caller:", exc_info=error)
        _answer(reply_to, None, error)
        if isinstance(error, InvariantBreach):
            raise error

    def _current_run(self) -> HandlerRun | None:
        return self._run_now

    def _run_under_way(self, what: str) -> HandlerRun:
        run = self._current_run()
        if run is None:
            raise ActorSystemError(f"{what}() works in an async handler; a plain one uses after() or at()")
        return run

    def _step(self, run: HandlerRun, error: BaseException | None = None, value: Any = None) -> Any:
        """Run a handler until it waits (return the wait) or ends (return None)."""
        self._run_now = run
        try:
            return run.step(error, value)
        except StopIteration as stop:
            if self._ended(run) and run.reply_to is not None:
                _answer(run.reply_to, stop.value)
        except Exception as raised:
            if self._ended(run):
                self._raised(run.actor, run.message, run.reply_to, self._explained(raised))
            else:
                logger.exception("%s raised when it was cancelled", run.actor)
        except BaseException as raised:
            if self._ended(run) and run.reply_to is not None:
                _answer(run.reply_to, None, pykka.ActorDeadError(f"{run.actor} was cancelled"))
            if raised is not run.whole.error:
                raise
        return None

    def _ended(self, run: HandlerRun) -> bool:
        """Let the actor of a handler that has ended go on; tell whether it had not been cancelled before."""
        actor = run.actor
        self._run_now = None
        run.end()
        if actor._run is not run:
            return False
        actor._end_run()
        actor._take_messages()
        self._take_up_deferred(actor)
        return True

    def _cancel_handler(self, actor: Actor, error: BaseException) -> None:
        run = actor._end_run()
        if run is None:
            return
        if run.reply_to is not None:
            _answer(run.reply_to, None, error)
        self._enqueue(actor, Cancel(run.whole))

    def _explained(self, error: E) -> E | ForeignAwait:
        return error

    def _resume_when_done(self, future: Future[Any], resume: Resume) -> None:
        future.when_done(lambda: self._post(resume.run.actor, resume))

    def _park(self, run: HandlerRun, parked: Parked | None) -> None:
        self._run_now = None
        if parked is not None:
            run.park(parked)

    def _refuse(self, actor: Actor, message: Any) -> None:
        message, reply_to = opened(message)
        if reply_to is None:
            self._not_delivered(actor, message, "the actor has stopped")
        elif type(message) is Stop:
            _answer(reply_to, None)
        else:
            error = pykka.ActorDeadError(f"{actor.actor_ref} stopped before handling the message")
            _answer(reply_to, None, error)

    def _not_delivered(self, actor: Actor, message: Any, reason: str) -> None:
        if type(message) in _OF_THE_SYSTEM:
            return
        self.undelivered_count += 1
        self.undelivered.append(Undelivered(str(actor), message, reason, self.now_ns))
        logger.debug("%s did not get %r: %s", actor, message, reason)

    def _raise_dead(self, actor: Actor, message: Any) -> NoReturn:
        if type(message) is not Envelope:
            self._not_delivered(actor, message, "the actor has stopped")
        raise pykka.ActorDeadError(f"{actor.actor_ref} not found")


def _answer(reply_to: pykka.Future[Any], value: Any, error: BaseException | None = None) -> None:
    try:
        if error is None:
            reply_to.set(value)
        else:
            reply_to.set_exception((type(error), error, error.__traceback__))
    except queue.Full:
        logger.warning("%r has been settled already; the answer is lost", reply_to)
