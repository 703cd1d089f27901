"""Shrinking: what is left breaks in the same way, and nothing can be left out of it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from planted import InTheOrderOfTheFile, OpensOnce, nothing_is_redriven

from simulation.scenario import parse
from simulation.scenario.writing import as_data, write
from simulation.verification.exploring.interleaving import interleaving
from simulation.verification.exploring.shrink import minimal, shrink
from simulation.verification.exploring.trial import attempt

BUSY = """
name: busy
seed: 5
duration: 2m
workload:
  - {channel: email, arrivals: {poisson: 1/s}, users: 9}
  - {channel: sms, arrivals: {constant: 1/s}, users: 5, expires_after: 90s}
  - {channel: push, clients: 3, think: 5s}
channels:
  email: {rate_limit: {max_per_minute: 20}, retry: {max_attempts: 2}, quota: {rates: [3/s, 100/min]}}
  sms: {retry: {max_attempts: 3, jitter: full}, circuit_breaker: {failure_threshold: 3, timeout: 7s}}
faults:
  - {channel: email, at: 10s, for: 20s, failure_rate: 70%}
  - {channel: sms, at: 20.5s, for: 17.25s, outage: true}
  - {channel: all, at: 50s, for: 5s, latency: 3s}
operations:
  - {at: 70s, redrive: all}
  - {at: 80s, channel: push, breaker: force-open}
  - {at: 90s, channel: push, breaker: close}
quiet_hours:
  - {share: 10%, from: 22:00, to: 23:00}
"""


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(0, 40))
def test_minimal_is_what_is_needed(needed, others):
    items = sorted(needed | set(range(others)))
    assert minimal(items, lambda kept: needed <= set(kept)) == sorted(needed)


def test_minimal_of_what_needs_nothing_or_is_nothing():
    assert minimal([1, 2, 3], lambda kept: True) == []
    assert minimal([], lambda kept: True) == []


@pytest.mark.thorough
def test_a_breaker_that_opens_twice_takes_its_failures_and_an_outage():
    shrunk = shrink(parse(BUSY), invariants=["all", OpensOnce])
    data = as_data(shrunk.scenario)
    assert shrunk.failing_case.kind == "opens-once"
    assert shrunk.before.faults == 3
    assert len(data["faults"]) == 1
    assert "operations" not in data
    assert "quiet_hours" not in data
    assert [entry["channel"] for entry in data["workload"]] == ["sms"]
    assert shrunk.after.notifications <= 3
    assert set(data.get("channels", {})) <= {"sms"}
    # What is written to a file breaks as well.
    again = attempt(parse(write(shrunk.scenario)), invariants=["all", OpensOnce])
    assert again.failing_case == shrunk.failing_case


@pytest.mark.thorough
def test_it_is_the_same_each_time():
    first, second = (shrink(parse(BUSY), invariants=[nothing_is_redriven]) for _ in range(2))
    assert first == second
    assert str(first.after) == "1 notification, 1 fault, 1 operation"


def test_an_order_that_breaks_is_left_with_its_one_deviation():
    text = """
duration: 30s
workload:
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
  - {channel: push, arrivals: {constant: 2/s}}
faults: [{channel: email, at: 5s, for: 5s, outage: true}]
schedule: {random_walk: true}
"""
    shrunk = shrink(parse(text), invariants=[InTheOrderOfTheFile])
    assert str(shrunk.after) == "2 notifications, 1 deviation"
    assert shrunk.before.deviations > 10
    lines = interleaving(shrunk.scenario)
    marked = [line for line in lines if line.startswith(">")]
    assert len(marked) == 1
    assert "goes before" in marked[0]
    assert any("accepted on sms" in line.lower() for line in lines)


def test_the_normal_order_is_kept_where_it_breaks_too():
    shrunk = shrink(parse(BUSY + "schedule: {pct: {depth: 3, steps: 300}}"), invariants=[OpensOnce])
    assert shrunk.scenario.schedule is None


FAILING_ENDPOINT = """
seed: 1
duration: 20s
workload:
  - {channel: email, arrivals: {constant: 1/s}, users: 1}
  - {channel: sms, arrivals: {constant: 1/s}}
channels:
  email: {endpoints: {disable_after: 5s}, provider: {failure_rate: 100%, connections: 2}}
"""


def test_a_difference_from_the_reference_model_is_shrunk(monkeypatch):
    monkeypatch.setattr("simulation.verification.model.handler.mark_after", lambda *of_an_attempt: None)
    shrunk = shrink(parse(FAILING_ENDPOINT), "reference-model", runs=60)
    assert shrunk.failing_case.kind == "reference-model"
    assert shrunk.after.notifications == 1
    assert "sms" not in write(shrunk.scenario)


class SimulatedOnly(OpensOnce):
    """As `fates`, it looks at runs with the providers of the scenario itself alone."""

    @classmethod
    def applies(cls, context):
        return context.world.simulates_providers


def test_what_breaks_with_the_own_providers_alone_is_shrunk_without_scripts():
    shrunk = shrink(parse(BUSY), "opens-once", invariants=[SimulatedOnly], runs=60)
    assert shrunk.failing_case.kind == "opens-once"
    assert shrunk.after.notifications < shrunk.before.notifications
    assert shrunk.after.answers == 0


def test_so_many_runs_at_most():
    shrunk = shrink(parse(BUSY), invariants=[OpensOnce], runs=7)
    assert shrunk.runs == 7
    assert attempt(shrunk.scenario, invariants=[OpensOnce]).failing_case == shrunk.failing_case


@pytest.mark.parametrize("kind", [None, "opens-once"])
def test_what_does_not_break_cannot_be_shrunk(kind):
    with pytest.raises(ValueError, match="wanted a case that breaks"):
        shrink(parse("duration: 1s\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]"), kind)
