"""`retrylab lint` for programs: findings as JSON, in one list or one on each line."""

import json
from functools import partial
from pathlib import Path

import in_process
from documents import text_of
from scenario_tables import written

ROOT = Path(__file__).parents[2]
STEADY = ROOT / "scenarios" / "steady-state.yaml"
WRONG = """\
duration: 10m
workload:
  - {channel: email, arrivals: {poisson: 20/s}}
channels:
  email: {circuit_breaker: {timeout: 1m}, retry: {max_attempts: 3},
    timeout: 100ms,
    provider: {latency: 250ms}}
"""

retrylab = partial(in_process.retrylab, cwd=ROOT)


wrong = written("wrong.yaml", WRONG)


def test_a_finding_is_an_object_with_its_place_rule_message_and_numbers(wrong):
    done = retrylab("lint", STEADY, wrong, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == [
        {
            "file": str(wrong),
            "line": 6,
            "column": 14,
            "rule": "timeout-below-median-latency",
            "path": "channels.email.timeout",
            "message": "100ms is shorter than the provider's median latency of 250ms: 100% of the attempts "
            "will time out",
            "numbers": [
                {"text": "100ms", "value": 0.1, "unit": "s"},
                {"text": "250ms", "value": 0.25, "unit": "s"},
                {"text": "100%", "value": 1.0, "unit": "share"},
            ],
        }
    ]


def test_lines_have_what_the_list_has_and_what_is_printed_for_people(wrong):
    quota = ["--set", "channels.email.quota={rate: 8/s}"]
    listed = json.loads(retrylab("lint", wrong, wrong, *quota, "--json").stdout)
    lines = retrylab("lint", wrong, wrong, *quota, "--jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == listed
    assert len(listed) == 4
    own, override = listed[:2]
    assert (override["file"], override["line"], override["column"]) == (str(wrong), None, None)
    printed = retrylab("lint", wrong, *quota).stdout.splitlines()
    assert printed == [
        f"{wrong}:{own['line']}:{own['column']}: {own['path']}: {own['message']}",
        f"--set channels.email.quota: rate: {override['message']}",
    ]


def test_where_there_is_none_the_list_is_empty():
    done = retrylab("lint", STEADY, "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    done = retrylab("lint", STEADY, "--jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_of_files_that_cannot_be_used_stdout_says_nothing(wrong):
    for option in ("--json", "--jsonl"):
        done = retrylab("lint", wrong, "nowhere.yaml", option)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "nowhere.yaml: no such file\n")
    done = retrylab("lint", wrong, "--json", "--jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--jsonl: wanted it without --json\n")


def test_each_line_of_templates_that_cannot_be_used_is_a_finding(tmp_path):
    (tmp_path / "a.txt").write_text("Subject: {{ x|format(1) }}\n\nHi {{ name.upper() }}\n{% include 'x' %}\n")
    (tmp_path / "b.html").write_text("<p>{name}</p>")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    done = retrylab("lint", tmp_path, STEADY)
    assert (done.returncode, done.stderr) == (1, "")
    cannot = "cannot be used in a template"
    assert done.stdout.splitlines() == [
        f"{tmp_path}/a.txt:1:1: the filter format {cannot}: use decimals(2), money('EUR') or date('%d.%m.%Y'); "
        "send a number with zeros or blanks in front ready-made, as a variable",
        f"{tmp_path}/a.txt:3:1: a call of upper() {cannot}: use the filter upper",
        f"{tmp_path}/a.txt:4:1: 'include' {cannot}: write its text where it is used",
        f"{tmp_path}/c.txt: wanted text in UTF-8",
    ]
    listed = json.loads(retrylab("lint", tmp_path / "a.txt", "--json").stdout)
    assert [(each["file"], each["line"], each["rule"]) for each in listed] == [
        (f"{tmp_path}/a.txt", line, "template-refused") for line in (1, 3, 4)
    ]
    annotated = retrylab("lint", tmp_path, "--annotate", "github")
    assert f"file={tmp_path}/a.txt,line=3" in annotated.stderr
    assert retrylab("lint", tmp_path / "b.html").returncode == 0
    (tmp_path / "empty").mkdir()
    for path, why in (("empty", "wanted templates, files that end in .txt or .html, got none"),
                      ("gone.txt", "no such file or directory")):  # fmt: skip
        done = retrylab("lint", tmp_path / path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{tmp_path / path}: {why}\n")


def test_the_help_and_the_guide_name_all_that_a_finding_has(wrong):
    (finding,) = json.loads(retrylab("lint", wrong, "--json").stdout)
    help_text = retrylab("lint", "--help").stdout
    guide = text_of("scenarios").split("## Lint")[1].split("## What can be set")[0]
    for key in (*finding, *finding["numbers"][0]):
        assert key in help_text
        assert key in guide
