"""The scenarios that ship hold what they expect, with any seed, and would not if what they show went away."""

import pytest
from each_row import over_each
from effort import sliced
from shipped import SCENARIOS as PATHS, broken, result_of, without

import simulation
from simulation.scenario import load

SCENARIOS = {path.stem: path for path in PATHS}
SCHEMA = SCENARIOS["steady-state"].with_name("scenario.schema.json")
OTHER_SEEDS = (101, 102, 103)

each_scenario = over_each(SCENARIOS)
each_that_is_run = pytest.mark.parametrize("name", sliced(SCENARIOS, 12), scope="module")


def summary_of(name):
    return result_of(SCENARIOS[name]).summary


@each_scenario
def test_it_says_what_it_shows_and_expects_something(name):
    scenario = load(SCENARIOS[name])
    assert scenario.name == name
    assert 100 <= len(scenario.description) <= 400
    assert any(letter.isdigit() for letter in scenario.description)
    assert len(scenario.expect) >= 2


@each_that_is_run
def test_it_is_small_enough_to_be_run_again_and_again(name):
    summary = summary_of(name)
    layers = [channel.get("requests_by_layer", {}).values() for channel in summary["channels"].values()]
    assert summary["accepted"] <= 30_000
    assert max(summary["accepted"], *map(sum, layers)) >= 5_000


@each_that_is_run
def test_its_expectations_hold(name):
    assert broken(summary_of(name)) == {}


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=[pytest.mark.slow] if number % 36 or seed > OTHER_SEEDS[0] else [])
        for number, name in enumerate(SCENARIOS)
        for seed in OTHER_SEEDS
    ],
)
def test_its_expectations_hold_with_other_seeds_too(name, seed):
    summary = simulation.run(SCENARIOS[name], seed=seed).summary
    assert broken(summary) == {}
    assert summary["digest"] != summary_of(name)["digest"]


@pytest.mark.parametrize(("name", "sets", "fails"), without(SCENARIOS, every=36))
def test_an_expectation_fails_when_what_it_is_about_goes_away(name, sets, fails):
    """The first change of the first scenario, which is of what it is about; with `-m slow` all of them."""
    assert fails <= broken(simulation.run(SCENARIOS[name], sets=sets, invariants=[]).summary).keys()


@each_scenario
def test_every_expectation_can_fail(name):
    can_fail = set().union(*(each.values[2] for each in without([name])))
    assert {expectation.text for expectation in load(SCENARIOS[name]).expect} == can_fail


@each_scenario
def test_editors_find_the_schema_beside_it(name):
    first_line = SCENARIOS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first_line == f"# yaml-language-server: $schema={SCHEMA.name}"


def test_all_four_domain_events_are_in_one_of_them():
    events = {entry.event for entry in load(SCENARIOS["shop-events"]).workload}
    assert events == {"UserRegistered", "OrderPlaced", "OrderShipped", "PaymentReceived"}
