"""Services with a long line behind a slow provider, killed again and again: what waits goes on at a pace."""

import time
from bisect import bisect_left
from random import Random

import psycopg
import pytest
import trio
from lives import PATIENCE_S, Life
from service_parts import opened_store

from actors.policies.resuming import Ceiling
from actors.settings.breaker import CircuitBreakerConfig

pytestmark = pytest.mark.integration

NUMBERS = 10**6
CEILING = Ceiling(CircuitBreakerConfig()).per_s(0.0)
ORPHANED = """
    SELECT count(*) FROM retrylab.notifications LEFT JOIN retrylab.nodes ON token = owner
    WHERE state = 'open' AND (token IS NULL OR gone OR lease_until < clock_timestamp())
"""


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
    running = [Life("backlog", store, node * NUMBERS, backlog // nodes) for node in range(nodes)]
    lives = list(running)
    for kill in range(kills):
        for life in running:
            life.heard("started")
        time.sleep(random.uniform(0.2, 3.0))
        number = kill % nodes
        running[number].kill()
        running[number] = Life("backlog", store, (nodes + kill) * NUMBERS, 0)
        lives.append(running[number])
    if nodes > 1:
        wait_until_taken_over(store)
    for life in running:
        life.end()
        assert life.lines[-1] == "quiet"
    accepted = {number for life in lives for number in life.said("accepted")}
    sent = [number for life in lives for number in life.said("sent")]
    all_begun, instants = zip(*(line.split() for life in lives for line in life.said("begun")), strict=True)
    begun = sorted(map(float, instants))
    most = max(bisect_left(begun, start + 1) - place for place, start in enumerate(begun))
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
    assert not any(life.said("opened") for life in lives)
    assert most <= CEILING * nodes
    assert twice <= kills  # one is at the provider at a time
