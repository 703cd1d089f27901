"""Cases of the swarm at several nodes break no law."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulation
from simulation.exploration.fleets import as_fleet
from simulation.exploration.swarm import case
from simulation.scenario import load

TESTS = Path(__file__).parents[1]
SCENARIOS = [TESTS / "exploration" / "swarm.yaml", *sorted((TESTS / "mutants" / "scenarios").glob("*.yaml"))]


def fleet(seed: int) -> simulation.Scenario:
    drawn = case(load(SCENARIOS[seed % len(SCENARIOS)]), seed, settings="drawn" if seed % 2 else "given")
    return as_fleet(drawn, seed)


def test_a_case_and_its_fleet_are_the_same_each_time():
    assert fleet(7) == fleet(7)


@pytest.mark.parametrize("seed", range(12))
def test_nothing_breaks(seed):
    simulation.run(fleet(seed), invariants="all")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1_000, 50))
def test_nothing_breaks_in_a_thousand(first):
    for seed in range(first, first + 50):
        simulation.run(fleet(seed), invariants="all")
