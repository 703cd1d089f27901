"""The store in SQLite, live: durable before it is answered, many in one transaction, and what happens to its errors."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import trio
from shelves import EPOCH_NS, Receiver, Shelf, command, event_of, shelf
from trio.testing import MockClock

from actors import Notifier
from actors.domain.codec import encode_event
from actors.errors import StoreError, StoreFailed, StoreInUse, Unstorable
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.outcomes import Transient
from actors.pipeline.orders import Acceptance
from actors.storage.sqlite.reading import reading
from actors.storage.sqlite.store import SqliteStore

A, B = command("a"), command("b")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def made(tmp_path):
    async with shelf("sqlite", tmp_path) as made:
        yield made


# ── through the notifier ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_that_was_waited_for_is_made_at_its_time(path):
    """On a clock that jumps when nothing has happened for a while: not while the disk is at work, as a rule."""
    config = {"drain": "1h", "channels": {"email": {"retry": {"initial_delay": "300s"}}}}

    async def first_process() -> None:
        async with (
            SqliteStore.open(path) as store,
            Notifier.open(config, providers=Receiver(Transient()), store=store) as notifier,
        ):
            has_failed = trio.Event()
            notifier.bus.subscribe(NotificationFailed)(lambda _: has_failed.set())
            await notifier.send(A)
            await has_failed.wait()
            raise ZeroDivisionError

    async def live() -> tuple[int, int]:
        with pytest.raises(ZeroDivisionError):
            await first_process()
        async with (
            SqliteStore.open(path) as store,
            Notifier.open(config, providers=Receiver(), store=store) as notifier,
        ):
            (delivery,) = store.open_deliveries(notifier.system.epoch_ns)
            assert delivery.due_ns is not None
            await notifier.wait_until_quiet()
        (sent,) = notifier.sent_notifications
        assert sent.attempt == 2
        return sent.started_ns, delivery.due_ns

    started_ns, due_ns = trio.run(live, clock=MockClock(autojump_threshold=0.05))
    assert started_ns == pytest.approx(due_ns, abs=1_000_000)


async def test_what_cannot_be_stored_is_refused_and_nothing_else_is(path, caplog):
    receiver = Receiver()
    async with SqliteStore.open(path) as store, Notifier.open(providers=receiver, store=store) as notifier:
        with pytest.raises(Unstorable, match="notification 'a' cannot be stored"):
            await notifier.send(command("a", metadata={"when": object()}))
        notifier.pipeline.handler.tell(command("b", metadata={"when": object()}))
        assert notifier.in_flight == 0
        assert await notifier.send(A) is Acceptance.ACCEPTED
        assert await notifier.send(B) is Acceptance.ACCEPTED
    assert receiver.taken == ["a", "b"]
    assert "not accepted: notification 'b' cannot be stored" in caplog.text


# ── looked into ─────────────────────────────────────────────────────────────────────────────────────────────────────


def ids_in(path):
    with reading(path) as reader:
        return {delivery.command.notification_id for delivery in reader.open_deliveries(EPOCH_NS)}


async def accept(store, *commands):
    for each in commands:
        await store.commit(event_of(NotificationRequested, each), each)()


async def test_who_looks_into_it_leaves_nothing_beside_it(path):
    async with SqliteStore.open(path) as store:
        await accept(store, A)
    there, content = set(path.parent.iterdir()), path.read_bytes()
    assert ids_in(path) == {A.notification_id}
    with pytest.raises(ZeroDivisionError), reading(path):
        raise ZeroDivisionError
    assert (set(path.parent.iterdir()), path.read_bytes()) == (there, content)


async def test_who_looks_into_it_leaves_what_a_process_needs_that_has_opened_it_meanwhile(path):
    async with SqliteStore.open(path) as store:
        await accept(store, A)
    looking = contextlib.ExitStack()
    looking.enter_context(reading(path))
    async with SqliteStore.open(path) as store:
        await accept(store, B)
        looking.close()
        log = path.with_name(path.name + "-wal")
        assert log.stat().st_size > 0
        await accept(store, command("c"))
        assert ids_in(path) == {"a", "b", "c"}
    assert not log.exists()
    assert ids_in(path) == {"a", "b", "c"}


async def test_who_looks_into_what_a_killed_process_left_leaves_it_as_it_is(path, tmp_path):
    left = tmp_path / "left"
    left.mkdir()
    async with SqliteStore.open(path) as store:
        await accept(store, A, B)
        for file in tmp_path.glob("store.db*"):
            if file.name in ("store.db", "store.db-wal"):
                (left / file.name).write_bytes(file.read_bytes())
    before = {file.name: file.read_bytes() for file in left.iterdir()}
    assert ids_in(left / path.name) == {"a", "b"}
    assert {name: (left / name).read_bytes() for name in before} == before


# ── failing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk_of(monkeypatch):
    """Return a function that gives stores, opened from then on, a disk with room for so many pages."""
    connect = sqlite3.connect

    def disk_of(pages: int) -> None:
        def connect_with_little_room(*args, **kwargs):
            connection = connect(*args, **kwargs)
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect if pages == 0 else connect_with_little_room)

    return disk_of


async def test_a_full_disk_ends_the_service_and_loses_nothing_that_was_accepted(path, disk_of, caplog):
    config = {
        "drain": "0s",
        "channels": {"email": {"retry": {"initial_delay": "300s"}, "circuit_breaker": {"enabled": False}}},
    }
    disk_of(60)
    accepted, refused = [], []

    async def send(notifier: Notifier, number: int) -> None:
        try:
            await notifier.send(command(str(number), message="much " * 1000))
            accepted.append(str(number))
        except StoreFailed:
            refused.append(str(number))

    async def serve() -> None:
        providers = Receiver(*[Transient()] * 1000)
        async with SqliteStore.open(path) as store, Notifier.open(config, providers=providers, store=store) as notifier:
            for number in range(1000):
                await send(notifier, number)

    with pytest.raises(StoreFailed, match=r"store\.db cannot be written: database or disk is full \(SQLITE_FULL\)"):
        await serve()
    assert len(refused) == 1
    assert len(accepted) > 3
    disk_of(0)
    async with SqliteStore.open(path) as store:
        assert {delivery.command.notification_id for delivery in store.open_deliveries(0)} >= set(accepted)
    assert "is restarted" not in caplog.text


async def test_after_a_failure_no_change_is_taken_any_more(path, disk_of):
    disk_of(50)
    big = command("big", message="x" * 200_000)

    async def fail() -> None:
        async with SqliteStore.open(path) as store:
            await store.commit(event_of(NotificationRequested, A), A)()
            together = [store.commit(event_of(NotificationRequested, each), each) for each in (big, B)]
            for effect in together:
                with pytest.raises(StoreFailed, match="disk is full"):
                    await effect()
            with pytest.raises(StoreFailed, match="disk is full"):
                store.commit(event_of(NotificationSent, A), A)

    with pytest.raises(StoreFailed, match="disk is full"):
        await fail()
    disk_of(0)
    async with SqliteStore.open(path) as store:
        assert [delivery.command for delivery in store.open_deliveries(EPOCH_NS)] == [A]


async def test_a_store_that_is_closed_under_a_notifier_ends_it_and_nothing_is_sent_again(path):
    receiver, opened = Receiver(), contextlib.AsyncExitStack()

    async def serve() -> None:
        store = await opened.enter_async_context(SqliteStore.open(path))
        async with Notifier.open(providers=receiver, store=store) as notifier:
            await notifier.send(A)
            await notifier.wait_until_quiet()
            await opened.aclose()
            await notifier.send(B)

    with pytest.raises(StoreFailed, match=r"store\.db is closed"):
        await serve()
    assert receiver.taken == ["a"]


async def test_a_change_whose_wait_is_cancelled_is_durable_all_the_same(made: Shelf):
    effect = made.store.commit(event_of(NotificationRequested, A), A)
    with trio.CancelScope() as scope:
        scope.cancel()
        await effect()
    assert scope.cancelled_caught
    await made.open()
    assert made.open_ids == ["a"]


async def test_what_was_remembered_long_ago_leaves_the_file(made: Shelf, path):
    for number in range(20):
        each = command(f"n{number}")
        await made.happens(NotificationRequested, each, number * 30)
        await made.happens(NotificationSent, each, number * 30)
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        left = [each for (each,) in sql.execute("SELECT notification_id FROM remembered ORDER BY seq")]
    sql.close()
    assert left == ["n16", "n17", "n18", "n19"]  # for 100 s from 480, 510, 540 and 570 s on


async def test_what_has_ended_leaves_nothing_but_its_id(made: Shelf, path):
    await made.happens(NotificationRequested, A)
    await made.happens(NotificationFailed, A)
    await made.happens(NotificationMovedToDeadLetter, A)
    await made.happens(NotificationRedriven, A)
    await made.happens(NotificationSent, A)
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        rows = {
            table: sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("notifications", "history", "remembered", "audit")
        }
    sql.close()
    assert rows == {"notifications": 0, "history": 0, "remembered": 1, "audit": 1}


# ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _cannot_be_opened(path: Path, error: type[StoreError], match: str, **options: float) -> None:
    with pytest.raises(error, match=match):
        async with SqliteStore.open(path, **options):
            pytest.fail("it is open")


async def test_a_file_is_open_once(path):
    async with SqliteStore.open(path):
        await _cannot_be_opened(path, StoreInUse, r"store\.db is in use by another process, or by another store")
        link = path.with_name("link.db")
        link.symlink_to(path)
        await _cannot_be_opened(link, StoreInUse, r"store\.db is in use")
    async with SqliteStore.open(link):
        pass


async def test_a_file_that_another_process_is_writing_into_is_waited_for_and_then_said(path):
    async with SqliteStore.open(path):
        pass
    sql = sqlite3.connect(path, isolation_level=None)
    sql.execute("BEGIN IMMEDIATE")
    await _cannot_be_opened(
        path, StoreError, r"store\.db cannot be used as a store: database is locked", busy_timeout=0
    )
    sql.close()
    async with SqliteStore.open(path):
        pass


async def test_a_store_that_is_damaged_is_said(made: Shelf, path):
    await made.happens(NotificationRequested, A)
    await made._stack.aclose()
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE notifications SET requested = x'c1'")
    sql.close()
    await _cannot_be_opened(path, StoreError, r"store\.db cannot be read: of notification 'a': \w+")
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("DELETE FROM notifications")
        sql.execute("INSERT INTO history VALUES (1, 'b', ?)", (encode_event(event_of(NotificationSent, B)),))
    sql.close()
    await _cannot_be_opened(path, StoreError, "cannot be read: notification 'b' has a history and no beginning")


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("version", "by"), [(2, ""), (4, ", by a later release")])
async def test_a_file_of_another_version_is_refused_and_left_alone(made: Shelf, path, version, by):
    await made.happens(NotificationRequested, A)
    await made._stack.aclose()
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE schema_versions SET version = ?", (version,))
        sql.execute("DROP TABLE kept")
    said = rf"store\.db has a schema of version {version}{by}: wanted one of 3$"
    await _cannot_be_opened(path, StoreError, said)
    with pytest.raises(StoreError, match=said), reading(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        assert sql.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'kept'").fetchone() == (0,)
        sql.execute("UPDATE schema_versions SET version = ?", (3,))
    await made.open()
    assert made.open_ids == ["a"]
