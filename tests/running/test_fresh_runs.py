"""When a setting is rejected, and when it is confirmed: how often that is wrong."""

import math
import random

import pytest
from effort import sliced
from hypothesis import example, given, strategies as st
from scipy.stats import binom, binomtest

from simulation.running.sequential_test import Decision, FreshRuns, hopeless, interval, plan


def decide(held, looks):
    """Return the decision about a setting, and after how many fresh runs it was clear; None when it is not yet."""
    seen = FreshRuns(looks)
    for holds in held:
        seen.add(holds)
    return seen.decision, seen.runs


def confirmed_share(looks, probability):
    """Return in what share of all cases a plan confirms a setting that holds with this probability."""
    waiting, confirmed = {0: 1.0}, 0.0
    for runs in range(1, looks[-1] + 1):
        after = {}
        for failed, share in waiting.items():
            after[failed] = after.get(failed, 0.0) + share * probability
            after[failed + 1] = after.get(failed + 1, 0.0) + share * (1 - probability)
        confirmed += sum(share for failed, share in after.items() if failed < len(looks) and runs >= looks[failed])
        waiting = {failed: share for failed, share in after.items() if failed < len(looks) and runs < looks[failed]}
    return confirmed


def expected_runs(looks, probability):
    """Return how many runs a plan takes on average, of a setting that holds with this probability."""
    waiting, expected = {0: 1.0}, 0.0
    for runs in range(looks[-1]):
        expected += sum(waiting.values())
        after = {}
        for failed, share in waiting.items():
            after[failed] = after.get(failed, 0.0) + share * probability
            after[failed + 1] = after.get(failed + 1, 0.0) + share * (1 - probability)
        waiting = {failed: share for failed, share in after.items() if failed < len(looks) and runs + 1 < looks[failed]}
    return expected


def judged(rng, looks, probability):
    """Toss until it is clear."""
    held = []
    while True:
        held.append(rng.random() < probability)
        found, runs = decide(held, looks)
        if found is not None:
            assert runs == len(held)
            return found


@pytest.mark.parametrize("probability", sliced([0.5, 0.9, 0.95], 6, 1))
def test_what_is_just_below_the_probability_is_confirmed_no_more_often_than_stated(probability):
    error, tries = 0.05, 2500
    looks = plan(probability, error)
    rng = random.Random(7)
    confirmed = sum(judged(rng, looks, probability - 1e-3) is Decision.CONFIRMED for _ in range(tries))
    # So many would be exceeded once in a thousand such tests if it were 5%.
    assert confirmed <= binom.ppf(0.999, tries, error)
    # And the plan is no more cautious than it has to be: whole runs and three looks leave little room.
    assert confirmed >= binom.ppf(0.001, tries, error * 0.75)


@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("error", [0.05, 0.025, 0.001])
def test_the_plan_keeps_its_error_exactly(probability, error):
    looks = plan(probability, error)
    assert confirmed_share(looks, probability) <= error
    sooner = [tuple(look - (place == at) for place, look in enumerate(looks)) for at in range(len(looks))]
    assert all(confirmed_share(others, probability) > confirmed_share(looks, probability) for others in sooner)


def test_a_setting_that_fails_a_fifth_as_often_as_allowed_is_mostly_confirmed():
    assert plan(0.95, 0.0416) == (66, 126, 174)
    assert confirmed_share(plan(0.95, 0.0416), 0.99) > 0.8
    # With one look at runs none of which may fail it would be every other time.
    assert confirmed_share((math.ceil(math.log(0.0416) / math.log(0.95)),), 0.99) < 0.55


def test_what_hardly_fails_takes_fewer_runs_than_where_all_looks_may_err_alike():
    alike = (76, 113, 146)  # each of which errs in 0.0197 of all cases by itself
    assert confirmed_share(alike, 0.95) == pytest.approx(confirmed_share(plan(0.95, 0.0416), 0.95), abs=2e-3)
    assert expected_runs(plan(0.95, 0.0416), 0.995) < 0.97 * expected_runs(alike, 0.995)
    assert expected_runs(plan(0.95, 0.0416), 0.99) < 1.01 * expected_runs(alike, 0.99)


@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=6))
@example(200, set())
@example(200, {0})
@example(200, {0, 1})
@example(200, {0, 1, 2})
def test_a_decision_once_made_stays_whatever_comes(count, failing):
    looks = plan(0.95, 0.025)
    held = [number not in failing for number in range(count)]
    found, runs = decide(held, looks)
    for seen in range(count):
        early, early_runs = decide(held[:seen], looks)
        assert (early, early_runs) == ((found, runs) if found is not None and seen >= runs else (None, seen))
    if found is Decision.CONFIRMED:
        assert runs in looks
        assert held[:runs].count(False) <= looks.index(runs)
    if found is Decision.REJECTED:
        assert held[:runs].count(False) == 3


def lost(probability, stated, of):
    """Return how often a setting that holds with this probability is rejected in so many runs."""
    waiting, share_lost = {0: 1.0}, 0.0
    for runs in range(1, of + 1):
        after = {}
        for failed, share in waiting.items():
            for then, chance in ((failed, probability), (failed + 1, 1 - probability)):
                if hopeless(then, runs, stated, of):
                    share_lost += share * chance
                else:
                    after[then] = after.get(then, 0.0) + share * chance
        waiting = after
    return share_lost


def test_few_are_rejected_wrongly_and_most_of_the_others_soon():
    assert lost(0.95, 0.95, 20) == pytest.approx(0.28, abs=0.005)  # as its documentation says
    assert lost(0.99, 0.95, 20) < 0.03
    assert lost(0.5, 0.95, 2) == pytest.approx(0.75)  # the first failure is enough, and so are two
    assert lost(0.5, 0.95, 20) > 0.9999
    for stated in (0.5, 0.8, 0.9, 0.99):
        assert lost(1 - (1 - stated) / 5, stated, 20) < 0.04


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.95])
def test_what_never_failed_is_not_rejected_and_what_cannot_reach_the_share_any_more_is(probability):
    for of in (1, 5, 20):
        for runs in range(1, of + 1):
            assert not hopeless(0, runs, probability, of)
            too_many = math.floor(of * (1 - probability) + 1e-9) + 1
            assert runs < too_many or hopeless(too_many, runs, probability, of)


@given(st.integers(1, 200).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))), st.floats(0.5, 0.99))
def test_the_lower_bound_is_that_of_clopper_and_pearson(counts, confidence):
    held, runs = counts
    expected = binomtest(held, runs, alternative="greater").proportion_ci(confidence, method="exact").low
    assert interval(held, runs, confidence)[0] == pytest.approx(expected, abs=1e-9)
