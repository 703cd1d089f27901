"""Explorations of the shipped scenarios as they are: no case breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import sliced

from simulation.verification.exploring.explore import explore
from simulation.verification.exploring.report import report

SCENARIOS = Path(__file__).parents[3] / "scenarios"
ALL = sorted(SCENARIOS.rglob("*.yaml"))


def check(file, **how):
    exploration = explore(file, keep_going=True, **how)
    if exploration.failures:
        pytest.fail(report(exploration), pytrace=False)


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param("breaker-of-each-node", 9, id="a message is held up until its endpoint is disabled"),
        pytest.param("breaker-per-host", 0, id="an id comes again while its fallback is under way"),
    ],
)
def test_a_case_that_was_an_alarm_breaks_nothing(name, seed):
    check(SCENARIOS / f"{name}.yaml", seeds=1, first_seed=seed, settings="drawn", guided=False, shrink_runs=0)


@pytest.mark.parametrize("file", sliced(ALL, every=8), ids=lambda file: file.stem)
def test_a_slice_of_a_shipped_scenario_breaks_nothing(file):
    check(file, seeds=2, first_seed=1000, settings="drawn", guided=False)
    check(file, seeds=2, first_seed=2000, settings="mixed", guided=False)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["drawn", "mixed"])
@pytest.mark.parametrize("file", ALL, ids=lambda file: file.stem)
def test_no_case_of_a_shipped_scenario_breaks(file, settings):
    check(file, seeds=120, settings=settings, workers=None)
