"""Rate limiters: the vectors of peers, and each kind against brute force on arrivals with many ties."""

from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from actors.errors import ConfigurationError
from actors.instants import NEVER_NS, NS_PER_S, ns
from actors.policies.rate_limit.limiter import (
    FixedWindow,
    LeakyBucket,
    Limiter,
    SeveralRates,
    SlidingCounter,
    SlidingWindow,
    TokenBucket,
    make_limiter,
)
from actors.settings.channel import RateLimitConfig
from actors.settings.quantities import FROM_FILE, Rate

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
    """Return when `count` are admitted to a caller that asks again at each instant that is named."""
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


def remaining(limiter: Limiter, now_ns: int, limit: int) -> int:
    """Return how many would fit at once."""
    return max([0, *(cost for cost in range(1, limit + 1) if limiter.fits_at("u", now_ns, cost) == now_ns)])


def test_v96_costs_in_a_fixed_window() -> None:
    limiter = FixedWindow(10, ns(2))
    assert limiter.try_acquire("u", ns(2), 11) == NEVER_NS
    assert limiter.try_acquire("u", ns(2), 5) == ns(2)
    assert remaining(limiter, ns(2), 10) == 5
    assert limiter.try_acquire("u", ns(2), 6) == ns(4)
    assert admitted(limiter, [ns(2)] * 6) == [True] * 5 + [False]
    assert remaining(limiter, ns(3), 10) == 0
    assert limiter.fits_at("u", ns(3)) == ns(4), "the reset"


def test_v98_the_previous_window_counts_by_what_is_left_of_it() -> None:
    limiter = SlidingCounter(5, ns(1))
    assert admitted(limiter, [ns(0.9)] * 3) == [True] * 3
    just_after = ns(1) + 1
    assert remaining(limiter, ns(1), 5) == 2, "all three still count at the seam itself"
    assert remaining(limiter, just_after, 5) == 3
    assert admitted(limiter, [just_after] * 4) == [True] * 3 + [False]
    assert limiter.fits_at("u", just_after) == ns(1) + 333_333_334, "a third of a second on, two of three are left"


def test_a_sliding_counter_forgets_two_windows_later() -> None:
    limiter = SlidingCounter(3, 10)
    assert admitted(limiter, [9, 9, 9]) == [True] * 3
    assert admitted(limiter, [29, 29, 29, 29]) == [True] * 3 + [False]


V92_SMOOTH = [
    (500, [(0, 7, 3000), (800, 3, 3700), (2300, 1, 2700), (3500, 3, 3000), (9100, 3, 900), (11000, 1, 0)], 11500),
    (200, [(0, 3, 400), (550, 2, 250), (2210, 2, 190)], 2600),
]


@pytest.mark.parametrize(("interval_ms", "requests", "free_ms"), V92_SMOOTH)
def test_v92_smooth_permits(interval_ms: int, requests: list[tuple[int, int, int]], free_ms: int) -> None:
    limiter = LeakyBucket(1, interval_ms * MS, aligned=True)
    for at_ms, count, last_wait_ms in requests:
        turns = [limiter.reserve("u", at_ms * MS) for _ in range(count)]
        assert turns[-1] == (at_ms + last_wait_ms) * MS
    assert limiter.fits_at("u", requests[-1][0] * MS) == free_ms * MS


def test_v94_with_waiting_of_a_quarter_of_a_second() -> None:
    limiter, quarter = LeakyBucket(1, 250 * MS, aligned=True), 250 * MS
    assert limiter.reserve("u", quarter, quarter) == quarter
    assert limiter.reserve("u", quarter, quarter) == 2 * quarter
    assert limiter.reserve("u", quarter, quarter) is None
    assert limiter.fits_at("u", quarter) == 3 * quarter, "what was refused has taken nothing"
    later = 1500 * MS + 10
    assert limiter.reserve("u", later, 0) == later


def test_a_bucket_that_goes_on_with_shorter_intervals_lets_none_go_in_that_in_which_the_latest_went() -> None:
    before, after, later = (LeakyBucket(1, width, aligned=True) for width in (700, 100, 130))
    assert before.try_acquire("u", 650) == 650
    after.go_on_from(before, "u", 660)
    assert after.fits_at("u", 660) == 700
    later.go_on_from(after, "u", 660)
    assert later.fits_at("u", 660) == 780
    even, evenly = LeakyBucket(1, 700), LeakyBucket(1, 100)
    assert even.try_acquire("u", 650) == 650
    evenly.go_on_from(even, "u", 660)
    assert evenly.fits_at("u", 660) == 750


def test_a_leaky_bucket_spaces_evenly_after_a_pause_unless_it_is_aligned() -> None:
    even, aligned = LeakyBucket(1, 500), LeakyBucket(1, 500, aligned=True)
    for limiter in (even, aligned):
        assert admitted(limiter, [0, 900]) == [True, True]
    assert [even.fits_at("u", 901), aligned.fits_at("u", 901)] == [1400, 1000]


def test_a_weight_keeps_those_behind_it_waiting() -> None:
    limiter = LeakyBucket(1, 10)
    assert limiter.try_acquire("u", 5, 3) == 5
    assert limiter.try_acquire("u", 6) == 35
    assert limiter.try_acquire("u", 36, 1000) == 36


@pytest.mark.parametrize(("limit", "width"), [(3, NS_PER_S), (7, NS_PER_S), (999_999_937, NS_PER_S)])
def test_a_leaky_bucket_meets_a_rate_exactly(limit: int, width: int) -> None:
    limiter = LeakyBucket(limit, width)
    turns = [limiter.reserve("u", 0) for _ in range(1000)]
    assert turns == [-(-count * width // limit) for count in range(1000)]


def test_three_a_second_and_a_hundred_a_minute() -> None:
    limiter = limiter_of(rates=["3/s", "100/min"])
    times = greedy(limiter, 103)
    assert times[:4] == [0, 0, 0, ns(1)]
    assert times[99] == ns(33)
    assert times[100] == ns(60)
    assert limiter.try_acquire("u", ns(100), 4) == NEVER_NS


def test_what_one_rate_refuses_costs_nothing_at_the_others() -> None:
    limiter = limiter_of(rates=["1/s", "2/min"])
    assert admitted(limiter, [0, 0, 0, 0]) == [True, False, False, False]
    assert admitted(limiter, [ns(1), ns(2)]) == [True, False]
    assert limiter.fits_at("u", ns(2)) == ns(60)


@pytest.mark.parametrize(
    ("rates", "problem"),
    [
        (["3/min", "1/d"], "longer window lets more through"),
        (["2/s", "1/s"], "shortest window to the longest"),
        (["1/s", "3/2s", "4/s"], "slower on average"),
        (["5/2s", "4/s"], "shortest window to the longest"),
        (["3/s", "3/min"], "lets more through than the shorter"),
        ([], "at least one entry"),
        (["2.5/s", "100/min"], "whole number"),
    ],
)
def test_v100_rates_that_cannot_all_bind_are_refused(rates: list[str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RateLimitConfig.model_validate({"rates": rates}, context=FROM_FILE)


def test_v100_rates_that_can() -> None:
    assert isinstance(limiter_of(rates=["2/s", "3/2s", "4/3s"]), SeveralRates)
    assert isinstance(limiter_of(rates=["2/s"]), SlidingWindow)
    assert RateLimitConfig(rates=(Rate(3, 1), Rate(100, 60))).limit == Rate(100, 60)


@pytest.mark.parametrize(
    ("given_settings", "problem"),
    [
        ({"rate": "1/s", "rates": ["1/s"]}, "one of max_per_minute, rate and rates"),
        ({"rates": ["3/s", "100/min"], "kind": "leaky_bucket"}, "only the slowest has an effect"),
        ({"rates": ["3/s", "100/min"], "kind": "gcra", "burst": 3}, "burst only with one rate"),
        ({"rate": "1/s", "burst": 3}, "burst only with kind: token_bucket"),
        ({"rate": "1/s", "aligned": True}, "aligned only with kind: leaky_bucket"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(given_settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RateLimitConfig.model_validate(given_settings, context=FROM_FILE)


Make = Callable[[int, int], Limiter]
EVERY_KIND: list[Make] = [
    SlidingWindow,
    SlidingCounter,
    FixedWindow,
    LeakyBucket,
    lambda limit, width: TokenBucket(limit, width, limit),
]


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize(("limit", "window_ns"), [(0, 1), (1, 0), (-1, 5)])
def test_less_than_one_is_refused(make: Callable[[int, int], Limiter], limit: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(limit, window_ns)


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize("cost", [0, -1])
def test_a_cost_of_less_than_one_is_refused_and_changes_nothing(make: Make, cost: int) -> None:
    limiter = make(2, 100)
    for ask in (limiter.try_acquire, limiter.fits_at):
        with pytest.raises(ValueError, match="at least 1"):
            ask("u", 0, cost)
    assert limiter.active_keys == 0


@pytest.mark.parametrize("make", [make for make in EVERY_KIND if make is not LeakyBucket])
def test_a_cost_above_the_limit_never_fits_and_is_not_remembered(make: Make) -> None:
    limiter = make(2, 100)
    assert limiter.fits_at("u", 0, 3) == NEVER_NS
    assert limiter.try_acquire("u", 0, 3) == NEVER_NS
    assert limiter.active_keys == 0
    limiter.forget_idle(1000)
    assert limiter.try_acquire("u", 1000, 2) == 1000


def test_a_bucket_without_a_burst_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TokenBucket(1, 1, 0)


# From settings


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("sliding_window", SlidingWindow),
        ("sliding_counter", SlidingCounter),
        ("fixed_window", FixedWindow),
        ("token_bucket", TokenBucket),
        ("gcra", TokenBucket),
    ],
)
def test_settings_choose_the_kind(kind: Any, cls: type) -> None:
    limiter = limiter_of(rate="3/10s", kind=kind)
    assert isinstance(limiter, cls)
    assert admitted(limiter, [ns(20)] * 4) == [True, True, True, False]
    assert all(admitted(limiter, [ns(40)] * 3))


def test_settings_choose_the_leaky_bucket() -> None:
    assert admitted(limiter_of(rate="3/9s", kind="leaky_bucket"), [0, 0, ns(3) - 1, ns(3)]) == [
        True,
        False,
        False,
        True,
    ]
    aligned = limiter_of(rate="2.5/s", kind="leaky_bucket", aligned=True)
    assert admitted(aligned, [ns(0.5), ns(0.8)]) == [True, True]


@pytest.mark.parametrize(("rate", "interval_ns"), [("2.5/s", ns(0.4)), ("3.2/s", ns(0.3125)), ("1.6/4ms", ns(0.0025))])
def test_a_bucket_takes_a_broken_rate_exactly(rate: str, interval_ns: int) -> None:
    limiter = limiter_of(rate=rate, kind="token_bucket", burst=1)
    assert limiter.try_acquire("u", 0) == 0
    assert limiter.try_acquire("u", 0) == interval_ns


def test_the_burst_of_a_broken_rate_is_its_whole_part() -> None:
    limiter = limiter_of(rate="2.5/s", kind="token_bucket")
    assert admitted(limiter, [0, 0, 0]) == [True, True, False]


@pytest.mark.parametrize("kind", ["sliding_window", "fixed_window", "sliding_counter"])
def test_a_window_does_not_round_a_broken_rate(kind: Any) -> None:
    with pytest.raises(ValidationError, match=f"whole number in each window of a {kind}"):
        limiter_of(rate="2.5/s", kind=kind)


def test_a_window_shorter_than_the_clock_can_tell_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1ns"):
        limiter_of(rate=Rate(1, 1e-12))


# Against brute force

Log = list[tuple[int, int]]
"""What was admitted: when, and at which cost."""

Fits = Callable[[Log, int, int], bool]
"""Whether a cost fits at an instant, given what was admitted before it."""


def sliding(limit: int, width: int, _burst: int) -> tuple[Limiter, Fits]:
    def fits(log: Log, at: int, cost: int) -> bool:
        return sum(one for when, one in log if at - width < when <= at) + cost <= limit

    return SlidingWindow(limit, width), fits


def fixed(limit: int, width: int, _burst: int) -> tuple[Limiter, Fits]:
    def fits(log: Log, at: int, cost: int) -> bool:
        return sum(one for when, one in log if when // width == at // width) + cost <= limit

    return FixedWindow(limit, width), fits


def counter(limit: int, width: int, _burst: int) -> tuple[Limiter, Fits]:
    def fits(log: Log, at: int, cost: int) -> bool:
        window, into = divmod(at, width)
        current = sum(one for when, one in log if when // width == window)
        previous = sum(one for when, one in log if when // width == window - 1)
        return int(Fraction(previous * (width - into), width)) + current + cost <= limit

    return SlidingCounter(limit, width), fits


def bucket(limit: int, width: int, burst: int) -> tuple[Limiter, Fits]:
    def fits(log: Log, at: int, cost: int) -> bool:
        tokens, last = Fraction(burst), 0
        for when, one in log:
            tokens = min(Fraction(burst), tokens + Fraction((when - last) * limit, width)) - one
            last = when
        return min(Fraction(burst), tokens + Fraction((at - last) * limit, width)) >= cost

    return TokenBucket(limit, width, burst), fits


def leaky(limit: int, width: int, burst: int) -> tuple[Limiter, Fits]:
    aligned, interval = burst > 2, Fraction(width, limit)

    def fits(log: Log, at: int, _cost: int) -> bool:
        free = Fraction(0)
        for when, one in log:
            free = max(free, when // interval * interval if aligned else Fraction(when)) + one * interval
        return at >= free

    return LeakyBucket(limit, width, aligned=aligned), fits


def several(limit: int, width: int, burst: int) -> tuple[Limiter, Fits]:
    parts = [kind(limit * factor, width * factor * 2, burst) for factor, kind in enumerate((sliding, bucket, fixed), 1)]
    return SeveralRates([limiter for limiter, _ in parts]), lambda *asked: all(fits(*asked) for _, fits in parts)


kinds = st.sampled_from([sliding, fixed, counter, bucket, leaky, several])
arrivals = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 13, 40]),
        st.sampled_from("aab"),
        st.sampled_from([1, 1, 1, 2, 3]),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=examples(700))
@given(kinds, st.integers(1, 5), st.integers(1, 12), st.integers(1, 4), arrivals)
def test_admits_whatever_fits_and_nothing_else_and_names_the_earliest_instant(
    kind: Any, limit: int, width: int, burst: int, requests: list[tuple[int, str, int, bool]]
) -> None:
    limiter, fits = kind(limit, width, burst)
    logs: dict[str, Log] = defaultdict(list)
    now = 0
    for gap, key, cost, tidy in requests:
        now += gap
        if tidy:
            limiter.forget_idle(now)
        foreseen = limiter.fits_at(key, now, cost)
        at = limiter.try_acquire(key, now, cost)
        assert at == foreseen
        if at == now:
            assert fits(logs[key], now, cost)
            logs[key].append((now, cost))
        elif at == NEVER_NS:
            assert not fits([], 0, cost)
        else:
            assert at > now
            assert not any(fits(logs[key], earlier, cost) for earlier in range(now, at))
            assert fits(logs[key], at, cost)
    for log in logs.values():
        times = [when for when, cost in log for _ in range(cost)]
        if kind is sliding:
            assert all(sum(end - width < one <= end for one in times) <= limit for end in range(now + 1))
        elif kind is fixed:
            assert all(count <= limit for count in Counter(one // width for one in times).values())
        elif kind is bucket:
            spans = combinations(range(len(times)), 2)
            assert all(j - i + 1 <= burst + Fraction((times[j] - times[i]) * limit, width) for i, j in spans)


# Memory


@pytest.mark.parametrize("make", EVERY_KIND)
def test_memory_is_bounded_by_the_users_of_two_windows(make: Make) -> None:
    limiter = make(5, 100)
    peak = 0
    for now_ns in range(5000):
        limiter.try_acquire(f"user {now_ns}", now_ns)
        peak = max(peak, limiter.active_keys)
    assert peak <= 200


@pytest.mark.parametrize("make", EVERY_KIND)
def test_a_user_who_is_refused_all_the_time_is_remembered(make: Make) -> None:
    limiter = make(2, 1000)
    limiter.try_acquire("u", 0)
    limiter.try_acquire("u", 0)
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
