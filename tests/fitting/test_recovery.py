"""Fits find what is known about a log: each parameter within its 95% interval as often as that says."""

from collections import Counter

import numpy as np
import pytest
from effort import sliced
from known_logs import SIMULATED, drawn_log, found_in, misses
from scipy import stats

import simulation

FALSE_ALARM = 1e-6
MISSED = 0.07
"""More than an interval of 95% should miss, as those of few spells are only about right."""


def most_misses(tries, parameters):
    """Return how many misses of one parameter in so many tries are still chance."""
    return int(stats.binom.isf(FALSE_ALARM / parameters, tries, MISSED))


@pytest.mark.parametrize(
    ("name", "tries"),
    sliced(
        [
            ("two hundred", 15),
            ("timeouts", 4),
            ("an outage behind a breaker", 3),
            ("a brownout", 4),
        ],
        8,
    ),
)
def test_what_is_known_is_within_the_intervals(name, tries):
    number, known = next((number, known) for number, known in enumerate(SIMULATED) if known.name == name)
    missed = Counter()
    for seed in range(tries):
        missed.update(misses(known, 1000 * number + seed))
    allowed = most_misses(tries, len(known.truth) + len(known.absent) + 1)
    assert not missed or max(missed.values()) <= allowed, missed


@pytest.mark.slow
@pytest.mark.parametrize("known", SIMULATED, ids=lambda known: known.name)
def test_each_parameter_is_within_its_interval_in_90_of_100_tries(known):
    number = SIMULATED.index(known)
    missed = Counter()
    for seed in range(100):
        missed.update(misses(known, 10_000 + 1000 * number + seed))
    assert not missed or max(missed.values()) <= 10, missed


@pytest.mark.thorough
def test_a_log_by_plain_draws_gives_back_its_bursts():
    truth = {"failure_rate": 0.02, "burst.failure_rate": 0.6, "burst.mean_good": 80.0, "burst.mean_bad": 8.0}
    tries, missed = 4, Counter()
    for seed in range(tries):
        log = drawn_log(np.random.default_rng(seed), 4000, 5.0, (80.0, 8.0), failure_rate=0.02, bad_rate=0.6)
        found = found_in(simulation.fit(log, resamples=0))
        missed.update(name for name, value in truth.items() if name not in found or not found[name].contains(value))
    assert not missed or max(missed.values()) <= most_misses(tries, len(truth)), missed


def test_failures_that_are_independent_are_no_bursts_and_no_outages():
    for seed, failure_rate in enumerate([0.0, 0.001, 0.01, 0.1, 0.4, 0.8] * 3):
        log = drawn_log(np.random.default_rng(seed), 3000, 5.0, failure_rate=failure_rate)
        failing = simulation.fit(log, resamples=0).providers["email"].failing
        assert (failing.bursts, failing.outages) == (None, ())


@pytest.mark.slow
def test_a_million_attempts_are_fitted_and_known_to_the_digit():
    log = drawn_log(np.random.default_rng(1), 1_000_000, 28.0, (300.0, 20.0))
    found = found_in(simulation.fit(log))
    for name, truth in {"failure_rate": 0.01, "burst.failure_rate": 0.9, "median": 0.08, "p99": 0.9}.items():
        assert found[name].value == pytest.approx(truth, rel=0.03)
    assert found["burst.mean_good"].low < 300.0 < found["burst.mean_good"].high
    assert not any(name.startswith("outage") for name in found)
