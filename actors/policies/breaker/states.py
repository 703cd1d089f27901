"""The states of a circuit breaker and the one table of its transitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from actors.errors import RetrylabError
from actors.messages import BreakerState

NOT_CLOSED = frozenset({BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN})
"""The states in which it keeps requests back."""

KEYS_MAX = 10_000
"""At most so many hosts have a breaker, or a pace, of their own."""


class BreakerEvent(StrEnum):
    """What moves it from one state to another."""

    TRIP = "trip"
    """Too many failures, probes that failed, or a channel fault."""
    WAIT_OVER = "wait-over"
    """A permit was asked for, and the open time has passed."""
    RECOVER = "recover"
    """The probes showed that the provider is back."""
    PROBES_OVERDUE = "probes-overdue"
    """Half-open for as long as it may be without a decision, and then it opens again."""
    BENEFIT_OF_THE_DOUBT = "benefit-of-the-doubt"
    """Half-open for as long as it may be without a decision, and then it closes."""
    OTHERS_OPEN = "others-open"
    """As many other nodes say that theirs is open as it takes to open it here."""
    FORCE_OPEN = "force-open"
    """An operator's override."""
    DISABLE = "disable"
    """An operator's override."""
    CLOSE = "close"
    """An operator's override."""
    METRICS_ONLY = "metrics-only"
    """An operator's override."""


_CLOSED = BreakerState.CLOSED
_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN
_FORCED_OPEN = BreakerState.FORCED_OPEN
_DISABLED = BreakerState.DISABLED
_METRICS_ONLY = BreakerState.METRICS_ONLY

TRANSITIONS: dict[BreakerState, dict[BreakerEvent, BreakerState]] = {
    _CLOSED: {
        BreakerEvent.TRIP: _OPEN,
        BreakerEvent.OTHERS_OPEN: _OPEN,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.METRICS_ONLY: _METRICS_ONLY,
    },
    _OPEN: {
        BreakerEvent.WAIT_OVER: _HALF_OPEN,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.METRICS_ONLY: _METRICS_ONLY,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _HALF_OPEN: {
        BreakerEvent.TRIP: _OPEN,
        BreakerEvent.RECOVER: _CLOSED,
        BreakerEvent.PROBES_OVERDUE: _OPEN,
        BreakerEvent.BENEFIT_OF_THE_DOUBT: _CLOSED,
        BreakerEvent.OTHERS_OPEN: _OPEN,
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.METRICS_ONLY: _METRICS_ONLY,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _FORCED_OPEN: {
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.METRICS_ONLY: _METRICS_ONLY,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _DISABLED: {
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.METRICS_ONLY: _METRICS_ONLY,
        BreakerEvent.CLOSE: _CLOSED,
    },
    _METRICS_ONLY: {
        BreakerEvent.FORCE_OPEN: _FORCED_OPEN,
        BreakerEvent.DISABLE: _DISABLED,
        BreakerEvent.CLOSE: _CLOSED,
    },
}
"""State, event, next state: every transition there is."""


class IllegalTransition(RetrylabError):
    """The breaker's state knows no such event; the breaker stays as it is."""

    def __init__(self, name: str, state: BreakerState, event: BreakerEvent) -> None:
        super().__init__(name, state, event)
        self.name = name
        self.state = state
        self.event = event

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
    reopen_at_ns: int | None = field(default=None, compare=False)
    """Where it has opened, the first instant at which a permit may be given."""

    @property
    def ends_refusal(self) -> bool:
        """Whether it refused before, and admits from now on."""
        return self.from_state in NOT_CLOSED and self.to_state not in NOT_CLOSED


def next_state(state: BreakerState, event: BreakerEvent, name: str = "") -> BreakerState:
    """Return the state that `event` leads to from `state`, by :data:`TRANSITIONS`.

    Raises:
        IllegalTransition: there is none.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise IllegalTransition(name, state, event)
    return after
