"""A word that is none where an argument is one of a few, and a text where it is a list of texts: said as what was
wanted, before anything runs."""

import numpy as np
import pytest
import trio
from scenario_tables import written

import simulation
from actors import Actor
from actors.errors import ConfigurationError, WrongType
from simulation.reporting import plots
from simulation.testing.testkit import ActorKit, run_on

SMALL = """
duration: 10s
workload: [{channel: email, arrivals: {constant: 1/s}}]
"""
RUNTIME = "runtime: wanted one of simpy, trio, got "
CLOCK = "clock: wanted one of simulated, live, got 'foo'"
VARY = {"channels.email.retry.max_attempts": [1, 2]}


small = written("small.yaml", SMALL)


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
            lambda small: simulation.fit(simulation.run(small).attempts, latency="end_s", latency_unit="min"),
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


def test_a_text_of_one_line_is_one_too_and_a_loaded_scenario_is_no_file_to_explore_or_record():
    with pytest.raises(ConfigurationError, match="got a text of 1 line; "):
        simulation.run("{duration: 10s, workload: []}")
    for call in (simulation.explore, lambda loaded: simulation.record(loaded, "trace")):
        with pytest.raises(ConfigurationError, match="wanted the path of a scenario's file, got Scenario"):
            call(simulation.parse(SMALL))
    with pytest.raises(ConfigurationError, match="wanted the path of a scenario's file, got 5"):
        simulation.run(5)
    with pytest.raises(ConfigurationError, match=r"wanted the text of a scenario, got {'dur"):
        simulation.parse({"duration": "1s"})


def test_a_result_in_the_place_of_a_log_says_which_frame_is_one(small):
    wanted = "wanted a file, the directory of a saved run, or a frame such as result.attempts, got <Result of 'small'"
    with pytest.raises(ConfigurationError, match=wanted):
        simulation.fit(simulation.run(small))


@pytest.mark.parametrize("call", [plots.overview, plots.raster, lambda source: plots.timeline(source, "a")])
def test_a_file_in_the_place_of_a_result_is_reported(call):
    with pytest.raises(WrongType, match="wanted a result, got str"):
        call("small.yaml")


@pytest.mark.parametrize("count", ["2", 2.5, 0, -1])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("replicates", lambda small, count: simulation.sweep(small, VARY, replicates=count)),
        ("replicates", lambda small, count: simulation.compare(small, VARY, replicates=count)),
        ("replicates", lambda small, count: simulation.predict(small, replicates=count)),
        ("trials", lambda small, count: simulation.tune(small, VARY, trials=count)),
        ("seeds", lambda small, count: simulation.explore(small, seeds=count)),
        ("workers", lambda small, count: simulation.sweep(small, VARY, replicates=1, workers=count)),
        (
            "replicates",
            lambda small, count: simulation.whatif(simulation.run(small).attempts, small, replicates=count),
        ),
    ],
)
def test_a_count_is_a_whole_number_of_at_least_1(small, name, call, count):
    with pytest.raises(ValueError, match=f"^wanted {name} of at least 1,( a whole number,)? got {count!r}$"):
        call(small, count)


@pytest.mark.parametrize("within", ["500ms", -1.0, float("nan")])
def test_how_far_recorded_answers_reach_is_in_seconds(small, within):
    with pytest.raises(ValueError, match="wanted within as seconds, a number of at least 0, got "):
        simulation.whatif(simulation.run(small).attempts, small, within=within)


def test_the_whole_numbers_of_numpy_are_seeds_and_counts(small):
    seeds = np.arange(7, 9)
    assert [simulation.run(small, seed=seed).summary["seed"] for seed in seeds] == [7, 8]
    loaded = simulation.load(small)
    assert [simulation.run(loaded, seed=seed).summary for seed in seeds] == [
        simulation.run(small, seed=seed).summary for seed in (7, 8)
    ]
    swept = simulation.sweep(small, VARY, replicates=seeds[0] - 5, seed=seeds[0], sets=["expect=[]"])
    assert swept.document()["seeds"] == [7, 8]


def test_a_file_whose_name_has_a_line_break_is_a_file(tmp_path):
    file = tmp_path / "two\nlines.yaml"
    file.write_text(SMALL)
    assert simulation.run(str(file)).summary["accepted"] == 10


def test_a_text_is_run_as_its_file_is(small):
    assert simulation.run(simulation.parse(SMALL)).summary["digest"] == simulation.run(small).summary["digest"]
