"""What happens to the file of a store behind its back: it is deleted, replaced, damaged, opened twice, or readable."""

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from console_command import app
from effort import examples
from hypothesis import HealthCheck, given, settings, strategies as st
from shelves import EPOCH_NS, Receiver, command, event_of, happens
from typer.testing import CliRunner

from actors import Notifier
from actors.domain.codec import Damaged, check_seal, decode_command, decode_event, encode_command, encode_event, seal
from actors.domain.notification_state import state_of
from actors.errors import StoreError, StoreFailed, StoreInUse, Unstorable
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.orders import Acceptance
from actors.storage.sqlite import batch as sqlite_batch
from actors.storage.sqlite.reading import reading
from actors.storage.sqlite.store import SqliteStore

A, B = command("a"), command("b", recipient="bob@example.org")
PATIENCE_S = 60


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "store.db"


async def sent_from(path: Path) -> list[str]:
    """Return the ids of what a notifier sends of what is in a store."""
    receiver = Receiver()
    async with SqliteStore.open(path) as store, Notifier.open(providers=receiver, store=store) as notifier:
        await notifier.wait_until_quiet()
    return receiver.taken


@contextlib.contextmanager
def sql_of(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        yield sql


# ── gone ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


GONE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": _replace,
    "log deleted": lambda path: path.with_name(path.name + "-wal").unlink(),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name(path.parent.name + " elsewhere")),
}


@pytest.mark.parametrize("how", GONE)
async def test_a_file_that_is_gone_ends_a_service_that_has_nothing_to_do(how, path):
    async def serve() -> None:
        async with SqliteStore.open(path) as store, Notifier.open(providers=Receiver(), store=store) as notifier:
            await notifier.send(A)
            await notifier.wait_until_quiet()
            GONE[how](path)
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE_S), pytest.raises(StoreFailed, match=r"store\.db cannot be written: .*was deleted"):
        await serve()


@pytest.mark.parametrize("how", GONE)
async def test_what_comes_when_the_file_is_gone_is_not_said_to_be_accepted(how, path):
    async def serve() -> None:
        async with SqliteStore.open(path) as store:
            await happens(store, NotificationRequested, A)
            GONE[how](path)
            with pytest.raises(StoreFailed, match="was deleted"):
                await happens(store, NotificationRequested, B)
            with pytest.raises(StoreFailed, match="was deleted"):
                await happens(store, NotificationRequested, command("c"))

    with pytest.raises(StoreFailed, match="was deleted"):
        await serve()


async def test_what_was_written_before_its_log_was_deleted_is_in_the_file_when_it_is_closed(path):
    async def serve() -> None:
        async with SqliteStore.open(path) as store:
            await happens(store, NotificationRequested, A)
            GONE["log deleted"](path)
            with pytest.raises(StoreFailed):
                await happens(store, NotificationRequested, B)

    with pytest.raises(StoreFailed, match=r"store\.db-wal, was deleted"):
        await serve()
    assert "a" in await sent_from(path)


# ── opened twice ────────────────────────────────────────────────────────────────────────────────────────────────────

OPENS = """
import sys, trio
from actors import SqliteStore
from actors.errors import StoreInUse
async def main():
    try:
        async with SqliteStore.open(sys.argv[1]):
            print("open")
    except StoreInUse as error:
        print("in use")
trio.run(main)
"""


def locks_on(path: Path) -> list[str]:
    """Return the kinds of locks that this process has on a file."""
    found, inode = [], path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(os.getpid()) and fields[5].rpartition(":")[2] == str(inode):
            found.append(f"{fields[1]} {fields[3]}")
    return sorted(found)


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the lock is on the file beside it alone")


@linux
@pytest.mark.parametrize("name", ["store.db", "hard link.db"])
async def test_a_lock_file_that_is_removed_lets_no_other_store_in(name, path):
    other = path.with_name(name)
    async with SqliteStore.open(path) as store:
        await happens(store, NotificationRequested, A)
        if other != path:
            os.link(path, other)
        path.with_name("store.db-lock").unlink()
        before = locks_on(path)
        assert "POSIX READ" in before  # by which SQLite keeps others from removing its log
        for _ in range(2):
            with pytest.raises(StoreInUse):
                async with SqliteStore.open(other):
                    pytest.fail("it is open")
        assert locks_on(path) == before
        await happens(store, NotificationSent, A)
    async with SqliteStore.open(path):
        pass


@linux
@pytest.mark.integration
async def test_a_lock_file_that_is_removed_lets_no_other_process_in(path):
    async with SqliteStore.open(path) as store:
        path.with_name("store.db-lock").unlink()
        done = await trio.run_process([sys.executable, "-c", OPENS, str(path)], capture_stdout=True)
        assert done.stdout == b"in use\n"
        await happens(store, NotificationRequested, A)
    done = subprocess.run([sys.executable, "-c", OPENS, str(path)], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"open\n"


# ── changed on the disk ─────────────────────────────────────────────────────────────────────────────────────────────

CHANGES: dict[str, str] = {
    "a command": "UPDATE notifications SET command = replace(CAST(command AS TEXT), 'ann@', 'eve@') "
    "WHERE notification_id = 'a'",
    "a command, as bytes": "UPDATE notifications SET command = CAST(replace(CAST(command AS TEXT), 'Hello', 'Spam!') "
    "AS BLOB) WHERE notification_id = 'a'",
    "another's command": "UPDATE notifications SET command = (SELECT command FROM notifications WHERE "
    "notification_id = 'dead') WHERE notification_id = 'a'",
    "its request": "UPDATE notifications SET requested = (SELECT requested FROM notifications WHERE "
    "notification_id = 'dead') WHERE notification_id = 'a'",
    "its order": "UPDATE notifications SET seq = 1000 WHERE notification_id = 'a'",
    "its id": "UPDATE notifications SET notification_id = 'x' WHERE notification_id = 'a'",
    "an event": "UPDATE history SET event = (SELECT event FROM history WHERE notification_id = 'dead') "
    "WHERE notification_id = 'a'",
    "an event's place": "UPDATE history SET notification_id = 'a' WHERE notification_id = 'dead'",
}


AS_THEY_ARE = (
    "SELECT seq, CAST(command AS BLOB), CAST(requested AS BLOB) FROM notifications WHERE notification_id IN ('a', 'x')"
)


async def filled(path: Path) -> None:
    async with SqliteStore.open(path) as store:
        dead = command("dead", recipient="dan@example.org")
        for each in (A, B, dead):
            await happens(store, NotificationRequested, each)
        for each in (A, dead):
            await happens(store, NotificationFailed, each, 1, next_retry_at_ns=0)
        await happens(store, NotificationMovedToDeadLetter, dead, 2)


@pytest.mark.parametrize("what", CHANGES)
async def test_what_was_changed_on_the_disk_is_not_sent_and_all_else_is(what, path, caplog):
    await filled(path)
    with sql_of(path) as sql:
        sql.execute(CHANGES[what])
        before = sql.execute(AS_THEY_ARE).fetchall()
    assert await sent_from(path) == ["b"]
    assert "is left as it is, and not sent" in caplog.text
    assert "changed on the disk" in caplog.text
    with sql_of(path) as sql:  # for an operator to look at
        assert sql.execute(AS_THEY_ARE).fetchall() == before
    async with SqliteStore.open(path) as store, Notifier.open(providers=Receiver(), store=store) as notifier:
        with pytest.raises(Unstorable, match="notification 'a' is in the store already, and cannot be sent: "):
            await notifier.send(A)
        assert await notifier.send(B) is Acceptance.DUPLICATE
    with reading(path) as reader:
        assert list(reader.open_deliveries(EPOCH_NS)) == []


async def test_an_id_whose_command_was_changed_on_the_disk_is_known_all_the_same(path):
    async with SqliteStore.open(path) as store, Notifier.open(providers=Receiver(), store=store) as notifier:
        await notifier.send(A)
        await notifier.wait_until_quiet()
    with sql_of(path) as sql:
        sql.execute("UPDATE remembered SET command = CAST(replace(CAST(command AS TEXT), 'Hello', 'Spam!') AS BLOB)")
    receiver = Receiver()
    async with SqliteStore.open(path) as store, Notifier.open(providers=receiver, store=store) as notifier:
        assert await notifier.send(A) is Acceptance.DUPLICATE
        with pytest.raises(StoreError, match="changed on the disk"):
            await store.recall("a", 0)
    assert receiver.taken == []


async def test_what_people_did_is_not_shown_when_it_was_changed_on_the_disk(path):
    await filled(path)
    async with SqliteStore.open(path) as store:
        await happens(store, NotificationRedriven, command("dead", recipient="dan@example.org"), 3, by="ann")
        await happens(store, NotificationSent, command("dead", recipient="dan@example.org"), 4)
        assert len(await store.audit_trail()) == 1
        assert await store.past("dead") is not None
        with sql_of(path) as sql:
            sql.execute("UPDATE audit SET entry = CAST(replace(CAST(entry AS TEXT), 'ann', 'eve') AS BLOB)")
            sql.execute("UPDATE closed SET events = CAST(replace(CAST(events AS TEXT), 'busy', 'lazy') AS BLOB)")
        with pytest.raises(StoreError, match="changed on the disk"):
            await store.audit_trail()
        with pytest.raises(StoreError, match="changed on the disk"):
            await store.past("dead")


async def test_rows_of_the_release_before_have_no_checksum_and_are_as_good(path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(sqlite_batch, "seal", lambda written, *place: written)
        await filled(path)
    assert sorted(await sent_from(path)) == ["a", "b"]


async def test_the_release_before_reads_and_writes_the_file(path):
    """It knows of no checksum, and of no table but those of the versions."""
    await filled(path)
    with sql_of(path) as sql:
        for written, requested in sql.execute("SELECT command, requested FROM notifications"):
            assert decode_command(written) in (A, B, command("dead", recipient="dan@example.org"))
            assert isinstance(decode_event(requested), NotificationRequested)
        c = command("c")
        row = (100, "c", encode_command(c), encode_event(event_of(NotificationRequested, c)))
        sql.execute("INSERT INTO notifications VALUES (?,?,?,?)", row)
        sql.execute(
            "INSERT INTO remembered (seq, notification_id, ended_ns, command) VALUES (?,?,?,?)",
            (101, "d", EPOCH_NS, encode_command(command("d"))),
        )
    assert sorted(await sent_from(path)) == ["a", "b", "c"]


PLACES = st.tuples(st.text() | st.none(), st.integers())


@given(metadata=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=20), place=PLACES, other=PLACES)
def test_a_seal_is_of_its_place_and_changes_nothing_that_is_read(metadata, place, other):
    each = command("a", metadata=metadata)
    sealed = seal(encode_command(each), *place)
    assert decode_command(sealed) == each
    check_seal(sealed, *place)
    if other != place:
        with pytest.raises(Damaged):
            check_seal(sealed, *other)


@given(st.data())
def test_one_byte_that_is_another_breaks_a_seal_or_changes_nothing_that_is_read(data):
    event = event_of(NotificationFailed, A, answer="450 busy", hedges=1, given_up="enough", provider="p")
    sealed = bytearray(seal(encode_event(event), "a", 7))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        check_seal(bytes(sealed), "a", 7)
        assert decode_event(bytes(sealed)) == event
    except ValueError:
        pass


# ── damaged files ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Return a file with some of everything."""
    path = tmp_path_factory.mktemp("sound") / "store.db"

    async def fill() -> None:
        await filled(path)
        async with SqliteStore.open(path) as store:
            for number in range(20):
                each = command(f"n{number}", message="x" * 300)
                await happens(store, NotificationRequested, each)
                if number % 2:
                    await happens(store, NotificationSent, each)

    trio.run(fill)
    return path


def look(path: Path) -> dict[str, SendNotification]:
    """Return what would be sent from a file; of a file that cannot be used nothing.

    Raises:
        anything but a StoreError of one line.
    """

    async def look() -> dict[str, SendNotification]:
        async with SqliteStore.open(path, busy_timeout=0) as store:
            for number in range(20):
                with contextlib.suppress(StoreError):
                    known = await store.recall(f"n{number}", EPOCH_NS)
                    assert known in (None, command(f"n{number}", message="x" * 300))
            found = {each.command.notification_id: each.command for each in store.open_deliveries(EPOCH_NS)}
            with contextlib.suppress(StoreFailed):
                for kind in (NotificationRequested, NotificationSent):
                    await happens(store, kind, command("new"))
            return found

    try:
        with reading(path):
            pass
        return trio.run(look)
    except StoreError as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said
    return {}


def sound_or_nothing(path: Path) -> None:
    originals = {"a": A, "b": B, "dead": command("dead", recipient="dan@example.org")}
    originals |= {f"n{number}": command(f"n{number}", message="x" * 300) for number in range(20)}
    for notification_id, each in look(path).items():
        assert each == originals[notification_id]


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_that_are_others_are_told_in_a_line_or_change_nothing_that_is_sent(sound, changes, caplog):
    content = bytearray(sound.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        path.write_bytes(content)
        sound_or_nothing(path)
    assert not [record for record in caplog.records if record.exc_info]
    caplog.clear()


PAGE = 4096


@pytest.mark.parametrize("how", ["truncated", "zeroed page", "page of another", "noise", "empty", "header only"])
def test_a_damaged_file_is_told_in_a_line_or_changes_nothing_that_is_sent(how, sound, path, caplog):
    whole = sound.read_bytes()
    for start in range(0, len(whole), PAGE if how != "empty" else 10**9):
        content = bytearray(whole)
        match how:
            case "truncated":
                del content[start + 100 :]
            case "zeroed page":
                content[start : start + PAGE] = bytes(PAGE)
            case "page of another":
                content[start : start + PAGE] = content[-PAGE:]
            case "noise":
                content[start : start + PAGE] = bytes((7 * byte + 13) % 251 for byte in range(PAGE))
            case "empty":
                content.clear()
            case "header only":
                del content[100:]
        path.write_bytes(content)
        sound_or_nothing(path)
        for left in path.parent.glob("store.db*"):
            left.unlink()
    assert not [record for record in caplog.records if record.exc_info]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda path: path.mkdir(), "wanted a file, got a folder"),
    "a named pipe": (_fifo, "wanted a file, got a named pipe"),
    "a loop": (lambda path: path.symlink_to(path), "[Ss]ymlink loop|symbolic links"),
    "under a file": (
        lambda path: path.parent.joinpath("file").write_text(""),
        "Not a directory|no folder|no such file",
    ),
    "in no folder": (lambda path: None, "there is no folder .*nowhere|no such file"),
    "too long a name": (lambda path: None, "File name too long"),
    "text": (lambda path: path.write_text("Dear diary, " * 999), "file is not a database"),
    "another program's": (lambda path: _bookmarks(path), "it is the database of another program"),
}


def _bookmarks(path: Path) -> None:
    with sql_of(path) as sql:
        sql.execute("CREATE TABLE bookmarks (url TEXT)")


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("opens", ["a store", "a reader"])
def test_what_is_no_file_of_a_store_is_said_in_a_line(what, opens, path):
    make, match = ODD[what]
    make(path)
    elsewhere = {"under a file": "file/store.db", "in no folder": "nowhere/store.db", "too long a name": "x" * 300}
    path = path.parent / elsewhere.get(what, path.name)

    async def open_store() -> None:
        async with SqliteStore.open(path):
            pytest.fail("it is open")

    def open_reader() -> None:
        with reading(path):
            pytest.fail("it is open")

    before = path.read_bytes() if os.path.isfile(path) else None
    with pytest.raises(StoreError, match=match) as raised:
        open_reader() if opens == "a reader" else trio.run(open_store)
    assert "\n" not in str(raised.value)
    assert before == (path.read_bytes() if os.path.isfile(path) else None)
    if os.path.isfile(path):  # what is not ours is left alone
        assert stat.S_IMODE(path.stat().st_mode) & 0o077


SERVICE = """
listen: 127.0.0.1:0
store: {sqlite: store.db}
tokens: [{name: shop, role: ingest, secret: {env: SHOP_TOKEN}}]
transports: {email: {simulated: true}}
channels: {email: {}}
"""


@pytest.mark.parametrize("what", ["a folder", "a named pipe", "a loop", "text"])
def test_the_commands_say_in_a_line_what_is_no_file_of_a_store(what, path, monkeypatch, caplog):
    make, match = ODD[what]
    make(path)
    service = path.with_name("service.yaml")
    service.write_text(SERVICE)
    monkeypatch.setenv("SHOP_TOKEN", "0123456789abcdef" * 3)
    for argv in (["serve", str(service)], ["dlq", "list", "--store", f"sqlite:{path}"]):
        result = CliRunner().invoke(app, argv)
        assert isinstance(result.exception, SystemExit)
        (line,) = [each for each in result.output.splitlines() if "Python 3." not in each]  # it may be too old
        assert "store" in line
        assert re.search(match, line)
    assert not [record for record in caplog.records if record.exc_info]


# ── its owner's alone ───────────────────────────────────────────────────────────────────────────────────────────────


def modes(path: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob(path.name + "*")}


async def test_files_are_their_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        async with SqliteStore.open(path) as store:
            await happens(store, NotificationRequested, A)
            assert modes(path).keys() >= {"store.db", "store.db-wal", "store.db-shm", "store.db-lock"}
            with reading(path):
                assert set(modes(path).values()) == {0o600}
    finally:
        os.umask(before)


async def test_files_that_were_open_to_others_are_closed_to_them_with_a_warning(path, caplog):
    await filled(path)
    for each in path.parent.glob("store.db*"):
        each.chmod(0o664)
    async with SqliteStore.open(path) as store:
        await happens(store, NotificationRequested, command("c"))
        assert set(modes(path).values()) == {0o600}
    assert "store.db was open to others (mode 0664), and is its owner's alone now" in caplog.text
    caplog.clear()
    async with SqliteStore.open(path):
        pass
    assert "open to others" not in caplog.text


async def test_how_something_ended_is_not_known_where_the_release_before_wrote_it(tmp_path):
    path = tmp_path / "n.db"
    async with SqliteStore.open(path) as store:
        for kind in (NotificationRequested, NotificationSuppressed):
            await store.commit(event_of(kind, command("a"), 1), command("a"))()
    with contextlib.closing(sqlite3.connect(path)) as sql:
        sql.execute("ALTER TABLE remembered DROP COLUMN ended_as")
    with reading(path) as reader:
        assert await reader.ended_as("a", EPOCH_NS) is None
    async with SqliteStore.open(path) as store:
        assert await store.ended_as("a", EPOCH_NS) is None
        assert (await state_of(store, "a", EPOCH_NS)).state == "ended"
        for kind in (NotificationRequested, NotificationSuppressed):
            await store.commit(event_of(kind, command("b"), 1), command("b"))()
    with reading(path) as reader:
        assert await reader.ended_as("a", EPOCH_NS) is None
        assert await reader.ended_as("b", EPOCH_NS) == "suppressed"
