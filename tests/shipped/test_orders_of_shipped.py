"""The scenarios that ship, in other orders: every invariant holds, all of it ends, and what they expect holds."""

from random import Random

import pytest
from effort import sliced
from shipped import SCENARIOS, result_of

import simulation
from simulation.engine.schedules import PCT, Deviations, RandomWalk

each_scenario = pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)


def check(result):
    summary = result.summary
    assert summary["in_flight"] == 0
    assert summary["accepted"] == summary["sent"] + summary["dead_lettered"] + summary["suppressed"] > 0
    assert [each["text"] for each in summary["expectations"] if not each["holds"]] == []


@pytest.mark.thorough
@pytest.mark.parametrize("path", sliced(SCENARIOS[::8], 4, 1), ids=lambda path: path.stem)
def test_the_normal_order_is_a_schedule(path):
    schedule = Deviations()
    explored = simulation.run(path, schedule=schedule)
    assert schedule.deviations == []
    assert schedule.decisions > 0
    assert explored.summary == result_of(path).summary


@pytest.mark.thorough
@pytest.mark.parametrize("path", sliced(SCENARIOS[4::16], 4, 1), ids=lambda path: path.stem)
def test_a_scenario_keeps_its_promises_on_a_random_walk(path):
    """With `-m slow` all of them, in ten orders."""
    walk = RandomWalk(Random(1))
    check(simulation.run(path, schedule=walk, invariants="all"))
    assert walk.deviations


@pytest.mark.slow
@each_scenario
@pytest.mark.parametrize("seed", range(10))
def test_a_scenario_keeps_its_promises_in_many_orders(path, seed):
    normal = Deviations()
    simulation.run(path, schedule=normal)
    for schedule in (RandomWalk(Random(seed)), PCT(Random(seed), depth=1 + seed % 4, steps=normal.decisions)):
        check(simulation.run(path, schedule=schedule, invariants="all"))


@pytest.mark.thorough
def test_a_random_walk_is_done_again_by_its_deviations():
    path = SCENARIOS[0]
    walk = RandomWalk(Random(2))
    digest = simulation.run(path, schedule=walk).summary["digest"]
    again = Deviations(walk.deviations)
    assert simulation.run(path, schedule=again).summary["digest"] == digest
    assert again.deviations == walk.deviations


def test_only_a_simulation_has_schedules():
    with pytest.raises(ValueError, match="wanted the runtime simpy, whose order can be chosen, got trio"):
        simulation.run(SCENARIOS[0], runtime="trio", schedule=Deviations())
