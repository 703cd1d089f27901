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
accounts: {a: {throttle: {rate: 20/s}}}
expect: [EXPECT]
"""
ATTEMPTS = "channels.email.retry.max_attempts"
CLEARED = "faults.0.backlog_cleared_s"
QUOTA = "{quota: {rate: 20/s}}"
OF_ACCOUNT = "{quota: {account: a}, provider: {account: a}}"


def problems(expect, varied=(ATTEMPTS,), channel="{}"):
    text = OUTAGE.replace("EXPECT", ", ".join(f"'{each}'" for each in expect.split(", "))).replace("CHANNEL", channel)
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
    ("expect", "channel", "lost", "takes"),
    [
        ("channels.email.sent_fraction >= 99%, channels.email.peaks.requests_per_s <= 20", "{}", "120", "84 s"),
        ("delivered_within(10m) >= 99%, peaks.requests_per_s <= 20", "{}", "240", "78 s"),
        ("dead_lettered == 0", QUOTA, "0", "90 s"),
        ("dead_lettered == 0", OF_ACCOUNT, "0", "90 s"),
    ],
)
def test_a_backlog_leaves_no_faster_than_its_provider_may_get_it(expect, channel, lost, takes):
    (problem,) = problems(f"{CLEARED} <= 1m, {expect}", channel=channel)
    assert problem == (
        f"expect: {CLEARED} <= 1m: no setting can meet that: 1,800 arrive in the outage of email, of which at most "
        f"{lost} may be lost; at 20/s, the most that its provider may get, the others take {takes}"
    )
    assert problems(f"{CLEARED} <= 2m, {expect}", channel=channel) == []


@pytest.mark.parametrize(
    ("expect", "varied", "channel"),
    [
        (f"{CLEARED} <= 1m", ATTEMPTS, QUOTA),
        (f"{CLEARED} <= 1m, dead_lettered == 0", "channels.email.quota.rate", QUOTA),
        (f"{CLEARED} <= 1m, dead_lettered == 0", "accounts.a.throttle.rate", OF_ACCOUNT),
        (f"{CLEARED} <= 1m, dead_lettered == 0", ATTEMPTS, "{}"),
        (f"{CLEARED} <= 1m, dead_lettered <= 1000", ATTEMPTS, QUOTA),
        (f"{CLEARED} <= 1m, dead_lettered == 0", ATTEMPTS, QUOTA.replace("}}", "}, redrive: {rate: 1/s}}")),
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


def test_what_is_for_an_address_that_is_gone_is_no_dead_letter_and_leaves_the_backlog():
    text = OUTAGE.replace("true}]", "true}, {channel: email, at: 8m, for: 10m, dead_destination_rate: 90%}]")
    text = text.replace("EXPECT", f"{CLEARED} <= 10s, dead_lettered <= 30").replace("CHANNEL", QUOTA)
    assert unreachable(simulation.parse(text), [ATTEMPTS]) == []


def test_a_search_for_it_does_not_begin():
    scenario = simulation.parse(OUTAGE.replace("EXPECT", "'delivered_within(2m) >= 99%'").replace("CHANNEL", "{}"))
    with pytest.raises(ConfigurationError, match="they cannot be there within 2 min"):
        simulation.tune(scenario, {ATTEMPTS: "1..50"})
