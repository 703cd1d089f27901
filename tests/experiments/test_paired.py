"""Means, paired differences and their intervals."""

import math
import random

import pytest
from hypothesis import given, strategies as st

from simulation.experiments.paired import difference, mean

NUMBERS = st.floats(-1e6, 1e6)


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
