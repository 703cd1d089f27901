"""What every store keeps of what people did: the audit trail, edits, and the history of what they had to do with."""

import contextlib
import sqlite3
from typing import Any

import msgspec
import pytest
from shelves import EPOCH_NS, REMEMBER_S, S, Shelf, command, event_of, shelf

from actors.domain.audit import AuditEntry
from actors.domain.notification_state import state_of
from actors.domain.store import StoredHistory
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.storage.sqlite.store import SqliteStore

A, B = command("a"), command("b", metadata={"lang": "sv"})
EDIT = {"recipient": "bob@example.org", "metadata": {"lang": "en"}}
EDITED = msgspec.structs.replace(A, **EDIT)


async def note(made: Shelf, **fields: Any) -> None:
    """Have the store note that an operator did something, and wait until that is durable."""
    effect = made.store.note(AuditEntry(**fields))
    if effect is not None:
        await effect()


async def dies(made: Shelf, *steps: tuple[type[NotificationEvent], float, dict[str, Any]]) -> list[NotificationEvent]:
    """Have A be dead-lettered, and then have this happen to it; return all its events."""
    command, events = A, []
    for what, at_s, fields in (
        (NotificationRequested, 0, {}),
        (NotificationFailed, 1, {}),
        (NotificationMovedToDeadLetter, 2, {}),
        *steps,
    ):
        command = msgspec.structs.replace(command, **fields.get("edit", {}))
        await made.happens(what, command, at_s, **fields)
        events.append(event_of(what, command, at_s, **fields))
    return events


async def test_who_did_what_is_kept_newest_first(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await dies(made, (NotificationRedriven, 3, {"by": "ann", "why": "typo", "edit": EDIT}))
        await note(made, at_ns=EPOCH_NS + 4 * S, action="bulk discard", by="bob", about="all", why="old")
        for what, at_s in ((NotificationRequested, 4), (NotificationMovedToDeadLetter, 4)):
            await made.happens(what, B, at_s)
        await made.happens(DeadLetterDiscarded, B, 5, by=None, reason="full")
        await settle(made)
        entries = await made.store.audit_trail()
        assert [(each.action, each.by, each.notification_id, each.about, each.why) for each in entries] == [
            ("discard", None, "b", None, "full"),
            ("bulk discard", "bob", None, "all", "old"),
            ("retry", "ann", "a", None, "typo"),
        ]
        assert [each.at_ns - EPOCH_NS for each in entries] == [5 * S, 4 * S, 3 * S]
        assert entries[-1].edit == EDIT
        assert await made.store.audit_trail(limit=2) == entries[:2]
        assert await made.store.audit_trail(notification_id="a") == entries[2:]


async def test_what_is_edited_is_tried_so_and_known_as_it_came(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await dies(made, (NotificationRedriven, 3, {"edit": EDIT}))
        await settle(made)
        (delivery,) = made.store.open_deliveries(EPOCH_NS)
        assert (delivery.command, delivery.known_as, delivery.redrives.edits) == (EDITED, A, 1)
        assert delivery.fresh_since_ns == 3 * S
        await made.happens(NotificationMovedToDeadLetter, EDITED, 4)
        await made.happens(NotificationRedriven, EDITED, 5, edit={"expires_after": 60.0})
        await made.happens(NotificationMovedToDeadLetter, EDITED, 6)
        await settle(made)
        (letter,) = made.store.dead_letters()
        assert letter.command == msgspec.structs.replace(EDITED, expires_after=60.0)
        assert (letter.accepted, letter.edits, letter.moved_at_ns) == (A, 1, 6 * S)
        assert await made.store.recall("a", EPOCH_NS) == A
        await made.happens(NotificationRedriven, letter.command, 7)
        await made.happens(NotificationSent, letter.command, 8)
        await settle(made)
        assert await made.store.recall("a", EPOCH_NS + 9 * S) == A


async def test_an_edit_of_the_address_lifts_no_more_than_the_new_one(kind, settle, tmp_path):
    gone = {"kind": "DeadDestination", "next_retry_at_ns": None}
    async with shelf(kind, tmp_path) as made:
        for each in (A, B, command("c", recipient="bob@example.org")):
            await made.happens(NotificationRequested, each)
        await made.happens(NotificationFailed, A, 1, **gone)
        await made.happens(NotificationMovedToDeadLetter, A, 1)
        await made.happens(NotificationFailed, command("c", recipient="bob@example.org"), 1, **gone)
        assert {each.address for each in made.store.suppressions} == {"ann@example.org", "bob@example.org"}
        await made.happens(NotificationRedriven, EDITED, 2, edit=EDIT)
        await settle(made)
        assert [each.address for each in made.store.suppressions] == ["ann@example.org"]


@pytest.mark.parametrize(
    ("steps", "is_kept_when_it_has_ended"),
    [
        ([(NotificationRedriven, 3, {"edit": EDIT}), (NotificationSent, 4, {})], True),
        ([(NotificationRedriven, 3, {}), (NotificationMovedToDeadLetter, 4, {}), (DeadLetterDiscarded, 5, {})], True),
        ([(DeadLetterDiscarded, 3, {"by": "ann"})], True),
        ([(DeadLetterDiscarded, 3, {})], False),  # by the queue itself: of these there may be very many
    ],
)
async def test_the_history_is_there_while_something_may_follow_and_after_that_of_what_people_had_to_do_with(
    kind, settle, steps, is_kept_when_it_has_ended, tmp_path
):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, B)
        await made.happens(NotificationSent, B)
        events = await dies(made)
        assert await made.store.past("a") == StoredHistory(A, tuple(events))
        for what, at_s, fields in steps:
            await made.happens(what, EDITED if EDIT in fields.values() else A, at_s, **fields)
            events.append(event_of(what, A, at_s, **fields))
        await settle(made)
        if kind != "lossy":  # it has what the one in memory has
            past = await made.store.past("a")
            assert past == (StoredHistory(A, tuple(events)) if is_kept_when_it_has_ended else None)
        assert await made.store.past("b") is None
        assert await made.store.past("nothing") is None


async def test_what_is_older_than_it_is_kept_leaves_the_file(tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path, keep_audit=100) as store:
        for number in range(20):
            each, at_s = command(f"n{number}"), number * 30
            for what in (NotificationRequested, NotificationMovedToDeadLetter, NotificationRedriven, NotificationSent):
                await store.commit(event_of(what, each, at_s), each)()
        for second in (600, 630, 660):
            await store.note(AuditEntry(at_ns=EPOCH_NS + second * S, action="bulk retry", by="ann"))()
        entries = await store.audit_trail()
        with contextlib.closing(sqlite3.connect(path)) as sql, sql:
            closed = [each for (each,) in sql.execute("SELECT notification_id FROM closed ORDER BY seq")]
        sql.close()
    assert [each.notification_id for each in entries] == [None, None, None, "n19"]
    assert closed == ["n16", "n17", "n18", "n19"]


async def test_what_people_do_is_no_longer_a_secret_than_its_transaction_takes(tmp_path):
    async with SqliteStore.open(tmp_path / "store.db") as store:
        store.note(AuditEntry(at_ns=1, action="bulk retry", by="ann"))  # no one waits for it
        assert [entry.by for entry in await store.audit_trail()] == ["ann"]


async def test_histories_of_a_user_are_erased_and_those_of_others_stay(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        theirs, other = command("a", user_id="ann"), command("b", user_id="bob")
        for each in (theirs, other):
            for what in (NotificationRequested, NotificationMovedToDeadLetter, DeadLetterDiscarded):
                await made.happens(what, each, 1, **({"by": "otto"} if what is DeadLetterDiscarded else {}))
        await settle(made)
        assert await made.store.past("a") is not None
        assert await made.store.erase_histories(lambda each: each.user == "ann") == 1
        assert await made.store.erase_histories(lambda each: each.user == "ann") == 0
        if kind != "lossy":  # which makes what was durable happen again when it is opened
            await settle(made)
        assert (await made.store.past("a"), (await made.store.past("b")).command) == (None, other)


async def test_what_is_kept_of_one_goes_when_another_one_is_accepted_with_its_id(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await dies(made, (DeadLetterDiscarded, 3, {"by": "ann"}))
        if kind != "lossy":  # which makes what was durable happen again when it is opened
            await settle(made)
        assert (await made.store.past("a")).command == A
        again, later_s = command("a", message="Once more"), REMEMBER_S + 4
        await made.happens(NotificationRequested, again, later_s)
        await made.happens(NotificationSent, again, later_s)
        if kind != "lossy":
            await settle(made)
        assert await made.store.past("a") is None
        state = await state_of(made.store, "a", EPOCH_NS + (later_s + 1) * S)
        assert (state.state, state.attempts) == ("sent", None)


async def test_what_is_erased_is_overwritten_in_the_file(tmp_path):
    path, each = tmp_path / "store.db", command("a", message="a very private message")

    def count():
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as sql:
            sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes().count(b"a very private message")

    async with SqliteStore.open(path) as store:
        for what in (NotificationRequested, NotificationMovedToDeadLetter, DeadLetterDiscarded):
            fields = {"by": "otto"} if what is DeadLetterDiscarded else {}
            await store.commit(event_of(what, each, 1, **fields), each)()
    before = count()
    async with SqliteStore.open(path) as store:
        assert await store.erase_histories(lambda command: command == each) == 1
    assert count() < before
