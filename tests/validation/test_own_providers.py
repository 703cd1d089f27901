"""A run with providers of one's own, in place of those that the scenario describes."""

from __future__ import annotations

import pytest

import simulation
from actors import ConfigurationError, Foreseen, NotificationChannel, Provider, Sent, Transient
from simulation.scenario import parse

SCENARIO = """
duration: 10s
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels: {sms: {circuit_breaker: {enabled: false}, provider: {failure_rate: 100%}}}
"""


class EverySecond(Provider):
    """Fails at every other attempt, after half a second."""

    def __init__(self) -> None:
        self.attempts = 0

    def attempt(self, attempt, now_ns):
        self.attempts += 1
        return Foreseen(500_000_000, Sent() if self.attempts % 2 else Transient(reason="not now"))


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_they_deliver_on_either_clock(runtime):
    provider = EverySecond()
    result = simulation.run(parse(SCENARIO), providers={NotificationChannel.SMS: provider}, runtime=runtime)
    assert result.summary["sent"] == 10
    assert result.summary["attempts"] == provider.attempts
    assert result.summary["retries"] > 0


def test_every_invariant_can_be_checked_with_them():
    result = simulation.run(parse(SCENARIO), providers={NotificationChannel.SMS: EverySecond()}, invariants="all")
    assert len(result.checked) > 10


def test_one_that_is_missing_is_named():
    with pytest.raises(ConfigurationError, match="providers: none for sms"):
        simulation.run(parse(SCENARIO), providers={NotificationChannel.PUSH: EverySecond()})
