"""The channel: asks its provider to deliver, with a time limit."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from actors.domain.attempts import CUT, TIMED_OUT, UNSENT, Admitted, Attempt, Begin, Forgo, Provider, Unsent
from actors.errors import DeliveryError, PermanentError, TransientError, described, shortened, unwrapped
from actors.instants import ns
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.async_handlers import failure
from actors.kernel.effects import Effect, Foreseen, Performed, Promise
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.isolation import Enter
from actors.pipeline.lane import Lane
from actors.pipeline.stage import may_still_go
from actors.pipeline.wiring import Stages

OUTCOMES = frozenset({Sent, Transient, Permanent, DeadDestination, ChannelFault, Ambiguous})


class Channel(Actor):
    """Makes the attempts that the circuit breaker admits; their outcomes go back to it.

    If a provider raises, or returns anything but an outcome, the channel makes an outcome of it.
    """

    supervision = Supervision(then="escalate")

    def __init__(self, provider: Provider, lane: Lane, stages: Stages) -> None:
        super().__init__()
        self._provider = provider
        self._are_plain = provider.outcomes_are_plain
        """Whether the outcomes that the provider foresees need no check."""
        self._timeout_ns = ns(lane.config.timeout)
        self._deadline_ns = None if lane.config.deadline is None else ns(lane.config.deadline)
        self._stages = stages

    @classmethod
    def _place_of(cls, *args: Any) -> tuple[str, str]:
        lane: Lane = args[1]
        return "channel", f"{lane.name.partition('/')[0]}/{lane.provider_name}"

    def on_start(self) -> None:
        assert self._stages.circuit_breaker is not None
        self._breaker = self._stages.circuit_breaker.actor
        self._lease_holds = self._stages.lease_holds
        self._isolation = None if self._stages.isolation is None else self._stages.isolation.actor

    @handles(Begin)
    def on_begin(self, begin: Begin) -> None:
        attempt, fill_in = begin.admitted.attempt, self._stages.fill_in
        error = None if fill_in is None else fill_in(attempt)
        if error is None:
            self.on_admitted(begin.admitted, has_turn=True)
        else:
            self.system.perform(self._breaker, Foreseen(0, Unsent(error)), begin.admitted)

    @handles(Forgo)
    def on_forgo(self, forgo: Forgo) -> None:
        self.system.perform(self._breaker, _NOT_MADE, forgo.admitted)

    def _takes_up(self, message: Any) -> bool:
        now_ns = self.system.now_ns
        if type(message) is not Admitted or may_still_go(message.attempt, self._stages, now_ns):
            return True
        self._breaker.actor_ref.tell(Performed(request=message, result=UNSENT, started_ns=now_ns, ended_ns=now_ns))
        return False

    def _waits_for_turn(self, admitted: Admitted) -> bool:
        isolation = self._isolation
        assert isolation is not None
        waits = admitted.attempt.caution is not None or isolation.is_busy
        if waits:
            isolation.actor_ref.tell(Enter(self.actor_ref, admitted))
        return waits

    @handles(Admitted)
    def on_admitted(self, admitted: Admitted, has_turn: bool = False) -> None:
        if self._isolation is not None and not has_turn and self._waits_for_turn(admitted):
            return
        system = self.system
        if self._lease_holds is not None and not self._lease_holds():
            system.perform(self._breaker, _NOT_MADE, admitted)
            return
        try:
            effect: Effect = self._provider.attempt(admitted.attempt, system.now_ns)
        except BaseException as error:
            effect = Foreseen(0, failure(error))
        if type(effect) is not Foreseen or not (self._are_plain or type(effect.result) is Sent):
            effect = ending_in_an_outcome(effect, self._lease_holds)
        if self._deadline_ns is None:
            system.perform(self._breaker, effect, admitted, self._timeout_ns, TIMED_OUT)
        else:
            system.perform(self._breaker, effect, admitted, *self._time_limit(admitted.attempt))

    def _time_limit(self, attempt: Attempt) -> tuple[int, Ambiguous]:
        if self._deadline_ns is None:
            return self._timeout_ns, TIMED_OUT
        left_ns = time_left_ns(self._deadline_ns, self._stages.first_start_ns(attempt), self.system.now_ns)
        return (left_ns, CUT) if left_ns < self._timeout_ns else (self._timeout_ns, TIMED_OUT)


def time_left_ns(deadline_ns: int, began_ns: int | None, now_ns: int) -> int:
    """Return how much of a deadline is left for an attempt that starts now; `began_ns` is when the notification's
    first attempt started, None where this is the first."""
    return deadline_ns if began_ns is None else max(0, began_ns + deadline_ns - now_ns)


_NOT_MADE = Foreseen(0, UNSENT)


def ending_in_an_outcome(effect: Effect, lease_holds: Callable[[], bool] | None) -> Effect:
    """Return an effect that does the same and whose result is an outcome, whatever a provider gave.

    An effect that has not started looks at the lease again when it does. That may be long after it was asked for, as a
    process can be stopped in between.
    """
    if isinstance(effect, Foreseen):
        return Foreseen(effect.delay_ns, _end_of(effect.result))
    if isinstance(effect, Promise):
        return effect.then(_end_of)
    if inspect.iscoroutine(effect):
        effect.close()  # nothing will await it
        return Foreseen(0, _no_effect("a coroutine; attempt() itself is a plain function"))
    if not callable(effect):
        return Foreseen(0, _no_effect(repr(effect)))
    call = effect

    async def attempt() -> Outcome | Unsent:
        if lease_holds is not None and not lease_holds():
            return UNSENT
        try:
            called = call()
            if not inspect.isawaitable(called):
                return _no_effect(f"a plain function, which returned {called!r}")
            return _end_of(await called)
        except BaseException as error:
            return outcome_of(failure(error))

    attempt.__wrapped__ = call  # type: ignore[attr-defined]  # by which an error names the provider's own effect
    return attempt


def _no_effect(got: str) -> Ambiguous:
    return Ambiguous(reason=shortened(f"wanted an effect: an async function, Foreseen or a Promise, got {got}"))


def _end_of(result: Any) -> Outcome | Unsent:
    return UNSENT if result is UNSENT else outcome_of(result)


def outcome_of(result: Any) -> Outcome:
    """Return the outcome of an attempt, also where its transport raised or returned something else.

    An unknown error is ambiguous: the notification may have been sent.
    """
    if isinstance(result, BaseException):
        result = unwrapped(result)
    match result:
        case Sent() if type(result) is Sent:
            return result
        case Sent() | Transient() | Permanent() | DeadDestination() | ChannelFault() | Ambiguous():
            return _plain(result)
        case TransientError() as error:
            return Transient(reason=_reason_of(error), retry_after=_seconds(error.retry_after))
        case PermanentError() as error:
            return Permanent(reason=_reason_of(error))
        case BaseException() as error:
            return Ambiguous(reason=described(error))
        case other:
            return Ambiguous(reason=shortened(f"the provider returned {other!r}, which is no outcome"))


def _plain(given: Outcome) -> Outcome:
    """Return an outcome as one of the six, even if it has a class of the provider's own or a reason that is no text.

    Its kind counts: a notification that was sent is not sent again because of a word. A reason that is no text would
    shut the store, which could not read it again.
    """
    kind = next(kind for kind in type(given).__mro__ if kind in OUTCOMES)
    fields: dict[str, Any] = {"answer": None if given.answer is None else _in_words(given.answer)}
    if given.reason is not None:
        fields["reason"] = _in_words(given.reason)
    if isinstance(given, Transient):
        fields |= {"retry_after": _seconds(given.retry_after), "throttled": bool(given.throttled)}
        fields["connection"] = bool(given.connection)
    if isinstance(given, Permanent):
        fields["unwritten"] = bool(given.unwritten)
    outcome: Outcome = kind(**fields)
    return outcome


def _reason_of(error: DeliveryError) -> str:
    return _in_words(error.reason) if error.reason else type(error).__name__


def _seconds(given: Any) -> float | None:
    """Return how long a provider asked to wait, which it may give as a header has it.

    Anything but a number becomes NaN: no time to wait, and under `pushback` a request not to retry.
    """
    if given is None:
        return None
    try:
        return math.nan if isinstance(given, bool) else float(given)
    except OverflowError:
        return math.inf  # as float() says of a text with as many digits
    except Exception:  # of its own __float__, or there is none
        return math.nan


def _in_words(value: object) -> str:
    if isinstance(value, Exception):
        return described(value)
    try:
        return shortened(str(value))
    except Exception:  # of its own __str__
        return f"{type(value).__name__}, which cannot be shown"
