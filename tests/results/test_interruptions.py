"""Requests that a crash interrupts: providers were asked, and no one takes their answers."""

import pytest
from provider_attempts import first_attempt
from worlds import EMAIL, Scripted, email

import simulation
from actors.messages import (
    DuplicateIgnored,
    NotificationFailed,
    NotificationSent,
)
from actors.outcomes import Permanent, Sent, Transient
from simulation.results.interruptions import Interruptions, Request
from simulation.results.ledger import Entry, Ledger
from simulation.scenario.loading import parse
from simulation.scenario.metrics import Outline

SCENARIO = """\
seed: 3
duration: 30s
drain: 10m
workload:
  - {channel: email, arrivals: {constant: 4/s}, users: 40}
channels:
  email:
    rate_limit: {rate: 100/s}
    provider: {latency: 700ms, failure_rate: 10%, price: 2}
"""


def ran(faults, more="", sets=()):
    """Return the summary of a run with such faults, and how often its provider was asked."""
    asked = []
    lines = "".join(f"  - {fault}\n" for fault in faults)
    scenario = parse(f"{SCENARIO}{more}faults:\n{lines}", sets=sets)
    rule = {"email": [lambda attempt, now_ns, load: asked.append(attempt)]}
    return simulation.run(scenario, rules=rule, invariants="all").summary, len(asked)


@pytest.mark.parametrize(
    "crash",
    [
        "crash: process, restart_after: 2s",
        "crash: process",
        *(f"crash: {{actor: {actor}}}, restart_after: 400ms" for actor in ("handler", "limiter", "breaker", "channel")),
    ],
)
def test_what_a_crash_interrupts_is_counted_as_the_provider_counts_it(crash):
    summary, asked = ran([f"{{channel: email, at: 10.1s, {crash}}}", f"{{channel: email, at: 10.3s, {crash}}}"])
    assert summary["requests"] == asked
    assert summary["interrupted"] >= 2
    assert summary["attempts"] == asked - summary["interrupted"]
    assert summary["cost"] == 2 * asked
    assert summary["channels"]["email"]["interrupted"] == summary["interrupted"]


@pytest.mark.parametrize("actor", ["dlq", "alert"])
def test_what_stands_beside_the_way_interrupts_nothing(actor):
    summary, asked = ran([f"{{channel: email, at: 10s, crash: {{actor: {actor}}}}}"])
    assert (summary["requests"], summary["interrupted"]) == (asked, 0)


def test_copies_are_interrupted_too():
    crash = "{channel: email, at: 10.1s, crash: {actor: breaker}, restart_after: 400ms}"
    summary, asked = ran([crash], "    hedging: {max_attempts: 3, delay: 200ms}\n")
    assert summary["requests"] == asked
    assert summary["interrupted"] > 3  # of those at the provider, which are about three, most have copies


def test_what_comes_to_a_provider_twice_by_mistake_is_counted_twice():
    summary, asked = ran(["{channel: email, duplicate_rate: 20%}"])
    assert summary["requests"] == asked
    assert summary["attempts"] == asked - summary["interrupted"]


def test_who_is_reached_again_and_again_is_counted_once():
    """Messages that come twice and late have people reached before and behind the end of a notification."""
    late = "{channel: email, duplicate_rate: 100%, reorder: {delay: {exponential: {mean: 20s}}}}"
    summary, _ = ran([late, "{channel: email, at: 10s, crash: {actor: handler}, restart_after: 1ms}"])
    assert 0 < summary["reached_twice"] <= summary["accepted"]


def test_what_is_refused_by_ourselves_is_no_outcome_of_a_request_of_the_same_instant():
    """A message that came twice gets to the provider at the instant at which the notification itself is turned away."""
    lost = []
    watch = Interruptions(lost.append)
    twice = first_attempt()
    watch.observed({EMAIL: {"primary": Scripted()}})[EMAIL]["primary"].attempt(twice, 5)
    refused = {"kind": "Transient", "reason": "adaptive throttle", "attempt": 2, "started_ns": 5, "refused": True}
    watch.follow(NotificationFailed(at_ns=5, epoch_ns=0, notification_id="n", channel=EMAIL, **refused))
    found = [(each.notification_id, each.channel, each.provider, each.started_ns, each.lost_ns) for each in lost]
    assert found == [("n", EMAIL, "primary", 5, 5)]


@pytest.mark.parametrize("first_ns", [5, 6])
def test_the_request_whose_outcome_is_recorded_later_is_not_the_one_that_is_lost(first_ns):
    """Of a message that came twice the first is refused, and the second delivered, while the handler is down."""
    lost = []
    watch = Interruptions(lost.append)
    twice = first_attempt()
    provider = watch.observed({EMAIL: {"primary": Scripted([Permanent(reason="unknown")], 2e-9)}})
    for at_ns in (first_ns, 6):
        provider[EMAIL]["primary"].attempt(twice, at_ns)
    watch.follow(
        NotificationSent(
            at_ns=90, epoch_ns=0, notification_id="n", channel=EMAIL, attempt=1, started_ns=6, requested_at_ns=0
        )
    )
    assert [(each.started_ns, each.reached_ns) for each in lost] == [(first_ns, None)]


def test_the_copy_that_delivered_is_not_the_one_that_is_lost():
    """A message that came twice, of whose attempt a copy was sent, which delivered."""
    lost = []
    watch = Interruptions(lost.append)
    twice = first_attempt()
    answers = Transient(reason="busy"), Transient(reason="busy"), Sent()
    provider = watch.observed({EMAIL: {"primary": Scripted(answers, 2e-9)}})[EMAIL]["primary"]
    for at_ns in (5, 5, 7):
        provider.attempt(twice, at_ns)
    sent = {"attempt": 1, "started_ns": 5, "requested_at_ns": 0, "hedges": 1}
    watch.follow(NotificationSent(at_ns=90, epoch_ns=0, notification_id="n", channel=EMAIL, **sent))
    assert [(each.started_ns, each.reached_ns) for each in lost] == [(5, None)]


@pytest.mark.parametrize("at_ns", [0, 5])
def test_an_answer_that_is_lost_and_too_late_is_of_one_request(at_ns):
    attempt = first_attempt(email("email-0-0"))
    outline = Outline(providers=((EMAIL, ("primary",)),), entries=("email",), classes=("normal",))
    ledger = Ledger(outline, [Entry("normal", (EMAIL,))])
    requests = [Request(attempt, EMAIL, "primary", started_ns) for started_ns in (0, at_ns)]
    requests[1].is_late = True
    for request in requests:
        request.reached_ns = 9
        ledger.interrupt(request, counts=False)
    assert ledger.tally((0, EMAIL)).reached_twice == (at_ns > 0)


def test_what_is_at_a_provider_at_the_end_is_neither_an_attempt_nor_interrupted():
    crash = "{channel: email, at: 10.1s, crash: {actor: breaker}}"
    summary, asked = ran([crash], sets=["drain=0s"])
    assert 0 < asked - summary["requests"] <= summary["in_flight"]  # others wait for their retry
    assert summary["interrupted"] == ran([crash])[0]["interrupted"]


def test_an_id_that_comes_again_after_a_crash_is_a_duplicate_still():
    repeats = SCENARIO.replace("users: 40}", "users: 40, repeats: 30%}")
    crash = "faults: [{channel: email, at: 10.1s, crash: process, restart_after: 3s}]\n"
    result = simulation.run(parse(repeats + crash), invariants="all")
    again = [event for event in result.history if type(event) is DuplicateIgnored]
    assert result.summary["duplicates"] == len(again)
    assert sum(event.at_ns > 13 * 10**9 for event in again) > 10


def test_what_ends_without_an_outcome_leaves_no_request_open_for_the_crash_of_its_node():
    """One is at its provider when its breaker crashes, and is not sent again, as it has expired by then. The other node
    has another one until 8.9 s."""
    scenario = """\
duration: 1s
nodes: {count: 2, routing: round_robin}
workload:
  - {channel: email, arrivals: {times: [0s, 900ms]}, expires_after: 500ms}
channels:
  email: {provider: {latency: 8s}}
faults:
  - {channel: email, at: 1s, crash: {actor: breaker}, node: 1, restart_after: 1s}
  - {channel: email, at: 3s, crash: process, node: 1, restart_after: 1s}
"""
    summary = simulation.run(parse(scenario), invariants="all").summary
    assert (summary["sent"], summary["dead_lettered"]) == (1, 1)
    assert (summary["requests"], summary["interrupted"]) == (2, 1)


def test_what_is_durable_has_happened_though_the_handler_was_down_and_the_process_crashed():
    scenario = """\
duration: 1s
commit_latency: 500ms
workload:
  - {channel: email, arrivals: {times: [0s, 0s]}}
channels:
  email: {provider: {latency: 1s}}
faults:
  - {channel: email, at: 1.9s, crash: {actor: handler}, restart_after: 5s}
  - {channel: email, at: 2.5s, crash: process, restart_after: 1s}
"""
    result = simulation.run(parse(scenario), invariants="all")
    assert (result.summary["sent"], result.summary["in_flight"]) == (2, 0)
    assert (result.summary["requests"], result.summary["interrupted"]) == (2, 0)


def test_what_is_interrupted_counts_among_the_most_that_a_provider_had_to_do():
    scenario = """
    name: burst
    duration: 1s
    workload: [{channel: email, arrivals: {times: [100ms, 200ms, 300ms, 400ms, 500ms, 600ms, 700ms]}}]
    channels:
      email:
        timeout: 1m
        provider: {latency: 20s}
        circuit_breaker: {resume_rate: 1/s, resume_rate_max: 1/s}
    faults: [{channel: email, at: 5s, crash: process, restart_after: 1s}]
    """
    summary = simulation.run(simulation.parse(scenario)).summary
    assert (summary["interrupted"], summary["requests"]) == (7, 14)
    assert summary["peaks"]["requests_per_s"] == summary["channels"]["email"]["peaks"]["requests_per_s"] == 7


REACHED = """\
duration: 20s
workload: [{channel: email, arrivals: {times: [1s, 1s, 1s, 4s]}}]
channels:
  email: {provider: {latency: 1s%s}%s}
  push: {provider: {latency: 100ms}}
faults: [{channel: email, at: 1500ms, crash: %s, restart_after: 1s}]
expect: [{from: 0s, to: 3s, that: [reached_twice >= 0]}, {from: 3s, to: 20s, that: [reached_twice == 0]}]
"""
"""A crash while three are at their provider."""


@pytest.mark.parametrize("crash", ["process", "{actor: breaker}"])
@pytest.mark.parametrize(
    ("provider", "times"),
    [
        ("", 3),
        (", capacity: 1", 3),
        (", script: [{outcome: transient, latency: 1s}, {outcome: hang}, {outcome: lost}]", 1),
        (", upstream: {latency: 100ms}", 3),
    ],
    ids=["foreseen", "in its queue", "by script", "behind it"],
)
@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_whom_an_interrupted_request_reaches_and_who_is_sent_it_again_is_reached_twice(crash, provider, times, record):
    scenario = parse(REACHED % (provider, "", crash), sets=[f"record={record}"])
    summary = simulation.run(scenario, invariants="all").summary
    assert (summary["interrupted"], summary["sent"], summary["reached_twice"]) == (3, 4, times)
    assert summary["channels"]["email"]["reached_twice"] == times
    assert [window["reached_twice"] for window in summary["windows"].values()] == [times, 0]


def test_a_person_whom_an_interrupted_request_and_then_a_fallback_reach_is_reached_twice():
    fallback = ", retry: {max_attempts: 1}, fallback: {channel: push}"
    taken, refused = "{latency: 1s}", "{outcome: permanent}"
    script = f", script: [{taken}, {taken}, {taken}, {refused}, {refused}, {taken}, {taken}]"
    summary = simulation.run(parse(REACHED % (script, fallback, "process")), invariants="all").summary
    assert (summary["interrupted"], summary["fallbacks"], summary["reached_twice"]) == (3, 2, 3)
    assert [summary["channels"][name]["reached_twice"] for name in ("email", "push")] == [1, 2]


LOST = """
duration: 20s
workload: [{channel: email, arrivals: {constant: 1/s}, users: 3}]
channels: {email: {timeout: 2s, retry: {max_attempts: 3, initial_delay: 1s, jitter: none}, provider: %s}}
faults: [{channel: email, at: 5s, for: 3500ms, lost_reply_rate: %s}]
"""


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize(
    ("provider", "rate", "times"),
    [
        ("{latency: 100ms}", "100%", 4),  # the replies at 5, 6, 7 and 8 s are lost; each is delivered again 3 s later
        ("{latency: 100ms}", "0%", 0),
        ("{latency: 3s}", "0%", 20),  # each attempt is delivered, and its answer comes too late
        ("{latency: 3s, capacity: 50}", "0%", 20),
        ("{latency: 3s, failure_rate: 100%}", "0%", 0),
    ],
)
def test_who_is_sent_it_again_after_a_time_out_although_it_was_delivered_is_reached_twice(
    provider, rate, times, runtime
):
    result = simulation.run(simulation.parse(LOST % (provider, rate)), runtime=runtime, invariants=["summary"])
    assert result.summary["reached_twice"] == result.summary["channels"]["email"]["reached_twice"] == times


def test_copies_of_one_attempt_are_one_delivery():
    world = LOST.replace("timeout: 2s", "timeout: 8s, hedging: {delay: 1s}") % ("{latency: 1500ms}", "0%")
    summary = simulation.run(simulation.parse(world), invariants=["summary"]).summary
    assert (summary["hedges"], summary["reached_twice"]) == (20, 0)


def test_registrations_of_one_user_are_different_requests():
    world = """
duration: 20s
workload: [{event: UserRegistered, arrivals: {constant: 1/s}, users: 1}]
channels: {email: {timeout: 2s, provider: {latency: 100ms}}}
faults: [{channel: email, at: 500ms, crash: process}, {channel: email, at: 5s, for: 500ms, lost_reply_rate: 100%}]
"""
    assert simulation.run(simulation.parse(world), invariants=["summary"]).summary["reached_twice"] == 1


def test_what_a_deadline_cuts_and_a_provider_delivers_is_reached_twice_with_its_fallback():
    """Half of them are delivered later than 130 ms after the first attempt: the other channel sends them again."""
    text = """
duration: 1m
seed: 3
workload: [{channel: push, users: 10, arrivals: {poisson: 20/s}}]
channels:
  push:
    deadline: 130ms
    retry: {initial_delay: 40ms, max_attempts: 3}
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 120ms}}, failure_rate: 30%}
    fallback: {channel: sms}
  sms: {}
"""
    result = simulation.run(parse(text), invariants=["summary", "reached-once"])
    cut = result.attempts[result.attempts["reason"] == "deadline"]
    assert len(cut) > 300
    assert 0 < result.summary["reached_twice"] < len(cut)
