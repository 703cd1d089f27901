"""`simulation.compare` and `retrylab compare`: settings on the same seeds."""

import json
import math
import re
import shlex
import statistics
from functools import partial
from pathlib import Path

import in_process
import pandas as pd
import pytest
from documents import text_of
from scenario_tables import written

import simulation
from actors.errors import ConfigurationError, InvariantBreach
from simulation.experiments import comparison as module
from simulation.experiments.paired import difference
from simulation.reporting.console import print_sheets

ROOT = Path(__file__).parents[2]
SCENARIO = """
name: contended
seed: 3
duration: 60s
workload:
  - {channel: email, arrivals: {poisson: 5/s}}
  - {channel: push, arrivals: {poisson: 1/s}}
channels:
  email:
    retry: {max_attempts: 3, initial_delay: 1s}
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 100ms}}, failure_rate: 30%}
"""
ATTEMPTS = "channels.email.retry.max_attempts"


scenario = written("contended.yaml", SCENARIO)


retrylab = partial(in_process.retrylab, cwd=ROOT)


def test_each_run_is_that_of_the_run_command(scenario):
    compared = simulation.compare(
        scenario, {ATTEMPTS: [3, 5]}, replicates=2, metrics=["attempts", "delivery_time_s.p99"]
    )
    for number, attempts in enumerate([3, 5]):
        for run, seed in enumerate([3, 4]):
            summary = simulation.run(scenario, seed=seed, sets=[f"{ATTEMPTS}={attempts}"]).summary
            assert compared.values["attempts"][number][run] == summary["attempts"]
            of_all = summary["delivery_time_s"]
            expected = math.inf if of_all["p99"] is None and of_all["never"] else of_all["p99"]
            assert compared.values["delivery_time_s.p99"][number][run] == expected
    assert compared.seeds == [3, 4]


def test_the_table_has_means_and_paired_differences(scenario):
    compared = simulation.compare(scenario, {ATTEMPTS: [1, 3]}, replicates=3, seed=10, metrics=["sent", "attempts"])
    table = compared.table.set_index(["metric", ATTEMPTS])
    runs = compared.runs
    assert list(runs["seed"]) == [10, 11, 12, 10, 11, 12]
    one, three = (runs.loc[runs[ATTEMPTS] == value, "sent"].to_list() for value in (1, 3))
    assert table.loc[("sent", 1), "mean"] == pytest.approx(sum(one) / 3)
    expected = difference(three, one)
    row = table.loc[("sent", 3)]
    assert (row["difference"], row["low"], row["high"]) == (expected.mean, expected.low, expected.high)
    assert row["excludes_0"]
    baseline = table.loc[("sent", 1)]
    assert pd.isna(baseline["difference"])
    assert not baseline["excludes_0"]


def test_what_the_setting_leaves_alone_has_the_same_seeds(scenario):
    compared = simulation.compare(
        scenario, {ATTEMPTS: "2,6"}, replicates=4, metrics=["accepted", "channels.push.sent_time_s.max"]
    )
    for metric in compared.values:
        assert compared.differences[metric][1].mean == 0
        assert not compared.differences[metric][1].excludes_0


@pytest.mark.thorough
def test_common_random_numbers_give_narrower_intervals_than_independent_ones(scenario):
    metrics = ["sent", "attempts", "sent_time_s.mean"]
    compared = simulation.compare(scenario, {ATTEMPTS: "3,4"}, replicates=12, metrics=metrics)
    independent = simulation.compare(scenario, {ATTEMPTS: "3,4"}, replicates=12, seed=1000, metrics=metrics)
    for metric in metrics:
        apart = difference(independent.values[metric][1], compared.values[metric][0])
        assert compared.differences[metric][1].half_width < apart.half_width


@pytest.mark.integration
def test_the_result_is_the_same_for_any_number_of_workers(scenario):
    arguments = {"vary": {ATTEMPTS: "1,3", "channels.email.timeout": "5s,10s"}, "replicates": 2}
    reported = []
    alone = simulation.compare(scenario, **arguments)
    shared = simulation.compare(scenario, **arguments, workers=3, progress=lambda over, of: reported.append((over, of)))
    assert alone.document == shared.document
    assert reported == [(over, 8) for over in range(9)]


def test_a_figure_of_nothing_is_none_and_said_so(scenario, capsys):
    # With one attempt at most there is no retry, and so no delay of one.
    compared = simulation.compare(scenario, {ATTEMPTS: "3,1"}, replicates=2, metrics=["retry_delay_s.max"])
    assert [found.middle for found in compared.over_runs["retry_delay_s.max"]] == [2.0, None]
    assert compared.differences["retry_delay_s.max"] == [None, None]
    assert compared.document["metrics"]["retry_delay_s.max"][1] == {
        "mean": None, "values": [None, None], "difference": None,
    }  # fmt: skip
    assert pd.isna(compared.table["mean"][1])
    print_sheets(compared.sheet)
    assert ["max_attempts=1", "–"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_setting_that_is_never_is_said_to_be_and_is_above_all_others(scenario, capsys):
    # Three attempts lose 3% of what goes out, five 0.2%: so p99 is never with three, and a time with five.
    compared = simulation.compare(scenario, {ATTEMPTS: "5,3"}, replicates=7, metrics=["delivery_time_s.p99"])
    (five, three) = compared.over_runs["delivery_time_s.p99"]
    assert (five.never, three.never) == (0, 7)
    assert (math.isnan(three.mean), three.median, three.low) == (True, math.inf, math.inf)
    (_, apart) = compared.differences["delivery_time_s.p99"]
    assert (apart.mean, apart.value, apart.more, apart.less, apart.excludes_0) == (None, math.inf, 7, 0, True)
    assert compared.document["metrics"]["delivery_time_s.p99"][1] == {
        "median": None, "never": 7, "values": [None] * 7,
        "difference": {"pairs": 7, "mean": None, "median": None, "low": None, "high": None, "more": 7, "less": 0,
                       "excludes_0": True},
    }  # fmt: skip
    json.dumps(compared.document, allow_nan=False)
    row = compared.table.iloc[1]
    assert (row["never"], row["median"], row["difference"]) == (7, math.inf, math.inf)
    assert list(compared.runs["delivery_time_s.p99"][7:]) == [math.inf] * 7
    print_sheets(compared.sheet)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "max_attempts=3 never +never 7 more, 0 less * (never in 7 of 7)" in lines
    assert lines[-1] == "of what is never in a run: medians, also of the differences, and * by the sign test"


@pytest.mark.parametrize(("attempts", "middle"), [("6,8", "mean"), ("3,8,6", "median")])
def test_what_stands_beside_a_difference_is_of_its_kind(scenario, attempts, middle):
    compared = simulation.compare(scenario, {ATTEMPTS: attempts}, replicates=7, metrics=["delivery_time_s.p99"])
    rows = compared.table
    other = "median" if middle == "mean" else "mean"
    assert rows["never"].any() == (middle == "median")
    assert middle == "mean" or rows[other].isna().all()
    of_setting = compared.values["delivery_time_s.p99"]
    fold = getattr(statistics, middle)
    assert rows[middle].to_list() == pytest.approx([fold(runs) for runs in of_setting])
    apart = [fold(b - a if b != a else 0.0 for a, b in zip(of_setting[0], runs, strict=True)) for runs in of_setting]
    assert rows["difference"].to_list()[1:] == pytest.approx(apart[1:])
    assert compared.sheet.rows[0].cells[1] == ("median" if middle == "median" else "")


def test_a_time_is_written_in_the_way_of_the_summary(scenario):
    compared = simulation.compare(
        scenario, {ATTEMPTS: "1,2"}, replicates=1, metrics=["delivered_within(60s)", "delivered_within(1m)"]
    )
    assert list(compared.values) == ["delivered_within(1m)"]


def test_a_metric_of_a_part_of_the_run_is_compared(scenario):
    sets = ["expect=[{from: 0s, to: 5s, that: [sent >= 0]}]"]
    path = "windows(0s,5s).delivered_within(60s)"
    compared = simulation.compare(scenario, {ATTEMPTS: "1,2"}, replicates=1, metrics=[path], sets=sets)
    assert list(compared.values) == ["windows(0s,5s).delivered_within(1m)"]
    with pytest.raises(ConfigurationError, match=r"wanted a metric of the summary, got windows\(0s,6s\).sent"):
        simulation.compare(scenario, {ATTEMPTS: "1,2"}, replicates=1, metrics=["windows(0s,6s).sent"], sets=sets)


def test_breakers_are_among_the_metrics_only_where_one_opens(scenario):
    quiet = simulation.compare(scenario, {ATTEMPTS: "1,2"}, replicates=1)
    assert tuple(quiet.values) == module.METRICS
    breakers = {"channels.email.circuit_breaker": "{enabled: false},{failure_threshold: 2}"}
    opening = simulation.compare(scenario, breakers, replicates=1)
    assert tuple(opening.values) == (*module.METRICS, "breaker.email.opened", "breaker.email.open_s")


def test_problems_of_all_settings_and_metrics_in_plain_words(scenario):
    with pytest.raises(ConfigurationError) as refused:
        simulation.compare(scenario, {ATTEMPTS: "3,many", "channels.email.retry.jitter": "ful,none"}, replicates=1)
    assert refused.value.problems == [
        "--vary channels.email.retry.jitter: wanted one of none, full (0 to w, the wait), equal (w/2 to w), "
        "decorrelated (initial_delay to jitter_factor times the wait before), proportional (w ± jitter_share), "
        "additive (w + up to jitter_max), by_count (w + up to jitter_max times the number of attempts), "
        "soft (Polly's), got 'ful'",
        f"--vary {ATTEMPTS}: wanted a whole number of at least 1, or unlimited, got 'many'",
    ]
    with pytest.raises(ConfigurationError) as refused:
        simulation.compare(scenario, {ATTEMPTS: "1,2"}, metrics=["sent", "sent_fractoin", "dlq", "digest", "a b"])
    assert refused.value.problems == [
        "--metric sent_fractoin: wanted a metric of the summary, got sent_fractoin; did you mean sent_fraction?",
        "--metric dlq: wanted a single metric, such as dlq.final, got dlq",
        "--metric digest: wanted a metric of the summary, got digest, which is text",
        "--metric a b: wanted a metric of the summary such as sent_fraction, got 'a b'",
    ]
    with pytest.raises(ValueError, match="wanted replicates of at least 1, got 0"):
        simulation.compare(scenario, {ATTEMPTS: "1,2"}, replicates=0)


def test_a_broken_invariant_names_the_seed_and_the_setting(scenario, monkeypatch):
    def broken(scenario, *, seed):
        raise InvariantBreach("one was lost")

    monkeypatch.setattr("simulation.running.runner.run", broken)
    with pytest.raises(InvariantBreach, match=f"^with seed 3 and drain=1m {ATTEMPTS}=1: one was lost$"):
        simulation.compare(scenario, {ATTEMPTS: "1,2"}, sets=["drain=1m"])


def test_the_command_prints_a_table_that_fits_eighty_columns(scenario):
    done = retrylab("compare", scenario, "--vary", f"{ATTEMPTS}=1,3", "--replicates", 3, "--metric", "sent_fraction",
                    "--metric", "attempts", "--metric", "accepted", "--workers", 1)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "contended  seeds 3 to 5 · 2 settings on the same seeds"
    assert lines[1].split() == ["mean", "difference"]
    assert [line.split()[0] for line in lines[2:-1]] == [
        "sent_fraction", "max_attempts=1", "max_attempts=3", "attempts", "max_attempts=1", "max_attempts=3",
        "accepted", "max_attempts=1", "max_attempts=3",
    ]  # fmt: skip
    assert lines[4].endswith(" *")
    assert lines[-2].endswith("same")


def test_long_names_of_settings_are_numbered(scenario):
    latency = "channels.email.provider.latency={exponential: {mean: 100ms}},{lognormal: {median: 80ms, p99: 900ms}}"
    done = retrylab("compare", scenario, "--vary", latency, "--replicates", 1, "--metric", "sent", "--workers", 1)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0] == "contended  seed 3 · 2 settings on the same seeds"
    assert [line.split()[0] for line in lines[2:5]] == ["sent", "#1", "#2"]
    assert lines[5:] == [
        "#1  latency={exponential: {mean: 100ms}}",
        "#2  latency={lognormal: {median: 80ms, p99: 900ms}}",
    ]


def test_settings_differ_also_in_what_one_of_them_leaves_out(scenario):
    unbounded = {"channels.sms": ["{max_in_flight: null}", "{}"]}
    compared = simulation.compare(scenario, unbounded, replicates=1, metrics=["sent_fraction"], sets=["duration=1s"])
    assert len(compared.settings) == 2


@pytest.mark.integration
def test_json_is_one_document_and_out_holds_it_with_tables(scenario, tmp_path):
    done = retrylab("compare", scenario, "--vary", f"{ATTEMPTS}={{from: 1, to: 3, steps: 2}}", "--replicates", 2,
                    "--seed", 7, "--json", "--out", tmp_path / "out")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["seeds"] == [7, 8]
    assert document["settings"] == [{ATTEMPTS: "1"}, {ATTEMPTS: "3"}]
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == document
    table = pd.read_parquet(tmp_path / "out" / "comparison.parquet")
    assert len(table) == 2 * len(document["metrics"])
    assert len(pd.read_parquet(tmp_path / "out" / "runs.parquet")) == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere.yaml", "--vary", "drain=1s,2s"], "nowhere.yaml: no such file\n"),
        (["contended.yaml"], "--vary: wanted two values to compare, such as channels.email.retry.jitter=none,full\n"),
        (["contended.yaml", "--vary", "drain=1s,1s"],
         "--vary: wanted two values to compare, such as channels.email.retry.jitter=none,full\n"),
        (["contended.yaml", "--vary", "drain=1s,2s,1000ms"], "--vary: drain=1000ms is the same as drain=1s\n"),
        (["contended.yaml", "--vary", "drain=1s..9s", "--vary", f"{ATTEMPTS}=1..3"],
         "--vary drain: wanted values, or steps in the range, got a range without steps\n"
         f"--vary {ATTEMPTS}: wanted values, or steps in the range, got a range without steps\n"),
        (["contended.yaml", "--vary", "seed=1,2", "--vary", "drain=", "--vary", "x"],
         "--vary x: wanted path=a,b or path=low..high such as channels.email.retry.max_attempts=1..10\n"
         "--vary seed: wanted a setting of the run, got seed\n"
         "--vary drain: wanted values with a comma between them, got nothing in the place of one\n"),
        (["contended.yaml", *(part for path in "abc" for part in ("--vary", f"{path}={{from: 0, to: 10, steps: 11}}"))],
         "--vary: wanted at most 1,000 combinations, got 1,331\n"),
        (["contended.yaml", "--vary", "drain=1s,soon"],
         "--vary drain: wanted a duration such as 80ms, 10s, 5m or 2h, got 'soon'\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--set", "seed=x"],
         "--set seed: wanted a whole number of at least 0, got 'x'\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--metric", "seed"],
         "--metric seed: wanted a metric of the summary, got seed, which is the run's seed\n"),
    ],
)  # fmt: skip
def test_bad_input_exits_2_without_a_traceback(scenario, arguments, problem):
    done = retrylab("compare", *arguments, cwd=scenario.parent)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", problem)


@pytest.mark.integration
@pytest.mark.slow
def test_the_guide_shows_what_it_prints():
    guide = text_of("experiments")
    command, shown = re.search(r"^```sh\n(retrylab compare .*?)```\n\n```text\n(.*?)```", guide, re.M | re.S).groups()
    done = retrylab(*shlex.split(command.replace("\\\n", " "))[1:])
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_a_folder_keeps_the_runs_and_has_the_results(scenario, tmp_path):
    out, reported = tmp_path / "out", []
    few = simulation.compare(scenario, {ATTEMPTS: "1,3"}, replicates=2, out=out)
    assert json.loads((out / "comparison.json").read_text()) == few.document
    more = simulation.compare(
        scenario, {ATTEMPTS: "1,3"}, replicates=3, out=out, progress=lambda over, of: reported.append((over, of))
    )
    assert reported == [(4, 6), (5, 6), (6, 6)]
    assert more.document == simulation.compare(scenario, {ATTEMPTS: "1,3"}, replicates=3).document
