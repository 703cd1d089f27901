"""What every store says of which dead letters are served, both as it happened and after the store was opened again."""

import contextlib
import sqlite3
from typing import Any

import pytest
from shelves import REMEMBER_S, Shelf, command, shelf

from actors.messages import (
    DeadLetterDiscarded,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.storage.sqlite.reading import reading
from actors.storage.sqlite.store import SqliteStore

FIRST, SECOND, THIRD = command("n"), command("n/sms"), command("n/sms/push")


async def dies(made: Shelf, which: Any) -> None:
    await made.happens(NotificationMovedToDeadLetter, which, 1)


async def falls_back(made: Shelf, which: Any, first: Any) -> None:
    await made.happens(NotificationRequested, which, 1, instead_of=first.notification_id, waited_since_ns=0)


async def with_fallback(made: Shelf) -> None:
    """Have the first dead-lettered, and the second under way."""
    await made.happens(NotificationRequested, FIRST)
    await dies(made, FIRST)
    await falls_back(made, SECOND, FIRST)


def served(made: Shelf) -> dict[str, bool]:
    return {letter.notification_id: letter.served for letter in made.store.dead_letters()}


async def test_while_the_fallback_is_under_way_and_once_it_was_sent(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        await settle(made)
        assert served(made) == {"n": True}
        await made.happens(NotificationSent, SECOND, 2)
        await settle(made)
        assert served(made) == {"n": True}
        await made.happens(NotificationRequested, command("x"), 10 * REMEMBER_S)
        await made.happens(NotificationSent, command("x"), 10 * REMEMBER_S)
        await settle(made)
        assert not await made.remembers("n/sms", 10 * REMEMBER_S)
        assert served(made) == {"n": True}


@pytest.mark.parametrize("end", [NotificationMovedToDeadLetter, NotificationSuppressed])
async def test_no_more_when_the_fallback_ends_unsent(kind, settle, end, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        await settle(made)
        await made.happens(end, SECOND, 2)
        await settle(made)
        assert set(served(made).values()) == {False}
        assert "n" in served(made)


@pytest.mark.parametrize("end", [NotificationMovedToDeadLetter, NotificationSuppressed])
async def test_all_that_are_dead_by_what_comes_last_in_the_chain(kind, settle, end, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        await made.happens(end, SECOND, 2)
        await falls_back(made, THIRD, SECOND)  # at once: what died in between would not
        await settle(made)
        assert set(served(made).values()) == {True}
        await dies(made, THIRD)
        await settle(made)
        assert set(served(made).values()) == {False}
        await made.happens(NotificationRedriven, THIRD, 5)
        await made.happens(NotificationSent, THIRD, 6)
        await settle(made)
        assert set(served(made).values()) == {True}


async def test_what_is_redriven_and_sent_serves_its_fallback(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        await dies(made, SECOND)
        await made.happens(NotificationRedriven, FIRST, 3)
        await settle(made)
        assert served(made) == {"n/sms": True}
        await made.happens(NotificationSent, FIRST, 4)
        await settle(made)
        assert served(made) == {"n/sms": True}
        await made.happens(NotificationRedriven, SECOND, 5, include_served=True)
        await dies(made, SECOND)
        await settle(made)
        assert served(made) == {"n/sms": True}


async def test_a_discarded_one_serves_no_other_and_does_not_cut_the_chain(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        await dies(made, SECOND)
        await falls_back(made, THIRD, SECOND)
        await made.happens(DeadLetterDiscarded, SECOND, 3)
        await settle(made)
        assert served(made) == {"n": True}
        await dies(made, THIRD)
        await settle(made)
        assert served(made) == {"n": False, "n/sms/push": False}


async def test_others_have_nothing_to_do_with_it(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await with_fallback(made)
        for other in (command("n/push"), command("m")):
            await made.happens(NotificationRequested, other, 2)
            await dies(made, other)
        await made.happens(NotificationSent, SECOND, 3)
        await settle(made)
        assert served(made) == {"n": True, "n/push": False, "m": False}


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows(path: Any) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        return sql.execute("SELECT * FROM requests ORDER BY notification_id").fetchall()


async def test_a_file_holds_no_more_than_dead_letters_need(tmp_path):
    async with shelf("sqlite", tmp_path) as made:
        path = tmp_path / "store.db"
        await with_fallback(made)
        assert rows(path) == [("n/sms", "n", 0)]
        await made.happens(NotificationSent, SECOND, 2)
        assert rows(path) == [("n/sms", "n", 1)]
        await made.open()
        await made.happens(DeadLetterDiscarded, FIRST, 3)
        assert rows(path) == []


async def test_a_file_that_the_release_before_made_and_wrote_on_in_between(tmp_path):
    """It knows of no requests: what it accepts as a fallback serves while it is open, and what it ends leaves a row."""
    path = tmp_path / "store.db"
    async with shelf("sqlite", tmp_path) as made:
        await with_fallback(made)
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("DROP TABLE requests")
    with reading(path) as store:
        assert [letter.served for letter in store.dead_letters()] == [True]
    async with SqliteStore.open(path) as store:
        assert [letter.served for letter in store.dead_letters()] == [True]
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.executemany("INSERT INTO requests VALUES (?, 'gone', 1)", [("gone",), ("gone/sms",)])
    async with SqliteStore.open(path):
        pass
    assert rows(path) == []
    with reading(path) as store:
        assert [letter.served for letter in store.dead_letters()] == [True]
