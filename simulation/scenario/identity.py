"""How notifications of a scenario are named: the ids that an entry of the workload gives."""

from __future__ import annotations

import re

from actors.messages import NotificationChannel
from simulation.scenario.model import EventWorkload, Scenario

_KEY_OF_EVENT = re.compile(r"(?:-placed-|-shipped-|-received-|/)(\d+)-\d+")


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


def entry_number(notification_id: str) -> int | None:
    """Return the number of the entry in the workload that a notification is from; None: from none.

    What goes out in place of one is from the same entry.
    """
    _, _, rest = notification_id.partition("-")
    number, _, _ = rest.partition("-")
    if number.isdecimal():
        return int(number)
    found = _KEY_OF_EVENT.search(notification_id)
    return None if found is None else int(found[1])


def channel_of(notification_id: str) -> NotificationChannel:
    """Return the channel of a notification that goes out in place of none."""
    return NotificationChannel(notification_id.partition("-")[0])
