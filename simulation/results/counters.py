"""The metrics of a run, or of one channel in it: folded from the history, a chunk of events at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from simulation.results.statistics import durations

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


class Counted(NamedTuple):
    """What may happen in a run: what cannot is not looked for in every event."""

    hedges: bool = False
    refusals: bool = False
    """Of attempts on our side, before a provider is asked."""
    fallbacks: bool = False


COUNTED_ALWAYS = Counted()


class RunningMetrics:
    """Counts and durations of some of the history."""

    def __init__(self, *, exact: bool, counted: Counted = COUNTED_ALWAYS) -> None:
        """Begin with none.

        Args:
            exact: whether statistics are of all durations there are, and not of a sketch of them.
            counted: what may happen and so has to be counted.
        """
        self._counted = counted
        self._hedges = 0
        self._refused = 0
        self._fallbacks = 0
        self._counts: dict[type, int] = {}
        self._first_attempts = 0
        self._dlq_size = 0
        self._dlq_peak = 0
        self._delivery_times = durations(exact=exact)
        self._retry_delays = durations(exact=exact)

    def fold(self, events: dict[type, list[Any]]) -> None:
        """Take in a chunk of the history, sorted by type."""
        counts = self._counts
        for kind, of_kind in events.items():
            counts[kind] = counts.get(kind, 0) + len(of_kind)
        sent: list[NotificationSent] = events.get(NotificationSent, [])
        failed: list[NotificationFailed] = events.get(NotificationFailed, [])
        self._delivery_times.extend([event.at_ns - event.requested_at_ns for event in sent])
        self._retry_delays.extend(
            [event.next_retry_at_ns - event.at_ns for event in failed if event.next_retry_at_ns is not None]
        )
        # A ChannelFault uses up no attempt: it carries the number of the one before.
        self._first_attempts += len([1 for event in sent if event.attempt == 1])
        self._first_attempts += len([1 for event in failed if event.attempt == 1 and event.kind != "ChannelFault"])
        if self._counted.hedges:
            self._hedges += sum([event.hedges for event in sent]) + sum([event.hedges for event in failed])
        if self._counted.refusals:
            self._refused += sum([event.refused for event in failed])
        if self._counted.fallbacks:
            requested: list[NotificationRequested] = events.get(NotificationRequested, [])
            self._fallbacks += sum([event.instead_of is not None for event in requested])
        self._follow_dlq(events)

    def _follow_dlq(self, events: dict[type, list[Any]]) -> None:
        moved = events.get(NotificationMovedToDeadLetter, [])
        taken = events.get(NotificationRedriven, []) + events.get(DeadLetterDiscarded, [])
        if not taken:
            self._dlq_size += len(moved)
            self._dlq_peak = max(self._dlq_peak, self._dlq_size)
            return
        # Between one and the other the order decides about the peak; at the same instant the larger size counts.
        for _, change in sorted(
            [(event.at_ns, 1) for event in moved] + [(event.at_ns, -1) for event in taken], key=_up
        ):
            self._dlq_size += change
            self._dlq_peak = max(self._dlq_peak, self._dlq_size)

    def _count(self, *kinds: type) -> int:
        return sum(self._counts.get(kind, 0) for kind in kinds)

    def summary(self, simulated_ns: int) -> dict[str, Any]:
        """Return the metrics as the summary names them."""
        counts = self.counts()
        simulated_s = simulated_ns / NS_PER_S
        return {
            **counts,
            "sent_fraction": counts["sent"] / counts["accepted"] if counts["accepted"] else None,
            "throughput_per_s": counts["sent"] / simulated_s if simulated_s else None,
            "retry_amplification": self.retry_amplification,
            "delivery_time_s": self._delivery_times.statistics(),
            "retry_delay_s": self._retry_delays.statistics(),
            "dlq": {
                "final": self._dlq_size,
                "peak": self._dlq_peak,
                "growth_per_min": self._dlq_size / (simulated_s / 60) if simulated_s else None,
            },
        }

    def counts(self) -> dict[str, int]:
        """Return those metrics that are counts, as the summary names them."""
        accepted = self._count(NotificationRequested)
        sent = self._count(NotificationSent)
        suppressed = self._count(NotificationSuppressed)
        dead_lettered = self._count(NotificationMovedToDeadLetter) - self._count(NotificationRedriven)
        attempts = self._attempts
        return {
            "accepted": accepted,
            "sent": sent,
            "dead_lettered": dead_lettered,
            "suppressed": suppressed,
            "in_flight": accepted - sent - suppressed - dead_lettered,
            "attempts": attempts,
            "retries": attempts - self._first_attempts,
            "hedges": self._hedges,
            "requests": attempts - self._refused + self._hedges,
            "fallbacks": self._fallbacks,
            "deferred": self._count(NotificationDeferred),
            "duplicates": self._count(DuplicateIgnored),
        }

    @property
    def _attempts(self) -> int:
        return self._count(NotificationSent, NotificationFailed)

    @property
    def retry_amplification(self) -> float | None:
        """Attempts for each notification that was attempted; None without any."""
        return self._attempts / self._first_attempts if self._first_attempts else None

    @property
    def dlq_size(self) -> int:
        """How many dead letters are neither redriven nor discarded."""
        return self._dlq_size

    @property
    def dlq_peak(self) -> int:
        """The largest that this has been."""
        return self._dlq_peak

    def delivery_time_so_far(self, share: float) -> float | None:
        """Return about how many seconds `share` of those sent took at most; see `Durations.quantile_so_far`."""
        return self._delivery_times.quantile_so_far(share)


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

    def summary(self, channel: NotificationChannel) -> dict[str, Any]:
        """Return the metrics of a channel as the summary names them; nothing where it has only one provider."""
        names = self._providers.get(channel)
        if names is None:
            return {}
        return {
            "providers": {
                name: {"attempts": self._attempts[channel, name], "sent": self._sent[channel, name]} for name in names
            }
        }


def _up(entry: tuple[int, int]) -> tuple[int, int]:
    at_ns, change = entry
    return at_ns, -change
