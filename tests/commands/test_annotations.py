"""Annotations of a pull request, read as the runner of GitHub reads them."""

import json
import re
from functools import partial
from pathlib import Path

import in_process
import pytest
from hypothesis import given, strategies as st

from actors.errors import InvariantBreach
from actors.settings.yaml_tree import Place
from simulation.reporting.annotations import workflow_command

ROOT = Path(__file__).parents[2]
STEADY = ROOT / "scenarios" / "steady-state.yaml"
WRONG = """\
name: "late: 100%,\\r\\nor never"
duration: 20s
workload:
  - {channel: sms, arrivals: {constant: 5/s}}
channels:
  sms: {circuit_breaker: {timeout: 1m}, retry: {max_attempts: 3},
    timeout: 100ms,
    provider: {latency: 250ms}}
expect:
  - accepted > 3
  - sent_fraction >= 99%
  - delivery_time_s.p99 <= 60s
"""

retrylab = partial(in_process.retrylab, cwd=ROOT)


def annotations(text):
    """What the runner makes of each line: the level, the properties and the message."""
    return [annotation(line) for line in text.splitlines()]


def annotation(line):
    """The level, the properties and the message of a workflow command."""
    level, rest = line.removeprefix("::").split(" ", 1)
    properties, message = rest.split("::", 1)
    pairs = [each.split("=", 1) for each in properties.split(",")]
    return level, {key: unescaped(value, ":,%\r\n") for key, value in pairs}, unescaped(message, "%\r\n")


def unescaped(text, characters):
    """The escapes of these characters, all at once."""
    return re.sub("%([0-9A-F]{2})", lambda m: c if (c := chr(int(m[1], 16))) in characters else m[0], text)


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    return path


@given(message=st.text(), title=st.text(), name=st.text(min_size=1))
def test_any_text_is_one_line_and_is_read_as_it_was(message, title, name):
    file = Path("a:,%") / name.replace("\0", "")
    line = workflow_command("error", message, title=title, file=file, place=Place("", 3, 7))
    assert not {"\n", "\r"} & set(line)
    wanted = {"file": file.as_posix(), "line": "3", "col": "7", "title": title}
    assert annotation(line) == ("error", wanted, message)


def test_expectations_that_do_not_hold_stand_at_their_lines_and_warnings_at_theirs(wrong):
    done = retrylab("run", wrong, "--annotate", "github")
    assert done.returncode == 1
    assert "FAILS  sent_fraction >= 99%" in done.stdout
    assert "::" not in done.stdout
    warning, late, never = annotations(done.stderr)
    file, which = str(wrong), "late: 100%,\r\nor never, seed 0"
    assert warning == (
        "warning",
        {"file": file, "line": "7", "col": "14", "title": "timeout-below-median-latency"},
        f"{wrong}:7:14: channels.sms.timeout: 100ms is shorter than the provider's median latency of 250ms: 100% of "
        "the attempts will time out",
    )
    assert late == (
        "error",
        {"file": file, "line": "11", "col": "5", "title": "sent_fraction >= 99% does not hold"},
        f"{which}: sent_fraction >= 99% does not hold: is 0%, wanted at least 99%, 99 points short",
    )
    assert never[1] == {"file": file, "line": "12", "col": "5", "title": "delivery_time_s.p99 <= 60s does not hold"}


def test_an_override_has_its_file_and_no_line(wrong):
    done = retrylab("run", wrong, "--set", "expect=[sent > 900]", "--annotate", "github", "--json")
    json.loads(done.stdout)
    _, properties, _ = annotations(done.stderr)[-1]
    assert properties == {"file": str(wrong), "title": "sent > 900 does not hold"}


def test_what_holds_is_not_annotated():
    done = retrylab("run", STEADY, "--set", "duration=5s", "--set", "expect=[sent > 1]", "--annotate", "github")
    assert (done.returncode, done.stderr) == (0, "")


def test_files_that_cannot_be_used_stand_at_each_problem(wrong, tmp_path):
    wrong.write_text(WRONG.replace("timeout: 100ms", "timeout: soon").replace("constant: 5/s", "constant: often"))
    for command in ("run", "lint"):
        done = retrylab(command, wrong, tmp_path / "nowhere.yaml", "--set", "seed=x", "--annotate", "github")
        assert (done.returncode, done.stdout) == (2, "")
        found = annotations(done.stderr)
        assert {(level, properties["title"]) for level, properties, _ in found} == {("error", "cannot be used")}
        places = [(properties["file"], properties.get("line")) for _, properties, _ in found]
        assert places == [
            (str(wrong), "4"),
            (str(wrong), "7"),
            (str(wrong), None),
            (str(tmp_path / "nowhere.yaml"), None),
        ]
        plain = retrylab(command, wrong, tmp_path / "nowhere.yaml", "--set", "seed=x").stderr
        assert [message for _, _, message in found] == plain.splitlines()


def test_findings_fail_lint_and_are_errors_there(wrong):
    plain = retrylab("lint", wrong).stdout
    done = retrylab("lint", wrong, "--annotate", "github")
    assert (done.returncode, done.stdout) == (1, "")
    ((level, properties, message),) = annotations(done.stderr)
    assert (level, properties["line"], f"{message}\n") == ("error", "7", plain)
    done = retrylab("lint", wrong, "--annotate", "github", "--jsonl")
    assert json.loads(done.stdout)["line"] == 7
    assert len(annotations(done.stderr)) == 1


def test_a_broken_invariant_is_one_annotation_of_several_lines(wrong, monkeypatch):
    from simulation.running import runner

    def broken(*_arguments, **_options):
        raise InvariantBreach("2 accepted, 1 known\nand more", "conservation", 10**9, 0, [])

    monkeypatch.setattr(runner, "run", broken)
    done = retrylab("run", wrong, "--annotate", "github")
    assert (done.returncode, done.stdout) == (3, "")
    _, (level, properties, message) = annotations(done.stderr)
    assert (level, properties) == ("error", {"file": str(wrong), "title": "an invariant broke, which is a bug"})
    assert f"{message}\n" == retrylab("run", wrong).stderr.split("\n", 1)[1]


def test_paths_go_from_the_root_of_the_repository_wherever_the_step_works(wrong, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    done = in_process.retrylab("lint", wrong.name, "--annotate", "github", cwd=tmp_path)
    ((_, properties, _),) = annotations(done.stderr)
    assert properties["file"] == f"{tmp_path.name}/wrong.yaml"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    done = in_process.retrylab("lint", wrong.name, "--annotate", "github", cwd=tmp_path)
    assert annotations(done.stderr)[0][1]["file"] == "wrong.yaml"
