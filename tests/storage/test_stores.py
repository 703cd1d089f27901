"""What every store does, each thing both as it happened and after the store was opened again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from effort import examples
from hypothesis import HealthCheck, given, settings, strategies as st
from shelves import (
    EPOCH_NS,
    POSTGRES,
    REMEMBER_S,
    Receiver,
    S,
    Shelf,
    busy,
    change,
    command,
    event_of,
    mark,
    shelf,
    snapshot,
    suppression,
)
from trio.testing import wait_all_tasks_blocked

from actors import Notifier
from actors.domain.notification_state import CANCELLED
from actors.domain.store import SettingsChange
from actors.domain.user_preferences import UserPreferences
from actors.errors import StoreFailed
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.orders import Acceptance
from actors.storage.memory import MemoryStore

A, B, C = command("a"), command("b", recipient="bob@example.org"), command("c", metadata={"lang": "sv"})


async def test_what_has_not_ended_is_open_in_the_order_of_acceptance(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        for each in (C, A, B):
            await made.happens(NotificationRequested, each)
        await made.happens(NotificationSent, A)
        await settle(made)
        assert made.open_ids == ["c", "b"]
        assert [delivery.command for delivery in made.store.open_deliveries(EPOCH_NS)] == [C, B]


async def test_attempts_and_the_time_of_the_next_one_are_kept(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A, 1)
        await made.happens(NotificationFailed, A, 2, attempt=1, next_retry_at_ns=3 * S)
        await made.happens(NotificationFailed, A, 4, attempt=2, next_retry_at_ns=9 * S, answer="450 busy")
        await settle(made)
        (delivery,) = made.store.open_deliveries(EPOCH_NS - 10 * S)  # of a clock that started 10 s earlier
        assert (delivery.requested_at_ns, delivery.attempts, delivery.due_ns) == (11 * S, 2, 19 * S)
        assert [failure.answer for failure in delivery.failures] == [None, "450 busy"]


async def test_of_unlimited_attempts_the_first_and_the_last_are_kept(kind, settle, tmp_path):
    life = [*range(1, 21), *range(51, 131)]

    async def fail(made, count):
        for attempt in range(1, count + 1):
            given = {"kind": "Ambiguous"} if attempt == 40 else {"unlimited": True}
            await made.happens(NotificationFailed, A, attempt, attempt=attempt, next_retry_at_ns=attempt * S, **given)
            if attempt % 3 == 0:
                await made.happens(NotificationDeferred, A, attempt, resumes_at_ns=attempt * S)

    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, B)
        await made.happens(NotificationRequested, A)
        await fail(made, 131)
        await settle(made)
        delivery = list(made.store.open_deliveries(EPOCH_NS))[1]
        assert delivery.attempts == 131
        assert [failure.attempt for failure in delivery.failures] == [*life[:20], 40, *range(52, 132)]
        waits = [event for event in (await made.store.past("a")).events if isinstance(event, NotificationDeferred)]
        assert [wait.at_ns // S for wait in waits] == [3, 6, 9, 12, 15, 18, *range(54, 132, 3)]
        await made.happens(NotificationMovedToDeadLetter, A, 132, attempts=131)
        await made.happens(NotificationRedriven, A, 133)
        await fail(made, 102)  # of which the one that has a limit is none of the hundred
        await settle(made)
        delivery = list(made.store.open_deliveries(EPOCH_NS))[1]
        numbers = [failure.attempt for failure in delivery.failures]
        assert numbers == [*life[:20], 40, *range(52, 132), *life[:20], *range(22, 103)]
        assert [failure.attempt for failure in delivery.fresh_failures] == numbers[101:]


async def test_a_wait_for_quiet_hours_is_kept(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A)
        await made.happens(NotificationDeferred, A, resumes_at_ns=3600 * S)
        await settle(made)
        (delivery,) = made.store.open_deliveries(EPOCH_NS)
        assert (delivery.due_ns, delivery.attempts) == (3600 * S, 0)


@pytest.mark.parametrize("ending", [NotificationSent, NotificationSuppressed])
async def test_the_id_of_what_has_ended_is_remembered_for_its_time(kind, settle, ending, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, C, 0)
        assert not await made.remembers("c", 1)  # it is open, which is another thing
        await made.happens(ending, C, 7)
        await settle(made)
        assert await made.recall("c", 7) == C
        assert await made.remembers("c", 7 + REMEMBER_S - 0.001)
        assert not await made.remembers("c", 7 + REMEMBER_S)


async def test_how_it_has_ended_is_remembered_as_long_as_its_id(kind, settle, tmp_path):
    ends = {"a": "sent", "b": "suppressed", "c": "cancelled", "d": "discarded"}
    async with shelf(kind, tmp_path) as made:
        for each in (*ends, "dead", "open"):
            await made.happens(NotificationRequested, command(each))
        await made.happens(NotificationSent, command("a"), 7)
        await made.happens(NotificationSuppressed, command("b"), 7)
        await made.happens(NotificationSuppressed, command("c"), 7, reason=CANCELLED)
        for each in ("d", "dead"):
            await made.happens(NotificationMovedToDeadLetter, command(each), 6)
        await made.happens(DeadLetterDiscarded, command("d"), 7)
        await settle(made)

        async def found(at_s):
            ids = (*ends, "dead", "open", "unknown")
            return {each: await made.store.ended_as(each, EPOCH_NS + round(at_s * S)) for each in ids}

        assert await found(7 + REMEMBER_S - 0.001) == ends | dict.fromkeys(["dead", "open", "unknown"])
        assert not any((await found(7 + REMEMBER_S)).values())
        await made.happens(NotificationRequested, command("b"), 7 + REMEMBER_S)
        await settle(made)
        assert await made.store.ended_as("b", EPOCH_NS + round((7 + REMEMBER_S) * S)) is None


async def test_dead_letters_are_kept_oldest_first_with_their_attempts(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A)
        await made.happens(NotificationRequested, B)
        await made.happens(NotificationFailed, B, 1, reason="bad", kind="Permanent", next_retry_at_ns=None)
        await made.happens(NotificationMovedToDeadLetter, B, 1, reason="bad")
        await made.happens(NotificationMovedToDeadLetter, A, 2, reason="expired", attempts=0)
        await settle(made)
        assert made.dead_ids == ["b", "a"]
        assert made.open_ids == []
        letter = next(iter(made.store.dead_letters()))
        assert (letter.command, letter.failure_reason, [each.reason for each in letter.history]) == (B, "bad", ["bad"])
        assert made.store.is_dead_letter("a")
        assert await made.remembers("a", 1000 * REMEMBER_S)  # for as long as an operator may redrive it


async def test_what_is_redriven_is_open_again_with_its_history(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A)
        await made.happens(NotificationFailed, A, 1)
        await made.happens(NotificationMovedToDeadLetter, A, 1)
        await made.happens(NotificationRequested, B, 2)
        await made.happens(NotificationRedriven, A, 3)
        await settle(made)
        assert made.open_ids == ["b", "a"]
        delivery = list(made.store.open_deliveries(EPOCH_NS))[1]
        assert (delivery.attempts, delivery.fresh_since_ns, len(delivery.failures)) == (0, 3 * S, 1)
        assert not made.store.is_dead_letter("a")
        assert not await made.remembers("a", 3)


async def test_what_is_discarded_is_gone_and_its_id_is_remembered_for_its_time(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A)
        await made.happens(NotificationMovedToDeadLetter, A, 1)
        await made.happens(DeadLetterDiscarded, A, 5)
        await settle(made)
        assert made.dead_ids == []
        assert made.open_ids == []
        assert await made.remembers("a", 5 + REMEMBER_S - 1)
        assert not await made.remembers("a", 5 + REMEMBER_S)


async def test_an_address_that_is_gone_stays_so_until_its_notification_is_redriven(kind, settle, tmp_path):
    gone = {"reason": "no such mailbox", "kind": "DeadDestination", "next_retry_at_ns": None}
    async with shelf(kind, tmp_path) as made:
        for each in (A, B):
            await made.happens(NotificationRequested, each)
            await made.happens(NotificationFailed, each, 1, **gone)
            await made.happens(NotificationMovedToDeadLetter, each, 1)
        await settle(made)
        assert {each.key for each in made.store.suppressions} == {
            ("email", "ann@example.org"),
            ("email", "bob@example.org"),
        }
        found_one = made.store.suppressions.find(NotificationChannel.EMAIL, "Bob@example.org")
        assert (found_one.reason, found_one.source, found_one.since_ns) == ("no such mailbox", "provider", EPOCH_NS + S)
        assert type(found_one.channel) is NotificationChannel
        await made.happens(DeadLetterDiscarded, A, 2)
        await made.happens(NotificationRedriven, B, 2)
        await settle(made)
        assert {each.key for each in made.store.suppressions} == {("email", "ann@example.org")}


async def test_what_people_suppress_stays_until_they_lift_it(kind, settle, tmp_path):
    gone = {"reason": "no such mailbox", "kind": "DeadDestination", "next_retry_at_ns": None}
    async with shelf(kind, tmp_path) as made:
        for each in (A, B):
            await made.happens(NotificationRequested, each)
        await made.changes(suppressed=(suppression("Ann@Example.org", "complaint", by="otto"),))
        for each in (A, B):
            await made.happens(NotificationFailed, each, 1, **gone)
            await made.happens(NotificationMovedToDeadLetter, each, 1)
        await made.changes(suppressed=(suppression("bob@example.org", "unsubscribed", "file"),))
        for each in (A, B):
            await made.happens(NotificationRedriven, each, 2)
        await settle(made)
        assert {each.address: (each.reason, each.source, each.by) for each in made.store.suppressions} == {
            "ann@example.org": ("complaint", "operator", "otto"),
            "bob@example.org": ("unsubscribed", "file", None),
        }
        await made.changes(
            lifted=((NotificationChannel.EMAIL, "bob@example.org"), (NotificationChannel.EMAIL, "nobody@example.org"))
        )
        await settle(made)
        assert [each.address for each in made.store.suppressions] == ["ann@example.org"]


def states(made: Shelf) -> dict[str, str]:
    return {each.address: each.state.value for each in made.store.endpoints}


async def test_what_becomes_of_an_endpoint_is_kept_until_one_success_or_an_order(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        for each in (A, B):
            await made.happens(NotificationRequested, each)
            await made.happens(NotificationFailed, each, 1, endpoint=mark("suspected", 1))
        await made.happens(NotificationFailed, A, 2, endpoint=mark("failing", 1))
        await made.happens(NotificationFailed, B, 9, endpoint=mark("disabled", 1), reason="HTTP 500")
        await settle(made)
        assert states(made) == {"ann@example.org": "failing", "bob@example.org": "disabled"}
        [(key, bob)] = made.store.endpoints.disabled.items()
        assert key == (NotificationChannel.EMAIL, "bob@example.org")
        assert (bob.mark, bob.reason, bob.marked_ns) == (mark("disabled", 1), "HTTP 500", EPOCH_NS + 9 * S)
        await made.happens(NotificationSent, A, 10)
        await made.happens(NotificationMovedToDeadLetter, B, 10)
        await made.happens(NotificationRedriven, B, 11, without_operator=True)
        await settle(made)
        assert states(made) == {"bob@example.org": "disabled"}
        await made.happens(NotificationSent, B, 12)  # by an attempt that was under way
        await settle(made)
        assert states(made) == {}
        trail = [(entry.action, entry.about) for entry in await made.store.audit_trail() if "endpoint" in entry.action]
        assert trail == [("enable endpoint", "email bob@example.org"), ("disable endpoint", "email bob@example.org")]


async def test_an_order_and_a_redrive_by_a_person_enable_an_endpoint_and_stop_no_clock(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        other = command("d", recipient="dan@example.org")
        for each, state in ((A, "disabled"), (B, "disabled"), (other, "failing")):
            await made.happens(NotificationRequested, each)
            await made.happens(NotificationFailed, each, 1, endpoint=mark(state), next_retry_at_ns=None)
            await made.happens(NotificationMovedToDeadLetter, each, 1)
        await made.happens(NotificationRedriven, A, 2, by="otto")
        await made.happens(NotificationRedriven, other, 2, by="otto")
        await made.changes(enabled=((NotificationChannel.EMAIL, "bob@example.org"),))
        await settle(made)
        assert states(made) == {"dan@example.org": "failing"}


async def test_what_is_known_of_an_endpoint_that_only_fails_is_forgotten_when_its_time_has_passed(kind, tmp_path):
    commands = [command(f"n{number}", recipient=f"n{number}@example.org") for number in range(9)]
    async with shelf(kind, tmp_path) as made:
        for number, each in enumerate(commands):
            await made.happens(NotificationRequested, each, 1000 * number)
            endpoint = mark("disabled" if number == 0 else "suspected", 1000 * number)
            await made.happens(NotificationFailed, each, 1000 * number, endpoint=endpoint)
        assert states(made).keys() == {f"n{number}@example.org" for number in (0, 5, 6, 7, 8)}
        await made.open()
        assert states(made).keys() == {f"n{number}@example.org" for number in (0, 5, 6, 7, 8)}


async def test_what_users_have_set_is_kept_until_it_is_forgotten(kind, settle, tmp_path):
    night = {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}
    ann = UserPreferences.model_validate({"channels": {"sms": "off"}, "quiet_hours": night})
    bob = UserPreferences.model_validate({"quiet_hours": None})
    async with shelf(kind, tmp_path) as made:
        await made.changes(preferences={"ann": bob, "bob": bob, "cleo": ann})
        await made.changes(preferences={"ann": ann, "cleo": None, "dan": None})
        await settle(made)
        assert dict(made.store.preferences) == {"ann": ann, "bob": bob}
        assert made.store.preferences["bob"].sets_quiet_hours  # that there are none


async def test_who_changes_settings_is_in_the_audit_trail_once(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.changes(suppressed=(suppression("ann@example.org", "complaint"),), by="otto")
        await made.changes(lifted=((NotificationChannel.EMAIL, "ann@example.org"),), by="oda")
        await settle(made)
        assert [entry.by for entry in await made.store.audit_trail()] == ["oda", "otto"]


async def test_an_id_whose_time_was_up_may_come_again_and_is_then_kept_as_any_other(kind, settle, tmp_path):
    async with shelf(kind, tmp_path) as made:
        await made.happens(NotificationRequested, A)
        await made.happens(NotificationSent, A)
        again = command("a", message="Another one")
        assert not await made.remembers("a", REMEMBER_S)  # as the pipeline asks before it accepts
        await made.happens(NotificationRequested, again, REMEMBER_S)
        await made.happens(NotificationMovedToDeadLetter, again, REMEMBER_S)
        await settle(made)
        assert await made.recall("a", 3 * REMEMBER_S) == again
        assert made.dead_ids == ["a"]


# ── any history ─────────────────────────────────────────────────────────────────────────────────────────────────────

_OPEN_GOES_ON = [
    (NotificationFailed, {}),
    (NotificationFailed, {"kind": "DeadDestination", "next_retry_at_ns": None, "given_up": "gone"}),
    *[(NotificationFailed, {"endpoint": mark(state)}) for state in ("suspected", "failing", "disabled")],
    (NotificationDeferred, {}),
    (NotificationMovedToDeadLetter, {}),
    (NotificationSent, {}),
    (NotificationSuppressed, {}),
]
_DEAD_GOES_ON = [
    (NotificationRedriven, {}),
    (NotificationRedriven, {"without_operator": True}),
    (NotificationRedriven, {"by": "ann", "edit": {"message": "again", "metadata": {"lang": "sv"}}}),
    (DeadLetterDiscarded, {}),
    (DeadLetterDiscarded, {"by": "ann"}),
]

_ADDRESSES = st.sampled_from(["v", "w"])
_CHANGES = st.builds(
    change,
    suppressed=st.lists(st.builds(suppression, _ADDRESSES, st.just("x"), st.sampled_from(["file", "provider"]))),
    lifted=st.lists(st.tuples(st.just(NotificationChannel.EMAIL), _ADDRESSES)),
    enabled=st.lists(st.tuples(st.just(NotificationChannel.EMAIL), _ADDRESSES)),
    preferences=st.dictionaries(st.sampled_from("vw"), st.none() | st.just(UserPreferences())),
)

Step = tuple[type[NotificationEvent], SendNotification, float, dict[str, Any]]


@st.composite
def histories(draw: st.DrawFn) -> list[Step | SettingsChange | bool]:
    """Draw what may happen to a few notifications, some with one address, and to settings, and when all is awaited
    (False) or the store is opened again (True)."""
    commands = [command(name, recipient=recipient) for name, recipient in zip("abcde", "vvwww", strict=True)]
    now_s, state, ended_s, steps = 0.0, dict.fromkeys("abcde", "new"), dict.fromkeys("abcde", 0.0), []
    for _ in range(draw(st.integers(1, 40))):
        if draw(st.integers(0, 5)) == 0:
            steps.append(draw(st.booleans()))
            continue
        if draw(st.integers(0, 5)) == 0:
            steps.append(draw(_CHANGES))
            continue
        now_s += draw(st.sampled_from([0.0, 1.0, REMEMBER_S / 2]))
        each = draw(st.sampled_from(commands))
        name = each.notification_id
        if state[name] == "new" or (state[name] == "ended" and now_s >= ended_s[name] + REMEMBER_S):
            what, fields = NotificationRequested, {}
        elif state[name] == "ended":
            continue
        else:
            what, fields = draw(st.sampled_from(_OPEN_GOES_ON if state[name] == "open" else _DEAD_GOES_ON))
        steps.append((what, each, now_s, fields))
        if what in (NotificationSent, NotificationSuppressed, DeadLetterDiscarded):
            state[name], ended_s[name] = "ended", now_s
        else:
            state[name] = "dead" if what is NotificationMovedToDeadLetter else "open"
    return steps


@pytest.fixture(params=["sqlite", POSTGRES])
def on_disk(request) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else request.param


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_a_store_on_disk_answers_as_one_in_memory_does(on_disk, history):
    async def compare() -> None:
        with tempfile.TemporaryDirectory() as directory:
            model, now_s = MemoryStore(remember_ids_ns=REMEMBER_S * S), 0.0
            async with shelf(on_disk, Path(directory)) as made:
                under_way: list[Any] = []
                for step in [*history, True]:
                    if isinstance(step, tuple):
                        what, each, now_s, fields = step
                        event = event_of(what, each, now_s, **fields)
                        # As the pipeline asks before it accepts: what is too old is forgotten then.
                        for store in (model, made.store):
                            store.remembered.get(each.notification_id, EPOCH_NS + round(now_s * S))
                        model.commit(event, each)
                        under_way.append(made.store.commit(event, each))  # several of one notification in a batch, too
                    elif isinstance(step, SettingsChange):
                        model.change(step)
                        under_way.append(made.store.change(step))
                    elif step:
                        await made.open()  # and none of them is awaited
                        under_way.clear()
                    else:
                        for effect in under_way:
                            await effect()
                    assert await made.snapshot(*"abcde", now_s=now_s) == await snapshot(model, list("abcde"), now_s)

    trio.run(compare)


# ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_comes_while_the_store_is_at_work_shares_a_transaction(opened):
    count = 500
    async with opened() as store, Notifier.open(providers=Receiver(), store=store) as notifier:
        async with busy(store):
            before = store.transactions
            answers = [notifier.send(command(f"n{number}")) for number in range(count)]
            await wait_all_tasks_blocked()
            assert store.transactions == before
        assert await answers[0] is Acceptance.ACCEPTED
        assert store.transactions == before + 1
        assert {await answer for answer in answers[1:]} == {Acceptance.ACCEPTED}
        await notifier.wait_until_quiet()
        assert len(notifier.sent_notifications) == count


async def test_a_block_that_is_cancelled_writes_what_was_handed_over(opened):
    with trio.CancelScope() as scope:
        async with opened() as store:
            for number in range(300):
                each = command(f"n{number}")
                store.commit(event_of(NotificationRequested, each), each)
            scope.cancel()
            await trio.sleep_forever()
    async with opened() as store:
        assert len(list(store.open_deliveries(EPOCH_NS))) == 300


async def test_a_closed_store_takes_nothing(opened):
    async with opened() as store:
        pass
    for use in (lambda: store.commit(event_of(NotificationRequested, A), A), store.audit_trail):
        with pytest.raises(StoreFailed, match=r"is closed$"):
            await use()
