"""The incidents that ship hold what is known of them, and would not if their cause or their course went away."""

from functools import cache
from pathlib import Path

import pytest

import simulation
from simulation.reporting.facts import facts
from simulation.scenario import load
from simulation.scenario.lint import lint_scenario

INCIDENTS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "scenarios" / "incidents").glob("*.yaml"))}

WITHOUT = {
    "github-notifications-2026": [
        (["channels.push.max_in_flight=48"], {"sent_time_s.max >= 70m", "delivered_within(1m) <= 30%"}),
        (["faults.1.for=10m"], {"sent_time_s.max >= 70m", "delivered_within(1m) <= 30%"}),
    ],
    "github-webhooks-2024": [
        (
            [
                "channels.webhook.circuit_breaker.resume_rate=1000/s",
                "channels.webhook.circuit_breaker.resume_rate_max=1000/s",
            ],
            {"peaks.requests_per_s <= 20"},
        ),
        (["faults.0.outage=false", "faults.0.permanent_rate=100%"], {"sent_fraction == 1"}),
        (["faults.0.for=30m"], {"delivery_time_s.p95 >= 60m"}),
    ],
    "improvmx-2025": [
        (
            ["channels.email.circuit_breaker={per: host}"],
            {"workload.others.delivery_time_s.p50 >= 1m", "workload.others.sent_time_s.max >= 20m"},
        ),
        (["channels.email.max_in_flight=2"], {"workload.others.delivered_within(1m) >= 15%"}),
    ],
    "onfido-2025": [
        (["channels.webhook.quota={rate: 1/s, kind: leaky_bucket}"], {"retries >= 500"}),
        (["faults.0.latency_factor=1"], {"retries >= 500", "sent_time_s.max >= 40m"}),
    ],
    "opsgenie-2022": [
        (
            ["channels.push.quota=null", "channels.sms.quota=null"],
            {"workload.us.delivered_within(1m) <= 30%", "workload.eu.delivered_within(1m) <= 30%"},
        ),
        # What is down in place of stopped is probed, and each probe is an attempt.
        (
            ["operations=[]", "faults=[{channel: all, at: 20m, for: 50m, outage: true}]"],
            {"retry_amplification == 1", "sent_time_s.max <= 55m"},
        ),
    ],
    "pagerduty-2017": [
        (
            ["channels.sms.failover.backup.quota=null"],
            {"delivered_within(1m) <= 75%", "sent_time_s.max >= 15m"},
        ),
        (["workload.1.arrivals={poisson: 1/h}"], {"delivered_within(1m) <= 75%"}),
        (["faults.0.provider=null"], {"breaker.sms/backup.opened == 0"}),
    ],
    "va-debt-2023": [
        (
            ["workload.0.arrivals={constant: 10/s}"],
            {"workload.appointments.delivered_within(1m) <= 65%", "workload.appointments.sent_time_s.max >= 4m"},
        ),
        (["channels.email.quota.on_limit=drop"], {"dead_lettered == 0"}),
    ],
    "vonage-2022": [
        (["channels.sms.timeout=1500ms"], {"delivered_within(10s) <= 97%", "sent_time_s.max >= 20s"}),
        (
            ["channels.sms.circuit_breaker={window: {calls: 100}, slow_call: {duration: 2s, rate: 3%}}"],
            {"breaker.sms.opened == 0"},
        ),
    ],
}
"""For each incident: changes to it, and expectations that do not hold then; the first are of what it is about."""

SAID = {
    "github-notifications-2026": [
        "of 5,320 requests took over a minute, at most 84",
        "latency ×10» at 110 min: ",
    ],
    "github-webhooks-2024": [
        "of 5,456 requests took over a minute, at most 89",
        "outage» at 20 min: cleared",
    ],
    "improvmx-2025": ["of 6,043 requests took over a minute", "others 3,563 of 4,351", "dead-host 1,484 of 1,692"],
    "onfido-2025": ["of 5,393 requests took over a minute", "680 throttled by the provider"],
    "opsgenie-2022": ["requests took over a minute, at most 50 min: us ", ", eu "],
    "pagerduty-2017": ["of 7,189 requests took over a minute", "pages (critical) 1,846 of 3,236", "3,098 by backup"],
    "va-debt-2023": ["of 5,119 requests took over a minute", "appointments 282 of 619"],
    "vonage-2022": ["270 of 5,980 requests took over 10 s, at most 23.5 s", "270 by second", "270 timed out"],
}
"""What the lines below the table say: what happened, to whom, and by how much."""

MEANT = {"github-webhooks-2024": ["breaker-shared-by-hosts"]}
"""What the linter finds in them, and is what they are about."""

each_incident = pytest.mark.parametrize("name", INCIDENTS)


@cache
def result_of(name):
    return simulation.run(INCIDENTS[name])


def broken(summary):
    return {one["text"]: one["value"] for one in summary["expectations"] if not one["holds"]}


def test_there_are_eight():
    assert len(INCIDENTS) == 8
    assert INCIDENTS.keys() == WITHOUT.keys() == SAID.keys()


@each_incident
def test_it_says_what_is_published_what_is_assumed_and_where(name):
    scenario = load(INCIDENTS[name])
    assert scenario.name == name
    assert "Published: " in scenario.description
    assert "Assumed: " in scenario.description
    assert "Source: https://" in scenario.description
    assert len(scenario.description) <= 600
    first_line = INCIDENTS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=../scenario.schema.json"


@each_incident
def test_the_linter_finds_only_what_is_meant(name):
    assert [finding.rule for finding in lint_scenario(load(INCIDENTS[name]))] == MEANT.get(name, [])


@each_incident
def test_its_expectations_hold(name):
    summary = result_of(name).summary
    assert broken(summary) == {}
    assert summary["offered"] <= 10_000


@each_incident
def test_the_lines_below_the_table_say_what_happened_to_whom(name):
    lines = facts(result_of(name))
    assert len(lines) <= 6
    for words in SAID[name]:
        assert words in "\n".join(lines)


@pytest.mark.slow
@each_incident
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_its_expectations_hold_with_other_seeds_too(name, seed):
    assert broken(simulation.run(INCIDENTS[name], seed=seed).summary) == {}


@pytest.mark.parametrize(
    ("name", "sets", "expectations"),
    [
        pytest.param(name, sets, expectations, marks=[pytest.mark.slow] if number else [], id=f"{name} {sets[0]}")
        for name, changes in WITHOUT.items()
        for number, (sets, expectations) in enumerate(changes)
    ],
)
def test_an_expectation_fails_when_what_it_is_about_goes_away(name, sets, expectations):
    assert expectations <= broken(simulation.run(INCIDENTS[name], sets=sets).summary).keys()
