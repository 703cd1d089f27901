"""The metrics of requests: what is offered and what is delivered, told apart by entry, class and channel."""

import math
from functools import cache
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from effort import sliced
from hypothesis import given, strategies as st

import simulation
from actors.messages import (
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.results.ledger import Entry, Ledger, Refused
from simulation.results.tallies import Counted
from simulation.scenario.metrics import QUANTILES, WITHIN_S, Outline

EMAIL = NotificationChannel.EMAIL
OUTLINE = Outline(providers=((EMAIL, ("primary",)),), entries=("email",), classes=("normal",))
SECOND = 10**9
WAYS = ("lost", "refused", "late", "pending")


def event(kind: type, number: int, at_ns: int, **more: Any) -> Any:
    return kind(at_ns=at_ns, epoch_ns=0, notification_id=f"email-0-{number}", channel=EMAIL, **more)


def summary_of(fates: list[tuple[str, int]]) -> dict[str, Any]:
    """Return the metrics of requests that were all accepted at 0 and ended so, after so many nanoseconds."""
    ledger = Ledger(OUTLINE, [Entry("normal", (EMAIL,))], counted=Counted())
    events: dict[type, list[Any]] = {NotificationRequested: [], NotificationSent: [], NotificationMovedToDeadLetter: []}
    for number, (fate, took_ns) in enumerate(fates):
        if fate == "refused":
            ledger.refuse(Refused(0, EMAIL, "down", f"email-0-{number}"))
            continue
        events[NotificationRequested].append(event(NotificationRequested, number, 0, user_id="ann"))
        if fate == "lost":
            lost = event(
                NotificationMovedToDeadLetter, number, took_ns, reason="refused", attempts=1, requested_at_ns=0
            )
            events[NotificationMovedToDeadLetter].append(lost)
        elif fate in ("sent", "late"):
            sent = event(NotificationSent, number, took_ns, attempt=1, started_ns=took_ns, requested_at_ns=0)
            events[NotificationSent].append(sent)
    ledger.fold(events)
    return ledger.summary(100_000 * SECOND)


def of_delivery(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of delivery, the larger the better."""
    times = summary["delivery_time_s"]
    better = {name: -(math.inf if times[name] is None else times[name]) for name in QUANTILES}
    within = {f"within {name}": summary["delivered_within"][name] for name in WITHIN_S}
    return {
        **better,
        **within,
        "never": -times["never"],
        "sent_fraction": summary["sent_fraction"],
        "delivered": summary["delivered"],
    }


FATES = st.lists(
    st.tuples(st.sampled_from(["sent", *WAYS]), st.integers(0, 4_000).map(lambda tenths: tenths * SECOND // 10)),
    min_size=1,
    max_size=60,
)


@given(FATES, st.sampled_from(WAYS), st.data())
def test_no_metric_of_delivery_gets_better_as_one_that_was_delivered_fares_worse(fates, way, data):
    delivered = [number for number, (fate, _) in enumerate(fates) if fate in ("sent", "late")]
    if not delivered:
        return
    worse = list(fates)
    number = data.draw(st.sampled_from(delivered))
    worse[number] = (way, fates[number][1] + data.draw(st.integers(0, 4_000)) * SECOND)
    before, after = (of_delivery(summary_of(each)) for each in (fates, worse))
    assert {name for name in before if after[name] > before[name] + 1e-9 * abs(before[name])} == set()


@given(FATES)
def test_quantiles_are_over_all_that_were_offered(fates):
    summary = summary_of(fates)
    took = sorted(took_ns / SECOND if fate in ("sent", "late") else math.inf for fate, took_ns in fates)
    for name, share in QUANTILES.items():
        place = share * (len(took) - 1)
        neighbours = {took[math.floor(place)], took[math.ceil(place)]}
        if math.inf in neighbours:
            assert summary["delivery_time_s"][name] is None
        else:
            assert min(neighbours) <= summary["delivery_time_s"][name] <= max(neighbours)
    assert summary["delivery_time_s"]["never"] == sum(map(math.isinf, took))
    for name, seconds in WITHIN_S.items():
        assert summary["delivered_within"][name] == sum(each <= seconds for each in took) / len(took)


# ── in runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

MIXED = """
name: mixed
duration: 4m
drain: 2m
record: {record}
workload:
  - {{event: OrderPlaced, arrivals: {{poisson: 1/s}}}}
  - {{name: codes, channel: sms, critical: true, expires_after: 20s, arrivals: {{poisson: 1/s}}}}
  - {{channel: push, arrivals: {{poisson: 2/s}}, users: 40}}
  - {{channel: push, clients: 3, think: 2s}}
  - {{event: UserRegistered, arrivals: {{poisson: 1/s}}}}
channels:
  email: {{retry: {{max_attempts: 2, initial_delay: 1s}}, provider: {{failure_rate: 20%, price: 0.1}}}}
  sms: {{provider: {{failure_rate: 30%, price: 4, latency: 200ms}}}}
  push:
    retry: {{max_attempts: 1}}
    rate_limit: {{max_per_minute: 3}}
    fallback: {{channel: sms}}
    provider: {{failure_rate: 20%, latency: 300ms}}
preferences: [{{share: 20%, channel: push, enabled: false}}]
faults:
  - {{channel: sms, at: 30s, for: 30s, outage: true}}
  - {{channel: email, at: 100s, crash: process, restart_after: 10s}}
operations: [{{at: 3m, redrive: all, served: include}}]
"""


@cache
def ran(record: str = "full") -> Any:
    """Return the result of the run, which is shared: nothing may be changed in it."""
    return simulation.run(simulation.parse(MIXED.format(record=record)), invariants="all")


ADD_UP = (
    *("offered", "delivered", "unwanted", "reached_twice", "accepted", "sent", "dead_lettered", "suppressed"),
    *("in_flight", "attempts", "retries", "hedges", "interrupted", "requests", "deferred", "duplicates", "cost"),
)


@pytest.mark.thorough
def test_counts_of_entries_classes_and_channels_add_up_to_those_of_the_run():
    summary = ran().summary
    assert list(summary["workload"]) == ["OrderPlaced", "codes", "push-1", "push-2", "UserRegistered"]
    assert list(summary["classes"]) == ["critical", "normal"]
    for group in ("workload", "classes", "channels"):
        parts = summary[group].values()
        for name in ADD_UP:
            assert sum(part[name] for part in parts) == pytest.approx(summary[name], rel=1e-12), (group, name)
        for why in ("down", "overloaded"):
            assert sum(part["refused"][why] for part in parts) == summary["refused"][why]
        assert sum(part["delivery_time_s"]["never"] for part in parts) == summary["delivery_time_s"]["never"]
    # Each of these has to do with something that happens here.
    assert min(summary[name] for name in ("unwanted", "handed_on", "reached_twice", "interrupted", "cost")) > 0
    assert summary["refused"]["down"] > 0


@pytest.mark.thorough
def test_aggregates_have_the_same_summary_as_a_full_recording():
    full, lean = ran().summary, ran("aggregates").summary
    assert lean == full


def test_the_metrics_are_those_of_the_frames():
    result = ran()
    summary, frame = result.summary, result.notifications
    by_request = frame.assign(
        time_s=(frame["finished_at_s"] - frame["waited_since_s"]).where(frame["outcome"] == "sent")
    )
    requests = by_request.groupby("request").agg(
        time_s=("time_s", "min"), sent=("outcome", lambda found: (found == "sent").sum()), entry=("entry", "first")
    )
    alone = frame.groupby("request")["id"].transform("size") == 1
    unwanted = frame[alone & (frame["outcome"] == "suppressed")]
    refused = sum(summary["refused"].values())
    assert len(requests) - len(unwanted) + refused == summary["offered"]
    assert requests["time_s"].notna().sum() == summary["delivered"]
    lost = result.interrupted[result.interrupted["delivered"]].merge(frame, on="id")
    again = set(lost[(lost["outcome"] == "sent") & (lost["start_s"] <= lost["finished_at_s"])]["request"])
    assert len(again | set(requests[requests["sent"] > 1].index)) == summary["reached_twice"]
    assert len(result.interrupted) == summary["interrupted"]
    for name, part in summary["workload"].items():
        assert requests[requests["entry"] == name]["time_s"].notna().sum() == part["delivered"]
        assert (frame["entry"] == name).sum() == part["accepted"]
    for name, seconds in WITHIN_S.items():
        in_time = (requests["time_s"] <= seconds).sum() / summary["offered"]
        assert summary["delivered_within"][name] == pytest.approx(in_time)
    attempts = result.attempts
    asked = attempts[~attempts["refused"]]
    assert summary["requests"] == len(asked) + asked["hedges"].sum() + summary["interrupted"]


def test_the_peaks_are_those_of_the_frames():
    result = ran()
    attempts = result.attempts[~result.attempts["refused"]]
    for channel, part in [(None, result.summary), *result.summary["channels"].items()]:
        of_channel = attempts if channel is None else attempts[attempts["channel"] == channel]
        seconds = of_channel["start_s"].floordiv(1).value_counts()
        assert part["peaks"]["requests_per_s"] == seconds.max()
        changes = pd.concat(
            [
                pd.DataFrame({"at": of_channel["end_s"], "by": -1}),
                pd.DataFrame({"at": of_channel["start_s"], "by": 1}),
            ]
        ).sort_values(["at", "by"])
        assert part["peaks"]["in_flight"] == changes["by"].cumsum().max()


def test_every_copy_counts_in_the_second_of_the_attempt_beside_which_it_was_sent():
    scenario = """
    name: hedges
    duration: 10s
    workload: [{channel: push, arrivals: {constant: 50/s}}]
    channels: {push: {hedging: {max_attempts: 2, delay: 100ms}, provider: {latency: 200ms}}}
    """
    summary = simulation.run(simulation.parse(scenario)).summary
    assert summary["hedges"] == summary["attempts"] == 500
    assert summary["peaks"]["requests_per_s"] == 100


@pytest.mark.parametrize("kept", sliced([1, 7, 100_000], 6, 1))
def test_the_peaks_do_not_depend_on_how_many_attempts_are_kept(kept, monkeypatch):
    whole = ran().summary
    monkeypatch.setattr("simulation.results.peaks.KEPT", kept)
    monkeypatch.setattr("simulation.results.recorder.CHUNK", 100)
    summary = simulation.run(simulation.parse(MIXED.format(record="full"))).summary
    for channel in whole["channels"]:
        assert summary["channels"][channel]["peaks"] == whole["channels"][channel]["peaks"]
    assert summary["peaks"] == whole["peaks"]


def test_who_is_refused_and_comes_again_is_lost_only_in_the_end():
    down = "{at: 10s, crash: process, restart_after: 20s}"
    scenario = """
    name: down
    duration: 1m
    workload: [{channel: email, arrivals: {constant: 1/s}, %s}]
    faults: [{channel: email, at: 10s, crash: process, restart_after: 20s}]
    """
    lost = simulation.run(simulation.parse(scenario % "users: 5")).summary
    kept = simulation.run(simulation.parse(scenario % "resend: {after: 5s, at_most: 4}")).summary
    some = simulation.run(simulation.parse(scenario % "resend: {after: 5s, at_most: 1}")).summary
    assert (lost["refused"]["down"], lost["offered"], lost["sent_fraction"]) == (20, 60, 40 / 60), down
    assert (kept["refused"]["down"], kept["offered"], kept["sent_fraction"]) == (0, 60, 1.0)
    assert (some["refused"]["down"], some["offered"]) == (15, 60)


# ── after a fault ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backlog_is_cleared_when_no_more_is_pending_than_as_its_fault_began():
    scenario = """
    name: backlog
    duration: 2m
    workload: [{channel: email, arrivals: {constant: 1/s}}]
    channels: {email: {quota: {rate: 2/s, kind: leaky_bucket}, circuit_breaker: {failure_threshold: 1, timeout: 10s}}}
    faults:
      - {channel: email, at: 20s, for: 20s, outage: true}
      - {channel: email, at: 100s, for: 1s, outage: true}
      - {channel: email, at: 110s, outage: true}
    """
    result = simulation.run(simulation.parse(scenario))
    cleared = {number: fault["backlog_cleared_s"] for number, fault in result.summary["faults"].items()}
    assert list(cleared) == ["0", "1"]  # the third has no end
    frame = result.notifications
    for number, (begins, ends) in {"0": (20, 40), "1": (100, 101)}.items():
        pending = [
            (at, ((frame["requested_at_s"] < ends) & ~(frame["finished_at_s"] <= at)).sum())
            for at in sorted({ends, *frame["finished_at_s"][frame["finished_at_s"] >= ends]})
        ]
        at_begin = ((frame["requested_at_s"] < begins) & ~(frame["finished_at_s"] < begins)).sum()
        first = next(at for at, left in pending if left <= at_begin)
        assert cleared[number] == pytest.approx(first - ends)
    assert cleared["0"] > 5


def test_a_host_has_those_of_its_requests_that_were_offered_and_not_in_time():
    scenario = """
    name: hosts
    duration: 100s
    workload: [{channel: email, arrivals: {constant: 1/s}, hosts: 2}]
    channels: {email: {retry: {max_attempts: 1}, fallback: {channel: sms}}, sms: {}}
    faults: [{channel: email, host: host-0.example, %s}]
    preferences: [{share: %s, channel: %s, enabled: false}]
    """

    def worst(fault: str, share: str, channel: str) -> dict[str, Any]:
        summary = simulation.run(simulation.parse(scenario % (fault, share, channel))).summary
        by_name = {host["name"]: host for host in summary["worst"]["hosts"]}
        assert sum(each["late"] for each in by_name.values()) == summary["delivery_time_s"]["never"]
        return by_name

    # All that fail at the one host go out by SMS in time: be it that the provider says that the address is gone.
    assert worst("permanent_rate: 100%", "1e-9%", "push") == {}
    assert worst("dead_destination_rate: 100%", "1e-9%", "push") == {}
    # Who wants no SMS is not reached, and wanted the email all the same.
    lost = worst("permanent_rate: 100%", "100%", "sms")["host-0.example"]
    assert (lost["offered"], lost["late"], lost["late_fraction"]) == (50, 50, 1.0)
    assert worst("permanent_rate: 100%", "100%", "email") == {}


AGAIN = """
name: again
seed: 5
duration: 187s
remember_ids: 1m
workload:
  - {channel: %s, users: 1, repeats: %s, arrivals: {times: [%s]}}
channels: {sms: {rate_limit: {max_per_minute: 1, on_limit: drop}, fallback: {channel: webhook}}}
record: %s
"""
"""Each that comes once more is the same request as before; its id has been forgotten."""


@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_what_was_delivered_and_comes_again_stays_with_the_channel_that_delivered_it(record):
    times = ", ".join(["0s"] * 12 + ["70s", "80s", "140s", "150s", "3m"])
    summary = simulation.run(simulation.parse(AGAIN % ("sms", "50%", times, record)), invariants="all").summary
    for figures in summary["channels"].values():
        assert figures["offered"] == figures["delivered"] > 0
    assert summary["reached_twice"] > 0


def test_what_is_not_wanted_again_and_again_is_one_request_that_is_not():
    scenario = AGAIN % ("push", "100%", "0s, 70s, 140s", "full")
    scenario += "preferences: [{share: 100%, channel: push, enabled: false}]"
    summary = simulation.run(simulation.parse(scenario), invariants="all").summary
    assert (summary["suppressed"], summary["unwanted"], summary["offered"]) == (3, 1, 0)


def test_what_was_delivered_was_wanted_though_it_is_not_when_it_comes_again():
    ledger = Ledger(OUTLINE, [Entry("normal", (EMAIL,))])
    comes = [event(NotificationRequested, 0, at_ns, user_id="user") for at_ns in (0, 90 * SECOND)]
    sent = event(NotificationSent, 0, SECOND, attempt=1, started_ns=0, requested_at_ns=0, provider="primary")
    unwanted = event(NotificationSuppressed, 0, 90 * SECOND, reason="switched off")
    ledger.fold({NotificationRequested: comes, NotificationSent: [sent], NotificationSuppressed: [unwanted]})
    summary = ledger.summary(100 * SECOND)
    assert (summary["unwanted"], summary["offered"], summary["delivered"]) == (0, 1, 1)


def test_a_host_has_each_request_once_however_often_it_comes():
    scenario = (AGAIN % ("email", "100%", "0s, 130s", "full")).replace("users: 1", "hosts: 1")
    scenario = scenario.replace("sms: {", "email: {timeout: 2m, provider: {latency: 61s}}, sms: {")
    summary = simulation.run(simulation.parse(scenario), invariants="all").summary
    assert summary["reached_twice"] == 1
    worst = summary["worst"]["hosts"][0]
    assert (worst["offered"], worst["late"]) == (summary["offered"], 1) == (1, 1)


def test_a_time_is_asked_for_by_the_expectation_that_wants_it():
    scenario = """
    name: within
    duration: 1m
    workload: [{channel: email, arrivals: {constant: 1/s}}]
    channels: {email: {provider: {latency: {uniform: {low: 0s, high: 2s}}}}}
    record: %s
    expect: ["delivered_within(1500ms) >= 60%%", "channels.email.delivered_within(1.5s) <= 90%%"]
    """
    full, lean = (simulation.run(simulation.parse(scenario % record)) for record in ("full", "aggregates"))
    assert full.holds
    assert full.summary["expectations"] == lean.summary["expectations"]
    assert list(full.summary["delivered_within"]) == [*WITHIN_S, "1.5s"]
    assert all(low <= high for low, high in pairwise(sorted(full.summary["delivered_within"].values())))
