"""Cases in which a night begins while many wait."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from comparable import comparable

from actors.pipeline.handler import Handler
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.quiet_hours import nightfall
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = nightfall(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


@pytest.mark.thorough
def test_some_come_back_from_the_bounds_of_their_tenant(monkeypatch):
    back = []
    requeue = Handler._requeue

    def noting(handler, delivery, charged):
        back.append(charged)
        requeue(handler, delivery, charged)

    monkeypatch.setattr(Handler, "_requeue", noting)
    for seed in range(6):
        found = nightfall(case(SWARM, seed, settings="given"), Random(seed))
        assert attempt(comparable(found), invariants=["reference-model"]).failing_case is None
    assert any(back)
