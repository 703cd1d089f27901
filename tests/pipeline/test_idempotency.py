"""The same id is sent once: in flight, when it has ended, as a dead letter; until it is forgotten."""

from collections import Counter

import pytest
from timetables import redrive, send_at
from worlds import OK, Scripted, World, email, on_both_clocks, simulate

from actors.domain.remembered_ids import RememberedIds
from actors.errors import IdempotencyConflict
from actors.messages import ActorFailed, DuplicateIgnored, NotificationRequested, NotificationSent
from actors.outcomes import Permanent, Transient
from actors.pipeline.dead_letter_queue import DiscardDeadLetter
from actors.pipeline.orders import Acceptance
from actors.storage.memory import MemoryStore

HOUR = 3600.0
DAY = 24 * HOUR


def test_one_of_many_with_the_same_id_is_sent():
    # While it is under way, when it waits for its retry, and when it is sent.
    again = dict.fromkeys((1, 2.5, 100, DAY - 1), email("a"))
    world = send_at({0: [email("a"), email("a")], **again}, [Transient()], 2.0, until=2 * DAY)
    assert world.notes == ["accepted", *["duplicate"] * 5]
    assert world.sent_ids() == ["a"]
    assert len(world.events(NotificationRequested)) == 1
    assert [event.conflict for event in world.events(DuplicateIgnored)] == [False] * 5


def test_another_payload_is_a_conflict_told_to_the_sender_and_recorded():
    world = send_at({0: email("a"), 1: email("a", message="other"), 100: email("a", metadata={"x": 1})}, latency=2.0)
    assert world.notes == ["accepted", "IdempotencyConflict", "IdempotencyConflict"]
    assert [event.conflict for event in world.events(DuplicateIgnored)] == [True, True]
    assert world.provider.tries[0].command.message == "Hello"
    assert world.sent_ids() == ["a"]


def test_a_conflict_says_which_id():
    answers = []

    sends = {0: email("a"), 5: lambda world: answers.append(world.pipeline.bus.send(email("a", message="other")))}
    send_at(sends, run=simulate, until=10)
    with pytest.raises(IdempotencyConflict, match="'a' is known already"):
        answers[0].get()


def test_a_conflict_that_is_told_and_not_asked_harms_no_one(caplog):
    def scenario(world: World) -> None:
        handler = world.open(Scripted(latency=1.0)).handler
        world.at(0, handler.tell, email("a"))
        world.at(0.5, handler.tell, email("a", message="other"))
        world.at(0.5, handler.tell, email("p", channel="push"))
        world.ask(handler, email("a", message="other"), at=0.6)
        world.ask(handler, email("p", channel="push"), at=0.6)
        world.ask(handler, email("a"), at=0.6)
        world.ask(handler, email("b"), at=0.6)

    world = on_both_clocks(scenario)
    assert world.notes == [Acceptance.REFUSED, Acceptance.REFUSED, Acceptance.DUPLICATE, Acceptance.ACCEPTED]
    assert world.sent_ids() == ["a", "b"]
    assert len(world.provider.tries) == 2
    assert world.events(ActorFailed) == []
    assert "not accepted" in caplog.text


def test_after_its_time_to_live_an_id_is_new():
    sends = {0: email("a"), 99.999999: email("a", message="other"), 100: email("a", message="other")}
    world = send_at(sends, opens=lambda world: world.open(store=MemoryStore(remember_ids_ns=100 * 1_000_000_000)))
    assert world.notes == ["accepted", "IdempotencyConflict", "accepted"]
    assert world.times(NotificationSent) == [0.0, 100.0]


def test_the_id_of_a_dead_letter_is_known_for_as_long_as_it_may_be_redriven():
    """Else a second notification of this id would overwrite the letter, or be sent a second time by a redrive."""
    steps = {0: email("a"), 10 * DAY: email("a"), 10 * DAY + 1: redrive("a"), 10 * DAY + 2: email("a")}
    world = send_at({**steps, 12 * DAY: email("a")}, [Permanent(), OK], until=13 * DAY)
    assert world.notes == ["accepted", "duplicate", True, "duplicate", "accepted"]


def test_the_id_of_a_discarded_letter_is_remembered_from_its_discarding_on():
    discard = DiscardDeadLetter(notification_id="a", reason="old")
    steps = {
        0: email("a"),
        DAY: redrive("a"),
        3 * DAY: lambda world: world.ask(world.pipeline.dead_letter_queue, discard),
        3 * DAY + 23 * HOUR: email("a"),
        4 * DAY: email("a"),
    }
    world = send_at(steps, [Permanent(), Permanent()], until=5 * DAY)
    assert world.notes == ["accepted", True, True, "duplicate", "accepted"]


def test_memory_is_bounded_by_what_ended_within_the_time_to_live():
    sizes = []

    def scenario(world: World) -> None:
        world.open(store=MemoryStore(remember_ids_ns=10 * 1_000_000_000))
        for number in range(500):
            world.send(email(f"n{number}"), at=number)
            world.at(number, lambda: sizes.append(len(world.store.remembered)))

    world = simulate(scenario)
    assert len(world.sent_ids()) == 500
    assert max(sizes) <= 11
    assert Counter(world.notes) == {"accepted": 500}
    assert world.pipeline.handler.actor.deliveries.by_id == {}
    assert world.store._open == {}


def test_remembered_ids_alone():
    ids = RememberedIds(100)
    a, b, c = email("a"), email("b"), email("c")
    ids.add(a, 0)
    ids.keep(b)
    assert [ids.get("a", 99), ids.get("a", 100)] == [a, None]
    assert ids.get("b", 10**18) == b
    ids.add(b, 10**18)
    assert [ids.get("b", 10**18 + 99), ids.get("b", 10**18 + 100)] == [b, None]
    ids.keep(c)
    ids.forget("c")
    ids.forget("c")
    assert ids.get("c", 10**18) is None
    assert len(ids) == 0
