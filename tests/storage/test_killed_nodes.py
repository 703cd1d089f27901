"""Two nodes on one PostgreSQL under load, of which one after the other is killed: the other takes over what it had.

Nothing accepted is lost, and the receiver gets nothing twice but what was under way at a node that was killed.
"""

import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from random import Random

import psycopg
import pytest
from effort import thorough

from actors.storage.postgres.store import PostgresStore

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("killed_service.py")

NUMBERS_A_NODE = 10**9
LINES_A_PROCESS = 2000

PATIENCE_S = 120
"""How long the other node may take to take over: the lease is 15 s, but the machine may be busy."""


class NodeProcess:
    """A node that runs, and what it has said."""

    def __init__(self, database: str, first: int) -> None:
        argv = [sys.executable, str(SERVICE), database, str(first), str(NUMBERS_A_NODE)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: dict[str, list[str]] = {"accepted": [], "taken": [], "sent": []}
        self.was_killed = False
        self._lines = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                what, number = line.split()
                with self._news:
                    self.said[what].append(number)
                    self._lines += 1
                    self._news.notify()
        with self._news:
            self._lines = LINES_A_PROCESS  # no one need wait for more
            self._news.notify()

    def has_said(self, lines: int) -> None:
        """Wait until it has said so many lines."""
        with self._news:
            self._news.wait_for(lambda: self._lines >= lines)
        assert self.process.poll() is None, "it has ended by itself"

    def kill(self) -> None:
        self.was_killed = True
        self.process.kill()
        self._ended(-9)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._ended(0)

    def _ended(self, code: int) -> None:
        self._reader.join()
        assert self.process.wait() == code
        assert self.process.stdout is not None
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()

    @property
    def in_flight(self) -> set[str]:
        """What the receiver got from it, and of which it is not known that this was durable when it was killed."""
        return set(self.said["taken"]) - set(self.said["sent"]) if self.was_killed else set()


class Node:
    """One of the two, over all its processes."""

    def __init__(self, database: str, number: int) -> None:
        self._database = database
        self._next = number * NUMBERS_A_NODE + 1
        self.processes: list[NodeProcess] = []
        self.accepted: set[str] = set()

    def start(self) -> None:
        """Start it (again), with the first number of which it is not known that it was accepted."""
        if self.processes:
            self.accepted.update(self.processes[-1].said["accepted"])
        while str(self._next) in self.accepted:
            self._next += 1
        self.processes.append(NodeProcess(self._database, self._next))


def _wait_until_taken_over(database: str) -> None:
    """Wait until only living nodes have anything."""
    began = time.monotonic()
    with psycopg.connect(database, autocommit=True) as sql:
        while sql.execute("SELECT count(*) FROM retrylab.nodes").fetchone() != (2,):
            assert time.monotonic() - began < PATIENCE_S, "nobody has taken over what a killed node had"
            time.sleep(0.1)


@pytest.mark.thorough
@pytest.mark.parametrize("kills", [1, thorough(2), pytest.param(50, marks=pytest.mark.slow)])
async def test_what_a_killed_node_had_is_sent_by_the_other_and_nothing_else_comes_twice(kills, dsn):
    random, nodes = Random(kills), [Node(dsn, 0), Node(dsn, 1)]
    for node in nodes:
        node.start()
    for _ in range(kills):
        node = random.choice(nodes)
        node.processes[-1].has_said(random.randrange(LINES_A_PROCESS))
        node.processes[-1].kill()
        node.start()
    for node in nodes:  # both are at work when the last of them take over
        node.processes[-1].has_said(1)
    _wait_until_taken_over(dsn)
    for node in nodes:
        node.processes[-1].end()

    processes = [each for node in nodes for each in node.processes]
    accepted = {number for each in processes for number in each.said["accepted"]}
    takers: defaultdict[str, list[NodeProcess]] = defaultdict(list)
    for each in processes:
        for number in each.said["taken"]:
            takers[number].append(each)
    assert len(accepted) > 100 * kills
    async with PostgresStore.open(dsn) as store:
        assert list(store.open_deliveries(0)) == []
        dead = {letter.notification_id for letter in store.dead_letters()}
    with psycopg.connect(dsn) as sql:
        known = {number for (number,) in sql.execute("SELECT notification_id FROM retrylab.notifications")}
    assert accepted <= known  # sent, or a dead letter: nothing is open
    assert accepted - dead <= takers.keys()
    assert dead >= {number for number in accepted if int(number) % 11 == 0}
    assert all(int(number) % 11 == 0 for number in dead)
    assert not dead & takers.keys()
    for number, by in takers.items():
        assert len(set(by)) == len(by), f"{number} was taken twice from one node"
        assert sum(number not in each.in_flight for each in by) <= 1, f"{number} was taken again although it was sent"
    twice = sum(len(by) - 1 for by in takers.values())
    assert twice <= sum(len(each.in_flight) for each in processes)
