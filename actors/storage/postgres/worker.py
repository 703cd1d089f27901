"""All SQL of a node on a store in PostgreSQL, in one thread: its work, its lease, and news of other nodes."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar

from actors.domain.caution import Caution
from actors.domain.store import NodesChanged
from actors.errors import StoreError
from actors.optional_dependencies import needs
from actors.storage.memory import Entry
from actors.storage.patience import Patience
from actors.storage.postgres import lease as leases
from actors.storage.postgres.batch import Fenced, SharedBatch
from actors.storage.postgres.connection import Link, Sql
from actors.storage.postgres.lease import Lease
from actors.storage.postgres.node import (
    Round,
    SharedRetention,
    State,
    changed,
    keep_lease,
    look_round,
    release,
    taken_over,
)
from actors.storage.postgres.opening import NodeSettings, Opening
from actors.storage.postgres.reading import Shared
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

DELETE_PAUSE = 10.0
"""Seconds between two looks for rows that are no longer needed."""

RECONNECT_PAUSES = (0.05, 2.0)
"""Seconds before the connection is tried again, the first time and at the most; they double."""

SILENCE = 2.0
"""Seconds after which a database that does not answer counts as away. A wait for a lock ends before."""

DEAD_AFTER = 3.0
"""The most seconds without a renewal of its lease after which a node counts as dead for a node that wants its name: two
renewals, where they come each second."""


class Taken(NamedTuple):
    """The notifications that this node has taken over from another."""

    entries: dict[str, Entry]
    cautions: dict[str, Caution]
    """By notification, its part in the death of that node, as far as is known."""


class AskedToEnd(NamedTuple):
    """Another process wants this one to drain and end, so that it can take its name."""

    by: str


Outcome: TypeAlias = SharedBatch | Query | Taken | Shared | NodesChanged | AskedToEnd
"""The results of the work: a durable batch, an answered question, notifications taken over, other nodes' changes, the
living nodes, or a request that this node end."""


class Worker:
    """Does the queued work, and polls in between, all in the thread in which it is started."""

    def __init__(
        self,
        to_do: ToDo[SharedBatch],
        node: NodeSettings,
        patience: Patience,
        *,
        when_lost: Callable[[str], None],
        when_renewed: Callable[[], None],
    ) -> None:
        """In any thread, `when_lost` gets the reason why nothing can be made durable any more, once; and `when_renewed`
        is called when a caller who was refused for want of a lease may ask again."""
        self._to_do = to_do
        self._node = node
        self._when_lost = when_lost
        self._patience = patience
        self._asked_by: str | None = None
        self._asked_at: float | None = None
        """Since when the database has been asked something that it has not answered, by the monotonic clock."""
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"patience of {node.name}", daemon=True)
        self._link = Link(node.dsn, node.schema, node.lease_s)
        self.lease = Lease(node.name, node.lease_s, when_over=self._lease_is_over, when_renewed=when_renewed)
        self._renewed_at = 0.0
        """When the lease was renewed the last time, by the clock of leases."""
        self._steady_since = 0.0
        """Since when it has been renewed without a long break."""
        self._lock = threading.Lock()
        self._failed = threading.Event()
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
        """Enter the node, and return its first state.

        Args:
            may_wait: tells, given the seconds waited so far, whether to go on waiting for a lock.

        Raises:
            StoreError: the database cannot be reached, or its tables cannot be made or read.
        """
        dead_after = min(DEAD_AFTER, 2 * self._look_pause)
        opening = Opening(self._link, self._node, self._patience, dead_after, may_wait)
        state = opening.enter()
        self._fencing_token, self._seen, self._living = opening.token, opening.seen, state.living
        self._renewed(opening.kept_at)
        return state

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
            logger.exception("the store of node %r failed", self._node.name)
            with contextlib.suppress(_Finished):
                self._fail(f"the store cannot be written: {error}")

    def close(self) -> None:
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
                self._link.hint()
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
            self._link.hint()

    @property
    def _look_pause(self) -> float:
        return min(LOOK_ROUND, self._node.lease_s / 4)

    def _next(self, until: float) -> SharedBatch | Query | None:
        work = self._to_do.take()
        if work is None:
            self._to_do.wait(until - time.monotonic(), self._link.descriptor)
        return work

    def _write(self, batch: SharedBatch) -> bool:
        self._batches += 1

        def write(sql: Sql) -> bool:
            began = leases.clock()
            is_news = batch.write(
                sql, self._fencing_token, self._batches, self._node.lease_s, self._node.remember_ids_ns
            )
            self._renewed(began)
            return is_news

        return self._repeat(write)

    def _look_round(self, deletes: bool) -> Generator[Outcome, None, bool]:
        now_ns = self._latest_ns if deletes else 0

        def look(sql: Sql) -> Round:
            began = leases.clock()
            found = look_round(
                sql,
                self._fencing_token,
                self._node.lease_s,
                seen=self._seen,
                via=self._via,
                reaps=self._may_reap,
                retention=SharedRetention(self._node.remember_ids_ns, self._node.keep_audit_ns, now_ns),
            )
            self._renewed(began)
            return found

        losses = self._link.losses
        found = self._repeat(look)
        for name in found.expired:
            logger.warning("the lease of node %r has ended; others take over what it had", name)
        if found.asked_by is not None and self._asked_by is None:
            self._asked_by = found.asked_by
            yield AskedToEnd(found.asked_by)
        if found.living != self._living:
            self._living = found.living
            yield NodesChanged(found.living)
        if found.taken or losses != self._link.losses:  # a look whose answer was lost may have taken some
            taken, cautions = self._repeat(lambda sql: taken_over(sql, self._fencing_token, self._via))
            self._via += 1
            if taken:
                logger.warning("node %r takes over %d notifications", self._node.name, len(taken))
                yield Taken(taken, cautions)
        shared, self._seen = self._repeat(lambda sql: changed(sql, self._fencing_token, self._seen))
        if shared.letters or shared.settings or shared.votes:
            yield shared
        return found.has_more

    def _repeat(self, work: Callable[[Sql], A]) -> A:
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
                self._fail(f"node {self._node.name!r} has lost its lease: another node has taken over what it had")
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
                self._asked_at = None
                self._link.lose(error)
                is_locked = isinstance(error, psycopg.errors.LockNotAvailable)
                why = self._link.who_locks if is_locked else lambda: f"no database{self._link.why}"
                self._patience.waits(since, why, is_locked)
                if self._patience.is_over():
                    self._fail(f"the store of node {self._node.name!r} cannot be written{self._link.why}")
                if self._failed.wait(pause):
                    raise _Finished from None
                pause = min(2 * pause, longest, self._node.lease_s / 6)
                if is_locked:
                    # Whichever table is locked, the node's own row may be free.
                    with contextlib.suppress(psycopg.Error):
                        began = leases.clock()
                        keep_lease(self._link.sql(), self._fencing_token, self._node.lease_s)
                        self._renewed(began)
            except psycopg.Error as error:
                logger.exception("the store of node %r failed", self._node.name)
                self._fail(f"the store cannot be written: {str(error).strip()}")

    def _watch(self) -> None:
        """Note that the database does not answer, where the thread of the SQL is stuck."""
        while not self._is_over.wait(SILENCE / 4):
            asked_at = self._asked_at
            if asked_at is not None and time.monotonic() - asked_at > SILENCE:
                self._patience.waits(asked_at, lambda: "the database does not answer", False)
                if self._patience.is_over():
                    with contextlib.suppress(_Finished):
                        self._fail(
                            f"the store of node {self._node.name!r} cannot be written: the database does not answer"
                        )
                    self._link.shut()

    def _renewed(self, began: float) -> None:
        now = leases.clock()
        if now - self._renewed_at > LONG_BREAK * self._node.lease_s:
            self._steady_since = now
        self._link.has_worked()
        if self.lease.keep_from(began) and self._renewed_at:
            logger.warning("node %r has its lease again", self._node.name)
        self._renewed_at = now

    def _may_reap(self) -> bool:
        """Tell whether the node may declare other leases ended.

        A lock or the network that has kept this node from the database for long may have kept the other nodes from it,
        too: then all nodes come back first.
        """
        now = leases.clock()
        if now - self._renewed_at > LONG_BREAK * self._node.lease_s:
            return False
        return now - max(self._link.since, self._steady_since) > self._node.lease_s / 3

    def _lease_is_over(self, times: int) -> None:
        """Say that nothing is sent any more, and free the thread of the SQL if that is stuck; called in another one.

        The lease is renewed as soon as the database is there, unless another node has noticed meanwhile. A store that
        is being closed waits no longer.
        """
        if self._to_do.closed.is_set():
            with contextlib.suppress(_Finished):
                self._fail(
                    f"node {self._node.name!r} has not reached the database for its lease of {self._node.lease_s:g} s"
                    f"{self._link.why}: another node may take over what it has"
                )
        elif times == 1:
            logger.warning(
                "node %r has not renewed its lease of %g s%s: it sends nothing until it has",
                self._node.name,
                self._node.lease_s,
                self._link.why,
            )
        is_stuck = leases.clock() - max(self._renewed_at, self._link.lost_at) > self._node.lease_s / 2
        # Less and less often: perhaps it is not stuck, and its work takes that long.
        if self._failed.is_set() or (is_stuck and times & (times - 1) == 0):
            self._link.shut()

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
