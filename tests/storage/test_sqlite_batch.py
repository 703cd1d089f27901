"""A batch of a store in SQLite: what it writes does not depend on how it is cut into statements, and these are few."""

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from shelves import S, command, event_of

from actors.domain.codec import encode_command
from actors.messages import NotificationEvent, NotificationFailed, NotificationRequested, NotificationSent
from actors.storage.memory import Entry
from actors.storage.sqlite.batch import Retention, SqliteBatch, SqliteChange
from actors.storage.sqlite.file import SqliteFile
from actors.storage.sqlite.reading import RememberedRows

TTL_NS = 100 * S


class Written:
    """A file into which batches are written."""

    def __init__(self, path: Path, *, has_closed: bool = False) -> None:
        self.file = SqliteFile(path)
        self.retention = Retention(RememberedRows(TTL_NS), TTL_NS, frozenset([""] * has_closed))
        self.sql = self.file.connection
        self.statements: list[str] = []
        self.sql.set_trace_callback(self.statements.append)
        self._numbers = count(1)

    def write(
        self, kind: type[NotificationEvent], ids: list[str], at_s: float, with_history: Collection[str] = ()
    ) -> set[str]:
        """Write a batch in which the same happens to some; return the ids that were known."""
        batch = SqliteBatch(self._numbers, 0)
        for each in ids:
            event = event_of(kind, command(each), at_s)
            before = Entry(command(each), 0, 0, later=[event] if each in with_history else None)
            written = encode_command(command(each)) if kind is NotificationRequested else b""
            at_ns = event.epoch_ns + event.at_ns
            batch.add(SqliteChange(event, command(each), before, at_ns, written, steady_ns=at_ns))
        self.statements.clear()
        self.sql.execute("BEGIN")
        batch.write(self.sql, self.retention)
        self.sql.execute("COMMIT")
        return {change.event.notification_id for change in batch.overtaken}

    def accept(self, ids: list[str], at_s: float = 0) -> set[str]:
        return self.write(NotificationRequested, ids, at_s)

    def fail(self, ids: list[str]) -> None:
        self.write(NotificationFailed, ids, 0)

    def end(self, ids: list[str], *, with_history: set[str], at_s: float = 0) -> None:
        self.write(NotificationSent, ids, at_s, with_history)

    def ids_in(self, table: str) -> list[str]:
        return [each for (each,) in self.sql.execute(f"SELECT notification_id FROM {table} ORDER BY seq")]


@contextlib.contextmanager
def opened(*, has_closed: bool = False) -> Iterator[Written]:
    with tempfile.TemporaryDirectory() as directory:
        written = Written(Path(directory) / "store.db", has_closed=has_closed)
        try:
            yield written
        finally:
            written.file.close()


@given(st.integers(1, 400), st.data())
def test_what_is_accepted_fails_and_ends_together_is_what_each_would_be_alone(count, data):
    ids = [f"n{number}" for number in range(count)]
    some = st.sets(st.sampled_from(ids))
    known, failed = data.draw(some), data.draw(some)
    with opened() as written:
        written.accept(sorted(known))
        written.end(sorted(known), with_history=set())
        assert written.accept(ids) == known
        accepted = [each for each in ids if each not in known]
        assert written.ids_in("notifications") == accepted
        with_history = failed - known
        written.fail(sorted(with_history))
        assert set(written.ids_in("history")) == with_history
        written.end(accepted[1:], with_history=with_history)
        assert written.ids_in("notifications") == accepted[:1]
        assert written.ids_in("history") == [each for each in accepted[:1] if each in with_history]
        assert set(written.ids_in("remembered")) == known | set(accepted[1:])


@pytest.mark.parametrize("has_closed", [False, True])
@pytest.mark.parametrize("count", [1, 17, 35, 127, 128, 110, 511])
def test_a_batch_takes_few_statements(count, has_closed):
    """At most one of each size below 128 rows, for each of four kinds, beside one for each 128 rows.

    Where people have acted on some, an acceptance takes one kind more.
    """
    ids = [f"n{number}" for number in range(count)]
    with opened(has_closed=has_closed) as written:
        for number in range(2):
            mine = [f"{each}-{number}" for each in ids]
            written.accept(mine)
            of_acceptance = len(written.statements)
            written.end(mine, with_history=set(mine))
            most = count // 128 + (count % 128).bit_count()
            assert of_acceptance <= 2 + (3 if has_closed else 2) * most
            assert len(written.statements) <= 3 + 3 * most


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_old_ids_go_by_their_age_the_oldest_first_and_two_for_each_that_comes(ages_s):
    """However many ended at an instant: none goes before its time, and what is due becomes fewer with each new one."""
    at_s = sorted(ages_s)
    with opened() as written:
        for number, instant_s in enumerate(at_s):
            each = f"n{number}"
            before = written.ids_in("remembered")
            written.accept([each], instant_s)
            written.end([each], with_history=set(), at_s=instant_s)
            due = [old for old in before if (at_s[int(old[1:])] + 100) <= instant_s]
            assert written.ids_in("remembered") == [old for old in before if old not in due[:2]] + [each]
