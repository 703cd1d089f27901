"""The actors that call subscribers, and the events on their way to them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from actors.errors import NotifierClosed, StoreBusy, StoreFailed, WrongType
from actors.kernel.actor import STOP_ON_FAILURE, Actor, ActorRef, Supervision, handles
from actors.kernel.async_handlers import failure
from actors.kernel.effects import Cancellable
from actors.kernel.futures import Future
from actors.kernel.turns import takes_turn
from actors.messages import SendNotification
from actors.pipeline.orders import Acceptance

logger = logging.getLogger(__name__)

Subscriber = Callable[[Any], Any]
_Submit: TypeAlias = "Callable[[SendNotification, SubscriberCall], None]"
"""Sends a command that a call has led to."""


class Submission(NamedTuple):
    """A command that an event led to, and its outcome: its acceptance, or why it was not accepted."""

    command: SendNotification
    answer: Acceptance | Exception


class Publication:
    """One published event; counts the calls of its subscribers and their commands until each is done."""

    __slots__ = ("_done", "_failure", "_open", "_submissions")

    def __init__(self, done: Future[None], calls: int, submissions: list[Submission] | None) -> None:
        """Begin.

        Args:
            done: is answered when nothing is left to wait for.
            calls: of subscribers.
            submissions: gets each command with its outcome; None: a refusal is logged.
        """
        self._done = done
        self._open = calls
        self._submissions = submissions
        self._failure: Exception | None = None
        """The error by which a command may be lost, or which an own actor raised on the event."""

    def await_answer(self, command: SendNotification, answer: Future[Acceptance]) -> None:
        """Wait for the answer to a command that a subscriber returned, too."""
        self._open += 1
        answer.when_done(lambda: self._settle(command, answer))

    def _settle(self, command: SendNotification, answer: Future[Acceptance]) -> None:
        outcome: Acceptance | Exception
        try:
            outcome = answer.get(timeout=0)
        except Exception as error:
            if not self.take_failure(error) and self._submissions is None:  # else it is in the submissions
                logger.exception("a command of a subscriber was not accepted")
            outcome = error
        if self._submissions is not None:
            self._submissions.append(Submission(command, outcome))
        self.one_done()

    def take_failure(self, error: BaseException) -> bool:
        """Fail with an error of the store or of the end, by which a command may be lost; tell whether it is one."""
        if isinstance(error, (StoreFailed, StoreBusy, NotifierClosed)):
            self.fail(error)
            return True
        return False

    def fail(self, error: Exception) -> None:
        """Raise this error to the publisher that waits."""
        self._failure = error

    def one_done(self) -> None:
        self._open -= 1
        if self._open == 0 and not self._done.done:  # else the notifier has ended
            if self._failure is None:
                self._done.set(None)
            else:
                self._done.set_exception((type(self._failure), self._failure, None))


class SubscriberCall(msgspec.Struct, frozen=True):
    """Call a subscriber with an event."""

    event: Any
    publication: Publication | None
    """None: no one waits for the commands that the call leads to."""
    traceparent: str | None
    """The trace of these commands."""


class _AsyncCall:
    __slots__ = ("call", "is_over", "subscriber", "timer")

    def __init__(self, subscriber: AsyncSubscriber, call: SubscriberCall) -> None:
        self.subscriber = subscriber
        self.call = call
        self.is_over = False
        """Whether it has been counted as done: by its end, or by its deadline."""
        self.timer: Cancellable
        """The timer of the call's deadline."""


class _TooLate(msgspec.Struct, frozen=True):
    """The deadline of a call."""

    run: _AsyncCall
    task: ActorRef[Any]


class PlainSubscriber(Actor):
    """Calls one plain function."""

    supervision = Supervision(then="restart")

    def __init__(self, function: Subscriber, submit: _Submit) -> None:
        super().__init__()
        self._function = function
        self._submit = submit

    @handles(SubscriberCall)
    @takes_turn("subscriber", lambda subscriber, call: (call, subscriber.actor_urn), when_told=True)
    def on_call(self, call: SubscriberCall) -> None:
        publication = call.publication
        try:
            for command in commands_of(self._function(call.event)):
                self._submit(command, call)
        except BaseException as error:
            self._failed(call, failure(error))
        if publication is not None:
            publication.one_done()

    def _failed(self, call: SubscriberCall, error: BaseException) -> None:
        is_told = call.publication is not None and call.publication.take_failure(error)
        if not is_told and not isinstance(error, (StoreFailed, NotifierClosed)):
            logger.error("subscriber %r raised on %r", self._function, call.event, exc_info=error)


class AsyncSubscriber(PlainSubscriber):
    """Calls one coroutine function, each time in a task of its own, for `timeout` seconds at most."""

    def __init__(self, function: Subscriber, submit: _Submit, timeout: float) -> None:
        super().__init__(function, submit)
        self._timeout = timeout

    @handles(SubscriberCall)
    @takes_turn("subscriber", lambda subscriber, call: (call, subscriber.actor_urn), when_told=True)
    def on_call(self, call: SubscriberCall) -> None:
        run = _AsyncCall(self, call)
        task = self.spawn(_Task)
        run.timer = self.after(self._timeout, _TooLate(run, task))
        task.tell(run)

    async def call(self, run: _AsyncCall) -> None:
        """Call the function, then send the commands that it returned."""
        call = run.call
        try:
            result = await self._function(call.event)
            if not run.is_over:
                for command in commands_of(result):
                    self._submit(command, call)
        except BaseException as error:
            raised = failure(self.system._explained(error))
            if run.is_over:
                logger.error("subscriber %r raised when it was cancelled", self._function, exc_info=raised)
            else:
                self._failed(call, raised)
        self._end(run)

    @handles(_TooLate)
    def on_too_late(self, late: _TooLate) -> None:
        if not late.run.is_over:
            logger.error(
                "subscriber %r was cancelled on %r: not done in %g s",
                self._function,
                late.run.call.event,
                self._timeout,
            )
            self._end(late.run)
            self.system.kill(late.task)  # even a task that shields itself from cancelling: no one waits for it any more

    def _end(self, run: _AsyncCall) -> None:
        if not run.is_over:
            run.is_over = True
            run.timer.cancel()
            if run.call.publication is not None:
                run.call.publication.one_done()


class _Task(Actor):
    """Runs one call of an async subscriber and stops, so that a slow call keeps no other one waiting."""

    supervision = STOP_ON_FAILURE

    @handles(_AsyncCall)
    async def on_run(self, run: _AsyncCall) -> None:
        await run.subscriber.call(run)
        if not self.actor_stopped.is_set():  # else its deadline has removed it
            self.stop()


def commands_of(result: Any) -> list[SendNotification]:
    """Return the commands that a subscriber returned: none, one, or several.

    Raises:
        WrongType: it returned something else.
    """
    if type(result) is SendNotification:
        return [result]
    if result is None:
        return []
    if inspect.iscoroutine(result):
        result.close()  # nothing will await it
        raise WrongType("wanted None, a SendNotification or several, got a coroutine: only an async def is awaited")
    commands = [result] if isinstance(result, SendNotification) else list(result)
    for command in commands:
        if type(command) is not SendNotification:
            raise WrongType(f"wanted None, a SendNotification or several, got {command!r}")
    return commands
