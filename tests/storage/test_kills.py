"""Services that are killed under load lose nothing they have accepted, and send anew only what was under way.

There is one over a file; or there are two nodes on one PostgreSQL, of which the other takes over what a killed one had.
"""

import time
from collections import defaultdict
from random import Random

import psycopg
import pytest
from effort import thorough
from lives import Life
from service_parts import opened_store

pytestmark = pytest.mark.integration

NUMBERS_A_NODE = 10**9
LINES_A_PROCESS = 1500

PATIENCE_S = 120
"""How long the other node may take to take over: the lease is 15 s, but the machine may be busy."""


class Node:
    """A service over all its lives."""

    def __init__(self, store: str, number: int) -> None:
        self._store = store
        self._next = number * NUMBERS_A_NODE + 1
        self.lives: list[Life] = []

    def start(self) -> None:
        """Start it (again), with the first number of which it is not known that it was accepted."""
        accepted = {number for life in self.lives for number in life.said("accepted")}
        while str(self._next) in accepted:
            self._next += 1
        self.lives.append(Life("killed", self._store, self._next, 0))


def wait_until_taken_over(database: str) -> None:
    """Wait until only living nodes have anything."""
    began = time.monotonic()
    with psycopg.connect(database, autocommit=True) as sql:
        while sql.execute("SELECT count(*) FROM retrylab.nodes").fetchone() != (2,):
            assert time.monotonic() - began < PATIENCE_S, "nobody has taken over what a killed node had"
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("count", "kills"),
    [
        (1, 1),
        thorough((1, 3)),
        (2, 1),
        thorough((2, 2)),
        *(pytest.param(count, 50, marks=pytest.mark.slow) for count in (1, 2)),
    ],
)
async def test_nothing_accepted_is_lost_and_only_what_was_in_flight_comes_twice(count, kills, tmp_path, request):
    store = str(tmp_path / "store.db") if count == 1 else request.getfixturevalue("dsn")
    random, nodes = Random(kills), [Node(store, number) for number in range(count)]
    for node in nodes:
        node.start()
    for _ in range(kills):
        node = random.choice(nodes)
        life, lines = node.lives[-1], random.randrange(LINES_A_PROCESS)
        life.wait_until(lambda life=life, lines=lines: len(life.lines) >= lines)
        life.kill()
        node.start()
    for node in nodes:  # both are at work when the last of them take over
        life = node.lives[-1]
        life.wait_until(lambda life=life: len(life.lines) >= 100)
    if count > 1:
        wait_until_taken_over(store)
    for node in nodes:
        node.lives[-1].end()

    lives = [life for node in nodes for life in node.lives]
    accepted = {number for life in lives for number in life.said("accepted")}
    takers: defaultdict[str, list[Life]] = defaultdict(list)
    for life in lives:
        for number in life.said("taken"):
            takers[number].append(life)
    assert len(accepted) > 100 * kills
    async with opened_store(store) as opened:
        assert list(opened.open_deliveries(0)) == []
        dead = {letter.notification_id for letter in opened.dead_letters()}
        for number in accepted:  # sent, or a dead letter
            assert await opened.recall(number, time.time_ns()) is not None
    in_flight = {life: set(life.said("taken")) - set(life.said("sent")) if life.was_killed else set() for life in lives}
    assert accepted - dead <= takers.keys()
    assert dead >= {number for number in accepted if int(number) % 11 == 0}
    assert all(int(number) % 11 == 0 for number in dead)
    assert not dead & takers.keys()
    for number, by in takers.items():
        assert len(set(by)) == len(by), f"{number} was taken twice from one process"
        assert sum(number not in in_flight[each] for each in by) <= 1, f"{number} was taken again although it was sent"
