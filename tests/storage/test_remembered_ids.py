"""Remembered ids live in the store: memory has the latest of them, the transaction of an acceptance knows them all."""

import contextlib
import itertools
import sqlite3
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from shelves import EPOCH_NS, POSTGRES, REMEMBER_S, S, Shelf, command, event_of, shelf

from actors import Foreseen, Notifier
from actors.domain.attempts import Attempt, Provider
from actors.domain.codec import encode_command
from actors.domain.remembered_ids import RememberedIds
from actors.errors import IdempotencyConflict, Overtaken
from actors.messages import (
    DeadLetterDiscarded,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    SendNotification,
)
from actors.outcomes import Permanent, Sent
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from actors.pipeline.orders import Acceptance
from actors.storage import clock_steps, on_disk
from actors.storage.clock_steps import Clocks, ClockSteps
from actors.storage.memory import MemoryStore
from actors.storage.sqlite import store as sqlite_store
from actors.storage.sqlite.store import SqliteStore

CACHED = 3
HOUR_S, DAY_S = 3600, 86_400


@pytest.fixture(params=["sqlite", POSTGRES])
def kind(request) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else request.param


@pytest.fixture
def small_cache(monkeypatch) -> None:
    monkeypatch.setattr(on_disk, "CACHED_IDS", CACHED)


async def sends(made: Shelf, each: SendNotification, at_s: float = 0) -> None:
    await made.happens(NotificationRequested, each, at_s)
    await made.happens(NotificationSent, each, at_s)


async def known_of(made: Shelf, each: SendNotification, at_s: float) -> SendNotification | None:
    """Return what an acceptance is overtaken by; None: it is accepted."""
    try:
        await made.happens(NotificationRequested, each, at_s)
    except Overtaken as overtaken:
        assert each.notification_id not in made.open_ids  # nothing has happened
        return overtaken.known
    return None


def test_when_an_id_has_ended_last_is_known_by_the_clock_that_is_set():
    ahead_ns = 0
    ids = RememberedIds(1_000, ahead_ns=lambda: ahead_ns)
    for notification_id, now_ns in (("a", 10), ("b", 20), ("a", 30)):
        ids.add(command(notification_id), now_ns)
    ids.keep(command("dead"))
    assert [ids.ended_ns(each, 40) for each in ("a", "b", "dead", "never")] == [30, 20, None, None]
    ahead_ns = 500  # the clock has been set forward, and so it would have shown more then
    assert ids.ended_ns("b", 540) == 520


# ── a bounded cache before it ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("small_cache")
async def test_memory_has_few_of_what_has_ended_and_none_is_forgotten(kind, tmp_path):
    many = [command(f"n{number}", message=f"number {number}") for number in range(4 * CACHED)]
    async with shelf(kind, tmp_path) as made:
        for each in many:
            await sends(made, each)
        assert len(made.store.remembered) == CACHED
        for each in many:
            assert await made.recall(each.notification_id, 1) == each
            assert await known_of(made, command(each.notification_id, message="another"), 1) == each
        await made.open()
        assert len(made.store.remembered) == 0  # nothing is read at the start
        for each in many:
            assert await made.recall(each.notification_id, 1) == each
            assert await known_of(made, each, REMEMBER_S - 1) == each
            assert await known_of(made, each, REMEMBER_S) is None  # its time is up
        assert len(made.open_ids) == len(many)


@pytest.mark.usefixtures("small_cache")
async def test_an_id_is_known_in_the_batch_that_ends_it(kind, tmp_path):
    async with shelf(kind, tmp_path) as made:
        store, each = made.store, command("a")
        store.commit(event_of(NotificationRequested, each), each)
        store.commit(event_of(NotificationSent, each), each)
        again = store.commit(event_of(NotificationRequested, each, 1), each)
        with pytest.raises(Overtaken) as overtaken:
            await again()
        assert overtaken.value.known == each


@pytest.mark.usefixtures("small_cache")
async def test_one_that_is_known_leaves_out_no_other_of_its_batch(kind, tmp_path):
    async with shelf(kind, tmp_path) as made:
        old = [command(f"old{number}") for number in range(40)]
        for each in old:
            await sends(made, each)
        await made.open()
        new = [command(f"new{number}") for number in range(150)]
        mixed = [each for pair in itertools.zip_longest(new, old) for each in pair if each is not None]
        effects = [made.store.commit(event_of(NotificationRequested, each, 1), each) for each in mixed]
        for each, effect in zip(mixed, effects, strict=True):
            if each in old:
                with pytest.raises(Overtaken):
                    await effect()
            else:
                await effect()
        for _ in range(2):
            assert made.open_ids == [each.notification_id for each in new]
            await made.open()


@pytest.mark.usefixtures("small_cache")
async def test_a_dead_letter_is_known_however_many_have_ended_since(kind, tmp_path):
    dead = command("dead")
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, dead)
        await made.happens(NotificationMovedToDeadLetter, dead)
        for number in range(3 * CACHED):
            await sends(made, command(f"n{number}"))
        assert made.store.remembered.get("dead", EPOCH_NS) == dead
        await made.happens(NotificationRedriven, dead, 1)
        assert not await made.remembers("dead", 1)
        await made.happens(NotificationMovedToDeadLetter, dead, 2)
        await made.happens(DeadLetterDiscarded, dead, 3)
        await made.open()
        assert await known_of(made, dead, 4) == dead


class Receiver(Provider):
    """Takes everything but what it refuses."""

    def __init__(self, refuses: set[str] = frozenset()) -> None:
        self._refuses = refuses
        self.asked: list[str] = []
        self.taken: list[str] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        self.asked.append(attempt.command.notification_id)
        if self.asked[-1] in self._refuses:
            return Foreseen(0, Permanent(reason="bad"))
        self.taken.append(self.asked[-1])
        return Foreseen(0, Sent())


@pytest.mark.usefixtures("small_cache")
async def test_what_comes_again_is_answered_as_ever(kind, tmp_path):
    receiver, many = Receiver(), [command(f"n{number}") for number in range(4 * CACHED)]
    async with shelf(kind, tmp_path) as made, Notifier.open(providers=receiver, store=made.store) as notifier:
        for each in many:
            assert await notifier.send(each) is Acceptance.ACCEPTED
        await notifier.wait_until_quiet()
        for each in many:
            first, second = notifier.send(each), notifier.send(each)
            assert await first is Acceptance.DUPLICATE
            assert await second is Acceptance.DUPLICATE
            with pytest.raises(IdempotencyConflict):
                await notifier.send(command(each.notification_id, message="Something else"))
        assert notifier.in_flight == 0
        assert receiver.taken == [each.notification_id for each in many]


@pytest.mark.usefixtures("small_cache")
async def test_what_has_fallen_back_before_it_was_redriven_does_not_again(kind, tmp_path, caplog):
    """The id of the fallback is known to the store alone by then."""
    config = {
        "channels": {
            "email": {"fallback": {"channel": "sms"}, "circuit_breaker": {"enabled": False}},
            "sms": {},
        }
    }
    each = command("a", addresses={"sms": "+4930123456"}, expires_after=3600)  # of which less is left each time
    receiver = Receiver(refuses={"a"})
    async with shelf(kind, tmp_path) as made, Notifier.open(config, providers=receiver, store=made.store) as notifier:
        await notifier.send(each)
        await notifier.wait_until_quiet()
        for number in range(2 * CACHED):
            await notifier.send(command(f"n{number}"))
        await notifier.wait_until_quiet()
        taken = list(receiver.taken)
        assert await notifier.pipeline.dead_letter_queue.ask(
            RedriveDeadLetter(notification_id="a", served="include"), block=False
        )
        await notifier.wait_until_quiet()
        assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["a"]
        assert notifier.in_flight == 0
    assert receiver.asked.count("a") == 2
    assert receiver.taken == taken
    assert len(taken) == 1 + 2 * CACHED
    assert "not accepted" not in caplog.text


# ── clocks that are set ─────────────────────────────────────────────────────────────────────────────────────────────


class Machine:
    """A machine whose clocks are at hand."""

    def __init__(self) -> None:
        self.wall_ns, self.boot_ns, self.boots = EPOCH_NS, 5 * S, 0

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall_ns, lambda: self.boot_ns, f"boot {self.boots}")

    def passes(self, seconds: float, *, shown: float | None = None) -> None:
        """Let time pass, and the wall clock show that another time has."""
        self.boot_ns += round(seconds * S)
        self.wall_ns += round((seconds if shown is None else shown) * S)

    def starts_again(self, *, after: float, shown: float | None = None) -> None:
        """Let the machine be off for a while."""
        self.passes(after, shown=shown)
        self.boot_ns, self.boots = S, self.boots + 1

    @property
    def now_s(self) -> float:
        """What its wall clock shows, as the tests of the stores count."""
        return (self.wall_ns - EPOCH_NS) / S

    def shelf(self, path: Path) -> Shelf:
        def open_store():
            return SqliteStore.open(path / "store.db", remember_ids=HOUR_S, clocks=self.clocks)

        return Shelf(open_store, AsyncExitStack())


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def made(machine, tmp_path):
    made = machine.shelf(tmp_path)
    await made.open()
    yield made
    await made._stack.aclose()


@pytest.mark.parametrize("step_s", [10**6, -(10**6)])
@pytest.mark.parametrize("restarts", [False, True])
async def test_with_one_boot_the_boot_clock_decides(machine, made, step_s, restarts):
    each = command("a")
    await sends(made, each, machine.now_s)
    machine.passes(60, shown=60 + step_s)
    if restarts:
        await made.open()
    assert await made.recall("a", machine.now_s) == each
    assert await known_of(made, each, machine.now_s) == each
    await sends(made, command("b"), machine.now_s)
    machine.passes(HOUR_S - 61)
    assert await made.recall("a", machine.now_s) == each
    machine.passes(1, shown=1 - step_s)
    if restarts:
        await made.open()
    assert await made.recall("a", machine.now_s) is None
    assert await made.recall("b", machine.now_s) == command("b")
    machine.passes(60)
    assert await known_of(made, command("b"), machine.now_s) is None


@pytest.mark.parametrize(("off_s", "shown_s"), [(60, 60), (60, 10**6), (60, -(10**6)), (10**6, 10**6)])
async def test_after_another_boot_the_latest_ids_stay_whatever_their_age(machine, made, monkeypatch, off_s, shown_s):
    monkeypatch.setattr(sqlite_store, "KEPT_IDS", 3)
    many = [command(f"n{number}") for number in range(5)]
    for each in many:
        await sends(made, each, machine.now_s)
    await made._stack.aclose()
    machine.starts_again(after=off_s, shown=shown_s)
    await made.open()
    for _ in range(2):
        for each in many[-3:]:
            assert await known_of(made, each, machine.now_s) == each
        await made.open()
        machine.passes(HOUR_S / 2 - 1)
    for number in range(5):  # what comes pushes none of them out
        await sends(made, command(f"later{number}"), machine.now_s)
    for each in many[-3:]:
        assert await made.recall(each.notification_id, machine.now_s) == each
    machine.passes(3)
    for each in many:
        assert await known_of(made, each, machine.now_s) is None


async def test_a_file_of_the_release_before_has_its_latest_ids_kept(machine, made, tmp_path):
    await sends(made, command("a"), machine.now_s)
    await made._stack.aclose()
    with contextlib.closing(sqlite3.connect(made.store.path)) as sql, sql:
        sql.execute("DROP TABLE clock")
    sql.close()
    machine.passes(60, shown=10**6)
    await made.open()
    assert await known_of(made, command("a"), machine.now_s) == command("a")


@pytest.mark.integration
async def test_nodes_go_by_the_clock_of_the_database_when_theirs_is_set(postgres_url, tmp_path, monkeypatch):
    machine, each = Machine(), command("a")
    machine.wall_ns = time.time_ns()
    monkeypatch.setattr(clock_steps, "clocks_of_this_machine", lambda: machine.clocks)
    async with shelf(postgres_url, tmp_path) as made:
        await sends(made, each)
        machine.passes(0, shown=DAY_S)  # while it runs
        assert await known_of(made, each, DAY_S) == each
        machine.starts_again(after=0)
        await made.open()
        assert await made.recall("a", DAY_S) == each
        assert await known_of(made, each, DAY_S) == each
        assert await known_of(made, each, DAY_S + 2 * REMEMBER_S) is None


def test_a_store_in_memory_forgets_nothing_by_a_step_of_the_wall_clock(machine):
    steps = ClockSteps(machine.clocks)
    store = MemoryStore(remember_ids_ns=HOUR_S * S, ahead_ns=steps.ahead_ns)
    each = command("a")
    for kind in (NotificationRequested, NotificationSent):
        store.commit(event_of(kind, each, machine.now_s), each)
    machine.passes(60, shown=10**6)
    assert store.remembered.get("a", machine.wall_ns) == each
    machine.passes(HOUR_S - 60)
    assert store.remembered.get("a", machine.wall_ns) is None


def test_a_clock_that_is_slewed_is_not_set(machine):
    steps = ClockSteps(machine.clocks)
    for _ in range(9):
        machine.passes(100, shown=100.1)
        assert steps.ahead_ns() == 0
    machine.passes(100, shown=102)
    assert steps.ahead_ns() > S


def test_a_bounded_cache_drops_the_oldest_and_no_dead_letter():
    ids = RememberedIds(100, most=2)
    ids.keep(command("dead"))
    for number in range(5):
        ids.add(command(f"n{number}"), number)
    assert [name for name in ("dead", *(f"n{number}" for number in range(5))) if ids.get(name, 5)] == [
        "dead",
        "n3",
        "n4",
    ]
    assert ids.get("n3", 103) is None


# ── a million of them ───────────────────────────────────────────────────────────────────────────────────────────────

START = """
import sys, time, trio
from actors import SqliteStore
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
async def main():
    before, began = resident(), time.monotonic()
    async with SqliteStore.open(sys.argv[1]) as store:
        assert await store.recall("n7", 0) is not None
        print((resident() - before) / 1024, time.monotonic() - began)
trio.run(main)
"""


def fill(path: Path, count: int) -> None:
    """Write so many remembered ids into the file of a store."""
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        rows = (
            (number, f"n{number}", EPOCH_NS, encode_command(command(f"n{number}", message="x" * 600)))
            for number in range(1, count + 1)
        )
        sql.executemany("INSERT INTO remembered (seq, notification_id, ended_ns, command) VALUES (?, ?, ?, ?)", rows)
        sql.execute("DELETE FROM clock")  # as in another boot, which takes longest
    sql.close()


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
async def test_many_remembered_ids_cost_little_at_the_start(count, tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path):
        pass
    fill(path, count)
    done = subprocess.run([sys.executable, "-c", START, str(path)], check=True, capture_output=True, text=True)
    megabytes, seconds = map(float, done.stdout.split())
    print(f"{count:,} remembered ids: {megabytes:.0f} MB and {seconds:.2f} s at the start")
    assert megabytes < 20  # SQLite's own cache of pages, and its code, however many ids there are
