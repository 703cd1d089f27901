"""A run with providers of one's own, in place of those that the scenario describes."""

from __future__ import annotations

import itertools

import pytest
import simpy
from worlds import Scripted

import simulation
from actors import ConfigurationError, NotificationChannel, Promise, Provider, Sent, Transient
from actors.messages import BreakerTransitioned
from simulation.scenario import parse

SCENARIO = """
duration: 10s
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels: {sms: {circuit_breaker: {enabled: false}, provider: {failure_rate: 100%}}}
"""


def every_second():
    """Return a provider that fails at every other attempt, after half a second."""
    return Scripted(itertools.cycle([Sent(), Transient(reason="not now")]), 0.5)


class Desk(Provider):
    """Two clerks, as SimPy processes: what is critical goes first, and every clerk first makes a call of 100 ms."""

    def on_wired(self, system):
        self.env = system.env
        self.clerks = simpy.PriorityResource(self.env, capacity=2)

    def attempt(self, attempt, now_ns):
        promise = Promise()
        self.env.process(self.serve(attempt.command.critical, promise))
        return promise

    def serve(self, critical, promise):
        with self.clerks.request(priority=0 if critical else 1) as turn:
            yield turn
            yield self.env.timeout(100_000_000)
            yield self.env.timeout(900_000_000)
        promise.keep(Sent())


@pytest.mark.parametrize("invariants", ["default", "all"])
def test_one_may_be_made_of_processes_that_keep_promises(invariants):
    text = """
duration: 1s
workload:
  - {channel: sms, arrivals: {times: [0s, 0s, 0s, 0s]}}
  - {channel: sms, critical: true, arrivals: {times: [500ms]}}
channels: {sms: {timeout: 2500ms, retry: {max_attempts: 1}}}
"""
    result = simulation.run(parse(text), providers={NotificationChannel.SMS: Desk()}, invariants=invariants)
    sent = result.notifications.query("outcome == 'sent'")
    assert sorted(sent["finished_at_s"]) == [1.0, 1.0, 2.0, 2.0]
    assert result.summary["dead_lettered"] == 1  # its answer comes at 3 s: it times out at 2.5 s


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_they_deliver_on_either_clock(runtime):
    provider = every_second()
    result = simulation.run(parse(SCENARIO), providers={NotificationChannel.SMS: provider}, runtime=runtime)
    assert result.summary["sent"] == 10
    assert result.summary["attempts"] == len(provider.tries)
    assert result.summary["retries"] > 0


class Choosy(Scripted):
    connections_max = 2
    recipients_choose_hosts = True

    def recipient_problem(self, command):
        return "wanted an even number" if command.notification_id[-1] in "13579" else None


def test_the_reference_model_is_told_what_they_choose():
    text = """
duration: 10s
workload: [{channel: webhook, arrivals: {constant: 6/s}, hosts: 3, users: 9}]
channels: {webhook: {retry: {max_attempts: 2}, circuit_breaker: {failure_threshold: 2, timeout: 1s}}}
"""
    provider = Choosy(itertools.cycle([Sent(), Transient(reason="not now"), Transient(reason="down")]), 0.5)
    result = simulation.run(parse(text), providers={NotificationChannel.WEBHOOK: provider}, invariants="all")
    assert "reference-model" in result.checked
    assert result.summary["accepted"] == 30
    hosts = {event.host for event in result.history if isinstance(event, BreakerTransitioned)}
    assert len(hosts - {None}) == 3


def test_one_that_is_missing_is_named():
    with pytest.raises(ConfigurationError, match="providers: none for sms"):
        simulation.run(parse(SCENARIO), providers={NotificationChannel.PUSH: every_second()})
