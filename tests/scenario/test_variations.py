"""Which values are compared, as they are written on a command line or in Python."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from actors.errors import ConfigurationError
from simulation.experiments.sweeping.design import cells
from simulation.scenario.space import parse_space, space
from simulation.scenario.variations import split_values

MAPPING = (
    ": wanted a mapping from paths to their values such as {'channels.email.retry.jitter': ['none', 'full']}, got "
)

FORM = "wanted path=a,b or path=low..high such as channels.email.retry.max_attempts=1..10"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("none,full", ["none", "full"]),
        (" 1 , 2 ", ["1", "2"]),
        ("5s", ["5s"]),
        ("80ms,{lognormal: {median: 80ms, p99: 1s}}", ["80ms", "{lognormal: {median: 80ms, p99: 1s}}"]),
        ("[3/s, 100/min],[5/s, 100/min]", ["[3/s, 100/min]", "[5/s, 100/min]"]),
        ("null,{a: [1, {b: 2}], c: 3}", ["null", "{a: [1, {b: 2}], c: 3}"]),
        ("'a, b','c'", ["'a, b'", "'c'"]),
        ('{name: "}, {"},x', ['{name: "}, {"}', "x"]),
        ("it's,fine", ["it's", "fine"]),
        ("a,,b", ["a", "", "b"]),
        ("", [""]),
    ],
)  # fmt: skip
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


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["nonsense"], f"--vary nonsense: {FORM}"),
        (["=1,2"], f"--vary =1,2: {FORM}"),
        (["a..b=1,2"], f"--vary a..b: {FORM}"),
        (["drain=1s,"], "--vary drain: wanted values with a comma between them, got nothing in the place of one"),
        (["drain="], "--vary drain: wanted values with a comma between them, got nothing in the place of one"),
        ([], f"--vary: {FORM}, got none"),
        (["a=1,2", "a=3"], "--vary a: wanted each path once; give all its values with commas between them"),
        (["seed=1,2"], "--vary seed: wanted a setting of the run, got seed"),
        (["expect.0=a,b"], "--vary expect.0: wanted a setting of the run, got expect"),
    ],
)  # fmt: skip
def test_what_cannot_be_varied(texts, problem):
    with pytest.raises(ConfigurationError) as refused:
        parse_space(texts)
    assert refused.value.problems == [problem]
