"""Served letters: whose fallback was delivered or is under way, so that no redrive takes them unless told so."""

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from worlds import EMAIL, OK, PUSH, SMS, Scripted, World, email, on_both_clocks, simulate

from actors.domain.requests import Requests
from actors.messages import NotificationRedriven, NotificationSent, SendNotification
from actors.outcomes import DeadDestination, Permanent
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


def redrive(world: World, notification_id: str, at: float, **fields: str) -> None:
    order = RedriveDeadLetter(notification_id=notification_id, **fields)
    world.ask(world.pipeline.dead_letter_queue, order, at=at)


def look(world: World, at: float) -> None:
    """Note which letters there are and whether each is served."""

    def note() -> None:
        world.notes.append({each.notification_id: each.served for each in world.pipeline.dead_letters})

    world.at(at, note)


def test_a_letter_is_served_from_the_acceptance_of_its_fallback_on():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD]), Scripted(latency=10.0), Scripted())
        world.send(push())
        for at in (5, 15):
            look(world, at)
            redrive(world, "n", at)
        redrive(world, "n", 20, served="include")

    world = on_both_clocks(scenario)
    assert notes(world) == [{"n": True}, False, {"n": True}, False, True]
    assert world.sent_ids() == ["n/sms", "n"]
    (redriven,) = world.events(NotificationRedriven)
    assert (redriven.at_ns, redriven.include_served) == (20 * 10**9, True)


def test_a_letter_whose_fallback_is_dead_lettered_is_served_while_a_later_one_is_under_way_or_delivered():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD]), Scripted([BAD]), Scripted([BAD, OK], latency=10.0))
        world.send(push())
        look(world, 5)
        look(world, 15)
        redrive(world, "n/sms/email", 20)
        look(world, 25)
        look(world, 35)
        world.at(40, lambda: world.pipeline.dead_letter_queue.tell(RedriveDeadLetter(notification_id="n")))

    world = on_both_clocks(scenario)
    under_way, dead, again, delivered = (note for note in notes(world) if note is not True)
    assert under_way == {"n": True, "n/sms": True}
    assert dead == {"n": False, "n/sms": False, "n/sms/email": False}
    assert again == delivered == {"n": True, "n/sms": True}
    assert world.sent_ids() == ["n/sms/email"]


def test_where_nothing_was_delivered_the_oldest_of_a_request_is_redriven_and_the_others_wait_for_it():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD, BAD], latency=1.0), Scripted([BAD, OK], latency=1.0), Scripted([BAD]))
        world.send(push())
        for at in (10, 10.5, 20, 20.5, 30):
            look(world, at)
            world.at(at, redrive_all, world)

    world = on_both_clocks(scenario)
    all_dead = {"n": False, "n/sms": False, "n/sms/email": False}
    wait_for_push, wait_for_sms = {"n/sms": True, "n/sms/email": True}, {"n/sms/email": True, "n": True}
    assert notes(world) == [all_dead, wait_for_push, all_dead, wait_for_sms, wait_for_sms]
    assert [each.notification_id for each in world.events(NotificationRedriven)] == ["n", "n/sms"]
    assert world.sent_ids() == ["n/sms"]


def redrive_all(world: World) -> None:
    for letter in world.pipeline.dead_letters:
        world.pipeline.dead_letter_queue.tell(RedriveDeadLetter(notification_id=letter.notification_id))


def test_what_was_sent_after_a_redrive_serves_its_fallback():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD, OK]), Scripted([BAD]), Scripted([BAD]))
        world.send(push())
        redrive(world, "n", 10)
        redrive(world, "n/sms", 20)
        world.ask(world.pipeline.dead_letter_queue, DiscardDeadLetter(notification_id="n/sms", reason="served"), at=30)
        redrive(world, "n/sms/email", 40)

    world = on_both_clocks(scenario)
    assert notes(world) == [True, False, True, False]
    assert world.sent_ids() == ["n"]


def test_a_suppressed_fallback_does_not_serve_and_what_follows_from_it_does():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD] * 2), Scripted([DeadDestination()]), Scripted([BAD, BAD, OK]))
        world.send(push("a"))
        world.send(push("b"), at=5)  # its SMS is suppressed
        look(world, 10)
        redrive(world, "b/sms/email", 20)
        look(world, 30)

    world = on_both_clocks(scenario)
    before, _, after = notes(world)
    assert before == dict.fromkeys(("a", "a/sms", "a/sms/email", "b", "b/sms/email"), False)
    assert {each for each, served in after.items() if served} == {"b"}


@pytest.mark.parametrize("question", [Get(notification_id="n"), ListDeadLetters()])
def test_the_answers_of_the_queue_say_so(question):
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD]), Scripted(), Scripted())
        world.send(push())
        world.ask(world.pipeline.dead_letter_queue, question, at=5)

    (answer,) = notes(on_both_clocks(scenario))
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
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD]), Scripted([BAD]), Scripted())
        world.send(push())
        for number, each in enumerate(("n", "n/sms"), 5):
            order = DiscardDeadLetter(notification_id=each, reason="served")
            world.ask(world.pipeline.dead_letter_queue, order, at=number)
            world.at(number + 0.5, lambda: world.notes.append(len(world.pipeline.store._requests.all())))

    world = on_both_clocks(scenario)
    assert notes(world) == [True, 1, True, 0]
    assert world.times(NotificationSent) == [0.0]


# ── waiting for room ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redrive_that_is_refused_lets_the_next_one_try_that_waits_for_room():
    def scenario(world: World) -> None:
        world.open(
            Scripted([BAD, BAD], latency=lambda this: 10.0 if this.notification_id == "long" else 0.0), max_pending=1
        )
        world.send(email("a"))
        world.send(email("b"), at=1)
        world.send(email("long"), at=2)

        def redrive_a_twice_and_then_b() -> None:
            a, b = world.pipeline.dead_letters
            for letter in (a, a, b):
                world.pipeline.handler.tell(Redrive(letter=letter))

        world.at(3, redrive_a_twice_and_then_b)

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["long", "a", "b"]


def test_what_has_come_to_be_served_while_it_waited_for_room_goes_back_into_the_queue():
    def scenario(world: World) -> None:
        chain(world, Scripted([BAD]), Scripted([BAD]), Scripted([BAD], latency=lambda this: float(this.number)))
        world.send(push())

        def redrive_both() -> None:
            first, second, _ = world.pipeline.dead_letters
            for letter in (second, first):  # past the queue, which would have known
                world.pipeline.handler.tell(Redrive(letter=letter))

        world.at(5, redrive_both)
        look(world, 6)

    world = on_both_clocks(scenario)
    assert notes(world) == [{"n": True, "n/sms/email": True}]
    assert world.sent_ids() == ["n/sms"]
