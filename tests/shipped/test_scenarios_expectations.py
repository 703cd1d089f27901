"""The scenarios that ship hold what they expect, with any seed, and would not if what they show went away."""

import json

import pytest
from shipped import SCENARIOS as PATHS, result_of

import simulation
from simulation.scenario import json_schema, load

SCENARIOS = {path.stem: path for path in PATHS}
SCHEMA = SCENARIOS["steady-state"].with_name("scenario.schema.json")
OTHER_SEEDS = (101, 102, 103)

WITHOUT = {
    "aws-retries-2026": [
        (
            ["channels.push.retry={max_attempts: 3, initial_delay: 50ms, budget: {kind: aws}}"],
            {
                "workload.before.sent_fraction <= 0.5",
                "workload.before.retry_amplification >= 5",
                "workload.before.sent_fraction <= 0.2 from 2m to the end",
            },
        ),
        (
            ["channels.sms.retry={max_attempts: 11, initial_delay: 25ms}"],
            {
                "workload.after.sent_fraction >= 0.6",
                "workload.after.retry_amplification <= 1.3",
                "workload.after.delivered_within(1s) >= 95% from 2m to the end",
            },
        ),
    ],
    "adaptive-rate-on-429": [
        (
            ["channels.email.adaptive_rate=null"],
            {"channels.email.retries <= 100", "channels.email.delivery_time_s.p99 <= 100s"},
        ),
        (
            ["channels.sms.adaptive_rate={}"],
            {"channels.sms.retries >= 5000", "channels.sms.delivery_time_s.p99 >= 2m"},
        ),
        (["channels.push.quota=null"], {"channels.push.retries <= 1400"}),
        (["channels.push.quota.rate=6/s"], {"channels.push.retries >= 800"}),
        (["channels.sms.retry.max_attempts=5"], {"dead_lettered == 0"}),
        (["faults.0={channel: all, at: 2m, for: 3m, failure_rate: 60%}"], {"breaker.sms.opened == 0"}),
    ],
    "breaker-of-each-node": [
        (["nodes.count=3"], {"breaker.email.opened >= 55 from 1m to 4m", "retries >= 100"}),
        (
            ["faults.1.node=null"],
            {"delivered_within(1s) >= 88% from 6m to 8m"},
        ),
        (
            ["faults.1.outage=false", "faults.1.failure_rate=1%"],
            {"breaker.email@3.opened >= 9", "delivered_within(1s) <= 95% from 6m to 8m"},
        ),
        (["channels.email.retry.max_attempts=1"], {"dead_lettered == 0"}),
    ],
    "breaker-per-host": [
        (["channels.email.circuit_breaker.per=channel"], {"channels.email.delivery_time_s.p90 <= 1s"}),
        (
            ["channels.webhook.circuit_breaker.per=host"],
            {"channels.webhook.delivery_time_s.p90 >= 30s"},
        ),
        (
            ["faults.0.for=1s"],
            {
                "breaker.email.opened >= 3",
                "channels.email.sent_time_s.max >= 90s",
                "breaker.webhook.open_s >= 60s",
            },
        ),
        (["channels.email.retry.max_attempts=1"], {"channels.email.dead_lettered == 0"}),
    ],
    "budget-against-retry-storm": [
        (
            ["channels.webhook.retry.budget=null"],
            {"sent_fraction >= 0.65", "retry_amplification <= 1.1", "peaks.requests_per_s <= 70"},
        ),
        (
            ["channels.webhook.retry.budget={kind: finagle, share: 10%}"],
            {
                "sent_fraction >= 0.65",
                "retry_amplification <= 1.1",
                "delivered_within(1s) >= 95% from 5m to the end",
            },
        ),
        (["channels.webhook.max_in_flight=20"], {"sent_fraction <= 0.85"}),
        (["channels.webhook.circuit_breaker.enabled=true"], {"delivered_within(1s) >= 95% from 5m to the end"}),
    ],
    "burst-over-the-limit": [
        (["channels.email.rate_limit.max_per_minute=1000"], {"deferred == 1200", "sent_time_s.max >= 2m"}),
        (["channels.email.rate_limit.on_limit=drop"], {"dead_lettered == 0", "deferred == 1200"}),
        (["channels.email.rate_limit.max_per_minute=8"], {"delivered_within(5m) >= 100%"}),
        (["workload.0.users=1"], {"deferred == 1200", "delivered_within(5m) >= 100%"}),
        (["channels.email.provider.failure_rate=1%"], {"retry_amplification == 1"}),
        (["channels.email.provider.latency=200ms"], {"delivery_time_s.p50 <= 150ms"}),
    ],
    "fairness-by-tenant": [
        (["channels.sms.quota.rate=3/s", "drain=1s"], {"delivery_time_s.never == 0"}),
        (
            ["channels.email.order.fair_by=tenant"],
            {"workload.rest-in-line.delivered_within(1m) <= 45%", "workload.noise-in-line.sent_time_s.max <= 280s"},
        ),
        (
            ["channels.sms.order.fair_by=none"],
            {"workload.rest-in-turns.delivered_within(1m) >= 90%", "workload.noise-in-turns.sent_time_s.max >= 400s"},
        ),
    ],
    "deploy-during-outage": [
        (["faults.1={channel: email, at: 11m, for: 1s, outage: true}"], {"retries >= 195"}),
        (["channels.email.circuit_breaker.enabled=false"], {"dead_lettered == 0", "retries <= 300"}),
        (
            [
                "channels.email.circuit_breaker.resume_rate=2/min",
                "channels.email.circuit_breaker.resume_rate_max=2/min",
            ],
            {"sent_time_s.max <= 6m", "faults.0.backlog_cleared_s <= 90s"},
        ),
    ],
    "failover-on-outage": [
        (
            ["faults.0.provider=null"],
            {
                "channels.email.providers.backup.sent >= 2700",
                "breaker.email/backup.opened == 0",
                "delivery_time_s.p99 <= 60s",
            },
        ),
        (["channels.email.failover.backup.quota=null"], {"channels.email.providers.backup.sent <= 3300"}),
        (["channels.email.failover.backup.quota.rate=10/s"], {"delivery_time_s.p99 <= 60s"}),
        (
            ["channels.email.circuit_breaker.enabled=false"],
            {"dead_lettered == 0", "breaker.email.open_s >= 2m", "retry_amplification <= 1.05"},
        ),
    ],
    "flapping-provider": [
        (["faults.0.flap.down=1ms"], {"breaker.sms.opened >= 24"}),
        (["channels.sms.circuit_breaker.enabled=false"], {"dead_lettered == 0", "breaker.sms.opened >= 24"}),
        (["channels.sms.circuit_breaker.timeout=60s"], {"breaker.sms.open_s <= 200s", "delivery_time_s.p99 <= 30s"}),
        (["channels.sms.circuit_breaker.when_open=fail"], {"retry_amplification <= 1.05"}),
    ],
    "hanging-provider": [
        (["faults.0={channel: webhook, at: 3m, for: 1ms, hang: true}"], {"breaker.webhook.opened >= 5"}),
        (
            ["channels.webhook.circuit_breaker.enabled=false"],
            {"breaker.webhook.opened >= 5", "channels.webhook.retry_amplification <= 1.02"},
        ),
        (["channels.webhook.retry.max_attempts=1"], {"dead_lettered == 0"}),
        (["channels.webhook.timeout=2m"], {"breaker.webhook.opened >= 5"}),
        (["channels.webhook.circuit_breaker.timeout=5m"], {"channels.webhook.delivered_within(3m) >= 100%"}),
        (["faults.1.lost_reply_rate=0%"], {"channels.push.retries >= 30"}),
        (["faults.1.lost_reply_rate=60%"], {"breaker.push.opened == 0"}),
    ],
    "hedged-tail": [
        (
            ["channels.push.hedging=null"],
            {"channels.push.hedges >= 150", "channels.push.delivery_time_s.p99 <= 500ms"},
        ),
        (["channels.push.hedging.delay=100ms"], {"channels.push.hedges <= 450"}),
        (["channels.push.hedging.max_attempts=4"], {"channels.push.sent_time_s.max >= 2s"}),
        (["channels.push.hedging=null", "channels.push.retry.max_attempts=1"], {"dead_lettered == 0"}),
        (
            ["channels.push.provider.latency=150ms"],
            {"channels.push.hedges >= 150", "channels.push.delivery_time_s.p50 <= 120ms"},
        ),
        (["channels.email.hedging.delay=300ms"], {"channels.email.delivery_time_s.p99 >= 3s"}),
        (["channels.sms.timeout=10s"], {"channels.sms.delivery_time_s.p99 <= 1.6s"}),
        (["channels.sms.timeout=200ms"], {"channels.sms.delivery_time_s.p99 >= 1s"}),
        (
            ["channels.webhook.hedging=null"],
            {"channels.webhook.delivery_time_s.p99 <= 400ms", "channels.webhook.hedges >= 2200"},
        ),
    ],
    "jitter-under-contention": [
        (
            ["channels.sms.retry.jitter=none"],
            {"dead_lettered == 0", "retry_amplification <= 5.5", "delivery_time_s.p99 <= 45s"},
        ),
        (["faults.0.throttle.rate=600/s"], {"retry_amplification >= 3"}),
    ],
    "login-codes-and-digests": [
        (["channels.email.retry.max_attempts=1"], {"delivery_time_s.never == 0"}),
        (
            ["workload.1.priority=bulk"],
            {
                "workload.codes-strict.sent_time_s.max <= 70s",
                "workload.codes-strict.delivered_within(10s) >= 80%",
            },
        ),
        (["workload.3.priority=bulk"], {"workload.codes-weighted.delivered_within(10s) >= 80%"}),
        (["channels.webhook.quota.rate=12/s"], {"workload.codes-alone.delivered_within(10s) <= 75%"}),
        (["channels.email.quota.rate=9/s"], {"workload.digests-strict.sent_time_s.max <= 6m"}),
        (["channels.push.quota.rate=14/s"], {"workload.digests-alone.sent_time_s.max >= 6m"}),
    ],
    "metastable-failure": [
        (
            ["faults=[]"],
            {"channels.webhook.sent_fraction <= 1% from 2m to the end", "channels.webhook.retry_amplification >= 3"},
        ),
        # With no retries the trigger is the same, and what it began ends soon after it.
        (
            ["channels.webhook.retry.max_attempts=1"],
            {"channels.webhook.sent_fraction <= 1% from 2m to the end", "channels.webhook.retry_amplification >= 3"},
        ),
        (["faults.0.at=10s"], {"sent_fraction == 1 from 0s to 50s"}),
        (
            ["channels.push.retry.budget=null"],
            {
                "channels.push.sent_fraction >= 83%",
                "channels.push.delivered_within(10s) >= 99% from 2m to the end",
                "channels.push.retry_amplification <= 1.1",
                "channels.push.peaks.requests_per_s <= 60",
            },
        ),
        (
            ["channels.sms.circuit_breaker.enabled=false"],
            {"channels.sms.delivered_within(1m) >= 100%", "channels.sms.retry_amplification <= 1.1"},
        ),
        (
            ["channels.sms.circuit_breaker={}"],
            {
                "channels.sms.delivered_within(10s) >= 99% from 2m to the end",
                "channels.sms.delivered_within(1m) >= 100%",
                "channels.sms.peaks.requests_per_s <= 45",
            },
        ),
    ],
    "limit-on-twelve-nodes": [
        (
            ["channels.email.quota.across=nodes"],
            {"channels.email.retries >= 1000", "channels.email.dead_lettered >= 50"},
        ),
        (["channels.sms.quota.across=each"], {"channels.sms.retries <= 10", "channels.sms.dead_lettered == 0"}),
        (["channels.sms.quota.rate=25/5s"], {"channels.sms.sent_time_s.max <= 2m"}),
    ],
    "poison-messages": [
        (
            ["faults.0={channel: email, at: 3m, for: 3m, failure_rate: 60%}"],
            {
                "breaker.email.opened == 0",
                "channels.email.dead_lettered >= 1500",
            },
        ),
        (
            [
                "faults.0={channel: email, at: 3m, for: 3m, failure_rate: 60%}",
                "channels.email.circuit_breaker.enabled=false",
            ],
            {"channels.email.retry_amplification <= 1.02"},
        ),
        (["faults.0.permanent_rate=100%"], {"channels.email.dead_lettered <= 1900"}),
        (["faults.1.dead_destination_rate=0%"], {"channels.email.suppressed >= 50"}),
        (["faults.0.channel=all"], {"channels.push.sent_fraction == 1"}),
    ],
    "provider-outage": [
        (
            ["channels.email.circuit_breaker.enabled=false"],
            {
                "sent_fraction >= 0.99",
                "dlq.peak <= 150",
                "channels.email.dead_lettered == 0",
                "breaker.email.open_s >= 2m",
                "channels.email.retry_amplification <= 1.05",
            },
        ),
        (["faults.0.for=10s"], {"breaker.email.open_s >= 2m"}),
        (["faults.0.for=6m"], {"delivery_time_s.p99 <= 240"}),
        (
            ["channels.email.circuit_breaker.resume_rate=1/min"],
            {"delivery_time_s.p99 <= 240", "faults.0.backlog_cleared_s <= 2m"},
        ),
        (["channels.email.circuit_breaker.resume_rate=100/s"], {"channels.email.peaks.requests_per_s <= 120"}),
        (["channels.email.circuit_breaker.resume_rate_max=1000/s"], {"channels.email.peaks.requests_per_s <= 120"}),
        (["channels.push.circuit_breaker.failure_threshold=5"], {"breaker.push.opened == 0"}),
    ],
    "push-then-sms": [
        (
            ["channels.push.fallback={channel: sms}"],
            {
                "channels.push.delivered_within(21s) >= 100%",
                "handed_on >= 2200",
                "delivered_within(25s) >= 100%",
            },
        ),
        (
            ["channels.push.fallback.after=1m"],
            {
                "channels.push.delivered_within(21s) >= 100%",
                "handed_on >= 2200",
                "delivered_within(25s) >= 100%",
            },
        ),
        (["faults.1.for=4m"], {"handed_on <= 2900"}),
        (
            ["faults.1.channel=sms"],
            {
                "handed_on >= 2200",
                "delivered_within(25s) >= 100%",
                "breaker.push.open_s >= 2m",
            },
        ),
        (["operations=[{at: 8m, redrive: all, served: include}]"], {"reached_twice == 0"}),
    ],
    "quiet-hours": [
        (["start=2026-03-20T18:00:00Z"], {"channels.push.delivered_within(8.1h) >= 100%"}),
        (["quiet_hours=[]"], {"channels.push.deferred >= 3000", "channels.push.sent_time_s.max >= 7.9h"}),
        (["preferences=[]"], {"unwanted >= 1000"}),
        (["channels.push.max_in_flight=null"], {"channels.push.peaks.requests_per_s <= 250"}),
        (["workload.1.critical=false"], {"workload.security-codes.delivered_within(10s) >= 100%"}),
        (["workload.1.critical=false", "preferences.0.channel=sms"], {"channels.sms.suppressed == 0"}),
        (["workload.0.expires_after=1h"], {"sent_fraction == 1"}),
    ],
    "refused-first": [
        (["channels.email.retry.max_attempts=1"], {"dead_lettered == 0"}),
        (["max_pending=20"], {"classes.critical.refused.overloaded == 0", "workload.codes.delivery_time_s.never == 0"}),
        (["max_pending=9000"], {"classes.normal.refused.overloaded >= 1"}),
        (["workload.0.resend=null"], {"workload.newsletters.delivery_time_s.never == 0"}),
    ],
    "shop-events": [
        (["channels.sms.timeout=5s"], {"breaker.sms.opened == 0", "channels.sms.retries == 0"}),
        (["faults.0.latency_factor=1"], {"channels.sms.delivery_time_s.p99 >= 5s"}),
        (["channels.email.max_in_flight=100"], {"channels.email.delivery_time_s.p99 >= 2s"}),
        (["channels.email.max_in_flight=5"], {"channels.email.delivery_time_s.p99 <= 5s"}),
        (["channels.email.provider.latency=250ms"], {"channels.email.delivery_time_s.p50 <= 200ms"}),
        (["templates.welcome={body: 'Hello {nobody}'}"], {"dead_lettered == 0"}),
    ],
    "slow-brownout": [
        (["faults.0.failure_rate=60%"], {"breaker.email.opened <= 3", "channels.email.delivery_time_s.p99 >= 4s"}),
        (
            ["faults.0.failure_rate=0%"],
            {
                "breaker.sms.opened >= 5",
                "breaker.push.opened >= 5",
                "channels.sms.delivery_time_s.p99 <= 3.5s",
                "channels.push.delivery_time_s.p99 <= 3.5s",
            },
        ),
        (["faults.0.latency_factor=1"], {"breaker.webhook.opened >= 7"}),
        (
            ["channels.webhook.circuit_breaker={failure_threshold: 5, timeout: 30s}"],
            {"breaker.webhook.opened >= 7", "channels.webhook.delivery_time_s.p99 <= 2.2s"},
        ),
    ],
    "steady-state": [
        (["channels.email.retry.max_attempts=1"], {"dead_lettered == 0"}),
        (
            ["channels.email.provider.failure_rate=30%", "channels.sms.provider.failure_rate=30%"],
            {
                "retry_amplification <= 1.02",
                "breaker.email.opened == 0",
                "breaker.sms.opened == 0",
                "delivery_time_s.p99 <= 1.5s",
            },
        ),
        (["channels.email.provider.latency=150ms"], {"channels.email.delivery_time_s.p50 <= 100ms"}),
    ],
    "throttling-provider": [
        (["channels.sms={retry: {max_attempts: 3}}"], {"channels.sms.retries == 0", "channels.sms.deferred >= 3000"}),
        (["faults.0.throttle={rate: 8/s}"], {"channels.push.retry_delay_s.p50 >= 30s"}),
        (["faults.0.throttle.rate=20/s"], {"channels.push.retries >= 3000"}),
        (["channels.push.retry.max_attempts=3"], {"dead_lettered == 0"}),
        (
            ["faults.0={channel: [push, sms], at: 2m, for: 5m, failure_rate: 60%}"],
            {"breaker.push.opened == 0", "channels.sms.retries == 0"},
        ),
    ],
    "wait-or-fail": [
        (
            ["channels.email.circuit_breaker.when_open=fail"],
            {
                "channels.email.dead_lettered == 0",
                "channels.email.retry_amplification <= 1.05",
                "channels.email.delivery_time_s.p99 >= 2m",
            },
        ),
        (["channels.email.circuit_breaker.resume_rate=5/s"], {"channels.email.delivered_within(4m) >= 100%"}),
        (
            ["channels.sms.circuit_breaker.when_open=wait"],
            {"channels.sms.dead_lettered >= 1500", "channels.sms.sent_time_s.max <= 15s"},
        ),
        (["channels.push.circuit_breaker.when_open=wait"], {"channels.push.retry_amplification >= 3"}),
        (["channels.push.circuit_breaker.enabled=false"], {"channels.push.requests <= 6000"}),
        (
            ["channels.push.retry.max_attempts=5"],
            {"channels.push.dead_lettered == 0", "channels.push.delivery_time_s.p99 >= 2m"},
        ),
    ],
}
"""For each scenario: changes to it, and expectations that do not hold then."""

each_scenario = pytest.mark.parametrize("name", SCENARIOS)


def summary_of(name):
    return result_of(SCENARIOS[name]).summary


def broken(summary):
    return {one["text"]: one["value"] for one in summary["expectations"] if not one["holds"]}


@each_scenario
def test_it_says_what_it_shows_and_expects_something(name):
    scenario = load(SCENARIOS[name])
    assert scenario.name == name
    assert 100 <= len(scenario.description) <= 400
    assert any(letter.isdigit() for letter in scenario.description)
    assert len(scenario.expect) >= 2


@each_scenario
def test_it_is_small_enough_to_be_run_again_and_again(name):
    assert 5_000 <= summary_of(name)["accepted"] <= 30_000


@each_scenario
def test_its_expectations_hold(name):
    assert broken(summary_of(name)) == {}


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=[pytest.mark.slow] if number % 4 or seed > OTHER_SEEDS[0] else [])
        for number, name in enumerate(SCENARIOS)
        for seed in OTHER_SEEDS
    ],
)
def test_its_expectations_hold_with_other_seeds_too(name, seed):
    summary = simulation.run(SCENARIOS[name], seed=seed).summary
    assert broken(summary) == {}
    assert summary["digest"] != summary_of(name)["digest"]


@pytest.mark.parametrize(
    ("name", "sets", "expectations"),
    [
        pytest.param(
            name,
            sets,
            expectations,
            id=f"{name} {' '.join(sets)}",
            marks=[pytest.mark.slow] if number or position % 2 else [],
        )
        for position, (name, changes) in enumerate(WITHOUT.items())
        for number, (sets, expectations) in enumerate(changes)
    ],
)
def test_an_expectation_fails_when_what_it_is_about_goes_away(name, sets, expectations):
    """The first change of every other scenario, which is of what it is about; with `-m slow` all of them."""
    assert expectations <= broken(simulation.run(SCENARIOS[name], sets=sets, invariants=[]).summary).keys()


@each_scenario
def test_every_expectation_can_fail(name):
    can_fail = {expectation for _, expectations in WITHOUT[name] for expectation in expectations}
    assert {expectation.text for expectation in load(SCENARIOS[name]).expect} == can_fail


@each_scenario
def test_editors_find_the_schema_beside_it(name):
    first_line = SCENARIOS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first_line == f"# yaml-language-server: $schema={SCHEMA.name}"


def test_the_schema_beside_them_is_the_one_that_the_command_prints():
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema(), (
        f"write it anew: retrylab schema > scenarios/{SCHEMA.name}"
    )


def test_all_four_domain_events_are_in_one_of_them():
    events = {entry.event for entry in load(SCENARIOS["shop-events"]).workload}
    assert events == {"UserRegistered", "OrderPlaced", "OrderShipped", "PaymentReceived"}
