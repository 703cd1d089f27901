"""Waiting for promises, and the environment that keeps them, on any clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable, Performed, Promise
from actors.kernel.runtime import Runtime
from actors.kernel.turns import takes_turn


class ScheduledCall(msgspec.Struct, frozen=True):
    """Time for a call that was scheduled from outside the actors."""

    function: Callable[[], object]


class Environment(Actor):
    """Stands for the environment in the queue of messages, so that the environment's calls have their place in its
    order.

    It has no state. An error in such a call is no actor's error, so it ends the run.
    """

    supervision = Supervision(max_restarts=0, then="escalate")
    acts = False
    """Whether it is making a scheduled call: then the clock of the system shows the instant of that call."""

    @handles(ScheduledCall)
    @takes_turn("call", lambda _, call: call.function)
    def on_call(self, call: ScheduledCall) -> None:
        self.acts = True
        try:
            call.function()
        finally:
            self.acts = False


class Awaited:
    """Waits for a promise in place of an actor, without a task: until it is kept, or until its time-out."""

    __slots__ = ("_actor", "_on_timeout", "_request", "_started_ns", "_system", "_time_out")

    def __init__(
        self, system: Runtime, actor: Actor, promise: Promise, request: Any, timeout_ns: int | None, on_timeout: Any
    ) -> None:
        self._system = system
        self._actor: Actor | None = actor
        self._request = request
        self._on_timeout = on_timeout
        self._started_ns = system.now_ns
        self._time_out: Cancellable | None = None
        if timeout_ns is not None and not promise.is_kept:
            # An answer at that very instant counts, whatever its source.
            self._time_out = system._call_behind(self._started_ns + timeout_ns, self._time_is_up)
        promise.when_kept(self._end)

    def cancel(self) -> None:
        self._actor = self._request = None
        self._stop_the_clock()

    def _time_is_up(self) -> None:
        self._end(self._on_timeout)

    def _end(self, result: Any) -> None:
        actor, system = self._actor, self._system
        if actor is None:
            return
        system.look_at_the_clock()
        done = Performed(request=self._request, result=result, started_ns=self._started_ns, ended_ns=system.now_ns)
        self._actor = self._request = None
        if self._time_out is not None:
            self._stop_the_clock()
        if system.has_ended:
            system._refuse(actor, done)
        else:
            system._enqueue(actor, done)

    def _stop_the_clock(self) -> None:
        if self._time_out is not None:
            self._time_out.cancel()
            self._time_out = None
