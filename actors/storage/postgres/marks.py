"""The marks of attempts in a store of PostgreSQL: which attempts were under way when their node died.

A node that takes over cannot know whether the other node has died or was stopped; so it sends every notification of it
with caution. Only attempts of these are marked, a mark lasts until the outcome, and only a mark makes a suspect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from actors.domain.caution import Caution
from actors.storage.changes import Mark
from actors.storage.postgres.connection import Sql


def write(sql: Sql, marks: Mapping[str, Mark]) -> None:
    for notification_id, mark in marks.items():
        sql.execute(
            "INSERT INTO marks VALUES (%s, true, %s, %s, %s) ON CONFLICT (notification_id) DO UPDATE SET "
            "under_way = true, alone = excluded.alone, suspicions = excluded.suspicions, deaths = excluded.deaths",
            (notification_id, mark.alone, mark.caution.suspicions, mark.caution.deaths),
        )


def take_away(sql: Sql, notification_ids: Sequence[str]) -> None:
    sql.execute("DELETE FROM marks WHERE notification_id = ANY(%s)", (notification_ids,))


def count(sql: Sql, token: int, via: int) -> None:
    """Count the attempts under way of notifications that a node takes over, within that transaction."""
    sql.execute(
        "UPDATE marks SET suspicions = suspicions + 1, deaths = deaths + alone::int, under_way = false, alone = false "
        "FROM notifications AS taken WHERE marks.under_way AND taken.notification_id = marks.notification_id "
        "AND taken.state = 'open' AND taken.owner = %s AND taken.via = %s",
        (token, via),
    )


def take_back(sql: Sql, token: int) -> None:
    """Record that a node which ends in order has no attempt under way any more."""
    sql.execute(
        "UPDATE marks SET under_way = false FROM notifications AS own WHERE marks.under_way "
        "AND own.notification_id = marks.notification_id AND own.state = 'open' AND own.owner = %s",
        (token,),
    )


def cautions(sql: Sql, notification_ids: Iterable[str]) -> dict[str, Caution]:
    found = {notification_id: Caution() for notification_id in notification_ids}
    rows = sql.execute(
        "SELECT notification_id, suspicions, deaths FROM marks WHERE notification_id = ANY(%s)", (list(found),)
    )
    return found | {notification_id: Caution(suspicions, deaths) for notification_id, suspicions, deaths in rows}


def forget(sql: Sql) -> None:
    """Delete the marks of notifications that have ended at a node of a release without marks."""
    sql.execute(
        "DELETE FROM marks WHERE NOT EXISTS (SELECT FROM notifications AS known "
        "WHERE known.notification_id = marks.notification_id AND known.state = 'open')"
    )
