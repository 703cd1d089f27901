"""At most so many notifications are pending; one more is refused at the door, and nothing that was let in ever is."""

import itertools
import logging

import msgspec
import pytest
from effort import THOROUGH
from hypothesis import given, settings, strategies as st
from timetables import numbered, redrive, send_at
from worlds import EMAIL, PLACED, SMS, Scripted, email, on_both_clocks, simulate

import simulation
from actors.errors import Overloaded
from actors.messages import (
    RANKS,
    DeadLetterMessage,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    Priority,
)
from actors.outcomes import Permanent
from actors.pipeline.orders import Redrive, Redrives
from actors.policies.admission import Admission
from actors.settings.channel import NotifierConfig

FAILS_FOR_GOOD = Permanent(reason="no such address")


def ids(world):
    return [event.notification_id for event in world.events(NotificationRequested)]


def placed(order_id):
    return msgspec.structs.replace(PLACED, order_id=order_id)


@given(st.integers(1, 10**6), st.integers(0, 2 * 10**6))
def test_the_last_parts_of_the_room_are_for_the_more_urgent(max_pending, pending):
    admission = Admission(max_pending)
    assert admission.has_room(pending, Priority.CRITICAL) == (pending < max_pending)
    for less, more in itertools.pairwise(reversed(Priority)):
        assert admission.has_room(pending, less) <= admission.has_room(pending, more)
    for each, kept_from in ((Priority.NORMAL, 20), (Priority.BULK, 5)):
        bound = max_pending - max_pending // kept_from
        assert admission.has_room(0, each)
        assert admission.has_room(bound - 1, each)
        assert not admission.has_room(bound, each)


def test_what_is_refused_is_not_remembered_and_taken_when_there_is_room():
    steps = {
        0: [*numbered(19, "a"), email("b")],  # one place is for critical ones
        1: email("a0"),  # known, and so no question of room
        2: [email("c", critical=True), email("d", critical=True)],
        20: email("b"),
    }
    world = send_at(steps, latency=10.0, max_pending=20, email={})
    assert ids(world)[19:] == ["c", "b"]
    assert world.notes == ["accepted"] * 19 + ["Overloaded", "duplicate", "accepted", "Overloaded", "accepted"]
    assert len(world.sent_ids()) == 21


def test_one_that_was_told_to_the_handler_is_refused_in_the_log(caplog):
    told = {0: lambda world: [world.pipeline.handler.tell(email(name)) for name in "ab"]}
    with caplog.at_level(logging.ERROR):
        world = send_at(told, run=simulate, latency=10.0, max_pending=1, email={})
    assert ids(world) == ["a"]
    assert "not accepted: overloaded: as many notifications are pending as may be" in caplog.text


def test_an_event_is_refused_as_a_whole_or_taken_as_a_whole():
    def publish(order_id):
        def step(world):
            try:
                world.note_answer(world.pipeline.bus.publish(placed(order_id)))
            except Overloaded as error:
                world.notes.append(type(error).__name__)

        return step

    steps = {0: publish("1"), 1: publish("2"), 20: publish("2")}
    world = send_at(steps, latency=10.0, max_pending=2, email={}, sms={})
    assert world.notes == [None, "Overloaded", None]
    assert len(ids(world)) == 4
    assert {event.channel for event in world.events(NotificationRequested)} == {EMAIL, SMS}


def test_events_that_are_published_at_once_count_before_they_are_handled():
    def publish_many(world):
        for order_id in range(100):
            try:
                world.pipeline.bus.publish(placed(str(order_id)))
            except Overloaded as error:
                world.notes.append(type(error).__name__)

    world = send_at({0: publish_many}, latency=10.0, max_pending=5, email={}, sms={})
    assert world.notes.count("Overloaded") == 100 - 5
    assert len(ids(world)) == 10


def test_a_fallback_is_never_refused():
    def scenario(world):
        world.open(
            {EMAIL: Scripted([FAILS_FOR_GOOD] * 9), SMS: Scripted(latency=10.0)},
            max_pending=1,
            email={"fallback": {"channel": "sms"}},
            sms={},
        )
        world.send(email("a", addresses={SMS: "+4930123456"}))

    world = on_both_clocks(scenario)
    assert [event.channel for event in world.events(NotificationRequested)] == [EMAIL, SMS]
    assert len(world.sent_ids()) == 1


def test_a_redrive_waits_for_room_and_is_done_then():
    sends = [
        (0, email("a")),
        (15, email("b")),
        (30, [email("c", critical=True), email("d", critical=True)]),
        *((31, redrive(name, by="otto")) for name in "ab"),
    ]
    world = send_at(sends, [FAILS_FOR_GOOD, FAILS_FOR_GOOD], latency=lambda _: 10.0, max_pending=2, email={})
    assert world.times(NotificationMovedToDeadLetter) == [10.0, 25.0]
    assert sorted(world.sent_ids()) == ["a", "b", "c", "d"]
    assert [event.at_ns / 1e9 for event in world.events(NotificationSent)] == [40.0, 40.0, 50.0, 50.0]


def test_a_restarted_handler_does_not_forget_redrives_that_wait():
    steps = {
        0: email("a"),
        30: email("b", critical=True),
        31: redrive("a", by="otto"),
        32: lambda world: world.pipeline.handler.tell("nonsense"),
    }
    world = send_at(steps, [FAILS_FOR_GOOD], 10.0, max_pending=1, email={})
    assert set(world.sent_ids()) == {"a", "b"}


@given(st.lists(st.sampled_from([*Priority, "back"]), max_size=40))
def test_redrives_that_wait_keep_their_places_however_often_there_was_no_room(steps):
    """Each step is one more that waits, or the first that is called and finds no room."""
    waiting, came = Redrives(), []
    for number, step in enumerate(steps):
        if step != "back":
            letter = letter_of(email(f"n{number}", priority=step))
            waiting.wait(Redrive(letter=letter))
            came.append((RANKS[step], number, letter.notification_id))
        elif waiting:
            waiting.wait(waiting.take())
    assert [waiting.take().letter.notification_id for _ in came] == [name for *_, name in sorted(came)]


def letter_of(command):
    instants = dict.fromkeys(["requested_at_ns", "first_failure_ns", "last_failure_ns", "moved_at_ns", "epoch_ns"], 0)
    of = {"notification_id": command.notification_id, "command": command}
    return DeadLetterMessage(**of, failure_reason="gone", attempts=0, history=(), **instants)


def test_what_a_restart_finds_is_never_refused():
    steps = {0: numbered(9, ""), 5: lambda world: world.pipeline.kill()}
    store = send_at(steps, latency=100.0, run=simulate, until=6, max_pending=10, email={}).store
    world = send_at({1: email("new")}, run=simulate, store=store, max_pending=3, email={})
    assert set(world.sent_ids()) == {*map(str, range(9)), "new"}


OVERLOAD = """
name: overload
duration: 30s
max_pending: {most}
workload:
  - {{channel: email, arrivals: {{poisson: 20/s}}}}
  - {{channel: email, critical: true, arrivals: {{poisson: 0.5/s}}}}
  - {{event: OrderPlaced, arrivals: {{poisson: 2/s}}}}
  - {{channel: email, clients: 5, think: 1s}}
channels:
  email: {{provider: {{latency: {{constant: 100ms}}}}, max_in_flight: 1}}
  sms: {{}}
"""


@settings(max_examples=5 if THOROUGH else 2, deadline=None)
@given(most=st.integers(1, 200), seed=st.integers(0, 2**31))
def test_the_law_of_room_holds_under_overload(most, seed):
    scenario = simulation.parse(OVERLOAD.format(most=most))
    result = simulation.run(scenario, seed=seed, invariants="all")
    assert result.summary["refused"]["overloaded"] > 0
    assert result.summary["in_flight"] == 0  # all that was accepted has ended, and every client got its answer


def test_without_a_bound_the_same_arrivals_are_all_accepted():
    bounded = simulation.run(simulation.parse(OVERLOAD.format(most=100_000)), seed=1).summary
    unbounded = simulation.run(simulation.parse(OVERLOAD.format(most="null")), seed=1).summary
    assert sum(bounded["refused"].values()) == 0
    assert bounded["digest"] == unbounded["digest"]


@pytest.mark.parametrize(("most", "wanted"), [(None, None), (3, 3)])
def test_live_there_is_a_bound_by_default(most, wanted):
    assert NotifierConfig().max_pending == 100_000
    assert NotifierConfig(max_pending=most).max_pending == wanted
