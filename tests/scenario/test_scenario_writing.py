"""A scenario that is written and read again is the same one."""

from pathlib import Path

from each_row import over_each
from hypothesis import given, strategies as st

from simulation.scenario import load, parse
from simulation.scenario.writing import COLUMNS, as_data, write

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").glob("*.yaml")) + sorted((ROOT / "tests/verification/drawing").glob("*.yaml"))


@over_each(FILES)
def test_shipped_scenarios_come_back(path):
    scenario = load(path)
    again = parse(write(scenario))
    assert again == scenario.model_copy(update={"sweep": None})
    assert as_data(again) == as_data(scenario)


def test_what_it_looks_like():
    scenario = parse("""
name: small
duration: 90s
workload: [{channel: email, arrivals: {times: [0s, 80ms]}}]
channels: {email: {retry: {per_reason: {"503: busy": {max_attempts: 2}}}}}
faults: [{channel: [email], at: 1s, failure_rate: 30%}]
""")
    assert (
        write(scenario, "Breaks.\n\nRun it.")
        == """\
# Breaks.
#
# Run it.
name: small
duration: 90s
workload:
  - {channel: email, arrivals: {times: [0s, 0.08s]}}
channels:
  email: {retry: {per_reason: {"503: busy": {max_attempts: 2}}}}
faults:
  - {channel: email, at: 1s, failure_rate: 0.3}
"""
    )


SHOWN = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"))
"""What a scenario may be called, and described by: it is printed."""


def test_long_lists_and_entries_take_several_lines():
    times = ", ".join(f"{number * 1.25}s" for number in range(200))
    scenario = parse(f"name: x\nduration: 1h\nworkload: [{{channel: email, arrivals: {{times: [{times}]}}, users: 3}}]")
    text = write(scenario)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert parse(text) == scenario


@given(
    SHOWN.filter(str.strip),
    SHOWN,
    st.dictionaries(st.text(min_size=1).filter(str.strip), st.text().filter(lambda text: "{" not in text), max_size=3),
)
def test_any_text_comes_back(name, description, templates):
    from simulation.scenario import Scenario

    scenario = Scenario.model_validate(
        {
            "name": name,
            "description": description,
            "duration": 1.0,
            "workload": [{"channel": "email", "arrivals": {"constant": 1}}],
            "templates": {key: {"body": body} for key, body in templates.items()},
        }
    )
    again = parse(write(scenario))
    assert (again.name, again.description, again.templates) == (name, description, scenario.templates)
