"""Two nodes on one PostgreSQL, of which one is frozen for longer than its lease, and then goes on.

What it had is sent by the other. When it wakes it sends none of that again, but for the attempts that had passed the
look at the lease at the instant of the freeze: those are counted.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psycopg
import pytest
from frozen_node import SLOTS

pytestmark = pytest.mark.integration

NODE = Path(__file__).with_name("frozen_node.py")
ROOT = NODE.parents[2]
PATIENCE_S = 120


class NodeProcess:
    """A node that runs, and its log."""

    def __init__(self, dsn: str, name: str, directory: Path, notifications: int) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        self._log.touch()
        argv = [sys.executable, str(NODE), dsn, name, str(self._log), str(notifications)]
        self._errors = (directory / f"{name}.err").open("w+")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(argv, env=environment, stderr=self._errors)

    def said(self, what: str) -> list[str]:
        """Return the notifications of which it has said something, in order."""
        lines = self._log.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith(f"{what} ")]

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def ended(self) -> str:
        """Wait until it has ended by itself; return what it has said of that."""
        assert self.process.wait(PATIENCE_S) == 1
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._errors.close()


def until(holds: Callable[[], object]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.02)


def until_none(sql: psycopg.Connection, where: str) -> None:
    """Wait until there is no such row."""
    until(lambda: sql.execute(f"SELECT FROM retrylab.{where} LIMIT 1".encode()).rowcount == 0)


def frozen_in_the_middle(
    sql: psycopg.Connection, frozen: NodeProcess, other: NodeProcess, due: int, random: Random
) -> tuple[int, int]:
    """Freeze a node, and wake it when the other one has taken over.

    Returns: how many came twice, and how many had passed the look at the lease when it was frozen and were not taken.
    """
    until(lambda: len(frozen.said("failed")) == due)
    at_least = random.randrange(due // 2)  # when it is in the middle of what is due, mostly
    until(lambda: len(frozen.said("begun")) >= at_least)
    frozen.freeze()
    begun, taken = frozen.said("begun"), frozen.said("taken")
    until_none(sql, f"nodes WHERE name = '{frozen.name}' AND NOT gone")
    if random.random() < 0.5:
        until_none(sql, "notifications WHERE state = 'open'")
    frozen.wake()
    assert "StoreFailed" in frozen.ended()
    until_none(sql, "notifications WHERE state = 'open'")
    passed = frozen.said("begun")
    assert len(passed) - len(begun) <= 1  # one may be between its look and the line that says so
    all_taken = frozen.said("taken")
    assert len(set(all_taken)) == len(all_taken)
    both = set(all_taken) & set(other.said("taken"))
    under_way = set(passed) - set(taken)
    # What had been taken comes again where that was not durable yet: no more than there are slots.
    assert len(both - under_way) <= SLOTS
    assert {f"{frozen.name}-{number}" for number in range(due)} <= {*all_taken, *other.said("taken")}
    return len(both), len(under_way)


@pytest.mark.parametrize(("trials", "due"), [(1, 100), pytest.param(10, 300, marks=pytest.mark.slow)])
def test_point_7_a_frozen_node_sends_nothing_twice_but_what_had_passed_its_look_at_the_lease(
    dsn, tmp_path, trials, due
):
    random, twice, passed = Random(trials), 0, 0
    other = NodeProcess(dsn, "other", tmp_path, 0)
    try:
        with psycopg.connect(dsn, autocommit=True) as sql:
            until(lambda: sql.execute("SELECT to_regclass('retrylab.schema_additions')").fetchone() != (None,))
            for trial in range(trials):
                frozen = NodeProcess(dsn, f"frozen{trial}", tmp_path, due)
                try:
                    found = frozen_in_the_middle(sql, frozen, other, due, random)
                finally:
                    frozen.close()
                twice, passed = twice + found[0], passed + found[1]
        assert len(set(other.said("taken"))) == len(other.said("taken"))
    finally:
        other.close()
    print(f"{twice} of {trials * due} came twice; {passed} had passed the look and were not taken when it was frozen")
