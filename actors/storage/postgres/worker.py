"""All SQL of a node on a store in PostgreSQL, in one thread: its work, its lease, and news of other nodes."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar

import msgspec

from actors.domain.caution import Caution
from actors.errors import StoreError, StoreInUse
from actors.optional_dependencies import needs
from actors.storage.memory import Entry
from actors.storage.postgres.batch import Fenced, SharedBatch
from actors.storage.postgres.connection import Link, Sql, in_one_line
from actors.storage.postgres.lease import Lease
from actors.storage.postgres.node import (
    Namesake,
    Retention,
    Round,
    State,
    changed,
    keep_lease,
    load,
    look_round,
    register,
    release,
    taken_over,
)
from actors.storage.postgres.reading import Shared
from actors.storage.postgres.schema import lock_holders, migrate
from actors.storage.work_queue import Query, ToDo

with needs("postgres"):
    import psycopg

logger = logging.getLogger(__name__)

A = TypeVar("A")

LOOK_ROUND = 1.0
"""Seconds between two looks at what other nodes have done; less where leases are short."""

LONG_BREAK = 0.75
"""Which share of a lease may go by without a renewal before others may have lost theirs by the same cause: they renewed
it up to a quarter of one earlier."""

HINT_PAUSE = 0.05
"""Seconds between two hints to other nodes, at the least: a NOTIFY makes all transactions wait for each other."""

HINT_PATIENCE = "100ms"
"""For how long a hint waits for its turn; after that there is none."""

DELETE_PAUSE = 10.0
"""Seconds between two looks for rows that are no longer needed."""

RECONNECT_PAUSES = (0.05, 2.0)
"""Seconds before the connection is tried again, the first time and at the most; they double."""

SILENCE = 2.0
"""Seconds after which a database that does not answer counts as away. One that waits for a lock says so before."""


LOOK_AT_NAMESAKE = 0.1
"""Seconds between two looks at a node whose name is wanted."""

DEAD_AFTER = 3.0
"""Seconds at the most after which a node that has not renewed its lease meanwhile is taken for dead by one that wants
its name: two of its renewals, where they come each second."""


class Claim(NamedTuple):
    """How a node takes a name that another one may have."""

    replaces: bool
    """Whether a living one is asked to drain and end, and waited for; else it is left alone."""

    can_be_asked: bool
    """Whether this one does so when it is asked."""


class Patience(NamedTuple):
    """What becomes of the time for which nothing can be written; each is called in any thread."""

    waits: Callable[[float, Callable[[], str], bool], None]
    """Gets since when, by the monotonic clock, what says why, and whether it waits for a lock."""
    goes_on: Callable[[float], None]
    """Gets when what could be written was begun."""
    is_over: Callable[[], bool]
    """Tells whether the store is being closed and has waited for long enough."""


class Taken(NamedTuple):
    """What another node had, and this one has from now on."""

    entries: dict[str, Entry]
    cautions: dict[str, Caution]
    """What is known of the part that each may have had in the death of that one."""


class Living(NamedTuple):
    """Other nodes have a lease now than before."""

    nodes: frozenset[int]
    """Which, by token, this one included."""


class Asked(NamedTuple):
    """Another process wants this one to drain and end, so that it can take its name."""

    by: str


Outcome: TypeAlias = SharedBatch | Query | Taken | Shared | Living | Asked
"""The results of the work: a batch that is durable, a question that is answered, what has been taken over, the state of
what other nodes have changed, which nodes there are, or that this one is to end."""


class Worker:
    """Does the queued work, and polls in between. All of it runs in the one thread that it is started in."""

    def __init__(
        self,
        to_do: ToDo[SharedBatch],
        *,
        node: str,
        dsn: str,
        schema: str,
        lease_s: float,
        remember_ids_ns: int,
        keep_audit_ns: int,
        patience: Patience,
        claim: Claim | None,
        when_lost: Callable[[str], None],
        when_renewed: Callable[[], None],
    ) -> None:
        """Get ready to start.

        Args:
            patience: for when nothing can be written.
            claim: how it takes its name; None: it does at once, and a living node of that name ends.
            when_lost: gets the reason why nothing can be made durable any more, once and in any thread.
            when_renewed: called, in any thread, when who was told that the lease is over may ask again.
        """
        self._to_do = to_do
        self._node = node
        self._schema = schema
        self._lease_s = lease_s
        self._remember_ids_ns = remember_ids_ns
        self._keep_audit_ns = keep_audit_ns
        self._when_lost = when_lost
        self._patience = patience
        self._claim = claim
        self._asked_by: str | None = None
        self._asked_at: float | None = None
        """Since when the database has been asked something that it has not answered, by the monotonic clock."""
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"patience of {node}", daemon=True)
        self._link = Link(dsn, schema, lease_s)
        self.lease = Lease(node, lease_s, when_over=self._lease_is_over, when_renewed=when_renewed)
        self._renewed_at = 0.0
        """When the lease was renewed the last time, by the clock of leases."""
        self._steady_since = 0.0
        """Since when it has been renewed without a long break."""
        self._lock = threading.Lock()
        """Guards that it fails once."""
        self._failed = threading.Event()
        """Set when nothing can be made durable any more."""
        self._fencing_token, self._seen = 0, ""
        self._latest_ns = 0
        """The latest instant since 1970 at which anything has happened here, as far as it is written."""
        self._batches = 0
        """How many batches have been begun; that counts them."""
        self._living: frozenset[int] = frozenset()
        """The nodes that have a lease, as far as is known."""
        self._via = 1
        """The number of the next take-over."""

    def start(self, may_wait: Callable[[float], bool]) -> State:
        """Enter the node, and return what it starts with.

        Args:
            may_wait: tells whether a lock is waited for, after so many seconds.

        Raises:
            StoreError: the database cannot be reached, or its tables cannot be made or read.
        """
        since = time.monotonic()
        process = f"process {os.getpid()} on {socket.gethostname()}"

        def patiently(work: Callable[[], A]) -> A:
            while True:
                try:
                    return work()
                except psycopg.errors.LockNotAvailable as error:
                    if not may_wait(time.monotonic() - since):
                        raise psycopg.OperationalError(f"{in_one_line(error)}: {self._who_locks()}") from error
                    self._patience.waits(since, self._who_locks, True)
                    if self._fencing_token:
                        with contextlib.suppress(psycopg.Error):
                            keep_lease(sql, self._fencing_token, self._lease_s)

        try:
            sql = self._link.sql()
            patiently(lambda: migrate(sql, self._schema))
            self._fencing_token, self._seen = self._registered(
                lambda **how: patiently(lambda: register(sql, self._node, self._lease_s, process, **how)), may_wait
            )
            state = patiently(lambda: load(sql, self._fencing_token))
            self._living = state.living
            self._patience.goes_on(since)
            self._keep_lease(sql)
        except Fenced:
            raise StoreError(
                "the store in PostgreSQL cannot be opened: "
                f"to read it takes longer than the lease of {self._lease_s:g} s"
            ) from None
        except (psycopg.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StoreError(f"the store in PostgreSQL cannot be opened: {str(error).strip()}") from error
        return state

    def _registered(
        self, register: Callable[..., tuple[int, str] | Namesake], may_wait: Callable[[float], bool]
    ) -> tuple[int, str]:
        """Enter the node when its name is free: one that has it and does not renew its lease is dead.

        Raises:
            StoreInUse: a living one has the name.
        """
        claim = self._claim or Claim(replaces=False, can_be_asked=False)
        dead_after = min(DEAD_AFTER, 2 * self._look_pause)
        seen, seen_at, asks = None, 0.0, False
        while True:
            has_waited = seen is not None and time.monotonic() - seen_at >= dead_after
            found = register(
                unless_renewed=self._claim is not None,
                seen=seen if has_waited else None,
                can_be_asked=claim.can_be_asked,
                asks=asks,
            )
            if not isinstance(found, Namesake):
                return found
            if found.lease_until != seen:
                if seen is not None and not (claim.replaces and found.can_be_asked):
                    since = "" if found.since is None else f" since {found.since:%Y-%m-%d %H:%M:%S %Z}"
                    hint = "cannot be asked to end" if claim.replaces else "--replace has that drain and end first"
                    who = found.process or "a process of the release before"
                    raise StoreInUse(f"node {self._node!r} is alive: {who} has its lease{since}; {hint}")
                if seen is not None and not asks:
                    logger.warning("node %r is asked to drain and end: %s", self._node, found.process)
                    asks = True
                seen, seen_at = found.lease_until, time.monotonic()
            if not may_wait(0):
                raise StoreError("it was closed while it waited for a node of its name")
            time.sleep(LOOK_AT_NAMESAKE)

    def serve(self) -> Iterator[Outcome]:
        """Do the queued work, in order, until the queue is closed and empty; yield the results.

        It ends before that when nothing can be made durable any more.
        """
        self.lease.watch()
        self._watcher.start()
        try:
            yield from self._serve()
        except _Finished:
            pass
        except Exception as error:
            logger.exception("the store of node %r failed", self._node)
            with contextlib.suppress(_Finished):
                self._fail(f"the store cannot be written: {error}")

    def close(self) -> None:
        """Release everything."""
        self._is_over.set()
        self.lease.stop_watching()
        self._link.cut()

    def _serve(self) -> Iterator[Outcome]:
        pause = self._look_pause
        looks_at, deletes_at, hints_at, has_hint = 0.0, 0.0, 0.0, False
        while True:
            if self._failed.is_set():
                raise _Finished
            now = time.monotonic()
            if has_hint and now >= hints_at:
                self._hint()
                has_hint, hints_at = False, time.monotonic() + HINT_PAUSE
            if now >= looks_at or self._link.is_hinted():
                deletes = now >= deletes_at
                has_more = yield from self._look_round(deletes)
                if deletes and not has_more:
                    deletes_at = now + DELETE_PAUSE
                looks_at = now if has_more else now + pause
            work = self._next(min(looks_at, hints_at) if has_hint else looks_at)
            if work is None:
                if self._to_do.is_over:
                    break
                continue
            if isinstance(work, Query):
                self._repeat(partial(_answer, work))
            else:
                self._latest_ns = max(self._latest_ns, work.latest_ns)
                has_hint |= self._write(work)
            yield work
            self._to_do.put_down()
        with contextlib.suppress(psycopg.Error):  # then others wait until its lease has ended
            release(self._link.sql(), self._fencing_token)
            self._hint()

    @property
    def _look_pause(self) -> float:
        return min(LOOK_ROUND, self._lease_s / 4)

    def _next(self, until: float) -> SharedBatch | Query | None:
        work = self._to_do.take()
        if work is None:
            self._to_do.wait(until - time.monotonic(), self._link.descriptor)
        return work

    def _write(self, batch: SharedBatch) -> bool:
        """Make a batch durable; tell whether other nodes may want to know."""
        self._batches += 1

        def write(sql: Sql) -> bool:
            began = self.lease.now()
            is_news = batch.write(sql, self._fencing_token, self._batches, self._lease_s, self._remember_ids_ns)
            self._renewed(began)
            return is_news

        return self._repeat(write)

    def _look_round(self, deletes: bool) -> Generator[Outcome, None, bool]:
        """Keep the lease, take over what has no node, read what others have done; return whether there is more."""
        now_ns = self._latest_ns if deletes else 0

        def look(sql: Sql) -> Round:
            began = self.lease.now()
            found = look_round(
                sql,
                self._fencing_token,
                self._lease_s,
                seen=self._seen,
                via=self._via,
                reaps=self._may_reap,
                retention=Retention(self._remember_ids_ns, self._keep_audit_ns, now_ns),
            )
            self._renewed(began)
            return found

        losses = self._link.losses
        found = self._repeat(look)
        for name in found.expired:
            logger.warning("the lease of node %r has ended; others take over what it had", name)
        if found.asked_by is not None and self._asked_by is None:
            self._asked_by = found.asked_by
            yield Asked(found.asked_by)
        if found.living != self._living:
            self._living = found.living
            yield Living(found.living)
        if found.taken or losses != self._link.losses:  # one whose answer was lost may have taken some
            taken, cautions = self._repeat(lambda sql: taken_over(sql, self._fencing_token, self._via))
            self._via += 1
            if taken:
                logger.warning("node %r takes over %d notifications", self._node, len(taken))
                yield Taken(taken, cautions)
        shared, self._seen = self._repeat(lambda sql: changed(sql, self._fencing_token, self._seen))
        if shared.letters or shared.settings or shared.votes:
            yield shared
        return found.has_more

    def _hint(self) -> None:
        """Tell other nodes that something has changed. They would find out, so nothing waits for this to succeed.

        A NOTIFY needs a lock of the whole server and room in its queue, both of which others may have for long.
        """
        with contextlib.suppress(psycopg.Error):  # a connection that is lost is noticed by what comes next
            self._link.sql().execute(
                "SELECT set_config('lock_timeout', %s, true), pg_notify(%s, '')", (HINT_PATIENCE, self._schema)
            )

    def _repeat(self, work: Callable[[Sql], A]) -> A:
        """Do some work, again and again while the database cannot be reached, or something in it is locked."""
        pause, longest = RECONNECT_PAUSES
        since = time.monotonic()
        while True:
            try:
                self._asked_at = time.monotonic()
                done = work(self._link.sql())
                self._asked_at = None
                self._patience.goes_on(since)
                return done
            except Fenced:
                self._fail(f"node {self._node!r} has lost its lease: another node has taken over what it had")
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
                self._asked_at = None
                self._link.lose(error)
                is_locked = isinstance(error, psycopg.errors.LockNotAvailable)
                why = self._who_locks if is_locked else lambda: f"no database{self._link.why}"
                self._patience.waits(since, why, is_locked)
                if self._patience.is_over():
                    self._fail(f"the store of node {self._node!r} cannot be written{self._link.why}")
                if self._failed.wait(pause):
                    raise _Finished from None
                pause = min(2 * pause, longest, self._lease_s / 6)
                if is_locked:
                    # Whatever that lock is on, the node's own row may be free.
                    with contextlib.suppress(psycopg.Error):
                        self._keep_lease(self._link.sql())
            except psycopg.Error as error:
                logger.exception("the store of node %r failed", self._node)
                self._fail(f"the store cannot be written: {str(error).strip()}")

    def _who_locks(self) -> str:
        try:
            return lock_holders(self._link.sql(), self._schema)
        except psycopg.Error as error:
            return in_one_line(error)

    def _watch(self) -> None:
        """Note that the database does not answer, where the thread of the SQL is stuck."""
        while not self._is_over.wait(SILENCE / 4):
            asked_at = self._asked_at
            if asked_at is not None and time.monotonic() - asked_at > SILENCE:
                self._patience.waits(asked_at, lambda: "the database does not answer", False)
                if self._patience.is_over():
                    with contextlib.suppress(_Finished):
                        self._fail(f"the store of node {self._node!r} cannot be written: the database does not answer")
                    self._link.shut()

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────

    def _keep_lease(self, sql: Sql) -> None:
        """Renew the lease alone.

        Raises:
            Fenced: it has ended, and that has been noticed.
        """
        began = self.lease.now()
        keep_lease(sql, self._fencing_token, self._lease_s)
        self._renewed(began)

    def _renewed(self, began: float) -> None:
        now = self.lease.now()
        if now - self._renewed_at > LONG_BREAK * self._lease_s:
            self._steady_since = now
        self._link.why = ""
        if self.lease.keep_from(began) and self._renewed_at:
            logger.warning("node %r has its lease again", self._node)
        self._renewed_at = now

    def _may_reap(self) -> bool:
        """Tell whether the node may say of others that their lease has ended.

        What has kept it from the database for long, be it a lock or the network, may have kept them from it too: then
        all come back first.
        """
        now = self.lease.now()
        if now - self._renewed_at > LONG_BREAK * self._lease_s:
            return False
        return now - max(self._link.since, self._steady_since) > self._lease_s / 3

    def _lease_is_over(self, times: int) -> None:
        """Say that nothing is sent any more, and free the thread of the SQL if that is stuck; called in another one.

        The lease is renewed as soon as the database is there, unless another node has noticed meanwhile. A store that
        is being closed waits no longer.
        """
        if self._to_do.closed.is_set():
            with contextlib.suppress(_Finished):
                self._fail(
                    f"node {self._node!r} has not reached the database for its lease of {self._lease_s:g} s"
                    f"{self._link.why}: another node may take over what it has"
                )
        elif times == 1:
            logger.warning(
                "node %r has not renewed its lease of %g s%s: it sends nothing until it has",
                self._node,
                self._lease_s,
                self._link.why,
            )
        is_stuck = self.lease.now() - max(self._renewed_at, self._link.lost_at) > self._lease_s / 2
        # Less and less often: perhaps it is not stuck, and its work takes that long.
        if self._failed.is_set() or (is_stuck and times & (times - 1) == 0):
            self._link.shut()

    # ── the end before its time ─────────────────────────────────────────────────────────────────────────────────

    def _fail(self, failure: str) -> NoReturn:
        with self._lock:
            if not self._failed.is_set():
                logger.error("%s", failure)
                self._when_lost(failure)
                self._failed.set()
        raise _Finished


def _answer(query: Query, sql: Sql) -> None:
    try:
        query.answered(query.read(sql))
    except Exception as error:
        if sql.broken or isinstance(error, psycopg.errors.LockNotAvailable):
            raise  # asked again when the database is back, or the lock is gone
        query.answered(StoreError(f"the store cannot be read: {error}"))


class _Finished(Exception):
    """Nothing can be made durable any more."""
