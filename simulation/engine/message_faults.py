"""Messages that come twice, or late, so that the stages of the pipeline cannot rely on each other.

The faults hit the messages that carry an attempt on its channel's way, from handler to limiter to breaker to channel to
breaker to handler. All other messages arrive once and in order. For each such message, when it is sent:

1. Every window with a `duplicate_rate` that is open then draws, in the order of the file, and perhaps adds a copy.
2. Each of them, the message itself and its copies, is late by what the open windows with `reorder` draw for it, in the
   order of the file, all together. What is late by nothing goes the usual way.

Each window and channel draws from a stream of its own. A late message arrives when it is due, even if the window has
ended or its sender has stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from actors.domain.attempts import Admitted, Attempt
from actors.faults.conditions import NEVER_NS
from actors.instants import ns
from actors.kernel.actor import Actor, ActorRef, handles
from actors.kernel.effects import Cancellable, Effect, Performed
from actors.kernel.interceptors import Interceptor, Next
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.kernel.turns import takes_turn
from actors.messages import NotificationChannel
from actors.settings.distributions import Draw
from actors.settings.faults import FaultConfig


def is_message_fault(fault: FaultConfig) -> bool:
    return fault.duplicate_rate is not None or fault.reorder is not None


class _Window:
    def __init__(self, fault: FaultConfig, streams: RandomStreams, name: str) -> None:
        self._start_ns = ns(fault.at)
        self._end_ns = NEVER_NS if fault.for_ is None else self._start_ns + ns(fault.for_)
        self.duplicate_rate = fault.duplicate_rate
        self.draw = streams.stream(f"{name}.duplicate").random
        self.delay: Draw | None = None
        if fault.reorder is not None:
            self.delay = fault.reorder.delay.sampler(streams.stream(f"{name}.reorder"))

    def holds(self, now_ns: int) -> bool:
        """Tell whether it is open."""
        return self._start_ns <= now_ns < self._end_ns


class _MessageFaultRules:
    def __init__(self, faults: Sequence[FaultConfig], streams: RandomStreams) -> None:
        self._faults, self._streams = faults, streams
        self._windows: dict[NotificationChannel, list[_Window]] = {}

    def _windows_on(self, channel: NotificationChannel) -> list[_Window]:
        if channel not in self._windows:
            self._windows[channel] = [
                _Window(fault, self._streams, f"{channel}.messages.fault.{number}")
                for number, fault in enumerate(self._faults)
                if channel in fault.channel and is_message_fault(fault)
            ]
        return self._windows[channel]

    def delays_ns(self, channel: NotificationChannel, now_ns: int) -> list[int]:
        """Return by how much a message that is sent now is late, and each of its copies."""
        open_ = [window for window in self._windows_on(channel) if window.holds(now_ns)]
        copies = sum(window.draw() < window.duplicate_rate for window in open_ if window.duplicate_rate is not None)
        return [sum(ns(window.delay()) for window in open_ if window.delay is not None) for _ in range(1 + copies)]


class _Relay(Actor):
    """Passes the outcomes of a channel's attempts on to its breaker, which is a message like any other."""

    def __init__(self, breaker: ActorRef[Any]) -> None:
        super().__init__()
        self._breaker = breaker

    def on_start(self) -> None:
        self._to_breaker = self.route(self._breaker)

    @handles(Performed)
    @takes_turn("answer", lambda relay, performed: performed if relay._breaker.is_alive() else None)
    def on_performed(self, performed: Performed) -> None:
        if self._breaker.is_alive():  # else its process is gone
            self._to_breaker(performed)


class _Late(NamedTuple):
    """A late message and the actor that it is for."""

    number: int
    """As the how-many-th that is late it was sent."""
    actor: Actor
    message: Any


class _Post(Actor):
    """Delivers late messages when they are due, before all other events that follow at that instant."""

    @handles(_Late)
    @takes_turn("late", lambda _, late: late.number)
    def on_late(self, late: _Late) -> None:
        self.system._post(late.actor, late.message)


class MessageFaults(Interceptor):
    """Has messages come twice or late, as the faults of a scenario say."""

    delivers_once = False

    def __init__(self, faults: Sequence[FaultConfig]) -> None:
        self._faults = faults
        self._relays: dict[Actor, Actor] = {}
        self._late_count = 0

    def attach(self, system: ActorSystem) -> None:
        super().attach(system)
        self._message_faults = _MessageFaultRules(self._faults, system.streams)

    def tell(self, go_on: Next, actor: Actor, message: Any) -> None:
        attempt = _attempt_in(message)
        if attempt is None:
            go_on(message)
            return
        now_ns = self.system.now_ns
        for delay_ns in self._message_faults.delays_ns(attempt.command.channel, now_ns):
            if delay_ns == 0:
                go_on(message)
            else:
                self._late_count += 1
                late = _Late(self._late_count, actor, message)
                self.system.set_timer(now_ns + delay_ns, self._post, late)

    @cached_property
    def _post(self) -> Actor:
        ref: ActorRef[_Post] = self.system.spawn(_Post)
        return ref.actor

    def perform(self, go_on: Next, actor: Actor, effect: Effect, request: Any, *timeout: Any) -> Cancellable:
        if type(request) is Admitted:
            actor = self._relay_to(actor)
        return go_on(actor, effect, request, *timeout)  # type: ignore[no-any-return]

    def _relay_to(self, breaker: Actor) -> Actor:
        relay = self._relays.get(breaker)
        if relay is None:
            ref: ActorRef[_Relay] = breaker.process.spawn(_Relay, breaker.actor_ref)
            relay = self._relays[breaker] = ref.actor
        return relay


def _attempt_in(message: Any) -> Attempt | None:
    """Return the attempt that a message carries, if any, by itself or in the envelope of an observer."""
    content = getattr(message, "message", message)
    carrier = content.request if type(content) is Performed else content
    attempt = content if type(content) is Attempt else getattr(carrier, "attempt", None)
    return attempt if type(attempt) is Attempt else None
