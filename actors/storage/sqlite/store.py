"""The durable store of one process: a file of SQLite's, for a service that must not lose what it has accepted.

A change is durable when its transaction is on the disk (write-ahead log, ``synchronous = FULL``). Changes that come
while one transaction is being written go into the next one together, so that however many are under way, each waits
for two syncs of the disk at the most (group commit). All SQL is in one thread. That takes a batch by a few statements
for many rows each and not by one for each row: between any two of its calls the thread would have to wait until a busy
interpreter lets it go on.

What the store is asked is answered from memory, which has the commands and histories of all that has not ended, the
dead letters, and the commands of remembered ids; they are read when it is opened. At about a kilobyte each, that is
what bounds how much may be in flight or remembered.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import trio

from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution
from actors.domain.codec import encode_command, encode_event, encode_events
from actors.domain.store import SettingsChange, StoredHistory
from actors.domain.suppressions import Key, Suppression, normal_address, suppression_from
from actors.domain.user_preferences import UserPreferences
from actors.errors import StoreError, StoreFailed
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Effect, Promise
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from actors.storage.memory import DAY_NS, closes_case
from actors.storage.on_disk import ENDS, KEEP_AUDIT_NS, StoreOnDisk
from actors.storage.sqlite import marks
from actors.storage.sqlite.file import SqliteFile
from actors.storage.sqlite.reading import SqliteHistories, audit_entries, closed_history

logger = logging.getLogger(__name__)

A = TypeVar("A")

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that has the file locked to write into it, such as a shell."""

ROWS_A_STATEMENT = (128, 16, 1)
"""How many rows are written by one statement. The most is what older builds of SQLite have room for."""


class Retention(NamedTuple):
    """How long rows are kept that are not needed to resume, in nanoseconds."""

    remember_ids_ns: int
    keep_audit_ns: int
    """Of the audit trail, and of the history of what operators acted on."""


class Mark(NamedTuple):
    """What is written before an attempt."""

    caution: Caution
    alone: bool


_BY_PEOPLE = frozenset({NotificationRedriven, DeadLetterDiscarded})


class SqliteStore(StoreOnDisk, SqliteHistories):
    """Keeps everything in a file, for one notifier at a time. Make one with :meth:`open`; it is for live systems only.

    It fails as a whole: once a change could not be made durable, no later one is, every effect of one under way raises
    :class:`~actors.errors.StoreFailed`, and so does leaving the block of :meth:`open`.
    """

    def __init__(
        self,
        path: Path,
        *,
        remember_ids_ns: int = DAY_NS,
        keep_audit_ns: int = KEEP_AUDIT_NS,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        super().__init__(str(path), remember_ids_ns=remember_ids_ns)
        self.path = path
        self._retention = Retention(remember_ids_ns, keep_audit_ns)
        self._busy_timeout = busy_timeout
        self._seq = 0
        self._marked: dict[str, Caution] = {}
        """What is known of those that have a mark in the file, or will have one before their next attempt."""
        self._to_do: deque[_Batch | _Query] = deque()
        self._news = threading.Condition()
        """Guards the work, and notifies the thread when there is some."""
        self._batch: _Batch | None = None
        """The last batch, while more may go into it."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | PathLike[str],
        *,
        remember_ids: float = DAY_NS / NS_PER_S,
        keep_audit: float = KEEP_AUDIT_NS / NS_PER_S,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> AsyncGenerator[SqliteStore, None]:
        """Open the store in the file `path`, which is made if there is none, for as long as the block lasts.

        At the end of the block what was handed over is written; also when it is left by an exception, or cancelled.
        Beside the file are others with its name and ``-wal``, ``-shm`` and ``-lock`` behind; a copy needs the first.

        Args:
            path: of the file; in a directory that exists, on a local disk.
            remember_ids: seconds for which the id of a notification that has ended is remembered.
            keep_audit: seconds for which the audit trail goes back, and the history of what operators have redriven or
                discarded is kept after its end; 400 days, so that a year can be looked at.
            busy_timeout: seconds to wait for another process that has the file locked to write into it.

        Raises:
            StoreInUse: another process has it open.
            StoreError: it cannot be opened, is not a store, or is of a later version.
            StoreFailed (where the block is left): a change could not be made durable.
        """
        store = cls(
            Path(path).resolve(),
            remember_ids_ns=ns(remember_ids),
            keep_audit_ns=ns(keep_audit),
            busy_timeout=busy_timeout,
        )
        async with store._running():
            yield store

    def _begin_to_close(self) -> None:
        with self._news:
            self._closing = True
            self._news.notify()

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect:
        """Hand over a change; see :meth:`Store.commit`. The effect ends when it is durable, or raises.

        Raises:
            Unstorable: what is requested would not come back as it is.
            StoreFailed: an earlier change could not be made durable, or the store is closed.
        """
        self._check_open()
        kind = type(event)
        written = history = b""
        if kind is NotificationRequested:
            written = encode_command(command)
        elif kind in ENDS:
            entry = self._open.get(event.notification_id) or self._dead[event.notification_id]
            written = encode_command(entry.command)
            if closes_case(entry, event):
                history = encode_events((*entry.events, event))
        super().commit(event, command)
        self._seq += 1
        with self._news:
            batch = self._batch_to_fill()
            if self._marked.pop(event.notification_id, None) is not None:
                batch.mark(event.notification_id, None)
            batch.add(self._seq, event, command, written, history)
            if kind is NotificationRedriven or suppression_from(event, command.recipient) is not None:
                key = command.channel, normal_address(command.channel, command.recipient)
                batch.suppress(key, self.suppressions.stored_at(key))
        return batch

    def note(self, entry: AuditEntry) -> Effect:
        """Hand over an entry of the audit trail; see :meth:`Store.note`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the store is closed.
        """
        self._check_open()
        self._seq += 1
        with self._news:
            batch = self._batch_to_fill()
            batch.note(self._seq, entry)
        return batch

    def change(self, change: SettingsChange) -> Effect:
        """Hand over a change of settings; see :meth:`Store.change`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the store is closed.
        """
        self._check_open()
        self._apply(change)
        self._seq += 1
        with self._news:
            batch = self._batch_to_fill()
            batch.note(self._seq, change.audit)
            for key in (*(suppression.key for suppression in change.suppressed), *change.lifted):
                batch.suppress(key, self.suppressions.stored_at(key))
            for user_id, preferences in change.preferences.items():
                batch.prefer(user_id, preferences)
        return batch

    def mark(self, notification_id: str, *, alone: bool) -> Effect:
        """Hand over the mark of an attempt; see :meth:`Store.mark`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the store is closed.
        """
        self._check_open()
        with self._news:
            batch = self._batch_to_fill()
            batch.mark(notification_id, Mark(self._marked[notification_id], alone))
        return batch

    def mark_as_not_alone(self, notification_id: str) -> Effect | None:
        """Hand over that an attempt is no longer alone; see :meth:`Store.mark_as_not_alone`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the store is closed.
        """
        return self.mark(notification_id, alone=False) if notification_id in self._marked else None

    async def past(self, notification_id: str) -> StoredHistory | None:
        """Return what happened to a notification; see :meth:`Store.past`.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """
        known = self._past(notification_id)
        return known if known is not None else await self._ask(lambda sql: closed_history(sql, notification_id))

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        """Return what people have done, newest first; what they do now, too. See :meth:`Store.audit_trail`.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """
        return await self._ask(lambda sql: audit_entries(sql, limit, notification_id))

    def _batch_to_fill(self) -> _Batch:
        """Return the batch that changes go into now."""
        if self._batch is None:
            self._batch = _Batch()
            self._to_do.append(self._batch)
            self._news.notify()
        return self._batch

    async def _ask(self, read: Callable[[sqlite3.Connection], A]) -> A:
        query = _Query(read)
        with self._news:
            if self._closing:
                raise StoreError(f"{self.path} is closed")
            self._batch = None  # what comes from now on is later
            self._to_do.append(query)
            self._news.notify()
        await query.done.wait()
        if query.error is not None:
            raise StoreError(f"{self.path} cannot be read: {query.error}")
        answer: A = query.answer
        return answer

    # ── in the thread of its own ────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        try:
            file = SqliteFile(self.path, busy_timeout=self._busy_timeout)
        except Exception as error:
            self._not_opened = error
        else:
            try:
                self._load(file.connection)
                self._tell(self._opened.set)
                self._serve(file.connection)
                if self._failure is None:
                    marks.end(file.connection)
            except Exception as error:
                self._not_opened = error
            finally:
                with contextlib.suppress(sqlite3.Error):
                    file.close()
        self._tell(self._opened.set)
        self._tell(self._ended.set)

    def _serve(self, sql: sqlite3.Connection) -> None:
        """Do the queued work, in order, until the store closes and none is left."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._to_do or self._closing)
                if not self._to_do:
                    return
                work = self._to_do.popleft()
                if work is self._batch:
                    self._batch = None
            if isinstance(work, _Query):
                work.run(sql)
                self._tell(work.done.set)
                continue
            if self._failure is None:
                self._failure = self._write(sql, work)
            self._tell(work.keep, None if self._failure is None else StoreFailed(self._failure))

    def _write(self, sql: sqlite3.Connection, batch: _Batch) -> str | None:
        """Make a batch durable; return why it is not if it is not."""
        try:
            sql.execute("BEGIN IMMEDIATE")
            for turn in batch.turns:
                turn.write(sql, self._retention)
            sql.execute("COMMIT")
        except Exception as error:
            logger.exception("%s failed", self.path)
            with contextlib.suppress(sqlite3.Error):
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
            return f"{self.path} cannot be written: {error}"
        self.transactions += 1
        return None

    def _load(self, sql: sqlite3.Connection) -> None:
        """Read the whole state into memory."""
        try:
            self._seq = self.replay(sql)
            self.cautions = marks.begin(sql, self._open)
            self._marked = dict(self.cautions)
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error


# ── what is to do ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Query:
    """A question to the file, asked between two batches."""

    def __init__(self, read: Callable[[sqlite3.Connection], Any]) -> None:
        self.done = trio.Event()
        self.answer: Any = None
        self.error: Exception | None = None
        self._read = read

    def run(self, sql: sqlite3.Connection) -> None:
        """Find the answer."""
        try:
            self.answer = self._read(sql)
        except Exception as error:
            self.error = error


class _Batch(Promise):
    """The changes of one transaction, and the promise that they are durable."""

    __slots__ = ("turns",)

    def __init__(self) -> None:
        super().__init__()
        self.turns = [_Turn()]

    def add(
        self, seq: int, event: NotificationEvent, command: SendNotification, written: bytes, history: bytes
    ) -> None:
        """Take a change in."""
        turn = self.turns[-1]
        if event.notification_id in turn.ids:
            turn = _Turn()
            self.turns.append(turn)
        turn.add(seq, event, command, written, history)

    def note(self, seq: int, entry: AuditEntry) -> None:
        """Take an entry of the audit trail in."""
        self.turns[-1].audit += (seq, entry.notification_id, entry.at_ns, encode_event(entry))

    def mark(self, notification_id: str, mark: Mark | None) -> None:
        """Take in the mark of a notification from now on; None: it has none."""
        self.turns[-1].marks[notification_id] = mark

    def suppress(self, key: Key, suppression: Suppression | None) -> None:
        """Take in how an address is suppressed from now on; None: it is not."""
        self.turns[-1].suppressions[key] = suppression

    def prefer(self, user_id: str, preferences: UserPreferences | None) -> None:
        """Take in what a user has set from now on; None: nothing."""
        self.turns[-1].preferences[user_id] = preferences


class _Turn:
    """Changes of which each is of another notification, so that those of a kind may be written together."""

    __slots__ = (
        "audit",
        "closed",
        "ended",
        "history",
        "ids",
        "marks",
        "preferences",
        "remembered",
        "requested",
        "suppressions",
    )

    def __init__(self) -> None:
        self.ids: set[str] = set()
        # The values of rows, one after the other, without a tuple for each.
        self.requested: list[Any] = []
        self.history: list[Any] = []
        self.ended: list[str] = []
        self.remembered: list[Any] = []
        self.audit: list[Any] = []
        self.closed: list[Any] = []
        # What is so in the end, None where nothing is.
        self.marks: dict[str, Mark | None] = {}
        self.suppressions: dict[Key, Suppression | None] = {}
        self.preferences: dict[str, UserPreferences | None] = {}

    def add(
        self, seq: int, event: NotificationEvent, command: SendNotification, written: bytes, history: bytes
    ) -> None:
        """Take a change in.

        Args:
            seq: its number.
            event: what happened.
            command: of the notification, with what is edited.
            written: its command as it was accepted, where it is requested, or ends.
            history: all that happened to it, where it ends and that is to be kept.
        """
        kind, notification_id = type(event), event.notification_id
        self.ids.add(notification_id)
        if kind is NotificationRequested:
            self.requested += (seq, notification_id, written, encode_event(event))
            return
        if kind in _BY_PEOPLE:
            self.audit += (seq, notification_id, event.epoch_ns + event.at_ns, encode_event(event))
        if kind in ENDS:
            ended_ns = event.epoch_ns + event.at_ns
            self.ended.append(notification_id)
            self.remembered += (seq, notification_id, ended_ns, written)
            if history:
                self.closed += (seq, notification_id, ended_ns, written, history)
            return
        self.history += (seq, notification_id, encode_event(event))

    def write(self, sql: sqlite3.Connection, retention: Retention) -> None:
        """Write them, within a transaction."""
        _insert(sql, "INSERT INTO notifications VALUES", 4, self.requested)
        _insert(sql, "INSERT INTO history VALUES", 3, self.history)
        if self.audit:
            _insert(sql, "INSERT INTO audit VALUES", 4, self.audit)
            _forget(sql, "audit", "at_ns", len(self.audit) // 4, self.audit[-2] - retention.keep_audit_ns)
        if self.ended:
            _delete(sql, "notifications", self.ended)
            _delete(sql, "history", self.ended)
            _insert(sql, "INSERT OR REPLACE INTO remembered VALUES", 4, self.remembered)
            _forget(sql, "remembered", "ended_ns", len(self.ended), self.remembered[-2] - retention.remember_ids_ns)
        if self.closed:
            _insert(sql, "INSERT OR REPLACE INTO closed VALUES", 5, self.closed)
            _forget(sql, "closed", "ended_ns", len(self.closed) // 5, self.closed[-3] - retention.keep_audit_ns)
        for notification_id, mark in self.marks.items():
            if mark is None:
                marks.take_away(sql, notification_id)
            else:
                marks.write(sql, notification_id, mark.caution, under_way=True, alone=mark.alone)
        if self.suppressions:
            self._write_suppressions(sql)
        if self.preferences:
            self._write_preferences(sql)

    def _write_suppressions(self, sql: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for (channel, address), each in self.suppressions.items():
            if each is None:
                sql.execute("DELETE FROM suppressions WHERE channel = ? AND address = ?", (channel.value, address))
            else:
                rows += (channel.value, address, each.reason, each.source.value, each.since_ns, each.by)
        _insert(sql, "INSERT OR REPLACE INTO suppressions VALUES", 6, rows)

    def _write_preferences(self, sql: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for user_id, preferences in self.preferences.items():
            if preferences is None:
                sql.execute("DELETE FROM preferences WHERE user_id = ?", (user_id,))
            else:
                rows += (user_id, preferences.written())
        _insert(sql, "INSERT OR REPLACE INTO preferences VALUES", 2, rows)


def _insert(sql: sqlite3.Connection, insert: str, width: int, values: Sequence[Any]) -> None:
    """Insert rows of so many values each, by few statements."""
    row = f"({','.join('?' * width)})"
    for start, rows in _slices(len(values) // width):
        sql.execute(f"{insert} {','.join([row] * rows)}", values[start * width : (start + rows) * width])


def _delete(sql: sqlite3.Connection, table: str, ids: Sequence[str]) -> None:
    """Delete the rows of some notifications, by few statements."""
    for start, rows in _slices(len(ids)):
        which = ",".join("?" * rows)
        sql.execute(f"DELETE FROM {table} WHERE notification_id IN ({which})", ids[start : start + rows])


def _forget(sql: sqlite3.Connection, table: str, column: str, arrived: int, until_ns: int) -> None:
    """Delete the oldest rows whose time has passed, after so many have arrived.

    Two for each that comes: so those whose time has passed become fewer, and no transaction is much longer.
    """
    sql.execute(
        f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} ORDER BY seq LIMIT ?) AND {column} <= ?",
        (2 * arrived, until_ns),
    )


def _slices(rows: int) -> list[tuple[int, int]]:
    """Return where each statement for so many rows starts, and how many it takes: of few sizes, to be prepared once."""
    slices, start = [], 0
    for size in ROWS_A_STATEMENT:
        while rows - start >= size:
            slices.append((start, size))
            start += size
    return slices
