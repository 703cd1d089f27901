"""What a breaker lets through to the providers behind it."""

from __future__ import annotations

from typing import TypeAlias

from actors.domain.attempts import Admitted, Attempt, FlushQueue, Refused, Rejected, Requeued
from actors.kernel.effects import Performed
from actors.messages import NotificationChannel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.orders import Withdrawal
from actors.settings.channel import PRIMARY
from simulation.verification.laws.observations import MessageSent

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
