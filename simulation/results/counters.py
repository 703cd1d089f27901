"""The metrics of breakers, providers and nodes: folded from the history, a chunk of events at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.kernel.node import without_node
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    NodeTookOver,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.policies.breaker.states import BreakerEvent

OPEN_STATES = (BreakerState.OPEN, BreakerState.FORCED_OPEN)


def by_type(events: Sequence[RecordedEvent]) -> dict[type, list[Any]]:
    sorted_events: dict[type, list[Any]] = {}
    for event in events:
        try:
            sorted_events[type(event)].append(event)
        except KeyError:
            sorted_events[type(event)] = [event]
    return sorted_events


class BreakerNow(NamedTuple):
    state: BreakerState
    since_ns: int


class BreakerMetrics:
    """How often one breaker opened, and for how long it was open; over all hosts, where each has its own, and all
    nodes."""

    def __init__(self, *, is_shared: bool = False) -> None:
        """Count nothing yet. Where nodes share breakers, it is counted how often others opened one."""
        self._is_shared = is_shared
        self._opened = self._opened_by_others = 0
        self._open_ns = 0
        self._open_since_ns: dict[Hashable, int] = {}
        """By place."""
        self.now: dict[Any, BreakerNow] = {}
        """The state by place; places in their first state are left out."""

    def fold(self, transition: BreakerTransitioned, place: Hashable) -> None:
        """Take in a transition of one of the breakers that are counted together: of the breaker of a host, or of a
        node; the place None is the only breaker."""
        self.now[place] = BreakerNow(BreakerState(transition.to_state), transition.at_ns)
        since_ns = self._open_since_ns.pop(place, None)
        if since_ns is not None:
            self._open_ns += transition.at_ns - since_ns
        if transition.to_state in OPEN_STATES:
            self._opened += 1
            self._opened_by_others += transition.cause == BreakerEvent.OTHERS_OPEN
            self._open_since_ns[place] = transition.at_ns

    def summary(self, simulated_ns: int) -> dict[str, Any]:
        still_open_ns = sum(simulated_ns - since_ns for since_ns in self._open_since_ns.values())
        by_others = {"opened_by_others": self._opened_by_others} if self._is_shared else {}
        return {"opened": self._opened, "open_s": (self._open_ns + still_open_ns) / NS_PER_S, **by_others}


class ProviderMetrics:
    """The metrics of each provider of the channels that have several."""

    def __init__(self, providers: Mapping[NotificationChannel, Sequence[str]]) -> None:
        self._providers = {channel: names for channel, names in providers.items() if len(names) > 1}
        self._attempts: Counter[tuple[NotificationChannel, str]] = Counter()
        self._sent: Counter[tuple[NotificationChannel, str]] = Counter()

    def fold(self, events: dict[type, list[Any]]) -> None:
        if not self._providers:
            return
        for kind in (NotificationSent, NotificationFailed):
            ended = [(event.channel, event.provider) for event in events.get(kind, []) if event.provider is not None]
            self._attempts.update(ended)
            if kind is NotificationSent:
                self._sent.update(ended)

    def summary(self, channel: NotificationChannel) -> dict[str, dict[str, Any]]:
        """Return the metrics of each provider of a channel as the summary names them; nothing where there is one."""
        names = self._providers.get(channel)
        if names is None:
            return {}
        return {name: {"attempts": self._attempts[channel, name], "sent": self._sent[channel, name]} for name in names}


_NODE = attrgetter("node")


class NodeMetrics:
    def __init__(self, count: int) -> None:
        self._numbers = range(1, count + 1) if count > 1 else range(0)
        self._events: dict[type, Counter[int | None]] = {kind: Counter() for kind in _AT_NODES}
        self._taken_over: Counter[int | None] = Counter()

    def fold(self, events: dict[type, list[Any]]) -> None:
        if not self._numbers:
            return
        for kind, counts in self._events.items():
            counts.update(map(_NODE, events.get(kind, ())))
        for event in events.get(NodeTookOver, ()):
            self._taken_over[event.node] += len(event.notification_ids)

    def summary(self) -> dict[str, dict[str, int]]:
        """Return the metrics of each node, by its number, as the summary names them; nothing where there is one."""
        found = {}
        for number in self._numbers:
            of = {kind: counts[number] for kind, counts in self._events.items()}
            found[str(number)] = {
                "accepted": of[NotificationRequested],
                "sent": of[NotificationSent],
                "dead_lettered": of[NotificationMovedToDeadLetter] - of[NotificationRedriven],
                "suppressed": of[NotificationSuppressed],
                "attempts": of[NotificationSent] + of[NotificationFailed],
                "taken_over": self._taken_over[number],
            }
        return found


_AT_NODES = (
    NotificationRequested,
    NotificationSent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSuppressed,
)


def fold_transition(metrics: Mapping[str, BreakerMetrics], transition: BreakerTransitioned) -> None:
    """Take in a transition of a breaker, by its name; a transition at a node counts under the common name too."""
    metrics[transition.breaker].fold(transition, transition.host)
    if transition.node is not None:
        metrics[without_node(transition.breaker)].fold(transition, (transition.node, transition.host))
