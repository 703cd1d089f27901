"""A node that is started under the name of another one takes over from a dead one, and leaves a living one alone."""

import pytest
import trio
from shelves import command, event_of, execute, until

from actors import PostgresStore
from actors.errors import StoreError, StoreFailed, StoreInUse
from actors.messages import NotificationRequested
from actors.storage.postgres import opening as postgres_opening, worker as postgres_worker

pytestmark = pytest.mark.integration

A = command("a")


def opened(dsn: str, **options):
    return PostgresStore.open(dsn, node="one", lease=1, **{"replace": False, **options})


async def test_point_8_a_living_node_stays_and_the_second_says_who_it_is_and_since_when(dsn):
    async with opened(dsn) as store:
        await store.commit(event_of(NotificationRequested, A), A)()
        with pytest.raises(StoreInUse, match=r"^node 'one' is alive: process \d+ on .+ since 20\d\d-.*; --replace has"):
            async with opened(dsn):
                pytest.fail("it is open")
        assert store.lease_holds()
    async with opened(dsn) as store:
        assert list(store.open_ids()) == ["a"]


async def test_point_8_a_dead_node_is_taken_over_after_two_looks_and_not_when_its_lease_ends(dsn, monkeypatch):
    """One that was killed: its row is there, with a lease that holds for an hour, and nothing renews it."""
    async with PostgresStore.open(dsn, node="one", lease=3600) as store:
        await store.commit(event_of(NotificationRequested, A), A)()
        monkeypatch.setattr(postgres_worker, "release", lambda *_: None)
    monkeypatch.undo()
    [(left,)] = execute(dsn, "SELECT lease_until > clock_timestamp() + interval '1000 s' FROM retrylab.nodes")
    assert left
    async with opened(dsn) as store:
        assert list(store.open_ids()) == ["a"]


@pytest.mark.parametrize("replace", [False, True])
async def test_point_8_a_lease_that_is_over_is_not_looked_at_twice(dsn, replace, monkeypatch):
    monkeypatch.setattr(postgres_opening, "LOOK_AT_NAMESAKE", 1e9)
    async with opened(dsn):
        monkeypatch.setattr(postgres_worker, "release", lambda *_: None)
    execute(dsn, "UPDATE retrylab.nodes SET lease_until = clock_timestamp()")
    async with opened(dsn, replace=replace):
        pass


async def test_point_8_two_that_are_started_at_once_do_not_both_have_the_name(dsn):
    outcomes: list[object] = []

    async def start() -> None:
        try:
            async with opened(dsn):
                outcomes.append("open")
                await until(lambda: len(outcomes) == 3)
        except StoreInUse:
            outcomes.append("in use")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(start)
    assert sorted(map(str, outcomes)) == ["in use", "in use", "open"]


async def test_point_8_one_that_is_replaced_is_asked_to_drain_and_keeps_its_name_until_it_has_ended(dsn):
    asked_by: list[str] = []
    replaced, drained = trio.Event(), trio.Event()

    def ask(by: str) -> None:
        asked_by.append(by)
        replaced.set()

    async def replace() -> None:
        async with opened(dsn, replace=True) as store:
            assert drained.is_set()
            assert list(store.open_ids()) == ["a"]

    async with trio.open_nursery() as nursery, opened(dsn, when_replaced=ask) as store:
        nursery.start_soon(replace)
        await replaced.wait()
        await store.commit(event_of(NotificationRequested, A), A)()
        drained.set()
    assert len(asked_by) == 1
    assert "process" in asked_by[0]


async def test_point_8_one_that_cannot_be_asked_is_not_replaced(dsn):
    async with opened(dsn):
        with pytest.raises(StoreInUse, match="cannot be asked to end"):
            async with opened(dsn, replace=True):
                pytest.fail("it is open")


async def test_point_8_who_waits_for_another_to_end_can_be_cancelled(dsn):
    asked = trio.Event()
    async with opened(dsn, when_replaced=lambda by: asked.set()), trio.open_nursery() as nursery:

        async def replace() -> None:
            async with opened(dsn, replace=True):
                pytest.fail("it is open")

        nursery.start_soon(replace)
        await asked.wait()
        nursery.cancel_scope.cancel()


async def test_without_saying_so_a_node_takes_the_name_of_a_living_one_which_ends(dsn):
    with trio.fail_after(60), pytest.raises(StoreFailed, match="has lost its lease"):
        await _be_taken_over(dsn)


async def _be_taken_over(dsn: str) -> None:
    async with opened(dsn, replace=None) as store, opened(dsn, replace=None):
        await until(lambda: store._failure is not None)
    raise StoreError("it has not failed")
