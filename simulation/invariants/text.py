"""How invariants say what happened."""

from __future__ import annotations

from typing import Any

from actors.instants import NS_PER_S
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.invariants.observations import AttemptMade

LINES_MAX = 40
"""A longer history is shown without its middle."""


def seconds_text(ns: int) -> str:
    """Return an instant or a duration in seconds, exactly to the nanosecond."""
    return f"{ns // NS_PER_S}.{ns % NS_PER_S:09d}".rstrip("0").rstrip(".") + " s"


def history_lines(history: list[Any]) -> tuple[str, ...]:
    """Return a line for each of these events and attempts; without the middle when they are many."""
    if len(history) > LINES_MAX:
        half = LINES_MAX // 2
        left_out = f"({len(history) - 2 * half} more)"
        return (*map(line, history[:half]), left_out, *map(line, history[-half:]))
    return tuple(map(line, history))


def line(event: Any) -> str:
    """Return an event or an attempt as a line: its time, and what happened."""
    return f"{event.at_ns / NS_PER_S:12.6f} s  {what_happened(event)}"


def what_happened(event: Any) -> str:
    """Return in words what happened with an event."""
    match event:
        case AttemptMade():
            return f"attempt {event.attempt.number} is made at {_provider(event)}: {_outcome(event)}"
        case NotificationRequested():
            return f"accepted for {event.channel}, of {event.user_id}"
        case NotificationSent():
            return f"sent with attempt {event.attempt}"
        case NotificationFailed():
            then = (
                f"no more attempts: {event.given_up}"
                if event.next_retry_at_ns is None
                else f"again at {seconds_text(event.next_retry_at_ns)}"
            )
            return f"attempt {event.attempt} failed: {event.reason} ({event.kind}); {then}"
        case NotificationDeferred():
            until = "" if event.resumes_at_ns is None else f", until {seconds_text(event.resumes_at_ns)} at least"
            return f"waits ({event.cause.replace('_', ' ')}){until}"
        case NotificationMovedToDeadLetter():
            return f"dead-lettered after {event.attempts} attempts: {event.reason}"
        case NotificationSuppressed():
            return f"suppressed: {event.reason}"
        case NotificationRedriven():
            return "redriven from the dead letter queue"
        case DeadLetterDiscarded():
            return f"discarded from the dead letter queue: {event.reason}"
        case DuplicateIgnored():
            return "came again" + (", with another payload: a conflict" if event.conflict else " and is ignored")
        case BreakerTransitioned():
            host = "" if event.host is None else f" of {event.host or 'no host'}"
            return f"breaker {event.breaker}{host}: {event.from_state} to {event.to_state} ({event.cause})"
        case ActorFailed():
            return f"{event.actor} raised {event.error}: {event.decision}"
        case _:
            return repr(event)


def _provider(made: AttemptMade) -> str:
    return f"the {made.provider} provider of {made.channel}" + (", a further copy" if made.is_copy else "")


def _outcome(made: AttemptMade) -> str:
    if made.outcome is None:
        return "with an unknown outcome"
    kind = type(made.outcome).__name__
    if made.answered:
        reason = f" ({made.outcome.reason})" if made.outcome.reason else ""
        return f"{kind}{reason} at {seconds_text(made.ends_at_ns)}"
    delivered = "delivered" if made.delivered else "not delivered"
    return f"{delivered}, and no answer before the timeout at {seconds_text(made.ends_at_ns)}"
