"""The course of one notification: what was where, from when until when, as its history has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from actors.messages import (
    DeferralCause,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)


class Spent(StrEnum):
    """What the time of a notification goes into; in the order in which it is told."""

    AT_PROVIDER = "at the provider"
    BACKOFF = "backing off before a retry"
    BREAKER = "waiting for an open breaker"
    LIMIT = "waiting for a limit"
    QUIET_HOURS = "waiting for the end of quiet hours"
    ELSE = "waiting for its turn or a free slot"
    DEAD = "in the dead letter queue"


WAITS = {
    DeferralCause.CIRCUIT_BREAKER: Spent.BREAKER,
    DeferralCause.RATE_LIMIT: Spent.LIMIT,
    DeferralCause.QUIET_HOURS: Spent.QUIET_HOURS,
}


class Span(NamedTuple):
    """A stretch of time, in nanoseconds since the start of the run."""

    spent: Spent
    from_ns: int
    to_ns: int


def histories_of(history: Iterable[RecordedEvent], ids: Sequence[str]) -> dict[str, list[Any]]:
    """Return the events of each of these notifications, in order.

    That a fallback is accepted is an event of the notification that it stands in for, too.
    """
    found: dict[str, list[Any]] = {each: [] for each in ids}
    for event in history:
        own = found.get(getattr(event, "notification_id", ""))
        if own is not None:
            own.append(event)
        if type(event) is NotificationRequested and event.instead_of is not None:
            replaced = found.get(event.instead_of)
            if replaced is not None:
                replaced.append(event)
    return found


def spans_of(events: Sequence[Any], notification_id: str, end_ns: int) -> list[Span]:
    """Return where the time of a notification went, without gaps; a span of no length is left out.

    Args:
        events: its history.
        notification_id: its id; events of a fallback are passed over.
        end_ns: the end of the run, where it is still in flight or in the dead letter queue.
    """
    return [span for span in _spans(events, notification_id, end_ns) if span.to_ns > span.from_ns]


def _spans(events: Sequence[Any], notification_id: str, end_ns: int) -> Iterator[Span]:
    since_ns, spent = -1, Spent.ELSE
    retry_at_ns: int | None = None
    ended = True

    def until(at_ns: int) -> Iterator[Span]:
        """Close what went on until an instant: a backoff is over when the retry was due, the rest is its turn."""
        nonlocal since_ns
        at_ns = max(at_ns, since_ns)
        if spent is Spent.BACKOFF and retry_at_ns is not None and retry_at_ns < at_ns:
            due_ns = max(retry_at_ns, since_ns)
            yield Span(spent, since_ns, due_ns)
            yield Span(Spent.ELSE, due_ns, at_ns)
        else:
            yield Span(spent, since_ns, at_ns)
        since_ns = at_ns

    for event in events:
        if event.notification_id != notification_id:
            continue
        match event:
            case NotificationRequested():
                since_ns, spent, ended = event.at_ns, Spent.ELSE, False
            case NotificationDeferred():
                yield from until(event.at_ns)
                spent = WAITS[event.cause]
            case NotificationSent() | NotificationFailed():
                yield from until(event.started_ns)
                spent = Spent.ELSE if getattr(event, "refused", False) else Spent.AT_PROVIDER
                yield from until(event.at_ns)
                retry_at_ns = getattr(event, "next_retry_at_ns", None)
                spent = Spent.ELSE if retry_at_ns is None else Spent.BACKOFF
                ended = type(event) is NotificationSent
            case NotificationMovedToDeadLetter():
                yield from until(event.at_ns)
                spent, ended = Spent.DEAD, False
            case NotificationRedriven():
                yield from until(event.at_ns)
                spent = Spent.ELSE
            case NotificationSuppressed():
                yield from until(event.at_ns)
                ended = True
    if not ended and spent is not Spent.DEAD:
        yield from until(end_ns)


def totals(spans: Iterable[Span]) -> dict[Spent, int]:
    """Return how long each took together, in nanoseconds, in the order of :class:`Spent`."""
    sums = dict.fromkeys(Spent, 0)
    for span in spans:
        sums[span.spent] += span.to_ns - span.from_ns
    return {spent: total_ns for spent, total_ns in sums.items() if total_ns}
