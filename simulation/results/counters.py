"""What is counted of breakers and of providers: folded from the history, a chunk of events at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationSent,
    RecordedEvent,
)

OPEN_STATES = (BreakerState.OPEN, BreakerState.FORCED_OPEN)


def by_type(events: Sequence[RecordedEvent]) -> dict[type, list[Any]]:
    """Sort events by their type, each in order."""
    sorted_events: dict[type, list[Any]] = {}
    for event in events:
        try:
            sorted_events[type(event)].append(event)
        except KeyError:
            sorted_events[type(event)] = [event]
    return sorted_events


class BreakerNow(NamedTuple):
    """A state of a breaker, and since when it is in it."""

    state: BreakerState
    since_ns: int


class BreakerMetrics:
    """How often one breaker opened, and for how long it was open; of all hosts together where each has its own."""

    def __init__(self) -> None:
        self._opened = 0
        self._open_ns = 0
        self._open_since_ns: dict[str | None, int] = {}
        """By host."""
        self.now: dict[str | None, BreakerNow] = {}
        """By host, and None where there is one for all; nothing of those that are as they began."""

    def fold(self, transition: BreakerTransitioned) -> None:
        """Take in a transition."""
        self.now[transition.host] = BreakerNow(BreakerState(transition.to_state), transition.at_ns)
        since_ns = self._open_since_ns.pop(transition.host, None)
        if since_ns is not None:
            self._open_ns += transition.at_ns - since_ns
        if transition.to_state in OPEN_STATES:
            self._opened += 1
            self._open_since_ns[transition.host] = transition.at_ns

    def summary(self, simulated_ns: int) -> dict[str, Any]:
        """Return the metrics as the summary names them."""
        still_open_ns = sum(simulated_ns - since_ns for since_ns in self._open_since_ns.values())
        return {"opened": self._opened, "open_s": (self._open_ns + still_open_ns) / NS_PER_S}


class ProviderMetrics:
    """What went to each provider of the channels that have several."""

    def __init__(self, providers: Mapping[NotificationChannel, Sequence[str]]) -> None:
        self._providers = {channel: names for channel, names in providers.items() if len(names) > 1}
        self._attempts: Counter[tuple[NotificationChannel, str]] = Counter()
        self._sent: Counter[tuple[NotificationChannel, str]] = Counter()

    def fold(self, events: dict[type, list[Any]]) -> None:
        """Take in a chunk of the history, sorted by type."""
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
