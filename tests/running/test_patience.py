"""`expires_after` as a distribution: each notification draws its own; against the Erlang-A queue."""

import math
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any

import pytest
from confidence import check_mean
from hypothesis import given, strategies as st

import simulation
from actors.settings.distribution_moments import median, quantile, share_above
from actors.settings.distributions import Distribution
from simulation.scenario import Scenario, load, parse
from simulation.scenario.lint import lint_scenario
from simulation.scenario.writing import write


def queue(
    age: str, seed: int = 0, entry: str = "arrivals: {poisson: 0.9/s}", sets: list[str] | None = None
) -> Scenario:
    return parse(
        f"""
        seed: {seed}
        duration: 40m
        drain: 10h
        workload: [{{channel: email, {entry}, expires_after: {age}}}]
        channels:
          email:
            max_in_flight: 1
            timeout: 1h
            retry: {{max_attempts: 1}}
            circuit_breaker: {{enabled: false}}
            provider: {{latency: {{exponential: {{mean: 1s}}}}}}
        """,
        sets=sets or [],
    )


def erlang_a(arrive: float, serve: float, leave: float) -> float:
    """Return the share that leaves an M/M/1 queue with exponential patience (Palm 1957) before it is served."""
    weights = [1.0, *accumulate((arrive / (serve + leave * waiting) for waiting in range(200)), mul)]
    waiting = sum(max(0, number - 1) * weight for number, weight in enumerate(weights)) / sum(weights)
    return leave * waiting / arrive


def test_the_share_of_those_who_leave_is_that_of_the_erlang_a_queue() -> None:
    lost = [1 - simulation.run(queue("{exponential: {mean: 4s}}", seed)).summary["sent_fraction"] for seed in range(7)]
    check_mean(lost, erlang_a(0.9, 1.0, 0.25), within=0.25)


def test_each_has_an_age_of_its_own_and_a_constant_one_is_that_of_all() -> None:
    """All wait for a provider that never has a place: each dies of its own age, and ages are as distributed."""
    stuck = ["channels.email.provider.latency=10h", "channels.email.timeout=20h", "drain=5h"]
    result = simulation.run(queue("{exponential: {mean: 5m}}", entry="arrivals: {constant: 0.5/s}", sets=stuck))
    rows = result.notifications[result.notifications["outcome"] == "dead_lettered"]
    ages = sorted(rows["finished_at_s"] - rows["requested_at_s"])
    distance = max(abs((i + 1) / len(ages) - (1 - math.exp(-age / 300))) for i, age in enumerate(ages))
    assert len(ages) == 1199
    assert distance < 1.95 / math.sqrt(len(ages)), "Kolmogorov's 0.1% point"
    one, all_alike = queue("{constant: 20s}"), queue("20s")
    assert simulation.run(one).history == simulation.run(all_alike).history


def test_it_draws_from_a_stream_of_its_own() -> None:
    """The same arrivals and users, whatever the ages."""
    entry = "arrivals: {poisson: 0.9/s}, users: 50"
    one, other = (
        simulation.run(queue(age, entry=entry)).notifications for age in ("{exponential: {mean: 4s}}", "{constant: 1h}")
    )
    assert list(one["requested_at_s"]) == list(other["requested_at_s"])
    assert list(one["user"]) == list(other["user"])


def test_clients_have_patience_too_and_the_same_live() -> None:
    impatient = queue("{uniform: {low: 0s, high: 2s}}", entry="clients: 5, think: 1s", sets=["duration=2m"])
    result = simulation.run(impatient, invariants="all")
    assert 0.1 < result.summary["sent_fraction"] < 0.9
    assert simulation.run(impatient, runtime="trio").history == result.history


def test_measured_ages_are_read_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "ages.csv").write_text("seconds\n30\n60\n")
    file = tmp_path / "patience.yaml"
    file.write_text(
        "duration: 1m\nworkload: [{channel: email, arrivals: {constant: 1/s}, expires_after: {empirical: ages.csv}}]\n"
    )
    scenario = load(file)
    age: Any = scenario.workload[0]
    assert age.expires_after.measured == (30, 60)
    assert parse(write(scenario)).workload == scenario.workload


def test_the_linter_goes_by_the_age_that_hardly_any_exceeds() -> None:
    retries = ["channels.email.retry={max_attempts: 2, initial_delay: 10s}"]
    for age, is_said in (("{uniform: {low: 1s, high: 8s}}", True), ("{exponential: {mean: 4s}}", False), ("8s", True)):
        found = [str(finding) for finding in lint_scenario(queue(age, sets=retries))]
        about = [text for text in found if text.startswith("workload.0.expires_after")]
        assert bool(about) == is_said
        assert all(("99 in 100 are at most this" in text) == age.startswith("{") for text in about)


@given(st.floats(0.01, 0.99), st.sampled_from(["exponential", "lognormal", "pareto", "uniform"]))
def test_a_quantile_is_exceeded_by_the_rest(share: float, kind: str) -> None:
    given_as = {
        "exponential": {"mean": 3.0},
        "lognormal": {"median": 2.0, "p99": 30.0},
        "pareto": {"minimum": 1.0, "alpha": 1.5},
        "uniform": {"low": 2.0, "high": 5.0},
    }
    distribution = Distribution.model_validate({kind: given_as[kind]})
    assert share_above(distribution, quantile(distribution, share)) == pytest.approx(1 - share, rel=1e-6)
    assert median(distribution) == quantile(distribution, 0.5)
