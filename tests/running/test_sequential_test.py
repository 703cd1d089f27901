"""The sequential test: its chances, recomputed exactly from its boundaries by dynamic programming."""

import math
from functools import cache

import pytest
from effort import sliced
from hypothesis import given, strategies as st

from simulation.running.sequential_test import (
    Boundaries,
    Conclusion,
    SequentialTest,
    fewest_runs,
    interval,
)


@cache
def chances(share: float, probability: float, at_most: int, error: float = 0.05) -> tuple[float, float]:
    """Return how often a test of `share` says in so many runs that it holds, and that it fails."""
    boundaries = Boundaries(share, error)
    undecided, holds, fails = {0: 1.0}, 0.0, 0.0
    for runs in range(1, at_most + 1):
        now: dict[int, float] = {}
        for failed, chance in undecided.items():
            now[failed] = now.get(failed, 0.0) + chance * probability
            now[failed + 1] = now.get(failed + 1, 0.0) + chance * (1 - probability)
        most_to_hold, fewest_to_fail = boundaries.after(runs)
        holds += math.fsum(chance for failed, chance in now.items() if failed <= most_to_hold)
        fails += math.fsum(chance for failed, chance in now.items() if failed >= fewest_to_fail)
        undecided = {failed: chance for failed, chance in now.items() if most_to_hold < failed < fewest_to_fail}
    return holds, fails


def conclusion(share: float, *, held: int = 0, failed: int = 0) -> Conclusion:
    """Return what a test says after so many failures, and then so many runs that hold."""
    test = SequentialTest(share)
    for holds in (False,) * failed + (True,) * held:
        test.add(holds)
    return test.conclusion


def looks(share: float, failures: int) -> list[int]:
    """Return after how many runs it holds with none, one, … failures."""
    boundaries, found = Boundaries(share, 0.05), []
    runs = 1
    while len(found) < failures:
        if boundaries.after(runs)[0] >= len(found):
            found.append(runs)
        else:
            runs += 1
    return found


@pytest.mark.parametrize(("share", "runs"), [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)])
def test_without_a_failure_it_holds_after_as_many_runs_as_have_a_chance_of_5_per_cent(share: float, runs: int) -> None:
    assert share**runs <= 0.05 < share ** (runs - 1)
    assert fewest_runs(share) == runs
    assert conclusion(share, held=runs) is Conclusion.HOLDS
    assert conclusion(share, held=runs - 1) is Conclusion.UNDECIDED


def test_the_figures_for_99_per_cent_that_it_states() -> None:
    assert looks(0.99, 3) == [299, 690, 982]
    boundaries = Boundaries(0.99, 0.05)
    assert [boundaries.after(runs)[1] for runs in (24, 25, 53, 54, 345, 346)] == [2, 3, 3, 4, 10, 11]
    stated = {
        0.999: (74.1, 0.03, 89.2, 0.03, 0),
        0.995: (22.3, 0.84, 27.1, 0.84, 37.9),
        0.99: (4.95, 4.44, 5.25, 4.69, 89.6),
        0.985: (1.09, 13.3, 1.10, 17.6, 51.3),
        0.98: (0.24, 28.7, 0.24, 44.9, 1.7),
        0.97: (0.01, 66.1, 0.01, 91.4, 0),
        0.95: (0, 97.7, 0, 99.99, 0),
    }
    for probability, figures in stated.items():
        at_299, at_700, at_4000 = (chances(0.99, probability, runs) for runs in (299, 700, 4000))
        found = [100 * chance for chance in (*at_299, *at_700, 1 - math.fsum(at_4000))]
        tolerances = [0.051 if figure >= 10 or place == 4 else 0.0051 for place, figure in enumerate(figures)]
        for figure, exact, tolerance in zip(figures, found, tolerances, strict=True):
            assert figure == pytest.approx(exact, abs=tolerance), probability


def test_of_100_decisions_about_99_per_cent_80_come_in_700_runs_and_few_are_wrong() -> None:
    holds, wrong_fails = chances(0.99, 0.999, 700)
    wrong_holds, fails = chances(0.99, 0.97, 700)
    assert min(holds, fails) > 0.89
    assert max(wrong_holds, wrong_fails) < 0.0003


@pytest.mark.parametrize("share", sliced([0.01, 0.1, 0.5, 0.9, 0.95, 0.99], 6))
def test_it_errs_at_the_edge_as_seldom_as_it_says(share: float) -> None:
    holds, fails = chances(share, share, 3000)
    assert holds <= 0.055
    assert fails <= 0.05
    if share >= 0.9:
        assert chances(share, 1 - 1.03 * (1 - share), 3000)[0] <= 0.05


def test_no_test_with_5_per_cent_at_the_edge_could_tell_99_9_from_99_per_cent_in_700_runs_so_often() -> None:
    """What is left of the 5% when 299 runs without a failure hold goes, by the lemma of Neyman and Pearson, to those
    histories whose likelihood ratio is largest: one failure in 700 runs."""
    left = 0.05 - 0.99**299
    ratio = (0.001 / 0.01) * (0.999 / 0.99) ** 699
    assert 0.999**299 + left * ratio == pytest.approx(0.7674, abs=1e-4)


@pytest.mark.parametrize(
    ("share", "probability", "at_most", "right"),
    [
        (0.5, 0.75, 100, 0.95), (0.5, 0.25, 100, 0.95), (0.5, 1.0, 5, 0.9999), (0.5, 0.0, 5, 0.9999),
        (0.9, 0.99, 100, 0.95), (0.9, 0.7, 100, 0.95), (0.95, 0.995, 300, 0.95), (0.95, 0.85, 300, 0.95),
        (0.99, 0.0, 2, 0.9999), (0.01, 1.0, 1, 0.9999),
    ],
)  # fmt: skip
def test_it_decides_soon_about_what_is_far_from_the_edge(
    share: float, probability: float, at_most: int, right: float
) -> None:
    holds, fails = chances(share, probability, at_most)
    assert (holds if probability > share else fails) > right


@given(share=st.sampled_from([0.5, 0.9, 0.99]), runs=st.lists(st.booleans(), max_size=400))
def test_a_conclusion_stays_and_the_interval_agrees_with_it(share: float, runs: list[bool]) -> None:
    test = SequentialTest(share)
    for number, holds in enumerate(runs, start=1):
        before = test.conclusion, test.runs, test.held
        test.add(holds)
        if before[0] is not Conclusion.UNDECIDED:
            assert (test.conclusion, test.runs, test.held) == before
        else:
            assert (test.runs, test.held) == (number, sum(runs[:number]))
    low, high = test.interval
    assert 0 <= low <= high <= 1
    if test.conclusion is Conclusion.HOLDS:
        assert low >= share
    if test.conclusion is Conclusion.FAILS:
        assert high < share


def test_the_bounds_of_the_interval_are_those_of_clopper_and_pearson() -> None:
    low, high = interval(299, 299)
    assert (low**299, high) == (pytest.approx(0.05), 1.0)
    low, high = interval(0, 10)
    assert (low, (1 - high) ** 10) == (0.0, pytest.approx(0.05))
    low, high = interval(7, 10)
    assert math.fsum(math.comb(10, k) * low**k * (1 - low) ** (10 - k) for k in range(7, 11)) == pytest.approx(0.05)
    assert math.fsum(math.comb(10, k) * high**k * (1 - high) ** (10 - k) for k in range(8)) == pytest.approx(0.05)
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("share", "error"), [(0.0, 0.05), (1.0, 0.05), (0.5, 0.0), (0.5, 1.0), (math.nan, 0.05)])
def test_what_is_no_share_and_no_error_is_refused(share: float, error: float) -> None:
    with pytest.raises(ValueError, match="wanted a share and an error"):
        SequentialTest(share, error)
