"""The validation itself: whether it finds what differs, says when it cannot tell, and takes no more runs than that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from random import Random
from statistics import fmean
from typing import Any

import pytest
from each_row import over_each

import simulation
from actors.errors import ConfigurationError
from simulation.validation import (
    AtMost,
    Between,
    Case,
    Exactly,
    Experiment,
    Follows,
    Frequencies,
    Mean,
    Quantity,
    Spread,
    Validation,
    Variance,
    Verdict,
    scenario,
)
from simulation.verification.cases import families as cases
from simulation.verification.cases.families.layers import layered
from simulation.verification.cases.printing import document


def case(replicate: Any, *quantities: Quantity, **settings: Any) -> Case:
    experiment = Experiment(name="one", replicate=replicate, quantities=quantities, **settings)
    return Case(name="a-case", title="A case", source="by hand", model="draws", experiments=(experiment,))


def verdict(replicate: Any, quantity: Quantity, **settings: Any) -> Verdict:
    return simulation.validate([case(replicate, quantity, **settings)], full=True).results[0].verdict


def normal(mean: float, sd: float, seed: int) -> Mapping[str, float]:
    return {"x": Random(seed).gauss(mean, sd)}


def exponentials(mean: float, seed: int) -> Mapping[str, list[float]]:
    draws = Random(seed)
    return {"x": [draws.expovariate(1 / mean) for _ in range(200)]}


def tosses(share: float, seed: int) -> Mapping[str, list[int]]:
    draws = Random(seed)
    heads = sum(draws.random() < share for _ in range(1000))
    return {"x": [heads, 1000 - heads]}


def cdf(mean: float, x: Any) -> Any:
    return 1 - math.e ** (-x / mean)


@pytest.mark.parametrize("off", [0.0, 0.05, -0.05])
def test_a_mean_that_is_off_by_more_than_the_interval_is_wide_is_found(off):
    quantity = Mean(name="x", target=10.0, within=0.02)
    assert verdict(partial(normal, 10 * (1 + off), 3), quantity) is (Verdict.DIFFERS if off else Verdict.HOLDS)


def test_so_many_replications_are_run_as_the_interval_takes():
    def run(within: float, *, full: bool = True) -> tuple[int, float]:
        quantity = Mean(name="x", target=10.0, within=within)
        validation = simulation.validate([case(partial(normal, 10, 3), quantity)], full=full)
        finding = validation.results[0].measured[0].finding
        low, high = finding.interval
        assert (low + high) / 2 == pytest.approx(finding.value)
        return finding.replications, (high - low) / 2

    wide, narrow = run(0.04), run(0.02)
    assert narrow[1] <= 0.2
    assert narrow[0] == pytest.approx(4 * wide[0], rel=0.25), "half the width takes four times as many"
    # sd 30%, ±5% at 99.9%: (3.29 · 0.3 / 0.05)² and a little more
    quick = run(0.02, full=False)
    assert 390 <= quick[0] <= 560
    assert quick[1] <= 0.5


def test_what_cannot_be_told_within_the_replications_there_may_be_is_no_success():
    quantity = Mean(name="x", target=10.0, within=0.01)
    assert verdict(partial(normal, 10, 3), quantity, at_most=50) is Verdict.TOO_WIDE
    assert verdict(partial(normal, 15, 3), quantity, at_most=50) is Verdict.DIFFERS
    variance = Variance(name="x", target=9.0, within=0.1)
    assert verdict(partial(normal, 10, 3), variance, at_most=50) is Verdict.TOO_WIDE
    distribution = Follows(name="x", distribution="…", cdf=partial(cdf, 2))
    assert verdict(partial(exponentials, 2), distribution, at_most=20) is Verdict.TOO_WIDE
    frequencies = Frequencies(name="x", distribution="…", shares=(0.5, 0.5))
    assert verdict(partial(tosses, 0.5), frequencies, at_most=20) is Verdict.TOO_WIDE


def test_a_simulated_target_brings_its_own_error():
    off = partial(normal, 10.3, 1)
    assert verdict(off, Mean(name="x", target=10.0, within=0.07), pilot=1000) is Verdict.DIFFERS
    assert verdict(off, Mean(name="x", target=10.0, within=0.07, error=0.2), pilot=1000) is Verdict.HOLDS


def test_a_bound_in_the_interval_is_not_proved_to_be_broken():
    claim = Between(name="x", low=5.0)
    assert verdict(partial(normal, 4.9, 3), claim, at_most=50) is Verdict.TOO_WIDE
    assert verdict(partial(normal, 5.1, 3), claim, at_most=50) is Verdict.TOO_WIDE
    assert verdict(partial(normal, 3.0, 3), claim, at_most=50) is Verdict.DIFFERS


def test_what_is_rare_and_was_not_seen_proves_nothing():
    rare = Mean(name="x", target=1 + 1e-6, within=0.01)
    assert verdict(partial(normal, 1, 0), rare) is Verdict.TOO_WIDE
    assert verdict(partial(normal, 1, 1e-12), rare) is Verdict.TOO_WIDE, "nor does it where sums are rounded"
    assert verdict(partial(normal, 1.1, 0), rare) is Verdict.DIFFERS


def test_what_always_or_never_comes_is_counted_too():
    def counts(*of_each: int) -> Any:
        return lambda _seed: {"x": list(of_each)}

    never = Frequencies(name="x", distribution="…", shares=(1.0, 0.0))
    assert verdict(counts(1000, 0), never) is Verdict.HOLDS
    assert verdict(counts(999, 1), never) is Verdict.DIFFERS
    assert verdict(
        counts(100_000, 200_000, 0), Frequencies(name="x", distribution="…", shares=(1 / 3, 2 / 3, 0.0))
    ) is (Verdict.HOLDS)
    assert verdict(
        counts(100_000, 200_000, 3), Frequencies(name="x", distribution="…", shares=(1 / 3, 2 / 3, 0.0))
    ) is (Verdict.DIFFERS)


def test_a_variance_shows_both_ends_of_its_interval_which_are_not_equally_far():
    variance = Variance(name="x", target=9.0, within=0.5)
    finding = simulation.validate([case(partial(normal, 5, 3), variance)], full=True).results[0].measured[0].finding
    low, high = finding.interval
    assert low < 9 < high
    assert high - finding.value > 1.05 * (finding.value - low)
    assert f"({low:.1f} … {high:.1f})" in finding.measured


@pytest.mark.parametrize(
    ("quantity", "right", "wrong"),
    [
        (Variance(name="x", target=9.0, within=0.1), partial(normal, 5, 3), partial(normal, 5, 3.5)),
        (Spread(name="sd", of="x", target=3.0, observations=1000), partial(normal, 5, 3), partial(normal, 5, 4)),
        (
            Follows(name="x", distribution="…", cdf=partial(cdf, 2)),
            partial(exponentials, 2),
            partial(exponentials, 2.2),
        ),
        (Frequencies(name="x", distribution="…", shares=(0.5, 0.5)), partial(tosses, 0.5), partial(tosses, 0.52)),
        (Between(name="x", low=4.0, high=6.0), partial(normal, 5, 3), partial(normal, 7, 3)),
        (Exactly(name="x", target=5.0), partial(normal, 5, 0), partial(normal, 5 * (1 + 1e-8), 0)),
        (AtMost(name="x", bound=5.0), partial(normal, 5, 0), partial(normal, 5, 1)),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Quantity) else "",
)
def test_each_kind_of_quantity_tells_right_from_wrong(quantity, right, wrong):
    assert verdict(right, quantity) is Verdict.HOLDS
    assert verdict(wrong, quantity) is Verdict.DIFFERS


def test_neighbours_of_which_few_are_expected_are_taken_together():
    shares = (*(2.0**-k for k in range(1, 40)), 2.0**-39)

    def geometric(seed: int) -> Mapping[str, list[int]]:
        draws, counts = Random(seed), [0] * 40
        for _ in range(1000):
            k = 0
            while draws.random() < 0.5 and k < 39:
                k += 1
            counts[k] += 1
        return {"x": counts}

    assert verdict(geometric, Frequencies(name="x", distribution="geometric", shares=shares)) is Verdict.HOLDS


@pytest.mark.thorough
def test_a_right_simulator_is_hardly_ever_found_to_be_wrong():
    """At 0.001 for each validation, 100 of them; and the intervals have been stopped where they looked narrow."""
    quantity = Mean(name="x", target=10.0, within=0.04)
    findings = [
        simulation.validate([case(partial(normal, 10, 3), quantity)], full=True, seed=seed)
        .results[0]
        .measured[0]
        .finding
        for seed in range(100)
    ]
    assert sum(finding.verdict is not Verdict.HOLDS for finding in findings) <= 2
    assert fmean(finding.value for finding in findings) == pytest.approx(10, abs=0.05)


def test_the_more_quantities_there_are_the_more_each_has_to_be_off():
    def alpha(count: int) -> float:
        quantities = [Mean(name="x", target=10.0, within=0.5)] * count
        return simulation.validate([case(partial(normal, 10, 1), *quantities)]).alpha

    assert alpha(1) == 0.001
    assert alpha(40) == pytest.approx(0.001 / 40)
    assert simulation.validate([case(partial(normal, 5, 0), Exactly(name="x", target=5.0))]).alpha == 0.001


def test_figures_do_not_depend_on_how_many_share_the_work_but_on_the_seed():
    def run(workers: int, seed: int = 0) -> Validation:
        return simulation.validate([layered([], [(2, 2, 0.5)])], seed=seed, workers=workers)

    one, other = run(1), run(1, seed=1)
    assert document(run(2)) == document(one)
    assert document(other)["cases"] != document(one)["cases"]
    assert other.holds


@pytest.mark.parametrize(
    ("figures", "quantity", "complaint"),
    [
        (
            {"x": math.nan},
            Mean(name="x", target=1.0),
            "wanted a finite number for 'x', got nan; is the replication long",
        ),
        ({"x": math.inf}, Between(name="x", low=1.0), "wanted a finite number for 'x', got inf"),
        ({"x": None}, Mean(name="x", target=1.0), "wanted a finite number for 'x', got None"),
        ({"y": 1.0, "z": 2.0}, Mean(name="x", target=1.0), "wanted a metric for 'x', got those for 'y', 'z'"),
        ({"x": []}, Variance(name="x", target=1.0), "wanted a finite number, or a list of some for 'x', got []"),
        ({"x": []}, Follows(name="x", distribution="…", cdf=abs), "wanted a finite number, or a list of some"),
        (
            {"x": [3, 4]},
            Frequencies(name="x", distribution="…", shares=(1.0,)),
            "wanted a list of 1 counts, not all of them 0 for 'x', got [3, 4]",
        ),
        ({"x": [0, 0]}, Frequencies(name="x", distribution="…", shares=(0.5, 0.5)), "not all of them 0"),
        ({"y": 1}, Spread(name="sd", of="x", target=1.0, observations=1000), "wanted a metric for 'x'"),
    ],
)
def test_what_a_replication_returns_and_cannot_be_compared_is_said(figures, quantity, complaint):
    with pytest.raises(ConfigurationError) as refused:
        simulation.validate([case(lambda _seed: figures, quantity)])
    (problem,) = refused.value.problems
    assert problem.startswith("a-case: one: ")
    assert complaint in problem


@over_each(
    [
        (lambda: Mean(name="x", target=math.inf), "x: wanted a finite target, got inf"),
        (lambda: Mean(name="x", target=math.nan), "x: wanted a finite target, got nan"),
        (lambda: Mean(name="x", target=1.0, within=0.0), "x: wanted within > 0, got 0.0"),
        (lambda: Mean(name="x", target=5.0, error=10.0), "known as well as within=0.02 says, got ± 32.9"),
        (lambda: Variance(name="x", target=0.0), "x: wanted a finite target > 0, got 0.0"),
        (lambda: Between(name="x"), "x: wanted low < high, one of them finite, got -inf and inf"),
        (lambda: Between(name="x", low=2.0, high=1.0), "wanted low < high"),
        (lambda: Frequencies(name="x", distribution="…", shares=(0.5, 0.6)), "that sum to 1, got 1.1 in all"),
        (lambda: Spread(name="sd", of="x", target=1.0, observations=1), "wanted observations of at least 2, got 1"),
        (lambda: Experiment(name="e", replicate=dict, quantities=()), "experiment 'e': wanted at least one quantity"),
        (lambda: case(dict, Mean(name="x", target=1.0), pilot=1), "wanted at least 2 replications, got pilot=1"),
        (lambda: case(dict, Mean(name="x", target=1.0), at_most=1), "at_most=1"),
        (
            lambda: Case(name="c", title="", source="", model="", experiments=()),
            "case c: wanted at least one experiment, got none",
        ),
        (
            lambda: Case(
                name="c",
                title="",
                source="",
                model="",
                experiments=case(dict, Between(name="x", low=1)).experiments * 2,
            ),
            "case c: wanted one experiment of a name, got 2 named 'one'",
        ),
        (lambda: simulation.validate([]), "cases: wanted a list of names and cases, at least one, got []"),
        (lambda: simulation.validate("herd"), "cases: wanted a list of names and cases, at least one, got 'herd'"),
        (lambda: simulation.validate([3]), "case: wanted a name or a Case, got 3"),
        (lambda: simulation.validate(["herd"], seed=-5), "seed: wanted a whole number of at least 0, got -5"),
        (lambda: simulation.validate(["layers", layered()]), "case: wanted one of a name, got 2 named layers"),
        (
            lambda: simulation.validate([case(lambda _: {"x": 1}, Between(name="x", low=0))], workers=2),
            "a-case: one: wanted a replicate that can be sent to other processes",
        ),
    ]
)
def test_what_cannot_be_tested_is_refused(make, complaint):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert complaint in str(refused.value)


def test_a_scenario_that_is_wrong_is_said_to_be_that_of_its_case_and_experiment():
    text = "workload: [{channel: sms, arrivals: {poisson: 1/s}}]\nduration: soon"
    with pytest.raises(ConfigurationError) as refused:
        simulation.validate([case(scenario(text, dict), Between(name="x", low=0))])
    assert str(refused.value).startswith("a-case: one: scenario:2:11: duration: wanted a duration")


def test_what_takes_long_is_left_out_of_cases_by_name_and_not_of_those_given(monkeypatch):
    long = case(partial(normal, 5, 1), Between(name="x", low=1.0), full_only=True)
    assert document(simulation.validate([long]))["left_out"] == 0
    assert len(simulation.validate([long]).results) == 1
    short = case(partial(normal, 5, 1), Between(name="x", low=1.0)).experiments
    known = replace(long, experiments=(*short, replace(long.experiments[0], name="two")))
    monkeypatch.setattr(cases, "all_cases", lambda: (known,))
    by_name = simulation.validate([known.name])
    assert [each.experiment.name for each in by_name.results[0].measured] == ["one"]
    assert by_name.left_out == 1
    assert "that --full runs" in str(by_name)
    assert simulation.validate([known.name], full=True).left_out == 0
