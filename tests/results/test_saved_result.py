"""A saved result can be opened again, and be plotted as it was."""

import warnings

import numpy as np
import pandas as pd
import pytest
from described import described
from pandas.testing import assert_frame_equal
from plot_samples import result_of

import simulation
from actors.errors import ConfigurationError
from simulation.fitting.reading import read_log
from simulation.reporting import plots
from simulation.results.result import TABLES
from simulation.results.tables import COLUMNS_BEFORE
from simulation.scenario import load

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    simulation.save(result_of("all kinds of waits"), path)
    return path


def test_what_is_opened_is_what_was_saved(directory):
    result, opened = result_of("all kinds of waits"), simulation.open_result(directory)
    assert opened.summary == result.summary
    assert opened.scenario == result.scenario
    assert (opened.holds, opened.missing) == (result.holds, ())
    for name in TABLES:
        assert_frame_equal(getattr(opened, name), getattr(result, name))
    assert len(result.deferrals) > 20
    assert set(result.deferrals["cause"]) == {"rate_limit", "circuit_breaker", "quiet_hours"}
    assert set(result.dlq["left"].dropna()) == {"redriven"}


def test_the_seed_and_what_was_set_are_in_the_scenario_that_is_saved(tmp_path):
    text = "{duration: 10s, seed: 3, workload: [{channel: sms, arrivals: {poisson: 5/s}}]}"
    (tmp_path / "ten.yaml").write_text(text)
    result = simulation.run(tmp_path / "ten.yaml", seed=8, sets=["channels.sms.retry.max_attempts=2"])
    simulation.save(result, tmp_path / "out")
    again = simulation.run(tmp_path / "out" / "scenario.yaml")
    assert again.summary["digest"] == result.summary["digest"]


TRACED = """
name: traced
duration: 1m
workload:
  - {channel: sms, arrivals: {trace: counts.csv, column: value, every: 20s}}
channels: {sms: {provider: {latency: {empirical: latencies.csv}}}}
faults: [{channel: sms, at: 10s, for: 10s, outage: true}]
"""


@pytest.fixture
def traced(tmp_path):
    (tmp_path / "counts.csv").write_text("value\n5\n0\n7\n4\n")
    (tmp_path / "latencies.csv").write_text("seconds\n0.5\n1.5\n")
    (tmp_path / "traced.yaml").write_text(TRACED)
    simulation.save(simulation.run(load(tmp_path / "traced.yaml")), tmp_path / "out")
    return tmp_path


def test_data_files_that_are_gone_are_said_to_be_and_what_does_not_need_them_is_plotted(traced):
    whole = simulation.open_result(traced / "out")
    before = [one.get_xdata()[0] for one in plots.throughput(whole).lines if one.get_label() == "arrivals stop"]
    assert before == [80]
    for name in ("counts.csv", "latencies.csv"):
        (traced / name).unlink()
    with pytest.warns(UserWarning, match="are gone, so plots do not show when arrivals stop") as warned:
        opened = simulation.open_result(traced / "out")
    assert str(traced / "counts.csv") in str(warned[0].message)
    assert opened.missing == (str(traced / "counts.csv"), str(traced / "latencies.csv"))
    of_gone, of_whole = described(plots.throughput(opened)), described(plots.throughput(whole))
    marks = [one for one in of_whole["artists"] if one["label"] == "arrivals stop"]
    assert of_gone["artists"] == [one for one in of_whole["artists"] if one not in marks]
    assert of_gone["texts"] == of_whole["texts"]
    plots.overview(opened)
    plots.raster(opened)


def test_nothing_is_warned_of_while_all_is_there(traced):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulation.open_result(traced / "out")


def problems_of(path):
    with pytest.raises(ConfigurationError) as refused:
        simulation.open_result(path)
    return refused.value.problems


def test_what_is_wrong_with_a_directory_is_said_at_once(tmp_path):
    assert problems_of(tmp_path / "nowhere") == [f"{tmp_path / 'nowhere'}: no such directory"]
    assert problems_of(tmp_path) == [
        f"{tmp_path / 'summary.json'}: no such file",
        f"{tmp_path / 'scenario.yaml'}: no such file",
    ]
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "scenario.yaml").write_text("{duration: soon}")
    first, *others = problems_of(tmp_path)
    assert first == f"{tmp_path / 'summary.json'}: wanted the summary of a run"
    assert any("duration: wanted" in problem for problem in others)
    (tmp_path / "summary.json").write_text("{")
    assert "wanted JSON" in problems_of(tmp_path)[0]


@pytest.mark.parametrize("damage", ["gone", "no table"])
def test_a_table_that_cannot_be_read_is_named_when_it_is_needed(tmp_path, damage):
    simulation.save(result_of("one"), tmp_path)
    path = tmp_path / "attempts.parquet"
    path.unlink()
    if damage == "no table":
        path.write_text("no table")
    opened = simulation.open_result(tmp_path)
    assert len(opened.notifications) == 1
    with pytest.raises(ConfigurationError, match=r"attempts\.parquet: (no such file|wanted a table as Parquet)"):
        plots.raster(opened)


def test_columns_of_older_files_get_their_units(tmp_path):
    result = result_of("all kinds of waits")
    simulation.save(result, tmp_path)
    for name in TABLES:
        frame = pd.read_parquet(tmp_path / f"{name}.parquet")
        frame.rename(columns={now: before for before, now in COLUMNS_BEFORE.items()}).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    assert "start" in pd.read_parquet(tmp_path / "attempts.parquet").columns
    opened = simulation.open_result(tmp_path)
    for name in TABLES:
        assert_frame_equal(getattr(opened, name), getattr(result, name))
    log, before = read_log(result.attempts), read_log(tmp_path)
    np.testing.assert_array_equal(log.start_s, before.start_s)
    np.testing.assert_array_equal(log.latency_s, before.latency_s)


def test_every_column_of_floats_says_its_unit():
    result = result_of("all kinds of waits")
    for name in TABLES:
        frame = getattr(result, name)
        floats = [column for column, kind in frame.dtypes.items() if kind == "float64"]
        assert all(column.endswith("_s") for column in floats), (name, floats)
