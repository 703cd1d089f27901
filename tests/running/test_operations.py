"""Operations of a scenario: what an operator does at its times, on both clocks."""

from collections import Counter

import pytest
from beside import tables
from effort import sliced
from runs import events_of, on_both_clocks

import simulation
from actors.errors import ConfigurationError
from actors.messages import BreakerTransitioned, DeadLetterDiscarded, NotificationRedriven, NotificationSent
from simulation.engine.schedules import RandomWalk
from simulation.reporting.console import print_result
from simulation.scenario import Operation, parse

TABLES = tables(__file__)

OUTAGE = """
duration: 1m
workload:
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
channels:
  email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}
  sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}
faults:
  - {channel: email, at: 10s, for: 20s, outage: true}
  - {channel: sms, at: 10s, for: 10s, permanent_rate: 100%}
"""


def run(text, runtime="simpy"):
    return simulation.run(parse(text), runtime=runtime)


@pytest.mark.parametrize(
    ("order", "redriven", "discarded"),
    [
        ("{at: 45s, redrive: all}", 30, 0),
        ("{at: 45s, redrive: all, channel: email}", 20, 0),
        ("{at: 45s, redrive: {reason: injected}, channel: [email, sms]}", 10, 0),
        ("{at: 45s, discard: {reason: outage}}", 0, 20),
        ("{at: 45s, discard: all, channel: sms}", 0, 10),
        ("{at: 45s, redrive: {reason: of another kind}}", 0, 0),
    ],
)
def test_those_dead_letters_that_are_meant(order, redriven, discarded):
    result = on_both_clocks(f"{OUTAGE}operations: [{order}]")
    assert len(events_of(result, NotificationRedriven)) == redriven
    assert len(events_of(result, DeadLetterDiscarded)) == discarded
    assert {event.at_ns for event in result.history if type(event) is NotificationRedriven} <= {45 * 10**9}
    assert result.summary["sent"] == 120 - 30 + redriven
    assert result.summary["dlq"]["final"] == 30 - redriven - discarded


FALLEN_BACK = """
duration: 10m
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels:
  sms:
    retry: {max_attempts: 2, initial_delay: 1s}
    circuit_breaker: {enabled: false}
    fallback: {channel: push}
    provider: {latency: 100ms}
  push: {provider: {latency: 50ms}}
faults: [{channel: sms, at: 2m, for: 2m, outage: true}]
"""


@pytest.mark.parametrize(
    ("served", "twice"), sliced([("", 0), (", served: exclude", 0), (", served: include", 119)], 6, 2)
)
def test_after_a_fallback_a_redrive_reaches_no_one_twice_unless_told_so(served, twice):
    result = on_both_clocks(f"{FALLEN_BACK}operations: [{{at: 6m, redrive: all{served}}}]")
    reached = Counter(event.notification_id.removesuffix("/push") for event in events_of(result, NotificationSent))
    assert len(reached) == 600
    assert sum(times > 1 for times in reached.values()) == twice
    assert result.summary["dlq"]["final"] == 119 - twice


def test_only_what_is_dead_by_then_and_again_when_it_dies_again():
    # At 15 s six have failed, and each of them dies a second time in the outage; at 35 s all twenty are taken up.
    text = (
        f"{OUTAGE}operations: [{{at: 15.5s, channel: email, redrive: all}}, {{at: 35s, channel: email, redrive: all}}]"
    )
    result = on_both_clocks(text)
    assert [event.at_ns // 10**9 for event in events_of(result, NotificationRedriven)] == [15] * 6 + [35] * 20


def test_the_run_goes_on_until_the_last_order_and_what_follows_from_it():
    result = on_both_clocks(f"{OUTAGE}drain: 10m\noperations: [{{at: 5m, redrive: all}}, {{at: 1h, redrive: all}}]")
    assert result.summary["simulated_s"] == 660
    assert result.summary["sent"] == 120
    result = on_both_clocks(f"{OUTAGE}operations: [{{at: 5m, redrive: all}}]")
    assert result.summary["simulated_s"] == pytest.approx(300, abs=1e-8)


def test_orders_to_breakers_of_a_channel_or_of_one_provider():
    text = """
duration: 1m
workload:
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
channels:
  email: {failover: {backup: {}}}
operations:
  - {at: 10s, channel: email, provider: primary, breaker: force-open}
  - {at: 20s, channel: all, breaker: force-open}
  - {at: 30s, channel: [email, sms], breaker: close}
  - {at: 40s, channel: sms, provider: primary, breaker: disable}
"""
    transitions = [
        (event.at_ns // 10**9, event.breaker, event.to_state)
        for event in events_of(on_both_clocks(text), BreakerTransitioned)
    ]
    assert transitions == [
        (10, "email", "forced-open"),
        (20, "email/backup", "forced-open"),
        (20, "sms", "forced-open"),
        (30, "email", "closed"),
        (30, "email/backup", "closed"),
        (30, "sms", "closed"),
        (40, "sms", "disabled"),
    ]


@pytest.mark.parametrize(("order", "problem"), TABLES["orders"])
def test_orders_that_cannot_be_carried_out(order, problem):
    with pytest.raises(ConfigurationError) as caught:
        parse(f"{OUTAGE}operations: [{order}]")
    assert problem in str(caught.value)


def test_an_operation_in_python():
    assert Operation(at=5.0, redrive="all").redrive == "all"


# ── the order of ready messages ─────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_in_a_file_is_followed():
    text = f"{OUTAGE}operations: [{{at: 35s, redrive: all}}]\nschedule: "
    plain = run(f"{OUTAGE}operations: [{{at: 35s, redrive: all}}]").summary["digest"]
    assert run(f"{text}{{deviations: []}}").summary["digest"] == plain
    walked = run(f"{text}{{random_walk: true}}").summary["digest"]
    assert walked != plain
    assert run(f"{text}{{random_walk: true}}").summary["digest"] == walked
    assert run(f"{text}{{pct: {{depth: 3, steps: 100}}}}").summary["digest"] not in (plain, walked)


def test_a_random_walk_is_done_again_by_its_deviations():
    scenario = parse(f"{OUTAGE}schedule: {{random_walk: true}}")
    schedule = RandomWalk(scenario_stream(scenario))
    walked = simulation.run(scenario, schedule=schedule).summary["digest"]
    assert simulation.run(scenario).summary["digest"] == walked
    pairs = [[step, choice] for step, choice in schedule.deviations]
    assert run(f"{OUTAGE}schedule: {{deviations: {pairs}}}").summary["digest"] == walked


def scenario_stream(scenario):
    from actors.kernel.randomness import RandomStreams

    return RandomStreams(scenario.seed).stream("schedule")


def test_trio_has_an_order_of_its_own():
    with pytest.raises(ConfigurationError, match="schedule: wanted the runtime simpy"):
        run(f"{OUTAGE}schedule: {{random_walk: true}}", "trio")


@pytest.mark.parametrize(("schedule", "problem"), TABLES["schedules"])
def test_schedules_that_there_are_not(schedule, problem):
    with pytest.raises(ConfigurationError) as caught:
        parse(f"{OUTAGE}schedule: {schedule}")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("served", "left", "said"),
    [("exclude", 119, "119 dead letters are served, and left out of redrives"), ("include", 0, "")],
)
def test_the_table_of_dead_letters_and_the_terminal_say_what_was_left_out(served, left, said, capsys):
    result = run(f"{FALLEN_BACK}operations: [{{at: 6m, redrive: all, served: {served}}}]")
    assert list(result.dlq["served"]) == [True] * 119
    assert result.dlq["left"].isna().sum() == left
    print_result(result, None)
    out = capsys.readouterr().out
    assert said in out
    assert ("left out of redrives" in out) is bool(said)


def test_a_letter_is_served_in_the_table_as_it_was_when_it_left_the_queue_or_at_the_end():
    text = FALLEN_BACK.replace("push: {", "push: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}, ")
    text = text.replace("faults: [", "faults: [{channel: push, at: 0s, for: 3m, outage: true}, ")
    result = run(f"{text}operations: [{{at: 4m, redrive: all, channel: push}}, {{at: 6m, redrive: all, channel: sms}}]")
    dlq = result.dlq.set_index("id")
    of_push = dlq[dlq["channel"] == "push"]
    assert list(of_push["served"].unique()) == [False]
    assert dlq[dlq["channel"] == "sms"]["served"].all()
    assert set(result.dlq["left"].dropna()) == {"redriven"}


def test_what_is_served_is_not_known_where_only_dead_letters_are_kept():
    result = run(f"{FALLEN_BACK}record: aggregates\noperations: [{{at: 6m, redrive: all}}]")
    assert len(result.dlq) == 119
    assert result.dlq["served"].isna().all()


def test_an_edit_changes_what_is_redriven():
    text = f"""{OUTAGE}
operations: [{{at: 45s, channel: sms, redrive: all, edit: {{recipient: another, expires_after: 5s}}}}]
"""
    result = on_both_clocks(text)
    edits = [event.edit for event in events_of(result, NotificationRedriven)]
    assert edits == [{"recipient": "another", "expires_after": 5.0}] * 10


def test_an_edit_may_take_the_expiry_away():
    expiring = OUTAGE.replace("channel: sms, arr", "channel: sms, expires_after: 1s, arr")
    edits = [
        event.edit
        for event in events_of(
            run(f"{expiring}operations: [{{at: 45s, channel: sms, redrive: all, edit: {{expires_after: null}}}}]"),
            NotificationRedriven,
        )
    ]
    assert edits == [{"expires_after": None}] * 10


def test_an_edit_may_change_the_class():
    text = f"{OUTAGE}operations: [{{at: 45s, channel: sms, redrive: all, edit: {{priority: critical}}}}]"
    result = run(text)
    assert [event.edit for event in events_of(result, NotificationRedriven)] == [{"priority": "critical"}] * 10
    redriven = {event.notification_id for event in events_of(result, NotificationRedriven)}
    sent = [event for event in events_of(result, NotificationSent) if event.notification_id in redriven]
    assert {event.priority for event in sent} == {"critical"}
