"""Client-side adaptive throttling: the formula, its fixed points, and what is counted."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.instants import NS_PER_S, ns
from actors.policies.adaptive.throttle import AdaptiveThrottle, RollingCounts, rejection_probability
from actors.settings.adaptive import AdaptiveThrottleConfig


@pytest.mark.parametrize(
    ("requests", "accepts", "expected"),
    [
        (100, 95, 0),
        (120, 90, 20 / 121),
        (200, 50, 0.7186),
        (1000, 10, 0.8),
        (0, 0, 0),
        (100, 0, 0.8),
    ],
)
def test_v102_the_formula(requests: int, accepts: int, expected: float) -> None:
    assert rejection_probability(requests, accepts, 1 / 0.9, max_rejection=0.8) == pytest.approx(expected, abs=1e-4)


def test_v102_one_failure_is_half_a_rejection() -> None:
    throttle = AdaptiveThrottle(AdaptiveThrottleConfig(k=1 / 0.9), random.Random(1))
    assert throttle.admits(0)
    assert throttle.rejection(0) == 0.5


def overloaded(offered: int, capacity: int, seconds_after: int = 200, **settings: Any) -> tuple[float, float]:
    """Return how many a second are sent to, and accepted by, a provider that accepts `capacity` a second."""
    throttle = AdaptiveThrottle(AdaptiveThrottleConfig(**settings), random.Random(7))
    sent, accepted, left = 0, 0, 0
    for second in range(seconds_after + 100):
        left = min(left + capacity, 10 * capacity)  # what it has not used it can catch up on
        for number in range(offered):
            now = second * NS_PER_S + number * NS_PER_S // offered
            if throttle.admits(now):
                sent += second >= seconds_after
                if left:
                    left -= 1
                    throttle.on_accepted(now)
                    accepted += second >= seconds_after
    return sent / 100, accepted / 100


@pytest.mark.parametrize(("k", "expected"), [(2.0, 20), (1.1, 11), (3.0, 30)])
def test_fidelity_10_k_times_what_is_accepted_is_sent(k: float, expected: float) -> None:
    sent, accepted = overloaded(150, 10, k=k)
    assert accepted == pytest.approx(10, rel=0.03)
    assert sent == pytest.approx(expected, rel=0.05)


def test_x9_what_is_refused_here_is_a_request_or_is_not() -> None:
    sent, accepted = overloaded(160, 10, k=2, count_rejected=False)
    assert accepted == 10
    assert sent == pytest.approx(math.sqrt(160 * 2 * 10), rel=0.05)


def test_a_provider_that_accepts_everything_is_never_throttled_and_costs_no_draw() -> None:
    class NoDraws(random.Random):
        def random(self) -> float:
            raise AssertionError("drawn")

    throttle = AdaptiveThrottle(AdaptiveThrottleConfig(), NoDraws(1))
    for now in range(1000):
        assert throttle.admits(now * NS_PER_S // 10)
        throttle.on_accepted(now * NS_PER_S // 10)


@pytest.mark.parametrize(("max_rejection", "least_s", "most_s"), [(1.0, 300, 900), (0.9, 180, 240)])
def test_it_comes_back_by_itself_but_slowly_unless_some_traffic_always_goes_through(
    max_rejection: float, least_s: int, most_s: int
) -> None:
    for seed in range(5):
        throttle = AdaptiveThrottle(AdaptiveThrottleConfig(max_rejection=max_rejection), random.Random(seed))
        tenths = 0
        while tenths <= 600 or throttle.rejection(tenths * NS_PER_S // 10) > 0:
            if throttle.admits(tenths * NS_PER_S // 10) and tenths >= 600:
                throttle.on_accepted(tenths * NS_PER_S // 10)
            tenths += 1
        assert least_s < tenths / 10 - 60 < most_s


def test_a_floor_of_traffic_goes_through_whatever_happens() -> None:
    throttle = AdaptiveThrottle(AdaptiveThrottleConfig(max_rejection=0.8), random.Random(2))
    admitted = sum(throttle.admits(ns(1)) for _ in range(20_000))
    assert admitted == pytest.approx(4000, rel=0.1)


@given(st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 60, 119, 120, 121, 400]), st.booleans()), max_size=80))
def test_counts_reach_back_for_the_window_and_no_further(events: list[tuple[int, bool]]) -> None:
    counts, log, now = RollingCounts(120), [], 0
    for gap, accepted in events:
        now += gap
        counts.add(1, int(accepted), now)
        log.append((now, accepted))
        kept = [(when, one) for when, one in log if when // 2 > now // 2 - 60]
        assert (counts.requests, counts.accepts) == (len(kept), sum(one for _, one in kept))
        assert all(now - when < 120 for when, _ in kept)
