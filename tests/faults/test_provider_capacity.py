"""The capacity of a provider: its queue against a naive model and queueing theory, its windows, what takes it up."""

import math
import sys
from random import Random
from typing import Any

import pytest
from confidence import check_mean
from effort import sliced
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, answered, fault
from worlds import World, email, on_both_clocks

import simulation
from actors.faults.conditions import capacity_steps
from actors.faults.provider import SimulatedProvider
from actors.faults.queue import ServiceQueue
from actors.instants import ns
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationSent
from actors.settings.distributions import Distribution
from simulation.scenario import parse

# ── the queue ───────────────────────────────────────────────────────────────────────────────────────────────────


# Small numbers, so that much falls on the same instant.
JOBS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=25).map(sorted)
STEPS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 4)), max_size=5, unique_by=lambda step: step[0]).map(
    sorted
)


@given(first=st.integers(1, 4), later=STEPS, jobs=JOBS)
def test_never_are_more_started_than_there_are_servers_and_none_is_idle_while_any_waits(first, later, jobs):
    steps = [(0, first), *later]
    queue = ServiceQueue(steps)
    spans = [(at, *queue.join(at, service)) for at, service in jobs]
    for instant in range(60):
        servers = [capacity for since, capacity in steps if since <= instant][-1]
        busy = sum(start <= instant < end for _, start, end in spans)
        assert busy <= servers or not any(start == instant < end for _, start, end in spans)
        if busy < servers:
            assert not any(at <= instant < start for at, start, _ in spans)


def erlang_c(offered: float, servers: int) -> float:
    """Return the probability of having to wait, by the recursion of Erlang B."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def mean_sojourn(seed: int, per_s: float, servers: int, latency: dict[str, Any], count: int) -> float:
    """Return how long an answer takes in seconds, in one replicate without its first tenth."""
    provider = SimulatedProvider(
        latency=Distribution.model_validate(latency), capacity=servers, streams=RandomStreams(seed)
    )
    gap, attempt = Random(f"arrivals {seed}").expovariate, provider.attempt
    now_ns, total_ns, warm_up = 0, 0, count // 10
    for number in range(count):
        now_ns += round(gap(per_s) * S)
        delay_ns = attempt(ATTEMPT, now_ns).delay_ns
        if number >= warm_up:
            total_ns += delay_ns
    return total_ns / (count - warm_up) / S


@pytest.mark.parametrize(
    ("per_s", "servers", "latency", "expected"),
    sliced(
        [
            # M/M/c: W = C(c, a) / (c - a) + 1, for a mean service time of 1 s: the offered load a is the rate.
            (0.5, 1, {"exponential": {"mean": 1}}, 2.0),
            (1.2, 2, {"exponential": {"mean": 1}}, erlang_c(1.2, 2) / 0.8 + 1),
            (8.0, 10, {"exponential": {"mean": 1}}, 1.20459008),
            # M/D/1, by Pollaczek and Khinchine: half the wait of M/M/1.
            (0.7, 1, {"constant": 1}, 0.7 / (2 * 0.3) + 1),
            # M/G/1 with E[S²] = 4/3: U(0, 2).
            (0.5, 1, {"uniform": {"low": 0, "high": 2}}, 0.5 * (4 / 3) / (2 * 0.5) + 1),
        ],
        10,
        1,
    ),
    ids=["M/M/1", "M/M/2", "M/M/10", "M/D/1", "M/U/1"],
)
def test_answers_take_as_long_as_queueing_theory_says(per_s, servers, latency, expected):
    samples = [mean_sojourn(seed, per_s, servers, latency, 12_000) for seed in range(30)]
    check_mean(samples, expected, within=0.03)


def test_the_probabilities_of_having_to_wait_are_those_of_the_tables():
    assert erlang_c(8, 10) == pytest.approx(0.40918015, abs=1e-8)
    assert erlang_c(1.5, 2) == pytest.approx(0.64285714, abs=1e-8)


# ── the provider's own, and windows ─────────────────────────────────────────────────────────────────────────────


def test_so_many_at_once_and_the_others_in_order():
    assert answered(SimulatedProvider(latency=2, capacity=2), 0, 0, 0, 1, 5) == [2, 2, 4, 4, 7]
    assert answered(SimulatedProvider(latency=2), 0, 0, 0) == [2, 2, 2]


def test_in_a_window_the_smaller_of_both_counts():
    narrow = fault(at=10, **{"for": 10}, capacity=1)
    assert answered(SimulatedProvider(latency=2, capacity=2, faults=[narrow]), 9, 10, 10, 10) == [11, 13, 15, 17]
    wide = fault(at=10, **{"for": 10}, capacity=50)
    assert answered(SimulatedProvider(latency=2, capacity=2, faults=[wide]), 10, 10, 10) == [12, 12, 14]


def test_servers_taken_away_finish_and_servers_that_come_back_are_free_at_once():
    narrow = fault(at=10, **{"for": 5}, capacity=1)
    provider = SimulatedProvider(latency=4, capacity=3, faults=[narrow])
    # Three are under way when two servers go; the queue stands until only one is left. Two come back at 15.
    assert answered(provider, 8, 9, 9, 10, 10, 10) == [12, 13, 13, 17, 19, 19]


def test_what_was_begun_without_a_bound_fills_the_servers_of_a_window():
    provider = SimulatedProvider(latency=6, faults=[fault(at=2, **{"for": 20}, capacity=2)])
    assert answered(provider, 0, 1, 1, 2, 2, 30, 30, 30) == [6, 7, 7, 13, 13, 36, 36, 36]


def test_who_waits_when_a_window_ends_is_let_in_at_once():
    provider = SimulatedProvider(latency=3, faults=[fault(at=0, **{"for": 4}, capacity=1)])
    assert answered(provider, 0, 0, 0, 0, 3.5) == [3, 6, 7, 7, 7]


def test_of_windows_that_overlap_the_last_counts():
    faults = [fault(at=0, **{"for": 20}, capacity=2), fault(at=5, **{"for": 5}, capacity=7), fault(at=30, capacity=4)]
    assert capacity_steps(5, faults) == [(0, 2), (5 * S, 5), (10 * S, 2), (20 * S, 5), (30 * S, 4)]
    assert capacity_steps(None, [fault(outage=True)]) == []
    assert capacity_steps(3, []) == [(0, 3)]


WINDOWS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(1, 9), st.integers(1, 9)), max_size=4)


@given(own=st.none() | st.integers(1, 9), windows=WINDOWS)
def test_at_each_instant_the_last_open_window_or_the_providers_own_counts(own, windows):
    faults = [fault(at=at, **({"for": lasts} if lasts else {}), capacity=capacity) for at, lasts, capacity in windows]
    steps = capacity_steps(own, faults) or [(0, sys.maxsize)]
    assert steps[0][0] == 0
    for instant in range(20):
        (*_, injected) = [
            None,
            *(
                capacity
                for at, lasts, capacity in windows
                if at <= instant < (math.inf if lasts is None else at + lasts)
            ),
        ]
        bounds = [bound for bound in (own, injected) if bound is not None]
        assert [servers for since, servers in steps if since <= instant * S][-1] == min(bounds, default=sys.maxsize)


# ── what takes it up ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "keys",
    [
        {"failure_rate": 1},
        {"permanent_rate": 1},
        {"dead_destination_rate": 1},
        {"fail_first": 9},
        {"lost_reply_rate": 1},
    ],
)
def test_work_that_comes_to_nothing_costs_as_much_as_any(keys):
    provider = SimulatedProvider(latency=2, capacity=1, faults=[fault(**{"for": 1}, **keys)])
    wasted = math.inf if "lost_reply_rate" in keys else 4
    assert answered(provider, 0, 0.5, 1)[1:] == [wasted, 6]


@pytest.mark.parametrize(
    ("keys", "answer"), [({"outage": True}, 2), ({"throttle": {"rate": "1/h"}}, 2), ({"hang": True}, math.inf)]
)
def test_what_is_not_worked_on_takes_up_nothing(keys, answer):
    provider = SimulatedProvider(latency=2, capacity=1, faults=[fault(**keys, **{"for": 1})])
    if "throttle" in keys:
        provider.attempt(ATTEMPT, 0)
        assert answered(provider, 0, 0, 1) == [2, 2, 4]  # behind the one that the quota let through
    else:
        assert answered(provider, 0, 0, 1) == [answer, answer, 3]


@given(st.integers(1, 3), st.lists(st.sampled_from([0.0, 0.1, 1.0]), max_size=40))
def test_a_capacity_leaves_the_draws_of_each_attempt_as_it_was(capacity, gaps):
    settings: dict[str, Any] = {
        "latency": Distribution.model_validate({"exponential": {"mean": 1}}),
        "failure_rate": 0.3,
    }
    plain = SimulatedProvider(streams=RandomStreams(5), **settings)
    queued = SimulatedProvider(streams=RandomStreams(5), capacity=capacity, **settings)
    now = 0.0
    for gap in gaps:
        now += gap
        one, other = plain.attempt(ATTEMPT, ns(now)), queued.attempt(ATTEMPT, ns(now))
        assert one.result == other.result
        assert one.delay_ns <= other.delay_ns
    assert plain.delivered == queued.delivered


# ── in the pipeline ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timeout_does_not_cancel_the_work():
    def scenario(world: World) -> None:
        world.open(SimulatedProvider(latency=3, capacity=1), email={"timeout": 4, "retry": {"initial_delay": 1}})
        world.send(email("a"), email("b"))

    world = on_both_clocks(scenario)
    # b is served in [3, 6) although no one listens from 4 on; so its second attempt, at 5, is served in [6, 9).
    assert world.sent_ids() == ["a", "b"]
    assert [failure.reason for failure in world.failures] == ["timed out"]
    assert world.times(NotificationSent) == [3.0, 9.0]
    assert world.provider.delivered == 3


METASTABLE = """
duration: 60s
drain: 0s
workload: [{{channel: push, arrivals: {{constant: {rate}/s}}}}]
channels:
  push:
    timeout: 1s
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 2, initial_delay: 1s}}
    provider: {{latency: 33333333ns, capacity: 1}}
faults:
  - {{channel: push, at: 10s, for: 30ms, latency: 10s}}   # meets one attempt, and holds the only server for ten seconds
"""


@pytest.mark.parametrize(("rate", "recovers"), [(28, False), (10, True)])
def test_retries_keep_an_overload_alive_beyond_half_of_the_capacity(rate, recovers):
    """Bronson et al. (HotOS 2021): one retry, so it is stuck where twice the load exceeds the capacity of 30/s."""
    result = simulation.run(parse(METASTABLE.format(rate=rate)))
    attempts, sent = result.attempts, result.notifications.query("outcome == 'sent'")
    assert sent["finished_at_s"].between(5, 9).sum() == pytest.approx(4 * rate, abs=2)
    assert sent["finished_at_s"].between(50, 59).sum() == (pytest.approx(9 * rate, abs=2) if recovers else 0)
    offered = attempts["start_s"].between(50, 58).sum() / 8
    assert offered == pytest.approx(rate if recovers else 2 * rate, rel=0.02)
