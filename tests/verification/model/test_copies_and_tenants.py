"""Copies of attempts that wait for the bounds of their tenants, in lock-step with the model."""

from __future__ import annotations

import pytest

import simulation
from actors.messages import NotificationDeferred, NotificationSent
from simulation.scenario import parse

WAITS_FOR_ITS_TENANT = """\
seed: 1
duration: 20s
workload: [{channel: sms, tenants: 1, arrivals: {times: [1s, 1s, 1s, 1s]}}]
channels:
  sms:
    tenant: {max_in_flight: 1}
    timeout: 10s
    circuit_breaker: {initial_state: forced-open}
    provider: {latency: 5s}
    failover: FAILOVER
faults:
  - channel: sms
    at: 1s
    for: 1s
    duplicate_rate: 100%
    reorder: {delay: {mixture: [{weight: 1, constant: 0s}, {weight: 1, constant: 5s}]}}
operations: [{at: 3s, channel: sms, breaker: close}]
"""
"""Four wait for a breaker. At 3 s it closes: one goes, and the others go back and wait until their tenant has room. At
6 s, before it has, copies of these reach the breaker that were late."""


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize("failover", ["{}", "{second: {provider: {latency: 5s}}}"])
def test_a_copy_of_what_waits_for_its_tenant_neither_goes_nor_is_deferred(failover, runtime):
    scenario = parse(WAITS_FOR_ITS_TENANT.replace("FAILOVER", failover))
    result = simulation.run(scenario, invariants="all", runtime=runtime)
    assert "reference-model" in result.checked
    assert [event.at_ns // 10**9 for event in result.history if type(event) is NotificationSent] == [8, 13, 18, 23]
    assert {event.at_ns for event in result.history if type(event) is NotificationDeferred} == {10**9}
    assert result.summary["requests"] == 4
