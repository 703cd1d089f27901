"""The durable store of one process: a file of SQLite's, for a service that must not lose what it has accepted.

A change is durable when its transaction is on the disk (write-ahead log, ``synchronous = FULL``). Changes that come
while one transaction is being written go into the next one together, so however many are under way, each waits for two
syncs of the disk at most (group commit). All SQL is in one thread. It writes a batch by a few statements for many rows
each: with a statement for each row the thread would have to wait for a busy interpreter between any two rows.

The store answers from memory, which has the commands and histories of notifications that have not ended, and the dead
letters; it reads them when it is opened. At about a kilobyte each, they bound how many may be in flight. Only the
latest remembered ids are in memory, the others in the file: whether an id is new is found out in the transaction that
accepts it, which raises :class:`~actors.errors.Overtaken` if it is not.

How long an id has been remembered goes by the clock of the machine's boot, which no one sets, also over restarts of the
process within one boot. After another boot it is not known how much time has passed if the wall clock was set; then the
latest 100,000 ids are remembered as if they had just ended.

A row has a checksum over its content and its place. A notification whose row was changed on the disk is not sent: it
stays in the file, the log says so, and its id is refused.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from os import PathLike
from pathlib import Path
from typing import TypeVar

import msgspec

from actors.domain.store import SettingsChange
from actors.domain.suppressions import Key, Suppression, normal_address
from actors.errors import StoreError, Unstorable
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Effect
from actors.messages import NotificationEvent, NotificationRedriven, NotificationRequested, SendNotification
from actors.storage.clock_steps import Clocks
from actors.storage.memory import DAY_NS, Entry
from actors.storage.on_disk import KEEP_AUDIT_NS, StoreOnDisk
from actors.storage.sqlite import marks, reading
from actors.storage.sqlite.batch import Retention, SqliteBatch, SqliteChange
from actors.storage.sqlite.file import HALVES, UNREADABLE, SqliteFile, is_locked, rewrite_addresses
from actors.storage.sqlite.place import lock_holder, reason_of, resolved
from actors.storage.sqlite.reading import RememberedRows, SqliteHistories, requests_in
from actors.storage.work_queue import Query

logger = logging.getLogger(__name__)

A = TypeVar("A")

BUSY_TIMEOUT = 30.0
"""Seconds that opening the file waits for another process that has it locked to write into it, such as a shell."""

LOOK_PAUSE = 0.5
"""Seconds between two looks whether the file is still there and may be written, while nothing is."""

KEPT_IDS = 100_000
"""How many ids, the latest, are remembered over a boot of the machine whatever their age seems to be."""


class SqliteStore(StoreOnDisk, SqliteHistories):
    """Keeps everything in a file, for one notifier at a time. Make one with :meth:`open`; it is for live systems only.

    It fails as a whole: once a change could not be made durable, no later change is, the effects of all changes under
    way raise :class:`~actors.errors.StoreFailed`, and so does leaving the block of :meth:`open`. A lock of another
    process is no failure: changes wait until the lock is released. No attempt starts meanwhile, the log says who holds
    the lock, and callers get :class:`~actors.errors.StoreBusy` after a second.
    """

    _reads = reading
    _change = SqliteChange

    def __init__(
        self,
        path: Path,
        *,
        remember_ids_ns: int = DAY_NS,
        keep_audit_ns: int = KEEP_AUDIT_NS,
        busy_timeout: float = BUSY_TIMEOUT,
        clocks: Clocks | None = None,
    ) -> None:
        super().__init__(str(path), remember_ids_ns=remember_ids_ns, clocks=clocks)
        self.path = path
        self.damaged = {}
        self._retention = Retention(RememberedRows(remember_ids_ns), keep_audit_ns, closed_in=frozenset())
        self._busy_timeout = busy_timeout
        self._file: SqliteFile | None = None
        self.lease_holds = lambda: not self._patience.is_locked
        self._numbers: Iterator[int] = count(1)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | PathLike[str],
        *,
        remember_ids: float = DAY_NS / NS_PER_S,
        keep_audit: float = KEEP_AUDIT_NS / NS_PER_S,
        busy_timeout: float = BUSY_TIMEOUT,
        clocks: Clocks | None = None,
    ) -> AsyncGenerator[SqliteStore, None]:
        """Open the store in the file `path`, which is made if there is none, for as long as the block lasts.

        At the end of the block all changes are written, also when it is left by an exception, or cancelled. The end
        waits at most 10 s for another process that has the file locked.

        Beside the file are others with its name and ``-wal``, ``-shm`` and ``-lock`` behind; a copy needs the first.
        All are private to their owner. The store fails within a second when the file is deleted, moved or replaced.

        Args:
            path: the path of the file, in a directory that exists, on a local disk.
            remember_ids: seconds for which the id of a notification that has ended is remembered.
            keep_audit: seconds for which the audit trail goes back, and for which the history of a redriven or
                discarded notification is kept after its end; 400 days, so that a year can be looked at.
            busy_timeout: seconds to wait, while the store is opened, for another process that has locked the file to
                write into it.
            clocks: the clocks that show whether the wall clock was set; None: this machine's.

        Raises:
            StoreInUse: another process has the file open.
            StoreError: the file cannot be opened, is not a store, or is of a later version.
            StoreFailed (where the block is left): a change could not be made durable, or the file is gone.
        """
        store = cls(
            resolved(path),
            remember_ids_ns=ns(remember_ids),
            keep_audit_ns=ns(keep_audit),
            busy_timeout=busy_timeout,
            clocks=clocks,
        )
        async with store._running():
            yield store

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def _new_batch(self) -> SqliteBatch:
        return SqliteBatch(self._numbers, self._steps.ahead_ns())

    def _changed(self, event: NotificationEvent, command: SendNotification, before: Entry | None) -> SqliteChange:
        kind, notification_id = type(event), event.notification_id
        if kind is NotificationRequested and (why := self.damaged.get(notification_id)) is not None:
            raise Unstorable(f"notification {notification_id!r} is in the store already, and cannot be sent: {why}")
        left = self._requests.by_member.get(notification_id)
        change: SqliteChange = super()._changed(event, command, before)
        if (request := self._requests.by_member.get(notification_id)) is not None:
            change.joins(request)
        elif left is not None:
            change = msgspec.structs.replace(change, requests=dict.fromkeys(left.members))
        if kind is NotificationRedriven or change.beside.suppression is not None:
            key = event.channel, normal_address(event.channel, command.recipient)
            change = msgspec.structs.replace(change, suppressions={key: self.suppressions.stored_at(key)})
        return change

    def change(self, change: SettingsChange) -> Effect:
        self._check_change(change)
        suppressions: dict[Key, Suppression | None] = {**self._apply(change)}
        for key in (*(suppression.key for suppression in change.suppressed), *change.lifted):
            suppressions[key] = self.suppressions.stored_at(key)

        return self._to_do.put(lambda batch: batch.change(change, suppressions))

    @property
    def _kept(self) -> RememberedRows:
        return self._retention.remembered

    # ── in the thread of its own ────────────────────────────────────────────────────────────────────────────────

    def _open_and_serve(self) -> None:
        file = SqliteFile(self.path, patiently=self._patiently)
        try:
            self._load(file.connection)
            file.place.why_gone()
            self._file = file
            self._tell(self._opened.set)
            self._serve(file)
            if self._failure is None:
                self._patiently(lambda: marks.end(file.connection))
        finally:
            with contextlib.suppress(sqlite3.Error):
                file.close()

    def _serve(self, file: SqliteFile) -> None:
        while not self._to_do.is_over:
            work = self._to_do.take()
            if work is None:
                self._to_do.wait(LOOK_PAUSE)
                work = self._to_do.take()
            failure = None
            if work is None:
                with contextlib.suppress(sqlite3.Error):  # which is for the next write to meet
                    self._patiently(lambda: file.connection.executescript("BEGIN IMMEDIATE; ROLLBACK"))
                failure = file.place.why_gone()
            elif isinstance(work, Query):
                self._answer(file, work)
            else:
                failure = self._write(file, work)
            if failure is not None:
                logger.error("%s", failure)
                self._lose(failure)
                self._to_do.closed.wait()  # until then the file is ours
                return
            if work is not None:
                self._tell(self._is_done, work)
                self._to_do.put_down()

    def _patiently(self, do: Callable[[], A]) -> A:
        since = time.monotonic()
        while True:
            try:
                done = do()
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                is_open, waited = self._file is not None, time.monotonic() - since
                gives_up = (
                    self._patience.is_over() if is_open else self._to_do.closed.is_set() or waited >= self._busy_timeout
                )
                if gives_up or (self._file is not None and self._file.place.why_gone() is not None):
                    error.args = (f"{error}: {lock_holder(self.path)}",)
                    raise
                self._patience.waits(since, lambda: lock_holder(self.path))
            else:
                self._patience.goes_on(since)
                return done

    def _answer(self, file: SqliteFile, query: Query) -> None:
        try:
            query.answered(self._patiently(lambda: query.read(file.connection)))
        except Exception as error:
            failure = StoreError(f"{self.path} cannot be read: {reason_of(error)}")
            failure.__cause__ = error
            query.answered(failure)

    def _write(self, file: SqliteFile, batch: SqliteBatch) -> str | None:
        if closed := {HALVES[each.event.channel.is_own] for each in batch.beside if each.beside.closed is not None}:
            self._retention = self._retention._replace(closed_in=self._retention.closed_in | closed)
        try:
            self._patiently(lambda: self._commit(file.connection, batch))
        except Exception as error:
            if not isinstance(error, (sqlite3.Error, ValueError)):
                logger.exception("%s failed", self.path)
            return f"{self.path} cannot be written: {reason_of(error)}"
        return file.place.why_gone()  # looked at afterwards, so that nothing in a deleted file is said to be durable

    def _commit(self, sql: sqlite3.Connection, batch: SqliteBatch) -> None:
        try:
            sql.execute("BEGIN IMMEDIATE")
            batch.write(sql, self._retention)
            sql.execute("COMMIT")
        except Exception:
            with contextlib.suppress(sqlite3.Error):
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
            raise

    def _load(self, sql: sqlite3.Connection) -> None:
        try:
            self._patiently(lambda: sql.execute("BEGIN IMMEDIATE"))
            rewrite_addresses(sql)
            self._numbers = count(self.replay(sql) + 1)
            stale = [member for member, *_ in requests_in(sql) if member not in self._requests.by_member]
            for half in HALVES:
                delete = f"DELETE FROM {half}requests WHERE notification_id = ?"
                sql.executemany(delete, [(member,) for member in stale])
            self._be_careful(marks.begin(sql, self._open))
            self._resume_clock(sql)
            closed = {half for half in HALVES if sql.execute(f"SELECT 1 FROM {half}closed LIMIT 1").fetchone()}
            self._retention = self._retention._replace(closed_in=frozenset(closed))
            sql.execute("COMMIT")
        except UNREADABLE as error:
            raise StoreError(f"{self.path} cannot be read: {reason_of(error)}") from error

    def _resume_clock(self, sql: sqlite3.Connection) -> None:
        boot_id = self._steps.clocks.boot_id
        newest = "SELECT seq, ended_ns FROM {}remembered ORDER BY seq DESC LIMIT 1"
        found = [row for half in HALVES if (row := sql.execute(newest.format(half)).fetchone()) is not None]
        kept_to_seq = max((int(seq) for seq, _ in found), default=-1)
        latest_ns = max((int(ended_ns) for _, ended_ns in found), default=0)
        row = sql.execute("SELECT boot_id, anchor_ns, kept_from_seq, kept_to_seq, kept_at_ns FROM clock").fetchone()
        if row is not None and row[0] == boot_id:
            anchor_ns, kept_from_seq, kept_to_seq, kept_at_ns = map(int, row[1:])
            self._steps.resume(anchor_ns)
        else:
            self._steps.go_on_from(latest_ns)
            kept_at_ns = self._steps.steady_ns
            kept = sql.execute("SELECT seq FROM remembered ORDER BY seq DESC LIMIT 1 OFFSET ?", (KEPT_IDS - 1,))
            (kept_from_seq,) = kept.fetchone() or (0,)
            sql.execute(
                "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?, ?)",
                (boot_id, self._steps.anchor_ns, kept_from_seq, kept_to_seq, kept_at_ns),
            )
        self.remembered.resume(latest_ns)
        remembered = RememberedRows(self.remembered.ttl_ns, (kept_from_seq, kept_to_seq), kept_at_ns)
        self._retention = self._retention._replace(remembered=remembered)
