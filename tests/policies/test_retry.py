"""Retries: what counts under which rule, provider's hints, and how long it goes on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from actors.instants import LONGEST_WAIT_NS, NS_PER_S, ns
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.policies.retry.policy import Progress, RetryPolicy
from actors.settings.channel import RetryConfig, UpstreamConfig
from actors.settings.quantities import FROM_FILE

Failure: TypeAlias = Transient | Ambiguous
FAILED: Failure = Transient()
THROTTLED: Failure = Transient(throttled=True)
AMBIGUOUS: Failure = Ambiguous()


def policy_of(seed: int = 0, **settings: Any) -> RetryPolicy:
    return RetryPolicy(RetryConfig(**settings), random.Random(seed))


def waits(policy: RetryPolicy, outcomes: Sequence[Failure | ChannelFault]) -> list[float | None]:
    progress = Progress()
    got = [policy.next_wait_ns(outcome, progress) for outcome in outcomes]
    return [None if wait is None else wait / NS_PER_S for wait in got]


def test_attempts_of_every_kind_count_together_unless_they_have_a_rule() -> None:
    assert waits(policy_of(max_attempts=4), [FAILED, THROTTLED, AMBIGUOUS, FAILED]) == [1, 2, 4, None]


def test_one_rule_each_with_its_own_count_and_its_own_backoff() -> None:
    policy = policy_of(
        max_attempts=3, per_outcome={"throttled": {"max_attempts": 4, "initial_delay": 30, "max_delay": 70}}
    )
    outcomes = [THROTTLED, FAILED, THROTTLED, FAILED, THROTTLED, AMBIGUOUS]
    assert waits(policy, outcomes) == [30, 1, 60, 2, 70, None]
    assert waits(policy, [THROTTLED] * 4) == [30, 60, 70, None]


def test_unlimited_attempts_end_only_by_what_else_bounds_them() -> None:
    policy = policy_of(
        max_attempts="unlimited",
        max_elapsed=60,
        max_delay=5,
        per_outcome={"ambiguous": {"max_attempts": 2}, "throttled": {"initial_delay": 9}},
    )
    assert waits(policy, [FAILED] * 1000) == [1, 2, 4, *[5] * 997]
    assert waits(policy, [AMBIGUOUS, FAILED, THROTTLED, AMBIGUOUS]) == [1, 1, 5, None]
    at_once = policy_of(max_attempts="unlimited", initial_delay=0, retry_after="exactly")
    assert waits(at_once, [FAILED, Transient(retry_after=0.0), FAILED]) == [0.001] * 3
    assert policy.is_out_of_time(0, 0, ns(60))
    unlimited = [policy.is_unlimited(each) for each in (FAILED, THROTTLED, AMBIGUOUS, ChannelFault())]
    assert unlimited == [True, True, False, True]
    shared = policy_of(max_attempts="unlimited", per_outcome={"ambiguous": {"max_delay": 1}, "shares_attempts": True})
    assert shared.is_unlimited(AMBIGUOUS)
    assert not policy_of(per_reason={"busy": {"max_attempts": "unlimited"}}).is_unlimited(FAILED)


@pytest.mark.parametrize("value", [0, True, 2.5, "never", "Unlimited", None])
def test_a_number_of_attempts_is_whole_or_unlimited(value) -> None:
    with pytest.raises(ValidationError, match="wanted a whole number of at least 1, or unlimited"):
        RetryConfig(max_attempts=value)


def test_an_upstream_ends_its_requests() -> None:
    for retry in ({"max_attempts": "unlimited"}, {"per_outcome": {"throttled": {"max_attempts": "unlimited"}}}):
        with pytest.raises(ValidationError, match="wanted a whole number"):
            UpstreamConfig(retry=retry)


def test_a_kind_that_is_never_retried() -> None:
    policy = policy_of(max_attempts=5, per_outcome={"ambiguous": {"max_attempts": 1}})
    assert waits(policy, [FAILED, FAILED, AMBIGUOUS]) == [1, 2, None]
    assert waits(policy, [AMBIGUOUS]) == [None]


def test_a_reason_goes_before_its_kind() -> None:
    policy = policy_of(
        max_attempts=2,
        per_outcome={"transient": {"schedule": [5, 50]}},
        per_reason={"mailbox full": {"max_attempts": 3, "initial_delay": 3600, "max_delay": 7200}},
    )
    full = Transient(reason="mailbox full")
    assert waits(policy, [full, FAILED, full, FAILED, full]) == [3600, 5, 7200, 50, None]
    assert waits(policy, [FAILED] * 3) == [5, 50, None], "a schedule brings its number of attempts"
    assert waits(policy, [AMBIGUOUS] * 2) == [1, None]


def test_an_initial_delay_of_a_rule_replaces_the_schedule_around() -> None:
    policy = policy_of(schedule=[7, 8, 9], per_outcome={"throttled": {"initial_delay": 2}})
    assert waits(policy, [FAILED, THROTTLED, THROTTLED]) == [7, 2, 4]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"per_outcome": {"trottled": {}}}, "did you mean throttled"),
        ({"jitter": "soft", "per_outcome": {"throttled": {"schedule": ["1s"]}}}, r"per_outcome.throttled\n.*soft"),
        ({"min_delay": "5s", "per_reason": {"busy": {"max_delay": "4s"}}}, r"per_reason.busy\n.*min_delay"),
        ({"per_outcome": {"ambiguous": {"max_attempts": 0}}}, "whole number of at least 1"),
        ({"budget": {"kind": "grcp"}}, r"budget.kind\n.*one of share, finagle, grpc, envoy, aws, token_bucket"),
        ({"budget": {"kind": "grpc", "share": "20%"}}, "the kind here has kind, max_tokens, token_ratio"),
    ],
)
def test_problems_of_rules_are_found_when_they_are_read(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RetryConfig.model_validate(settings, context=FROM_FILE)


def test_a_channel_fault_uses_up_nothing_and_waits_at_least_the_first_delay() -> None:
    fault = ChannelFault()
    assert waits(policy_of(max_attempts=2), [fault] * 5 + [FAILED, FAILED]) == [1, 1, 1, 1, 1, 1, None]
    for seed in range(30):
        assert waits(policy_of(seed, jitter="full"), [fault]) == [1]


# V34, V36: how long it goes on


def goes_on(policy: RetryPolicy, progress: Progress, elapsed_s: float) -> bool:
    """Tell whether a retry follows a failure so long after the notification was accepted."""
    wait_ns = policy.next_wait_ns(FAILED, progress)
    last_ns = policy.last_start_ns(0)
    return wait_ns is not None and (last_ns is None or ns(elapsed_s) + wait_ns <= last_ns)


def test_v34_by_attempts_or_by_time() -> None:
    policy = policy_of(max_attempts=4, max_elapsed=1, initial_delay=0)
    got = []
    for attempt, elapsed_s in [(1, 0.1), (2, 0.2), (2, 0.8), (4, 0.8), (3, 1.8), (4, 1.8)]:
        got.append(goes_on(policy, Progress(attempts=attempt - 1, step=attempt - 1), elapsed_s))
    assert got == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("elapsed_s", "delay_s", "stops"), [(0.999, 0.0001, False), (1, 0.001, True), (0.999, 0, False), (1, 0, True)]
)
def test_v36_stop_before_a_wait_that_is_too_long(elapsed_s: float, delay_s: float, stops: bool) -> None:
    policy = policy_of(max_elapsed=1, initial_delay=delay_s)
    assert goes_on(policy, Progress(), elapsed_s) is not stops


def test_without_max_elapsed_nothing_is_too_late() -> None:
    assert policy_of().last_start_ns(LONGEST_WAIT_NS) is None
    assert policy_of(max_elapsed=1).last_start_ns(5) == 5 + NS_PER_S - 1


# Hints


def hinted(seconds: Any) -> Transient:
    return Transient(retry_after=seconds)


def test_a_hint_is_a_lower_bound() -> None:
    assert waits(policy_of(max_attempts=9), [hinted(3), hinted(1.5), hinted(None), FAILED]) == [3, 2, 4, 8]


@pytest.mark.parametrize(("hint", "expected"), [(1.5, 1.5), (0, 0.05), (10, 5.05), (math.nan, 0.05), (-0.1, 0.05)])
def test_v38_a_hint_is_heeded_up_to_five_seconds_more(hint: float, expected: float) -> None:
    assert waits(policy_of(initial_delay=0.05, retry_after_excess=5), [hinted(hint)]) == [expected]


def test_v39b_pushback_means_exactly_then_and_starts_the_backoff_anew() -> None:
    policy = policy_of(max_attempts=9, retry_after="pushback", initial_delay=4)
    got = waits(policy, [FAILED, FAILED, hinted(0.25), FAILED, FAILED, hinted(0), FAILED])
    assert got == [4, 8, 0.25, 4, 8, 0, 4]


@pytest.mark.parametrize("hint", [-1, math.nan, math.inf, "soon", True])
def test_v39b_pushback_that_forbids(hint: Any) -> None:
    assert waits(policy_of(retry_after="pushback"), [hinted(hint)]) == [None]
    assert waits(policy_of(retry_after="lower_bound"), [hinted(hint)]) == [1]


def test_pushback_uses_up_attempts() -> None:
    assert waits(policy_of(max_attempts=3, retry_after="pushback"), [hinted(1)] * 3) == [1, 1, None]


def test_a_hint_can_be_ignored() -> None:
    assert waits(policy_of(retry_after="ignore"), [hinted(30)]) == [1]


def test_jitter_on_top_of_a_hint_spreads_those_who_were_told_the_same_time() -> None:
    policy = policy_of(retry_after_jitter=0.5)
    got = [waits(policy, [hinted(10)])[0] for _ in range(200)]
    assert all(wait is not None and 10 <= wait <= 15 for wait in got)
    assert len(set(got)) > 190
    assert waits(policy, [hinted(0.1)]) == [1], "the own wait is longer"


def test_without_a_hint_nothing_is_drawn_for_it() -> None:
    plain, spread = policy_of(3, jitter="full"), policy_of(3, jitter="full", retry_after_jitter=0.5)
    outcomes = [FAILED, FAILED, FAILED]
    assert waits(plain, outcomes) == waits(spread, outcomes)


@given(
    st.sampled_from(["lower_bound", "pushback", "ignore"]),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e6),
    st.lists(st.none() | st.floats(), min_size=1, max_size=8),
)
def test_any_hint_leads_to_a_wait_that_a_clock_can_make(
    means: Any, jitter: float, excess: float | None, hints: list[float | None]
) -> None:
    policy = policy_of(
        max_attempts=100, retry_after=means, retry_after_jitter=jitter, retry_after_excess=excess, jitter="full"
    )
    progress = Progress()
    for hint in hints:
        wait = policy.next_wait_ns(hinted(hint), progress)
        assert wait is None or 0 <= wait <= LONGEST_WAIT_NS
        if excess is not None and hint is not None and wait is not None and means == "pushback":
            assert wait <= ns(excess) * (1 + jitter) + 1
        if wait is None:
            assert means == "pushback"


# An earlier process


@pytest.mark.parametrize("jitter", ["none", "decorrelated"])
def test_what_is_recalled_goes_on_as_if_it_had_never_stopped(jitter: str) -> None:
    settings: dict[str, Any] = {"max_attempts": 6, "jitter": jitter, "per_outcome": {"throttled": {"max_attempts": 3}}}
    outcomes = [FAILED, THROTTLED, FAILED, THROTTLED, AMBIGUOUS, FAILED]
    policy, before = policy_of(5, **settings), Progress()
    history = [(outcome, policy.next_wait_ns(outcome, before)) for outcome in outcomes]
    recalled = Progress()
    for outcome, waited in history:
        assert waited is not None
        policy.recall(outcome, waited, recalled)
    going_on, anew = policy_of(8, **settings), policy_of(8, **settings)
    later = [FAILED, THROTTLED, FAILED]
    assert [going_on.next_wait_ns(outcome, before) for outcome in later] == [
        anew.next_wait_ns(outcome, recalled) for outcome in later
    ]


def test_never_more_attempts_than_the_sum_of_the_limits() -> None:
    policy = policy_of(max_attempts=3, per_outcome={"throttled": {"max_attempts": 4}, "ambiguous": {"max_attempts": 2}})
    source = random.Random(1)
    longest = 0
    for _ in range(300):
        progress, attempts = Progress(), 1
        while policy.next_wait_ns(source.choice([FAILED, THROTTLED, AMBIGUOUS]), progress) is not None:
            attempts += 1
        longest = max(longest, attempts)
    assert longest == (3 - 1) + (4 - 1) + (2 - 1) + 1
