"""Failures in bursts: the chain's distribution, its draws, and how its failures add up with others."""

import math
from random import Random
from statistics import fmean
from typing import Any

import pytest
from confidence import check_mean
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S
from worlds import World, email, on_both_clocks

from actors.faults.conditions import BurstChain
from actors.faults.provider import SimulatedProvider
from actors.instants import ns
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Sent, Transient
from actors.settings.faults import Burst, FaultConfig

GOOD_S, BAD_S = 6.0, 2.0


def chain(seed: int, start: float = 0.0) -> BurstChain:
    return BurstChain(Burst(mean_good=GOOD_S, mean_bad=BAD_S), ns(start), Random(seed))


def burst(failure_rate: float = 1.0, mean_good: float = GOOD_S, mean_bad: float = BAD_S, **keys: Any) -> FaultConfig:
    settings = {"mean_good": mean_good, "mean_bad": mean_bad, "failure_rate": failure_rate}
    return FaultConfig.model_validate({"channel": "all", "burst": settings, **keys})


def fails(provider: SimulatedProvider, *seconds: float) -> list[bool]:
    return [provider.attempt(ATTEMPT, ns(at)).result != Sent() for at in seconds]


@given(st.integers(0, 999), st.lists(st.floats(0, 200), min_size=1).map(sorted))
def test_it_is_the_same_whenever_it_is_asked(seed, instants):
    often, seldom = chain(seed), chain(seed)
    states = {at: often.is_bad(ns(at)) for at in sorted({*instants, *(number / 7 for number in range(1400))})}
    assert [seldom.is_bad(ns(at)) for at in instants] == [states[at] for at in instants]


@given(st.integers(0, 999), st.floats(0, 100))
def test_it_begins_good_at_the_start_of_its_window(seed, start):
    assert not chain(seed, start).is_bad(ns(start))


def test_when_it_is_bad_is_shifted_with_its_window():
    early, late = chain(3), chain(3, start=50.0)
    assert [early.is_bad(ns(at / 10)) for at in range(2000)] == [late.is_bad(ns(50 + at / 10)) for at in range(2000)]


@pytest.mark.parametrize("at", [0.5, 1.5, 4.0, 30.0])
def test_it_is_bad_as_often_as_the_two_state_chain_some_time_after_it_was_good(at):
    """P(bad at t) = b / (g + b) · (1 - exp(-(1/g + 1/b) t)), of Kolmogorov's forward equation."""
    share = BAD_S / (GOOD_S + BAD_S) * -math.expm1(-(1 / GOOD_S + 1 / BAD_S) * at)
    samples = [fmean(chain(1000 * batch + number).is_bad(ns(at)) for number in range(300)) for batch in range(30)]
    check_mean(samples, share, within=0.15)


def test_in_the_long_run_so_many_attempts_fail_as_there_is_bad_time():
    def share_failed(seed: int) -> float:
        provider = SimulatedProvider(faults=[burst(0.5)], streams=RandomStreams(seed))
        return fmean(fails(provider, *(60 + number / 2 for number in range(4000))))

    check_mean([share_failed(seed) for seed in range(30)], 0.5 * BAD_S / (GOOD_S + BAD_S), within=0.04)


# ── at the provider ─────────────────────────────────────────────────────────────────────────────────────────────


def always_bad(failure_rate: float, **keys: Any) -> FaultConfig:
    return burst(failure_rate, mean_good=1e-9, mean_bad=1e9, **keys)


def test_its_failures_add_up_with_those_of_other_rates():
    faults = [always_bad(0.3), always_bad(0.2), FaultConfig.model_validate({"channel": "all", "permanent_rate": 0.1})]
    provider = SimulatedProvider(0.15, faults=faults)
    outcomes = [provider.attempt(ATTEMPT, S).result for _ in range(20_000)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Transient)]
    assert len(failed) / 20_000 == pytest.approx(0.65, abs=0.012)
    assert outcomes.count(Sent()) / 20_000 == pytest.approx(0.25, abs=0.012)
    assert {outcome.reason for outcome in failed} == {"injected failure"}


def test_more_than_everything_is_everything():
    provider = SimulatedProvider(0.4, faults=[always_bad(0.9), always_bad(1.0)])
    assert all(fails(provider, *[1.0] * 1000))


def test_it_fails_only_in_its_window():
    provider = SimulatedProvider(faults=[always_bad(1.0, at=10, **{"for": 5})])
    assert fails(provider, 9, 10.1, 14.9, 15) == [False, True, True, False]


def test_a_burst_leaves_the_draws_of_all_else_as_it_was():
    def drawn(*faults: FaultConfig) -> list[Any]:
        latencies = FaultConfig.model_validate({"channel": "all", "latency": {"exponential": {"mean": 1}}})
        provider = SimulatedProvider(0.3, faults=[latencies, *faults], streams=RandomStreams(4))
        return [provider.attempt(ATTEMPT, number * S) for number in range(100)]

    plain, bursting = drawn(), drawn(burst(0.5))
    assert [effect.delay_ns for effect in plain] == [effect.delay_ns for effect in bursting]
    worse = [(one.result, other.result) for one, other in zip(plain, bursting, strict=True) if one != other]
    assert {type(one) for one, _ in worse} == {Sent}
    assert {type(other) for _, other in worse} == {Transient}


def test_a_pipeline_rides_out_bursts_the_same_way_on_both_clocks():
    def scenario(world: World) -> None:
        provider = SimulatedProvider(faults=[burst(0.9)], latency=0.1, streams=RandomStreams(1))
        world.open(provider, email={"retry": {"max_attempts": 6}, "circuit_breaker": {"failure_threshold": 3}})
        for number in range(100):
            world.send(email(f"n{number}"), at=number / 4)

    world = on_both_clocks(scenario)
    assert world.failures
    assert len(world.sent_ids()) + len(world.letters) == 100
