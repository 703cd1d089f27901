"""The dead letter queue as people work with it: looking, retrying, editing, discarding, in bulk; and the audit."""

import hashlib
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from beside import tables
from desks import EMAIL, SMS, Desk, Provided, command, desk

from actors import Notifier
from actors.domain.attempts import Attempt, Provider
from actors.errors import EditRefused, IdempotencyConflict, LetterServed, NotifierClosed, StoreFailed
from actors.kernel.effects import Foreseen
from actors.messages import DeadLetterDiscarded, NotificationRedriven
from actors.outcomes import Permanent, Sent, Transient
from actors.pipeline.orders import Acceptance
from actors.service.operations import queries
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.queries import Filter
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.store import SqliteStore

FIVE = (command("a", message="bad: mailbox full"),
    command("b", message="bad: no such user", recipient="bob@example.org", user_id="bob"),
    command("c", message="bad: mailbox full", channel=SMS, recipient="+4670"),
    command("d", message="bad: Mailbox full again"), command("x/e", message="bad: mailbox full"))  # fmt: skip


@pytest.mark.parametrize(
    ("given", "fitting"),
    [
        ({}, "abcde"),
        ({"reason": "MAILBOX"}, "acde"),
        ({"reason_is": "mailbox full"}, "ace"),
        ({"channel": SMS}, "c"),
        ({"recipient": "ann@"}, "ade"),
        ({"user": "bob"}, "b"),
        ({"user": "bo"}, ""),
        ({"user": "+4670"}, "c"),
        ({"id_prefix": "x/"}, "e"),
        ({"reason": "mailbox full", "channel": EMAIL}, "ade"),
        ({"reason": "nothing of the sort"}, ""),
    ],
)
async def test_a_filter_leaves_out_what_does_not_fit(given, fitting, autojump_clock):
    async with desk() as at:
        await at.die(*FIVE)
        assert [each[-1] for each in at.ids(Filter(**given))] == list(fitting)
        assert at.letters.dry_run(Filter(**given)).count == len(fitting)


async def test_a_window_of_time_is_half_open(autojump_clock):
    async with desk() as at:
        await at.die(*FIVE)
        b, d = at.letters.letter("b"), at.letters.letter("d")
        assert at.ids(Filter(since=b.moved_at, until=d.moved_at)) == ["b", "c"]
        assert at.ids(Filter(since=d.moved_at + timedelta(microseconds=1))) == ["x/e"]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_follow_each_other_whatever_is_taken_away_between_them(newest_first, autojump_clock, monkeypatch):
    monkeypatch.setattr(queries, "LOOKED_AT_MAX", 2)
    async with desk() as at:
        await at.die(*FIVE)
        seen, after = [], None
        while True:
            page = at.letters.list(limit=2, after=after, newest_first=newest_first)
            assert await at.letters.page(limit=2, after=after, newest_first=newest_first) == page
            seen += [letter.notification_id for letter in page.letters]
            if len(seen) == 2:
                await at.letters.discard(seen[-1], by="ann", why="in the way")
            if page.next is None:
                break
            after = page.next
        assert seen == (["x/e", "d", "c", "b", "a"] if newest_first else ["a", "b", "c", "d", "x/e"])
        assert at.letters.list(limit=4).next is None


async def test_letters_of_one_instant_are_on_one_page_or_another(autojump_clock):
    async with desk() as at:
        for number in range(10):
            await at.notifier.send(command(f"n{number}", message="bad: x"))
        await at.notifier.wait_until_quiet()
        first = at.letters.list(limit=3)
        last = first.letters[-1].notification_id
        second = at.letters.list(limit=100, after=first.next)
        assert [letter.notification_id for letter in (*first.letters, *second.letters)] == [
            f"n{number}" for number in range(10)
        ]
        await at.letters.discard(last, by=None, why="away with it")
        anew = {letter.notification_id for letter in at.letters.list(limit=100, after=first.next).letters}
        assert anew >= {letter.notification_id for letter in second.letters}
        assert at.ids(after="what is no cursor") == at.ids()


async def test_groups_have_their_size_and_their_time(autojump_clock):
    async with desk() as at:
        await at.die(*FIVE)
        first, *_ = groups = at.letters.groups()
        assert [(group.key, group.count) for group in groups] == [
            ("mailbox full", 3),
            ("no such user", 1),
            ("Mailbox full again", 1),
        ]
        assert (first.oldest, first.newest) == (at.letters.letter("a").moved_at, at.letters.letter("x/e").moved_at)
        assert {group.key: group.count for group in at.letters.groups(by="channel")} == {"email": 4, "sms": 1}
        assert at.letters.groups(Filter(channel=SMS), by="recipient")[0].key == "+4670"


async def test_two_who_retry_at_once_retry_once(tmp_path):
    async with SqliteStore.open(tmp_path / "store.db") as store, desk(store) as at:
        await at.die(command("n", message="gone: no more"), pace=0)
        answers = []

        async def order(who: str) -> None:
            answers.append(await at.letters.retry("n", by=who, edit={"message": "Hello"}))

        async with trio.open_nursery() as nursery:
            for who in ("ann", "bob"):
                nursery.start_soon(order, who)
        assert sorted(answers) == [False, True]
        assert await at.notifier.wait_until_quiet()
        assert at.provider.ids == ["n"]
        assert not await at.letters.retry("n", by="cal")
        assert len(await at.letters.audit()) == 1


async def test_one_who_discards_and_one_who_retries_at_once_do_one_of_them(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: x"))
        async with trio.open_nursery() as nursery:
            answers = {}

            async def retry() -> None:
                answers["retry"] = await at.letters.retry("n", by="ann")

            async def discard() -> None:
                answers["discard"] = await at.letters.discard("n", by="bob", why="old")

            nursery.start_soon(retry)
            nursery.start_soon(discard)
        assert sorted(answers.values()) == [False, True]
        assert [entry.action for entry in await at.letters.audit()] == [who for who, won in answers.items() if won]


async def test_quiet_is_only_when_a_redrive_has_become_durable_and_ended(tmp_path):
    async with SqliteStore.open(tmp_path / "store.db") as store, desk(store) as at:
        await at.notifier.send(command("n", message="bad: x"))
        await at.notifier.wait_until_quiet()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: at.letters.retry("n", by=None, edit={"message": "Hello"}))
            while at.letters.letter("n") is not None:
                await trio.lowlevel.checkpoint()
            assert at.notifier.in_flight == 0  # its redrive is not durable yet
            assert await at.notifier.wait_until_quiet(10)
            assert at.provider.ids == ["n"]


EDIT = {"recipient": "bob@example.org", "subject": "Sorry", "message": "bad: again", "metadata": {"x": [1]}}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_an_edit_is_tried_recorded_and_survives_a_restart(kind, tmp_path):
    original = command("n", message="bad: typo", metadata={"lang": "sv"})
    provider = Provided()

    memory = MemoryStore()

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Desk]:
        in_file = SqliteStore.open(tmp_path / "store.db")
        async with nullcontext(memory) if kind == "memory" else in_file as store, desk(store, provider) as at:
            yield at

    async with opened() as at:
        await at.die(original, pace=0)
        assert await at.letters.retry("n", by="ann", edit=EDIT, why="wrong address")
        await at.notifier.wait_until_quiet()
    async with opened() as at:
        letter = at.letters.letter("n")
        assert letter.command == msgspec.structs.replace(original, **EDIT)
        assert (letter.accepted, letter.edits) == (original, 1)
        assert [failed.reason for failed in letter.history] == ["typo", "again"]
        assert await at.notifier.send(original) is Acceptance.DUPLICATE  # its sender knows of no edit
        with pytest.raises(IdempotencyConflict):
            await at.notifier.send(letter.command)
        (entry,) = await at.letters.audit()
        assert (entry.action, entry.by, entry.why, dict(entry.edit)) == ("retry", "ann", "wrong address", {
            **EDIT, "metadata": {"x": (1,)},
        })  # fmt: skip
        assert await at.letters.retry("n", by="bob", edit={"message": "Hello"})
        await at.notifier.wait_until_quiet()
        (attempt,) = provider.taken
        assert attempt.command == msgspec.structs.replace(original, **{**EDIT, "message": "Hello"})
        assert attempt.idempotency_key == "n/edit-2"
        assert await at.notifier.send(original) is Acceptance.DUPLICATE

    async with opened() as at:
        assert await at.notifier.send(original) is Acceptance.DUPLICATE
        shown = await at.letters.show("n")
        assert (shown.state, shown.accepted, shown.command.message) == ("sent", original, "Hello")
        assert [entry.by for entry in shown.audit] == ["ann", "bob"]


async def test_an_edit_is_taken_up_after_a_crash_in_the_middle_of_it(tmp_path):
    original = command("n", message="bad: typo")
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store, desk(store) as at:
        await at.notifier.send(original)
        await at.notifier.wait_until_quiet()

    class Stuck(Provider):
        def attempt(self, attempt: Attempt, now_ns: int) -> Any:
            return trio.sleep_forever

    with trio.CancelScope() as scope:
        async with (
            SqliteStore.open(path) as store,
            Notifier.open(providers=Stuck(), store=store) as notifier,
            trio.open_nursery() as nursery,
        ):
            assert await DeadLetters(notifier, nursery).retry("n", by="ann", edit={"recipient": "bob@example.org"})
            scope.cancel()
    provider = Provided()
    provider.attempt = lambda attempt, now_ns: (provider.taken.append(attempt), Foreseen(0, Sent()))[1]
    async with SqliteStore.open(path) as store, desk(store, provider) as at:
        await at.notifier.wait_until_quiet()
    (attempt,) = provider.taken
    assert (attempt.command.recipient, attempt.idempotency_key) == ("bob@example.org", "n/edit-1")


@pytest.mark.parametrize("reopens", [False, True])
async def test_while_an_edited_one_is_in_flight_it_is_known_as_it_came(reopens, tmp_path):
    original, path = command("n", message="bad: typo"), tmp_path / "store.db"

    class Busy(Provided):
        def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
            return Foreseen(0, Transient(reason="busy")) if attempt.edits else super().attempt(attempt, now_ns)

    async def comes_again(at: Desk) -> None:
        assert await at.notifier.send(original) is Acceptance.DUPLICATE
        with pytest.raises(IdempotencyConflict):
            await at.notifier.send(command("n", message="Hello"))
        assert at.notifier.in_flight == 1

    waits = {"channels": {"email": {"retry": {"initial_delay": 3600, "max_delay": 3600}}}, "drain": 0}
    async with SqliteStore.open(path) as store, desk(store, Busy(), **waits) as at:
        await at.die(original, pace=0)
        assert await at.letters.retry("n", by="ann", edit={"message": "Hello"})
        await comes_again(at)
    if reopens:
        async with SqliteStore.open(path) as store, desk(store, Busy(), **waits) as at:
            await comes_again(at)


@pytest.mark.parametrize(
    ("edit", "key"),
    [({}, "n"), ({"expires_after": 60.0}, "n"), ({"message": "bad: x"}, "n"), ({"subject": "S"}, "n/edit-1")],
)
async def test_only_another_payload_has_another_idempotency_key(edit, key, autojump_clock):
    seen = []

    class Listening(Provided):
        def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
            seen.append(attempt.idempotency_key)
            return super().attempt(attempt, now_ns)

    async with desk(provider=Listening()) as at:
        await at.die(command("n", message="bad: x"))
        assert await at.letters.retry("n", by=None, edit=edit)
        await at.notifier.wait_until_quiet()
    assert seen == ["n", key]


@pytest.mark.parametrize(("edit", "problems"), tables(__file__)["refused_edits"])
async def test_an_edit_that_cannot_be_is_refused_by_the_field_and_nothing_happens(edit, problems, autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: x"))
        with pytest.raises(EditRefused) as refused:
            await at.letters.retry("n", by="ann", edit=edit)
        assert {name: problem.replace("(1,)", "[1]") for name, problem in refused.value.problems.items()} == problems
        assert at.ids() == ["n"]
        assert await at.letters.audit() == []
        assert await at.letters.retry("n", by="ann")


NOT_EDITED, NOT_KEPT = "unknown field; it cannot be edited", "metadata: notification 'n' cannot be stored"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        *(({name: "x"}, NOT_EDITED) for name in ("notification_id", "channel", "user_id", "recipeint")),
        *(({"metadata": {"value": value}}, NOT_KEPT) for value in (2**70, object(), "\ud800")),
    ],
    ids=range(7),
)
async def test_what_is_not_to_be_edited_or_no_store_could_keep_is_refused(edit, problem, autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: x"))
        with pytest.raises(EditRefused, match=problem):
            await at.letters.retry("n", by="ann", edit=edit)
        assert at.ids() == ["n"]


async def test_the_address_that_a_retry_is_for_is_dead_no_more_and_another_one_stays_so(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="gone: no such mailbox"))
        await at.letters.retry("n", by="ann", edit={"recipient": "bob@example.org", "message": "Hello"})
        await at.notifier.wait_until_quiet()
        await at.notifier.send(command("m"))
        await at.notifier.wait_until_quiet()
        assert at.provider.ids == ["n"]  # m is suppressed: its address is still gone


async def test_show_has_everything_that_is_known_of_one(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: no"))
        shown = await at.letters.show("n")
        assert (shown.state, shown.letter, shown.audit) == ("dead letter", at.letters.letter("n"), ())
        assert [type(event).__name__ for event in shown.events] == ["NotificationRequested", "NotificationFailed",
            "NotificationMovedToDeadLetter"]  # fmt: skip
        assert [(attempt.reason, attempt.answer) for attempt in shown.attempts] == [("no", "550 no")]
        await at.letters.retry("n", by="ann", edit={"message": "Hello"}, why="now it fits")
        await at.notifier.wait_until_quiet()
        shown = await at.letters.show("n")
        assert (shown.state, shown.letter, len(shown.attempts)) == ("sent", None, 2)
        assert [(entry.by, entry.why) for entry in shown.audit] == [("ann", "now it fits")]
        await at.notifier.send(command("sent"))
        await at.notifier.wait_until_quiet()
        assert ((await at.letters.show("sent")).state, await at.letters.show("unknown")) == ("sent", None)
        await at.die(command("old", message="bad: no"))
        await at.letters.discard("old", by="bob", why="test data")
        assert (await at.letters.show("old")).state == "discarded"


async def test_a_bulk_run_takes_what_fits_at_its_rate_and_tells_how_far_it_is(autojump_clock):
    async with desk() as at:
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(10)), command("y", message="bad: y"))
        redriven: list[float] = []
        at.notifier.bus.subscribe(NotificationRedriven)(lambda _: redriven.append(trio.current_time()))
        dry = at.letters.dry_run(Filter(reason="x"))
        assert (dry.count, [group.key for group in dry.groups], len(dry.sample)) == (10, ["x"], 5)
        bulk = at.letters.start_bulk("retry", Filter(reason="x"), by="ann", why="fixed", rate_per_s=2)
        assert (bulk.total, bulk.done, bulk.state) == (10, 0, "running")
        await trio.sleep(0.1)
        await at.letters.discard("n9", by="bob", why="mine")
        await at.die(command("n10", message="bad: x"))  # comes too late for this run
        await trio.sleep(10)
        assert (bulk.done, bulk.skipped, bulk.failed, bulk.state) == (9, 1, 0, "finished")
        assert [b - a for a, b in itertools.pairwise(redriven)] == pytest.approx([0.5] * 8)
        assert at.letters.bulks() == [bulk]
        assert {entry.by for entry in await at.letters.audit() if entry.action == "retry"} == {"ann"}
        (started,) = [entry for entry in await at.letters.audit() if entry.action == "bulk retry"]
        assert (started.by, started.why) == ("ann", "fixed")
        assert started.about == f"reason x (10 dead letters, run {bulk.id})"


async def test_a_bulk_run_says_in_the_log_what_has_failed_and_why(autojump_clock, monkeypatch, caplog):
    async def full(*_arguments: Any, **_options: Any) -> bool:
        raise StoreFailed("the disk is full")

    async with desk() as at:
        await at.die(command("n1", message="bad: x"), command("n2", message="bad: x"))
        monkeypatch.setattr(at.letters, "retry", full)
        bulk = at.letters.start_bulk("retry", Filter(), by="ann", why=None, rate_per_s=100)
        await trio.sleep(1)
        assert (bulk.failed, bulk.state) == (2, "finished")
    assert caplog.text.count("the disk is full") == 2


async def test_a_bulk_run_that_is_cancelled_leaves_the_rest(autojump_clock):
    async with desk() as at:
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(10)))
        bulk = at.letters.start_bulk("discard", Filter(), by="ann", why="old", rate_per_s=1)
        await trio.sleep(2.5)
        assert bulk.cancel("bob")
        assert not bulk.cancel("cal")
        await trio.sleep(100)
        assert (bulk.done, bulk.state, bulk.cancelled_by) == (3, "cancelled", "bob")
        assert bulk.ended_at - bulk.started_at == timedelta(seconds=2.5)
        assert at.ids() == [f"n{number}" for number in range(3, 10)]
        assert [(entry.action, entry.by) for entry in await at.letters.audit(1)] == [("cancel bulk discard", "bob")]


async def test_two_bulk_runs_over_the_same_letters_do_each_once(autojump_clock):
    async with desk() as at:
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(10)))
        gone: list[str] = []
        at.notifier.bus.subscribe(DeadLetterDiscarded)(lambda event: gone.append(event.notification_id))
        runs = [at.letters.start_bulk("discard", Filter(), by=who, why="old", rate_per_s=1000) for who in ("a", "b")]
        await trio.sleep(1)
        assert sorted(gone) == [f"n{number}" for number in range(10)]
        assert sum(run.done for run in runs) == sum(run.skipped for run in runs) == 10


async def cut_off_after_four(at):
    """Start a bulk run over ten dead letters, and end its nursery when it has discarded four; return it."""
    await at.die(*(command(f"n{number}", message="bad: x") for number in range(10)))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            at.letters.use(at.notifier, nursery)
            bulk = at.letters.start_bulk("discard", Filter(), by="ann", why="old", rate_per_s=1)
            await trio.sleep(3.5)
            scope.cancel()
    return bulk


@pytest.mark.parametrize(("is_cancelled", "state", "done"), [(False, "finished", 10), (True, "cancelled", 4)])
async def test_a_bulk_run_goes_on_with_the_next_notifier_or_ends(is_cancelled, state, done, autojump_clock):
    store = MemoryStore()
    async with desk(store) as at:
        bulk = await cut_off_after_four(at)
        assert (bulk.state, bulk.done) == ("running", 4)
        assert not is_cancelled or bulk.cancel("bob")
        assert bulk.ended_at is None
    async with Notifier.open(store=store) as notifier, trio.open_nursery() as nursery:
        at.letters.use(notifier, nursery)
    assert (bulk.state, bulk.done, bulk.skipped) == (state, done, 0)
    assert bulk.ended_at is not None


async def test_what_waits_for_the_store_when_a_cancelled_bulk_run_is_cut_off_is_not_asked_again(autojump_clock):
    asked: list[str] = []

    async def wait_forever(notification_id: str) -> bool:
        asked.append(notification_id)
        await trio.sleep_forever()
        return True

    async with desk() as at:
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(3)))
        bulk = at.letters.start_bulk("discard", Filter(), by="ann", why="old", rate_per_s=1)
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bulk.run, wait_forever)
                await trio.testing.wait_all_tasks_blocked()
                bulk.cancel("bob")
        before = [*asked]
        with trio.move_on_after(60):
            await bulk.run(wait_forever)
        assert asked == before


async def test_a_bulk_run_of_another_kind_is_none_and_discards_nothing(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: x"))
        with pytest.raises(ValueError, match="action: wanted one of retry, discard, got 'redrive'"):
            at.letters.start_bulk("redrive", Filter(), by="ann", why=None, rate_per_s=1)  # type: ignore[arg-type]
        await trio.sleep(1)
        assert (at.letters.bulks(), len(at.letters.list().letters)) == ([], 1)


async def test_a_bulk_run_that_cannot_start_is_none(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: x"))
        async with trio.open_nursery() as nursery:
            at.letters.use(at.notifier, nursery)
        with pytest.raises(RuntimeError, match="closed"):
            at.letters.start_bulk("discard", Filter(), by="ann", why="old", rate_per_s=1)
        assert at.letters.bulks() == []
        async with trio.open_nursery() as nursery:
            at.letters.use(at.notifier, nursery)
        assert at.ids() == ["n"]


async def test_bulk_runs_under_way_do_not_push_out_those_that_have_ended(autojump_clock, monkeypatch):
    monkeypatch.setattr("actors.service.operations.dead_letters.BULKS_KEPT", 2)
    async with desk() as at:
        ended = [at.letters.start_bulk("retry", Filter(), by=None, why=None, rate_per_s=1) for _ in range(3)]
        await trio.sleep(1)  # there was nothing to do
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(10)))
        under_way = [at.letters.start_bulk("retry", Filter(), by=None, why=None, rate_per_s=0.1) for _ in range(4)]
        assert at.letters.bulks() == [*ended[-2:], *under_way]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 10_001])
async def test_a_rate_out_of_range_is_refused(rate, autojump_clock):
    async with desk() as at:
        with pytest.raises(ValueError, match=r"rate_per_s: wanted a number above 0 and up to 10000, got"):
            at.letters.start_bulk("retry", Filter(), by=None, why=None, rate_per_s=rate)


async def test_the_oldest_leaves_a_queue_that_is_full(autojump_clock):
    async with desk(dead_letters={"at_most": 3}) as at:
        gone: list[tuple[str, str, str | None]] = []
        at.notifier.bus.subscribe(DeadLetterDiscarded)(
            lambda event: gone.append((event.notification_id, event.reason, event.by))
        )
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(5)))
        assert at.ids() == ["n2", "n3", "n4"]
        assert gone == [("n0", "full", None), ("n1", "full", None)]
        assert [(entry.notification_id, entry.action, entry.why) for entry in await at.letters.audit()] == [
            ("n1", "discard", "full"),
            ("n0", "discard", "full"),
        ]


async def test_what_is_kept_for_long_enough_is_discarded_at_its_time(autojump_clock):
    async with desk(dead_letters={"keep": 60}) as at:
        begun = trio.current_time()
        gone: list[tuple[str, str, float]] = []
        at.notifier.bus.subscribe(DeadLetterDiscarded)(
            lambda event: gone.append((event.notification_id, event.reason, trio.current_time() - begun))
        )
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(3)))
        await at.letters.discard("n0", by="ann", why="mine")
        await trio.sleep(7)
        await at.letters.retry("n1", by="ann")  # fails again at 10 s, and is kept from then on
        await trio.sleep(100)
        assert at.ids() == []
        assert [(each, why) for each, why, _ in gone] == [("n0", "mine"), ("n2", "retention"), ("n1", "retention")]
        assert [at_s for *_, at_s in gone] == pytest.approx([3, 62, 70])


async def test_a_queue_that_is_too_long_is_cut_when_it_is_opened(tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store, desk(store) as at:
        await at.die(*(command(f"n{number}", message="bad: x") for number in range(6)), pace=0)
    async with SqliteStore.open(path) as store, desk(store, dead_letters={"at_most": 4}) as at:
        await at.notifier.send(command("m"))  # behind what the queue does when it starts
        assert at.ids() == ["n2", "n3", "n4", "n5"]
    async with SqliteStore.open(path) as store, desk(store) as at:
        assert at.ids() == ["n2", "n3", "n4", "n5"]


async def test_who_orders_a_breaker_about_is_in_the_audit_trail(autojump_clock):
    async with desk() as at:
        assert await at.letters.operate_breaker("email", "force-open", by="ann", why="the provider asked")
        (entry,) = await at.letters.audit()
        assert (entry.action, entry.about, entry.by) == (
            "breaker force-open",
            "email, until another override or a restart",
            "ann",
        )


FALLS_BACK = {"channels": {"email": {"fallback": {"channel": "sms"}}, "sms": {}}}
"""What email dead-letters goes out by SMS, which takes what is not bad."""


class BadByEmail(Provided):
    """Dead-letters every email, and takes everything else."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        if attempt.command.channel is EMAIL and len(self.taken) < 4:
            return Foreseen(0, Permanent(reason="no such mailbox"))
        return super().attempt(attempt, now_ns)


@asynccontextmanager
async def four_served_and_one_not() -> AsyncGenerator[Desk]:
    async with desk(provider=BadByEmail(), **FALLS_BACK) as at:
        await at.die(*(command(f"s{number}", addresses={SMS: "+4670"}) for number in range(4)))
        await at.die(command("u", message="bad: x"))
        yield at


async def test_one_that_is_served_is_not_retried_unless_told_so(autojump_clock):
    async with four_served_and_one_not() as at:
        assert [(letter.notification_id, letter.served) for letter in at.letters.list().letters] == [
            *((f"s{number}", True) for number in range(4)), ("u", False),
        ]  # fmt: skip
        assert at.letters.letter("s0").served
        assert (await at.letters.show("s0")).letter.served
        for edit in (None, {"message": "Hello again"}):
            with pytest.raises(LetterServed, match="'s0' is served: its fallback"):
                await at.letters.retry("s0", by="ann", edit=edit)
        assert len(at.ids()) == 5
        assert not [entry for entry in await at.letters.audit() if entry.action == "retry"]
        assert await at.letters.retry("s0", by="ann", served="include")
        await at.notifier.wait_until_quiet()
        assert at.provider.ids.count("s0/sms") == at.provider.ids.count("s0") == 1
        with pytest.raises(ValueError, match="served: wanted one of exclude, include, got 'too'"):
            await at.letters.retry("s1", by="ann", served="too")


@pytest.mark.parametrize(("served", "done", "left_out"), [("exclude", 1, 4), ("include", 5, 0)])
async def test_a_bulk_retry_leaves_out_those_that_are_served_and_says_how_many(served, done, left_out, autojump_clock):
    async with four_served_and_one_not() as at:
        dry = at.letters.dry_run(Filter(), "retry", served=served)
        assert (dry.count, dry.left_out, sum(group.count for group in dry.groups)) == (done, left_out, done)
        bulk = at.letters.start_bulk("retry", Filter(), by="ann", why=None, rate_per_s=100, served=served)
        await trio.sleep(1)
        assert (bulk.total, bulk.done, bulk.left_out, bulk.failed) == (5, done, left_out, 0)
        assert (bulk.handled, bulk.state) == (5, "finished")
        assert len(at.ids(Filter(id_prefix="s"))) == left_out
        (started,) = [entry for entry in await at.letters.audit() if entry.action == "bulk retry"]
        assert (", served ones too" in started.about) is (served == "include")


async def test_one_that_comes_to_be_served_while_a_bulk_run_is_under_way_is_left_out(autojump_clock):
    async with desk(**FALLS_BACK) as at:
        await at.die(command("n", message="bad: x", addresses={SMS: "+4670"}))
        assert at.ids() == ["n", "n/sms"]
        bulk = at.letters.start_bulk("retry", Filter(), by="ann", why=None, rate_per_s=1)
        await at.letters.retry("n/sms", by="bob", edit={"message": "Hello"})
        await trio.sleep(5)
        assert at.provider.ids == ["n/sms"]
        assert (bulk.total, bulk.done, bulk.left_out, bulk.skipped, bulk.failed) == (2, 0, 1, 1, 0)


async def test_a_bulk_discard_takes_those_that_are_served(autojump_clock):
    async with four_served_and_one_not() as at:
        assert at.letters.dry_run(Filter()).count == 5
        at.letters.start_bulk("discard", Filter(), by="ann", why="test data", rate_per_s=100)
        await trio.sleep(1)
        assert at.ids() == []


async def test_the_attempt_that_succeeded_after_a_retry_is_counted(autojump_clock):
    async with desk() as at:
        await at.die(command("n", message="bad: no"))
        await at.letters.retry("n", by="otto", edit={"message": "Hello"})
        await at.notifier.wait_until_quiet()
        state = await at.notifier.state("n")
    assert (state.state, state.attempts) == ("sent", 1)


async def test_nothing_is_said_to_be_erased_by_a_notifier_that_is_closed(autojump_clock):
    async with desk() as at:
        pass
    with pytest.raises(NotifierClosed):
        await at.letters.erase("ann", by="otto")


async def test_a_user_s_data_is_erased_and_the_trail_names_the_user_by_a_digest_alone(autojump_clock):
    async with desk() as at:
        ann, bob = {"user_id": "ann"}, {"user_id": "bob"}
        await at.die(command("dead", message="bad: no", **ann), command("other", message="bad: no", **bob))
        await at.letters.retry("dead", by="otto", edit={"message": "bad: again"})
        await at.notifier.wait_until_quiet()
        later = at.notifier.system.present + timedelta(hours=1)
        await at.notifier.send(command("later", not_before=later, **ann))
        await at.notifier.send(command("others", not_before=later, **bob))
        erased = await at.letters.erase("ann", by="otto", why="asked for by letter")
        assert erased == (1, 1, 1, False, 0)
        assert at.ids() == ["other"]
        assert (await at.notifier.state("later")).state == "cancelled"
        assert (await at.notifier.state("others")).state == "in flight"
        assert (await at.letters.show("dead")).events == ()
        [entry, *_] = await at.letters.audit()
        assert (entry.action, entry.by, entry.why) == ("erase", "otto", "asked for by letter")
        assert entry.about == "user " + hashlib.sha256(b"ann").hexdigest()[:16]
        assert await at.notifier.cancel("others")
