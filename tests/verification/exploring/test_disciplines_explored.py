"""Providers that do not serve in order of arrival, under swarms of faults: no invariant breaks, on either clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import thorough

import simulation
from actors.errors import InvariantBreach
from actors.outcomes import Permanent
from actors.pipeline import channel
from simulation.scenario import load
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.explore import explore
from simulation.verification.laws.limits import Bulkhead

DISCIPLINES = Path(__file__).with_name("disciplines.yaml")


@pytest.mark.parametrize("seeds", [4, thorough(30), pytest.param(600, marks=pytest.mark.slow)])
def test_no_case_breaks_an_invariant(seeds):
    exploration = explore(DISCIPLINES, seeds=seeds)
    assert exploration.failure is None
    assert exploration.cases == seeds


@pytest.mark.thorough
@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 150), marks=pytest.mark.slow)])
def test_every_case_has_the_same_history_on_both_clocks(seeds):
    scenario = load(DISCIPLINES)
    for seed in seeds:
        drawn = case(scenario, seed, schedule="normal")
        assert simulation.run(drawn).history == simulation.run(drawn, runtime="trio").history, seed


def test_an_answer_that_is_another_than_was_promised_breaks_one(monkeypatch):
    monkeypatch.setattr(channel, "outcome_of", lambda _outcome: Permanent(reason="swapped"))
    with pytest.raises(InvariantBreach, match="reference-model broken"):
        simulation.run(DISCIPLINES, invariants=["answers"])


def test_slots_are_counted_by_what_has_come_of_promises(monkeypatch):
    simulation.run(DISCIPLINES, invariants=["bulkhead"])
    init = Bulkhead.__init__

    def with_one_slot_less(self, context):
        init(self, context)
        self._slots = {key: slots - 1 for key, slots in self._slots.items()}

    monkeypatch.setattr(Bulkhead, "__init__", with_one_slot_less)
    with pytest.raises(InvariantBreach, match="bulkhead broken"):
        simulation.run(DISCIPLINES, invariants=["bulkhead"])
