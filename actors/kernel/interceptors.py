"""Interceptors: hooks between an actor system and its actors, to watch or to intervene.

A system is made with a list of interceptors. Each overrides the hooks that it needs and gets `go_on`, the function that
would run without it; it calls that with the same arguments, with others, or not at all::

    class Late(Interceptor):
        def tell(self, go_on, actor, message):
            self.system.set_timer(self.system.now_ns + 1_000, actor, message)

    SimulatedSystem(interceptors=[Late()])

The first of the list is the outermost. Only hooks that are overridden are put in: a system without interceptors, or a
hook that is not overridden, costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from actors.kernel.effects import Cancellable, Effect

Next = Callable[..., Any]
"""The work without the interceptor; takes the arguments that the hook takes behind it."""


class Interceptor:
    """Lets everything pass. An instance serves one system."""

    delivers_once: ClassVar[bool] = True
    """Whether each message still comes once, and the messages of one actor to another in order."""
    system: Any
    """The :class:`~actors.kernel.system.ActorSystem` that it was given to."""

    def attach(self, system: Any) -> None:
        """Get the system, before it has any actors."""
        self.system = system

    def tell(self, go_on: Next, actor: Any, message: Any) -> None:
        """Send an actor a message: by `tell`, by a route, or by `ask` (then the message is in an envelope)."""
        go_on(message)

    def telling(self, go_on: Next, actor: Any) -> Callable[[Any], None]:
        """Return what sends one actor its messages. By default that is `tell`, which gets the actor each time."""
        return partial(self.tell, go_on, actor)

    def ask(self, go_on: Next, ref: Any, message: Any) -> Any:
        """Ask an actor; returns the future of the answer."""
        return go_on(ref, message)

    def set_timer(self, go_on: Next, instant_ns: int, actor: Any, message: Any) -> Cancellable:
        """Send a message to an actor at an instant. The end of an effect in simulated time does not pass this hook."""
        return go_on(instant_ns, actor, message)  # type: ignore[no-any-return]

    def perform(
        self,
        go_on: Next,
        actor: Any,
        effect: Effect,
        request: Any,
        timeout_ns: int | None = None,
        on_timeout: Any = None,
    ) -> Cancellable:
        """Begin an effect."""
        return go_on(actor, effect, request, timeout_ns, on_timeout)  # type: ignore[no-any-return]

    def start(self, go_on: Next, actor: Any) -> None:
        """Start an incarnation of an actor."""
        go_on(actor)

    def deliver(self, go_on: Next, actor: Any, message: Any) -> Any:
        """Bring a message that no plain handler of an actor takes at once: it is down or busy, or has none."""
        return go_on(actor, message)

    def handle(self, go_on: Next, actor: Any, message: Any) -> Any:
        """Handle a message that no plain handler of an actor takes at once; returns the turn to wait for."""
        return go_on(actor, message)

    def fail(
        self, go_on: Next, actor: Any, message: Any, error: Exception, restart_after_ns: int | None = None
    ) -> None:
        """Decide about an actor that raised."""
        go_on(actor, message, error, restart_after_ns)

    def end(self, go_on: Next, actor: Any, error: Exception | None) -> None:
        """Settle the mailbox, the children and the handler of an actor that has stopped."""
        go_on(actor, error)

    def lose(self, go_on: Next, actor: Any, message: Any, reason: str) -> None:
        """Record a message that no handler took."""
        go_on(actor, message, reason)


_OF_THE_SYSTEM = {
    "ask": "_ask",
    "set_timer": "set_timer",
    "perform": "perform",
    "deliver": "_deliver",
    "handle": "_handle",
    "lose": "_not_delivered",
}
_OF_LIFECYCLE = {"start": "start_incarnation", "fail": "failed", "end": "terminated"}


class Intercepted:
    """An object whose methods can be replaced by hooks, which are handed the methods that they replace."""

    def _put_round(self, method: str, hook: Callable[..., Any]) -> None:
        setattr(self, method, partial(hook, getattr(self, method)))


def put_in(interceptor: Interceptor, system: Intercepted, lifecycle: Intercepted) -> None:
    """Put an interceptor round a system, and round its earlier interceptors."""
    interceptor.attach(system)
    for owner, hooks in ((system, _OF_THE_SYSTEM), (lifecycle, _OF_LIFECYCLE)):
        for hook, method in hooks.items():
            if _overrides(interceptor, hook):
                owner._put_round(method, getattr(interceptor, hook))
    if _overrides(interceptor, "tell") or _overrides(interceptor, "telling"):
        system._put_round("_teller", lambda teller, actor: interceptor.telling(teller(actor), actor))
        system._put_round("route", partial(_intercepted_route, interceptor))


def _intercepted_route(interceptor: Interceptor, route: Next, ref: Any) -> Callable[[Any], None]:
    is_bounded = ref.actor.mailbox.capacity is not None  # then its route is its `tell`, where this is in already
    return ref.tell if is_bounded else interceptor.telling(route(ref), ref.actor)


def _overrides(interceptor: Interceptor, hook: str) -> bool:
    return getattr(type(interceptor), hook) is not getattr(Interceptor, hook)
