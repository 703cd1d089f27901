"""A notifier in a thread of its own, for programs that block: Django, a Celery worker, a script."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, TypeVar

import trio

from actors.domain.notification_state import NotificationState
from actors.errors import NotifierClosed, WouldDeadlock
from actors.hosts.opening import Hosted, N, Openers, Reply
from actors.messages import NotificationChannel, Priority, SendNotification
from actors.pipeline.event_bus import Subscriber, check_timeout
from actors.pipeline.orders import Acceptance

T = TypeVar("T")
S = TypeVar("S", bound=Subscriber)

ANSWERS_WITHIN = 1.0
"""Seconds that the notifier's thread has to say that a time-out is over."""

_MAY_BE_ACCEPTED = "it may be accepted yet: sent again with the same id, it is once"
_MAY_BE_CANCELLED = "it may be cancelled yet: its state tells"
_MAY_GO_ON = "what was asked for may happen yet"


class _Call(Reply[T]):
    def __init__(self, question: Callable[[], Awaitable[T]], late: str) -> None:
        self._answered = threading.Lock()
        self._answered.acquire()
        super().__init__(self._answered.release)
        self._question = question
        self._late = late
        """The rest of the error when its answer is late."""

    def begin(self) -> None:
        self.ask(self._question)

    def refuse(self) -> None:
        self.fail(NotifierClosed())

    def wait(self, timeout: float | None) -> T:
        if not self._answered.acquire(timeout=-1 if timeout is None else float(min(timeout, threading.TIMEOUT_MAX))):
            raise TimeoutError(f"no answer within {timeout:g} s; {self._late}")
        return self.result()


class ThreadNotifier(Hosted[N]):
    """A notifier in a thread of its own; make one with :meth:`Notifier.open_in_thread`.

    Any thread of the process that has opened the notifier may call its methods, which block. Each method raises the
    errors of the method of :class:`Notifier` with its name. Besides, it raises TimeoutError when there is no answer
    within `timeout` seconds (None: wait as long as it takes), which takes nothing back; WrongType for a `timeout` that
    is no number, and ConfigurationError for one below 0 or nan, before anything happens; WouldDeadlock in a subscriber,
    which runs in the notifier's thread and would wait for itself; and ActorSystemError in a forked process.
    """

    def __init__(self, inside: N) -> None:
        super().__init__(inside)
        self._thread = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._calls: deque[_Call[Any]] = deque()
        self._woken_by: int | None = None
        """The thread by which the notifier's is about to look at the calls; None: it is not about to."""

    def publish(self, event: Any, *, traceparent: str | None = None, timeout: float | None = None) -> None:
        """Publish an event, and block until its notifications are accepted."""
        ask = functools.partial(self.inside.bus.publish, event, traceparent=traceparent)
        return self._call(ask, timeout, _MAY_BE_ACCEPTED)

    def send(
        self, command: SendNotification, *, traceparent: str | None = None, timeout: float | None = None
    ) -> Acceptance:
        """Send a command, block until its acceptance is durable, and return that."""
        ask = functools.partial(self.inside.bus.send, command, traceparent=traceparent)
        return self._call(ask, timeout, _MAY_BE_ACCEPTED)

    def cancel(self, notification_id: str, *, timeout: float | None = None) -> bool:
        """Cancel a notification that waits; block until that is durable, and tell whether it is cancelled."""
        return self._call(functools.partial(self.inside.bus.cancel, notification_id), timeout, _MAY_BE_CANCELLED)

    def state(self, notification_id: str, *, timeout: float | None = None) -> NotificationState | None:
        return self.run(self.inside.state, notification_id, timeout=timeout)

    def operate_breaker(
        self,
        channel: NotificationChannel | str,
        override: Any,
        provider: str | None = None,
        *,
        timeout: float | None = None,
    ) -> bool:
        return self.run(self.inside.operate_breaker, channel, override, provider, timeout=timeout)

    def wait_until_quiet(self, timeout: float | None = math.inf) -> bool:
        """Block until nothing is in flight, for at most `timeout` seconds; return whether nothing is.

        If the notifier's thread is blocked and cannot say, the answer is False.
        """
        return self._wait(self.inside.wait_until_quiet, timeout)

    def drain(self, timeout: float | None) -> bool:
        """Block as :meth:`wait_until_quiet` does, but not for retries and the like after `timeout` seconds."""
        return self._wait(self.inside.drain, timeout)

    def _wait(self, wait: Callable[[float | None], Awaitable[bool]], timeout: float | None) -> bool:
        check_timeout(timeout)
        patience = None if timeout is None else timeout + ANSWERS_WITHIN
        try:
            return self.run(wait, timeout, timeout=patience)
        except TimeoutError:
            return False

    def subscribe(self, *event_types: type, priority: Priority | str | None = None) -> Callable[[S], S]:
        """Have a function called with each event of these types; see :meth:`EventBus.subscribe`.

        It is called in the notifier's thread: a plain one must not block, an async one is trio's.
        """

        async def subscribe_there(function: S) -> S:
            return self.inside.bus.subscribe(*event_types, priority=priority)(function)

        return functools.partial(self.run, subscribe_there)

    def run(self, function: Callable[..., Awaitable[T]], *args: Any, timeout: float | None = None) -> T:
        """Run an async function of trio's, such as one that needs the notifier `inside`, and return its result."""
        self._check_thread()
        check_timeout(timeout)
        call: _Call[T] = _Call(function, _MAY_GO_ON)
        try:
            self._token.run_sync_soon(_spawn, call, function, args)
        except trio.RunFinishedError:
            raise NotifierClosed from None
        return call.wait(timeout)

    def _check_thread(self) -> None:
        self._check_process()
        if self._thread == threading.get_ident():
            raise WouldDeadlock("this is the notifier's own thread: return the commands, or await them `inside`")

    def _call(self, ask: Callable[[], Awaitable[T]], timeout: float | None, late: str) -> T:
        self._check_thread()
        check_timeout(timeout)
        call = _Call(ask, late)
        self._calls.append(call)
        woken_by, thread = self._woken_by, threading.get_ident()
        if woken_by is None or woken_by == thread:  # the latter in a signal handler, which may interrupt a wake-up
            self._wake(thread)
        return call.wait(timeout)

    def _wake(self, thread: int) -> None:
        self._woken_by = thread
        try:
            self._token.run_sync_soon(self._take_calls, _Call.begin)
        except trio.RunFinishedError:
            self._take_calls(_Call.refuse)
        except BaseException:  # such as Ctrl-C: perhaps it was not woken, and the next caller has to do it
            self._woken_by = None
            raise

    def _take_calls(self, what: Callable[[_Call[Any]], None]) -> None:
        self._woken_by = None  # first, so that a call that comes meanwhile is taken here or wakes it again
        with contextlib.suppress(IndexError):  # when two threads refuse them
            while self._calls:
                what(self._calls.popleft())


def _spawn(call: _Call[T], function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
    try:
        trio.lowlevel.spawn_system_task(call.run, function, *args)
    except RuntimeError:  # trio ends: it takes no task any more, though it still makes this call
        call.refuse()


class _Host(Generic[N]):
    def __init__(self, hold: Callable[[Callable[[N], object], trio.Event], Awaitable[None]]) -> None:
        self.opened: ThreadNotifier[N] | None = None
        self.error: BaseException | None = None
        self.scope = trio.CancelScope()
        self.leave = trio.Event()
        self.is_up = threading.Event()
        """Set when it is open, or will not be."""
        self.has_ended = threading.Event()
        self.is_running = threading.Event()
        self._hold = hold
        # A daemon: a program that ends without leaving the block is not kept from that.
        self.thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self.error = error
        finally:
            self.is_up.set()
            self.has_ended.set()

    async def _main(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.is_running.set()
        with self.scope:
            await self._hold(self._opened, self.leave)

    def _opened(self, inside: N) -> None:
        self.opened = ThreadNotifier(inside)
        self.is_up.set()

    def end(self, how: Callable[[], object]) -> None:
        """End the notifier, and wait for that. An exception meanwhile, as by Ctrl-C, cancels the notifier."""
        self._do(how)
        try:
            self.has_ended.wait()  # and not join(), which takes it for dead when it is interrupted (bpo-45274)
        except BaseException:
            self._do(self.scope.cancel)
            self.has_ended.wait()
            raise

    def _do(self, what: Callable[[], object]) -> None:
        self.is_running.wait()
        with contextlib.suppress(trio.RunFinishedError):
            self.token.run_sync_soon(what)


@contextmanager
def open_in_thread(
    open_notifier: Callable[..., AbstractAsyncContextManager[N]], openers: Openers
) -> Generator[ThreadNotifier[N], None, None]:
    """Open a notifier in a thread of its own; see :meth:`Notifier.open_in_thread`."""
    openers.check()
    host = _Host(functools.partial(openers.hold_open, open_notifier))
    pid = os.getpid()
    host.thread.start()
    try:
        host.is_up.wait()
    except BaseException:
        host.end(host.scope.cancel)
        raise
    if host.opened is None:
        assert host.error is not None
        raise host.error
    raised, end = None, host.leave.set
    try:
        yield host.opened
    except BaseException as error:
        raised, end = error, host.scope.cancel
    if os.getpid() == pid:  # not in a forked child
        host.end(end)
        if host.error is not None:
            raise host.error from raised
    if raised is not None:
        raise raised
