"""Statistics over durations, which are exact, and the histogram for a look at a run that goes on."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulation.results.statistics import QUANTILES, Durations

LONGEST_NS = 2**62
SAMPLES = st.lists(st.integers(0, LONGEST_NS), min_size=1, max_size=50)


@given(SAMPLES)
def test_mean_and_maximum_are_exact_however_large_the_sum(samples: list[int]) -> None:
    statistics = Durations(samples).statistics()
    assert statistics["mean"] == pytest.approx(float(Fraction(sum(samples), len(samples)) / 10**9), rel=1e-14)
    assert statistics["max"] == max(samples) / 1e9


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=50))
def test_quantiles_are_those_of_numpy(samples: list[int]) -> None:
    found = Durations(samples).quantiles_of(len(samples))
    assert found == {name: np.quantile(np.array(samples, float), share) / 1e9 for name, share in QUANTILES.items()}


@given(SAMPLES, st.lists(st.integers(0, LONGEST_NS), max_size=50), st.sampled_from(sorted(QUANTILES)))
def test_a_histogram_is_at_most_four_tenths_of_a_per_cent_off(first: list[int], later: list[int], name: str) -> None:
    durations = Durations(first)
    durations.histogram()
    durations.extend(later)
    exact = durations.statistics()[name]
    assert durations.histogram().quantile(QUANTILES[name]) == pytest.approx(exact, rel=0.004, abs=1e-9)
