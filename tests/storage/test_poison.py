"""A notification whose attempt ends the process is dead-lettered in the end; all others are sent, none is blamed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shelves import command, happens

from actors.domain.caution import Caution
from actors.errors import StoreFailed
from actors.messages import NotificationDeferred, NotificationFailed, NotificationRequested
from actors.storage.postgres.store import PostgresStore
from actors.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("poisoned_service.py")
REASON = "its process has ended three times while nothing else was being sent"


def live(store: str, notifications: int, *poison: str) -> list[str]:
    """Run a service until it ends; return what it said."""
    argv = [sys.executable, str(SERVICE), store, str(notifications), *poison]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=120, check=False).stdout.splitlines()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("poisons", "poison"),
    [
        (1, ()),
        pytest.param(3, (), marks=pytest.mark.slow),
        pytest.param(1, ("template",), marks=pytest.mark.slow),
        pytest.param(3, ("template",), marks=pytest.mark.slow),
    ],
)
async def test_poison_is_dead_lettered_and_no_one_else_is(poisons, poison, tmp_path):
    path, said = tmp_path / "store.db", []
    while not said or said[-1] != "quiet":
        said += live(str(path), 20 * poisons if not said else 0, *poison)
        assert 1 <= said.count("started") <= 3 + 4 * poisons, said
    sent = [line.split()[1] for line in said if line.startswith("sent")]
    async with SqliteStore.open(path) as store:
        letters = {letter.notification_id: letter.failure_reason for letter in store.dead_letters()}
        assert list(store.open_deliveries(0)) == []
    assert letters == {f"poison-{20 * number + 7}": REASON for number in range(poisons)}
    assert set(sent) == {str(number) for number in range(20 * poisons) if number % 20 != 7}


@pytest.mark.slow
async def test_poison_goes_from_node_to_node_and_is_dead_lettered(dsn):
    said = live(dsn, 20)
    while said[-1] != "quiet":
        assert said.count("started") <= 6, said
        said += live(dsn, 0)
    sent = [line.split()[1] for line in said if line.startswith("sent")]
    async with PostgresStore.open(dsn) as store:
        letters = {letter.notification_id: letter.failure_reason for letter in store.dead_letters()}
        assert list(store.open_deliveries(0)) == []
    assert letters == {"poison-7": REASON}
    assert set(sent) == {str(number) for number in range(20) if number != 7}


NOT_TRIED = ((NotificationDeferred, {}), (NotificationFailed, {"refused": True}))


@pytest.mark.parametrize(("kind", "fields"), NOT_TRIED)
async def test_what_is_not_tried_is_as_suspect_as_before(kind, fields, tmp_path):
    async with SqliteStore.open(tmp_path / "one.db") as one:
        for name in "ab":
            await happens(one, NotificationRequested, command(name))
        copied(tmp_path / "one.db", tmp_path / "two.db")
    async with SqliteStore.open(tmp_path / "two.db") as two:
        await two.mark("a", alone=True)()
        copied(tmp_path / "two.db", tmp_path / "three.db")
    async with SqliteStore.open(tmp_path / "three.db") as three:
        assert three.cautions == {"a": Caution(1, 1), "b": Caution()}
        for name in "ab":
            await happens(three, kind, command(name), **fields)
            await three.mark(name, alone=name == "a")()
        copied(tmp_path / "three.db", tmp_path / "four.db")
    async with SqliteStore.open(tmp_path / "four.db") as four:
        assert four.cautions == {"a": Caution(2, 2), "b": Caution(1, 0)}


def copied(path: Path, to: Path) -> None:
    """Copy the file of a store as it is while a process has it open: what the next one finds if that dies now."""
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{to}{suffix}")


async def test_on_postgresql_a_death_is_counted_once_for_what_was_alone(dsn):
    async with PostgresStore.open(dsn, node="one", lease=1.0) as one:
        for name in "abc":
            await happens(one, NotificationRequested, command(name))
    with pytest.raises(StoreFailed, match="lost its lease"):
        await die_twice(dsn)


async def die_twice(dsn):
    """Have a node believed dead that is not: it finds out when it writes."""
    async with PostgresStore.open(dsn, node="two") as two:
        assert two.cautions == dict.fromkeys("abc", Caution())
        for name, (kind, fields) in zip("ab", NOT_TRIED, strict=True):  # which ends nothing
            await happens(two, kind, command(name), **fields)
        await two.mark("a", alone=False)()
        await two.mark("b", alone=True)()
        # A node of the same name is sure that this one has ended.
        async with PostgresStore.open(dsn, node="two") as three:
            assert three.cautions == {"a": Caution(1, 0), "b": Caution(1, 1), "c": Caution()}
        async with PostgresStore.open(dsn, node="two") as four:  # three has ended by itself
            assert four.cautions == {"a": Caution(1, 0), "b": Caution(1, 1), "c": Caution()}
        await two.mark("c", alone=True)()


@pytest.mark.thorough
async def test_a_process_that_ends_by_itself_leaves_nothing_to_be_careful_with(tmp_path):
    path = tmp_path / "store.db"
    assert live(str(path), 5)[-1] == "quiet"
    async with SqliteStore.open(path) as store:
        assert store.cautions == {}
