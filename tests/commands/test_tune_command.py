"""`retrylab tune`: what it prints, what it writes, and its exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import in_process
import pandas as pd
import pytest
from console_command import app
from scenario_tables import written
from typer.testing import CliRunner

from simulation.scenario import load

ROOT = Path(__file__).parents[2]
ATTEMPTS = "channels.email.retry.max_attempts"
SCENARIO = """
name: contended
seed: 3
duration: 20s
workload:
  - {channel: email, arrivals: {poisson: 4/s}}
channels:
  email:
    retry: {max_attempts: 2, initial_delay: 1s}
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 100ms}}, failure_rate: 30%}
expect:
  - dead_lettered <= 2
  - channels.email.delivery_time_s.p95 <= 20
"""
QUICK = ["--probability", "80%", "--replicates", 4]


scenario = written("contended.yaml", SCENARIO)


def retrylab(*arguments, cwd=ROOT, **environment):
    if not environment:
        return in_process.retrylab(*arguments, cwd=cwd)
    command = [sys.executable, "-c", "from simulation.commands.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def printed(*arguments):
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


def test_it_prints_the_setting_its_margin_and_what_it_beat_in_eighty_columns(scenario, tmp_path):
    out = tmp_path / "out"
    done = printed(scenario, "--vary", f"{ATTEMPTS}=1..8", *QUICK, "--workers", 1, "--out", out)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert re.fullmatch(r"contended  seeds 3 to 6 · all 8 settings · \d+ runs", lines[0])
    assert re.fullmatch(r"requests [\d.]+, the smallest where all expectations hold in 80% of runs:", lines[1])
    assert re.fullmatch(rf"  {ATTEMPTS}  [45]  was 2", lines[2])
    assert lines[3] == f"{ATTEMPTS}: 4 to 8 do the same; this is the least change."
    assert re.fullmatch(r"confirmed in \d\d of \d\d runs with fresh seeds \(at least 80%, 95% confidence\)", lines[4])
    assert lines[5].split() == ["worst", "run", "80%", "of", "runs", "to", "spare"]
    assert lines[6].startswith("dead_lettered <= 2  ")
    assert lines[7] == "channels.email.delivery_time_s.p95 <= 20"  # long ones have their numbers below
    assert re.fullmatch(r" {34} +[\d.]+ s +[\d.]+ s +[\d.]+ s, \d+%", lines[8])
    assert lines[9].split() == ["what", "it", "beat", "holds", "in", "requests", "difference"]
    assert re.fullmatch(r"the file's own +\d of \d+ +[\d.]+ +-[\d.]+ ± [\d.]+ \*", lines[10])
    end = next(number for number, line in enumerate(lines) if line.startswith("± 95% confidence"))
    assert [line.split("=")[0] for line in lines[11:end]][:-1] == ["max_attempts"] * (end - 12)
    assert re.fullmatch(r"and \d others?, not compared", lines[end - 1])
    trials = pd.read_parquet(out / "trials.parquet")
    rejected = (trials.loc[trials["trial"] > 0, "status"] == "rejected").any()  # 0 is the file's own
    assert lines[end + 1] == "requests: what was found, in its fresh runs; others, that plus the difference"
    assert [line.startswith("Cheaper ones were refused") for line in lines[end + 2 : -1]] == [True] * bool(rejected)
    assert lines[-1] == f"written to {out}"
    # What was found is a scenario as any other, which holds.
    again = CliRunner().invoke(app, ["run", str(out / "tuned.yaml"), "--seed", "1000"])
    assert again.exit_code == 0, again.output


@pytest.mark.thorough
@pytest.mark.integration
def test_the_same_for_any_number_of_workers_and_any_hash_seed(scenario, tmp_path):
    arguments = ["tune", scenario, "--vary", f"{ATTEMPTS}=1..8", "--json", *QUICK, "--trials", 10,
                 "--vary", "channels.email.retry.initial_delay={from: 100ms, to: 5s, scale: log}",
                 "--vary", "channels.email.retry.jitter=none,full"]  # fmt: skip
    one = retrylab(*arguments, "--workers", 1, "--out", tmp_path / "one", PYTHONHASHSEED="0")
    two = retrylab(*arguments, "--workers", 2, "--out", tmp_path / "two", PYTHONHASHSEED="1")
    assert (one.returncode, one.stderr) == (two.returncode, two.stderr) == (0, "")
    assert json.loads(one.stdout)["tried"] == 11
    assert one.stdout == two.stdout
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["runs.jsonl", "runs.parquet", "trials.parquet", "tuned.yaml", "tuning.json"]
    for name in names[1:]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "tuning.json").read_text()) == json.loads(one.stdout)


def test_where_none_meets_them_it_says_which_fail_and_by_how_much(scenario, tmp_path):
    out = tmp_path / "out"
    done = printed(scenario, "--vary", f"{ATTEMPTS}=1,3", *QUICK, "--workers", 1, "--out", out,
                "--set", "expect=[dead_lettered <= 1, sent >= 10, retry_delay_s.max > 9s]")  # fmt: skip
    assert done.exit_code == 1, done.output
    lines = done.output.splitlines()
    assert lines[1] == "No setting was found to meet the expectations in 80% of runs. The nearest one:"
    assert lines[2] == f"  {ATTEMPTS}  3  was 2"
    assert lines[3] == "Nothing else was turned."
    assert lines[4] == "all expectations held in 0 of 4 runs with fresh seeds"
    assert re.fullmatch(r"dead_lettered <= 1 +\d of 4 +[\d.]+ +\d, \d+%", lines[6])
    assert re.fullmatch(r"sent >= 10 +4 of 4 +\d+ +–", lines[7])
    assert re.fullmatch(r"retry_delay_s.max > 9s +0 of 4 +2 s +7 s, 78%", lines[8])
    assert sorted(path.name for path in out.iterdir()) == [
        "runs.jsonl", "runs.parquet", "trials.parquet", "tuning.json",
    ]  # fmt: skip


def test_where_an_objective_or_a_bound_is_never_it_says_so(scenario):
    words = [scenario, "--vary", f"{ATTEMPTS}=2,6", *QUICK, "--workers", 1]
    done = printed(*words, "--set", "expect=[sent >= 1]", "--minimize", "delivery_time_s.p95")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert re.fullmatch(r"delivery_time_s.p95 [\d.]+ s, the smallest where .*", lines[1])
    own = next(line for line in lines if line.startswith("the file's own"))
    assert re.fullmatch(r"the file's own +(\d+) of \1 +never \(\d+/\1\) +[+](never|[\d.]+ \w+)( \*)?", own)
    assert "where one of a pair is never: the median difference, and * by the sign test" in lines
    assert max(map(len, lines[2:])) <= 80
    done = printed(*words, "--set", "expect=[delivery_time_s.p99_9 <= 1h]", "--set", f"{ATTEMPTS}=1", "--trials", 1)
    assert done.exit_code == 1, done.output
    assert re.fullmatch(r"delivery_time_s.p99_9 <= 1h +\d of 4 +\S.* +never", done.output.splitlines()[-1])


@pytest.mark.thorough
def test_several_objectives_are_a_table_of_the_pareto_set(scenario, tmp_path):
    out = tmp_path / "out"
    done = printed(scenario, "--vary", f"{ATTEMPTS}=3..6", "--vary", "channels.email.retry.initial_delay=0.2s,1s,5s",
                "--minimize", "requests", "--minimize", "channels.email.sent_time_s.mean", *QUICK,
                "--maximize", "sent", "--workers", 1, "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("contended  seeds 3 to 6 · all 12 settings")
    count = int(lines[1].split()[0])
    assert count > 1
    assert lines[3].split() == ["holds", "in", "requests", "sent_time_s.mean", "sent"]
    assert max(map(len, lines[:2] + lines[3:-1])) <= 80
    found = json.loads((out / "tuning.json").read_text())["found"]
    assert len(found) == count
    assert [load(out / f"tuned-{n}.yaml").channels.email.retry.max_attempts for n in range(1, count + 1)] == [
        int(each["setting"][ATTEMPTS]) for each in found
    ]


CHANNELS = ("--vary", "workload.0.channel=email,sms", "--set", "channels={}", "--set", "expect=[sent >= 1]")


@pytest.mark.parametrize(("name", "own"), [("email", True), ("sms", False)])
def test_a_figure_that_only_some_settings_have_is_searched_among_those(scenario, name, own):
    figure = f"channels.{name}.accepted"
    words = [scenario, *CHANNELS, *QUICK, "--workers", 1, "--maximize", figure]
    found = json.loads(printed(*words, "--json").stdout)
    assert [each["setting"] for each in found["found"]] == [{"workload.0.channel": name}]
    assert found["found"][0]["figures"][figure] > 0
    assert (found["baseline"]["figures"][figure] is not None) is own
    done = printed(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith(figure)


def test_a_figure_that_no_setting_has_is_refused(scenario):
    done = printed(scenario, *CHANNELS, *QUICK, "--minimize", "channels.push.accepted")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "--minimize channels.push.accepted: wanted a metric of the summary, got channels.push.accepted; "
        f"channels has {channel}"
        for channel in ("email", "sms")
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere.yaml", "--vary", "drain=1s,2s"], "nowhere.yaml: no such file\n"),
        (["contended.yaml", "--vary", "drain"],
         "--vary drain: wanted path=a,b or path=low..high such as channels.email.retry.max_attempts=1..10\n"),
        (["contended.yaml", "--vary", "drain=1s,soon", "--set", "seed=x"],
         "--set seed: wanted a whole number of at least 0, got 'x'\n"),
        (["contended.yaml", "--vary", "drain=1s..soon"],
         "--vary drain: to: wanted a number, a duration, a rate or a share, got 'soon'\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--minimize", "seed"],
         "--minimize seed: wanted a metric of the summary, got seed, which is the run's seed\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--probability", "100%"],
         "--probability: wanted a share of more than 0% to 99.9%, got '100%'\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--confidence", "much"],
         "--confidence: wanted a share from 50% to 99.9%, got 'much'\n"),
        (["contended.yaml", "--vary", "drain=1s,2s", "--dask", "127.0.0.1:1", "--workers", "2"],
         "--dask 127.0.0.1:1: wanted it without --workers, since the cluster has its own\n"),
    ],
)  # fmt: skip
def test_bad_input_exits_2_without_a_traceback(scenario, monkeypatch, arguments, problem):
    monkeypatch.chdir(scenario.parent)
    done = printed(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", problem)


@pytest.mark.integration
def test_what_takes_long_to_import_is_only_imported_to_search(scenario):
    code = (
        "import sys; import simulation.commands.cli, simulation; simulation.Tuning; "
        "from simulation.experiments.tuning import tune; "
        "print([name for name in ('optuna', 'scipy', 'distributed') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
