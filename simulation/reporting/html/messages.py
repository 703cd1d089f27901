"""The messages between the parts of the send path that a notification's history stands for, in order of time.

The history has events, not messages; senders and receivers follow from the wiring of the pipeline
(:mod:`actors.notifier`): an attempt goes from the handler by the rate limiter, the breaker and the channel to a
provider, and the part where it waits sends it on. The outcome goes back to the breaker, and from there to the handler.
A crash is in no notification's own history: one that was under way then goes on, here, from where it last was, or from
the request that was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from actors.domain.attempts import TIMED_OUT
from actors.formatting import counted
from actors.instants import NS_PER_S
from actors.messages import (
    DeadLetterDiscarded,
    DeferralCause,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    OwnActorMessage,
)
from actors.settings.channel import ChannelConfig
from simulation.reporting.html.steps import Interrupted, Tone
from simulation.reporting.html.words import plain_duration

SENDER, HANDLER, LIMITER, BREAKER, CHANNEL, DEAD_LETTERS = "sender", "handler", "limiter", "breaker", "channel", "dlq"


class Spent(StrEnum):
    """The uses of a notification's time, in the order of the report."""

    AT_PROVIDER = "at the provider"
    BACKOFF = "backing off before a retry"
    BREAKER = "waiting behind a breaker"
    LIMIT = "waiting for a limit"
    QUIET_HOURS = "waiting for the end of quiet hours"
    INTERRUPTED = "waiting to be sent again after an interruption"
    ELSE = "waiting for its turn or a free slot"
    DEAD = "in the dead letter queue"


WAITS = {
    DeferralCause.CIRCUIT_BREAKER: Spent.BREAKER,
    DeferralCause.RATE_LIMIT: Spent.LIMIT,
    DeferralCause.QUIET_HOURS: Spent.QUIET_HOURS,
}


class Message(NamedTuple):
    """One message, or an action of a part by itself."""

    at_ns: int
    path: tuple[str, ...]
    """The parts that it passes; one part alone does something by itself."""

    text: str
    kind: Tone = ""
    answers: bool = False
    """Whether it is the outcome of an attempt."""

    then: tuple[str, Spent] | None = None
    """The place where the notification rests until the next message, and the cause."""

    due_ns: int | None = None
    """When its backoff ends, if it rests for one."""

    aside: bool = False
    """Whether the notification stays where it is meanwhile."""


class Parts(NamedTuple):
    """The parts of the send path of a channel, by their keys, each with its displayed name."""

    names: dict[str, str]
    providers: dict[str | None, str]
    """The keys of the providers, by name."""


def parts_of(channel: NotificationChannel, config: ChannelConfig, events: Sequence[Any], sender: str) -> Parts:
    """Return the parts that a notification met: of several providers the ones that were asked, or the first."""
    asked = dict.fromkeys(
        event.provider for event in events if isinstance(event, (NotificationSent, NotificationFailed))
    )
    known = list(config.by_provider())
    used = [name for name in known if name in asked] or known[:1]
    providers: dict[str | None, str] = {name: f"provider {name}" for name in used}
    if len(known) == 1:
        providers = {None: "provider"}
    names = {SENDER: sender, HANDLER: "handler"}
    if config.rate_limit is not None:
        names[LIMITER] = "rate limiter"
    names |= {
        BREAKER: "breaker" if config.circuit_breaker.enabled else "breaker (off)",
        CHANNEL: f"{channel} channel",
        **{key: "provider" if name is None else name for name, key in providers.items()},
        DEAD_LETTERS: "dead letter queue",
        **{event.actor: event.actor for event in events if _is_heard(event)},
    }
    return Parts(names, providers)


def _is_heard(event: Any) -> bool:
    return isinstance(event, OwnActorMessage) and not event.is_sent


def messages_of(events: Sequence[Any], notification_id: str, parts: Parts, end_ns: int) -> list[Message]:
    """Return the messages of a notification with this history; messages of one instant in the order of the history.

    Args:
        events: its history.
        notification_id: its id.
        parts: the parts that it met.
        end_ns: the end of the run, which comes last where the notification still waits for something.
    """
    messages = sorted(_Journey(notification_id, parts).messages(events), key=lambda message: message.at_ns)
    for number, message in enumerate(messages):
        if message.aside and number:
            messages[number] = message._replace(then=messages[number - 1].then)
    if messages and (last := messages[-1].then) is not None and last[1] is not Spent.DEAD:
        messages.append(Message(end_ns, (last[0],), "end of the run", "care"))
    return messages


class _Journey:
    """Goes through a history, and knows where the notification is."""

    def __init__(self, notification_id: str, parts: Parts) -> None:
        self._id = notification_id
        self._way = [part for part in (HANDLER, LIMITER, BREAKER, CHANNEL) if part in parts.names]
        self._providers = parts.providers
        self._at = HANDLER
        self._counted = False
        """Whether it has passed the user's limit, which counts it once."""

    def messages(self, events: Sequence[Any]) -> Iterator[Message]:
        for event in events:
            match event:
                case NotificationRequested() if event.notification_id != self._id:
                    yield Message(event.at_ns, (HANDLER,), f"goes out on {event.channel} instead", "care")
                case NotificationRequested():
                    self._at, self._counted = HANDLER, False
                    resting = (HANDLER, Spent.ELSE)
                    yield Message(event.at_ns, (SENDER, HANDLER), "notification", then=resting)
                case NotificationDeferred():
                    yield self._deferred(event)
                case NotificationSent() | NotificationFailed():
                    yield from self._attempt(event)
                case Interrupted():
                    yield from self._interrupted(event)
                case NotificationMovedToDeadLetter():
                    if self._at != HANDLER:  # the part where it waits cancels it
                        yield Message(event.at_ns, (self._at, HANDLER), f"cancelled: {event.reason}", "bad")
                        self._at = HANDLER
                    path = (HANDLER, DEAD_LETTERS)
                    resting = (DEAD_LETTERS, Spent.DEAD)
                    yield Message(event.at_ns, path, f"dead-lettered: {event.reason}", "bad", then=resting)
                case NotificationRedriven():
                    self._at, self._counted = HANDLER, False
                    text = "redriven" if event.by is None else f"redriven by {event.by}"
                    text = "redriven without an operator" if event.without_operator else text
                    yield Message(event.at_ns, (DEAD_LETTERS, HANDLER), text, then=(HANDLER, Spent.ELSE))
                case DeadLetterDiscarded():
                    yield Message(event.at_ns, (DEAD_LETTERS,), f"discarded: {event.reason}", "bad")
                case NotificationSuppressed():
                    if self._at != HANDLER:  # it has been taken out of the line where it waited
                        yield Message(event.at_ns, (self._at, HANDLER), f"taken out: {event.reason}", "care")
                        self._at = HANDLER
                    yield Message(event.at_ns, (HANDLER,), f"suppressed: {event.reason}", "care")
                case DuplicateIgnored():
                    yield Message(event.at_ns, (SENDER, HANDLER), "the same again: ignored", aside=True)
                case OwnActorMessage(is_sent=False):
                    yield Message(event.at_ns, (HANDLER, event.actor), event.message, aside=True)

    def _deferred(self, event: NotificationDeferred) -> Message:
        match event.cause:
            case DeferralCause.QUIET_HOURS:
                where, text = HANDLER, "waits: quiet hours"
            case DeferralCause.CIRCUIT_BREAKER:
                where, text = BREAKER, "waits: breaker is open"
            case DeferralCause.RATE_LIMIT:
                first = LIMITER in self._way and self._at == HANDLER and not self._counted
                where, text = (LIMITER, "waits: user's limit") if first else (BREAKER, "waits: limit of the channel")
        message = Message(event.at_ns, self._leg(where), text, "care", then=(where, WAITS[event.cause]))
        self._at = where
        self._counted = where == BREAKER or self._counted
        return message

    def _attempt(self, event: NotificationSent | NotificationFailed) -> Iterator[Message]:
        number = f"attempt {event.attempt}" if event.attempt else "attempt"
        if event.hedges:
            number += f", and {counted(event.hedges, 'hedge')}"
        refused = isinstance(event, NotificationFailed) and event.refused
        if refused:
            yield Message(event.started_ns, self._leg(BREAKER), number)
            back: tuple[str, ...] = (BREAKER, HANDLER)
        else:
            provider = self._provider(event.provider)
            path = (*self._leg(CHANNEL), provider)
            yield Message(event.started_ns, path, number, then=(provider, Spent.AT_PROVIDER))
            back = (provider, BREAKER, HANDLER)
        self._at, self._counted = HANDLER, True
        if isinstance(event, NotificationSent):
            yield Message(event.at_ns, back, "sent", "fine", answers=True)
            return
        if event.reason == TIMED_OUT.reason and event.kind == type(TIMED_OUT).__name__:
            back = (CHANNEL, *back[1:])
        kind: Tone = "care" if event.given_up is None else "bad"
        text = f"{'refused' if refused else 'failed'}: {event.reason}"
        if event.next_retry_at_ns is None:
            yield Message(event.at_ns, back, text, kind, answers=True)
            return
        wait = plain_duration((event.next_retry_at_ns - event.at_ns) / NS_PER_S)
        resting = (HANDLER, Spent.BACKOFF)
        text = f"{text} → again in {wait}"
        yield Message(event.at_ns, back, text, kind, answers=True, then=resting, due_ns=event.next_retry_at_ns)

    def _interrupted(self, event: Interrupted) -> Iterator[Message]:
        provider = self._provider(event.provider)
        path = (*self._leg(CHANNEL), provider)
        if event.at_ns == event.started_ns:  # by a message that came twice: another request goes on meanwhile
            yield Message(event.started_ns, path, f"request, its answer is lost: {event.fate}", "care", aside=True)
            return
        yield Message(event.started_ns, path, "request", then=(provider, Spent.AT_PROVIDER))
        self._at = HANDLER
        resting = (HANDLER, Spent.INTERRUPTED)
        yield Message(event.at_ns, (provider,), f"answer is lost: {event.fate}", "care", then=resting)

    def _provider(self, name: str | None) -> str:
        return self._providers.get(name) or next(iter(self._providers.values()))

    def _leg(self, to: str) -> tuple[str, ...]:
        start = self._way.index(self._at) if self._at in self._way else 0
        end = self._way.index(to)
        return tuple(self._way[start : end + 1]) if start <= end else (to,)
