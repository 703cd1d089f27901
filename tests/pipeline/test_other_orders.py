"""The pipeline keeps its invariants in any order that its actors may be given messages in."""

from random import Random

import pytest
import worlds
from effort import examples
from hypothesis import given, settings, strategies as st
from test_random_runs import (
    AFTER,
    at_most_five_crashes_an_actor,
    check_safety,
    check_the_end,
    crashes,
    instants,
    scenario_of,
    setups,
    steps,
)

from simulation.engine.schedules import PCT, ExploringSystem, RandomWalk

walks = st.integers(0, 2**16).map(lambda seed: lambda: RandomWalk(Random(seed)))
strict = st.tuples(st.integers(0, 2**16), st.integers(1, 4)).map(
    lambda drawn: lambda: PCT(Random(drawn[0]), depth=drawn[1], steps=300)
)


def run_under(schedule, scenario, seed):
    history = worlds.History()
    system = ExploringSystem(schedule, seed=seed, start=worlds.START, record=history.record)
    world = worlds.World(system, history)
    scenario(world)
    system.run(until=AFTER)
    return world


in_any_order = given(setups, st.lists(st.tuples(instants, steps), max_size=40), st.one_of(walks, strict))
in_any_order_with_crashes = given(
    setups, st.lists(st.tuples(instants, st.one_of(steps, steps, crashes)), max_size=40), st.one_of(walks, strict)
)


def check(setup, program, make):
    world = run_under(make(), scenario_of(setup, program), setup.seed)
    check_safety(world, crashed=False)
    check_the_end(world)


def check_with_crashes(setup, program, make):
    program = at_most_five_crashes_an_actor(program)
    world = run_under(make(), scenario_of(setup, program), setup.seed)
    check_safety(world, crashed=True)
    check_the_end(world)


test_the_invariants_hold_in_any_order = pytest.mark.thorough(settings(max_examples=examples(100))(in_any_order(check)))
test_the_invariants_hold_in_any_order_with_crashes = settings(max_examples=examples(100))(
    in_any_order_with_crashes(check_with_crashes)
)

test_in_many_orders = pytest.mark.slow(settings(max_examples=600)(in_any_order(check)))
test_in_many_orders_with_crashes = pytest.mark.slow(
    settings(max_examples=600)(in_any_order_with_crashes(check_with_crashes))
)
