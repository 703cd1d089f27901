"""The durable store of several nodes: PostgreSQL, where each sees to what it has accepted, and to what another had that
is gone.

**Group commit.** All SQL of a node is in one thread, by one connection. Changes that come while one transaction is
under way go into the next one together.

**Who sees to what.** A node has what it accepted, redrove or took over, for as long as its lease holds, which it keeps
up by every transaction and by looking round about once a second. Each opening of a store has a fencing token of its
own. Every transaction begins with the node's row, so a node whose lease another one has declared over writes nothing
any more: its changes raise :class:`~actors.errors.StoreFailed`, and its notifier ends. A node that has not reached the
database for its lease ends by itself, just before another one may take over what it has.

**Taking over.** A living node notices that the lease of another one is over (or that it has closed its store, or was
started anew under the same name), and takes over what it had, in shares, so that several nodes get some of it each. A
notifier takes that up exactly as after a restart. A node that has only just come back to the database says of no lease
that it is over, for a third of its own: after the database has been away, everyone comes back first.

**What all nodes share.** The database decides whether an id is new, and who takes a dead letter: the acceptance of one
that another node has accepted, the redrive and the discard of a letter that another node has taken raise
:class:`~actors.errors.Overtaken`, and nothing happens. What the store is asked is answered from memory: that knows what
this node has, the ids of what has ended here (and the latest at the start), and all dead letters, suppressions and
preferences; of these, what other nodes do comes a moment later. ``NOTIFY`` makes the moment shorter, nothing depends on
it.

**A lost connection** is made again, by and by, and the transaction under way is written again; if its answer alone was
lost, that is found out. Until then changes wait. Their effects end when they are durable, or raise.

The tables are described in :mod:`actors.storage.postgres_schema`. The connection must be a session's own: through a
pooler, one that pools by sessions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeAlias, TypeVar

import msgspec
import psycopg

from actors.effects import Effect, Promise
from actors.errors import StoreError, StoreFailed, Unstorable
from actors.instants import NS_PER_S, ns
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from actors.pipeline.suppressions import told_by
from actors.preferences_config import UserPreferences
from actors.storage.audit import AuditEntry
from actors.storage.codec import (
    decode_audit_entry,
    decode_command,
    decode_events,
    decode_suppression,
    encode_command,
    encode_events,
)
from actors.storage.memory import DAY_NS, Entry, closes_case
from actors.storage.on_disk import ENDS, KEEP_AUDIT_NS, StoreOnDisk
from actors.storage.postgres_batch import (
    CHANGES_A_BATCH,
    USER,
    Batch,
    Change,
    Fenced,
    Setting,
    Shared,
    Sql,
    entries,
    setting_of,
    setting_of_suppression,
)
from actors.storage.postgres_node import (
    Round,
    State,
    Terms,
    changed,
    keep_lease,
    load,
    look_round,
    register,
    release,
    taken_over,
)
from actors.storage.postgres_schema import connected, migrate
from actors.storage.settings_change import SettingsChange
from actors.storage.store import LettersChanged, Lost, Past, TakenOver, dead_letter_after

logger = logging.getLogger(__name__)

A = TypeVar("A")

LOOK_ROUND = 1.0
"""Seconds between two looks at what other nodes have done; less where leases are short."""

SHORTEST_LEASE = 1.0

HINT_PAUSE = 0.05
"""Seconds between two hints to other nodes, at the least: a NOTIFY makes all transactions wait for each other."""

FORGET_PAUSE = 10.0
"""Seconds between two looks for rows that nobody needs any more."""

RECONNECT_PAUSES = (0.05, 2.0)
"""Seconds before the connection is tried again, the first time and at the most; they double."""

LONGEST_ID = 2_000
"""Bytes of the longest id of a notification: PostgreSQL's indices take little more."""

_SHARED = frozenset({NotificationMovedToDeadLetter, NotificationRedriven, DeadLetterDiscarded})


class PostgresStore(StoreOnDisk):
    """One node's side of a store in PostgreSQL. Make one with :meth:`open`; it is for live systems only.

    It fails as a whole, as :class:`~actors.storage.sqlite.SqliteStore` does: once a change could not be made durable,
    or the lease is lost, no later one is, every effect of one under way raises StoreFailed, a notifier over it ends,
    and leaving the block of :meth:`open` raises.
    """

    def __init__(
        self, dsn: str, *, node: str, lease: float, schema: str, remember_ids_ns: int, keep_audit_ns: int
    ) -> None:
        super().__init__(f"the store of node {node!r}", remember_ids_ns=remember_ids_ns)
        self.node = node
        """The name of this node."""
        self._dsn = dsn
        self._schema = schema
        self._lease_s = lease
        self._remember_ids_ns = remember_ids_ns
        self._keep_audit_ns = keep_audit_ns
        self._latest_ns = 0
        """The latest instant since 1970 at which anything has happened here."""
        self._under_way: Counter[str | Setting] = Counter()
        """Letters and settings with changes under way: what is heard of them meanwhile is old."""
        self._to_do: deque[_Work] = deque()
        self._lock = threading.Lock()
        """Guards what is to do, and who sleeps."""
        self._batch: Batch | None = None
        """The last of what is to do, while more may go into it."""
        self._in_hand: _Work | None = None
        """What is being done."""
        self._given_up = threading.Event()
        """Set when nothing can be made durable any more."""
        self._bell = _Bell()
        self._link = _Link(dsn, schema, lease)
        self._fencing_token, self._seen = 0, ""
        self._batches = 0
        """How many batches have been begun; that counts them."""
        self._via = 1
        """The number of the next take-over."""
        self._lease_ends = 0.0
        """When this node's lease is over, by its own monotonic clock and at the earliest."""
        self._watch = threading.Thread(target=self._watch_lease, name=f"lease of {node}", daemon=True)
        self._watched = threading.Event()
        """Set when nobody has to watch the lease any more."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        dsn: str,
        *,
        node: str | None = None,
        lease: float = 30.0,
        schema: str = "retrylab",
        remember_ids: float = DAY_NS / NS_PER_S,
        keep_audit: float = KEEP_AUDIT_NS / NS_PER_S,
    ) -> AsyncGenerator[PostgresStore, None]:
        """Open the store in a database, for as long as the block lasts; its tables are made if there are none.

        At the end of the block what was handed over is written, and other nodes may take over what has not ended; also
        when it is left by an exception, or cancelled.

        Args:
            dsn: of the database, as libpq takes it: ``postgresql://user@host/database``, or ``key=value`` pairs.
            node: the name of this node, for logs. A node that is started anew under the name of an earlier one takes
                over at once what that had; and if that is still alive, it ends. None: a new name, so that after a
                crash others take over when the lease is over.
            lease: seconds for which a node keeps what it has when it cannot reach the database; at least 1. After a
                crash, it takes so long until others take over; and a database may be away for so long.
            schema: in which the tables are.
            remember_ids: seconds for which the id of a notification that has ended is remembered.
            keep_audit: seconds for which the audit trail goes back, and the past of what people have redriven or
                discarded is kept after its end.

        Raises:
            StoreError: the database cannot be reached, or its tables cannot be made or are of a later version.
            StoreFailed (where the block is left): a change could not be made durable, or the lease was lost.
        """
        if not lease >= SHORTEST_LEASE:
            raise StoreError(f"lease: wanted at least {SHORTEST_LEASE:g} s, got {lease!r}")
        store = cls(
            dsn,
            node=node if node is not None else f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
            lease=lease,
            schema=schema,
            remember_ids_ns=ns(remember_ids),
            keep_audit_ns=ns(keep_audit),
        )
        async with store._running():
            yield store

    def _begin_to_close(self) -> None:
        with self._lock:
            self._closing = True
        self._bell.ring()

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect:
        """Hand over a change; see :meth:`Store.commit`. The effect ends when it is durable, or raises.

        Raises:
            Unstorable: what is requested would not come back as it is.
            StoreFailed: an earlier change could not be made durable, or the lease is lost.
            StoreError: the store is closed.
        """
        self._check_open()
        kind, notification_id = type(event), event.notification_id
        change = Change(event, command)
        if kind is NotificationRequested:
            _check_id(notification_id)
            change.written = encode_command(command)
            change.before = self._open.get(notification_id)
            super().commit(event, command)
            change.entry = self._open[notification_id]
        elif kind in ENDS:
            entry = self._open.get(notification_id) or self._dead[notification_id]
            change.has_history = len(entry.events) > 1
            if kind is DeadLetterDiscarded:
                change.dead_since_ns = _since_ns(entry)
            if closes_case(entry, event):
                change.written = encode_command(entry.command)
                change.past = encode_events((*entry.events, event))
            super().commit(event, command)
        elif kind is NotificationRedriven:
            change.dead_since_ns = _since_ns(self._dead[notification_id])
            super().commit(event, command)
            change.entry = self._open[notification_id]
        else:
            super().commit(event, command)
        self._latest_ns = max(self._latest_ns, change.at_ns)
        keys: list[str | Setting] = [notification_id] if kind in _SHARED else []
        if kind is NotificationRedriven or told_by(event, command.recipient) is not None:
            keys.append(setting_of(command))
        self._under_way.update(keys)
        with self._lock:
            batch = self._batch_to_fill()
            batch.keys += keys
            batch.add(change)
        self._bell.ring()
        return change

    def note(self, entry: AuditEntry) -> Effect:
        """Hand over an entry of the audit trail; see :meth:`Store.note`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the lease is lost.
            StoreError: the store is closed.
        """
        self._check_open()
        self._latest_ns = max(self._latest_ns, entry.at_ns)
        with self._lock:
            promise = self._batch_to_fill().note(entry)
        self._bell.ring()
        return promise

    def change(self, change: SettingsChange) -> Effect:
        """Hand over a change of settings; see :meth:`Store.change`.

        Raises:
            StoreFailed: an earlier change could not be made durable, or the lease is lost.
            StoreError: the store is closed.
        """
        self._check_open()
        self._apply(change)
        self._latest_ns = max(self._latest_ns, change.audit.at_ns)
        keys: list[str | Setting] = [setting_of_suppression(each) for each in change.suppressed]
        keys += [(channel.value, address) for channel, address in change.lifted]
        keys += [(USER, user_id) for user_id in change.preferences]
        self._under_way.update(keys)
        with self._lock:
            batch = self._batch_to_fill()
            batch.keys += keys
            promise = batch.change(change)
        self._bell.ring()
        return promise

    async def past(self, notification_id: str) -> Past | None:
        """Return what happened to a notification, of any node; see :meth:`Store.past`.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """
        known = self._past(notification_id)
        return known if known is not None else await self._ask(lambda sql: _past(sql, notification_id))

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        """Return what people have done at any node, newest first; see :meth:`Store.audit_trail`.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """
        return await self._ask(lambda sql: _audit_entries(sql, limit, notification_id))

    def _batch_to_fill(self) -> Batch:
        """Return the batch that changes go into now."""
        if self._batch is None or self._batch.size >= CHANGES_A_BATCH - 1:
            self._batch = Batch()
            self._to_do.append(self._batch)
        return self._batch

    async def _ask(self, read: Callable[[Sql], A]) -> A:
        query = _Query(read)
        with self._lock:
            self._check_open()
            self._batch = None  # what comes from now on is later
            self._to_do.append(query)
        self._bell.ring()
        answer: A = await query.promise()
        return answer

    def _batch_is_done(self, batch: Batch) -> None:
        """Take back what another node was faster with, and let everybody go on who waits for this batch."""
        for change in batch.overtaken:
            notification_id = change.event.notification_id
            if change.entry is not None and self._open.get(notification_id) is change.entry:
                del self._open[notification_id]
                if change.before is not None:
                    self._open[notification_id] = change.before
        self._under_way.subtract(batch.keys)
        for key in batch.keys:
            if self._under_way[key] <= 0:
                del self._under_way[key]
        if batch.shared is not None:
            self._hear(batch.shared)
        for promise in batch.promises:
            if not promise.is_kept:
                promise.keep(batch.overtaken.get(promise) if isinstance(promise, Change) else None)

    def _take_over(self, taken: dict[str, Entry]) -> None:
        """See to what another node had."""
        self._open.update(taken)
        self._tell_news(TakenOver(tuple(Past(entry.command, tuple(entry.events)) for entry in taken.values())))

    def _hear(self, shared: Shared) -> None:
        """Take in how things stand that other nodes have changed."""
        found, gone = [], []
        for notification_id, entry in shared.letters.items():
            if notification_id in self._under_way or notification_id in self._open:
                continue
            if entry is not None:
                moved = entry.events[-1]
                assert isinstance(moved, NotificationMovedToDeadLetter)
                self._dead[notification_id] = entry
                self.remembered.keep(entry.command)
                found.append(dead_letter_after(entry.command, entry.events, moved))
            elif self._dead.pop(notification_id, None) is not None:
                self.remembered.forget(notification_id)
                gone.append(notification_id)
        for setting, written in shared.settings.items():
            if setting not in self._under_way:
                self._set(setting, written)
        if found or gone:
            self._tell_news(LettersChanged(tuple(found), tuple(gone)))

    def _set(self, setting: Setting, written: bytes | None) -> None:
        """Take in how a setting stands."""
        kind, name = setting
        if kind == USER:
            if written is None:
                self.preferences.pop(name, None)
            else:
                self.preferences[name] = UserPreferences.model_validate_json(written)
        else:
            self.suppressions.remove((NotificationChannel(kind), name))
            if written is not None:
                self.suppressions.add(decode_suppression(written))

    def _tell_news(self, news: TakenOver | LettersChanged | Lost) -> None:
        if self.on_news is not None:
            self.on_news(news)

    def _is_lost(self) -> None:
        """Let nobody wait, or go on, when nothing can be made durable any more."""
        assert self._failure is not None
        with self._lock:
            waiting, self._batch = [*self._to_do], None
            self._to_do.clear()
        if self._in_hand is not None:
            waiting.append(self._in_hand)
        for work in waiting:
            for promise in work.promises:
                if not promise.is_kept:
                    promise.keep(StoreFailed(self._failure))
        self._tell_news(Lost(self._failure))

    # ── in the thread of its own ────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        try:
            self._start()
            try:
                self._serve()
            except _Over:
                pass
            except Exception as error:
                logger.exception("the store of node %r failed", self.node)
                self._give_up(f"the store cannot be written: {error}")
        except Exception as error:
            self._not_opened = error
        finally:
            self._watched.set()
            self._link.cut()
            self._bell.close()
        self._tell(self._opened.set)
        self._tell(self._ended.set)

    def _start(self) -> None:
        try:
            sql = self._link.sql()
            migrate(sql, self._schema)
            self._fencing_token, self._seen = register(sql, self.node, self._lease_s)
            state = load(sql, self._fencing_token)
            began = time.monotonic()
            keep_lease(sql, self._fencing_token, self._lease_s)
        except Fenced:
            raise StoreError(
                "the store in PostgreSQL cannot be opened: "
                f"to read it takes longer than the lease of {self._lease_s:g} s"
            ) from None
        except (psycopg.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StoreError(f"the store in PostgreSQL cannot be opened: {str(error).strip()}") from error
        self._replay(state)
        self._keeps_lease_from(began)
        self._watch.start()
        self._tell(self._opened.set)

    def _replay(self, state: State) -> None:
        for command, ended_ns in state.remembered:
            self.remembered.add(command, ended_ns)
        for event, command in state.changes:
            super().commit(event, command)
        self.suppressions.restore(())  # of those that came of that, some have been lifted
        for setting, written in state.settings.items():
            self._set(setting, written)

    def _serve(self) -> None:
        """Do what is to do, in order, until the store closes and nothing is left."""
        pause = min(LOOK_ROUND, self._lease_s / 4)
        looks_at, forgets_at, hints_at, has_hint = 0.0, 0.0, 0.0, False
        while True:
            self._check_lease()
            now = time.monotonic()
            if has_hint and now >= hints_at:
                self._repeat(self._hint)
                has_hint, hints_at = False, time.monotonic() + HINT_PAUSE
            if now >= looks_at or self._link.is_hinted():
                forgets = now >= forgets_at
                has_more = self._look_round(forgets)
                if forgets and not has_more:
                    forgets_at = now + FORGET_PAUSE
                looks_at = now if has_more else now + pause
            work = self._next(min(looks_at, hints_at) if has_hint else looks_at)
            if work is None:
                if self._closing and not self._to_do:
                    break
                continue
            if isinstance(work, _Query):
                self._repeat(work.run)
                self._tell(work.end)
            else:
                has_hint |= self._write(work)
                self._tell(self._batch_is_done, work)
            self._in_hand = None
        with contextlib.suppress(psycopg.Error):  # then others wait until its lease is over
            release(self._link.sql(), self._fencing_token)
            self._hint(self._link.sql())

    def _next(self, until: float) -> _Work | None:
        """Return what is to do next; None when it is time for something else."""
        with self._lock:
            if self._to_do:
                work = self._in_hand = self._to_do.popleft()
                if work is self._batch:
                    self._batch = None
                return work
            if self._closing:
                return None
            self._bell.hang()
        self._link.wait(self._bell, until - time.monotonic())
        return None

    def _write(self, batch: Batch) -> bool:
        """Make a batch durable; tell whether other nodes may want to know."""
        self._batches += 1
        batch.number = self._batches

        def write(sql: Sql) -> bool:
            began = time.monotonic()
            tells = batch.write(sql, self._fencing_token, self._lease_s, self._remember_ids_ns)
            self._keeps_lease_from(began)
            return tells

        tells = self._repeat(write)
        self.transactions += 1
        return tells

    def _look_round(self, forgets: bool) -> bool:
        """Keep the lease, take over what is left alone, hear what others have done; tell whether there is more."""
        now_ns = self._latest_ns if forgets else 0

        def look(sql: Sql) -> Round:
            began = time.monotonic()
            found = look_round(
                sql,
                self._fencing_token,
                self._lease_s,
                seen=self._seen,
                via=self._via,
                reaps=began - self._link.since > self._lease_s / 3,
                terms=Terms(self._remember_ids_ns, self._keep_audit_ns, now_ns),
            )
            self._keeps_lease_from(began)
            return found

        losses = self._link.losses
        found = self._repeat(look)
        for name in found.expired:
            logger.warning("the lease of node %r is over; others take over what it had", name)
        if found.taken or losses != self._link.losses:  # one whose answer was lost may have taken some
            taken = self._repeat(lambda sql: taken_over(sql, self._fencing_token, self._via))
            self._via += 1
            if taken:
                logger.warning("node %r takes over %d notifications", self.node, len(taken))
                self._tell(self._take_over, taken)
        shared, self._seen = self._repeat(lambda sql: changed(sql, self._fencing_token, self._seen))
        if shared.letters or shared.settings:
            self._tell(self._hear, shared)
        return found.has_more

    def _hint(self, sql: Sql) -> None:
        """Tell other nodes that something has changed. They would find out."""
        sql.execute("SELECT pg_notify(%s, '')", (self._schema,))

    def _repeat(self, work: Callable[[Sql], A]) -> A:
        """Do some work, again and again while the database cannot be reached."""
        pause, longest = RECONNECT_PAUSES
        while True:
            try:
                return work(self._link.sql())
            except Fenced:
                self._give_up(f"node {self.node!r} has lost its lease: another node has taken over what it had")
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
                self._link.lose(error)
                if self._given_up.wait(pause):
                    raise _Over from None
                pause = min(2 * pause, longest, self._lease_s / 6)
            except psycopg.Error as error:
                logger.exception("the store of node %r failed", self.node)
                self._give_up(f"the store cannot be written: {str(error).strip()}")

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────

    def _keeps_lease_from(self, began: float) -> None:
        """Count the lease from an instant that was before it was prolonged; and end it a bit before others do."""
        self._lease_ends = began + 0.9 * self._lease_s

    def _watch_lease(self) -> None:
        """Give up when the lease is over, whatever the other thread hangs in; in a thread of its own."""
        while not self._watched.wait(max(0.0, self._lease_ends - time.monotonic())):
            if time.monotonic() >= self._lease_ends:
                with contextlib.suppress(_Over):
                    self._give_up(
                        f"node {self.node!r} has not reached the database for its lease of {self._lease_s:g} s"
                        f"{self._link.why}: another node may take over what it has"
                    )
                self._link.shut()
                return

    def _check_lease(self) -> None:
        if self._given_up.is_set():
            raise _Over

    def _give_up(self, failure: str) -> NoReturn:
        """Make nothing durable any more."""
        with self._lock:
            if self._failure is None:
                self._failure = failure
                self._given_up.set()
                logger.error("%s", failure)
                self._tell(self._is_lost)
        raise _Over


class _Over(Exception):
    """Nothing can be made durable any more."""


# ── what is to do ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Query:
    """A question to the database, asked between two batches."""

    def __init__(self, read: Callable[[Sql], Any]) -> None:
        self.promise = Promise()
        self.promises = [self.promise]
        self._answer: Any = None
        self._read = read

    def run(self, sql: Sql) -> None:
        """Read the answer."""
        try:
            self._answer = self._read(sql)
        except Exception as error:
            if sql.broken:
                raise  # asked again when the database is back
            self._answer = StoreError(f"the store cannot be read: {error}")

    def end(self) -> None:
        """Give the answer."""
        if not self.promise.is_kept:
            self.promise.keep(self._answer)


_Work: TypeAlias = Batch | _Query


class _Bell:
    """Wakes the thread of the SQL up, from another one."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        self._is_hung = False

    def hang(self) -> None:
        """Have it ring when something comes; called with the lock held."""
        self._is_hung = True

    def ring(self) -> None:
        """Ring, if anybody listens."""
        if self._is_hung:
            self._is_hung = False
            with contextlib.suppress(OSError):
                self._writer.send(b"!")

    def silence(self) -> None:
        """Be silent again."""
        self._is_hung = False
        with contextlib.suppress(BlockingIOError):
            self.reader.recv(4096)

    def close(self) -> None:
        """Let go of it."""
        self.reader.close()
        self._writer.close()


class _Link:
    """The connection, which may be lost and made again."""

    def __init__(self, dsn: str, schema: str, lease_s: float) -> None:
        self.since = 0.0
        """Since when there is one, without a break; by the monotonic clock."""
        self.losses = 0
        """How often it was lost."""
        self.why = ""
        """Why it was lost the last time, for people; empty while there is one."""
        self._dsn, self._schema, self._lease_s = dsn, schema, lease_s
        self._sql: Sql | None = None
        self._hinted = False

    def sql(self) -> Sql:
        """Return the connection; it is made if there is none.

        Raises:
            psycopg.Error: the database cannot be reached.
        """
        if self._sql is None:
            self._sql = connected(self._dsn, self._schema, lease_s=self._lease_s)
            self._sql.add_notify_handler(self._take_hint)
            self._sql.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._schema)))
            self.since = time.monotonic()
            if self.why:
                logger.warning("the database is back")
            self.why = ""
        return self._sql

    def lose(self, error: psycopg.Error) -> None:
        """Take note that it is of no use any more, or that what was done by it has to be done again."""
        self.losses += 1
        if self._sql is not None and not self._sql.closed and isinstance(error, _CONFLICTS):
            return
        if not self.why:
            logger.warning("the database cannot be reached: %s", str(error).strip())
        self.why = f" ({str(error).strip()})"
        self.cut()

    def cut(self) -> None:
        """Close the connection."""
        sql, self._sql = self._sql, None
        if sql is not None:
            with contextlib.suppress(psycopg.Error):
                sql.close()

    def shut(self) -> None:
        """Let the thread that waits for an answer hear that none will come; from another thread."""
        sql = self._sql
        if sql is not None:
            with (
                contextlib.suppress(psycopg.Error, OSError),
                socket.socket(fileno=os.dup(sql.fileno())) as wire,
            ):
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

    def wait(self, bell: _Bell, timeout: float) -> None:
        """Wait until the bell rings, something comes from the database, or the time is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(bell.reader, selectors.EVENT_READ)
            if self._sql is not None and not self._sql.closed:
                selector.register(self._sql.fileno(), selectors.EVENT_READ)
            selector.select(max(0.0, timeout))
        bell.silence()


_CONFLICTS = (psycopg.errors.TransactionRollback, psycopg.errors.LockNotAvailable)
"""Errors after which the connection is as good as before."""


def _check_id(notification_id: str) -> None:
    """Raise Unstorable for an id that PostgreSQL cannot have as a key."""
    with contextlib.suppress(UnicodeEncodeError):  # which encode_command says more of
        size = len(notification_id.encode())
        if size > LONGEST_ID:
            raise Unstorable(
                f"notification {notification_id[:40]!r}… cannot be stored; wanted an id of at most {LONGEST_ID} bytes, "
                f"got one of {size}"
            )
    if "\0" in notification_id:
        raise Unstorable(f"notification {notification_id!r} cannot be stored; wanted an id without the character NUL")


def _since_ns(entry: Entry) -> int:
    """Return since when a letter has been dead, in nanoseconds since 1970."""
    moved = entry.events[-1]
    return moved.epoch_ns + moved.at_ns


def _past(sql: Sql, notification_id: str) -> Past | None:
    entry = entries(sql, "notification_id = %s AND state <> 'ended'", (notification_id,)).get(notification_id)
    if entry is not None:
        return Past(entry.command, tuple(entry.events))
    row = sql.execute("SELECT command, events FROM closed WHERE notification_id = %s", (notification_id,)).fetchone()
    return None if row is None else Past(decode_command(row[0]), decode_events(row[1]))


def _audit_entries(sql: Sql, limit: int | None, notification_id: str | None) -> list[AuditEntry]:
    rows = sql.execute(
        "SELECT entry FROM audit WHERE %(id)s::text IS NULL OR notification_id = %(id)s ORDER BY seq DESC "
        "LIMIT %(limit)s",
        {"id": notification_id, "limit": limit},
    )
    return [decode_audit_entry(entry) for (entry,) in rows]
