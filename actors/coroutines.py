"""Async handlers: what they wait on, and how they are resumed.

A handler that waits yields a :class:`Parked` to whoever drives it. Its `arm` is called with the message that resumes
the handler when it is delivered to the actor, through the same queue as any other message: so the order of everything
is the dispatcher's, on any clock.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.effects import Cancellable
    from actors.futures import Future


class Parked:
    """What a waiting handler yields to its driver."""

    __slots__ = ("arm",)

    def __init__(self, arm: Callable[[Resume], Any]) -> None:
        self.arm = arm


class HandlerRun:
    """One async handler under way, for one message."""

    __slots__ = ("actor", "coroutine", "deadline_error", "foreign", "park_count", "reply_to", "waits_on")

    def __init__(self, actor: Actor, coroutine: Coroutine[Any, Any, Any], reply_to: Future[Any] | None) -> None:
        self.actor = actor
        self.coroutine = coroutine
        self.reply_to = reply_to
        self.park_count = 0
        """Numbers the waits, so that a resume for an earlier one is known for stale."""
        self.foreign: Cancellable | None = None
        """What cancels the real I/O it awaits, while it does (live only)."""
        self.waits_on: Cancellable | None = None
        """The timer it is parked on, if it is one."""
        self.deadline_error: DeadlineReached | None = None
        """A deadline that struck where it could not be raised at once: it is at the next wait."""


class Resume:
    """The message that makes a parked handler go on, with an error to raise in it or with none."""

    __slots__ = ("error", "park", "run")

    def __init__(self, run: HandlerRun, error: BaseException | None = None) -> None:
        self.run = run
        self.park = run.park_count
        self.error = error


@types.coroutine
def park(arm: Callable[[Resume], Any]) -> Generator[Parked, None, None]:
    """Wait until the message that `arm` is given has been delivered."""
    yield Parked(arm)


class DeadlineReached(BaseException):
    """Thrown into a handler at its deadline. A BaseException, so that ``except Exception`` does not swallow it."""


class DeadlineExpired:
    """The timer message of a deadline."""

    __slots__ = ("scope",)

    def __init__(self, scope: DeadlineScope) -> None:
        self.scope = scope


class DeadlineScope:
    """The ``with`` block of :meth:`Actor.move_on_after`."""

    def __init__(self, actor: Actor, delay_ns: int) -> None:
        self._actor = actor
        self._delay_ns = delay_ns
        self._timer: Cancellable | None = None
        self.run: HandlerRun | None = None
        self.error: DeadlineReached | None = None
        self.cancelled_caught = False

    def __enter__(self) -> DeadlineScope:
        self.run = self._actor.system._run_under_way("move_on_after")
        due_ns = self._actor.system.now_ns + self._delay_ns
        self._timer = self._actor.system.set_timer(due_ns, self._actor, DeadlineExpired(self))
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _traceback: Any) -> bool:
        assert self._timer is not None
        self._timer.cancel()
        self.run = None
        self.cancelled_caught = error is not None and error is self.error
        return self.cancelled_caught
