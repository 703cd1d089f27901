"""Contention for one row, by a failure rule: the simulator of the AWS Architecture Blog, in words of a scenario.

Each client wants one write under optimistic concurrency: read the version, then write if it is still the same (Brooker,
"Exponential Backoff And Jitter", 2015; aws-samples/aws-arch-backoff-simulator). Here every other attempt is the read.
An attempt starts when it arrives at the server, which takes no time, and its latency is the two ways over the network
until the next one arrives. The expected numbers of writes are those of its own program over 1000 runs.
"""

from math import sqrt
from statistics import fmean, stdev

import pytest
from effort import sliced

import simulation
from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.outcomes import Outcome, Transient
from simulation.scenario import Scenario, parse

READ = Transient(reason="read")
CONFLICT = Transient(reason="conflict")

# Doubling from 10 ms (5 ms · 2^1) up to 2 s.
BACKOFFS = {
    "none": "initial_delay: 0s",
    "exponential": "initial_delay: 10ms, max_delay: 2s",
    "equal": "initial_delay: 10ms, max_delay: 2s, jitter: equal",
    "full": "initial_delay: 10ms, max_delay: 2s, jitter: full",
}


class Row:
    """The row: the server's rule about reads and writes."""

    def __init__(self) -> None:
        self.version = 0
        self.writes = 0
        self._read: dict[str, int] = {}

    def __call__(self, attempt: Attempt, _now_ns: int, _load: Load) -> Outcome | None:
        name = attempt.command.notification_id
        if name not in self._read:
            self._read[name] = self.version
            return READ
        self.writes += 1
        if self._read.pop(name) != self.version:
            return CONFLICT
        self.version += 1
        return None


def contention(clients: int, backoff: str) -> Scenario:
    # Each client's first read is one way over the network after the start; none comes to a second notification.
    return parse(f"""
duration: 25ms
drain: 10m
workload: [{{channel: push, clients: {clients}, think: {{normal: {{mean: 10ms, sd: 2ms}}}}}}]
channels:
  push:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 9999, {BACKOFFS[backoff]}, per_reason: {{read: {{max_attempts: 9999, initial_delay: 0s}}}}}}
    provider: {{latency: {{normal: {{mean: 20ms, sd: 2.8284271247ms}}}}}}
""")


def writes(clients: int, backoff: str, seed: int) -> int:
    row = Row()
    result = simulation.run(contention(clients, backoff), seed=seed, rules={"push": [row]})
    assert result.summary["sent"] == row.version == clients
    assert result.summary["attempts"] == 2 * row.writes
    return row.writes


@pytest.mark.parametrize("backoff", BACKOFFS)
def test_one_client_needs_one_write_and_two_need_three(backoff):
    assert {writes(1, backoff, seed) for seed in range(5)} == {1}
    assert {writes(2, backoff, seed) for seed in range(5)} == {3}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("backoff", "mean", "error"),
    sliced(
        [("none", 51.037, 0.125), ("exponential", 50.843, 0.134), ("equal", 42.391, 0.082), ("full", 39.136, 0.068)],
        8,
        3,
    ),
)
def test_ten_clients_need_as_many_writes_as_in_the_simulator_of_the_blog(backoff, mean, error):
    samples = [writes(10, backoff, seed) for seed in range(150)]
    # 99.9% for each of the four, on both sides' errors.
    assert abs(fmean(samples) - mean) <= 3.66 * sqrt(error**2 + stdev(samples) ** 2 / len(samples))


def test_the_histories_on_both_clocks_are_equal():
    scenario = contention(10, "full")
    one, other = (
        simulation.run(scenario, rules={"push": [Row()]}, runtime=runtime).history for runtime in ("simpy", "trio")
    )
    assert one == other
