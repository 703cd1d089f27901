"""Values and ranges of settings: what they are written as, and which of them a design takes."""

from collections import Counter

import numpy as np
import pytest
from beside import tables
from hypothesis import given, strategies as st

from actors.errors import ConfigurationError
from actors.settings.base import validated
from simulation.experiments.sweeping.sweep import cells
from simulation.scenario.ranges import Range
from simulation.scenario.space import Choices, number_of, parse_space, space, split_values

TABLES = tables(__file__)

MAPPING = (
    ": wanted a mapping from paths to their values such as {'channels.email.retry.jitter': ['none', 'full']}, got "
)


@pytest.mark.parametrize(("text", "values"), TABLES["lists"])
def test_a_list_is_split_at_its_outer_commas(text, values):
    assert split_values(text) == values


@given(st.lists(st.sampled_from(["1", "5s", "{a: 1, b: 2}", "[1, 2]", "'x, y'", "null"]), min_size=1))
def test_joined_values_come_apart_again(values):
    assert split_values(",".join(values)) == values


def test_the_first_values_are_the_baseline_and_the_last_path_changes_fastest():
    settings = cells(space({"channels.email.retry.jitter": "none,full", "channels.email.timeout": ["5s", "10s"]}))
    assert [setting.label for setting in settings] == [
        "jitter=none timeout=5s", "jitter=none timeout=10s", "jitter=full timeout=5s", "jitter=full timeout=10s",
    ]  # fmt: skip
    assert settings[2].sets == ["channels.email.retry.jitter=full", "channels.email.timeout=5s"]


def test_labels_are_as_long_as_it_takes_to_tell_paths_apart():
    first, *_ = cells(space({"channels.email.timeout": "1s,2s", "channels.sms.timeout": "3s"}))
    assert first.label == "email.timeout=1s sms.timeout=3s"
    first, *_ = cells(space({"drain": "1s,2s", "channels.email.drain": "3s"}))
    assert first.label == "drain=1s email.drain=3s"


def test_python_values_are_written_as_yaml():
    settings = cells(space({"channels.email.max_in_flight": [None, 5, 2.5, True, {"a": [1]}, "5s"]}))
    assert [setting.values[0][1] for setting in settings] == ["null", "5", "2.5", "true", '{"a": [1]}', "5s"]


def test_values_of_a_numpy_range_are_numbers():
    settings = cells(space({"channels.email.retry.max_attempts": np.arange(1, 4), "drain": np.array([0.5])}))
    assert [dict(setting.values) for setting in settings] == [
        {"channels.email.retry.max_attempts": count, "drain": "0.5"} for count in "123"
    ]


@pytest.mark.parametrize(
    ("vary", "problem"),
    [
        ({"drain": 3}, " drain: wanted a list of values, or a text such as '1,2,3', got 3"),
        ({"drain": None}, " drain: wanted a list of values, or a text such as '1,2,3', got None"),
        ({"drain": b"12"}, " drain: wanted a list of values, or a text such as '1,2,3', got b'12'"),
        ({"drain": {"1s"}}, " drain: wanted a list of values, or a text such as '1,2,3', got {'1s'}"),
        ({"drain": [1 + 2j, 1]}, " drain: wanted a value that can stand in a file, got (1+2j)"),
        ({3: [1, 2]}, ": wanted a path as text, got 3"),
        (["drain"], f"{MAPPING}['drain']"),
        ("drain=1s,2s", f"{MAPPING}'drain=1s,2s'"),
        ([], f"{MAPPING}[]"),
    ],
)  # fmt: skip
def test_what_are_no_values_of_paths_says_what_was_wanted(vary, problem):
    with pytest.raises(ConfigurationError) as refused:
        space(vary)
    assert refused.value.problems == [f"--vary{problem}"]


@pytest.mark.parametrize(("texts", "problem"), TABLES["invariable"])
def test_what_cannot_be_varied(texts, problem):
    with pytest.raises(ConfigurationError) as refused:
        parse_space(texts)
    assert refused.value.problems == [problem]


PATH = "channels.email.timeout"
OTHER = "channels.sms.retry.max_attempts"


def range_of(low, high, **keys):
    return validated(Range, {"from": low, "to": high, **keys})


shares = st.floats(0, 1, exclude_max=True)
ends = st.one_of(
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    st.tuples(st.floats(0.001, 1e6), st.floats(0.001, 1e6)),
    st.tuples(st.floats(0.001, 100).map(lambda x: f"{x:.6f}s"), st.floats(200, 1e4).map(lambda x: f"{x:.3f}s")),
    st.tuples(st.floats(0.01, 10).map(lambda x: f"{x:.4f}%"), st.floats(20, 100).map(lambda x: f"{x:.2f}%")),
    st.tuples(st.integers(1, 9).map(lambda x: f"{x}/min"), st.integers(1, 99).map(lambda x: f"{x}/s")),
).filter(lambda pair: number_of(str(pair[0])) < number_of(str(pair[1])))


@given(ends, shares, st.sampled_from(["linear", "log"]))
def test_a_value_of_a_range_can_be_read_back_and_lies_in_it(pair, share, scale):
    found = range_of(*pair, scale=scale)
    value = number_of(found.at(share))
    assert found.low <= value <= found.high
    assert not found.is_whole or value == int(value)


@given(ends, st.tuples(shares, shares), st.sampled_from(["linear", "log"]))
def test_a_larger_share_is_no_smaller_value(pair, two, scale):
    found = range_of(*pair, scale=scale)
    low, high = (number_of(found.at(share)) for share in sorted(two))
    assert low <= high


@given(ends, st.integers(2, 50), st.sampled_from(["linear", "log"]))
def test_the_levels_of_a_grid_rise_from_end_to_end(pair, steps, scale):
    found = range_of(*pair, scale=scale, steps=steps)
    texts = found.levels()
    values = [number_of(text) for text in texts]
    assert (texts[0], texts[-1]) == (str(pair[0]), str(pair[1]))
    assert values == sorted(set(values))
    assert len(values) <= steps


@given(st.integers(0, 20), st.integers(1, 30))
def test_each_whole_number_has_the_same_part_of_the_shares(low, width):
    found = range_of(low, low + width)
    count = 7 * (width + 1)
    drawn = Counter(found.at((place + 0.5) / count) for place in range(count))
    assert drawn == {str(value): 7 for value in range(low, low + width + 1)}


def test_a_logarithmic_range_has_as_many_values_in_each_tenfold():
    found = range_of("100ms", "100s", scale="log")
    values = [number_of(found.at((place + 0.5) / 300)) for place in range(300)]
    assert [sum(low <= value < 10 * low for value in values) for low in (0.1, 1.0, 10.0)] == [100, 100, 100]


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"from": 1, "to": "10s"}, "wanted from and to of one kind, got 1 and 10s"),
        ({"from": 5, "to": 5}, "wanted a lowest value below the highest, got 5 to 5"),
        ({"from": "0s", "to": "5s", "scale": "log"}, "wanted from more than 0 where the scale is log, got 0s"),
        ({"from": "soon", "to": 5}, "from: wanted a number, a duration, a rate or a share, got 'soon'"),
        ({"from": 1, "to": 5, "steps": 1}, "steps: wanted a whole number from 2 to 1,000, got 1"),
    ],
)
def test_a_range_that_is_none_says_what_was_wanted(given_, problem):
    with pytest.raises(ConfigurationError) as raised:
        space({PATH: given_})
    assert raised.value.problems == [f"--vary {PATH}: {problem}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3", Choices(("1", "2", "3"))),
        ("none, full", Choices(("none", "full"))),
        ("{schedule: [1s, 5s]},{jitter: full}", Choices(("{schedule: [1s, 5s]}", "{jitter: full}"))),
        ("5s", Choices(("5s",))),
        ("{constant: 5s}", Choices(("{constant: 5s}",))),
        ("1..10", range_of(1, 10)),
        ("100ms..10s", range_of("100ms", "10s")),
        ("0.5..1.5", range_of(0.5, 1.5)),
        ("{from: 1%, to: 30%, scale: log, steps: 4}", range_of("1%", "30%", scale="log", steps=4)),
    ],
)
def test_what_an_option_says(text, expected):
    assert parse_space([f"{PATH}={text}"]) == {PATH: expected}


def test_all_that_is_wrong_with_options_is_said_at_once():
    with pytest.raises(ConfigurationError) as raised:
        parse_space(["=1,2", f"{PATH}=1,2", f"{PATH}=3", "drain="])
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "--vary =1,2", f"--vary {PATH}", "--vary drain"
    ]  # fmt: skip
    with pytest.raises(ConfigurationError) as raised:
        parse_space([f"{PATH}=1,,2", "seed=1,2", "a..b=1"])
    assert [problem.split(": ")[0] for problem in raised.value.problems] == [
        f"--vary {PATH}", "--vary seed", "--vary a..b",
    ]  # fmt: skip


def test_a_grid_has_every_combination_once_in_order():
    found = cells(space({PATH: "1s,2s", OTHER: {"from": 1, "to": 3, "steps": 3}}))
    assert [[value for _, value in cell.values] for cell in found] == [
        ["1s", "1"], ["1s", "2"], ["1s", "3"], ["2s", "1"], ["2s", "2"], ["2s", "3"],
    ]  # fmt: skip
    assert found[0].label == "timeout=1s max_attempts=1"


@given(st.integers(1, 40), st.integers(0, 1000))
def test_a_latin_hypercube_meets_each_part_of_each_setting_exactly_once(samples, seed):
    found = cells(space({PATH: "0s..100s", OTHER: f"1..{samples + 1}"}), "latin-hypercube", samples, seed)
    assert len(found) == samples
    places = sorted(number_of(dict(cell.values)[PATH]) / 100 * samples for cell in found)
    for part, place in enumerate(places):  # but for the rounding to four digits
        assert part - 0.005 <= place <= part + 1.005


def test_a_value_of_one_setting_does_not_depend_on_the_others():
    alone = cells(space({PATH: "0s..100s"}), "random", 20, 3)
    both = cells(space({OTHER: "1..1000", PATH: "0s..100s"}), "random", 20, 3)
    assert [dict(cell.values)[PATH] for cell in alone] == [dict(cell.values)[PATH] for cell in both]
    assert alone != cells(space({PATH: "0s..100s"}), "random", 20, 4)


def test_combinations_that_come_twice_are_run_once():
    found = cells(space({OTHER: "1,2"}), "random", 50)
    assert sorted(value for cell in found for _, value in cell.values) == ["1", "2"]


@pytest.mark.parametrize(
    ("vary", "design", "samples", "problem"),
    [
        ({PATH: "1s..5s"}, "grid", None, f"--vary {PATH}: wanted values, steps in the range, or --design"),
        ({PATH: "1s,5s"}, "grid", 5, "--samples: wanted it only with --design random"),
        ({PATH: "1s..5s"}, "random", None, "--design random: wanted --samples beside it, got none"),
        ({PATH: "1s..5s"}, "random", 10_001, "--vary: wanted at most 10,000 combinations, got 10,001"),
        ({PATH: range_of(1, 999, steps=999), OTHER: range_of(1, 99, steps=99)}, "grid", None, "--vary: wanted at most"),
    ],
)
def test_a_design_that_does_not_fit(vary, design, samples, problem):
    with pytest.raises(ConfigurationError) as raised:
        cells(space(vary), design, samples)
    assert raised.value.problems[0].startswith(problem)
