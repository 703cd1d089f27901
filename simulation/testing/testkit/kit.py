"""One actor in a world of its own, where nothing passes until a test lets it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, assert_never

import pykka

from actors.instants import NS_PER_S
from actors.kernel.actor import Actor, ActorRef
from actors.kernel.futures import Unanswered
from actors.kernel.system import START_OF_TIME, ActorSystem, Undelivered
from simulation.engine.system import SimulatedSystem
from simulation.scenario.arguments import check_word
from simulation.testing.testkit.clocks import CLOCKS, Clock, Recorded
from simulation.testing.testkit.stepped import Stepped, SteppedLiveSystem, SteppedSimulation
from simulation.testing.testkit.watched import AskedEffect, SetTimer, TimersAndEffects, foreseen_result

A = TypeVar("A", bound=Actor)
B = TypeVar("B", bound=Actor)


class _Listener(Actor):
    """Takes all messages into the list of its probe."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    def on_receive(self, message: Any) -> Any:
        self._probe.messages.append(message)
        answer = self._probe.answer
        return answer(message) if callable(answer) else answer


class Probe:
    """Stands in for an actor that another one tells or asks: it keeps the messages.

    Given to an :class:`ActorKit` among the arguments of the actor, its reference takes its place there.
    """

    ref: ActorRef[Any]
    """The reference to it, once a kit has it."""

    def __init__(self, answer: Any = None) -> None:
        """Make a probe.

        Args:
            answer: the answer to a question; or a function of the message that returns it, or raises.
        """
        self.answer = answer
        self.messages: list[Any] = []
        """The messages that it got, in order."""

    def take(self) -> list[Any]:
        """Return the messages since the last call."""
        taken, self.messages = self.messages, []
        return taken


class ActorKit(Generic[A]):
    """An actor under test, and all that it asked of its world.

    Time stands still until :meth:`advance`. Effects are noted down and not performed; :meth:`complete` says how one
    ends. Everything that a message sets off at the same instant has happened when `tell` returns.

    The same on either clock; on the live one it has a thread, so `close` it or use it as ``with ActorKit(…) as kit:``.
    """

    def __init__(
        self,
        actor_class: type[A],
        *args: Any,
        clock: Clock = "simulated",
        seed: int = 0,
        start: datetime = START_OF_TIME,
        **kwargs: Any,
    ) -> None:
        """Spawn an actor.

        Args:
            actor_class: its class.
            *args: its constructor's; a :class:`Probe` among them becomes a reference to it.
            clock: ``simulated`` or ``live``.
            seed: the seed of its random streams.
            start: the instant on the calendar at which the clock reads 0.
            **kwargs: its constructor's.

        Raises:
            ConfigurationError: there is no such clock.
        """
        check_word("clock", clock, CLOCKS)
        self.recorded = Recorded()
        """The events that were recorded, in order."""
        self._noted = TimersAndEffects()
        options: dict[str, Any] = {"seed": seed, "start": start, "record": self.recorded.record}
        options["interceptors"] = [self._noted]
        self._steps: Stepped
        match clock:
            case "simulated":
                self._steps = SteppedSimulation(SimulatedSystem(**options))
            case "live":
                self._steps = SteppedLiveSystem(**options)
            case _:
                assert_never(clock)
        self.ref: ActorRef[A] = self.spawn(actor_class, *args, **kwargs)
        """The reference to the actor under test."""

    # ── what a test does ────────────────────────────────────────────────────────────────────────────────────────

    def spawn(self, actor_class: type[B], *args: Any, **kwargs: Any) -> ActorRef[B]:
        """Start a further actor in the same world, and return the reference to it."""
        args = tuple(map(self._placed, args))
        kwargs = {name: self._placed(value) for name, value in kwargs.items()}
        return self._steps.call(lambda: self._system.spawn(actor_class, *args, **kwargs))

    def probe(self, answer: Any = None) -> Probe:
        """Return a probe in this world, for a message that carries a reference; see :class:`Probe`."""
        probe = Probe(answer)
        self._placed(probe)
        return probe

    def _placed(self, argument: Any) -> Any:
        if not isinstance(argument, Probe):
            return argument
        if getattr(argument, "ref", None) is None:
            argument.ref = self._steps.call(self._system.spawn, _Listener, argument)
        return argument.ref

    def tell(self, message: Any, *, to: ActorRef[Any] | None = None) -> None:
        """Send a message to the actor, or to another one, and run all that follows at this instant."""
        self._steps.call((to or self.ref).tell, message)

    def ask(self, message: Any, *, to: ActorRef[Any] | None = None) -> Any:
        """Send a message and return the answer that is there at this instant, or raise it if it is an exception.

        Raises:
            pykka.Timeout: it waits for something; :meth:`ask_for_later` is for that.
        """
        future = self.ask_for_later(message, to=to)
        try:
            return future.get(timeout=0)
        except Unanswered:
            raise Unanswered(f"no answer to {message!r} at this instant; {self._waited_for()}") from None

    def ask_for_later(self, message: Any, *, to: ActorRef[Any] | None = None) -> pykka.Future[Any]:
        """Send a message and return a future of the answer; ``get(timeout=0)`` gives it, once it is there."""
        ref = to or self.ref
        return self._steps.call(lambda: ref.ask(message, block=False))

    def advance(self, seconds: float) -> None:
        """Let time pass; events that are due at the end of it have happened too.

        Raises:
            ValueError: the time is negative, infinite or NaN.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"wanted a time of at least 0 seconds, got {seconds!r}")
        self._steps.advance(seconds)

    def complete(self, effect: AskedEffect, result: Any = None) -> None:
        """Have an effect end now.

        Args:
            effect: one of `effects`.
            result: its return value, or an exception that it raises. None: the own result of a
                :class:`~actors.kernel.effects.Foreseen`.

        Raises:
            ActorSystemError: it has ended already, by its time-out, say.
        """
        self._steps.call(self._noted.complete, effect, foreseen_result(effect.effect) if result is None else result)

    def crash(self, error: Exception | None = None, *, of: ActorRef[Any] | None = None) -> None:
        """Have the actor fail, as if it had raised. It begins again when the wait of its `supervision` has passed."""
        self._steps.call(self._system.crash, of or self.ref, error or RuntimeError("crashed by the test"))

    def close(self) -> None:
        """Stop all actors."""
        self._steps.close()

    def __enter__(self) -> ActorKit[A]:
        return self

    def __exit__(self, *_exc_info: Any) -> None:
        self.close()

    # ── what a test looks at ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _system(self) -> ActorSystem:
        return self._steps.system

    @property
    def actor(self) -> A:
        """The actor itself, to inspect its state; never call a handler."""
        return self.ref.actor

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self._system.now_ns / NS_PER_S

    @property
    def timers(self) -> Sequence[SetTimer]:
        """The timers of all actors that are still to come, the earliest first."""
        return self._noted.timers()

    @property
    def sleeps_until(self) -> float | None:
        """When the actor's `async` handler wakes from its sleep, in seconds; None if it does not sleep."""
        due_ns = self._noted.sleeps_until_ns(self.actor)
        return None if due_ns is None else due_ns / NS_PER_S

    @property
    def effects(self) -> Sequence[AskedEffect]:
        """The effects of all actors that are under way, in the order in which they were asked for."""
        return self._noted.effects()

    @property
    def failures(self) -> Sequence[Exception]:
        """The errors with which actors have failed, in order."""
        return self._noted.failures

    @property
    def undelivered(self) -> Sequence[Undelivered]:
        """Messages to actors that had stopped, or that found a mailbox full.

        One that its actor has no handler for is in the log.
        """
        return list(self._system.undelivered)

    @property
    def is_alive(self) -> bool:
        """Whether the actor has not stopped; one that waits for its restart is alive."""
        return self.ref.is_alive()

    def _waited_for(self) -> str:
        parts = [f"{len(self.effects)} effects under way"]
        if self.sleeps_until is not None:
            parts.append(f"asleep until {self.sleeps_until:g} s")
        if self.timers:
            parts.append(f"the next timer is due at {self.timers[0].due:g} s")
        return f"it is {self.now:g} s, {', '.join(parts)}"
