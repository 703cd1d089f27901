"""Histories made by hand, and what a checker says of them."""

from __future__ import annotations

from typing import Any

import pytest

from actors.domain.attempts import Admitted, Attempt
from actors.errors import InvariantBreach
from actors.kernel.effects import Performed
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
    SendNotification,
)
from actors.outcomes import Outcome, Sent
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from simulation.invariants import AttemptMade, Checker, Context, MessageSent

S = 1_000_000_000
EMAIL = NotificationChannel.EMAIL


def at(seconds: float) -> dict[str, int]:
    return {"at_ns": round(seconds * S), "epoch_ns": 0}


def requested(seconds: float, id: str = "n") -> NotificationRequested:
    return NotificationRequested(**at(seconds), notification_id=id, channel=EMAIL, user_id="ann")


def sent(seconds: float, id: str = "n") -> NotificationSent:
    start = round(seconds * S)
    return NotificationSent(
        **at(seconds), notification_id=id, channel=EMAIL, attempt=1, started_ns=start, requested_at_ns=0
    )


def failed(seconds: float, again: float | None = None, id: str = "n", attempt: int = 1, **fields: Any) -> Any:
    return NotificationFailed(
        **{
            **at(seconds),
            "notification_id": id,
            "channel": EMAIL,
            "reason": "timed out",
            "kind": "Ambiguous",
            "attempt": attempt,
            "started_ns": 0,
            "next_retry_at_ns": None if again is None else round(again * S),
            "given_up": "timed out" if again is None else None,
            **fields,
        }
    )


def dead(seconds: float, id: str = "n") -> NotificationMovedToDeadLetter:
    return NotificationMovedToDeadLetter(
        **at(seconds), notification_id=id, channel=EMAIL, reason="timed out", attempts=1, requested_at_ns=0
    )


def suppressed(seconds: float, id: str = "n") -> NotificationSuppressed:
    return NotificationSuppressed(**at(seconds), notification_id=id, channel=EMAIL, reason="switched off")


def redriven(seconds: float, id: str = "n", **fields: Any) -> NotificationRedriven:
    return NotificationRedriven(**at(seconds), notification_id=id, channel=EMAIL, **fields)


def deferred(seconds: float, id: str = "n") -> NotificationDeferred:
    return NotificationDeferred(**at(seconds), notification_id=id, channel=EMAIL, cause="rate_limit")


def crashed(seconds: float, actor: str = "Handler") -> ActorFailed:
    return ActorFailed(**at(seconds), actor=actor, error="RuntimeError: injected", decision="restart")


def breaker(seconds: float, before: str, after: str, cause: str, **fields: Any) -> BreakerTransitioned:
    return BreakerTransitioned(
        **at(seconds), **{"breaker": "email", "from_state": before, "to_state": after, "cause": cause, **fields}
    )


def made(
    seconds: float, id: str = "n", outcome: Outcome | None = None, *, number: int = 1, takes: float = 0.5, **fields: Any
) -> AttemptMade:
    """Return an attempt that is delivered and answered, unless something else is given."""
    command_fields = {key: fields.pop(key) for key in ("user_id", "critical", "recipient") if key in fields}
    command = SendNotification(
        notification_id=id, channel=EMAIL, message="Hello", **{"recipient": "ann@example.org", **command_fields}
    )
    outcome = outcome if outcome is not None else Sent()
    return AttemptMade(
        **{
            "at_ns": round(seconds * S),
            "notification_id": id,
            "channel": EMAIL,
            "provider": "primary",
            "attempt": Attempt(command=command, number=number, charged=number > 1, expires_at_ns=None),
            "outcome": outcome,
            "delivered": type(outcome) is Sent,
            "answered": True,
            "ends_at_ns": round((seconds + takes) * S),
            **fields,
        }
    )


def told(seconds: float, sender: type | None, receiver: type, message: Any) -> MessageSent:
    return MessageSent(at_ns=round(seconds * S), sender=sender, receiver=receiver, message=message)


def let_through(seconds: float, id: str = "n", of: Attempt | None = None, **command: Any) -> MessageSent:
    """Return that a circuit breaker lets an attempt through to its provider."""
    admitted = Admitted(attempt=of or made(seconds, id, **command).attempt, permit=1)
    return told(seconds, CircuitBreakerActor, Channel, admitted)


def settled(seconds: float, passes: MessageSent, outcome: Outcome | None = None) -> MessageSent:
    """Return that a circuit breaker hands on the outcome of what it has let through."""
    end_ns = round(seconds * S)
    done = Performed(request=passes.message, result=outcome or Sent(), started_ns=passes.at_ns, ended_ns=end_ns)
    return told(seconds, CircuitBreakerActor, Handler, done)


def context_of(faults: Any = (), **email: Any) -> Context:
    return Context(
        channels={EMAIL: ChannelConfig.model_validate(email)},
        faults=[FaultConfig.model_validate({"channel": "email", **fault}) for fault in faults],
    )


def breach_of(invariant: Any, events: Any, context: Context | None = None, end: float | None = None) -> Any:
    """Return the breach that these events are of an invariant, or None."""
    checker = Checker([invariant], context or context_of(), record=lambda _: None)
    assert checker.names, "it does not apply"
    try:
        for event in events:
            if isinstance(event, RecordedEvent):
                checker.record(event)
            else:
                checker.note(event)
        if end is not None:
            checker.end(round(end * S))
    except InvariantBreach as breach:
        return breach
    return checker.breach


def check_breach(
    invariant: str, events: Any, text: str, context: Context | None = None, end: float | None = None
) -> Any:
    """Check that the last of these events, or the end, is a breach, and no one before; return it."""
    if end is None:
        assert breach_of(invariant, events[:-1], context and fresh(context)) is None
    breach = breach_of(invariant, events, context, end)
    if breach is None:
        pytest.fail("no breach")
    assert breach.invariant == invariant
    assert text in breach.message
    return breach


def fresh(context: Context) -> Context:
    """Return a context of the same run in which nothing has happened yet."""
    return Context(
        channels=context.channels,
        faults=context.faults,
        epoch_ns=context.epoch_ns,
        preferences=context.preferences,
        max_pending=context.max_pending,
        dead_letters=context.dead_letters,
        commit_latency_ns=context.commit_latency_ns,
        in_flight_now=context.in_flight_now,
        pipeline=context.pipeline,
        world=context.world,
    )
