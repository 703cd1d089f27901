"""Circuit breakers: they change state by the table, and nothing passes one that is open."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.instants import wait_ns
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned, DeferralCause, NotificationDeferred
from actors.outcomes import Outcome, Transient
from actors.policies.breaker.per_host import IDLE_NS, KEYS_MAX
from actors.policies.breaker.states import NOT_CLOSED, TRANSITIONS, BreakerEvent
from actors.settings.breaker import CircuitBreakerConfig
from simulation.invariants.base import PROCESS, BreakerKey, Context, Invariant, Objection, breaker_of, observes
from simulation.invariants.observations import AttemptMade
from simulation.invariants.text import seconds_text

_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN

RESTART = "restart"
"""The cause of a transition back to the beginning, where the process has crashed."""

_ORDERS = frozenset({BreakerEvent.DISABLE, BreakerEvent.METRICS_ONLY, BreakerEvent.CLOSE})


@dataclass(slots=True)
class _Breaker:
    """What the history says of one breaker."""

    state: BreakerState
    since_ns: int = -1
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
        """Return what is known of a breaker."""
        known = self._breakers.get(key)
        if known is None:
            known = self._breakers[key] = _Breaker(self._configs[key[0]].begins)
        return known

    def _follow(self, event: BreakerTransitioned) -> None:
        self._breakers[event.breaker, event.host] = _Breaker(BreakerState(event.to_state), event.at_ns)

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
    open one becomes half-open when its time has passed, never before, and is so for no longer than it may; waiters
    for that are given no later time."""

    name = "breaker-transitions"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._openings: dict[BreakerKey, int] = {}
        """How often each has opened since it was last closed."""

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        if event.breaker not in self._configs:
            return f"there is no breaker {event.breaker}, got {event!r}"
        key = event.breaker, event.host
        before = self._breaker(key)
        if event.to_state == _OPEN:
            self._openings[key] = self._openings.get(key, 0) + 1
        elif event.to_state != _HALF_OPEN:
            self._openings.pop(key, None)
        is_uncertain = self._may_be_forgotten(key, event.at_ns)
        self._follow(event)
        if is_uncertain:
            return None
        if event.cause == RESTART and event.to_state == self._configs[event.breaker].begins:
            return (
                None
                if self.context.lifecycles.crashes
                else f"breaker {event.breaker} is made anew, and nothing crashed"
            )
        steps = TRANSITIONS[before.state]
        step = f"from {event.from_state} to {event.to_state}"
        if event.from_state != before.state:
            return f"breaker {event.breaker} goes {step}, but is {before.state}"
        if steps.get(BreakerEvent(event.cause)) != event.to_state:
            return f"breaker {event.breaker} goes {step} by {event.cause}, and there is no such transition"
        open_ns = event.at_ns - before.since_ns
        if before.state is _OPEN and event.cause == BreakerEvent.WAIT_OVER:
            least_ns, _ = _open_bounds_ns(self._configs[event.breaker], self._openings.get(key, 1))
            if open_ns < least_ns:
                return (
                    f"breaker {event.breaker} is half-open after {seconds_text(open_ns)}, of at least "
                    f"{seconds_text(least_ns)}"
                )
        return self._overdue(event.breaker, before, event.at_ns)

    def at_end(self, now_ns: int) -> Objection:
        for key, breaker in self._breakers.items():
            if not self._may_be_forgotten(key, now_ns) and (text := self._overdue(key[0], breaker, now_ns)) is not None:
                return text
        return None

    def _overdue(self, name: str, breaker: _Breaker, now_ns: int) -> str | None:
        """Return what is wrong where one has been half-open until an instant; after a crash its timer may be late."""
        config = self._configs[name]
        if breaker.state is not _HALF_OPEN or config.half_open_max is None or config.half_open_then == "probe":
            return None
        if now_ns <= breaker.since_ns + wait_ns(config.half_open_max) or self.context.lifecycles.crashes:
            return None
        return f"breaker {name} is half-open since {seconds_text(breaker.since_ns)}, until {seconds_text(now_ns)}"

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> Objection:
        """Look whether a waiter for an open breaker is to wait for longer than it stays open."""
        name = str(deferred.channel)
        config, breaker = self._configs.get(name), self._breakers.get((name, None))
        if deferred.cause is not DeferralCause.CIRCUIT_BREAKER or deferred.resumes_at_ns is None:
            return None
        if config is None or breaker is None or breaker.state is not _OPEN or config.per == "host":
            return None
        _, longest_ns = _open_bounds_ns(config, self._openings.get((name, None), 1))
        if deferred.resumes_at_ns <= max(deferred.at_ns, breaker.since_ns + longest_ns):
            return None
        return (
            f"{deferred.notification_id} waits until {seconds_text(deferred.resumes_at_ns)} for breaker {name}, open "
            f"since {seconds_text(breaker.since_ns)} for at most {seconds_text(longest_ns)}"
        )


class OpenBreaker(Breakers):
    """Nothing passes an open circuit breaker, and no more than its probes a half-open one; and where an operator has
    forced those of some hosts open, nothing passes those of others.

    At the very instant at which it opens, what it let through just before may still be on its way to the provider; and
    where an actor has failed just now, what lay in the mailbox of a channel goes late.
    """

    name = "open-breaker"
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._forced_ns: dict[str, int] = {}
        """Since when an operator has those of all hosts forced open, by name."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> Objection:
        if event.actor == PROCESS:
            self._forced_ns.clear()
        return None

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        if event.to_state == BreakerState.FORCED_OPEN:
            self._forced_ns.setdefault(event.breaker, event.at_ns)
        elif event.cause in _ORDERS:
            self._forced_ns.pop(event.breaker, None)
        self._follow(event)
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        key = name, host = self.context.breaker_before(made.channel, made.provider, made.attempt)
        breaker, is_up = self._breaker(key), made.at_ns > self.context.lifecycles.up_at_ns
        if self._forced_ns.get(name, made.at_ns) < made.at_ns and breaker.since_ns < 0 and is_up:
            return f"{made.notification_id} is sent past breaker {name} of {host}, and all of them are forced open"
        if breaker.state not in NOT_CLOSED or self._may_be_forgotten(key, made.at_ns):
            return None
        if breaker.since_ns >= 0 and not is_up:
            return None
        if breaker.state is _HALF_OPEN:
            return self._probe(made, breaker, self._configs[name])
        if breaker.since_ns == made.at_ns:
            return None
        since = "" if breaker.since_ns < 0 else f" since {seconds_text(breaker.since_ns)}"
        return f"{made.notification_id} is sent past breaker {name}, which is {breaker.state}{since}"

    def _probe(self, made: AttemptMade, breaker: _Breaker, config: CircuitBreakerConfig) -> Objection:
        if _says_nothing(made.outcome):
            return None
        breaker.probes += 1
        at_most = config.half_open_permits
        if config.half_open_then == "probe" and config.half_open_max is not None:
            at_most *= 1 + (made.at_ns - breaker.since_ns) // max(1, wait_ns(config.half_open_max))
        if breaker.probes <= at_most:
            return None
        return (
            f"{made.notification_id} is probe {breaker.probes} at breaker {breaker_of(made.channel, made.provider)}, "
            f"half-open since {seconds_text(breaker.since_ns)}, of at most {at_most}"
        )


def _says_nothing(outcome: Outcome | None) -> bool:
    """Tell whether a probe with this outcome gives its permit back."""
    return isinstance(outcome, Transient) and outcome.throttled


def _open_bounds_ns(config: CircuitBreakerConfig, openings: int) -> tuple[int, int]:
    """Return how long a breaker is open that has opened so often, at least and at most."""
    growth = config.open_growth
    if growth is None:
        return wait_ns(config.timeout), wait_ns(config.timeout) + 1
    exponent = (openings - 1) * math.log2(growth.multiplier)
    grown = math.inf if exponent > 60 else config.timeout * growth.multiplier ** (openings - 1)
    # Rounded down, so that what is behind the comma of a product does not count against it.
    least_ns = wait_ns(min(growth.max, grown) * (1.0 - growth.jitter) * (1.0 - 1e-9)) - 2
    return max(0, least_ns), wait_ns(min(grown * (1.0 + growth.jitter), growth.max)) + 2
