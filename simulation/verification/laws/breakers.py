"""Circuit breakers: nothing passes one that is open."""

from __future__ import annotations

from dataclasses import dataclass

from actors.domain.attempts import CUT, Admitted, Attempt, Requeued
from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.kernel.effects import Performed
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.breaker.per_host import IDLE_NS
from actors.policies.breaker.states import KEYS_MAX, NOT_CLOSED, BreakerEvent
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import BreakerKey, Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import AttemptMade, MessageSent, let_through_in
from simulation.verification.model.backoff import kind_of

_HALF_OPEN = BreakerState.HALF_OPEN

_OPEN_TIME = ("circuit_breaker.timeout", "circuit_breaker.open_growth")

_ORDERS = frozenset({BreakerEvent.DISABLE, BreakerEvent.METRICS_ONLY, BreakerEvent.CLOSE})


@dataclass(slots=True)
class _Breaker:
    state: BreakerState
    since_ns: int = -1
    probes: int = 0
    """Attempts that have gone through since it is half-open, but those that said nothing."""


class OpenBreaker(Invariant):
    """An open circuit breaker lets nothing through, and a half-open one no more than its probes; where an operator has
    forced those of some hosts open, those of others let nothing through; and no provider is asked but by what a breaker
    has let through, nor sent a copy of that where the breaker is not closed any more.

    What it let through before it opened may come to its provider later: where the channel was down meanwhile.
    """

    name = "open-breaker"
    of_one_process = True
    settings = _OPEN_TIME
    receivers = frozenset({Channel, HedgingChannel, Handler})
    messages = frozenset({Admitted, Performed, Requeued})
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = context.breakers
        self._breakers: dict[BreakerKey, _Breaker] = {}
        self._forced: set[str] = set()
        """The names of those of which an operator has forced those of all hosts open."""
        self._let_through: dict[int, tuple[Attempt, _Breaker]] = {}
        """By the identity of an attempt whose outcome is not there: itself, and what let it through, as it was then."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._forced.clear()
            self._let_through.clear()

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        if event.to_state == BreakerState.FORCED_OPEN:
            self._forced.add(event.breaker)
        elif event.cause in _ORDERS:
            self._forced.discard(event.breaker)
        self._breakers[event.breaker, event.host] = _Breaker(BreakerState(event.to_state), event.at_ns)

    def _breaker(self, key: BreakerKey) -> _Breaker:
        known = self._breakers.get(key)
        if known is None:
            known = self._breakers[key] = _Breaker(self._configs[key[0]].begins)
        return known

    def _may_be_forgotten(self, key: BreakerKey, now_ns: int) -> bool:
        """Tell whether a breaker may have begun anew: those of idle hosts are forgotten, and some of very many."""
        if key[1] is None:
            return False
        config = self._configs[key[0]]
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        idle_ns = now_ns - self._breakers[key].since_ns
        return idle_ns >= max(IDLE_NS, 2 * wait_ns(longest)) or len(self._breakers) > KEYS_MAX

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is not None:
            return self._passes(admitted, sent.at_ns)
        message = sent.message
        if sent.sender is not CircuitBreakerActor:
            return None
        if type(message) is Performed and type(message.request) is Admitted:
            attempt, outcome = message.request.attempt, message.result
            name, _ = self.context.breaker_before(attempt.command.channel, message.request.provider or PRIMARY, attempt)
            says_nothing = isinstance(outcome, (Transient, Ambiguous))
            says_nothing = outcome is CUT or (says_nothing and kind_of(outcome) not in self._configs[name].counts)
            self._ended(attempt, says_nothing=says_nothing)
        elif type(message) is Requeued:
            self._ended(message.attempt, says_nothing=True)
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if id(made.attempt) not in self._let_through:
            return f"{made.notification_id} is sent, and no circuit breaker has let that attempt through"
        return self._copies(made) if made.is_copy else None

    def _copies(self, made: AttemptMade) -> Objection:
        """Check that a copy goes only where its breaker is closed by then."""
        key = self.context.breaker_before(made.channel, made.provider, made.attempt)
        breaker = self._breaker(key)
        if breaker.state not in NOT_CLOSED or breaker.since_ns == made.at_ns or self._may_be_forgotten(key, made.at_ns):
            return None
        return Finding(
            f"a copy of {made.notification_id} is sent, and breaker {key[0]} is {breaker.state}", made.notification_id
        )

    def _passes(self, admitted: Admitted, now_ns: int) -> Objection:
        command = admitted.attempt.command
        key = name, host = self.context.breaker_before(command.channel, admitted.provider or PRIMARY, admitted.attempt)
        breaker = self._breaker(key)
        self._let_through[id(admitted.attempt)] = admitted.attempt, breaker
        settings: tuple[str, ...] = ()
        if name in self._forced and breaker.since_ns < 0:
            text = f"is let through by breaker {name} of {host}, and all of them are forced open"
        elif breaker.state not in NOT_CLOSED or self._may_be_forgotten(key, now_ns):
            return None
        elif breaker.state is _HALF_OPEN:
            breaker.probes += 1
            at_most = self._most_probes(self._configs[name], now_ns - breaker.since_ns)
            if breaker.probes <= at_most:
                return None
            since = seconds_text(breaker.since_ns)
            text = f"is probe {breaker.probes} at breaker {name}, half-open since {since}, of at most {at_most}"
            settings = ("circuit_breaker.half_open_permits",)
        else:
            since = "" if breaker.since_ns < 0 else f" since {seconds_text(breaker.since_ns)}"
            text = f"is let through by breaker {name}, which is {breaker.state}{since}"
        return Finding(f"{command.notification_id} {text}", command.notification_id, settings)

    def _most_probes(self, config: CircuitBreakerConfig, half_open_ns: int) -> int:
        if config.half_open_then != "probe" or config.half_open_max is None:
            return config.half_open_permits
        return config.half_open_permits * (1 + half_open_ns // max(1, wait_ns(config.half_open_max)))

    def _ended(self, attempt: Attempt, *, says_nothing: bool) -> None:
        known = self._let_through.pop(id(attempt), None)
        if known is not None and says_nothing:
            known[1].probes -= 1
