"""The counts of one entry of the workload on one channel, and the metrics of several of these together.

A notification and its fallbacks on other channels are one *request*. It is delivered when the first of them is sent,
and belongs to the channel that has taken it over last, or that has delivered it. So the counts of entries, classes and
channels each add up to those of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.endpoints import EndpointState
from actors.instants import NS_PER_S, ns
from actors.messages import (
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    UpstreamRequested,
)
from actors.settings.channel import PRIMARY
from simulation.results.statistics import Durations
from simulation.scenario.metrics import NEVER


class Counted(NamedTuple):
    """The events that may happen in a run; an event that cannot happen is not looked for."""

    hedges: bool = False
    refusals: bool = False
    """Of attempts on our side, before a provider is asked."""
    fallbacks: bool = False
    forgotten_ids: bool = False
    """The same notification may be accepted again, since its id is not remembered for long enough."""
    accepted_ids: bool = False
    """A refused notification may be accepted: it comes twice, or a process dies between the two halves of an event."""
    upstreams: int = 0
    """How many layers of upstreams the providers have."""
    endpoints: bool = False
    """Endpoints are disabled after failures."""
    own_actors: bool = False
    """Actors beside the pipeline send notifications that may be of no entry of the workload."""


COUNTED_ALWAYS = Counted(hedges=True, refusals=True, fallbacks=True, forgotten_ids=True, accepted_ids=True)


class Tally:
    """Counts and durations of one entry of the workload on one channel."""

    def __init__(
        self,
        *,
        counted: Counted = COUNTED_ALWAYS,
        prices: Mapping[str, float] | None = None,
    ) -> None:
        """Begin with none; `prices` are of a request at each provider of the channel."""
        self.counts: Counter[type] = Counter()
        """Of events."""
        self.upstream_requests: Counter[int] = Counter()
        """By layer."""
        self.first_attempts = 0
        self.hedges = 0
        self.refused_here = 0
        """Attempts that no provider was asked for."""
        self.endpoints_disabled = 0
        self.interrupted = 0
        self.cost = 0.0
        self.fallbacks = 0
        self.pending_before = 0
        """Notifications that were pending when it was begun to count."""
        # Of requests:
        self.requests = 0
        """Notifications that were accepted."""
        self.refused: Counter[str] = Counter()
        self.unwanted = 0
        self.handed_on = 0
        self.accepted_again = 0
        """Notifications of a request that had been accepted before, and whose id was forgotten."""
        self.reached_twice = 0
        self.delivery_times = Durations()
        """Of the requests that were delivered, from their acceptance on."""
        self.retry_delays = Durations()
        self.counted = counted
        self._prices = {name: price for name, price in (prices or {}).items() if price}

    def fold(self, events: Mapping[type, Sequence[Any]]) -> None:
        """Take in events of notifications, sorted by type; requests are counted separately."""
        counts = self.counts
        for kind, of_kind in events.items():
            counts[kind] += len(of_kind)
        sent: Sequence[NotificationSent] = events.get(NotificationSent, ())
        failed: Sequence[NotificationFailed] = events.get(NotificationFailed, ())
        self.retry_delays.extend(
            [event.next_retry_at_ns - event.at_ns for event in failed if event.next_retry_at_ns is not None]
        )
        # A ChannelFault uses up no attempt: it carries the number of the one before.
        self.first_attempts += len([1 for event in sent if event.attempt == 1])
        self.first_attempts += len([1 for event in failed if event.attempt == 1 and event.kind != "ChannelFault"])
        if self.counted.upstreams:
            self.upstream_requests.update([event.layer for event in events.get(UpstreamRequested, ())])
        if self.counted.hedges:
            self.hedges += sum([event.hedges for event in sent]) + sum([event.hedges for event in failed])
        if self.counted.fallbacks:
            self.fallbacks += sum([event.instead_of is not None for event in events.get(NotificationRequested, ())])
        if self.counted.refusals:
            self.refused_here += sum([event.refused for event in failed])
        if self.counted.endpoints:
            marks = [event.endpoint for event in failed if event.endpoint is not None]
            self.endpoints_disabled += sum([mark.state is EndpointState.DISABLED for mark in marks])
        if self._prices:
            self._charge(sent)
            self._charge([event for event in failed if not event.refused])

    def _charge(self, attempts: Sequence[NotificationSent | NotificationFailed]) -> None:
        for event in attempts:
            self.cost += self._prices.get(event.provider or PRIMARY, 0.0) * (1 + event.hedges)

    def interrupt(self, provider: str) -> None:
        self.interrupted += 1
        self.cost += self._prices.get(provider, 0.0)


class DeadLetters:
    __slots__ = ("peak", "size")

    def __init__(self) -> None:
        self.size = 0
        self.peak = 0

    def change(self, by: int) -> None:
        self.size += by
        self.peak = max(self.peak, self.size)


class Figures:
    """The metrics of some tallies together, and of the dead letters that are theirs."""

    def __init__(self, tallies: Sequence[Tally], dead_letters: DeadLetters) -> None:
        self._tallies = tallies
        self._dead_letters = dead_letters
        self._layers = max((tally.counted.upstreams for tally in tallies), default=0)
        self._has_endpoints = any(tally.counted.endpoints for tally in tallies)

    def _count(self, *kinds: type) -> int:
        return sum(tally.counts[kind] for tally in self._tallies for kind in kinds)

    def _sum(self, name: str) -> int:
        return sum(getattr(tally, name) for tally in self._tallies)

    def _together(self, name: str) -> Durations:
        first, *others = (getattr(tally, name) for tally in self._tallies)
        together: Durations = first.plus(others) if others else first
        return together

    def summary(self, simulated_ns: int, within_s: Mapping[str, float]) -> dict[str, Any]:
        """Return the metrics of a run, or a part of it, that has lasted so long, as the summary names them."""
        counts, delivery = self.counts(), self._delivery(within_s)
        simulated_s = simulated_ns / NS_PER_S
        return {
            **delivery,
            **counts,
            "cost": sum(tally.cost for tally in self._tallies),
            "throughput_per_s": counts["sent"] / simulated_s if simulated_s else None,
            "retry_amplification": self.retry_amplification,
            "retry_delay_s": self._together("retry_delays").statistics(),
            "dlq": {
                "final": self.dlq_size,
                "peak": self.dlq_peak,
                "growth_per_min": self.dlq_size / (simulated_s / 60) if simulated_s else None,
            },
            **({"upstream_requests": self._count(UpstreamRequested)} if self._layers else {}),
            **({"requests_by_layer": self._by_layer(counts["requests"])} if self._layers > 1 else {}),
            **({"endpoints_disabled": self._sum("endpoints_disabled")} if self._has_endpoints else {}),
        }

    def _by_layer(self, requests: int) -> dict[str, int]:
        behind = range(1, self._layers + 1)
        found = {str(layer): sum(tally.upstream_requests[layer] for tally in self._tallies) for layer in behind}
        return {"0": requests, **found}

    def _delivery(self, within_s: Mapping[str, float]) -> dict[str, Any]:
        times = self._together("delivery_times")
        has_own_actors = any(tally.counted.own_actors for tally in self._tallies)
        whys = ("down", "overloaded", *(["unhandled"] if has_own_actors else []))
        refused = {why: sum(tally.refused[why] for tally in self._tallies) for why in whys}
        lost, unwanted, handed_on = sum(refused.values()), self._sum("unwanted"), self._sum("handed_on")
        accepted = self._sum("requests") - self._sum("accepted_again")
        offered, delivered = accepted - handed_on + lost - unwanted, times.count
        return {
            "offered": offered,
            "delivered": delivered,
            "refused": refused,
            "unwanted": unwanted,
            "handed_on": handed_on,
            "reached_twice": self._sum("reached_twice"),
            "sent_fraction": delivered / offered if offered else None,
            "delivery_time_s": {**times.quantiles_of(offered), NEVER: offered - delivered},
            "delivered_within": {
                name: times.at_most(ns(seconds)) / offered if offered else None for name, seconds in within_s.items()
            },
            "sent_time_s": times.mean_and_max(),
        }

    def counts(self) -> dict[str, int]:
        """Return the metrics that are counts of notifications and attempts, as the summary names them."""
        accepted = self._count(NotificationRequested)
        sent = self._count(NotificationSent)
        suppressed = self._count(NotificationSuppressed)
        dead_lettered = self._count(NotificationMovedToDeadLetter) - self._count(NotificationRedriven)
        attempts, hedges, interrupted = self._attempts, self._sum("hedges"), self._sum("interrupted")
        return {
            "accepted": accepted,
            "sent": sent,
            "dead_lettered": dead_lettered,
            "suppressed": suppressed,
            "in_flight": self._sum("pending_before") + accepted - sent - suppressed - dead_lettered,
            "attempts": attempts,
            "retries": attempts - self._sum("first_attempts"),
            "hedges": hedges,
            "interrupted": interrupted,
            "requests": attempts - self._sum("refused_here") + hedges + interrupted,
            "fallbacks": self._sum("fallbacks"),
            "deferred": self._count(NotificationDeferred),
            "duplicates": self._count(DuplicateIgnored),
        }

    @property
    def refused(self) -> int:
        return sum(sum(tally.refused.values()) for tally in self._tallies)

    @property
    def _attempts(self) -> int:
        return self._count(NotificationSent, NotificationFailed)

    @property
    def retry_amplification(self) -> float | None:
        """Attempts for each first one, of a notification or after its redrive; None without any."""
        first_attempts = self._sum("first_attempts")
        return self._attempts / first_attempts if first_attempts else None

    @property
    def dlq_size(self) -> int:
        """How many dead letters are neither redriven nor discarded."""
        return self._dead_letters.size

    @property
    def dlq_peak(self) -> int:
        """The largest that this has been."""
        return self._dead_letters.peak

    def later_than(self, limit_ns: int) -> int:
        times = self._together("delivery_times")
        return times.count - times.at_most(limit_ns)

    def delivery_time_so_far(self, share: float) -> float | None:
        """Return the time in which `share` of the deliveries took place, within 0.4%, in seconds; None without any."""
        first, *others = (tally.delivery_times.histogram() for tally in self._tallies)
        return (first.plus(others) if others else first).quantile(share)
