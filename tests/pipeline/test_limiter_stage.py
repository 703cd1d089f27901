"""The rate limiter in the pipeline: per user, per channel, deferred or dropped; charged once, or by the attempt."""

from collections import defaultdict

import pytest
from hypothesis import given, strategies as st
from timetables import redrive, send_at
from worlds import OK, Scripted, World, email, most_in_a_window, simulate

from actors.messages import (
    DeferralCause,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
)
from actors.outcomes import Transient

S = 1_000_000_000


def test_each_user_has_a_limit_of_its_own_and_a_wait_is_one_deferral():
    sends = {0: [email(f"{user}{number}", user_id=user) for number in range(4) for user in "ab"]}
    world = send_at(sends, email={"rate_limit": {"max_per_minute": 2}})
    assert world.provider.ids == ["a0", "b0", "a1", "b1", "a2", "a3", "b2", "b3"]
    assert world.provider.times == [0.0] * 4 + [60.0] * 4
    deferred = world.events(NotificationDeferred)
    assert [event.notification_id for event in deferred] == ["a2", "b2", "a3", "b3"]
    assert {event.cause for event in deferred} == {DeferralCause.RATE_LIMIT}
    assert {event.resumes_at_ns for event in deferred} == {60 * S}


def test_deferred_ones_of_a_user_go_in_order_and_newcomers_queue_up_behind_them():
    world = send_at({4 * number: email(f"n{number}") for number in range(6)}, email={"rate_limit": {"rate": "1/10s"}})
    assert world.provider.ids == [f"n{number}" for number in range(6)]
    assert world.provider.times == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def test_the_users_limit_is_charged_once_a_notification_and_its_retries_pass():
    sends = {0: email("a"), 1.5: email("b")}
    world = send_at(sends, [Transient(), Transient()], email={"rate_limit": {"rate": "1/100s"}})
    assert [(each.notification_id, each.at) for each in world.provider.tries] == [
        ("a", 0.0),
        ("a", 1.0),
        ("a", 3.0),
        ("b", 100.0),
    ]


def test_a_redriven_notification_is_not_charged_again():
    settings = {"rate_limit": {"rate": "1/100s"}, "retry": {"max_attempts": 1}}
    assert send_at({0: email("a"), 10: redrive("a")}, [Transient()], email=settings).provider.times == [0.0, 10.0]


def test_the_channels_quota_is_charged_by_the_attempt():
    sends = {0: email("a"), 0.5: email("b", user_id="bob")}
    world = send_at(sends, [Transient(), Transient()], email={"quota": {"rate": "1/10s"}})
    assert [(each.notification_id, each.at) for each in world.provider.tries] == [
        ("a", 0.0),
        ("b", 10.0),
        ("a", 20.0),
        ("b", 30.0),
    ]
    assert world.sent_ids() == ["a", "b"]


def test_a_user_within_its_limit_may_still_wait_for_the_quota():
    settings = {"rate_limit": {"rate": "1/5s"}, "quota": {"rate": "1/20s"}}
    world = send_at({0: [email("a1", user_id="a"), email("a2", user_id="a"), email("b1", user_id="b")]}, email=settings)
    assert [(each.notification_id, each.at) for each in world.provider.tries] == [
        ("a1", 0.0),
        ("b1", 20.0),
        ("a2", 40.0),
    ]
    deferrals = [(event.notification_id, event.at_ns // S) for event in world.events(NotificationDeferred)]
    assert deferrals == [("a2", 0), ("b1", 0), ("a2", 5)]


@pytest.mark.parametrize("gate", ["rate_limit", "quota"])
def test_drop_dead_letters_at_once_and_is_no_attempt(gate):
    world = send_at({5: [email("a"), email("b")], 15: email("c")}, email={gate: {"rate": "1/10s", "on_limit": "drop"}})
    assert world.sent_ids() == ["a", "c"]
    assert world.reasons == ["rate limit exceeded"]
    assert world.letters[0].attempts == 0
    assert world.times(NotificationMovedToDeadLetter) == [5.0]
    assert world.events(NotificationFailed, NotificationDeferred) == []
    assert world.letters[0].first_failure_ns == 5 * S


@pytest.mark.parametrize("expires_after", [9.0, 10.0, 15.0, 20.0])
def test_what_cannot_fit_before_its_expiry_is_dead_lettered(expires_after):
    sends = {0: [email("a"), email("b"), email("n", expires_after=expires_after), email("z")]}
    world = send_at(sends, email={"rate_limit": {"rate": "1/10s"}})
    if expires_after < 20:
        assert world.reasons == ["expired"]
        # At once when that is known, else at the expiry; the next one moves up.
        expected = 0.0 if expires_after < 10 else expires_after + 1e-9
        assert world.times(NotificationMovedToDeadLetter) == [pytest.approx(expected, abs=1e-12)]
        assert [(each.notification_id, each.at) for each in world.provider.tries][-1] == ("z", 20.0)
    else:
        assert world.provider.times == [0.0, 10.0, 20.0, 30.0]
        assert world.provider.ids == ["a", "b", "n", "z"]


@pytest.mark.parametrize("gate", ["rate_limit", "quota"])
def test_a_first_attempt_that_cannot_start_before_its_expiry_is_no_matter_of_retry_time(gate):
    settings = {gate: {"rate": "1/10s"}, "retry": {"max_elapsed": 3600}}
    world = send_at({0: [email("a"), email("n", expires_after=5.0)]}, email=settings)
    assert (world.reasons, world.letters[0].attempts) == (["expired"], 0)


@pytest.mark.parametrize(("expires_after", "max_elapsed", "reason"), [
    (40.0, 25.0, "retry time is up"),
    (25.0, 40.0, "expired"),
])  # fmt: skip
def test_a_retry_that_no_longer_fits_is_given_up_by_the_bound_that_comes_first(expires_after, max_elapsed, reason):
    """The retry is due at 1 s, and the quota has room for it at 60 s: after both bounds."""

    retry = {"max_attempts": 3, "initial_delay": 1, "max_elapsed": max_elapsed}
    sends = {0: email("n", expires_after=expires_after)}
    world = send_at(sends, [Transient(reason="busy")], email={"quota": {"rate": "1/60s"}, "retry": retry})
    assert (world.reasons, world.letters[0].attempts) == ([reason], 1)


def test_an_idle_user_is_forgotten():
    sizes = []

    sends = {
        **{number * 10: email(f"n{number}", user_id=f"user {number}") for number in range(300)},
        2999: lambda world: sizes.append(world.pipeline.wiring.stages["email"].limiter.active_keys),
    }
    send_at(sends, run=simulate, email={"rate_limit": {"max_per_minute": 5}})
    assert sizes[0] <= 14


def test_without_a_limit_there_is_no_stage():
    world = simulate(lambda world: world.open())
    assert world.pipeline.wiring.stages["email"].rate_limiter is None


PROGRAM = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from("abc"), st.sampled_from([None, None, 5.0, 30.0])), max_size=60
)


@given(PROGRAM, st.sampled_from(["sliding_window", "fixed_window", "token_bucket"]), st.integers(1, 4))
def test_no_window_holds_more_than_the_limit_and_everyone_gets_through_or_expires(program, kind, limit):
    def scenario(world: World) -> None:
        world.open(
            Scripted(lambda this: Transient() if this.number == 1 and this.at_ns % 3 == 0 else OK),
            email={"rate_limit": {"rate": f"{limit}/10s", "kind": kind}, "circuit_breaker": {"enabled": False}},
        )
        for number, (at, user, expires_after) in enumerate(program):
            world.send(email(f"n{number:02}", user_id=user, expires_after=expires_after), at=at)

    world = simulate(scenario, until=1_000_000)
    first: dict[str, list[int]] = defaultdict(list)
    order: dict[str, list[str]] = defaultdict(list)
    for each in world.provider.tries:
        if each.number == 1:
            first[each.user].append(each.at_ns)
            order[each.user].append(each.notification_id)
    arrived = sorted(range(len(program)), key=lambda number: (program[number][0], number))
    for user, at_ns in first.items():
        most = most_in_a_window(at_ns, 10 * S)
        assert most <= (limit if kind == "sliding_window" else 2 * limit)
        # None overtakes another one of the same user.
        of_user = [f"n{number:02}" for number in arrived if program[number][1] == user]
        assert order[user] == [each for each in of_user if each in set(order[user])]
    assert world.pipeline.in_flight == 0
    assert {letter.failure_reason for letter in world.letters} <= {"expired"}
    assert len(world.events(NotificationSent)) + len(world.letters) == len(program)
