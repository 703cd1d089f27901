"""Strategies for property tests: what they draw runs, and a failing case shrinks and is kept."""

from pathlib import Path

import pytest
from effort import examples, sliced
from hypothesis import HealthCheck, Phase, find, given, settings, strategies as st

import simulation
from actors.settings.faults import FAULT_KEYS, FLEET_FAULT_KEYS
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.testing.strategies import faults, keeping, operations, scenarios, schedules, workloads

ROOT = Path(__file__).parents[2]
SWARM = ROOT / "tests" / "verification" / "drawing" / "swarm.yaml"

PAIR = """
duration: 1m
workload: [{channel: email, arrivals: {constant: 1/s}}, {channel: sms, arrivals: {constant: 1/s}}]
channels: {email: {retry: {max_attempts: 2}}}
"""


SEARCH = settings(max_examples=400, deadline=None, database=None)


@settings(max_examples=examples(25), deadline=None)
@given(scenarios(SWARM))
def test_what_is_drawn_is_a_file_and_breaks_nothing(scenario):
    assert parse(write(scenario), str(SWARM)) == scenario
    simulation.run(scenario, invariants="all")


def smallest(strategy, condition):
    return find(strategy, condition, settings=SEARCH)


def first(strategy, condition):
    return find(strategy, condition, settings=settings(SEARCH, phases=[Phase.generate]))


@pytest.mark.thorough
def test_a_case_that_fails_shrinks_to_what_is_needed():
    def two_in_a_fault(scenario):
        return sum(len(entry.arrivals.times) for entry in scenario.workload) >= 2 and scenario.faults

    found = smallest(scenarios(parse(PAIR)), two_in_a_fault)
    assert sum(len(entry.arrivals.times) for entry in found.workload) == 2
    assert len(found.faults) == 1
    assert found.operations == ()
    assert found.schedule is None


def test_a_schedule_shrinks_to_the_deviations_that_are_needed():
    found = smallest(schedules(), lambda schedule: schedule is not None and any(
        step >= 7 for step, _ in schedule.deviations
    ))  # fmt: skip
    assert found.deviations == ((7, 1),)


@pytest.mark.parametrize("key", sliced([key for key in FAULT_KEYS if key not in FLEET_FAULT_KEYS], 8))
def test_every_fault_is_drawn(key):
    assert key in first(faults(["sms"]), lambda fault: key in fault.injects).injects


@given(st.data())
def test_each_part_by_itself(data):
    channels = ["sms", "webhook"]
    fault = data.draw(faults(channels, within=20.0))
    assert set(map(str, fault.channel)) <= set(channels)
    assert 0 <= fault.at <= 20
    assert fault.for_ is None or 0 < fault.for_ <= 20
    for entry in data.draw(workloads(channels, within=20.0, most=4)):
        assert str(entry.channel) in channels
        assert 1 <= len(entry.arrivals.times) <= 4
        assert entry.arrivals.times[-1] <= 20
    orders = data.draw(operations(channels, within=20.0))
    assert orders[-1].breaker in (None, "close"), "no operation leaves a breaker forced open"


@pytest.mark.thorough
def test_a_failing_property_keeps_its_smallest_case(tmp_path):
    # As many as it takes to find one: which come first depends on the modules that other tests have imported, whose
    # constants Hypothesis tries.
    @settings(
        phases=[Phase.generate, Phase.shrink],
        max_examples=1000,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios(parse(PAIR), most_notifications=5, most_operations=0, most_deviations=0))
    def nothing_is_dead_lettered(scenario):
        with keeping(scenario, tmp_path):
            assert simulation.run(scenario).summary["dead_lettered"] == 0

    with pytest.raises(AssertionError) as caught:
        nothing_is_dead_lettered()
    file = tmp_path / "hypothesis.yaml"
    assert f"to see it again: retrylab run {file} --check" in "".join(caught.value.__notes__)
    kept = load(file)
    assert simulation.run(kept).summary["dead_lettered"] == 1
    assert len(kept.faults) == 1
    assert [len(entry.arrivals.times) for entry in kept.workload] == [1]


def test_what_passes_is_not_kept(tmp_path):
    with keeping(parse(PAIR), tmp_path / "kept"):
        pass
    assert not (tmp_path / "kept").exists()
