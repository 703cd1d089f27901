"""The durable store of one process: a file of SQLite's, for a service that is to lose nothing it has accepted.

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
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import trio

from actors.effects import Effect
from actors.errors import StoreError, StoreFailed
from actors.instants import NS_PER_S, ns, utc
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.storage.codec import decode_command, decode_event, encode_command, encode_event
from actors.storage.memory import DAY_NS, MemoryStore, tells_of_dead_address
from actors.storage.sqlite_file import SqliteFile

logger = logging.getLogger(__name__)

BUSY_TIMEOUT = 30.0
"""Seconds to wait for somebody who has the file locked to write into it, by hand for instance."""

ROWS_A_STATEMENT = (128, 16, 1)
"""How many rows are written by one statement. The most is what older builds of SQLite have room for."""

_ENDS = frozenset({NotificationSent, NotificationSuppressed, DeadLetterDiscarded})
_BY_PEOPLE = frozenset({NotificationRedriven, DeadLetterDiscarded})


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did to a dead letter."""

    event: NotificationRedriven | DeadLetterDiscarded
    """What, why and by whom."""

    command: SendNotification
    """The notification."""

    @property
    def at(self) -> datetime:
        """When, in UTC."""
        return utc(self.event.epoch_ns + self.event.at_ns)


class SqliteStore(MemoryStore):
    """Keeps everything in a file, for one notifier at a time. Make one with :meth:`open`; it is for live systems only.

    It fails as a whole: once a change could not be made durable, no later one is, every effect of one under way raises
    :class:`~actors.errors.StoreFailed`, and so does leaving the block of :meth:`open`.
    """

    def __init__(self, path: Path, *, remember_ids_ns: int = DAY_NS, busy_timeout: float = BUSY_TIMEOUT) -> None:
        super().__init__(remember_ids_ns=remember_ids_ns)
        self.path = path
        self.transactions = 0
        """How many transactions have been committed since it was opened."""
        self._remember_ids_ns = remember_ids_ns
        self._busy_timeout = busy_timeout
        self._seq = 0
        self._token = trio.lowlevel.current_trio_token()
        self._to_do: deque[_Batch | _Query] = deque()
        self._news = threading.Condition()
        """Guards what is to do, and says when there is something."""
        self._batch: _Batch | None = None
        """The last of what is to do, while more may go into it."""
        self._closing = False
        self._failure: str | None = None
        """Why nothing can be made durable any more."""
        self._thread = threading.Thread(target=self._work, name=f"store {path.name}", daemon=True)
        self._opened, self._ended = trio.Event(), trio.Event()
        self._not_opened: Exception | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: str | PathLike[str], *, remember_ids: float = DAY_NS / NS_PER_S, busy_timeout: float = BUSY_TIMEOUT
    ) -> AsyncGenerator[SqliteStore, None]:
        """Open the store in the file `path`, which is made if there is none, for as long as the block lasts.

        At the end of the block what was handed over is written; also when it is left by an exception, or cancelled.
        Beside the file are others with its name and ``-wal``, ``-shm`` and ``-lock`` behind; a copy needs the first.

        Args:
            path: of the file; in a directory that exists, on a local disk.
            remember_ids: seconds for which the id of a notification that has ended is remembered.
            busy_timeout: seconds to wait for somebody else who has the file locked to write into it.

        Raises:
            StoreInUse: another process has it open.
            StoreError: it cannot be opened, is not a store, or is of a later version.
            StoreFailed (where the block is left): a change could not be made durable.
        """
        store = cls(Path(path).resolve(), remember_ids_ns=ns(remember_ids), busy_timeout=busy_timeout)
        store._thread.start()
        try:
            await store._opened.wait()
            if store._not_opened is not None:
                raise store._not_opened
            yield store
        finally:
            with trio.CancelScope(shield=True):
                await store._close()
        if store._failure is not None:
            raise StoreFailed(store._failure)

    async def _close(self) -> None:
        with self._news:
            self._closing = True
            self._news.notify()
        await self._ended.wait()

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect:
        """Hand over a change; see :meth:`Store.commit`. The effect ends when it is durable, or raises.

        Raises:
            Unstorable: what is requested would not come back as it is.
            StoreFailed: an earlier change could not be made durable.
            StoreError: the store is closed.
        """
        if self._failure is not None:
            raise StoreFailed(self._failure)
        if self._closing:
            raise StoreError(f"{self.path} is closed")
        kind = type(event)
        written = encode_command(command) if kind is NotificationRequested or kind in _ENDS else b""
        super().commit(event, command)
        self._seq += 1
        with self._news:
            batch = self._batch
            if batch is None:
                batch = self._batch = _Batch()
                self._to_do.append(batch)
                self._news.notify()
            batch.add(self._seq, event, command, written)
        return batch.wait

    async def audit_trail(self) -> list[AuditEntry]:
        """Return what people have done to dead letters, oldest first; what they do now, too.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """
        rows = await self._ask(lambda sql: sql.execute("SELECT event, command FROM audit ORDER BY seq").fetchall())
        entries = []
        for event, command in rows:
            done = decode_event(event)
            assert isinstance(done, (NotificationRedriven, DeadLetterDiscarded))
            entries.append(AuditEntry(event=done, command=decode_command(command)))
        return entries

    async def _ask(self, read: _Read) -> Any:
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
        return query.rows

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
            except Exception as error:
                self._not_opened = error
            finally:
                with contextlib.suppress(sqlite3.Error):
                    file.close()
        self._tell(self._opened.set)
        self._tell(self._ended.set)

    def _tell(self, function: Callable[[], object]) -> None:
        """Have a function called in the thread of the system, if that is still there."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    def _serve(self, sql: sqlite3.Connection) -> None:
        """Do what is to do, in order, until the store closes and nothing is left."""
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
            elif self._failure is None:
                work.error = self._failure = self._write(sql, work)
            else:
                work.error = self._failure
            self._tell(work.done.set)

    def _write(self, sql: sqlite3.Connection, batch: _Batch) -> str | None:
        """Make a batch durable; return why it is not if it is not."""
        try:
            sql.execute("BEGIN IMMEDIATE")
            for turn in batch.turns:
                turn.write(sql, self._remember_ids_ns)
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
        """Read the whole state into memory. By going through all that happened again, it comes out as it was."""
        try:
            commands = {}
            self._dead_addresses.update(
                (NotificationChannel(channel), recipient)
                for channel, recipient in sql.execute("SELECT channel, recipient FROM dead_addresses")
            )
            dead_addresses = set(self._dead_addresses)
            remembered = sql.execute("SELECT seq, notification_id, ended_ns, command FROM remembered ORDER BY seq")
            present = {
                notification_id for (notification_id,) in sql.execute("SELECT notification_id FROM notifications")
            }
            for seq, notification_id, ended_ns, command in remembered:
                self._seq = max(self._seq, seq)
                if notification_id not in present:  # else its time was up, and it was accepted anew
                    self.remembered.add(decode_command(command), ended_ns)
            changes = sql.execute(
                "SELECT seq, notification_id, requested, command FROM notifications "
                "UNION ALL SELECT seq, notification_id, event, NULL FROM history ORDER BY seq"
            )
            for seq, notification_id, event, command in changes:
                if command is not None:
                    commands[notification_id] = decode_command(command)
                super().commit(decode_event(event), commands[notification_id])
                self._seq = max(self._seq, seq)
            (audited,) = sql.execute("SELECT coalesce(max(seq), 0) FROM audit").fetchone()
            self._seq = max(self._seq, audited)
            self._dead_addresses = dead_addresses  # those of letters that are discarded, too
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error


# ── what is to do ───────────────────────────────────────────────────────────────────────────────────────────────────


_Read: TypeAlias = Callable[[sqlite3.Connection], list[tuple[Any, ...]]]


class _Query:
    """A question to the file, asked between two batches."""

    def __init__(self, read: _Read) -> None:
        self.done = trio.Event()
        self.rows: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self._read = read

    def run(self, sql: sqlite3.Connection) -> None:
        """Read the rows."""
        try:
            self.rows = self._read(sql)
        except Exception as error:
            self.error = error


class _Batch:
    """The changes of one transaction."""

    __slots__ = ("done", "error", "turns")

    def __init__(self) -> None:
        self.turns = [_Turn()]
        self.done = trio.Event()
        self.error: str | None = None
        """Why they are not durable; None: they are, once it is done."""

    def add(self, seq: int, event: NotificationEvent, command: SendNotification, written: bytes) -> None:
        """Take a change in."""
        turn = self.turns[-1]
        if event.notification_id in turn.ids:
            turn = _Turn()
            self.turns.append(turn)
        turn.add(seq, event, command, written)

    async def wait(self) -> None:
        """Wait until they are durable."""
        await self.done.wait()
        if self.error is not None:
            raise StoreFailed(self.error)


class _Turn:
    """Changes of which each is of another notification, so that those of a kind may be written together."""

    __slots__ = ("addresses", "audit", "ended", "history", "ids", "remembered", "requested")

    def __init__(self) -> None:
        self.ids: set[str] = set()
        # The values of rows, one after the other, without a tuple for each.
        self.requested: list[Any] = []
        self.history: list[Any] = []
        self.ended: list[str] = []
        self.remembered: list[Any] = []
        self.audit: list[Any] = []
        self.addresses: dict[tuple[str, str], int | None] = {}
        """Since when each is dead; None: it is not any more."""

    def add(self, seq: int, event: NotificationEvent, command: SendNotification, written: bytes) -> None:
        """Take a change in; `written` is the command of a notification that is requested, or ends."""
        kind, notification_id = type(event), event.notification_id
        self.ids.add(notification_id)
        if kind is NotificationRequested:
            self.requested += (seq, notification_id, written, encode_event(event))
            return
        if kind in _BY_PEOPLE:
            self.audit += (seq, notification_id, encode_event(event), written or encode_command(command))
        if kind in _ENDS:
            self.ended.append(notification_id)
            self.remembered += (seq, notification_id, event.epoch_ns + event.at_ns, written)
            return
        self.history += (seq, notification_id, encode_event(event))
        if kind is NotificationRedriven:
            self.addresses[command.channel.value, command.recipient] = None
        elif tells_of_dead_address(event):
            self.addresses[command.channel.value, command.recipient] = event.epoch_ns + event.at_ns

    def write(self, sql: sqlite3.Connection, remember_ids_ns: int) -> None:
        """Write them, within a transaction."""
        _insert(sql, "INSERT INTO notifications VALUES", 4, self.requested)
        _insert(sql, "INSERT INTO history VALUES", 3, self.history)
        _insert(sql, "INSERT INTO audit VALUES", 4, self.audit)
        if self.ended:
            _delete(sql, "notifications", self.ended)
            _delete(sql, "history", self.ended)
            _insert(sql, "INSERT OR REPLACE INTO remembered VALUES", 4, self.remembered)
            # Two for each that comes: so those whose time is up become fewer, and no transaction is much longer.
            sql.execute(
                "DELETE FROM remembered WHERE seq IN (SELECT seq FROM remembered ORDER BY seq LIMIT ?) "
                "AND ended_ns <= ?",
                (2 * len(self.ended), self.remembered[-2] - remember_ids_ns),
            )
        for (channel, recipient), since_ns in self.addresses.items():
            if since_ns is None:
                sql.execute("DELETE FROM dead_addresses WHERE channel = ? AND recipient = ?", (channel, recipient))
            else:
                sql.execute("INSERT OR IGNORE INTO dead_addresses VALUES (?, ?, ?)", (channel, recipient, since_ns))


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


def _slices(rows: int) -> list[tuple[int, int]]:
    """Return where each statement for so many rows starts, and how many it takes: of few sizes, to be prepared once."""
    slices, start = [], 0
    for size in ROWS_A_STATEMENT:
        while rows - start >= size:
            slices.append((start, size))
            start += size
    return slices
