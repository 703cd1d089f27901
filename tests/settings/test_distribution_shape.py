"""Median, mean and tail by formula, against a million draws and numerical integration."""

import math
import random

import pytest
from beside import tables
from effort import sliced
from hypothesis import given, strategies as st

from actors.settings.distribution_moments import limited_mean, mean, median, share_above
from actors.settings.distributions import Distribution

SHAPES = tables(__file__)["shapes"]


@pytest.mark.parametrize("shape", sliced(SHAPES, 3), ids=str)
def test_they_are_those_of_what_is_drawn(shape):
    distribution = Distribution.model_validate(shape)
    draw = distribution.sampler(random.Random(1))
    drawn = sorted(draw() for _ in range(40_000))
    for limit in (0.02, 0.1, 0.3, 1.0, 10.0):
        assert share_above(distribution, limit) == pytest.approx(sum(x > limit for x in drawn) / 40_000, abs=0.012)
        mean = math.fsum(min(x, limit) for x in drawn) / 40_000
        assert limited_mean(distribution, limit) == pytest.approx(mean, rel=0.03)
    assert median(distribution) == pytest.approx(drawn[20_000], rel=0.03, abs=1e-6)


@pytest.mark.parametrize("shape", sliced(SHAPES, 3), ids=str)
@given(limit=st.floats(0.01, 5))
def test_the_limited_mean_is_the_area_under_the_tail(shape, limit):
    distribution = Distribution.model_validate(shape)
    steps = 2000
    area = math.fsum(share_above(distribution, (step + 0.5) * limit / steps) for step in range(steps)) * limit / steps
    assert limited_mean(distribution, limit) == pytest.approx(area, rel=1e-2, abs=2 * limit / steps)


@pytest.mark.parametrize(
    ("shape", "seconds"),
    [
        ({"constant": 0.2}, 0.2),
        ({"uniform": {"low": 0.1, "high": 0.5}}, 0.3),
        ({"exponential": {"mean": 0.2}}, 0.2),
        ({"normal": {"mean": 0, "sd": 0.3}}, 0.3 / math.sqrt(2 * math.pi)),
        ({"lognormal": {"median": 0.08, "p99": 0.9}},
         0.08 * math.exp((math.log(0.9 / 0.08) / 2.3263478740408408) ** 2 / 2)),
        ({"gamma": {"mean": 5, "shape": 0.5}}, 5),
        ({"pareto": {"minimum": 0.05, "alpha": 3}}, 0.05 * 3 / 2),
        # Without an end it would have none: m + m·ln(L/m) of what ends at a hundred years.
        ({"pareto": {"minimum": 1, "alpha": 1}}, 1 + math.log(36_525 * 86_400)),
        ({"mixture": [{"weight": 8, "constant": 0.1}, {"weight": 2, "constant": 20}]}, 4.08),
    ],
    ids=str,
)  # fmt: skip
def test_the_mean_without_a_limit(shape, seconds):
    assert mean(Distribution.model_validate(shape)) == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(low=st.floats(0, 100), high=st.floats(0, 100))
def test_the_tail_falls(shape, low, high):
    distribution = Distribution.model_validate(shape)
    low, high = sorted((low, high))
    assert 0 <= share_above(distribution, high) <= share_above(distribution, low) <= 1


def test_what_takes_exactly_so_long_is_not_above():
    assert share_above(Distribution(constant=0.2), 0.2) == 0
    assert median(Distribution(constant=0.2)) == pytest.approx(0.2)
    assert median(Distribution(constant=0.0)) == 0


def test_measured_durations_are_taken_as_they_are(tmp_path):
    (tmp_path / "latency.csv").write_text("seconds\n0.1\n0.2\n0.3\n0.4\n")
    distribution = Distribution(empirical=str(tmp_path / "latency.csv"))
    assert share_above(distribution, 0.3) == 0.25
    assert limited_mean(distribution, 0.25) == pytest.approx((0.1 + 0.2 + 0.25 + 0.25) / 4)
    assert median(distribution) == pytest.approx(0.2)
