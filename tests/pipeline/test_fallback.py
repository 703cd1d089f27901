"""Fallback to another channel: when the first is dead-lettered, or takes too long."""

from collections.abc import Callable, Iterable, Mapping
from datetime import time

import pytest
from hypothesis import given, strategies as st
from timetables import crash, redrive, send_at
from worlds import EMAIL, OK, PUSH, SMS, Scripted, World, email, on_both_clocks, run_on_trio, simulate

from actors.errors import ConfigurationError
from actors.messages import (
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import DeadDestination, Outcome, Permanent, Transient
from actors.pipeline.preferences import Preferences, Quiet, SwitchedOff
from actors.policies.quiet_hours import QuietHours

DOWN = Transient(reason="down")


def push(notification_id: str = "n", **fields: object) -> SendNotification:
    given = {"channel": PUSH, "recipient": "device", "user_id": "ann", "addresses": {SMS: "+49"}}
    return email(notification_id, **{**given, **fields})


def falling_back(
    sends: Mapping[float, object],
    answers: Iterable[Outcome],
    texts: Iterable[Outcome] = (),
    *,
    after: float | None = None,
    latency: float = 0.0,
    latency_of_texts: float = 0.0,
    run: Callable[..., World] = on_both_clocks,
    **settings: object,
) -> World:
    """Send pushes that fall back to SMS; `texts` are the answers to those, and the provider of these in the world."""

    def opens(world: World) -> None:
        world.pushes, world.texts = Scripted(answers, latency), Scripted(texts, latency_of_texts)
        push_settings = {"fallback": {"channel": "sms", "after": after}, **settings}
        world.open({PUSH: world.pushes, SMS: world.texts}, push=push_settings, sms={})

    return send_at(sends, opens=opens, run=run)


def test_what_push_dead_letters_goes_out_by_sms_to_the_same_person_under_an_id_of_its_own():
    world = falling_back({0: push(metadata={"a": 1}, critical=True)}, [DOWN] * 3)
    assert world.reasons == ["down"]
    assert world.times(NotificationMovedToDeadLetter) == [3.0]
    (sent,) = world.events(NotificationSent)
    assert (sent.at_ns, sent.notification_id, sent.channel) == (3_000_000_000, "n/sms", SMS)
    (attempt,) = world.texts.tries
    command = attempt.command
    assert (command.recipient, command.user, command.message) == ("+49", "ann", "Hello")
    assert (dict(command.metadata), command.critical) == ({"a": 1}, True)


def test_what_push_sends_in_time_does_not_fall_back():
    assert falling_back({0: push()}, [DOWN, DOWN], after=30).sent_ids() == ["n"]


@pytest.mark.parametrize(("after", "falls_back"), [(2.9, True), (3.0, False)])
def test_what_takes_too_long_falls_back_as_soon_as_that_is_known(after, falls_back):
    world = falling_back({0: push()}, [DOWN, DOWN], after=after, retry={"max_attempts": 9})
    # The third attempt would start at 3 s; that it comes too late is known when the second has failed.
    assert world.sent_ids() == (["n/sms"] if falls_back else ["n"])
    assert world.times(NotificationSent) == [1.0 if falls_back else 3.0]


def test_what_cannot_fall_back_is_tried_for_as_long_as_it_would_be_without_a_fallback():
    world = falling_back({0: push(addresses={})}, [DOWN, DOWN], after=2, retry={"max_attempts": 9})
    assert world.times(NotificationSent) == [3.0]


def test_who_waits_for_an_open_breaker_falls_back_when_the_time_is_over():
    sends = {0: [push(f"first{number}") for number in range(5)], 10: push("late")}
    world = falling_back(sends, [DOWN] * 5, after=20, retry={"max_attempts": 1})
    assert world.sent_ids() == [*(f"first{number}/sms" for number in range(5)), "late/sms"]
    assert world.times(NotificationSent)[-1] == pytest.approx(30, abs=1e-6)


def test_an_attempt_under_way_is_waited_for():
    assert falling_back({0: push()}, (), latency=8.0, after=5).sent_ids() == ["n"]


def test_quiet_hours_are_not_part_of_what_the_channel_takes():
    quiet = Quiet(share=1.0, hours=QuietHours(time(0), time(7), "UTC"), channels=frozenset({PUSH}))
    settings = {"push": {"fallback": {"channel": "sms", "after": 30}}, "sms": {}}
    world = send_at({0: push()}, preferences=Preferences(quiet=[quiet]), **settings)
    assert world.sent_ids() == ["n"]
    assert world.times(NotificationSent) == [7 * 3600.0]


def test_a_later_one_to_an_address_that_is_gone_falls_back_at_once():
    world = falling_back({0: push("a"), 5: push("b")}, [DeadDestination()])
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["b"]
    assert world.sent_ids() == ["a/sms", "b/sms"]


def test_who_has_switched_the_first_off_gets_nothing_on_the_second():
    off = Preferences(switched_off=[SwitchedOff(share=1.0, channels=frozenset({PUSH}))])
    world = send_at({0: push()}, preferences=off, push={"fallback": {"channel": "sms"}}, sms={})
    assert world.sent_ids() == []


def test_no_address_no_fallback(caplog):
    assert falling_back({0: push(addresses={})}, [Permanent()]).sent_ids() == []
    assert "n: no address for a fallback to sms" in caplog.text


def test_the_rest_of_the_expiry_goes_along_and_what_is_expired_is_wanted_by_no_one():
    sends = {0: [push("in time", expires_after=5.0), push("expired", expires_after=1.5)]}
    world = falling_back(sends, [DOWN] * 9, [DOWN] * 9, retry={"max_attempts": 3})
    letters = {letter.notification_id: letter for letter in world.letters}
    # Dead-lettered at 3 s with 2 s left, of which one retry of the SMS takes 1 s and the next would take 3 s.
    assert letters["in time/sms"].command.expires_after == pytest.approx(2.0)
    assert letters["in time/sms"].failure_reason == "expired"
    # Its retry at 3 s would have been too late; that was known at 1 s, and the SMS still had half a second.
    assert letters["expired/sms"].command.expires_after == pytest.approx(0.5)


def test_what_falls_back_has_waited_since_it_was_first_accepted():
    world = falling_back({10: push()}, [DOWN] * 3)
    (sent,) = world.events(NotificationSent)
    assert (sent.at_ns - sent.requested_at_ns) == 3_000_000_000
    first, second = world.events(NotificationRequested)
    assert (first.instead_of, second.instead_of, second.waited_since_ns) == (None, "n", first.at_ns)


def test_a_restarted_handler_knows_how_long_a_fallback_has_waited():
    world = falling_back({0: push(), 3.5: crash("handler")}, [DOWN] * 3, [DOWN], latency_of_texts=1.0)
    (sent,) = world.events(NotificationSent)
    assert sent.requested_at_ns == 0


def test_a_chain_goes_on_to_its_end():
    fallbacks = {"push": {"fallback": {"channel": "sms"}}, "sms": {"fallback": {"channel": "email"}}, "email": {}}
    world = send_at({0: push(addresses={SMS: "+49", EMAIL: "ann@example.org"})}, [Permanent()] * 2, **fallbacks)
    assert world.sent_ids() == ["n/sms/email"]


def test_a_redriven_one_does_not_fall_back_twice():
    world = falling_back({0: push(), 5: redrive("n", served="include")}, [Permanent()] * 2)
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
    sends = {0: [push(f"n{number}") for number in range(8)]}
    world = falling_back(sends, [outcomes[fate] for fate in fates], after=after, run=simulate)
    reached = [notification_id.removesuffix("/sms") for notification_id in world.sent_ids()]
    assert sorted(reached) == [f"n{number}" for number in range(8)]


@pytest.mark.parametrize(("expires_after", "until"), [(500.0, 501.0), (None, None)])
@pytest.mark.parametrize("run", [simulate, run_on_trio])
def test_a_provider_is_told_of_the_expiry_and_not_of_the_end_of_retries_or_of_the_fallback(expires_after, until, run):
    # What a push service has taken is sent: nothing else follows when it forgets it sooner than it is wanted.
    retry = {"initial_delay": 2, "max_elapsed": 10}
    world = falling_back({1: push(expires_after=expires_after)}, [DOWN], after=30, run=run, retry=retry)
    assert world.times(NotificationSent) == [3.0]
    assert [each.wanted_until_ns for each in world.pushes.attempts] == [None if until is None else until * 1e9] * 2
