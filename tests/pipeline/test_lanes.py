"""A lane by itself: what an attempt has to pass, what it is charged, and what is said of one that is blocked."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pipeline_invariants import check_quota

from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.lane import Blocked, BlockReason, Lane, breaker_name, lanes_of
from actors.pipeline.quotas import Quotas
from actors.policies.breaker.breaker import BreakerEvent, Transition
from actors.policies.resuming import Arrivals
from actors.settings.accounts import AccountConfig
from actors.settings.channel import ChannelConfig
from actors.settings.defaults import with_accounts

S = 1_000_000_000
OK, DOWN, THROTTLED = Sent(), Transient(reason="down"), Transient(throttled=True)


def lane_of(**settings: Any) -> Lane:
    config = ChannelConfig.model_validate(settings)
    return Lane(0, "email", None, config, lambda name: Random(name), Arrivals())


def admit(lane: Lane, at: float, host: str = "") -> int:
    permit = lane.try_admit(host, round(at * S))
    assert not isinstance(permit, Blocked), permit
    return permit


def blocked(lane: Lane, at: float, host: str = "") -> tuple[str, float | None]:
    answer = lane.try_admit(host, round(at * S))
    assert isinstance(answer, Blocked), answer
    return answer.reason.name.lower(), None if answer.until_ns is None else answer.until_ns / S


def settle(lane: Lane, permit: int, outcome: Outcome, at: float, host: str = "") -> None:
    lane.settle(permit, outcome, host, round(at * S), S // 10, 1)


# ── what blocks, and until when ───────────────────────────────────────────────────────────────────────────────────


def test_a_slot_is_free_again_when_an_attempt_has_ended_whatever_the_outcome():
    for outcome in (OK, DOWN, THROTTLED, Permanent(), DeadDestination(), Ambiguous()):
        lane = lane_of(max_in_flight=1)
        permit = admit(lane, 0)
        assert blocked(lane, 1) == ("slot", None)
        settle(lane, permit, outcome, 2)
        assert lane.in_flight == 0
        admit(lane, 2)


@pytest.mark.parametrize(("on_limit", "reason"), [("defer", "rate"), ("drop", "quota")])
def test_a_quota_says_when_the_next_one_fits(on_limit, reason):
    lane = lane_of(quota={"rate": "2/10s", "on_limit": on_limit})
    admit(lane, 0)
    admit(lane, 3)
    assert blocked(lane, 4) == (reason, 10.0)
    admit(lane, 10)
    assert blocked(lane, 10) == (reason, 13.0)


def test_quota_and_adaptive_rate_together_block_until_both_have_room():
    lane = lane_of(
        quota={"rate": "1/10s", "on_limit": "drop"}, adaptive_rate={"initial_rate": "1/20s", "minimum_rate": "1/20s"}
    )
    admit(lane, 0)
    assert blocked(lane, 1) == ("quota", 20.0)
    assert blocked(lane, 10) == ("rate", 20.0)  # the quota has room, and drops none for the rate's sake


def test_an_open_breaker_is_what_blocks_also_where_there_is_no_room():
    lane = lane_of(max_in_flight=1, quota={"rate": "1/h"}, circuit_breaker={"failure_threshold": 1})
    settle(lane, admit(lane, 0), DOWN, 1)
    assert blocked(lane, 2) == ("breaker", 61.0)
    assert blocked(lane, 61) == ("rate", 3600.0)  # now it would let a probe through
    probe = admit(lane, 3600)
    assert blocked(lane, 3600) == ("breaker", None)
    settle(lane, probe, OK, 3601)
    assert blocked(lane, 3601) == ("rate", 7200.0)


def test_a_lane_that_is_shut_claims_no_turn_of_its_account():
    """The account lets one through a second; the other lane takes the first token, and the second one at once."""
    quotas = Quotas()
    account = AccountConfig.model_validate({"quota": {"rate": "1/s", "kind": "token_bucket", "burst": 1}})
    config = with_accounts(ChannelConfig.model_validate({"quota": {"account": "aws"}}), {"aws": account})
    shut, other = (Lane(0, name, None, config, Random, Arrivals(), quotas) for name in ("email", "sms"))
    admit(other, 0)
    assert shut.breakers.override(BreakerEvent.FORCE_OPEN, 0)
    assert blocked(shut, 0.1) == ("breaker", None)
    assert blocked(other, 0.2) == ("rate", 1.0)
    admit(other, 1)


def test_a_forced_open_breaker_blocks_until_an_order():
    lane = lane_of()
    assert lane.breakers.override(BreakerEvent.FORCE_OPEN, S)
    assert not lane.breakers.override(BreakerEvent.FORCE_OPEN, 2 * S)
    assert blocked(lane, 3) == ("breaker", None)
    assert lane.breakers.override(BreakerEvent.CLOSE, 4 * S)
    admit(lane, 4)


def test_a_ramp_blocks_until_its_end_and_those_who_wait_ask_again_at_a_pace():
    lane = lane_of(
        circuit_breaker={"ramp": {"over": 10, "start": 0.0}, "resume_rate": "2/s", "resume_doubling": "1000h"}
    )
    lane.breakers.override(BreakerEvent.FORCE_OPEN, 0)
    lane.breakers.override(BreakerEvent.CLOSE, 0)
    assert blocked(lane, 0) == ("ramp", 10.0)
    assert lane.paces.wait_through_ramp("", 0) == pytest.approx(S / 2, rel=1e-5)
    assert blocked(lane, 0.25)[0] == "pace"
    instants = [0.5 * number for number in range(1, 20)]
    gone = 0.0
    for at in instants:
        gone += not isinstance(lane.try_admit("", round(at * S) + 10_000_000), Blocked)
    assert gone == pytest.approx(sum(at / 10 for at in instants), abs=1)


def test_a_throttle_refuses_and_gives_the_permit_back():
    lane = lane_of(
        adaptive_throttle={"k": 1, "window": 1000},
        circuit_breaker={"failure_threshold": 3, "timeout": 10},
        quota={"rate": "100/h"},
    )
    permits = [admit(lane, 0)]
    refused = 0
    while lane.breakers.of("", 0).state is BreakerState.CLOSED:
        permit = lane.try_admit("", 0)
        if isinstance(permit, Blocked):
            assert permit.reason is BlockReason.THROTTLE
            refused += 1
        else:
            settle(lane, permit, DOWN, 0)
    settle(lane, permits[0], DOWN, 0)
    answers = [lane.try_admit("", 10 * S + number) for number in range(10_000)]
    admitted = [answer for answer in answers if not isinstance(answer, Blocked)]
    reasons = {answer.reason for answer in answers if isinstance(answer, Blocked)}
    assert len(admitted) == 1  # the one probe, once the throttle lets one through
    assert reasons == {BlockReason.THROTTLE, BlockReason.BREAKER}
    assert answers.index(admitted[0]) > 0
    assert lane.in_flight == 1


# ── what teaches what ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (OK, "closed"),
        (THROTTLED, "closed"),
        (Permanent(), "closed"),
        (DeadDestination(), "closed"),
        (DOWN, "open"),
        (Ambiguous(), "open"),
        (ChannelFault(), "open"),
    ],
)
def test_what_opens_the_breaker(outcome, state):
    lane = lane_of(circuit_breaker={"failure_threshold": 1})
    settle(lane, admit(lane, 0), outcome, 1)
    assert lane.breakers.of("", S).state == state


def test_only_throttling_cuts_the_rate_and_only_answers_raise_it():
    lane = lane_of(adaptive_rate={"initial_rate": "10/s", "cooldown": 0}, circuit_breaker={"enabled": False})
    assert lane.rate is not None
    for outcome in (DOWN, Ambiguous(), ChannelFault()):
        settle(lane, admit(lane, lane.room_at_ns(0) / S), outcome, 100)  # type: ignore[operator]
        assert lane.rate.rate == 10.0
    for number in range(100):
        settle(lane, admit(lane, 200 + number), [OK, Permanent(), DeadDestination()][number % 3], 200 + number)
    before = lane.rate.rate
    settle(lane, admit(lane, 301), THROTTLED, 301)
    assert lane.rate.rate < before


def test_a_provider_that_refuses_says_nothing_about_how_much_it_can_do():
    lane = lane_of(concurrency_limit={"initial": 20}, circuit_breaker={"enabled": False})
    for number in range(100):
        settle(lane, admit(lane, number), DOWN, number)
    assert lane.slots.limit == 20


def test_each_host_has_a_breaker_and_all_share_the_quota():
    transitions: list[tuple[str, Transition]] = []
    lane = lane_of(circuit_breaker={"per": "host", "failure_threshold": 1}, quota={"rate": "3/h"})
    lane.follow(lambda _, host, transition: transitions.append((host, transition)))
    settle(lane, admit(lane, 0, "a"), DOWN, 0, "a")
    assert blocked(lane, 1, "a") == ("breaker", 60.0)
    admit(lane, 1, "b")
    admit(lane, 1, "c")
    assert blocked(lane, 1, "b") == ("rate", 3600.0)
    assert [(host, transition.to_state) for host, transition in transitions] == [("a", "open")]


# ── names, and which lanes there are ────────────────────────────────────────────────────────────────────────────


def test_a_channel_has_a_lane_for_each_provider_with_its_own_settings():
    config = ChannelConfig.model_validate(
        {"max_in_flight": 7, "quota": {"rate": "5/s"}, "failover": {"backup": {"quota": None}, "last": {"timeout": 3}}}
    )
    lanes = lanes_of("email", config, lambda name: Random(name), Arrivals())
    assert [(lane.number, lane.provider, lane.name) for lane in lanes] == [
        (0, "primary", "email"),
        (1, "backup", "email/backup"),
        (2, "last", "email/last"),
    ]
    assert [lane.quota is None for lane in lanes] == [False, True, False]
    assert [lane.config.timeout for lane in lanes] == [10.0, 10.0, 3.0]
    assert {lane.slots.limit for lane in lanes} == {7}
    assert lanes_of("email", ChannelConfig(), lambda name: Random(name), Arrivals())[0].provider is None
    assert breaker_name("sms", 2, "other") == "sms/other"


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────

lane_settings = st.fixed_dictionaries(
    {
        "circuit_breaker": st.fixed_dictionaries(
            {
                "failure_threshold": st.integers(1, 3),
                "timeout": st.sampled_from([1.0, 5.0]),
                "half_open_permits": st.integers(1, 2),
                "ramp": st.sampled_from([None, {"over": 3, "start": 0.0}]),
                "half_open_max": st.sampled_from([None, 2.0]),
                "per": st.sampled_from(["channel", "host"]),
            }
        ),
        "quota": st.sampled_from([None, {"rate": "2/s"}, {"rate": "3/4s", "kind": "fixed_window"}]),
        "max_in_flight": st.sampled_from([None, 1, 3]),
        "adaptive_rate": st.sampled_from([None, {"initial_rate": "3/s", "cooldown": 0}]),
        "concurrency_limit": st.sampled_from([None, {"initial": 2, "maximum": 4}]),
        "adaptive_throttle": st.sampled_from([None, {"k": 1, "window": 5}]),
    }
)
outcomes = st.sampled_from([OK, OK, DOWN, THROTTLED, Permanent(), DeadDestination(), Ambiguous(), ChannelFault()])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("settle"), outcomes),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.2, 1.0, 5.0])),
        st.tuples(st.just("order"), st.sampled_from(["force-open", "close", "disable"])),
    ),
    max_size=80,
)


@given(lane_settings, steps)
@settings(max_examples=examples(300))
def test_the_invariants_of_a_lane(chosen, program):
    lane = lane_of(**chosen)
    now_ns, under_way, starts = 0, [], []
    for what, argument in program:
        match what:
            case "pass":
                now_ns += round(argument * S)
            case "order":
                lane.breakers.override(BreakerEvent(argument), now_ns)
            case "settle" if under_way:
                host, permit = under_way.pop(0)
                lane.settle(permit, argument, host, now_ns, S // 10, len(under_way) + 1)
            case "ask":
                room_at_ns = lane.room_at_ns(now_ns)
                answer = lane.try_admit(argument, now_ns)
                if isinstance(answer, Blocked):
                    # What is blocked has taken no room; what is blocked for want of room is so where there is none.
                    assert lane.room_at_ns(now_ns) == room_at_ns
                    if answer.reason in (BlockReason.SLOT, BlockReason.RATE, BlockReason.QUOTA):
                        assert room_at_ns != now_ns
                        assert answer.until_ns == room_at_ns
                    assert answer.until_ns is None or answer.until_ns > now_ns
                else:
                    assert room_at_ns == now_ns
                    under_way.append((argument, answer))
                    starts.append(now_ns)
        assert lane.in_flight == len(under_way)
        if chosen["max_in_flight"] is not None:
            assert len(under_way) <= chosen["max_in_flight"]
    if lane.config.quota is not None:
        check_quota(starts, lane.config.quota)
    # However it was left, it takes attempts again once all have ended and time has passed.
    for host, permit in under_way:
        lane.settle(permit, OK, host, now_ns, S // 10, 1)
    lane.breakers.override(BreakerEvent.CLOSE, now_ns)
    waited = 0
    while isinstance(lane.try_admit("a", now_ns + waited * S), Blocked):
        waited += 1
        assert waited < 60
