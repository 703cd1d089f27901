"""Services with a long line behind a slow provider, killed again and again: what waits goes on at a pace."""

import subprocess
import sys
import threading
import time
from bisect import bisect_left
from pathlib import Path
from random import Random

import psycopg
import pytest
import trio
from service_parts import opened_store

from actors.policies.resuming import Ceiling
from actors.settings.breaker import CircuitBreakerConfig

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("backlog_service.py")
NUMBERS = 10**6
CEILING = Ceiling(CircuitBreakerConfig()).per_s(0.0)
PATIENCE_S = 900
ORPHANED = """
    SELECT count(*) FROM retrylab.notifications LEFT JOIN retrylab.nodes ON token = owner
    WHERE state = 'open' AND (token IS NULL OR gone OR lease_until < clock_timestamp())
"""


class Life:
    def __init__(self, store: str, first: int, count: int) -> None:
        argv = [sys.executable, str(SERVICE), store, str(first), str(count)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[list[str]] = []
        self._has_started = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.lines.append(line.split())
                if line == "started\n":
                    self._has_started.set()
        self._has_started.set()

    def wait_until_started(self) -> None:
        assert self._has_started.wait(PATIENCE_S)
        assert self.process.poll() is None, "it has ended by itself"

    def kill(self) -> None:
        self.process.kill()
        self._join()

    def finish(self) -> None:
        """Let it end by itself once it has sent all that it has."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._join()
        assert self.lines[-1] == ["quiet"]

    def _join(self) -> None:
        assert self.process.wait(PATIENCE_S) is not None
        self._reader.join(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def said(self, what: str) -> list[str]:
        return [line[1] for line in self.lines if line[0] == what]


def wait_until_taken_over(dsn: str) -> None:
    """Wait until the nodes that run have all that the killed ones had: one that has nothing of its own would end."""
    time.sleep(4)  # longer than a lease
    until = time.monotonic() + PATIENCE_S
    with psycopg.connect(dsn, autocommit=True) as sql:
        while sql.execute(ORPHANED).fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.5)


async def check_ended(path: str, notification_ids: set[str]) -> None:
    """Check that nothing in a store has not ended, and that these have."""
    async with opened_store(path) as store:
        assert list(store.open_deliveries(0)) == []
        assert list(store.dead_letters()) == []
        for notification_id in notification_ids:
            assert await store.recall(notification_id, time.time_ns()) is not None, notification_id


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("nodes", "kills", "backlog"),
    [
        (1, 2, 60),
        pytest.param(1, 50, 5000, marks=pytest.mark.slow),
        pytest.param(2, 50, 5000, marks=pytest.mark.slow),
    ],
)
def test_a_backlog_survives_kills_and_goes_on_at_a_pace(nodes, kills, backlog, tmp_path, request):
    store = str(tmp_path / "store.db") if nodes == 1 else request.getfixturevalue("dsn")
    random = Random(kills)
    running = [Life(store, node * NUMBERS, backlog // nodes) for node in range(nodes)]
    lives = list(running)
    for kill in range(kills):
        for life in running:
            life.wait_until_started()
        time.sleep(random.uniform(0.2, 3.0))
        number = kill % nodes
        running[number].kill()
        running[number] = Life(store, (nodes + kill) * NUMBERS, 0)
        lives.append(running[number])
    if nodes > 1:
        wait_until_taken_over(store)
    for life in running:
        life.finish()
    accepted = {number for life in lives for number in life.said("accepted")}
    sent = [number for life in lives for number in life.said("sent")]
    begun = sorted(float(line[2]) for life in lives for line in life.lines if line[0] == "begun")
    most = max(bisect_left(begun, start + 1) - place for place, start in enumerate(begun))
    all_begun = [number for life in lives for number in life.said("begun")]
    twice = len(all_begun) - len(set(all_begun))
    letters = {number for life in lives for number in life.said("letter")}
    print(
        f"{len(accepted):,} accepted over {kills} kills of {nodes} nodes, {len(set(sent)):,} sent, "
        f"{twice} begun again, {most} in a second at most, {len(letters)} dead letters"
    )
    assert len(accepted) >= backlog
    assert accepted <= set(all_begun)
    trio.run(check_ended, store, accepted - set(sent))  # whose process was killed before it said so
    assert not letters
    assert not any(line == ["opened"] for life in lives for line in life.lines)
    assert most <= CEILING * nodes
    assert twice <= kills  # one is at the provider at a time
