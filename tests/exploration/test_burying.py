"""Cases in which much dies, and is redriven where there is hardly any room."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from actors.messages import NotificationMovedToDeadLetter, NotificationRedriven
from actors.pipeline.orders import Redrive
from simulation.exploration.burying import burying
from simulation.exploration.comparable import comparable
from simulation.exploration.swarm import case
from simulation.exploration.trial import attempt
from simulation.scenario import load, parse
from simulation.scenario.writing import write

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = burying(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found
    assert any(operation.redrive is not None for operation in found.operations)


def test_letters_are_redriven_and_some_of_those_that_wait_for_room_are_refused(monkeypatch):
    refused: list[bool] = []
    monkeypatch.setattr(Redrive, "refuse", lambda redrive, is_served: refused.append(is_served))
    happened = []
    for seed in (3, 8):
        found = burying(case(SWARM, seed, settings="given"), Random(seed))
        trial = attempt(comparable(found), invariants=["reference-model"])
        assert trial.failing_case is None
        happened += [type(event) for event in trial.result.history]
    assert happened.count(NotificationMovedToDeadLetter) > 50
    assert happened.count(NotificationRedriven) > 20
    assert refused
