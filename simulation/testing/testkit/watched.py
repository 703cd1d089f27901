"""The timers of a system, to be looked at, and its effects, which are noted down instead of performed."""

from __future__ import annotations

from functools import partial
from typing import Any

from actors.errors import ActorSystemError
from actors.instants import NS_PER_S
from actors.kernel.actor import Actor, ActorRef, StartIncarnation
from actors.kernel.async_handlers import Cancel, Resume
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed
from actors.kernel.interceptors import Interceptor, Next


class SetTimer:
    """A timer that an actor set: `message` comes to `ref` at `due`."""

    def __init__(self, ref: ActorRef[Any], message: Any, due_ns: int, timer: Cancellable) -> None:
        self.ref = ref
        """The actor that set it."""
        self.message = message
        self.due_ns = due_ns
        """When, in nanoseconds from the start."""
        self.cancelled = False
        self._timer = timer

    def cancel(self) -> None:
        """Cancel the timer, for the actor that set it."""
        self.cancelled = True
        self._timer.cancel()

    @property
    def due(self) -> float:
        """When, in seconds from the start."""
        return self.due_ns / NS_PER_S

    def __repr__(self) -> str:
        return f"<{self.message!r} at {self.due:g} s>"


class AskedEffect:
    """An effect that an actor asked to perform, and which is not performed: a test says how it ends."""

    def __init__(self, ref: ActorRef[Any], effect: Effect, request: Any, asked_ns: int, timeout_ns: int | None) -> None:
        self.ref = ref
        """The actor that asked."""
        self.effect = effect
        """The effect: :class:`~actors.kernel.effects.Foreseen`, or a call that is not made here."""
        self.request = request
        """The request by which the actor recognises the answer."""
        self.asked_ns = asked_ns
        """When, in nanoseconds from the start."""
        self.timeout = None if timeout_ns is None else timeout_ns / NS_PER_S
        """After how many seconds the actor stops waiting; None: never."""
        self.ending: str | None = None
        """``completed``, ``cancelled`` or ``timed out``; None while it is under way."""
        self._time_out: Cancellable | None = None
        self._times_out_ns = None if timeout_ns is None else asked_ns + timeout_ns

    @property
    def asked(self) -> float:
        """When it asked, in seconds from the start."""
        return self.asked_ns / NS_PER_S

    def cancel(self) -> None:
        """Cancel the effect, for the actor that asked."""
        self._end("cancelled")

    def _end(self, how: str) -> None:
        if self.ending is None:
            self.ending = how
            if self._time_out is not None:
                self._time_out.cancel()

    def _look_at_the_clock(self, now_ns: int) -> None:
        """Note that its time is up."""
        if self.ending is None and self._times_out_ns is not None and now_ns >= self._times_out_ns:
            self.ending = "timed out"

    def __repr__(self) -> str:
        return f"<{self.request!r}, {self.ending or 'under way'} since {self.asked:g} s>"


_OF_THE_SYSTEM = (StartIncarnation, Resume, Cancel)
"""Timers that no actor set by itself: the end of a restart's wait, of a sleep, of a deadline."""


class TimersAndEffects(Interceptor):
    """Notes down the timers of a system, and effects instead of performing them."""

    def __init__(self) -> None:
        self._timers: list[SetTimer] = []
        self._effects: list[AskedEffect] = []
        self.failures: list[Exception] = []
        """The errors with which actors failed, in order; a failing child that escalates counts for its parent too."""

    def set_timer(self, go_on: Next, instant_ns: int, actor: Actor, message: Any) -> SetTimer:
        """Set a timer, and note it down."""
        due_ns = max(instant_ns, self.system.now_ns)
        noted = SetTimer(actor._actor_ref, message, due_ns, go_on(instant_ns, actor, message))
        self._timers.append(noted)
        return noted

    def perform(
        self,
        go_on: Next,
        actor: Actor,
        effect: Effect,
        request: Any,
        timeout_ns: int | None = None,
        on_timeout: Any = None,
    ) -> AskedEffect:
        """Note an effect down; only its time-out happens by itself."""
        now_ns = self.system.now_ns
        asked = AskedEffect(actor._actor_ref, effect, request, now_ns, timeout_ns)
        if timeout_ns is not None:
            # No timer that the actor set; so it is not noted down as one.
            set_timer = partial(type(self.system).set_timer, self.system)
            ended_ns = now_ns + timeout_ns
            done = Performed(request=request, result=on_timeout, started_ns=now_ns, ended_ns=ended_ns)
            asked._time_out = set_timer(ended_ns, actor, done)
        self._effects.append(asked)
        return asked

    def fail(self, go_on: Next, actor: Actor, message: Any, error: Exception, *args: Any) -> None:
        """Note the error with which an actor failed."""
        self.failures.append(error)
        go_on(actor, message, error, *args)

    def timers(self) -> list[SetTimer]:
        """Return the timers that actors have set and that have not fired, the earliest first.

        Right between two steps only: whatever was due by now has come then.
        """
        self._timers = [timer for timer in self._timers if not timer.cancelled and timer.due_ns > self.system.now_ns]
        own = [timer for timer in self._timers if type(timer.message) not in _OF_THE_SYSTEM]
        return sorted(own, key=lambda timer: timer.due_ns)

    def sleeps_until_ns(self, actor: Actor) -> int | None:
        """Return when a sleeping async handler of an actor wakes."""
        run = actor._run
        wakes = None if run is None else run.waits_on
        return wakes.due_ns if isinstance(wakes, SetTimer) else None

    def effects(self) -> list[AskedEffect]:
        """Return the effects under way, in the order in which they were asked for."""
        for effect in self._effects:
            effect._look_at_the_clock(self.system.now_ns)
        self._effects = [effect for effect in self._effects if effect.ending is None]
        return list(self._effects)

    def complete(self, asked: AskedEffect, result: Any) -> None:
        """Tell the actor that asked for an effect how it ended."""
        asked._look_at_the_clock(self.system.now_ns)
        if asked.ending is not None:
            raise ActorSystemError(f"the effect for {asked.request!r} is {asked.ending}: its actor waits for nothing")
        asked._end("completed")
        done = Performed(request=asked.request, result=result, started_ns=asked.asked_ns, ended_ns=self.system.now_ns)
        self.system._enqueue(asked.ref.actor, done)


def foreseen_result(effect: Effect) -> Any:
    """Return the result that an effect brings with it; None where it has to be performed to know."""
    return effect.result if isinstance(effect, Foreseen) else None
