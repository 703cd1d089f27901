"""The circuit breaker: one table of transitions, and permits numbered by generation.

After Michael Nygard, *Release It!*, 2007; names and operator states as in resilience4j. What trips it is
:mod:`actors.policies.tripping`; here is only what a trip means.

A permit is the number of the generation it was given in, and every transition begins a new generation. So a result is
late exactly when its permit is not the current number, and a late result changes nothing: not the counts of a state
that it does not belong to, and above all not a half-open breaker, where the success of a call from before the trip
proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from actors.config import CircuitBreakerConfig
from actors.errors import RetrylabError
from actors.policies.tripping import ConsecutiveFailures
from actors.policies.waits import wait_ns


class BreakerState(StrEnum):
    """What it does with a request for a permit."""

    CLOSED = "closed"
    """Admits, and counts failures."""
    OPEN = "open"
    """Refuses until its time is over."""
    HALF_OPEN = "half-open"
    """Admits a few probes."""
    FORCED_OPEN = "forced-open"
    """Refuses until an operator says otherwise."""
    DISABLED = "disabled"
    """Admits, and counts nothing."""


class BreakerEvent(StrEnum):
    """What moves it from one state to another."""

    TRIP = "trip"
    """Too many failures, a failed probe, or a channel fault."""
    WAIT_OVER = "wait-over"
    """A permit was asked for, and the open time has passed."""
    RECOVER = "recover"
    """As many probes succeeded as it takes."""
    FORCE_OPEN = "force-open"
    """An operator's order."""
    DISABLE = "disable"
    """An operator's order."""
    CLOSE = "close"
    """An operator's order."""


_CLOSED = BreakerState.CLOSED
_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN
_FORCED_OPEN = BreakerState.FORCED_OPEN
_DISABLED = BreakerState.DISABLED

TRANSITIONS: dict[BreakerState, dict[BreakerEvent, BreakerState]] = {
    _CLOSED: {
        BreakerEvent.TRIP: _OPEN,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
    },
    _OPEN: {
        BreakerEvent.WAIT_OVER: _HALF_OPEN,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _HALF_OPEN: {
        BreakerEvent.TRIP: _OPEN,
        BreakerEvent.RECOVER: _CLOSED,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _FORCED_OPEN: {
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _DISABLED: {
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.CLOSE: _CLOSED,
    },
}
"""State, event, next state: every transition there is."""


class IllegalTransition(RetrylabError):
    """The breaker's state knows no such event; the breaker stays as it is."""

    def __init__(self, name: str, state: BreakerState, event: BreakerEvent) -> None:
        super().__init__(name, state, event)
        self.name = name
        """The breaker's name."""
        self.state = state
        """The state it is in, and stays in."""
        self.event = event
        """What was asked of it."""

    def __str__(self) -> str:
        breaker = f"breaker {self.name!r}" if self.name else "breaker"
        possible = ", ".join(TRANSITIONS[self.state])
        return f"{breaker} is {self.state} and knows no {self.event} there (possible: {possible})"


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition that took place."""

    from_state: BreakerState
    to_state: BreakerState
    event: BreakerEvent
    at_ns: int


class Breaker:
    """One circuit breaker. `now_ns` never goes back from one call to the next.

    `on_transition` hears of each transition after it has taken place, so nothing that it does can change it; an error
    that it raises goes to the caller.
    """

    __slots__ = (
        "_admits_all",
        "_generation",
        "_on_transition",
        "_open_ns",
        "_opened_at_ns",
        "_permits",
        "_probe_successes",
        "_probes_under_way",
        "_reopen_at_ns",
        "_state",
        "_tripping",
        "name",
    )

    def __init__(
        self,
        config: CircuitBreakerConfig,
        *,
        name: str = "",
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        self.name = name
        """Which breaker this is, for errors."""
        self._on_transition = on_transition
        self._tripping = ConsecutiveFailures(config.failure_threshold)
        self._permits = config.half_open_permits
        # Peers disagree about the instant `opened_at + timeout`; one nanosecond is the whole difference.
        self._open_ns = wait_ns(config.timeout) + (config.reopen == "after")
        self._state = _CLOSED if config.enabled else _DISABLED
        self._admits_all = True
        self._generation = 1
        self._opened_at_ns: int | None = None
        self._reopen_at_ns: int | None = None
        self._probes_under_way = 0
        self._probe_successes = 0

    @property
    def state(self) -> BreakerState:
        """The state it is in. Open time that has run out shows only when a permit is asked for."""
        return self._state

    @property
    def opened_at_ns(self) -> int | None:
        """When it opened or was forced open; None in the other states."""
        return self._opened_at_ns

    @property
    def reopen_at_ns(self) -> int | None:
        """While open, the first instant at which a permit may be had; None in the other states."""
        return self._reopen_at_ns

    @property
    def consecutive_failures(self) -> int:
        """Failures that count since the last success; while open, how many there were when it tripped."""
        return self._tripping.count

    def try_acquire(self, now_ns: int) -> int | None:
        """Return a permit, or None when refused. Every permit has to be settled by one of the `record` methods.

        An open breaker whose time is over becomes half-open here, with this permit as its first probe.
        """
        if self._admits_all:
            return self._generation
        if self._reopen_at_ns is not None and now_ns >= self._reopen_at_ns:
            self._apply(BreakerEvent.WAIT_OVER, now_ns)
        if self._state is _HALF_OPEN and self._has_probe_left():
            self._probes_under_way += 1
            return self._generation
        return None

    def would_admit(self, now_ns: int) -> bool:
        """Return whether :meth:`try_acquire` would give a permit, and change nothing."""
        if self._reopen_at_ns is not None:
            return now_ns >= self._reopen_at_ns
        return self._admits_all or (self._state is _HALF_OPEN and self._has_probe_left())

    def record_success(self, permit: int, now_ns: int) -> bool:
        """Settle a permit: the provider did the work. Return False, with nothing changed, if the permit is stale."""
        if permit != self._generation:
            return False
        if self._state is _CLOSED:
            self._tripping.success(now_ns)
        elif self._settle_probe():
            self._probe_successes += 1
            if self._probe_successes == self._permits:
                self._apply(BreakerEvent.RECOVER, now_ns)
        return True

    def record_failure(self, permit: int, now_ns: int) -> bool:
        """Settle a permit: the provider failed, or did not answer in time. False if the permit is stale."""
        if permit != self._generation:
            return False
        if self._state is _CLOSED:
            if self._tripping.failure(now_ns):
                self._apply(BreakerEvent.TRIP, now_ns)
        elif self._settle_probe():
            self._apply(BreakerEvent.TRIP, now_ns)
        return True

    def record_neutral(self, permit: int, now_ns: int) -> bool:
        """Settle a permit that says nothing about the provider (throttled, cancelled). False if it is stale.

        A probe's permit can be had again.
        """
        if permit != self._generation:
            return False
        self._settle_probe()
        return True

    def record_reachable(self, permit: int, now_ns: int) -> bool:
        """Settle a permit: the provider answered, and refused this one message. False if the permit is stale.

        While closed that is neither a success nor a failure; as a probe's answer it is a success.
        """
        if self._state is _CLOSED:
            return permit == self._generation
        return self.record_success(permit, now_ns)

    def trip(self, permit: int, now_ns: int) -> bool:
        """Settle a permit: the channel itself is broken, so open at once. False if the permit is stale."""
        if permit != self._generation:
            return False
        if self._state is _CLOSED or self._state is _HALF_OPEN:
            self._apply(BreakerEvent.TRIP, now_ns)
        return True

    def force_open(self, now_ns: int) -> None:
        """Refuse everything until further orders.

        Raises:
            IllegalTransition: it is forced open already.
        """
        self._apply(BreakerEvent.FORCE_OPEN, now_ns)

    def disable(self, now_ns: int) -> None:
        """Admit everything and count nothing until further orders.

        Raises:
            IllegalTransition: it is disabled already.
        """
        self._apply(BreakerEvent.DISABLE, now_ns)

    def close(self, now_ns: int) -> None:
        """Begin anew: closed, with all counts at zero.

        Raises:
            IllegalTransition: it is closed already.
        """
        self._apply(BreakerEvent.CLOSE, now_ns)

    def _has_probe_left(self) -> bool:
        # Successes count against the permits too: no more probes go out than it takes to close.
        return self._probes_under_way + self._probe_successes < self._permits

    def _settle_probe(self) -> bool:
        if self._probes_under_way == 0:
            return False
        self._probes_under_way -= 1
        return True

    def _apply(self, event: BreakerEvent, now_ns: int) -> None:
        before = self._state
        after = next_state(before, event, self.name)
        self._state = after
        self._generation += 1
        self._admits_all = after is _CLOSED or after is _DISABLED
        self._opened_at_ns = now_ns if after is _OPEN or after is _FORCED_OPEN else None
        self._reopen_at_ns = now_ns + self._open_ns if after is _OPEN else None
        self._probes_under_way = 0
        self._probe_successes = 0
        if after is not _OPEN:
            self._tripping.reset()
        if self._on_transition is not None:
            self._on_transition(Transition(before, after, event, now_ns))


def next_state(state: BreakerState, event: BreakerEvent, name: str = "") -> BreakerState:
    """Return the state that `event` leads to from `state`, by :data:`TRANSITIONS`.

    Raises:
        IllegalTransition: there is none.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise IllegalTransition(name, state, event)
    return after
