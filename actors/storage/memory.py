"""The store in memory: commits at no cost, and is gone with the process."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from actors.effects import Effect
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import DeadDestination
from actors.policies.idempotency import RememberedIds
from actors.storage.store import Delivery, dead_letter_after, state_after

DAY_NS = 86_400 * 1_000_000_000


class _Entry(msgspec.Struct, gc=False):
    command: SendNotification
    events: list[NotificationEvent]


class MemoryStore:
    """Keeps the histories of notifications that have not ended, and of dead letters."""

    def __init__(self, *, remember_ids_ns: int = DAY_NS) -> None:
        self.remembered = RememberedIds(remember_ids_ns)
        self._open: dict[str, _Entry] = {}
        self._dead: dict[str, _Entry] = {}
        self._dead_addresses: set[tuple[NotificationChannel, str]] = set()

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        kind, notification_id = type(event), event.notification_id
        if kind is NotificationRequested:
            self._open[notification_id] = _Entry(command, [event])
        elif kind is NotificationSent or kind is NotificationSuppressed:
            del self._open[notification_id]
            self.remembered.add(command, event.epoch_ns + event.at_ns)
        elif kind is NotificationMovedToDeadLetter:
            entry = self._open.pop(notification_id)
            entry.events.append(event)
            self._dead[notification_id] = entry
            self.remembered.keep(command)
        elif kind is NotificationRedriven:
            entry = self._dead.pop(notification_id)
            entry.events.append(event)
            self._open[notification_id] = entry
            self.remembered.forget(notification_id)
            self._dead_addresses.discard((command.channel, command.recipient))
        elif kind is DeadLetterDiscarded:
            del self._dead[notification_id]
            self.remembered.add(command, event.epoch_ns + event.at_ns)
        else:
            self._open[notification_id].events.append(event)
            if tells_of_dead_address(event):
                self._dead_addresses.add((command.channel, command.recipient))
        return None

    def open_deliveries(self, epoch_ns: int) -> Iterable[Delivery]:
        return [state_after(entry.command, entry.events, epoch_ns) for entry in self._open.values()]

    def dead_letters(self) -> Iterable[DeadLetterMessage]:
        for entry in self._dead.values():
            moved = entry.events[-1]
            assert isinstance(moved, NotificationMovedToDeadLetter)
            yield dead_letter_after(entry.command, entry.events, moved)

    def dead_addresses(self) -> Iterable[tuple[NotificationChannel, str]]:
        return self._dead_addresses

    def is_dead_letter(self, notification_id: str) -> bool:
        return notification_id in self._dead


def tells_of_dead_address(event: NotificationEvent) -> bool:
    """Tell whether by this event the address of its notification is gone."""
    return type(event) is NotificationFailed and event.kind == DeadDestination.__name__
