"""Runs are added until the intervals are as narrow as is wanted."""

import math
import random

import pytest

import simulation
from actors.errors import ConfigurationError
from simulation.experiments.paired import FIRST_LOOK, Precision, over_runs
from simulation.scenario import load

FILE = "scenarios/flapping-provider.yaml"
ATTEMPTS = "channels.sms.retry.max_attempts"
SHORT = ["duration=1m"]


def test_looks_grow_and_end_with_the_most_there_may_be():
    assert list(Precision().looks(60)) == [60]
    assert list(Precision({"delivered": 1.0}).looks(60)) == [10, 15, 23, 35, 53, 60]
    assert list(Precision({"delivered": 1.0}).looks(4)) == [4]


@pytest.mark.thorough
def test_runs_are_added_until_the_differences_are_narrow():
    arguments = {"replicates": 40, "metrics": ["delivered"], "sets": SHORT}
    found = simulation.compare(FILE, {ATTEMPTS: [1, 8]}, within={"sent_fraction": "0.15%"}, **arguments)
    runs = len(found.seeds)
    assert FIRST_LOOK <= runs < 40
    assert found.notes == ()
    (_, difference) = found.differences["sent_fraction"]
    assert difference.half_width <= 0.0015
    # Without it the same seeds give the same, and one look earlier the interval was too wide.
    whole = simulation.compare(FILE, {ATTEMPTS: [1, 8]}, **arguments)
    assert whole.values["delivered"][1][:runs] == found.values["delivered"][1]
    if runs > FIRST_LOOK:
        earlier = max(count for count in Precision({"delivered": 1.0}).looks(40) if count < runs)
        less = simulation.compare(FILE, {ATTEMPTS: [1, 8]}, replicates=earlier, metrics=["sent_fraction"], sets=SHORT)
        assert less.differences["sent_fraction"][1].half_width > 0.0015


@pytest.mark.thorough
def test_what_is_still_too_wide_is_said():
    found = simulation.sweep(
        FILE, {ATTEMPTS: [1, 8]}, within={"requests": 1, "delivered": 1e6}, replicates=12, sets=SHORT
    )
    assert sorted(found.runs.groupby("cell").size()) == [12, 12]
    (note,) = found.notes
    assert note.startswith("requests: wanted an interval of ± 1 at most; after 12 runs it is ± ")
    assert found.document()["notes"] == [note]


@pytest.mark.thorough
def test_a_sweep_goes_on_from_what_is_kept(tmp_path):
    arguments = {"vary": {ATTEMPTS: [1, 8]}, "sets": SHORT, "out": tmp_path}
    simulation.sweep(FILE, replicates=10, **arguments)
    told = []
    found = simulation.sweep(
        FILE, replicates=12, within={"requests": 1}, progress=lambda done, of, *_: told.append((done, of)), **arguments
    )
    assert told[0] == (20, 24)
    assert told[-1] == (24, 24)
    assert len(found.runs) == 24


@pytest.mark.parametrize(
    ("within", "problem"),
    [
        ({"sent_fractio": 1}, "--within sent_fractio: wanted a metric of the summary"),
        ({"delivered": 0}, "--within delivered: wanted half a width above 0, got 0"),
        ({"delivered": "-3"}, "--within delivered: wanted half a width above 0, got -3"),
        ({"delivered": ""}, "--within: wanted a metric and half a width such as sent_fraction=0.1%, got delivered="),
        ({"delivered": "2s"}, "--within delivered: "),
    ],
)
def test_what_cannot_be_wanted_is_refused(within, problem):
    with pytest.raises(ConfigurationError) as refused:
        Precision.of(within, [load(FILE)], "--within")
    assert any(text.startswith(problem) for text in refused.value.problems)


def test_an_interval_that_ends_the_runs_covers_the_mean_about_as_often_as_it_says():
    """Of normal figures, with widths that are reached after few runs and after many."""
    draws = random.Random(5)
    for half_width in (0.25, 0.5, 0.8):
        precision, covered = Precision({"delivered": half_width}), 0
        for _ in range(600):
            values: list[float] = []
            for count in precision.looks(200):
                values += [draws.gauss(0.0, 1.0) for _ in range(count - len(values))]
                interval = over_runs("delivered", values)
                if not precision.too_wide({"delivered": [interval]}):
                    break
            covered += interval.low <= 0.0 <= interval.high
        assert math.isclose(covered / 600, 0.95, abs_tol=0.035)
