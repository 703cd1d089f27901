"""What a fit says, and the scenario that it writes: accepted as it is, and like the log that it came from."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from console_command import app
from known_logs import drawn_log
from typer.testing import CliRunner

import simulation
from simulation.fitting.document import document
from simulation.fitting.estimate import duration, instant, per_second, percent
from simulation.fitting.provider_fit import fit_throttling
from simulation.scenario import load

pytestmark = pytest.mark.usefixtures("undrawn")

REAL = Path(__file__).parents[3] / "shared" / "data" / "request_latency.csv"


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """A saved run of two channels, one of which has an outage, in the file and in the fit."""
    directory = tmp_path_factory.mktemp("run")
    sets = ["duration=240s", "faults.0.at=60s", "faults.0.for=50s", "channels.email.circuit_breaker.enabled=false"]
    simulation.save(simulation.run("scenarios/provider-outage.yaml", sets=sets), directory)
    return directory, simulation.fit(directory, resamples=20)


@pytest.mark.thorough
def test_the_scenario_is_like_the_one_that_the_log_came_from(outage, tmp_path):
    _, fit = outage
    written = simulation.save(fit, tmp_path / "calibrated.yaml")
    assert written[0] == tmp_path / "calibrated.yaml"
    scenario = load(written[0])
    email, push = scenario.channels.email.provider, scenario.channels.push.provider
    assert email.latency.lognormal.median == pytest.approx(0.08, rel=0.05)
    assert email.latency.lognormal.p99 == pytest.approx(0.9, rel=0.1)
    assert email.failure_rate == pytest.approx(0.01, abs=0.005)
    assert push.failure_rate == pytest.approx(0.3, abs=0.04)
    (fault,) = scenario.faults
    assert (fault.outage, [str(channel) for channel in fault.channel]) == (True, ["email"])
    assert (fault.at, fault.for_) == (pytest.approx(60.0, abs=0.2), pytest.approx(50.0, abs=0.3))
    rates = {str(entry.channel): entry.arrivals for entry in scenario.workload}
    assert rates["email"].poisson.per_second == pytest.approx(20.0, rel=0.1)
    again = simulation.fit(simulation.run(scenario).attempts, resamples=0)
    for name in ("email", "push", "sms"):
        first, second = (each.providers[name].latency.fit.parameters["median"] for each in (fit, again))
        assert first.low < second.high
        assert second.low < first.high


def test_each_setting_says_where_it_came_from(outage, tmp_path):
    _, fit = outage
    simulation.save(fit, tmp_path / "calibrated.yaml")
    comment = [line for line in (tmp_path / "calibrated.yaml").read_text().splitlines() if line.startswith("#")]
    for word in ("median", "p99", "failure_rate", "outage at", "until"):
        (line,) = [line for line in comment if line.startswith("# email:") and f" {word} " in line]
        assert "[" in line
    assert f"{len(fit.log):,} attempts" in comment[0]


def test_a_fit_comes_out_of_a_pickle_as_it_was(outage, tmp_path):
    _, fit = outage
    taken = pickle.loads(pickle.dumps(fit))
    assert (repr(taken), document(taken)) == (repr(fit), document(fit))
    for each, name in ((fit, "one"), (taken, "another")):
        (tmp_path / name).mkdir()
        simulation.save(each, tmp_path / name / "calibrated.yaml")
    assert saved(tmp_path / "one") == saved(tmp_path / "another") != {}


def saved(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_command_prints_the_table_the_json_and_the_file(outage, tmp_path):
    directory, _ = outage
    out = tmp_path / "calibrated.yaml"
    done = invoke("fit", directory, "--channel", "email", "--out", out)
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("lognormal", "median", "failure_rate", "outage at", "None found: bursts", "Not looked for", str(out)):
        assert word in done.stdout
    assert "push" not in done.stdout
    assert invoke("run", out, "--set", "duration=20s").exit_code == 0
    done = invoke("fit", directory, "--channel", "email", "--json")
    document = json.loads(done.stdout)
    email = document["providers"]["email"]
    assert email["latency"]["parameters"]["median"]["low"] < 0.08 < email["latency"]["parameters"]["median"]["high"]
    (found,) = email["failing"]["outages"]
    assert (found["kind"], found["start_s"]["low"] <= 60.0 <= found["start_s"]["high"]) == ("outage", True)
    assert document["arrivals"]["email"]["process"] == "poisson"
    assert invoke("fit", directory, "--channel", "email", "--json").stdout == done.stdout


def test_bad_input_is_said_in_lines_with_exit_code_2(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("time,latency,outcome\n0,1,strange\nx,1,ok\n")
    done = invoke("fit", bad)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    done = invoke("fit", bad, "--outcome-map", "strange")
    assert (done.exit_code, done.stdout) == (2, "")
    bad.write_text("time,latency,outcome\nx,1,ok\ny,1,ok\n")
    done = invoke("fit", bad)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    good = tmp_path / "good.csv"
    good.write_text("time,latency,outcome\n0,1,strange\n1,1,ok\n")
    done = invoke("fit", good, "--outcome-map", "strange=permanent", "--out", tmp_path / "no" / "such.yaml")
    assert (done.exit_code, "--out" in done.stderr) == (2, True)
    assert invoke("fit", good, "--outcome-map", "strange=permanent").exit_code == 0


def test_where_nothing_can_be_written_is_said_before_there_is_a_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("simulation.fitting.calibration.fit", lambda *_, **__: pytest.fail("it was fitted in vain"))
    log, mine = tmp_path / "log.csv", tmp_path / "mine.yaml"
    log.write_text("time,latency,outcome\n0,1,ok\n1,1,ok\n")
    mine.write_text("name: mine\n")
    for out, why in {
        tmp_path / "no" / "such.yaml": "No such file or directory",
        tmp_path: "Is a directory",
        mine: "wanted a new file, or one that a fit has written, got another",
        log: "wanted a file for the scenario, got the log itself",
    }.items():
        done = invoke("fit", log, "--out", out)
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"--out {out}: {why}\n")
    assert saved(tmp_path) == {"log.csv": log.read_text(), "mine.yaml": "name: mine\n"}


def test_a_log_that_cannot_be_fitted_leaves_the_place_of_the_scenario_as_it_was(tmp_path):
    bad, earlier = tmp_path / "bad.csv", tmp_path / "earlier.yaml"
    bad.write_text("time,latency,outcome\n0,1,ok\n0,x,ok\n")
    earlier.write_text("# Fitted to another log")
    before = saved(tmp_path)
    for out in (earlier, tmp_path / "new.yaml"):
        assert invoke("fit", bad, "--out", out).exit_code == 2
    assert saved(tmp_path) == before


@pytest.mark.parametrize(
    "frame",
    {
        "one": {"time": [0.0], "latency": [0.1], "outcome": ["ok"]},
        "all fail": {"time": range(50), "latency": [0.1, 0.2] * 25, "outcome": ["failed"] * 50},
        "all time out": {"time": range(50), "latency": [10.0] * 50, "outcome": ["timeout"] * 50},
        "all refused": {"time": range(50), "latency": [0.0] * 50, "outcome": ["429"] * 50},
        "at one instant": {"time": [0.0] * 50, "latency": [0.1, 0.2] * 25, "outcome": ["ok", "failed"] * 25},
        "no latency": {"time": range(3), "latency": [None] * 3, "outcome": ["ok"] * 3},
        "within a microsecond": {"time": np.arange(50) * 2e-8, "latency": [1e-8, 2e-8] * 25, "outcome": ["ok"] * 50},
        "within a year": {"time": np.arange(50) * 6e5, "latency": [1.0, 2.0] * 25, "outcome": ["ok"] * 50},
        "no outcomes": {"time": range(50), "latency": [0.1, 0.3] * 25},
        "broken channel": {"time": range(200), "latency": [0.1] * 200, "outcome": ["ok"] * 150 + ["401"] * 50},
        "two providers": {
            "time": range(60),
            "latency": [0.1, 0.3] * 30,
            "outcome": ["ok"] * 60,
            "provider": ["primary", "plan-b"] * 30,
        },
    }.items(),
    ids=lambda item: item[0],
)
def test_odd_logs_give_scenarios_that_run(frame, tmp_path):
    outcome = None if "outcome" in frame[1] else "none"
    fit = simulation.fit(pd.DataFrame(frame[1]), outcome=outcome, resamples=20)
    json.dumps(document(fit), allow_nan=False)
    path = simulation.save(fit, tmp_path / "odd.yaml")[0]
    assert simulation.run(path).summary["accepted"] >= 1


def test_what_came_in_waves_is_a_trace_and_what_no_family_fits_a_file(tmp_path):
    random = np.random.default_rng(4)
    start = np.sort(np.concatenate([random.uniform(0, 1000, 500), random.uniform(300, 400, 2000)]))
    latency = random.choice([0.1, 0.2, 0.3, 0.4], 2500) + random.uniform(0.0, 0.01, 2500)
    fit = simulation.fit(pd.DataFrame({"time": start, "latency": latency, "outcome": "ok"}))
    assert fit.arriving["email"].process == "trace"
    assert fit.providers["email"].latency.is_empirical
    written = simulation.save(fit, tmp_path / "waves.yaml")
    assert [path.name for path in written] == ["waves.yaml", "waves.email.arrivals.csv", "waves.email.latency.csv"]
    result = simulation.run(written[0])
    assert result.summary["accepted"] == 2500
    took = (result.attempts.end_s - result.attempts.start_s).to_numpy()
    for quantile in (0.1, 0.5, 0.9):
        assert np.quantile(took, quantile) == pytest.approx(np.quantile(latency, quantile), abs=0.02)


def test_lost_replies_hangs_and_quotas_become_faults(tmp_path):
    log = drawn_log(np.random.default_rng(8), 4000, 5.0)
    lost = np.random.default_rng(9).random(4000) < 0.05
    hangs = (log.time > 300.0) & (log.time < 330.0)
    log.loc[lost | hangs, ["latency", "outcome"]] = [5.0, "timeout"]
    fit = simulation.fit(log)
    scenario = load(simulation.save(fit, tmp_path / "lost.yaml")[0])
    throughout, window = scenario.faults
    assert throughout.lost_reply_rate == pytest.approx(0.05, abs=0.012)
    assert (window.hang, window.at) == (True, pytest.approx(300.0, abs=1.0))
    assert scenario.channels.email.provider.latency.lognormal.median == pytest.approx(0.08, rel=0.1)


def test_the_quota_is_what_was_let_through_between_refusals():
    frame = pd.DataFrame({"time": np.arange(0.0, 60.0, 0.1), "latency": 0.01, "outcome": "ok"})
    frame.loc[np.arange(600) % 4 != 0, "outcome"] = "429"  # 2.5 of 10 a second pass
    found = simulation.fit(frame).providers["email"].throttling
    assert found.rate.contains(2.5)
    assert found.rate.high - found.rate.low < 0.1
    assert fit_throttling(simulation.fit(frame.assign(outcome="ok")).log) is None


def test_failures_that_take_another_time_are_said_so():
    log = drawn_log(np.random.default_rng(3), 2000, 5.0, failure_rate=0.2)
    fit = simulation.fit(log.assign(latency=log.latency.where(log.outcome == "ok", 0.001)), resamples=0)
    provider = fit.providers["email"]
    assert "failures take another time" in provider.notes[0]
    assert provider.latency.fit.parameters["median"].contains(0.08)


def test_numbers_are_written_as_a_scenario_reads_them():
    assert [duration(s) for s in (0.0, 0.0812345678, 3.2, 1e-7, 5e-6)] == ["0s", "81.2346ms", "3.2s", "100ns", "5us"]
    assert [instant(s) for s in (0.0, 12.0, 120.0114)] == ["0s", "12s", "120.011s"]
    assert [per_second(r) for r in (19.97, 0.5, 1 / 300, 1e-5)] == ["19.97/s", "30/min", "12/h", "0.864/d"]
    assert [percent(s) for s in (0.0, 0.0123456, 1.0)] == ["0%", "1.235%", "100%"]


@pytest.mark.skipif(not REAL.exists(), reason="the real latency trace is not here")
def test_the_real_trace_is_a_narrow_core_with_a_few_outliers():
    fit = simulation.fit(REAL, outcome="none")
    found = fit.providers["email"].latency
    assert found.fit.family == "mixture"
    assert not found.is_empirical
    assert found.goodness.distance < 0.03
    values = pd.read_csv(REAL)["value"] / 1000.0
    draws = np.sort(found.fit.draw(np.random.default_rng(0), 100_000))
    for quantile in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert np.quantile(draws, quantile) == pytest.approx(np.quantile(values, quantile), rel=0.02)
    assert any("taken as ms" in note or "read as ms" in note for note in fit.notes)
    assert any("300 s apart" in note for note in fit.notes)
    assert math.isclose(fit.log.latency_s[0], 0.045868)


@pytest.mark.parametrize(
    ("rows", "outcome", "expected"),
    [
        (3, "ok", "3 attempts: too few"),
        (50, "error", "no attempt succeeded"),
        (50, "ok", None),
    ],
)
def test_a_log_that_says_little_is_fitted_with_a_word_about_it(rows, outcome, expected):
    log = pd.DataFrame({"time": range(rows), "latency_s": [0.1] * rows, "outcome": outcome})
    notes = [note for note in simulation.fit(log).notes if "attempt" in note and "each counts" not in note]
    assert [note.startswith(expected) for note in notes] == [True] if expected else notes == []
