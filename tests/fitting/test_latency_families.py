"""Latency distributions: the likeliest parameters, timeouts, the choice of a family, and how well it fits."""

import math
import pickle

import numpy as np
import pytest
from effort import sliced
from scipy import optimize, stats

from simulation.fitting.estimate import rate, share
from simulation.fitting.families import (
    FAMILIES,
    Sample,
    exponential,
    gamma,
    lognormal,
    mixture,
    normal,
    pareto,
    uniform,
)
from simulation.fitting.latency import fit_latency

P99 = stats.norm.ppf(0.99)


def cut(values, limit):
    """A sample of which what takes longer than the limit has timed out."""
    return Sample(values[values <= limit], np.full(np.count_nonzero(values > limit), limit))


def best(values, resamples=0, limit=math.inf):
    return fit_latency(cut(values, limit), "all", resamples=resamples, random=np.random.default_rng(0))


@pytest.fixture
def random():
    return np.random.default_rng(7)


def test_a_lognormal_has_the_parameters_that_scipy_finds(random):
    values = random.lognormal(-2.0, 0.8, 400)
    found = lognormal(Sample(values))
    sigma, _, median = stats.lognorm.fit(values, floc=0)
    assert found.parameters["median"].value == pytest.approx(median, rel=1e-6)
    assert found.parameters["p99"].value == pytest.approx(median * math.exp(P99 * sigma), rel=1e-6)
    assert found.log_likelihood == pytest.approx(stats.lognorm.logpdf(values, sigma, 0, median).sum())


def test_an_exponential_with_timeouts_spends_all_the_time_on_those_that_answered(random):
    sample = cut(random.exponential(0.2, 500), 0.25)
    found = exponential(sample)
    mean = (sample.seen.sum() + sample.censored.sum()) / len(sample.seen)
    assert found.parameters["mean"].value == pytest.approx(mean, rel=1e-5)


def test_a_lognormal_with_timeouts_is_that_of_scipys_censored_fit(random):
    values = random.lognormal(-2.0, 0.8, 300)
    sample = cut(values, 0.3)
    found = lognormal(sample)
    data = stats.CensoredData(uncensored=np.log(sample.seen), right=np.log(sample.censored))
    mu, sigma = stats.norm.fit(data)
    assert found.parameters["median"].value == pytest.approx(math.exp(mu), rel=1e-3)
    assert found.parameters["p99"].value == pytest.approx(math.exp(mu + P99 * sigma), rel=1e-3)


def test_a_gamma_has_the_parameters_that_scipy_finds(random):
    values = random.gamma(2.5, 0.04, 400)
    found = gamma(Sample(values))
    shape, _, scale = stats.gamma.fit(values, floc=0)
    assert found.parameters["shape"].value == pytest.approx(shape, rel=1e-5)
    assert found.parameters["mean"].value == pytest.approx(values.mean())
    assert found.log_likelihood == pytest.approx(stats.gamma.logpdf(values, shape, 0, scale).sum())
    # The two are independent of each other in the limit: the mean's interval is that of any mean.
    error = values.mean() / math.sqrt(shape * len(values))
    assert found.parameters["mean"].high == pytest.approx(values.mean() + 1.96 * error, rel=0.01)


def test_a_gamma_with_timeouts_is_that_of_scipys_censored_fit(random):
    sample = cut(random.gamma(2.5, 0.04, 300), 0.15)
    found = gamma(sample)
    data = stats.CensoredData(uncensored=sample.seen, right=sample.censored)
    shape, _, scale = stats.gamma.fit(data, floc=0)
    assert found.parameters["shape"].value == pytest.approx(shape, rel=1e-3)
    assert found.parameters["mean"].value == pytest.approx(shape * scale, rel=1e-3)


def test_an_exponential_is_not_taken_for_a_gamma(random):
    families = [best(random.exponential(0.2, 100)).fit.family for _ in range(40)]
    assert families.count("gamma") <= 1


def test_a_normal_cut_at_0_counts_its_zeros(random):
    values = np.maximum(0.0, random.normal(0.1, 0.1, 2000))
    found = normal(Sample(values))
    assert found.parameters["mean"].value == pytest.approx(0.1, abs=0.01)
    assert found.parameters["sd"].value == pytest.approx(0.1, abs=0.01)
    assert values.mean() > found.parameters["mean"].high  # which is what ignoring them would say


def test_a_pareto_and_a_uniform_have_their_ends_in_exact_intervals(random):
    truth = {"minimum": 0.03, "alpha": 1.8, "low": 0.05, "high": 0.3}
    covered = dict.fromkeys(truth, 0)
    for _ in range(100):
        power = pareto(Sample(0.03 * np.exp(random.exponential(1 / 1.8, 50))))
        flat = uniform(Sample(random.uniform(0.05, 0.3, 50)))
        for name, found in {**power.parameters, **flat.parameters}.items():
            covered[name] += found.contains(truth[name])
    assert power.parameters["minimum"].high == power.parameters["minimum"].value >= 0.03
    assert flat.parameters["high"].low == flat.parameters["high"].value <= 0.3
    # Exact intervals of 95%: fewer than 82 of 100, with a chance below 1e-6.
    assert stats.binom.cdf(81, 100, 0.95) < 1e-6
    assert min(covered.values()) >= 82


def test_a_uniform_that_is_cut_off_reaches_beyond_the_timeout(random):
    found = uniform(cut(random.uniform(0.0, 1.0, 1000), 0.6))
    assert found.parameters["high"].contains(1.0)
    assert found.parameters["high"].low > 0.6


def test_a_mixture_finds_both_of_its_parts(random):
    fast, slow = random.lognormal(math.log(0.05), 0.2, 3000), random.lognormal(math.log(2.0), 0.3, 1000)
    found = best(np.concatenate([fast, slow]))
    assert found.fit.family == "mixture"
    truth = {
        "weight.0": 0.75,
        "median.0": 0.05,
        "median.1": 2.0,
        "p99.0": 0.05 * math.exp(0.2 * P99),
        "p99.1": 2.0 * math.exp(0.3 * P99),
    }
    for name, value in truth.items():
        assert found.fit.parameters[name].value == pytest.approx(value, rel=0.06)


def test_a_mixture_is_a_maximum_of_its_likelihood(random):
    sample = Sample(np.concatenate([random.lognormal(-3.0, 0.3, 300), random.lognormal(0.0, 0.5, 100)]))
    found = mixture(sample)

    def cost(theta):
        weight, first, a, second, b = theta
        logs = np.log(sample.seen)
        parts = stats.norm.logpdf(logs, first, a), stats.norm.logpdf(logs, second, b)
        return -float(np.sum(np.logaddexp(math.log(weight) + parts[0], math.log1p(-weight) + parts[1]) - logs))

    start = [0.75, -3.0, 0.3, 0.0, 0.5]
    bounds = [(0.1, 0.9), (-5, -1), (0.05, 2), (-1, 2), (0.05, 2)]
    assert found.log_likelihood == pytest.approx(-optimize.minimize(cost, start, bounds=bounds).fun, abs=1e-3)


@pytest.mark.parametrize("size", sliced([200, 5000], 4, 1))
@pytest.mark.parametrize("limit", [math.inf, 0.6])
@pytest.mark.parametrize(
    ("family", "draw"),
    [
        ("constant", lambda random, size: np.full(size, 0.2)),
        ("exponential", lambda random, size: random.exponential(0.2, size)),
        ("lognormal", lambda random, size: random.lognormal(math.log(0.1), 1.0, size)),
        ("normal", lambda random, size: np.maximum(0.0, random.normal(0.3, 0.1, size))),
        ("uniform", lambda random, size: random.uniform(0.05, 0.5, size)),
        ("gamma", lambda random, size: random.gamma(4.0, 0.05, size)),
        ("pareto", lambda random, size: 0.03 * np.exp(random.exponential(1 / 1.5, size))),
    ],
)
def test_the_family_is_recognised_and_fits(random, family, draw, size, limit):
    found = best(draw(random, size), 50, limit)
    assert (found.fit.family, found.fit.lost) == (family, 0.0)
    assert found.goodness.distance_p is None or found.goodness.distance_p > 0.01
    assert not found.is_empirical


def test_all_families_come_out_of_a_pickle_as_they_were(random):
    """A fit is kept, or goes to another process, with all that were tried."""
    halves = np.concatenate([random.lognormal(-3.0, 0.2, 300), random.lognormal(0.0, 0.2, 300)])
    fits = [fit for found in (best(halves), best(np.full(5, 0.25))) for fit in (found.fit, *found.others)]
    assert {fit.family for fit in fits} == {*(family.__name__ for family in FAMILIES), "mixture"}
    for fit in fits:
        taken = pickle.loads(pickle.dumps(fit))
        assert np.array_equal(taken.cdf(halves), fit.cdf(halves))
        drawn, drawn_again = (each.draw(np.random.default_rng(1), 9) for each in (fit, taken))
        assert np.array_equal(drawn, drawn_again)
        assert (taken.family, taken.parameters) == (fit.family, fit.parameters)


def test_what_no_family_fits_is_taken_as_measured(random):
    values = np.concatenate([random.normal(centre, 0.005, 400) for centre in (0.1, 0.2, 0.3, 0.4, 0.5)])
    found = best(values, 200)
    assert found.goodness.distance_p <= 0.01
    assert found.is_empirical
    measured = found.measured(100)
    assert len(measured) == 100
    assert np.quantile(measured, 0.5) == pytest.approx(np.quantile(values, 0.5), abs=0.01)


@pytest.mark.thorough
def test_p_values_are_spread_evenly_where_the_family_is_the_right_one():
    values = []
    for seed in range(50):
        sample = Sample(np.random.default_rng(seed).lognormal(-2.0, 0.8, 60))
        found = fit_latency(sample, "all", resamples=19, random=np.random.default_rng(seed))
        if found.fit.family == "lognormal":
            values.append(found.goodness.distance_p)
    # Tables that take the parameters for known would have hardly any below one half.
    assert len(values) > 20
    assert stats.kstest(values, "uniform").pvalue > 1e-4


def test_more_timeouts_than_the_tail_explains_are_lost_replies(random):
    values = random.lognormal(math.log(0.1), 0.5, 3000)
    lost = random.random(3000) < 0.05
    sample = Sample(values[~lost], np.full(np.count_nonzero(lost), 3.0))
    found = fit_latency(sample, "all", resamples=0, random=random)
    assert found.fit.family == "lognormal"
    assert found.fit.lost == pytest.approx(lost.mean(), abs=0.002)
    assert found.fit.parameters["median"].contains(0.1)


def test_shares_and_rates_have_exact_intervals():
    # Clopper and Pearson's own condition: each end leaves 2.5% beyond what was seen.
    found = share(3, 40)
    assert stats.binom.sf(2, 40, found.low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 40, found.high) == pytest.approx(0.025)
    assert (share(0, 10).low, share(10, 10).high, share(0, 0).high) == (0.0, 1.0, 1.0)
    found = rate(7, 2.0)
    assert stats.poisson.sf(6, 2.0 * found.low) == pytest.approx(0.025)
    assert stats.poisson.cdf(7, 2.0 * found.high) == pytest.approx(0.025)
