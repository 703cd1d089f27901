"""Messages that go astray: between the actors of a case they come twice, or late, or both at once."""

from __future__ import annotations

from random import Random
from typing import Any

from actors.settings.faults import FaultConfig

_DELAYS: tuple[Any, ...] = (
    "1ms",
    "2s",
    {"uniform": {"low": "0s", "high": "300ms"}},
    {"exponential": {"mean": "1s"}},
    {"exponential": {"mean": "20s"}},
)
"""By which messages are late."""

_KINDS = (["twice"], ["late"], ["twice", "late"], ["twice and late"], ["twice and late", "late"])
"""The effects on messages, in one window or two, which may overlap."""


def astray(duration: float, random: Random) -> tuple[FaultConfig, ...]:
    """Return faults by which messages of all channels come twice, or late, or both, for a while or all the time."""
    faults = []
    for kinds in random.choice(_KINDS):
        fault: dict[str, Any] = {"channel": "all", "at": random.choice((0.0, random.uniform(0.0, duration)))}
        if random.random() < 0.5:
            fault["for"] = random.uniform(1.0, max(1.0, duration))
        if "twice" in kinds:
            fault["duplicate_rate"] = random.choice((0.05, 0.2, 0.6, 1.0))
        if "late" in kinds:
            fault["reorder"] = {"delay": random.choice(_DELAYS)}
        faults.append(FaultConfig.model_validate(fault))
    return tuple(faults)
