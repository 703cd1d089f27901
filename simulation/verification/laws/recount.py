"""Figures of a run, counted once more: from its whole history, and as their meaning says it, whatever that takes.

Nothing here is taken from what counts them while a run goes on (`simulation.results`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from actors.endpoints import EndpointState
from actors.instants import NEVER_NS, NS_PER_S
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    UpstreamRequested,
)
from actors.outcomes import ChannelFault
from actors.pipeline.readiness import ADDRESS_GONE

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}

PENDING: dict[type, int] = {
    NotificationRequested: 1,
    NotificationRedriven: 1,
    NotificationSent: -1,
    NotificationSuppressed: -1,
    NotificationMovedToDeadLetter: -1,
}
"""The change of the number in flight by each kind of event."""
LETTERS: dict[type, int] = {NotificationMovedToDeadLetter: 1, NotificationRedriven: -1, DeadLetterDiscarded: -1}

Figures: TypeAlias = dict[str, float | None]
"""By their paths in a summary, such as ``dlq.final``."""


# ── of what happened ────────────────────────────────────────────────────────────────────────────────────────────────


def of_events(events: Mapping[type, Sequence[Any]], before: Mapping[type, int], lasts_ns: int) -> Figures:
    """Return the figures of what happened to notifications in some time."""
    count = Counter({kind: len(own) for kind, own in events.items()})
    failed, sent = events.get(NotificationFailed, ()), events.get(NotificationSent, ())
    attempts = [*sent, *failed]
    first = sum(each.attempt == 1 for each in attempts) - sum(map(_keeps_the_first_number, failed))
    delays = [each.next_retry_at_ns - each.at_ns for each in failed if each.next_retry_at_ns is not None]
    layers = Counter(event.layer for event in events.get(UpstreamRequested, ()))
    left = sum(change * (before.get(kind, 0) + count[kind]) for kind, change in LETTERS.items())
    found: Figures = {
        "accepted": count[NotificationRequested],
        "sent": len(sent),
        "suppressed": count[NotificationSuppressed],
        "dead_lettered": count[NotificationMovedToDeadLetter] - count[NotificationRedriven],
        "in_flight": sum(change * (before.get(kind, 0) + count[kind]) for kind, change in PENDING.items()),
        "attempts": len(attempts),
        "retries": len(attempts) - first,
        "hedges": sum(each.hedges for each in attempts),
        "fallbacks": sum(each.instead_of is not None for each in events.get(NotificationRequested, ())),
        "deferred": count[NotificationDeferred],
        "duplicates": count[DuplicateIgnored],
        "upstream_requests": count[UpstreamRequested],
        **{f"requests_by_layer.{layer}": number for layer, number in layers.items()},
        "endpoints_disabled": sum(
            each.endpoint is not None and each.endpoint.state is EndpointState.DISABLED for each in failed
        ),
        "throughput_per_s": _ratio(len(sent), lasts_ns / NS_PER_S),
        "retry_amplification": _ratio(len(attempts), first),
        "dlq.final": left,
        "dlq.growth_per_min": _ratio(left, lasts_ns / NS_PER_S / 60),
    }
    found |= {f"retry_delay_s.{name}": value for name, value in _quantiles(delays, len(delays)).items()}
    found |= {f"retry_delay_s.{name}": value for name, value in _mean_and_max(delays).items()}
    return found


def most_letters(events: Sequence[NotificationEvent], before: Sequence[NotificationEvent]) -> tuple[int, int]:
    """Return between which numbers the most dead letters at once are: in the order of the events, and in
    that of their instants, where of one instant those that leave go last. What takes its time to be durable is recorded
    behind what has happened since."""
    size = upper_size = most = upper = sum(LETTERS.get(type(event), 0) for event in before)
    changes = [(event.at_ns, LETTERS[type(event)]) for event in events if type(event) in LETTERS]
    for _, change in changes:
        size += change
        most = max(most, size)
    for _, change in sorted(changes, key=lambda each: (each[0], -each[1])):
        upper_size += change
        upper = max(upper, upper_size)
    return min(most, upper), max(most, upper)


def _keeps_the_first_number(event: NotificationFailed) -> bool:
    """Tell whether a number 1 was no attempt, as its channel failed: the next attempt has the same number."""
    return event.attempt == 1 and event.kind == ChannelFault.__name__


# ── of requests ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Request:
    """A notification, and what goes out in its place on other channels."""

    first_id: str
    channel: NotificationChannel
    """The one that has delivered it first, or else that has taken it over last."""
    user_id: str
    since_ns: int
    """Since when its user waits."""
    ids: set[str] = field(default_factory=set)
    """The ids of its notifications."""
    has_others: bool = False
    """Whether it has gone on to another channel."""
    is_wanted: bool = True
    deliveries: int = 0
    took_ns: int = 0
    handed_on: dict[NotificationChannel, int] = field(default_factory=dict)
    """How often each channel has handed it on; less so often as one has delivered it after all."""

    def hand_on(self, change: int) -> None:
        self.handed_on[self.channel] = self.handed_on.get(self.channel, 0) + change


class Requests:
    def __init__(self) -> None:
        self.of: dict[str, Request] = {}
        """By the id of each of their notifications."""
        self.since_ns: dict[str, int] = {}
        """Since when the user of each notification waits."""

    def all(self) -> list[Request]:
        return list({id(request): request for request in self.of.values()}.values())

    def follow(self, event: NotificationEvent) -> None:
        request = self.of.get(event.notification_id)
        if isinstance(event, NotificationRequested):
            since_ns = event.at_ns if event.waited_since_ns is None else event.waited_since_ns
            self.since_ns[event.notification_id] = since_ns
            if event.instead_of is not None:
                request = self.of[event.instead_of]
                request.has_others = True
                if not request.deliveries and request.channel is not event.channel:
                    request.hand_on(1)
                    request.channel = event.channel
            elif request is None:
                request = Request(event.notification_id, event.channel, event.user_id, since_ns)
            else:
                request.is_wanted = True  # as far as is known: it comes again
            self.of[event.notification_id] = request
            request.ids.add(event.notification_id)
        elif request is None:
            return
        elif isinstance(event, NotificationSent):
            request.deliveries += 1
            if request.deliveries == 1:
                request.took_ns = event.at_ns - event.requested_at_ns
                if request.channel is not event.channel:  # which had handed it on
                    request.hand_on(1)
                    request.channel = event.channel
                    request.hand_on(-1)
        elif isinstance(event, NotificationSuppressed):
            request.is_wanted = event.reason == ADDRESS_GONE or request.has_others or request.deliveries > 0


def of_requests(requests: Sequence[Request], refused: int, handed_on: int, within_s: Mapping[str, float]) -> Figures:
    """Return the figures of requests that were accepted, beside so many that were refused."""
    wanted = [request for request in requests if request.is_wanted]
    times = sorted(request.took_ns for request in requests if request.deliveries)
    offered = len(wanted) + refused
    found: Figures = {
        "offered": offered,
        "delivered": len(times),
        "unwanted": len(requests) - len(wanted),
        "handed_on": handed_on,
        "sent_fraction": _ratio(len(times), offered),
        "delivery_time_s.never": offered - len(times),
    }
    found |= {f"delivery_time_s.{name}": value for name, value in _quantiles(times, offered).items()}
    found |= {f"sent_time_s.{name}": value for name, value in _mean_and_max(times).items()}
    for name, limit_s in within_s.items():
        found[f"delivered_within.{name}"] = _ratio(bisect_right(times, limit_s * NS_PER_S), offered)
    return found


def worst(requests: Iterable[Request], party_of: Callable[[Request], str | None]) -> list[dict[str, Any]]:
    """Return the ten parties with the most requests that were not delivered within a minute, the worst first."""
    offered, late = Counter[str](), Counter[str]()
    for request in requests:
        party = party_of(request)
        if party is not None and request.is_wanted:
            offered[party] += 1
            late[party] += not request.deliveries or request.took_ns > 60 * NS_PER_S
    names = sorted((name for name in late if late[name]), key=lambda name: (-late[name], name))[:10]
    return [
        {"name": name, "offered": offered[name], "late": late[name], "late_fraction": late[name] / offered[name]}
        for name in names
    ]


# ── of instants ─────────────────────────────────────────────────────────────────────────────────────────────────────


def most_at_once(spans_ns: Iterable[tuple[int, int]]) -> int:
    """Return how many spans of time there are at once at most; one that ends as another begins is over."""
    spans = list(spans_ns)
    ends = sorted(ends_ns for _, ends_ns in spans)
    most = over = 0
    for begun, begins_ns in enumerate(sorted(begins_ns for begins_ns, _ in spans), start=1):
        while ends[over] <= begins_ns:
            over += 1
            if over == len(ends):
                return most
        most = max(most, begun - over)
    return most


def backlog_cleared_s(events: Sequence[NotificationEvent], begins_ns: int, ends_ns: int, run_ns: int) -> float | None:
    """Return how long after the end of a fault no more of what was accepted before was pending than as it began.

    None: it never was, or the fault has not ended in the run. The events are those that change what is pending, in the
    order of their instants: what lay before an actor that was down is recorded late.
    """
    if run_ns < ends_ns:
        return None
    younger: set[str] = set()
    """The ids that were accepted after the end of the fault."""
    before = sum(PENDING[type(event)] for event in events if event.at_ns < begins_ns)
    left = sum(PENDING[type(event)] for event in events if event.at_ns < ends_ns)
    if left <= before:
        return 0.0
    for event in events:
        if event.at_ns < ends_ns:
            continue
        if isinstance(event, NotificationRequested):
            since_ns = event.at_ns if event.waited_since_ns is None else event.waited_since_ns
            if min(event.at_ns, since_ns) >= ends_ns:  # be it for a later instant
                younger.add(event.notification_id)
        if event.notification_id not in younger:
            left += PENDING[type(event)]
            if left <= before:
                return (event.at_ns - ends_ns) / NS_PER_S
    return None


_OPEN = (BreakerState.OPEN, BreakerState.FORCED_OPEN)


def of_breaker(transitions: Iterable[BreakerTransitioned], from_ns: int, to_ns: int) -> Figures:
    """Return how often a breaker has opened in a part of the run, for how long it was open, and how often others have
    opened it: of several together, all hosts' and all nodes'."""
    opened = by_others = open_ns = 0
    apart: defaultdict[Any, list[BreakerTransitioned]] = defaultdict(list)
    for each in transitions:
        apart[each.node, each.host].append(each)
    for own in apart.values():
        for number, each in enumerate(own):
            if each.to_state not in _OPEN or each.at_ns > to_ns:
                continue
            until_ns = own[number + 1].at_ns if number + 1 < len(own) else NEVER_NS
            open_ns += max(0, min(until_ns, to_ns) - max(each.at_ns, from_ns))
            if from_ns <= each.at_ns:
                opened += 1
                by_others += each.cause == "others-open"
    return {"opened": opened, "open_s": open_ns / NS_PER_S, "opened_by_others": by_others}


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ratio(count: float, of: float) -> float | None:
    return count / of if of else None


def _mean_and_max(times_ns: Sequence[int]) -> Figures:
    if not times_ns:
        return {"mean": None, "max": None}
    return {"mean": sum(times_ns) / len(times_ns) / NS_PER_S, "max": max(times_ns) / NS_PER_S}


def _quantiles(times_ns: Sequence[int], of: int) -> Figures:
    """Return quantiles of `of` times, those not in `times_ns` being longer than any: linear between two neighbours, and
    None where one of them is missing."""
    ordered, found = sorted(times_ns), Figures()
    for name, share in QUANTILES.items():
        place = share * (of - 1)
        around = [math.floor(place), math.ceil(place)] if of else []
        if not of or around[1] >= len(ordered):
            found[name] = None
        else:
            low, high = (ordered[each] for each in around)
            found[name] = (low + (high - low) * (place - around[0])) / NS_PER_S
    return found
