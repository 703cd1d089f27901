"""The changes that an event makes in a store on disk: computed once, when the event is handed over, and written by
SQLite and PostgreSQL, each into its own tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, get_args

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution
from actors.domain.codec import StoredEvent
from actors.domain.store import SettingsChange
from actors.errors import Overtaken
from actors.kernel.effects import Promise
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.storage.memory import NOTHING, Beside, Entry

ENDS = frozenset({NotificationSent, NotificationSuppressed, DeadLetterDiscarded})
"""The events that end a notification for good."""

HAPPENS = frozenset(get_args(StoredEvent)) - ENDS - {NotificationRequested}
"""The other events after its request; each is a row of its history."""

CONDITIONAL = frozenset({NotificationRequested, NotificationRedriven, DeadLetterDiscarded})
"""The events that may be overtaken: by another notification with the same id, or by another node."""


class StoredChange(msgspec.Struct, eq=False, gc=False):
    """An event, with everything that is written for it."""

    event: NotificationEvent
    command: SendNotification
    """With its edits."""
    before: Entry | None
    """The notification in memory before the event."""
    at_ns: int
    """When it happened, since 1970."""
    written: bytes = b""
    """The command, where it is requested."""
    steady_ns: int = 0
    """When the id was requested, or since when it is remembered, by the clock that no one sets."""
    entry: Entry | None = None
    """The notification in memory after the event, if it was requested or redriven."""
    beside: Beside = NOTHING
    was_marked: bool = False
    """Whether its notification has a mark until then."""
    number: int = 0
    """Orders the changes of a store, or of a batch."""
    promise: Promise | None = None
    """That it is durable, or Overtaken; None: it cannot be overtaken, and its batch is the promise."""

    @property
    def has_history(self) -> bool:
        return self.before is None or self.before.later is not None


class Mark(NamedTuple):
    """The record of an attempt, written before it."""

    is_own: bool
    """Whether its channel is none of the four."""

    caution: Caution
    alone: bool
    """Whether no other attempt is under way."""


class Turn:
    """Changes of different notifications, so that all of a kind may be written together."""

    __slots__ = ("_by_kind", "change", "has_own", "ids")

    def __init__(self, change: SettingsChange | None = None) -> None:
        self.change = change
        """A change of settings, which has a turn of its own between earlier and later changes."""
        self.ids: set[str] = set()
        self.has_own = False
        """Whether there are any of other channels than the four, which are written apart from theirs."""
        self._by_kind: dict[type, list[Any]] = {}

    def add(self, change: StoredChange) -> None:
        self.ids.add(change.event.notification_id)
        self._by_kind.setdefault(type(change.event), []).append(change)
        self.has_own |= change.event.channel.is_own

    def of(self, *kinds: type, own: bool | None = None) -> list[Any]:
        """Return the changes of these kinds, in order; with `own` False only the four channels', with True the
        others'."""
        found = [self._by_kind[kind] for kind in kinds if kind in self._by_kind]
        those = found[0] if len(found) == 1 else sorted(chain(*found), key=attrgetter("number"))
        return (
            those if own is None or not self.has_own else [each for each in those if each.event.channel.is_own is own]
        )


class Batch(Promise):
    """The changes of one transaction, and the promise that they are durable."""

    def __init__(self, numbers: Iterator[int], ahead_ns: int) -> None:
        super().__init__()
        self._numbers = numbers
        self.last = 0
        self.ahead_ns = ahead_ns
        """By how much the wall clock was ahead of the clock that no one sets when the batch began."""
        self.latest_ns = 0
        """The latest instant of a change in the batch, by the clock that no one sets, since 1970."""
        self.turns = [Turn()]
        self.beside: list[Any] = []
        self.notes: list[tuple[int, AuditEntry]] = []
        """Entries of the audit trail that are of no event, with their numbers."""
        self.kept: dict[tuple[str, str], bytes | None] = {}
        """The values that own actors keep after the batch, by actor and key; None: deleted."""
        self.marks: dict[str, Mark | None] = {}
        """The marks after the batch, by notification; None: deleted."""
        self.conditional: list[Any] = []
        self.overtaken: dict[Any, Overtaken] = {}
        """The changes that failed, as the id is known or another node was faster."""

    @property
    def is_full(self) -> bool:
        return False

    @property
    def promises(self) -> list[Promise]:
        return [*(change.promise for change in self.conditional), self]

    def resume(self) -> None:
        """Keep its promises, as it is durable; unless the store was lost meanwhile."""
        if not self.is_kept:
            for change in self.conditional:
                change.promise.keep(self.overtaken.get(change))
            self.keep()

    def add(self, change: Any) -> Promise:
        """Take an event in; return the promise that it is durable."""
        event = change.event
        notification_id, steady_ns = event.notification_id, change.at_ns - self.ahead_ns
        self.last = change.number = next(self._numbers)
        if steady_ns > self.latest_ns:
            self.latest_ns = steady_ns
        if change.written:
            change.steady_ns = steady_ns
        if change.beside is not NOTHING:
            self.beside.append(change)
        if change.was_marked:
            self.marks[notification_id] = None
        turn = self.turns[-1]
        if notification_id in turn.ids:
            turn = Turn()
            self.turns.append(turn)
        turn.add(change)
        if type(event) not in CONDITIONAL:
            return self
        self.conditional.append(change)
        promise = change.promise = Promise()
        return promise

    def note(self, entry: AuditEntry) -> Promise:
        self.last = next(self._numbers)
        self.notes.append((self.last, entry))
        self.latest_ns = max(self.latest_ns, entry.at_ns - self.ahead_ns)
        return self

    def mark(self, notification_id: str, mark: Mark) -> Promise:
        self.marks[notification_id] = mark
        return self

    def keep_state(self, actor: str, key: str, value: bytes | None) -> Promise:
        self.kept[actor, key] = value
        return self

    def change(self, change: SettingsChange) -> Promise:
        return self.note(change.audit)

    def audited(self) -> list[tuple[int, str | None, int, NotificationEvent | AuditEntry]]:
        """Return the number, notification, instant and content of each new entry of the audit trail."""
        found: list[tuple[int, str | None, int, NotificationEvent | AuditEntry]] = []
        for change in self.beside:
            if change not in self.overtaken and (entry := change.beside.audit) is not None:
                found.append((change.number, change.event.notification_id, change.at_ns, entry))
        found += ((number, entry.notification_id, entry.at_ns, entry) for number, entry in self.notes)
        return sorted(found, key=lambda each: each[0])
