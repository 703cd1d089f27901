"""The circuit breaker and the bulkhead in the pipeline: what waits, in which order and how long; what counts."""

import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st
from timetables import numbered, operate, send_at
from worlds import OK, Scripted, Try, World, email, most_in_a_window, on_both_clocks, simulate

from actors.messages import (
    BreakerTransitioned,
    DeferralCause,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
)
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Transient

S = 1_000_000_000
DOWN = Transient(reason="down")
MANY = {"max_attempts": 50, "initial_delay": 1.0, "max_delay": 5.0}


def transitions(world: World) -> list[tuple[float, str, str]]:
    return [(event.at_ns / S, event.to_state, event.cause) for event in world.events(BreakerTransitioned)]


def outage(until: float) -> Any:
    """Return what a provider does that is down until an instant."""
    return lambda this: DOWN if this.at < until else OK


def check_nothing_passes_an_open_breaker(world: World) -> None:
    """Check it from the provider's own log: no attempt starts while open, and one at a time while half-open."""
    changes = [(event.at_ns, event.to_state) for event in world.events(BreakerTransitioned)]
    spans = [
        (start_ns, end_ns)
        for (start_ns, state), (end_ns, _) in itertools.pairwise([*changes, (2**63, "end")])
        if state in ("open", "forced-open")
    ]
    for each in world.provider.tries:
        # At the very instant of the opening others may have been admitted before it.
        assert not any(start_ns < each.at_ns < end_ns for start_ns, end_ns in spans), each


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_while_it_is_open_notifications_wait_in_order_at_one_deferral_a_wait_and_use_no_attempt():
    sends = {0: numbered(5, "first"), **{10 + number: email(f"n{number:02}") for number in range(30)}}
    world = send_at(sends, outage(until=55), email={"retry": MANY})
    assert transitions(world) == [(0.0, "open", "trip"), (60.0, "half-open", "wait-over"), (60.0, "closed", "recover")]
    deferred = [event for event in world.events(NotificationDeferred) if event.notification_id.startswith("n")]
    assert [event.notification_id for event in deferred] == [f"n{number:02}" for number in range(30)]
    assert {event.cause for event in deferred} == {DeferralCause.CIRCUIT_BREAKER}
    assert {event.resumes_at_ns for event in deferred} == {60 * S}
    waited = [each for each in world.provider.ids if each.startswith("n")]
    assert waited == [f"n{number:02}" for number in range(30)]
    assert {event.attempt for event in world.events(NotificationSent) if event.notification_id[0] == "n"} == {1}
    check_nothing_passes_an_open_breaker(world)


def test_it_reopens_at_the_exact_instant_and_a_failed_probe_opens_it_for_another_whole_timeout():
    world = send_at({1.1: numbered(5)}, outage(until=100), latency=0.25, email={"retry": MANY})
    assert transitions(world) == [
        (1.35, "open", "trip"),
        (61.35, "half-open", "wait-over"),
        (61.6, "open", "trip"),
        (121.6, "half-open", "wait-over"),
        (121.85, "closed", "recover"),
    ]


def test_waiting_ones_resume_paced_and_the_pace_doubles():
    sends = {0: numbered(5, "first"), 10: [email(f"n{number:04}") for number in range(1000)]}
    settings = {"retry": MANY, "circuit_breaker": {"resume_rate": "10/s", "resume_doubling": 10}}
    world = send_at(sends, outage(until=50), email=settings)
    after = [each.at_ns - 60 * S for each in world.provider.tries if each.at_ns >= 60 * S]
    # r·d/ln 2·(2^(t/d) − 1) have been released by t, and the probe and the first one at once.
    for t, expected in ((1, 10.4), (5, 59.8), (10, 144.3), (20, 432.8)):
        released = sum(at_ns <= t * S for at_ns in after)
        assert released == pytest.approx(expected + 2, abs=1.01)
    assert most_in_a_window(after, S) <= 80
    assert after[-1] < 40 * S
    assert len(world.sent_ids()) == 1005


def test_those_who_come_while_others_resume_queue_up_behind_them():
    sends = {0: numbered(5, "first"), 10: numbered(5), 61.5: email("late"), 100: email("later")}
    settings = {"retry": MANY, "circuit_breaker": {"resume_rate": "1/s", "resume_doubling": "1h"}}
    world = send_at(sends, outage(until=50), email=settings)
    resumed = [each.notification_id for each in world.provider.tries if each.at >= 60]
    assert resumed[-2:] == ["late", "later"]
    assert [event.notification_id for event in world.events(NotificationDeferred)][-1] == "late"


def test_a_relapse_while_others_resume_makes_them_wait_on_without_another_deferral():
    def fate(this: Try) -> Any:
        return OK if 60 <= this.at < 62 or this.at > 100 else DOWN

    sends = {0: numbered(5, "first"), 40: [email(f"n{number:02}") for number in range(40)]}
    settings = {
        "retry": {**MANY, "initial_delay": 30.0, "max_delay": 30.0},
        "circuit_breaker": {"resume_rate": "2/s", "resume_doubling": "1h"},
    }
    world = send_at(sends, fate, email=settings)
    assert [change for _, change, _ in transitions(world)] == ["open", "half-open", "closed"] * 2
    deferrals = [event.notification_id for event in world.events(NotificationDeferred)]
    never_failed = {f"n{number:02}" for number in range(40)} - {event.notification_id for event in world.failures}
    assert len(never_failed) > 20
    assert all(deferrals.count(each) == 1 for each in never_failed)
    check_nothing_passes_an_open_breaker(world)


@pytest.mark.parametrize("expires_after", [20.0, 49.999999999, 50.0, 51.0])
def test_waiting_is_bounded_by_the_expiry_and_the_very_instant_is_still_in_time(expires_after):
    sends = {0: numbered(5, "first", expires_after=1.5), 10: email("n", expires_after=expires_after)}
    world = send_at(sends, outage(until=50), email={"retry": MANY})
    if expires_after < 50:
        assert ("n", "expired") in [(letter.notification_id, letter.failure_reason) for letter in world.letters]
        moved = next(each for each in world.events(NotificationMovedToDeadLetter) if each.notification_id == "n")
        assert moved.at_ns == round((10 + expires_after) * S) + 1
        assert moved.attempts == 0
    else:
        assert world.sent_ids() == ["n"]


# ── half-open ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_probe_is_let_through_and_those_who_come_meanwhile_wait():
    sends = {0: numbered(5, "first"), 62: [email("a"), email("b")]}
    world = send_at(sends, outage(until=50), latency=lambda this: 5.0 if this.at >= 60 else 0, email={"retry": MANY})
    probe, *others = [each.at for each in world.provider.tries if each.at >= 60]
    assert probe == 60.0
    assert min(others) == 65.0


@pytest.mark.parametrize("answer", [Permanent(), DeadDestination()])
def test_a_refused_probe_proves_that_the_provider_is_there(answer):
    sends = {0: [email(f"n{number}", recipient=f"{number}") for number in range(5)]}
    world = send_at(sends, lambda this: DOWN if this.at < 50 else answer, email={"retry": MANY})
    assert [state for _, state, _ in transitions(world)] == ["open", "half-open", "closed"]


def test_a_throttled_probe_gives_its_permit_to_the_next_in_line():
    world = send_at({0: numbered(5)}, [DOWN] * 5 + [Transient(throttled=True)], email={"retry": MANY})
    assert transitions(world) == [(0.0, "open", "trip"), (60.0, "half-open", "wait-over"), (60.0, "closed", "recover")]
    assert [each.notification_id for each in world.provider.tries if each.at == 60.0][:2] == ["n0", "n1"]


def test_a_probe_that_never_answers_is_a_failure_at_its_timeout_and_half_open_is_not_stuck():
    world = send_at(
        {0: numbered(5)},
        outage(until=100),
        latency=lambda this: 1000.0 if this.at == 60 else 0.0,
        email={"retry": MANY, "timeout": 7},
    )
    assert transitions(world)[1:4] == [
        (60.0, "half-open", "wait-over"),
        (67.0, "open", "trip"),
        (127.0, "half-open", "wait-over"),
    ]
    assert len(world.sent_ids()) == 5


def test_a_limit_on_half_open_is_kept_also_when_no_one_asks():
    sends = {0: email("n")}
    settings = {"retry": MANY, "circuit_breaker": {"failure_threshold": 1, "half_open_max": 2}}
    world = send_at(sends, outage(until=100), latency=lambda this: 9.0 if this.at == 60 else 0.0, email=settings)
    assert transitions(world)[:3] == [
        (0.0, "open", "trip"),
        (60.0, "half-open", "wait-over"),
        (62.0, "open", "probes-overdue"),
    ]
    assert [event.at_ns for event in world.history] == sorted(event.at_ns for event in world.history)
    assert world.sent_ids() == ["n"]


def test_several_probes():
    sends = {0: numbered(5)}
    settings = {"retry": MANY, "circuit_breaker": {"half_open_permits": 2}}
    world = send_at(sends, outage(until=50), latency=lambda this: 3.0 if this.at >= 60 else 0.0, email=settings)
    assert [each.at for each in world.provider.tries if each.at >= 60] == [
        60.0,
        60.0,
        63.0,
        pytest.approx(63.1, abs=1e-3),
        pytest.approx(63.2, abs=2e-3),
    ]
    assert transitions(world)[-1] == (63.0, "closed", "recover")


def test_during_a_ramp_a_growing_share_goes_through_and_no_one_is_stuck():
    sends = {0: numbered(5, "first"), **{60 + number / 10: email(f"n{number}") for number in range(400)}}
    settings = {"retry": MANY, "circuit_breaker": {"ramp": {"over": 30}, "resume_rate": "1000/s"}}
    world = send_at(sends, outage(until=50), email=settings)
    assert len(world.sent_ids()) == 405
    check_nothing_passes_an_open_breaker(world)
    assert world.provider.tries[-1].at < 105


# ── what counts ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Permanent(), DeadDestination(), Transient(throttled=True)])
def test_what_says_nothing_about_the_provider_never_opens_it(outcome):
    world = send_at({0: [email(f"n{number}", recipient=f"{number}") for number in range(50)]}, lambda _: outcome)
    assert transitions(world) == []


def test_failures_count_in_a_row_whatever_neutral_lies_between():
    neutral = [Permanent(), Transient(throttled=True), Permanent()]
    outcomes = [DOWN, DOWN, OK, DOWN, *neutral, Ambiguous(), *neutral, DOWN, DOWN, DOWN]

    sends = {number: email(f"n{number}") for number in range(len(outcomes))}
    assert transitions(send_at(sends, outcomes, email={"retry": {"max_attempts": 1}}))[0] == (13.0, "open", "trip")


def test_late_results_from_before_the_trip_change_nothing():
    """Slow successes come in while it is open and half-open, slow failures after it has closed again."""

    def latency(this: Try) -> float:
        return {"slow success": 30.0, "slower success": 62.0, "slow failure": 70.0, "probe": 5.0}.get(
            this.notification_id, 0.0
        )

    def fate(this: Try) -> Any:
        return DOWN if this.notification_id[0] == "n" or "failure" in this.notification_id else OK

    sends = {
        0: [email("slow success"), email("slower success"), email("slow failure 1"), email("slow failure")],
        1: [email("n1"), email("n2")],
        2: email("probe"),
    }
    settings = {"retry": {"max_attempts": 1}, "timeout": 100, "circuit_breaker": {"failure_threshold": 2}}
    world = send_at(sends, fate, latency, email=settings)
    assert transitions(world) == [(1.0, "open", "trip"), (61.0, "half-open", "wait-over"), (66.0, "closed", "recover")]


def test_a_channel_fault_opens_it_at_once_and_nothing_more_reaches_the_provider():
    world = send_at({0: numbered(10)}, [ChannelFault()], latency=0.5, email={"max_in_flight": 1})
    assert transitions(world)[0] == (0.5, "open", "trip")
    assert world.provider.times[:2] == [0.0, 60.5]
    assert {event.notification_id for event in world.events(NotificationDeferred)} == {f"n{k}" for k in range(10)}
    check_nothing_passes_an_open_breaker(world)


def test_slow_calls_open_it_where_that_is_asked_for():
    settings = {"window": {"calls": 10}, "slow_call": {"duration": 2, "rate": 1.0}}
    sends = {number: email(f"n{number}") for number in range(10)}
    assert transitions(send_at(sends, latency=3.0, email={"circuit_breaker": settings}))[0] == (12.0, "open", "trip")


def test_growing_open_time_with_jitter_is_drawn_from_the_systems_stream():
    def scenario(world: World) -> None:
        growth = {"multiplier": 2, "jitter": 0.5}
        world.open(Scripted(lambda _: DOWN), email={"retry": MANY, "circuit_breaker": {"open_growth": growth}})
        world.send(*(email(f"n{number}") for number in range(5)))

    first, again = on_both_clocks(scenario, seed=1, until=3600), on_both_clocks(scenario, seed=2, until=3600)
    assert transitions(first) != transitions(again)
    assert transitions(first) == transitions(simulate(scenario, seed=1, until=3600))


COUNTED = {
    "transient": DOWN,
    "ambiguous": Ambiguous(),
    "throttled": Transient(throttled=True, retry_after=0.0),
    "permanent": Permanent(),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_what_is_named_opens_it_and_nothing_else_does(kind):
    def run(counts: list[str]) -> list[tuple[float, str, str]]:
        def scenario(world: World) -> None:
            world.open(Scripted(lambda _: COUNTED[kind]), email={"circuit_breaker": {"counts": counts}})
            for number in range(5):
                world.send(email(f"n{number}"), at=float(number))
            world.send(email("probe"), at=70.0)

        return transitions(on_both_clocks(scenario))

    # Those that are tried again fail as often meanwhile, and one of them is the probe.
    opened_s, again_s = (4.0, 70.0) if kind == "permanent" else (2.0, 62.0)
    assert run([kind])[:3] == [
        (opened_s, "open", "trip"), (again_s, "half-open", "wait-over"), (again_s, "open", "trip")
    ]  # fmt: skip
    assert run([each for each in COUNTED if each != kind]) == []


def test_a_broken_channel_opens_it_whatever_counts():
    world = send_at({0: email("n")}, [ChannelFault()], email={"circuit_breaker": {"counts": ["permanent"]}})
    assert transitions(world)[0] == (0.0, "open", "trip")


@pytest.mark.parametrize("wait", [0, 3])
def test_refusals_of_a_full_bulkhead_count_where_they_are_named(wait):
    def run(counts: list[str]) -> list[tuple[float, str, str]]:
        def scenario(world: World) -> None:
            world.open(
                Scripted(latency=9.0),
                email={
                    "circuit_breaker": {"counts": counts, "failure_threshold": 3, "timeout": 1.0},
                    "max_in_flight": {"limit": 1, "wait": wait},
                    "retry": {"max_attempts": 1},
                },
            )
            world.send(*(email(f"n{number}") for number in range(4)))
            world.send(email("probe"), at=wait + 1.5)

        return transitions(on_both_clocks(scenario))

    again_s = wait + 1.5 + wait
    assert run(["refused_by_bulkhead"])[:3] == [
        (wait, "open", "trip"), (again_s, "half-open", "wait-over"), (again_s, "open", "trip")
    ]  # fmt: skip
    assert run(["transient"]) == []


# ── fail at once ────────────────────────────────────────────────────────────────────────────────────────────────


def test_when_open_fail_uses_up_attempts_without_asking_the_provider():
    world = send_at({0: numbered(5)}, [DOWN] * 5, email={"circuit_breaker": {"when_open": "fail"}})
    assert len(world.provider.tries) == 5
    assert world.reasons == ["circuit breaker is open"] * 5
    assert [failure.attempt for failure in world.failures if failure.notification_id == "n0"] == [1, 2, 3]
    assert world.events(NotificationDeferred) == []


def test_when_open_fail_also_refuses_those_who_waited_for_a_slot():
    settings = {"circuit_breaker": {"when_open": "fail", "failure_threshold": 1}, "max_in_flight": 1}
    world = send_at({0: [email("a"), email("b"), email("c")]}, lambda _: DOWN, latency=1.0, email=settings)
    assert world.provider.ids == ["a"]
    assert sorted((failure.at_ns / S, failure.reason) for failure in world.failures)[:3] == [
        (1.0, "circuit breaker is open"),
        (1.0, "circuit breaker is open"),
        (1.0, "down"),
    ]


def test_when_open_fail_lets_the_probe_through():
    settings = {"circuit_breaker": {"when_open": "fail"}, "retry": {"max_attempts": 1}}
    world = send_at({0: numbered(5), 59.999: email("early"), 60: email("probe")}, [DOWN] * 5, email=settings)
    assert world.sent_ids() == ["probe"]
    assert len(world.letters) == 6


# ── the bulkhead ────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30), st.sampled_from([OK, DOWN, Ambiguous()])), max_size=40),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_no_more_are_under_way_than_slots_and_nothing_passes_an_open_breaker(program, slots, threshold):
    latencies = {f"n{number}": latency / 4 for number, (_, latency, _) in enumerate(program)}
    outcomes = {f"n{number}": outcome for number, (_, _, outcome) in enumerate(program)}

    world = send_at(
        [(at / 2, email(f"n{number}")) for number, (at, _, _) in enumerate(program)],
        lambda this: outcomes[this.notification_id] if this.number < 3 else OK,
        lambda this: latencies[this.notification_id],
        run=simulate,
        until=3600,
        email={
            "retry": MANY,
            "max_in_flight": slots,
            "timeout": 5,
            "circuit_breaker": {"failure_threshold": threshold, "timeout": 3},
        },
    )
    spans = [
        (each.at_ns, each.at_ns + round(min(latencies[each.notification_id], 5.0) * S)) for each in world.provider.tries
    ]
    for start_ns, _ in spans:
        assert sum(other <= start_ns < end_ns for other, end_ns in spans) <= slots
    check_nothing_passes_an_open_breaker(world)


def test_the_slot_comes_before_the_permit_so_that_no_one_with_a_permit_queues():
    """Ten wait for the one slot; the breaker opens with the first result, and none of the ten gets through."""

    settings = {"max_in_flight": 1, "circuit_breaker": {"failure_threshold": 1}, "retry": MANY}
    world = send_at({0: numbered(11)}, lambda _: DOWN, latency=1.0, until=61, email=settings)
    assert world.provider.ids == ["n0"]
    assert len(world.events(NotificationDeferred)) == 11  # and the first one's retry


def test_waiting_for_a_slot_alone_is_no_deferral_and_keeps_the_order():
    world = send_at({0: numbered(6)}, latency=1.0, email={"max_in_flight": 2})
    assert world.events(NotificationDeferred) == []
    assert world.provider.ids == [f"n{number}" for number in range(6)]
    assert world.provider.times == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("expires_after", [2.5, 3.0])
def test_who_expires_waiting_for_a_slot_is_dead_lettered_then_and_there(expires_after):
    sends = {0: [email("a"), email("b", expires_after=expires_after), email("c")]}
    world = send_at(sends, latency=3.0, email={"max_in_flight": 1})
    if expires_after == 2.5:
        assert world.times(NotificationMovedToDeadLetter) == [2.500000001]
        assert world.provider.ids == ["a", "c"]
    else:
        assert world.provider.ids == ["a", "b", "c"]


def test_who_expires_waiting_for_a_slot_while_others_resume_is_dead_lettered_then_and_there():
    sends = {0: operate("force-open"), 1: [email("a"), email("b", expires_after=5)], 2: operate("close")}
    settings = {"max_in_flight": 1, "circuit_breaker": {"resume_rate": "1000/s"}}
    world = send_at(sends, latency=lambda this: 8.0 if this.notification_id != "x" else 0.0, email=settings)
    assert world.times(NotificationMovedToDeadLetter) == [6.000000001]
    assert world.sent_ids() == ["a"]


# ── orders of an operator ───────────────────────────────────────────────────────────────────────────────────────


def test_forced_open_waits_for_an_order_however_long():
    force_open, close = operate("force-open"), operate("close")
    world = send_at({1: force_open, 2: force_open, 3: [email("a"), email("b")], 10_000: close, 10_001: close})
    assert world.notes == [True, False, "accepted", "accepted", True, False]
    assert [event.resumes_at for event in world.events(NotificationDeferred)] == [None, None]
    assert world.provider.times == [10_000.0, pytest.approx(10_000.1, abs=1e-3)]
    assert transitions(world) == [(1.0, "forced-open", "force-open"), (10_000.0, "closed", "close")]


@pytest.mark.parametrize(("by", "then"), [("disable", "disabled"), ("metrics-only", "metrics-only")])
def test_an_order_that_ends_refusal_resumes_those_who_wait_paced_and_counts_nothing(by, then):
    breaker = {"resume_rate": "10/s", "resume_doubling": "1h"}
    sends = {0: operate("force-open"), 1: numbered(20), 2: operate(by), 3: operate(by), 5: numbered(20, "later")}
    world = send_at(sends, outage(until=100), email={"retry": {"max_attempts": 1}, "circuit_breaker": breaker})
    assert world.provider.times[:20] == pytest.approx([2 + number / 10 for number in range(20)], abs=1e-3)
    assert world.provider.times[20:] == [5.0] * 20
    assert [note for note in world.notes if isinstance(note, bool)] == [True, True, False]
    assert transitions(world)[-1] == (2.0, then, by)


def test_closing_an_open_breaker_resumes_those_who_wait_at_once_and_paced():
    settings = {"retry": MANY, "circuit_breaker": {"resume_rate": "1/s"}}
    world = send_at({0: numbered(5), 10: operate("close")}, [DOWN] * 5, email=settings)
    resumed = [each.at for each in world.provider.tries if each.at > 0]
    assert resumed[0] == 10.0
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(resumed))


def test_each_channel_has_its_own():
    sends = {0: [*numbered(6, "e"), *numbered(6, "s", channel="sms")]}
    world = send_at(
        sends, lambda this: DOWN if this.command.channel == "email" else OK, until=30, email={"retry": MANY}, sms={}
    )
    assert sorted(world.sent_ids()) == [f"s{number}" for number in range(6)]
    assert {event.breaker for event in world.events(BreakerTransitioned)} == {"email"}
    assert {event.channel for event in world.events(NotificationFailed)} == {"email"}
