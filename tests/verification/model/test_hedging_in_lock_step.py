"""Attempts with copies in lock-step with the reference model: when they go, which decides, and what they take up."""

from __future__ import annotations

import pytest

import simulation
from actors.errors import InvariantBreach
from actors.pipeline.hedging_channel import HedgingChannel
from actors.policies.hedging import HedgingSchedule
from actors.policies.retry.budgets import AwsBudget
from simulation.scenario import parse

COPIES = """\
name: copies
seed: 3
duration: 30s
workload: [{channel: push, arrivals: {poisson: 6/s}, users: 9, hosts: 3}]
channels:
  push:
    hedging: {max_attempts: 3, delay: 400ms}
    timeout: 3s
    retry: {max_attempts: 4, initial_delay: 200ms, budget: {kind: aws, capacity: 60, retry_cost: 5, timeout_cost: 2}}
    circuit_breaker: {failure_threshold: 4, timeout: 1s, per: host}
    quota: {rate: 9/s, kind: token_bucket, burst: 12}
    max_in_flight: 6
    failover: {backup: {provider: {latency: 900ms, failure_rate: 30%}}}
    provider: {latency: {exponential: {mean: 500ms}}, failure_rate: 20%}
faults:
  - {channel: push, at: 4s, for: 3s, throttle: {rate: 4/s, retry_after: 300ms}}
  - {channel: push, at: 9s, for: 2s, outage: true, provider: primary}
  - {channel: push, at: 14s, for: 2s, hang: true}
  - {channel: push, at: 18s, for: 4s, lost_reply_rate: 40%, permanent_rate: 20%}
"""

CRASHES = """\
  - {channel: push, at: 15500ms, crash: {actor: channel}, restart_after: 700ms}
  - {channel: push, at: 19s, crash: {actor: breaker}, restart_after: 500ms}
  - {channel: push, at: 21s, crash: {actor: handler}, restart_after: 500ms}
  - {channel: push, at: 24s, crash: process, restart_after: 2s}
"""


def compared(text, **arguments):
    result = simulation.run(parse(text, "copies.yaml"), invariants=["reference-model"], **arguments)
    assert result.checked == ("reference-model",)
    return result.summary


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize("faults", ["", CRASHES], ids=["calm", "crashes"])
def test_copies_of_attempts(faults, runtime):
    assert compared(COPIES + faults, runtime=runtime)["hedges"] > 30


@pytest.mark.parametrize("kind", ["finagle", "grpc", "envoy", "aws", "token_bucket"])
def test_copies_cost_a_budget_of_each_kind(kind):
    before = "budget: {kind: aws, capacity: 60, retry_cost: 5, timeout_cost: 2}"
    assert compared(COPIES.replace(before, f"budget: {{kind: {kind}}}"))["hedges"] > 10


def test_copies_of_answers_that_nobody_could_foresee():
    provider = "latency: 500ms, capacity: 3, discipline: processor_sharing, failure_rate: 20%"
    assert compared(COPIES.replace("latency: {exponential: {mean: 500ms}}, failure_rate: 20%", provider))["hedges"] > 30


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "told"),
    [
        (HedgingSchedule, "after_send", lambda self, sent, now_ns: now_ns + 5 * 10**8, "has not come"),
        (HedgingSchedule, "after_failure", lambda self, sent, now_ns, pushback=None: now_ns, "nothing is expected now"),
        (HedgingChannel, "_settle", lambda self, copy, succeeded: None, "expected|is missing|should be"),
        (AwsBudget, "try_retry", lambda self, kind, now_ns: 1, "expected|should be"),
    ],
)
def test_what_is_done_otherwise_with_copies_is_told(monkeypatch, owner, name, wrong, told):
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(InvariantBreach, match=told):
        compared(COPIES)
