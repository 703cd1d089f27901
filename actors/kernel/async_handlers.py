"""Async handlers: how they wait, and how they are resumed.

A handler that waits yields a :class:`Parked` to its driver. Its `arm` is called with the message that resumes
the handler when it is delivered to the actor, through the same queue as any other message: so the order of everything
is the dispatcher's, on any clock.
"""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from actors.errors import ForeignAwait
from actors.kernel.effects import Cancellable
from actors.kernel.runtime import Runtime

if TYPE_CHECKING:
    import pykka


logger = logging.getLogger(__name__)


def is_async(function: object) -> bool:
    """Tell whether a call of this has to be awaited: it is an ``async def``, or an object called as one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Parked:
    """The wait that a handler yields to its driver."""

    __slots__ = ("arm",)

    def __init__(self, arm: Callable[[Resume], Any]) -> None:
        self.arm = arm


class HandlerRun:
    """One async handler under way, for one message."""

    __slots__ = ("actor", "coroutine", "message", "park_count", "reply_to", "scopes", "waits_on", "whole")

    def __init__(
        self, actor: Any, message: Any, coroutine: Coroutine[Any, Any, Any], reply_to: pykka.Future[Any] | None
    ) -> None:
        self.actor = actor
        """The :class:`~actors.kernel.actor.Actor`."""
        self.message = message
        self.coroutine = coroutine
        self.reply_to = reply_to
        self.park_count = 0
        """Numbers the waits, so that a resume for an earlier one is recognised as stale."""
        self.waits_on: Cancellable | None = None
        """The timer it is parked on, if it is one."""
        self.whole = Scope(self)
        """The scope of the whole run: cancelled when its actor is restarted or stopped."""
        self.scopes = [self.whole]
        """The scopes it is in, the outermost first."""

    def step(self, error: BaseException | None, value: Any) -> Any:
        """Go on until it yields a wait, and return that; a resume for an earlier wait is stale from now on."""
        self.park_count += 1
        if self.waits_on is not None:
            self.waits_on.cancel()
            self.waits_on = None
        return self.coroutine.send(value) if error is None else self.coroutine.throw(error)

    def park(self, parked: Parked) -> None:
        self.waits_on = parked.arm(Resume(self))

    def resume_anew(self) -> Resume:
        self.park_count += 1
        return Resume(self)

    def end(self) -> None:
        self.whole.leave()

    @property
    def cancelled(self) -> Scope | None:
        """The outermost cancelled scope: as long as the handler is in it, every wait of the handler is cancelled."""
        for scope in self.scopes:
            if scope.error is not None:
                return scope
        return None


class Resume:
    """The message that makes a parked handler go on."""

    __slots__ = ("park", "run")

    def __init__(self, run: HandlerRun) -> None:
        self.run = run
        self.park = run.park_count


@types.coroutine
def park(arm: Callable[[Resume], Any]) -> Generator[Parked, None, None]:
    """Wait until the message that `arm` is given has been delivered."""
    yield Parked(arm)


class HandlerCancelled(BaseException):
    """Raised in a handler where it waits, when a deadline is reached or its actor is restarted or stopped.

    As trio's Cancelled, a BaseException, so that ``except Exception`` does not swallow it; and as there, every further
    wait of the handler inside the scope is cancelled too.
    """


def _no_failures() -> tuple[type[BaseException], ...]:
    """Return the classes of cancellations, interrupts and awaits that a simulated clock cannot answer; trio's
    cancellation among them where anything has imported it."""
    trio = sys.modules.get("trio")  # a simulated run does without it
    trios = () if trio is None else (trio.Cancelled,)
    return (HandlerCancelled, ForeignAwait, *trios, KeyboardInterrupt, GeneratorExit)


def failure(error: BaseException) -> BaseException:
    """Return an error that foreign code has raised, as the failure of the work that it was called for.

    A SystemExit is a failure, too: a library in a provider ends its attempt by it, not the service. A cancellation, an
    interrupt, and in a simulation a foreign await, which ends the run, are no failures: they are raised here, also out
    of a group.
    """
    if isinstance(error, BaseExceptionGroup):
        passed_on, rest = error.split(_no_failures())
        if passed_on is not None:
            if rest is not None:
                logger.error("raised when it was cancelled", exc_info=rest)
            raise passed_on
    elif isinstance(error, _no_failures()):
        raise error
    return error


class Scope:
    """A part of a handler that can be cancelled."""

    __slots__ = ("error", "run", "trio_scope")

    def __init__(self, run: HandlerRun | None = None) -> None:
        self.run = run
        """None before and after it."""
        self.error: HandlerCancelled | None = None
        """The error that is raised in the handler, once the scope is cancelled."""
        self.trio_scope: Any = None
        """In a live system, a cancel scope of the same extent, for waits under trio."""

    def extend_to(self, trio_scope: Any) -> None:
        """Have a cancel scope of trio's end with this one."""
        self.trio_scope = trio_scope

    def leave(self) -> None:
        self.run = None

    def cancel_now(self) -> None:
        """Cancel what the handler waits for in this scope, now or later."""
        self.error = HandlerCancelled()


class Cancel:
    """The message that cancels a part of a handler: the timer message of a deadline, for one."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


class DeadlineScope(Scope):
    """The ``with`` block of :meth:`Actor.move_on_after`."""

    __slots__ = ("_actor", "_delay_ns", "_system", "_timer", "cancelled_caught")

    def __init__(self, system: Runtime, actor: Any, delay_ns: int | None) -> None:
        super().__init__()
        self._system = system
        self._actor = actor
        self._delay_ns = delay_ns
        self._timer: Cancellable | None = None
        self.cancelled_caught = False

    def __enter__(self) -> DeadlineScope:
        system = self._system
        self.run = run = system._run_under_way("move_on_after")
        run.scopes.append(self)
        self.trio_scope = system._enter_trio_scope()
        if self._delay_ns is not None:
            self._timer = system.set_timer(system.now_ns + self._delay_ns, self._actor, Cancel(self))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        assert self.run is not None
        if self._timer is not None:
            self._timer.cancel()
        self.run.scopes.remove(self)
        self.run = None
        if self.trio_scope is None:
            self.cancelled_caught = error is not None and error is self.error
            return self.cancelled_caught
        done = bool(self.trio_scope.__exit__(kind, error, traceback))
        self.cancelled_caught = self.trio_scope.cancelled_caught
        return done
