"""Worlds that are drawn whole break nothing, and differ from the reference model in nothing."""

import pytest
from effort import thorough
from small_worlds import broken


@pytest.mark.parametrize(
    "seeds", [range(6), thorough(range(6, 24)), pytest.param(range(24, 1000), marks=pytest.mark.slow)]
)
def test_small_worlds_keep_to_all_invariants(seeds):
    assert {seed: found for seed in seeds if (found := broken(seed)) is not None} == {}
