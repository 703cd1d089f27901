"""`retrylab run` and `retrylab schema` as a person or a CI job meets them."""

import errno
import gc
import json
import os
import re
import sys
from functools import partial
from io import StringIO
from pathlib import Path
from unittest import mock

import in_process
import pandas as pd
import pytest
from effort import sliced, thorough
from malformed_scenarios import MALFORMED

import simulation
from simulation.commands.shared import say

ROOT = Path(__file__).parents[2]
OUTAGE = ROOT / "scenarios" / "provider-outage.yaml"
STEADY = ROOT / "scenarios" / "steady-state.yaml"
SHORT = ("--set", "duration=10s", "--set", "expect=[]")


retrylab = partial(in_process.retrylab, cwd=ROOT)


def test_arrivals_that_were_refused_are_told():
    crash = "faults=[{channel: email, at: 1m, crash: process, restart_after: 10s}]"
    words = ("run", STEADY, "--set", "duration=90s")
    done = retrylab(*words, "--set", crash, "--set", "expect=[refused.down > 0]")
    assert (done.returncode, done.stderr) == (0, "")
    assert "of these were refused: 158 while the process was down\n" in done.stdout
    assert "refused" not in retrylab(*words).stdout


@pytest.mark.parametrize(("openings", "text"), [(0, "–"), (1, "once, 5 s"), (2, "2 times, 10 s")])
def test_how_often_a_breaker_opened_is_said_in_words(openings, text, tmp_path):
    path = tmp_path / "operated.yaml"
    orders = [
        f"{{at: {10 * number + at}s, channel: sms, breaker: {order}}}"
        for number in range(openings)
        for at, order in ((1, "force-open"), (6, "close"))
    ]
    path.write_text(
        f"duration: 30s\nworkload: [{{channel: sms, arrivals: {{constant: 1/s}}}}]\noperations: [{', '.join(orders)}]\n"
    )
    done = retrylab("run", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2].endswith(f"  {text}")


def test_an_expectation_that_does_not_hold_exits_1_and_shows_the_value():
    done = retrylab("run", OUTAGE, "--set", "duration=3m", "--set", "expect=[sent_fraction >= 1, attempts > 0]")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAILS  sent_fraction >= 1  is 9" in done.stdout
    assert "holds  attempts > 0" in done.stdout


def test_json_is_one_document_and_nothing_else_also_on_exit_1():
    done = retrylab("run", OUTAGE, "--json", "--set", "duration=3m", "--set", "expect=[sent_fraction >= 1]")
    assert (done.returncode, done.stderr) == (1, "")
    summary = json.loads(done.stdout)
    assert summary["scenario"] == "provider-outage"
    assert summary["expectations"] == [
        {"text": "sent_fraction >= 1", "value": summary["sent_fraction"], "holds": False}
    ]


def test_json_of_several_files_is_a_list_in_their_order():
    done = retrylab("run", STEADY, OUTAGE, *SHORT, "--json")
    assert [summary["scenario"] for summary in json.loads(done.stdout)] == ["steady-state", "provider-outage"]


@pytest.mark.thorough
def test_of_several_files_no_result_is_kept_beyond_its_turn(monkeypatch):
    there = []

    def look(_result, _directory, _comparison):
        gc.collect()
        there.append(sum(isinstance(each, simulation.Result) for each in gc.get_objects()))

    monkeypatch.setattr("simulation.reporting.console.print_result", look)
    assert retrylab("run", STEADY, STEADY, STEADY, "--set", "duration=5s", "--set", "expect=[]").returncode == 0
    assert there == [there[0]] * 3


def test_seed_and_runtime_are_those_asked_for():
    words = ("run", STEADY, *SHORT, "--json", "--seed", 99)
    simulated = json.loads(retrylab(*words).stdout)
    live = json.loads(retrylab(*words, "--runtime", "trio").stdout)
    assert (simulated["seed"], simulated["runtime"], live["runtime"]) == (99, "simpy", "trio")
    assert simulated["digest"] == live["digest"]


def test_out_holds_summary_tables_and_a_picture(tmp_path):
    done = retrylab("run", OUTAGE, "--set", "duration=1m", "--out", tmp_path / "new" / "folder", "--json")
    summary = json.loads(done.stdout)
    folder = tmp_path / "new" / "folder"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert len(pd.read_parquet(folder / "notifications.parquet")) == summary["accepted"]
    assert len(pd.read_parquet(folder / "attempts.parquet")) == summary["attempts"]
    assert len(pd.read_parquet(folder / "dlq.parquet")) == summary["dead_lettered"]
    assert (folder / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {
        "summary.json", "scenario.yaml", "notifications.parquet", "attempts.parquet", "deferrals.parquet",
        "breaker.parquet", "dlq.parquet", "series.parquet", "overview.png", "report.html",
    }  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_out_of_several_files_is_a_folder_each(tmp_path):
    done = retrylab("run", STEADY, OUTAGE, *SHORT, "--out", tmp_path)
    assert f"report {tmp_path / 'steady-state' / 'report.html'}, its tables beside it" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["provider-outage", "steady-state"]


def test_what_cannot_be_saved_is_printed_all_the_same(tmp_path, monkeypatch):
    """The folder was fine before the run, and is not afterwards."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(pd.DataFrame, "to_parquet", mock.Mock(side_effect=full))
    vary = ["--vary", "channels.email.retry.max_attempts=1,2", "--replicates", "1", "--workers", "1"]
    for command, more in (("run", []), ("compare", vary)):
        words = [command, STEADY, *more, "--set", "duration=5s", "--set", "expect=[]"]
        out = ["--out", tmp_path / command]
        plain, as_json = retrylab(*words, *out), retrylab(*words, *out, "--json")
        assert (plain.returncode, as_json.returncode) == (2, 2)
        assert plain.stderr == as_json.stderr == f"--out {tmp_path / command}: No space left on device\n"
        assert plain.stdout == retrylab(*words).stdout
        assert as_json.stdout == retrylab(*words, "--json").stdout


def test_all_problems_of_all_files_are_said_before_anything_runs(tmp_path):
    (tmp_path / "one.yaml").write_text("name: one\nduration: 10\nworkload: []\n")
    (tmp_path / "two.yaml").write_text("- a list\n")
    done = retrylab("run", STEADY, "one.yaml", "two.yaml", "three.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    forms = "(10 is 10ms if milliseconds were meant, 10s if seconds)"
    assert (
        f"one.yaml:2:11: duration: wanted a duration of more than 0 such as 80ms, 10s, 5m or 2h {forms}, got 10"
        in lines
    )
    assert "two.yaml: passed over: it has none of channels, duration, expect, workload" in lines
    assert "three.yaml: no such file" in lines


@pytest.mark.parametrize("setting", ["nonsense", "channels.email.retry.max_attempts=many", "=1", "workload.7.users=3"])
def test_a_setting_that_does_not_fit_is_bad_input(setting):
    done = retrylab("run", STEADY, "--set", setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--set ")
    assert "Traceback" not in done.stderr


def test_the_schema_printed_is_the_published_one():
    published = ROOT / "scenarios" / "scenario.schema.json"
    assert retrylab("schema").stdout == published.read_text(encoding="utf-8"), (
        f"write it anew: retrylab schema > scenarios/{published.name}"
    )


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert retrylab("--version").stdout == f"retrylab {version('retrylab')}\n"


@pytest.mark.parametrize("each", sliced(MALFORMED, 12), ids=lambda each: each.name)
def test_a_malformed_file_exits_2_without_a_traceback(each, tmp_path):
    done = retrylab("run", each.written(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize("columns", sliced([40, 60], 4))
@pytest.mark.parametrize("command", ["run", "compare", "whatif", thorough("sweep")])
def test_a_narrow_terminal_cuts_off_no_figures(command, columns, tmp_path, monkeypatch):
    path = tmp_path / "slow.yaml"
    path.write_text(
        "duration: 100s\nworkload: [{channel: webhook, arrivals: {constant: 111/s}}]\n"
        "channels: {webhook: {provider: {latency: {constant: 123ms}}}}\n"
    )
    log = tmp_path / "log.csv"
    log.write_text("time,latency,outcome\n" + "".join(f"{second},0.123,sent\n" for second in range(50)))
    vary = ["--vary", "channels.webhook.retry.max_attempts=1,2", "--replicates", "1", "--workers", "1"]
    words = {
        "run": ["run", path],
        "compare": ["compare", path, *vary, "--metric", "sent", "--metric", "delivery_time_s.p99"],
        "whatif": ["whatif", log, path, "--channel", "webhook", "--replicates", "2"],
        "sweep": ["sweep", path, *vary, "--metric", "sent", "--metric", "delivery_time_s.p99", "--out", tmp_path],
    }[command]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    done = retrylab(*words)
    assert done.returncode == 0, done.stderr
    for figure in ("11,100", "123 ms") if command != "whatif" else ("50", "123 ms", "time until sent, p99"):
        assert figure in done.stdout
    assert "…" not in done.stdout


def test_in_a_terminal_the_name_of_an_expectation_is_dim_and_its_value_bright(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    done = retrylab("run", STEADY, *SHORT, "--set", "expect=[sent_fraction >= 50%]")
    assert re.search(r"holds\S+  \x1b\[2msent_fraction >= 50%\x1b\[0m  is 100%", done.stdout), done.stdout


def test_what_is_said_on_a_terminal_breaks_at_words_but_a_command_does_not(monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    command = f"retrylab run {'x' * 60} --seed 3"
    warning = "warning: a.yaml:3:5: channels.email.retry.max_attempts: " + "no attempt is made after the first " * 3
    monkeypatch.setattr("simulation.commands.shared.get_terminal_size", lambda: os.terminal_size((50, 9)))
    for stderr, lines in ((Terminal(), 4), (StringIO(), 1)):
        monkeypatch.setattr(sys, "stderr", stderr)
        say(f"{warning}\n{command}")
        *said, last = stderr.getvalue().splitlines()
        assert last == command
        assert len(said) == lines
        assert " ".join(said).split() == warning.split()
        assert lines == 1 or max(map(len, said)) <= 50


# ── a line for each file ────────────────────────────────────────────────────────────────────────────────────────


def test_lines_are_the_summaries_with_their_files(tmp_path):
    failing = tmp_path / "failing.yaml"
    failing.write_text("duration: 5s\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]\nexpect: [sent > 9]\n")
    files = [STEADY, failing]
    done = retrylab("run", *files, "--set", "duration=5s", "--jsonl")
    listed = json.loads(retrylab("run", *files, "--set", "duration=5s", "--json").stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"file": str(file)} | summary for file, summary in zip(files, listed, strict=True)
    ]
    assert retrylab("run", STEADY, *SHORT, "--jsonl").stdout.count("\n") == 1


def test_a_line_is_out_before_the_next_run_begins(monkeypatch):
    from simulation.running import runner

    begun, run = [], runner.run

    def once(*arguments, **options):
        begun.append(sys.stdout.getvalue())
        if len(begun) == 2:
            raise KeyboardInterrupt
        return run(*arguments, **options)

    monkeypatch.setattr(runner, "run", once)
    done = retrylab("run", STEADY, STEADY, *SHORT, "--jsonl")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert begun == ["", done.stdout]
    assert json.loads(done.stdout)["file"] == str(STEADY)


def test_one_list_and_lines_do_not_go_together():
    done = retrylab("run", STEADY, *SHORT, "--json", "--jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--jsonl: wanted it without --json\n")


def test_of_several_files_those_that_are_no_scenarios_are_named_and_passed_over(tmp_path):
    other, service, broken = (tmp_path / f"{name}.yaml" for name in ("alerts", "service", "broken"))
    other.write_text("groups: []\n")
    service.write_text("channels: {email: {}}\n")
    broken.write_text("duration: 1m: 2\n")
    done = retrylab("run", STEADY, other, *SHORT)
    assert done.returncode == 0
    assert done.stderr == f"{other}: passed over: it has none of channels, duration, expect, workload\n"
    assert done.stdout.count("digest ") == 1
    for bad in ([other], [other, other], [STEADY, service], [STEADY, broken]):
        done = retrylab("run", *bad, *SHORT)
        assert (done.returncode, done.stdout) == (2, "")
        assert "passed over" not in done.stderr
