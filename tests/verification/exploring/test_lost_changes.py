"""A store that loses in a crash what it has acknowledged is found out by cases with crashes; one that loses only what
it has not is not."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

import simulation.running.runner as runner
from actors.instants import ns
from actors.storage.lossy import LossyStore
from simulation.scenario import load
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt
from simulation.verification.exploring.variation import varied

SWARM = load(Path(__file__).parents[1] / "drawing/swarm.yaml")
SEEDS = 40


class Forgetful(LossyStore):
    """Loses the last change that it has acknowledged as well."""

    def crash(self, now_ns):
        self._settle(now_ns)
        if self._durable:
            self._durable.pop()
        return super().crash(now_ns)


def crashing():
    """Yield cases in which the process crashes while changes are under way, a second time in some."""
    for seed in range(200):
        drawn = case(SWARM, seed, settings="given", schedule="normal")
        for each in (drawn, varied(drawn, seed)):
            if each.crashes_as_a_whole:
                yield each.model_copy(update={"commit_latency": 0.05})


def broken_by(monkeypatch, store, cases):
    monkeypatch.setattr(
        runner,
        "_store",
        lambda scenario: store(commit_delay_ns=ns(scenario.commit_latency), remember_ids_ns=ns(scenario.remember_ids)),
    )
    for number, each in enumerate(cases):
        failing_case = attempt(each).failing_case
        if failing_case is not None:
            return number, failing_case
    return None


def test_what_was_acknowledged_and_is_lost_is_found_within_few_cases(monkeypatch):
    number, failing_case = broken_by(monkeypatch, Forgetful, crashing())
    assert number < SEEDS
    assert not failing_case.is_error


@pytest.mark.thorough
@pytest.mark.parametrize("cases", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_what_was_not_acknowledged_may_be_lost(monkeypatch, cases):
    found = broken_by(monkeypatch, LossyStore, islice(crashing(), cases))
    assert found is None
