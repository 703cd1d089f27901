"""How invariants say what happened, and name the settings that are broken as a scenario file has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from actors.domain.attempts import Attempt
from actors.event_words import OUTCOMES, class_in_words, what_happened as in_words
from actors.formatting import counted, seconds_text
from actors.instants import NS_PER_S
from actors.kernel.effects import Performed
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    RecordedEvent,
)
from actors.settings.channel import PRIMARY
from actors.settings.quantities import write_duration
from simulation.verification.laws.observations import (
    AttemptMade,
    MessageSent,
    Offered,
    OutOfTurn,
    Overtaken,
    Unanswered,
)

LINES_MAX = 40
"""A longer history is shown without its middle."""


def history_lines(history: Sequence[Any]) -> tuple[str, ...]:
    """Return a line for each of these events and observations; without the middle when they are many.

    Where they are of several notifications, each says of which.
    """
    several = len({each.notification_id for each in history if hasattr(each, "notification_id")}) > 1
    lines = [line(each, names_it=several) for each in history]
    if len(lines) <= LINES_MAX:
        return tuple(lines)
    half = LINES_MAX // 2
    return (*lines[:half], f"({len(lines) - 2 * half} more)", *lines[-half:])


def line(event: Any, *, names_it: bool = False) -> str:
    """Return an event or an observation as a line: its time, what happened, and to which notification if it is to."""
    of = f"{event.notification_id}: " if names_it and hasattr(event, "notification_id") else ""
    return f"{event.at_ns / NS_PER_S:12.6f} s  {of}{what_happened(event)}"


def what_happened(event: Any) -> str:
    """Return in words what happened with an event or an observation: an event as the console has it, and more of it."""
    match event:
        case AttemptMade():
            return f"Attempt {event.attempt.number} is made at {_provider(event)}: {_outcome(event)}"
        case MessageSent():
            sender = "" if event.sender is None else f", from the {_class(event.sender)}"
            return f"The {_class(event.receiver)} gets {message_text(event.message)}{sender}"
        case Offered():
            what = "comes to the door" if event.refused is None else f"is refused ({event.refused})"
            return f"{event.key} {what}"
        case Overtaken():
            receiver, sender = class_in_words(event.receiver), class_in_words(event.sender)
            return f"The {receiver} handles {message_text(event.message)} late, from the {sender}"
        case OutOfTurn():
            return f"The {class_in_words(event.receiver)} gets {message_text(event.message)} out of turn"
        case Unanswered():
            return f"The {class_in_words(event.receiver)} has not answered {message_text(event.message)}"
        case NotificationRequested():
            instead = "" if event.instead_of is None else f", in place of {event.instead_of}"
            return f"{in_words(event)} on {event.channel} for {event.user_id}{instead}"
        case NotificationFailed():
            kind = OUTCOMES.get(event.kind, event.kind)
            if event.next_retry_at_ns is not None:
                return f"{in_words(event)} ({kind}); next attempt at {seconds_text(event.next_retry_at_ns)}"
            return f"{in_words(event)} ({kind}); no more attempts: {event.given_up}"
        case NotificationDeferred():
            until = "" if event.resumes_at_ns is None else f", until {seconds_text(event.resumes_at_ns)} at least"
            return f"{in_words(event)}{until}"
        case NotificationMovedToDeadLetter():
            tried = f"after {counted(event.attempts, 'attempt')}" if event.attempts else "before its first attempt"
            return f"{in_words(event)}, {tried}"
        case DeadLetterDiscarded():
            return f"{in_words(event)}: {event.reason}"
        case RecordedEvent():
            return in_words(event)
        case _:
            return _class(type(event)).capitalize()


def message_text(message: Any) -> str:
    request = getattr(message, "request", message)
    attempt = request if isinstance(request, Attempt) else getattr(request, "attempt", None)
    words = _class(type(message))
    if isinstance(attempt, Attempt):
        if isinstance(message, Performed):
            words = OUTCOMES.get(type(message.result).__name__, words)
        more = "" if message is attempt else f" ({words})"
        return f"attempt {attempt.number} of {attempt.command.notification_id}{more}"
    command = getattr(message, "command", message)
    notification_id = getattr(command, "notification_id", None)
    if notification_id is not None:
        return f"{notification_id} ({words})"
    known = [f"{name.replace('_', ' ')} {value}" for name, value in _plain_fields(message)]
    return f"a {words}" + (f" ({', '.join(known)})" if known else "")


def _plain_fields(message: Any) -> Iterator[tuple[str, str | int | float]]:
    for field in msgspec.structs.fields(message) if isinstance(message, msgspec.Struct) else ():
        value = getattr(message, field.name)
        if isinstance(value, (str, int, float)):
            yield field.name, value


def _class(kind: type) -> str:
    return class_in_words(kind.__name__)


def _provider(made: AttemptMade) -> str:
    return f"the {made.provider} provider of {made.channel}" + (", a further copy" if made.is_copy else "")


def _outcome(made: AttemptMade) -> str:
    if made.outcome is None:
        return "its outcome is unknown"
    kind = OUTCOMES[type(made.outcome).__name__]
    if made.answered:
        reason = f" ({made.outcome.reason})" if made.outcome.reason else ""
        return f"{kind}{reason} at {seconds_text(made.ends_at_ns)}"
    delivered = "delivered" if made.delivered else "not delivered"
    return f"{delivered}, and no answer before the timeout at {seconds_text(made.ends_at_ns)}"


if TYPE_CHECKING:
    from simulation.verification.laws.base import Context

Place = tuple[NotificationChannel, str]


def named(context: Context, paths: Iterable[str], place: Place | None) -> list[str]:
    """Return settings with their paths and values, at a place or of no channel; those that are not set are left out."""
    return list(_named(context, paths, place))


def _named(context: Context, paths: Iterable[str], place: Place | None) -> Iterator[str]:
    whole: dict[str, Any] = {
        "max_pending": context.max_pending,
        "remember_ids": write_duration(context.remember_ids_ns / NS_PER_S),
        **{f"dead_letters.{key}": value for key, value in context.dead_letters.model_dump(mode="json").items()},
    }
    for path in paths:
        if path in whole:
            prefix, value = "", whole[path]
        elif place is not None and place in context.providers:
            prefix, value = f"channels.{place[0]}.", _value(context.providers[place], path)
            provider = context.channels[place[0]].failover.get(place[1])
            if provider is not None and path.partition(".")[0] in provider.model_fields_set:
                prefix += f"failover.{place[1]}."
        else:
            continue
        if value is not None:
            yield f"{prefix}{path} = {_written(value)}"


def place_of(event: Any, context: Context) -> Place | None:
    """Return the channel and provider that something that happened is about; None: no certain one."""
    breakers = {name: place for place, name in context.breaker_names.items()}
    if (name := getattr(event, "breaker", None)) is not None:
        return breakers.get(name)
    message = getattr(event, "message", None)
    for about in (event, message, getattr(message, "request", None)):
        attempt = getattr(about, "attempt", None)
        command = getattr(attempt, "command", None) or getattr(about, "command", None)
        channel = getattr(about, "channel", None) or getattr(command, "channel", None)
        if channel is not None:
            return channel, getattr(about, "provider", None) or PRIMARY
    return None


def _value(config: BaseModel, path: str) -> Any:
    *groups, name = path.split(".")
    for group in groups:
        config = getattr(config, group)
        if config is None:
            return None
    value = getattr(config, name)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return config.model_dump(mode="json", include={name}, by_alias=False).get(name)


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items() if each is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)
