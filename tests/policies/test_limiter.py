"""Rate limiters: the vectors of peers, and each kind against brute force on arrivals with many ties."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.config import RateLimitConfig
from actors.errors import ConfigurationError
from actors.instants import NS_PER_S, ns
from actors.policies.limiter import FixedWindow, Limiter, SlidingWindow, TokenBucket, make_limiter
from actors.quantities import Rate

MS = 1_000_000


def admitted(limiter: Limiter, times: list[int], key: str = "u") -> list[bool]:
    return [limiter.try_acquire(key, now_ns) == now_ns for now_ns in times]


def limiter_of(**settings: Any) -> Limiter:
    return make_limiter(RateLimitConfig(**settings))


# Vectors and edges


def test_a_hundred_a_minute() -> None:
    limiter = limiter_of(max_per_minute=100)
    assert isinstance(limiter, SlidingWindow)
    assert all(admitted(limiter, [ns(1)] * 100))
    assert limiter.try_acquire("u", ns(60)) == ns(61)
    assert limiter.try_acquire("someone else", ns(60)) == ns(60)
    assert limiter.try_acquire("u", ns(61)) == ns(61)


def test_a_sliding_window_is_half_open_where_floats_would_keep_the_event() -> None:
    limiter = SlidingWindow(1, ns(5))
    assert limiter.try_acquire("u", ns(6.2)) == ns(6.2)
    assert limiter.try_acquire("u", ns(11.2) - 1) == ns(11.2)
    assert limiter.try_acquire("u", ns(11.2)) == ns(11.2)


def test_v94_one_in_each_cycle_of_a_quarter_second() -> None:
    limiter = FixedWindow(1, 250 * MS)
    assert limiter.try_acquire("u", 250 * MS) == 250 * MS
    assert limiter.try_acquire("u", 250 * MS) == 500 * MS
    assert limiter.try_acquire("u", 500 * MS - 1) == 500 * MS, "one nanosecond to wait"
    assert admitted(limiter, [500 * MS, 500 * MS]) == [True, False]
    assert limiter.try_acquire("u", 1500 * MS + 10) == 1500 * MS + 10


def test_v96_ten_in_each_window_of_two_seconds() -> None:
    limiter = FixedWindow(10, ns(2))
    assert admitted(limiter, [ns(2)] * 11) == [True] * 10 + [False]
    assert limiter.try_acquire("u", ns(3)) == ns(4)


def test_a_fixed_window_lets_twice_the_limit_through_at_the_seam_and_a_sliding_one_does_not() -> None:
    times = [99, 99, 100, 100]
    assert admitted(FixedWindow(2, 100), times) == [True] * 4
    assert admitted(SlidingWindow(2, 100), times) == [True, True, False, False]


def test_a_bucket_holds_its_burst_and_fills_one_by_one() -> None:
    limiter = TokenBucket(10, ns(1), burst=3)
    assert admitted(limiter, [0, 0, 0, 0]) == [True, True, True, False]
    assert limiter.try_acquire("u", 1) == ns(0.1)
    assert admitted(limiter, [ns(0.1), ns(0.1), ns(0.2)]) == [True, False, True]
    assert admitted(limiter, [ns(9)] * 4) == [True, True, True, False]


def greedy(limiter: Limiter, count: int) -> list[int]:
    """Return when `count` are admitted to one who asks again at each instant that is named."""
    times: list[int] = []
    now_ns = 0
    while len(times) < count:
        at_ns = limiter.try_acquire("u", now_ns)
        if at_ns == now_ns:
            times.append(now_ns)
        now_ns = at_ns
    return times


@pytest.mark.parametrize(("limit", "burst"), [(3, 2), (7, 5), (999_999_937, 2), (10, 1), (500, 1)])
def test_the_long_run_rate_is_exact_where_the_interval_is_no_whole_number(limit: int, burst: int) -> None:
    times = greedy(TokenBucket(limit, NS_PER_S, burst), burst + 3000)
    # The first `burst` are there already; each one after them comes at the first instant at which its token is whole.
    assert times == [0] * burst + [-(-count * NS_PER_S // limit) for count in range(1, 3001)]


def test_without_room_to_save_a_part_of_a_nanosecond_the_pace_is_the_next_whole_one() -> None:
    assert greedy(TokenBucket(3, NS_PER_S, 1), 4) == [0, 333_333_334, 666_666_668, 1_000_000_002]


@pytest.mark.parametrize("make", [SlidingWindow, FixedWindow, lambda limit, width: TokenBucket(limit, width, 1)])
@pytest.mark.parametrize(("limit", "window_ns"), [(0, 1), (1, 0), (-1, 5)])
def test_less_than_one_is_refused(make: Callable[[int, int], Limiter], limit: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(limit, window_ns)


def test_a_bucket_without_a_burst_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TokenBucket(1, 1, 0)


# From settings


@pytest.mark.parametrize(
    ("kind", "cls"), [("sliding_window", SlidingWindow), ("fixed_window", FixedWindow), ("token_bucket", TokenBucket)]
)
def test_settings_choose_the_kind(kind: Any, cls: type) -> None:
    limiter = limiter_of(rate="3/10s", kind=kind)
    assert isinstance(limiter, cls)
    assert admitted(limiter, [ns(20)] * 4) == [True, True, True, False]
    assert all(admitted(limiter, [ns(30)] * 3))


@pytest.mark.parametrize(("rate", "interval_ns"), [("2.5/s", ns(0.4)), ("3.2/s", ns(0.3125)), ("1.6/4ms", ns(0.0025))])
def test_a_bucket_takes_a_broken_rate_exactly(rate: str, interval_ns: int) -> None:
    limiter = limiter_of(rate=rate, kind="token_bucket", burst=1)
    assert limiter.try_acquire("u", 0) == 0
    assert limiter.try_acquire("u", 0) == interval_ns


def test_the_burst_of_a_broken_rate_is_its_whole_part() -> None:
    limiter = limiter_of(rate="2.5/s", kind="token_bucket")
    assert admitted(limiter, [0, 0, 0]) == [True, True, False]


@pytest.mark.parametrize("kind", ["sliding_window", "fixed_window"])
def test_a_window_does_not_round_a_broken_rate(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"whole number in each window, got 2\.5"):
        limiter_of(rate="2.5/s", kind=kind)


def test_a_window_shorter_than_the_clock_can_tell_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1ns"):
        limiter_of(rate=Rate(1, 1e-12))


# Against brute force

Fits = Callable[[list[int], int], bool]
"""Whether one more fits at an instant, given the admissions before it."""


def sliding(limit: int, width: int, _burst: int) -> tuple[Limiter, Fits]:
    return SlidingWindow(limit, width), lambda log, at: sum(at - width < one <= at for one in log) < limit


def fixed(limit: int, width: int, _burst: int) -> tuple[Limiter, Fits]:
    return FixedWindow(limit, width), lambda log, at: sum(one // width == at // width for one in log) < limit


def bucket(limit: int, width: int, burst: int) -> tuple[Limiter, Fits]:
    def fits(log: list[int], at: int) -> bool:
        tokens, last = Fraction(burst), 0
        for one in log:
            tokens = min(Fraction(burst), tokens + Fraction((one - last) * limit, width)) - 1
            last = one
        return min(Fraction(burst), tokens + Fraction((at - last) * limit, width)) >= 1

    return TokenBucket(limit, width, burst), fits


kinds = st.sampled_from([sliding, fixed, bucket])
arrivals = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 13, 40]), st.sampled_from("aab"), st.booleans()),
    max_size=60,
)


@settings(max_examples=500)
@given(kinds, st.integers(1, 5), st.integers(1, 12), st.integers(1, 4), arrivals)
def test_admits_whatever_fits_and_nothing_else_and_names_the_earliest_instant(
    kind: Any, limit: int, width: int, burst: int, requests: list[tuple[int, str, bool]]
) -> None:
    limiter, fits = kind(limit, width, burst)
    logs: dict[str, list[int]] = defaultdict(list)
    now = 0
    for gap, key, tidy in requests:
        now += gap
        if tidy:
            limiter.forget_idle(now)
        at = limiter.try_acquire(key, now)
        if at == now:
            assert fits(logs[key], now)
            logs[key].append(now)
        else:
            assert at > now
            assert not any(fits(logs[key], earlier) for earlier in range(now, at))
            assert fits(logs[key], at)
    for log in logs.values():
        if kind is sliding:
            assert all(sum(end - width < one <= end for one in log) <= limit for end in range(now + 1))
        elif kind is fixed:
            assert all(count <= limit for count in Counter(one // width for one in log).values())
        else:
            spans = combinations(range(len(log)), 2)
            assert all(j - i + 1 <= burst + Fraction((log[j] - log[i]) * limit, width) for i, j in spans)


# Memory


@pytest.mark.parametrize("make", [SlidingWindow, FixedWindow, lambda limit, width: TokenBucket(limit, width, limit)])
def test_memory_is_bounded_by_the_users_of_two_windows(make: Callable[[int, int], Limiter]) -> None:
    limiter = make(5, 100)
    peak = 0
    for now_ns in range(5000):
        limiter.try_acquire(f"user {now_ns}", now_ns)
        peak = max(peak, limiter.active_keys)
    assert 100 <= peak <= 200


@pytest.mark.parametrize("make", [SlidingWindow, FixedWindow, lambda limit, width: TokenBucket(limit, width, limit)])
def test_a_user_who_is_refused_all_the_time_is_remembered(make: Callable[[int, int], Limiter]) -> None:
    limiter = make(2, 1000)
    assert admitted(limiter, [0, 0]) == [True, True]
    for now_ns in range(0, 500, 10):
        assert limiter.try_acquire("u", now_ns) > now_ns
    assert limiter.active_keys == 1


@pytest.mark.parametrize("make", [SlidingWindow, lambda limit, width: TokenBucket(limit, width, limit)])
@pytest.mark.parametrize("start", range(0, 60, 7))
def test_a_user_is_not_forgotten_before_it_makes_no_difference(make: Callable[[int, int], Limiter], start: int) -> None:
    limiter = make(2, 20)
    for now_ns in range(start + 10):
        limiter.try_acquire("someone else", now_ns)
    now_ns = start + 10
    assert admitted(limiter, [now_ns, now_ns]) == [True, True]
    fits_at_ns = now_ns + (20 if isinstance(limiter, SlidingWindow) else 10)
    for later_ns in range(now_ns, fits_at_ns):
        limiter.try_acquire("someone else", later_ns)
    assert limiter.try_acquire("u", fits_at_ns - 1) == fits_at_ns
    assert limiter.try_acquire("u", fits_at_ns) == fits_at_ns
    if isinstance(limiter, TokenBucket):
        # Empty at `fits_at_ns`, so one nanosecond short of its second token.
        for later_ns in range(fits_at_ns, fits_at_ns + 19):
            limiter.try_acquire("someone else", later_ns)
        assert admitted(limiter, [fits_at_ns + 19] * 2) == [True, False]


def test_forget_idle_drops_exactly_those_that_make_no_difference() -> None:
    window, steps, tokens = SlidingWindow(2, 100), FixedWindow(2, 100), TokenBucket(2, 100, 2)
    for limiter in (window, steps, tokens):
        limiter.try_acquire("early", 10)
        limiter.try_acquire("late", 40)
        limiter.try_acquire("twice", 40)
        limiter.try_acquire("twice", 40)
    kept = {}
    for now_ns in (59, 60, 89, 90, 99, 100, 109, 110, 139, 140):
        for limiter in (window, steps, tokens):
            limiter.forget_idle(now_ns)
        kept[now_ns] = (window.active_keys, steps.active_keys, tokens.active_keys)
    # A bucket of two that fills in 50 each: full again at 60, 90 and 140.
    assert kept == {
        59: (3, 3, 3),
        60: (3, 3, 2),
        89: (3, 3, 2),
        90: (3, 3, 1),
        99: (3, 3, 1),
        100: (3, 0, 1),
        109: (3, 0, 1),
        110: (2, 0, 1),
        139: (2, 0, 1),
        140: (0, 0, 0),
    }
