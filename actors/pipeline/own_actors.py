"""Own actors: a service's actors beside the pipeline, which hear its events, send notifications and keep durable state.

::

    class Welcome(OwnActor):
        @handles(NotificationSent)
        async def on_sent(self, event: NotificationSent) -> None:
            await self.keep(event.notification_id, event.at_ns)  # durable from here on, also over a crash
            await self.send(SendNotification(...))

An event of the bus reaches each own actor that handles its type. Who publishes it waits until the handler has returned.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias

import msgspec

from actors.domain.store import Store
from actors.errors import ActorSystemError, ConfigurationError, NotifierClosed, described
from actors.kernel.actor import Actor, ActorRef, Supervision, handles
from actors.kernel.effects import Foreseen, Promise
from actors.kernel.futures import Future
from actors.kernel.runtime import Process
from actors.messages import OwnActorMessage, SendNotification
from actors.pipeline.event_bus import EventBus
from actors.pipeline.orders import Acceptance
from actors.pipeline.subscriber_calls import SubscriberCall
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS, Subscribers


class OwnActor(Actor):
    """The base class of own actors. The arguments of its constructor are its settings.

    Values that it keeps are plain data, as JSON has them: a restart, of the actor or of the process, loses everything
    else. With several nodes on one database each keeps its own, under its name: no other node takes them over, and a
    node of the same name finds them again.
    """

    supervision = Supervision(then="restart")
    replaces: ClassVar[tuple[type, ...]] = ()
    """Events whose built-in subscribers are not called, as this actor sends what the events lead to."""
    name: ClassVar[str]
    """The name by which the settings know it."""
    _is_of_pipeline = False
    _bus: ClassVar[EventBus]
    _store: ClassVar[Store]

    def __init__(self) -> None:
        if not hasattr(self, "_bus"):
            raise ActorSystemError(
                f"{type(self).__name__} has no notifier: name it in `actors`; those that actors spawn are plain ones"
            )
        super().__init__()
        handlers = self._incarnation.async_handlers
        handlers.update(self._plain)
        handlers.update({kind: partial(self._noted, handlers[kind]) for kind in self._events()})
        self._plain = {}

    @classmethod
    def _events(cls) -> set[type]:
        """Return the types of messages that the subclass handles."""
        return cls._routes.keys() - OwnActor._routes.keys()

    def _noted(self, handler: Callable[[Any], Any], message: Any) -> Any:
        about = getattr(message, "notification_id", None)
        self._note(type(message).__name__, about if isinstance(about, str) else None)
        return handler(message)

    def _note(self, message: str, about: str | None, *, is_sent: bool = False) -> None:
        self.record(
            OwnActorMessage(
                at_ns=self.now_ns,
                epoch_ns=self.epoch_ns,
                actor=self.name,
                message=message,
                notification_id=about,
                is_sent=is_sent,
            )
        )

    @handles(SubscriberCall)
    async def _on_subscriber_call(self, call: SubscriberCall) -> None:
        try:
            answer = self._incarnation.async_handlers[type(call.event)](call.event)
            if inspect.isawaitable(answer):
                await answer
        except BaseException as error:
            if call.publication is not None:
                ended = NotifierClosed(f"the actor {self.name} ended before it had handled this")
                call.publication.fail(error if isinstance(error, Exception) else ended)
            raise
        finally:
            if call.publication is not None:
                call.publication.one_done()

    # A handler may call these, besides the methods of every actor.

    def keep(self, key: str, value: Any) -> Future[None]:
        """Keep a value under a key, in place of an earlier one; awaiting it waits until that is durable.

        Raises:
            TypeError: the value is no plain data.
            Unstorable: no store can keep the key.
            StoreFailed (where it is awaited): it cannot be made durable, which ends the notifier.
        """
        return self._keep(key, msgspec.json.encode(value))

    def forget(self, key: str) -> Future[None]:
        """Keep nothing under a key any more; awaiting it waits until that is durable."""
        return self._keep(key, None)

    def kept(self) -> dict[str, Any]:
        """Return all that it keeps, in the order of the keys; to be read in `on_start`."""
        own = ((key, value) for (actor, key), value in self._store.kept.items() if actor == self.name)
        return {key: msgspec.json.decode(value) for key, value in sorted(own)}

    def send(self, command: SendNotification) -> Future[Acceptance]:
        """Send a notification; awaiting it gives its acceptance, once that is durable.

        Sent again with the same id, as after a crash, it is accepted once. Awaiting raises the errors of
        :meth:`EventBus.send`, but it is never refused for want of room or because the store is busy.
        """
        answer = self._bus.send_admitted(command)
        self._note(type(command).__name__, command.notification_id, is_sent=True)
        return answer

    def cancel(self, notification_id: str) -> Awaitable[bool]:
        """Cancel a notification that waits; awaiting it tells whether it is cancelled. See :meth:`EventBus.cancel`."""
        return self._bus.cancel(notification_id)

    def publish(self, event: Any) -> None:
        """Bring an event to its subscribers."""
        self._bus.announce(event)

    def _keep(self, key: str, written: bytes | None) -> Future[None]:
        done: Future[None] = self.system.future_class()
        effect = self._store.keep(self.name, key, written, self.now_ns)
        if effect is None:
            done.set()
        elif isinstance(effect, Foreseen):
            self.system.call_at(self.now_ns + effect.delay_ns, done.set)
        else:
            assert isinstance(effect, Promise)
            effect.when_kept(partial(_settle, done))
        return done


OwnActors: TypeAlias = Mapping[str, Callable[..., OwnActor]]
"""The class of each own actor, or a `functools.partial` of the class with its settings, by the actor's name."""


def is_own_actor(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, OwnActor)


def problems_of_actors(actors: object) -> list[str]:
    if not isinstance(actors, Mapping):
        return [f"actors: wanted a mapping from names to classes, got {actors!r:.100}"]
    return [
        f"actors.{name}: wanted a subclass of OwnActor, or a functools.partial of one, got {made!r:.100}"
        for name, made in actors.items()
        if not is_own_actor(_class_of(made))
    ]


def _class_of(made: Any) -> Any:
    return made.func if isinstance(made, partial) else made


def replaced_by(actors: OwnActors) -> set[type]:
    """Return the events whose built-in subscribers own actors replace."""
    return {kind for made in actors.values() for kind in _class_of(made).replaces}


def without_replaced(subscribers: Subscribers, actors: OwnActors) -> Subscribers:
    """Return the subscribers without the built-in ones that own actors replace."""
    gone = replaced_by(actors)
    return {
        kind: functions
        for kind, functions in subscribers.items()
        if kind not in gone or functions is not BUILT_IN_SUBSCRIBERS.get(kind)
    }


def spawn_own(process: Process, actors: OwnActors, bus: EventBus, store: Store) -> dict[str, ActorRef[Any]]:
    """Start own actors, and have each hear the events that it handles.

    Raises:
        ConfigurationError: a constructor raised.
    """
    refs: dict[str, ActorRef[Any]] = {}
    for name, made in actors.items():
        cls, settings = _class_of(made), made.keywords if isinstance(made, partial) else {}
        # Events and logs call an actor by the name of its class.
        bound = type(name, (cls,), {"name": name, "_bus": bus, "_store": store})
        try:
            refs[name] = process.spawn(bound, **settings)
        except Exception as error:
            place = getattr(made, "place", f"actors.{name}")
            raise ConfigurationError([f"{place}: {cls.__name__} raised {described(error)}"]) from error
        bus.subscribe_actor(refs[name], cls._events())
    return refs


def events_heard(actors: Iterable[ActorRef[Any]]) -> frozenset[type]:
    """Return the types of events that these own actors handle."""
    return frozenset().union(*(ref.actor_class._events() for ref in actors))


def _settle(done: Future[None], error: Any) -> None:
    if isinstance(error, BaseException):
        done.set_exception((type(error), error, None))
    else:
        done.set()
