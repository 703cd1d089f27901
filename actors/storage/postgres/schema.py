"""How the tables of a store in PostgreSQL, which `schema.sql` describes, and a connection to them are made."""

from __future__ import annotations

import logging
import re
from importlib.resources import files
from typing import Any

from actors.errors import StoreError
from actors.optional_dependencies import needs

with needs("postgres"):
    import psycopg
    from psycopg import sql

logger = logging.getLogger(__name__)

_TEXT = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
_, *_SECTIONS = re.split(r"(?m)^-- (version|addition) [0-9]+$", _TEXT)
MIGRATIONS, ADDITIONS = (
    tuple(section for kind, section in zip(_SECTIONS[::2], _SECTIONS[1::2], strict=True) if kind == wanted)
    for wanted in ("version", "addition")
)
"""The statements of each version and of each addition, in order; `schema.sql` says what these are."""

LOCK_MS = 1_000
"""For how long one try waits for a lock, at the most, in milliseconds."""

OLDEST_SERVER = 140_000
"""The oldest version of PostgreSQL that is supported, as its `server_version_num`."""


def check_dsn(dsn: str) -> None:
    """Check that a DSN can be read, and that libpq takes no part of a password for the host or the database, which its
    errors would show. Raise StoreError, which does not show the DSN, where the check fails."""
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
