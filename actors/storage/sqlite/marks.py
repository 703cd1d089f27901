"""The marks of attempts in a store of SQLite: which attempts were under way when a process died.

The release before knows no marks and leaves them as they are; at worst its run looks like a death.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from actors.domain.caution import Caution
from actors.storage.sqlite.file import HALVES


def begin(sql: sqlite3.Connection, open_ids: Iterable[str]) -> dict[str, Caution]:
    """Record, within a transaction, that a process has the file; return the notifications to send with caution.

    These are all that had not ended if the process before died; and, however it ended, the suspects of earlier deaths.
    """
    (runs,) = sql.execute("SELECT count(*) FROM running").fetchone()
    open_ids = set(open_ids)
    cautions = {notification_id: Caution() for notification_id in open_ids} if runs else {}
    own = {row[0] for row in sql.execute("SELECT notification_id FROM own_marks")}
    for notification_id, under_way, alone, suspicions, deaths in sql.execute("SELECT * FROM every_marks").fetchall():
        if notification_id in open_ids:
            died = bool(runs and under_way)
            caution = Caution(suspicions, deaths)
            cautions[notification_id] = caution.after_death(was_alone=bool(alone)) if died else caution
    for half in HALVES:
        sql.execute(f"DELETE FROM {half}marks")
    for notification_id, caution in cautions.items():
        if caution.suspicions:
            half = HALVES[notification_id in own]
            write(sql, notification_id, caution, half, under_way=False, alone=False)
    sql.execute("DELETE FROM running")
    sql.execute("INSERT INTO running VALUES (datetime('now'))")
    return cautions


def end(sql: sqlite3.Connection) -> None:
    """Record that the process closes the file in order."""
    sql.execute("DELETE FROM running")


def write(
    sql: sqlite3.Connection, notification_id: str, caution: Caution, half: str, *, under_way: bool, alone: bool
) -> None:
    row = (notification_id, under_way, alone, caution.suspicions, caution.deaths)
    sql.execute(f"INSERT OR REPLACE INTO {half}marks VALUES (?, ?, ?, ?, ?)", row)


def take_away(sql: sqlite3.Connection, notification_id: str) -> None:
    for half in HALVES:
        sql.execute(f"DELETE FROM {half}marks WHERE notification_id = ?", (notification_id,))
