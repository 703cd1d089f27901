"""A store that cannot be written, as somebody else has locked it: callers are sent away, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import trio
from shelves import EPOCH_NS, change, command, event_of, suppression, until

from actors import AsyncioNotifier, Notifier, OrderPlaced, PostgresStore, SendNotification, SqliteStore
from actors.domain.attempts import Attempt, Provider
from actors.errors import StoreBusy, StoreError, StoreFailed
from actors.messages import NotificationRequested, NotificationSent
from actors.outcomes import Outcome, Permanent, Sent, Transient
from actors.pipeline.orders import Acceptance
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.queries import ALL
from actors.storage import patience
from actors.storage.sqlite.reading import reading

PATIENCE_S = 60


LOCK_TABLES = "LOCK TABLE retrylab.notifications, retrylab.settings, retrylab.audit"


class Locked:
    """A store, and somebody who can lock it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._is_postgres = where.startswith("postgresql:")

    def open(self, **options: Any) -> AbstractAsyncContextManager[Any]:
        if self._is_postgres:
            return PostgresStore.open(self.where, node="one", **options)
        return SqliteStore.open(self.where, **options)

    @contextmanager
    def lock(self) -> Generator[None]:
        """Have it locked for as long as the block lasts."""
        with self._session() as sql:
            sql.execute("BEGIN")
            sql.execute(LOCK_TABLES if self._is_postgres else "UPDATE clock SET row = row")
            yield
            sql.execute("ROLLBACK")

    def _session(self) -> Any:
        if self._is_postgres:
            return psycopg.connect(self.where, autocommit=True)
        return closing(sqlite3.connect(self.where, isolation_level=None))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def locked(request, tmp_path, monkeypatch) -> Locked:
    """Return a store whose callers wait no longer than for one try."""
    monkeypatch.setattr(patience, "CALLERS_PATIENCE", 0.0)
    monkeypatch.setattr(patience, "SAID_AFTER", (0.0, 10.0, 60.0))
    return Locked(str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("dsn"))


class Receiver(Provider):
    """Notes each attempt as it begins, and gives its outcome when its gate is open."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.begun: list[str] = []
        self.gate = trio.Event()
        self.gate.set()
        self._outcomes = list(outcomes)

    def attempt(self, attempt: Attempt, now_ns: int) -> Any:
        async def call() -> Outcome:
            self.begun.append(attempt.command.notification_id)
            await self.gate.wait()
            return self._outcomes.pop(0) if self._outcomes else Sent()

        return call


async def is_refused(answer: Awaitable[object]) -> None:
    with pytest.raises(StoreBusy) as raised, trio.fail_after(PATIENCE_S):
        await answer
    assert raised.value.retry_after == 1


RETRY = {"max_attempts": 3, "backoff": "constant", "initial_delay": "10ms", "jitter": "none"}
CONFIG: dict[str, Any] = {
    "channels": {"email": {"retry": RETRY, "circuit_breaker": {"enabled": False}}, "sms": {}},
}


@asynccontextmanager
async def running(locked: Locked, receiver: Provider, **options: Any) -> AsyncGenerator[tuple[Any, Notifier]]:
    async with locked.open() as store, Notifier.open(CONFIG, providers=receiver, store=store, **options) as notifier:
        yield store, notifier


async def test_point_4_callers_are_told_to_come_again_and_each_id_is_accepted_and_sent_once(locked, caplog):
    """The first has come before the store was known to be busy, and becomes durable later; the second is not kept."""
    receiver = Receiver()
    async with running(locked, receiver) as (store, notifier):
        with locked.lock():
            await is_refused(notifier.send(command("first")))
            assert store.is_busy
            assert "callers are to come again" in caplog.text
            for each in ("first", "second"):
                await is_refused(notifier.send(command(each)))
            with pytest.raises(StoreBusy):
                await notifier.publish(PLACED)
            assert list(store.open_ids()) == ["first"]
            assert receiver.begun == []
        await until(lambda: not store.is_busy)
        assert await notifier.send(command("first")) is Acceptance.DUPLICATE
        assert await notifier.send(command("second")) is Acceptance.ACCEPTED
        await notifier.publish(PLACED)
        await notifier.wait_until_quiet()
    ids = ["email-order-placed-7", "first", "second", "sms-order-placed-7"]
    assert sorted(receiver.begun) == ids
    async with locked.open() as store:
        assert list(store.open_ids()) == []
        assert [await store.ended_as(each, EPOCH_NS) for each in ids] == ["sent"] * 4


PLACED = OrderPlaced(
    order_id="7",
    user_id="ann",
    customer_email="ann@example.org",
    customer_phone="+4930123456",
    total_amount=1,
    placed_at=datetime(2026, 1, 1, tzinfo=UTC),
)


async def test_point_4_no_attempt_starts_and_what_was_at_a_provider_is_recorded_when_the_lock_is_gone(locked):
    receiver = Receiver(Sent(), Transient(reason="busy"))
    receiver.gate = trio.Event()
    async with running(locked, receiver) as (store, notifier):
        for each in ("sent", "retried"):
            await notifier.send(command(each))
        await until(lambda: len(receiver.begun) == 2)
        with locked.lock():
            await until(lambda: not store.lease_holds())  # it finds out though nothing is written
            receiver.gate.set()
            await until(lambda: len(notifier.pipeline.wiring.commits.under_way) == 2)
            await until(lambda: store.is_busy)  # before it is known, one that comes becomes durable later
            with pytest.raises(StoreBusy):
                await notifier.send(command("refused"))
            assert notifier.in_flight == 2
        await notifier.wait_until_quiet()
    assert sorted(receiver.begun) in (["retried", "retried", "sent"], ["retried", "sent", "sent"])


async def test_point_4_what_operators_ask_for_is_refused_and_a_bulk_run_goes_on_afterwards(locked):
    receiver = Receiver(*[Transient(reason="busy")] * 6)
    async with running(locked, receiver) as (store, notifier), trio.open_nursery() as nursery:
        letters = DeadLetters(notifier, nursery)
        for each in ("a", "b"):
            await notifier.send(command(each))
        await notifier.wait_until_quiet()
        bulk = letters.start_bulk("retry", ALL, by="otto", why=None, rate_per_s=100)
        with locked.lock():
            await until(lambda: store.is_busy)
            await is_refused(letters.discard("a", by="otto", why="test"))
            await is_refused(letters.erase("ann@example.org", by="otto"))
            await is_refused(letters.audit())
            await is_refused(letters.cancel("a", by="otto"))
            with pytest.raises(StoreBusy):
                store.change(change(suppressed=[suppression("x@example.org", "test")]))
            assert not list(store.suppressions)
        with trio.fail_after(PATIENCE_S):
            while bulk.state == "running":
                await trio.sleep(0.01)
        assert bulk.failed == 0
        await notifier.wait_until_quiet()
    assert receiver.begun.count("a") == receiver.begun.count("b") == 4


async def test_point_4_who_waits_for_a_change_or_a_question_is_sent_away_and_it_is_made_later(locked):
    async with running(locked, Receiver()) as (store, _):
        with locked.lock():
            await is_refused(store.wait_for(store.change(change(suppressed=[suppression("x@example.org", "test")]))))
        await until(lambda: not store.is_busy)
        assert len(await store.audit_trail()) == 1
    async with locked.open() as store:
        assert [each.address for each in store.suppressions] == ["x@example.org"]


async def test_point_4_a_subscriber_that_sends_has_its_event_published_again(locked):
    receiver = Receiver()
    async with running(locked, receiver, subscribers={}) as (store, notifier):

        @notifier.bus.subscribe(OrderPlaced)
        async def send(event: OrderPlaced) -> None:
            await notifier.send(command(f"of-{event.order_id}"))

        @notifier.bus.subscribe(NotificationSent)
        def follow(event: NotificationSent) -> SendNotification | None:
            return None if event.notification_id == "follows" else command("follows")

        receiver.gate = trio.Event()
        await notifier.send(command("a"))
        await until(lambda: receiver.begun)
        with locked.lock():
            await is_refused(notifier.publish(PLACED))
        receiver.gate.set()
        await until(lambda: not store.is_busy)
        await notifier.publish(PLACED)
        await until(lambda: len(receiver.begun) == 3)
        await notifier.wait_until_quiet()
    assert sorted(receiver.begun) == ["a", "follows", "of-7"]


async def test_point_4_a_store_that_is_closed_under_a_lock_ends_in_time_and_keeps_all_that_was_accepted(
    locked, monkeypatch
):
    monkeypatch.setattr(patience, "CLOSE_PATIENCE", 0.0)
    a, b = command("a"), command("b")

    async def be_closed() -> None:
        async with locked.open() as store:
            await store.commit(event_of(NotificationRequested, a), a)()
            stack.enter_context(locked.lock())
            store.commit(event_of(NotificationRequested, b), b)

    with ExitStack() as stack, trio.fail_after(PATIENCE_S), pytest.raises(StoreFailed, match="cannot be written"):
        await be_closed()
    async with locked.open() as store:
        assert list(store.open_ids()) == ["a"]


async def test_point_4_a_store_that_is_locked_is_opened_when_the_lock_is_gone_or_not_at_all(locked, caplog):
    async with locked.open():
        pass
    opened = trio.Event()

    async def open_it() -> None:
        async with locked.open():
            opened.set()

    async with trio.open_nursery() as nursery:
        with locked.lock():
            with pytest.raises(StoreError, match=r"(?s)lock.*: (it is|its tables are) locked by (process|pid) \d+ \("):
                async with locked.open(busy_timeout=0):
                    pytest.fail("it is open")
            nursery.start_soon(open_it)
            await until(lambda: "cannot be written for" in caplog.text)
            assert not opened.is_set()
        await until(opened.is_set)


async def test_point_4_opening_a_store_that_is_locked_can_be_cancelled(locked, caplog):
    async with locked.open():
        pass
    with locked.lock():
        async with trio.open_nursery() as nursery:

            async def open_it() -> None:
                async with locked.open(busy_timeout=1e9):
                    pytest.fail("it is open")

            nursery.start_soon(open_it)
            await until(lambda: "cannot be written for" in caplog.text)
            nursery.cancel_scope.cancel()


HOLDS = """
import sqlite3, sys
sql = sqlite3.connect(sys.argv[1], isolation_level=None)
sql.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_point_4_a_locked_file_can_be_looked_into(tmp_path):
    """As `retrylab dlq --store` does."""
    locked = Locked(str(tmp_path / "store.db"))
    async with running(locked, Receiver(Permanent(reason="no"))) as (_, notifier):
        await notifier.send(command("a"))
        await notifier.wait_until_quiet()
        with locked.lock(), reading(locked.where) as store:
            assert [letter.notification_id for letter in store.dead_letters()] == ["a"]


@pytest.mark.integration
async def test_point_4_the_log_says_which_process_has_the_file_locked(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(patience, "SAID_AFTER", (0.0, 10.0, 60.0))
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store:
        argv = [sys.executable, "-c", HOLDS, str(path)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            await until(lambda: "cannot be written for" in caplog.text)
            holder.communicate()
        await until(store.lease_holds)
    is_known = sys.platform == "linux"
    said = f"it is locked by process {holder.pid} (python" if is_known else f"another process has locked {path}"
    assert said in caplog.text
    assert len([line for line in caplog.messages if "cannot be written for" in line]) == 1
    assert f"{path} can be written again, after" in caplog.text


async def _asyncio_host(notifier: AsyncioNotifier[Any]) -> None:
    with pytest.raises(StoreBusy):
        await notifier.send(command("a"))
    with pytest.raises(StoreBusy):
        await notifier.publish(PLACED)


def test_point_4_callers_on_asyncio_and_in_threads_get_it_too(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "CALLERS_PATIENCE", 0.0)
    locked, receivers = Locked(str(tmp_path / "store.db")), [Receiver(), Receiver()]

    async def on_asyncio() -> None:
        async with Notifier.open_asyncio(CONFIG, store=locked.open, providers=lambda: opened(receivers[0])) as notifier:
            with locked.lock():
                await _asyncio_host(notifier)
            while True:
                try:
                    await notifier.send(command("a"))
                    break
                except StoreBusy:
                    await asyncio.sleep(0.01)
            await notifier.wait_until_quiet()

    asyncio.run(on_asyncio())
    with Notifier.open_in_thread(CONFIG, store=locked.open, providers=lambda: opened(receivers[1])) as notifier:
        with locked.lock():
            for _ in range(2):
                with pytest.raises(StoreBusy):
                    notifier.send(command("b"), timeout=PATIENCE_S)
                with pytest.raises(StoreBusy):
                    notifier.publish(PLACED, timeout=PATIENCE_S)
        while True:
            try:
                notifier.send(command("b"), timeout=PATIENCE_S)
                break
            except StoreBusy:
                pass
        notifier.wait_until_quiet()
    assert [receiver.begun for receiver in receivers] == [["a"], ["b"]]


@asynccontextmanager
async def opened(resource: Any) -> AsyncGenerator[Any]:
    yield resource
