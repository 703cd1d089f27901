"""Recorded outcomes under other policies: as they were under the same ones, and as a simulation has it under others."""

import json
from random import Random

import numpy as np
import pandas as pd
import pytest
from console_command import app
from effort import sliced
from typer.testing import CliRunner

import simulation
from actors.errors import ConfigurationError
from actors.outcomes import Sent, Transient
from simulation.fitting.log import OutcomeKind
from simulation.fitting.reading import read_log
from simulation.fitting.whatif import RecordedProvider
from simulation.results.statistics import student_t
from simulation.scenario import parse

pytestmark = pytest.mark.usefixtures("undrawn")

SCENARIO = """
name: policies
duration: 2m
workload:
  - {channel: email, arrivals: {poisson: 5/s}}
channels:
  email:
    retry: {max_attempts: ATTEMPTS, initial_delay: 1s, jitter: full}
    circuit_breaker: {enabled: BREAKER, failure_threshold: 8, timeout: 20s}
    timeout: 3s
    provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}, failure_rate: 20%}
faults:
  - {channel: email, at: 40s, for: 20s, outage: true}
"""
FIGURES = ("retry_amplification", "sent_fraction")


def policies(attempts, breaker="false", seed=0):
    text = SCENARIO.replace("ATTEMPTS", str(attempts)).replace("BREAKER", breaker)
    return parse(f"seed: {seed}\n{text}")


def replayed(recorded, scenario):
    figures = simulation.whatif(recorded, scenario, replicates=1).channels["email"]
    return [figures[name].mean for name in FIGURES]


@pytest.mark.parametrize(("attempts", "breaker"), sliced([(3, "false"), (8, "false"), (8, "true")], 6, 2))
def test_a_record_predicts_what_a_simulation_has_under_these_policies(attempts, breaker):
    runs = 8
    predicted, true, recorded = [], [], []
    for seed in range(runs):
        log = simulation.run(policies(3, seed=seed))
        predicted.append(replayed(log.attempts, policies(attempts, breaker, 100 + seed)))
        real = simulation.run(policies(attempts, breaker, 200 + seed)).summary
        true.append([real[name] for name in FIGURES])
        recorded.append([log.summary[name] for name in FIGURES])
    difference = np.mean(predicted, axis=0) - np.mean(true, axis=0)
    spread = np.sqrt((np.var(predicted, axis=0, ddof=1) + np.var(true, axis=0, ddof=1)) / runs)
    # Both are means of independent runs: further apart than this once in a million.
    reach = student_t(1.0 - 0.5e-6, 2 * runs - 2) * spread
    assert (np.abs(difference) <= reach).all(), (difference, reach)
    if attempts != 3:  # and the record itself is no such prediction
        assert (np.abs(np.mean(recorded, axis=0) - np.mean(true, axis=0)) > np.abs(difference)).all()


def test_the_same_policies_give_the_figures_of_the_record():
    log = simulation.run(policies(3, seed=5)).attempts
    found = simulation.whatif(log, policies(3), replicates=6)
    figures = found.channels["email"]
    assert figures["notifications"].difference == 0.0
    for name in ("attempts", "failures", "sent_fraction"):
        assert abs(figures[name].difference) < 3.0 * figures[name].half_width
    assert figures["p50_s"].difference == pytest.approx(0.0, abs=0.05)


def test_the_same_seed_gives_the_same_replay_and_another_one_another():
    log = simulation.run(policies(3, seed=5)).attempts
    first, again, other = (simulation.whatif(log, policies(4), replicates=1, seed=s).document for s in (1, 1, 2))
    assert first == again
    assert first["channels"] != other["channels"]


def provider(frame, **settings):
    return RecordedProvider(read_log(pd.DataFrame(frame)), Random(1), **settings)


def outcomes(provider, at_s, times=200):
    return [provider.attempt(None, round(at_s * 1e9)) for _ in range(times)]


def test_an_attempt_ends_as_those_did_that_were_recorded_about_then():
    frame = {
        "time": np.arange(0.0, 100.0, 0.1),
        "latency": np.arange(1000) / 1000.0,
        "outcome": np.where((np.arange(1000) >= 400) & (np.arange(1000) < 600), "failed", "ok"),
    }
    recorded = provider(frame, within_s=1.0)
    assert {type(each.result) for each in outcomes(recorded, 20.0)} == {Sent}
    assert {type(each.result) for each in outcomes(recorded, 50.0)} == {Transient}
    assert {type(each.result) for each in outcomes(recorded, 40.0)} == {Sent, Transient}
    latencies = {each.delay_ns / 1e9 for each in outcomes(recorded, 20.0)}
    assert min(latencies) >= 0.19
    assert max(latencies) <= 0.21
    assert len(latencies) > 10  # and not the nearest one again and again


def test_in_a_gap_it_is_as_at_the_nearer_end_of_it():
    """An open breaker leaves such gaps: what failed before it failed in it, until something succeeds."""
    start = [*np.arange(0.0, 10.0, 0.5), *np.arange(70.0, 80.0, 0.5)]
    recorded = provider({"time": start, "latency": 0.1, "outcome": ["failed"] * 20 + ["ok"] * 20})
    assert {type(each.result) for each in outcomes(recorded, 25.0)} == {Transient}
    assert {type(each.result) for each in outcomes(recorded, 62.0)} == {Sent}


def test_after_the_end_more_than_the_very_last_one_is_drawn_from():
    start = np.arange(0.0, 100.0)
    recorded = provider({"time": start, "latency": 0.1, "outcome": ["ok"] * 99 + ["failed"]})
    later = [type(each.result) for each in outcomes(recorded, 5000.0)]
    assert 0 < later.count(Transient) < 100


def test_what_timed_out_never_answers_and_what_was_throttled_says_so():
    recorded = provider({"time": [0.0], "latency": [10.0], "outcome": ["timeout"]})
    assert recorded.attempt(None, 0).delay_ns > 1e18
    recorded = provider({"time": [0.0], "latency": [0.1], "outcome": ["429"]})
    assert recorded.attempt(None, 0).result.throttled


def test_arrivals_are_those_of_the_requests_where_the_log_has_them(tmp_path):
    result = simulation.run(policies(8, "true", seed=3))
    simulation.save(result, tmp_path)
    longest = simulation.whatif(tmp_path, policies(8, "true"), replicates=2).channels["email"]["max_s"]
    assert longest.recorded > 10.0
    assert longest.mean == pytest.approx(longest.recorded, rel=0.5)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"time": [0.0], "latency": [1.0]}, "wanted a column of outcomes"),
        ({"time": [], "latency": [], "outcome": []}, "wanted at least one attempt"),
    ],
)
def test_a_log_that_says_nothing_cannot_be_replayed(frame, said):
    with pytest.raises(ConfigurationError, match=said):
        simulation.whatif(pd.DataFrame(frame), policies(3))


def test_the_problems_of_both_files_come_together(tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        simulation.whatif(tmp_path / "none.csv", tmp_path / "none.yaml")
    assert len(refused.value.problems) == 2


def test_the_command_shows_both_and_says_what_it_cannot_know(tmp_path):
    log, file = tmp_path / "attempts.csv", tmp_path / "policies.yaml"
    attempts = simulation.run(policies(3, seed=5)).attempts
    attempts.assign(time=attempts.start_s, latency=attempts.end_s - attempts.start_s)[
        ["time", "latency", "outcome", "id", "attempt", "channel"]
    ].to_csv(log, index=False)
    file.write_text(SCENARIO.replace("ATTEMPTS", "3").replace("BREAKER", "false"))
    words = ["whatif", str(log), str(file), "--set", "channels.email.retry.max_attempts=8", "--replicates", "3"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("recorded", "replayed", "amplification", "sent at last", "cannot know", "seeds 0 to 2"):
        assert word in done.stdout
    document = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    figure = document["channels"]["email"]["retry_amplification"]
    assert figure["replayed"] > figure["recorded"] > 1.0
    assert len(figure["values"]) == 3
    assert CliRunner().invoke(app, [*words, "--within", "3"]).exit_code == 2
    assert CliRunner().invoke(app, ["whatif", str(log), str(tmp_path / "none.yaml")]).exit_code == 2


def test_a_channel_without_settings_has_the_defaults_and_a_fallback_its_simulated_provider():
    frame = pd.DataFrame({"time": range(20), "latency": 0.1, "outcome": "404", "channel": ["push"] * 10 + ["sms"] * 10})
    scenario = parse(
        "name: fallback\nduration: 1m\nworkload: [{channel: push, arrivals: {constant: 1/s}}]\n"
        "channels: {push: {fallback: {channel: email}}, email: {}}\n"
    )
    found = simulation.whatif(frame, scenario, replicates=1)
    assert any("says nothing of sms" in note for note in found.notes)
    assert any("nothing is recorded of email" in note for note in found.notes)
    assert found.channels["push"]["sent_fraction"].mean == 0.0
    assert (read_log(frame).kind == OutcomeKind.PERMANENT).all()
