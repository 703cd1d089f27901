"""The event bus: domain events and notification events go to the subscribers to their type.

Subscribers are plain or ``async def`` functions, several to an event. Each gets the event in an actor of its own, so
they run side by side; one that raises is reported, and the others neither notice nor wait. An async one that takes too
long is cancelled and reported alike; a plain one that does not return stops everything. A subscriber may return the
commands that the event leads to (one, or several), or send them itself::

    @bus.subscribe(OrderPlaced)
    def order_text(event):
        return SendNotification(...)
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Container
from numbers import Real
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args

import msgspec
from pykka import ActorDeadError

from actors.errors import ConfigurationError, NotifierClosed, Overloaded, StoreBusy, StoreFailed, WrongType
from actors.kernel.actor import STOP_ON_FAILURE, Actor, ActorRef, Supervision, handles
from actors.kernel.async_handlers import failure, is_async
from actors.kernel.effects import Cancellable
from actors.kernel.futures import Future
from actors.kernel.runtime import Process, Runtime
from actors.messages import RANKS, DomainEvent, Priority, RecordedEvent, SendNotification
from actors.pipeline.orders import Acceptance, CancelNotification, Submit
from actors.pipeline.trace_context import trace_of
from actors.policies.admission import RETRY_AFTER

logger = logging.getLogger(__name__)

Subscriber = Callable[[Any], Any]
_Submit: TypeAlias = "Callable[[SendNotification, _SubscriberCall], None]"
"""Sends a command to the handler that a call has led to."""

S = TypeVar("S", bound=Subscriber)

_DOMAIN_EVENTS = frozenset(get_args(DomainEvent))


class Submission(NamedTuple):
    """A command that an event led to, and its outcome: its acceptance, or why it was not accepted."""

    command: SendNotification
    answer: Acceptance | Exception


class _Publication:
    """One event on its way; counts what is still to come back."""

    __slots__ = ("done", "failure", "open", "submissions")

    def __init__(self, done: Future[None], open_: int, submissions: list[Submission] | None) -> None:
        self.done = done
        self.open = open_
        self.submissions = submissions
        """What was returned by subscribers and has been answered; None: it is not asked for."""
        self.failure: StoreFailed | StoreBusy | NotifierClosed | None = None
        """Why a part of it may be lost."""

    def one_done(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done:  # else there will be no answer: see end()
            if self.failure is None:
                self.done.set(None)
            else:
                self.done.set_exception((type(self.failure), self.failure, None))


class _Unheard:
    """The answer to a command of a subscriber where nobody waits for it: it is only counted, and a refusal logged."""

    __slots__ = ("_bus", "done")

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self.done = False

    def set(self, _acceptance: Acceptance | None = None) -> None:
        if not self.done:
            self.done = True
            self._bus._unheard_done()

    def set_exception(self, exc_info: Any = None) -> None:
        error = sys.exc_info()[1] if exc_info is None else exc_info[1]
        if not isinstance(error, (StoreFailed, NotifierClosed)):
            logger.error("a command of a subscriber was not accepted", exc_info=error)
        self.set()


class _SubscriberCall(msgspec.Struct, frozen=True):
    """Call a subscriber with an event."""

    event: Any
    publication: _Publication | None
    """None: nobody waits for what it leads to."""
    traceparent: str | None
    """The trace that what it leads to belongs to."""


class _AsyncCall:
    """One call of an async subscriber under way."""

    __slots__ = ("call", "is_over", "subscriber", "timer")

    def __init__(self, subscriber: _AsyncSubscriber, call: _SubscriberCall) -> None:
        self.subscriber = subscriber
        self.call = call
        self.is_over = False
        """Whether it has been counted as done: by its end, or by its deadline."""
        self.timer: Cancellable
        """Of its deadline."""


class _TooLate(msgspec.Struct, frozen=True):
    """The deadline of a call."""

    run: _AsyncCall
    task: ActorRef[Any]


class EventBus:
    """The interface for callers: subscribe to types of events, publish events, send commands."""

    def __init__(self, system: Runtime, process: Process, subscriber_timeout: float) -> None:
        """Begin without subscribers.

        Args:
            system: the clock to run on.
            process: of the subscribers, on that system.
            subscriber_timeout: seconds that an async subscriber may take.
        """
        self._system = system
        self._process = process
        self._subscriber_timeout = subscriber_timeout
        self.to_handler: Callable[[Any], None]
        """Where commands go; set when the handler is there."""
        self.is_open: Callable[[], bool]
        """Tells whether the handler is still there: no more from when all actors stop, of which some take a while."""
        self.has_room: Callable[[Priority], bool] | None = None
        """Tells whether what an event leads to may be accepted, of this class. None: it always may."""
        self.store_is_busy: Callable[[], bool] = bool
        """Tells whether nothing can be made durable for now."""
        self._subscribers: dict[type, list[tuple[Subscriber, ActorRef[Any]]]] = {}
        self._priorities: dict[type, list[tuple[Subscriber, Priority]]] = {}
        """By type of event, those of its subscribers that were given one."""
        self._pending: dict[Future[Any], None] = {}
        """The answers that publications, commands and operations wait for, in order."""
        self._unheard = 0
        """Commands that nobody waits for and that have not been answered."""
        self.when_idle: Callable[[], None] | None = None
        """Called when there is none left of them."""

    @property
    def subscribed(self) -> Container[type]:
        """The types of events that have had subscribers, always current."""
        return self._subscribers

    @property
    def actors(self) -> list[ActorRef[Any]]:
        """The actors that call the subscribers."""
        refs = [ref for entries in self._subscribers.values() for _, ref in entries]
        return list({ref.actor_urn: ref for ref in refs}.values())

    @property
    def under_way(self) -> int:
        """How many publications, commands and operations have not been answered yet."""
        return len(self._pending) + self._unheard

    def subscribe(self, *event_types: type, priority: Priority | str | None = None) -> Callable[[S], S]:
        """Have a function called with each event of these types, domain events and notification events alike.

        An event is of a type when that is its class; an event of a subclass is of another one.

        Args:
            event_types: the types.
            priority: of the commands that the function returns and that have none of their own; where there is little
                room for new notifications, an event is refused only if there is none for the most urgent of its
                subscribers. None: normal.

        Raises:
            WrongType: none is given, or one is not a class; or `priority` is no class of traffic.
            NotifierClosed (where it gets the function): the notifier is closed.
        """
        if priority is not None and priority not in set(Priority):
            raise WrongType(f"priority: wanted one of {', '.join(Priority)}, got {priority!r:.100}")
        given = None if priority is None else Priority(priority)
        if not event_types or not all(isinstance(event_type, type) for event_type in event_types):
            got = ", ".join(map(repr, event_types)) or "nothing"
            raise WrongType(f"wanted types of events, as in @bus.subscribe(OrderPlaced), got {got}")

        def subscribe(function: S) -> S:
            if not self.is_open():
                raise NotifierClosed
            ref: ActorRef[Any]
            submit = functools.partial(self._follow, given)
            if is_async(function):
                ref = self._process.spawn(_AsyncSubscriber, function, submit, self._subscriber_timeout)
            else:
                ref = self._process.spawn(_PlainSubscriber, function, submit)
            for event_type in event_types:
                if given is not None:
                    self._priorities.setdefault(event_type, []).append((function, given))
                self._subscribers.setdefault(event_type, []).append((function, ref))
            return function

        return subscribe

    def unsubscribe(self, function: Subscriber, *event_types: type) -> None:
        """Stop calling a function with events of these types, or of any type when none is given."""
        gone = []  # by ==, since a method is another object each time that it is named
        for event_type in event_types or tuple(self._subscribers):
            entries = self._subscribers.get(event_type, [])
            self._subscribers[event_type] = [entry for entry in entries if entry[0] != function]
            if event_type in self._priorities:
                self._priorities[event_type] = [each for each in self._priorities[event_type] if each[0] != function]
            gone += [ref for subscriber, ref in entries if subscriber == function]
        needed = {ref.actor_urn for entries in self._subscribers.values() for _, ref in entries}
        for ref in {ref.actor_urn: ref for ref in gone}.values():
            if ref.actor_urn not in needed:
                ref.stop(block=False)  # behind the events that are on their way to it

    def publish(self, event: Any, *, traceparent: str | None = None) -> Awaitable[None]:
        """Bring an event to its subscribers.

        Awaiting it waits until every one has returned and what they sent is accepted; the event is on its way even
        when no one awaits it. An event of your own type needs a subscriber to it first. What subscribers return belongs
        to the trace of `traceparent`, as W3C Trace Context writes it; one that cannot be read counts as none.

        Raises (at once):
            WrongType: it is no event of the domain or of the system, and its type has no subscriber; or the trace is
                no str.
            Overloaded: as many notifications are pending as may be; no subscriber gets it. What the subscribers to an
                event that is taken return is never refused for that.
            StoreBusy: nothing can be made durable for now; no subscriber gets it.
            NotifierClosed: the notifier is closed.

        Raises (where it is awaited):
            StoreBusy: what a subscriber returned has not become durable for a second; it will, if the notifier goes on.
            StoreFailed: what a subscriber returned or sent could not be made durable.
            NotifierClosed: the notifier was closed before that.
        """
        return self._publish(event, None, traceparent)

    def submit(self, event: Any, *, traceparent: str | None = None) -> Awaitable[list[Submission]]:
        """Publish an event; awaiting it gives the outcomes of the commands that its subscribers returned, once each is
        durably accepted or refused.

        Raises (at once):
            WrongType: it is no event of the domain or of the system, and its type has no subscriber; or the trace is
                no str.
            Overloaded: as many notifications are pending as may be; no subscriber gets it.
            StoreBusy: nothing can be made durable for now; no subscriber gets it.
            NotifierClosed: the notifier is closed.

        Raises (where it is awaited): as :meth:`publish`.
        """
        submissions: list[Submission] = []
        answer: Future[list[Submission]] = self._system.future_class()
        published = self._publish(event, submissions, traceparent)

        def tell() -> None:
            try:
                published.get(timeout=0)
            except (NotifierClosed, StoreBusy, StoreFailed):
                answer.set_exception()
            else:
                answer.set(submissions)

        published.when_done(tell)
        return answer

    def _publish(self, event: Any, submissions: list[Submission] | None, traceparent: str | None) -> Future[None]:
        self._check(event)
        trace = trace_of(traceparent)
        if not self.is_open():
            raise NotifierClosed
        if not self.has_room_for(event):
            raise Overloaded(RETRY_AFTER)
        self.check_store()
        done: Future[None] = self._system.future_class()
        self.track(done)
        self.announce(event, done, submissions, trace)
        return done

    def send(self, command: SendNotification, *, traceparent: str | None = None) -> Awaitable[Acceptance]:
        """Send a command to the handler; awaiting it gives its acceptance, once that is durable.

        It belongs to the trace of `traceparent`, as W3C Trace Context writes it, which is no part of it: sent again in
        another trace it is the same.

        Raises (where it is awaited):
            IdempotencyConflict: the id is known already, with a different payload.
            UnknownChannel: the command's channel is not configured.
            InvalidRecipient: no provider of that channel could send to its recipient.
            Overloaded: as many notifications are pending as may be. Nothing of it is remembered.
            StoreBusy: it has not become durable for a second, and stays in line for that; or, where the store was busy
                when it came, nothing of it is remembered. Sent again with the same id, it is accepted once.
            StoreFailed: it cannot be made durable.
            NotifierClosed: the notifier was closed before its acceptance was durable; perhaps it is. Sent again with
                the same id, it is accepted once.

        Raises (at once):
            WrongType: it is no SendNotification, or the trace is no str.
            NotifierClosed: the notifier is closed.
        """
        if type(command) is not SendNotification:
            hint = "; events go to publish()" if type(command) in _DOMAIN_EVENTS else ""
            raise WrongType(f"wanted a SendNotification, got {command!r}{hint}")
        return self._submit(command, trace_of(traceparent), follows_event=False)

    def cancel(self, notification_id: str) -> Awaitable[bool]:
        """Cancel a notification that waits: for its instant, a retry or the end of quiet hours, or in a line for a
        limit, a quota, a slot or a circuit breaker.

        Awaiting it tells whether it is cancelled, once that is durable. It is not if an attempt has been let through
        to its provider and has not ended, if it has ended itself, or is unknown here: with several nodes, another one
        may have it.

        Raises (at once):
            WrongType: the id is no str.
            StoreBusy: nothing can be made durable for now; nothing is cancelled.
            NotifierClosed: the notifier is closed.

        Raises (where it is awaited):
            StoreBusy: it has not become durable for a second; it is cancelled when it has, if it waits.
            StoreFailed: it cannot be made durable.
            NotifierClosed: the notifier was closed before that.
        """
        check_id(notification_id)
        self.check_store()
        answer: Future[bool] = self._system.future_class()
        try:
            self.to_handler(CancelNotification(notification_id, answer))
        except ActorDeadError:
            raise NotifierClosed from None
        self.track(answer)
        return answer

    def announce(
        self,
        event: Any,
        done: Future[None] | None = None,
        submissions: list[Submission] | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Publish without anything to wait for; costs next to nothing without subscribers."""
        subscribers = self._subscribers.get(type(event))
        if subscribers:
            publication = None if done is None else _Publication(done, len(subscribers), submissions)
            call = _SubscriberCall(event, publication, traceparent)
            for function, ref in subscribers:
                try:
                    ref.tell(call)
                except ActorDeadError:
                    logger.error("subscriber %r has stopped and does not get %r", function, event)
                    if publication is not None:
                        publication.one_done()
        elif done is not None:
            done.set(None)

    def _check(self, event: Any) -> None:
        """Refuse what has no subscriber, and what only looks like an event: a class of events, a command."""
        kind = type(event)
        if kind in self._subscribers or kind in _DOMAIN_EVENTS or isinstance(event, RecordedEvent):
            return
        hint = "; commands go to send()" if kind is SendNotification else ""
        raise WrongType(f"wanted an event: a domain event, or one of a type that has a subscriber; got {event!r}{hint}")

    def _submit(self, command: SendNotification, traceparent: str | None, *, follows_event: bool) -> Future[Acceptance]:
        answer: Future[Acceptance] = self._system.future_class()
        self._tell_handler(Submit(command, answer, follows_event, traceparent))
        self.track(answer)
        return answer

    def _follow(self, priority: Priority | None, command: SendNotification, call: _SubscriberCall) -> None:
        """Send a command that an event has led to; of this class where the subscriber was given one and it was not."""
        if priority is not None and command.has_implied_priority:
            command = msgspec.structs.replace(command, priority=priority)
        publication = call.publication
        if publication is None:
            self._tell_handler(Submit(command, _Unheard(self), True, call.traceparent))
            self._unheard += 1
        else:
            answer = self._submit(command, call.traceparent, follows_event=True)
            if self.store_is_busy():
                answer.give_up(StoreBusy())
            publication.open += 1
            answer.when_done(functools.partial(_settle, command, answer, publication))

    def _tell_handler(self, submit: Submit) -> None:
        try:
            self.to_handler(submit)
        except ActorDeadError:  # the handler is always restarted: it is dead only when the notifier has ended
            raise NotifierClosed from None

    def has_room_for(self, event: Any) -> bool:
        """Tell whether what an event leads to may be accepted."""
        return self.has_room is None or self.has_room(self.priority_of(event))

    def priority_of(self, event: Any) -> Priority:
        """Return the class of the most urgent subscriber to an event."""
        event_type = type(event)
        given = [priority for _, priority in self._priorities.get(event_type, ())]
        others = len(self._subscribers.get(event_type, ())) - len(given)
        return min(given + [Priority.NORMAL] * (others > 0 or not given), key=RANKS.__getitem__)

    def check_store(self) -> None:
        """Raise StoreBusy where what comes now would wait for a store that is busy."""
        if self.store_is_busy():
            raise StoreBusy

    def send_away(self) -> None:
        """Have none wait any longer for an answer, as the store is busy: what they wait for comes later."""
        for answer in list(self._pending):
            answer.give_up(StoreBusy())

    def track(self, answer: Future[Any]) -> None:
        """Count this answer as pending until it is set, also if it is set to an error."""
        self._pending[answer] = None
        answer.when_done(functools.partial(self._answered, answer))

    def _answered(self, answer: Future[Any]) -> None:
        del self._pending[answer]
        self._one_less()

    def _unheard_done(self) -> None:
        self._unheard -= 1
        self._one_less()

    def _one_less(self) -> None:
        if self.when_idle is not None and self.under_way == 0:
            self.when_idle()

    def end(self) -> None:
        """Fail all pending answers: the actors are gone."""
        for answer in list(self._pending):
            if not answer.done:  # the answer before it may have been the last that this one waited for
                error = NotifierClosed("the notifier was closed before the outcome of this was known")
                answer.set_exception((NotifierClosed, error, None))


class _PlainSubscriber(Actor):
    """Calls one plain function."""

    supervision = Supervision(then="restart")

    def __init__(self, function: Subscriber, submit: _Submit) -> None:
        super().__init__()
        self._function = function
        self._submit = submit

    @handles(_SubscriberCall)
    def on_call(self, call: _SubscriberCall) -> None:
        publication = call.publication
        try:
            for command in commands_of(self._function(call.event)):
                self._submit(command, call)
        except BaseException as error:
            self._failed(call, failure(error))
        if publication is not None:
            publication.one_done()

    def _failed(self, call: _SubscriberCall, error: BaseException) -> None:
        publication = call.publication
        if publication is not None and isinstance(error, (StoreFailed, StoreBusy, NotifierClosed)):
            publication.failure = error
        elif not isinstance(error, (StoreFailed, NotifierClosed)):
            logger.error("subscriber %r raised on %r", self._function, call.event, exc_info=error)


class _AsyncSubscriber(_PlainSubscriber):
    """Calls one coroutine function, each time in a task of its own, which has so long."""

    def __init__(self, function: Subscriber, submit: _Submit, timeout: float) -> None:
        super().__init__(function, submit)
        self._timeout = timeout

    @handles(_SubscriberCall)
    def on_call(self, call: _SubscriberCall) -> None:
        run = _AsyncCall(self, call)
        task = self.spawn(_Task)
        run.timer = self.after(self._timeout, _TooLate(run, task))
        task.tell(run)

    async def call(self, run: _AsyncCall) -> None:
        """Call the function, then send what it returned."""
        call = run.call
        try:
            result = await self._function(call.event)
            if not run.is_over:
                for command in commands_of(result):
                    self._submit(command, call)
        except BaseException as error:
            raised = failure(error)
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
            self.system.kill(late.task)  # also of one that keeps cancellations out: it holds nobody any more

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


def check_id(notification_id: Any) -> None:
    """Refuse what cannot be the id of a notification.

    Raises:
        WrongType: it is no str.
    """
    if not isinstance(notification_id, str):
        raise WrongType(f"wanted the id of a notification, a str, got {notification_id!r:.100}")


def check_timeout(timeout: Any) -> None:
    """Refuse what is no time-out in seconds; None is one that has no end.

    Raises:
        WrongType: it is no number.
        ConfigurationError: it is below 0, or nan.
    """
    if timeout is None:
        return
    is_number = isinstance(timeout, Real) and not isinstance(timeout, bool)
    if not is_number:
        raise WrongType(f"timeout: wanted a number of seconds, or None, got {timeout!r:.100}")
    if not timeout >= 0:
        raise ConfigurationError([f"timeout: wanted seconds, at least 0, or None, got {timeout!r}"])


def _settle(command: SendNotification, answer: Future[Acceptance], publication: _Publication) -> None:
    outcome: Acceptance | Exception
    try:
        outcome = answer.get(timeout=0)
    except (StoreFailed, StoreBusy, NotifierClosed) as error:
        outcome = publication.failure = error
    except Exception as error:
        if publication.submissions is None:  # else it is in the submissions
            logger.exception("a command of a subscriber was not accepted")
        outcome = error
    if publication.submissions is not None:
        publication.submissions.append(Submission(command, outcome))
    publication.one_done()


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
