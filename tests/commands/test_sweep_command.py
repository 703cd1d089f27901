"""`retrylab sweep` as a person or a CI job meets it."""

import json
import math
import re
from pathlib import Path

import in_process
import pytest
from scenario_tables import written

import simulation

ROOT = Path(__file__).parents[2]
SCENARIO = """
name: small
duration: 10s
workload: [{channel: email, arrivals: {poisson: 5/s}}]
channels: {email: {provider: {failure_rate: 20%}}}
expect: [sent_fraction >= 0.97]
"""
ALONE = ("--workers", 1)
VARY = ("--vary", "channels.email.retry.max_attempts=1,3", "--replicates", 2)


path = written("small.yaml", SCENARIO)


def retrylab(*arguments):
    return in_process.retrylab(*arguments, cwd=ROOT)


def sweep(*arguments):
    return retrylab("sweep", *arguments)


def test_a_setting_of_a_channel_on_which_nothing_arrives_is_warned_of(path, tmp_path):
    vary = ("--vary", "channels.push.retry.max_attempts=1,3", "--replicates", 2, *ALONE)
    warning = "warning: --vary channels.push.retry.max_attempts: nothing arrives on push: it has no effect\n"
    done = sweep(path, *vary, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, warning)
    assert retrylab("compare", path, *vary).stderr == warning
    done = retrylab("tune", path, *vary, "--set", "expect=[dead_lettered >= 0]", "--probability", "50%")
    assert done.stderr.startswith(warning)


def test_it_prints_a_row_a_cell_and_where_the_rest_is(path, tmp_path):
    done = sweep(path, *VARY, "--out", tmp_path / "out", "--workers", 1)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "small  seeds 0 to 1 · 2 cells on the same seeds · 4 runs"
    assert lines[1].split() == [
        "max_attempts", "sent_fraction", "requests", "delivery_time_s.p99", "as", "expected"
    ]  # fmt: skip
    swept = simulation.open_sweep(tmp_path / "out")
    for cell, attempts in enumerate("13"):
        assert lines[2 + cell].split()[:2] == [
            attempts,
            f"{swept.runs['sent_fraction'][2 * cell : 2 * cell + 2].mean():.5f}",
        ]
    assert lines[2].endswith("0 of 2")
    assert " ".join(lines[2].split()).endswith("never in 2 of 2 0 of 2")  # of 50 one in five is lost
    assert "a metric that may be never has its median, with its 95% confidence interval from six runs on" in lines
    assert lines[-1] == f"written to {tmp_path / 'out'}; to see it: retrylab plot {tmp_path / 'out'}"


def test_a_median_is_printed_with_its_interval_and_in_how_many_runs_it_is_never(path, tmp_path):
    vary = ("--vary", "channels.email.retry.max_attempts=3", "--replicates", 8, "--metric", "delivery_time_s.p95")
    done = sweep(path, *vary, *ALONE, "--out", tmp_path / "out", "--set", "channels.email.provider.failure_rate=33%")
    swept = simulation.open_sweep(tmp_path / "out")
    values = swept.values(0, "delivery_time_s.p95")
    never = values.count(math.inf)
    assert 0 < never < 4
    row = " ".join(done.stdout.splitlines()[2].split())
    assert re.fullmatch(rf"3 [\d.]+ s, [\d.]+ m?s to never \(never in {never} of 8\) \d of 8", row)


def test_without_out_nothing_is_written(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = sweep(path, *VARY, "--workers", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "written" not in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_json_is_one_document_with_the_figures_asked_for(path, tmp_path):
    done = sweep(
        path, *VARY, "--out", tmp_path / "out", "--json", *ALONE, "--metric", "dlq.peak", "--metric", "attempts"
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert [cell["setting"] for cell in document["cells"]] == [
        {"channels.email.retry.max_attempts": "1"}, {"channels.email.retry.max_attempts": "3"},
    ]  # fmt: skip
    assert list(document["cells"][0]["figures"]) == ["dlq.peak", "attempts"]
    assert document["cells"][0]["figures"]["attempts"]["n"] == 2


ANY_CHANNEL = ("--vary", "workload.0.channel=email,sms", "--replicates", 1, "--set", "channels={}")


@pytest.mark.parametrize("name", ["email", "sms"])
def test_a_figure_that_only_some_cells_have_is_shown_of_those(name, path, tmp_path):
    figure = f"channels.{name}.accepted"
    done = sweep(path, *ANY_CHANNEL, *ALONE, "--metric", figure, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    runs = simulation.open_sweep(tmp_path / "out").runs
    wanted = ["–" if math.isnan(value) else f"{value:.0f}" for value in runs[figure]]
    assert sorted(value == "–" for value in wanted) == [False, True]
    assert [line.split()[1] for line in done.stdout.splitlines()[2:4]] == wanted


def test_a_figure_that_no_cell_has_is_refused_whatever_the_file_alone_would_have(path, tmp_path):
    words = ("--vary", "workload.0.channel=sms,push", "--set", "channels={}", "--metric", "channels.email.sent")
    done = sweep(path, *words, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"--metric channels.email.sent: wanted a metric of the summary, got channels.email.sent; channels has {channel}"
        for channel in ("sms", "push")
    ]
    assert not (tmp_path / "out").exists()


def test_a_design_of_samples(path, tmp_path):
    words = ["--vary", "channels.email.retry.initial_delay={from: 100ms, to: 10s, scale: log}", "--replicates", 1]
    done = sweep(
        path, *words, "--design", "latin-hypercube", "--samples", 3, "--out", tmp_path / "out", "--json", *ALONE
    )
    assert len(json.loads(done.stdout)["cells"]) == 3, done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "wanted a sweep in the file, or --vary path=a,b, got neither"),
        (("--vary", "channels.email.retry.max_attempts=1..5"), "wanted values, steps in the range, or --design"),
        ((*VARY, "--metric", "sent_fractoin"), "did you mean sent_fraction?"),
        ((*VARY, "--metric", "seed"), "--metric seed: wanted a metric of the summary, got seed"),
        ((*VARY, "--dask", "tcp://127.0.0.1:9", "--workers", "2"), "wanted it without --workers"),
        (
            ("--vary", "channels.email.retry.max_attempts=1,none"),
            "wanted a whole number of at least 1, or unlimited, got 'none'",
        ),
    ],
)
def test_bad_input_exits_2_in_words(path, tmp_path, arguments, problem):
    done = sweep(path, *arguments, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["sweep", "tune"])
def test_a_cluster_without_an_address_is_told_in_a_line_and_leaves_nothing(name, path, tmp_path):
    words = [name, path, *VARY, "--dask", "nowhere", "--out", tmp_path / "out"]
    done = retrylab(*words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("--dask nowhere: wanted the address of a Dask scheduler, got: ")
    assert not (tmp_path / "out").exists()
