"""What is read from the file of a store in SQLite: by the store itself, and by read-only access."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.codec import decode_audit_entry, decode_command, decode_event, decode_events
from actors.domain.store import StoredHistory
from actors.domain.suppressions import Suppression, SuppressionSource
from actors.domain.user_preferences import UserPreferences
from actors.errors import StoreError
from actors.messages import NotificationChannel
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.file import check_readable


class SqliteHistories(MemoryStore):
    """The whole state of a file, in memory."""

    def replay(self, sql: sqlite3.Connection) -> int:
        """Take in what a file holds; return the number of its last change.

        By going through all that happened again, the state comes out as it was.

        Raises:
            ValueError: something in it cannot be read; it says of which notification.
        """
        (last,) = sql.execute("SELECT coalesce(max(seq), 0) FROM audit").fetchone()
        present = {notification_id for (notification_id,) in sql.execute("SELECT notification_id FROM notifications")}
        notification_id = None
        try:
            remembered = sql.execute("SELECT seq, notification_id, ended_ns, command FROM remembered ORDER BY seq")
            for seq, notification_id, ended_ns, command in remembered:
                last = max(last, seq)
                if notification_id not in present:  # else its time had passed, and it was accepted again
                    self.remembered.add(decode_command(command), ended_ns)
            commands = {}
            changes = sql.execute(
                "SELECT seq, notification_id, requested, command FROM notifications "
                "UNION ALL SELECT seq, notification_id, event, NULL FROM history ORDER BY seq"
            )
            for seq, notification_id, event, command in changes:
                if command is not None:
                    commands[notification_id] = decode_command(command)
                MemoryStore.commit(self, decode_event(event), commands[notification_id])
                last = max(last, seq)
        except KeyError:
            raise ValueError(f"notification {notification_id!r} has a history and no beginning") from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"of notification {notification_id!r}: {error}") from error
        self.suppressions.restore(_suppressions(sql))  # those of letters that are discarded, too
        for user_id, preferences in sql.execute("SELECT user_id, preferences FROM preferences"):
            self.preferences[user_id] = UserPreferences.model_validate_json(preferences)
        return int(last)


def _suppressions(sql: sqlite3.Connection) -> Iterator[Suppression]:
    for channel, address, reason, source, since_ns, by in sql.execute("SELECT * FROM suppressions"):
        yield Suppression(
            channel=NotificationChannel(channel),
            address=address,
            reason=reason,
            source=SuppressionSource(source),
            since_ns=since_ns,
            by=by,
        )


class SqliteReader(SqliteHistories):
    """What a file holds, as it was when it was opened here; make one with :func:`reading`."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        super().__init__()
        self._sql = sql

    async def past(self, notification_id: str) -> StoredHistory | None:
        return self._past(notification_id) or closed_history(self._sql, notification_id)

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        return audit_entries(self._sql, limit, notification_id)


@contextmanager
def reading(path: str | PathLike[str]) -> Generator[SqliteReader, None, None]:
    """Read the file of a store, whether or not it is open elsewhere; nothing in it is changed, nor left beside it.

    Raises:
        StoreError: there is no such file, it is no store's, or of another version than is known here.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise StoreError(f"{path} cannot be opened: there is no such file")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as sql:
            check_readable(sql, path)
            sql.execute("BEGIN")  # so that everything is read as it was at one instant
            reader = SqliteReader(sql)
            reader.replay(sql)
            yield reader
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    finally:
        _tidy_up(path)


def _tidy_up(path: Path) -> None:
    """Have SQLite remove the files ``-wal`` and ``-shm``, which a connection that may only read makes and leaves there.

    Only SQLite can tell whether there are other connections: the last connection that may write removes them when it is
    closed, under a lock that only the last one gets. What a process that was killed has left in them stays.
    """
    try:
        if path.with_name(path.name + "-wal").stat().st_size > 0:
            return
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)) as sql:
            sql.execute("PRAGMA query_only = ON")
            sql.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except (OSError, sqlite3.Error):
        return  # there are none, or another connection is at work, and does it


def closed_history(sql: sqlite3.Connection, notification_id: str) -> StoredHistory | None:
    """Return what happened to a notification that has ended since it was redriven or discarded, if it is kept."""
    select = "SELECT command, events FROM closed WHERE notification_id = ?"
    row = sql.execute(select, (notification_id,)).fetchone()
    return None if row is None else StoredHistory(decode_command(row[0]), decode_events(row[1]))


def audit_entries(sql: sqlite3.Connection, limit: int | None, notification_id: str | None) -> list[AuditEntry]:
    """Return what people have done, to one notification or to all, newest first."""
    where, values = ("", ()) if notification_id is None else ("WHERE notification_id = ? ", (notification_id,))
    select = f"SELECT entry FROM audit {where}ORDER BY seq DESC LIMIT ?"
    rows = sql.execute(select, (*values, -1 if limit is None else limit))
    return [decode_audit_entry(entry) for (entry,) in rows]
