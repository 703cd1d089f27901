"""The JSON Schema of the summary, against summaries of runs."""

import copy
import json

import jsonschema
import pytest
from console_command import app
from typer.testing import CliRunner

import simulation
from simulation.scenario.metrics import VERSION
from simulation.scenario.reference import summary_schema

SCENARIO = """
name: all
duration: 1m
workload:
  - {channel: email, arrivals: {constant: 1/s}, hosts: 3}
  - {name: codes, channel: sms, critical: true, arrivals: {constant: 1/s}}
channels:
  email: {provider: {failure_rate: 30%}, failover: {backup: {}}}
  sms: {retry: {max_attempts: 1}, provider: {failure_rate: 30%}, fallback: {channel: push}}
  push: {}
faults: [{channel: email, at: 10s, for: 10s, outage: true}, {channel: all, at: 30s, crash: process, restart_after: 2s}]
expect:
  - sent_fraction >= 0.1
  - delivery_time_s.p99_9 <= 1m
  - {that: delivered_within(2s) >= 50%, in: 90% of runs}
  - {from: 10s, to: 20s, that: [breaker.email.opened >= 0]}
"""


@pytest.fixture(scope="module")
def schema():
    printed = CliRunner().invoke(app, ["schema", "--summary"])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.stdout)
    assert found == summary_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_the_summary_of_a_run_is_as_it_says(schema, record):
    result = simulation.run(simulation.parse(SCENARIO + f"record: {record}\n"))
    jsonschema.validate(json.loads(json.dumps(result.summary, allow_nan=False)), schema)
    simulation.decide(result, 4)
    jsonschema.validate(json.loads(json.dumps(result.summary, allow_nan=False)), schema)


def test_nothing_else_may_be_in_it_and_nothing_be_left_out(schema):
    summary = simulation.run(simulation.parse(SCENARIO)).summary
    assert summary["version"] == VERSION

    def at(value, path):
        for key in path:
            value = value[key]
        return value

    valid = jsonschema.Draft202012Validator(schema)
    assert valid.is_valid(summary)
    for path in ((), ("dlq",), ("refused",), ("workload", "codes"), ("channels", "sms", "peaks"), ("faults", "0")):
        more = copy.deepcopy(summary)
        at(more, path)["surprise"] = "x"
        assert not valid.is_valid(more), path
    for key in ("offered", "delivery_time_s", "channels", "worst", "digest"):
        less = {name: value for name, value in summary.items() if name != key}
        assert not valid.is_valid(less), key


def test_every_number_is_described(schema):
    def undescribed(part, path=()):
        if part.get("type") == "object":
            for key, below in part.get("properties", {}).items():
                yield from undescribed(below, (*path, key))
        elif "description" not in part and "items" not in part:
            yield path[-1]

    assert set(undescribed(schema)) <= {"version", "scenario", "seed", "runtime", "digest"}


def test_two_schemas_at_once_are_refused():
    printed = CliRunner().invoke(app, ["schema", "--summary", "--markdown"])
    assert printed.exit_code == 2
    assert "--summary: wanted it without --markdown" in printed.output
