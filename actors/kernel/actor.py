"""Actors, and the requests that they make to their system, live or simulated.

An :class:`Actor` is a :class:`pykka.Actor` whose handlers take one message and return. It never reads a clock, sleeps
on a thread, does I/O or draws from a global random generator; it asks its system (`now_ns`, `after`, `at`, `perform`,
`stream`, `record`, `spawn`), so that the same code runs on any clock::

    class Greeter(Actor):
        @handles(Greet)
        def on_greet(self, message: Greet) -> str:
            self.after(60.0, Remind(name=message.name))
            return f"Hello {message.name}"

A handler may be ``async def``: it may then await :meth:`Actor.sleep` and futures. While it waits, the actor takes no
other message; they queue up in its own mailbox, in order.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal, TypeVar

import pykka

from actors.errors import ActorSystemError, WrongType
from actors.instants import ns
from actors.kernel.async_handlers import DeadlineScope, HandlerRun, park
from actors.kernel.effects import Cancellable, Effect
from actors.kernel.mailbox import Mailbox
from actors.kernel.pykka_hooks import ActorRef as ActorRef, HookedActor
from actors.kernel.runtime import Process, Runtime
from actors.messages import RecordedEvent

Decision = Literal["restart", "stop", "escalate"]

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound="Actor")


def handles(*message_types: type) -> Callable[[F], F]:
    """Mark a method as the handler of these message types (exactly these: subclasses are types of their own).

    Raises:
        WrongType: there are none, or one is not a type.
    """
    if not message_types or not all(isinstance(message_type, type) for message_type in message_types):
        got = ", ".join(map(repr, message_types)) or "nothing"
        raise WrongType(f"wanted types of messages, as in @handles(Order), got {got}")

    def mark(method: F) -> F:
        method.__handles__ = message_types  # type: ignore[attr-defined]
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Supervision:
    """How an actor is restarted that raises on a message without a waiting caller, or as it starts.

    It keeps its mailbox and gets a new state, after a wait that doubles from `initial_delay` to `max_delay`; after more
    than `max_restarts` within `window`, its supervisor decides (:meth:`Actor.on_child_failure`). Timers that it had set
    and effects that it had begun still reach it after a restart; the children that it had spawned are stopped.
    """

    max_restarts: int = 5
    window: float = 60.0
    """Seconds."""
    initial_delay: float = 0.1
    """Seconds."""
    max_delay: float = 10.0
    """Seconds."""
    then: Decision = "stop"
    """The decision about an actor without a supervisor; ``escalate`` ends the whole run with its error."""


STOP_ON_FAILURE = Supervision(max_restarts=0)
"""As pykka does it: an actor that raises is stopped."""

_spawned_at: ContextVar[tuple[Runtime, Process, Actor | None]] = ContextVar("spawned_at")
"""The system, the process on it and the parent under which an actor is being started."""

NOTHING: dict[type, Callable[[Any], Any]] = {}
"""The handlers of an actor that does not take messages now; see :attr:`Actor._accepting`."""


def tell_unless_dead(ref: ActorRef[Any], message: Any) -> None:
    """Tell an actor a message that is for its successor if its system has ended."""
    with contextlib.suppress(pykka.ActorDeadError):
        ref.tell(message)


class StartIncarnation:
    """The first message of each incarnation of an actor."""

    __slots__ = ()


@dataclass(slots=True)
class Incarnation:
    """The facts about an actor that its system keeps, besides its state.

    An object of its own, since Python is quick only with objects of at most thirty attributes.
    """

    args: tuple[Any, ...]
    """The arguments of its constructor, for a restart."""
    kwargs: dict[str, Any]
    process: Process = field(init=False)
    """The process in which the actor draws, records and spawns."""
    parent: Actor | None = None
    watchers: dict[str, ActorRef[Any]] = field(default_factory=dict)
    children: dict[str, Actor] = field(default_factory=dict)
    restarts_ns: list[int] = field(default_factory=list)
    """When it was restarted."""
    number: int = 0
    """How often it has started."""
    async_handlers: dict[type, Callable[[Any], Any]] = field(default_factory=dict)
    beginning: StartIncarnation | None = None
    """The message that starts its next incarnation."""

    def renew(self) -> StartIncarnation:
        """Return the message that starts the next incarnation; an earlier one on its way no longer counts."""
        self.beginning = StartIncarnation()
        return self.beginning

    def restarts_since(self, horizon_ns: int) -> int:
        """Return how many restarts there were after an instant, and forget the earlier ones."""
        self.restarts_ns = [at_ns for at_ns in self.restarts_ns if at_ns > horizon_ns]
        return len(self.restarts_ns)

    def leave_children(self) -> list[Actor]:
        """Return the children, the oldest first, which are no longer its own."""
        children, self.children = self.children, {}
        return list(children.values())


class Actor(HookedActor):
    """The base class of actors; see the module's text. `spawn` one, do not call its constructor."""

    supervision: ClassVar[Supervision] = Supervision()
    mailbox: ClassVar[Mailbox] = Mailbox()
    _incarnation: Incarnation
    _stands_at: ClassVar[str] = ""
    """By which name an observer of turns knows its place in its process, also while it is down."""
    _is_of_pipeline: ClassVar[bool] = True
    """Whether an observer of turns knows its turns by their marks; else each of its messages is another one."""
    _routes: ClassVar[dict[type, str]] = {}
    """By type of message, the name of its handler."""
    _async_routes: ClassVar[tuple[type, ...]] = ()
    """The types of messages whose handlers are coroutine functions."""
    # Here, so that an actor whose constructor raised in a restart has them too.
    _accepting: dict[type, Callable[[Any], Any]] = NOTHING
    """Where the dispatcher finds the handler of a message: `_plain` while the actor takes messages, NOTHING while
    it is busy with an async handler, suspended or stopped. So the common case needs no other check."""
    _run: HandlerRun | None = None
    """The actor's async handler under way, if any."""

    # The identity of the actor, which a restart keeps; all else is set again by __init__.
    _IDENTITY = frozenset(
        {
            "actor_urn",
            "actor_inbox",
            "actor_stopped",
            "_actor_ref",
            "system",
            "_incarnation",
        }
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: dict[type, Any] = {}
        for member in vars(cls).values():
            for message_type in getattr(member, "__handles__", ()):
                if (other := own.setdefault(message_type, member)) is not member:
                    raise WrongType(
                        f"{cls.__name__}: wanted one handler of {message_type.__name__}, "
                        f"got {other.__name__} and {member.__name__}"
                    )
        cls._routes = {
            message_type: name
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            for message_type in getattr(member, "__handles__", ())
        }
        cls._async_routes = tuple(
            kind for kind, name in cls._routes.items() if inspect.iscoroutinefunction(getattr(cls, name))
        )

    def __new__(cls, *args: Any, **kwargs: Any) -> Actor:
        self = super().__new__(cls)
        self._incarnation = Incarnation(args, kwargs)
        return self

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        if getattr(self, "_actor_ref", None) is None:  # looking into __dict__ would slow down every attribute for good
            self._set_identity()
        self._plain = {kind: getattr(self, name) for kind, name in self._routes.items()}
        if self._async_routes:
            self._incarnation.async_handlers = {kind: self._plain.pop(kind) for kind in self._async_routes}

    def _set_identity(self) -> None:
        try:
            system, process, parent = _spawned_at.get()
        except LookupError:
            system = process = getattr(type(self), "system", None)  # type: ignore[assignment]
            parent = None
            if system is None:
                raise ActorSystemError(f"{type(self).__name__} has no system: start it with system.spawn()") from None
        self._incarnation.process, self._incarnation.parent = process, parent
        self._enter(system)

    # Called by the system

    def _start_anew(self) -> None:
        incarnation = self._incarnation
        if incarnation.number:
            identity = {name: value for name, value in self.__dict__.items() if name in self._IDENTITY}
            self.__dict__.clear()
            self.__dict__.update(identity)
            self.__init__(*incarnation.args, **incarnation.kwargs)  # type: ignore[misc]  # of an object that exists
        incarnation.number += 1

    def _take_messages(self) -> None:
        self._accepting = self._plain

    def _take_no_messages(self) -> None:
        self._accepting = NOTHING

    def _begin_run(self, message: Any, coroutine: Any, reply_to: pykka.Future[Any] | None) -> HandlerRun:
        self._accepting = NOTHING
        self._run = HandlerRun(self, message, coroutine, reply_to)
        return self._run

    def _end_run(self) -> HandlerRun | None:
        run, self._run = self._run, None
        return run

    # Called by handlers

    @property
    def process(self) -> Process:
        """The actor's process: the system itself where it is the only process, else a node on the system."""
        return self._incarnation.process

    @property
    def now_ns(self) -> int:
        """The instant of the message being handled, in nanoseconds since the start of the run."""
        return self.system.now_ns

    @property
    def epoch_ns(self) -> int:
        """Where on the calendar the run's clock started, in nanoseconds since 1970, as the wall clock shows it now."""
        return self.system.epoch_ns

    def after(self, delay: float, message: Any) -> Cancellable:
        """Have `message` come to this actor in `delay` seconds."""
        return self.system.set_timer(self.system.now_ns + ns(delay), self, message)

    def at(self, instant_ns: int, message: Any) -> Cancellable:
        """Have `message` come to this actor at an instant; one in the past is now. Ties fire in the order set."""
        return self.system.set_timer(instant_ns, self, message)

    def perform(
        self, effect: Effect, request: Any, *, timeout_ns: int | None = None, on_timeout: Any = None
    ) -> Cancellable:
        """Begin some I/O; ``Performed(request=request, result=…)`` comes back to this actor when it is done.

        After `timeout_ns` it comes back with `on_timeout` as its result, and the work is cancelled.
        """
        return self.system.perform(self, effect, request, timeout_ns, on_timeout)

    def route(self, ref: ActorRef[Any]) -> Callable[[Any], None]:
        """Return the shortest way to tell `ref`, to be used in handlers of this system only.

        Where `tell` would raise, since the actor has stopped, the message becomes an undelivered one.
        """
        return self.system.route(ref)

    def stream(self, name: str) -> Random:
        """Return the random stream of this name, derived from the run's seed."""
        return self.process.streams.stream(name)

    def record(self, event: RecordedEvent) -> None:
        """Add an event to the history of the run."""
        self.process.record(event)

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        """Start an actor that this one supervises; it stops when this one stops or restarts."""
        return self.system._spawn(self, actor_class, args, kwargs, self.process)  # type: ignore[no-any-return]

    def watch(self, ref: ActorRef[Any]) -> None:
        """Receive :class:`~actors.kernel.supervision.Terminated` when that actor stops, and `Restarted` when it
        restarts.

        An actor that has stopped already is reported at once.
        """
        self.system._watch(self, ref)

    async def sleep(self, delay: float) -> None:
        """Wait `delay` seconds of the system's time (without end if infinite), in an ``async`` handler."""
        system = self.system
        system._run_under_way("sleep")
        if delay == math.inf:
            await park(lambda _resume: None)
            return
        due_ns = system.now_ns + ns(delay)
        await park(lambda resume: system.set_timer(due_ns, self, resume))

    def move_on_after(self, delay: float) -> DeadlineScope:
        """Cancel the wait inside the ``with`` block after `delay` seconds (or never, if infinite), and go on.

        The deadline for ``async`` handlers, on any clock; `cancelled_caught` of the scope tells whether it cancelled.
        As with trio's, everything that is awaited later inside the block is cancelled too.
        """
        return DeadlineScope(self.system, self, None if delay == math.inf else ns(delay))

    # Hooks

    @classmethod
    def _place_of(cls, *_args: Any) -> tuple[str, str] | None:
        return (cls._stands_at, "") if cls._stands_at else None

    @property
    def _place(self) -> tuple[str, str] | None:
        return self._place_of(*self._incarnation.args)

    def _takes_up(self, message: Any) -> bool:
        """Tell whether to handle a message that stood in the mailbox while this actor was down, or busy.

        True unless a subclass finds that the message comes too late, and deals with it itself.
        """
        return True

    def on_child_failure(self, child: ActorRef[Any], error: Exception) -> Decision:
        """Decide about a child that failed more often than its supervision allows; by default it is stopped.

        ``escalate`` stops it and has this actor fail with its error. If this raises, the child is stopped and this
        actor fails.
        """
        return "stop"
