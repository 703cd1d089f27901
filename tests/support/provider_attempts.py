"""Attempts, faults, and when a simulated provider answers: for tests that ask providers themselves."""

import math
from typing import Any

from worlds import email

from actors.domain.attempts import Attempt
from actors.faults.provider import NEVER_NS, SimulatedProvider
from actors.instants import NS_PER_S as S, ns
from actors.messages import SendNotification
from actors.settings.faults import FaultConfig


def first_attempt(command: SendNotification | None = None, **fields: Any) -> Attempt:
    """Return the first attempt at a command; every field has a default."""
    given = {"command": command or email(), "number": 1, "charged": False, "expires_at_ns": None}
    return Attempt(**{**given, **fields})


ATTEMPT = first_attempt()


def fault(**keys: Any) -> FaultConfig:
    """Return a fault on all channels, unless the keys name some."""
    return FaultConfig.model_validate({"channel": "all", **keys})


def answered(provider: SimulatedProvider, *seconds: float) -> list[float]:
    """Return, for attempts that start at these instants, when their answers come; inf for never."""
    effects: list[Any] = [provider.attempt(ATTEMPT, ns(at)) for at in seconds]
    return [
        math.inf if effect.delay_ns >= NEVER_NS else round(at + effect.delay_ns / S, 9)
        for at, effect in zip(seconds, effects, strict=True)
    ]
