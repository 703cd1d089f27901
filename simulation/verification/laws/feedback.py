"""What a breaker hands on of the answers of its providers: what adapts to them is counted anew from that."""

from __future__ import annotations

from typing import TypeAlias

from actors.domain.attempts import Admitted
from actors.kernel.effects import Performed
from actors.messages import NotificationChannel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.lane import Lane
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import Context
from simulation.verification.laws.observations import MessageSent

Key: TypeAlias = tuple[NotificationChannel, str]


def provider_of(admitted: Admitted) -> Key:
    return admitted.attempt.command.channel, admitted.provider or PRIMARY


def let_through_in(sent: MessageSent) -> Admitted | None:
    """Return what is sent where a breaker lets an attempt through to a provider.

    That is the instant of what is decided there: where the channel is down, its provider is asked when that is up.
    """
    message = sent.message
    return message if sent.sender is CircuitBreakerActor and type(message) is Admitted else None


def answer_in(sent: MessageSent) -> tuple[Admitted, Performed] | None:
    """Return what is sent where a breaker has taken note of an outcome and hands it on."""
    message = sent.message
    if sent.sender is not CircuitBreakerActor or type(message) is not Performed:
        return None
    return (message.request, message) if type(message.request) is Admitted else None


def lane_of(context: Context, admitted: Admitted) -> Lane | None:
    """Return what stands before the provider of an attempt now; None where that is unknown."""
    pipeline = context.pipeline()
    if pipeline is None:
        return None
    return pipeline.wiring.stages[admitted.attempt.command.channel].lanes[admitted.lane]
