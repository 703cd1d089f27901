"""How many nodes share a store in PostgreSQL, and what each has of a quota that is theirs together, and of what another
one had."""

import psycopg
import trio
from shelves import EPOCH_NS, command, event_of, until

from actors import NotificationService, Notifier
from actors.messages import NotificationRequested
from actors.storage.postgres.store import PostgresStore

QUOTA = {"rate": "12/h", "kind": "token_bucket", "across": "nodes"}
SETTINGS = {"channels": {"email": {"quota": QUOTA}}, "drain": 0}


async def test_each_node_knows_how_many_there_are(dsn):
    async with PostgresStore.open(dsn, node="one") as one:
        assert len(one.living_nodes) == 1
        async with PostgresStore.open(dsn, node="two") as two, PostgresStore.open(dsn, node="three") as three:
            assert (len(two.living_nodes), len(three.living_nodes)) in ((2, 3), (3, 3))
            await until(lambda: one.living_nodes == two.living_nodes and len(one.living_nodes) == 3)
        await until(lambda: len(one.living_nodes) == 1)


async def test_a_node_that_takes_the_place_of_another_is_no_further_one(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two", lease=60):
        await until(lambda: len(one.living_nodes) == 2)
    async with PostgresStore.open(dsn, node="two") as two:
        assert len(two.living_nodes) == 1


async def test_a_quota_across_nodes_is_divided_among_those_that_live(dsn):
    """Twelve at once are two nodes' six each; and all twelve are those of one when the other has ended."""
    from worlds import email

    sent: dict[str, int] = {"one": 0, "two": 0}

    def counting(node: str) -> NotificationService:
        return NotificationService(rules=[lambda *_: sent.__setitem__(node, sent[node] + 1)])

    async with (
        PostgresStore.open(dsn, node="one") as one,
        Notifier.open(SETTINGS, providers=counting("one"), store=one) as first,
    ):
        async with (
            PostgresStore.open(dsn, node="two") as two,
            Notifier.open(SETTINGS, providers=counting("two"), store=two) as second,
        ):
            await until(lambda: one.living_nodes == two.living_nodes and len(one.living_nodes) == 2)
            for number in range(8):
                await first.send(email(f"a{number}"))
                await second.send(email(f"b{number}"))
            await until(lambda: sent == {"one": 6, "two": 6})
            await trio.sleep(0.2)
            assert sent == {"one": 6, "two": 6}
        await until(lambda: len(one.living_nodes) == 1)
        # No token has come to it by the change: it goes on with none, and at the pace of all.
        await first.send(email("c"))
        assert first.in_flight >= 3
        assert sent["one"] == 6


# ── what another one had ────────────────────────────────────────────────────────────────────────────────────────────


def open_ids(store: PostgresStore) -> set[str]:
    return {delivery.command.notification_id for delivery in store.open_deliveries(EPOCH_NS)}


async def accept_and_stop(dsn: str, ids: set[str]) -> None:
    """Have a node accept these, and end with all of them open."""
    async with PostgresStore.open(dsn, node="one") as one:
        for each in map(command, ids):
            await one.commit(event_of(NotificationRequested, each, 0), each)()


async def test_what_a_node_had_is_shared_by_those_that_are_there(dsn):
    ids = {f"n{number}" for number in range(100)}
    async with PostgresStore.open(dsn, node="two") as two, PostgresStore.open(dsn, node="three") as three:
        await accept_and_stop(dsn, ids)
        await until(lambda: len(open_ids(two)) + len(open_ids(three)) == len(ids))
        assert open_ids(two) | open_ids(three) == ids
        assert 20 < len(open_ids(two)) < 80


async def test_nothing_waits_for_a_node_that_has_not_renewed_its_lease_for_long(dsn):
    ids = {f"n{number}" for number in range(10)}
    async with PostgresStore.open(dsn, node="two", lease=60) as two:
        with psycopg.connect(dsn, autocommit=True) as sql:
            sql.execute(
                "INSERT INTO retrylab.nodes (token, name, lease_until, seen) SELECT nextval('retrylab.tokens'), "
                "'frozen', clock_timestamp() + '29 s', pg_snapshot_xmin(pg_current_snapshot())"
            )
        await accept_and_stop(dsn, ids)
        await until(lambda: open_ids(two) == ids)
        assert len(two.living_nodes) == 2
