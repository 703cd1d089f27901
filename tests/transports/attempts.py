"""Attempts, and their outcomes, for the tests of transports."""

from __future__ import annotations

from typing import Any

from actors.domain.attempts import Attempt, Provider
from actors.messages import SendNotification
from actors.outcomes import Outcome


def attempt_of(command: SendNotification, number: int = 1, edits: int = 0) -> Attempt:
    return Attempt(command=command, number=number, charged=False, expires_at_ns=None, edits=edits)


async def outcome_of(provider: Provider, command: SendNotification, number: int = 1, edits: int = 0) -> Outcome:
    """Make an attempt and return its outcome."""
    effect: Any = provider.attempt(attempt_of(command, number, edits), 0)
    outcome: Outcome = await effect()
    return outcome
