"""The windows of a breaker: peers' numbers, and each against a naive recomputation on times with many ties."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st

from actors.instants import ns
from actors.policies.breaker import windows as time_window
from actors.policies.breaker.tripping import FailureRate, Window
from actors.policies.breaker.windows import CountWindow, MovingAverage, TimeWindow
from actors.policies.exact import exact_share


class Call(NamedTuple):
    at_ns: int
    failed: bool
    slow: bool = False
    duration_ns: int = 0


def add(window: Window, at_s: float, results: str) -> None:
    """Count one call for each letter: S success, F failure."""
    for letter in results:
        window.record(ns(at_s), letter == "F", False, 0)


def figures(window: CountWindow | TimeWindow) -> tuple[int, int, int, int]:
    return window.calls, window.failures, window.slow, window.duration_ns


def naive(calls: Sequence[Call]) -> tuple[int, int, int, int]:
    return (
        len(calls),
        sum(call.failed for call in calls),
        sum(call.slow for call in calls),
        sum(call.duration_ns for call in calls),
    )


def test_v42_five_seconds_hold_three_calls_and_then_none() -> None:
    window = TimeWindow(ns(5))
    window.record(0, True, False, ns(0.1))
    window.record(ns(0.1), False, False, ns(0.1))
    window.record(ns(0.8), True, True, ns(1))
    window.advance(ns(4.8))
    assert figures(window) == (3, 2, 1, ns(1.2))
    assert window.duration_ns / window.calls == ns(0.4)
    window.advance(ns(5.8))
    assert figures(window) == (0, 0, 0, 0)


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(ns(5))], ids=["count", "time"])
def test_v44_the_rate_of_slow_calls(window: CountWindow | TimeWindow) -> None:
    rule = FailureRate(window, rate=1, minimum_calls=5, slow_ns=ns(4), slow_rate=0.5)
    assert rule.success(0, ns(10)) is False
    assert rule.failure(0, ns(10)) is False
    assert rule.slow_call_rate(0) is None
    for _ in range(3):
        assert rule.success(0, ns(0.1)) is False
    assert rule.slow_call_rate(0) == 0.4
    assert (window.duration_ns, window.duration_ns / window.calls) == (ns(20.3), ns(4.06))
    assert window.calls - window.failures == 4


def test_v46_pairs_in_a_window_of_ten_seconds() -> None:
    window = TimeWindow(ns(10))
    read_at = {2: (2, 0.5, 1), 4: (4, 0.5, 2), 8: (8, 0.25, 2), 10: (8, 0.125, 1), 12: (6, 0.0, 0)}
    pairs = {0: "FS", 2: "FS", 4: "SS", 6: "SS", 8: "SS"}
    for at_s in range(0, 13, 2):
        window.advance(ns(at_s))
        if at_s in read_at:
            assert (window.calls, window.failures / window.calls, window.failures) == read_at[at_s]
        add(window, at_s, pairs.get(at_s, ""))


def test_v48_four_seconds_at_odd_instants() -> None:
    window = TimeWindow(ns(4))
    seen = []
    for at_s, results in (
        (0, "S" * 10 + "F" * 40),
        (1.0, "S" * 10),
        (2.5, "F" * 20),
        (3.1, "S" * 5 + "F" * 20),
        (5.4, "S" * 8),
        (7.3, "F" * 5),
        (22.5, ""),
    ):
        window.advance(ns(at_s))
        add(window, at_s, results)
        percent = round(100 * window.failures / window.calls) if window.calls else 0
        seen.append((window.calls - window.failures, window.failures, percent))
    assert seen == [(10, 40, 80), (20, 40, 67), (20, 60, 75), (25, 80, 76), (13, 40, 75), (8, 5, 38), (0, 0, 0)]


def test_v84_the_last_ten_calls() -> None:
    window = CountWindow(10)
    add(window, 0, "SFSFSFS")
    assert (window.calls - window.failures, window.failures) == (4, 3)
    assert round(window.failures / window.calls, 2) == 0.43
    add(window, 0, "".join("F" if index % 4 == 0 else "S" for index in range(15)))
    assert (window.calls - window.failures, window.failures) == (8, 2)


def test_v90_finagles_moving_average_trips_at_the_seventieth_failure() -> None:
    rule = FailureRate(MovingAverage(100), rate=0.5, minimum_calls=100)
    assert not any(rule.success(0) for _ in range(100))
    assert not any(rule.failure(0) for _ in range(69))
    assert rule.failure(0)


@pytest.mark.parametrize(
    ("throughput", "failures", "trips"), [(10, 0, False), (10, 1, True), (10, 2, True), (11, 3, True), (9, 1, False)]
)
def test_v80_reached_or_exceeded_with_at_least_ten_calls(throughput: int, failures: int, trips: bool) -> None:
    rule = FailureRate(TimeWindow(ns(10)), rate=0.1, minimum_calls=10)
    answers = [rule.success(0) for _ in range(throughput - failures)] + [rule.failure(0) for _ in range(failures)]
    assert answers[-1] is trips


def test_the_window_is_half_open() -> None:
    window = TimeWindow(ns(5))
    add(window, 6.2, "F")
    window.advance(ns(11.2) - 1)
    assert window.calls == 1
    window.advance(ns(11.2))  # (now - width, now]; in float seconds 11.2 - 5 would keep it
    assert window.calls == 0


def test_a_call_is_slow_when_it_takes_longer_and_not_when_it_takes_just_as_long() -> None:
    window = CountWindow(10)
    rule = FailureRate(window, rate=1, minimum_calls=1, slow_ns=ns(2), slow_rate=1)
    assert rule.success(0, ns(2)) is False
    assert window.slow == 0
    rule.reset()
    assert rule.success(0, ns(2) + 1) is True


@pytest.mark.parametrize(
    ("share", "failures", "calls"), [(1.1 / 100, 11, 1000), (2 / 3, 2, 3), (0.07, 7, 100), (1 / 3, 1, 3), (1.0, 5, 5)]
)
def test_a_share_is_what_was_written_and_is_reached_exactly(share: float, failures: int, calls: int) -> None:
    rule = FailureRate(CountWindow(calls), rate=share, minimum_calls=calls)
    answers = [rule.success(0) for _ in range(calls - failures)] + [rule.failure(0) for _ in range(failures)]
    assert answers == [False] * (calls - 1) + [True]


@given(st.floats(0, 1))
def test_a_share_is_never_far_from_the_fraction_and_never_becomes_nothing(share: float) -> None:
    fraction = exact_share(share)
    assert abs(fraction - Fraction(share)) <= Fraction(1, 10**9)
    assert (fraction > 0) == (share > 0)
    assert fraction <= 1


STEPS = st.one_of(st.just(0), st.integers(0, 3), st.sampled_from([9, 10, 11]))
CALLS = st.lists(st.tuples(STEPS, st.booleans(), st.booleans(), st.integers(0, 5)), max_size=80)


def timed(steps: Sequence[tuple[int, bool, bool, int]]) -> list[Call]:
    calls, at_ns = [], 0
    for step, failed, slow, duration_ns in steps:
        at_ns += step
        calls.append(Call(at_ns, failed, slow, duration_ns))
    return calls


@given(CALLS, st.integers(1, 12))
def test_the_count_window_against_a_naive_recomputation(steps: list[tuple[int, bool, bool, int]], size: int) -> None:
    window, calls = CountWindow(size), timed(steps)
    for number, call in enumerate(calls, start=1):
        window.record(*call)
        assert figures(window) == naive(calls[:number][-size:])


@given(CALLS, st.integers(1, 12), STEPS)
def test_the_time_window_against_a_naive_recomputation(
    steps: list[tuple[int, bool, bool, int]], width_ns: int, later: int
) -> None:
    window, calls = TimeWindow(width_ns), timed(steps)

    def expected(now_ns: int, known: Sequence[Call]) -> tuple[int, int, int, int]:
        return naive([call for call in known if now_ns - width_ns < call.at_ns <= now_ns])

    for number, call in enumerate(calls, start=1):
        window.record(*call)
        assert figures(window) == expected(call.at_ns, calls[:number])
        assert window.entries == len({one.at_ns for one in calls[:number] if one.at_ns > call.at_ns - width_ns})
    now_ns = (calls[-1].at_ns if calls else 0) + later
    window.advance(now_ns)
    assert figures(window) == expected(now_ns, calls)


@given(CALLS, st.integers(1, 50))
def test_the_moving_average_against_its_weighted_sum(steps: list[tuple[int, bool, bool, int]], size: int) -> None:
    window, calls = MovingAverage(size), timed(steps)
    for call in calls:
        window.record(*call)
    keep = math.exp(-1 / size)
    weights = [(1 - keep) * keep ** (len(calls) - 1 - index) for index in range(len(calls))]
    if calls:
        weights[0] = keep ** (len(calls) - 1)
    for value, chosen in (
        (window.failures, [call.failed for call in calls]),
        (window.slow, [call.slow for call in calls]),
    ):
        assert math.isclose(value, sum(weight * one for weight, one in zip(weights, chosen, strict=True)), abs_tol=1e-9)
    assert window.calls == len(calls)


@given(
    CALLS,
    st.sampled_from([0.1, 1 / 3, 0.5, 1.0]),
    st.integers(1, 8),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.one_of(st.tuples(st.just("calls"), st.integers(1, 12)), st.tuples(st.just("time"), st.integers(1, 12))),
)
def test_the_rule_against_a_naive_recomputation(
    steps: list[tuple[int, bool, bool, int]],
    rate: float,
    minimum_calls: int,
    slow_ns: int | None,
    success_may_trip: bool,
    kind: tuple[str, int],
) -> None:
    window: CountWindow | TimeWindow = CountWindow(kind[1]) if kind[0] == "calls" else TimeWindow(kind[1])
    rule = FailureRate(
        window,
        rate=rate,
        minimum_calls=minimum_calls,
        slow_ns=slow_ns,
        slow_rate=0.5,
        success_may_trip=success_may_trip,
    )
    calls: list[Call] = []
    for call in timed(steps):
        slow = slow_ns is not None and call.duration_ns > slow_ns
        calls.append(call._replace(slow=slow))
        trips = (rule.failure if call.failed else rule.success)(call.at_ns, call.duration_ns)
        seen = calls[-kind[1] :] if kind[0] == "calls" else [one for one in calls if one.at_ns > call.at_ns - kind[1]]
        total, failures, slows, _ = naive(seen)
        reached = total >= minimum_calls and (
            Fraction(failures, total) >= Fraction(rate).limit_denominator(1000)
            or (slow_ns is not None and 2 * slows >= total)
        )
        assert trips == (reached and (call.failed or slow or success_may_trip))
        assert rule.failure_rate(call.at_ns) == (failures / total if total >= minimum_calls else None)
        assert rule.slow_call_rate(call.at_ns) == (slows / total if total >= minimum_calls else None)


def test_a_crowded_time_window_stays_bounded_and_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_window, "EXACT_INSTANTS", 50)
    width_ns = 2_000
    window, calls = TimeWindow(width_ns), []
    for at_ns in range(0, 4 * width_ns, 3):
        call = Call(at_ns, failed=at_ns % 7 == 0)
        calls.append(call)
        window.record(*call)
        assert window.entries <= 2 * 50 + 2
        exact = [one for one in calls[-2 * width_ns // 3 :] if one.at_ns > at_ns - width_ns]
        assert 0 <= window.calls - len(exact) <= width_ns // 50 // 3 + 1
        assert sum(one.failed for one in exact) <= window.failures
    window.advance(calls[-1].at_ns + width_ns)
    assert (window.calls, window.failures, window.entries) == (0, 0, 0)


@pytest.mark.parametrize("make", [CountWindow, TimeWindow, MovingAverage])
def test_a_window_of_nothing_is_refused(make: type[CountWindow]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(0)


def test_a_rule_that_has_been_reset_knows_nothing() -> None:
    for window in (CountWindow(4), TimeWindow(ns(4)), MovingAverage(4)):
        rule = FailureRate(window, rate=0.5, minimum_calls=2)
        rule.failure(0)
        rule.failure(0)
        rule.reset()
        assert (rule.count, rule.failure_rate(0), window.calls, window.duration_ns) == (0, None, 0, 0)
        assert rule.failure(0) is False
