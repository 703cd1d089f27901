"""The store in PostgreSQL, live: what decides between nodes, which takes over, and lost connections."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest
import trio
from shelves import (
    EPOCH_NS,
    REMEMBER_S,
    Receiver,
    command,
    dead_ids,
    event_of,
    execute,
    happens,
    until,
)

from actors import Notifier
from actors.errors import IdempotencyConflict, Overtaken, StoreError, StoreFailed, Unstorable
from actors.messages import (
    DeadLetterDiscarded,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.outcomes import DeadDestination, Permanent, Transient
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, RedriveDeadLetter
from actors.pipeline.orders import Acceptance
from actors.storage.postgres import (
    node as postgres_node,
    opening as postgres_opening,
    schema as postgres_schema,
    worker as postgres_worker,
)
from actors.storage.postgres.store import PostgresStore
from actors.storage.postgres.worker import Worker

A, B = command("a"), command("b")

PATIENCE_S = 60
"""How long a busy machine may take for what takes a moment."""

QUICK = {"channels": {"email": {"retry": {"max_attempts": 2, "initial_delay": "10ms"}}}}
SLOW = {"drain": "0s", "channels": {"email": {"retry": {"initial_delay": "300s"}}}}


def open_ids(store) -> list[str]:
    """Return what a node has to see to."""
    return [delivery.command.notification_id for delivery in store.open_deliveries(EPOCH_NS)]


def lose_connections(dsn: str) -> None:
    """Have the server end the connection of every node."""
    execute(dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retrylab'")


@contextmanager
def database_away(server, dsn: str) -> Generator[None, None, None]:
    """Have a database refuse all for as long as the block lasts."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    set_open = "UPDATE pg_database SET datallowconn = %s WHERE datname = %s"
    execute(server.url, set_open, False, name)
    try:
        execute(server.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        yield
    finally:
        execute(server.url, set_open, True, name)


def declare_over(dsn: str, node: str) -> None:
    """Say of a node that its lease has expired, as another node would."""
    execute(dsn, "UPDATE retrylab.nodes SET gone = true WHERE name = %s", node)


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nodes look often at what others have done, without a short lease, which a busy machine loses."""
    monkeypatch.setattr(postgres_worker, "LOOK_ROUND", 0.05)


def never_look(monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    """Have this node never look at what others have done: it finds out when it writes."""
    look_round = Worker._look_round

    def look(worker: Worker, forgets: bool):
        return False if worker._node.name == node else (yield from look_round(worker, forgets))

    monkeypatch.setattr(Worker, "_look_round", look)


# ── an id ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_id_that_comes_to_two_nodes_at_once_is_accepted_once(dsn):
    receivers, count = [Receiver(), Receiver()], 100
    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
        Notifier.open(providers=receivers[0], store=one) as first,
        Notifier.open(providers=receivers[1], store=two) as second,
    ):
        answers: dict[str, list[Acceptance]] = {f"n{number}": [] for number in range(count)}

        async def send(notifier: Notifier, notification_id: str) -> None:
            answers[notification_id].append(await notifier.send(command(notification_id)))

        async with trio.open_nursery() as nursery:
            for number in range(count):
                pair = [first, second]
                for notifier in pair if number % 2 else reversed(pair):
                    nursery.start_soon(send, notifier, f"n{number}")
        await first.wait_until_quiet()
        await second.wait_until_quiet()
    assert all(sorted(each) == [Acceptance.ACCEPTED, Acceptance.DUPLICATE] for each in answers.values())
    assert sorted(receivers[0].taken + receivers[1].taken) == sorted(answers)


@pytest.mark.parametrize("state", ["open", "ended", "dead"])
async def test_an_id_that_another_node_knows_is_a_duplicate_or_a_conflict(dsn, state):
    receiver, ages = Receiver(), 10**9
    async with (
        PostgresStore.open(dsn, node="one", remember_ids=ages) as one,
        PostgresStore.open(dsn, node="two", remember_ids=ages) as two,
        Notifier.open(providers=receiver, store=two) as notifier,
    ):
        await happens(one, NotificationRequested, A)
        if state != "open":
            await happens(one, NotificationSent if state == "ended" else NotificationMovedToDeadLetter, A)
        assert await notifier.send(A) is Acceptance.DUPLICATE
        with pytest.raises(IdempotencyConflict, match="'a' is known already, with a different payload"):
            await notifier.send(command("a", message="Something else"))
        assert notifier.in_flight == 0
    assert receiver.taken == []


async def test_what_is_told_and_known_with_another_payload_is_logged(dsn, caplog):
    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
        Notifier.open(providers=Receiver(), store=two) as notifier,
    ):
        await happens(one, NotificationRequested, A)
        notifier.pipeline.handler.tell(command("a", message="Something else"))
        await until(lambda: "not accepted: notification id 'a' is known already" in caplog.text)


async def test_an_id_whose_time_is_up_is_new_at_any_node(dsn):
    async with (
        PostgresStore.open(dsn, node="one", remember_ids=REMEMBER_S) as one,
        PostgresStore.open(dsn, node="two", remember_ids=REMEMBER_S) as two,
    ):
        await happens(one, NotificationRequested, A)
        await happens(one, NotificationSent, A, 5)
        with pytest.raises(Overtaken):
            await happens(two, NotificationRequested, A, 4 + REMEMBER_S)
        await happens(two, NotificationRequested, A, 5 + REMEMBER_S)
        assert open_ids(two) == ["a"]


async def test_ids_that_are_no_keys_are_refused_and_nothing_else_is(dsn):
    receiver = Receiver()
    async with PostgresStore.open(dsn) as store, Notifier.open(providers=receiver, store=store) as notifier:
        with pytest.raises(Unstorable, match="wanted an id of at most 2000 bytes, got one of 2001"):
            await notifier.send(command("é" + "x" * 1999))
        with pytest.raises(Unstorable, match="without line breaks and other control characters"):
            await notifier.send(command("a\0"))
        assert await notifier.send(command("x" * 2000, recipient="y" * 10_000 + "\0")) is Acceptance.ACCEPTED
    assert receiver.taken == ["x" * 2000]


# ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_letters_and_dead_addresses_of_one_node_are_seen_by_the_other(dsn):
    receiver = Receiver()
    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
        Notifier.open(QUICK, providers=Receiver(DeadDestination(), Permanent(reason="bad")), store=one) as first,
        Notifier.open(QUICK, providers=receiver, store=two) as second,
    ):
        await first.send(A)
        await first.send(command("c", recipient="cleo@example.org"))
        await until(lambda: [each.notification_id for each in second.dead_letter_queue] == ["a", "c"])
        assert [letter.failure_reason for letter in second.dead_letter_queue][1:] == ["bad"]
        assert await second.send(B) is Acceptance.ACCEPTED  # to the same address, so it is suppressed
        await second.wait_until_quiet()
        assert receiver.taken == []

        queue = second.pipeline.dead_letter_queue
        assert await queue.ask(RedriveDeadLetter(notification_id="a", by="ann"), block=False)
        assert await queue.ask(DiscardDeadLetter(notification_id="c", reason="test", by="bob"), block=False)
        await until(lambda: first.dead_letter_queue == [])
        assert [(entry.by, entry.notification_id) for entry in await one.audit_trail()] in (
            [("ann", "a"), ("bob", "c")],
            [("bob", "c"), ("ann", "a")],
        )
        await second.wait_until_quiet()
        assert receiver.taken == ["a"]


async def test_a_letter_is_redriven_once_by_any_caller_and_at_however_many_nodes(dsn):
    async def redrive(notifier: Notifier, order: RedriveDeadLetter) -> None:
        await notifier.pipeline.dead_letter_queue.ask(order, block=False)

    receivers = [Receiver(*[Permanent(reason="bad")] * 20), Receiver()]
    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
        Notifier.open(QUICK, providers=receivers[0], store=one) as first,
        Notifier.open(QUICK, providers=receivers[1], store=two) as second,
    ):
        ids = [f"n{number}" for number in range(20)]
        for notification_id in ids:
            await first.send(command(notification_id))
        await until(lambda: len(second.dead_letter_queue) == len(first.dead_letter_queue) == 20)
        async with trio.open_nursery() as nursery:
            for notification_id in ids:
                for notifier in (first, second):
                    order = RedriveDeadLetter(notification_id=notification_id)
                    nursery.start_soon(redrive, notifier, order)
        for notifier in (first, second):
            await notifier.wait_until_quiet()
        await until(lambda: first.dead_letter_queue == second.dead_letter_queue == [])
        assert sorted(receivers[0].taken + receivers[1].taken) == sorted(ids)
        assert len(await one.audit_trail()) == 20


@pytest.mark.parametrize("other", [NotificationRedriven, DeadLetterDiscarded])
@pytest.mark.parametrize("mine", [NotificationRedriven, DeadLetterDiscarded])
async def test_who_comes_second_to_a_letter_does_nothing(dsn, other, mine):
    async with PostgresStore.open(dsn, node="one") as one:
        await happens(one, NotificationRequested, A)
        await happens(one, NotificationFailed, A, kind="DeadDestination", next_retry_at_ns=None)
        await happens(one, NotificationMovedToDeadLetter, A, 1)
        async with PostgresStore.open(dsn, node="two") as two:
            # Neither can know the other's, and the database decides which of them is first.
            under_way = [
                (store, kind, store.commit(event_of(kind, A, 2), A)) for store, kind in ((one, other), (two, mine))
            ]
            first, second = [], []
            for store, kind, commit in under_way:
                try:
                    await commit()
                    first.append((store, kind))
                except Overtaken as overtaken:
                    second.append((store, str(overtaken)))
            [(winner, done)], [(loser, text)] = first, second
            assert text == "notification 'a' is known already, or another node was first"
            assert open_ids(loser) == dead_ids(loser) == []
            assert open_ids(winner) == (["a"] if done is NotificationRedriven else [])
            assert len(loser.suppressions) == len(winner.suppressions) == (0 if done is NotificationRedriven else 1)
            assert len(await loser.audit_trail()) == 1
            if done is NotificationRedriven:
                await happens(winner, NotificationMovedToDeadLetter, A, 3)
                await until(lambda: dead_ids(loser) == ["a"])
                await happens(loser, DeadLetterDiscarded, A, 4)  # it may be taken again, as it died again
                assert dead_ids(loser) == []


# ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_node_had_is_sent_by_another_when_it_has_closed_its_store(dsn):
    receiver = Receiver()
    async with PostgresStore.open(dsn, node="two") as two, Notifier.open(SLOW, providers=receiver, store=two) as second:
        async with (
            PostgresStore.open(dsn, node="one") as one,
            Notifier.open(SLOW, providers=Receiver(Transient(reason="busy")), store=one) as first,
        ):
            failed = trio.Event()
            first.bus.subscribe(NotificationFailed)(lambda _: failed.set())
            await first.send(A)
            await failed.wait()
            await happens(one, NotificationRequested, B)  # not even begun
        await until(lambda: receiver.taken == ["b"] and second.in_flight == 1)
        assert await second.send(A) is Acceptance.DUPLICATE
        (delivery,) = two.open_deliveries(second.system.epoch_ns)
        assert (delivery.command, delivery.attempts, len(delivery.failures)) == (A, 1, 1)
        assert delivery.due_ns is not None  # in almost 300 s
        assert [type(event) for event in (await two.past("a")).events] == [NotificationRequested, NotificationFailed]


async def test_what_a_node_had_whose_lease_is_over_is_taken_over_and_it_can_write_nothing(dsn, caplog, monkeypatch):
    look_often(monkeypatch)
    never_look(monkeypatch, "one")  # or it may end before the other has taken over
    receiver = Receiver()

    async def be_fenced() -> None:
        async with (
            PostgresStore.open(dsn, node="one", lease=2 * PATIENCE_S) as one,
            Notifier.open(SLOW, providers=Receiver(), store=one) as n,
        ):
            await happens(one, NotificationRequested, A)
            declare_over(dsn, "one")
            await until(lambda: receiver.taken == ["a"])
            with pytest.raises(StoreFailed, match="node 'one' has lost its lease"):
                await one.commit(event_of(NotificationSent, A), A)()
            with pytest.raises(StoreFailed, match="node 'one' has lost its lease"):
                await n.send(B)
            await trio.sleep_forever()

    async with PostgresStore.open(dsn, node="two") as two, Notifier.open(providers=receiver, store=two):
        with trio.fail_after(PATIENCE_S), pytest.raises(StoreFailed, match="node 'one' has lost its lease"):
            await be_fenced()
        assert "node 'two' takes over 1 notifications" in caplog.text
    assert [name for (name,) in execute(dsn, "SELECT notification_id FROM retrylab.notifications")] == ["a"]


async def test_a_node_that_has_lost_its_lease_ends_though_it_has_nothing_to_write(dsn, monkeypatch):
    look_often(monkeypatch)

    async def be_fenced() -> None:
        async with PostgresStore.open(dsn, node="one") as one, Notifier.open(providers=Receiver(), store=one):
            declare_over(dsn, "one")
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE_S), pytest.raises(StoreFailed, match="another node has taken over what it had"):
        await be_fenced()


async def test_a_lease_that_is_over_is_noticed(dsn, caplog, monkeypatch):
    """By a node that has reached the database for a third of its lease; until then all may have been away."""
    look_often(monkeypatch)
    look_round, may_reap = postgres_worker.look_round, []
    monkeypatch.setattr(
        postgres_worker,
        "look_round",
        lambda *given, reaps, **named: look_round(*given, reaps=lambda: reaps() and bool(may_reap), **named),
    )
    receiver = Receiver()
    async with PostgresStore.open(dsn, node="one") as one:
        await happens(one, NotificationRequested, A)
    # As if it had been killed a while ago:
    execute(
        dsn,
        "INSERT INTO retrylab.nodes (token, name, lease_until, seen) "
        "VALUES (1000, 'killed', clock_timestamp() - interval '1 s', '1')",
    )
    execute(dsn, "UPDATE retrylab.notifications SET owner = 1000")
    async with PostgresStore.open(dsn, node="two", lease=3) as two, Notifier.open(providers=receiver, store=two):
        assert open_ids(two) == []
        assert receiver.taken == []
        may_reap.append(True)
        await until(lambda: receiver.taken == ["a"])
    assert "the lease of node 'killed' has ended" in caplog.text


async def test_a_node_that_is_started_anew_goes_on_at_once_and_the_earlier_one_ends(dsn):
    async def be_replaced(replace: Callable[[], None]) -> None:
        async with PostgresStore.open(dsn, node="one") as one, Notifier.open(SLOW, providers=Receiver(), store=one):
            await happens(one, NotificationRequested, A)
            replace()
            await trio.sleep_forever()

    replaced = trio.Event()
    async with trio.open_nursery() as nursery:

        async def earlier() -> None:
            with pytest.raises(StoreFailed, match="another node has taken over what it had"):
                await be_replaced(replaced.set)

        nursery.start_soon(earlier)
        await replaced.wait()
        async with PostgresStore.open(dsn, node="one") as later:
            assert open_ids(later) == ["a"]


# ── the connection ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_under_way_when_the_connection_is_lost_is_written_once(dsn, caplog):
    receiver, count = Receiver(), 300
    async with PostgresStore.open(dsn) as store, Notifier.open(providers=receiver, store=store) as notifier:
        answers = []

        async def send(number: int) -> None:
            answers.append(await notifier.send(command(f"n{number}")))

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(send, number)
                if number % 100 == 50:
                    await until(lambda: answers)
                    await trio.to_thread.run_sync(lose_connections, dsn)
        await notifier.wait_until_quiet()
    assert answers == [Acceptance.ACCEPTED] * count
    assert sorted(receiver.taken) == sorted(f"n{number}" for number in range(count))
    assert "the database cannot be reached" in caplog.text
    assert "the database is back" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_transaction_whose_answer_is_lost_is_not_made_twice(dsn, monkeypatch, when):
    """The connection is lost in the commit: before the server has made it durable, or behind that."""
    commit, lost = psycopg.Transaction._commit_gen, []

    def lose(transaction):
        if store_is_open and not lost and transaction.connection.info.backend_pid == writer:
            lost.append(True)
            if when == "after":
                yield from commit(transaction)
            transaction.connection.pgconn.finish()
            raise psycopg.OperationalError("the connection was lost")
        yield from commit(transaction)

    store_is_open = False
    async with PostgresStore.open(dsn, lease=60) as store:
        other = command("b")
        await happens(store, NotificationRequested, other)
        await happens(store, NotificationMovedToDeadLetter, other, 1)
        ((writer,),) = execute(dsn, "SELECT pid FROM pg_stat_activity WHERE application_name = 'retrylab'")
        monkeypatch.setattr(psycopg.Transaction, "_commit_gen", lose)
        store_is_open = True
        async with trio.open_nursery() as nursery:
            for each, kind in ((A, NotificationRequested), (other, NotificationRedriven)):
                nursery.start_soon(store.commit(event_of(kind, each, 2), each))
        assert lost
        await happens(store, NotificationFailed, A, 3)
        assert len(await store.audit_trail()) == 1
        assert open_ids(store) == ["a", "b"]
        assert execute(dsn, "SELECT count(*) FROM retrylab.history") == [(3,)]


async def test_a_database_that_goes_away_and_comes_back_loses_nothing(postgres_server, dsn, caplog):
    config = {**QUICK, "drain": "60s"}
    receiver, accepted = Receiver(), []
    async with (
        PostgresStore.open(dsn, node="one", lease=60) as one,
        PostgresStore.open(dsn, node="two", lease=60) as two,
        Notifier.open(config, providers=receiver, store=one) as first,
        Notifier.open(config, providers=receiver, store=two) as second,
    ):

        async def send(notifier: Notifier, notification_id: str) -> None:
            await notifier.send(command(notification_id))
            accepted.append(notification_id)

        with trio.fail_after(PATIENCE_S):
            await send(first, "before")
            async with trio.open_nursery() as nursery:
                with database_away(postgres_server, dsn):
                    nursery.start_soon(send, first, "one")
                    nursery.start_soon(send, second, "two")
                    await trio.sleep(0.3)
                    assert accepted == ["before"]
            await first.wait_until_quiet()
            await second.wait_until_quiet()
    assert sorted(receiver.taken) == ["before", "one", "two"]


async def test_what_no_one_needs_any_more_leaves_the_database(dsn, monkeypatch):
    monkeypatch.setattr(postgres_worker, "DELETE_PAUSE", 0.1)
    async with PostgresStore.open(dsn, remember_ids=REMEMBER_S, keep_audit=2 * REMEMBER_S) as store:
        for each in (A, B):
            await happens(store, NotificationRequested, each)
            await happens(store, NotificationFailed, each)
            await happens(store, NotificationMovedToDeadLetter, each)
        await happens(store, NotificationRedriven, A, 1)
        await happens(store, NotificationSent, A, 1)
        await happens(store, DeadLetterDiscarded, B, REMEMBER_S, by="ann")
        assert execute(dsn, "SELECT * FROM retrylab.history") == []
        assert [each.command for each in [await store.past("a"), await store.past("b")]] == [A, B]
        await happens(store, NotificationRequested, command("c"), 2 * REMEMBER_S)
    async with PostgresStore.open(dsn, remember_ids=REMEMBER_S, keep_audit=2 * REMEMBER_S) as store:
        assert {name for (name,) in execute(dsn, "SELECT notification_id FROM retrylab.notifications")} == {
            "a",
            "b",
            "c",
        }
        await happens(store, NotificationSent, command("c"), 2.5 * REMEMBER_S)
        await until(lambda: execute(dsn, "SELECT notification_id FROM retrylab.notifications") == [("c",)])
        await until(lambda: execute(dsn, "SELECT notification_id FROM retrylab.audit") == [("b",)])
        assert await store.past("a") is None


async def test_a_question_that_fails_says_so_and_the_next_one_is_answered(dsn, monkeypatch):
    async with PostgresStore.open(dsn, lease=60) as store:
        with monkeypatch.context() as broken:
            absent = SimpleNamespace(audit_entries=lambda sql, *_: sql.execute("SELECT * FROM absent"))
            broken.setattr(store, "_reads", absent)
            with pytest.raises(StoreError, match='the store cannot be read: relation "absent" does not exist'):
                await store.audit_trail()
            slow = "SET statement_timeout = '1ms'; SELECT pg_sleep(1)"
            broken.setattr(store, "_reads", SimpleNamespace(audit_entries=lambda sql, *_: sql.execute(slow)))
            with pytest.raises(StoreError, match="the store cannot be read: canceling statement"):
                await store.audit_trail()
        asked = trio.Event()

        def lose(sql, *_):
            if not asked.is_set():
                trio.from_thread.run_sync(asked.set, trio_token=store._token)
                lose_connections(dsn)
            return sql.execute("SELECT 1").fetchall()

        monkeypatch.setattr(store, "_reads", SimpleNamespace(audit_entries=lose))
        assert await store.audit_trail() == [(1,)]  # asked again, when the database was back


async def test_what_goes_wrong_right_after_opening_is_said_as_later(dsn, monkeypatch):
    """Also where the thread of the system is too busy to get one before the other."""

    def look_round(worker, forgets):
        raise RuntimeError("planted")

    monkeypatch.setattr(Worker, "_look_round", look_round)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def be_busy():
            await trio.sleep(0)
            time.sleep(0.5)

        with pytest.raises(StoreFailed, match="the store cannot be written: planted"):
            async with PostgresStore.open(dsn) as store:
                store.commit(event_of(NotificationRequested, A), A)


# ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _cannot_be_opened(dsn: str, match: str, **options) -> None:
    with pytest.raises(StoreError, match=match):
        async with PostgresStore.open(dsn, **options):
            pytest.fail("it is open")


async def test_a_database_that_is_not_there_is_said_to_be(dsn):
    await _cannot_be_opened(dsn.replace("/test_", "/absent_"), "cannot be opened: .* does not exist")
    await _cannot_be_opened("host=/nonexistent", "cannot be opened: .* failed")
    await _cannot_be_opened("no dsn", "cannot be opened: ")
    await _cannot_be_opened(dsn, r"lease: wanted at least 1 s, got 0\.5", lease=0.5)


async def test_who_takes_longer_to_start_than_the_lease_is_told(dsn, monkeypatch):
    def load(sql, token):
        declare_over(dsn, "slow")
        return postgres_node.load(sql, token)

    monkeypatch.setattr(postgres_opening, "load", load)
    await _cannot_be_opened(dsn, "to read it takes longer than the lease of 5 s", node="slow", lease=5)


async def test_two_schemas_are_two_stores(dsn):
    async with PostgresStore.open(dsn) as one, PostgresStore.open(dsn, schema='an "other"') as other:
        for store in (one, other):
            await happens(store, NotificationRequested, A)
            assert open_ids(store) == ["a"]


async def test_an_earlier_schema_is_brought_forward_by_one_of_those_who_start_at_once(dsn, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    async with PostgresStore.open(dsn, node="one") as store:
        await happens(store, NotificationRequested, A)
    later = (*postgres_schema.MIGRATIONS, "CREATE TABLE more (x int); INSERT INTO more VALUES (1)")
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", later)
    found, opened = [], []

    async def start(node: str) -> None:
        async with PostgresStore.open(dsn, node=node) as store:
            found.extend(open_ids(store))
            opened.append(node)
            await until(lambda: len(opened) == 4)  # what one has that ends is another's

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(start, f"node {number}")
    assert found == ["a"]
    assert execute(dsn, "SELECT * FROM retrylab.more") == [(1,)]
    versions = execute(dsn, "SELECT version FROM retrylab.schema_versions ORDER BY version")
    assert versions == [(number,) for number in range(1, len(later) + 1)]


async def test_an_addition_is_made_once_and_a_release_that_does_not_know_it_runs_beside_it(dsn, monkeypatch):
    known = postgres_schema.ADDITIONS
    async with PostgresStore.open(dsn, node="before") as before:
        with monkeypatch.context() as later:
            more = "ALTER TABLE nodes ADD COLUMN more int NOT NULL DEFAULT 7"
            later.setattr(postgres_schema, "ADDITIONS", (*known, more))
            for round_ in range(2):
                async with PostgresStore.open(dsn, node="after") as after:
                    await happens(after, NotificationRequested, command(f"n{round_}"))
                    assert execute(dsn, "SELECT DISTINCT more FROM retrylab.nodes") == [(7,)]
        async with PostgresStore.open(dsn, node="before, too") as another:
            await happens(another, NotificationRequested, A)
        await happens(before, NotificationRequested, B)
    made = execute(dsn, "SELECT addition FROM retrylab.schema_additions ORDER BY addition")
    assert made == [(number,) for number in range(1, len(known) + 2)]


async def test_a_later_schema_is_refused_and_a_migration_that_fails_changes_nothing(dsn, monkeypatch):
    async with PostgresStore.open(dsn, node="one") as store:
        await happens(store, NotificationRequested, A)
    known = len(postgres_schema.MIGRATIONS)
    with monkeypatch.context() as later:
        broken = "CREATE TABLE more (x int); ALTER TABLE absent ADD COLUMN y int"
        later.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, broken))
        await _cannot_be_opened(dsn, 'relation "absent" does not exist')
        assert execute(dsn, "SELECT to_regclass('retrylab.more')") == [(None,)]
    execute(dsn, "INSERT INTO retrylab.schema_versions VALUES (%s, now())", known + 1)
    await _cannot_be_opened(dsn, f"is of version {known + 1}, by a later release: wanted one of at most {known}")
    execute(dsn, "DELETE FROM retrylab.schema_versions WHERE version > %s", known)
    async with PostgresStore.open(dsn, node="one") as store:
        assert open_ids(store) == ["a"]
