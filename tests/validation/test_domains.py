"""Other parameters of the cases: those out of the domain of a formula are refused, and for all others it is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import simulation
from actors.errors import ConfigurationError
from simulation.validation import Case, Exactly, Mean, Verdict
from simulation.validation.case import scenario
from simulation.validation.cases import all_cases
from simulation.validation.cases.attempts import delays, dlq_growth, doubling, mean_attempts, truncated_geometric
from simulation.validation.cases.bank import bank_renege
from simulation.validation.cases.breakers import breaker_cycles, token_bucket
from simulation.validation.cases.budgets import adaptive_throttle, retry_budget
from simulation.validation.cases.contention import contention
from simulation.validation.cases.disciplines import limited_sharing, priority, processor_sharing
from simulation.validation.cases.fan_out import fan_out, lost_replies
from simulation.validation.cases.fleets import arrivals_of_nodes, divided_buckets, let_through, nodes_as_clients
from simulation.validation.cases.gas_station import gas_station
from simulation.validation.cases.layers import growth, layered, layered_scenario
from simulation.validation.cases.outages import expected_largest, fixed_outage, herd, inspection_paradox
from simulation.validation.cases.overload import bimodal_latency, metastable, retrial_queue
from simulation.validation.cases.peers import grpc
from simulation.validation.cases.pipeline import product_form
from simulation.validation.cases.queues import LAWS, mg_1, mm_c, mm_c_k
from simulation.validation.cases.resiliency_patterns import resiliency_patterns
from simulation.validation.cases.retry_studies import client_count, retry_strategies, serial_clients
from simulation.validation.cases.schedules import published_schedules
from simulation.validation.measures import ended
from simulation.validation.printing import text

REFUSED: list[tuple[Callable[[], Case], str]] = [
    (lambda: mm_c([(3, 1, 2)]), "mm_c: wanted λ < c·μ, or no queue is stable, got λ=3 μ=1 c=2"),
    (lambda: mm_c([(1, 1, 1)]), "mm_c: wanted λ < c·μ, or no queue is stable, got λ=1 μ=1 c=1"),
    (lambda: mm_c([(-1, 1, 1)]), "mm_c: wanted λ to be a rate from 0.001 to 1,000,000 a second, got λ=-1 μ=1 c=1"),
    (lambda: mm_c([(1, 0, 1)]), "mm_c: wanted μ to be a rate from 0.001 to 1,000,000 a second, got λ=1 μ=0 c=1"),
    (lambda: mm_c([(1, 1, 0)]), "mm_c: wanted c to be a whole number from 1 to 100,000, got λ=1 μ=1 c=0"),
    (lambda: mm_c([(1, 1, 10**9)]), "mm_c: wanted c to be a whole number from 1 to 100,000, got λ=1 μ=1 c=1000000000"),
    (lambda: mm_c([(0.5, math.inf, 1)]), "wanted μ to be a rate from 0.001 to 1,000,000 a second, got λ=0.5 μ=inf c=1"),
    (lambda: mm_c([(2e8, 4e8, 1)]), "mm_c: wanted λ to be a rate from 0.001 to 1,000,000 a second, got λ=200000000.0"),
    (lambda: mm_c([(1e-6, 2e-6, 1)]), "mm_c: wanted λ to be a rate from 0.001 to 1,000,000 a second, got λ=1e-06"),
    (
        lambda: mm_c([(0.99, 1, 1)]),
        "mm_c: wanted a queue that has settled after 20,000 arrivals, as runs begin with an empty one, "
        "got λ=0.99 μ=1 c=1",
    ),
    (lambda: mm_c_k([], [(1, 1, 1, 1000)]), "mm_c_k: wanted a queue that has settled after 20,000 arrivals"),
    (lambda: mm_c_k([(3, 1e-7)], []), "mm_c_k: wanted a load from 0.001 to 100·c, got c=3 load=1e-07"),
    (lambda: mg_1([("exponential", 0.99)]), "mg_1: wanted a queue that has settled after 20,000 arrivals"),
    (
        lambda: mg_1([("uniform", 1e-7)]),
        "mg_1: wanted ρ ≥ 0.0001, or there are hardly any arrivals, got law='uniform' ρ=1e-07",
    ),
    (lambda: priority([(0.001, 0.5, "exponential")]), "priority: wanted one in a hundred or more of either kind"),
    (lambda: priority([(0.5, 0.49, "exponential")]), "priority: wanted a queue that has settled"),
    (lambda: processor_sharing([(0.99, 1)], []), "processor_sharing: wanted a queue that has settled"),
    (lambda: processor_sharing([], [("uniform", 0.995)]), "processor_sharing: wanted a queue that has settled"),
    (lambda: limited_sharing([(2.99, 1, 3)]), "limited_sharing: wanted a queue that has settled"),
    (lambda: product_form([(0.99, 1, 1, 0, 1, 0, "none")]), "product_form: wanted a queue that has settled"),
    (lambda: retrial_queue([(0.3, 1, 1e-6)]), "retrial_queue: wanted θ to be a rate from 0.001 to 1,000,000 a second"),
    (lambda: retrial_queue([(0.005, 1, 1)]), "retrial_queue: wanted λ ≥ μ/100, or hardly any customer finds it busy"),
    (lambda: retrial_queue([(0.96, 1, 0.1)]), "retrial_queue: wanted a queue that has settled after 20,000 arrivals"),
    (lambda: retrial_queue([(0.5, 1, 1e6)]), "retrial_queue: wanted 1,000,000 attempts at most in a run"),
    (lambda: gas_station([1], 1e-9), "gas_station: wanted rate to be a rate from 0.001 to 1,000,000 a minute"),
    (lambda: bimodal_latency([(1000, 5, 1, 0.5, 1e4)]), "bimodal_latency: wanted 2,000,000 requests at most in eleven"),
    (lambda: metastable([149], 300, 3600), "metastable: wanted a run of 3,000,000 attempts at most, got λ=149"),
    (lambda: inspection_paradox(100_000, 600, 5, ()), "inspection_paradox: wanted 10,000,000 attempts at most"),
    (lambda: serial_clients([0.5], 500, 0.01), "serial_clients: wanted 150,000 calls at most in a run"),
    (lambda: adaptive_throttle([(2, 100, 1000)]), "adaptive_throttle: wanted offered ≤ 500, or a run takes minutes"),
    (lambda: retry_budget([0.9], 0.0001), "retry_budget: wanted share of 0, or from 0.001, got share=0.0001"),
    (lambda: truncated_geometric([(1e-6, 3)]), "wanted p to be a probability from 0.001 to 0.999, or 0 or 1"),
    (lambda: lost_replies([(1e-6, 3)]), "lost_replies: wanted q to be a probability from 0.001 to 0.999, or 0 or 1"),
    (lambda: fan_out([], [(1e-6, 10)]), "fan_out: wanted 1 − (1 − q)^n from 0.02 to 0.99, or q of 0 or 1"),
    (lambda: delays([(0.5, 3, 1e-9, 1)]), "delays: wanted base to be a number of at least 0.000001"),
    (lambda: dlq_growth([(1e6, 0.5, 1, 1e6, 0)]), "dlq_growth: wanted λ·T ≤ 1,000,000"),
    (lambda: token_bucket([(1e5, 10)], []), "token_bucket: wanted r/50 ≤ λ ≤ 50·r"),
    (lambda: mm_c_k([(0, 1)], []), "mm_c_k: wanted c to be a whole number from 1 to 100,000, got c=0 load=1"),
    (lambda: mm_c_k([(1, 0)], []), "mm_c_k: wanted load to be a number of more than 0, got c=1 load=0"),
    (
        lambda: mm_c_k([], [(1, 1, 1, 0)]),
        "mm_c_k: wanted K to be a whole number from 1 to 100,000, got λ=1 μ=1 c=1 K=0",
    ),
    (
        lambda: mg_1([("deterministic", 1.2)]),
        "mg_1: wanted ρ to be a utilisation between 0 and 1, got law='deterministic' ρ=1.2",
    ),
    (
        lambda: mg_1([("weibull", 0.5)]),
        "mg_1: wanted law to be one of 'deterministic', 'uniform', 'Erlang-4', 'exponential', 'lognormal, variance 4', "
        "'0.999 Exp(0.1) + 0.001 Exp(10)', got law='weibull' ρ=0.5",
    ),
    (
        lambda: priority([(0.5, 0.6, "exponential")]),
        "priority: wanted (critical + others)·E[S] < 1, or no queue is stable, "
        "got critical=0.5 others=0.6 law='exponential'",
    ),
    (
        lambda: processor_sharing([(3, 2)], []),
        "processor_sharing: wanted λ < μ, or no queue is stable, got λ=3 μ=2",
    ),
    (lambda: processor_sharing([(4, 4)], []), "wanted λ < μ"),
    (lambda: limited_sharing([(12, 4, 3)]), "limited_sharing: wanted λ < c·μ"),
    (lambda: limited_sharing(laws=["weibull"]), "limited_sharing: wanted law to be one of 'deterministic'"),
    (lambda: limited_sharing(laws="exponential"), "limited_sharing: wanted a list of law, got 'exponential'"),
    (
        lambda: product_form([(9, 10, 1, 0.5, 3, 0.5, "full")]),
        "product_form: wanted λ(1 − p^N)/(1 − p) < c·μ, or no queue is stable, "
        "got λ=9 μ=10 c=1 p=0.5 N=3 base=0.5 jitter='full'",
    ),
    (
        lambda: product_form([(6, 12, 1, 0.3, 4, 1, "decorrelated")]),
        "wanted jitter to be one of 'none', 'full', 'equal', '±20%', got λ=6",
    ),
    (lambda: product_form([(6, 12, 1, 0.3, 12, 1, "full")]), "a tenth of the run, got λ=6 μ=12 c=1 p=0.3 N=12"),
    (
        lambda: truncated_geometric([(0.4, 0)]),
        "truncated_geometric: wanted N to be a whole number from 1 to 1,000, got p=0.4 N=0",
    ),
    (lambda: truncated_geometric([(0.4, 2.5)]), "wanted N to be a whole number from 1 to 1,000, got p=0.4 N=2.5"),
    (lambda: truncated_geometric([(0.4, True)]), "got p=0.4 N=True"),
    (
        lambda: truncated_geometric([(math.nan, 3)]),
        "truncated_geometric: wanted p to be a probability from 0.001 to 0.999, or 0 or 1, got p=nan N=3",
    ),
    (
        lambda: truncated_geometric((0.4, 7)),
        "truncated_geometric: wanted a list of (p, N), such as [(0.4, 7)], got (0.4, 7)",
    ),
    (lambda: truncated_geometric(0.4), "truncated_geometric: wanted a list of (p, N), got 0.4"),
    (lambda: truncated_geometric([(0.4,)]), "truncated_geometric: wanted (p, N), got (0.4,)"),
    (lambda: delays(jitters=["half"]), "delays: wanted jitter to be one of 'none', 'full', 'equal', '±20%'"),
    (lambda: delays([(0.5, 40, 1, 1e9)]), "delays: wanted all waits together to take less than 25 days"),
    (lambda: dlq_growth([(30, 0, 6, 3600, 1)]), "dlq_growth: wanted p to be a probability of more than 0, at most 1"),
    (
        lambda: dlq_growth([(30, 0.5, 6, 20, 2)]),
        "dlq_growth: wanted λ·p^N·(T − D) ≥ 20, with D = base·(2^(N − 1) − 1), got λ=30 p=0.5 N=6 T=20 base=2",
    ),
    (lambda: dlq_growth([(30, 1, 1000, 20, 2)]), "dlq_growth: wanted no wait longer than 10 h"),
    (lambda: bank_renege([]), "bank_renege: wanted a list of (comes, patience, takes), got an empty one"),
    (lambda: bank_renege((0.0, 1.0, 2.0)), "such as [(0.0, 1.0, 2.0)], got (0.0, 1.0, 2.0)"),
    (lambda: breaker_cycles([(0, 5, 10, 5)]), "breaker_cycles: wanted p to be a probability of more than 0, at most 1"),
    (
        lambda: breaker_cycles([(0.1, 9, 10, 5)]),
        "breaker_cycles: wanted 5000 arrivals at most on average from one trip to the next, got p=0.1 N=9 λ=10 T=5",
    ),
    (
        lambda: token_bucket([(0, 20)], []),
        "token_bucket: wanted λ to be a rate from 0.001 to 1,000,000 a second, got λ=0 r=20",
    ),
    (
        lambda: retry_strategies([1.5]),
        "retry_strategies: wanted p to be a probability from 0.001 to 0.999, or 0 or 1, got p=1.5",
    ),
    (
        lambda: retry_strategies(share=1 / 3),
        "the bucket has 500 levels at most, got share=0.3333333333333333 capacity=5",
    ),
    (lambda: client_count(calls=100, counts=[101]), "client_count: wanted from 1 to 10,000 calls for each, of 100"),
    (lambda: nodes_as_clients(calls=100, counts=[101]), "nodes_as_clients: wanted from 1 to 10,000 calls for each, of"),
    (lambda: nodes_as_clients(counts=[1001]), "nodes_as_clients: wanted nodes to be a whole number from 1 to 1,000"),
    (lambda: arrivals_of_nodes([(0, 1, 0.5, "random")]), "wanted n to be a whole number from 1 to 100, got n=0"),
    (lambda: arrivals_of_nodes([(2, 1, 0.5, "by_user")]), "wanted routing to be one of 'random', 'round_robin'"),
    (lambda: arrivals_of_nodes([(2, 1, 0.995, "random")]), "wanted a queue that has settled after 20,000 arrivals"),
    (lambda: arrivals_of_nodes([(2, 1e6, 0.5, "random")]), "wanted λ/ρ to be 1,000,000 a second at most"),
    (lambda: divided_buckets([(20, 1, 6)]), "divided_buckets: wanted n·b to be 100 at most, got n=20 ρ=1 b=6"),
    (lambda: divided_buckets([(2, 0, 1)]), "divided_buckets: wanted ρ to be a number from 0.1 to 10, got n=2 ρ=0 b=1"),
    (lambda: serial_clients(base=20), "serial_clients: wanted base to be a number from 0 to 15"),
    (lambda: retry_budget([0.05], 0.3), "retry_budget: wanted p + p² ≥ 1.5·0.3, or the budget is not used up"),
    (
        lambda: adaptive_throttle([(2, 10, 5)]),
        "adaptive_throttle: wanted offered ≥ 2·K·C, or little is refused, got K=2 C=10 offered=5",
    ),
    (lambda: fan_out([0]), "fan_out: wanted n to be a whole number from 1 to 5,000, got n=0"),
    (lambda: lost_replies([(-0.1, 4)]), "lost_replies: wanted q to be a probability from 0.001 to 0.999, or 0 or 1"),
    (
        lambda: layered([], [(3, 2, 1.5)]),
        "layered: wanted p to be a probability from 0.001 to 0.999, or 0 or 1, got L=3 N=2 p=1.5",
    ),
    (lambda: layered([(20, 20)], []), "layered: wanted N^L ≤ 100,000 calls, got L=20 N=20"),
    (
        lambda: layered_scenario([(20, 20, 20, 1)]),
        "layered_scenario: wanted 2000 requests at most of one notification, got R=20 A=20 U=20 p=1",
    ),
    (lambda: growth(1000, 0, 3), "growth: wanted offered to be a whole number of at least 1"),
    (
        lambda: fixed_outage([(10, 0, 9)]),
        "fixed_outage: wanted base to be a number from 0.00001 to 500,000, got D=10 base=0 cap=9",
    ),
    (
        lambda: fixed_outage([(10, 1, 0.001)]),
        "fixed_outage: wanted the waits of 999 retries to be as long as the outage",
    ),
    (
        lambda: inspection_paradox(60, 20, 33, ()),
        "inspection_paradox: wanted wait < up, or a retry comes into the next outage, got length=60 up=20 wait=33",
    ),
    (lambda: inspection_paradox(lognormals=[(0, 1, 2)]), "inspection_paradox: wanted δ < exp(μ + σ²/2)"),
    (lambda: inspection_paradox(lognormals=[(3, 0.2, 1e-4)]), "inspection_paradox: wanted 10,000,000 attempts at most"),
    (lambda: inspection_paradox(lognormals=[(1, 9, 1)]), "inspection_paradox: wanted exp(μ + 2σ² + 6σ)"),
    (lambda: inspection_paradox(lognormals=[(1, 90, 1)]), "inspection_paradox: wanted exp(μ + 2σ² + 6σ)"),
    (lambda: herd(5), "herd: wanted size to be a whole number from 100 to 10,000, got size=5 wait=10"),
    (lambda: metastable([150], 300), "metastable: wanted 2λ other than 300, where it is not decided, got λ=150"),
    (lambda: metastable([300], 300), "metastable: wanted λ below the capacity, 300, got λ=300"),
    (
        lambda: bimodal_latency([(1, 100, 0.1, 0.05, 1)]),
        "bimodal_latency: wanted a share of errors of 0.001 or more",
    ),
    (lambda: retrial_queue([(1, 1, 1)]), "retrial_queue: wanted λ < μ, or no queue is stable, got λ=1 μ=1 θ=1"),
    (lambda: gas_station(cars=1), "gas_station: wanted cars to be a share from 0.01 to 0.99"),
    (lambda: gas_station([-1]), "gas_station: wanted places to be a whole number from 0 to 100, got places=-1"),
    (
        lambda: grpc([(10, 0.0005)]),
        "grpc: wanted tokenRatio to be a number from 0.001 to 1, got maxTokens=10 tokenRatio=0.0005",
    ),
    (lambda: published_schedules([("two", (1, 2))]), "wanted waits to be three or more numbers of more than 0, got"),
    (lambda: contention({("Half", 10): ()}), "contention: wanted kind to be one of 'None', 'Exponential'"),
    (lambda: contention({("None", 10): ()}), "contention: wanted six figures of more than two clients"),
    (
        lambda: resiliency_patterns(connect_timeout_s=10),
        "resiliency_patterns: wanted connect_timeout_s=2 with the figures of PUBLISHED, which are of no other, "
        "got connect_timeout_s=10",
    ),
    (lambda: resiliency_patterns({}, [("XP", 0.5, 2)]), "resiliency_patterns: wanted config to be one of 'SP'"),
    (lambda: resiliency_patterns({}, [("SP", 0, 2)]), "wanted availability to be a probability of more than 0"),
    (lambda: resiliency_patterns({}, [("SP", 0.001, 2)]), "wanted a total time of at most half a run"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_a_formula_is_not_true_for_is_refused(call, message):
    with pytest.raises(ConfigurationError) as refused:
        call()
    assert message in str(refused.value)


def test_all_that_is_wrong_with_a_call_is_said_at_once():
    with pytest.raises(ConfigurationError) as refused:
        mm_c_k([(0, 1), (2, 1), (2, -1)], [(1, 1, 0, 0)])
    assert len(refused.value.problems) == 4


def test_numbers_of_numpy_and_what_can_be_gone_through_once_are_taken_as_they_are():
    (experiment,) = mm_c([(np.float64(0.5), np.int64(1), np.int64(1))]).experiments
    (usual,) = mm_c(iter([(0.5, 1, 1)])).experiments
    assert (experiment.name, experiment.replicate.args[0]) == (usual.name, usual.replicate.args[0])
    wanted = published_schedules([("s", (1, 2, 3))], []).experiments[0].replicate.args
    assert published_schedules([("s", tuple(np.array([1, 2, 3])))], []).experiments[0].replicate.args == wanted


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def few(case: Case, replications: int) -> Case:
    """Return the case with so many replications of each experiment."""
    experiments = tuple(
        replace(each, full_only=False, pilot=replications, at_most=replications) for each in case.experiments
    )
    return replace(case, experiments=experiments)


def exact(case: Case) -> Case:
    """Return the case with those of its experiments that are not random."""
    return replace(case, experiments=tuple(each for each in case.experiments if not each.stochastic))


def assert_nothing_differs(case: Case, replications: int = 4) -> None:
    """See that what is measured in a few replications is not other than expected, however wide the interval."""
    validation = simulation.validate([few(case, replications)])
    assert all(result.verdict is not Verdict.DIFFERS for result in validation.results), text(validation)


@pytest.mark.parametrize(
    "case",
    [
        truncated_geometric([(0, 3), (1, 3), (0, 1), (1, 1)]),
        lost_replies([(0, 3), (1, 4), (0.3, 1)]),
        layered([(3, 2)], [(3, 2, 0), (3, 2, 1), (2, 1, 0.5)]),
        layered_scenario([(3, 2, 2, 0), (1, 1, 3, 1), (1, 1, 1, 0.5)]),
        growth(1000, 900, 3),
        growth(7, 13, 5),
        retry_strategies([0, 0.001], [1], [1]),
        pytest.param(retry_strategies([1], [], [0.5, 0.001]), marks=pytest.mark.slow, id="retry-strategies, more"),
        fixed_outage([(2.1, 0.7, 10), (10, 100, 200)]),
        exact(grpc([(1, 1), (2, 0.5), (100, 0.002)])),
        delays([(0, 3, 1, 10), (1, 3, 1, 10), (0.5, 1, 1, 10)], ["none"]),
        fan_out([], [(0, 10), (1, 10)]),
        breaker_cycles([(1, 3, 10, 5)], [(3, 10, 5)]),
        metastable([1, 2], 3),
        herd(100, 1 / 3),
        bimodal_latency([(10, 5, 1, 0, 10), (1, 5, 1, 1, 10)]),
        mm_c([(0.5, 1, 3), (0.5, 1, 10**5)]),
        pytest.param(mm_c([(50, 0.1, 1000)]), marks=pytest.mark.slow, id="mm-c, many busy"),
        mm_c_k([(100, 90)], []),
        pytest.param(mm_c_k([(1000, 900)], []), marks=pytest.mark.slow, id="mm-c-k, large"),
        token_bucket([], [(15, 0.5, 2)]),
        pytest.param(token_bucket([(60, 3)], []), marks=pytest.mark.slow, id="token-bucket, slow"),
        pytest.param(token_bucket([(6, 0.3)], []), marks=pytest.mark.slow, id="token-bucket, slower"),
        breaker_cycles([(0.3, 1, 1, 1e-6)], []),
        pytest.param(retry_budget([0.9], 0), marks=pytest.mark.slow, id="retry-budget, all"),
        pytest.param(retry_budget([0.5], 0), marks=pytest.mark.slow, id="retry-budget, half"),
        client_count([0.99], 500, [62], 0.1, 2, []),
        nodes_as_clients([0, 1], 100, [10], 0.1, 2, [1]),
        pytest.param(
            nodes_as_clients([0, 1, 0.001], 300, [1, 100], 0.1, 2, [0, 1]),
            marks=pytest.mark.slow,
            id="nodes-as-clients, many",
        ),
        arrivals_of_nodes([(1, 1, 0.1, "round_robin"), (40, 2000, 0.3, "round_robin")]),
        divided_buckets([(1, 0.1, 4)]),
        pytest.param(divided_buckets([(3, 10, 1)]), marks=pytest.mark.slow, id="divided-buckets, three"),
        pytest.param(divided_buckets([(2, 1, 40)]), marks=pytest.mark.slow, id="divided-buckets, large"),
        limited_sharing([(3.64, 0.602, 22)], ["deterministic"]),
        bimodal_latency([(1, 3, 100, 0.05, 0.1)]),
        product_form([(2, 12, 1, 1, 2, 1, "none")]),
    ],
    ids=lambda case: case.name,
)
def test_extremes_are_as_the_formulas_go_there(case):
    assert_nothing_differs(case)


def test_retries_that_are_minutes_apart_are_so():
    fixed, *_ = inspection_paradox(100, 200, 80, ()).experiments
    measured = fmean(fixed.replicate(seed)["mean delay of those in an outage, s"] for seed in range(3))
    # What is left is uniform, and one of 100 s takes two waits: 80·0.8 + 160·0.2.
    assert [each.target for each in fixed.quantities] == pytest.approx([96])
    assert measured == pytest.approx(96, rel=0.03)


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def targets(case: Case) -> dict[str, float]:
    return {
        each.name: each.target
        for experiment in case.experiments
        for each in experiment.quantities
        if isinstance(each, (Mean, Exactly))
    }


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
    expected = targets(mm_c([(rate, mu, servers)]))
    assert expected["P(wait)"] == pytest.approx(waits)
    assert expected["P(wait beyond its 95th percentile)"] == pytest.approx(min(waits, 0.05))
    assert expected["mean number in the system"] == pytest.approx(shares @ np.arange(401))


def test_what_hardly_ever_happens_is_not_waited_for():
    assert not any("wait" in name for name in targets(mm_c([(0.1, 1, 4)])))
    assert "share dead-lettered" not in targets(truncated_geometric([(0.01, 5)]))
    assert "P(refused)" not in targets(mm_c_k([(9, 1)], []))
    for p in (0, 0.01):
        assert not any("dead" in name for name in targets(product_form([(1, 5, 1, p, 4, 1, "none")])))


def test_a_mailbox_of_any_size_has_shares_that_are_numbers():
    expected = targets(mm_c_k([], [(100, 1, 1, 1000)]))
    assert expected["P(refused)"] == pytest.approx(0.99)
    assert expected["mean number in the system"] == pytest.approx(1000 - 1 / 99)


def test_a_certain_failure_costs_every_layer_all_its_attempts():
    assert targets(layered([], [(3, 4, 1)])) == targets(layered([(3, 4)], []))
    assert targets(breaker_cycles([(1, 5, 10, 5)], [])) == targets(breaker_cycles([], [(5, 10, 5)]))


@pytest.mark.parametrize(("balls", "bins"), [(1, 3), (2, 2), (5, 3), (6, 4)])
def test_the_fullest_bin_over_every_way_to_throw(balls, bins):
    ways = list(product(range(bins), repeat=balls))
    assert expected_largest(balls, bins) == pytest.approx(fmean(max(map(way.count, way)) for way in ways))


@pytest.mark.parametrize(("thrown", "simulated"), [((1000, 100), (18.751, 0.012)), ((1000, 50), (30.724, 0.016))])
def test_the_fullest_bin_of_many_is_what_throwing_them_gives(thrown, simulated):
    mean, error = simulated
    assert abs(expected_largest(*thrown) - mean) < 3 * error


# ── distributions ───────────────────────────────────────────────────────────────────────────────────────────────

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
    (experiment,) = limited_sharing([(1, 2, 1000)], [law]).experiments
    services = scenario(experiment.replicate.args[0], _services)(1)
    if law == "deterministic":
        assert set(np.round(services, 8)) == {0.5}
    else:
        assert stats.kstest(services, CDFS[law]).pvalue > 1e-3


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────


def _functions() -> Iterator[Callable[..., Case]]:
    from importlib import import_module

    from simulation.validation.cases import FAMILIES

    for family in FAMILIES:
        module = import_module(f"simulation.validation.cases.{family}")
        for name, each in vars(module).items():
            made_here = getattr(each, "__module__", None) == module.__name__ and not name.startswith("_")
            if made_here and getattr(each, "__annotations__", {}).get("return") == "Case":
                yield each


def test_every_function_of_parameters_says_what_it_refuses():
    functions = list(_functions())
    assert {function().name for function in functions} == {case.name for case in all_cases()}
    for function in functions:
        if function.__code__.co_argcount:
            assert "ConfigurationError" in (function.__doc__ or ""), function.__name__
