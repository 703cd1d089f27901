"""A node that cannot renew its lease in time, whatever keeps it: it sends nothing, and comes back by itself."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
import trio
from shelves import Receiver, command, event_of, execute, until

from actors import Notifier, SendNotification
from actors.errors import StoreBusy, StoreFailed
from actors.messages import NotificationRequested
from actors.pipeline.orders import Acceptance
from actors.storage.postgres import worker as postgres_worker
from actors.storage.postgres.store import PostgresStore

PATIENCE_S = 60
A, B = command("a"), command("b")


async def send(notifier: Notifier, command: SendNotification, answers: list[Acceptance] | None = None) -> None:
    """Send it, again for as long as the store is busy."""
    while True:
        try:
            answer = await notifier.send(command)
        except StoreBusy:
            await trio.sleep(0.05)
        else:
            break
    if answers is not None:
        answers.append(answer)


@contextmanager
def locked(dsn: str, lock: str) -> Generator[None, None, None]:
    """Have a stranger hold a lock for as long as the block lasts."""
    with psycopg.connect(dsn) as sql:
        sql.execute(lock)
        yield
        sql.rollback()


def leases(dsn: str) -> list[tuple]:
    return execute(dsn, "SELECT lease_until FROM retrylab.nodes ORDER BY token")


def database_is_open(server, dsn: str, is_open: bool) -> None:
    """Have a database take connections, or end all and refuse new ones."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    execute(server.url, "UPDATE pg_database SET datallowconn = %s WHERE datname = %s", is_open, name)
    if not is_open:
        execute(server.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)


LOCKS = {
    "table": "LOCK TABLE retrylab.nodes",
    "rows": "SELECT * FROM retrylab.nodes FOR UPDATE",
}


@pytest.mark.parametrize("lock", LOCKS)
async def test_point_12_nodes_come_back_by_themselves_when_a_lock_on_their_table_is_gone(dsn, lock, caplog):
    """It is held until the leases of both are over; then neither says so of the other."""
    caplog.set_level(logging.WARNING)
    receivers = [Receiver(), Receiver()]
    async with (
        PostgresStore.open(dsn, node="one", lease=3) as one,
        PostgresStore.open(dsn, node="two", lease=3) as two,
        Notifier.open(providers=receivers[0], store=one) as first,
        Notifier.open(providers=receivers[1], store=two) as second,
    ):
        answers: list[Acceptance] = []
        async with trio.open_nursery() as nursery:
            with locked(dsn, LOCKS[lock]):
                await until(lambda: not one.lease_holds() and not two.lease_holds())
                # As if accepted before: neither may send it.
                for store, notifier in ((one, first), (two, second)):
                    assert store.on_news is not None
                    nursery.start_soon(send, notifier, command(store.node), answers)
                losses = one._worker._link.losses, two._worker._link.losses
                await until(lambda: one._worker._link.losses > losses[0] and two._worker._link.losses > losses[1])
                assert receivers[0].taken == receivers[1].taken == answers == []
        assert len(answers) == 2
        assert set(answers) <= {Acceptance.ACCEPTED, Acceptance.DUPLICATE}
        for notifier in (first, second):
            await notifier.wait_until_quiet()
        assert sorted(receivers[0].taken + receivers[1].taken) == ["one", "two"]
        assert len(execute(dsn, "SELECT name FROM retrylab.nodes WHERE NOT gone")) == 2
    assert "it sends nothing until it has" in caplog.text
    assert "has its lease again" in caplog.text
    assert "the lease of node" not in caplog.text


@pytest.mark.parametrize("table", ["notifications", "changes"])
async def test_a_lock_on_another_table_costs_no_lease(dsn, table):
    """What is written waits for as long as it takes, and the lease is renewed in between."""
    async with PostgresStore.open(dsn, node="one", lease=3) as one, Notifier.open(providers=Receiver(), store=one) as n:
        async with trio.open_nursery() as nursery:
            with locked(dsn, f"LOCK TABLE retrylab.{table}"):
                if table == "notifications":
                    nursery.start_soon(send, n, A)
                before, losses = leases(dsn), one._worker._link.losses
                await until(lambda: one._worker._link.losses >= losses + 4)  # of which each takes a third of a lease
                assert leases(dsn) > before
        await until(one.lease_holds)
        assert await n.send(B) is Acceptance.ACCEPTED


async def test_an_answer_that_never_comes_is_not_waited_for_longer_than_a_lease(dsn, monkeypatch):
    """The thread of the SQL is stuck in it, so that it does not even notice that its connection is lost."""
    look_round, hangs = postgres_worker.look_round, trio.Event()

    def look(sql, *given, **named):
        if not hangs.is_set():
            trio.from_thread.run_sync(hangs.set, trio_token=one._token)
            sql.execute("SELECT pg_sleep(600)")
        return look_round(sql, *given, **named)

    monkeypatch.setattr(postgres_worker, "SILENCE", 0.2)
    async with PostgresStore.open(dsn, node="one", lease=2) as one:
        monkeypatch.setattr(postgres_worker, "look_round", look)
        await hangs.wait()
        await until(lambda: one.is_busy)
        with pytest.raises(StoreBusy):
            await one.audit_trail()
        await until(lambda: not one.lease_holds())
        await until(one.lease_holds)
        await one.commit(event_of(NotificationRequested, A), A)()


async def test_a_database_that_is_away_for_longer_than_the_lease_stops_the_node_until_it_is_back(postgres_server, dsn):
    receiver = Receiver()
    async with (
        PostgresStore.open(dsn, node="one", lease=1) as one,
        Notifier.open({"drain": "60s"}, providers=receiver, store=one) as notifier,
        trio.open_nursery() as nursery,
    ):
        await notifier.send(A)
        await until(lambda: receiver.taken == ["a"])
        database_is_open(postgres_server, dsn, False)
        try:
            nursery.start_soon(send, notifier, B)
            await until(lambda: one.is_busy)
            await until(lambda: not one.lease_holds())
            assert receiver.taken == ["a"]
        finally:
            database_is_open(postgres_server, dsn, True)
        await until(lambda: receiver.taken == ["a", "b"])


async def test_a_store_that_is_closed_while_the_database_is_away_waits_for_no_longer_than_a_lease(postgres_server, dsn):
    async def be_closed() -> None:
        async with PostgresStore.open(dsn, node="one", lease=1) as one:
            database_is_open(postgres_server, dsn, False)
            one.commit(event_of(NotificationRequested, A), A)

    try:
        with (
            trio.fail_after(PATIENCE_S),
            pytest.raises(StoreFailed, match="has not reached the database for its lease"),
        ):
            await be_closed()
    finally:
        database_is_open(postgres_server, dsn, True)


async def test_a_node_whose_lease_was_over_and_taken_ends_and_sends_nothing(dsn, monkeypatch):
    """Another one was faster: its token is no good any more, as ever."""

    async def be_late() -> None:
        async with PostgresStore.open(dsn, node="late", lease=3) as late, Notifier.open(providers=receiver, store=late):
            with locked(dsn, LOCKS["table"]):
                await until(lambda: not late.lease_holds())
                late.commit(event_of(NotificationRequested, A), A)
            execute(dsn, "UPDATE retrylab.nodes SET gone = true")
            await trio.sleep_forever()

    receiver = Receiver()
    monkeypatch.setattr(postgres_worker, "RECONNECT_PAUSES", (5.0, 5.0))  # so that the other one is faster
    with trio.fail_after(PATIENCE_S), pytest.raises(StoreFailed, match="another node has taken over what it had"):
        await be_late()
    assert receiver.taken == []
