"""What circuit breakers decide: they trip and recover by the outcomes that they are given, counted anew."""

from __future__ import annotations

from typing import Any

from actors.domain.attempts import CUT, Admitted, Attempt
from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.kernel.effects import Performed
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.breaker.per_host import IDLE_NS
from actors.policies.breaker.states import BreakerEvent
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import BreakerKey, Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import MessageSent
from simulation.verification.model.backoff import kind_of
from simulation.verification.model.breakers import Calls, what_probes_say

_BY_OUTCOMES = frozenset({BreakerEvent.TRIP, BreakerEvent.RECOVER})


class _Book:
    """What one breaker has been given since it last changed its state."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self.config = config
        self.state = config.begins
        self.generation = 0
        self.is_certain = True
        """Whether nothing but the outcomes of its permits decides."""
        self.used_ns = 0
        self.calls = Calls(config)
        self.probes: list[tuple[bool, bool]] = []

    def begin(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1
        self.calls = Calls(self.config)
        self.probes.clear()
        self.is_certain = True

    def take(self, outcome: Outcome, duration_ns: int, now_ns: int) -> BreakerEvent | None:
        """Count the outcome of a permit of this state; return what it has the breaker do."""
        if self.state not in (BreakerState.CLOSED, BreakerState.HALF_OPEN):
            return None
        if outcome is CUT:
            return None
        match outcome:
            case ChannelFault():
                return BreakerEvent.TRIP
            case Transient() | Ambiguous() if kind_of(outcome) not in self.config.counts:
                return None
            case Permanent() | DeadDestination() if "permanent" not in self.config.counts:
                ignored = self.state is BreakerState.CLOSED and self.config.ignored_counts_as != "success"
                return None if ignored else self._count(False, duration_ns, now_ns)
            case Sent():
                return self._count(False, duration_ns, now_ns)
            case Transient() | Ambiguous() | Permanent() | DeadDestination():
                return self._count(True, duration_ns, now_ns)

    @property
    def counts_refusals(self) -> bool:
        """Whether attempts that it has not let through have it open, too."""
        return "refused_by_bulkhead" in self.config.counts

    def _count(self, failed: bool, duration_ns: int, now_ns: int) -> BreakerEvent | None:
        if self.state is BreakerState.CLOSED:
            return BreakerEvent.TRIP if self.calls.trip(failed, now_ns, duration_ns) else None
        slow_call = self.config.slow_call
        self.probes.append((failed, slow_call is not None and duration_ns > wait_ns(slow_call.duration)))
        cause = what_probes_say(self.config, self.probes)
        return None if cause is None else BreakerEvent(cause)


class BreakerDecisions(Invariant):
    """A circuit breaker trips and recovers when the outcomes of its permits have it do so, and only then.

    What counts are the outcomes of attempts that it has let through since it last changed its state: a late one says
    nothing, and neither do throttling and, while it is closed, what is wrong with a single message.
    """

    name = "breaker-decisions"
    of_one_process = True
    settings = ("circuit_breaker",)
    receivers = frozenset({Channel, HedgingChannel, Handler})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = context.breakers
        self._books: dict[BreakerKey, _Book] = {}
        self._permits: dict[int, tuple[Attempt, BreakerKey, int]] = {}
        """By the identity of an attempt that is under way: itself, the breaker that let it through, and when."""
        self._decided: dict[BreakerKey, BreakerTransitioned] = {}
        """What a breaker has just done, of which the reason comes next."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._books.clear()
            self._permits.clear()
            self._decided.clear()

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        key = event.breaker, event.host
        if (earlier := self._decided.pop(key, None)) is not None:
            return f"breaker {event.breaker} is {earlier.to_state} by {earlier.cause}, and nothing has had it do so"
        if event.cause in _BY_OUTCOMES and not self._book(key).counts_refusals:
            self._decided[key] = event
        elif event.breaker in self._configs:
            self._book(key).begin(BreakerState(event.to_state))
        return None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.sender is not CircuitBreakerActor:
            return None
        if type(message) is Admitted:
            self._admitted(message, sent.at_ns)
        elif type(message) is Performed and type(message.request) is Admitted:
            return self._ended(message, sent.at_ns)
        return None

    def at_end(self, now_ns: int) -> Objection:
        for event in self._decided.values():
            return f"breaker {event.breaker} is {event.to_state} by {event.cause}, and nothing has had it do so"
        return None

    def _book(self, key: BreakerKey) -> _Book:
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = _Book(self._configs[key[0]])
        return book

    def _admitted(self, admitted: Admitted, now_ns: int) -> None:
        command = admitted.attempt.command
        key = self.context.breaker_before(command.channel, admitted.provider or PRIMARY, admitted.attempt)
        book = self._book(key)
        if key[1] is not None and now_ns - book.used_ns >= IDLE_NS:
            book.is_certain = False  # it may have been forgotten
        book.used_ns = now_ns
        self._permits[id(admitted.attempt)] = admitted.attempt, key, book.generation

    def _ended(self, performed: Performed, now_ns: int) -> Objection:
        admitted: Admitted = performed.request
        known = self._permits.pop(id(admitted.attempt), None)
        if known is None:
            return None
        _, key, generation = known
        book, decided = self._book(key), self._decided.pop(key, None)
        if book.config.half_open_then == "probe" and book.config.half_open_max is not None:
            book.is_certain = book.is_certain and book.state is not BreakerState.HALF_OPEN
        outcome: Any = performed.result
        expected = None
        if generation == book.generation:
            expected = book.take(outcome, performed.ended_ns - performed.started_ns, now_ns)
        is_certain, state = book.is_certain and not book.counts_refusals, book.state
        if decided is not None:
            book.begin(BreakerState(decided.to_state))
        did = None if decided is None else decided.cause
        if did == expected or not is_certain:
            return None
        does = f"does {did}" if did else "stays so"
        should = f"is to {expected}" if expected else "is to stay so"
        text = (
            f"breaker {key[0]}, {state}, {does} at {seconds_text(now_ns)} by the outcome {type(outcome).__name__}, and "
            f"{should}"
        )
        return Finding(text, admitted.attempt.command.notification_id)
