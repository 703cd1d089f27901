"""Worlds that are drawn whole break nothing, and differ from the reference model in nothing."""

import pytest
from effort import thorough
from small_worlds import broken, small_world

from simulation.verification.checking import world_of
from simulation.verification.model.world import refusals


@pytest.mark.parametrize(
    "seeds", [range(6), thorough(range(6, 24)), pytest.param(range(24, 1000), marks=pytest.mark.slow)]
)
def test_small_worlds_keep_to_all_invariants(seeds):
    assert {seed: found for seed in seeds if (found := broken(seed)) is not None} == {}


@pytest.mark.thorough
def test_the_reference_model_is_compared_with_all_of_them():
    assert not any(refusals(world_of(small_world(seed))) for seed in range(200))
