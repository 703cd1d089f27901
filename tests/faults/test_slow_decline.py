"""A failure rate and a latency factor that change in a straight line: against the integral of the line."""

import math
from typing import Any

import pytest
from beside import tables
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, fault, first_attempt
from worlds import email

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import SimulatedProvider
from actors.instants import ns
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Sent
from actors.service.console.words import fault as said_of
from actors.settings.faults import ChangingShare
from simulation.scenario import Scenario, parse
from simulation.scenario.lint import lint_scenario
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case

TABLES = tables(__file__)


def attempts(provider: SimulatedProvider, *seconds: float) -> list[Any]:
    return [provider.attempt(ATTEMPT, ns(at)) for at in seconds]


def factors(provider: SimulatedProvider, *seconds: float) -> list[float]:
    return [round(effect.delay_ns / S, 6) for effect in attempts(provider, *seconds)]


def change(begin: float, end: float, over: float) -> dict[str, float]:
    return {"from": begin, "to": end, "over": over}


def test_a_factor_goes_in_a_straight_line_and_stays() -> None:
    provider = SimulatedProvider(latency=1, faults=[fault(at=10, **{"for": 30}, latency_factor=change(1, 11, 20))])
    found = factors(provider, 0, 10, 12, 12, 20, 29, 30, 39, 40, 50)
    assert found == [1, 1, 2, 2, 6, 10.5, 11, 11, 1, 1]


def test_it_may_fall_and_be_cut_by_its_window() -> None:
    provider = SimulatedProvider(latency=1, faults=[fault(at=0, **{"for": 5}, latency_factor=change(9, 1, 10))])
    assert factors(provider, 0, 2.5, 4.99, 5) == [9, 7, round(9 - 8 * 0.499, 6), 1]


def test_it_meets_others_and_hosts() -> None:
    faults = [
        fault(latency_factor=change(1, 3, 10)),
        fault(at=5, latency_factor=2),
        fault(host="a.example", latency_factor=change(1, 101, 10)),
    ]
    elsewhere = SimulatedProvider(latency=1, faults=faults)
    assert factors(elsewhere, 0, 5, 10) == [1, 4, 6]
    there = first_attempt(email("n", recipient="x@a.example"))
    provider = SimulatedProvider(latency=1, faults=faults)
    effects: list[Any] = [provider.attempt(there, ns(at)) for at in (0, 5, 10)]
    assert [effect.delay_ns for effect in effects] == [S, 4 * 51 * S, 6 * 101 * S]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1, 60), st.integers(0, 999))
def test_each_attempt_fails_by_the_rate_at_its_start_and_its_own_draw(
    begin: float, end: float, over: float, seed: int
) -> None:
    """The draws are those of a steady rate, so an attempt fails if and only if its draw is below the line."""
    provider = SimulatedProvider(
        faults=[fault(at=5, failure_rate=change(begin, end, over))], streams=RandomStreams(seed)
    )
    draws = RandomStreams(seed).stream("provider.fate")
    for tenths in range(0, 600, 7):
        rate = 0.0 if tenths < 50 else begin + (end - begin) * min(1.0, (tenths / 10 - 5) / over)
        drawn = draws.random()
        (effect,) = attempts(provider, tenths / 10)
        if abs(drawn - rate) > 1e-9:
            assert (type(effect.result) is not Sent) == (drawn < rate)


def test_what_fails_of_many_is_the_integral_of_the_rate() -> None:
    provider = SimulatedProvider(0.1, faults=[fault(at=100, failure_rate=change(0, 0.6, 600))])
    failed = [type(effect.result) is not Sent for effect in attempts(provider, *(at / 10 for at in range(10_000)))]
    edges = [0, 100, 250, 400, 700, 1000]
    means = [0.1, 0.1 + 0.075, 0.1 + 0.225, 0.1 + 0.45, 0.1 + 0.6]
    for low, high, mean in zip(edges, edges[1:], means, strict=False):
        part = failed[low * 10 : high * 10]
        assert abs(sum(part) - mean * len(part)) < 5 * math.sqrt(len(part) * mean)


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────────

DECLINE = "{from: 0%, to: 60%, over: 10m}"


def scenario(hit: str, sets: list[str] | None = None) -> Scenario:
    text = f"""
        duration: 20m
        workload: [{{channel: email, arrivals: {{constant: 2/s}}}}]
        channels:
          email:
            retry: {{max_attempts: 1}}
            circuit_breaker: {{enabled: false}}
            provider: {{latency: 100ms}}
        faults: [{{channel: email, at: 5m, {hit}}}]
        """
    return parse(text, sets=sets or [])


@pytest.mark.thorough
def test_a_run_loses_what_the_line_says_and_the_same_live() -> None:
    declining = scenario(f"failure_rate: {DECLINE}, latency_factor: {{from: 1, to: 10, over: 10m}}")
    result = simulation.run(declining, invariants="all")
    mean = 2 * (600 * 0.3 + 300 * 0.6)
    assert abs(result.summary["dead_lettered"] - mean) < 5 * math.sqrt(mean)
    assert result.summary["sent_time_s"]["max"] == pytest.approx(1.0)
    shorter = scenario(f"failure_rate: {DECLINE}", ["duration=7m"])
    assert simulation.run(shorter, runtime="trio").history == simulation.run(shorter).history


def test_a_change_from_a_value_to_itself_is_that_value() -> None:
    steady, same = scenario("failure_rate: 30%"), scenario("failure_rate: {from: 30%, to: 30%, over: 5m}")
    assert simulation.run(steady).history == simulation.run(same).history


@pytest.mark.parametrize(("hit", "problem"), TABLES["no_changes"])
def test_what_is_no_change_is_said(hit: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        scenario(hit)
    assert f"faults.0.{problem}" in str(raised.value)


@pytest.mark.parametrize(("hit", "said"), TABLES["linted"])
def test_the_linter_says_what_it_does_not_get_to(hit: str, said: list[str]) -> None:
    assert [str(finding) for finding in lint_scenario(scenario(hit)) if finding.path[0] == "faults"] == said


def test_the_console_says_it_in_words() -> None:
    text = said_of(fault(failure_rate=change(0, 0.6, 600), latency_factor=change(1, 10, 60)))
    assert "failure rate from 0% to 60% over 10 min" in text
    assert "latency factor from 1 to 10 over 1 min" in text


def test_a_case_of_a_swarm_keeps_the_line() -> None:
    declining = scenario(f"failure_rate: {DECLINE}")
    found = 0
    for seed in range(12):
        drawn = case(declining, seed)
        assert parse(write(drawn)).faults == drawn.faults
        changing: Any = [each.failure_rate for each in drawn.faults if isinstance(each.failure_rate, ChangingShare)]
        own = [each.over for each in changing if (each.from_, each.to) == (0, 0.6)]
        lasts_s = drawn.workload[0].for_ or drawn.duration  # without the pause that some cases have
        assert own == [pytest.approx(lasts_s / 2, rel=0.02)] * len(own)
        found += len(own)
    assert found
