"""Redrives without an operator, in a scenario: on both clocks, in lock-step with the model."""

from collections import Counter
from itertools import pairwise

import pytest
from effort import sliced
from runs import events_of, on_both_clocks

from actors.messages import (
    BreakerTransitioned,
    NodeTookOver,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
)

OUTAGE = """
duration: 60s
drain: 5m
workload: [{channel: email, arrivals: {constant: 2/s}, hosts: 2}]
channels:
  email:
    retry: {max_attempts: 2, initial_delay: 500ms, jitter: none}
    circuit_breaker: {failure_threshold: 5, timeout: 5s, when_open: fail}
    provider: {latency: 50ms}
    redrive: {rate: 4/s}
faults:
  - {channel: email, at: 10s, for: 20s, outage: true}
"""


def is_closed_at(result, instant_ns):
    states = [event.to_state for event in events_of(result, BreakerTransitioned) if event.at_ns <= instant_ns]
    return not states or states[-1] == "closed"


def test_what_died_of_an_outage_goes_again_once_the_breaker_has_closed_the_oldest_first_and_paced():
    result = on_both_clocks(OUTAGE)
    redriven, died = events_of(result, NotificationRedriven), events_of(result, NotificationMovedToDeadLetter)
    assert len(redriven) > 20
    assert [event.notification_id for event in redriven] == [event.notification_id for event in died]
    assert all(event.without_operator and event.by is None for event in redriven)
    [closed] = [event for event in events_of(result, BreakerTransitioned) if event.to_state == "closed"]
    assert redriven[0].at_ns == closed.at_ns
    assert {after.at_ns - before.at_ns for before, after in pairwise(redriven)} == {250_000_000}
    assert result.summary["dlq"]["final"] == 0
    assert result.summary["sent"] == 120


def test_without_the_setting_nothing_is_redriven():
    text = OUTAGE.replace("    redrive: {rate: 4/s}\n", "")
    assert events_of(on_both_clocks(text), NotificationRedriven) == []


def test_where_the_breaker_opens_again_the_rest_waits_and_none_goes_more_often_than_it_may():
    text = (
        OUTAGE + "  - {channel: email, at: 34s, for: 10s, outage: true}\n  - {channel: email, at: 52s, outage: true}\n"
    )
    result = on_both_clocks(text)
    redriven = events_of(result, NotificationRedriven)
    assert all(is_closed_at(result, event.at_ns) for event in redriven)
    assert set(Counter(event.notification_id for event in redriven).values()) == {1}
    assert result.summary["dlq"]["final"] > 0  # what died in the outage without an end, and what died again


@pytest.mark.parametrize("at_most", [1, 3])
def test_a_provider_that_fails_and_recovers_without_end_gets_each_letter_so_often_and_no_more(at_most):
    text = OUTAGE.replace("rate: 4/s", f"rate: 4/s, at_most: {at_most}").replace("timeout: 5s", "timeout: 1s")
    text = text.replace("max_attempts: 2", "max_attempts: 1").replace("outage: true", "failure_rate: 70%")
    text = text.replace("failure_threshold: 5", "failure_threshold: 2").replace("constant: 2/s", "constant: 1/s")
    result = on_both_clocks(text.replace("for: 20s", "for: 3m"))
    times = Counter(event.notification_id for event in events_of(result, NotificationRedriven))
    assert max(times.values()) == at_most
    assert result.summary["dlq"]["final"] > 0


def test_only_what_the_reasons_say_and_what_is_not_too_old():
    faults = "  - {channel: email, at: 2s, for: 1s, channel_fault_rate: 100%}\n"
    kinds = {}
    for reason in ("channel_fault", "outage"):
        result = on_both_clocks(OUTAGE.replace("rate: 4/s", f"rate: 4/s, reasons: [{reason}]") + faults)
        last = {event.notification_id: event.kind for event in events_of(result, NotificationFailed) if event.given_up}
        kinds[reason] = {last[event.notification_id] for event in events_of(result, NotificationRedriven)}
    assert kinds["outage"] == {"Transient"}
    assert kinds["channel_fault"] <= {"ChannelFault"}
    young = on_both_clocks(OUTAGE.replace("rate: 4/s", "rate: 4/s, max_age: 12s"))
    moved_ns = {event.notification_id: event.at_ns for event in events_of(young, NotificationMovedToDeadLetter)}
    ages_ns = [event.at_ns - moved_ns[event.notification_id] for event in events_of(young, NotificationRedriven)]
    assert ages_ns
    assert max(ages_ns) <= 12 * 10**9
    assert young.summary["dlq"]["final"] > 0


@pytest.mark.parametrize(
    "more",
    sliced(
        [
            "  - {channel: email, at: 25s, crash: process, restart_after: 8s}\n",  # the outage ends while it is down
            "  - {channel: email, at: 33s, crash: process, restart_after: 1s}\n",
            "  - {channel: email, at: 33s, crash: {actor: dlq}, restart_after: 2s}\n",
            "  - {channel: email, at: 31.05s, crash: {actor: breaker}, restart_after: 1s}\n",
            "  - {channel: email, at: 33s, crash: {actor: handler}}\ncommit_latency: 100ms\n",
            "  - {channel: email, at: 33s, clock_step: -20s}\nmax_pending: 6\n",
        ],
        3,
    ),
)
def test_over_crashes_and_steps_of_the_clock_none_is_forgotten_and_none_goes_twice(more):
    result = on_both_clocks(OUTAGE + more)
    redriven = Counter(event.notification_id for event in events_of(result, NotificationRedriven))
    assert len(redriven) > 20
    assert set(redriven.values()) == {1}
    assert result.summary["dlq"]["final"] == 0


def test_what_died_before_and_after_the_breaker_closed_goes_in_its_order_where_the_queue_was_down_for_all_of_it():
    down = """  - {channel: email, at: 9s, crash: {actor: dlq}, restart_after: 31s}
  - {channel: email, at: 37s, for: 1s, outage: true}
"""
    result = on_both_clocks(OUTAGE + down)
    died = [event.notification_id for event in events_of(result, NotificationMovedToDeadLetter)]
    [closed] = [event for event in events_of(result, BreakerTransitioned) if event.to_state == "closed"]
    ends_ns = [event.at_ns for event in events_of(result, NotificationMovedToDeadLetter)]
    assert ends_ns[0] < closed.at_ns < ends_ns[-1] < 40_000_000_000
    assert [event.notification_id for event in events_of(result, NotificationRedriven)] == died


def test_with_a_breaker_for_each_host_that_host_s_letters_go():
    text = OUTAGE.replace("failure_threshold: 5", "per: host, failure_threshold: 3")
    text = text.replace("outage: true", "host: host-0.example, outage: true")
    result = on_both_clocks(text)
    closed = {event.host: event.at_ns for event in events_of(result, BreakerTransitioned) if event.to_state == "closed"}
    assert len(closed) == 1
    assert len(events_of(result, NotificationRedriven)) > 10
    assert result.summary["dlq"]["final"] == 0


def test_what_is_served_by_its_fallback_stays():
    text = OUTAGE.replace("redrive:", "fallback: {channel: sms}\n    redrive:").replace(
        "faults:", "  sms: {provider: {latency: 20ms}}\nfaults:"
    )
    result = on_both_clocks(text)
    assert events_of(result, NotificationRedriven) == []
    assert any(event.channel == "sms" for event in events_of(result, NotificationSent))


CHAIN = """
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email: {retry: {max_attempts: 1}, fallback: {channel: sms}, provider: {script: [{outcome: permanent}, {latency: 1s}]}}
  sms: {retry: {max_attempts: 2, initial_delay: 10s}, fallback: {channel: push}, provider: {failure_rate: 100%}}
  push: {}
operations: [{at: 5s, redrive: all, served: include}]
"""
"""An operator redrives it while its fallback is under way: it is sent at 6 s, and that fails at 10 s."""


@pytest.mark.parametrize(
    "more", ["", "faults: [{channel: sms, at: 8s, crash: process, restart_after: 1s}]", "commit_latency: 100ms"]
)
def test_nothing_falls_back_once_what_it_stands_for_was_delivered(more):
    result = on_both_clocks(CHAIN + more)
    assert [event.notification_id for event in events_of(result, NotificationSent)] == ["email-0-0"]


@pytest.mark.parametrize("routing", ["random", "round_robin"])
def test_nor_where_that_was_delivered_by_another_node(routing):
    result = on_both_clocks(CHAIN + f"nodes: {{count: 4, routing: {routing}}}")
    assert [event.notification_id for event in events_of(result, NotificationSent)] == ["email-0-0"]


def test_what_falls_back_meanwhile_goes_out_too():
    result = on_both_clocks(CHAIN.replace("{latency: 1s}", "{latency: 7s}"))
    assert {event.notification_id for event in events_of(result, NotificationSent)} == {
        "email-0-0",
        "email-0-0/sms/push",
    }


def test_a_node_that_takes_over_redrives_what_the_other_one_has_left():
    text = """
nodes: {count: 2, routing: round_robin}
duration: 60s
drain: 5m
workload: [{channel: email, arrivals: {constant: 2/s}}]
channels:
  email:
    retry: {max_attempts: 2, initial_delay: 500ms, jitter: none}
    circuit_breaker: {failure_threshold: 3, timeout: 10m, when_open: fail}
    provider: {latency: 50ms}
    redrive: {rate: 4/s}
faults:
  - {channel: email, at: 10s, for: 6s, node: 1, outage: true}
  - {channel: email, at: 15.2s, node: 1, crash: process, restart_after: 10m}
"""
    result = on_both_clocks(text)
    redriven = events_of(result, NotificationRedriven)
    assert len(redriven) > 3
    assert {(event.node, event.without_operator) for event in redriven} == {(2, True)}
    assert result.summary["dlq"]["final"] == 0


def test_the_first_node_that_starts_takes_over_what_nobody_was_there_for():
    text = """
nodes: {count: 2, takeover_after: 30s}
duration: 60s
drain: 5m
workload: [{channel: email, arrivals: {constant: 2/s}}]
channels:
  email: {provider: {latency: 50ms}, quota: {rate: 1/s}}
faults:
  - {at: 30s, deploy: {each_down: 20s, every: 7s, drain: 0s}}
"""
    result = on_both_clocks(text)
    takeovers = [(event.at_ns // 10**9, event.node) for event in events_of(result, NodeTookOver)]
    assert takeovers == [(30, 2), (50, 1)]  # node 2 goes at 37 s, and is back at 57 s only


def test_another_node_goes_on_where_one_has_died_that_had_nothing_but_letters_that_wait_for_their_turn():
    text = """
nodes: {count: 2, routing: round_robin, takeover_after: 5s}
duration: 60s
drain: 5m
workload: [{channel: email, arrivals: {constant: 2/s}}]
channels:
  email:
    retry: {max_attempts: 1}
    circuit_breaker: {failure_threshold: 3, timeout: 4s, when_open: fail}
    provider: {latency: 50ms}
    redrive: {rate: 30/min}
faults:
  - {channel: email, at: 2s, for: 10s, node: 1, outage: true}
  - {channel: email, at: 20.3s, node: 1, crash: process, restart_after: 2m}
"""
    result = on_both_clocks(text)
    assert events_of(result, NodeTookOver) == []
    redriven = events_of(result, NotificationRedriven)
    by_node = {node: [event.at_ns / 10**9 for event in redriven if event.node == node] for node in (1, 2)}
    assert by_node[1]
    assert max(by_node[1]) < 20.3
    assert min(by_node[2]) == 25.3
    assert set(Counter(event.notification_id for event in redriven).values()) == {1}
    assert result.summary["dlq"]["final"] == 0


TAKEN_OVER_BY_A_HANDLER_THAT_IS_DOWN = """
duration: 1s
nodes: {count: 2, routing: round_robin, takeover_after: 1s}
workload: [{channel: email, arrivals: {times: [0s, 0s, 0s, 0s]}, expires_after: 2s}]
channels: {email: {retry: {initial_delay: 1500ms}, provider: {failure_rate: 100%}}}
faults:
  - {channel: email, node: 2, at: 1s, crash: process, restart_after: 1h}
  - {channel: email, node: 1, at: 1500ms, crash: {actor: handler}, restart_after: 2s}
  - {channel: email, node: 1, at: 2200ms, crash: {actor: handler}, restart_after: 2s}
"""


def test_what_a_handler_that_was_down_has_found_in_the_store_and_ended_is_not_taken_over_too():
    """The second one that starts finds them there, expired; that they were taken over lies in its mailbox."""
    result = on_both_clocks(TAKEN_OVER_BY_A_HANDLER_THAT_IS_DOWN)
    assert [len(event.notification_ids) for event in events_of(result, NodeTookOver)] == [2]
    assert len(events_of(result, NotificationMovedToDeadLetter)) == 4
