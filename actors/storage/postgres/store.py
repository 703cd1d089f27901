"""The durable store of several nodes: PostgreSQL. Each node owns the notifications that it accepted or took over.

**Group commit.** All SQL of a node is in one thread, by the one connection of its
:class:`~actors.storage.postgres.worker.Worker`. Changes that come while one transaction is under way go into the next
transaction together.

**Ownership.** A node owns the notifications that it accepted, redrove or took over, as long as its lease holds. It
renews the lease by every transaction and by a look at the nodes about once a second. Each opening of a store has a
fencing token of its own. Every transaction begins with the node's row, so a node whose lease another node has declared
over writes nothing any more: its changes raise :class:`~actors.errors.StoreFailed`, and its notifier ends. A node that
could not renew its lease in time starts no attempt from just before the instant at which another node may take over; it
goes on by itself when it has renewed the lease and no other node was faster.

**Taking over.** A living node notices that the lease of another node has ended (or that the other has closed its store,
or was restarted under the same name), and takes over its notifications, in shares, so that each of several nodes gets
some. A notifier resumes them exactly as after a restart. A node that has only just come back to the database ends no
other lease for a third of its own lease: after the database has been away, all nodes come back first.

**Shared state.** The database decides whether an id is new, and which node takes a dead letter: the acceptance of an id
that another node has accepted, and the redrive or discard of a letter that another node has taken, raise
:class:`~actors.errors.Overtaken`, and nothing happens. The store answers from memory, which has this node's
notifications, the latest ids that have ended here, and all dead letters, suppressions and preferences; other nodes'
changes to these come a moment later. ``NOTIFY`` makes the moment shorter, nothing depends on it. An ended id that
memory no longer has raises Overtaken, too. The age of an id goes by the database's clock at the start of the node, and
by the clock of the machine's boot since then: setting the wall clock makes no id forgotten.

**A lost connection** is made again, and the transaction under way is written again; if only its answer was lost, the
node finds that out. Until then changes wait, as they do for a foreign lock on the tables. Their effects end when they
are durable, or raise. Callers get :class:`~actors.errors.StoreBusy` after a second. No attempt starts under a lock,
nor, while the database is away, after the lease.

The tables are described in `schema.sql`. The connection needs a session of its own: a pooler has to pool by sessions.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from actors.domain.caution import Caution
from actors.domain.codec import decode_endpoint, decode_suppression
from actors.domain.store import (
    BreakerVote,
    LeaseRenewed,
    LettersChanged,
    NodesChanged,
    SettingsChange,
    StoredHistory,
    Takeover,
)
from actors.domain.user_preferences import UserPreferences
from actors.errors import StoreError
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Effect
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    SendNotification,
)
from actors.storage.changes import ENDS
from actors.storage.memory import DAY_NS, DeadEntry, Entry, Serving
from actors.storage.on_disk import KEEP_AUDIT_NS, StoreOnDisk
from actors.storage.postgres import reading
from actors.storage.postgres.batch import SharedBatch, SharedChange
from actors.storage.postgres.node import State
from actors.storage.postgres.opening import Claim, NodeSettings
from actors.storage.postgres.reading import Shared
from actors.storage.postgres.schema import check_dsn
from actors.storage.postgres.settings import (
    USER,
    Setting,
    channel_of,
    is_of_endpoint,
    normal_setting,
    setting_at,
    setting_of,
    setting_of_endpoint,
    setting_of_suppression,
)
from actors.storage.postgres.votes import deadline_ns, left_ns
from actors.storage.postgres.worker import AskedToEnd, Outcome, Taken, Worker
from actors.storage.work_queue import PollingToDo

A = TypeVar("A")

SHORTEST_LEASE = 1.0

_TAKES_LETTER = frozenset({NotificationRedriven, DeadLetterDiscarded})
_SHARED = _TAKES_LETTER | {NotificationMovedToDeadLetter}


class PostgresStore(StoreOnDisk):
    """One node's side of a store in PostgreSQL. Make one with :meth:`open`; it is for live systems only.

    It fails as a whole, as :class:`~actors.storage.sqlite.store.SqliteStore` does: once a change could not be made
    durable, or the lease is lost, no later change is durable, the effects of all changes under way raise StoreFailed,
    the notifier ends, and leaving the block of :meth:`open` raises.
    """

    _reads = reading
    _change = SharedChange
    _queue = PollingToDo

    def __init__(
        self,
        dsn: str,
        *,
        node: str,
        lease: float,
        schema: str,
        remember_ids_ns: int,
        keep_audit_ns: int,
        busy_timeout: float,
        replace: bool | None,
        when_replaced: Callable[[str], object] | None,
    ) -> None:
        super().__init__(f"the store of node {node!r}", remember_ids_ns=remember_ids_ns)
        self.node = node
        self._under_way: Counter[str | Setting] = Counter()
        """Letters and settings with changes under way: news of them from other nodes is outdated."""
        self._votes: dict[tuple[int, str, str], int] = {}
        """The instants at which other nodes' votes lapse, by node, breaker and host."""
        self._worker = Worker(
            self._to_do,
            NodeSettings(
                name=node,
                dsn=dsn,
                schema=schema,
                lease_s=lease,
                remember_ids_ns=remember_ids_ns,
                keep_audit_ns=keep_audit_ns,
                claim=None if replace is None else Claim(replace, when_replaced is not None),
            ),
            self._patience,
            when_lost=self._lose,
            when_renewed=lambda: self._tell(self._tell_news, LeaseRenewed()),
        )
        self._has_others = False
        """Whether the store has rows of channels beside the four, whose ids have to be looked up, too."""
        self._busy_timeout = busy_timeout
        self._when_replaced = when_replaced
        self.lease_holds = lambda: self._worker.lease.holds() and not self._patience.is_locked

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
        busy_timeout: float = 30.0,
        replace: bool | None = None,
        when_replaced: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[PostgresStore, None]:
        """Open the store in a database, for as long as the block lasts; its tables are made if there are none.

        At the end of the block all changes are written, and other nodes may take over the notifications that have not
        ended; also when the block is left by an exception, or cancelled.

        Args:
            dsn: the database, as libpq takes it: ``postgresql://user@host/database``, or ``key=value`` pairs.
            node: the name of this node, for logs. A node that is started under the name of an earlier node takes over
                its notifications at once; an earlier node that is still alive ends. None: a new name, so that after a
                crash other nodes take over when the lease has ended.
            lease: seconds for which a node keeps its notifications without reaching the database; at least 1. After a
                crash, other nodes take over after this time. While the database is away for longer, nothing is sent.
            schema: the schema of the tables.
            remember_ids: seconds for which the id of a notification that has ended is remembered.
            keep_audit: seconds for which the audit trail goes back, and for which the history of a redriven or
                discarded notification is kept after its end.
            busy_timeout: seconds to wait, while the store is opened, for another client's lock on its tables.
            replace: what happens to a living node of this name, which is recognised by a renewal of its lease within
                two renewals, at most 3 s. None: the node is not looked for, and ends. False: it stays. True: it is
                asked to drain and end, if possible, and waited for.
            when_replaced: called with the name of another process, in the thread that has opened the store, when that
                process asks this one to drain and end. None: this process cannot be asked.

        Raises:
            StoreInUse: a living node has this name, and stays.
            StoreError: the database cannot be reached, or its tables cannot be made or are of a later version.
            StoreFailed (where the block is left): a change could not be made durable, or the lease was lost.
        """
        if not lease >= SHORTEST_LEASE:
            raise StoreError(f"lease: wanted at least {SHORTEST_LEASE:g} s, got {lease!r}")
        check_dsn(dsn)
        store = cls(
            dsn,
            node=node if node is not None else f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
            lease=lease,
            schema=schema,
            remember_ids_ns=ns(remember_ids),
            keep_audit_ns=ns(keep_audit),
            busy_timeout=busy_timeout,
            replace=replace,
            when_replaced=when_replaced,
        )
        async with store._running():
            yield store

    # ── in the thread of the system ─────────────────────────────────────────────────────────────────────────────

    def _new_batch(self) -> SharedBatch:
        return SharedBatch(self._steps.ahead_ns(), self._has_others)

    def _changed(self, event: NotificationEvent, command: SendNotification, before: Entry | None) -> SharedChange:
        kind, notification_id = type(event), event.notification_id
        request_id = None if before is None or kind not in ENDS else self._request_id(before)
        dead_since_ns = before.since_ns if isinstance(before, DeadEntry) and kind in _TAKES_LETTER else 0
        change: SharedChange = super()._changed(event, command, before)
        self._has_others |= event.channel.is_own
        beside = change.beside
        if change.entry is not None:
            request_id = self._request_id(change.entry)
        elif kind is NotificationMovedToDeadLetter:
            request_id = self._request_id(self._dead[notification_id])
        keys: list[str | Setting] = [notification_id] if kind in _SHARED else []
        if kind is NotificationRedriven or beside.suppression is not None:
            keys.append(setting_of(command))
        if beside.endpoints is not None:
            keys += [setting_of_endpoint(key) for key in beside.endpoints.endpoints]
        if keys:
            self._under_way.update(keys)
        return msgspec.structs.replace(change, keys=keys, request_id=request_id, dead_since_ns=dead_since_ns)

    def is_served(self, notification_id: str, is_under_way: Callable[[str], bool] | None = None) -> bool:
        return self._noted_as_served_by(notification_id) is not None or super().is_served(notification_id, is_under_way)

    def is_delivered(self, notification_id: str) -> bool:
        return self._noted_as_served_by(notification_id) == "delivered" or super().is_delivered(notification_id)

    def _noted_as_served_by(self, notification_id: str) -> Serving | None:
        entry = self._dead.get(notification_id)
        return None if entry is None or entry.noted is None else entry.noted.served_by

    def _request_id(self, entry: Entry) -> str | None:
        notification_id = entry.command.notification_id
        request = self._requests.by_member.get(notification_id)
        if request is not None:
            return request.request_id
        return notification_id if entry.was_redriven else None  # other notifications of it may be at other nodes

    def _join_request_of(self, entry: Entry) -> None:
        self._join_request(entry)
        if entry.noted is not None and entry.noted.request_id is not None:
            self._requests.join(entry.command.notification_id, entry.noted.request_id)

    def change(self, change: SettingsChange) -> Effect:
        self._check_change(change)
        self._apply(change)
        keys: list[str | Setting] = [setting_of_suppression(each) for each in change.suppressed]
        keys += [setting_at(key) for key in (*change.imported, *change.lifted)]
        keys += [setting_of_endpoint(key) for key in change.enabled]
        keys += [(USER, user_id) for user_id in change.preferences]
        self._under_way.update(keys)

        return self._to_do.put(lambda batch: batch.change(change, keys))

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        if not self._to_do.closed.is_set() and self._failure is None:
            lapses_ns = deadline_ns(open_ns)
            self._to_do.put(lambda batch: batch.say((breaker, host), lapses_ns))

    def said(self) -> Iterable[BreakerVote]:
        votes = [BreakerVote(*key, left_ns(lapses_ns)) for key, lapses_ns in sorted(self._votes.items())]
        return [vote for vote in votes if vote.open_ns]

    def _is_done(self, work: Outcome) -> None:
        match work:
            case Taken():
                self._take_over(work.entries, work.cautions)
            case Shared():
                self._take_in_shared(work)
            case AskedToEnd():
                if self._when_replaced is not None:
                    self._when_replaced(work.by)
            case NodesChanged():
                self.living_nodes = work.nodes
                self._votes = {key: lapses_ns for key, lapses_ns in self._votes.items() if key[0] in work.nodes}
                self._tell_news(work)
            case _:
                super()._is_done(work)

    def _note_votes(self, votes: Iterable[BreakerVote]) -> None:
        self._votes |= {(vote.node, vote.breaker, vote.host): deadline_ns(vote.open_ns) for vote in votes}
        self._votes = {key: lapses_ns for key, lapses_ns in self._votes.items() if left_ns(lapses_ns)}

    def _take_back(self, batch: SharedBatch) -> None:
        super()._take_back(batch)
        for notification_id, served_by in batch.served_by.items():
            if (letter := self._dead.get(notification_id)) is not None:
                letter.note_request(None if letter.noted is None else letter.noted.request_id, served_by)
        self._under_way.subtract(batch.keys)
        for key in batch.keys:
            if self._under_way[key] <= 0:
                del self._under_way[key]
        if batch.shared is not None:
            self._take_in_shared(batch.shared)

    def _take_over(self, taken: dict[str, Entry], cautions: dict[str, Caution]) -> None:
        self._open.update(taken)
        for entry in taken.values():
            self._join_request_of(entry)
        self._be_careful(cautions)
        self._tell_news(Takeover(tuple(StoredHistory(entry.command, tuple(entry.events)) for entry in taken.values())))

    def _take_in_shared(self, shared: Shared) -> None:
        found, gone = [], []
        for notification_id, entry in shared.letters.items():
            if notification_id in self._under_way or notification_id in self._open:
                continue
            if entry is not None:
                letter = self._dead[notification_id] = DeadEntry.of_dead(entry)
                self._dead.move_to_end(notification_id)
                self._join_request_of(letter)
                self.remembered.keep(letter.command)
                found.append(letter.as_letter)
            elif self._dead.pop(notification_id, None) is not None:
                if (request := self._requests.by_member.get(notification_id)) is not None:
                    self._requests.forget_unless(request, self._open, self._dead)
                self.remembered.forget(notification_id)
                gone.append(notification_id)
        for setting, written in shared.settings.items():
            if setting not in self._under_way:
                self._set(setting, written)
        if found or gone:
            self._tell_news(LettersChanged(tuple(found), tuple(gone)))
        self._note_votes(shared.votes)
        for vote in shared.votes:
            self._tell_news(vote)

    def _set(self, setting: Setting, written: bytes | None) -> None:
        kind, name = normal_setting(setting)  # a node of the release before may have written it
        if kind == USER:
            if written is None:
                self.preferences.pop(name, None)
            else:
                self.preferences[name] = UserPreferences.model_validate_json(written)
        elif is_of_endpoint(setting):
            key = channel_of(setting), name
            self.endpoints.set(key, None if written is None else decode_endpoint(written))
        else:
            self.suppressions.remove((channel_of(setting), name))
            if written is not None:
                self.suppressions.add(decode_suppression(written))

    # ── in the thread of its own ────────────────────────────────────────────────────────────────────────────────

    def _open_and_serve(self) -> None:
        try:
            closed = self._to_do.closed
            self._replay(self._worker.start(lambda waited: not closed.is_set() and waited < self._busy_timeout))
            self._tell(self._opened.set)
            for outcome in self._worker.serve():
                self._tell(self._is_done, outcome)
        finally:
            self._worker.close()

    def _replay(self, state: State) -> None:
        self._steps.show_now(state.now_ns)  # so that ids grow old alike at all nodes, whatever their clocks show
        self._has_others = state.has_others
        self.kept.update(state.kept)
        for event, command in state.changes:
            self._take_in(event, command)
        for notification_id, request_id, served_by in state.requests:
            entry = self._dead.get(notification_id) or self._open[notification_id]
            entry.note_request(request_id, served_by)
            self._join_request_of(entry)
        self.suppressions.restore(())  # since some that resulted from the replay have been lifted
        self.endpoints.clear()  # likewise
        for setting, written in state.settings.items():
            self._set(setting, written)
        self._be_careful(state.cautions)
        self.living_nodes = state.living
        self._note_votes(state.votes)
