"""The chart under an expectation that failed is of the metric, the part of the run and the window that it is about."""

import textwrap
from functools import cache
from itertools import pairwise

import pytest

import simulation
from simulation.reporting.expectation_report import failure_text, in_cells, sparkline
from simulation.scenario import parse

TEXT = """
    duration: 4m
    seed: 4
    workload:
      - {name: codes, channel: email, arrivals: {constant: 1/s}, priority: critical}
      - {name: digests, channel: email, arrivals: {constant: 4/s}}
      - {channel: sms, arrivals: {constant: 2/s}}
    channels: {email: {failover: {backup: {}}, retry: {max_attempts: 1}}}
    faults: [{channel: email, at: 1m, for: 1m, failure_rate: 50%}]
    expect:
      - sent_fraction >= 100%
      - workload.codes.sent_fraction >= 100%
      - classes.critical.sent_fraction >= 100%
      - channels.email.providers.backup.sent >= 10000
      - from: 90s
        to: 3m
        that:
          - channels.email.sent_fraction >= 100%
          - workload.digests.sent_fraction >= 100%
"""


@cache
def result():
    return simulation.run(parse(textwrap.dedent(TEXT), "a.yaml"))


def rows(number):
    """Return the lines of the chart by their labels."""
    expectation = result().scenario.expect[number]
    lines = failure_text(result(), expectation, result().summary["expectations"][number]["value"])
    chart = lines[lines.index("") + 1 :]
    return {line[:26].strip(): line[26:] for line in chart}


def drawn(**where):
    """Return the dead letters of a part of the run in as many cells as the run has steps."""
    run = result()
    letters = run.dlq
    for column, value in where.items():
        letters = letters[letters[column] == value]
    series = run.series
    edges = [*series["time_s"], run.summary["simulated_s"] + 1]
    counts = [int(letters["time_s"].between(low, high, inclusive="left").sum()) for low, high in pairwise(edges)]
    size = -(-len(series) // 62)
    return sparkline(in_cells(counts, size, sum))


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (0, {}),
        (1, {"entry": "codes"}),
        (2, {"priority": "critical"}),
        (4, {"channel": "email"}),
        (5, {"entry": "digests"}),
    ],
)
def test_the_series_are_those_of_the_part_that_it_is_about(number, where):
    found = rows(number)
    (label,) = (label for label in found if label.startswith("dead-lettered per"))
    assert found[label].startswith(drawn(**where))
    assert any(label.startswith("sent per") for label in found)


@pytest.mark.parametrize("number", [4, 5])
def test_of_a_window_the_metric_is_drawn_and_the_window(number):
    found = rows(number)
    assert not any(label.startswith("arrivals") for label in found)
    window = found["what is looked at"].rstrip()
    cell_s = result().summary["simulated_s"] / 60
    assert abs((len(window) - len(window.lstrip())) * cell_s - 90) < 2 * cell_s
    assert abs(len(window) * cell_s - 180) < 2 * cell_s


def test_of_a_provider_its_own_attempts_are_drawn():
    run, found = result(), rows(3)
    sent = run.summary["channels"]["email"]["providers"]["backup"]["sent"]
    assert 0 < sent < run.summary["channels"]["email"]["sent"] / 2
    rows_of = run.attempts[(run.attempts["provider"] == "backup") & (run.attempts["outcome"] == "sent")]
    (label,) = (label for label in found if label.startswith("sent per"))
    line, most = found[label].rsplit(None, 1)
    assert int(most) <= len(rows_of) == sent
    first = next(at for at, mark in enumerate(line) if mark != " ")
    assert abs(first * run.summary["simulated_s"] / 60 - rows_of["end_s"].min()) < 8
    assert not any(label.startswith("dead-lettered") for label in found)


def test_at_several_nodes_the_breaker_of_each_is_drawn_and_how_often_what_is_in_flight_was_looked_at():
    text = """
        duration: 2m
        nodes: 2
        workload: [{channel: email, arrivals: {constant: 4/s}}]
        faults: [{channel: email, at: 30s, for: 30s, outage: true}]
        expect: [breaker.email.opened == 0, channels.email.breaker.opened == 0, delivered_within(1s) == 1]
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    for expectation, outcome in zip(run.scenario.expect, run.summary["expectations"], strict=True):
        labels = [line[:26].strip() for line in failure_text(run, expectation, outcome["value"])]
        assert [label for label in labels if label.startswith("breaker ")] == ["breaker email@1", "breaker email@2"]
    assert "in flight every 500 ms" in labels
