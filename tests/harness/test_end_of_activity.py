"""When a run is over: not while anything that was given up is just about to go out another way."""

from __future__ import annotations

import pytest

import simulation
from simulation.scenario import parse


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_falls_back_last_is_sent_too(runtime):
    scenario = parse("""
duration: 10s
workload: [{channel: push, arrivals: {times: [1s]}}]
channels:
  push: {retry: {max_attempts: 2, initial_delay: 20s}, fallback: {channel: sms}}
  sms: {provider: {latency: 2s}}
faults: [{channel: push, permanent_rate: 100%}, {channel: push, outage: true}]
""")
    summary = simulation.run(scenario, runtime=runtime).summary
    assert (summary["in_flight"], summary["sent"], summary["channels"]["sms"]["sent"]) == (0, 1, 1)
