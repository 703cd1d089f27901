"""What is offered while one types is what the schema has at that place, and what it offers parses."""

import pytest
import yaml
from beside import tables
from each_row import over_each
from shipped import SCENARIOS

from simulation.scenario import parse
from simulation.studio.completing import completions
from simulation.studio.knobs import described

TEXT = """\
name: an-example
duration: 10m
workload:
  - {channel: email, arrivals: {poisson: 2/s}}
channels:
  email:
    retry: {max_attempts: 5, }
    circuit_breaker:
      timeout: 30s
      when_open: wait
    provider: {latency: {constant: 80ms}}
faults:
  - {channel: email, at: 2m, for: 3m, outage: true}
"""


def offered(typed, at=None, text=TEXT):
    """What is offered at the end of what is typed in place of a part of a text, or behind all of it."""
    before, found, after = text.partition(at) if at else (text, "", "")
    assert found or not at
    answer = completions(before + typed, after)
    return {each["text"]: each["insert"] for each in answer["offered"]}


@over_each(map(tuple, tables(__file__)["offered"]))
def test_what_is_offered_belongs_there(typed, at, some, none):
    found = offered(typed, at)
    assert set(some) <= set(found)
    assert not set(none) & set(found)


def test_a_key_comes_with_its_colon_unless_it_has_one():
    assert (
        offered("    retry: {max_attempts: 5, init", "    retry: {max_attempts: 5, }")["initial_delay"]
        == "initial_delay: "
    )
    assert completions("channels: {email: {timeou", "t: 3s}}\n") == {
        "typed": 6,
        "offered": [
            {
                "text": "timeout",
                "insert": "timeout",
                "sentence": described()["ChannelConfig"]["properties"]["timeout"]["description"],
            }
        ],
    }


def test_a_text_that_is_wrong_elsewhere_does_not_matter():
    assert "initial_delay" in offered("    retry: {ini", "    retry: {max_attempts: 5, }", TEXT + "faults: [{\n")


@pytest.mark.parametrize("path", SCENARIOS[::6], ids=lambda path: path.stem)
def test_every_key_of_a_shipped_scenario_is_offered_where_it_stands(path):
    text = path.read_text(encoding="utf-8")
    keys = list(_keys(yaml.compose(text, yaml.BaseLoader)))[::7]
    assert parse(text, str(path))
    for node in keys:
        found = completions(text[: node.start_mark.index], text[node.end_mark.index :])["offered"]
        assert node.value in {each["text"] for each in found}, node.start_mark
        assert all(each["sentence"] for each in found if each["text"] == node.value)


def _keys(node):
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield name
            if name.value == "templates":  # by names that the file gives them
                yield from (key for _, template in value.value for key in _keys(template))
            else:
                yield from _keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _keys(each)
