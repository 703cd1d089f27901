"""How a node sees what others have changed: at its next look after the commit, whatever else is open on the server."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings, strategies as st
from shelves import change, command, dead_ids, happens, suppression, until

from actors.domain.user_preferences import UserPreferences
from actors.errors import Overtaken
from actors.messages import (
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.storage.postgres import connection as postgres_connection, worker as postgres_worker
from actors.storage.postgres.node import SharedRetention, changed, look_round, register
from actors.storage.postgres.reading import Shared
from actors.storage.postgres.schema import connected, migrate
from actors.storage.postgres.store import PostgresStore

A, B = command("a"), command("b")


def rows_of_changes(dsn: str) -> int:
    with psycopg.connect(dsn) as sql:
        return sql.execute("SELECT count(*) FROM retrylab.changes").fetchone()[0]


@contextmanager
def transaction_of_a_stranger(url: str) -> Generator[psycopg.Connection, None, None]:
    """Have a transaction open, which has its number, for as long as the block lasts."""
    with psycopg.connect(url) as sql:
        sql.execute("SELECT pg_current_xact_id()")
        yield sql
        sql.rollback()


@pytest.mark.parametrize("where", ["in the same database", "in another database"])
@pytest.mark.parametrize("hints", [True, False])
async def test_point_5_nodes_see_changes_while_a_stranger_has_a_transaction_open(
    postgres_server, dsn, monkeypatch, where, hints
):
    """Suppressions, preferences, letters and redrives, with and without NOTIFY."""
    if not hints:
        monkeypatch.setattr(postgres_connection.Link, "hint", lambda link: None)
    url = dsn if where == "in the same database" else postgres_server.url
    wants = UserPreferences.model_validate({"channels": {"sms": "off"}, "quiet_hours": None})
    with transaction_of_a_stranger(url):
        async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
            made = (suppression("ann@example.org", "complaint"),)
            await one.change(change(suppressed=made, preferences={"ann": wants}))()
            await until(lambda: list(two.suppressions) == list(one.suppressions) and two.preferences == {"ann": wants})
            lifted = [(suppressed.channel, suppressed.address) for suppressed in made]
            await two.change(change(lifted=lifted, preferences={"ann": None}))()
            await until(lambda: not one.preferences and not one.suppressions)
            assert len(await one.audit_trail()) == 2
            for each in (A, B):
                await happens(one, NotificationRequested, each)
                await happens(one, NotificationMovedToDeadLetter, each)
            await until(lambda: dead_ids(two) == ["a", "b"])
            await happens(two, NotificationRedriven, A, 1)
            await until(lambda: dead_ids(one) == ["b"])


async def test_a_slow_transaction_of_another_node_is_not_missed_and_others_do_not_wait_for_it(dsn):
    """Its number is lower than those of what is committed before it."""
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        for each in (A, B):
            await happens(one, NotificationRequested, each)
        with psycopg.connect(dsn) as slow:
            slow.execute("INSERT INTO retrylab.settings VALUES ('user', 'digest', 'ann', '{}', false)")
            slow.execute("INSERT INTO retrylab.changes (token, kind, name) VALUES (0, 'user', 'ann')")
            await happens(one, NotificationMovedToDeadLetter, A)
            await until(lambda: dead_ids(two) == ["a"])
            slow.execute("DELETE FROM retrylab.settings")
            slow.execute(
                "INSERT INTO retrylab.settings SELECT 'user', sha256('ann'), 'ann', convert_to(%s, 'UTF8'), false",
                (UserPreferences().written(),),
            )
            assert not two.preferences
        await until(lambda: "ann" in two.preferences and "ann" in one.preferences)
        await happens(one, NotificationMovedToDeadLetter, B)
        await until(lambda: dead_ids(two) == ["a", "b"])
        await until(lambda: rows_of_changes(dsn) == 0)  # when both have seen them


async def test_a_hint_that_cannot_be_given_holds_nothing_up(dsn, monkeypatch):
    """A NOTIFY waits for any other on the server whose commit hangs, and fails when the server's queue is full."""
    monkeypatch.setattr(postgres_connection, "HINT_PATIENCE", "no duration, so that the statement fails")
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        await happens(one, NotificationRequested, A)
        await happens(one, NotificationMovedToDeadLetter, A)
        await until(lambda: dead_ids(two) == ["a"])
        assert one._worker._link.losses == 0


N, SMS = command("n"), command("n/sms")


def served(store) -> dict[str, bool]:
    return {letter.notification_id: letter.served for letter in store.dead_letters()}


async def fall_back(store) -> None:
    await happens(store, NotificationRequested, N)
    await happens(store, NotificationMovedToDeadLetter, N)
    await happens(store, NotificationRequested, SMS, 1, instead_of="n", waited_since_ns=0)


async def test_a_letter_is_served_at_every_node_by_what_happens_at_one(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        await fall_back(one)
        await until(lambda: served(two) == {"n": True})
        await happens(one, NotificationMovedToDeadLetter, SMS, 2)
        await until(lambda: served(two) == {"n": False, "n/sms": False})
        assert served(one) == served(two)
        await happens(two, NotificationRedriven, N, 3)
        await until(lambda: served(one) == {"n/sms": True})
        await happens(two, NotificationMovedToDeadLetter, N, 4)
        await until(lambda: served(one) == {"n": False, "n/sms": False})
        assert served(one) == served(two)
        await happens(one, NotificationRedriven, SMS, 5)
        await happens(one, NotificationSent, SMS, 6)
        await until(lambda: served(two) == {"n": True})
    async with PostgresStore.open(dsn, node="three") as three:
        assert served(three) == {"n": True}


async def test_what_was_delivered_at_one_node_is_known_where_its_fallback_dies(dsn):
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        await fall_back(one)
        await until(lambda: served(two) == {"n": True})
        await happens(two, NotificationRedriven, N, 2, include_served=True)
        await happens(one, NotificationMovedToDeadLetter, SMS, 3)
        assert not one.is_delivered("n/sms")  # as it is only under way
        await happens(one, NotificationRedriven, SMS, 4, include_served=True)
        await happens(two, NotificationSent, N, 5)
        await happens(one, NotificationMovedToDeadLetter, SMS, 6)
        assert one.is_delivered("n/sms")
    async with PostgresStore.open(dsn, node="three") as three:
        assert three.is_delivered("n/sms")


async def test_what_two_nodes_do_to_one_request_while_they_know_nothing_of_each_other(dsn, monkeypatch):
    """The database decides: it takes no redrive of what is served there, unless that is asked for."""
    async with PostgresStore.open(dsn, node="one") as one, PostgresStore.open(dsn, node="two") as two:
        await fall_back(one)
        await happens(one, NotificationMovedToDeadLetter, SMS, 2)
        await until(lambda: served(two) == {"n": False, "n/sms": False})
        monkeypatch.setattr(postgres_worker, "changed", lambda sql, token, seen: (Shared({}, {}), seen))
        await happens(one, NotificationRedriven, SMS, 3)
        assert not two.is_served("n")
        with pytest.raises(Overtaken):
            await happens(two, NotificationRedriven, N, 4)
        assert served(two) == {"n": True, "n/sms": False}  # the letter is back, and its note is as it should be
        await happens(two, NotificationRedriven, N, 5, include_served=True)
        await happens(two, NotificationSent, N, 6)
        await happens(one, NotificationMovedToDeadLetter, SMS, 7)
        assert served(one)["n/sms"]


async def test_what_is_taken_over_serves_as_it_did(dsn):
    async with PostgresStore.open(dsn, node="two") as two:
        async with PostgresStore.open(dsn, node="one") as one:
            await fall_back(one)
        await until(lambda: [each.command for each in two.open_deliveries(0)] == [SMS])
        await until(lambda: served(two) == {"n": True})  # the letter comes by the changes, and not by the takeover
        await happens(two, NotificationMovedToDeadLetter, SMS, 2)
        assert served(two) == {"n": False, "n/sms": False}


async def test_a_fallback_that_a_node_of_the_release_before_has_accepted_serves_where_it_is_taken_over(dsn):
    async with PostgresStore.open(dsn, node="two") as two:
        async with PostgresStore.open(dsn, node="one") as one:
            await fall_back(one)
            with psycopg.connect(dsn) as sql:
                sql.execute("UPDATE retrylab.notifications SET request_id = NULL")
        await until(lambda: [each.command for each in two.open_deliveries(0)] == [SMS])
        await until(lambda: served(two) == {"n": True})
        await happens(two, NotificationSent, SMS, 2)
        assert served(two) == {"n": True}
    async with PostgresStore.open(dsn, node="three") as three:
        assert served(three) == {"n": True}


STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["change", "commit", "roll back", "look"])), max_size=25)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_change_is_seen_by_the_first_look_after_its_commit_and_by_no_other(dsn, steps):
    """However the transactions of several writers overlap, one of them a stranger's that stays open."""
    with ExitStack() as stack:
        opened = [stack.enter_context(connected(dsn, "retrylab", lease_s=60)) for _ in range(6)]
        reader, *writers, stranger = opened
        migrate(reader, "retrylab")
        for sql in (*writers, stranger):
            sql.autocommit = False
        token, seen = register(reader, "reader", 60)
        stranger.execute("SELECT pg_current_xact_id()")
        written: list[set[str]] = [set() for _ in writers]
        committed: set[str] = set()
        for number, (which, step) in enumerate([*steps, (0, "commit"), (0, "look")]):
            if step == "look":
                # Another one prunes in between, which must not take away what this one has not seen.
                look_round(reader, token, 60, seen=seen, via=1, reaps=lambda: False, retention=SharedRetention(0, 0, 0))
                shared, seen = changed(reader, token, seen)
                assert set(shared.letters) == committed
                committed = set()
            elif step == "change":
                writers[which].execute(
                    "INSERT INTO changes (token, notification_id) VALUES (%s, %s)", (token + 1, str(number))
                )
                written[which].add(str(number))
            else:
                if step == "commit":
                    writers[which].commit()
                    committed |= written[which]
                else:
                    writers[which].rollback()
                written[which] = set()
