"""The metrics of windows of a run."""

from typing import Any

import pytest

import simulation
from simulation.scenario.writing import write

MIXED = """
name: mixed
duration: 4m
drain: 2m
record: {record}
workload:
  - {{event: OrderPlaced, arrivals: {{poisson: 1/s}}}}
  - {{name: codes, channel: sms, critical: true, arrivals: {{poisson: 1/s}}}}
  - {{channel: push, arrivals: {{poisson: 2/s}}, users: 40}}
channels:
  email: {{retry: {{max_attempts: 2, initial_delay: 1s}}, provider: {{failure_rate: 20%, price: 0.1}}}}
  sms: {{circuit_breaker: {{failure_threshold: 3, timeout: 5s}}, provider: {{failure_rate: 30%, latency: 200ms}}}}
  push: {{retry: {{max_attempts: 1}}, fallback: {{channel: sms}}, provider: {{failure_rate: 20%, latency: 3s}}}}
preferences: [{{share: 20%, channel: push, enabled: false}}]
faults:
  - {{channel: sms, at: 30s, for: 30s, outage: true}}
  - {{channel: email, at: 100s, crash: process, restart_after: 10s}}
operations: [{{at: 3m, redrive: all}}]
expect:
  - {{to: 45s, that: [sent >= 0]}}
  - {{from: 45s, to: 105s, that: [sent >= 0]}}
  - {{from: 105s, that: [sent >= 0]}}
  - {{from: 0s, that: [delivered_within(90s) > 0]}}
"""

ADD_UP = (
    *("offered", "delivered", "unwanted", "handed_on", "accepted", "sent", "dead_lettered", "suppressed", "attempts"),
    *("retries", "deferred", "duplicates", "fallbacks"),
)


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return simulation.run(simulation.parse(MIXED.format(record="full"))).summary


def test_windows_that_cover_a_run_add_up_to_it(summary):
    windows = [summary["windows"][name] for name in ("0s,45s", "45s,105s", "105s,end")]
    for group in (None, "email", "sms", "push"):
        whole, *parts = (each if group is None else each["channels"][group] for each in (summary, *windows))
        for name in ADD_UP:
            assert sum(part[name] for part in parts) == whole[name], (group, name)
        assert sum(part["refused"]["down"] for part in parts) == whole["refused"]["down"]
        assert sum(part["delivery_time_s"]["never"] for part in parts) == whole["delivery_time_s"]["never"]
    for name, breaker in summary["breaker"].items():
        assert sum(each["breaker"][name]["opened"] for each in windows) == breaker["opened"]
        assert sum(each["breaker"][name]["open_s"] for each in windows) == pytest.approx(breaker["open_s"])
    assert [each["refused"]["down"] > 0 for each in windows] == [False, True, True]
    assert summary["breaker"]["sms"]["opened"] > 1


def test_a_window_as_long_as_the_run_has_its_metrics(summary):
    whole = summary["windows"]["0s,end"]
    assert list(whole["delivered_within"]) == [*summary["delivered_within"]]
    for group in ("workload", "classes"):
        assert whole[group] == summary[group]
    for name in (
        "delivery_time_s",
        "sent_time_s",
        "delivered_within",
        "dlq",
        "in_flight",
        "breaker",
        "cost",
        "offered",
    ):
        assert whole[name] == summary[name], name


def test_what_is_left_at_the_end_of_a_window_is_what_the_next_one_begins_with(summary):
    result = simulation.run(simulation.parse(MIXED.format(record="full")))
    frame = result.notifications
    for name, end in (("0s,45s", 45), ("45s,105s", 105)):
        accepted = frame["requested_at_s"] < end
        dead = result.dlq[(result.dlq["time_s"] < end) & ~(result.dlq["left_at_s"] < end)]
        ended = frame["finished_at_s"] < end
        pending = accepted & ~ended & ~frame["id"].isin(dead["id"])
        assert summary["windows"][name]["in_flight"] == pending.sum()
        assert summary["windows"][name]["dlq"]["final"] == len(dead)


def test_aggregates_know_them_too(summary):
    lean = simulation.run(simulation.parse(MIXED.format(record="aggregates"))).summary
    for name, window in summary["windows"].items():
        for key in (*ADD_UP, "refused", "delivered_within", "in_flight", "dlq", "breaker"):
            assert lean["windows"][name][key] == window[key]


def test_an_expectation_of_a_window_is_read_and_written():
    text = """
    name: outage
    duration: 3m
    workload: [{channel: email, arrivals: {constant: 1/s}}]
    faults: [{channel: email, at: 1m, for: 1m, outage: true}]
    expect:
      - {to: 1m, that: [delivered_within(1s) >= 100%, dead_lettered == 0]}
      - {from: 1m, to: 2m, that: [delivered_within(1s) > 0]}
    """
    scenario = simulation.parse(text)
    assert [(each.text, each.at) for each in scenario.expect] == [
        ("delivered_within(1s) >= 100% from 0s to 1m", (0, "that", 0)),
        ("dead_lettered == 0 from 0s to 1m", (0, "that", 1)),
        ("delivered_within(1s) > 0 from 1m to 2m", (1, "that", 0)),
    ]
    assert simulation.parse(write(scenario)) == scenario
    result = simulation.run(scenario)
    assert [each["holds"] for each in result.summary["expectations"]] == [True, True, False]
