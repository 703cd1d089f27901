"""The shape of a run's summary: every key, and what kind of figure stands under it.

One place for those who build a summary, check an expectation against it, or document it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias

from actors.messages import NotificationChannel


class Figure(StrEnum):
    """What a value of the summary is."""

    COUNT = "count"
    """A whole number."""

    SHARE = "share"
    """Between 0 and 1; null over nothing."""

    RATIO = "ratio"
    """A number; null over nothing."""

    SECONDS = "seconds"
    """A duration; null over nothing."""

    PER_SECOND = "per second"
    PER_MINUTE = "per minute"
    TEXT = "text"
    LIST = "list"


Shape: TypeAlias = "dict[str, Figure | Shape]"

STATISTICS: Shape = dict.fromkeys(("mean", "p50", "p90", "p99", "max"), Figure.SECONDS)

COUNTS: Shape = dict.fromkeys(
    (
        "accepted",
        "sent",
        "dead_lettered",
        "suppressed",
        "in_flight",
        "attempts",
        "retries",
        "deferred",
        "duplicates",
    ),
    Figure.COUNT,
)

FIGURES: Shape = {
    **COUNTS,
    "sent_fraction": Figure.SHARE,
    "throughput_per_s": Figure.PER_SECOND,
    "retry_amplification": Figure.RATIO,
    "delivery_time_s": STATISTICS,
    "retry_delay_s": STATISTICS,
    "dlq": {"final": Figure.COUNT, "peak": Figure.COUNT, "growth_per_min": Figure.PER_MINUTE},
}
"""What is counted over the whole run, and again for each channel."""

BREAKER: Shape = {"opened": Figure.COUNT, "open_s": Figure.SECONDS}

CHANNEL: Shape = {**FIGURES, "breaker": BREAKER}


def summary_shape(channels: Iterable[NotificationChannel]) -> Shape:
    """Return the shape of the summary of a run that uses `channels`, keys in the order of the document."""
    names = [channel.value for channel in channels]
    return {
        "scenario": Figure.TEXT,
        "seed": Figure.COUNT,
        "runtime": Figure.TEXT,
        "simulated_s": Figure.SECONDS,
        **FIGURES,
        "breaker": dict.fromkeys(names, BREAKER),
        "channels": dict.fromkeys(names, CHANNEL),
        "expectations": Figure.LIST,
        "digest": Figure.TEXT,
    }
