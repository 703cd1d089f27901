"""The base of the durable stores: memory answers, and a thread of the store's own does all the SQL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, TypeVar

import trio

from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution, ends_caution
from actors.domain.codec import encode_command
from actors.domain.ids import is_keepable
from actors.domain.remembered_ids import EndedAs, RememberedIds
from actors.domain.store import LeaseLost, News, SettingsChange, StoredHistory
from actors.errors import StoreBusy, StoreFailed, Unstorable
from actors.kernel.effects import Effect, Promise
from actors.kernel.trio_token import trio_token
from actors.messages import NotificationEvent, NotificationRedriven, NotificationRequested, SendNotification
from actors.storage.changes import ENDS, Batch, Mark, StoredChange
from actors.storage.clock_steps import Clocks, ClockSteps
from actors.storage.memory import DAY_NS, Entry, MemoryStore
from actors.storage.patience import Patience
from actors.storage.work_queue import ToDo

CACHED_IDS = 10_000
"""How many of the latest ended notifications have their ids in memory, at up to some kilobytes each."""

A = TypeVar("A")

KEEP_AUDIT_NS = 400 * DAY_NS


class Reads(Protocol):
    """The module of a store that answers what memory does not know; each function gets the connection.

    `recalled` and `ended_as` also get what tells how long ids are remembered, and the instant, by the steady clock.
    """

    def recalled(self, sql: Any, notification_id: str, kept: Any, steady_ns: int, /) -> SendNotification | None: ...
    def ended_as(self, sql: Any, notification_id: str, kept: Any, steady_ns: int, /) -> EndedAs | None: ...
    def history_of(self, sql: Any, notification_id: str, /) -> StoredHistory | None: ...
    def audit_entries(self, sql: Any, limit: int | None, notification_id: str | None, /) -> list[AuditEntry]: ...
    def erase_histories(self, sql: Any, is_meant: Callable[[SendNotification], bool], /) -> int: ...


class StoreOnDisk(MemoryStore):
    """Answers from memory, and fails as a whole: what could not be made durable stops it for good."""

    outlives_process = True
    _reads: Reads
    _change: type[StoredChange] = StoredChange
    _queue: type[ToDo[Any]] = ToDo

    def __init__(self, name: str, *, remember_ids_ns: int, clocks: Clocks | None = None) -> None:
        super().__init__()
        self._steps = ClockSteps(clocks)
        self.remembered = RememberedIds(remember_ids_ns, most=CACHED_IDS, ahead_ns=self._steps.ahead_ns)
        self._marked: dict[str, Caution] = {}
        """The caution for each notification that has a mark on the disk, or gets one before its next attempt."""
        self.transactions = 0
        self._name = name
        self._token = trio_token()
        self._to_do: ToDo[Any] = self._queue(self._new_batch)
        self._patience = Patience(name, self._tell, self._tell_news)
        self._failure: str | None = None
        """Why nothing can be made durable any more."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._opened, self._ended = trio.Event(), trio.Event()
        self._not_opened: Exception | None = None

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[Self, None]:
        self._thread.start()
        try:
            await self._opened.wait()
            if self._not_opened is not None:
                raise self._not_opened
            yield self
        finally:
            with trio.CancelScope(shield=True):
                self._patience.close()
                self._to_do.close()
                await self._ended.wait()
        if self._failure is not None:
            raise StoreFailed(self._failure)

    @property
    def is_open(self) -> bool:
        """Whether the store takes changes: from the beginning of the block of `open` to its end."""
        return self._opened.is_set() and not self._to_do.closed.is_set()

    def _work(self) -> None:
        try:
            self._open_and_serve()
        except Exception as error:
            self._not_opened = error
        self._to_do.shut()
        self._tell(self._opened.set)
        self._tell(self._ended.set)

    def _open_and_serve(self) -> None:
        """Open it, set `_opened`, and do the queued work until the queue is closed and empty."""
        raise NotImplementedError

    def _new_batch(self) -> Batch:
        raise NotImplementedError

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *arguments)

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect:
        self._check_open()
        kind, notification_id = type(event), event.notification_id
        before = self._open.get(notification_id)
        if before is None and kind is not NotificationRequested:
            before = self._dead.get(notification_id)
        change = self._changed(event, command, before)
        return self._to_do.put(lambda batch: batch.add(change))

    def _changed(self, event: NotificationEvent, command: SendNotification, before: Entry | None) -> Any:
        """Take an event into memory, and return the change to write; `before` is its notification in memory until
        then."""
        kind, notification_id = type(event), event.notification_id
        written = encode_command(command) if kind is NotificationRequested else b""
        beside = self._take_in(event, command)
        return self._change(
            event,
            command,
            before,
            event.epoch_ns + event.at_ns,
            written,
            self.remembered.latest_ns if kind in ENDS else 0,
            self._open[notification_id] if written or kind is NotificationRedriven else None,
            beside,
            bool(self._marked) and ends_caution(event) and self._marked.pop(notification_id, None) is not None,
        )

    def mark(self, notification_id: str, *, alone: bool) -> Effect:
        self._check_open()
        mark = Mark(self._open[notification_id].command.channel.is_own, self._marked[notification_id], alone)
        return self._to_do.put(lambda batch: batch.mark(notification_id, mark))

    def note(self, entry: AuditEntry) -> Effect:
        self._check_open()
        self._check_entry(entry)
        return self._to_do.put(lambda batch: batch.note(entry))

    def keep(self, actor: str, key: str, value: bytes | None, now_ns: int) -> Effect:
        self._check_open()
        if not is_keepable(actor + key):
            raise Unstorable(f"a key of {actor!r:.100} cannot be stored: wanted text, got {key!r:.100}")
        super().keep(actor, key, value, now_ns)
        return self._to_do.put(lambda batch: batch.keep_state(actor, key, value))

    def _is_done(self, work: Any) -> None:
        if isinstance(work, Batch):
            self.transactions += 1
            self._take_back(work)
        work.resume()

    def _take_back(self, batch: Any) -> None:
        for change in batch.overtaken:
            notification_id = change.event.notification_id
            if change.entry is not None and self._open.get(notification_id) is change.entry:
                del self._open[notification_id]
                if change.written and change.before is not None:  # taken over, and its handler does not know yet
                    self._open[notification_id] = change.before

    def _lose(self, failure: str) -> None:
        self._failure = failure
        self._tell(self._is_lost, failure)

    def _is_lost(self, failure: str) -> None:
        for promise in self._to_do.clear():
            if not promise.is_kept:
                promise.keep(StoreFailed(failure))
        self._tell_news(LeaseLost(failure))

    @property
    def _kept(self) -> Any:
        return self.remembered.ttl_ns

    @property
    def is_busy(self) -> bool:  # type: ignore[override]
        return self._patience.is_busy

    def _tell_news(self, news: News) -> None:
        if self.on_news is not None:
            self.on_news(news)

    async def wait_for(self, effect: Effect | None) -> None:
        if isinstance(effect, Promise):
            await self._patience.answer_of(effect)
        else:
            await super().wait_for(effect)

    def _be_careful(self, cautions: Mapping[str, Caution]) -> None:
        self.cautions.update(cautions)
        self._marked.update(cautions)

    def mark_as_not_alone(self, notification_id: str) -> Effect | None:
        return self.mark(notification_id, alone=False) if notification_id in self._marked else None

    async def recall(self, notification_id: str, now_ns: int) -> SendNotification | None:
        known = self.remembered.get(notification_id, now_ns)
        if known is not None or notification_id in self._open or not is_keepable(notification_id):
            return known
        steady_ns = self.remembered.steady_ns(now_ns)
        return await self._ask(lambda sql: self._reads.recalled(sql, notification_id, self._kept, steady_ns))

    async def ended_as(self, notification_id: str, now_ns: int) -> EndedAs | None:
        known = await super().ended_as(notification_id, now_ns)
        if known is not None or notification_id in self._open or notification_id in self._dead:
            return known
        if not is_keepable(notification_id):
            return None
        steady_ns = self.remembered.steady_ns(now_ns)
        return await self._ask(lambda sql: self._reads.ended_as(sql, notification_id, self._kept, steady_ns))

    async def past(self, notification_id: str) -> StoredHistory | None:
        known = self._past(notification_id)
        if known is not None or not is_keepable(notification_id):
            return known
        return await self._ask(lambda sql: self._reads.history_of(sql, notification_id))

    async def erase_histories(self, is_meant: Callable[[SendNotification], bool]) -> int:
        return await self._ask(lambda sql: self._reads.erase_histories(sql, is_meant))

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        if notification_id is not None and not is_keepable(notification_id):
            return []
        return await self._ask(lambda sql: self._reads.audit_entries(sql, limit, notification_id))

    async def _ask(self, read: Callable[[Any], A]) -> A:
        self._check_open()
        if self.is_busy:
            raise StoreBusy
        answer: A = await self._patience.answer_of(self._to_do.ask(read))
        return answer

    def _check_change(self, change: SettingsChange) -> None:
        self._check_open()
        if self.is_busy:
            raise StoreBusy
        self._check_entry(change.audit)
        texts = [text for each in change.suppressed for text in (each.address, each.reason, each.by or "")]
        texts += [address for _, address in (*change.lifted, *change.enabled)]
        for text in (*texts, *change.preferences):
            if not is_keepable(text.replace("\x00", "")):
                raise Unstorable(f"a setting cannot be stored: wanted text, got {text[:100]!r}")

    def _check_entry(self, entry: AuditEntry) -> None:
        if entry.notification_id is not None and not is_keepable(entry.notification_id):
            raise Unstorable(f"wanted the id of a notification, got {entry.notification_id[:100]!r}")

    def _check_open(self) -> None:
        if self._failure is not None:
            raise StoreFailed(self._failure)
        if self._to_do.closed.is_set():
            # Nothing will be durable any more: a restarted actor would call the providers again to no avail.
            raise StoreFailed(f"{self._name} is closed")
