"""The incidents that ship hold what is known of them, and would not if their cause or their course went away."""

from pathlib import Path

import pytest
from beside import tables
from effort import sliced
from shipped import SCENARIOS, WITHOUT, broken, result_of, without

import simulation
from simulation.reporting.facts import facts
from simulation.scenario import load
from simulation.scenario.lint import lint_scenario

INCIDENTS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "scenarios" / "incidents").glob("*.yaml"))}

SAID = tables(__file__)["said"]
"""What the lines below the table say: what happened, to whom, and by how much."""

MEANT = {
    "github-webhooks-2024": ["breaker-shared-by-hosts"],
    "github-retries-2026": ["retries-overload-provider"],
}
"""What the linter finds in them, and is what they are about."""

each_incident = pytest.mark.parametrize("name", INCIDENTS)
each_that_is_run = pytest.mark.parametrize("name", sliced(INCIDENTS, 8))


def test_there_are_ten():
    assert len(INCIDENTS) == 10
    assert INCIDENTS.keys() == SAID.keys()
    assert WITHOUT.keys() == INCIDENTS.keys() | {path.stem for path in SCENARIOS}


@each_incident
def test_it_says_what_is_published_what_is_assumed_and_where(name):
    scenario = load(INCIDENTS[name])
    assert scenario.name == name
    assert "Published: " in scenario.description
    assert "Assumed: " in scenario.description
    assert "Source: https://" in scenario.description
    assert len(scenario.description) <= 600
    first_line = INCIDENTS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=../scenario.schema.json"


@each_incident
def test_the_linter_finds_only_what_is_meant(name):
    assert [finding.rule for finding in lint_scenario(load(INCIDENTS[name]))] == MEANT.get(name, [])


@each_that_is_run
def test_its_expectations_hold(name):
    summary = result_of(INCIDENTS[name]).summary
    assert broken(summary) == {}
    assert summary["offered"] <= 10_000


@each_that_is_run
def test_the_lines_below_the_table_say_what_happened_to_whom(name):
    lines = facts(result_of(INCIDENTS[name]))
    assert len(lines) <= 6
    for words in SAID[name]:
        assert words in "\n".join(lines)


@pytest.mark.slow
@each_incident
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_its_expectations_hold_with_other_seeds_too(name, seed):
    assert broken(simulation.run(INCIDENTS[name], seed=seed).summary) == {}


@pytest.mark.parametrize(("name", "sets", "fails"), sliced(without(INCIDENTS), 8))
def test_an_expectation_fails_when_what_it_is_about_goes_away(name, sets, fails):
    assert fails <= broken(simulation.run(INCIDENTS[name], sets=sets).summary).keys()
