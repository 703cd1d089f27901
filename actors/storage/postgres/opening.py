"""How a node enters a store in PostgreSQL: it claims its name, and reads its first state."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from actors.errors import StoreError, StoreInUse
from actors.optional_dependencies import needs
from actors.storage.patience import Patience
from actors.storage.postgres import lease
from actors.storage.postgres.batch import Fenced
from actors.storage.postgres.connection import Link, Sql, in_one_line
from actors.storage.postgres.node import Namesake, State, keep_lease, load, register
from actors.storage.postgres.schema import migrate

with needs("postgres"):
    import psycopg

logger = logging.getLogger(__name__)

A = TypeVar("A")

LOOK_AT_NAMESAKE = 0.1
"""Seconds between two looks at a node whose name is wanted."""


class Claim(NamedTuple):
    """How a node takes a name that another one may have."""

    replaces: bool
    """Whether a living one is asked to drain and end, and waited for; else it is left alone."""
    can_be_asked: bool
    """Whether this one does so when it is asked."""


class NodeSettings(NamedTuple):
    name: str
    dsn: str
    schema: str
    lease_s: float
    remember_ids_ns: int
    keep_audit_ns: int
    claim: Claim | None
    """How the node claims its name; None: at once, and a living node of that name ends."""


class Opening:
    def __init__(
        self, link: Link, node: NodeSettings, patience: Patience, dead_after: float, may_wait: Callable[[float], bool]
    ) -> None:
        """A namesake that has not renewed its lease for `dead_after` seconds is dead; `may_wait` tells whether to go on
        waiting for a lock, given the seconds waited."""
        self._link, self._node, self._patience = link, node, patience
        self._dead_after, self._may_wait = dead_after, may_wait
        self._since = time.monotonic()
        self.token = 0
        """The fencing token of the node, when it has been entered."""
        self.seen = ""
        """The snapshot of the database in which it has seen what changes."""
        self.kept_at = 0.0
        """From when its lease counts, by the clock of leases."""

    def enter(self) -> State:
        """Make or migrate the tables, enter the node, and read its first state.

        Raises:
            StoreInUse: a living node has its name.
            StoreError: the database cannot be reached, or its tables cannot be made or read.
        """
        try:
            self._patiently(lambda sql: migrate(sql, self._node.schema))
            self.token, self.seen = self._registered()
            state = self._patiently(lambda sql: load(sql, self.token))
            self._patience.goes_on(self._since)
            self.kept_at = lease.clock()
            keep_lease(self._link.sql(), self.token, self._node.lease_s)
        except Fenced:
            raise StoreError(
                "the store in PostgreSQL cannot be opened: "
                f"to read it takes longer than the lease of {self._node.lease_s:g} s"
            ) from None
        except (psycopg.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StoreError(f"the store in PostgreSQL cannot be opened: {str(error).strip()}") from error
        return state

    def _patiently(self, work: Callable[[Sql], A]) -> A:
        sql = self._link.sql()
        while True:
            try:
                return work(sql)
            except psycopg.errors.LockNotAvailable as error:
                if not self._may_wait(time.monotonic() - self._since):
                    raise psycopg.OperationalError(f"{in_one_line(error)}: {self._link.who_locks()}") from error
                self._patience.waits(self._since, self._link.who_locks)
                if self.token:
                    with contextlib.suppress(psycopg.Error):
                        keep_lease(sql, self.token, self._node.lease_s)

    def _registered(self) -> tuple[int, str]:
        claim = self._node.claim or Claim(replaces=False, can_be_asked=False)
        entered = partial(
            register,
            name=self._node.name,
            lease_s=self._node.lease_s,
            process=f"process {os.getpid()} on {socket.gethostname()}",
            unless_renewed=self._node.claim is not None,
            can_be_asked=claim.can_be_asked,
        )
        seen, seen_at, asks = None, 0.0, False
        while True:
            has_waited = seen is not None and time.monotonic() - seen_at >= self._dead_after
            found = self._patiently(partial(entered, seen=seen if has_waited else None, asks=asks))
            if not isinstance(found, Namesake):
                return found
            if found.lease_until != seen:
                if seen is not None and not (claim.replaces and found.can_be_asked):
                    since = "" if found.since is None else f" since {found.since:%Y-%m-%d %H:%M:%S %Z}"
                    hint = "cannot be asked to end" if claim.replaces else "--replace has that drain and end first"
                    who = found.process or "a process of the release before"
                    raise StoreInUse(f"node {self._node.name!r} is alive: {who} has its lease{since}; {hint}")
                if seen is not None and not asks:
                    logger.warning("node %r is asked to drain and end: %s", self._node.name, found.process)
                    asks = True
                seen, seen_at = found.lease_until, time.monotonic()
            if not self._may_wait(0):
                raise StoreError("it was closed while it waited for a node of its name")
            time.sleep(LOOK_AT_NAMESAKE)
