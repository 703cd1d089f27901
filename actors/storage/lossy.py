"""A store for tests that commits with a delay, and loses uncommitted changes at a crash."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from actors.domain.store import SettingsChange
from actors.kernel.effects import Foreseen
from actors.messages import NotificationEvent, SendNotification
from actors.storage.memory import DAY_NS, MemoryStore


class Kept(NamedTuple):
    """A value of an own actor."""

    actor: str
    key: str
    value: bytes | None


Change = tuple[NotificationEvent, SendNotification] | SettingsChange | Kept


class LossyStore(MemoryStore):
    """A MemoryStore in which a change is durable `commit_delay_ns` after it was handed over, and not before.

    It keeps all changes of a run, so it is not for long ones.
    """

    def __init__(self, *, commit_delay_ns: int, remember_ids_ns: int = DAY_NS) -> None:
        super().__init__(remember_ids_ns=remember_ids_ns)
        self._remember_ids_ns = remember_ids_ns
        self._commit_delay_ns = commit_delay_ns
        self._durable: list[Change] = []
        self._under_way: deque[tuple[int, Change]] = deque()

    def commit(self, event: NotificationEvent, command: SendNotification) -> Foreseen:
        super().commit(event, command)
        self._under_way.append((event.at_ns + self._commit_delay_ns, (event, command)))
        return Foreseen(self._commit_delay_ns, None)

    def change(self, change: SettingsChange) -> None:
        """Apply it from now on; it is durable as soon as all that was handed over before it is."""
        super().change(change)
        if self._under_way:
            self._under_way.append((self._under_way[-1][0], change))
        else:
            self._durable.append(change)

    def keep(self, actor: str, key: str, value: bytes | None, now_ns: int) -> Foreseen:
        super().keep(actor, key, value, now_ns)
        self._under_way.append((now_ns + self._commit_delay_ns, Kept(actor, key, value)))
        return Foreseen(self._commit_delay_ns, None)

    def has_made_durable(self, event: NotificationEvent, now_ns: int) -> bool:
        """Tell whether a change that was handed over is durable by an instant."""
        return event.at_ns + self._commit_delay_ns <= now_ns

    def _settle(self, now_ns: int) -> None:
        while self._under_way and self._under_way[0][0] <= now_ns:
            self._durable.append(self._under_way.popleft()[1])

    def crash(self, now_ns: int, is_recorded: Callable[[NotificationEvent], bool] = lambda event: False) -> int:
        """Drop the changes that are not durable by an instant; return how many those were.

        Args:
            now_ns: the instant.
            is_recorded: tells of an event whether the pipeline has recorded it already, so that it is durable too.
        """
        self._settle(now_ns)
        waiting = [change for _, change in self._under_way]
        recorded = [each for each in waiting if not isinstance(each, (SettingsChange, Kept)) and is_recorded(each[0])]
        self._durable += recorded
        self._under_way.clear()
        notes = [entry for entry in self._audit if entry.notification_id is None]
        super().__init__(remember_ids_ns=self._remember_ids_ns)
        for change in self._durable:
            if isinstance(change, SettingsChange):
                self._apply(change)
                continue
            if isinstance(change, Kept):
                super().keep(*change, now_ns)
                continue
            event, command = change
            self.remembered.get(event.notification_id, event.epoch_ns + event.at_ns)  # expires as it did then
            super().commit(event, command)
        entries = sorted((*self._audit, *notes), key=lambda entry: entry.at_ns)  # no note is lost
        self._audit.clear()
        self._audit.extend(entries)
        return len(waiting) - len(recorded)
