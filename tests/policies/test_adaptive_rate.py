"""The adaptive rate: its invariants, the measured rate, and a provider with an unknown quota."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from actors.instants import NS_PER_S, ns
from actors.policies.adaptive.rate import AdaptiveRate, Aimd, Cubic, RateClock
from actors.policies.rate_limit.windows import SlidingWindow
from actors.settings.adaptive import AdaptiveRateConfig
from actors.settings.quantities import FROM_FILE, Rate


def rate_of(**settings: Any) -> AdaptiveRate:
    return AdaptiveRate(AdaptiveRateConfig.model_validate(settings, context=FROM_FILE))


# Invariants


def test_v104_cubic_is_back_after_k_seconds() -> None:
    cubic = Cubic(0.7, 0.4, 10)
    assert cubic.k == pytest.approx(1.9574338205844317, rel=1e-12)
    assert cubic.grown(0, ns(cubic.k)) == pytest.approx(10, abs=1e-6)


def test_v104_cubic_cut_at_eight() -> None:
    cubic = Cubic(0.7, 0.4, 10)
    assert cubic.cut(8, ns(3)) == pytest.approx(5.6)
    assert cubic.k == pytest.approx(1.8171205928321397, rel=1e-12)
    assert cubic.grown(0, ns(3)) == pytest.approx(5.6), "no jump at the cut itself"


def test_v104_cubic_with_another_decrease() -> None:
    cubic = Cubic(0.6, 0.4)
    assert cubic.cut(10, ns(7)) == pytest.approx(6.0)
    assert cubic.grown(0, ns(7)) == pytest.approx(6.0)


def test_cubic_is_slow_around_where_it_was_cut_and_fast_before_and_after() -> None:
    cubic = Cubic(0.7, 0.4)
    rates = [cubic.cut(100, 0)] + [cubic.grown(0, ns(second)) for second in range(1, 9)]
    gains = [later - earlier for earlier, later in pairwise(rates)]
    assert min(gains) == min(gains[3:5])
    assert gains[0] > 8 * min(gains)
    assert gains[-1] > 8 * min(gains)


def test_aimd_grows_by_time_and_not_by_success() -> None:
    slow, fast = Aimd(2, 0.5), Aimd(2, 0.5)
    few, many = slow.cut(20, 0), fast.cut(20, 0)
    for quarter in range(1, 17):
        few = slow.grown(few, quarter * NS_PER_S // 4)
        for _ in range(50):
            many = fast.grown(many, quarter * NS_PER_S // 4)
    assert few == many == pytest.approx(18)


def test_aimd_takes_a_long_silence_for_a_second() -> None:
    aimd = Aimd(2, 0.5)
    assert aimd.cut(20, 0) == 10
    assert aimd.grown(10, ns(3600)) == 12


# The measured rate


def test_fidelity_15_the_rate_clock_smooths_buckets_of_half_a_second() -> None:
    clock = RateClock()
    assert [clock.record(ns(at)) for at in (0.1, 0.2, 0.3, 0.4, 0.49)] == [0] * 5
    assert clock.record(ns(0.5)) == pytest.approx(12 * 0.8)


def test_the_rate_clock_finds_a_steady_rate() -> None:
    clock = RateClock()
    for second in range(1, 21):
        clock.record(ns(second))
    assert clock.rate == pytest.approx(1, abs=1e-6)


# The limiter


def test_there_is_no_limit_before_the_first_throttling() -> None:
    limiter = rate_of()
    assert all(limiter.try_acquire("u", 5) == 5 for _ in range(100))
    for sent in range(200):
        limiter.on_success(sent * NS_PER_S // 100)
    assert limiter.rate is None
    assert limiter.on_throttled(ns(2))
    assert limiter.rate == pytest.approx(50, rel=0.05)
    assert limiter.try_acquire("u", ns(2)) > ns(2)


def test_the_first_answer_of_all_is_throttling() -> None:
    limiter = rate_of(minimum_rate="4/s")
    limiter.on_throttled(0)
    assert limiter.rate == 4


def test_it_spaces_evenly_and_names_the_next_instant() -> None:
    limiter = rate_of(initial_rate="4/s")
    assert limiter.try_acquire("a", 0) == 0
    assert limiter.try_acquire("b", 0) == ns(0.25)
    assert limiter.fits_at("b", ns(0.25) - 1) == ns(0.25)
    assert limiter.try_acquire("b", ns(0.25), 3) == ns(0.25)
    assert limiter.try_acquire("b", ns(0.25)) == ns(1)
    with pytest.raises(ValueError, match="at least 1"):
        limiter.try_acquire("b", ns(2), 0)


def test_a_cut_moves_what_is_waiting_too() -> None:
    limiter = rate_of(initial_rate="4/s")
    limiter.try_acquire("u", 0)
    limiter.on_throttled(ns(0.125))
    assert limiter.rate == 2
    assert limiter.fits_at("u", ns(0.125)) == ns(0.375), "half an interval is left, and intervals are twice as long"


def test_many_answers_to_the_same_excess_cut_once() -> None:
    limiter = rate_of(initial_rate="80/s", cooldown="1s")
    assert [limiter.on_throttled(ns(0.1) + late) for late in range(5)] == [True] + [False] * 4
    assert limiter.rate == 40
    assert not limiter.on_throttled(ns(1.1) - 1)
    assert limiter.on_throttled(ns(1.1))


def test_without_a_cooldown_each_of_them_cuts_down_to_the_minimum() -> None:
    limiter = rate_of(initial_rate="80/s", cooldown="0s", minimum_rate="9/s")
    rates = []
    for _ in range(5):
        limiter.on_throttled(0)
        rates.append(limiter.rate)
    assert rates == [40, 20, 10, 9, 9]


def test_what_is_not_used_is_not_taken_as_allowed() -> None:
    limiter = rate_of(initial_rate="6/s", increase="100/s")
    for tenth in range(1, 101):
        limiter.on_success(tenth * ns(0.1))
    assert limiter.rate == pytest.approx(20, rel=0.01), "twice the ten a second that it was used for"
    limiter.on_success(ns(3600))
    assert limiter.rate == pytest.approx(20, rel=0.01), "a quiet hour lowers nothing"
    assert limiter.on_throttled(ns(3601))
    assert limiter.rate == 1, "a cut starts from what was sent"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"minimum_rate": "5/s", "maximum_rate": "4/s"}, "at least minimum_rate"),
        ({"initial_rate": "5/s", "maximum_rate": "4/s"}, "between minimum_rate and maximum_rate"),
        ({"initial_rate": "5/s", "minimum_rate": "6/s"}, "between minimum_rate and maximum_rate"),
        ({"kind": "cubic", "increase": "5/s"}, "increase only with kind: aimd"),
        ({"scale": 1}, "scale only with kind: cubic"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        AdaptiveRateConfig.model_validate(settings, context=FROM_FILE)


@pytest.mark.parametrize("kind", ["aimd", "cubic"])
def test_it_finds_a_quota_that_it_was_not_told(kind: str) -> None:
    limiter = rate_of(kind=kind, initial_rate="100/s", increase="2/s") if kind == "aimd" else rate_of(kind=kind)
    quota = SlidingWindow(20, NS_PER_S)
    now, taken, throttled = 0, 0, 0
    while now < ns(300):
        now = max(limiter.try_acquire("u", now), now + ns(0.001))
        if limiter.fits_at("u", now) > now:
            continue
        limiter.try_acquire("u", now)
        if quota.try_acquire("p", now) == now:
            limiter.on_success(now)
            taken += now > ns(60)
        else:
            limiter.on_throttled(now)
            throttled += now > ns(60)
    assert 0.7 * 20 * 240 < taken <= 20 * 241
    assert throttled < 0.1 * taken


@given(
    st.sampled_from(["aimd", "cubic"]),
    st.none() | st.integers(2, 50),
    st.lists(st.tuples(st.sampled_from([0, 1, 10**6, 10**8, 10**9, 10**12]), st.sampled_from("ast")), max_size=60),
)
def test_it_stays_within_its_bounds_and_admits_at_the_instant_that_it_named(
    kind: Any, initial: int | None, events: list[tuple[int, str]]
) -> None:
    limiter = AdaptiveRate(
        AdaptiveRateConfig(
            kind=kind,
            initial_rate=None if initial is None else Rate(initial, 1),
            minimum_rate=Rate(2, 1),
            maximum_rate=Rate(50, 1),
        )
    )
    now = 0
    for gap, event in events:
        now += gap
        if event == "s":
            limiter.on_success(now)
        elif event == "t":
            before = limiter.rate
            if limiter.on_throttled(now) and before is not None:
                assert limiter.rate is not None
                assert limiter.rate <= before
        else:
            at = limiter.try_acquire("u", now)
            if at > now:
                now = at
                assert limiter.try_acquire("u", now) == now
        assert limiter.rate is None or 2 <= limiter.rate <= 50
