"""The plots of comparisons and of searches show what their tables have."""

import numpy as np
import pytest

import simulation
from actors.errors import ConfigurationError, WrongType
from simulation.reporting import plots
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
    metrics = ["attempts", "sent_fraction", "delivery_time_s.p50", "offered", "dead_lettered"]
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
