"""A node's connection to PostgreSQL: it may be lost and made again, and is where the node waits and is notified by
others.

What all SQL of a store in PostgreSQL has in common is here too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from actors.optional_dependencies import needs
from actors.storage.postgres import lease
from actors.storage.postgres.schema import connected, lock_holders

with needs("postgres"):
    import psycopg

Sql = psycopg.Connection[Any]


logger = logging.getLogger(__name__)

HINT_PATIENCE = "100ms"
"""For how long a hint waits for its turn; after that there is none."""

_CONFLICTS = (psycopg.errors.TransactionRollback, psycopg.errors.LockNotAvailable)
"""Errors after which the connection is as good as before."""


def columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def in_one_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class Link:
    def __init__(self, dsn: str, schema: str, lease_s: float) -> None:
        self.since = 0.0
        """Since when there is one, without a break; by the clock of leases."""
        self.losses = 0
        """How often it was lost, or work had to be done again."""
        self.lost_at = 0.0
        """When that was the last time, by the clock of leases."""
        self.why = ""
        """Why the latest work could not be done, for people; empty where it could."""
        self._is_away = False
        self._dsn, self._schema, self._lease_s = dsn, schema, lease_s
        self._sql: Sql | None = None
        self._hinted = False

    def sql(self) -> Sql:
        """Return the connection; it is made if there is none. Raise psycopg.Error where the database cannot be
        reached."""
        if self._sql is None:
            self._sql = connected(self._dsn, self._schema, lease_s=self._lease_s)
            self._sql.add_notify_handler(self._take_hint)
            self._sql.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._schema)))
            self.since = lease.clock()
            if self._is_away:
                logger.warning("the database is back")
            self._is_away = False
        return self._sql

    def lose(self, error: psycopg.Error) -> None:
        self.losses += 1
        self.lost_at = lease.clock()
        self.why = f" ({in_one_line(error)})"
        if self._sql is not None and not self._sql.closed and isinstance(error, _CONFLICTS):
            return
        if not self._is_away:
            logger.warning("the database cannot be reached: %s", in_one_line(error))
        self._is_away = True
        self.cut()

    def has_worked(self) -> None:
        self.why = ""

    def who_locks(self) -> str:
        try:
            return lock_holders(self.sql(), self._schema)
        except psycopg.Error as error:
            return in_one_line(error)

    def hint(self) -> None:
        """Hint to other nodes that something has changed. They would find out anyway, so nothing waits for the hint.

        A NOTIFY needs a lock of the whole server and room in its queue, both of which other clients may hold for long.
        """
        with contextlib.suppress(psycopg.Error):  # the next statement notices a lost connection
            self.sql().execute(
                "SELECT set_config('lock_timeout', %s, true), pg_notify(%s, '')", (HINT_PATIENCE, self._schema)
            )

    def cut(self) -> None:
        sql, self._sql = self._sql, None
        if sql is not None:
            with contextlib.suppress(psycopg.Error):
                sql.close()

    def shut(self) -> None:
        """Wake the thread that waits for an answer that will not come; from another thread."""
        sql = self._sql
        if sql is not None:
            with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(sql.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    def is_hinted(self) -> bool:
        """Tell whether another node has said that something has changed, since this was asked the last time."""
        if self._sql is not None:
            with contextlib.suppress(psycopg.Error):
                self._sql.pgconn.consume_input()
                while (notify := self._sql.pgconn.notifies()) is not None:
                    self._hinted |= notify.be_pid != self._sql.pgconn.backend_pid
        hinted, self._hinted = self._hinted, False
        return hinted

    def _take_hint(self, notify: psycopg.Notify) -> None:
        self._hinted |= self._sql is not None and notify.pid != self._sql.pgconn.backend_pid

    @property
    def descriptor(self) -> int | None:
        """Which descriptor can be read when something comes from the database; None: there is no connection."""
        return None if self._sql is None or self._sql.closed else self._sql.fileno()
