"""The work of a store on disk, on its way from the system's thread to the thread that does all the SQL."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from actors.kernel.effects import Promise
from actors.storage.changes import Batch

B = TypeVar("B", bound=Batch)


class Query:
    """A question to the database, asked between two batches."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read = read
        self.promise = Promise()
        self.promises = [self.promise]
        self._answer: Any = None

    def answered(self, answer: Any) -> None:
        """Take the answer, in the thread of the SQL: an exception if it failed."""
        self._answer = answer

    def resume(self) -> None:
        if not self.promise.is_kept:
            self.promise.keep(self._answer)


class ToDo(Generic[B]):
    """Batches and questions, in the order in which the thread does them; only the last batch is open."""

    def __init__(self, new_batch: Callable[[], B]) -> None:
        self._new_batch = new_batch
        self.closed = threading.Event()
        """Set when nothing more comes."""
        self._to_do: deque[B | Query] = deque()
        self._news = threading.Condition()
        """Guards the work, and notifies the thread when there is some."""
        self._batch: B | None = None
        self._in_hand: B | Query | None = None

    def __len__(self) -> int:
        return len(self._to_do)

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def put(self, add: Callable[[B], Promise]) -> Promise:
        """Have a function add something to the batch that is open; return the promise that this is durable."""
        with self._news:
            batch = self._batch
            if batch is None or batch.is_full:
                batch = self._batch = self._new_batch()
                self._to_do.append(batch)
            added = add(batch)
            self._wake()
        return added

    def ask(self, read: Callable[[Any], Any]) -> Promise:
        query = Query(read)
        with self._news:
            self._batch = None  # later changes go into a later batch
            self._to_do.append(query)
            self._wake()
        return query.promise

    def close(self) -> None:
        with self._news:
            self.closed.set()
            self._wake()

    def clear(self) -> list[Promise]:
        """Drop all work; return its promises, and the promises of the work in hand."""
        with self._news:
            left, self._batch = [*self._to_do], None
            self._to_do.clear()
        if self._in_hand is not None:
            left.append(self._in_hand)
        return [promise for work in left for promise in work.promises]

    def _wake(self) -> None:
        self._news.notify()

    # ── in the thread of the SQL ────────────────────────────────────────────────────────────────────────────────

    def take(self) -> B | Query | None:
        """Return the next work, which is in hand from now on; None: there is none."""
        with self._news:
            if not self._to_do:
                return None
            work = self._in_hand = self._to_do.popleft()
            if work is self._batch:
                self._batch = None
            return work

    def wait(self, timeout: float, _descriptor: int | None = None) -> None:
        """Wait until there is work, the queue is closed, or the time, in seconds, has passed."""
        with self._news:
            self._news.wait_for(lambda: self._to_do or self.closed.is_set(), timeout)

    def put_down(self) -> None:
        self._in_hand = None

    @property
    def is_over(self) -> bool:
        return self.closed.is_set() and not self._to_do

    def shut(self) -> None:
        """Close the resources that the thread waits with."""


class PollingToDo(ToDo[B]):
    """A work queue for a thread that waits for a socket as well, and is woken by a self-pipe."""

    def __init__(self, new_batch: Callable[[], B]) -> None:
        super().__init__(new_batch)
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ)
        self._is_awaited = False
        """Whether new work has to wake the thread."""

    def _wake(self) -> None:
        if self._is_awaited:
            self._is_awaited = False
            with contextlib.suppress(OSError):
                self._writer.send(b"!")

    def wait(self, timeout: float, descriptor: int | None = None) -> None:
        with self._news:
            if self._to_do or self.closed.is_set():
                return
            self._is_awaited = True
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._selector.select(max(0.0, timeout))
        if descriptor is not None:
            self._selector.unregister(descriptor)
        self._is_awaited = False
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def shut(self) -> None:
        self._selector.close()
        self._reader.close()
        self._writer.close()
