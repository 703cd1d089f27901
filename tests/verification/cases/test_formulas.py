"""The formulas of the cases, each against another way to compute it, and small sizes of the cases that take long."""

from __future__ import annotations

import math
from itertools import product
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import simulation
from simulation.validation import Case, Exactly, Experiment, Mean
from simulation.verification.cases.case import scenario
from simulation.verification.cases.families.attempts import doubling, mean_attempts, truncated_geometric
from simulation.verification.cases.families.breakers import bound
from simulation.verification.cases.families.disciplines import limited_sharing
from simulation.verification.cases.families.fleets import let_through
from simulation.verification.cases.families.layers import growth, layered
from simulation.verification.cases.families.outages import expected_largest
from simulation.verification.cases.families.overload import metastable
from simulation.verification.cases.families.pipeline import product_form
from simulation.verification.cases.families.queues import LAWS, mm_c, mm_c_k
from simulation.verification.cases.measures import ended
from simulation.verification.cases.printing import text


def case_of(experiment: Experiment) -> Case:
    return Case(name="one", title="", source="", model="", experiments=[experiment])


@pytest.mark.parametrize(
    "case", [metastable([1, 2], 3), growth(1000, 900, 3), case_of(bound(15, 5, 2))], ids=lambda case: case.name
)
def test_what_takes_long_is_exactly_so_in_small(case):
    validation = simulation.validate([case])
    assert validation.holds, text(validation)


def targets(*experiments: Experiment) -> dict[str, float]:
    quantities = (each for experiment in experiments for each in experiment.quantities)
    return {each.name: each.target for each in quantities if isinstance(each, (Mean, Exactly))}


@given(st.floats(0.1, 10), st.integers(1, 40))
def test_a_bucket_lets_through_what_its_tokens_and_its_room_allow(rho, burst):
    share = let_through(rho, burst)
    assert 1 / (1 + rho) <= share * (1 + 1e-9)
    assert share <= min(1, 1 / rho) + 1e-9
    assert let_through(rho, burst + 1) >= share - 1e-12
    assert let_through(rho, 1) == pytest.approx(1 / (1 + rho))  # Erlang's loss formula, with one server


@given(st.floats(0, 1), st.integers(1, 60))
def test_attempts_are_the_sum_of_how_likely_each_is_made(p, n):
    assert mean_attempts(p, n) == pytest.approx(math.fsum(p**k for k in range(n)), rel=1e-6)


@given(st.floats(1e-3, 100), st.one_of(st.floats(1e-3, 1e4), st.just(math.inf)), st.integers(0, 40))
def test_waits_double_up_to_the_longest(base, cap, count):
    assert doubling(base, cap, count) == [min(cap, base * 2**step) for step in range(count)]


@pytest.mark.parametrize(("rate", "mu", "servers"), [(0.5, 1, 3), (2, 1, 8), (8, 1, 10)])
def test_who_waits_is_who_finds_all_servers_busy(rate, mu, servers):
    # The chain of the number in the system, long enough that the rest of it does not matter.
    arrivals, departures = np.full(400, rate), mu * np.minimum(np.arange(1, 401), servers)
    shares = np.exp(np.concatenate([[0.0], np.cumsum(np.log(arrivals / departures))]))
    shares /= shares.sum()
    waits = shares[servers:].sum()
    expected = targets(mm_c(rate, mu, servers))
    assert expected["P(wait)"] == pytest.approx(waits)
    assert expected["P(wait beyond its 95th percentile)"] == pytest.approx(min(waits, 0.05))
    assert expected["mean number in the system"] == pytest.approx(shares @ np.arange(401))


def test_what_hardly_ever_happens_is_not_waited_for():
    assert not any("wait" in name for name in targets(mm_c(0.1, 1, 4)))
    assert "share dead-lettered" not in targets(truncated_geometric(0.01, 5))
    assert "P(refused)" not in targets(mm_c_k(1, 1, 9, 9))
    assert not any("dead" in name for name in targets(product_form(1, 5, 1, 0.01, 4, 1, "none")))


def test_a_mailbox_of_any_size_has_shares_that_are_numbers():
    expected = targets(mm_c_k(100, 1, 1, 1000))
    assert expected["P(refused)"] == pytest.approx(0.99)
    assert expected["mean number in the system"] == pytest.approx(1000 - 1 / 99)


def test_a_certain_failure_costs_every_layer_all_its_attempts():
    assert targets(*layered([], [(3, 4, 1)]).experiments) == targets(*layered([(3, 4)], []).experiments)


@pytest.mark.parametrize(("balls", "bins"), [(1, 3), (2, 2), (5, 3), (6, 4)])
def test_the_fullest_bin_over_every_way_to_throw(balls, bins):
    ways = list(product(range(bins), repeat=balls))
    assert expected_largest(balls, bins) == pytest.approx(fmean(max(map(way.count, way)) for way in ways))


@pytest.mark.parametrize(("thrown", "simulated"), [((1000, 100), (18.751, 0.012)), ((1000, 50), (30.724, 0.016))])
def test_the_fullest_bin_of_many_is_what_throwing_them_gives(thrown, simulated):
    mean, error = simulated
    assert abs(expected_largest(*thrown) - mean) < 3 * error


CDFS = {
    "uniform": stats.uniform(0, 1).cdf,
    "Erlang-4": stats.gamma(4, scale=1 / 8).cdf,
    "exponential": stats.expon(scale=1 / 2).cdf,
    "lognormal, variance 4": stats.lognorm(math.sqrt(math.log(5)), scale=1 / 2 / math.sqrt(5)).cdf,
    "0.999 Exp(0.1) + 0.001 Exp(10)": lambda x: sum(
        weight * stats.expon(scale=mean / 2 / 0.1099).cdf(x) for weight, mean in ((0.999, 0.1), (0.001, 10))
    ),
}
"""Of the distributions with mean 1/2, all but the one that is not random."""


def _services(result) -> list[float]:
    return ended(result).took.tolist()


@pytest.mark.parametrize("law", LAWS)
def test_the_law_that_is_named_is_the_law_that_is_simulated(law):
    """There are as many in the system whatever the law, so the metrics would not show another one."""
    experiment = limited_sharing(1, 2, 1000, law)
    services = scenario(experiment.replicate.args[0], _services)(1)
    if law == "deterministic":
        assert set(np.round(services, 8)) == {0.5}
    else:
        assert stats.kstest(services, CDFS[law]).pvalue > 1e-3
