"""Scheduled notifications and orders to cancel, in a scenario: on both clocks, in lock-step with the model."""

import pytest
from runs import events_of, on_both_clocks

import simulation
from actors.errors import InvariantBreach
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.pipeline.readiness import Readiness
from simulation.scenario import parse

SCHEDULED = """
duration: 40s
drain: 2m
workload:
  - {channel: email, arrivals: {constant: 1/s}, not_before: 1m, expires_after: 10s, priority: bulk}
  - {channel: email, arrivals: {constant: 1/s}}
channels:
  email: {retry: {max_attempts: 2, initial_delay: 5s, jitter: none}, provider: {latency: 100ms}}
  sms: {}
"""
FAULTS = """
commit_latency: 50ms
faults:
  - {channel: email, at: 20s, for: 5s, outage: true}
  - {channel: email, at: 70s, crash: process, restart_after: 12s}
  - {channel: email, at: 30s, clock_step: 7s}
  - {channel: email, at: 95s, clock_step: -20s}
operations:
  - {at: 22s, cancel: all}
  - {at: 96s, cancel: {priority: bulk}, channel: email}
"""


def test_what_is_scheduled_waits_for_its_instant_and_its_age_counts_from_there():
    result = on_both_clocks(SCHEDULED)
    requested = {event.notification_id: event for event in events_of(result, NotificationRequested)}
    sent = events_of(result, NotificationSent)
    assert len(sent) == 80
    for event in sent:
        asked = requested[event.notification_id]
        waits_ns = 60 * 10**9 if event.notification_id.startswith("email-0") else 0
        assert event.started_ns == asked.at_ns + waits_ns
        assert event.requested_at_ns == event.started_ns  # and delivery time with it
        assert asked.waited_since_ns == (event.started_ns if waits_ns else None)


@pytest.mark.parametrize(
    ("order", "left"),
    [
        ("{at: 60.5s, cancel: all}", 1),  # at 60 s the first has gone
        ("{at: 60.5s, cancel: {priority: bulk}, channel: email}", 1),
        ("{at: 60.5s, cancel: {priority: normal}}", 40),
        ("{at: 60.5s, cancel: all, channel: sms}", 40),
    ],
)
def test_what_waits_is_cancelled_and_what_is_meant_alone(order, left):
    result = on_both_clocks(f"{SCHEDULED}operations: [{order}]")
    cancelled = events_of(result, NotificationSuppressed)
    assert {(event.at_ns, event.reason) for event in cancelled} <= {(60_500_000_000, "cancelled")}
    assert len(cancelled) == 40 - left
    assert len(events_of(result, NotificationSent)) == 40 + left
    assert result.summary["suppressed"] == 40 - left


def test_what_waits_for_a_retry_is_cancelled_and_what_is_at_its_provider_is_not():
    text = f"{SCHEDULED}faults: [{{channel: email, at: 10s, for: 1.5s, outage: true}}]\n"
    result = on_both_clocks(f"{text}operations: [{{at: 12.05s, cancel: {{priority: normal}}}}]")
    [failed, *_] = events_of(result, NotificationFailed)
    cancelled = {event.notification_id for event in events_of(result, NotificationSuppressed)}
    assert failed.notification_id in cancelled
    assert "email-1-12" not in cancelled  # it is at its provider just then


def test_crashes_commits_and_steps_of_the_clock_go_as_the_model_says():
    result = on_both_clocks(SCHEDULED + FAULTS)
    assert len(events_of(result, NotificationSuppressed)) > 20
    assert len(events_of(result, NotificationMovedToDeadLetter)) > 0


def test_one_that_goes_before_its_instant_breaks_an_invariant(monkeypatch):
    obstacle = Readiness.obstacle

    def early(self, command):
        found = obstacle(self, command)
        return None if found is not None and self._system.now_ns > 5 * 10**9 else found

    monkeypatch.setattr(Readiness, "obstacle", early)
    with pytest.raises(InvariantBreach, match=r"is sent before .*, its not_before"):
        simulation.run(parse(SCHEDULED), invariants=["in-time"])


def test_what_falls_back_goes_at_once_whatever_the_first_was_scheduled_for():
    text = SCHEDULED.replace("email: {retry", "email: {fallback: {channel: sms}, retry")
    failing = "{channel: email, at: 61s, for: 10s, permanent_rate: 100%}"
    text += f"faults: [{failing}, {{channel: email, at: 66s, clock_step: -30s}}]"
    result = on_both_clocks(text)
    assert len([event for event in events_of(result, NotificationSent) if event.channel == "sms"]) >= 4


def test_what_is_cancelled_in_a_backlog_while_that_is_being_made_durable_is_not_sent():
    text = f"commit_latency: 2s\n{SCHEDULED}"
    text += "faults: [{channel: email, at: 62s, crash: process, restart_after: 25s}]\n"
    text += "operations: [{at: 87.5s, cancel: all}]"
    result = on_both_clocks(text)
    cancelled = {event.notification_id for event in events_of(result, NotificationSuppressed)}
    assert len(cancelled) > 10
    assert not cancelled & {event.notification_id for event in events_of(result, NotificationSent)}
