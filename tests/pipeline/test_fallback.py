"""Fallback to another channel: when the first is dead-lettered, or takes too long."""

from datetime import time

import pytest
from hypothesis import given, strategies as st
from timetables import crash, send_at
from worlds import EMAIL, OK, PUSH, SMS, Scripted, World, email, on_both_clocks, simulate

from actors.errors import ConfigurationError
from actors.messages import (
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import DeadDestination, Permanent, Transient
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from actors.pipeline.preferences import Preferences, Quiet, SwitchedOff
from actors.policies.quiet_hours import QuietHours

DOWN = Transient(reason="down")


def push(notification_id: str = "n", **fields: object) -> SendNotification:
    given = {"channel": PUSH, "recipient": "device", "user_id": "ann", "addresses": {SMS: "+49"}}
    return email(notification_id, **{**given, **fields})


def open_with(world: World, pushes: Scripted, texts: Scripted, fallback: object, **settings: object) -> None:
    channels = {"push": {"fallback": fallback, **settings}, "sms": {}}
    world.open({PUSH: pushes, SMS: texts}, **channels)  # type: ignore[arg-type]


def test_what_push_dead_letters_goes_out_by_sms_to_the_same_person_under_an_id_of_its_own():
    texts = []

    def scenario(world: World) -> None:
        texts.append(Scripted())
        open_with(world, Scripted([DOWN] * 3), texts[-1], {"channel": "sms"})
        world.send(push(metadata={"a": 1}, critical=True))

    world = on_both_clocks(scenario)
    assert world.reasons == ["down"]
    assert world.times(NotificationMovedToDeadLetter) == [3.0]
    (sent,) = world.events(NotificationSent)
    assert (sent.at_ns, sent.notification_id, sent.channel) == (3_000_000_000, "n/sms", SMS)
    (attempt,) = texts[0].tries
    command = attempt.command
    assert (command.recipient, command.user, command.message, dict(command.metadata), command.critical) == (
        "+49",
        "ann",
        "Hello",
        {"a": 1},
        True,
    )


def test_what_push_sends_in_time_does_not_fall_back():
    def scenario(world: World) -> None:
        open_with(world, Scripted([DOWN, DOWN]), Scripted(), {"channel": "sms", "after": 30})
        world.send(push())

    assert on_both_clocks(scenario).sent_ids() == ["n"]


@pytest.mark.parametrize(("after", "falls_back"), [(2.9, True), (3.0, False)])
def test_what_takes_too_long_falls_back_as_soon_as_that_is_known(after, falls_back):
    def scenario(world: World) -> None:
        open_with(
            world,
            Scripted([DOWN, DOWN]),
            Scripted(),
            {"channel": "sms", "after": after},
            retry={"max_attempts": 9},
        )
        world.send(push())

    world = on_both_clocks(scenario)
    # The third attempt would start at 3 s; that it comes too late is known when the second has failed.
    assert world.sent_ids() == (["n/sms"] if falls_back else ["n"])
    assert world.times(NotificationSent) == [1.0 if falls_back else 3.0]


def test_what_cannot_fall_back_is_tried_for_as_long_as_it_would_be_without_a_fallback():
    def scenario(world: World) -> None:
        retry = {"max_attempts": 9}
        open_with(world, Scripted([DOWN, DOWN]), Scripted(), {"channel": "sms", "after": 2}, retry=retry)
        world.send(push(addresses={}))

    assert on_both_clocks(scenario).times(NotificationSent) == [3.0]


def test_who_waits_for_an_open_breaker_falls_back_when_the_time_is_over():
    def scenario(world: World) -> None:
        open_with(world, Scripted([DOWN] * 5), Scripted(), {"channel": "sms", "after": 20}, retry={"max_attempts": 1})
        world.send(*(push(f"first{number}") for number in range(5)))
        world.send(push("late"), at=10)

    world = on_both_clocks(scenario)
    assert world.sent_ids() == [*(f"first{number}/sms" for number in range(5)), "late/sms"]
    assert world.times(NotificationSent)[-1] == pytest.approx(30, abs=1e-6)


def test_an_attempt_under_way_is_waited_for():
    def scenario(world: World) -> None:
        open_with(world, Scripted(latency=8.0), Scripted(), {"channel": "sms", "after": 5})
        world.send(push())

    assert on_both_clocks(scenario).sent_ids() == ["n"]


def test_quiet_hours_are_not_part_of_what_the_channel_takes():
    def scenario(world: World) -> None:
        quiet = Quiet(share=1.0, hours=QuietHours(time(0), time(7), "UTC"), channels=frozenset({PUSH}))
        world.open(
            {PUSH: Scripted(), SMS: Scripted()},
            preferences=Preferences(quiet=[quiet]),
            push={"fallback": {"channel": "sms", "after": 30}},
            sms={},
        )
        world.send(push())

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["n"]
    assert world.times(NotificationSent) == [7 * 3600.0]


def test_a_later_one_to_an_address_that_is_gone_falls_back_at_once():
    world = send_at(
        {0: push("a"), 5: push("b")},
        opens=lambda world: open_with(world, Scripted([DeadDestination()]), Scripted(), {"channel": "sms"}),
    )
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["b"]
    assert world.sent_ids() == ["a/sms", "b/sms"]


def test_who_has_switched_the_first_off_gets_nothing_on_the_second():
    world = send_at(
        {0: push()},
        preferences=Preferences(switched_off=[SwitchedOff(share=1.0, channels=frozenset({PUSH}))]),
        push={"fallback": {"channel": "sms"}},
        sms={},
    )
    assert world.sent_ids() == []


def test_no_address_no_fallback(caplog):
    def scenario(world: World) -> None:
        open_with(world, Scripted([Permanent()]), Scripted(), {"channel": "sms"})
        world.send(push(addresses={}))

    assert on_both_clocks(scenario).sent_ids() == []
    assert "n: no address for a fallback to sms" in caplog.text


def test_the_rest_of_the_expiry_goes_along_and_what_is_expired_is_wanted_by_no_one():
    def scenario(world: World) -> None:
        texts = Scripted([DOWN] * 9)
        open_with(world, Scripted([DOWN] * 9), texts, {"channel": "sms"}, retry={"max_attempts": 3})
        world.send(push("in time", expires_after=5.0), push("expired", expires_after=1.5))

    world = on_both_clocks(scenario)
    letters = {letter.notification_id: letter for letter in world.letters}
    # Dead-lettered at 3 s with 2 s left, of which one retry of the SMS takes 1 s and the next would take 3 s.
    assert letters["in time/sms"].command.expires_after == pytest.approx(2.0)
    assert letters["in time/sms"].failure_reason == "expired"
    # Its retry at 3 s would have been too late; that was known at 1 s, and the SMS still had half a second.
    assert letters["expired/sms"].command.expires_after == pytest.approx(0.5)


def test_what_falls_back_has_waited_since_it_was_first_accepted():
    sends = {10: push()}
    world = send_at(sends, opens=lambda world: open_with(world, Scripted([DOWN] * 3), Scripted(), {"channel": "sms"}))
    (sent,) = world.events(NotificationSent)
    assert (sent.at_ns - sent.requested_at_ns) == 3_000_000_000
    first, second = world.events(NotificationRequested)
    assert (first.instead_of, second.instead_of, second.waited_since_ns) == (None, "n", first.at_ns)


def test_a_restarted_handler_knows_how_long_a_fallback_has_waited():
    world = send_at(
        {0: push(), 3.5: crash("handler")},
        opens=lambda world: open_with(world, Scripted([DOWN] * 3), Scripted([DOWN], latency=1.0), {"channel": "sms"}),
    )
    (sent,) = world.events(NotificationSent)
    assert sent.requested_at_ns == 0


def test_a_chain_goes_on_to_its_end():
    def scenario(world: World) -> None:
        world.open(
            {PUSH: Scripted([Permanent()]), SMS: Scripted([Permanent()]), EMAIL: Scripted()},
            push={"fallback": {"channel": "sms"}},
            sms={"fallback": {"channel": "email"}},
            email={},
        )
        world.send(push(addresses={SMS: "+49", EMAIL: "ann@example.org"}))

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["n/sms/email"]


def test_a_redriven_one_does_not_fall_back_twice():
    def scenario(world: World) -> None:
        open_with(world, Scripted([Permanent()] * 2), Scripted(), {"channel": "sms"})
        world.send(push())
        order = RedriveDeadLetter(notification_id="n", served="include")
        world.ask(world.pipeline.dead_letter_queue, order, at=5)

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["n/sms"]
    assert len(world.events(NotificationMovedToDeadLetter)) == 2


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ({"push": {"fallback": {"channel": "sms"}}}, "wanted a channel with settings of its own (push), got 'sms'"),
        ({"push": {"fallback": {"channel": "push"}}}, "wanted fallbacks that end somewhere, got push to push"),
        (
            {"push": {"fallback": {"channel": "sms"}}, "sms": {"fallback": {"channel": "push"}}},
            "wanted fallbacks that end somewhere, got push to sms to push",
        ),
    ],
)
def test_a_fallback_to_nowhere_is_refused(channels, problem):
    with pytest.raises(ConfigurationError) as raised:
        simulate(lambda world: world.open(**channels))
    assert f"channels.push.fallback.channel: {problem}" in str(raised.value)


@given(st.lists(st.sampled_from(["ok", "down", "bad"]), max_size=40), st.sampled_from([None, 0.5, 2.0, 10.0]))
def test_everyone_is_reached_on_exactly_one_channel(fates, after):
    outcomes = {"ok": OK, "down": DOWN, "bad": Permanent()}

    def scenario(world: World) -> None:
        open_with(world, Scripted([outcomes[fate] for fate in fates]), Scripted(), {"channel": "sms", "after": after})
        world.send(*(push(f"n{number}") for number in range(8)))

    world = simulate(scenario)
    reached = [notification_id.removesuffix("/sms") for notification_id in world.sent_ids()]
    assert sorted(reached) == [f"n{number}" for number in range(8)]


@pytest.mark.parametrize(("expires_after", "until"), [(500.0, 501.0), (None, None)])
def test_a_provider_is_told_of_the_expiry_and_not_of_the_end_of_retries_or_of_the_fallback(expires_after, until):
    # What a push service has taken is sent: nothing else follows when it forgets it sooner than it is wanted.
    pushes = []

    def scenario(world: World) -> None:
        pushes.append(Scripted([DOWN]))
        fallback = {"channel": "sms", "after": 30}
        open_with(world, pushes[-1], Scripted(), fallback, retry={"initial_delay": 2, "max_elapsed": 10})
        world.send(push(expires_after=expires_after), at=1)

    world = on_both_clocks(scenario)
    assert world.times(NotificationSent) == [3.0]
    until_ns = None if until is None else until * 1e9
    assert [[each.wanted_until_ns for each in provider.attempts] for provider in pushes] == [[until_ns] * 2] * 2
