"""A node among the nodes that share a store in PostgreSQL: its lease, its take-overs, and other nodes' changes.

Everything here is for the one thread that does the SQL of a node. Each function makes transactions of its own, and may
be called again when the connection was lost in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from actors.domain.caution import Caution
from actors.domain.codec import decode_command, decode_event
from actors.domain.store import BreakerVote
from actors.messages import NotificationEvent, SendNotification
from actors.storage.memory import Entry, Serving
from actors.storage.postgres import marks, votes
from actors.storage.postgres.batch import Fenced
from actors.storage.postgres.connection import Sql
from actors.storage.postgres.halves import halves
from actors.storage.postgres.reading import SERVED_BY, Shared, entries, read_shared
from actors.storage.postgres.settings import ENDPOINT, Setting, merged, rewrite_addresses, setting_named

TAKEN_AT_ONCE = 1_000
"""How many deliveries of another node are taken over by one transaction."""

FORGOTTEN_AT_ONCE = 20_000
"""How many rows that are no longer needed are deleted at a time."""


class SharedRetention(NamedTuple):
    """How long rows are kept that are not needed to resume, in nanoseconds; and until when that is looked at."""

    remember_ids_ns: int
    keep_audit_ns: int
    now_ns: int
    """The latest instant since 1970 at which anything has happened here; 0: nothing yet, so nothing is forgotten."""


class State(NamedTuple):
    """The state with which a node starts."""

    changes: list[tuple[NotificationEvent, SendNotification]]
    """All events of notifications that it has taken over, and of all dead letters, in order, with their commands."""
    settings: dict[Setting, bytes | None]
    requests: list[tuple[str, str | None, Serving | None]]
    """The notifications that are fallbacks, or served: the id, the request, and how it is served."""
    cautions: dict[str, Caution]
    """By notification that it has taken over, its part in the deaths of nodes."""
    living: frozenset[int]
    """The nodes that have a lease, by token; this one is one of them."""
    votes: list[BreakerVote]
    """The votes of the other nodes' breakers."""
    now_ns: int
    """When that was, in nanoseconds since 1970, by the database's clock: it is the same for all nodes."""
    has_others: bool
    """Whether there is anything of other channels than the four."""
    kept: dict[tuple[str, str], bytes]
    """The values that its own actors keep, by actor and key."""


class Round(NamedTuple):
    expired: tuple[str, ...]
    """The names of nodes whose lease was found to have ended."""
    taken: int
    living: frozenset[int]
    """The nodes that have a lease, by token; this one is one of them."""
    has_more: bool
    """Whether there is more to take over or to delete: each look does only a part."""
    asked_by: str | None
    """Which process wants this one to drain and end, so that it can take its name; None: none does."""


class Namesake(NamedTuple):
    """A living node whose name another node wants."""

    lease_until: datetime
    process: str | None
    """Which process it is, for people; None: that is not known."""
    since: datetime | None
    can_be_asked: bool
    """Whether it drains and ends when it is asked to."""


def register(
    sql: Sql,
    name: str,
    lease_s: float,
    process: str = "",
    *,
    unless_renewed: bool = False,
    seen: datetime | None = None,
    can_be_asked: bool = False,
    asks: bool = False,
) -> tuple[int, str] | Namesake:
    """Enter a node, in the place of an earlier node with its name; return its fencing token and snapshot.

    Args:
        process: the process of the node, for people.
        unless_renewed: whether the earlier node is left alone, and returned, if its lease holds and has been renewed
            since it was `seen`.
        seen: the end of the earlier node's lease at an earlier look; None: there was no look.
        can_be_asked: whether this node drains and ends when it is asked to.
        asks: whether an earlier node that is left alone is asked to drain and end.
    """
    with sql.transaction():
        sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (f"retrylab {name}",))
        sql.execute(
            "UPDATE nodes SET gone = true WHERE name = %s AND NOT gone "
            "AND NOT (%s AND lease_until > greatest(clock_timestamp(), %s))",
            (name, unless_renewed, seen),
        )
        living = sql.execute(
            "SELECT lease_until, process, since, can_be_asked FROM nodes WHERE name = %s AND NOT gone", (name,)
        ).fetchone()
        if living is not None:
            if asks:
                sql.execute("UPDATE nodes SET asked_by = %s WHERE name = %s AND NOT gone", (process, name))
            return Namesake(*living)
        row = sql.execute(
            "INSERT INTO nodes (token, name, lease_until, seen, process, since, can_be_asked, knows_others) SELECT "
            "nextval('tokens'), %s, clock_timestamp() + %s * interval '1 s', pg_snapshot_xmin(pg_current_snapshot()), "
            "%s, clock_timestamp(), %s, true RETURNING token, pg_current_snapshot()::text",
            (name, lease_s, process, can_be_asked),
        ).fetchone()
    assert row is not None
    token, shown = row
    return token, shown


def keep_lease(sql: Sql, token: int, lease_s: float) -> None:
    """Keep the lease of a node, from now on; raise Fenced where it has ended, and that has been noticed."""
    kept = sql.execute(
        "UPDATE nodes SET lease_until = clock_timestamp() + %s * interval '1 s' WHERE token = %s AND NOT gone",
        (lease_s, token),
    )
    if kept.rowcount == 0:
        raise Fenced


def release(sql: Sql, token: int) -> None:
    """Let others take over what a node has, at once."""
    with sql.transaction():
        for half in halves(sql):
            marks.take_back(half, token)
        sql.execute("UPDATE nodes SET gone = true WHERE token = %s", (token,))


def load(sql: Sql, token: int) -> State:
    """Take over all that no living node has, and return that with what all nodes share."""
    with sql.transaction():
        for half, take in zip(halves(sql), _TAKE_ALL, strict=True):
            half.execute(take, {"token": token, "via": 0})
            marks.count(half, token, 0)
    with sql.transaction():
        of_four, of_others = (_load_half(half, token) for half in halves(sql))
        # The release before, which does not see other channels, may have accepted one of their ids once more.
        ids = {event.notification_id for _, event, _ in of_four.changes}
        others = [change for change in of_others.changes if change[1].notification_id not in ids]
        changes = [*of_four.changes, *others]
        living, _ = _count_nodes(sql)
        kept = sql.execute(
            "SELECT actor, key, value FROM kept JOIN nodes ON node = name WHERE token = %s", (token,), binary=True
        ).fetchall()
        now = sql.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint").fetchone()
        assert now is not None
    return State(
        [(event, command) for _, event, command in sorted(changes, key=lambda change: change[0])],
        merged(of_four.settings, of_others.settings),
        of_four.requests + of_others.requests,
        of_four.cautions | of_others.cautions,
        living,
        of_four.votes + of_others.votes,
        now[0],
        has_others=bool(others),
        kept={(actor, key): value for actor, key, value in kept},
    )


class _Half(NamedTuple):
    """The part of a node's first state that is of the four channels, or of all others."""

    changes: list[tuple[int, NotificationEvent, SendNotification]]
    settings: dict[Setting, bytes | None]
    requests: list[tuple[str, str | None, Serving | None]]
    cautions: dict[str, Caution]
    votes: list[BreakerVote]


def _load_half(sql: Sql, token: int) -> _Half:
    rows = sql.execute(
        "WITH present AS (SELECT notification_id, seq, requested, command FROM notifications "
        "WHERE state = 'dead' OR (state = 'open' AND owner = %s)) "
        "SELECT notification_id, seq, requested, command FROM present UNION ALL "
        "SELECT notification_id, history.seq, event, NULL FROM history JOIN present USING (notification_id) "
        "ORDER BY seq",
        (token,),
        binary=True,
    )
    commands: dict[str, SendNotification] = {}
    changes = []
    for notification_id, seq, event, command in rows:
        if command is not None:
            commands[notification_id] = decode_command(command)
        changes.append((seq, decode_event(event), commands[notification_id]))
    settings = sql.execute(
        "SELECT kind, name, value FROM settings UNION ALL SELECT kind, name, value FROM endpoints"
    ).fetchall()
    written = rewrite_addresses(sql, {setting_named(kind, name): value for kind, name, value in settings})
    own = sql.execute("SELECT notification_id FROM notifications WHERE state = 'open' AND owner = %s", (token,))
    cautions = marks.cautions(sql, [notification_id for (notification_id,) in own])
    requests = sql.execute(
        f"SELECT notification_id, request_id, served_by FROM (SELECT *, {SERVED_BY} AS served_by "
        "FROM notifications AS known WHERE state = 'dead' OR (state = 'open' AND owner = %s)) AS present "
        "WHERE request_id IS NOT NULL OR served_by IS NOT NULL".encode(),
        (token,),
    ).fetchall()
    return _Half(changes, written, requests, cautions, votes.standing(sql, token))


def look_round(
    sql: Sql, token: int, lease_s: float, *, seen: str, via: int, reaps: Callable[[], bool], retention: SharedRetention
) -> Round:
    """Renew the lease, notice ended leases, take over a share of the notifications of dead nodes, and delete old rows.

    Args:
        seen: the snapshot of the database up to which the node has seen all changes.
        via: the number of this take-over; the same number again if an answer was lost.
        reaps: tells, once the lease is renewed, whether the node may declare other leases ended.

    Raises:
        Fenced: another node has declared this node's lease ended.
    """
    with sql.transaction():
        # Changes are written to these tables: if they are locked, the node has to know before an attempt starts.
        for half in halves(sql):
            half.execute("LOCK TABLE notifications, history IN ROW EXCLUSIVE MODE")
        kept = sql.execute(
            "UPDATE nodes SET lease_until = clock_timestamp() + %s * interval '1 s', "
            "seen = pg_snapshot_xmin(%s::pg_snapshot) WHERE token = %s AND NOT gone RETURNING asked_by",
            (lease_s, seen, token),
        ).fetchone()
        if kept is None:
            raise Fenced
        expired = []
        if reaps():
            expired = sql.execute(
                "UPDATE nodes SET gone = true WHERE token IN (SELECT token FROM nodes WHERE NOT gone AND "
                "lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) RETURNING name"
            ).fetchall()
        living, gone = _count_nodes(sql)
        taken = 0
        share = {"token": token, "via": via, "fresh_s": lease_s / 2}
        for own, (half, take) in enumerate(zip(halves(sql), _TAKE_SHARE, strict=True)):
            if gone or own:  # of other channels, also from a node whose row the release before has deleted
                found = half.execute(take, share).rowcount
                taken = max(taken, found)
                if found:
                    marks.count(half, token, via)
        if gone:
            sql.execute(
                "DELETE FROM nodes WHERE gone AND NOT EXISTS "
                "(SELECT FROM notifications WHERE state = 'open' AND owner = nodes.token)"
            )
        forgotten = 0
        for half in halves(sql):
            deleted = half.execute(
                "DELETE FROM changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM changes "
                "WHERE xid < (SELECT seen FROM nodes WHERE NOT gone ORDER BY seen LIMIT 1) "
                "ORDER BY xid LIMIT %s FOR UPDATE SKIP LOCKED))",
                (FORGOTTEN_AT_ONCE,),
            )
            forgotten = max(forgotten, deleted.rowcount)
            if retention.now_ns:
                forgotten = max(forgotten, _forget(half, retention))
                marks.forget(half)
                votes.forget(half)
    has_more = taken == TAKEN_AT_ONCE or forgotten == FORGOTTEN_AT_ONCE
    return Round(tuple(name for (name,) in expired), taken, living, has_more, kept[0])


def _count_nodes(sql: Sql) -> tuple[frozenset[int], int]:
    row = sql.execute(
        "SELECT array_agg(token) FILTER (WHERE NOT gone), count(*) FILTER (WHERE gone) FROM nodes"
    ).fetchone()
    assert row is not None
    return frozenset(row[0] or ()), row[1]


_HEIRS = """
    WITH heirs AS MATERIALIZED (
        SELECT count(*) AS total, count(*) FILTER (WHERE token < %(token)s) AS place FROM nodes
        WHERE NOT gone{heirs_of} AND lease_until > clock_timestamp() + %(fresh_s)s * interval '1 s'
    )
"""
"""The nodes that share a dead node's notifications: nodes with a lately renewed lease, so that nothing waits for a node
that is dead itself without anyone having noticed."""

_SHARE = "(SELECT (hashtext(notification_id) & 2147483647) %% greatest(total, 1) = place FROM heirs)"
"""A node's share, whichever node looks first; everything if its lease is the only one and no longer fresh."""

_TAKE = """
    {heirs} UPDATE notifications SET owner = %(token)s, via = %(via)s
    WHERE notification_id IN (
        SELECT notification_id FROM notifications
        WHERE state = 'open' AND {left} AND {share}
        ORDER BY seq LIMIT {limit} FOR UPDATE SKIP LOCKED
    )
"""
_LEFT = (
    "owner IN (SELECT token FROM nodes WHERE gone)",
    "NOT EXISTS (SELECT FROM nodes WHERE token = owner AND NOT gone)",
)
_TAKE_ALL = tuple(_TAKE.format(heirs="", share="true", limit="ALL", left=left).encode() for left in _LEFT)
_TAKE_SHARE = tuple(
    _TAKE.format(heirs=_HEIRS.format(heirs_of=of), share=_SHARE, limit=TAKEN_AT_ONCE, left=left).encode()
    for left, of in zip(_LEFT, ("", " AND knows_others"), strict=True)
)
"""The statements for the four channels and for all others, which the release before never takes over."""


def _forget(sql: Sql, retention: SharedRetention) -> int:
    """Delete rows that have been kept for long enough; return how many, for the table with the most."""
    rows = []
    for table, key, is_old, kept_ns in (
        ("notifications", "notification_id", "state = 'ended' AND at_ns", retention.remember_ids_ns),
        ("audit", "seq", "at_ns", retention.keep_audit_ns),
        ("closed", "notification_id", "ended_ns", retention.keep_audit_ns),
    ):
        delete = (
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {is_old} <= %s "
            f"ORDER BY {is_old.rpartition(' ')[2]} LIMIT %s FOR UPDATE SKIP LOCKED)"
        )
        rows.append(sql.execute(delete.encode(), (retention.now_ns - kept_ns, FORGOTTEN_AT_ONCE)).rowcount)
    return max(rows)


def taken_over(sql: Sql, token: int, via: int) -> tuple[dict[str, Entry], dict[str, Caution]]:
    """Return the notifications of the take-over of this number, and their parts in the deaths of nodes."""
    taken: dict[str, Entry] = {}
    cautions: dict[str, Caution] = {}
    for half in reversed(halves(sql)):
        found = entries(half, "state = 'open' AND owner = %s AND via = %s", (token, via))
        taken |= found
        cautions |= marks.cautions(half, found)
    return taken, cautions


def changed(sql: Sql, token: int, seen: str) -> tuple[Shared, str]:
    """Return the state of the letters and settings that other nodes have changed, their votes, and the snapshot.

    A snapshot says which transactions had not ended when it was taken: those that it lists, and all later ones. Only
    their changes can be new in the next snapshot. So the first look after a commit sees its change: a transaction that
    is slower than a later one is not missed, and no change waits for a foreign transaction, which may be open for
    hours. The current state is read afterwards, so the order of the changes does not matter.
    """
    with sql.transaction():
        rows: Sequence[tuple[str | None, str | None, str | None, bytes | None]] = sql.execute(
            # One statement, so that these changes are read in the snapshot that is returned.
            "SELECT pg_current_snapshot()::text, NULL, NULL, NULL UNION ALL "
            "SELECT DISTINCT NULL, notification_id, coalesce(kind, %(of_endpoint)s || endpoint), name "
            "FROM (SELECT * FROM changes UNION ALL SELECT * FROM own_changes) AS made WHERE token <> %(token)s AND "
            "(xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot) OR "
            "xid = ANY(ARRAY(SELECT pg_snapshot_xip(%(seen)s::pg_snapshot))))",
            {"token": token, "seen": seen, "of_endpoint": ENDPOINT},
        ).fetchall()
        shown = next(snapshot for snapshot, *_ in rows if snapshot is not None)
        ids = {notification_id for _, notification_id, _, _ in rows if notification_id is not None}
        settings = {setting_named(kind, name) for *_, kind, name in rows if kind is not None and name is not None}
        said = [vote for half in halves(sql) for vote in votes.since(half, token, seen)]
        return read_shared(sql, ids, settings)._replace(votes=said), shown
