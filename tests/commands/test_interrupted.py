"""What an interrupted command keeps, and how it goes on; and that a folder is looked at before anything runs."""

import json
import os
from functools import partial
from pathlib import Path

import in_process
import pytest
from effort import sliced

from actors.errors import WorkerLost
from simulation.running import executors

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: small
seed: 3
duration: 5s
workload: [{channel: email, arrivals: {poisson: 5/s}}]
expect: [sent >= 1]
"""
VARY = ("--vary", "channels.email.retry.max_attempts=1,2,3", "--replicates", 4)
COMMANDS = {
    "compare": [*VARY],
    "sweep": [*VARY],
    "tune": [*VARY, "--probability", "50%", "--minimize", "requests"],
}


class Runs:
    """Does runs, counts them, and is cut off before one of them."""

    def __init__(self, monkeypatch):
        self.done = 0
        self.last = None
        self.error = KeyboardInterrupt
        self._do = executors.do
        monkeypatch.setattr(executors, "do", self)

    def __call__(self, task):
        if self.done == self.last:
            raise self.error
        self.done += 1
        return self._do(task)


@pytest.fixture
def runs(monkeypatch):
    return Runs(monkeypatch)


@pytest.fixture
def retrylab(tmp_path):
    (tmp_path / "small.yaml").write_text(SCENARIO)
    return partial(in_process.retrylab, cwd=tmp_path)


def words(command, *more):
    return [command, "small.yaml", *COMMANDS[command], "--workers", 1, *more]


@pytest.mark.parametrize("command", sliced(COMMANDS, 3))
def test_it_says_how_many_runs_are_kept_and_the_same_command_goes_on_from_there(command, retrylab, runs, tmp_path):
    whole = words(command, "--json", "--out", "whole")
    expected = retrylab(*whole).stdout
    of, runs.done, runs.last = runs.done, 0, 3
    done = retrylab(*words(command, "--json", "--out", "out"))
    assert done.returncode == 130
    assert done.stderr == "interrupted: 3 finished runs are kept in out, and the same command goes on from there\n"
    assert len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) == 3
    runs.done, runs.last = 0, 1
    again = retrylab(*words(command, "--json", "--out", "out"))
    assert again.stderr.startswith("interrupted: 4 finished runs are kept in out")
    runs.done, runs.last = 0, None
    gone_on = retrylab(*words(command, "--json", "--out", "out"))
    assert gone_on.returncode == 0
    assert (runs.done, gone_on.stdout) == (of - 4, expected)


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_without_a_folder_it_says_that_they_are_lost_and_how_they_would_not_be(command, retrylab, runs):
    runs.last = 1
    done = retrylab(*words(command))
    assert done.returncode == 130
    assert done.stderr == (
        "interrupted: 1 finished run is lost; with --out DIR the same command would go on from there\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_before_a_run_has_finished_it_says_so(command, retrylab, runs):
    runs.last = 0
    done = retrylab(*words(command, "--out", "out"))
    assert (done.returncode, done.stderr) == (130, "interrupted before a run had finished\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_lost_worker_is_told_in_the_same_words(command, retrylab, runs):
    runs.last, runs.error = 2, WorkerLost("a worker process ended")
    done = retrylab(*words(command, "--out", "out"))
    assert done.returncode == 4
    assert done.stderr == (
        "a worker process ended: 2 finished runs are kept in out, and the same command goes on from there\n"
    )


def test_an_interrupted_search_counts_the_runs_that_had_finished(retrylab, runs):
    runs.last = 2  # those of the file's own settings, which are tried first
    done = retrylab(*words("tune", "--out", "out"))
    lines = done.stdout.splitlines()
    assert lines[0].endswith(" · 2 runs · interrupted")
    assert "No run had finished." not in lines
    assert "all expectations held in 2 of 2 runs" in lines


# ── the folder ──────────────────────────────────────────────────────────────────────────────────────────────────

FOLDERS = {
    "run": ["run", "small.yaml"],
    **{command: words(command) for command in COMMANDS},
}
DOCUMENTS = {"run": "summary.json", "compare": "comparison.json", "sweep": "sweep.json", "tune": "tuning.json"}


@pytest.fixture
def nothing_runs(monkeypatch):
    from simulation.running import runner

    monkeypatch.setattr(runner, "run", None)
    monkeypatch.setattr(executors, "do", None)


@pytest.mark.parametrize("command", [*FOLDERS, "explore", "plot"])
@pytest.mark.parametrize(
    ("place", "reason"),
    [("file", "wanted a folder, got a file"), ("file/a/b", "wanted a folder, got a file at {}/file")],
)
def test_what_is_no_folder_is_refused_before_anything_runs(command, place, reason, retrylab, tmp_path, nothing_runs):
    (tmp_path / "file").write_text("in the way")
    done = retrylab(*FOLDERS.get(command, [command, "small.yaml"]), "--out", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--out {place}: {reason.format(tmp_path)}\n"


@pytest.mark.parametrize("command", [*FOLDERS, "explore", "plot"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_without_rights_is_refused_before_anything_runs(
    command, is_there, retrylab, tmp_path, nothing_runs, monkeypatch
):
    locked = tmp_path / "locked"
    locked.mkdir()
    place = locked if is_there else locked / "new"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)  # root may write everything
    done = retrylab(*FOLDERS.get(command, [command, "small.yaml"]), "--out", place)
    assert (done.returncode, done.stdout) == (2, "")
    which = "" if is_there else f" at {locked}"
    assert done.stderr == f"--out {place}: wanted a folder that may be written{which}\n"
    assert list(locked.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "name"), [*DOCUMENTS.items(), ("run", "report.html"), ("run", "overview.png")], ids=str
)
def test_another_s_file_is_not_replaced(command, name, retrylab, tmp_path, nothing_runs):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"total": 3}')
    done = retrylab(*FOLDERS[command], "--out", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"--out out: wanted a folder where {name} may be written, got one where that is no ")
    assert (tmp_path / "out" / name).read_text() == '{"total": 3}'


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_results_are_replaced_also_where_only_their_document_is_left(command, retrylab, tmp_path):
    assert retrylab(*FOLDERS[command], "--out", "out").returncode == 0
    document = tmp_path / "out" / DOCUMENTS[command]
    before = json.loads(document.read_text())
    for path in (tmp_path / "out").iterdir():
        if path != document:
            path.unlink()
    assert retrylab(*FOLDERS[command], "--out", "out").returncode == 0
    assert json.loads(document.read_text()) == before
