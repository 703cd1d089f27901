"""A sweep is the runs it says, with their means; the same in any process and however often it is cut off."""

import json
import math
import signal
import statistics
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
from effort import sliced
from scenario_tables import written
from scipy import stats

import simulation
from actors.errors import ConfigurationError, InvariantBreach
from simulation.experiments.paired import difference, mean_interval, share_interval
from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.sweeping.result import save_sweep
from simulation.reporting import plots
from simulation.reporting.console import print_sheets
from simulation.running import executors
from simulation.running.executors import scenario_hash
from simulation.scenario import load
from simulation.scenario.metrics import MetricKind

SCENARIO = """
name: contended
seed: 3
duration: 20s
workload:
  - {channel: email, arrivals: {poisson: 5/s}}
channels:
  email:
    retry: {max_attempts: 3, initial_delay: 1s, jitter: full}
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 100ms}}, failure_rate: 30%}
expect: [sent_fraction >= 0.97, delivery_time_s.p99 <= 30s]
sweep:
  channels.email.retry.max_attempts: [1, 3, 5]
  channels.email.provider.failure_rate: {from: 10%, to: 40%, steps: 2}
  replicates: 3
"""
ATTEMPTS = "channels.email.retry.max_attempts"
FAILURES = "channels.email.provider.failure_rate"
TABLES = ("sweep.json", "scenario.yaml", "runs.parquet", "cells.parquet")


path = written("contended.yaml", SCENARIO)


def saved(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_each_run_is_that_of_the_run_command(path):
    swept = simulation.sweep(path)
    assert list(swept.runs["cell"]) == [cell for cell in range(6) for _ in range(3)]
    assert list(swept.runs["seed"]) == [3, 4, 5] * 6
    row = swept.runs[(swept.runs[ATTEMPTS] == 5) & (swept.runs[FAILURES] == 0.4) & (swept.runs["seed"] == 4)].iloc[0]
    summary = simulation.run(path, seed=4, sets=[f"{ATTEMPTS}=5", f"{FAILURES}=40%"]).summary
    assert row["digest"] == summary["digest"]
    assert row["attempts"] == summary["attempts"]
    of_all = summary["channels"]["email"]["delivery_time_s"]
    expected = math.inf if of_all["p99"] is None and of_all["never"] else of_all["p99"]
    assert row["channels.email.delivery_time_s.p99"] == expected
    assert row["expectations_hold"] == all(each["holds"] for each in summary["expectations"])


def test_cells_that_a_setting_leaves_alone_have_the_same_seeds(path):
    runs = simulation.sweep(path).runs
    assert runs.groupby("seed")["accepted"].nunique().to_list() == [1, 1, 1]
    assert runs["accepted"].nunique() > 1


def test_means_have_the_intervals_of_students_t(path):
    swept = simulation.sweep(path, {ATTEMPTS: [3]}, replicates=6)
    cells = swept.cells.set_index("figure")
    values = swept.runs["attempts"]
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    row = cells.loc["attempts"]
    assert (row["n"], row["mean"]) == (6, pytest.approx(values.mean()))
    assert (row["sd"], row["low"], row["high"]) == (
        pytest.approx(values.std()), pytest.approx(low), pytest.approx(high),
    )  # fmt: skip
    share = swept.runs["expectations_hold"]
    wilson = stats.binomtest(int(share.sum()), 6).proportion_ci(method="wilson")
    row = cells.loc["expectations_hold"]
    assert (row["low"], row["high"]) == (pytest.approx(wilson.low), pytest.approx(wilson.high))


def test_what_is_of_nothing_is_left_out_of_a_mean():
    assert mean_interval([2.0]) == (
        2.0,
        pytest.approx(math.nan, nan_ok=True),
        *[pytest.approx(math.nan, nan_ok=True)] * 2,
    )
    assert all(map(math.isnan, mean_interval([])))
    assert mean_interval([0.1, 0.1, 0.1]) == (0.1, 0.0, 0.1, 0.1)
    assert share_interval([1.0, 1.0])[3] == 1.0


def test_a_figure_of_nothing_is_null(path):
    swept = simulation.sweep(path, {FAILURES: ["0%", "100%"]}, sets=[f"{ATTEMPTS}=1", "duration=1s"], replicates=2)
    cells = swept.cells.set_index(["cell", "figure"])
    assert cells.loc[(0, "sent_time_s.max"), "n"] == 2
    assert cells.loc[(1, "sent_time_s.max"), "n"] == 0
    assert math.isnan(cells.loc[(1, "sent_time_s.max"), "mean"])
    assert swept.document(["sent_time_s.max"])["cells"][1]["figures"]["sent_time_s.max"]["mean"] is None


def test_what_is_never_has_a_median_and_is_counted_and_is_kept_as_it_was(path, tmp_path):
    vary = {FAILURES: ["0%", "30%", "100%"]}
    arguments = {"sets": [f"{ATTEMPTS}=4", "duration=10s", "expect=[delivery_time_s.p99 >= 1ms]"], "replicates": 7}
    cells = []
    swept = simulation.sweep(
        path, vary, **arguments, out=tmp_path / "out", progress=lambda *news: cells.extend(news[2:])
    )
    for cell in range(3):
        values = swept.values(cell, "delivery_time_s.p99")
        row = swept.cells.set_index(["cell", "figure"]).loc[(cell, "delivery_time_s.p99")]
        assert (row["n"], row["never"], row["median"]) == (7, values.count(math.inf), statistics.median(values))
        assert (row["low"], row["high"]) == (min(values), max(values))
        assert math.isnan(row["mean"])
        assert cells[cell].figures["delivery_time_s.p99"] == row["median"]
        assert cells[cell].never.get("delivery_time_s.p99", 0) == row["never"]
        # No bound holds on what is never, also not one from below.
        held = [float(math.isfinite(value) and value >= 0.001) for value in values]
        assert swept.values(cell, "expectations_hold") == held
    never = swept.cells.query("figure == 'delivery_time_s.p99'")["never"]
    assert 0 == never.iloc[0] < never.iloc[1] < never.iloc[2] == 7
    figures = swept.document(["delivery_time_s.p99"])["cells"][2]["figures"]
    assert figures == {
        "delivery_time_s.p99": {"n": 7, "never": 7, "median": None, "sd": None, "low": None, "high": None}
    }
    # As a table, and as the lines of the journal, from which a resumed sweep has it.
    pd.testing.assert_frame_equal(simulation.open_sweep(tmp_path / "out").runs, swept.runs)
    again = simulation.sweep(path, vary, **arguments, out=tmp_path / "out")
    pd.testing.assert_frame_equal(again.runs, swept.runs)
    apart = swept.difference(2, "delivery_time_s.p99")
    assert (apart.value, apart.more, apart.excludes_0) == (math.inf, 7, True)


def test_null_is_never_where_a_summary_says_so_and_nothing_elsewhere():
    summary = {
        "delivery_time_s": {"p50": 1.0, "p99": None, "never": 2},
        "sent_time_s": {"max": None},
        "faults": {"0": {"backlog_cleared_s": None}, "1": {"backlog_cleared_s": 3.0}},
        "channels": {"email": {"delivery_time_s": {"p50": None, "never": 0}}},
    }
    expected = {
        "delivery_time_s.p50": 1.0, "delivery_time_s.p99": math.inf, "delivery_time_s.never": 2.0,
        "sent_time_s.max": None, "faults.0.backlog_cleared_s": math.inf, "faults.1.backlog_cleared_s": 3.0,
        "channels.email.delivery_time_s.p50": None, "channels.email.delivery_time_s.never": 0.0,
    }  # fmt: skip
    assert {path: executors.figure_at(summary, path) for path in expected} == expected
    plain = {path: None if value == math.inf else value for path, value in expected.items()}
    assert executors.with_never(plain) == expected


def test_an_older_sweep_that_has_no_count_of_never_is_opened(path, tmp_path):
    simulation.sweep(path, {ATTEMPTS: [1, 5]}, replicates=2, out=tmp_path / "out")
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    of_now = [name for name in runs if name.endswith(".never") or name.startswith(("offered", "delivered", "faults."))]
    older = runs.drop(columns=of_now).rename(columns={"sent_time_s.mean": "delivery_time_s.mean"})
    older["delivery_time_s.p99"] = [1.0, 2.0, 3.0, 5.0]
    older.to_parquet(tmp_path / "out" / "runs.parquet", index=False)
    cells = simulation.open_sweep(tmp_path / "out").cells.set_index(["cell", "figure"])
    assert list(cells.loc[(1, "delivery_time_s.p99"), ["n", "never", "median"]]) == [2, 0, 4.0]
    assert cells.loc[(1, "delivery_time_s.mean"), "mean"] > 0


def test_a_share_within_a_time_is_expected_in_a_sweep_as_in_a_run(path):
    swept = simulation.sweep(path, {ATTEMPTS: [1, 5]}, replicates=2, sets=["expect=[delivered_within(90s) >= 0.9]"])
    assert [swept.values(cell, "expectations_hold") for cell in (0, 1)] == [[0.0, 0.0], [1.0, 1.0]]


def test_a_difference_is_taken_seed_by_seed(path):
    swept = simulation.sweep(path, {ATTEMPTS: [1, 5]}, replicates=4)
    sent = [swept.runs.loc[swept.runs["cell"] == cell, "sent"].to_list() for cell in (0, 1)]
    assert swept.difference(1, "sent") == difference(sent[1], sent[0])


def test_a_cell_or_a_figure_that_is_not_there_is_told(path):
    swept = simulation.sweep(path, {ATTEMPTS: [1, 5]}, replicates=1)
    for reported, ask in {
        "cell: wanted a cell of the sweep, from 0 to 1, got 5": lambda: swept.values(5, "sent"),
        "cell: wanted a cell of the sweep, from 0 to 1, got -1": lambda: swept.difference(-1, "sent"),
        "baseline: wanted a cell of the sweep, from 0 to 1, got 2": lambda: swept.difference(1, "sent", baseline=2),
        "figure: wanted one that the sweep has, such as dead_lettered, got 'dead_letters'": lambda: swept.values(
            0, "dead_letters"
        ),
        "figure: wanted one that the sweep has (simulated_s, offered, delivered, refused.down, "
        "refused.overloaded, unwanted, …), got 'x'": lambda: swept.difference(1, "x"),
    }.items():
        with pytest.raises(ConfigurationError) as error:
            ask()
        assert error.value.problems == [reported]
    alone = simulation.sweep(path, {ATTEMPTS: [1]}, replicates=1)
    with pytest.raises(ConfigurationError, match="cell: wanted a cell of the sweep, 0, the only one, got 1"):
        alone.values(1, "sent")


def test_values_that_were_given_keep_their_types_and_those_of_a_range_are_numbers(path, tmp_path):
    jitter, timeout = "channels.email.retry.jitter", "channels.email.timeout"
    vary = {timeout: ["80ms", "2m"], ATTEMPTS: [1, 3], jitter: ["none"], FAILURES: "{from: 10%, to: 30%, steps: 2}"}
    swept = simulation.sweep(path, vary, replicates=1, out=tmp_path / "out")
    compared = simulation.compare(path, {timeout: ["80ms", "2m"], ATTEMPTS: [1, 3]}, replicates=2, metrics=["sent"])
    for frame in (swept.runs, swept.cells, simulation.open_sweep(tmp_path / "out").runs):
        assert frame[timeout].unique().tolist() == ["80ms", "2m"]
        assert frame[jitter].unique().tolist() == ["none"]
        assert frame[FAILURES].unique().tolist() == [0.1, 0.3]
        assert frame[ATTEMPTS].dtype == "int64"
        assert len(frame.merge(compared.table, on=[timeout, ATTEMPTS])) == len(frame)
    assert compared.runs[ATTEMPTS].dtype == "int64"
    lines = plots.sweep_lines(swept, "sent", x=timeout).get_lines()
    assert {float(place) for one in lines for place in np.ravel(one.get_xdata())} == {0.08, 120.0}


def test_a_cell_may_have_figures_that_others_have_not(path):
    vary = {"channels.email": ["{retry: {max_attempts: 2}}", "{failover: {backup: {}}}"]}
    runs = simulation.sweep(path, vary, replicates=1, sets=["faults=[]"]).runs
    assert math.isnan(runs.loc[0, "breaker.email/backup.opened"])
    assert runs.loc[1, "breaker.email/backup.opened"] == 0


def test_what_was_saved_is_opened_as_it_was(path, tmp_path):
    swept = simulation.sweep(path, out=tmp_path / "out")
    again = simulation.open_sweep(tmp_path / "out")
    pd.testing.assert_frame_equal(again.runs, swept.runs)
    pd.testing.assert_frame_equal(again.cells, swept.cells)
    assert (again.settings, again.varied, again.scenario.name) == (swept.settings, swept.varied, "contended")


@pytest.mark.parametrize("missing", TABLES[:3])
def test_a_folder_without_a_sweep_is_told(path, tmp_path, missing):
    simulation.sweep(path, out=tmp_path / "out", replicates=1)
    (tmp_path / "out" / missing).unlink()
    with pytest.raises(ConfigurationError, match=missing):
        simulation.open_sweep(tmp_path / "out")


def test_it_is_opened_also_where_its_data_files_are_gone(path, tmp_path):
    counts = tmp_path / "counts.csv"
    counts.write_text("value\n5\n6\n")
    replayed = "workload.0.arrivals={trace: counts.csv, column: value, every: 5s}"
    swept = simulation.sweep(path, {ATTEMPTS: [1, 3]}, replicates=2, sets=[replayed], out=tmp_path / "out")
    counts.unlink()
    pd.testing.assert_frame_equal(simulation.open_sweep(tmp_path / "out").cells, swept.cells)


@pytest.mark.integration
def test_two_processes_give_the_same_bytes(path, tmp_path):
    for workers in (1, 2):
        simulation.sweep(path, workers=workers, out=tmp_path / str(workers))
    assert saved(tmp_path / "1") == saved(tmp_path / "2")


CLUSTER = """
import simulation, sys
from distributed import LocalCluster

if __name__ == "__main__":
    path, out = sys.argv[1:]
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        simulation.sweep(path, cluster=cluster, out=f"{out}/cluster")
        from simulation.commands.cli import main
        sys.argv = ["retrylab", "sweep", path, "--dask", cluster.scheduler_address, "--out", f"{out}/address", "--json"]
        main()
"""


@pytest.mark.thorough
@pytest.mark.integration
def test_a_dask_cluster_of_two_processes_gives_the_same_bytes(path, tmp_path):
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    done = subprocess.run([sys.executable, script, path, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["cells"]) == 6
    simulation.sweep(path, out=tmp_path / "here")
    assert saved(tmp_path / "cluster") == saved(tmp_path / "address") == saved(tmp_path / "here")


@pytest.mark.parametrize("cluster", ["nowhere at all", 5])
def test_a_cluster_that_is_not_there_is_told_and_leaves_no_thread(path, cluster):
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match="wanted the address of a Dask scheduler, got"):
        simulation.sweep(path, cluster=cluster)
    assert set(threading.enumerate()) <= before


KILLED = """
import os, signal, sys
import simulation

def progress(over, of, cell=None):
    if over == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    simulation.sweep(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[4]), progress=progress)
"""


@pytest.mark.integration
@pytest.mark.parametrize("workers", sliced([1, 2], 4))
def test_one_that_was_killed_goes_on_where_it_was_and_is_the_same(path, tmp_path, workers):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    for over in (7, 11):
        words = [sys.executable, script, path, tmp_path / "out", str(over), str(workers)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        assert len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) == over
    with (tmp_path / "out" / "runs.jsonl").open("a") as file:
        file.write('{"scenario": "cut off in the mid')
    reported = []
    simulation.sweep(path, out=tmp_path / "out", progress=lambda *counts: reported.append(counts[:2]))
    assert reported == [(over, 18) for over in range(11, 19)]
    simulation.sweep(path, out=tmp_path / "whole")
    assert saved(tmp_path / "out") == saved(tmp_path / "whole")


@pytest.mark.integration
def test_a_finished_cell_is_told_once_with_its_means_however_the_runs_were_shared(path, tmp_path):
    reported = []

    def progress(over, of, cell=None):
        if cell is not None:
            reported.append(cell)

    swept = simulation.sweep(path, workers=2, out=tmp_path / "out", progress=progress)
    assert sorted(cell.label for cell in reported) == sorted(setting.label for setting in swept.settings)
    means = swept.cells.set_index(["cell", "figure"])["mean"]
    labels = [setting.label for setting in swept.settings]
    for cell in reported:
        for figure in ("sent_fraction", "attempts"):
            assert cell.figures[figure] == means[labels.index(cell.label), figure]
    reported.clear()
    simulation.sweep(path, workers=2, out=tmp_path / "out", progress=progress)
    assert reported == []


def test_more_replicates_and_more_values_run_only_what_is_new(path, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        executors,
        "do",
        lambda task, do=executors.do: ran.append((task.changes.rpartition(".")[2], task.seed)) or do(task),
    )
    for attempts, replicates in (([1, 3], 2), ([3, 5, 1], 3)):
        simulation.sweep(path, {ATTEMPTS: attempts}, replicates=replicates, out=tmp_path / "out")
    assert ran == [
        ("max_attempts=1", 3), ("max_attempts=1", 4), ("max_attempts=3", 3), ("max_attempts=3", 4),
        ("max_attempts=3", 5),
        ("max_attempts=5", 3), ("max_attempts=5", 4), ("max_attempts=5", 5),
        ("max_attempts=1", 5),
    ]  # fmt: skip


def test_another_scenario_or_other_data_is_not_taken_for_it(path, tmp_path):
    first = scenario_hash(load(path))
    assert scenario_hash(load(path, sets=["expect=[]", "description=other"], seed=99)) == first
    assert scenario_hash(load(path, sets=["duration=21s"])) != first
    counts, replayed = tmp_path / "counts.csv", "workload.0.arrivals={trace: counts.csv, column: value, every: 5s}"
    hashes = set()
    for count in (5, 6):
        counts.write_text(f"value\n{count}\n")
        hashes.add(scenario_hash(load(path, sets=[replayed])))
    assert len(hashes) == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "contended.yaml").write_text(SCENARIO)
    (elsewhere / "counts.csv").write_text("value\n6\n")
    moved = load(elsewhere / "contended.yaml", sets=[replayed])
    assert scenario_hash(moved) in hashes


def test_two_at_once_in_one_folder_are_kept_apart(path, tmp_path):
    with Journal.opened(tmp_path / "out"), pytest.raises(ConfigurationError, match="another command is at work there"):
        simulation.sweep(path, out=tmp_path / "out")


def test_a_folder_with_the_results_of_another_command_is_left_alone(path, tmp_path):
    simulation.save(simulation.run(path), tmp_path / "run")
    with pytest.raises(ConfigurationError, match="a folder for a sweep alone, got one with the results of a run"):
        simulation.sweep(path, out=tmp_path / "run")
    assert not (tmp_path / "run" / "runs.jsonl").exists()
    simulation.sweep(path, replicates=1, out=tmp_path / "sweep")
    with pytest.raises(ConfigurationError, match="wanted a folder for a search of tune alone"):
        simulation.tune(path, {ATTEMPTS: [1, 3]}, out=tmp_path / "sweep")


def test_an_interval_ends_where_the_figure_does(path):
    cells = simulation.sweep(path, {ATTEMPTS: [5]}, replicates=2).cells.set_index("figure")
    shares, (low, high) = cells.loc["sent_fraction"], mean_interval([0.99, 1.0])[2:]
    assert high > 1.0 > low  # of two runs it would be wide
    assert shares["low"] <= shares["mean"] <= shares["high"] <= 1.0
    assert (cells["low"].dropna() >= 0).all()


@pytest.mark.thorough
@pytest.mark.integration
def test_a_worker_that_dies_is_told_and_what_is_over_is_kept(path, tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        import multiprocessing
        import simulation
        from actors.errors import WorkerLost

        def progress(over, of, cell=None):
            if over == 4:
                os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

        if __name__ == "__main__":
            try:
                simulation.sweep(sys.argv[1], out=sys.argv[2], workers=2, progress=progress)
            except WorkerLost as lost:
                print(lost)
        """)
    )
    done = subprocess.run([sys.executable, script, path, tmp_path / "out"], capture_output=True, text=True, check=False)
    assert done.stdout == "a worker process ended in the middle of a run, or was killed\n", done.stderr
    assert 4 <= len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) < 18


def test_a_breach_says_where_it_was(path, monkeypatch):
    def breach(scenario, seed):
        raise InvariantBreach("two and two are five", "sums", 0)

    monkeypatch.setattr("simulation.running.runner.run", breach)
    with pytest.raises(
        InvariantBreach, match=r"(?s)with seed 3 and \S+max_attempts=1 \S+failure_rate=10%: .*two and two"
    ):
        simulation.sweep(path)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"vary": {"channels.email.retry.max_atempts": [1]}}, "did you mean max_attempts"),
        ({"vary": {"channels.email.timeout": ["soon"]}}, "wanted a duration"),
        ({"vary": {}}, "wanted path=a,b or path=low..high"),
        ({"sets": ["sweep=null"]}, "wanted a sweep in the file, or --vary path=a,b, got neither"),
        ({"replicates": 10**6}, "wanted at most 1,000,000 runs in all, got 6,000,000"),
        ({"seed": 2**63}, "--seed: wanted a number below 2^63"),
        ({"seed": 2**63 - 1}, "seed: wanted one below 2^63 in every replicate"),
        ({"samples": 5}, "--samples: wanted it only with --design random"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_runs(path, arguments, problem):
    with pytest.raises(ConfigurationError, match=problem.replace("^", r"\^")):
        simulation.sweep(path, **arguments)


@pytest.mark.parametrize("arguments", [{"replicates": 0}, {"workers": 0}])
def test_less_than_one_is_refused(path, arguments):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        simulation.sweep(path, **arguments)


# ── expectations of a share of runs ─────────────────────────────────────────────────────────────────────────────────

FATES = """
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}
expect:
  - {that: sent == 1, in: 80% of runs}
  - {that: sent_time_s.max <= 1s, in: 99% of runs}
"""


def test_the_runs_of_a_cell_decide_what_is_expected_of_a_share_of_them(tmp_path, capsys):
    path = tmp_path / "fates.yaml"
    path.write_text(FATES)
    swept = simulation.sweep(path, {"channels.email.provider.failure_rate": ["0%", "100%"]}, replicates=20)
    assert "expectations_hold" not in swept.runs  # which no single run decides
    good, bad = ([(one["holds"], one["held"], one["runs"]) for one in swept.decided(cell)] for cell in (0, 1))
    assert good == [(True, 14, 14), (None, 20, 20)]
    assert bad == [(False, 0, 3), (False, 0, 2)]  # what has no value holds in no run
    document = swept.document()
    assert [cell["expectations"] for cell in document["cells"]] == [swept.decided(0), swept.decided(1)]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    save_sweep(swept, tmp_path / "out")
    assert simulation.open_sweep(tmp_path / "out").decided(0) == swept.decided(0)
    print_sheets(swept.sheet({"sent": MetricKind.COUNT}))
    printed = " ".join(capsys.readouterr().out.split())
    assert "sent == 1 in 80% of runs" in printed
    assert "holds, 14 of 14 undecided, 20 of 20" in printed
    assert "fails, 0 of 3 fails, 0 of 2" in printed
    with pytest.raises(ConfigurationError, match="wanted a cell of the sweep"):
        swept.decided(2)


def test_of_both_kinds_the_column_is_about_every_run(tmp_path):
    path = tmp_path / "fates.yaml"
    path.write_text(FATES + "  - accepted == 1\n")
    swept = simulation.sweep(path, {"channels.email.provider.failure_rate": ["100%"]}, replicates=2)
    assert swept.runs["expectations_hold"].to_list() == [1.0, 1.0]
    assert (
        "expectations"
        not in simulation.sweep(
            path, {"channels.email.provider.failure_rate": ["0%"]}, replicates=1, sets=["expect=[sent == 1]"]
        ).document()["cells"][0]
    )


DAMAGED = [
    b"\xff\xfe\x00" * 9,
    b"[" * 5_000,
    b"null",
    b'{"scenario": []}',
    b'{"scenario": ["a"], "seed": 1, "digest": "", "figures": {}}',
    b'{"scenario": "SCENARIO", "seed": 0, "digest": "", "figures": {"offered": "many"}}',
    b'{"scenario": "SCENARIO", "seed": 0, "digest": "", "figures": {}}',
    b'{"scenario": "SCENARIO", "seed": 0, "digest": "", "figures": {"offerec": 7.0}}',
    b'{"scenario": "SCENARIO", "seed": 0, "digest": "", "figures": {"offered": 1' + b"0" * 400 + b"}}",
]


@pytest.mark.parametrize("line", sliced(DAMAGED, 6))
def test_a_damaged_line_of_the_journal_is_as_good_as_none(tmp_path, line):
    path = tmp_path / "one.yaml"
    path.write_text("duration: 5s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n")
    vary = {"channels.email.timeout": ["1s", "2s"]}
    whole = simulation.sweep(path, vary, replicates=2, out=tmp_path / "out")
    journal = tmp_path / "out" / "runs.jsonl"
    kept = journal.read_bytes().splitlines()
    known_by = json.loads(kept[0])["scenario"].encode()
    journal.write_bytes(b"\n".join([line.replace(b"SCENARIO", known_by), *kept[1:]]) + b"\n")
    reported = []
    again = simulation.sweep(
        path, vary, replicates=2, out=tmp_path / "out", progress=lambda *counts: reported.append(counts[:2])
    )
    assert reported == [(3, 4), (4, 4)]
    assert again.runs.equals(whole.runs)
