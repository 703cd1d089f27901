"""Partial outages, brownouts in which a share hangs, and what a log cannot tell."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

import simulation
from actors.errors import ConfigurationError
from simulation.fitting import failing as failures
from simulation.fitting.calibration import lines_of
from simulation.fitting.document import document, scenario_data
from simulation.fitting.failing import ALPHA, INSIDE, LEVELS, _stretches, find_windows

SCORES = st.tuples(st.floats(0.1, 4.0), st.floats(-4.0, -0.1))


def best_value(hit, scores, price):
    """By trying all sets of stretches that do not overlap, each at any level."""
    ends = [0.0]
    for end in range(1, len(hit) + 1):
        totals = [
            ends[first] + sum(gain if each else loss for each in hit[first:end]) - price
            for first in range(end)
            for gain, loss in scores
        ]
        ends.append(max([ends[-1], *totals]))
    return ends[-1]


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.lists(SCORES, min_size=1, max_size=4), st.floats(0.1, 10.0))
def test_stretches_at_several_levels_are_the_best_set_there_is(hit, scores, price):
    found = _stretches(np.array(hit), scores, price)
    value = sum(sum(scores[level][not each] for each in hit[first : last + 1]) - price for first, last, level in found)
    assert value == pytest.approx(best_value(hit, scores, price), abs=1e-9)
    assert all(first <= last < following for (first, last, _), (following, *_) in itertools.pairwise(found))


def test_a_search_at_all_levels_is_as_rarely_wrong_as_one_at_a_single_level():
    random = np.random.default_rng(1)
    runs = 1200
    false = sum(
        bool(find_windows(random.random(500) < rate, np.arange(500.0), levels=LEVELS))
        for rate in itertools.islice(itertools.cycle([0.002, 0.02, 0.2, 0.5]), runs)
    )
    assert false <= runs * ALPHA + 5.0 * math.sqrt(runs * ALPHA)


def test_the_chance_of_a_window_counts_every_level_that_was_tried():
    hit = (np.arange(300.0) >= 100.0) & (np.arange(300.0) < 140.0)
    (one,) = find_windows(hit, np.arange(300.0))
    (several,) = find_windows(hit, np.arange(300.0), levels=LEVELS)
    assert (several.first, several.last, several.level) == (one.first, one.last, INSIDE)
    assert several.log10_chance == pytest.approx(one.log10_chance + math.log10(len(LEVELS)))


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.32, 0.5, 0.7, 0.9])
def test_a_share_between_two_levels_is_one_window(rate):
    random = np.random.default_rng(round(100 * rate))
    start_s = np.arange(0.0, 4000.0)
    hit = (random.random(4000) < rate) & (start_s >= 1000.0) & (start_s < 2500.0)
    (window,) = find_windows(hit, start_s, levels=LEVELS)
    assert window.start_s.low <= 1000.0 + 1.0
    assert window.start_s.high >= 999.0
    assert window.hits == np.count_nonzero(hit)


@pytest.mark.parametrize(("usual", "rate"), [(0.1, 0.4), (0.3, 0.6), (0.05, 0.2), (0.0, 0.04)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
def test_a_long_window_does_not_hide_itself_by_what_it_makes_usual(usual, rate, share):
    random = np.random.default_rng(5)
    start_s = np.arange(0.0, 8000.0)
    inside = (start_s >= 1000.0) & (start_s < 1000.0 + 8000.0 * share)
    (window,) = find_windows(random.random(8000) < np.where(inside, rate, usual), start_s, levels=LEVELS)
    assert window.attempts == pytest.approx(8000.0 * share, rel=0.1)


def test_a_total_outage_within_a_partial_one_stands_for_itself():
    random = np.random.default_rng(3)
    start_s = np.arange(0.0, 3000.0)
    partial = (random.random(3000) < 0.3) & (start_s >= 500.0) & (start_s < 2500.0)
    hit = partial | ((start_s >= 1000.0) & (start_s < 1100.0))
    found = find_windows(hit, start_s, levels=LEVELS)
    assert [window.level == INSIDE for window in found] == [False, True, False]
    assert found[1].start_s.contains(1000.0)


def is_about(estimate, truth):
    """Return whether a value is within three times the interval, of which one in twenty misses it."""
    width = estimate.high - estimate.low
    return estimate.low - width <= truth <= estimate.high + width


def log(faults, *, seed=3, timeout="4s", minutes=12, provider="{latency: {lognormal: {median: 300ms, p99: 2s}}}"):
    return simulation.run(
        simulation.parse(
            f"seed: {seed}\nduration: {minutes}m\nworkload: [{{channel: sms, arrivals: {{poisson: 4/s}}}}]\n"
            f"channels: {{sms: {{timeout: {timeout}, circuit_breaker: {{enabled: false}}, "
            f"retry: {{max_attempts: 4, jitter: full}}, provider: {provider}}}}}\nfaults: [{faults}]\n"
        )
    ).attempts


@pytest.fixture(scope="module")
def partial():
    return simulation.fit(log("{channel: sms, at: 5m, for: 5m, failure_rate: 35%}"), resamples=0)


HALF = "{mixture: [{weight: 50, constant: 30s}, {weight: 50, lognormal: {median: 600ms, p99: 3s}}]}"


@pytest.fixture(scope="module")
def half_hung():
    attempts = log(f"{{channel: sms, at: 5m, for: 5m, latency: {HALF}}}")
    return {kind: simulation.fit(attempts, resamples=0, timeouts=kind) for kind in (None, "hang", "lost_reply")}


def test_a_partial_outage_is_a_window_with_a_rate(partial):
    found = partial.providers["sms"].failing
    (outage,) = found.outages
    assert outage.is_partial
    assert is_about(outage.window.start_s, 300.0)
    assert is_about(outage.window.end_s, 600.0)
    assert is_about(outage.rates["failure_rate"], 0.35)
    assert found.rates["failure_rate"].value == 0.0
    assert found.bursts is None
    assert not found.is_unexplained


def test_its_scenario_and_its_report_have_the_window(partial):
    (fault,) = scenario_data(partial, "x")[0]["faults"]
    assert 33.0 < float(fault["failure_rate"].removesuffix("%")) < 37.0
    assert fault["at"].startswith(("299", "300"))
    lines = [line.setting.strip() for line in lines_of(partial.providers["sms"])]
    at = lines.index("partial outage at")
    assert lines[at : at + 3] == ["partial outage at", "until", "failure_rate"]
    (outage,) = document(partial)["providers"]["sms"]["failing"]["outages"]
    assert outage["rates"]["failure_rate"]["value"] == pytest.approx(0.35, abs=0.03)


def test_a_rate_is_what_the_window_adds_to_the_usual_one():
    provider = "{latency: 100ms, failure_rate: 10%}"
    found = simulation.fit(log("{channel: sms, at: 5m, for: 5m, failure_rate: 30%}", provider=provider), resamples=0)
    failing = found.providers["sms"].failing
    (outage,) = failing.outages
    assert is_about(failing.rates["failure_rate"], 0.1)
    assert is_about(outage.rates["failure_rate"], 0.3)


@pytest.mark.slow
def test_intervals_of_partial_outages_and_brownouts_hold_in_90_of_100_logs():
    missed, tries = Counter(), 60
    for seed in range(tries):
        random = np.random.default_rng(seed)
        start = np.cumsum(random.exponential(0.25, 2900))
        inside = (start >= 300.0) & (start < 600.0)
        usual, slow = (
            median * np.exp(math.log(p99 / median) / 2.32635 * random.standard_normal(2900))
            for median, p99 in ((0.3, 2.0), (0.6, 3.0))
        )
        failed = random.random(2900) < np.where(inside, 0.4, 0.1)
        frame = {"time": start, "latency": np.minimum(usual, 3.999), "outcome": np.where(failed, "failed", "ok")}
        failing = simulation.fit(pd.DataFrame(frame), resamples=0).providers["email"].failing
        (outage,) = failing.outages
        took = np.where(inside, np.where(random.random(2900) < 0.5, 30.0, slow), usual)
        frame = {"time": start, "latency": np.minimum(took, 4.0), "outcome": np.where(took > 4.0, "timeout", "ok")}
        (brownout,) = simulation.fit(pd.DataFrame(frame), resamples=0).providers["email"].brownouts
        found = {
            "start": (outage.window.start_s, 300.0),
            "end": (outage.window.end_s, 600.0),
            "added": (outage.rates["failure_rate"], 0.3),
            "usual": (failing.rates["failure_rate"], 0.1),
            "slow from": (brownout.window.start_s, 300.0),
            "slow until": (brownout.window.end_s, 600.0),
            "unanswered": (brownout.unanswered, 0.5),
            "median": (brownout.latency.fit.parameters["median"], 0.6),
            "p99": (brownout.latency.fit.parameters["p99"], 3.0),
        }
        missed.update(name for name, (estimate, truth) in found.items() if not estimate.contains(truth))
    assert not missed or max(missed.values()) <= tries / 10, missed


@pytest.mark.thorough
def test_half_that_hang_are_one_brownout_with_a_latency_of_its_own(half_hung):
    provider = half_hung[None].providers["sms"]
    (brownout,) = provider.brownouts
    assert provider.failing.outages == ()
    assert provider.lost_reply_rate is None
    assert is_about(brownout.window.start_s, 300.0)
    assert is_about(brownout.unanswered, 0.5)
    parameters = brownout.latency.fit.parameters
    assert is_about(parameters["median"], 0.6)
    assert is_about(parameters["p99"], 3.0)
    assert is_about(provider.latency.fit.parameters["median"], 0.3)


def test_a_hang_and_a_lost_reply_are_said_to_be_either_and_both_scenarios_can_be_had(half_hung, tmp_path):
    assert any("no log can tell" in note for note in half_hung[None].providers["sms"].notes)
    (hang,) = scenario_data(half_hung["hang"], "x")[0]["faults"]
    (lost,) = scenario_data(half_hung["lost_reply"], "x")[0]["faults"]
    assert "lost_reply_rate" not in hang
    assert hang["latency"]["mixture"][-1]["constant"] == "3600s"
    assert 45.0 < float(lost["lost_reply_rate"].removesuffix("%")) < 55.0
    assert (hang["at"], hang["for"]) == (lost["at"], lost["for"])
    for kind in ("hang", "lost_reply"):
        path = tmp_path / f"{kind}.yaml"
        simulation.save(half_hung[kind], path)
        sets = ["channels.sms.timeout=4s", "channels.sms.circuit_breaker.enabled=false", "drain=2m"]
        result = simulation.run(path, sets=sets)
        outcomes = result.attempts["outcome"].value_counts(normalize=True)
        assert outcomes["ambiguous"] == pytest.approx(0.25, abs=0.06)


def test_a_total_hang_is_either_too():
    attempts = log("{channel: sms, at: 2m, for: 40s, hang: true}", minutes=5)
    faults = {
        kind: scenario_data(simulation.fit(attempts, resamples=0, timeouts=kind), "x")[0]["faults"]
        for kind in ("hang", "lost_reply")
    }
    assert [fault.get("hang") for fault in faults["hang"]] == [True]
    assert [fault.get("lost_reply_rate") for fault in faults["lost_reply"]] == ["100%"]


def test_lost_replies_everywhere_may_be_hangs():
    attempts = log("{channel: sms, lost_reply_rate: 6%}", minutes=8)
    hangs = scenario_data(simulation.fit(attempts, resamples=0, timeouts="hang"), "x")[0]["faults"]
    lost = scenario_data(simulation.fit(attempts, resamples=0), "x")[0]["faults"]
    assert [set(fault) for fault in lost] == [{"channel", "lost_reply_rate"}]
    assert [set(fault) for fault in hangs] == [{"channel", "latency"}]
    assert hangs[0]["latency"]["mixture"][-1]["weight"] == pytest.approx(6.0, abs=1.5)


def test_slow_answers_alone_are_no_hang():
    attempts = log("{channel: sms, at: 3m, for: 4m, latency_factor: 6}", minutes=10)
    provider = simulation.fit(attempts, resamples=0).providers["sms"]
    (brownout,) = provider.brownouts
    assert brownout.unanswered is None
    assert provider.failing.outages == ()


def test_a_brownout_in_which_some_time_out_is_one_window_as_its_slow_answers_have_it():
    attempts = log("{channel: sms, at: 4m, for: 2m, latency_factor: 5}", minutes=8, seed=12)
    provider = simulation.fit(attempts, resamples=0).providers["sms"]
    (brownout,) = provider.brownouts
    assert is_about(brownout.window.start_s, 240.0)
    assert brownout.window.start_s.high - brownout.window.start_s.low < 15.0
    assert provider.failing.outages == ()


def test_what_is_clustered_and_not_explained_is_said(monkeypatch):
    monkeypatch.setattr(failures, "find_windows", lambda *_args, **_kwargs: [])
    monkeypatch.setattr(failures, "candidate", lambda *_args: None)
    start = np.arange(0.0, 2000.0)
    failed = (start % 200.0 < 20.0).astype(bool)
    frame = pd.DataFrame({"time": start, "latency": 0.1, "outcome": np.where(failed, "failed", "ok")})
    (provider,) = simulation.fit(frame, resamples=0).providers.values()
    assert any("not explained" in note for note in provider.notes)
    evenly = frame.assign(outcome=np.where(start % 10.0 == 0.0, "failed", "ok"))
    (provider,) = simulation.fit(evenly, resamples=0).providers.values()
    assert not any("not explained" in note for note in provider.notes)


def test_what_timeouts_are_is_one_of_two_words():
    with pytest.raises(ConfigurationError, match="wanted hang or lost_reply, got 'both'"):
        simulation.fit(pd.DataFrame({"time": [0.0], "outcome": ["ok"]}), timeouts="both")
