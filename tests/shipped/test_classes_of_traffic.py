"""Login codes beside bulk on one account: what was found with classes of traffic, and what it takes of the others."""

import math

import pytest

import simulation

PRIORITY = """
name: prio
seed: {seed}
duration: 12m
workload:
  - {{name: rest, channel: sms, arrivals: {{poisson: {rest}/s}}}}
  - {{name: codes, channel: sms, critical: true, arrivals: {{poisson: 1/s}}}}
channels:
  sms:
    quota: {{rate: 12/s, kind: token_bucket, burst: 1}}
    provider: {{latency: {{lognormal: {{median: 200ms, p99: 1s}}}}}}
faults: [{{channel: sms, at: 5m, for: 3m, outage: true}}]
"""
DIGESTS = """
name: ses-digest-burst
seed: 1
start: 2026-11-27T08:00:00Z
duration: {minutes}m
drain: 12h
record: aggregates
workload:
  - {{name: digests, channel: email, {given}arrivals: {{burst: {{size: {size}, every: 24h}}}}}}
  - {{name: resets, channel: email, critical: true, expires_after: 10m, arrivals: {{poisson: 0.5/s}}}}
channels:
  email:
    quota: {{rate: 14/s, kind: token_bucket, burst: 14}}
    retry: {{max_attempts: 8, initial_delay: 1s, max_delay: 5m, jitter: full}}
    provider: {{latency: {{lognormal: {{median: 60ms, p99: 400ms}}}}, failure_rate: 0.1%}}
faults:
  - {{channel: email, throttle: {{rate: 14/s}}}}
"""
OUTAGE_S, OPEN_S = 180.0, 60.0


def test_codes_wait_for_no_more_than_the_quota_alone_the_outage_and_one_open_time():
    codes = simulation.run(simulation.parse(PRIORITY.format(seed=2, rest=9))).summary["workload"]["codes"]
    assert codes["delivery_time_s"]["never"] == 0
    assert codes["sent_time_s"]["max"] <= OUTAGE_S + OPEN_S + 60  # and until they have all gone at the pace of resuming


@pytest.mark.thorough
def test_what_the_codes_took_is_what_the_others_wait_for_and_nothing_is_lost():
    classes = simulation.run(simulation.parse(PRIORITY.format(seed=1, rest=9))).summary
    none = simulation.run(
        simulation.parse(PRIORITY.format(seed=1, rest=9).replace("critical: true", "critical: false"))
    )
    assert classes["delivery_time_s"]["never"] == none.summary["delivery_time_s"]["never"] == 0
    own, all_alike = classes["workload"], none.summary["workload"]
    assert own["codes"]["sent_time_s"]["mean"] < all_alike["codes"]["sent_time_s"]["mean"]
    assert own["rest"]["sent_time_s"]["mean"] > all_alike["rest"]["sent_time_s"]["mean"]
    # The sum of waits does not depend on the order (Kleinrock's conservation): all take the quota alike.
    total = [sum(each["delivered"] * each["sent_time_s"]["mean"] for each in run.values()) for run in (own, all_alike)]
    assert total[0] == pytest.approx(total[1], rel=0.02)


def resets_among(size, minutes, given=""):
    summary = simulation.run(simulation.parse(DIGESTS.format(size=size, minutes=minutes, given=given))).summary
    return summary, summary["workload"]


@pytest.mark.parametrize("given", ["", "priority: bulk, "])
def test_password_resets_are_sent_beside_digests(given):
    summary, own = resets_among(3_000, 3, given)
    assert own["resets"]["dead_lettered"] == 0
    assert own["resets"]["delivery_time_s"]["p99"] <= 10
    assert summary["delivery_time_s"]["never"] == 0


@pytest.mark.slow
def test_password_resets_are_sent_beside_half_a_million_digests():
    summary, own = resets_among(500_000, 60)
    assert own["resets"]["dead_lettered"] == 0
    assert own["resets"]["delivery_time_s"]["p99"] <= 10
    assert summary["sent_fraction"] >= 0.999


def test_a_starving_class_is_seen_to_wait_and_weights_end_that():
    """Codes that fill the account hold up all else in strict order; by weight the rest has its part."""
    text = """
    duration: 2m
    drain: 0s
    workload:
      - {{name: codes, channel: sms, critical: true, arrivals: {{constant: 12/s}}}}
      - {{name: rest, channel: sms, arrivals: {{constant: 2/s}}}}
    channels: {{sms: {{quota: {{rate: 10/s, kind: token_bucket, burst: 1}}, order: {order}}}}}
    """
    sent = {}
    for order in ("{kind: strict}", "{kind: weighted}"):
        summary = simulation.run(simulation.parse(text.format(order=order))).summary
        sent[order] = {name: each["delivered"] for name, each in summary["workload"].items()}
    strict, weighted = sent.values()
    assert strict["rest"] <= 2
    assert weighted["rest"] == pytest.approx(240, rel=0.05)  # 2/s is their part of 10/s: 4 of 20
    assert math.isclose(sum(strict.values()), sum(weighted.values()), rel_tol=0.01)
