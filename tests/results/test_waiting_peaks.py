"""How many waited at most, and for what: small cases that can be counted by hand."""

from typing import Any

import pytest
from effort import sliced

import simulation

NOTHING = {"limit": 0, "quota": 0, "slots": 0, "breaker": 0, "backoff": 0}


def peaks(channels: str, faults: str = "[]", record: str = "full") -> dict[str, Any]:
    text = f"""
    name: burst
    duration: 1m
    record: {record}
    workload:
      - {{channel: email, arrivals: {{burst: {{size: 100, every: 5m}}}}, users: 1}}
      - {{channel: sms, arrivals: {{constant: 1/s}}}}
    channels: {channels}
    faults: {faults}
    """
    summary = simulation.run(simulation.parse(text), invariants="all").summary
    for each in (summary, *summary["channels"].values()):
        # What waits for one thing does not wait for another one.
        assert all(count <= 100 for count in each["peaks"]["waiting"].values())
    assert summary["channels"]["sms"]["peaks"]["waiting"] == NOTHING
    assert summary["peaks"]["waiting"] == summary["channels"]["email"]["peaks"]["waiting"]
    return summary["peaks"]["waiting"]


@pytest.mark.parametrize("record", sliced(["full", "aggregates"], 6))
@pytest.mark.parametrize(
    ("email", "waiting"),
    [
        ("{}", {}),
        ("{rate_limit: {max_per_minute: 30}}", {"limit": 70}),
        ("{quota: {rate: 1/s, kind: leaky_bucket}}", {"quota": 99}),
        ("{max_in_flight: 5, provider: {latency: 1s}}", {"slots": 95}),
        ("{adaptive_rate: {initial_rate: 10/s, minimum_rate: 1/s, maximum_rate: 10/s}}", {"quota": 99}),
    ],
)
def test_those_that_wait_are_counted_by_what_for(email, waiting, record):
    assert peaks(f"{{email: {email}, sms: {{}}}}", record=record) == {**NOTHING, **waiting}


def test_those_behind_an_open_breaker_and_those_before_a_retry_are_counted():
    email = "{circuit_breaker: {failure_threshold: 10, timeout: 30s}, max_in_flight: 10, provider: {latency: 100ms}}"
    waiting = peaks(f"{{email: {email}, sms: {{}}}}", faults="[{channel: email, for: 20s, outage: true}]")
    # Ten fail, and the slots of the first nine are taken before the tenth opens the breaker: nineteen wait for their
    # retry. Until then ninety wait for slots, and then for the breaker, before which the nineteen come again.
    assert waiting == {**NOTHING, "slots": 90, "breaker": 100, "backoff": 19}


@pytest.mark.parametrize(
    ("crash", "limit"),
    sliced([("{actor: limiter}", 95), ("{actor: breaker}", 95), ("{actor: handler}", 95), ("process", 70)], 2),
)
def test_what_has_crashed_counts_nothing_twice(crash, limit):
    """Where an actor has crashed, the user's limit is used up, and the 25 that waited for the quota wait for it too."""
    email = "{rate_limit: {max_per_minute: 30}, quota: {rate: 1/s, kind: leaky_bucket}}"
    faults = f"[{{channel: email, at: 5s, crash: {crash}}}]"
    assert peaks(f"{{email: {email}, sms: {{}}}}", faults=faults) == {**NOTHING, "limit": limit, "quota": 29}
