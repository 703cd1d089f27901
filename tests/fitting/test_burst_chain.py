"""The likelihood of the burst model, against the plain forward recursion; and when bursts are claimed."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from known_logs import drawn_log
from scipy import linalg, special

import simulation
from simulation.fitting.bursts import _Chain, candidate, clustering


def forward(hit, start_s, theta):
    """The forward algorithm, one attempt after the other, with matrix exponentials."""
    good, bad = special.expit(theta[0]), special.expit(theta[1])
    leave_good, leave_bad = math.exp(-theta[2]), math.exp(-theta[3])
    generator = np.array([[-leave_good, leave_good], [leave_bad, -leave_bad]])
    state = np.array([leave_bad, leave_good]) / (leave_good + leave_bad)
    log = 0.0
    for number, failed in enumerate(hit):
        if number:
            state = state @ linalg.expm(generator * (start_s[number] - start_s[number - 1]))
        state = state * (np.array([good, bad]) if failed else np.array([1.0 - good, 1.0 - bad]))
        log += math.log(state.sum())
        state = state / state.sum()
    return log


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 100.0)), min_size=1, max_size=40),
    st.tuples(*[st.floats(-6.0, 6.0)] * 2, *[st.floats(-3.0, 6.0)] * 2),
)
def test_the_likelihood_is_that_of_the_forward_algorithm(attempts, theta):
    hit = np.array([failed for failed, _ in attempts])
    start_s = np.cumsum([gap for _, gap in attempts])
    found = _Chain.of(hit, start_s).log_likelihood(np.array(theta))
    assert found == pytest.approx(forward(hit, start_s, theta), rel=1e-9, abs=1e-9)


def test_blocks_of_attempts_have_the_likelihood_of_their_outcomes():
    hit = np.array([True, True, False, False, False, True])
    chain = _Chain.of(hit, np.zeros(6)).in_blocks(3)
    # At one instant the state is one: all in it are binomial.
    theta = np.array([-1.0, 2.0, 1.0, 0.0])
    assert chain.log_likelihood(theta) == pytest.approx(_Chain.of(hit, np.zeros(6)).log_likelihood(theta))


def test_the_likelihood_of_a_long_log_is_not_too_small_for_a_float():
    hit = np.arange(200_000) % 7 == 0
    chain = _Chain.of(hit, np.arange(200_000.0))
    for each in (chain, chain.in_blocks(1000)):
        assert math.isfinite(each.log_likelihood(np.array([-12.0, -11.0, 1.0, 1.0])))


def test_independent_failures_are_not_clustered_and_spells_are():
    random = np.random.default_rng(3)
    assert max(clustering(random.random(2000) < 0.1) for _ in range(20)) < 6.0
    log = drawn_log(random, 2000, 5.0, (60.0, 10.0))
    assert clustering((log.outcome == "failed").to_numpy()) > 20.0


def test_too_little_to_make_bursts_of_is_none():
    assert candidate(np.zeros(100, bool), np.arange(100.0)) is None
    assert candidate(np.ones(100, bool), np.arange(100.0)) is None
    assert candidate(np.arange(100) % 2 == 0, np.zeros(100)) is None


@pytest.mark.thorough
def test_one_outage_is_a_window_and_many_are_bursts():
    log = drawn_log(np.random.default_rng(5), 6000, 5.0)
    once = (log.time >= 300.0) & (log.time < 330.0)
    often = (log.time % 100.0) < 8.0
    for bad, windows in ((once, 1), (often, 0)):
        failing = (
            simulation.fit(log.assign(outcome=log.outcome.mask(bad, "failed")), resamples=0).providers["email"].failing
        )
        assert len(failing.outages) == windows
        assert (failing.bursts is None) == (windows == 1)
    assert failing.bursts.mean_bad.contains(8.0)


def test_an_outage_among_bursts_is_told_from_them():
    log = drawn_log(np.random.default_rng(6), 12_000, 5.0, (60.0, 6.0))
    long = (log.time >= 1000.0) & (log.time < 1200.0)
    failing = (
        simulation.fit(log.assign(outcome=log.outcome.mask(long, "failed")), resamples=0).providers["email"].failing
    )
    (outage,) = failing.outages
    # A bad spell may have been under way when it began, or when it ended.
    assert abs(outage.window.start_s.value - 1000.0) < 40.0
    assert abs(outage.window.end_s.value - 1200.0) < 40.0
    assert 3.0 < failing.bursts.mean_bad.value < 12.0
