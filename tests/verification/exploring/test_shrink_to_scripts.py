"""Shrinking writes down what providers answer, where a case depends on the draws of much that it does not need."""

from __future__ import annotations

import pytest

import simulation
from actors.messages import NotificationFailed, NotificationSent
from simulation.invariants import Invariant, observes
from simulation.scenario import parse
from simulation.scenario.writing import as_data, write
from simulation.verification.exploring.scripting import answers_of, noting_providers, scripted
from simulation.verification.exploring.shrink import shrink
from simulation.verification.exploring.trial import attempt

RANDOM = """
seed: 3
duration: 40s
workload: [{channel: sms, arrivals: {poisson: 1/s}}]
channels:
  sms:
    circuit_breaker: {enabled: false}
    retry: {max_attempts: 2, jitter: full}
    provider: {latency: {lognormal: {median: 300ms, p99: 2s}}, failure_rate: 30%}
faults: [{channel: sms, permanent_rate: 30%}]
"""

LATE = [
    "Permanent",
    "Permanent",
    "Permanent",
    "Transient",
    "Permanent",
    "Permanent",
    "sent",
    "sent",
    "Permanent",
    "Transient",
]


class InThisOrder(Invariant):
    """The last attempts do not end in a way that comes late in the random run."""

    name = "in-this-order"

    def __init__(self, context):
        super().__init__(context)
        self._seen = []

    @observes(NotificationFailed, NotificationSent)
    def on_end(self, event):
        self._seen = [*self._seen, getattr(event, "kind", "sent")][-len(LATE) :]
        return "it has happened" if self._seen == LATE else None


@pytest.mark.thorough
def test_no_filler_stays_for_the_sake_of_the_draws():
    shrunk = shrink(parse(RANDOM), invariants=["all", InThisOrder], runs=200)
    assert shrunk.failing_case.kind == "in-this-order"
    assert (shrunk.after.faults, shrunk.after.operations) == (0, 0)
    assert shrunk.after.notifications <= len(LATE)
    assert 1 <= shrunk.after.answers <= len(LATE) + 1
    assert "scripted answers" in str(shrunk.after)
    again = attempt(parse(write(shrunk.scenario)), invariants=["all", InThisOrder])
    assert again.failing_case == shrunk.failing_case


def test_a_case_that_a_fault_says_better_keeps_it():
    text = """
duration: 30s
workload: [{channel: sms, arrivals: {constant: 1/s}}]
faults: [{channel: sms, at: 10s, for: 10s, outage: true}]
"""

    class FailsOften(Invariant):
        name = "fails-often"

        def __init__(self, context):
            super().__init__(context)
            self._failed = 0

        @observes(NotificationFailed)
        def on_failed(self, event):
            self._failed += 1
            return "the fifth failure" if self._failed == 5 else None

    shrunk = shrink(parse(text), invariants=[FailsOften])
    assert (shrunk.after.faults, shrunk.after.answers) == (1, 0)


BUSY = """
seed: 7
duration: 1m
workload:
  - {event: OrderPlaced, arrivals: {poisson: 1/s}, users: 9}
  - {channel: webhook, arrivals: {constant: 1/s}, users: 5, hosts: 3}
channels:
  email:
    retry: {max_attempts: 3, initial_delay: 500ms}
    switch_after: 1
    provider: {latency: {exponential: {mean: 400ms}}, failure_rate: 30%, capacity: 2, discipline: processor_sharing}
    failover: {backup: {timeout: 1s, provider: {latency: {exponential: {mean: 700ms}}}}}
  sms: {provider: {latency: 100ms, capacity: 1}, fallback: {channel: email}}
  webhook: {hedging: {delay: 100ms}, provider: {latency: {exponential: {mean: 200ms}}}}
faults:
  - {channel: all, at: 10s, for: 20s, lost_reply_rate: 20%, permanent_rate: 20%, dead_destination_rate: 5%}
  - {channel: sms, at: 10s, for: 10s, throttle: {rate: 0.5/s, retry_after: 3s}}
  - {channel: webhook, at: 20s, for: 5s, hang: true}
  - {channel: email, at: 40s, crash: process, restart_after: 1s}
"""


def outcomes(result):
    """Return what came of each attempt, without the order of what happens at one instant."""
    return sorted(
        (event.at_ns, event.notification_id, event.attempt, getattr(event, "reason", "sent"), event.provider or "")
        for event in result.history
        if type(event) in (NotificationSent, NotificationFailed)
    )


@pytest.mark.parametrize("faults", [False, True])
def test_a_run_with_what_was_answered_written_down_is_the_same(faults):
    scenario = parse(BUSY)
    providers = noting_providers(scenario)
    noted = attempt(scenario, invariants="all", providers=providers).result
    assert noted.history == simulation.run(scenario).history, "noting changes nothing"
    data = scripted(as_data(scenario), answers_of(providers), faults=faults)
    again = parse(write(data))
    assert all("failure_rate" not in write(provider) for provider in [data["channels"]["email"]["provider"]])
    assert len(again.faults) == (4 if faults else 1)
    assert outcomes(simulation.run(again)) == outcomes(noted)


def test_answers_go_with_the_arrivals_that_they_were_for():
    scenario = parse(BUSY)
    providers = noting_providers(scenario)
    attempt(scenario, invariants="default", providers=providers)
    answers = answers_of(providers)
    arrivals = {each.arrival for of_provider in answers.values() for each in of_provider}
    assert {entry for entry, _ in arrivals} == {0, 1}
    assert (0, 3) in arrivals
    without = scripted(as_data(scenario), answers, without={(0, 3)})
    for (channel, name), of_provider in answers.items():
        settings = without["channels"][channel.value]
        settings = settings if name == "primary" else settings["failover"][name]
        left = [each for each in of_provider if each.arrival != (0, 3)]
        assert settings["provider"].get("script", []) == [each.written for each in left]
