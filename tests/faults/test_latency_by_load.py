"""A provider that is slower the more it has to do: by hand, against a naive model, and by Little's law."""

import math
from random import Random
from typing import Any

import pytest
from confidence import check_mean
from effort import sliced
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, answered, fault

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import SimulatedProvider
from actors.instants import ns
from actors.kernel.randomness import RandomStreams
from actors.settings.distributions import Distribution
from simulation.scenario import parse


def test_each_takes_longer_for_every_other_one_that_is_under_way() -> None:
    provider = SimulatedProvider(latency=1, per_in_flight=0.5)
    assert answered(provider, 0, 0, 0, 1.2, 2, 5) == [1, 1.5, 2, 3.2, 3.5, 6]


def test_those_that_wait_for_a_place_count() -> None:
    # At 0 the second finds one, works 1.5 s from 1 s on; the third finds two, and works 2 s from 2.5 s on.
    assert answered(SimulatedProvider(latency=1, capacity=1, per_in_flight=0.5), 0, 0, 0) == [1, 2.5, 4.5]


def test_what_is_refused_or_hangs_is_not_under_way_but_as_slow() -> None:
    faults = [fault(at=0, **{"for": 1}, outage=True), fault(at=1, **{"for": 1}, hang=True)]
    provider = SimulatedProvider(latency=5, per_in_flight=1, faults=faults)
    assert answered(provider, 0, 0.5, 1, 1.5, 2, 2.5) == [5, 5.5, math.inf, math.inf, 7, 8.5]
    slower = SimulatedProvider(latency=5, per_in_flight=1, faults=[fault(latency_factor=2, at=1)])
    assert answered(slower, 0, 1) == [5, 13]


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=40).map(sorted),
    st.floats(0, 0.3),
    st.floats(1e-3, 0.2),
)
def test_it_is_that_of_a_naive_model(at_ms: list[int], latency: float, more: float) -> None:
    ends: list[float] = []
    provider = SimulatedProvider(latency=latency, per_in_flight=more)
    for ms in at_ms:
        effect: Any = provider.attempt(ATTEMPT, ms * 10**6)
        expected = latency + more * sum(end > ms * 10**6 for end in ends)
        assert effect.delay_ns == round(expected * 1e9)
        ends.append(ms * 10**6 + effect.delay_ns)


def mean_time(seed: int, per_s: float, more: float) -> float:
    random = Random(seed)
    provider = SimulatedProvider(
        latency=Distribution.model_validate({"exponential": {"mean": 0.1}}),
        per_in_flight=more,
        streams=RandomStreams(seed),
    )
    at, times = 0.0, []
    for number in range(4000):
        at += random.expovariate(per_s)
        effect: Any = provider.attempt(ATTEMPT, ns(at))
        if number >= 500:  # from an empty provider on it takes a while
            times.append(effect.delay_ns / S)
    return sum(times) / len(times)


@pytest.mark.parametrize(("per_s", "more"), [(20, 0.02), (50, 0.01), (100, 0.007)])
def test_at_random_it_takes_what_littles_law_says(per_s: float, more: float) -> None:
    """T = L + c·N for the N under way that an arrival at random sees, which are r·T: so T = L / (1 - r·c)."""
    check_mean([mean_time(seed, per_s, more) for seed in range(10)], 0.1 / (1 - per_s * more), within=0.08)


SCENARIO = """
duration: 1m
workload: [{channel: email, arrivals: {poisson: 20/s}}]
channels:
  email:
    timeout: 30s
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 200ms}}, latency_by_load: {per_in_flight: 30ms}}
"""


def test_a_run_is_slower_by_the_formula_and_the_same_live() -> None:
    simulated = simulation.run(parse(SCENARIO))
    assert simulated.summary["sent_time_s"]["mean"] == pytest.approx(0.2 / (1 - 0.6), rel=0.2)
    assert simulation.run(parse(SCENARIO), runtime="trio").history == simulated.history


@pytest.mark.parametrize("discipline", sliced(["fifo", "critical_first", "processor_sharing"], 6))
def test_with_a_capacity_of_any_discipline_the_invariants_hold(discipline: str) -> None:
    scenario = parse(
        SCENARIO, sets=["channels.email.provider.capacity=30", f"channels.email.provider.discipline={discipline}"]
    )
    result = simulation.run(scenario, invariants="all")
    alone = simulation.run(parse(SCENARIO, sets=["channels.email.provider.latency_by_load.per_in_flight=1ns"]))
    assert result.summary["sent_fraction"] == 1
    assert result.summary["sent_time_s"]["mean"] > 1.5 * alone.summary["sent_time_s"]["mean"]


def test_of_whom_it_is_asked_it_does_not_change_the_draws() -> None:
    """The k-th attempt has the same latency drawn, so that only what the load adds differs."""
    quick, slow = (
        SimulatedProvider(latency=Distribution.model_validate({"exponential": {"mean": 1}}), per_in_flight=more)
        for more in (0.0, 100.0)
    )
    one, other = answered(quick, 0, 0, 0, 0), answered(slow, 0, 0, 0, 0)
    assert [round(late - soon, 6) for soon, late in zip(one, other, strict=True)] == [0, 100, 200, 300]


def test_python_says_it_too() -> None:
    with pytest.raises(ConfigurationError, match="per_in_flight: wanted a duration of more than 0"):
        SimulatedProvider(per_in_flight=-1)
