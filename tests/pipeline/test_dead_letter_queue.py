"""The dead letter queue: questions, redriving, discarding, the alert and the log."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from timetables import crash, numbered, redrive, send_at
from worlds import OK, Scripted, World, email, on_both_clocks, simulate

import simulation
from actors import Notifier
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
)
from actors.outcomes import Permanent, Transient
from actors.pipeline.dead_letter_queue import (
    FULL,
    RETENTION,
    Dequeue,
    DiscardDeadLetter,
    Get,
    ListDeadLetters,
    Peek,
)
from actors.settings.channel import DeadLettersConfig
from actors.storage.sqlite.store import SqliteStore
from simulation.scenario import load

BAD = Permanent(reason="bad address")


def queue_of(world: World):
    return world.pipeline.dead_letter_queue


def three_letters(world: World) -> None:
    """Open a pipeline in which a, b and c fail for good, and whatever comes after succeeds."""
    world.open(Scripted([BAD, Permanent(reason="bad number"), Permanent(reason="too long")]), email={}, sms={})
    world.send(email("a"), email("b", channel="sms"), email("c"))


def note_ids(world: World) -> None:
    """Replace letters among the notes by their ids."""

    def plain(note: object) -> object:
        if isinstance(note, list):
            return [plain(each) for each in note]
        return getattr(note, "notification_id", note)

    world.notes[:] = [plain(note) for note in world.notes]


def ask(question: object) -> Callable[[World], None]:
    return lambda world: world.ask(queue_of(world), question)


def discard(notification_id: str, reason: str = "why not") -> Callable[[World], None]:
    return ask(DiscardDeadLetter(notification_id=notification_id, reason=reason))


def asked(*questions: object) -> list[object]:
    world = send_at([(second, ask(each)) for second, each in enumerate(questions, start=1)], opens=three_letters)
    note_ids(world)
    return world.notes[3:]


def test_peek_leaves_and_dequeue_removes_the_oldest():
    assert asked(Peek(), Peek(), Dequeue(), Peek(), Dequeue(), Dequeue(), Dequeue(), Peek()) == [
        "a", "a", "a", "b", "b", "c", None, None,
    ]  # fmt: skip


def test_get_shows_one_and_leaves_it():
    assert asked(Get(notification_id="b"), Get(notification_id="b"), Get(notification_id="x")) == ["b", "b", None]


def test_list_by_reason_and_channel():
    assert asked(
        ListDeadLetters(),
        ListDeadLetters(reason="bad"),
        ListDeadLetters(channel="email"),
        ListDeadLetters(reason="bad", channel="email"),
        ListDeadLetters(reason="nothing of the sort"),
    ) == [["a", "b", "c"], ["a", "b"], ["a", "c"], ["a"], []]


def test_redrive_takes_it_out_and_a_second_one_does_nothing():
    sends = [(1, redrive("b")), (1, redrive("b")), (2, redrive("b")), (2, redrive("x"))]
    world = send_at(sends, opens=three_letters)
    assert world.notes[3:] == [True, False, False, False]
    assert world.times(NotificationRedriven) == [1.0]
    assert world.sent_ids() == ["b"]
    assert [letter.notification_id for letter in world.letters] == ["a", "c"]


def test_discard_removes_with_a_reason_and_stays_dead_lettered_in_the_count():
    sends = {1: discard("a", "customer left"), 2: discard("a", "again"), 3: redrive("a"), 4: ask(Dequeue())}
    world = send_at(sends, opens=three_letters)
    note_ids(world)
    assert world.notes[3:] == [True, False, False, "b"]
    discarded = [(event.notification_id, event.reason) for event in world.events(DeadLetterDiscarded)]
    assert discarded == [("a", "customer left"), ("b", "dequeued")]
    assert [letter.notification_id for letter in world.letters] == ["c"]
    assert world.pipeline.in_flight == 0


def test_a_letter_that_fails_again_is_at_the_end_of_the_queue():
    world = send_at({0: [email("a"), email("b")], 10: redrive("a")}, lambda _: BAD)
    assert [letter.notification_id for letter in world.letters] == ["b", "a"]
    assert [len(letter.history) for letter in world.letters] == [1, 2]


def test_a_letter_has_the_command_every_attempt_and_the_providers_answers():
    sends = {5: email("a", metadata={"x": 1})}
    world = send_at(sends, [Transient(reason="busy", answer="451 4.7.1 later"), Permanent(reason="no", answer="550")])
    (letter,) = world.letters
    assert letter.command == email("a", metadata={"x": 1})
    assert [(each.reason, each.answer, each.attempt) for each in letter.history] == [
        ("busy", "451 4.7.1 later", 1),
        ("no", "550", 2),
    ]
    assert (letter.first_failure - letter.requested_at).total_seconds() == 0
    assert (letter.last_failure - letter.first_failure).total_seconds() == 1


# ── alert and log ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_alert_and_the_log_word_for_word(caplog):
    world = send_at({0: email("welcome-1")}, lambda _: Transient(reason="provider outage"), log=True)
    assert world.alerts == ["Notification welcome-1 moved to DLQ: provider outage"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    said = ["DLQ: welcome-1 failed after 3 attempts: provider outage"] * 2  # both clocks
    assert [record.getMessage() for record in errors] == said


def test_alerts_are_deduplicated_by_channel_and_reason_for_five_minutes():
    def scenario(world: World) -> None:
        world.open(Scripted(lambda this: Permanent(reason=this.command.message)), email={}, sms={})
        world.send(email("a1", message="x"), email("a2", message="x"), email("a3", message="y"))
        world.send(email("s1", channel="sms", message="x"), at=1)
        world.send(email("a4", message="x"), at=299.9)
        world.send(email("a5", message="x"), at=300)
        world.send(email("a6", message="x"), at=599)

    world = on_both_clocks(scenario)
    assert [text.split()[1] for text in world.alerts] == ["a1", "a3", "s1", "a5"]
    assert list(world.pipeline.alert.actor.alerts) == world.alerts
    assert world.pipeline.alert.actor.repeated == 3
    assert len(world.letters) == 7


def test_what_is_remembered_about_alerts_is_bounded():
    sends = {number: email(f"n{number}") for number in range(1000)}
    world = send_at(sends, lambda this: Permanent(reason=f"at {this.at}"), run=simulate)
    assert len(world.alerts) == 1000
    assert len(world.pipeline.alert.actor._latest_ns) <= 301


@pytest.mark.parametrize("is_async", [False, True])
def test_an_alert_that_raises_or_takes_its_time_keeps_no_one_waiting(is_async, caplog):
    def scenario(world: World) -> None:
        def raises(text: str) -> None:
            raise ConnectionError("the pager is down")

        async def slow(text: str) -> None:
            await world.pipeline.handler.actor.sleep(1000)
            world.notes.append((text, world.system.now_ns))
            raise ConnectionError("the pager is down")

        world.open(Scripted([Permanent(reason="x"), Permanent(reason="y")]), notify=slow if is_async else raises)
        world.send(email("a"), email("b"), email("c"))

    world = on_both_clocks(scenario)
    assert world.times(NotificationSent) == [0.0]
    assert len(world.letters) == 2
    assert world.events(ActorFailed) == []
    if is_async:
        assert world.notes[3:] == [
            ("Notification a moved to DLQ: x", 1_000_000_000_000),
            ("Notification b moved to DLQ: y", 1_000_000_000_000),
        ]
    assert "could not raise the alert 'Notification a moved to DLQ: x'" in caplog.text


# ── time and room ───────────────────────────────────────────────────────────────────────────────────────────────


def bounded(timetable: Any, *, keep: float | None = None, at_most: int | None = None, **run: Any) -> World:
    """Run a timetable of which all messages that begin with an x fail, with such bounds to the queue."""
    bounds = DeadLettersConfig(keep=keep, at_most=at_most)
    return send_at(timetable, lambda this: BAD if this.command.message == "x" else OK, dead_letters=bounds, **run)


def own_discards(world: World) -> list[tuple[str, str, float]]:
    """Return what the queue has discarded by itself: which, why, when."""
    return [
        (event.notification_id, event.reason, event.at_ns / 1e9)
        for event in world.events(DeadLetterDiscarded)
        if event.reason in (FULL, RETENTION)
    ]


def test_what_is_kept_for_long_enough_and_what_has_no_room_is_discarded_oldest_first():
    # The redriven one is kept from then on.
    sends = {number: give("die", number) for number in range(5)} | {10: redrive("n3")}
    world = bounded(sends, keep=60, at_most=3)
    assert own_discards(world) == [
        ("n0", "full", 3.0), ("n1", "full", 4.0), ("n2", "retention", 62.0), ("n4", "retention", 64.0),
        ("n3", "retention", 70.0),
    ]  # fmt: skip
    assert world.letters == []


def test_a_queue_that_starts_anew_keeps_its_retention():
    world = bounded({number: give("die", number) for number in range(3)} | {30: crash("queue")}, keep=60)
    assert own_discards(world) == [(f"n{number}", "retention", 60.0 + number) for number in range(3)]


def give(order: str, number: int) -> Any:
    """Have a notification die, be sent, redriven or discarded, the oldest letter taken out, or the queue crash."""
    match order:
        case "die" | "send":
            return email(f"n{number}", message="x" if order == "die" else "Hello")
        case "redrive":
            return redrive(f"n{number}")
        case "discard":
            return discard(f"n{number}")
        case "dequeue":
            return ask(Dequeue())
        case "crash":
            return lambda world: world.system.crash(queue_of(world), RuntimeError("bug"), number)


DEATHS = st.tuples(st.sampled_from(["die", "redrive", "discard"]), st.integers(0, 9), st.integers(0, 60))


@given(st.lists(DEATHS, max_size=40), st.none() | st.integers(5, 30), st.none() | st.integers(1, 5))
def test_the_queue_keeps_what_it_may_and_no_more_whatever_happens(orders, keep, at_most):
    looks: list[list[float]] = []

    def look(world: World) -> None:
        looks.append([(world.system.now_ns - each.moved_at_ns) / 1e9 for each in world.letters])

    sends = [(at, give(order, number)) for order, number, at in orders]
    sends += [(second + 0.5, look) for second in range(100)]
    world = bounded(sends, keep=keep, at_most=at_most, run=simulate, until=1000)
    for ages in looks:
        assert at_most is None or len(ages) <= at_most
        assert keep is None or all(age < keep for age in ages)
        assert ages == sorted(ages, reverse=True)
    moved: dict[str, float] = {}
    for event in world.history:
        match event:
            case NotificationMovedToDeadLetter():
                moved[event.notification_id] = event.at_ns / 1e9
            case DeadLetterDiscarded(reason="full"):
                assert len(moved) == at_most + 1
                assert min(moved.values()) == moved.pop(event.notification_id)
            case DeadLetterDiscarded(reason="retention"):
                assert event.at_ns / 1e9 == moved.pop(event.notification_id) + keep
            case DeadLetterDiscarded() | NotificationRedriven():
                del moved[event.notification_id]


CRASHES = st.tuples(
    st.sampled_from(["die", "die", "die", "redrive", "discard", "crash"]), st.integers(0, 9), st.integers(0, 30)
)


@given(st.lists(CRASHES, max_size=40), st.integers(1, 4))
@example([("die", 0, 1), ("crash", 5, 2), ("die", 1, 3), ("die", 2, 4)], 1)
def test_a_queue_that_crashes_discards_nothing_while_there_is_room(orders, at_most):
    sends = [(at, give(order, number)) for order, number, at in orders]
    world = bounded(sends, at_most=at_most, run=simulate, until=1000)
    dead: dict[str, None] = {}
    for event in world.history:
        if isinstance(event, NotificationMovedToDeadLetter):
            dead[event.notification_id] = None
        elif isinstance(event, DeadLetterDiscarded | NotificationRedriven):
            if isinstance(event, DeadLetterDiscarded) and event.reason == FULL:
                assert len(dead) > at_most
                assert event.notification_id == next(iter(dead))
            del dead[event.notification_id]
    assert [letter.notification_id for letter in world.letters] == [*dead]
    assert len(dead) <= at_most


# ── letters that are gone, in the mailbox of a queue that starts again ──────────────────────────────────────────

GONE = load(Path(__file__).parents[1] / "mutants" / "scenarios" / "letters-that-are-gone.yaml")


def test_letters_that_are_gone_take_no_room_when_the_queue_starts_again():
    simulated = simulation.run(GONE, invariants="all")
    assert [each["holds"] for each in simulated.summary["expectations"]] == [True]
    assert simulation.run(GONE, runtime="trio").history == simulated.history


async def test_nor_on_a_disk(tmp_path, mock_clock):
    async with SqliteStore.open(tmp_path / "store.db") as store:
        provider = Scripted(lambda _: BAD)
        async with Notifier.open({"dead_letters": {"at_most": 3}}, providers=provider, store=store) as notifier:
            queue = notifier.pipeline.dead_letter_queue
            for number in range(13):
                if number == 3:
                    notifier.system.crash(queue, RuntimeError("bug"), 10.0)
                await notifier.send(email(f"n{number}"))
                assert await notifier.wait_until_quiet()
            assert len(notifier.dead_letter_queue) == 13  # the queue that would discard them is down
            mock_clock.jump(10.0)
            assert (await queue.ask(Peek(), block=False)).notification_id == "n10"
    async with SqliteStore.open(tmp_path / "store.db") as store:
        discarded = [(each.notification_id, each.why) for each in await store.audit_trail()]
        assert discarded == [(f"n{number}", FULL) for number in reversed(range(10))]
        assert [letter.notification_id for letter in store.dead_letters()] == ["n10", "n11", "n12"]


# ── conservation ────────────────────────────────────────────────────────────────────────────────────────────────

ORDERS = st.tuples(
    st.sampled_from(["redrive", "discard", "dequeue", "send"]), st.integers(0, 5), st.floats(0, 30, allow_nan=False)
)


@given(st.lists(ORDERS, max_size=25), st.lists(st.booleans(), min_size=6, max_size=60))
def test_letters_are_conserved_whatever_is_ordered(orders, fates):
    sends = [(0, numbered(6)), *((at, give(order, number)) for order, number, at in orders)]
    world = send_at(sends, [BAD if fate else OK for fate in fates], run=simulate, until=1000)
    moved = len(world.events(NotificationMovedToDeadLetter))
    taken = len(world.events(NotificationRedriven)) + len(world.events(DeadLetterDiscarded))
    assert len(world.letters) == moved - taken
    assert world.pipeline.in_flight == 0
    assert len(world.sent_ids()) == len(set(world.sent_ids()))
    assert len(world.sent_ids()) + moved - len(world.events(NotificationRedriven)) == 6
