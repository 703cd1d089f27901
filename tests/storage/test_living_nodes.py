"""How many nodes share a store in PostgreSQL, and what each has of a quota that is theirs together."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors import NotificationService, Notifier
from actors.storage.postgres.store import PostgresStore

QUOTA = {"rate": "12/h", "kind": "token_bucket", "across": "nodes"}
SETTINGS = {"channels": {"email": {"quota": QUOTA}}, "drain": 0}


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(60):
        while not holds():
            await trio.sleep(0.01)


async def test_each_node_knows_how_many_there_are(dsn):
    async with PostgresStore.open(dsn, node="one") as one:
        assert one.living_nodes == 1
        async with PostgresStore.open(dsn, node="two") as two, PostgresStore.open(dsn, node="three") as three:
            assert (two.living_nodes, three.living_nodes) in ((2, 3), (3, 3))
            await until(lambda: one.living_nodes == two.living_nodes == 3)
        await until(lambda: one.living_nodes == 1)


async def test_a_node_that_takes_the_place_of_another_is_no_further_one(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two", lease=60):
        await until(lambda: one.living_nodes == 2)
    async with PostgresStore.open(dsn, node="two") as two:
        assert two.living_nodes == 1


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
            await until(lambda: one.living_nodes == two.living_nodes == 2)
            for number in range(8):
                await first.send(email(f"a{number}"))
                await second.send(email(f"b{number}"))
            await until(lambda: sent == {"one": 6, "two": 6})
            await trio.sleep(0.2)
            assert sent == {"one": 6, "two": 6}
        await until(lambda: one.living_nodes == 1)
        # No token has come to it by the change: it goes on with none, and at the pace of all.
        await first.send(email("c"))
        assert first.in_flight >= 3
        assert sent["one"] == 6
