"""How notifications of a scenario are named: the ids that an entry of the workload gives."""

from __future__ import annotations

from actors.messages import NotificationChannel
from simulation.scenario.model import EventWorkload, Scenario


def critical_prefixes(scenario: Scenario) -> tuple[str, ...]:
    """Return how the ids of critical notifications begin; those of all others, of events' too, begin otherwise.

    What goes out in place of one has its id with something behind it, and is as critical.
    """
    return tuple(
        id_prefix(number, entry.channel)
        for number, entry in enumerate(scenario.workload)
        if not isinstance(entry, EventWorkload) and entry.critical
    )


def id_prefix(number: int, channel: NotificationChannel) -> str:
    """Return how the ids of the notifications of an entry of the workload begin."""
    return f"{channel}-{number}-"
