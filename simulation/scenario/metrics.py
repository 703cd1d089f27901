"""The shape of a run's summary: every key, the kind of metric under it, and its formula.

The one place for code that builds a summary, checks an expectation against it, or documents it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from actors.kernel.node import whole_and_nodes
from actors.messages import NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.settings.channel import UPSTREAM_LAYERS_MAX
from actors.settings.quantities import write_duration


class MetricKind(StrEnum):
    """The kind of a value of the summary."""

    COUNT = "count"
    """A whole number."""

    SHARE = "share"
    """Between 0 and 1; null where there is nothing to measure."""

    RATIO = "ratio"
    """A number; null where there is nothing to measure."""

    SECONDS = "seconds"
    """A duration; null where there is nothing to measure."""

    QUANTILE = "seconds or never"
    """A duration that a share of all does not exceed; null where there is nothing to measure, and where it is never."""

    PER_SECOND = "per second"
    PER_MINUTE = "per minute"
    MONEY = "money"
    """In the unit of the scenario's prices."""
    TEXT = "text"
    LIST = "list"
    SEED = "seed"
    """A number that was given, and not a result."""
    VERSION = "version"
    """Of the form that the summary has."""


NOT_METRICS = (MetricKind.TEXT, MetricKind.LIST, MetricKind.SEED, MetricKind.VERSION)
"""The kinds of values of the summary that cannot be expected, compared or searched for."""

RANGES = {**dict.fromkeys(MetricKind, (0.0, math.inf)), MetricKind.SHARE: (0.0, 1.0), MetricKind.RATIO: (1.0, math.inf)}
"""The least and the most that a metric of each kind can be."""

DURATIONS = (MetricKind.SECONDS, MetricKind.QUANTILE)

Shape: TypeAlias = "dict[str, MetricKind | Shape]"

VERSION = 2
"""Of the summary's document; 1 had no `offered`."""

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}

WITHIN_S = {"1s": 1.0, "10s": 10.0, "30s": 30.0, "1m": 60.0, "5m": 300.0, "1h": 3600.0}
"""The times within which every summary says how many were delivered."""

WITHIN = "delivered_within"
WINDOWS = "windows"
NEVER = "never"

STATISTICS: Shape = dict.fromkeys(("mean", *QUANTILES, "max"), MetricKind.SECONDS)

COUNTS: Shape = dict.fromkeys(
    (
        "accepted",
        "sent",
        "dead_lettered",
        "suppressed",
        "in_flight",
        "attempts",
        "retries",
        "hedges",
        "interrupted",
        "requests",
        "fallbacks",
        "deferred",
        "duplicates",
    ),
    MetricKind.COUNT,
)
"""The counts of notifications, and of actions for them."""

DELIVERY: Shape = {
    "offered": MetricKind.COUNT,
    "delivered": MetricKind.COUNT,
    "refused": {"down": MetricKind.COUNT, "overloaded": MetricKind.COUNT},
    "unwanted": MetricKind.COUNT,
    "handed_on": MetricKind.COUNT,
    "reached_twice": MetricKind.COUNT,
    "sent_fraction": MetricKind.SHARE,
    "delivery_time_s": {**dict.fromkeys(QUANTILES, MetricKind.QUANTILE), NEVER: MetricKind.COUNT},
    WITHIN: dict.fromkeys(WITHIN_S, MetricKind.SHARE),
    "sent_time_s": dict.fromkeys(("mean", "max"), MetricKind.SECONDS),
}
"""The metrics of requests: a notification together with its fallbacks."""

OTHERS: Shape = {
    "cost": MetricKind.MONEY,
    "throughput_per_s": MetricKind.PER_SECOND,
    "retry_amplification": MetricKind.RATIO,
    "retry_delay_s": STATISTICS,
    "dlq": {"final": MetricKind.COUNT, "peak": MetricKind.COUNT, "growth_per_min": MetricKind.PER_MINUTE},
}

UPSTREAM: Shape = {
    "upstream_requests": MetricKind.COUNT,
    "requests_by_layer": dict.fromkeys(map(str, range(UPSTREAM_LAYERS_MAX + 1)), MetricKind.COUNT),
}
"""The requests that providers send upstream, beside the counts; by layer where there are several layers."""


def _upstream(layers: int) -> Shape:
    by_layer: Shape = {"requests_by_layer": dict.fromkeys(map(str, range(layers + 1)), MetricKind.COUNT)}
    several = by_layer if layers > 1 else {}
    return {"upstream_requests": MetricKind.COUNT, **several} if layers else {}


ENDPOINTS: Shape = {"endpoints_disabled": MetricKind.COUNT}
"""Likewise the endpoints that were disabled since all their attempts failed."""

OWN_ACTORS: Shape = {
    "refused": {"down": MetricKind.COUNT, "overloaded": MetricKind.COUNT, "unhandled": MetricKind.COUNT}
}
"""The reasons of refusals where there are own actors, in place of those of every run."""

METRICS: Shape = {**DELIVERY, **COUNTS, **OTHERS}
"""The metrics of the whole run, and again of each entry of the workload, each class and each channel."""

PEAKS_OF_PROVIDER: Shape = dict.fromkeys(("requests_per_s", "in_flight"), MetricKind.COUNT)

PEAKS: Shape = {
    **PEAKS_OF_PROVIDER,
    "waiting": dict.fromkeys(("limit", "quota", "slots", "breaker", "backoff"), MetricKind.COUNT),
}
"""Of the whole run, and of each channel."""

QUEUE: Shape = {"queue": dict.fromkeys(("peak", "abandoned", "turned_away"), MetricKind.COUNT)}
"""Of each provider whose queue has a bound, and of its channel."""

BREAKER: Shape = {"opened": MetricKind.COUNT, "open_s": MetricKind.SECONDS}

SHARED_BREAKER: Shape = {"opened_by_others": MetricKind.COUNT}
"""Beside these, where nodes share breakers."""

CHANNEL: Shape = {**METRICS, "peaks": PEAKS, "breaker": BREAKER}

PROVIDER: Shape = {"attempts": MetricKind.COUNT, "sent": MetricKind.COUNT, "peaks": PEAKS_OF_PROVIDER}
"""Of each provider of a channel that has several."""

NODE: Shape = dict.fromkeys(
    ("accepted", "sent", "dead_lettered", "suppressed", "attempts", "taken_over"), MetricKind.COUNT
)
"""Of each node of a fleet, by its number."""

FAULT: Shape = {"backlog_cleared_s": MetricKind.QUANTILE}
"""The metrics of each fault that ends, by its number. Null is never: there is no count of `never` beside it."""

MEANINGS = {
    "simulated_s": "how long the run lasted on its own clock",
    "offered": "requests: accepted - handed_on + refused - unwanted. A request is a notification together with what "
    "goes out in its place on other channels",
    "delivered": "requests of which one notification was sent at least",
    "refused.down": "arrivals while the process was down, or not durably accepted when it died or the run ended; they "
    "are lost",
    "refused.overloaded": "arrivals for which there was no room; they are lost",
    "refused.unhandled": "events that an own actor had not handled when it raised or crashed, or the run ended; each "
    "counts as one request, of no channel",
    "unwanted": "requests not sent since their user has switched the channel off, or an operator has suppressed the "
    "address; not those to an address of which a provider said that it is gone",
    "handed_on": "requests that another channel took over",
    "reached_twice": "requests that a provider delivered more than once: of which more than one notification was sent, "
    "or which was sent again after an attempt that was delivered although it timed out or was `interrupted`; copies of "
    "one hedged attempt are one",
    "accepted": "notifications that were accepted; one that comes again with the same id is a duplicate",
    "sent": "notifications that were sent",
    "dead_lettered": "notifications that ended in the dead letter queue, discarded ones included, redriven ones not",
    "suppressed": "notifications not sent since their user has switched the channel off, or the address is gone",
    "in_flight": "notifications that had not ended when the run did",
    "attempts": "attempts to send, failed ones and those that were refused on this side included",
    "retries": "attempts other than the first of a notification, and the first after each redrive of it",
    "hedges": "copies that were sent because an answer was late, or another send had failed",
    "interrupted": "requests to providers whose answer no one took, as the process or an actor crashed; no attempts",
    "requests": "requests that reached the providers: attempts not refused on this side, plus hedges and interrupted",
    "upstream_requests": "requests of the providers to their upstreams, retries included",
    "requests_by_layer": "requests to each layer, where there are several behind a provider: 0 is the provider itself, "
    "and as requests, 1 what it asks",
    "endpoints_disabled": "how often an endpoint was disabled, as every attempt at it had failed",
    "cost": "requests times the price of their provider",
    "fallbacks": "notifications that were accepted in place of one on another channel",
    "deferred": "waits for a limit, an open breaker or the end of quiet hours, each counted once, however long",
    "duplicates": "notifications that came again with an id that is remembered",
    "sent_fraction": "delivered / offered",
    "throughput_per_s": "sent / simulated_s",
    "retry_amplification": "attempts / (attempts - retries); 1 means that nothing was retried, redriven or not",
    "delivery_time_s": "time of the offered requests from the first acceptance until the first notification was sent",
    "delivery_time_s.never": "offered - delivered: longer than any time",
    "delivered_within": "requests delivered within this time / offered",
    "sent_time_s": "as delivery_time_s, of delivered requests only",
    "retry_delay_s": "time from the end of a failed attempt until its retry was due",
    "dlq.final": "dead letters at the end of the run",
    "dlq.peak": "the most dead letters there were at any instant",
    "dlq.growth_per_min": "dlq.final / minutes of the run",
    "peaks.requests_per_s": "the most requests to providers that started in one whole second of the run",
    "peaks.in_flight": "the most attempts at providers at any instant",
    "waiting.limit": "the most attempts that waited for the limit of their user at any instant",
    "waiting.quota": "the most attempts that waited for the quota or the adaptive rate",
    "waiting.slots": "the most attempts that waited for a slot, as max_in_flight has them",
    "waiting.breaker": "the most attempts that waited for an open breaker, or behind attempts that had waited for it",
    "waiting.backoff": "the most notifications that waited for their retry to be due",
    "faults.backlog_cleared_s": "from the end of a fault until no more of what was accepted before that end is pending "
    "on the channels that it hits than was when the fault began; null if that never comes",
    "queue.peak": "the most attempts that waited at any instant for the capacity of the provider",
    "queue.abandoned": "attempts on which the work began when their sender had stopped waiting for the answer",
    "queue.turned_away": "attempts that found the queue full, and were refused or dropped",
    "breaker.opened": "how often the breaker opened, from half-open too",
    "breaker.opened_by_others": "how often of these it opened since other nodes had said that theirs was open",
    "breaker.open_s": "how long the breaker was open, half-open not included",
    "nodes.accepted": "notifications that this node accepted",
    "nodes.sent": "notifications that this node sent",
    "nodes.dead_lettered": "notifications that ended in the dead letter queue at this node, less those it redrove",
    "nodes.suppressed": "notifications that this node suppressed",
    "nodes.attempts": "attempts of this node",
    "nodes.taken_over": "notifications that this node took over from a node that was gone",
    "providers.attempts": "attempts that ended at this provider",
    "providers.sent": "notifications that this provider sent",
}
"""The meaning of each metric, by its path without the names of entries, classes, channels, breakers and providers; a
group of statistics shares one sentence."""


MOVED = {
    "delivery_time_s.mean": "sent_time_s.mean, which is of those delivered only",
    "delivery_time_s.max": "sent_time_s.max, which is of those delivered only",
    "refused_arrivals": "refused.down and refused.overloaded",
}
"""The metrics of the first version that were renamed, each with the metrics that replace it."""


class Window(NamedTuple):
    """A part of a run that has metrics of its own."""

    from_s: float
    to_s: float | None
    """None: to the end of the run."""

    @property
    def name(self) -> str:
        """The name of the window in the summary, such as `5m,10m` or `5m,end`."""
        return f"{write_duration(self.from_s)},{'end' if self.to_s is None else write_duration(self.to_s)}"


@dataclass(frozen=True)
class Outline:
    """The parts of a scenario by which its metrics are split: channels, providers and classes, for example."""

    providers: tuple[tuple[NotificationChannel, tuple[str, ...]], ...]
    """The channels that it uses, in order, and the names of each one's providers."""

    entries: tuple[str, ...] = ()
    """The names of the entries of the workload."""

    classes: tuple[str, ...] = ()
    """The classes of traffic that these have."""

    faults: tuple[int, ...] = ()
    """The numbers of the faults that end."""

    within_s: tuple[float, ...] = ()
    """The times for which `expect` wants to know how many were delivered within them."""

    windows: tuple[Window, ...] = ()
    """The parts of the run that `expect` has bounds for."""

    nodes: int = 1
    """How many processes of the service there are."""

    upstreams: int = 0
    """How many layers of upstreams the providers have."""

    shares_breakers: bool = False
    """Whether nodes share breakers."""

    has_endpoints: bool = False
    """Whether endpoints are disabled after failures."""

    has_own_actors: bool = False

    queues: tuple[tuple[NotificationChannel, tuple[str, ...]], ...] = ()
    """The channels that have providers whose queue has a bound, and the names of these."""

    @property
    def all_within_s(self) -> dict[str, float]:
        """The times within which deliveries are counted, by name."""
        return WITHIN_S | {write_duration(seconds): seconds for seconds in sorted(self.within_s)}


def entry_names(entries: Iterable[tuple[str | None, str]]) -> tuple[str, ...]:
    """Return the names of the entries of a workload."""
    entries = list(entries)
    unnamed = [default for given, default in entries if given is None]
    numbers: dict[str, int] = {}
    names = []
    for given, default in entries:
        if given is None and unnamed.count(default) > 1:
            number = numbers[default] = numbers.get(default, 0) + 1
            names.append(f"{default}-{number}")
        else:
            names.append(default if given is None else given)
    return tuple(names)


@cache
def summary_shape(outline: Outline) -> Shape:
    """Return the shape of the summary of a run, keys in the order of the document. Not to be changed."""
    within: Shape = {WITHIN: dict.fromkeys(outline.all_within_s, MetricKind.SHARE)}
    upstream, endpoints = _upstream(outline.upstreams), ENDPOINTS if outline.has_endpoints else {}
    own_actors = OWN_ACTORS if outline.has_own_actors else {}
    figures = {**METRICS, **own_actors, **within, **upstream, **endpoints}
    breaker: Shape = {**BREAKER, **(SHARED_BREAKER if outline.shares_breakers else {})}
    channels: Shape = {}
    queues = dict(outline.queues)
    for channel, names in outline.providers:
        bounded = queues.get(channel, ())
        each: Shape = {name: PROVIDER | QUEUE if name in bounded else PROVIDER for name in names}
        several: Shape = {"providers": each} if len(names) > 1 else {}
        queue = QUEUE if bounded else {}
        channels[channel.value] = {**figures, "peaks": PEAKS, "breaker": breaker, **queue, **several}
    breakers: Shape = {
        each: breaker
        for channel, names in outline.providers
        for number, name in enumerate(names)
        for each in whole_and_nodes(breaker_name(channel, number, name), outline.nodes)
    }
    told_apart: Shape = {
        "workload": dict.fromkeys(outline.entries, figures),
        "classes": dict.fromkeys(outline.classes, figures),
    }
    part: Shape = {
        **figures,
        "breaker": breakers,
        **told_apart,
        "channels": {channel.value: {**figures, "breaker": breaker} for channel, _ in outline.providers},
    }
    return {
        "version": MetricKind.VERSION,
        "scenario": MetricKind.TEXT,
        "seed": MetricKind.SEED,
        "runtime": MetricKind.TEXT,
        "simulated_s": MetricKind.SECONDS,
        **figures,
        "peaks": PEAKS,
        "breaker": breakers,
        **({"nodes": {str(1 + node): NODE for node in range(outline.nodes)}} if outline.nodes > 1 else {}),
        "faults": {str(number): FAULT for number in outline.faults},
        **told_apart,
        "channels": channels,
        **({WINDOWS: dict.fromkeys([window.name for window in outline.windows], part)} if outline.windows else {}),
        "worst": MetricKind.LIST,
        "defaults": MetricKind.LIST,
        "expectations": MetricKind.LIST,
        "digest": MetricKind.TEXT,
    }


def metric_kind(outline: Outline, path: str) -> MetricKind:
    """Return the kind of metric at a path, such as ``dlq.peak``, of the summary of a run."""
    part: MetricKind | Shape = summary_shape(outline)
    for key in keys_of(path):
        assert not isinstance(part, MetricKind)
        part = part[key]
    assert isinstance(part, MetricKind)
    return part


@cache
def kind_of(path: str) -> MetricKind | None:
    """Return the kind of a metric by the end of its path, which is the same for the run, an entry, class or channel.

    None: it is a metric of peaks, breakers or providers, or none of this version.
    """
    keys = metric_keys(path)
    if keys[-2:-1] == [WITHIN]:
        return MetricKind.SHARE
    group = {**METRICS, **OWN_ACTORS}.get(keys[-2]) if len(keys) > 1 else None
    found = (
        group.get(keys[-1]) if isinstance(group, dict) else {**FAULT, **UPSTREAM, **ENDPOINTS, **METRICS}.get(keys[-1])
    )
    return found if isinstance(found, MetricKind) else None


def is_null_never(key: str, never: Any) -> bool:
    """Tell whether a metric that is null is longer than any time, rather than without anything to measure.

    Args:
        key: of the metric, without what is above.
        never: the count of that name beside it, if there is one.
    """
    return key in FAULT or bool(never)


def range_text(kind: MetricKind) -> str:
    """Return the range of metrics of a kind: ``between 0 and 1``."""
    low, high = RANGES[kind]
    if math.isfinite(high):
        return f"between {low:g} and {high:g}"
    return f"{'a whole number of ' if kind is MetricKind.COUNT else ''}at least {low:g}"


def path_of(keys: Iterable[str]) -> str:
    path, above = "", ""
    for key in keys:
        if above in _IN_BRACKETS:
            path += f"({key})"
        else:
            path += f".{key}" if path else key
        above = key
    return path


def keys_of(path: str) -> list[str]:
    """Return the keys of the summary along the path of a metric; `delivered_within(90s)` is two."""
    keys: list[str] = []
    rest = path
    while rest:
        group = next((name for name in _IN_BRACKETS if rest.startswith(f"{name}(")), None)
        if group is not None:
            key, _, rest = rest.removeprefix(f"{group}(").partition(")")
            keys += [group, key]
        else:
            key, _, rest = rest.partition(".")
            keys.append(key)
        rest = rest.removeprefix(".")
    return keys


def metric_keys(path: str) -> list[str]:
    """Return the keys of a metric without names: of a channel, class, entry, window, breaker, provider, node, fault."""
    keys, found = keys_of(path), []
    while keys:
        key, *keys = keys
        apart = key in (WINDOWS, "workload", "classes", "channels")
        if not apart:
            found.append(key)
        if apart or (key in ("breaker", "providers", "nodes", "faults") and len(keys) > 1):
            keys = keys[1:]
    return found


_IN_BRACKETS = (WITHIN, WINDOWS)
"""The groups of the summary whose keys stand in brackets."""
