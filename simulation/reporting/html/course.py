"""The course of one notification: where it was, from when until when, by its history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from actors.messages import DeadLetterDiscarded, DuplicateIgnored, NotificationRequested, RecordedEvent
from simulation.reporting.html.messages import (
    BREAKER,
    CHANNEL,
    HANDLER,
    LIMITER,
    SENDER,
    Message,
    Parts,
    Spent,
    messages_of,
)


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
    own = [event for event in events if event.notification_id == notification_id and type(event) not in _NO_CHANGE]
    messages = messages_of(own, notification_id, _PARTS, end_ns)
    spans = (span for earlier, later in pairwise(messages) for span in _between(earlier, later))
    return [span for span in spans if span.to_ns > span.from_ns]


_PARTS = Parts(dict.fromkeys((HANDLER, LIMITER, BREAKER, CHANNEL), ""), {None: ""})
_NO_CHANGE = (DuplicateIgnored, DeadLetterDiscarded)
"""Events that do not move a notification, or come when its time does not count any more."""


def _between(earlier: Message, later: Message) -> Iterator[Span]:
    """Yield where the time between two messages went: a backoff ends when the retry is due, the rest is its turn."""
    if later.path[0] == SENDER:  # it had ended, and the same id came anew
        return
    spent = Spent.ELSE if earlier.then is None else earlier.then[1]
    due_ns = later.at_ns if earlier.due_ns is None else min(max(earlier.due_ns, earlier.at_ns), later.at_ns)
    yield Span(spent, earlier.at_ns, due_ns)
    yield Span(Spent.ELSE, due_ns, later.at_ns)


def totals(spans: Iterable[Span]) -> dict[Spent, int]:
    """Return how long each took together, in nanoseconds, in the order of :class:`Spent`."""
    sums = dict.fromkeys(Spent, 0)
    for span in spans:
        sums[span.spent] += span.to_ns - span.from_ns
    return {spent: total_ns for spent, total_ns in sums.items() if total_ns}
