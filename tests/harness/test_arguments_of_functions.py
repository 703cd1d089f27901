"""A word that is none where an argument is one of a few, and a text where it is a list of texts: said as what was
wanted, before anything runs."""

import pytest
import trio

import simulation
from actors import Actor
from actors.errors import ConfigurationError
from simulation.testkit import ActorKit, run_on

SMALL = """
duration: 10s
workload: [{channel: email, arrivals: {constant: 1/s}}]
"""
RUNTIME = "runtime: wanted one of simpy, trio, got "
CLOCK = "clock: wanted one of simulated, live, got 'foo'"
VARY = {"channels.email.retry.max_attempts": [1, 2]}


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def replayed(small, runtime):
    trace = small.with_suffix(".trace")
    simulation.record(small, trace)
    simulation.replay(trace, runtime=runtime)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda small: simulation.run(small, runtime="foo"), f"{RUNTIME}'foo'"),
        (lambda small: simulation.run(small, runtime=["simpy"]), f"{RUNTIME}['simpy']"),
        (lambda small: simulation.record(small, small.with_suffix(".trace"), runtime="foo"), f"{RUNTIME}'foo'"),
        (lambda small: replayed(small, "live"), f"{RUNTIME}'live'"),
        (
            lambda small: simulation.explore(small, seeds=1, schedule="foo"),
            "schedule: wanted one of mixed, normal, random-walk, pct, got 'foo'",
        ),
        (
            lambda small: simulation.sweep(small, VARY, design="foo", samples=2, replicates=1),
            "--design: wanted one of grid, random, latin-hypercube, got 'foo'",
        ),
        (
            lambda small: simulation.fit(simulation.run(small).attempts, latency="end", latency_unit="min"),
            "latency_unit: wanted one of s, ms, us, ns, got 'min'",
        ),
        (lambda small: run_on("foo", lambda system: None), CLOCK),
        (lambda small: ActorKit(Actor, clock="foo"), CLOCK),
    ],
)
def test_a_word_that_is_none_says_which_there_are(small, call, problem):
    with pytest.raises(ConfigurationError) as refused:
        call(small)
    assert refused.value.problems == [problem]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda small: simulation.run(small, sets="seed=3"),
            "sets: wanted a list of texts such as ['seed=7'], got 'seed=3'",
        ),
        (lambda small: simulation.run(small, sets=[3]), "sets: wanted a list of texts such as ['seed=7'], got [3]"),
        (lambda small: simulation.run(small, sets=3), "sets: wanted a list of texts such as ['seed=7'], got 3"),
        (
            lambda small: simulation.compare(small, VARY, sets="seed=3"),
            "sets: wanted a list of texts such as ['seed=7'], got 'seed=3'",
        ),
        (
            lambda small: simulation.compare(small, VARY, metrics="dlq.peak"),
            "--metric: wanted a list of texts such as ['sent_fraction'], got 'dlq.peak'",
        ),
        (
            lambda small: simulation.tune(small, VARY, minimize="attempts"),
            "--minimize: wanted a list of texts such as ['sent_fraction'], got 'attempts'",
        ),
    ],
)
def test_a_text_in_the_place_of_a_list_is_not_taken_letter_by_letter(small, call, problem):
    with pytest.raises(ConfigurationError) as refused:
        call(small)
    assert refused.value.problems == [problem]


TEXT_GIVEN = "wanted the path of a scenario's file, got a text of 3 lines; simulation.parse takes a scenario's text"


@pytest.mark.parametrize(
    "call",
    [
        simulation.run,
        simulation.predict,
        simulation.explore,
        lambda text: simulation.record(text, "trace"),
        lambda text: simulation.sweep(text, VARY),
        lambda text: simulation.compare(text, VARY),
        lambda text: simulation.tune(text, VARY),
        lambda text: trio.run(simulation.run_live, text),
    ],
)
def test_a_text_in_the_place_of_a_file_says_where_it_goes_and_is_not_shown(call):
    with pytest.raises(ConfigurationError) as refused:
        call(SMALL)
    assert refused.value.problems == [TEXT_GIVEN]


def test_a_text_of_one_line_is_one_too_and_a_loaded_scenario_is_no_file():
    with pytest.raises(ConfigurationError, match="got a text of 1 line; "):
        simulation.run("{duration: 10s, workload: []}")
    with pytest.raises(ConfigurationError, match="wanted the path of a scenario's file, got Scenario"):
        simulation.compare(simulation.parse(SMALL), VARY)
    with pytest.raises(ConfigurationError, match="wanted the path of a scenario's file, got 5"):
        simulation.run(5)


def test_a_file_whose_name_has_a_line_break_is_a_file(tmp_path):
    file = tmp_path / "two\nlines.yaml"
    file.write_text(SMALL)
    assert simulation.run(str(file)).summary["accepted"] == 10


def test_a_text_is_run_as_its_file_is(small):
    assert simulation.run(simulation.parse(SMALL)).summary["digest"] == simulation.run(small).summary["digest"]
