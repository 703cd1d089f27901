"""Two things at one instant, by the reference of the scenario language, in lock-step with the model."""

from __future__ import annotations

import pytest

import simulation
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from simulation.scenario import parse

RUNTIMES = pytest.mark.parametrize("runtime", ["simpy", "trio"])


def compared(text, **arguments):
    result = simulation.run(parse(text), invariants="all", **arguments)
    assert "reference-model" in result.checked
    return result


# ── an answer and a time-out ────────────────────────────────────────────────────────────────────────────────────────

ASKED_TWICE = """\
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email:
    timeout: 3s
    retry: {max_attempts: 1}
    provider: {latency: 1s, upstream: {latency: 2s, retry: {max_attempts: 2, initial_delay: 1s}}}
faults:
  - {channel: email, upstream: true, fail_first: 1}
  - {channel: email, duplicate_rate: 100%}
"""
"""Of two sends for one message the second is answered at the time-out, at which the first has no answer."""


@RUNTIMES
def test_of_two_sends_for_one_message_the_one_that_is_answered_in_time_counts(runtime):
    result = compared(ASKED_TWICE, runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is NotificationSent] == [3 * 10**9]


AT_THE_TIME_OUT = """\
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email:
    timeout: 3s
    retry: {max_attempts: 1}
    hedging: HEDGING
    provider: {latency: 3s, upstream: {latency: 0s, retry: {max_attempts: 2, initial_delay: 0s}}}
faults: [{channel: email, upstream: true, fail_first: 1}]
"""
"""At the time-out the provider asks, is told that it has failed, asks again, and is told that it is sent."""


@RUNTIMES
@pytest.mark.parametrize("hedging", ["null", "{max_attempts: 2, delay: 1s}"])
def test_an_answer_at_the_instant_of_the_time_out_counts_whatever_it_comes_of(runtime, hedging):
    result = compared(AT_THE_TIME_OUT.replace("HEDGING", hedging), runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is NotificationSent] == [3 * 10**9]


# ── what is durable and a crash ─────────────────────────────────────────────────────────────────────────────────────

DURABLE_AT_THE_CRASH = """\
duration: 4s
commit_latency: 1s
workload:
  - {channel: email, arrivals: {times: [1s]}}
  - {channel: sms, arrivals: {times: [0s]}, expires_after: 1500ms}
channels: {email: {provider: {latency: 0s}}, sms: {provider: {latency: 5s}}}
faults:
  - {channel: sms, at: 2s, crash: {actor: channel}}
  - {channel: all, at: 2s, crash: process, restart_after: 1s}
"""
"""At 2 s a crash has a change handed over, then the process crashes, and the acceptance of the email is durable."""


@RUNTIMES
def test_what_would_be_durable_at_the_instant_of_a_crash_is_lost(runtime):
    result = compared(DURABLE_AT_THE_CRASH, runtime=runtime)
    assert (result.summary["accepted"], result.summary["refused"]["down"]) == (1, 1)
    assert [event.at_ns for event in result.history if type(event) is ActorFailed] == [2 * 10**9] * 2


# ── a restart, a takeover, and what else is due then ────────────────────────────────────────────────────────────────

DUE_AT_THE_RESTART = """\
duration: 5s
workload: [{channel: push, arrivals: {times: [0s, 500ms, 2s, 2500ms]}}]
channels:
  push:
    circuit_breaker: {failure_threshold: 1, timeout: 1s, half_open_max: 1s}
    provider: {script: [{outcome: transient}, {outcome: sent, latency: 8s}]}
faults: [{channel: push, at: 1500ms, crash: {actor: breaker}, restart_after: 1s}]
"""
"""The stage of the breaker starts again at 2.5 s with a look in its mailbox, and sets another one for that instant."""


@RUNTIMES
def test_a_look_that_has_waited_in_a_mailbox_is_not_the_one_that_is_set_anew(runtime):
    assert compared(DUE_AT_THE_RESTART, runtime=runtime).summary["sent"] == 4


ACCEPTED_AT_THE_TAKEOVER = """\
duration: 2s
drain: 3h
nodes: {count: 2}
max_pending: 4
commit_latency: 100ms
workload: [{channel: push, arrivals: {times: [0s, 0s, 0s, 0s, 1s, 1s]}}]
channels: {push: {timeout: 2h, provider: {latency: 1h}}}
faults: [{at: 500ms, deploy: {each_down: 10s, every: 1h, drain: 500ms}}]
"""
"""At 1 s node 2 has room for two more, and then takes over two, before those are accepted for good."""


@RUNTIMES
def test_what_has_come_at_the_instant_of_a_takeover_is_accepted_all_the_same(runtime):
    assert compared(ACCEPTED_AT_THE_TAKEOVER, runtime=runtime).summary["accepted"] == 6


REDRIVEN_SOON_AFTER_A_RESTART = """\
duration: 20s
workload: [{channel: push, arrivals: {times: [0s, 0s]}, expires_after: 2s}]
channels: {push: {circuit_breaker: {resume_rate: 1/min}, provider: {latency: 8s}}}
faults: [{channel: push, at: 2s, crash: process, restart_after: 1s}]
operations: [{at: 10s, redrive: all}]
"""


def test_what_has_ended_after_a_restart_and_is_redriven_goes_at_no_pace():
    assert compared(REDRIVEN_SOON_AFTER_A_RESTART).summary["sent"] == 2


BEHIND_ONE_WHOSE_TURN_IT_IS = """\
duration: 2s
workload: [{channel: sms, users: 1, arrivals: {times: [0s, 0s, 0s, 1s]}}]
channels: {sms: {rate_limit: {rate: 3/s}, quota: {rate: 1/750ms, kind: token_bucket}}}
faults: [{channel: sms, at: 500ms, crash: {actor: handler}, restart_after: 250ms}]
"""
"""At 1 s one comes just before the turn of another one, which had been let through before the handler crashed."""


@RUNTIMES
def test_one_that_comes_at_the_instant_of_another_ones_turn_waits_behind_it(runtime):
    assert compared(BEHIND_ONE_WHOSE_TURN_IT_IS, runtime=runtime).summary["sent"] == 4


CLOSED_AS_ITS_TIME_IS_UP = """\
duration: 5s
workload: [{channel: push, arrivals: {times: [0s, 1s, 2s, 2500ms, 2500ms, 2500ms]}}]
channels:
  push:
    retry: {max_attempts: 1}
    max_in_flight: 2
    circuit_breaker: {failure_threshold: 1, timeout: 2s, half_open_max: 1s, half_open_then: closed, resume_rate: 1/s}
    provider: {script: [{outcome: transient}, {latency: 5s}]}
    failover: {spare: {max_in_flight: 1, provider: {latency: 2s}}}
"""
"""At 3 s the breaker closes by itself, as the first of three that wait asks it, since a slot of the spare is free."""


@RUNTIMES
def test_who_asks_a_breaker_as_it_closes_by_itself_is_the_first_at_the_pace(runtime):
    result = compared(CLOSED_AS_ITS_TIME_IS_UP, runtime=runtime)
    sent = {event.notification_id: event for event in result.history if type(event) is NotificationSent}
    waited = [(sent[f"push-0-{number}"].provider, sent[f"push-0-{number}"].started_ns) for number in (3, 4)]
    assert waited == [("primary", 3 * 10**9), ("spare", 3 * 10**9)]
    assert sent["push-0-5"].provider == "primary"
    assert sent["push-0-5"].started_ns > 39 * 10**8


# ── what is durable, and who was to record it is down ───────────────────────────────────────────────────────────────

DISCARDED_WHILE_THE_QUEUE_IS_DOWN = """\
duration: 12s
commit_latency: 1s
workload: [{channel: push, arrivals: {times: [0s]}}]
channels: {push: {retry: {max_attempts: 1}}}
dead_letters: {keep: 2s}
faults:
  - {channel: push, outage: true}
  - {channel: push, at: 4500ms, crash: {actor: dlq}, restart_after: 20s}
  - {channel: push, at: 8s, crash: process, restart_after: 1s}
"""
"""A letter since 2 s, discarded at 4 s, which is durable at 5 s, when the queue is down."""

DISCARDED_AS_ITS_NODE_STOPS = """\
duration: 12s
nodes: {count: 2}
commit_latency: 1s
workload: [{channel: push, arrivals: {times: [0s]}}]
channels: {push: {retry: {max_attempts: 1}}}
dead_letters: {keep: 2s}
faults:
  - {channel: push, outage: true}
  - {at: 4500ms, deploy: {each_down: 1s, every: 1h}}
"""
"""Node 1 is stopped in order half a second after both have discarded the letter: its discard is durable by that."""


@RUNTIMES
@pytest.mark.parametrize("text", [DISCARDED_WHILE_THE_QUEUE_IS_DOWN, DISCARDED_AS_ITS_NODE_STOPS])
def test_a_discard_that_is_durable_when_its_process_ends_is_in_the_history(text, runtime):
    result = compared(text, runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is DeadLetterDiscarded] == [4 * 10**9]


TAKEN_BEFORE_ITS_DEATH_IS_RECORDED = """\
duration: 12s
nodes: {count: 2}
commit_latency: 1s
workload: [{channel: push, arrivals: {times: [0s]}}]
channels: {push: {retry: {max_attempts: 1}}}
dead_letters: {keep: 1500ms}
faults:
  - {channel: push, outage: true}
  - {channel: push, node: 1, at: 2500ms, crash: {actor: handler}, restart_after: 5s}
"""
"""A letter that is durable at 3 s, when the handler of its node is down; another node discards it at 3.5 s."""


@RUNTIMES
def test_a_node_may_discard_a_letter_whose_own_node_has_not_recorded_its_death_yet(runtime):
    result = compared(TAKEN_BEFORE_ITS_DEATH_IS_RECORDED, runtime=runtime)
    of_letters = (DeadLetterDiscarded, NotificationMovedToDeadLetter)
    taken, died = (event for event in result.history if isinstance(event, of_letters))
    assert (taken.node, taken.at_ns, died.node, died.at_ns) == (2, 3_500_000_000, 1, 2 * 10**9)


REDRIVEN_AS_ITS_FALLBACK_BEGINS = """\
duration: 13s
nodes: {count: 3}
commit_latency: 2s
workload:
  - {channel: webhook, arrivals: {burst: {size: 3, every: 4s}}}
  - {channel: webhook, arrivals: {burst: {size: 2, every: 1s}}}
channels:
  webhook:
    retry: {max_attempts: 1}
    fallback: {channel: push}
    redrive: {}
    provider:
      failure_rate: 50%
      latency: {mixture: [{weight: 1, constant: 4s}, {weight: 2, constant: 1s}]}
faults: [{at: 5s, deploy: {each_down: 0s, every: 4s}}]
"""
"""A letter is durable at the instant at which the breaker of another node closes. That one redrives it, and its own
node begins to accept its fallback."""


@RUNTIMES
def test_a_redrive_by_another_node_may_cross_the_acceptance_of_the_fallback(runtime):
    history = compared(REDRIVEN_AS_ITS_FALLBACK_BEGINS, runtime=runtime).history
    fallbacks = {event.instead_of: event for event in history if type(event) is NotificationRequested}
    redriven = [event for event in history if type(event) is NotificationRedriven]
    crossed = [(each, fallbacks[each.notification_id]) for each in redriven if each.notification_id in fallbacks]
    assert any(redrive.at_ns == fallback.at_ns and redrive.node != fallback.node for redrive, fallback in crossed)


CRASHED_AS_IT_IS_DEPLOYED = """\
duration: 6s
nodes: {count: 2}
workload: [{channel: push, arrivals: {constant: 4/s}}]
channels: {push: {}}
faults:
  - {channel: all, at: 3s, crash: process}
  - {at: 2s, deploy: {each_down: 500ms, every: 1s}}
"""
"""Node 2 crashes at 3 s, would be back at once, and is stopped by the deployment at that instant."""


@RUNTIMES
def test_a_node_that_crashes_as_it_is_deployed_is_down_for_as_long_as_that_says(runtime):
    history = compared(CRASHED_AS_IT_IS_DEPLOYED, runtime=runtime).history
    failed = [(event.node, event.at_ns) for event in history if type(event) is ActorFailed]
    assert failed.count((2, 3 * 10**9)) == 2
    accepted = [event.at_ns for event in history if type(event) is NotificationRequested and event.node == 2]
    assert not [at_ns for at_ns in accepted if 3 * 10**9 < at_ns < 3_500_000_000]
