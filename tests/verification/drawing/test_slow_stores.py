"""Cases whose handler starts again while much is being written."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from comparable import comparable

from actors.pipeline.handler import Handler
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.slow_stores import losing
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = losing(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


def test_retries_are_charged_and_not_durable_as_the_handler_starts_again(monkeypatch):
    charged = []
    start = Handler.__init__

    def starting(handler, channels, wiring, *args):
        charged.extend(commit.delivery.charge for commit in wiring.commits.under_way.values())
        start(handler, channels, wiring, *args)

    monkeypatch.setattr(Handler, "__init__", starting)
    for seed in (2, 11):
        found = losing(case(SWARM, seed, settings="given"), Random(seed))
        assert attempt(comparable(found), invariants=["reference-model"]).failing_case is None
    assert any(charged)
