"""Statistics over durations: those over all of them, and those over a sketch."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from simulation.results.statistics import QUANTILES, durations

LONGEST_NS = 2**62
SAMPLES = st.lists(st.integers(0, LONGEST_NS), min_size=1, max_size=50)


@given(SAMPLES)
def test_mean_and_maximum_are_exact_however_large_the_sum(samples: list[int]) -> None:
    for exact in (True, False):
        kept = durations(exact=exact)
        kept.extend(samples)
        statistics = kept.statistics()
        assert statistics["mean"] == pytest.approx(float(Fraction(sum(samples), len(samples)) / 10**9), rel=1e-14)
        assert statistics["max"] == max(samples) / 1e9


@given(SAMPLES, st.sampled_from(sorted(QUANTILES)))
def test_a_sketch_is_at_most_four_tenths_of_a_per_cent_off(samples: list[int], name: str) -> None:
    every, sketch = durations(exact=True), durations(exact=False)
    every.extend(samples)
    sketch.extend(samples)
    assert sketch.statistics()[name] == pytest.approx(every.statistics()[name], rel=0.004, abs=1e-9)
