"""The plots of comparisons and of searches show what their tables have."""

import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from console_command import app
from described import described
from typer.testing import CliRunner

import simulation
from actors.errors import ConfigurationError, WrongType
from actors.formatting import plain_number
from simulation.reporting import plots
from simulation.reporting.plots.experiments import saved_comparison, saved_search
from simulation.scenario import parse

ATTEMPTS = "channels.sms.retry.max_attempts"
TEXT = """
duration: 60s
workload: [{channel: sms, arrivals: {poisson: 5/s}}]
channels: {sms: {provider: {failure_rate: 20%}, retry: {initial_delay: 1s}}}
expect: [sent_fraction >= 85%]
"""


@pytest.fixture(scope="module")
def scenario():
    return parse(TEXT, "a.yaml")


def test_a_comparison_is_the_differences_in_per_cent_of_the_baseline_with_their_intervals(scenario):
    metrics = ["attempts", "sent_fraction", "delivery_time_s.p50", "offered"]
    compared = simulation.compare(scenario, {ATTEMPTS: [5, 1, 2]}, replicates=4, metrics=metrics)
    ax = plots.differences(compared)
    table = compared.table.set_index(["metric", "setting"])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert set(names) <= set(metrics)
    bars = [each for each in ax.get_lines() if len(each.get_xdata()) == 2 and np.ptp(each.get_ydata()) == 0]
    points = [each for each in ax.get_lines() if len(each.get_xdata()) == 1]
    assert len(points) == len(bars) == 2 * len(names)
    for bar, point, (metric, setting) in zip(
        bars, points, [(metric, f"max_attempts={count}") for metric in names for count in (1, 2)], strict=True
    ):
        row, base = table.loc[metric, setting], table.loc[metric, "max_attempts=5"]["mean"]
        assert point.get_xdata()[0] == pytest.approx(100 * row["difference"] / base)
        assert list(bar.get_xdata()) == pytest.approx([100 * row["low"] / base, 100 * row["high"] / base])
        assert (point.get_color() == "#999999") is not bool(row["excludes_0"])
    sure = int(table.loc[names]["excludes_0"].sum())
    assert f"{sure} of {len(points)} differ" in ax.get_title("left")


def test_what_has_no_per_cent_of_the_baseline_is_at_the_edge_with_both_values():
    text = """
        duration: 60s
        workload: [{channel: sms, arrivals: {poisson: 5/s}}]
        channels: {sms: {retry: {max_attempts: 5, initial_delay: 1s, jitter: none}}}
        faults: [{channel: sms, at: 20s, for: 5s, outage: true}]
    """
    metrics = ["dead_lettered", "delivery_time_s.p99", "attempts"]
    compared = simulation.compare(
        parse(textwrap.dedent(text), "a.yaml"), {ATTEMPTS: [5, 1]}, replicates=6, metrics=metrics
    )
    table = compared.table.set_index(["metric", "setting"])
    now = table.loc["dead_lettered", "max_attempts=1"]
    assert (table.loc["dead_lettered", "max_attempts=5"]["mean"], now["mean"] > 0) == (0, True)
    assert table.loc["delivery_time_s.p99", "max_attempts=1"]["median"] == np.inf
    ax = plots.differences(compared)
    assert [label.get_text() for label in ax.get_yticklabels()] == metrics
    said = [text.get_text() for text in ax.texts]
    assert said[0] == f"0 → {plain_number(now['mean'])}"
    assert said[1].endswith(" → never")
    edges = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() == ">"]
    assert len(edges) == 2
    assert all(edge == ax.get_xlim()[1] > 0 for edge in edges)
    assert "not drawn" not in ax.get_title("left")


def test_what_is_many_times_the_baseline_does_not_flatten_the_rest():
    table = pd.DataFrame(
        {
            "metric": ["dead_lettered", "dead_lettered", "requests", "requests"],
            "setting": ["old", "new"] * 2,
            "mean": [0.1, 187.8, 900.0, 990.0],
            "median": [0.0, 188.0, 900.0, 990.0],
            "difference": [np.nan, 187.7, np.nan, 90.0],
            "low": [np.nan, 180.0, np.nan, 80.0],
            "high": [np.nan, 195.0, np.nan, 100.0],
            "excludes_0": [False, True, False, True],
        }
    )
    ax = plots.differences(SimpleNamespace(table=table))
    assert [text.get_text() for text in ax.texts] == ["0.1 → 188"]
    assert ax.get_xlim()[1] < 20


def test_a_search_is_what_each_setting_costs_against_how_often_it_is_as_expected(scenario):
    tuning = simulation.tune(scenario, {ATTEMPTS: [1, 2, 3]}, probability=0.5, confidence=0.5, replicates=3)
    ax = plots.trials(tuning)
    drawn = {line.get_label(): line for line in ax.get_lines()}
    (objective,) = tuning.goal.objectives
    found = drawn["found"]
    assert list(found.get_xdata()) == [tuning.value(trial, objective) for trial in tuning.found]
    runs = tuning.runs_of(tuning.best)
    assert found.get_ydata()[0] == pytest.approx(100 * tuning.held(runs) / len(runs))
    count = sum(len(line.get_xdata()) for label, line in drawn.items() if not label.startswith("wanted"))
    assert count == len(tuning.trials)
    assert tuning.best.setting.label in ax.get_title("left")
    with pytest.raises(ConfigurationError, match="wanted an objective of the search \\(requests\\), got 'sent'"):
        plots.trials(tuning, "sent")


def test_what_is_no_result_of_an_experiment_is_not_drawn(scenario):
    for plot, wanted in ((plots.differences, "a comparison"), (plots.trials, "the result of a search")):
        with pytest.raises(WrongType, match=f"wanted {wanted}, got Scenario"):
            plot(scenario)


@pytest.mark.thorough
def test_the_command_draws_a_comparison_and_a_search_that_were_saved(scenario, tmp_path):
    compared = simulation.compare(scenario, {ATTEMPTS: [5, 1]}, replicates=2, metrics=["attempts"], out=tmp_path / "c")
    tuning = simulation.tune(scenario, {ATTEMPTS: [1, 3]}, probability=0.5, confidence=0.5, replicates=3)
    simulation.save(tuning, tmp_path / "t")
    assert described(plots.differences(saved_comparison(tmp_path / "c"))) == described(plots.differences(compared))
    assert described(plots.trials(saved_search(tmp_path / "t"))) == described(plots.trials(tuning))
    for folder, kind in (("c", "differences"), ("t", "trials")):
        done = CliRunner().invoke(app, ["plot", str(tmp_path / folder)])
        assert (done.exit_code, done.output) == (0, f"written to {tmp_path / folder / kind}.png\n")
    done = CliRunner().invoke(app, ["plot", str(tmp_path / "c"), "--kind", "trials"])
    assert done.exit_code == 2
    assert "wanted one of a comparison (differences, all), got trials" in done.stderr
    (tmp_path / "t" / "trials.parquet").unlink()
    done = CliRunner().invoke(app, ["plot", str(tmp_path / "t")])
    assert (done.exit_code, "got one without trials.parquet" in done.stderr) == (2, True)
