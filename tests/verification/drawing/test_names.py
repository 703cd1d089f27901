"""Cases whose channels have names of their own."""

from __future__ import annotations

from random import Random

from simulation import run
from simulation.scenario import parse
from simulation.scenario.identity import has_recipients, is_call
from simulation.scenario.writing import write
from simulation.verification.drawing.names import NAMES, renamed

SCENARIO = parse(
    """
    duration: 10s
    workload:
      - {channel: push, arrivals: {poisson: 1/s}}
      - {channel: webhook, arrivals: {poisson: 1/s}, users: 20, hosts: 3}
      - {event: UserRegistered, arrivals: {poisson: 1/s}}
    channels: {push: {fallback: {channel: sms}, retry: {max_attempts: 1}}}
    preferences: [{share: 20%, channel: push, enabled: false}]
    quiet_hours: [{share: 30%, from: "00:00", to: "00:01", channels: [sms, push]}]
    faults: [{channel: [push, email], failure_rate: 50%}, {channel: all, at: 5s, for: 1s, outage: true}]
    """
)


def test_what_no_event_needs_is_renamed_wherever_it_is_named_and_some_of_it_takes_calls():
    cases = [renamed(SCENARIO, Random(seed)) for seed in range(12)]
    for case in cases:
        assert parse(write(case, "")).channels_used == case.channels_used
        assert "email" in case.channels_used
    used = {channel for case in cases for channel in case.channels_used}
    assert set(NAMES[:3]) <= used
    kinds = {case.channel_as_given(channel).kind for case in cases for channel in case.channels_used}
    assert {"call", "push", "webhook", None} <= kinds
    calls = [(case, entry) for case in cases for entry in case.workload[:2] if is_call(case, entry.channel)]
    assert {has_recipients(entry, case) for case, entry in calls} == {True, False}
    assert len(run(cases[0], invariants="all").notifications) == len(run(SCENARIO).notifications)
