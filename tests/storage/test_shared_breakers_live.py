"""Circuit breakers that nodes on PostgreSQL share: what one says the others hear, by the store and by nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import trio
from shelves import until
from worlds import email

from actors import BreakerTransitioned, NotificationService, Notifier
from actors.outcomes import Transient
from actors.storage.postgres.schema import connected
from actors.storage.postgres.store import PostgresStore
from actors.storage.postgres.votes import forget

pytestmark = pytest.mark.integration

BREAKER = {"failure_threshold": 2, "timeout": 30, "shared": "any"}


class Node:
    """A node with a provider that is up or down for it alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_down = False
        self.sent: list[str] = []
        self.heard: list[str] = []
        self.notifier: Notifier
        self.store: PostgresStore

    @asynccontextmanager
    async def running(self, dsn: str, breaker: Any = None, **options: Any) -> AsyncIterator[Node]:
        settings = {
            "channels": {"email": {"circuit_breaker": {**BREAKER, **(breaker or {})}, "retry": {"max_attempts": 9}}},
            "drain": 0,
        }
        async with (
            PostgresStore.open(dsn, node=self.name, **options) as self.store,
            Notifier.open(
                settings,
                providers=NotificationService(rules=[self._answer]),
                store=self.store,
                on_event=self._take_note,
            ) as self.notifier,
        ):
            yield self

    def _answer(self, context: Any, *_: Any) -> Any:
        if self.is_down:
            return Transient(reason="unreachable")
        self.sent.append(context)
        return None

    def _take_note(self, event: Any) -> None:
        if isinstance(event, BreakerTransitioned):
            self.heard.append(str(event.cause))

    async def trip(self) -> None:
        self.is_down = True
        for number in range(2):
            await self.notifier.send(email(f"{self.name}-{number}"))
        await until(lambda: "trip" in self.heard)


async def test_what_one_says_opens_those_of_the_others(dsn):
    one, two, three = Node("one"), Node("two"), Node("three")
    async with one.running(dsn), two.running(dsn):
        await one.trip()
        await until(lambda: two.heard == ["others-open"])
        async with three.running(dsn):
            await until(lambda: three.heard == ["others-open"])  # which has started since
            await two.notifier.send(email("waits"))
            await three.notifier.send(email("waits-too"))
            await trio.sleep(0.1)
            assert two.sent == three.sent == []
            await one.notifier.operate_breaker("email", "close")
            await until(lambda: two.sent and three.sent)  # it is taken back, and each probes


async def test_a_quorum_is_of_the_nodes_whose_lease_holds(dsn):
    """One in three is no more than half; when one of the others has ended, and a third is there, two in three are."""
    one, two, three = (Node(name) for name in ("one", "two", "three"))
    quorum = {"shared": "quorum"}
    async with one.running(dsn, quorum), three.running(dsn, quorum), two.running(dsn, quorum):
        await until(lambda: len(three.store.living_nodes) == 3)
        await one.trip()
        await trio.sleep(1.5)  # longer than until the next look
        assert three.heard == []
        await two.trip()
        await until(lambda: three.heard == ["others-open"])


async def test_what_a_node_has_said_ends_with_its_lease(dsn):
    one, two = Node("one"), Node("two")
    async with two.running(dsn):
        async with one.running(dsn):
            await until(lambda: len(two.store.living_nodes) == 2)
            await one.trip()
            await until(lambda: two.heard == ["others-open"])
        await two.notifier.send(email("waits"))
        await until(lambda: two.sent)
    assert two.heard == ["others-open", "wait-over", "recover"]


async def test_who_does_not_share_is_told_nothing(dsn):
    one, two = Node("one"), Node("two")
    async with one.running(dsn), two.running(dsn, {"shared": "none"}):
        await one.trip()
        await trio.sleep(1.5)
        assert two.heard == []


async def test_a_host_may_be_called_what_it_will(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        heard: list[Any] = []
        two.on_news = heard.append
        hosts = ["", "a\nb", "half \ud800", "x" * 10_000]
        for host in hosts:
            one.say("webhook/backup", host, 10_000_000_000)
        await until(lambda: len(heard) >= len(hosts))
        assert {vote.host for vote in heard if hasattr(vote, "host")} == set(hosts)
        assert {vote.host for vote in two.said()} == set(hosts)
        assert {vote.breaker for vote in two.said()} == {"webhook/backup"}
        assert all(0 < vote.open_ns <= 10_000_000_000 for vote in two.said())
        assert list(one.said()) == []
        one.say("webhook/backup", "", 0)
        await until(lambda: len(list(two.said())) == len(hosts) - 1)


async def test_what_has_lapsed_long_ago_is_deleted(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        for host in ("a", "b"):
            one.say("email", host, 60_000_000_000)
        await until(lambda: len(list(two.said())) == 2)
    with closing(connected(dsn, "retrylab", lease_s=30)) as sql:
        sql.execute("UPDATE breaker_votes SET until = until - interval '2 h' WHERE name LIKE '%a'")
        forget(sql)
        assert sql.execute("SELECT name FROM breaker_votes").fetchall() == [(b"email\nb",)]
