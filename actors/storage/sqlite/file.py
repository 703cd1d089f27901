"""The file of a store in SQLite: its tables, which `schema.sql` describes, and the lock that keeps other processes out.

Every blob is in the form of :mod:`actors.domain.codec`. ``seq`` counts through all changes of a file, so rows in its
order are in the order of the events.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from actors.domain.suppressions import normal_address
from actors.errors import StoreError
from actors.messages import NotificationChannel
from actors.storage.sqlite.place import FilePlace, check_kind, in_use, make_private, reason_of

UNREADABLE = (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError, TypeError, AssertionError)
"""The errors of reading a damaged file; ValueError also for SQLite's own messages, where a damaged name in them is no
Unicode."""

APPLICATION_ID = 0x52744C62
"""The mark in the header of our files: ``RtLb``."""

VERSION = 3
"""The version of the schema: an earlier one was in no release."""

HALVES = ("", "own_")
"""The prefixes of table names: for the four channels, and for all other channels."""

_SCHEMA = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
_APART = tuple(re.findall(r"EXISTS \{half\}(\w+) \(", _SCHEMA))
"""The tables that there are in both halves."""


def show_both(sql: sqlite3.Connection) -> None:
    """Make views, for this connection alone, that show the tables of both halves as one: `every_history`."""
    there = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in _APART:
        halves = [f"SELECT * FROM {half}{table}" for half in HALVES if f"{half}{table}" in there]
        if halves:
            sql.execute(f"CREATE TEMP VIEW IF NOT EXISTS every_{table} AS {' UNION ALL '.join(halves)}")


TRY_S = 0.1
"""Seconds that one try to write waits for another process that has the file locked, such as a shell."""


def is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


class SqliteFile:
    """A file that is ours alone, with the newest schema.

    Make and use it in one and the same thread.

    Args:
        path: the path of the file.
        patiently: calls a function, and again as long as another process has the file locked.

    Raises (where it is made):
        StoreInUse: another process, or another store of this process, has the file.
        StoreError: the file is no database, not one of ours, of a later version, or cannot be opened.
    """

    def __init__(self, path: Path, *, patiently: Callable[[Callable[[], Any]], Any] = lambda do: do()) -> None:
        self.path = path
        self._patiently = patiently
        with contextlib.ExitStack() as opened:
            self._lock = opened.enter_context(contextlib.closing(self._locked()))
            self.place = opened.enter_context(contextlib.closing(FilePlace(path)))
            self.connection = opened.enter_context(contextlib.closing(self._connected()))
            self.place.keep_private()
            self._opened = opened.pop_all()

    def close(self) -> None:
        self._opened.close()

    def _locked(self) -> sqlite3.Connection:
        """Return what holds the lock, for as long as it is open and this process runs.

        A transaction on a file beside the store's: so it works wherever SQLite does, and others may still read the
        store, to look into it or to make a copy. Releases before this one have no other lock.
        """
        lock_path = self.path.with_name(self.path.name + "-lock")
        check_kind(self.path)
        make_private(lock_path)
        lock = _connect(self.path, lock_path, timeout=0)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except UNREADABLE as error:
            lock.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise in_use(self.path) from None
            raise StoreError(f"{self.path} cannot be locked by way of {lock_path.name}: {reason_of(error)}") from error
        return lock

    def _connected(self) -> sqlite3.Connection:
        connection = _connect(self.path, self.path, timeout=TRY_S)
        try:
            self._patiently(lambda: self._set_up(connection))
        except UNREADABLE as error:
            connection.close()
            raise StoreError(f"{self.path} cannot be used as a store: {reason_of(error)}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        check_whose_it_is(connection, self.path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{self.path} cannot be used as a store: wanted the journal mode wal, got {mode}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # where fsync alone leaves it in the disk's cache, as on macOS
        self._make_tables(connection)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.create_function(
            "normal_address", 2, lambda kind, text: normal_address(NotificationChannel(kind), text)
        )
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, since TEXT)")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            if _version_in(connection) == 0:
                since = datetime.now(UTC).isoformat(timespec="seconds")
                connection.execute("INSERT INTO schema_versions VALUES (?, ?)", (VERSION, since))
            _check_version(connection, self.path)
            for statement in _SCHEMA.strip().split(";\n"):
                for half in HALVES if "{half}" in statement else ("",):
                    connection.execute(statement.format(half=half))
            if not has_column(connection, "remembered", "ended_as"):
                connection.execute("ALTER TABLE remembered ADD COLUMN ended_as TEXT")
            show_both(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _connect(store: Path, path: Path, timeout: float) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, timeout=timeout, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{store} cannot be opened: {reason_of(error)}") from error


def rewrite_addresses(connection: sqlite3.Connection) -> None:
    """Give addresses their normal form, which may be another one than in the release before: of two that are the same
    now, one stays."""
    for table in (f"{half}{table}" for half in HALVES for table in ("suppressions", "endpoints")):
        is_former = f"FROM {table} WHERE address <> normal_address(channel, address)"
        for key in connection.execute(f"SELECT channel, address {is_former}").fetchall():
            normal = "SET address = normal_address(channel, address) WHERE channel = ? AND address = ?"
            connection.execute(f"UPDATE OR IGNORE {table} {normal}", key)
            connection.execute(f"DELETE FROM {table} WHERE channel = ? AND address = ?", key)


def check_whose_it_is(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError if this is the database of another program; an empty one is free."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (application_id or tables):
        raise StoreError(f"{path} cannot be used as a store: it is the database of another program")


def check_readable(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError if this is no store's, or of another version than is known here."""
    check_whose_it_is(connection, path)
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise StoreError(f"{path} cannot be read: it is empty")
    _check_version(connection, path)


def _version_in(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
    return int(version)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    if (version := _version_in(connection)) != VERSION:
        by = ", by a later release" if version > VERSION else ""
        raise StoreError(f"{path} has a schema of version {version}{by}: wanted one of {VERSION}")


def has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    found = connection.execute("SELECT count(*) FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone()
    return bool(found[0])
