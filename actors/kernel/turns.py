"""Turns: a system's reports on its actors to an observer that knows no class of actors.

A handler, or a function that the environment calls, has a mark with the name and the subject of its turn::

    @handles(LookAtBacklog)
    @takes_turn("backlog")
    def on_look_at_backlog(self, _: LookAtBacklog) -> None: ...

A system with :func:`interceptors_for` an observer reports each. Any other system never looks at the marks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, TypeVar

from actors.kernel.actor import NOTHING, Actor
from actors.kernel.interceptors import Interceptor, Next
from actors.kernel.mailbox import opened

F = TypeVar("F", bound=Callable[..., Any])

RESTART, OTHER = "restart", "other"


class TurnObserver(Protocol):
    """Gets the turns of actors. `key` is the subject of a turn, and `node` its node, if there are several."""

    waiting_kinds: frozenset[str]
    """The turns that it wants to know of when they fall due for an actor that is down."""

    ignored_kinds: frozenset[str]
    """The turns that it does not want to know of when they begin."""

    told_kinds: frozenset[str]
    """The turns that it wants to know of when their messages are sent."""

    def turn(self, kind: str, key: Any, node: int | None, now_ns: int) -> Callable[[], None] | None:
        """Take note of a turn that begins; the returned function is called when the turn has ended."""

    def falls_due(self, kind: str, key: Any, node: int | None, now_ns: int) -> None:
        """Take note of a turn whose actor is down, so that it waits in the mailbox."""

    def told(self, kind: str, key: Any, node: int | None) -> None:
        """Take note of a message that is sent to an actor now, and whose turn comes later."""


class _Mark(NamedTuple):
    kind: str
    key_of: Callable[..., Any]
    when_told: bool


def _first(_owner: Any, *about: Any) -> Any:
    """Return the subject of a turn without a key of its own: the message, or the first argument."""
    return about[0]


def takes_turn(kind: str, key: Callable[..., Any] = _first, *, when_told: bool = False) -> Callable[[F], F]:
    """Mark a handler, or a function that the environment calls.

    Args:
        kind: the name of its turns.
        key: gets the actor and the message, or the object and the arguments of a marked method, and returns the subject
            of the turn, or None where it is no turn. Left out: the subject is the message.
        when_told: whether the observer also learns when the message is sent.
    """

    def mark(function: F) -> F:
        function.__turn__ = _Mark(kind, key, when_told)  # type: ignore[attr-defined]
        return function

    return mark


def called_turn(function: Callable[..., Any]) -> tuple[str, Any]:
    call = partial(function)  # flattens a function that is partial already
    mark: _Mark | None = getattr(call.func, "__turn__", None)
    if mark is None:
        return OTHER, ""
    return mark.kind, mark.key_of(getattr(call.func, "__self__", None), *call.args)


def interceptors_for(observer: TurnObserver) -> tuple[Interceptor, Interceptor]:
    """Return what reports to an observer: the outermost of a system's interceptors, and the innermost."""
    return _Told(observer), _Turns(observer)


class _Told(Interceptor):
    """Reports the messages sent to actors."""

    def __init__(self, observer: TurnObserver) -> None:
        self._observer = observer

    def attach(self, system: Any) -> None:
        super().attach(system)
        system._put_round("_teller", self._teller)

    def _teller(self, teller: Next, actor: Actor) -> Callable[[Any], None]:
        tell: Callable[[Any], None] = teller(actor)
        wanted, told = self._observer.told_kinds, self._observer.told
        marks = {kind: mark for kind, mark in _marks(type(actor)).items() if mark.when_told and mark.kind in wanted}
        if not marks:
            return tell
        node, stopped = actor.process.node_number, actor.actor_stopped

        def telling(message: Any) -> None:
            content, _ = opened(message)
            mark = marks.get(type(content))
            if mark is not None and not stopped.is_set():  # else its sender is told so
                told(mark.kind, mark.key_of(actor, content), node)
            tell(message)

        return telling


class _Turns(Interceptor):
    """Reports the turns of actors, and the turns that wait in the mailbox of an actor that is down."""

    def __init__(self, observer: TurnObserver) -> None:
        self._observer = observer

    def start(self, go_on: Next, actor: Actor) -> None:
        node = actor.process.node_number
        if actor._incarnation.number and (place := actor._place) is not None:
            self._observer.turn(RESTART, place, node, self.system.now_ns)
        go_on(actor)
        for kind, mark in _marks(type(actor)).items():
            if kind in actor._plain and mark.kind not in self._observer.ignored_kinds:
                actor._plain[kind] = self._taking_turns(mark, actor, node, actor._plain[kind])

    def _taking_turns(
        self, mark: _Mark, actor: Actor, node: int | None, handler: Callable[[Any], Any]
    ) -> Callable[[Any], Any]:
        kind, key_of, _ = mark
        system, turn = self.system, self._observer.turn

        def take_turn(message: Any) -> Any:
            key = key_of(actor, message)
            ended = None if key is None else turn(kind, key, node, system.now_ns)
            if ended is None:
                return handler(message)
            try:
                return handler(message)
            finally:
                ended()

        return take_turn

    def deliver(self, go_on: Next, actor: Actor, message: Any) -> Any:
        if not actor._is_of_pipeline:
            self._observer.turn(OTHER, "", actor.process.node_number, self.system.now_ns)
        if actor._accepting is NOTHING and not actor.actor_stopped.is_set():  # else its process is gone
            mark = _marks(type(actor)).get(type(message))
            if mark is not None and mark.kind in self._observer.waiting_kinds:
                key = mark.key_of(actor, message)
                if key is not None:
                    self._observer.falls_due(mark.kind, key, actor.process.node_number, self.system.now_ns)
        return go_on(actor, message)


@cache
def _marks(cls: type[Actor]) -> dict[type, _Mark]:
    handlers = {kind: getattr(cls, name) for kind, name in cls._routes.items()}
    return {kind: handler.__turn__ for kind, handler in handlers.items() if hasattr(handler, "__turn__")}
