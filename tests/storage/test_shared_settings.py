"""Suppressions and preferences of several nodes on one PostgreSQL: each gets what the others set."""

import threading

from shelves import change, command, event_of, mark, suppression, until

from actors.messages import (
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.storage.memory import Entry
from actors.storage.postgres import reading
from actors.storage.postgres.store import PostgresStore

EMAIL = NotificationChannel.EMAIL
A = command("a")
GONE = {"reason": "no such mailbox", "kind": "DeadDestination", "next_retry_at_ns": None}


async def happens(store: PostgresStore, kind: type, at_s: float = 0, /, **fields: object) -> None:
    await store.commit(event_of(kind, A, at_s, **fields), A)()


def reasons(store: PostgresStore) -> list[str]:
    return [each.reason for each in store.suppressions]


async def test_what_a_provider_says_at_one_node_leaves_what_people_say_at_another_as_it_is(dsn):
    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
    ):
        await happens(one, NotificationRequested)
        # At once, so that neither knows of the other.
        by_people = two.change(change(suppressed=(suppression("ann@example.org", "complaint"),)))
        await happens(one, NotificationFailed, 1, **GONE)
        await by_people()
        await until(lambda: reasons(one) == reasons(two) == ["complaint"])
        await happens(one, NotificationMovedToDeadLetter, 1)
        await happens(one, NotificationRedriven, 2)
        await until(lambda: reasons(one) == reasons(two) == ["complaint"])
    async with PostgresStore.open(dsn, node="three") as three:
        assert reasons(three) == ["complaint"]


async def test_a_letter_that_is_redriven_between_its_state_and_its_history_is_none(dsn, monkeypatch):
    has_read, may_go_on = threading.Event(), threading.Event()

    def entry_of_accepted(*accepted: object, made=reading.entry_of_accepted) -> Entry:
        has_read.set()
        assert may_go_on.wait(60)
        return made(*accepted)

    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
    ):
        await happens(one, NotificationRequested)
        monkeypatch.setattr(reading, "entry_of_accepted", entry_of_accepted)
        await happens(one, NotificationMovedToDeadLetter, 1)
        await until(has_read.is_set)
        await happens(one, NotificationRedriven, 2)
        may_go_on.set()
        await happens(one, NotificationMovedToDeadLetter, 3)
        await until(lambda: [each.moved_at_ns for each in two.dead_letters()] == [3 * 10**9])


async def test_what_becomes_of_an_endpoint_at_one_node_the_others_know(dsn):
    def states(store: PostgresStore) -> list[str]:
        return [each.state.value for each in store.endpoints]

    async with (
        PostgresStore.open(dsn, node="one") as one,
        PostgresStore.open(dsn, node="two") as two,
    ):
        await happens(one, NotificationRequested)
        for at_s, state in ((1, "suspected"), (2, "failing"), (9, "disabled")):
            await happens(one, NotificationFailed, at_s, endpoint=mark(state))
            await until(lambda state=state: states(one) == states(two) == [state])
        assert two.endpoints.is_disabled(EMAIL, "Ann@example.org")
        assert not two.suppressions
        await two.change(change(enabled=((EMAIL, "ann@example.org"),)))()
        await until(lambda: states(one) == states(two) == [])
        await happens(one, NotificationFailed, 10, endpoint=mark("disabled"))
        await until(lambda: states(two) == ["disabled"])
        await happens(one, NotificationSent, 11)
        await until(lambda: states(one) == states(two) == [])
    async with PostgresStore.open(dsn, node="three") as three:
        assert states(three) == []
        actions = [entry.action for entry in await three.audit_trail()]
    assert actions == ["enable endpoint", "disable endpoint", "change", "disable endpoint"]
