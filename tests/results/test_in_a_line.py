"""What an object shows of itself in a notebook: one line, for which no table is made."""

import dataclasses

import pytest
from scenario_tables import written

import simulation
from simulation.scenario import parse
from simulation.validation import Case, text
from simulation.verification.cases.families.attempts import truncated_geometric
from simulation.verification.exploring.explore import Failure
from simulation.verification.exploring.trial import FailingCase

pytestmark = pytest.mark.usefixtures("undrawn")

TEXT = """
name: "two\\nlines"
seed: 7
duration: 10s
workload: [{channel: email, arrivals: {constant: 1/s}}]
channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}
faults: [{channel: email, at: 0s, for: 5s, outage: true}]
"""
VARY = {"channels.email.retry.max_attempts": [1, 9]}
RUN = "of 'two\\nlines': seed 7, simpy, "


file = written("small.yaml", TEXT)


@pytest.mark.parametrize(
    ("expect", "ending"),
    [
        ("[]", "no expectations"),
        ("[sent >= 1]", "1 expectation met"),
        ("[sent >= 1, sent >= 6]", "1 of 2 expectations not met"),
    ],
)
def test_a_result_says_what_was_run_and_whether_it_holds(expect, ending, tmp_path):
    result = simulation.run(parse(TEXT, sets=[f"expect={expect}"]))
    assert result.summary["sent"] == 5
    assert repr(result) == f"<Result {RUN}5 of 10 notifications sent, {ending}>"
    assert not {"attempts", "notifications", "series"} & set(vars(result))
    simulation.save(result, tmp_path)
    assert repr(simulation.open_result(tmp_path)) == repr(result).replace("<Result", "<SavedResult")


def test_results_of_many_runs_say_how_many_and_of_what(file):
    swept = simulation.sweep(file, VARY, replicates=3, sets=["expect=[sent >= 6]"])
    shown = "<SweepResult of 'two\\nlines': seeds 7 to 9, 2 cells, 6 runs"
    assert repr(swept) == f"{shown}, expectations met in 3>"
    assert "cells" not in vars(swept)
    assert repr(simulation.sweep(file, VARY, replicates=3)) == f"{shown}>"
    compared = simulation.compare(file, VARY, replicates=1, metrics=["sent"])
    assert repr(compared) == "<Comparison of 'two\\nlines': seed 7, 2 settings, 1 metric>"
    assert not {"table", "runs"} & set(vars(compared))
    tuned = simulation.tune(file, VARY, replicates=2, sets=["expect=[sent >= 11]"])
    assert repr(tuned) == "<Tuning of 'two\\nlines': 2 settings tried, none found>"
    predicted = simulation.predict(file, ["sent"], confidence=0.5)
    assert repr(predicted) == "<Prediction of 'two\\nlines': 3 runs, 1 metric, 0.5 confidence>"


def test_what_came_of_a_log_is_shown_without_the_log(file):
    log = simulation.run(file).attempts
    assert repr(simulation.fit(log, resamples=0)) == "<Fit of 'frame': 10 attempts, email>"
    shown = "<WhatIf of 'two\\nlines': seed 7, 10 attempts, email>"
    assert repr(simulation.whatif(log, file, replicates=1)) == shown


@pytest.mark.thorough
def test_a_validation_says_how_much_of_it_holds():
    validation = simulation.validate(
        [Case(name="one", title="", source="", model="", experiments=[truncated_geometric(0.5, 2)])]
    )
    assert repr(validation).startswith("<Validation: 5 of 5 quantities of 1 case hold · quick")
    assert f"\n{repr(validation).removeprefix('<Validation: ').removesuffix('>')}\n" in text(validation)


def test_an_exploration_says_whether_a_case_broke_and_what_never_happened(file):
    explored = simulation.explore(file, seeds=2)
    assert repr(explored) == (
        f"<Exploration of 'two\\nlines': 2 cases, no case broke, {len(explored.never)} things never happened>"
    )
    broken = dataclasses.replace(explored, failure=Failure(5, explored.scenario, FailingCase("nothing-lost", "", 0)))
    assert repr(broken).startswith("<Exploration of 'two\\nlines': 2 cases, seed 5 broke, ")
