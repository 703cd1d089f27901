"""Cases whose users are in time zones."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from comparable import comparable

from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.quiet_hours import nightfall
from simulation.verification.drawing.swarm import case
from simulation.verification.drawing.zones import in_zones
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = in_zones(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


def test_there_are_zones_of_all_kinds_daily_arrivals_and_drawn_bursts():
    found = [in_zones(case(SWARM, seed, settings="given"), Random(seed)) for seed in range(12)]
    assert len({zone for each in found for zone in each.zones}) == 6
    assert {rule.own_zone is None for each in found for rule in each.quiet_hours} == {True, False}
    arrivals = [entry.arrivals for each in found for entry in each.workload if hasattr(entry, "arrivals")]
    assert sum(each.daily is not None for each in arrivals) > 5
    assert sum(each.burst is not None and not isinstance(each.burst.size, int) for each in arrivals) > 5


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 12))])
def test_the_model_knows_their_nights(seed):
    found = comparable(in_zones(nightfall(case(SWARM, seed, settings="drawn"), Random(seed)), Random(seed)))
    assert attempt(found, invariants="all").failing_case is None
