"""Served letters: whose fallback was delivered or is under way, so that no redrive takes them unless told so."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from timetables import redrive, send_at
from worlds import EMAIL, OK, PUSH, SMS, Scripted, World, email, simulate

from actors.domain.requests import Requests
from actors.messages import NotificationRedriven, NotificationSent, SendNotification
from actors.outcomes import DeadDestination, Outcome, Permanent
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, Get, ListDeadLetters, RedriveDeadLetter
from actors.pipeline.orders import Acceptance, Redrive
from actors.storage.lossy import LossyStore

BAD = Permanent(reason="bad address")
ADDRESSES = {SMS: "+49", EMAIL: "ann@example.org"}


def push(notification_id: str = "n") -> SendNotification:
    return email(notification_id, channel=PUSH, recipient="device", user_id="ann", addresses=ADDRESSES)


def chain(world: World, pushes: Scripted, texts: Scripted, mails: Scripted, **pipeline: object) -> None:
    """Open a pipeline in which push falls back to SMS, and that to email."""
    world.open(
        {PUSH: pushes, SMS: texts, EMAIL: mails},
        **pipeline,
        push={"fallback": {"channel": "sms"}},
        sms={"fallback": {"channel": "email"}},
        email={},
    )


def notes(world: World) -> list[object]:
    return [note for note in world.notes if not isinstance(note, Acceptance)]


def answered(
    timetable: dict[float, Any],
    pushes: Iterable[Outcome],
    texts: Any = (),
    mails: Any = (),
    latency: Any = (0.0, 0.0, 0.0),
) -> World:
    """Send pushes of such a chain, whose providers have these answers and latencies."""
    answers = (pushes, texts, mails)
    return send_at(timetable, opens=lambda world: chain(world, *map(Scripted, answers, latency)))


def look(world: World) -> None:
    """Note which letters there are and whether each is served."""
    world.notes.append({each.notification_id: each.served for each in world.pipeline.dead_letters})


def look_and(step: Callable[[World], Any]) -> Callable[[World], None]:
    def both(world: World) -> None:
        look(world)
        step(world)

    return both


def discard(notification_id: str) -> Callable[[World], None]:
    order = DiscardDeadLetter(notification_id=notification_id, reason="served")
    return lambda world: world.ask(world.pipeline.dead_letter_queue, order)


def test_a_letter_is_served_from_the_acceptance_of_its_fallback_on():
    look_and_redrive = look_and(redrive("n"))
    sends = {0: push(), 5: look_and_redrive, 15: look_and_redrive, 20: redrive("n", served="include")}
    world = answered(sends, [BAD], latency=(0.0, 10.0, 0.0))
    assert notes(world) == [{"n": True}, False, {"n": True}, False, True]
    assert world.sent_ids() == ["n/sms", "n"]
    (redriven,) = world.events(NotificationRedriven)
    assert (redriven.at_ns, redriven.include_served) == (20 * 10**9, True)


def test_a_letter_whose_fallback_is_dead_lettered_is_served_while_a_later_one_is_under_way_or_delivered():
    sends = {0: push(), 5: look, 15: look, 20: redrive("n/sms/email"), 25: look, 35: look, 40: redrive_all}
    world = answered(sends, [BAD], [BAD], [BAD, OK], latency=(0.0, 0.0, 10.0))
    under_way, dead, again, delivered = (note for note in notes(world) if note is not True)
    assert under_way == {"n": True, "n/sms": True}
    assert dead == {"n": False, "n/sms": False, "n/sms/email": False}
    assert again == delivered == {"n": True, "n/sms": True}
    assert world.sent_ids() == ["n/sms/email"]


def test_where_nothing_was_delivered_the_oldest_of_a_request_is_redriven_and_the_others_wait_for_it():
    sends = {0: push()} | dict.fromkeys((10, 10.5, 20, 20.5, 30), look_and(redrive_all))
    world = answered(sends, [BAD, BAD], [BAD, OK], [BAD], latency=(1.0, 1.0, 0.0))
    all_dead = {"n": False, "n/sms": False, "n/sms/email": False}
    wait_for_push, wait_for_sms = {"n/sms": True, "n/sms/email": True}, {"n/sms/email": True, "n": True}
    assert notes(world) == [all_dead, wait_for_push, all_dead, wait_for_sms, wait_for_sms]
    assert [each.notification_id for each in world.events(NotificationRedriven)] == ["n", "n/sms"]
    assert world.sent_ids() == ["n/sms"]


def redrive_all(world: World) -> None:
    for letter in world.pipeline.dead_letters:
        world.pipeline.dead_letter_queue.tell(RedriveDeadLetter(notification_id=letter.notification_id))


def test_what_was_sent_after_a_redrive_serves_its_fallback():
    sends = {0: push(), 10: redrive("n"), 20: redrive("n/sms"), 30: discard("n/sms"), 40: redrive("n/sms/email")}
    world = answered(sends, [BAD, OK], [BAD], [BAD])
    assert notes(world) == [True, False, True, False]
    assert world.sent_ids() == ["n"]


def test_a_suppressed_fallback_does_not_serve_and_what_follows_from_it_does():
    # The SMS of the second is suppressed.
    sends = {0: push("a"), 5: push("b"), 10: look, 20: redrive("b/sms/email"), 30: look}
    world = answered(sends, [BAD] * 2, [DeadDestination()], [BAD, BAD, OK])
    before, _, after = notes(world)
    assert before == dict.fromkeys(("a", "a/sms", "a/sms/email", "b", "b/sms/email"), False)
    assert {each for each, served in after.items() if served} == {"b"}


@pytest.mark.parametrize("question", [Get(notification_id="n"), ListDeadLetters()])
def test_the_answers_of_the_queue_say_so(question):
    sends = {0: push(), 5: lambda world: world.ask(world.pipeline.dead_letter_queue, question)}
    (answer,) = notes(answered(sends, [BAD]))
    (letter,) = answer if isinstance(answer, list) else [answer]
    assert letter.served


@pytest.mark.parametrize("killed_at", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
def test_after_a_kill_a_letter_is_served_exactly_if_a_fallback_is_under_way_or_was_delivered(killed_at):
    """Commits take a second: the dead letter is durable at 1 s or later, its fallback's acceptance and end after."""

    def scenario(world: World) -> None:
        store = LossyStore(commit_delay_ns=10**9)
        providers = Scripted([BAD]), Scripted([OK], latency=0.1), Scripted()
        chain(world, *providers, store=store)
        world.send(push())

        def kill() -> None:
            world.pipeline.kill()
            store.crash(round(killed_at * 1e9) - 1)
            letters = {letter.notification_id: letter.served for letter in store.dead_letters()}
            is_open = any(each.command.notification_id == "n/sms" for each in store.open_deliveries(0))
            is_known = store.remembered.get("n/sms", 0) is not None
            world.notes.append((letters, is_open or is_known))

        world.at(killed_at, kill)

    (noted,) = notes(simulate(scenario))
    letters, goes_on_or_was_sent = noted
    assert letters in ({}, {"n": goes_on_or_was_sent})


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.permutations(range(1, 6)), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=examples(60))
def test_a_chain_is_one_request_in_whatever_order_its_links_become_known(order, delivered, asked):
    requests = Requests()
    for number in order:
        requests.join(str(number), instead_of=str(number - 1))
    assert len(requests.all()) == 1
    assert sorted(requests.all()[0].members) == [*"012345"]
    assert requests.is_served(str(asked), str(delivered).__eq__) is (asked != delivered)
    request = requests.by_member.get(str(delivered))
    assert request is not None
    request.delivered = True
    assert all(requests.is_served(str(number), lambda _: False) for number in range(6))
    assert not requests.forget_unless(request, {"3"})
    assert requests.forget_unless(request, {"7"}, ())
    assert requests.all() == []


def test_a_request_is_forgotten_with_the_last_that_may_be_asked_about():
    def count(world: World) -> None:
        world.notes.append(len(world.pipeline.store._requests.all()))

    sends = {0: push(), 5: discard("n"), 5.5: count, 6: discard("n/sms"), 6.5: count}
    world = answered(sends, [BAD], [BAD])
    assert notes(world) == [True, 1, True, 0]
    assert world.times(NotificationSent) == [0.0]


# ── waiting for room ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redrive_that_is_refused_lets_the_next_one_try_that_waits_for_room():
    def redrive_a_twice_and_then_b(world: World) -> None:
        a, b = world.pipeline.dead_letters
        for letter in (a, a, b):
            world.pipeline.handler.tell(Redrive(letter=letter))

    sends = {0: email("a"), 1: email("b"), 2: email("long"), 3: redrive_a_twice_and_then_b}
    world = send_at(sends, [BAD, BAD], lambda this: 10.0 if this.notification_id == "long" else 0.0, max_pending=1)
    assert world.sent_ids() == ["long", "a", "b"]


def test_what_has_come_to_be_served_while_it_waited_for_room_goes_back_into_the_queue():
    def redrive_both(world: World) -> None:
        first, second, _ = world.pipeline.dead_letters
        for letter in (second, first):  # past the queue, which would have known
            world.pipeline.handler.tell(Redrive(letter=letter))

    latency = (0.0, 0.0, lambda this: float(this.number))
    world = answered({0: push(), 5: redrive_both, 6: look}, [BAD], [BAD], [BAD], latency=latency)
    assert notes(world) == [{"n": True, "n/sms/email": True}]
    assert world.sent_ids() == ["n/sms"]
