"""Reading the file of a store in SQLite: by the store itself, and by read-only access."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.codec import (
    Damaged,
    check_seal,
    decode_audit_entry,
    decode_command,
    decode_endpoint,
    decode_event,
    decode_events,
)
from actors.domain.notification_state import known_end
from actors.domain.remembered_ids import EndedAs
from actors.domain.store import StoredHistory
from actors.domain.suppressions import Suppression, SuppressionSource
from actors.domain.user_preferences import UserPreferences
from actors.errors import StoreError
from actors.messages import NotificationChannel, SendNotification
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.file import HALVES, UNREADABLE, check_readable, has_column, show_both
from actors.storage.sqlite.place import check_is_file, reason_of, resolved

logger = logging.getLogger(__name__)

DAMAGED_LOGGED = 20
"""How many damaged notifications are named in the log."""


class SqliteHistories(MemoryStore):
    """The whole state of a file, in memory."""

    damaged: dict[str, str]
    """Why notifications are left in the file as they are, and neither sent nor answered for: by id."""

    def replay(self, sql: sqlite3.Connection) -> int:
        """Read the notifications that have not ended, and dead letters; return the number of the file's last change.

        Replaying all their events restores the state. Remembered ids stay in the file.

        Raises:
            ValueError: a row cannot be read; the text names its notification.
        """
        sql.text_factory = lambda written: written.decode("utf-8", "replace")  # a damaged row must not hide the others
        try:
            return self._replay(sql)
        finally:
            sql.text_factory = str

    def _replay(self, sql: sqlite3.Connection) -> int:
        _check_pages(sql)
        show_both(sql)
        numbers = (
            f"SELECT max(seq) FROM {table}" for table in _tables(sql, "notifications", "history", "remembered", "audit")
        )
        last = max(sql.execute(number).fetchone()[0] or 0 for number in numbers)
        self.damaged = _damaged(sql)
        twice = _ids_twice(sql)
        notification_id = None
        try:
            commands = {}
            for notification_id, event, command, is_own in _changes(sql):
                if is_own and notification_id in twice:
                    continue
                if notification_id in self.damaged:
                    continue
                if command is not None:
                    commands[notification_id] = decode_command(command)
                self._take_in(decode_event(event), commands[notification_id])
        except KeyError:
            raise ValueError(f"notification {notification_id!r} has a history and no beginning") from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"of notification {notification_id!r}: {error}") from error
        for member, request_id, delivered in requests_in(sql):
            request = self._requests.join(member, instead_of=request_id)
            if delivered:
                request.note_delivery()
        for request in self._requests.all():
            self._requests.forget_unless(request, self._open, self._dead)
        self.suppressions.restore(_suppressions(sql))  # also from letters that were discarded
        self.endpoints.clear()  # some endpoints of the replay have been enabled since
        for (written,) in sql.execute("SELECT endpoint FROM every_endpoints") if _has_table(sql, "endpoints") else ():
            endpoint = decode_endpoint(written)
            self.endpoints.set(endpoint.key, endpoint)
        kept = "SELECT actor, key, CAST(value AS BLOB), checksum FROM kept"
        for actor, key, value, written in sql.execute(kept) if _has_table(sql, "kept") else ():
            if crc32(value) != written:
                logger.error("what actor %r keeps under %r is not read: it was changed on the disk", actor, key)
                continue
            self.kept[actor, key] = value
        for user_id, preferences in sql.execute("SELECT user_id, preferences FROM every_preferences"):
            read = UserPreferences.model_validate_json(preferences)
            known = self.preferences.get(user_id)
            self.preferences[user_id] = read if known is None else known.with_part(read)
        return int(last)


def _changes(sql: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    halves = [
        f"SELECT seq, notification_id, CAST(requested AS BLOB), CAST(command AS BLOB), {own} FROM {half}notifications "
        f"UNION ALL SELECT seq, notification_id, CAST(event AS BLOB), NULL, {own} FROM {half}history"
        for own, half in enumerate(HALVES)
        if _has_table(sql, f"{half}notifications")
    ]
    for _, *change in sql.execute(f"{' UNION ALL '.join(halves)} ORDER BY 1"):
        yield tuple(change)


def _ids_twice(sql: sqlite3.Connection) -> set[str]:
    if not _has_table(sql, "own_notifications"):
        return set()
    rows = sql.execute("SELECT notification_id FROM own_notifications JOIN notifications USING (notification_id)")
    twice = {notification_id for (notification_id,) in rows}
    for notification_id in twice:
        logger.error("notification %r is left as it is, and not sent: another one has its id", notification_id)
    return twice


_READ_WHOLE = ("notifications", "history", "requests", "suppressions", "endpoints", "preferences")
"""Tables that are read from one end to the other when a file is opened."""


def _check_pages(sql: sqlite3.Connection) -> None:
    """Check that the pages of a file belong together: a row's checksum does not show rows that are lost with their
    page.

    The disk may have written a page, or a part of it, to the place of another one. For remembered ids, which may be
    many, the check leaves out whether the index has each row, which would take five times as long.

    Raises:
        ValueError: the pages do not belong together.
    """
    there = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    whole = [f"{half}{table}" for half in HALVES for table in _READ_WHOLE]
    checks = [f"integrity_check({table})" for table in whole if table in there]
    for check in [*checks, *(f"quick_check({table})" for table in _tables(sql, "remembered"))]:
        (found,) = sql.execute(f"PRAGMA {check}").fetchone()
        if found != "ok":
            raise ValueError(f"it was changed on the disk: {found.splitlines()[-1]}")


def _damaged(sql: sqlite3.Connection) -> dict[str, str]:
    """Return the notifications whose rows were changed on the disk, each with the damage.

    If a row has got the id of another notification, both are damaged.
    """
    damaged: dict[str, str] = {}
    rows = sql.execute(
        "SELECT notification_id, 'its command', CAST(command AS BLOB), NULL FROM every_notifications "
        "UNION ALL SELECT notification_id, 'how it was requested', CAST(requested AS BLOB), seq "
        "FROM every_notifications "
        "UNION ALL SELECT notification_id, 'what happened to it', CAST(event AS BLOB), seq FROM every_history"
    )
    for notification_id, what, written, seq in rows:
        try:
            check_seal(written, notification_id, seq or 0)
        except Damaged as error:
            damaged[notification_id] = f"{what}: {error}"
            with contextlib.suppress(msgspec.MsgspecError, ValueError, TypeError):
                inner = (decode_command if seq is None else decode_event)(written).notification_id
                damaged.setdefault(inner, f"{what}: it is at another notification, {notification_id!r}")
    for notification_id, why in itertools.islice(damaged.items(), DAMAGED_LOGGED):
        logger.error("notification %r is left as it is, and not sent: %s", notification_id, why)
    if len(damaged) > DAMAGED_LOGGED:
        logger.error("%d notifications more are left as they are", len(damaged) - DAMAGED_LOGGED)
    return damaged


class RememberedRows(NamedTuple):
    """Which rows of remembered ids still count."""

    ttl_ns: int
    kept: tuple[int, int] = (0, -1)
    """Rows from the first number to the second one count as ended at `kept_at_ns` at the earliest."""
    kept_at_ns: int = 0

    def ended_ns(self, seq: int, ended_ns: int) -> int:
        return max(ended_ns, self.kept_at_ns) if self.kept[0] <= seq <= self.kept[1] else ended_ns


ENDED_NS = "coalesce(CAST(ended_ns AS INTEGER), 0)"
"""The column as a number, even in a damaged file."""


def recalled(
    sql: sqlite3.Connection, notification_id: str, rows: RememberedRows, steady_ns: int
) -> SendNotification | None:
    """Return the command that an id came with, if that is remembered at an instant and has not been accepted again;
    raise Damaged where it was changed on the disk."""
    command = _remembered(sql, "command", notification_id, rows, steady_ns)
    if command is None:
        return None
    check_seal(command, notification_id)
    return decode_command(command)


def ended_as(sql: sqlite3.Connection, notification_id: str, rows: RememberedRows, steady_ns: int) -> EndedAs | None:
    """Return how a notification with a remembered id has ended; None: the id is not remembered, or the end not
    known."""
    if not has_column(sql, "remembered", "ended_as"):
        return None  # an earlier release without this column has made the file
    return known_end(_remembered(sql, "ended_as", notification_id, rows, steady_ns))


def _remembered(
    sql: sqlite3.Connection, column: str, notification_id: str, rows: RememberedRows, steady_ns: int
) -> Any:
    row = sql.execute(
        f"SELECT {column}, seq, {ENDED_NS} FROM every_remembered WHERE notification_id = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM every_notifications WHERE notification_id = ?1)",
        (notification_id,),
    ).fetchone()
    return None if row is None or rows.ended_ns(*row[1:]) <= steady_ns - rows.ttl_ns else row[0]


def requests_in(sql: sqlite3.Connection) -> list[tuple[str, str, int]]:
    if not _has_table(sql, "requests"):
        return []
    return sql.execute(
        "SELECT notification_id, max(request_id), max(delivered) FROM every_requests GROUP BY notification_id"
    ).fetchall()


def _tables(sql: sqlite3.Connection, *names: str) -> list[str]:
    """Return those tables of both halves that there are: a release before has made no second half."""
    return [f"{half}{name}" for half in HALVES for name in names if _has_table(sql, f"{half}{name}")]


def _has_table(sql: sqlite3.Connection, name: str) -> bool:
    """Tell whether there is a table; not where a release that knows none has made the file."""
    return bool(sql.execute("SELECT count(*) FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0])


def _suppressions(sql: sqlite3.Connection) -> Iterator[Suppression]:
    for channel, address, reason, source, since_ns, by in sql.execute("SELECT * FROM every_suppressions"):
        yield Suppression(
            channel=NotificationChannel(channel),
            address=address,
            reason=reason,
            source=SuppressionSource(source),
            since_ns=since_ns,
            by=by,
        )


class SqliteReader(SqliteHistories):
    """The content of a file at the instant of opening; make one with :func:`reading`."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        super().__init__()
        self._sql = sql

    async def recall(self, notification_id: str, now_ns: int) -> SendNotification | None:
        known = self.remembered.get(notification_id, now_ns)
        return known or recalled(self._sql, notification_id, RememberedRows(self.remembered.ttl_ns), now_ns)

    async def ended_as(self, notification_id: str, now_ns: int) -> EndedAs | None:
        return ended_as(self._sql, notification_id, RememberedRows(self.remembered.ttl_ns), now_ns)

    async def past(self, notification_id: str) -> StoredHistory | None:
        return self._past(notification_id) or history_of(self._sql, notification_id)

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        return audit_entries(self._sql, limit, notification_id)


@contextmanager
def reading(path: str | PathLike[str]) -> Generator[SqliteReader, None, None]:
    """Read the file of a store, whether or not it is open elsewhere; reading changes nothing and leaves no files. Raise
    StoreError where there is no such file, or it is no store's, or of an unknown version."""
    path = resolved(path)
    check_is_file(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as sql:
            reader = _read(sql, path)
            yield reader
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {reason_of(error)}") from error
    finally:
        _tidy_up(path)


def _read(sql: sqlite3.Connection, path: Path) -> SqliteReader:
    try:
        check_readable(sql, path)
        sql.execute("BEGIN")  # so that everything is read as it was at one instant
        reader = SqliteReader(sql)
        reader.replay(sql)
    except UNREADABLE as error:
        raise StoreError(f"{path} cannot be read: {reason_of(error)}") from error
    return reader


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
    except (OSError, *UNREADABLE):
        return  # there are none, or another connection is at work, and does it


def history_of(sql: sqlite3.Connection, notification_id: str) -> StoredHistory | None:
    select = "SELECT command, events FROM every_closed WHERE notification_id = ?"
    row = sql.execute(select, (notification_id,)).fetchone()
    if row is None:
        return None
    check_seal(row[0], notification_id, crc32(row[1]))
    return StoredHistory(decode_command(row[0]), decode_events(row[1]))


def erase_histories(sql: sqlite3.Connection, is_meant: Callable[[SendNotification], bool]) -> int:
    """Erase and overwrite the histories of ended notifications that are meant; return how many."""
    (before,) = sql.execute("PRAGMA secure_delete").fetchone()
    sql.execute("PRAGMA secure_delete = ON")
    count = 0
    for half in HALVES:
        meant = []
        for seq, command in sql.execute(f"SELECT seq, command FROM {half}closed"):
            with contextlib.suppress(msgspec.MsgspecError, ValueError):  # a damaged row may be anyone's
                if is_meant(decode_command(command)):
                    meant.append((seq,))
        sql.executemany(f"DELETE FROM {half}closed WHERE seq = ?", meant)
        count += len(meant)
    sql.execute(f"PRAGMA secure_delete = {before}")
    return count


def audit_entries(sql: sqlite3.Connection, limit: int | None, notification_id: str | None) -> list[AuditEntry]:
    where, values = ("", ()) if notification_id is None else ("WHERE notification_id = ? ", (notification_id,))
    select = f"SELECT entry, notification_id, seq FROM every_audit {where}ORDER BY seq DESC LIMIT ?"
    entries = []
    for entry, *place in sql.execute(select, (*values, -1 if limit is None else limit)):
        check_seal(entry, *place)
        entries.append(decode_audit_entry(entry))
    return entries
