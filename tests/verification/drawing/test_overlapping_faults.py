"""Cases in which several faults of a provider hold at once."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.overlapping_faults import overlapping
from simulation.verification.drawing.swarm import case

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = overlapping(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


def test_a_fault_has_room_for_more_than_its_provider_has_and_for_fewer():
    more, fewer = set(), set()
    for seed in range(40):
        before = case(SWARM, seed, settings="given")
        found = overlapping(before, Random(seed))
        for fault in found.faults[len(before.faults) :]:
            own = found.channel_as_given(fault.channel[0]).provider.capacity
            if own is not None and fault.capacity is not None and fault.capacity != own:
                (more if fault.capacity > own else fewer).add(seed)
    assert more
    assert fewer


def test_work_stands_still_from_instants_at_which_some_is_done():
    stops = []
    for seed in range(40):
        before = case(SWARM, seed, settings="given")
        found = overlapping(before, Random(seed))
        for fault in found.faults:
            provider = found.channel_as_given(fault.channel[0]).provider
            takes = provider.latency.mixture[0].constant if provider.latency.mixture else None
            bursts = [entry.arrivals.burst for entry in found.workload if hasattr(entry, "arrivals")]
            if fault.speed == 0 and takes and any(burst and burst.every == fault.for_ for burst in bursts):
                stops.append(fault)
    assert len(stops) > 10
