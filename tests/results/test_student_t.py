"""Student's t against published tables."""

import math

import pytest
from hypothesis import given, strategies as st
from scipy.special import stdtr

from simulation.results.statistics import student_t


@pytest.mark.parametrize(
    ("degrees", "upper_5", "upper_2_5", "upper_0_5", "upper_0_05"),
    [  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2; the last column Fisher and Yates, table III
        (1, 6.314, 12.706, 63.657, 636.619),
        (2, 2.920, 4.303, 9.925, 31.599),
        (3, 2.353, 3.182, 5.841, 12.924),
        (4, 2.132, 2.776, 4.604, 8.610),
        (5, 2.015, 2.571, 4.032, 6.869),
        (9, 1.833, 2.262, 3.250, 4.781),
        (19, 1.729, 2.093, 2.861, 3.883),
        (30, 1.697, 2.042, 2.750, 3.646),
        (100, 1.660, 1.984, 2.626, 3.390),
    ],
)
def test_quantiles_of_the_tables(degrees, upper_5, upper_2_5, upper_0_5, upper_0_05):
    for upper, tabulated in [(0.05, upper_5), (0.025, upper_2_5), (0.005, upper_0_5), (0.0005, upper_0_05)]:
        assert student_t(1 - upper, degrees) == pytest.approx(tabulated, abs=0.0006)


def test_one_and_two_degrees_by_their_closed_forms():
    for probability in (0.5, 0.6, 0.9, 0.975, 0.9999):
        assert student_t(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-9, abs=1e-9)
        alpha = 4 * probability * (1 - probability)
        closed = 2 * (probability - 0.5) * math.sqrt(2 / alpha)
        assert student_t(probability, 2) == pytest.approx(closed, rel=1e-9, abs=1e-9)


def test_many_degrees_come_to_the_normal():
    assert student_t(0.975, 1e7) == pytest.approx(1.959963984540054, abs=1e-6)


@given(st.floats(0.001, 0.999), st.floats(0.5, 500))
def test_quantile_is_the_inverse_of_the_cdf_and_symmetric(probability, degrees):
    t = student_t(probability, degrees)
    assert stdtr(degrees, t) == pytest.approx(probability, abs=1e-9)
    assert student_t(1 - probability, degrees) == pytest.approx(-t, abs=1e-6 * max(1, abs(t)))


@pytest.mark.parametrize(("probability", "degrees"), [(0, 3), (1, 3), (0.5, 0), (math.nan, 3), (0.5, math.nan)])
def test_out_of_range(probability, degrees):
    with pytest.raises(ValueError, match="wanted 0 < probability < 1"):
        student_t(probability, degrees)
