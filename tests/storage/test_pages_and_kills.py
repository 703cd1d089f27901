"""What a disk may do to a file, and where a process may die: pages written to the wrong place or in part, and a kill at
any instruction of SQLite between the acknowledgement of a change and its commit.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from shelves import EPOCH_NS, command, event_of

from actors.errors import StoreError
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.storage.memory import MemoryStore
from actors.storage.sqlite import file as sqlite_file
from actors.storage.sqlite.reading import reading
from actors.storage.sqlite.store import SqliteStore

PAGE = 4096
IDS = [f"n{number}" for number in range(60)]


def changes_of(number: int) -> Iterator[tuple[Any, Any]]:
    """Yield what happens to one notification, some of each fate."""
    each = command(f"n{number}", message="x" * 300)
    yield event_of(NotificationRequested, each, number), each
    if number % 3 == 0:
        yield event_of(NotificationFailed, each, number), each
    if number % 4 == 1:
        yield event_of(NotificationSent, each, number), each
    elif number % 5 == 2:
        yield event_of(NotificationMovedToDeadLetter, each, number), each
        if number % 10 == 7:
            yield event_of(NotificationRedriven, each, number), each


def said_by(store: MemoryStore) -> dict[str, Any]:
    """Return all that a store says of what has not ended, and of dead letters."""
    return {
        "open": list(store.open_deliveries(EPOCH_NS)),
        "letters": list(store.dead_letters()),
        "suppressions": {each.key: each for each in store.suppressions},
    }


async def look(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the store in a file says, and which ids it remembers."""
    async with SqliteStore.open(path, busy_timeout=0) as store:
        if store.damaged:
            raise StoreError(f"{len(store.damaged)} are damaged")
        return said_by(store), {each: await store.recall(each, EPOCH_NS) for each in IDS}


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "store.db"

    async def fill() -> None:
        async with SqliteStore.open(path) as store:
            for number in range(len(IDS)):
                for event, each in changes_of(number):
                    await store.commit(event, each)()

    trio.run(fill)
    return path


def test_a_page_at_the_place_of_another_is_noticed_or_changes_nothing(sound, tmp_path):
    path, content, whole = tmp_path / "store.db", sound.read_bytes(), trio.run(look, sound)
    pages = len(content) // PAGE
    noticed = 0
    for to, of in Random(1).sample(list(permutations(range(1, pages), 2)), 40):
        changed = bytearray(content)
        changed[to * PAGE : (to + 1) * PAGE] = content[of * PAGE : (of + 1) * PAGE]
        with written(path, changed):
            try:
                assert trio.run(look, path) == whole, (to, of)
            except StoreError:
                noticed += 1
    assert noticed >= 20, "most of the pages are needed"


def test_a_page_of_which_only_a_part_was_written_is_noticed_or_changes_nothing(sound, tmp_path):
    """A half is from before: of an older version of the file, in which the second half of all had not happened."""
    path, content, whole = tmp_path / "store.db", sound.read_bytes(), trio.run(look, sound)
    older = bytearray(content)
    for page in range(1, len(content) // PAGE):
        torn = bytearray(content)
        for start in range(page * PAGE, (page + 1) * PAGE, 512):
            if start // 512 % 2:
                torn[start : start + 512] = bytes(512)
        older[page * PAGE : (page + 1) * PAGE] = torn[page * PAGE : (page + 1) * PAGE]
        with written(path, torn), contextlib.suppress(StoreError):
            assert trio.run(look, path) == whole, page
    with written(path, older), pytest.raises(StoreError):
        trio.run(look, path)


def test_who_only_reads_a_file_is_told_as_well(sound, tmp_path):
    path, changed = tmp_path / "store.db", bytearray(sound.read_bytes())
    with contextlib.closing(sqlite3.connect(sound)) as sql:
        leaves = [
            row[0]
            for row in sql.execute("SELECT pageno FROM dbstat WHERE name = 'notifications' AND pagetype = 'leaf'")
        ]
    first, second = ((page - 1) * PAGE for page in leaves[:2])
    changed[first : first + PAGE] = changed[second : second + PAGE]
    with written(path, changed), pytest.raises(StoreError, match="changed on the disk") as raised, reading(path):
        pass
    assert "\n" not in str(raised.value)


@contextlib.contextmanager
def written(path: Path, content: bytes | bytearray) -> Iterator[None]:
    path.write_bytes(content)
    try:
        yield
    finally:
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()


# ── kills ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Killing:
    """Copies the files of a store at some instructions of SQLite: what a process would leave that is killed there."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.copies: list[Path] = []
        self.every = 1
        self.instructions = 0
        self.is_on = False

    def look(self) -> int:
        """Count an instruction, and copy the files at some of them; SQLite calls it, and goes on."""
        if self.is_on:
            self.instructions += 1
            if self.instructions % self.every == 0:
                self.copy()
        return 0

    def copy(self, cut_wal: int | None = None) -> None:
        to = self.folder / f"{len(self.copies)}" / self.path.name
        to.parent.mkdir(parents=True)
        for suffix in ("", "-wal"):
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                shutil.copy(source, to.with_name(to.name + suffix))
        if cut_wal is not None:
            with to.with_name(to.name + "-wal").open("r+b") as wal:
                wal.truncate(cut_wal)
        self.copies.append(to)


def in_memory(changes) -> MemoryStore:
    memory = MemoryStore()
    for event, each in changes:
        memory.commit(event, each)
    return memory


@pytest.fixture
def killing(tmp_path, monkeypatch) -> Killing:
    killing = Killing(tmp_path / "store.db", tmp_path / "copies")
    set_up = sqlite_file.SqliteFile._set_up

    def watched(self: Any, connection: sqlite3.Connection) -> None:
        set_up(self, connection)
        if self.path == killing.path:
            connection.set_progress_handler(killing.look, 1)

    monkeypatch.setattr(sqlite_file.SqliteFile, "_set_up", watched)
    return killing


def killed(killing: Killing, every: int) -> tuple[list[Any], list[Any]]:
    """Write a batch over an earlier one, and have the files copied meanwhile; return what was acknowledged before, and
    what was under way."""
    before = [change for number in range(6) for change in changes_of(number)]
    # Requests, and ends of what was there before: each table is written.
    under_way = [change for number in range(6, 12) for change in changes_of(number)]
    under_way += [
        (event_of(NotificationSent, each, 99), each)
        for each in (command(f"n{number}", message="x" * 300) for number in (0, 3))
    ]

    async def write() -> None:
        async with SqliteStore.open(killing.path) as store:
            for event, each in before:
                await store.commit(event, each)()
            killing.every, killing.is_on = every, True
            durable = [store.commit(event, each) for event, each in under_way]
            assert not any(each.is_kept for each in durable), "none is acknowledged yet"
            for each in durable:
                await each()
            killing.is_on = False
            wal = killing.path.with_name(killing.path.name + "-wal")
            whole = wal.stat().st_size
            frames = range(whole - 24 - PAGE, 0, -24 - PAGE)
            for cut in {whole - 1, *frames[:8], *Random(2).sample(range(whole), 8)}:
                killing.copy(cut)  # the commit is one instruction, and many writes

    trio.run(write)
    return before, under_way


def test_a_kill_at_any_instruction_leaves_what_was_acknowledged_and_all_or_nothing_of_the_rest(killing):
    before, under_way = killed(killing, every=53)
    at_instructions = killing.instructions // 53
    assert at_instructions >= 10
    acknowledged, all_of_it = said_by(in_memory(before)), said_by(in_memory(before + under_way))
    found = []
    for number, copy in enumerate(killing.copies):
        said, _ = trio.run(look, copy)
        if number < at_instructions:  # later the log may be cut below what was acknowledged: that is no kill
            assert said in (acknowledged, all_of_it), number
        found.append(said == all_of_it)
    assert not all(found[:at_instructions])


def test_a_log_that_ends_anywhere_holds_a_beginning_of_what_was_committed(killing):
    before, under_way = killed(killing, every=10**9)
    # By which changes a beginning may end: after any transaction, which are those of the first batch one by one.
    beginnings = [said_by(in_memory(before[:end])) for end in range(len(before) + 1)]
    beginnings.append(said_by(in_memory(before + under_way)))
    whole = 0
    for copy in killing.copies:
        said, _ = trio.run(look, copy)
        assert said in beginnings, copy
        whole += said == beginnings[-1]
    assert whole < len(killing.copies)
