"""What own actors keep is durable in every store, as their class has it handed over."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from functools import partial

import pytest
from own_actors_example import Digest
from shelves import shelf

from actors import Notifier, OrderShipped
from actors.errors import Unstorable
from actors.kernel.effects import Foreseen
from actors.storage.lossy import LossyStore
from actors.storage.postgres.store import PostgresStore
from actors.storage.sqlite.store import SqliteStore


async def keep(store, actor, key, value):
    effect = store.keep(actor, key, value, 0)
    if effect is not None and not isinstance(effect, Foreseen):
        await effect()


async def test_the_latest_value_of_each_key_is_kept_until_it_is_forgotten(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        for actor, key, value in (
            ("digests", "ann", b"1"),
            ("digests", "bob", b"2"),
            ("sagas", "ann", b"3"),
            ("digests", "ann", b"4"),
            ("digests", "bob", None),
            ("digests", "nobody", None),
            ("digests", "Ünï", b"\x00\xff"),
        ):
            await keep(made.store, actor, key, value)
        await settle(made)
        assert made.store.kept == {
            ("digests", "ann"): b"4",
            ("sagas", "ann"): b"3",
            ("digests", "Ünï"): b"\x00\xff",
        }


async def test_a_digest_goes_on_in_the_next_process_with_what_it_had_accepted(kind, tmp_path):
    digests = {"digests": partial(Digest, at_most=3, max_age=86400.0)}
    sent = []
    async with shelf(kind, tmp_path) as made:
        for order in ("17", "18", "19"):
            await made.open()
            async with Notifier.open({"channels": {"email": {}}}, store=made.store, actors=digests) as notifier:
                await notifier.publish(shipped(order))
                await notifier.wait_until_quiet()
                sent += [each.notification_id for each in notifier.sent_notifications]
            assert len(made.store.kept) == (order != "19")
    assert sent == ["digest-17"]


def shipped(order):
    return OrderShipped(
        order_id=order,
        user_id="ann",
        customer_email="ann@example.com",
        carrier="carrier",
        tracking_number="1",
        shipped_at=datetime.now(UTC),
    )


def test_a_crash_loses_what_is_not_durable_yet():
    store = LossyStore(commit_delay_ns=100)
    store.keep("digests", "ann", b"1", 0)
    store.keep("digests", "ann", b"2", 50)
    assert store.kept == {("digests", "ann"): b"2"}
    store.crash(149)
    assert store.kept == {("digests", "ann"): b"1"}


@pytest.mark.parametrize("key", ["a\x00b", "\ud800"])
async def test_a_key_that_no_store_on_disk_can_have_is_refused(key, tmp_path):
    async with SqliteStore.open(tmp_path / "store.db") as store:
        with pytest.raises(Unstorable, match="a key of 'digests' cannot be stored"):
            store.keep("digests", key, b"1", 0)
        assert not store.kept


async def test_a_value_that_was_changed_on_the_disk_is_left_there_and_said(tmp_path, caplog):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store:
        await keep(store, "digests", "ann", b"1")
        await keep(store, "digests", "bob", b"2")
    with sqlite3.connect(path) as sql:
        sql.execute("UPDATE kept SET value = CAST('3' AS BLOB) WHERE key = 'ann'")
    sql.close()
    async with SqliteStore.open(path) as store:
        assert store.kept == {("digests", "bob"): b"2"}
    assert "what actor 'digests' keeps under 'ann' is not read: it was changed on the disk" in caplog.text


@pytest.mark.integration
async def test_a_node_finds_what_the_one_before_it_of_its_name_has_kept_and_nothing_of_others(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        await keep(one, "digests", "ann", b"1")
        await keep(two, "digests", "ann", b"2")
        await keep(two, "digests", "bob", b"3")
        await keep(two, "digests", "bob", None)
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="three") as three:
        assert one.kept == {("digests", "ann"): b"1"}
        assert not three.kept
