"""Means, paired differences and their intervals."""

import math
import random

import pytest
from hypothesis import given, strategies as st

from simulation.experiments.paired import difference, mean, median_interval, over_runs

NUMBERS = st.floats(-1e6, 1e6)
TIMES = st.one_of(st.just(math.inf), st.integers(0, 5).map(float))
P99 = "channels.email.delivery_time_s.p99"


def test_the_textbook_interval():
    # Ten differences with mean 1.58 and standard deviation 1.2299…: the paired t-test of Student (1908), on sleep.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = difference(second, first)
    assert (found.pairs, found.excludes_0) == (10, True)
    assert found.mean == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_what_is_none_is_left_out_pair_by_pair():
    found = difference([1.0, None, 3.0, 8.0], [0.0, 5.0, None, 4.0])
    assert (found.pairs, found.mean) == (2, 2.5)
    assert difference([None, 1.0], [1.0, None]) is None
    assert mean([None, 2.0, 4.0]) == 3.0
    assert mean([None]) is None


def test_one_pair_has_no_interval_and_says_nothing_for_sure():
    found = difference([3.0], [1.0])
    assert (found.pairs, found.mean, found.low, found.high, found.excludes_0) == (1, 2.0, None, None, False)


def test_ties_are_no_difference_and_the_same_difference_every_time_is_one():
    same = difference([0.1, 0.2, 0.7], [0.1, 0.2, 0.7])
    assert (same.mean, same.half_width, same.excludes_0) == (0.0, 0.0, False)
    shifted = difference([3.0, 4.0], [1.0, 2.0])
    assert (shifted.mean, shifted.half_width, shifted.excludes_0) == (2.0, 0.0, True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=20))
def test_it_is_antisymmetric_and_in_any_order_the_same(pairs):
    values, base = zip(*pairs, strict=True)
    there, back = difference(values, base), difference(base, values)
    assert there.mean == -back.mean
    assert there.half_width == back.half_width
    reverse = difference(values[::-1], base[::-1])
    assert (reverse.mean, reverse.half_width) == (there.mean, there.half_width)
    assert there.low <= there.mean <= there.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = random.Random(3)
    trials, covered = 2000, 0
    for _ in range(trials):
        found = difference([draws.gauss(1, 2) for _ in range(6)], [0.0] * 6)
        covered += found.low <= 1 <= found.high
    assert covered / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


def test_the_median_of_quantiles_is_never_where_either_neighbour_is():
    assert over_runs(P99, [3.0, 1.0, None, math.inf])[:4] == (3, 1, pytest.approx(math.nan, nan_ok=True), 3.0)
    assert over_runs(P99, [1.0, 2.0, math.inf, math.inf]).median == math.inf
    assert over_runs(P99, [1.0, 2.0, 3.0, math.inf]).median == 2.5
    assert over_runs("faults.0.backlog_cleared_s", [math.inf, 1.0, 2.0])[:2] == (3, 1)
    assert over_runs(P99, [None]).middle is None
    assert over_runs("sent_time_s.mean", [1.0, 4.0]).middle == 2.5


def test_the_interval_of_a_median_is_that_of_the_order_statistics():
    assert all(map(math.isnan, median_interval([1.0, 2.0, 3.0, 4.0, 5.0])[1:]))
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, math.inf]) == (3.5, 1.0, math.inf)
    # Of 20 values the 6th and the 15th: fewer than 6 of 20 heads come in 2.07% of cases, and fewer than 7 in 5.8%.
    assert median_interval([*map(float, range(1, 21))]) == (10.5, 6.0, 15.0)


@pytest.mark.parametrize("count", [6, 11, 20])
def test_the_interval_of_a_median_covers_it_as_often_as_it_says_at_least(count):
    draws = random.Random(4)
    trials, covered = 2000, 0
    for _ in range(trials):
        _, low, high = median_interval([draws.expovariate(1.0) for _ in range(count)])
        covered += low <= math.log(2) <= high
    assert covered / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_where_one_of_a_pair_is_never_the_sign_test_decides():
    found = difference([math.inf, 3.0, 3.0, 3.0, 3.0, 3.0], [1.0] * 6)
    assert (found.mean, found.half_width, found.value, found.more, found.less) == (None, None, 2.0, 6, 0)
    assert (found.low, found.high, found.excludes_0) == (2.0, math.inf, True)
    assert found.document == {
        "pairs": 6, "mean": None, "low": 2.0, "high": None, "median": 2.0, "more": 6, "less": 0,
    }  # fmt: skip
    # Five pairs are too few for it, and an equal pair of six says that nothing is sure.
    assert not difference([math.inf] * 5, [1.0] * 5).excludes_0
    assert difference([math.inf] * 5, [1.0] * 5).value == math.inf
    assert not difference([math.inf] * 6, [1.0] * 5 + [math.inf]).excludes_0
    # One way in half the pairs and the other way in the others: there is no middle.
    assert difference([math.inf, 1.0], [1.0, math.inf]).value is None
    same = difference([math.inf, math.inf], [math.inf, math.inf])
    assert (same.value, same.more, same.less) == (0.0, 0, 0)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=12), st.data())
def test_what_becomes_never_never_makes_a_setting_look_better(pairs, data):
    values, base = map(list, zip(*pairs, strict=True))
    changed = data.draw(st.integers(0, len(values) - 1))
    worse = [*values[:changed], math.inf, *values[changed + 1 :]]
    before, after = over_runs(P99, values), over_runs(P99, worse)
    assert after.median >= before.median
    assert after.never >= before.never
    was, now = difference(values, base), difference(worse, base)
    assert (now.more, -now.less) >= (was.more, -was.less)
    if now.excludes_0 and now.value < 0:  # still shorter, for sure: then it was before
        assert was.value < 0


@given(st.lists(st.tuples(TIMES, TIMES), min_size=6, max_size=15))
def test_with_never_too_a_difference_is_antisymmetric(pairs):
    values, base = zip(*pairs, strict=True)
    there, back = difference(values, base), difference(base, values)
    assert (there.more, there.less, there.excludes_0) == (back.less, back.more, back.excludes_0)
    if there.value is None:
        assert back.value is None
    else:
        assert there.value == -back.value
        assert (there.low, there.high) == (-back.high, -back.low)
