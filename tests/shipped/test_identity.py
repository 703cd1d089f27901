"""The central promise: the same seed gives the same history, run again, in any process, and on either clock."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest
from effort import sliced
from shipped import SCENARIOS, result_of

import simulation
from simulation.scenario import load

SUMMARIES = """
import json, sys
import simulation
print(json.dumps({path: simulation.run(path, sets=["record=aggregates"]).summary for path in sys.argv[1:]}))
"""

each_scenario = pytest.mark.parametrize("path", sliced(SCENARIOS, 36, 4), ids=lambda path: path.stem, scope="module")
"""Tests of one scenario stand beside one another, so that it is run by one worker."""
a_part_or_all = pytest.mark.parametrize(
    ("number", "path"),
    [
        pytest.param(number, path, id=path.stem, marks=[pytest.mark.slow] if number % 36 != 4 else [])
        for number, path in enumerate(SCENARIOS)
    ],
)
"""The fifth scenario, and the others with `-m slow`."""


@cache
def figures_alone_in_a_process(remainder):
    """The summaries of runs that keep figures only; the digest is of the whole history all the same."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", SUMMARIES, *map(str, SCENARIOS[remainder::36])]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def test_there_are_scenarios_to_test():
    assert len(SCENARIOS) >= 6


@pytest.mark.integration
@a_part_or_all
def test_a_process_with_another_hash_seed_has_equal_digests(number, path):
    assert figures_alone_in_a_process(number % 36)[str(path)]["digest"] == result_of(path).summary["digest"]


@pytest.mark.parametrize(
    ("path", "share"),
    sliced(
        [
            *(pytest.param(path, 0.5, id=f"{path.stem}, half") for path in SCENARIOS[1::6]),
            *(pytest.param(path, 1, id=path.stem, marks=pytest.mark.slow) for path in SCENARIOS),
        ],
        10,
        2,
    ),
)
def test_trio_under_mock_clock_has_the_history_of_the_simulated_run(path, share):
    """Some over half of their time, where most faults have come and gone; with `-m slow` all over all of it."""
    shorter = [f"duration={int(load(path).duration * share)}s"]
    simulated, live = (simulation.run(path, runtime=runtime, sets=shorter) for runtime in ("simpy", "trio"))
    for one, other in zip(simulated.history, live.history, strict=False):
        assert one == other
    assert live.summary == {**simulated.summary, "runtime": "trio"}


@each_scenario
def test_what_is_accepted_is_accounted_for(path):
    for figures in (result_of(path).summary, *result_of(path).summary["channels"].values()):
        ended = figures["sent"] + figures["dead_lettered"] + figures["suppressed"]
        assert figures["accepted"] == ended + figures["in_flight"] > 0


@pytest.mark.integration
@a_part_or_all
def test_figures_alone_have_the_same_digest_and_counts(number, path):
    figures_only = figures_alone_in_a_process(number % 36)[str(path)]
    full = result_of(path).summary
    assert figures_only["digest"] == full["digest"]
    for key, value in full.items():
        if key in ("sent_time_s", "retry_delay_s"):
            for name in ("mean", "max"):
                assert figures_only[key][name] == pytest.approx(value[name])
        elif key in ("refused", "delivered_within", "peaks", "faults") or isinstance(value, int):
            assert figures_only[key] == value


@each_scenario
def test_the_tables_tell_the_same_as_the_summary(path):
    result = result_of(path)
    summary = result.summary
    outcomes = result.notifications["outcome"].value_counts().to_dict()
    for outcome in ("sent", "dead_lettered", "suppressed", "in_flight"):
        assert outcomes.get(outcome, 0) == summary[outcome]
    assert len(result.attempts) == summary["attempts"] == result.notifications["attempts"].sum()
    assert len(result.dlq) == summary["dead_lettered"]
    assert result.series["arrivals"].sum() == summary["accepted"]
    assert result.series["in_flight"].iloc[-1] == summary["in_flight"]
    assert result.series["dlq_size"].iloc[-1] == summary["dlq"]["final"]
    for channel, breaker in summary["breaker"].items():
        of_node = result.breaker["channel"]  # email@3, and email is that of all nodes
        transitions = result.breaker[(of_node if "@" in channel else of_node.str.split("@").str[0]) == channel]
        assert (transitions["to"] == "open").sum() == breaker["opened"]
