"""A node's work in PostgreSQL, on its way from the thread of the system to the one that does all the SQL."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from actors.errors import StoreError
from actors.kernel.effects import Promise
from actors.optional_dependencies import needs
from actors.storage.postgres.batch import CHANGES_A_BATCH, Batch
from actors.storage.postgres.connection import Sql
from actors.storage.postgres.settings import Setting
from actors.storage.self_pipe import SelfPipe

with needs("postgres"):
    import psycopg

A = TypeVar("A")
B = TypeVar("B")


class Query:
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
            if sql.broken or isinstance(error, psycopg.errors.LockNotAvailable):
                raise  # asked again when the database is back, or the lock is gone
            self._answer = StoreError(f"the store cannot be read: {error}")

    def end(self) -> None:
        """Give the answer."""
        if not self.promise.is_kept:
            self.promise.keep(self._answer)


Work: TypeAlias = Batch | Query


class ToDo:
    """Batches and questions, in the order in which they are to be done."""

    def __init__(self) -> None:
        self.self_pipe = SelfPipe()
        """Wakes the thread when something comes, once there was nothing."""
        self.latest_ns = 0
        """The latest instant since 1970 at which anything has happened here."""
        self.is_closing = False
        """Whether nothing more comes."""
        self._to_do: deque[Work] = deque()
        self._lock = threading.Lock()
        """Guards the work and the wake-up."""
        self._batch: Batch | None = None
        """The last batch, while more may go into it."""
        self._in_hand: Work | None = None
        """What is being done."""

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def put(self, at_ns: int, keys: Sequence[str | Setting], add: Callable[[Batch, B], A], what: B) -> A:
        """Have something go into the batch that is being filled.

        Args:
            at_ns: since 1970, when it happened.
            keys: of what it changes.
            add: puts it into a batch; what that returns is returned.
            what: it.
        """
        if at_ns > self.latest_ns:
            self.latest_ns = at_ns
        with self._lock:
            batch = self._batch
            if batch is None or len(batch.promises) >= CHANGES_A_BATCH - 1:
                batch = self._batch = Batch()
                self._to_do.append(batch)
            if keys:
                batch.keys += keys
            added = add(batch, what)
        self.self_pipe.wake()
        return added

    def ask(self, read: Callable[[Sql], Any]) -> Promise:
        """Take in a question; return the promise of its answer."""
        query = Query(read)
        with self._lock:
            self._batch = None  # what comes from now on is later
            self._to_do.append(query)
        self.self_pipe.wake()
        return query.promise

    def close(self) -> None:
        """Close the queue: nothing more comes."""
        with self._lock:
            self.is_closing = True
        self.self_pipe.wake()

    def clear(self) -> list[Work]:
        """Drop all work; return it, with what is being done."""
        with self._lock:
            left, self._batch = [*self._to_do], None
            self._to_do.clear()
        if self._in_hand is not None:
            left.append(self._in_hand)
        return left

    # ── in the thread of the SQL ────────────────────────────────────────────────────────────────────────────────

    def take(self) -> Work | None:
        """Return the next work, which is in hand from now on; None: nothing, and the self-pipe wakes the
        thread when it comes."""
        with self._lock:
            if self._to_do:
                work = self._in_hand = self._to_do.popleft()
                if work is self._batch:
                    self._batch = None
                return work
            if not self.is_closing:
                self.self_pipe.hang()
        return None

    def put_down(self) -> None:
        """Record that what was in hand is done."""
        self._in_hand = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left, and nothing more comes."""
        return self.is_closing and not self._to_do
