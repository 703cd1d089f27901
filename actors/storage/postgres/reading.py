"""Reading a store in PostgreSQL: histories, the state that nodes share, and the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from actors.domain.audit import AuditEntry
from actors.domain.codec import decode_audit_entry, decode_command, decode_event, decode_events
from actors.domain.notification_state import known_end
from actors.domain.remembered_ids import EndedAs
from actors.domain.store import BreakerVote, StoredHistory
from actors.messages import NotificationMovedToDeadLetter, NotificationRequested, SendNotification
from actors.storage.memory import Entry, entry_of_accepted
from actors.storage.postgres.connection import Sql
from actors.storage.postgres.halves import halves
from actors.storage.postgres.settings import Setting, read_settings

SERVED_BY = """CASE
    WHEN known.served THEN 'delivered'
    WHEN EXISTS (
        SELECT FROM every_notification AS other
        WHERE other.request_id = coalesce(known.request_id, known.notification_id) AND other.state = 'open'
            AND other.notification_id <> known.notification_id
    ) OR EXISTS (
        SELECT FROM every_notification AS first WHERE first.notification_id = known.request_id AND first.state = 'open'
    ) THEN 'under way'
END"""
"""Whether another notification of the request of `known` was delivered or is under way, wherever; null: neither."""


class Shared(NamedTuple):
    """The state that all nodes share, as the database has it."""

    letters: dict[str, Entry | None]
    """The dead letters by id; None: the notification is no dead letter."""
    settings: dict[Setting, bytes | None]
    """Each of these in writing; None: it is not set."""
    votes: Sequence[BreakerVote] = ()
    """The new votes of other nodes' breakers."""


def read_shared(sql: Sql, ids: Iterable[str], settings: Iterable[Setting]) -> Shared:
    wanted = sorted(ids)
    dead: dict[str, Entry] = {}
    for half in halves(sql) if wanted else ():
        dead = entries(half, "state = 'dead' AND notification_id = ANY(%s)", (wanted,)) | dead
    letters = dict.fromkeys(wanted) | {
        each: entry
        for each, entry in dead.items()
        if isinstance(entry.latest, NotificationMovedToDeadLetter)  # else it is none since, as the next look will show
    }
    return Shared(letters, read_settings(sql, settings))


def entries(sql: Sql, where: str, values: Sequence[Any]) -> dict[str, Entry]:
    """Return the notifications that fit, in the order of acceptance, with all that happened to them."""
    rows = sql.execute(
        f"SELECT notification_id, command, requested, request_id, {SERVED_BY} FROM notifications AS known "
        f"WHERE {where} ORDER BY seq".encode(),
        values,
        binary=True,
    ).fetchall()
    found: dict[str, Entry] = {}
    for notification_id, command, requested, request_id, served_by in rows:
        event = decode_event(requested)
        assert isinstance(event, NotificationRequested)
        entry = found[notification_id] = entry_of_accepted(decode_command(command), event)
        if request_id is not None or served_by is not None:
            entry.note_request(request_id, served_by)
    if found:
        history = sql.execute(
            "SELECT notification_id, event FROM history WHERE notification_id = ANY(%s) ORDER BY notification_id, seq",
            (list(found),),
            binary=True,
        )
        for notification_id, event in history:
            found[notification_id].add(decode_event(event))
    return found


def history_of(sql: Sql, notification_id: str) -> StoredHistory | None:
    """Return the history of any node's notification that has not ended, or whose history is kept after its end."""
    for half in halves(sql):
        entry = entries(half, "notification_id = %s AND state <> 'ended'", (notification_id,)).get(notification_id)
        if entry is not None:
            return StoredHistory(entry.command, tuple(entry.events))
    select = "SELECT command, events FROM closed WHERE notification_id = %s"
    for half in halves(sql):
        if (row := half.execute(select, (notification_id,)).fetchone()) is not None:
            return StoredHistory(decode_command(row[0]), decode_events(row[1]))
    return None


def recalled(sql: Sql, notification_id: str, ttl_ns: int, steady_ns: int) -> SendNotification | None:
    """Return the command of a notification, of any node, that is remembered at an instant, or is a dead letter."""
    row = _first(
        sql,
        "SELECT command FROM notifications "
        "WHERE notification_id = %s AND (state = 'dead' OR (state = 'ended' AND at_ns > %s))",
        (notification_id, steady_ns - ttl_ns),
    )
    return None if row is None else decode_command(row[0])


def _first(sql: Sql, query: str, values: Sequence[Any]) -> Any:
    rows = (half.execute(query.encode(), values).fetchone() for half in halves(sql))
    return next((row for row in rows if row is not None), None)


def ended_as(sql: Sql, notification_id: str, ttl_ns: int, steady_ns: int) -> EndedAs | None:
    """Return how a notification, of any node, has ended, if its id is remembered at an instant."""
    row = _first(
        sql,
        "SELECT ended_as FROM notifications WHERE notification_id = %s AND state = 'ended' AND at_ns > %s",
        (notification_id, steady_ns - ttl_ns),
    )
    return None if row is None else known_end(row[0])


def erase_histories(sql: Sql, is_meant: Callable[[SendNotification], bool]) -> int:
    count = 0
    for half in halves(sql):
        rows = half.execute("SELECT notification_id, command FROM closed").fetchall()
        meant = [notification_id for notification_id, command in rows if is_meant(decode_command(command))]
        if meant:
            half.execute("DELETE FROM closed WHERE notification_id = ANY(%s)", (meant,))
        count += len(meant)
    return count


def audit_entries(sql: Sql, limit: int | None, notification_id: str | None) -> list[AuditEntry]:
    rows = sql.execute(
        "SELECT entry FROM (SELECT * FROM audit UNION ALL SELECT * FROM own_audit) AS trail "
        "WHERE %(id)s::text IS NULL OR notification_id = %(id)s ORDER BY seq DESC "
        "LIMIT %(limit)s",
        {"id": notification_id, "limit": limit},
    )
    return [decode_audit_entry(entry) for (entry,) in rows]
