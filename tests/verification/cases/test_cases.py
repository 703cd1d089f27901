"""The cases: what is exact of them, a few that are random, and in the slow run the whole quick slice.

`retrylab validate`, which the continuous integration runs beside the tests, does the quick slice of all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import simulation
import simulation.validation
from actors.policies.retry.budgets import TokenBudget
from simulation.validation import Case, Experiment, Mean
from simulation.verification.cases.case import scenario
from simulation.verification.cases.families import all_cases
from simulation.verification.cases.families.attempts import delays, truncated_geometric
from simulation.verification.cases.families.disciplines import limited_sharing, priority, processor_sharing
from simulation.verification.cases.families.outages import inspection_paradox, lognormal_residual
from simulation.verification.cases.families.queues import erlang_b, erlang_c, mg_1, mm_c, mm_c_k
from simulation.verification.cases.families.retry_chains import with_breaker, with_bucket
from simulation.verification.cases.printing import document, text
from simulation.verification.cases.procedure import Validation
from simulation.verification.cases.quantities import Verdict

CASES = all_cases()


def only(kept: Any, cases: Sequence[Case] = CASES) -> list[Case]:
    """Return the cases with those of their experiments that are to be kept, where any are."""
    chosen = [(case, [each for each in case.experiments if kept(each)]) for case in cases]
    return [replace(case, experiments=experiments) for case, experiments in chosen if experiments]


def assert_holds(validation: Validation) -> None:
    assert validation.holds, text(validation)


LONG = ("metastable", "retry-growth", "token-bucket")
"""Cases whose exact experiments take some seconds; `test_formulas` has some of small sizes."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("cases", "at_least"),
    [
        pytest.param([case for case in CASES if case.name not in LONG], 28, id="short"),
        pytest.param([case for case in CASES if case.name in LONG], 17, id="long", marks=pytest.mark.slow),
    ],
)
def test_whatever_is_exact_is_exactly_so(cases, at_least):
    validation = simulation.validate(only(lambda experiment: not experiment.stochastic, cases))
    assert_holds(validation)
    assert sum(len(result.measured) for result in validation.results) >= at_least
    assert json.loads(json.dumps(document(validation), allow_nan=False))["holds"] is True


def test_some_that_are_random():
    """Those that take a second; all are in the quick slice."""
    some = ("L=5 N=3 p=0.5", "n=5")
    validation = simulation.validate(only(lambda experiment: experiment.name in some))
    assert_holds(validation)
    assert len(validation.results) == len(some)


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_quick_slice(name):
    assert_holds(simulation.validate([name], workers=None))


def test_every_case_says_what_it_is_and_has_something_in_the_quick_slice():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.title, case.name
        assert case.source, case.name
        assert case.model.endswith("."), case.name
        assert len({each.name for each in case.experiments}) == len(case.experiments), case.name
        assert any(not each.full_only for each in case.experiments), case.name


def test_every_quantity_of_a_case_is_in_the_quick_slice_for_some_parameters():
    for case in CASES:
        quick = [each for each in case.experiments if not each.full_only]
        names = {quantity.name for experiment in case.experiments for quantity in experiment.quantities}
        assert {quantity.name for experiment in quick for quantity in experiment.quantities} == names, case.name


def test_a_tolerance_wider_than_two_per_cent_has_its_reason_beside_it_or_in_its_case():
    """Those that have none are moments of second order, which converge at half the pace."""
    for case in CASES:
        for experiment in case.experiments:
            for quantity in experiment.quantities:
                if isinstance(quantity, Mean) and quantity.within > 0.02 and "variance" not in quantity.name:
                    assert quantity.because, f"{case.name}: {experiment.name}: {quantity.name}"


# ── the closed forms against digits that others have published ──────────────────────────────────────────────────


def targets(experiment: Experiment) -> list[float]:
    return [each.target for each in experiment.quantities if isinstance(each, Mean)]


@pytest.mark.parametrize(
    ("servers", "load", "blocked"),
    [(1, 0.5, 1 / 3), (2, 1, 0.2), (5, 3, 0.1100543478), (10, 8, 0.1216610643), (10, 12, 0.3019250403),
     (100, 95, 0.0488042062), (1000, 5095, 0.8037770465)],
)  # fmt: skip
def test_erlang_b(servers, load, blocked):
    assert erlang_b(servers, load) == pytest.approx(blocked, rel=1e-9)


def test_erlang_c_and_what_follows_from_it():
    assert erlang_c(20, 18) == pytest.approx(0.55076900, rel=1e-8)
    wait, mean_wait, _, sojourn, number = targets(mm_c(95, 10, 10))
    assert (wait, mean_wait, sojourn, number) == pytest.approx(
        (0.82558558, 0.16511712, 0.26511712, 25.18612598), rel=1e-7
    )
    # The 95th percentile of the wait is in words only.
    quantities = mm_c(3, 2, 2).quantities
    assert any("2.5539 s" in quantity.because for quantity in quantities)


def test_bounded_mailboxes_and_general_service_times():
    blocked, number, sojourn = targets(mm_c_k(3, 4, 2, 3))
    assert (blocked, number, sojourn) == pytest.approx((0.0493601463, 0.76234004, 0.26730769), rel=1e-7)
    assert targets(mg_1("Erlang-4", 0.8)) == pytest.approx([2.5 + 1], rel=1e-9)
    assert targets(mg_1("0.999 Exp(0.1) + 0.001 Exp(10)", 0.8)) == pytest.approx([4.11317571], rel=1e-8)


def test_disciplines():
    assert targets(priority(0.2, 0.6, "exponential")) == pytest.approx([2.0, 6.0])
    assert targets(priority(0.1, 0.4, "deterministic")) == pytest.approx([0.25 / 0.9 + 1, 0.25 / 0.45 + 1])
    sojourn, square, *states = targets(processor_sharing(3, 5))
    assert (sojourn, states) == (pytest.approx(0.5), pytest.approx([0.4, 0.24, 0.144]))
    assert square == pytest.approx(0.25 + 0.25 * 2.6 / 1.4)
    published = [0.4321329639889196, 0.3601108033240997, 0.1500461680517082, 0.041679491125474505, 0.011577636423742918]
    for law in ("exponential", "deterministic"):
        *states, _ = targets(limited_sharing(10, 12, 3, law))
        assert states == pytest.approx(published, rel=1e-12)


@pytest.mark.thorough
def test_the_square_of_the_sojourn_tells_sharing_from_waiting():
    """The means are the same, so that alone would not show which of the two a provider does."""
    experiment = processor_sharing(3, 6)
    shared = experiment.replicate.args[0]
    in_line = scenario(shared.replace("processor_sharing", "fifo"), experiment.replicate.args[1])
    waiting = replace(experiment, replicate=in_line, pilot=16, at_most=16)
    case = replace(CASES[0], experiments=[waiting])
    (result,) = simulation.validate([case], seed=3).results
    wrong = [each.quantity.name for each in result.measured if each.finding.verdict is Verdict.DIFFERS]
    assert wrong == ["mean square of the sojourn, s²"]


def test_attempts_and_delays():
    dead, mean, variance, delivered = targets(truncated_geometric(0.8, 10))
    assert (dead, mean, variance, delivered) == pytest.approx(
        (0.1073741824, 4.46312909, 9.51122230, 3.79709750), rel=1e-8
    )
    until, square, lost, lost_square = targets(delays(0.7, 10, 0.5, 30, "full"))
    assert (until, square**0.5, lost, lost_square**0.5) == pytest.approx(
        (3.957771, 10.759072, 60.75, 15.919720), rel=1e-6
    )


def test_the_example_of_the_documentation_runs():
    text = simulation.validation.__doc__ or ""
    example = text.split("public API), what is measured", 1)[1].split("::\n", 1)[1]
    code = "\n".join(line[4:] for line in example.splitlines())
    printed: list[str] = []
    exec(compile(f"import simulation\n{code}", "example", "exec"), {"print": lambda each: printed.append(str(each))})
    assert "1 of 1 quantity of 1 case holds" in printed[0]


def test_what_is_left_of_an_outage():
    case = inspection_paradox(wait=0.01, lognormals=[(1, 1, 0.5)])
    fixed, exponential, lognormal = (targets(each)[0] for each in case.experiments)
    assert fixed == pytest.approx(30 + 0.01 / 2)
    assert exponential == pytest.approx(60 + 0.01 / 2, rel=2e-5)
    assert lognormal_residual(1, 1, 0.01) == pytest.approx(6.09124698 + 0.01 / 2, rel=1e-6)
    # With so much to wait, what is left is rounded up by about half of it: less, as the density falls.
    assert 6.09124698 < lognormal < 6.09124698 + 0.5 / 2 + 0.01


@given(st.floats(-1, 2), st.floats(0.2, 1.2), st.floats(0.1, 2))
def test_what_is_left_of_a_lognormal_outage_is_the_sum_over_its_tail(mu, sigma, wait):
    outage = stats.lognorm(sigma, scale=math.exp(mu))
    grid = np.geomspace(1e-6, 1e6, 200_001) * outage.mean()
    beyond = np.concatenate([np.cumsum((outage.sf(grid)[:-1] * np.diff(grid))[::-1])[::-1], [0.0]]) / outage.mean()
    ends = np.arange(1, 2000) * wait
    rounded_up = wait * (1 + np.interp(ends, grid, beyond).sum())
    assert lognormal_residual(mu, sigma, wait) == pytest.approx(rounded_up, rel=2e-3)


@pytest.mark.parametrize("p", [0.02, 0.2, 0.5, 0.9])
def test_a_token_bucket_allows_all_it_holds_at_first_and_its_share_in_the_long_run(p):
    # Of five, and only while there is more than one: four retries for the first call.
    first, success = with_bucket(p, 1, 0.1, 5)
    assert (first, success) == pytest.approx(((1 - p**5) / (1 - p), 1 - p**5))
    load, success = with_bucket(p, 20_000, 0.1, 5)
    assert load == pytest.approx(1 + min(p / (1 - p), 0.1), rel=2e-3)
    assert success == pytest.approx(load * (1 - p))


def over_every_way(p: float, calls: int, attempts_of: Callable[[Iterator[bool]], None]) -> tuple[float, float]:
    """Return attempts and successes for each call, over every way in which the attempts may end.

    Args:
        p: with which each fails.
        calls: how many there are.
        attempts_of: makes all calls, and takes how each attempt ends from what it is given.
    """

    def expected(ends: tuple[bool, ...]) -> tuple[float, float]:
        try:
            attempts_of(iter(ends))
        except StopIteration:
            failing, succeeding = expected((*ends, False)), expected((*ends, True))
            return tuple(p * f + (1 - p) * s for f, s in zip(failing, succeeding, strict=True))
        return len(ends) / calls, sum(ends) / calls

    return expected(())


@given(st.floats(0, 0.95), st.integers(1, 4), st.sampled_from([0.1, 0.25, 0.5]), st.integers(1, 3))
def test_the_chain_of_the_bucket_is_that_of_the_budget(p, calls, share, capacity):
    def attempts(ends: Iterator[bool]) -> None:
        budget = TokenBudget(share, capacity, inclusive=False)
        for _ in range(calls):
            budget.start(0, 0)
            while not next(ends) and budget.try_retry("transient", 0):
                pass

    assert with_bucket(p, calls, share, capacity) == pytest.approx(over_every_way(p, calls, attempts))


@given(st.floats(0, 1), st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3))
def test_the_chain_of_the_breaker_counts_forever(p, calls, share, retries):
    def attempts(ends: Iterator[bool]) -> None:
        failures = 0
        for call in range(1, calls + 1):
            for _ in range(1 + retries):
                if next(ends):
                    break
                failures += 1
                if failures > share * call:
                    break

    assert with_breaker(p, calls, share, retries) == pytest.approx(over_every_way(p, calls, attempts))
