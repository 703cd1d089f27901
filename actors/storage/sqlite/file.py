"""The file of a store in SQLite: its schema with its versions, and the lock that keeps other processes out.

Every blob is in the form of :mod:`actors.domain.codec`. ``seq`` counts through all changes of a file, so rows in its
order are in the order of the events.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
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

MIGRATIONS: tuple[str, ...] = (
    """
    -- What has not ended, and dead letters. Their state follows from their history: the event by which they were
    -- requested is here, the later ones are in `history`.
    CREATE TABLE notifications (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        command BLOB NOT NULL,
        requested BLOB NOT NULL
    );
    CREATE TABLE history (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL,
        event BLOB NOT NULL
    );
    CREATE INDEX history_of_notification ON history (notification_id);
    -- Ids of what has ended, with the command that they came with.
    CREATE TABLE remembered (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        ended_ns INTEGER NOT NULL,  -- since 1970
        command BLOB NOT NULL
    );
    -- Addresses that a provider said are gone.
    CREATE TABLE dead_addresses (
        channel TEXT NOT NULL,
        recipient TEXT NOT NULL,
        since_ns INTEGER NOT NULL,  -- since 1970
        PRIMARY KEY (channel, recipient)
    ) WITHOUT ROWID;
    -- What people did to dead letters; never deleted from here.
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL,
        event BLOB NOT NULL,
        command BLOB NOT NULL
    );
    """,
    """
    -- What people did, and what the dead letter queue discarded by itself: its event, or an entry of its own.
    ALTER TABLE audit RENAME TO audit_until_now;
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT,
        at_ns INTEGER NOT NULL,  -- since 1970; of entries from before this version, when the file became of it
        entry BLOB NOT NULL
    );
    CREATE INDEX audit_of_notification ON audit (notification_id);
    INSERT INTO audit
        SELECT seq, notification_id, CAST(strftime('%s', 'now') AS INTEGER) * 1000000000, event FROM audit_until_now;
    DROP TABLE audit_until_now;
    -- What happened to notifications that have ended since they were redriven or discarded.
    CREATE TABLE closed (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        ended_ns INTEGER NOT NULL,  -- since 1970
        command BLOB NOT NULL,
        events BLOB NOT NULL
    );
    """,
    """
    -- Addresses that nothing is sent to, in their normal form.
    CREATE TABLE suppressions (
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        source TEXT NOT NULL,  -- who says so: provider, operator or file
        since_ns INTEGER NOT NULL,  -- since 1970
        added_by TEXT,
        PRIMARY KEY (channel, address)
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO suppressions
        SELECT channel, normal_address(channel, recipient), 'the address is gone', 'provider', since_ns, NULL
        FROM dead_addresses ORDER BY since_ns;
    DROP TABLE dead_addresses;
    -- What users have set, as JSON.
    CREATE TABLE preferences (user_id TEXT PRIMARY KEY, preferences TEXT NOT NULL) WITHOUT ROWID;
    """,
)
"""The statements that take a file from each version to the next; the first makes version 1."""

ADDED: tuple[str, ...] = (
    # One row: how long ids have been remembered does not go by the wall clock; see `SqliteStore`.
    """
    CREATE TABLE IF NOT EXISTS clock (
        row INTEGER PRIMARY KEY CHECK (row = 1),
        boot_id TEXT NOT NULL,
        anchor_ns INTEGER NOT NULL,  -- what to add to the clock of this boot
        kept_from_seq INTEGER NOT NULL,  -- remembered ids from here ...
        kept_to_seq INTEGER NOT NULL,  -- ... up to here count as ended when the file was first opened in this boot ...
        kept_at_ns INTEGER NOT NULL  -- ... which was then
    )
    """,
    # Endpoints of which every attempt fails, and those that are disabled for it; addresses are in their normal form.
    """
    CREATE TABLE IF NOT EXISTS endpoints (
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        endpoint BLOB NOT NULL,
        PRIMARY KEY (channel, address)
    ) WITHOUT ROWID
    """,
    # Which notifications are of one request, see `actors.domain.requests`: those that are fallbacks, and what was sent
    # of a request of which there are dead letters still.
    """
    CREATE TABLE IF NOT EXISTS requests (
        notification_id TEXT PRIMARY KEY,
        request_id TEXT NOT NULL,  -- the id of the first of them
        delivered INTEGER NOT NULL  -- whether any of them was sent
    ) WITHOUT ROWID
    """,
    # What own actors keep, by the name of the actor and a key.
    """
    CREATE TABLE IF NOT EXISTS kept (
        actor TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (actor, key)
    ) WITHOUT ROWID
    """,
    # The same of other channels than email, sms, push and webhook, which the release before could not read.
    """
    CREATE TABLE IF NOT EXISTS own_notifications (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        command BLOB NOT NULL,
        requested BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS own_history (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL,
        event BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS own_history_of_notification ON own_history (notification_id)",
    """
    CREATE TABLE IF NOT EXISTS own_remembered (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        ended_ns INTEGER NOT NULL,
        command BLOB NOT NULL,
        ended_as TEXT
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS own_closed (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        ended_ns INTEGER NOT NULL,
        command BLOB NOT NULL,
        events BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS own_audit (
        seq INTEGER PRIMARY KEY,
        notification_id TEXT,
        at_ns INTEGER NOT NULL,
        entry BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS own_audit_of_notification ON own_audit (notification_id)",
    """
    CREATE TABLE IF NOT EXISTS own_suppressions (
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        source TEXT NOT NULL,
        since_ns INTEGER NOT NULL,
        added_by TEXT,
        PRIMARY KEY (channel, address)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS own_endpoints (
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        endpoint BLOB NOT NULL,
        PRIMARY KEY (channel, address)
    ) WITHOUT ROWID
    """,
    # Of a user with preferences on these channels, those alone; the others and quiet hours stay in `preferences`.
    "CREATE TABLE IF NOT EXISTS own_preferences (user_id TEXT PRIMARY KEY, preferences TEXT NOT NULL) WITHOUT ROWID",
    # Of members of these channels also where the release before has forgotten them in `requests`.
    """
    CREATE TABLE IF NOT EXISTS own_requests (
        notification_id TEXT PRIMARY KEY,
        request_id TEXT NOT NULL,
        delivered INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)
"""Tables that the release before does without, so that it can open the file still: they are no new version."""

HALVES = ("", "own_")
"""The prefixes of table names: for the four channels, and for all other channels."""

_APART = (
    "notifications", "history", "remembered", "closed", "audit", "suppressions", "endpoints", "preferences", "requests",
)  # fmt: skip


def show_both(sql: sqlite3.Connection) -> None:
    """Make views, for this connection alone, that show the tables of both halves as one: `every_history`."""
    there = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in _APART:
        halves = [f"SELECT * FROM {half}{table}" for half in HALVES if f"{half}{table}" in there]
        if halves:
            sql.execute(f"CREATE TEMP VIEW IF NOT EXISTS every_{table} AS {' UNION ALL '.join(halves)}")


ADDED_COLUMNS: tuple[tuple[str, str, str], ...] = (
    # The end of the notification: sent, suppressed, cancelled or discarded; null in rows of an earlier release.
    ("remembered", "ended_as", "TEXT"),
)
"""Columns that an earlier release does not need either, as it names the columns that it writes: table, name, type."""


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
        self._migrate(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.create_function(
            "normal_address", 2, lambda kind, text: normal_address(NotificationChannel(kind), text)
        )
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, since TEXT)")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{self.path} has a schema of version {version}, by a later release: "
                    f"wanted one of at most {len(MIGRATIONS)}"
                )
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                for statement in _statements(migration):
                    connection.execute(statement)
                since = datetime.now(UTC).isoformat(timespec="seconds")
                connection.execute("INSERT INTO schema_versions VALUES (?, ?)", (number, since))
            for statement in ADDED:
                connection.execute(statement)
            for table, column, kind in ADDED_COLUMNS:
                if not has_column(connection, table, column):
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
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
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
    if version != len(MIGRATIONS):
        raise StoreError(
            f"{path} has a schema of version {version}: wanted one of {len(MIGRATIONS)}, which it becomes when a "
            "notifier opens it"
            if version < len(MIGRATIONS)
            else f"{path} has a schema of version {version}, by a later release: wanted one of {len(MIGRATIONS)}"
        )


def has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    found = connection.execute("SELECT count(*) FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone()
    return bool(found[0])


def _statements(script: str) -> list[str]:
    statements, statement = [], ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return [statement for statement in statements if statement.strip() != ";"]
