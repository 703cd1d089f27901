"""Circuit breakers: they change state by the table, and nothing passes one that is open."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.domain.attempts import CUT, Admitted, Attempt, Requeued
from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.kernel.effects import Performed
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned, DeferralCause, NotificationDeferred
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.breaker.per_host import IDLE_NS
from actors.policies.breaker.states import KEYS_MAX, NOT_CLOSED, TRANSITIONS, BreakerEvent
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import BreakerKey, Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import let_through_in
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import AttemptMade, MessageSent
from simulation.verification.model.backoff import kind_of

_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN

RESTART = "restart"
"""The cause of a transition back to the beginning, where the process has crashed."""

_OPEN_TIME = ("circuit_breaker.timeout", "circuit_breaker.open_growth")

_OVERDUE = frozenset({BreakerEvent.PROBES_OVERDUE, BreakerEvent.BENEFIT_OF_THE_DOUBT})
"""What time alone has a half-open breaker do, as of the instant at which it was due."""

_ORDERS = frozenset({BreakerEvent.DISABLE, BreakerEvent.METRICS_ONLY, BreakerEvent.CLOSE})


@dataclass(slots=True)
class _Breaker:
    state: BreakerState
    since_ns: int = -1
    began_ns: int = -1
    """From when on its time runs: before that, where the stage was down when time alone changed it."""
    is_told: bool = False
    """Whether other nodes have it open, and not its own calls."""
    probes: int = 0
    """Attempts that have gone through since it is half-open, but those that said nothing."""


class Breakers(Invariant):
    """Follows the state of every breaker by its transitions."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = context.breakers
        self._breakers: dict[BreakerKey, _Breaker] = {}
        self._breakers_certain = KEYS_MAX
        """With more of them, some may have been forgotten."""

    def _breaker(self, key: BreakerKey) -> _Breaker:
        known = self._breakers.get(key)
        if known is None:
            known = self._breakers[key] = _Breaker(self._configs[key[0]].begins)
        return known

    def _follow(self, event: BreakerTransitioned) -> None:
        began_ns = event.at_ns
        if event.cause in _OVERDUE and (due_ns := self._ends_ns(event.breaker, event.host)) is not None:
            began_ns = min(began_ns, due_ns)
        is_told = event.cause == BreakerEvent.OTHERS_OPEN
        state = BreakerState(event.to_state)
        self._breakers[event.breaker, event.host] = _Breaker(state, event.at_ns, began_ns, is_told)

    def _ends_ns(self, name: str, host: str | None) -> int | None:
        """Return when a breaker that is half-open for a while only is so no longer; None: there is no such end."""
        breaker, config = self._breaker((name, host)), self._configs[name]
        if breaker.state is not _HALF_OPEN or config.half_open_max is None or config.half_open_then == "probe":
            return None
        return breaker.began_ns + wait_ns(config.half_open_max)

    def _may_be_forgotten(self, key: BreakerKey, now_ns: int) -> bool:
        """Tell whether a breaker may have begun anew: those of hosts do that have not been asked for in a while."""
        if key[1] is None:
            return False
        config, known = self._configs[key[0]], self._breakers[key]
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        return (
            now_ns - known.since_ns >= max(IDLE_NS, 2 * wait_ns(longest))
            or len(self._breakers) > self._breakers_certain
        )


class BreakerTransitions(Breakers):
    """A circuit breaker changes its state by the table of its transitions only, from the state that it is in; and an
    open one becomes half-open when its time has passed, never before, and is so for as long as it may, no longer and no
    shorter; waiters for that are given no later time.

    Where its stage is down when a half-open one's time runs out, that is said when the stage is up, and it is open from
    the instant at which it was due.
    """

    name = "breaker-transitions"
    of_one_process = True
    settings = ("circuit_breaker",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._openings: dict[BreakerKey, int] = {}
        self._crashed_ns = -1

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._crashed_ns = event.at_ns

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        if event.breaker not in self._configs:
            return f"breaker {event.breaker} goes from {event.from_state} to {event.to_state}, and there is none"
        key = event.breaker, event.host
        before = self._breaker(key)
        if event.to_state == _OPEN and event.cause != BreakerEvent.OTHERS_OPEN:
            self._openings[key] = self._openings.get(key, 0) + 1
        elif event.to_state != _HALF_OPEN:
            self._openings.pop(key, None)
        is_uncertain, ends_ns = self._may_be_forgotten(key, event.at_ns), self._ends_ns(*key)
        self._follow(event)
        if is_uncertain:
            return None
        if event.cause == RESTART and event.to_state == self._configs[event.breaker].begins:
            return (
                None
                if event.at_ns == self._crashed_ns
                else f"breaker {event.breaker} is made anew, and nothing crashed"
            )
        steps = TRANSITIONS[before.state]
        step = f"from {event.from_state} to {event.to_state}"
        if event.from_state != before.state:
            return f"breaker {event.breaker} goes {step}, but is {before.state}"
        if steps.get(BreakerEvent(event.cause)) != event.to_state:
            return f"breaker {event.breaker} goes {step} by {event.cause}, and there is no such transition"
        open_ns = event.at_ns - before.began_ns
        if before.state is _OPEN and event.cause == BreakerEvent.WAIT_OVER and not before.is_told:
            least_ns, _ = open_bounds_ns(self._configs[event.breaker], self._openings.get(key, 1))
            if open_ns < least_ns:
                text = f"breaker {event.breaker} is half-open after {seconds_text(open_ns)}, of at least "
                return Finding(f"{text}{seconds_text(least_ns)}", None, _OPEN_TIME)
        if event.cause in _OVERDUE and ends_ns is not None and event.at_ns < ends_ns:
            text = f"breaker {event.breaker} goes {step} by {event.cause}, and its time ends at {seconds_text(ends_ns)}"
            return Finding(text, None, ("circuit_breaker.half_open_max",))
        return self._overdue(event.breaker, before, ends_ns, event.at_ns)

    def at_end(self, now_ns: int) -> Objection:
        for key, breaker in self._breakers.items():
            text = self._overdue(key[0], breaker, self._ends_ns(*key), now_ns)
            if text is not None and not self._may_be_forgotten(key, now_ns):
                return text
        return None

    def _overdue(self, name: str, breaker: _Breaker, ends_ns: int | None, now_ns: int) -> Finding | None:
        """Return what is wrong where one has been half-open until an instant; its stage may have been down."""
        if ends_ns is None or now_ns <= max(ends_ns, self.context.lifecycles.up_at_ns):
            return None
        text = f"breaker {name} is half-open since {seconds_text(breaker.since_ns)}, until {seconds_text(now_ns)}"
        return Finding(text, None, ("circuit_breaker.half_open_max",))

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> Objection:
        """Look whether a waiter for an open breaker is to wait for longer than it stays open."""
        name = str(deferred.channel)
        config, breaker = self._configs.get(name), self._breakers.get((name, None))
        if deferred.cause is not DeferralCause.CIRCUIT_BREAKER or deferred.resumes_at_ns is None:
            return None
        if config is None or breaker is None or breaker.state is not _OPEN or config.per == "host":
            return None
        if config.shared != "none":
            return None  # others may have it open for longer
        least_ns, longest_ns = open_bounds_ns(config, self._openings.get((name, None), 1))
        if deferred.resumes_at_ns <= max(deferred.at_ns, breaker.began_ns + longest_ns):
            return None
        if (
            breaker.began_ns + least_ns <= deferred.at_ns
            and len(self.context.channels[deferred.channel].by_provider()) > 1
        ):
            return None  # it waits for a slot there, and for the breaker of another provider
        text = (
            f"{deferred.notification_id} waits until {seconds_text(deferred.resumes_at_ns)} for breaker {name}, open "
            f"since {seconds_text(breaker.since_ns)} for at most {seconds_text(longest_ns)}"
        )
        return Finding(text, deferred.notification_id, _OPEN_TIME)


class OpenBreaker(Breakers):
    """An open circuit breaker lets nothing through, and a half-open one no more than its probes; where an operator has
    forced those of some hosts open, those of others let nothing through; and no provider is asked but by what a breaker
    has let through, nor sent a copy of that where the breaker is not closed any more.

    What it let through before it opened may come to its provider later: where the channel was down meanwhile.
    """

    name = "open-breaker"
    of_one_process = True
    settings = _OPEN_TIME
    receivers = frozenset({Channel, HedgingChannel, Handler})
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
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
        self._follow(event)

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
        """A copy goes only where its breaker is closed by then."""
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
        """Take note of an outcome; a probe whose says nothing has given its permit back."""
        known = self._let_through.pop(id(attempt), None)
        if known is not None and says_nothing:
            known[1].probes -= 1


def open_bounds_ns(config: CircuitBreakerConfig, openings: int) -> tuple[int, int]:
    """Return how long a breaker is open that has opened so often, at least and at most."""
    growth = config.open_growth
    if growth is None:
        return wait_ns(config.timeout), wait_ns(config.timeout) + 1
    exponent = (openings - 1) * math.log2(growth.multiplier)
    grown = math.inf if exponent > 60 else config.timeout * growth.multiplier ** (openings - 1)
    # Rounded down, so that what is behind the comma of a product does not count against it.
    least_ns = wait_ns(min(growth.max, grown) * (1.0 - growth.jitter) * (1.0 - 1e-9)) - 2
    return max(0, least_ns), wait_ns(min(grown * (1.0 + growth.jitter), growth.max)) + 2
