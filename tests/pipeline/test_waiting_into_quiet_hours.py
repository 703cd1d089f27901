"""What waits in a stage until quiet hours have begun waits for their end as well, on both clocks."""

import pytest

import simulation
from actors.messages import NotificationDeferred, NotificationSent, NotificationSuppressed
from simulation.scenario import parse

EVENING = """
start: 2026-01-05T21:59:00Z
duration: 3m
drain: 1d
quiet_hours: [{share: 100%, from: 22:00, to: 07:00}]
"""
MORNING_S = 9 * 3600 + 60


def run(text):
    simulated, live = (
        simulation.run(parse(EVENING + text), runtime=runtime, invariants="all") for runtime in ("simpy", "trio")
    )
    assert simulated.summary["digest"] == live.summary["digest"]
    return simulated


def sent_s(result):
    return [event.at_ns / 1e9 for event in result.history if type(event) is NotificationSent]


def causes(result):
    return [str(event.cause) for event in result.history if type(event) is NotificationDeferred]


def test_behind_a_users_limit():
    result = run("""
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s]}, users: 1}]
channels: {email: {rate_limit: {rate: 1/50s}}}
""")
    # The third would have its turn after 100 s, in quiet hours; it has not been counted, and is as soon as they end.
    assert sent_s(result) == [0, 50, MORNING_S]
    assert causes(result) == ["rate_limit", "rate_limit", "quiet_hours"]


def test_behind_a_users_limit_that_is_counted_then():
    result = run("""
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s, 0s]}, users: 1}]
channels: {email: {rate_limit: {rate: 1/50s}}}
""")
    assert sent_s(result) == [0, 50, MORNING_S, MORNING_S + 50]


@pytest.mark.parametrize("per", ["channel", "host"])
def test_behind_a_breaker(per):
    result = run(f"""
workload: [{{channel: email, arrivals: {{times: [10s, 11s, 12s]}}, users: 1}}]
channels: {{email: {{circuit_breaker: {{failure_threshold: 1, timeout: 2m, per: {per}}}, rate_limit: {{rate: 3/1d}}}}}}
faults: [{{channel: email, at: 5s, for: 6s, outage: true}}]
""")
    # The first fails and opens the breaker; in the morning all go, and have been counted against the limit already.
    assert sent_s(result) == pytest.approx([MORNING_S] * 3, abs=1)
    assert causes(result)[3:6] == ["quiet_hours"] * 3


def test_behind_a_quota():
    result = run("""
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s]}}]
channels: {email: {quota: {rate: 1/45s}, retry: {budget: {kind: envoy}}}}
""")
    assert sent_s(result) == [0, 45, MORNING_S]


def test_what_is_critical_goes():
    result = run("""
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s]}, users: 1, critical: true}]
channels: {email: {rate_limit: {rate: 1/50s}}}
""")
    assert sent_s(result) == [0, 50, 100]


def test_what_expires_before_the_morning_is_dead_lettered():
    result = run("""
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s]}, users: 1, expires_after: 1h}]
channels: {email: {rate_limit: {rate: 1/50s}}}
""")
    assert sent_s(result) == [0, 50]
    assert list(result.dlq["reason"]) == ["expired"]
    assert list(result.dlq["time_s"]) == [100]


def test_what_is_sent_anew_after_a_stage_has_crashed():
    result = run("""
workload: [{channel: email, arrivals: {times: [50s]}}]
channels: {email: {provider: {latency: 30s}, timeout: 1m}}
faults: [{channel: email, at: 70s, crash: {actor: breaker}}]
""")
    assert sent_s(result) == [MORNING_S + 30]
    assert not [event for event in result.history if type(event) is NotificationSuppressed]


LAY_IN_A_MAILBOX = pytest.mark.parametrize(
    ("actor", "settings"),
    [
        ("limiter", "rate_limit: {rate: 100/s}"),
        ("breaker", "tenant: {rate: 100/s}, rate_limit: {rate: 100/s}"),
        ("channel", ""),
        ("channel", "hedging: {delay: 1s, max_attempts: 2}"),
    ],
)


@LAY_IN_A_MAILBOX
def test_what_lay_in_the_mailbox_of_a_stage_that_was_down(actor, settings):
    result = run(f"""
workload: [{{channel: email, arrivals: {{times: [59s, 59s, 61s]}}, users: 3, tenants: 2}}]
channels: {{email: {{{settings}}}}}
faults: [{{channel: email, at: 58s, crash: {{actor: {actor}}}, restart_after: 4s}}]
""")
    assert sent_s(result) == [MORNING_S] * 3
    assert causes(result) == ["quiet_hours"] * 3


@LAY_IN_A_MAILBOX
def test_what_lay_in_the_mailbox_of_a_stage_that_was_down_and_has_expired_meanwhile(actor, settings):
    result = run(f"""
workload: [{{channel: email, arrivals: {{times: [11s, 11s, 13s]}}, users: 3, tenants: 2, expires_after: 2s}}]
channels: {{email: {{{settings}}}}}
faults: [{{channel: email, at: 10s, crash: {{actor: {actor}}}, restart_after: 4s}}]
""")
    assert sent_s(result) == [14]
    assert list(result.dlq["reason"]) == ["expired"] * 2
    assert list(result.dlq["time_s"]) == [14] * 2
