"""What a store in PostgreSQL is asked that is not in memory: the past of one notification, and the audit trail."""

from __future__ import annotations

from actors.storage.audit import AuditEntry
from actors.storage.codec import decode_audit_entry, decode_command, decode_events
from actors.storage.postgres_batch import Sql, entries
from actors.storage.store import Past


def past_of(sql: Sql, notification_id: str) -> Past | None:
    """Return what happened to a notification, of any node, that has not ended, or whose past is kept since it has."""
    entry = entries(sql, "notification_id = %s AND state <> 'ended'", (notification_id,)).get(notification_id)
    if entry is not None:
        return Past(entry.command, tuple(entry.events))
    row = sql.execute("SELECT command, events FROM closed WHERE notification_id = %s", (notification_id,)).fetchone()
    return None if row is None else Past(decode_command(row[0]), decode_events(row[1]))


def audit_entries(sql: Sql, limit: int | None, notification_id: str | None) -> list[AuditEntry]:
    """Return what people have done, to one notification or to all, newest first."""
    rows = sql.execute(
        "SELECT entry FROM audit WHERE %(id)s::text IS NULL OR notification_id = %(id)s ORDER BY seq DESC "
        "LIMIT %(limit)s",
        {"id": notification_id, "limit": limit},
    )
    return [decode_audit_entry(entry) for (entry,) in rows]
