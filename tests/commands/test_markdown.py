"""The summary of runs as Markdown: for a job, which appends to what its other steps have written, or a comment."""

import json
import os
import re
from functools import partial
from pathlib import Path

import in_process
import pytest
from hypothesis import given, strategies as st

from actors.errors import InvariantBreach
from simulation.reporting.markdown import RunFacts, markdown
from simulation.running import runner

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: {name}
duration: 20s
workload:
  - {{channel: sms, arrivals: {{constant: 5/s}}}}
expect:
  - accepted > 3
  - {expectation}
"""
FAILING, HOLDING = "sent_fraction < 99%", "sent > 1"

retrylab = partial(in_process.retrylab, cwd=ROOT)


@pytest.fixture
def file(tmp_path):
    def write(name, expectation, *, called='"{}"'):
        path = tmp_path / f"{name}.yaml"
        path.write_text(SCENARIO.format(name=called.format(name), expectation=expectation))
        return path

    return write


def cells(line):
    """The cells of a row, as GitHub sees them: bars that are escaped stand in a cell."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def test_it_says_which_fail_what_was_wanted_what_was_and_how_to_run_it_again(file):
    failing, holding = file("bad", FAILING), file("good", HOLDING)
    done = retrylab("run", failing, holding, "--seed", 4, "--markdown", "-")
    assert (done.returncode, done.stderr) == (1, "")
    digests = [
        each["digest"][:16] for each in json.loads(retrylab("run", failing, holding, "--seed", 4, "--json").stdout)
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "### retrylab: 1 of 2 scenarios fails"
    rows = [cells(line) for line in lines if line.startswith("|")]
    assert rows[2:4] == [
        ["**fails** 1 of 2 expectations", "bad", "4", f"`{digests[0]}`"],
        ["meets 2 expectations", "good", "4", f"`{digests[1]}`"],
    ]
    assert rows[6:] == [["bad", "`sent_fraction < 99%`", "less than 99%", "100%", "1 point over"]]
    assert lines[-3:] == ["```text", f"retrylab run {failing} --seed 4", "```"]


def test_it_says_what_happened_to_whom_where_an_expectation_fails(tmp_path):
    path = tmp_path / "lost.yaml"
    path.write_text(
        "name: lost_*\nduration: 20s\nworkload: [{channel: sms, arrivals: {constant: 5/s}}]\n"
        "channels: {sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}\n"
        "faults: [{channel: sms, at: 0s, for: 10s, outage: true}]\nexpect: [sent_fraction == 1]\n"
    )
    lines = retrylab("run", path, "--markdown", "-").stdout.splitlines()
    start = lines.index("lost\\_\\*:")
    assert lines[start + 2] == "- 50 of 100 requests never delivered"
    assert lines[start + 3] == "- failed attempts: 50 provider outage"


def test_a_file_is_appended_to_and_the_terminal_has_what_it_always_has(file, tmp_path):
    holding, summary = file("good", HOLDING), tmp_path / "summary.md"
    summary.write_text("of another step")
    plain = retrylab("run", holding).stdout
    assert retrylab("run", holding, "--markdown", summary).stdout == plain
    assert retrylab("run", holding, "--json", "--markdown", summary).stdout.startswith("{\n")
    text = summary.read_text()
    assert text.startswith("of another step\n### retrylab: 1 scenario holds\n\n| result |")
    assert text.count("\n\n### retrylab: 1 scenario holds\n\n") == 1
    assert text.endswith("` |\n")


def test_it_is_written_too_where_the_input_is_bad_an_invariant_breaks_or_it_is_interrupted(file, tmp_path, monkeypatch):
    good, summary = file("good", HOLDING), tmp_path / "summary.md"

    def told(*words):
        summary.unlink(missing_ok=True)
        code = retrylab("run", *words, "--markdown", summary).returncode
        return code, summary.read_text()

    code, text = told(good, "nowhere.yaml")
    assert code == 2
    assert text == "### retrylab: no scenario has run · 1 problem\n\n```text\nnowhere.yaml: no such file\n```\n"
    run, ends = runner.run, []

    def second(error):
        def runs(*arguments, **options):
            ends.append(error)
            if len(ends) == 2:
                raise error
            return run(*arguments, **options)

        ends.clear()
        monkeypatch.setattr(runner, "run", runs)

    second(InvariantBreach("1 is lost", "conservation", 10**9, 0, []))
    code, text = told(good, good, good)
    assert code == 3
    assert text.startswith("### retrylab: 1 scenario holds, 2 have not run to the end · 1 problem\n")
    assert "1 is lost" in text
    second(KeyboardInterrupt())
    code, text = told(good, good)
    assert code == 130
    assert text.startswith("### retrylab: 1 scenario holds, 1 has not run to the end\n")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (".", "wanted a file, got a folder"),
        ("nowhere/summary.md", "wanted a file in a folder that exists, got nowhere"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(where, reason, file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run", None)
    done = in_process.retrylab("run", file("good", HOLDING), "--markdown", where, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"--markdown {where}: {reason}\n")


def test_rights_are_looked_at_before_the_run_too(file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run", None)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everything
    done = retrylab("run", file("good", HOLDING), "--markdown", tmp_path / "summary.md")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--markdown {tmp_path / 'summary.md'}: wanted a file that may be written\n"


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_standard_output_has_one_of_them(option, file):
    done = retrylab("run", file("good", HOLDING), option, "--markdown", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--markdown -: wanted a file beside {option}\n"


def test_a_pipe_is_written_as_a_file_is(file):
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        retrylab("run", file("good", HOLDING), "--markdown", f"/dev/fd/{writing}")
        os.close(writing)
        assert pipe.read().startswith("### retrylab: 1 scenario holds\n")


@given(name=st.text(), problem=st.text())
def test_no_name_adds_a_cell_a_line_or_markup_and_no_problem_ends_its_block(name, problem):
    run = RunFacts(name, 1, "0" * 64, [], [], "retrylab run")
    lines = markdown([run], [problem], 1).split("\n")
    row = next(line for line in lines if line.startswith("| expects nothing"))
    assert len(cells(row)) == 4
    shown = cells(row)[1]
    assert not re.search(r"<|(?<!\\)(?:\\\\)*[`*_\[\]|]", shown)
    fence = next(line for line in lines if line.endswith("text")).removesuffix("text")
    assert [line for line in lines if line.startswith(fence) and line.strip("`") == ""] == [fence]
