"""Endpoints that are disabled, in a scenario where days are seconds: on both clocks, in lock-step with the model."""

import pytest
from effort import sliced
from runs import events_of, on_both_clocks

from actors.endpoints import EndpointState
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
)
from actors.pipeline.readiness import ENDPOINT_DISABLED

DOWN = """
duration: 5m
drain: 1m
workload: [{channel: webhook, arrivals: {constant: 1/s}, users: 1}]
channels:
  webhook:
    retry: {max_attempts: 2, initial_delay: 500ms, jitter: none}
    circuit_breaker: {failure_threshold: 5, timeout: 2s}
    provider: {latency: 50ms}
    endpoints: {disable_after: 60s}
faults:
  - {channel: webhook, at: 20s, for: 150s, outage: true}
"""
BY_ORDER = DOWN + "operations: [{at: 4m, redrive: {reason: disabled}}]\n"


def marks(result):
    """Return when each failure that says something new of an endpoint was, in seconds, and what it makes of it."""
    failed = events_of(result, NotificationFailed)
    return [(event.at_ns / 1e9, event.endpoint.state) for event in failed if event.endpoint is not None]


def disabled_at_ns(result):
    [at_ns] = [
        event.at_ns
        for event in events_of(result, NotificationFailed)
        if event.endpoint is not None and event.endpoint.state is EndpointState.DISABLED
    ]
    return at_ns


def of_disabled(result):
    return [event for event in events_of(result, NotificationMovedToDeadLetter) if event.reason == ENDPOINT_DISABLED]


def test_one_that_has_failed_for_so_long_is_disabled_and_what_is_for_it_becomes_a_dead_letter():
    result = on_both_clocks(DOWN)
    assert [state for _, state in marks(result)] == ["suspected", "failing", "disabled"]
    first, _, last = (at_s for at_s, _ in marks(result))
    assert first == 20.05
    assert first + 60 <= last <= first + 64  # by the first attempt that fails then, as one is let through every 2 s
    assert all(event.at_ns <= disabled_at_ns(result) for event in events_of(result, NotificationFailed))
    assert all(event.started_ns < disabled_at_ns(result) for event in events_of(result, NotificationSent))
    assert len(of_disabled(result)) > 200  # as the outage ends and no one enables it
    assert result.summary["endpoints_disabled"] == result.summary["channels"]["webhook"]["endpoints_disabled"] == 1


def test_without_the_setting_it_is_sent_to_when_it_is_back():
    result = on_both_clocks(DOWN.replace("    endpoints: {disable_after: 60s}\n", ""))
    assert marks(result) == of_disabled(result) == []
    assert events_of(result, NotificationSent)[-1].at_ns > 290 * 10**9
    assert "endpoints_disabled" not in result.summary


def test_a_redrive_by_a_person_enables_it_and_what_comes_then_is_sent():
    result = on_both_clocks(BY_ORDER)
    redriven, died = events_of(result, NotificationRedriven), of_disabled(result)
    assert [event.notification_id for event in redriven] == [event.notification_id for event in died]
    assert max(event.at_ns for event in died) < 240 * 10**9
    assert result.summary["dlq"]["final"] < 40  # what died of the outage before
    assert not [event for event in events_of(result, NotificationFailed) if event.at_ns > 240 * 10**9]


def test_one_success_of_an_attempt_that_was_under_way_enables_it():
    slow = DOWN.replace("latency: 50ms", "latency: {constant: 3s}").replace("timeout: 2s}", "enabled: false}")
    slow = slow.replace("retry: {max_attempts: 2, initial_delay: 500ms, jitter: none}", "retry: {max_attempts: 1}")
    result = on_both_clocks(slow.replace("for: 150s", "for: 60.1s"))
    # The fate of an attempt is fixed when it starts: those of the last seconds before it is disabled succeed.
    at_ns = disabled_at_ns(result)
    back_ns = next(event.at_ns for event in events_of(result, NotificationSent) if event.at_ns > at_ns)
    assert back_ns - at_ns < 3 * 10**9
    assert all(at_ns <= event.at_ns <= back_ns for event in of_disabled(result))
    assert 0 < len(of_disabled(result)) < 7


def test_a_success_now_and_then_keeps_it_from_being_disabled():
    result = on_both_clocks(DOWN.replace("outage: true", "failure_rate: 90%"))
    assert {state for _, state in marks(result)} == {"suspected", "failing"}
    assert of_disabled(result) == []


@pytest.mark.parametrize(
    "fault", sliced(["channel_fault_rate: 100%", "throttle: {rate: 1/h}", "dead_destination_rate: 100%"], 3)
)
def test_what_says_nothing_of_an_endpoint_disables_none(fault):
    result = on_both_clocks(DOWN.replace("outage: true", fault).replace("max_attempts: 2", "max_attempts: 3"))
    assert marks(result) == []


def test_what_is_refused_on_our_side_says_nothing_either():
    text = DOWN.replace("timeout: 2s", "timeout: 10m, when_open: fail").replace("for: 150s", "for: 3s")
    result = on_both_clocks(text)
    assert any(event.refused for event in events_of(result, NotificationFailed))
    assert [state for _, state in marks(result)] == ["suspected"]


def test_each_endpoint_goes_by_its_own_attempts():
    text = DOWN.replace("users: 1", "users: 4").replace("failure_threshold: 5", "enabled: false, failure_threshold: 5")
    result = on_both_clocks(text.replace("outage: true", "failure_rate: 92%"))
    disabled_ns = [round(at_s * 10**9) for at_s, state in marks(result) if state == "disabled"]
    assert 0 < len(disabled_ns) < 4
    others = [event for event in events_of(result, NotificationSent) if min(disabled_ns) < event.at_ns < 170 * 10**9]
    assert others
    assert len(of_disabled(result)) < len(events_of(result, NotificationSent))


@pytest.mark.parametrize(
    "more",
    sliced(
        [
            "  - {channel: webhook, at: 60s, crash: process, restart_after: 4s}\n",
            "  - {channel: webhook, at: 100s, crash: process, restart_after: 4s}\n",
            "  - {channel: webhook, at: 60s, crash: {actor: handler}}\ncommit_latency: 100ms\n",
            "  - {channel: webhook, at: 60s, crash: process, restart_after: 1s}\ncommit_latency: 100ms\n",
            "  - {channel: webhook, at: 60s, clock_step: 20s}\n",
        ],
        6,
    ),
)
def test_the_clock_and_what_is_disabled_outlive_crashes(more):
    result = on_both_clocks(DOWN + more)
    assert 80 * 10**9 - (20 * 10**9 if "clock_step" in more else 0) <= disabled_at_ns(result) <= 90 * 10**9
    assert len(of_disabled(result)) > 150
    assert all(event.started_ns < disabled_at_ns(result) for event in events_of(result, NotificationSent))


def test_a_calendar_that_is_set_back_starts_the_clock_anew():
    result = on_both_clocks(DOWN + "  - {channel: webhook, at: 60s, clock_step: -1h}\n")
    assert [state for _, state in marks(result)] == ["suspected", "failing", "suspected", "failing", "disabled"]
    assert disabled_at_ns(result) >= 120 * 10**9


def test_nodes_share_what_is_known_of_an_endpoint():
    text = "nodes: {count: 3, routing: round_robin}\n" + BY_ORDER
    result = on_both_clocks(text)
    assert [state for _, state in marks(result)] == ["suspected", "failing", "disabled"]
    assert {event.node for event in of_disabled(result)} == {1, 2, 3}
    assert {event.node for event in events_of(result, NotificationSent) if event.at_ns > 250 * 10**9} == {1, 2, 3}


def test_what_is_disabled_falls_back_and_no_letter_of_it_is_redriven_by_itself():
    text = DOWN.replace("endpoints:", "redrive: {rate: 50/s}\n    fallback: {channel: email}\n    endpoints:")
    text = text.replace("faults:", "  email: {}\nfaults:")
    result = on_both_clocks(text)
    assert events_of(result, NotificationRedriven) == []
    fallen = [event for event in events_of(result, NotificationSent) if event.channel == "email"]
    assert len(fallen) >= len(of_disabled(result)) > 0
