"""Messages that go astray in cases of the swarm."""

from __future__ import annotations

from pathlib import Path
from random import Random

from simulation.scenario import load
from simulation.verification.drawing.late_messages import astray
from simulation.verification.drawing.swarm import case

SWARM = load(Path(__file__).parent / "swarm.yaml")


def test_they_come_twice_and_late_by_one_window_or_by_two():
    drawn = [astray(60.0, Random(seed)) for seed in range(40)]
    kinds = {str([sorted(fault.injects) for fault in faults]) for faults in drawn}
    assert len(kinds) == 5
    assert {len(fault.channel) for faults in drawn for fault in faults} == {4}


def test_some_cases_of_the_swarm_have_both():
    cases = [case(SWARM, seed, settings="given") for seed in range(60)]
    both = [each for each in cases if any({"duplicate_rate", "reorder"} <= fault.injects for fault in each.faults)]
    assert len(both) > 0
