"""Goals that no settings can reach are refused before a run, with the arithmetic."""

import pytest

import simulation
from actors.errors import ConfigurationError
from simulation.experiments.tuning.tune import unreachable

OUTAGE = """
duration: 20m
workload: [{channel: email, arrivals: {constant: 10/s}}, {channel: sms, arrivals: {constant: 10/s}}]
faults: [{channel: email, at: 5m, for: 3m, outage: true}]
channels: {email: CHANNEL}
expect: [EXPECT]
"""
ATTEMPTS = "channels.email.retry.max_attempts"


def problems(expect, varied=(ATTEMPTS,), channel="{}"):
    text = OUTAGE.replace("EXPECT", f"'{expect}'").replace("CHANNEL", channel)
    return unreachable(simulation.parse(text), varied)


@pytest.mark.parametrize(
    ("expect", "share"),
    [
        ("delivered_within(2m) >= 99%", "2.5"),
        ("channels.email.delivered_within(2m) >= 99%", "5"),
        ("channels.email.delivery_time_s.p95 <= 1m", "10"),
    ],
)
def test_what_arrives_in_an_outage_cannot_be_there_before_its_end(expect, share):
    (problem,) = problems(expect)
    assert problem.startswith(f"expect: {expect}: no setting can meet that: {share}% arrive in the first ")
    assert "of the outage of email, which lasts 3 min from 5:00 on" in problem


@pytest.mark.parametrize(
    ("expect", "varied", "channel"),
    [
        ("delivered_within(3m) >= 99%", ATTEMPTS, "{}"),
        ("delivered_within(2m) >= 97%", ATTEMPTS, "{}"),
        ("channels.sms.delivered_within(1m) >= 99%", ATTEMPTS, "{}"),
        ("delivered_within(2m) <= 99%", ATTEMPTS, "{}"),
        ("delivered_within(2m) >= 99%", "faults.0.for", "{}"),
        ("delivered_within(2m) >= 99%", "channels.email.fallback.after", "{}"),
        ("delivered_within(2m) >= 99%", ATTEMPTS, "{fallback: {channel: sms}}"),
        ("sent_fraction == 1", ATTEMPTS, "{}"),
    ],
)
def test_what_may_be_met_is_not_refused(expect, varied, channel):
    assert problems(expect, [varied], channel) == []


def test_a_search_for_it_does_not_begin():
    scenario = simulation.parse(OUTAGE.replace("EXPECT", "'delivered_within(2m) >= 99%'").replace("CHANNEL", "{}"))
    with pytest.raises(ConfigurationError, match="they cannot be there within 2 min"):
        simulation.tune(scenario, {ATTEMPTS: "1..50"})
