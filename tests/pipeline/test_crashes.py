"""Crashes of an actor and of the process, with stores that are quick and stores that lose what was not durable."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from timetables import crash, numbered, operate, send_at
from worlds import OK, START, Scripted, Try, World, email, most_in_a_window, on_both_clocks, simulate

from actors.domain.store import Store
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import DeadDestination, Permanent, Transient
from actors.pipeline.dead_letter_queue import Dequeue, DiscardDeadLetter, Get, Peek, RedriveDeadLetter
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore

STORES: dict[str, Callable[[], Store]] = {
    "memory": MemoryStore,
    "quick": lambda: LossyStore(commit_delay_ns=1_000_000),
    "slower than a restart": lambda: LossyStore(commit_delay_ns=300_000_000),
    "slower than everything": lambda: LossyStore(commit_delay_ns=10_000_000_000),
}


@pytest.fixture(params=list(STORES))
def make_store(request) -> Callable[[], Store]:
    return STORES[request.param]


# ── one actor ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("instant", [0.0, 0.5, 1.0, 1.2, 3.0, 5.0, 9.0])
def test_a_handler_that_crashes_loses_nothing_and_ends_each_notification_once(make_store, instant):
    def fate(this: Try) -> object:
        return {"b": Permanent(reason="bad"), "c": Transient(reason="busy")}.get(this.notification_id, OK)

    world = send_at(
        [(0, [email("a"), email("b"), email("c"), email("d")]), (instant, crash("handler"))],
        opens=lambda world: world.open(
            Scripted(fate, latency=1.0),
            store=make_store(),
            email={"circuit_breaker": {"enabled": False}, "max_in_flight": 2, "rate_limit": {"rate": "2/3s"}},
        ),
    )
    assert Counter(world.notes) == {"accepted": 4}
    assert sorted(world.sent_ids()) == ["a", "d"]
    assert sorted((letter.notification_id, letter.failure_reason) for letter in world.letters) == [
        ("b", "bad"),
        ("c", "busy"),
    ]
    assert world.pipeline.in_flight == 0
    assert len(world.events(NotificationRequested)) == 4


@pytest.mark.parametrize("victims", ["limiter", "breaker", "channel", "breaker channel", "limiter breaker channel"])
@pytest.mark.parametrize("instant", [0.0, 0.5, 1.0, 3.5])
def test_a_stage_that_crashes_loses_nothing_and_stale_results_are_ignored(make_store, victims, instant):
    world = send_at(
        [(0, numbered(5)), (instant, crash(*victims.split()))],
        opens=lambda world: world.open(
            Scripted([Transient()], latency=1.0),
            store=make_store(),
            email={"max_in_flight": 2, "rate_limit": {"rate": "2/3s"}},
        ),
    )
    assert sorted(world.sent_ids()) == [f"n{number}" for number in range(5)]
    assert world.letters == []


@pytest.mark.parametrize("victim", ["handler", "breaker", "channel"])
def test_the_result_of_an_attempt_from_before_the_crash_is_no_news(victim):
    """It uses up no attempt and sets no second retry: the attempt that took its place decides."""

    sends = {0: email("a"), 0.5: crash(victim)}
    world = send_at(sends, [Transient(), Transient(), OK], latency=2.0, email={"retry": {"max_attempts": 2}})
    resent_at = 0.6 if victim != "channel" else world.provider.tries[1].at
    assert world.provider.times == [0.0, resent_at, resent_at + 3.0]
    assert [(failure.attempt, failure.started_ns / 1e9) for failure in world.failures] == [(1, resent_at)]
    assert [(event.attempt, event.at_ns / 1e9) for event in world.events(NotificationSent)] == [(2, resent_at + 5.0)]


def test_everything_may_crash_at_once(make_store):
    def scenario(world: World) -> None:
        world.open(Scripted([Transient(), Permanent()], latency=1.0), store=make_store(), email={"max_in_flight": 2})
        world.send(*(email(f"n{number}") for number in range(5)))
        for instant in (0.5, 1.0, 30.0):
            world.at(instant, crash("handler", "breaker", "channel", "queue", "alert"), world)

    world = on_both_clocks(scenario)
    assert Counter(world.notes) == {"accepted": 5}
    assert len(world.sent_ids()) + len(world.letters) == 5


def test_retries_keep_their_time_through_a_crash(make_store):
    def times(timetable: dict[float, Any]) -> list[float]:
        def opens(world: World) -> None:
            world.open(Scripted([Transient(), Transient()]), store=make_store(), email={"retry": {"initial_delay": 20}})

        return send_at(timetable, opens=opens).provider.times

    sends = {0: email("n")}
    assert times({**sends, 15: crash("handler"), 40: crash("handler")}) == times(sends)


def test_a_retry_that_came_due_while_the_handler_was_down_is_made_as_soon_as_it_is_back():
    assert send_at({0: email("n"), 0.95: crash("handler")}, [Transient()]).provider.times == [0.0, 1.05]


def test_nothing_waits_twice_for_a_breaker_or_a_limit_after_the_handler_has_crashed():
    sends = {
        0: operate("force-open"),
        1: [*numbered(10, "e"), *numbered(4, "s", channel="sms", user_id="ann")],
        2: crash("handler"),
        50: operate("close"),
    }
    world = send_at(sends, email={}, sms={"rate_limit": {"rate": "1/10s"}})
    assert Counter(world.provider.ids) == Counter(world.sent_ids())
    assert set(Counter(world.provider.ids).values()) == {1}
    assert len(world.provider.ids) == 14


def test_what_lies_in_the_mailbox_of_a_stage_that_is_down_does_not_come_twice():
    """The limiter is down for longer than the handler, which sends anew what lies in the limiter's mailbox."""

    sends = {
        0: operate("force-open"),
        0.9: crash("limiter"),
        1.05: crash("limiter"),
        1.06: email("a"),
        1.07: crash("handler"),
        10: operate("close"),
    }
    world = send_at(sends, email={"rate_limit": {"rate": "9/s"}})
    assert world.provider.ids == ["a"]


def test_a_stage_that_crashes_doubles_nothing_that_waits_in_another():
    world = send_at({0: numbered(4), 5: crash("breaker")}, email={"rate_limit": {"rate": "1/10s"}})
    assert world.provider.ids == ["n0", "n1", "n2", "n3"]


@pytest.mark.parametrize("kind", ["sliding_window", "fixed_window", "token_bucket"])
@pytest.mark.parametrize("victim", ["limiter", "breaker", "handler"])
def test_a_crash_gives_no_one_another_quota(kind, victim):
    limit = {"rate": "3/60s", "kind": kind, **({"burst": 3} if kind == "token_bucket" else {})}
    sends = {0: numbered(9), 0.2: crash(victim), 10: crash(victim), 70: crash(victim)}
    world = send_at(sends, latency=0.5, email={"rate_limit": limit})
    assert sorted(world.sent_ids()) == [f"n{number}" for number in range(9)]
    first_tries: dict[str, int] = {}
    for each in world.provider.tries:
        first_tries.setdefault(each.notification_id, each.at_ns)
    if kind == "sliding_window":
        assert most_in_a_window(list(first_tries.values()), 60_000_000_000) <= 3


def test_an_open_breaker_stays_open_through_a_crash_and_reopens_when_it_would_have():
    world = send_at({0: numbered(5), 20: crash("breaker")}, [Transient()] * 5, email={"retry": {"max_attempts": 9}})
    assert [(each.to_state, each.at_ns / 1e9) for each in world.events(BreakerTransitioned)] == [
        ("open", 0.0),
        ("half-open", 60.0),
        ("closed", 60.0),
    ]
    assert world.provider.times[:6] == [0.0] * 5 + [60.0]


def test_the_answer_of_a_probe_counts_also_when_the_breaker_crashed_meanwhile():
    world = send_at(
        {0: numbered(5), 62: crash("breaker")},
        [Transient()] * 5,
        latency=lambda this: 5.0 if this.at >= 60 else 0.0,
        email={"retry": {"max_attempts": 9}},
    )
    assert [(each.to_state, each.at_ns / 1e9) for each in world.events(BreakerTransitioned)][-1] == ("closed", 65.0)
    assert sorted(world.sent_ids()) == [f"n{number}" for number in range(5)]


@pytest.mark.parametrize("victim", ["breaker", "channel", "limiter", "handler"])
def test_the_bulkhead_holds_through_crashes(victim):
    under_way: list[int] = []

    sends = {0: numbered(12), **{instant: crash(victim) for instant in (1.0, 2.5, 4.0)}}
    world = send_at(sends, latency=2.0, email={"max_in_flight": 3, "rate_limit": {"rate": "100/s"}})
    under_way = [
        sum(other.at_ns <= each.at_ns < other.at_ns + 2e9 for other in world.provider.tries)
        for each in world.provider.tries
    ]
    assert max(under_way) == 3
    assert sorted(set(world.sent_ids())) == sorted(f"n{number}" for number in range(12))
    assert next(iter(world.pipeline.wiring.stages.values())).in_flight == 0


def test_an_address_stays_dead_through_a_crash_of_the_handler():
    world = send_at({0: email("a"), 1: crash("handler"), 2: email("b")}, [DeadDestination()])
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["b"]


def test_a_dead_letter_redriven_while_its_queue_crashes_is_redriven_once(make_store):
    def scenario(world: World) -> None:
        world.open(Scripted([Permanent()]), store=make_store())
        queue = world.pipeline.dead_letter_queue
        world.send(email("a"))
        world.at(100, crash("handler"), world)
        for instant in (100.01, 100.3, 130.0):
            world.ask(queue, RedriveDeadLetter(notification_id="a"), at=instant)
            world.at(instant + 0.02, crash("queue"), world)
        world.ask(queue, DiscardDeadLetter(notification_id="a", reason="not needed"), at=130.5)
        world.ask(queue, Peek(), at=160)

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["a"]
    assert len(world.provider.tries) == 2
    assert len(world.events(NotificationRedriven)) == 1
    assert world.notes[-1] is None
    assert {event.actor for event in world.events(ActorFailed)} == {"Handler", "DeadLetterQueue"}
    assert all(event.error == "RuntimeError: injected crash" for event in world.events(ActorFailed))


@pytest.mark.parametrize("order", [Dequeue(), RedriveDeadLetter(notification_id="a")])
def test_a_letter_that_comes_while_its_queue_is_down_is_in_it_once(make_store, order):
    """It lies in the mailbox behind the order, and in the store that the queue reads as it starts again."""

    def scenario(world: World) -> None:
        world.open(Scripted([Permanent()], latency=1.0), store=make_store())
        queue = world.pipeline.dead_letter_queue
        world.send(email("a"))
        for instant in (0.9, 1.05, 1.4, 10.9, 21.1):
            world.at(instant, crash("queue"), world)
            world.ask(queue, order, at=instant + 0.01)
        for instant in (60, 61):
            world.ask(queue, order, at=instant)
        world.ask(queue, Peek(), at=100)

    world = on_both_clocks(scenario)
    assert world.letters == []
    assert world.notes[-1] is None
    taken = world.events(NotificationRedriven, DeadLetterDiscarded)
    assert len(taken) == 1
    assert len(world.sent_ids()) == len(world.events(NotificationRedriven))


def test_a_failure_that_was_to_be_the_last_is_not_followed_by_another_attempt():
    """The failed attempt is durable and its consequence is not: the process is gone in between."""
    store = LossyStore(commit_delay_ns=1_000_000_000)

    settings = {"email": {"retry": {"max_attempts": 1}}, "sms": {}}

    def before(world: World) -> None:
        world.open(Scripted([Transient(reason="busy"), Permanent(reason="bad"), Transient()]), store=store, **settings)
        world.send(email("a"), email("b"), email("c", channel="sms", expires_after=1.5))

    simulate(before, until=2.5)
    assert store.crash(2_500_000_000) == 3

    def after(world: World) -> None:
        world.open(store=store, **settings)

    world = simulate(after, start=START + timedelta(seconds=2.5))
    assert world.provider.tries == []
    assert {letter.notification_id: letter.failure_reason for letter in world.letters} == {
        "a": "busy",
        "b": "bad",
        "c": "expired",
    }


# ── answers, and what is durable ────────────────────────────────────────────────────────────────────────────────


def test_publishing_and_sending_are_answered_when_the_acceptance_is_durable():
    def scenario(world: World) -> None:
        world.open(store=LossyStore(commit_delay_ns=2_000_000_000))

        def noting_when(what: str) -> Callable[[], None]:
            return lambda: world.notes.append((what, world.system.now_ns / 1e9))

        def send() -> None:
            bus = world.pipeline.bus
            bus.send(email("a")).when_done(noting_when("a"))  # type: ignore[attr-defined]
            bus.subscribe(NotificationSuppressed)(lambda event: email("b"))
            bus.publish(
                NotificationSuppressed(at_ns=0, epoch_ns=0, notification_id="x", channel="email", reason="")
            ).when_done(noting_when("published"))  # type: ignore[attr-defined]

        def send_again() -> None:
            world.pipeline.bus.send(email("a")).when_done(noting_when("a again"))  # type: ignore[attr-defined]

        world.at(0, send)
        world.at(1, send_again)
        world.at(3, send_again)

    world = on_both_clocks(scenario)
    assert world.notes == [("a", 2.0), ("a again", 2.0), ("published", 2.0), ("a again", 3.0)]
    assert world.provider.times == [2.0, 2.0]
    assert world.times(NotificationRequested) == [0.0, 0.0]  # the event says when it came, not when it was durable
    assert world.times(NotificationSent) == [2.0, 2.0]


def test_an_id_that_has_ended_is_known_from_that_moment_on():
    sends = {instant: email("a") for instant in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 100.0)}
    world = send_at(sends, opens=lambda world: world.open(store=LossyStore(commit_delay_ns=1_000_000_000)))
    assert Counter(world.notes) == {"accepted": 1, "duplicate": 6}
    assert world.sent_ids() == ["a"]


def test_a_sender_is_answered_also_when_the_handler_crashes_before_the_commit_is_done():
    sends = {0: email("a"), 0.3: email("a"), 0.5: crash("handler"), 0.55: [email("a", message="other"), email("b")]}
    world = send_at(sends, opens=lambda world: world.open(store=LossyStore(commit_delay_ns=1_000_000_000)))
    assert Counter(world.notes) == {"accepted": 2, "duplicate": 1, "IdempotencyConflict": 1}
    assert world.sent_ids() == ["a", "b"]
    assert world.provider.ids == ["a", "b"]


# ── the whole process ───────────────────────────────────────────────────────────────────────────────────────────

BUSY = {"max_in_flight": 2, "rate_limit": {"rate": "3/10s"}, "retry": {"initial_delay": 5.0}}


def before_the_crash(store: Store, gone_at: float) -> World:
    """Run a busy pipeline until the process is gone."""

    def fate(this: Try) -> object:
        return (
            OK
            if this.notification_id[-1] in "048"
            else Transient()
            if this.notification_id[-1] in "15"
            else Permanent()
        )

    def scenario(world: World) -> None:
        world.open(Scripted(fate, latency=0.7), store=store, email=BUSY)
        for number in range(20):
            world.send(email(f"n{number}", user_id=f"user {number % 3}"), at=number * 0.9)
        world.ask(world.pipeline.dead_letter_queue, RedriveDeadLetter(notification_id="n2"), at=12)

    return simulate(scenario, until=gone_at)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("gone_at", [0.05, 1.0, 7.0, 13.3, 25.0])
@pytest.mark.parametrize("down_for", [0.0, 30.0])
def test_what_was_answered_as_accepted_survives_the_process(delay_s, gone_at, down_for):
    store = LossyStore(commit_delay_ns=round(delay_s * 1e9)) if delay_s else MemoryStore()
    first = before_the_crash(store, gone_at)
    accepted = {event.notification_id for event in first.events(NotificationRequested)}
    ended = {event.notification_id for event in first.events(NotificationSent)}
    dead = {letter.notification_id for letter in first.letters}
    assert first.notes.count("accepted") == len(accepted)
    if isinstance(store, LossyStore):
        store.crash(round(gone_at * 1e9))

    def after_the_crash(world: World) -> None:
        world.open(store=store, email=BUSY)
        world.at(0, lambda: world.notes.append({letter.notification_id for letter in world.letters}))

    second = simulate(after_the_crash, start=START + timedelta(seconds=gone_at + down_for))
    # Every one that was accepted has ended now; none ended twice, but for what was at the provider.
    assert dead <= second.notes[0]
    ends_now = set(second.sent_ids()) | {letter.notification_id for letter in second.letters}
    assert accepted <= ended | ends_now
    assert not ended & set(second.sent_ids())
    assert second.pipeline.in_flight == 0


@pytest.mark.parametrize("down_for", [0.0, 3.0, 100.0])
def test_instants_in_a_store_are_anchored_to_the_new_clock(down_for):
    store = MemoryStore()

    def before(world: World) -> None:
        world.open(
            Scripted([Transient(), Permanent(), Transient()]), store=store, email={"retry": {"initial_delay": 50}}
        )
        world.send(email("retry"), email("dead"), at=10)
        world.send(email("expiring", expires_after=70), at=20)

    simulate(before, until=40)

    def after(world: World) -> None:
        world.open(store=store, email={"retry": {"initial_delay": 50}})
        world.ask(world.pipeline.dead_letter_queue, Get(notification_id="dead"), at=200)
        world.ask(world.pipeline.dead_letter_queue, RedriveDeadLetter(notification_id="dead"), at=200)

    world = (
        on_both_clocks(after, start=START + timedelta(seconds=40 + down_for))
        if down_for < 0
        else simulate(after, start=START + timedelta(seconds=40 + down_for))
    )
    retried, expiring = max(0.0, 60 - 40 - down_for), max(0.0, 70 - 40 - down_for)
    sent = {event.notification_id: event for event in world.events(NotificationSent)}
    assert sent["retry"].at_ns / 1e9 == retried
    assert sent["retry"].requested_at_ns / 1e9 == 10 - 40 - down_for
    if down_for < 50:
        assert sent["expiring"].at_ns / 1e9 == expiring
    else:
        assert [letter.notification_id for letter in world.letters] == ["expiring"]
        assert world.letters[0].first_failure == START + timedelta(seconds=20)
    (dead,) = [note for note in world.notes if note is not True]
    assert dead.first_failure == START + timedelta(seconds=10)
    assert sent["dead"].requested_at_ns / 1e9 == 10 - 40 - down_for


def test_an_id_is_remembered_for_its_time_on_the_calendar_and_not_on_the_clock_of_a_run():
    store = MemoryStore(remember_ids_ns=100 * 1_000_000_000)

    def before(world: World) -> None:
        world.open(store=store)
        world.send(email("a"), at=50)

    def after(world: World) -> None:
        world.open(store=store)
        world.send(email("a"), at=0)
        world.send(email("a"), at=89)
        world.send(email("a"), at=91)

    simulate(before, until=60)
    assert simulate(after, start=START + timedelta(seconds=60)).notes == ["duplicate", "duplicate", "accepted"]


def test_a_crash_forgets_what_was_not_durable_and_nothing_else():
    store = LossyStore(commit_delay_ns=1_000_000_000)

    send_at({0: email("a"), 0.4: email("b")}, run=simulate, until=1.2, store=store)
    assert store.crash(1_200_000_000) == 2  # that b was requested, and that a was sent
    assert [delivery.command.notification_id for delivery in store.open_deliveries(0)] == ["a"]
    assert len(store.remembered) == 0
