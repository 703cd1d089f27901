"""``retrylab validate`` at the shell."""

from __future__ import annotations

import json

import pytest
from console_command import app
from typer.testing import CliRunner

EXACT = ["validate", "--case", "aws-sdk", "--case", "resilience4j"]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.stdout, result.stderr


def test_it_prints_source_expected_measured_and_result():
    code, out, _ = run(*EXACT, "--workers", "1")
    assert code == 0
    assert "  botocore, tests/unit/retries\n  https://github.com/boto/botocore" in out
    line = next(line for line in out.splitlines() if "quota after 3 failures" in line)
    assert line.split(maxsplit=4)[-1].split("  ")[0] == "486, 472, 458"
    assert line.split()[-2:] == ["n=1", "holds"]
    assert "16 of 16 quantities of 2 cases hold · quick" in out


def test_json_is_one_document_and_markdown_a_table():
    code, out, _ = run(*EXACT, "--workers", "1", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["holds"] is True
    assert [case["name"] for case in document["cases"]] == ["aws-sdk", "resilience4j"]
    quantity = document["cases"][0]["quantities"][2]
    assert (quantity["expected"], quantity["measured"], quantity["verdict"]) == (
        [486, 472, 458],
        [486, 472, 458],
        "holds",
    )
    code, out, _ = run(*EXACT, "--workers", "1", "--markdown")
    rows = out.strip().splitlines()
    assert (code, len(rows)) == (0, 18)
    assert {row.count(" | ") for row in rows[2:]} == {6}
    _, out, _ = run(*EXACT, "--workers", "1", "--markdown", "--rows", "2")
    assert out.splitlines() == [*rows[:4], *rows[12:14]]


def test_the_list_is_of_all_cases_and_runs_none():
    code, out, _ = run("validate", "--list")
    assert code == 0
    assert len(out.splitlines()) >= 20
    assert "pipeline" in out


def test_the_list_as_json_says_what_each_case_is_and_tries():
    code, out, _ = run("validate", "--list", "--json")
    document = json.loads(out)
    _, lines, _ = run("validate", "--list")
    assert code == 0
    assert [case["name"] for case in document] == [line.split()[0] for line in lines.splitlines()]
    assert all(case["title"] and case["source"] and case["model"] and case["experiments"] for case in document)
    code, out, _ = run("validate", "--list", "--json", "--case", "grpc-throttling")
    (case,) = json.loads(out)
    assert case["url"] == "https://github.com/grpc/proposal/blob/master/A6-client-retries.md"
    assert "maxTokens=10 tokenRatio=0.1" in case["experiments"]


def test_what_is_no_case_is_bad_input():
    code, out, err = run("validate", "--case", "aws-sdc")
    assert (code, out) == (2, "")
    assert err == "--case: wanted one of those that --list prints, got 'aws-sdc'; did you mean aws-sdk?\n"
    # A part of a name is too far from the whole to look like it.
    code, out, err = run("validate", "--case", "throttling", "--case", "nope", "--case", "")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "--case: wanted one of those that --list prints, got 'throttling'; did you mean grpc-throttling?",
        "--case: wanted one of those that --list prints, got 'nope'",
        "--case: wanted one of those that --list prints, got ''",
    ]


def test_options_that_do_not_go_together_are_bad_input():
    assert run("validate", "--json", "--markdown") == (2, "", "--json: wanted it without --markdown\n")
    assert run("validate", "--list", "--markdown") == (
        2, "", "--list: wanted it without --markdown, which is for findings\n"
    )  # fmt: skip
    assert run("validate", "--rows", "2") == (2, "", "--rows 2: wanted it with --markdown\n")


def test_a_case_that_differs_is_exit_1(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("simulation.verification.cases.families.peers.Cubic", lambda *_: _Flat())
    code, out, _ = run("validate", "--case", "aws-sdk", "--workers", "1")
    assert code == 1
    assert "DIFFERS" in out
    assert "; 3 differ" in out


class _Flat:
    k = 1.0

    def grown(self, _rate: float, _now_ns: int) -> float:
        return 1.0

    def cut(self, rate: float, _now_ns: int) -> float:
        return rate
