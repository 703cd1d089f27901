"""Windows of outage: the best set of stretches, the chance of a false one, and where their ends are."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulation.fitting.failing import ALPHA, _stretches, find_windows
from simulation.fitting.slowness import find_brownouts


def value(hit, stretches, gain, loss, price):
    return sum(sum(gain if each else loss for each in hit[first : last + 1]) - price for first, last in stretches)


def best_value(hit, gain, loss, price):
    """By trying all sets of stretches that do not overlap."""
    ends = [0.0]
    for end in range(1, len(hit) + 1):
        ends.append(
            max([ends[-1], *(ends[first] + value(hit, [(first, end - 1)], gain, loss, price) for first in range(end))])
        )
    return ends[-1]


@given(
    st.lists(st.booleans(), min_size=1, max_size=25),
    st.floats(0.1, 4.0),
    st.floats(-4.0, -0.1),
    st.floats(0.1, 10.0),
)
def test_the_stretches_are_the_best_set_there_is(hit, gain, loss, price):
    found = [(first, last) for first, last, _number in _stretches(np.array(hit), [(gain, loss)], price)]
    assert value(hit, found, gain, loss, price) == pytest.approx(best_value(hit, gain, loss, price), abs=1e-9)
    assert all(first <= last < following for (first, last), (following, _) in itertools.pairwise(found))


def test_a_false_window_is_as_rare_as_promised():
    random = np.random.default_rng(1)
    runs = 1500
    false = sum(
        bool(find_windows(random.random(500) < rate, np.arange(500.0)))
        for rate in itertools.islice(itertools.cycle([0.002, 0.02, 0.2, 0.5]), runs)
    )
    # A thousandth of the runs at most, by Ville's bound: more than nine of 1,500 in one test of 200,000.
    assert false <= runs * ALPHA + 5.0 * math.sqrt(runs * ALPHA)


def outage(start_s, at, until, usual, random):
    return (random.random(len(start_s)) < usual) | ((start_s >= at) & (start_s < until))


def test_the_ends_lie_between_the_neighbouring_attempts():
    start_s = np.arange(0.0, 1000.0, 2.0)
    hit = outage(start_s, 401.0, 461.0, 0.0, np.random.default_rng(0))
    (window,) = find_windows(hit, start_s)
    assert (window.start_s.low, window.start_s.high) == (400.0, 402.0)
    assert (window.end_s.low, window.end_s.high) == (460.0, 462.0)
    assert (window.start_s.value, window.end_s.value) == (401.0, 461.0)
    assert (window.hits, window.attempts) == (30, 30)


def test_the_ends_of_a_window_are_less_sure_where_much_fails_anyway():
    widths = []
    for usual in (0.0, 0.5):
        covered = 0
        wide = 0.0
        for seed in range(40):
            random = np.random.default_rng(seed)
            start_s = np.sort(random.uniform(0.0, 1000.0, 1000))
            found = find_windows(outage(start_s, 400.0, 500.0, usual, random), start_s)
            (window,) = found
            covered += window.start_s.contains(400.0)
            wide += window.start_s.high - window.start_s.low
        assert covered >= 30  # of 40, at 95% each: fewer with a chance below 1e-6
        widths.append(wide)
    assert widths[1] > 2.0 * widths[0]


def test_a_window_that_begins_the_log_begins_at_its_start():
    start_s = np.arange(5.0, 500.0)
    (window,) = find_windows(start_s < 50.0, start_s)
    assert (window.start_s.low, window.first) == (0.0, 0)


def test_two_windows_are_two_with_as_little_as_ten_seconds_between_them():
    start_s = np.arange(0.0, 600.0, 0.5)
    hit = ((start_s >= 100.0) & (start_s < 140.0)) | ((start_s >= 150.0) & (start_s < 200.0))
    first, second = find_windows(hit, start_s)
    assert (first.start_s.low, first.end_s.high) == (99.5, 140.0)
    assert (second.start_s.low, second.end_s.high) == (149.5, 200.0)


@pytest.mark.parametrize("hit", [np.zeros(0, bool), np.zeros(9, bool), np.ones(9, bool), np.array([True, False])])
def test_of_nothing_of_all_and_of_little_there_is_no_window(hit):
    assert find_windows(hit, np.arange(float(len(hit)))) == []


def test_slower_days_are_no_brownout_but_a_slow_minute_is():
    random = np.random.default_rng(2)
    start_s = np.arange(0.0, 3000.0)
    usual = 0.1 * np.exp(0.3 * random.standard_normal(3000))
    drifting = usual * (1.0 + 0.2 * np.sin(start_s / 300.0))
    assert find_brownouts(drifting, start_s) == []
    slow = np.where((start_s >= 700.0) & (start_s < 760.0), 5.0, 1.0)
    (brownout,) = find_brownouts(usual * slow, start_s)
    assert brownout.factor.contains(5.0)
    assert brownout.window.start_s.low <= 700.0 <= brownout.window.start_s.high
