"""Pairs: something that happens while something else goes on.

That a breaker was half-open in some run, and the process crashed in another one, says nothing of a crash while a
breaker is half-open; and there the mistakes are that nobody thought of. So a run is also known by its pairs of an event
and a state that it fell into, on the same channel where both are of one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from actors.domain.attempts import EXPIRED
from actors.endpoints import EndpointState
from actors.instants import ns
from actors.messages import (
    ActorFailed,
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DeferralCause,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from simulation.scenario import Scenario
from simulation.verification.laws.lifecycles import PROCESS

SPANS_KEPT = 4
"""About so many spans of each state are kept of a run."""

_OVERRIDDEN = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
_ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)

Channel: TypeAlias = "str | None"
"""Where something happens; None: everywhere."""


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _is(kind: type, test: Callable[[Any], bool] = lambda _: True) -> Callable[[RecordedEvent], bool]:
    return lambda event: type(event) is kind and test(event)


STEP = "the wall clock steps"
EVENTS: dict[str, Callable[[RecordedEvent], bool]] = {
    "the process crashes": _is(ActorFailed, lambda event: event.actor == PROCESS),
    "an actor crashes": _is(ActorFailed, lambda event: event.actor != PROCESS),
    STEP: lambda _: False,  # no event of a history: it is read from the faults
    "a dead letter is redriven": _is(NotificationRedriven, lambda event: not event.edit),
    "a dead letter is redriven with an edit": _is(NotificationRedriven, lambda event: bool(event.edit)),
    "a dead letter is discarded": _is(DeadLetterDiscarded),
    "an operator overrides a breaker": _is(BreakerTransitioned, lambda event: event.to_state in _OVERRIDDEN),
    "a breaker opens": _is(BreakerTransitioned, lambda event: event.to_state == BreakerState.OPEN),
    "a breaker closes": _is(BreakerTransitioned, lambda event: event.to_state == BreakerState.CLOSED),
    "a provider throttles": _is(NotificationFailed, lambda event: event.throttled),
    "an answer is missing": _is(NotificationFailed, lambda event: event.kind == "Ambiguous"),
    "an address is found to be gone": _is(NotificationFailed, lambda event: event.kind == "DeadDestination"),
    "a channel is broken": _is(NotificationFailed, lambda event: event.kind == "ChannelFault"),
    "a notification expires": _is(NotificationMovedToDeadLetter, lambda event: event.reason == EXPIRED),
}
"""The events of a pair, by their names in a sentence."""


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────

HALF_OPEN, OPEN, OVERRIDDEN = "a breaker is half-open", "a breaker is open", "a breaker is overridden"
RETRY = "a notification waits for its retry"
LETTER, REDRIVEN = "a dead letter is kept", "what was redriven is under way"
FALLBACK, LEFT = "a fallback is under way", "what a crash has left is under way"
DOWN, ACTOR_DOWN = "the process is down", "an actor is down"
FAILING, DISABLED = "all attempts at an endpoint fail", "an endpoint is disabled"
_WAITS = {
    DeferralCause.CIRCUIT_BREAKER: "a notification waits for a breaker",
    DeferralCause.RATE_LIMIT: "a notification waits for a limit",
    DeferralCause.QUIET_HOURS: "a notification waits for the end of quiet hours",
}
STATES = (
    *(HALF_OPEN, OPEN, OVERRIDDEN, RETRY, *_WAITS.values(), LETTER, REDRIVEN, FALLBACK, LEFT, DOWN, ACTOR_DOWN),
    *(FAILING, DISABLED),
)
"""The states that may hold during an event, by their names in a sentence."""

PAIRS = tuple(f"{event} while {state}" for event in EVENTS for state in STATES)
"""All of them, some of which cannot be."""

_CRASH, _ACTOR, _REDRIVE, _OVERRIDE = (
    "the process crashes", "an actor crashes", "a dead letter is redriven", "an operator overrides a breaker"
)  # fmt: skip
WANTED = tuple(
    (event, state)
    for event, states in {
        _CRASH: (HALF_OPEN, OPEN, RETRY, *_WAITS.values(), LETTER, REDRIVEN, LEFT),
        _ACTOR: (HALF_OPEN, RETRY, REDRIVEN),
        STEP: (RETRY, LETTER, LEFT),
        _REDRIVE: (HALF_OPEN, OPEN, LEFT),
        _OVERRIDE: (HALF_OPEN, OPEN),
    }.items()
    for state in states
)
"""The pairs that an exploration must have seen, once both parts of them are common in it."""

COMMON = 100
"""An event or state is common if it happened in so many cases."""


def demanded_pairs(seen: Mapping[str, int]) -> list[str]:
    """Return the pairs that should have been seen, by how many cases each event and each state was seen in."""
    return [
        f"{event} while {state}" for event, state in WANTED if min(seen.get(event, 0), seen.get(state, 0)) >= COMMON
    ]


class Span(NamedTuple):
    """While something goes on: after `start_ns`, and up to `end_ns`."""

    state: str
    start_ns: int
    end_ns: int
    channel: Channel


@dataclass(frozen=True)
class Seen:
    """The sightings by which runs are distinguished."""

    names: frozenset[str]
    """The names of its events, of its states, and of its pairs."""

    spans: tuple[Span, ...]
    """When its states went on, a few of each."""


NOTHING_SEEN = Seen(frozenset(), ())


def seen_in(history: Iterable[RecordedEvent], scenario: Scenario) -> Seen:
    """Return what is seen in a history, which is that of a run of this scenario."""
    events = list(history)
    if not events:
        return NOTHING_SEEN
    found = _Found(scenario, events[-1].at_ns)
    for event in events:
        found.add(event)
    return found.seen()


@dataclass
class _Found:
    scenario: Scenario
    end_ns: int
    instants: dict[tuple[str, Channel], list[int]] = field(default_factory=lambda: defaultdict(list))
    spans: dict[tuple[str, Channel], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    _begun: dict[tuple[str, str], tuple[int, Channel]] = field(default_factory=dict)
    """The states that go on, by their name and whose they are: since when, and where."""

    _in_flight: set[str] = field(default_factory=set)
    _left: list[tuple[int, set[str]]] = field(default_factory=list)
    """For each crash when it was, and what it has left and is still under way."""

    def __post_init__(self) -> None:
        for fault in self.scenario.faults:
            at_ns = ns(fault.at)
            if fault.clock_step is not None and at_ns <= self.end_ns:
                self.instants[STEP, None].append(at_ns)
            if fault.crash is not None:
                name = DOWN if fault.crash == PROCESS else ACTOR_DOWN
                self.spans[name, None].append((at_ns, at_ns + ns(fault.restart_after or 0.0)))

    def add(self, event: RecordedEvent) -> None:
        channel: Channel = None
        if isinstance(event, NotificationEvent):
            channel = event.channel.value
            self._follow(event, channel)
        elif type(event) is BreakerTransitioned:
            channel = event.breaker.partition("/")[0]
            self._follow_breaker(event, channel)
        elif type(event) is ActorFailed and event.actor == PROCESS:
            self._left.append((event.at_ns, set(self._in_flight)))
        for name, is_one in EVENTS.items():
            if is_one(event):
                self.instants[name, channel].append(event.at_ns)

    def _follow(self, event: NotificationEvent, channel: str) -> None:
        notification_id, at_ns = event.notification_id, event.at_ns
        for wait in (RETRY, *_WAITS.values()):
            self._end(wait, notification_id, at_ns)
        kind = type(event)
        if isinstance(event, NotificationFailed) and event.endpoint is not None:
            is_disabled = event.endpoint.state is EndpointState.DISABLED
            if is_disabled:
                self._end(FAILING, channel, at_ns)
            self._begin(DISABLED if is_disabled else FAILING, channel, at_ns, channel)
        elif isinstance(event, NotificationRedriven) and not event.without_operator:
            self._end(DISABLED, channel, at_ns)
        if kind is NotificationFailed and event.next_retry_at_ns is not None:  # type: ignore[attr-defined]
            self._begin(RETRY, notification_id, at_ns, channel)
        elif kind is NotificationDeferred:
            self._begin(_WAITS[event.cause], notification_id, at_ns, channel)  # type: ignore[attr-defined]
        elif kind is NotificationRequested or kind is NotificationRedriven:
            self._in_flight.add(notification_id)
            self._end(LETTER, notification_id, at_ns)
            if kind is NotificationRedriven:
                self._begin(REDRIVEN, notification_id, at_ns, channel)
            elif event.instead_of is not None:  # type: ignore[attr-defined]
                self._begin(FALLBACK, notification_id, at_ns, channel)
        elif kind is DeadLetterDiscarded:
            self._end(LETTER, notification_id, at_ns)
        elif kind in _ENDS:
            self._in_flight.discard(notification_id)
            self._end(REDRIVEN, notification_id, at_ns)
            self._end(FALLBACK, notification_id, at_ns)
            if kind is NotificationMovedToDeadLetter:
                self._begin(LETTER, notification_id, at_ns, channel)
            self._end_of_what_was_left(notification_id, at_ns)

    def _end_of_what_was_left(self, notification_id: str, at_ns: int) -> None:
        for crash in list(self._left):
            since_ns, ids = crash
            ids.discard(notification_id)
            if not ids:
                self._left.remove(crash)
                self.spans[LEFT, None].append((since_ns, at_ns))

    def _follow_breaker(self, event: BreakerTransitioned, channel: str) -> None:
        whose = f"{event.breaker} {event.host}"
        for state in (HALF_OPEN, OPEN, OVERRIDDEN):
            self._end(state, whose, event.at_ns)
        if event.to_state == BreakerState.HALF_OPEN:
            self._begin(HALF_OPEN, whose, event.at_ns, channel)
        elif event.to_state == BreakerState.OPEN:
            self._begin(OPEN, whose, event.at_ns, channel)
        elif event.to_state in _OVERRIDDEN:
            self._begin(OVERRIDDEN, whose, event.at_ns, channel)

    def _begin(self, state: str, whose: str, at_ns: int, channel: Channel) -> None:
        self._begun[state, whose] = at_ns, channel

    def _end(self, state: str, whose: str, at_ns: int) -> None:
        begun = self._begun.pop((state, whose), None)
        if begun is not None and begun[0] < at_ns:
            self.spans[state, begun[1]].append((begun[0], at_ns))

    def seen(self) -> Seen:
        for (state, _), (since_ns, channel) in self._begun.items():
            self.spans[state, channel].append((since_ns, self.end_ns))
        for since_ns, _ in self._left:
            self.spans[LEFT, None].append((since_ns, self.end_ns))
        names = {name for name, _ in self.instants} | {state for state, _ in self.spans} | set(self._pairs())
        spans = tuple(
            Span(state, *span, channel)
            for (state, channel), found in self.spans.items()
            for span in found[:: max(1, len(found) // SPANS_KEPT)]
        )
        return Seen(frozenset(names), spans)

    def _pairs(self) -> Iterator[str]:
        joined = {key: _joined(spans) for key, spans in self.spans.items()}
        for (event, channel), instants in self.instants.items():
            for (state, where), spans in joined.items():
                if (channel is None or where is None or channel == where) and _any_within(instants, spans):
                    yield f"{event} while {state}"


def _joined(spans: list[tuple[int, int]]) -> list[int]:
    edges: list[int] = []
    for start_ns, end_ns in sorted(spans):
        if edges and start_ns <= edges[-1]:
            edges[-1] = max(edges[-1], end_ns)
        else:
            edges += (start_ns, end_ns)
    return edges


def _any_within(instants: Sequence[int], edges: Sequence[int]) -> bool:
    return any(bisect_left(edges, at_ns) % 2 == 1 for at_ns in instants)
