"""The tables of a store in PostgreSQL, and how a connection to them is made.

All are in a schema of their own, `retrylab` unless another one is named. Instants are nanoseconds since 1970, by the
clock of the node that writes; leases alone are by the clock of the database. Blobs are msgpack, see
:mod:`actors.domain.codec`.

================  ======================================================================================================
``notifications``  Every notification that is known, by its id: the one place that decides whether an id is new.
                   `state`: ``open``, ``dead`` (a dead letter), or ``ended`` (only its id is remembered).
                   `owner`: the token of the node that has it while it is open; else null.
                   `seq`: orders acceptances and the rows of `history`. `at_ns`: when the state began.
                   `command`: as it was accepted. `requested`: the event of its acceptance.
                   `via`: the take-over by which its owner got it; 0: it was accepted or redriven there.
                   `request_id`: for a fallback, the first notification of its chain. `served`: a notification of this
                   request was delivered (:mod:`actors.domain.requests`); `state` shows those under way.
                   `ended_as`: how it ended: ``sent``, ``suppressed``, ``cancelled`` or ``discarded``; null in rows of
                   the release before.
``history``        Later events of open notifications and dead letters: `seq`, `notification_id`, `event`.
``settings``       Suppressed addresses, and preferences of users: `kind` (the channel, or ``user``),
                   `digest` (SHA-256 of the name, which may be longer than a key may be), `name` (the address, or the
                   user id) in UTF-8, `value` (msgpack of the suppression, or JSON of the preferences), and `told`: a
                   provider has said that the address is gone, and a redrive lifts that.
``endpoints``      As ``settings``, which the release before reads: endpoints of which every attempt fails.
``audit``          Actions of operators, and discards by the dead letter queue itself: `seq`, `notification_id` (null
                   for an action on something else), `at_ns`, `entry`.
``closed``         Histories of notifications that ended after a redrive or a discard: `notification_id`, `ended_ns`,
                   `command`, `events`.
``nodes``          The nodes of this store. `token`: the fencing token, larger for every later opening; `name`;
                   `lease_until`; `gone`: the node has ended, or another node has found its lease over, and its
                   notifications may be taken over; `batch`: the number of its last transaction, so that a transaction
                   whose answer was lost is not made twice; `seen`: the node has seen `changes` by all transactions
                   before this one. For people, `process` and `since`: the process and its start; null in rows of the
                   release before. `can_be_asked`: the node drains and ends when another has set `asked_by`.
``changes``        Which dead letters and settings have changed, until every node has seen it: `xid` and `token` of the
                   transaction and the node, and `notification_id`, or `kind` and `name`, or `endpoint` and `name`.
``marks``          Attempts under way of notifications taken over, see :mod:`actors.storage.postgres.marks`.
``breaker_votes``  The nodes' votes on the breakers that they share: the `token` of the node, `name` (the breaker's, a
                   line break, and the host where each has one) in UTF-8, `digest` (SHA-256 of it), `until`: it is open
                   until then, by the database's clock, and `xid` of the transaction that wrote it last.
``kept``           Values that own actors keep: the name of the `node`, the `actor`, a `key`, and the `value` in JSON.
``own_…``          The same tables for channels beside the four, which the release before does not see:
                   :mod:`actors.storage.postgres.halves`. In `kind`, ``own/`` is before the name of such a channel.
``schema_versions`` Which migrations have been made, and when.
``schema_additions`` Which additions, and when.
================  ======================================================================================================
"""

from __future__ import annotations

import logging
from typing import Any

from actors.errors import StoreError
from actors.optional_dependencies import needs

with needs("postgres"):
    import psycopg
    from psycopg import sql

logger = logging.getLogger(__name__)

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE SEQUENCE tokens;
    CREATE SEQUENCE batches;
    CREATE TABLE notifications (
        notification_id text COLLATE "C" PRIMARY KEY,
        seq bigint NOT NULL,
        state text NOT NULL CHECK (state IN ('open', 'dead', 'ended')),
        owner bigint CHECK ((owner IS NOT NULL) = (state = 'open')),
        via bigint NOT NULL DEFAULT 0,
        at_ns bigint NOT NULL,
        command bytea NOT NULL,
        requested bytea NOT NULL
    );
    CREATE INDEX notifications_of_owner ON notifications (owner) WHERE state = 'open';
    CREATE INDEX notifications_dead ON notifications (at_ns) WHERE state = 'dead';
    CREATE INDEX notifications_ended ON notifications (at_ns) WHERE state = 'ended';
    CREATE TABLE history (
        notification_id text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        event bytea NOT NULL,
        PRIMARY KEY (notification_id, seq)
    );
    CREATE TABLE settings (
        kind text NOT NULL,
        digest bytea NOT NULL,
        name bytea NOT NULL,
        value bytea NOT NULL,
        told boolean NOT NULL,
        PRIMARY KEY (kind, digest)
    );
    CREATE TABLE audit (
        seq bigint PRIMARY KEY,
        notification_id text COLLATE "C",
        at_ns bigint NOT NULL,
        entry bytea NOT NULL
    );
    CREATE INDEX audit_of_notification ON audit (notification_id);
    CREATE INDEX audit_by_age ON audit (at_ns);
    CREATE TABLE closed (
        notification_id text COLLATE "C" PRIMARY KEY,
        ended_ns bigint NOT NULL,
        command bytea NOT NULL,
        events bytea NOT NULL
    );
    CREATE INDEX closed_by_age ON closed (ended_ns);
    CREATE TABLE nodes (
        token bigint PRIMARY KEY,
        name text NOT NULL,
        lease_until timestamptz NOT NULL,
        gone boolean NOT NULL DEFAULT false,
        batch bigint NOT NULL DEFAULT 0,
        seen xid8 NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE changes (
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        token bigint NOT NULL,
        notification_id text COLLATE "C",
        kind text,
        name bytea
    );
    CREATE INDEX changes_by_xid ON changes (xid);
    """,
)
"""The statements that take a schema from each version to the next; the first makes version 1."""

ADDITIONS: tuple[str, ...] = (
    """
    CREATE TABLE IF NOT EXISTS marks (
        notification_id text COLLATE "C" PRIMARY KEY,
        under_way boolean NOT NULL,  -- whether an attempt of it is under way at its owner
        alone boolean NOT NULL,  -- and no other one is there
        suspicions int NOT NULL,
        deaths int NOT NULL
    );
    """,
    """
    ALTER TABLE notifications ADD COLUMN IF NOT EXISTS request_id text COLLATE "C";
    ALTER TABLE notifications ADD COLUMN IF NOT EXISTS served boolean NOT NULL DEFAULT false;
    CREATE INDEX IF NOT EXISTS notifications_of_request ON notifications (request_id) WHERE request_id IS NOT NULL;
    """,
    """
    ALTER TABLE notifications ADD COLUMN IF NOT EXISTS ended_as text;
    """,
    """
    CREATE TABLE IF NOT EXISTS breaker_votes (
        token bigint NOT NULL,
        digest bytea NOT NULL,
        name bytea NOT NULL,
        until timestamptz NOT NULL,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        PRIMARY KEY (token, digest)
    );
    CREATE INDEX IF NOT EXISTS breaker_votes_by_xid ON breaker_votes (xid);
    """,
    """
    CREATE TABLE IF NOT EXISTS endpoints (LIKE settings INCLUDING ALL);
    ALTER TABLE changes ADD COLUMN IF NOT EXISTS endpoint text;  -- of a channel, whose address is the name
    """,
    """
    ALTER TABLE nodes ADD COLUMN IF NOT EXISTS process text;
    ALTER TABLE nodes ADD COLUMN IF NOT EXISTS since timestamptz;
    ALTER TABLE nodes ADD COLUMN IF NOT EXISTS can_be_asked boolean NOT NULL DEFAULT false;
    ALTER TABLE nodes ADD COLUMN IF NOT EXISTS asked_by text;
    """,
    """
    CREATE TABLE IF NOT EXISTS own_notifications (LIKE notifications INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_history (LIKE history INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_settings (LIKE settings INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_endpoints (LIKE endpoints INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_audit (LIKE audit INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_closed (LIKE closed INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_marks (LIKE marks INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_changes (LIKE changes INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS own_breaker_votes (LIKE breaker_votes INCLUDING ALL);
    CREATE OR REPLACE VIEW every_notification AS
        SELECT notification_id, request_id, state FROM notifications
        UNION ALL SELECT notification_id, request_id, state FROM own_notifications;
    ALTER TABLE nodes ADD COLUMN IF NOT EXISTS knows_others boolean NOT NULL DEFAULT false;
    """,
    """
    CREATE TABLE IF NOT EXISTS kept (
        node text COLLATE "C" NOT NULL,
        actor text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (node, actor, key)
    );
    """,
)
"""Additions of a release that the release before does not need: tables, indices, columns with a default. They raise no
version, so that the release before starts beside this one, and a fleet is upgraded node by node. A change that the
release before could not bear is a migration."""

LOCK_MS = 1_000
"""For how long one try waits for a lock, at the most, in milliseconds."""

OLDEST_SERVER = 140_000
"""The oldest version of PostgreSQL that is supported, as its `server_version_num`."""


def check_dsn(dsn: str) -> None:
    """Check that a DSN can be read, and that libpq takes no part of a password for the host or the database, which its
    errors would show.

    Raises:
        StoreError: the check fails; the DSN is not shown.
    """
    if not isinstance(dsn, str):  # such as the None of an environment variable that is not set
        raise StoreError(f"{_WANTED}, got {type(dsn).__name__}")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        raise _unreadable("got one that cannot be read") from None
    if dsn.startswith(("postgresql://", "postgres://")):
        authority, _, path = dsn.partition("://")[2].partition("/")
        if authority.count("@") > 1 or "@" in path.partition("?")[0]:
            raise _unreadable("got one with an @, : or / that is not percent-encoded, perhaps in its password")
    if any(port and not port.isdecimal() for port in str(parts.get("port") or "").split(",")):
        raise _unreadable("got one whose port is no number")


_WANTED = (
    "the store in PostgreSQL cannot be opened: wanted a DSN such as postgresql://user@host/database or host=… dbname=…"
)


def _unreadable(got: str) -> StoreError:
    return StoreError(f"{_WANTED}, {got}; it is not shown, as there may be a password in it")


def connected(dsn: str, schema: str, *, lease_s: float) -> psycopg.Connection[Any]:
    """Return a connection whose unqualified names are in the schema.

    Its transactions are durable when they are committed, and if a node freezes, the server ends its transactions before
    other nodes would have to wait for longer than its lease. The connection waits for a lock for a second, or a third
    of the lease, so that it can renew the lease in between.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    connection: psycopg.Connection[Any] = psycopg.connect(
        dsn, autocommit=True, connect_timeout=max(2, round(lease_s / 3)), application_name="retrylab"
    )
    try:
        connection.execute(
            "SELECT set_config('search_path', %s, false), set_config('synchronous_commit', CASE WHEN "
            "current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), "
            "set_config('idle_in_transaction_session_timeout', %s, false), set_config('lock_timeout', %s, false)",
            (
                sql.Identifier(schema).as_string(connection),
                f"{round(lease_s * 1000)}ms",
                f"{round(min(lease_s * 333, LOCK_MS))}ms",
            ),
        )
    except BaseException:
        connection.close()
        raise
    return connection


def lock_holders(connection: psycopg.Connection[Any], schema: str) -> str:
    """Return who may keep the tables of a schema from being written, for people."""
    rows = connection.execute(
        "SELECT DISTINCT format('pid %%s (%%s, %%s)', pid, coalesce(nullif(application_name, ''), usename), state) "
        "FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation "
        "WHERE granted AND relnamespace = to_regnamespace(%s) AND wait_event_type IS DISTINCT FROM 'Lock' "
        "AND pid <> pg_backend_pid() "
        "AND xact_start < clock_timestamp() - interval '0.5 s' LIMIT 5",
        (_quoted(schema, connection),),
    ).fetchall()
    holders = ", ".join(holder for (holder,) in rows)
    return f"its tables are locked by {holders}" if holders else "a lock in it is not given free"


def migrate(connection: psycopg.Connection[Any], schema: str) -> None:
    """Bring the schema to the newest version, with all additions; only one node does that at a time.

    Raises:
        StoreError: it is of a later version than is known here, or the server is too old.
        psycopg.Error: it cannot be made or changed.
    """
    if connection.info.server_version < OLDEST_SERVER:
        raise StoreError(
            f"wanted PostgreSQL {OLDEST_SERVER // 10_000} or later, got {connection.info.server_version // 10_000}"
        )
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"retrylab {schema}",))
        if connection.execute("SELECT to_regnamespace(%s)", (_quoted(schema, connection),)).fetchone() == (None,):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (version int PRIMARY KEY, since timestamptz NOT NULL)"
        )
        row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
        assert row is not None
        (version,) = row
        if version > len(MIGRATIONS):
            raise StoreError(
                f"the schema {schema!r} is of version {version}, by a later release: "
                f"wanted one of at most {len(MIGRATIONS)}"
            )
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            logger.info("the schema %r becomes one of version %d", schema, number)
            connection.execute(migration.encode())
            connection.execute("INSERT INTO schema_versions VALUES (%s, now())", (number,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_additions (addition int PRIMARY KEY, since timestamptz NOT NULL)"
        )
        made = {number for (number,) in connection.execute("SELECT addition FROM schema_additions")}
        for number, addition in enumerate(ADDITIONS, 1):
            if number not in made:
                logger.info("the schema %r gets addition %d", schema, number)
                connection.execute(addition.encode())
                connection.execute("INSERT INTO schema_additions VALUES (%s, now())", (number,))


def _quoted(schema: str, connection: psycopg.Connection[Any]) -> str:
    return sql.Identifier(schema).as_string(connection)
