"""Editing a scenario in place changes one value, and nothing else."""

from pathlib import Path

import pytest
import yaml
from beside import tables
from effort import examples, sliced
from hypothesis import given, settings, strategies as st
from shipped import SCENARIOS

from simulation.scenario import parse
from simulation.studio.checking import check
from simulation.studio.knobs import OF_A_CHANNEL, OF_A_FAULT, OF_AN_ENTRY, knobs
from simulation.studio.splicing import CannotEdit, Splices, edited, with_entry, without_entry

TABLES = tables(__file__)

TEXT = """\
# at the top
name: an-example   # what it is called
duration: 10m      # arrivals stop here

workload:
  - {channel: email, arrivals: {poisson: 2/s}}   # two a second
  - channel: sms
    arrivals: {constant: 1/s}
    users: 10

channels:
  email:
    # why five
    retry: {max_attempts: 5, initial_delay: 1s}
    timeout: 10s   # long
  sms:
    provider:
      latency: {constant: 80ms}   # in the middle of the day

faults:
  # the outage
  - {channel: email, at: 2m, for: 3m, outage: true}   # three minutes
  - channel: sms
    at: 1m
    for: 30s   # half a minute
    failure_rate: 30%
"""


def comments(text):
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


VALUES = TABLES["values"]


def put(data, path, value):
    """Put a value into plain data, as an edit should."""
    *above, last = path.split(".")
    for key in above:
        data = data[int(key)] if isinstance(data, list) else data.setdefault(key, {})
    data[int(last) if isinstance(data, list) else last] = value


@given(
    st.lists(
        st.sampled_from(sorted(VALUES)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(VALUES[path]))),
        max_size=6,
    )
)
@settings(max_examples=examples(25))
def test_edits_change_the_values_that_they_name_and_keep_all_comments(edits):
    text, wanted = TEXT, yaml.load(TEXT, yaml.BaseLoader)
    for path, value in edits:
        text = edited(text, tuple(path.split(".")), value)
        put(wanted, path, value)
        assert yaml.load(text, yaml.BaseLoader) == wanted
        assert comments(text) == comments(TEXT)


@given(st.permutations(sorted(VALUES)))
@settings(max_examples=examples(3))
def test_a_text_that_is_edited_parses_to_the_changed_scenario(paths):
    text = TEXT
    for path in paths:
        text = edited(text, tuple(path.split(".")), VALUES[path][0])
    assert parse(text) == parse(TEXT, sets=[f"{path}={VALUES[path][0]}" for path in paths])


@pytest.mark.parametrize("path", sliced(SCENARIOS[::3], 4), ids=lambda path: path.stem)
def test_settings_of_shipped_scenarios_can_be_turned_in_place(path):
    text = path.read_text(encoding="utf-8")
    found = check(text, str(path))
    assert found["problems"] == []
    by_splice = Splices(text)
    for knob in knobs(by_splice, parse(text, str(path)))[::5]:
        if knob["splice"] is None:
            assert knob["why"]
            continue
        value = knob["stops"][0 if knob["at"] else -1]
        keys = tuple(knob["path"].split("."))
        try:
            changed = edited(text, keys, value)
        except CannotEdit:
            continue  # the page shows why at the next check
        assert by_splice.splice(keys).apply(text, value) == changed
        assert comments(changed) == comments(text)


FAULT = "{channel: email, at: 7m, for: 1m, hang: true}"


@given(st.lists(st.integers(min_value=-1, max_value=3), max_size=6))
@settings(max_examples=examples(25))
def test_faults_come_and_go_and_all_else_stays(steps):
    """-1 adds one, another number takes that one out."""
    text, wanted = TEXT, yaml.load(TEXT, yaml.BaseLoader)
    for step in steps:
        faults = wanted["faults"]
        if step < 0:
            text = with_entry(text, "faults", FAULT)
            faults.append(yaml.load(FAULT, yaml.BaseLoader))
        elif step < len(faults):
            text = without_entry(text, "faults", step)
            del faults[step]
        assert yaml.load(text, yaml.BaseLoader) == wanted


def test_a_scenario_without_faults_gets_its_first_one():
    text = "duration: 1m\nworkload:\n  - {channel: email, arrivals: {constant: 1/s}}  # one\n"
    changed = with_entry(text, "faults", FAULT)
    assert len(parse(changed).faults) == 1
    assert comments(changed) == comments(text)


@pytest.mark.parametrize(("text", "path", "why"), TABLES["not_in_place"])
def test_what_cannot_be_changed_in_place_says_why(text, path, why):
    with pytest.raises(CannotEdit, match=why):
        edited(text, tuple(path.split(".")), "7")


@pytest.mark.parametrize(("text", "path", "wanted"), TABLES["forms"])
def test_each_form_of_yaml_keeps_its_form(text, path, wanted):
    assert edited(text, tuple(path.split(".")), "7") == wanted


def test_places_are_counted_as_javascript_does():
    text = "# 😀\nduration: 1m\nseed: 3\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n"
    seed = next(knob for knob in check(text, "x.yaml")["knobs"] if knob["path"] == "seed")
    units = text.encode("utf-16-le")
    assert units[2 * seed["splice"]["start"] : 2 * seed["splice"]["end"]].decode("utf-16-le") == "3"


@pytest.mark.parametrize("name", ["x.yaml", "tab\there.yaml"])
def test_a_problem_has_its_line_and_column(name):
    [problem] = check(TEXT.replace("for: 3m", "for: soon"), str(Path("folder") / name))["problems"]
    line = TEXT.splitlines().index("  - {channel: email, at: 2m, for: 3m, outage: true}   # three minutes") + 1
    assert (problem["line"], problem["text"][:13]) == (line, "faults.0.for:")
    assert TEXT.splitlines()[line - 1][problem["column"] - 1 :].startswith("3m")


def test_what_happens_once_can_be_moved_but_not_stretched():
    text = TEXT + "  - {crash: process, channel: email, at: 4m, restart_after: 10s}\n"
    outage, _, crash = check(text, "x.yaml")["faults"]
    assert (outage["at_s"], outage["for_s"]) == (120, 180)
    assert None not in (outage["at"], outage["for"], crash["at"])
    assert (crash["at_s"], crash["for_s"], crash["for"]) == (240, 10, None)


def test_a_deploy_lasts_until_the_last_node_is_back():
    path = SCENARIOS[0].parent / "deploy-during-outage.yaml"
    _, deploy = check(path.read_text(encoding="utf-8"), str(path))["faults"]
    assert (deploy["at_s"], deploy["for_s"], deploy["for"]) == (180, 11 * 15 + 1 + 5, None)


@pytest.mark.parametrize("turn", [*OF_A_CHANNEL, *OF_AN_ENTRY, *OF_A_FAULT], ids=lambda turn: turn.label)
def test_a_slider_has_few_stops_that_people_would_choose(turn):
    if turn.kind in ("choice", "switch"):
        return
    stops = turn.stops
    assert list(stops) == sorted(stops)
    assert (stops[0], stops[-1]) == (turn.low, turn.high)
    assert 10 <= len(stops) <= 50
    assert all(len(turn.write(each)) <= 6 for each in stops)
    if turn.kind == "count":
        assert set(range(int(turn.low), min(10, int(turn.high)) + 1)) - set(stops) <= {7, 9}


def test_a_slider_stands_at_the_stop_nearest_to_its_value():
    found = {knob["path"]: knob for knob in check(TEXT.replace("timeout: 10s", "timeout: 9400ms"), "x.yaml")["knobs"]}
    timeout, attempts = found["channels.email.timeout"], found["channels.email.retry.max_attempts"]
    assert (timeout["value"], timeout["stops"][timeout["at"]]) == ("9.4s", "10s")
    assert (attempts["value"], attempts["at"], attempts["stops"][:6]) == ("5", 4, ["1", "2", "3", "4", "5", "6"])
    assert found["channels.email.circuit_breaker.enabled"]["stops"] == ["false", "true"]


def test_a_fault_s_slider_has_a_mark_where_the_file_says_how_much_it_is_to_take():
    text = """\
duration: 10m
workload: [{channel: sms, arrivals: {constant: 1/s}}, {channel: push, arrivals: {constant: 1/s}}]
faults: [{channel: sms, at: 1m, for: 30s, outage: true}, {channel: push, at: 1m, for: 30s, failure_rate: 10%}]
limits: {sms.outage: ">= 2m", all.failure_rate: ">= 20%", push.latency: ">= 2"}
"""
    marked = {knob["path"]: knob for knob in knobs(Splices(text), parse(text)) if knob["marks"]}
    assert list(marked) == ["faults.0.for", "faults.1.failure_rate"]
    shown = [(knob["stops"][mark["at"]], mark["text"]) for knob in marked.values() for mark in knob["marks"]]
    assert shown == [("2m", "sms.outage >= 2m"), ("20%", "all.failure_rate >= 20%")]


def test_rates_and_slots_of_the_text_have_sliders_that_keep_their_form():
    channel = (
        "{quota: {rate: 240/min}, rate_limit: {rate: 30/10s}, max_in_flight: {limit: 12, wait: 1s}, "
        "circuit_breaker: {resume_rate_max: 80/s}, failover: {spare: {quota: {rate: 15/s}}, other: {}}}"
    )
    text = (
        f"duration: 1m\nworkload: [{{channel: email, arrivals: {{constant: 1/s}}}}]\nchannels: {{email: {channel}}}\n"
    )
    turned = {knob["path"].removeprefix("channels.email."): knob for knob in knobs(Splices(text), parse(text))}
    wanted = {
        "quota.rate": ("240/min", "250/min"),
        "rate_limit.rate": ("30/10s", "30/10s"),
        "max_in_flight.limit": ("12", "12"),
        "circuit_breaker.resume_rate": ("10/s", "10/s"),
        "circuit_breaker.resume_rate_max": ("80/s", "80/s"),
        "failover.spare.quota.rate": ("15/s", "15/s"),
    }
    assert "failover.other.quota.rate" not in turned
    assert turned["failover.spare.quota.rate"]["label"] == "Quota of spare"
    shown = {path: (knob["value"], knob["stops"][knob["at"]]) for path, knob in turned.items() if path in wanted}
    assert shown == wanted
    for path in wanted:
        parse(edited(text, ("channels", "email", *path.split(".")), turned[path]["stops"][turned[path]["at"] - 1]))


def test_an_unlimited_number_of_attempts_is_a_stop_of_its_own():
    text = TEXT.replace("max_attempts: 5", "max_attempts: unlimited")
    [knob] = [each for each in knobs(Splices(text), parse(text)) if each["path"].endswith("retry.max_attempts")][:1]
    assert (knob["value"], knob["stops"][knob["at"]], knob["stops"][0]) == ("unlimited", "unlimited", "1")
