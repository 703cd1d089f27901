"""Every kind of store behind one face, for tests: commit something, wait until it is durable, open it again."""

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio

from actors.domain.attempts import Attempt, Provider
from actors.domain.audit import AuditEntry
from actors.domain.delivery import Delivery
from actors.domain.endpoints import Endpoint
from actors.domain.store import SettingsChange, Store
from actors.domain.suppressions import Suppression, SuppressionSource
from actors.domain.user_preferences import UserPreferences
from actors.endpoints import EndpointMark, EndpointState
from actors.kernel.effects import Foreseen
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import Outcome, Sent
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from actors.storage.postgres.store import PostgresStore
from actors.storage.sqlite.store import SqliteStore

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S
"""Where on the calendar the clock of these tests starts."""

REMEMBER_S = 100


def command(notification_id: str = "n", **fields: Any) -> SendNotification:
    """Return a command to send an email; every field has a default."""
    given = {"channel": NotificationChannel.EMAIL, "recipient": "ann@example.org", "message": "Hello"}
    return SendNotification(notification_id=notification_id, **{**given, **fields})


class Receiver(Provider):
    """Gives the outcomes of a list, one after the other, and then succeeds."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.taken: list[str] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        outcome = self._outcomes.pop(0) if self._outcomes else Sent()
        if isinstance(outcome, Sent):
            self.taken.append(attempt.command.notification_id)
        return Foreseen(0, outcome)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that another thread brings about, for as long as a busy machine may take."""
    with trio.fail_after(60):
        while not holds():
            await trio.sleep(0.01)


async def happens(store: Any, kind: type, command: SendNotification, at_s: float = 0, /, **fields: Any) -> None:
    """Have something happen to a notification, durably."""
    await store.commit(event_of(kind, command, at_s, **fields), command)()


def dead_ids(store: Store) -> list[str]:
    """Return the dead letters that a node knows."""
    return [letter.notification_id for letter in store.dead_letters()]


def execute(dsn: str, statement: str, *values: Any) -> list[tuple]:
    """Do something by hand, and return its rows."""
    with psycopg.connect(dsn, autocommit=True) as sql:
        done = sql.execute(statement, values)
        return done.fetchall() if done.description else []


@asynccontextmanager
async def busy(store: SqliteStore | PostgresStore) -> AsyncGenerator[None]:
    """Keep the thread of a store at work in this block: what is committed in it is written after it."""
    is_held, is_free = trio.Event(), threading.Event()

    def hold(_: object) -> None:
        trio.from_thread.run_sync(is_held.set, trio_token=token)
        is_free.wait()

    token = trio.lowlevel.current_trio_token()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._ask, hold)
        try:
            await is_held.wait()
            yield
        finally:
            is_free.set()


def suppression(address: str, reason: str, source: str = "operator", by: str | None = None) -> Suppression:
    return Suppression(
        channel=NotificationChannel.EMAIL,
        address=address,
        reason=reason,
        source=SuppressionSource(source),
        since_ns=EPOCH_NS,
        by=by,
    )


def mark(state: str, since_s: float = 0) -> EndpointMark:
    since_ns = EPOCH_NS + round(since_s * S)
    return EndpointMark(state=EndpointState(state), since_ns=since_ns, until_ns=since_ns + 3600 * S)


def change(by: str | None = None, **fields: Any) -> SettingsChange:
    audit = AuditEntry(at_ns=EPOCH_NS, action="change", by=by)
    given = {name: value if isinstance(value, dict) else tuple(value) for name, value in fields.items()}
    return SettingsChange(audit=audit, **given)


_FIELDS: dict[type[NotificationEvent], dict[str, Any]] = {
    NotificationRequested: {},
    NotificationSent: {"attempt": 1, "started_ns": 0, "requested_at_ns": 0},
    NotificationFailed: {"reason": "busy", "kind": "Transient", "attempt": 1, "started_ns": 0, "next_retry_at_ns": 0},
    NotificationMovedToDeadLetter: {"reason": "busy", "attempts": 1, "requested_at_ns": 0},
    NotificationSuppressed: {"reason": "off"},
    NotificationDeferred: {"cause": "quiet_hours", "resumes_at_ns": 0},
    NotificationRedriven: {},
    DeadLetterDiscarded: {"reason": "test data"},
}


class Snapshot(msgspec.Struct):
    open: list[Delivery]
    dead: list[DeadLetterMessage]
    suppressions: list[Suppression]
    endpoints: list[Endpoint]
    preferences: dict[str, UserPreferences]
    remembered: dict[str, SendNotification | None]


async def snapshot(store: Store, ids: list[str], now_s: float = 0) -> Snapshot:
    """Return all that a store answers, with what it remembers of these ids at an instant."""
    dead = list(store.dead_letters())
    assert store.dead_letter_ids() == [letter.notification_id for letter in dead]
    assert [store.dead_letter(each.notification_id) for each in dead] == dead
    assert store.count_dead_letters() == len(dead)
    return Snapshot(
        list(store.open_deliveries(EPOCH_NS)),
        dead,
        sorted(store.suppressions, key=lambda each: each.key),
        sorted(store.endpoints, key=lambda each: each.key),
        dict(store.preferences),
        {each: await store.recall(each, EPOCH_NS + round(now_s * S)) for each in ids},
    )


class Shelf:
    """A store that may be closed and opened again."""

    def __init__(self, open_store: Callable[[], AbstractAsyncContextManager[Store]], stack: AsyncExitStack) -> None:
        self._open_store = open_store
        self._stack = stack
        self.store: Store

    async def open(self) -> None:
        """Close the store, if it is open, and open it (again)."""
        await self._stack.aclose()
        self.store = await self._stack.enter_async_context(self._open_store())

    async def happens(
        self, kind: type[NotificationEvent], command: SendNotification, at_s: float = 0, /, **fields: Any
    ) -> None:
        """Commit that something happens to the notification of a command, and wait until that is durable."""
        event = event_of(kind, command, at_s, **fields)
        effect = self.store.commit(event, command)
        if effect is not None and not isinstance(effect, Foreseen):
            await effect()

    async def changes(self, by: str | None = None, **fields: Any) -> None:
        """Commit that settings change, and wait until that is durable."""
        effect = self.store.change(change(by, **fields))
        if effect is not None and not isinstance(effect, Foreseen):
            await effect()

    async def snapshot(self, *ids: str, now_s: float = 0) -> Snapshot:
        return await snapshot(self.store, list(ids), now_s)

    @property
    def open_ids(self) -> list[str]:
        return [delivery.command.notification_id for delivery in self.store.open_deliveries(EPOCH_NS)]

    @property
    def dead_ids(self) -> list[str]:
        return [letter.notification_id for letter in self.store.dead_letters()]

    async def recall(self, notification_id: str, at_s: float) -> SendNotification | None:
        """Return the command of an id that is remembered at an instant."""
        return await self.store.recall(notification_id, EPOCH_NS + round(at_s * S))

    async def remembers(self, notification_id: str, at_s: float) -> bool:
        return await self.recall(notification_id, at_s) is not None


def event_of(
    kind: type[NotificationEvent], command: SendNotification, at_s: float = 0, /, **fields: Any
) -> NotificationEvent:
    """Return an event of a notification; every field has a default."""
    if kind is NotificationRequested:
        fields = {"user_id": command.user, **fields}
    return kind(
        at_ns=round(at_s * S),
        epoch_ns=EPOCH_NS,
        notification_id=command.notification_id,
        channel=command.channel,
        **{**_FIELDS[kind], **fields},
    )


@asynccontextmanager
async def _lossy(store: LossyStore) -> AsyncGenerator[Store, None]:
    yield store
    store.crash(10**15)  # when all is durable: it reads it anew


@asynccontextmanager
async def _memory(store: MemoryStore) -> AsyncGenerator[Store, None]:
    yield store


def _emptied(database: str) -> None:
    """Delete what is in a store, if there is one; tables that are there already save the disk much work."""
    with psycopg.connect(database, autocommit=True) as sql:
        for (table,) in sql.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'retrylab'").fetchall():
            if table != "schema_versions":
                sql.execute(f"DELETE FROM retrylab.{table}")


POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)
KINDS = ["memory", "lossy", "sqlite", POSTGRES]


@asynccontextmanager
async def shelf(kind: str, directory: Path) -> AsyncGenerator[Shelf, None]:
    """Open a store of a kind, empty, that remembers ids for `REMEMBER_S` seconds.

    One in PostgreSQL is named by the database that it is in, and what earlier ones left there is deleted.
    """
    remember_ids_ns = REMEMBER_S * S
    memory = MemoryStore(remember_ids_ns=remember_ids_ns)
    lossy = LossyStore(commit_delay_ns=1, remember_ids_ns=remember_ids_ns)
    open_store: dict[str, Callable[[], Any]] = {
        "memory": lambda: _memory(memory),
        "lossy": lambda: _lossy(lossy),
        "sqlite": lambda: SqliteStore.open(directory / "store.db", remember_ids=REMEMBER_S),
        "postgres": lambda: PostgresStore.open(kind, node="shelf", remember_ids=REMEMBER_S),
    }
    if is_in_postgres := kind.startswith("postgresql:"):
        _emptied(kind)
    async with AsyncExitStack() as stack:
        made = Shelf(open_store["postgres" if is_in_postgres else kind], stack)
        await made.open()
        yield made
