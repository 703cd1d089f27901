"""A log of attempts as arrays, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actors.messages import Priority

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Whole: TypeAlias = NDArray[np.int64]


class OutcomeKind(IntEnum):
    """How an attempt ended: the outcomes of :mod:`actors.outcomes`, with a refusal for going too fast apart."""

    UNKNOWN = -1
    """The file has no outcomes."""

    SENT = 0
    TRANSIENT = 1
    THROTTLED = 2
    PERMANENT = 3
    DEAD_DESTINATION = 4
    CHANNEL_FAULT = 5
    AMBIGUOUS = 6
    """No answer came in time: the latency is longer than the log's value."""


@dataclass(frozen=True, eq=False)
class AttemptLog:
    """Attempts in the order in which they started; the arrays are of one length."""

    start_s: Floats
    """Seconds from the start of the log."""

    latency_s: Floats
    """Seconds until the answer, or until the sender timed out; NaN where the log does not say."""

    kind: NDArray[np.int8]
    """:class:`OutcomeKind` of each."""

    channel: NDArray[Any]
    """Name of the channel of each, one that a scenario can have."""

    provider: NDArray[Any]
    """Name of the provider of each; None where the log names none, or in all of the channel only ``primary``."""

    first: Flags
    """Whether it is the first attempt of its notification."""

    notification: Whole
    """Number of the notification of each."""

    arrived_s: Floats
    """When its notification arrived, in seconds from the start; when the attempt started where the log does not say."""

    priority: NDArray[Any]
    """Class of traffic of each; ``normal`` where the log names none."""

    knows_notifications: bool
    """Whether the log says which attempts are of the same notification; else each stands for one of its own."""

    notes: tuple[str, ...] = ()
    """Assumptions that were made to read the log, and rows that were left out."""

    warnings: tuple[str, ...] = ()
    """Doubts about how the log was read."""

    used: Mapping[str, str] = field(default_factory=dict)
    """The columns of the file that were read, by name, each with its meaning."""

    unread: tuple[str, ...] = ()

    source: str = "attempts"

    origin: str | None = field(default=None)
    """The instant from which its seconds count, as ISO 8601; None where it counts from 0 itself."""

    unasked_s: Mapping[tuple[str, str], Floats] = field(default_factory=dict)
    """By channel and class, when notifications arrived whose attempts the sender all refused itself; where the log has
    these."""

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def has_outcomes(self) -> bool:
        return len(self) == 0 or bool((self.kind != OutcomeKind.UNKNOWN).any())

    def classes(self, channel: str) -> list[str]:
        """Return the classes of traffic of the notifications on a channel, the most urgent first."""
        there = {*self.priority[self.channel == channel], *(each for name, each in self.unasked_s if name == channel)}
        return [each.value for each in Priority if each.value in there]

    def arrivals_s(self, channel: str, priority: str | None = None) -> Floats:
        """Return when the notifications of a channel, or of one class on it, arrived, in order."""
        chosen = (self.channel == channel) & self.first
        if priority is not None:
            chosen &= self.priority == priority
        unasked = [at_s for (name, of), at_s in self.unasked_s.items() if name == channel and priority in (None, of)]
        return np.sort(np.concatenate([self.arrived_s[chosen], *unasked]))

    @property
    def duration_s(self) -> float:
        """From 0 to when the last attempt started."""
        return float(self.start_s[-1]) if len(self) else 0.0

    def where(self, chosen: Flags) -> AttemptLog:
        names = [each.name for each in fields(self) if isinstance(getattr(self, each.name), np.ndarray)]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def groups(self) -> list[tuple[str, str | None]]:
        """Return the channels in the log, each with its providers, in the order in which they first appear."""
        pairs = dict.fromkeys(zip(self.channel.tolist(), self.provider.tolist(), strict=True))
        return sorted(pairs, key=lambda pair: list(dict.fromkeys(c for c, _ in pairs)).index(pair[0]))

    def of(self, channel: str, provider: str | None) -> AttemptLog:
        same = np.array([name == provider for name in self.provider.tolist()], dtype=bool)
        return self.where((self.channel == channel) & same)
