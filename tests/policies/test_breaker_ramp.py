"""The ramp after closing, and how long a breaker stays open."""

import math
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.instants import ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker
from actors.policies.breaker.recovery import OpenTime, Ramp
from actors.settings.breaker import CircuitBreakerConfig, OpenGrowth, RampConfig


def closing(at_s: float, **settings: Any) -> Breaker:
    """Return a breaker that has recovered at this instant."""
    breaker = Breaker(CircuitBreakerConfig(timeout=1, **settings))
    permit = breaker.try_acquire(ns(at_s - 1))
    assert permit is not None
    breaker.trip(permit, ns(at_s - 1))
    probe = breaker.try_acquire(ns(at_s))
    assert probe is not None
    breaker.record_success(probe, ns(at_s))
    assert breaker.state is BreakerState.CLOSED
    return breaker


def admitted(breaker: Breaker, from_s: float, to_s: float, every_s: float) -> int:
    count = 0
    for now_ns in range(ns(from_s), ns(to_s), ns(every_s)):
        permit = breaker.try_acquire(now_ns)
        if permit is not None:
            count += 1
            assert breaker.record_success(permit, now_ns)
    return count


def test_a_tenth_at_first_and_all_after_thirty_seconds() -> None:
    breaker = closing(100, ramp={"over": 30})
    # 100/s; the share is 10% + 90% * t/30, so its mean in the three thirds is 25%, 55% and 85%.
    assert [admitted(breaker, start, start + 10, 0.01) for start in (100, 110, 120, 130)] == [249, 550, 850, 1000]
    assert (breaker.changes_at_ns, breaker.state) == (None, BreakerState.CLOSED)


def test_results_count_during_the_ramp_and_a_failure_may_open_it() -> None:
    breaker = closing(100, ramp={"over": 30, "start": "50%"}, failure_threshold=1)
    assert breaker.changes_at_ns == ns(130)
    assert breaker.try_acquire(ns(100)) is None
    permit = breaker.try_acquire(ns(101))
    assert permit is not None
    assert breaker.refused == 1
    breaker.record_failure(permit, ns(101))
    assert breaker.state is BreakerState.OPEN
    assert breaker.changes_at_ns == breaker.reopen_at_ns == ns(102)


def test_the_instant_at_which_the_next_call_goes_through_is_known() -> None:
    breaker = closing(100, ramp={"over": 30, "start": 0})
    assert breaker.try_acquire(ns(110)) is None  # a third
    assert breaker.admits_at_ns(ns(110)) == ns(120)  # when two thirds go through
    assert not breaker.would_admit(ns(120) - 1)
    assert breaker.would_admit(ns(120))
    assert breaker.try_acquire(ns(120)) is not None


@pytest.mark.parametrize(
    ("order", "ramps"), [("force_open", True), ("disable", False), ("metrics_only", False), (None, True)]
)
def test_an_operator_closes_gently_what_had_been_shut(order: str | None, ramps: bool) -> None:
    breaker = Breaker(CircuitBreakerConfig(ramp=RampConfig(over=30)))
    assert breaker.changes_at_ns is None, "it does not begin with a ramp"
    if order is None:
        permit = breaker.try_acquire(0)
        assert permit is not None
        breaker.trip(permit, 0)
    else:
        getattr(breaker, order)(0)
    breaker.close(ns(1))
    assert breaker.changes_at_ns == (ns(31) if ramps else None)
    assert breaker.would_admit(ns(1)) is not ramps


@given(
    st.integers(1, 50),
    st.sampled_from([0.0, 0.1, 1 / 3, 0.9]),
    st.lists(st.one_of(st.just(0), st.integers(0, 5)), max_size=60),
)
def test_exactly_the_whole_part_of_the_sum_of_shares_goes_through(over_ns: int, start: float, steps: list[int]) -> None:
    ramp = Ramp(RampConfig(over=over_ns / 1e9, start=start))
    ramp.start(1000)
    part = Fraction(start).limit_denominator(1000)
    now_ns, total, through = 1000, Fraction(0), 0
    for step in steps:
        now_ns += step
        at_ns = ramp.admits_at_ns(now_ns)
        assert now_ns <= at_ns <= max(now_ns, ramp.end_ns)
        total += part + (1 - part) * Fraction(min(now_ns - 1000, over_ns), over_ns)
        goes = ramp.ask(now_ns)
        assert goes == (at_ns == now_ns)
        through += goes
        assert through == math.floor(total)


@given(
    st.sampled_from([1.0, 1.5, 2.0, 1e300]),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.integers(0, 2**32),
)
def test_open_times_are_capped_finite_and_jittered_within_bounds(
    multiplier: float, opened_before: int, jitter: float, seed: int
) -> None:
    growth = OpenGrowth(multiplier=multiplier, max=600, jitter=jitter)
    open_ns = OpenTime(CircuitBreakerConfig(timeout=5, open_growth=growth), Random(seed)).next_ns(opened_before)
    steady = OpenGrowth(multiplier=multiplier, max=600)
    plain = OpenTime(CircuitBreakerConfig(timeout=5, open_growth=steady), None)
    base_ns = plain.next_ns(opened_before)
    assert ns(5) <= base_ns <= ns(600)
    assert plain.next_ns(opened_before + 1) >= base_ns
    assert base_ns * (1 - jitter) - 1 <= open_ns <= min(base_ns * (1 + jitter) + 1, ns(600))


def test_the_jitter_takes_one_draw_for_each_opening_and_none_where_there_is_none() -> None:
    class Counting(Random):
        draws = 0

        def random(self) -> float:
            self.draws += 1
            return 0.5

    for jitter, draws in ((0.2, 3), (0, 0)):
        random = Counting()
        open_time = OpenTime(CircuitBreakerConfig(timeout=5, open_growth=OpenGrowth(jitter=jitter)), random)
        assert [open_time.next_ns(k) for k in range(3)] == [ns(5), ns(10), ns(20)]
        assert random.draws == draws


def test_without_growth_it_is_always_the_same() -> None:
    open_time = OpenTime(CircuitBreakerConfig(timeout=5), None)
    assert {open_time.next_ns(k) for k in (0, 1, 10**6)} == {ns(5)}


def test_a_ramp_that_began_and_ended_while_no_one_asked_is_over() -> None:
    breaker = Breaker(
        CircuitBreakerConfig(timeout=1, half_open_max=5, half_open_then="closed", ramp=RampConfig(over=30))
    )
    permit = breaker.try_acquire(0)
    assert permit is not None
    breaker.trip(permit, 0)
    assert breaker.try_acquire(ns(1)) is not None
    breaker.advance(ns(36))
    assert (breaker.state, breaker.ramping_until_ns) == (BreakerState.CLOSED, None)
