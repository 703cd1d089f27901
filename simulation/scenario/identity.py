"""How notifications of a scenario are named: the ids that an entry of the workload gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.messages import ChannelKind, NotificationChannel
from simulation.scenario.model import Scenario
from simulation.scenario.workload import (
    NORMAL,
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    WorkloadEntry,
    ZipfSpread,
    class_of,
    host_name,
    host_of,
    tenant_name,
)

_KEY_OF_EVENT = re.compile(r"(?:-placed-|-shipped-|-received-|/)(\d+)-\d+")


def id_prefix(number: int, channel: NotificationChannel) -> str:
    """Return how the ids of the notifications of an entry of the workload begin."""
    return f"{channel}-{number}-"


def is_call(scenario: Scenario, channel: NotificationChannel) -> bool:
    """Tell whether a channel takes requests to a service, which need no recipient."""
    return scenario.channel_as_given(channel).kind is ChannelKind.CALL


def has_recipients(entry: ChannelWorkload | ClosedWorkload, scenario: Scenario) -> bool:
    """Tell whether arrivals of an entry are for users: always, except calls whose entry names no users, hosts or
    tenants."""
    is_said = any(spread is not None for spread in (entry.users, entry.hosts, entry.tenants))
    return is_said or not is_call(scenario, entry.channel)


def host_of_user(entry: WorkloadEntry) -> Callable[[str], str | None] | None:
    """Return a function from users to the hosts of their addresses; None where addresses of an entry have no host."""
    if isinstance(entry, EventWorkload) or entry.hosts is None:
        return None
    return _PartyOf(entry.hosts, host_name)


def tenant_of_user(entry: WorkloadEntry) -> Callable[[str], str | None] | None:
    """Return a function from users to the tenants that send to them; None where an entry has no tenants."""
    if isinstance(entry, EventWorkload) or entry.tenants is None:
        return None
    return _PartyOf(entry.tenants, tenant_name)


@dataclass(frozen=True)
class _PartyOf:
    """Returns which of these a user belongs to: always the same. None: it is no user of the workload's."""

    parties: int | ZipfSpread
    name: Callable[[int], str]

    def __call__(self, user: str) -> str | None:
        number = user.rpartition("-")[2]
        return self.name(host_of(int(number), self.parties)) if number.isdecimal() else None


def entry_number(notification_id: str) -> int | None:
    """Return the number of the entry in the workload that a notification is from; None: from none.

    A fallback is from the same entry.
    """
    parts = notification_id.partition("/")[0].rsplit("-", 2)  # the channel's name may have dashes and digits in it
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return int(parts[1])
    found = _KEY_OF_EVENT.search(notification_id)
    return None if found is None else int(found[1])


class Origins:
    """Which entry of the workload each notification of a scenario is from."""

    def __init__(self, scenario: Scenario) -> None:
        self._names = scenario.outline.entries
        self._classes = [class_of(entry) for entry in scenario.workload]
        self._hosts = [host_of_user(entry) for entry in scenario.workload]
        self._tenants = [tenant_of_user(entry) for entry in scenario.workload]
        self._some_hosts, self._some_tenants = any(self._hosts), any(self._tenants)

    def entry_and_class(self, notification_id: str) -> tuple[str | None, str]:
        """Return the name of the entry, None where it is from none, and its class of traffic."""
        number = self.number(notification_id)
        return (None, NORMAL) if number is None else (self._names[number], self._classes[number])

    def entries_and_classes(self, notification_ids: Sequence[str]) -> tuple[list[str | None], list[str]]:
        """Return the same for each of many, in less time: ids that differ in the number of the arrival alone, behind
        the last dash, are of one entry."""
        known: dict[str, tuple[str | None, str]] = {}
        found = []
        for notification_id in notification_ids:
            alike = notification_id.rpartition("-")[0]
            if alike not in known or "-" not in alike:
                known[alike] = self.entry_and_class(notification_id)
            found.append(known[alike])
        return [entry for entry, _ in found], [kind for _, kind in found]

    def host(self, notification_id: str, user: str) -> str | None:
        """Return the host at which the address of a notification for a user is; None: it has none."""
        number = self.number(notification_id) if self._some_hosts else None
        host_of = None if number is None else self._hosts[number]
        return None if host_of is None else host_of(user)

    def tenant(self, notification_id: str, user: str) -> str | None:
        """Return the tenant that a notification for a user is of; None: of none."""
        number = self.number(notification_id) if self._some_tenants else None
        tenant_of = None if number is None else self._tenants[number]
        return None if tenant_of is None else tenant_of(user)

    def number(self, notification_id: str) -> int | None:
        """Return the number of the entry; None where it is from none."""
        number = entry_number(notification_id)
        return number if number is not None and number < len(self._names) else None


def entries_apart(scenario: Scenario) -> dict[str, str]:
    """Return the names of those entries of the workload that share a channel, and so have figures of their own; each
    with its channel, which is empty for one of several."""
    on = Counter(channel for entry in scenario.workload for channel in entry.channels)
    entries = zip(scenario.outline.entries, scenario.workload, strict=True)
    return {
        name: str(entry.channels[0]) if len(entry.channels) == 1 else ""
        for name, entry in entries
        if any(on[channel] > 1 for channel in entry.channels)
    }
