"""Attempts, and their outcomes, for the tests of transports."""

from typing import Any

from provider_attempts import first_attempt

from actors.domain.attempts import Attempt, Provider
from actors.instants import NS_PER_S
from actors.messages import SendNotification
from actors.outcomes import Outcome

NOW_NS = 5 * NS_PER_S
"""On the system's clock, when attempts are made."""


def attempt_of(command: SendNotification, number: int = 1, edits: int = 0, wanted_for: float | None = None) -> Attempt:
    wanted_until_ns = None if wanted_for is None else NOW_NS + round(wanted_for * NS_PER_S)
    return first_attempt(command, number=number, wanted_until_ns=wanted_until_ns, edits=edits)


async def outcome_of(
    provider: Provider, command: SendNotification, number: int = 1, edits: int = 0, wanted_for: float | None = None
) -> Outcome:
    effect: Any = provider.attempt(attempt_of(command, number, edits, wanted_for), NOW_NS)
    outcome: Outcome = await effect()
    return outcome
