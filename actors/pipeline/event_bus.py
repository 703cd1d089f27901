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
import logging
import sys
from collections.abc import Awaitable, Callable, Container, Iterable
from numbers import Real
from typing import Any, TypeVar, get_args

import msgspec
from pykka import ActorDeadError

from actors.domain.store import Store
from actors.errors import ConfigurationError, NotifierClosed, Overloaded, StoreBusy, StoreFailed, WrongType
from actors.kernel.actor import ActorRef
from actors.kernel.async_handlers import is_async
from actors.kernel.futures import Future
from actors.kernel.runtime import Process, Runtime
from actors.messages import RANKS, DomainEvent, Priority, RecordedEvent, SendNotification
from actors.pipeline.orders import Acceptance, CancelNotification, Submit
from actors.pipeline.subscriber_calls import (
    AsyncSubscriber,
    PlainSubscriber,
    Publication,
    Submission as Submission,
    Subscriber as Subscriber,
    SubscriberCall,
)
from actors.pipeline.trace_context import trace_of
from actors.policies.admission import RETRY_AFTER

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Subscriber)

_DOMAIN_EVENTS = frozenset(get_args(DomainEvent))


class PendingAnswers:
    """The answers that publications, commands and operations wait for, in order; and how many no one waits for."""

    def __init__(self) -> None:
        self._answers: dict[Future[Any], None] = {}
        self._unheard = 0
        self.when_idle: Callable[[], None] | None = None
        """Called when nothing is left without an answer."""

    @property
    def count(self) -> int:
        return len(self._answers) + self._unheard

    def watch(self, when_idle: Callable[[], None]) -> None:
        self.when_idle = when_idle

    def add(self, answer: Future[Any]) -> None:
        """Count an answer until it is set, be it to an error."""
        self._answers[answer] = None
        answer.when_done(functools.partial(self._answered, answer))

    def _answered(self, answer: Future[Any]) -> None:
        del self._answers[answer]
        self._one_less()

    def add_unheard(self) -> None:
        """Count the answer to a command of a subscriber that no one waits for."""
        self._unheard += 1

    def unheard_done(self) -> None:
        self._unheard -= 1
        self._one_less()

    def _one_less(self) -> None:
        if self.when_idle is not None and self.count == 0:
            self.when_idle()

    def give_up(self) -> None:
        """Fail all, as the store is busy: the work that they were about goes on."""
        for answer in list(self._answers):
            answer.give_up(StoreBusy())

    def end(self) -> None:
        """Fail all: the actors are gone."""
        for answer in list(self._answers):
            if not answer.done:  # the answer before it may have settled it
                error = NotifierClosed("the notifier was closed before the outcome of this was known")
                answer.set_exception((NotifierClosed, error, None))


class _Unheard:
    """Takes the answer to a subscriber's command that no one waits for: counts it, and logs a refusal."""

    __slots__ = ("_pending", "done")

    def __init__(self, pending: PendingAnswers) -> None:
        self._pending = pending
        self.done = False

    def set(self, _acceptance: Acceptance | None = None) -> None:
        if not self.done:
            self.done = True
            self._pending.unheard_done()

    def set_exception(self, exc_info: Any = None) -> None:
        error = sys.exc_info()[1] if exc_info is None else exc_info[1]
        if not isinstance(error, (StoreFailed, NotifierClosed)):
            logger.error("a command of a subscriber was not accepted", exc_info=error)
        self.set()


class EventBus:
    """The interface for callers: subscribe to types of events, publish events, send commands."""

    def __init__(self, system: Runtime, process: Process, store: Store, subscriber_timeout: float) -> None:
        """Begin without subscribers; an async one may take `subscriber_timeout` seconds."""
        self._system = system
        self._process = process
        self._store = store
        self._subscriber_timeout = subscriber_timeout
        self._handler: ActorRef[Any]
        self.has_room: Callable[[Priority], bool] | None = None
        """Tells whether a notification of this class may be accepted. None: it always may."""
        self._subscribers: dict[type, list[tuple[Subscriber, ActorRef[Any], Priority | None]]] = {}
        """By type of event: each with the class of traffic of its commands, None where it has none."""
        self.pending = PendingAnswers()

    def connect(self, handler: ActorRef[Any], has_room: Callable[[Priority], bool] | None) -> None:
        """Set where commands go, once that actor is there, and what tells whether there is room; see `has_room`."""
        self._handler = handler
        self.has_room = has_room

    def is_open(self) -> bool:
        """Tell whether commands are taken; no longer once the actors begin to stop, which may take a while."""
        return self._handler.is_alive()

    @property
    def subscribed(self) -> Container[type]:
        """The types of events that have had subscribers, always current."""
        return self._subscribers

    @property
    def actors(self) -> list[ActorRef[Any]]:
        refs = [ref for entries in self._subscribers.values() for _, ref, _ in entries]
        return list({ref.actor_urn: ref for ref in refs}.values())

    @property
    def under_way(self) -> int:
        """How many publications, commands and operations have not been answered yet."""
        return self.pending.count

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
                ref = self._process.spawn(AsyncSubscriber, function, submit, self._subscriber_timeout)
            else:
                ref = self._process.spawn(PlainSubscriber, function, submit)
            for event_type in event_types:
                self._subscribers.setdefault(event_type, []).append((function, ref, given))
            return function

        return subscribe

    def subscribe_actor(self, ref: ActorRef[Any], event_types: Iterable[type]) -> None:
        """Have an own actor called with each event of these types; see :class:`actors.pipeline.own_actors.OwnActor`."""
        for event_type in event_types:
            self._subscribers.setdefault(event_type, []).append((ref.tell, ref, None))

    def unsubscribe(self, function: Subscriber, *event_types: type) -> None:
        """Stop calling a function with events of these types, or of any type when none is given."""
        gone = []  # by ==, since a method is another object each time that it is named
        for event_type in event_types or tuple(self._subscribers):
            entries = self._subscribers.get(event_type, [])
            self._subscribers[event_type] = [entry for entry in entries if entry[0] != function]
            gone += [ref for subscriber, ref, _ in entries if subscriber == function]
        needed = {ref.actor_urn for entries in self._subscribers.values() for _, ref, _ in entries}
        for ref in {ref.actor_urn: ref for ref in gone}.values():
            if ref.actor_urn not in needed:
                ref.stop(block=False)  # behind the events that are on their way to it

    def publish(self, event: Any, *, traceparent: str | None = None) -> Awaitable[None]:
        """Bring an event to its subscribers.

        Awaiting it waits until all have returned and their commands are accepted; the event is on its way even when no
        one awaits it. An event of your own type needs a subscriber to it first. The commands belong to the trace of
        `traceparent`, as W3C Trace Context writes it; one that cannot be read counts as none.

        Raises (at once):
            WrongType: it is no event of the domain or of the system, and its type has no subscriber; or the trace is
                no str.
            Overloaded: as many notifications are pending as may be; no subscriber gets it. Once it is taken, the
                commands of its subscribers are never refused for that.
            StoreBusy: nothing can be made durable for now; no subscriber gets it.
            NotifierClosed: the notifier is closed.

        Raises (where it is awaited):
            StoreBusy: a command has not become durable for a second; it will, if the notifier goes on.
            StoreFailed: a command could not be made durable.
            NotifierClosed: the notifier was closed before that, or an own actor ended before it had handled the event.
            Exception: whatever an own actor raised on the event.
        """
        return self._publish(event, None, traceparent)

    def submit(self, event: Any, *, traceparent: str | None = None) -> Awaitable[list[Submission]]:
        """Publish an event; awaiting it gives the outcomes of the commands that its subscribers returned, once each is
        durably accepted or refused.

        Raises as :meth:`publish`, at once and where it is awaited.
        """
        submissions: list[Submission] = []
        answer: Future[list[Submission]] = self._system.future_class()
        published = self._publish(event, submissions, traceparent)

        def tell() -> None:
            try:
                published.get(timeout=0)
            except Exception:
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
        self.pending.add(done)
        self.announce(event, done, submissions, trace)
        return done

    def send(self, command: SendNotification, *, traceparent: str | None = None) -> Awaitable[Acceptance]:
        """Send a command to the handler; awaiting it gives its acceptance, once that is durable.

        The command belongs to the trace of `traceparent`, as W3C Trace Context writes it. The trace is no part of the
        command: sent again in another trace it is the same command.

        Raises (where it is awaited):
            IdempotencyConflict: the id is known already, with a different payload.
            UnknownChannel: the command's channel is not configured.
            InvalidRecipient: no provider of that channel could send to its recipient.
            Overloaded: as many notifications are pending as may be. The command is not remembered.
            StoreBusy: it has not become durable for a second, and stays in line for that; or the store was busy when
                it came, and the command is not remembered. Sent again with the same id, it is accepted once.
            StoreFailed: it cannot be made durable.
            NotifierClosed: the notifier was closed before its acceptance was durable; perhaps it is. Sent again with
                the same id, it is accepted once.

        Raises (at once):
            WrongType: it is no SendNotification, or the trace is no str.
            NotifierClosed: the notifier is closed.
        """
        _check_is_command(command)
        return self._submit(command, trace_of(traceparent), follows_event=False)

    def send_admitted(self, command: SendNotification) -> Future[Acceptance]:
        """Send a command admitted with the event behind it; see :meth:`send`. A busy store does not end the wait.

        Raises (at once):
            WrongType: it is no SendNotification.
        """
        _check_is_command(command)
        answer: Future[Acceptance] = self._system.future_class()
        self._tell_handler(Submit(command, answer, follows_event=True))
        self.pending.add_unheard()
        answer.when_done(self.pending.unheard_done)
        return answer

    def cancel(self, notification_id: str) -> Awaitable[bool]:
        """Cancel a notification that waits: for its instant, a retry or the end of quiet hours, or in a line for a
        limit, a quota, a slot or a circuit breaker.

        Awaiting it tells whether the notification is cancelled, once that is durable. It is not cancelled if an attempt
        is at its provider, if the notification has ended, or if it is unknown here: with several nodes, another node
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
            self._handler.tell(CancelNotification(notification_id, answer))
        except ActorDeadError:
            raise NotifierClosed from None
        self.pending.add(answer)
        return answer

    def announce(
        self,
        event: Any,
        done: Future[None] | None = None,
        submissions: list[Submission] | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Publish without an answer to wait for; costs next to nothing without subscribers."""
        subscribers = self._subscribers.get(type(event))
        if subscribers:
            publication = None if done is None else Publication(done, len(subscribers), submissions)
            call = SubscriberCall(event, publication, traceparent)
            for function, ref, _ in subscribers:
                try:
                    ref.tell(call)
                except ActorDeadError:
                    logger.error("subscriber %r has stopped and does not get %r", function, event)
                    if publication is not None:
                        publication.one_done()
        elif done is not None:
            done.set(None)

    def _check(self, event: Any) -> None:
        """Refuse an event without a subscriber, and an object that only looks like one: a class, a command."""
        kind = type(event)
        if kind in self._subscribers or kind in _DOMAIN_EVENTS or isinstance(event, RecordedEvent):
            return
        hint = "; commands go to send()" if kind is SendNotification else ""
        raise WrongType(f"wanted an event: a domain event, or one of a type that has a subscriber; got {event!r}{hint}")

    def _submit(self, command: SendNotification, traceparent: str | None, *, follows_event: bool) -> Future[Acceptance]:
        answer: Future[Acceptance] = self._system.future_class()
        self._tell_handler(Submit(command, answer, follows_event, traceparent))
        self.pending.add(answer)
        return answer

    def _follow(self, priority: Priority | None, command: SendNotification, call: SubscriberCall) -> None:
        """Send a command of a subscriber, with the subscriber's class of traffic if it has none of its own."""
        if priority is not None and command.has_implied_priority:
            command = msgspec.structs.replace(command, priority=priority)
        publication = call.publication
        if publication is None:
            self._tell_handler(Submit(command, _Unheard(self.pending), True, call.traceparent))
            self.pending.add_unheard()
        else:
            answer = self._submit(command, call.traceparent, follows_event=True)
            if self._store.is_busy:
                answer.give_up(StoreBusy())
            publication.await_answer(command, answer)

    def _tell_handler(self, submit: Submit) -> None:
        try:
            self._handler.tell(submit)
        except ActorDeadError:  # the handler is always restarted: it is dead only when the notifier has ended
            raise NotifierClosed from None

    def has_room_for(self, event: Any) -> bool:
        """Tell whether the commands that an event leads to may be accepted."""
        return self.has_room is None or self.has_room(self.priority_of(event))

    def priority_of(self, event: Any) -> Priority:
        given = [priority or Priority.NORMAL for _, _, priority in self._subscribers.get(type(event), ())]
        return min(given, key=RANKS.__getitem__, default=Priority.NORMAL)

    def check_store(self) -> None:
        """Raise StoreBusy where a command would have to wait for a store that is busy."""
        if self._store.is_busy:
            raise StoreBusy


def _check_is_command(command: Any) -> None:
    if type(command) is not SendNotification:
        hint = "; events go to publish()" if type(command) in _DOMAIN_EVENTS else ""
        raise WrongType(f"wanted a SendNotification, got {command!r}{hint}")


def check_id(notification_id: Any) -> None:
    """Refuse what cannot be the id of a notification.

    Raises:
        WrongType: it is no str.
    """
    if not isinstance(notification_id, str):
        raise WrongType(f"wanted the id of a notification, a str, got {notification_id!r:.100}")


def check_timeout(timeout: Any) -> None:
    """Refuse anything but a time-out in seconds; None is one without an end.

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
