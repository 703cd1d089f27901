"""The shape of a run's summary: every key, and the kind of metric under it.

The one place for code that builds a summary, checks an expectation against it, or documents it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

from actors.messages import NotificationChannel
from actors.pipeline.lane import breaker_name


class MetricKind(StrEnum):
    """What a value of the summary is."""

    COUNT = "count"
    """A whole number."""

    SHARE = "share"
    """Between 0 and 1; null where there is nothing to measure."""

    RATIO = "ratio"
    """A number; null where there is nothing to measure."""

    SECONDS = "seconds"
    """A duration; null where there is nothing to measure."""

    PER_SECOND = "per second"
    PER_MINUTE = "per minute"
    TEXT = "text"
    LIST = "list"
    SEED = "seed"
    """A number that was given, and not a result."""


NOT_METRICS = (MetricKind.TEXT, MetricKind.LIST, MetricKind.SEED)
"""What is in the summary and cannot be expected, compared or searched for."""

Shape: TypeAlias = "dict[str, MetricKind | Shape]"

STATISTICS: Shape = dict.fromkeys(("mean", "p50", "p90", "p99", "max"), MetricKind.SECONDS)

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
        "requests",
        "fallbacks",
        "deferred",
        "duplicates",
    ),
    MetricKind.COUNT,
)

METRICS: Shape = {
    **COUNTS,
    "sent_fraction": MetricKind.SHARE,
    "throughput_per_s": MetricKind.PER_SECOND,
    "retry_amplification": MetricKind.RATIO,
    "delivery_time_s": STATISTICS,
    "retry_delay_s": STATISTICS,
    "dlq": {"final": MetricKind.COUNT, "peak": MetricKind.COUNT, "growth_per_min": MetricKind.PER_MINUTE},
}
"""What is counted over the whole run, and again for each channel."""

BREAKER: Shape = {"opened": MetricKind.COUNT, "open_s": MetricKind.SECONDS}

CHANNEL: Shape = {**METRICS, "breaker": BREAKER}

PROVIDER: Shape = {"attempts": MetricKind.COUNT, "sent": MetricKind.COUNT}
"""Of each provider of a channel that has several."""

MEANINGS = {
    "refused_arrivals": "arrivals while the process was down, or for which there was no room; they are lost",
    "simulated_s": "how long the run lasted on its own clock",
    "accepted": "notifications that were accepted; one that comes again with the same id is a duplicate",
    "sent": "notifications that were sent",
    "dead_lettered": "notifications that ended in the dead letter queue, discarded ones included, redriven ones not",
    "suppressed": "notifications not sent since their user has switched the channel off, or the address is gone",
    "in_flight": "notifications that had not ended when the run did",
    "attempts": "attempts to send, failed ones and those that were refused on this side included",
    "retries": "attempts other than a notification's first",
    "hedges": "copies that were sent because an answer was late",
    "requests": "what reached the providers: attempts but for those refused on this side, and hedges",
    "fallbacks": "notifications that went on to another channel",
    "deferred": "waits for a limit, an open breaker or the end of quiet hours, each counted once, however long",
    "duplicates": "notifications that came again with an id that is remembered",
    "sent_fraction": "sent / accepted",
    "throughput_per_s": "sent / simulated_s",
    "retry_amplification": "attempts / notifications that were attempted; 1 means that nothing was retried",
    "delivery_time_s": "from acceptance until sent; of a fallback, from the acceptance on the first channel",
    "retry_delay_s": "from the end of a failed attempt until its retry was due",
    "dlq.final": "dead letters at the end of the run",
    "dlq.peak": "the most dead letters there were at any instant",
    "dlq.growth_per_min": "dlq.final / minutes of the run",
    "breaker.opened": "how often it opened, from half-open too",
    "breaker.open_s": "how long it was open, half-open not included",
    "providers.attempts": "attempts that ended at this provider",
    "providers.sent": "notifications that this provider sent",
}
"""What each metric is, by its path without the names of channels, breakers and providers; a group of statistics has one
sentence for all of them."""


def summary_shape(providers: Mapping[NotificationChannel, Sequence[str]]) -> Shape:
    """Return the shape of the summary of a run, keys in the order of the document.

    Args:
        providers: the channels that it uses, in order, and the names of each one's providers.
    """
    channels: Shape = {}
    for channel, names in providers.items():
        several: Shape = {"providers": dict.fromkeys(names, PROVIDER)} if len(names) > 1 else {}
        channels[channel.value] = {**CHANNEL, **several}
    return {
        "scenario": MetricKind.TEXT,
        "seed": MetricKind.SEED,
        "runtime": MetricKind.TEXT,
        "simulated_s": MetricKind.SECONDS,
        "refused_arrivals": MetricKind.COUNT,
        **METRICS,
        "breaker": {
            breaker_name(channel, number, name): BREAKER
            for channel, names in providers.items()
            for number, name in enumerate(names)
        },
        "channels": channels,
        "expectations": MetricKind.LIST,
        "digest": MetricKind.TEXT,
    }


def metric_kind(providers: Mapping[NotificationChannel, Sequence[str]], path: str) -> MetricKind:
    """Return the kind of metric at a path, such as ``dlq.peak``, of the summary of a run."""
    part: MetricKind | Shape = summary_shape(providers)
    for key in path.split("."):
        assert not isinstance(part, MetricKind)
        part = part[key]
    assert isinstance(part, MetricKind)
    return part
