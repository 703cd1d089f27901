"""The measures that cases take from a result, as arrays of seconds from the start, straight from its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from actors.instants import NS_PER_S
from actors.messages import NotificationFailed, NotificationMovedToDeadLetter, NotificationRequested, NotificationSent

if TYPE_CHECKING:
    from simulation.results.result import Result

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class Ended:
    """The notifications that have ended, in the order of their ends."""

    requested: Array
    ended: Array
    attempts: Array
    sent: Array
    """Whether it was; else it was dead-lettered."""

    @property
    def took(self) -> Array:
        """How long each took from its acceptance to its end."""
        return self.ended - self.requested

    def since(self, instant: float) -> Ended:
        """Return those that were accepted at that instant or later."""
        late = self.requested >= instant
        return Ended(self.requested[late], self.ended[late], self.attempts[late], self.sent[late])


def ended(result: Result) -> Ended:
    rows = []
    for event in result.history:
        if type(event) is NotificationSent:
            rows.append((event.requested_at_ns, event.at_ns, event.attempt, True))
        elif type(event) is NotificationMovedToDeadLetter:
            rows.append((event.requested_at_ns, event.at_ns, event.attempts, False))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Ended(table[:, 0] / NS_PER_S, table[:, 1] / NS_PER_S, table[:, 2], table[:, 3].astype(bool))


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts that have ended, in the order of their ends."""

    requested: Array

    ready: Array
    """When the attempt was due: it may have waited for a slot since."""

    started: Array
    ended: Array
    number: Array
    """The first is 1."""

    succeeded: Array
    refused: Array
    """Whether it was refused on our side, and no provider was asked."""


def attempts(result: Result) -> Attempts:
    due_ns: dict[str, int] = {}
    requested_ns: dict[str, int] = {}
    rows = []
    for event in result.history:
        kind = type(event)
        if kind is NotificationRequested:
            requested_ns[event.notification_id] = due_ns[event.notification_id] = event.at_ns
        elif kind is NotificationSent or kind is NotificationFailed:
            name = event.notification_id
            rows.append(
                (
                    requested_ns[name],
                    due_ns[name],
                    event.started_ns,
                    event.at_ns,
                    event.attempt,
                    kind is NotificationSent,
                    kind is NotificationFailed and event.refused,
                )
            )
            if kind is NotificationFailed and event.next_retry_at_ns is not None:
                due_ns[name] = event.next_retry_at_ns
    table = np.array(rows, dtype=np.int64).reshape(-1, 7)
    times = table[:, :4] / NS_PER_S
    succeeded, refused = table[:, 5].astype(bool), table[:, 6].astype(bool)
    return Attempts(times[:, 0], times[:, 1], times[:, 2], times[:, 3], table[:, 4], succeeded, refused)


def exponential_cdf(rate: float, x: Array) -> Array:
    """Return the share of exponential times up to each of these, of so many a second."""
    shares: Array = -np.expm1(-rate * x)
    return shares


def time_average(begins: Array, ends: Array, since: float, until: float) -> float:
    """Return how many of the spans [begin, end) are under way on average between two instants."""
    inside = np.minimum(ends, until) - np.maximum(begins, since)
    return float(inside[inside > 0].sum() / (until - since))


def shares_of_states(begins: Array, ends: Array, since: float, until: float, count: int) -> dict[str, float]:
    """Return the share of the time with 0, 1, … so many of the spans [begin, end) under way, as ``P(N = 0)`` and on:
    of the seconds from `since` until `until`, when none is under way at 0."""
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    times = np.clip(times[order], since, until)
    number = np.cumsum(np.where(order < len(begins), 1, -1))
    spans = np.diff(np.append(times, until))
    # Before the first of them there is none; what is before `since` has been clipped to nothing.
    return {f"P(N = {n})": float(spans[number == n].sum() / (until - since)) for n in range(count)}
