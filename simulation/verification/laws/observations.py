"""Observations of invariants beside the recorded events: at the providers, and between the actors.

These are not part of the history of a run, and so not of its digest. They are made only for an invariant that looks.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from actors.domain.attempts import Admitted, Attempt, FlushQueue, Refused, Rejected, Requeued
from actors.kernel.effects import Performed
from actors.messages import NotificationChannel
from actors.outcomes import Outcome
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.orders import Withdrawal
from actors.settings.channel import PRIMARY


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened, at an instant of the system's clock."""

    at_ns: int
    """When, in nanoseconds since the start of the run."""

    node: int | None = None
    """At which node of a fleet; None where there is one process alone."""


class AttemptMade(Observation, frozen=True, kw_only=True, gc=False):
    """A provider was asked to deliver: also where its answer never comes back, and for each copy of a hedged attempt.

    Where the provider is a simulated one, its outcome is known already, unless it has given a promise: then
    this says until it is kept what holds if it is not kept in time.
    """

    notification_id: str
    channel: NotificationChannel
    provider: str
    """The provider's name; ``primary`` where the channel has only one."""

    attempt: Attempt
    outcome: Outcome | None
    """The provider's outcome. None: the provider raised, is a real one, or has promised its outcome."""

    delivered: bool
    """Whether the notification reaches its recipient, whatever happens to the answer."""

    answered: bool

    ends_at_ns: int
    """When the answer comes, or the timeout strikes."""

    is_promised: bool = False
    """Whether the provider has given a promise."""

    foreseen_ns: int | None = None
    """After how long the provider answers, be that in time or not. None: that is not known."""

    is_copy: bool = False
    """Whether it is a further copy of an attempt that is under way, as of a channel that hedges."""

    def settle(self, outcome: Outcome, now_ns: int) -> None:
        """Take note that a promise was kept in time: the one thing that changes about it."""
        for name, value in (("outcome", outcome), ("answered", True), ("ends_at_ns", now_ns)):
            force_setattr(self, name, value)


class MessageSent(Observation, frozen=True, kw_only=True, gc=False):
    """An actor of a class in :attr:`Invariant.receivers` was sent something; observed when it is sent, not when
    handled."""

    sender: type | None
    """The class of the actor that sent it. None: it came from the environment, or from a timer."""

    receiver: type
    message: Any


class Offered(Observation, frozen=True, kw_only=True, gc=False):
    """An arrival comes to the door: for the first time, once more, or sent again after it was refused.

    Observed where any may be refused.
    """

    key: str
    """The id of the notification, or that of the domain event."""

    refused: str | None = None
    """Why it is not accepted: ``down`` or ``overloaded``. None: it has only come."""


class Overtaken(Observation, frozen=True, kw_only=True, gc=False):
    """An actor handled a message from another one before an earlier one from the same."""

    sender: str
    receiver: str
    message: Any
    """The one that came too late: sent before another one, and handled after it."""


class OutOfTurn(Observation, frozen=True, kw_only=True, gc=False):
    """A message that was set for an instant came behind one that was set later for the same instant."""

    receiver: str
    message: Any
    """The one that came too late."""


class Unanswered(Observation, frozen=True, kw_only=True, gc=False):
    """The run has finished and its actors have ended, and this question has not been settled."""

    asked_at_ns: int
    receiver: str
    message: Any


Key: TypeAlias = tuple[NotificationChannel, str]

OF_ATTEMPTS = frozenset({Attempt, FlushQueue, Admitted, Performed, Rejected, Refused, Requeued, Withdrawal})
"""The types of the messages by which attempts come to stages and leave them."""


def provider_of(admitted: Admitted) -> Key:
    return admitted.attempt.command.channel, admitted.provider or PRIMARY


def let_through_in(sent: MessageSent) -> Admitted | None:
    """Return what is sent where a breaker lets an attempt through to a provider.

    That is the instant of what is decided there: where the channel is down, its provider is asked when that is up.
    """
    message = sent.message
    return message if sent.sender is CircuitBreakerActor and type(message) is Admitted else None
