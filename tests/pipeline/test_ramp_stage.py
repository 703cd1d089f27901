"""The ramp after closing, in the pipeline: which share of those that come goes, and how the waiters go."""

import itertools
import math

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from timetables import crash, operate, send_at
from worlds import OK, Try, email, most_in_a_window

from actors.messages import BreakerTransitioned, DeferralCause, NotificationDeferred
from actors.outcomes import Transient

S = 1_000_000_000
DOWN = Transient(reason="down")
MANY = {"max_attempts": 50, "initial_delay": 1.0, "max_delay": 5.0}


def share(since_closing: float, over: float, start: float) -> float:
    return start + (1 - start) * min(1.0, since_closing / over)


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=120),
    st.sampled_from([10.0, 30.0]),
    st.sampled_from([0.0, 0.1, 0.5]),
)
@settings(max_examples=examples(40))
def test_where_it_is_to_fail_each_arrival_asks_once_and_a_share_goes_that_follows_the_ramp(tenths, over, start):
    """Of any that come from the closing on, as many go as the sum of their shares says, and the others fail at once."""
    tenths = sorted(tenths)

    breaker = {"when_open": "fail", "ramp": {"over": over, "start": start}}
    sends = [
        (0, operate("force-open")),
        (1, operate("close")),
        *((1 + tenth / 10, email(f"n{number:03}")) for number, tenth in enumerate(tenths)),
    ]
    world = send_at(sends, email={"retry": {"max_attempts": 1}, "circuit_breaker": breaker})
    assert world.events(NotificationDeferred) == []
    gone = set(world.provider.ids)
    expected = 0.0
    for number, tenth in enumerate(tenths):
        if tenth / 10 >= over:
            assert f"n{number:03}" in gone
            continue
        expected += share(tenth / 10, over, start)
        passed = sum(f"n{each:03}" in gone for each in range(number + 1))
        assert passed in (math.floor(expected - 1e-9), math.floor(expected + 1e-9))
    assert set(world.reasons) <= {"circuit breaker is open"}


def test_of_those_who_resume_at_a_pace_a_share_goes_that_follows_the_ramp_and_no_herd_at_its_end():
    over, rate = 40.0, 10.0

    breaker = {"ramp": {"over": over, "start": 0.1}, "resume_rate": f"{rate:.0f}/s", "resume_doubling": "1000h"}
    sends = {0: operate("force-open"), 1: [email(f"n{number:04}") for number in range(1000)], 10: operate("close")}
    world = send_at(sends, email={"circuit_breaker": breaker})
    starts = [each.at_ns - 10 * S for each in world.provider.tries]
    for t in (5.0, 10.0, 20.0, 40.0):
        expected = rate * (0.1 * t + 0.9 * t * t / (2 * over))  # the integral of the share over the rate
        assert sum(at_ns <= t * S for at_ns in starts) == pytest.approx(expected, abs=2)
    assert most_in_a_window(starts, S) <= rate + 1
    assert world.provider.ids == sorted(world.provider.ids)
    assert len(world.sent_ids()) == 1000


def test_who_comes_during_a_ramp_and_is_refused_waits_at_a_pace_and_the_others_behind_it():
    breaker = {"ramp": {"over": 100, "start": 0.0}, "resume_rate": "10/s", "resume_doubling": "1000h"}
    sends = [
        (0, operate("force-open")),
        (1, operate("close")),
        *((1 + number, email(f"n{number:02}")) for number in range(100)),
    ]
    world = send_at(sends, email={"circuit_breaker": breaker})
    assert len(world.sent_ids()) == 100
    assert world.provider.ids == sorted(world.provider.ids)
    assert most_in_a_window([each.at_ns for each in world.provider.tries], S) <= 11
    assert {event.cause for event in world.events(NotificationDeferred)} == {DeferralCause.CIRCUIT_BREAKER}
    # The pace is faster than they come, so the ramp is what holds them: 10/s · share of it.
    early = [each for each in world.provider.tries if each.at < 11]
    assert len(early) == pytest.approx(10 * 10 * 10 / 200, abs=1.5)


def test_those_who_waited_for_room_while_it_closed_go_at_a_pace_through_the_ramp_too():
    sends = {0: email("first"), 6: [email(f"n{number:02}") for number in range(20)]}
    settings = {
        "retry": MANY,
        "quota": {"rate": "1/2s"},
        "circuit_breaker": {
            "failure_threshold": 1,
            "timeout": 5,
            "ramp": {"over": 60, "start": 0.0},
            "resume_rate": "5/s",
        },
    }
    world = send_at(sends, lambda this: OK if this.at >= 1 else DOWN, email=settings)
    closed_ns = next(event.at_ns for event in world.events(BreakerTransitioned) if event.to_state == "closed")
    starts = [each.at_ns for each in world.provider.tries if each.at_ns > closed_ns]
    assert all(later - earlier >= 2 * S for earlier, later in itertools.pairwise(starts))
    assert len(world.sent_ids()) == 21


def test_a_pace_that_could_not_be_kept_is_not_made_up_for_in_a_burst():
    """The one slot is taken for a minute; once it is free, those that resume go one by one not all sixty at once."""

    def latency(this: Try) -> float:
        return 60.0 if this.notification_id == "n00" else 0.0

    breaker = {"resume_rate": "1/s", "resume_doubling": "1000h"}
    sends = {0: operate("force-open"), 1: [email(f"n{number:02}") for number in range(50)], 10: operate("close")}
    world = send_at(sends, latency=latency, email={"timeout": 100, "max_in_flight": 1, "circuit_breaker": breaker})
    assert world.provider.times[:2] == [10.0, 70.0]
    assert most_in_a_window([each.at_ns for each in world.provider.tries], S) <= 2


@pytest.mark.parametrize("crashes", [[10.55], [12.0, 14.0, 20.0]])
def test_those_who_resume_keep_their_pace_when_the_stage_crashes(crashes):
    sends = {0: operate("force-open"), 1: [email(f"n{number:03}") for number in range(400)], 10: operate("close")}
    sends |= dict.fromkeys(crashes, crash("breaker"))
    world = send_at(sends, email={"circuit_breaker": {"resume_rate": "20/s", "resume_doubling": "1000h"}})
    assert len(world.sent_ids()) == 400
    assert most_in_a_window([each.at_ns for each in world.provider.tries], S) <= 21 + 1


def test_a_crash_while_it_is_half_open_for_so_long_only_changes_nothing_about_that():
    world = send_at(
        {0: email("a"), 62: crash("breaker")},
        lambda this: DOWN if this.at < 10 else OK,
        latency=lambda this: 40.0 if this.at == 60 else 0.0,
        email={"retry": MANY, "timeout": 50, "circuit_breaker": {"failure_threshold": 1, "half_open_max": 5}},
    )
    changes = [(event.at_ns / S, event.to_state) for event in world.events(BreakerTransitioned)]
    assert changes[:3] == [(0.0, "open"), (60.0, "half-open"), (65.0, "open")]
    assert world.sent_ids() == ["a"]
