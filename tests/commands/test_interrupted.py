"""What an interrupted command keeps, and how it goes on; and that a folder is looked at before anything runs."""

import itertools
import json
import os
import re
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import in_process
import pytest
from effort import sliced

from actors.errors import WorkerLost
from simulation.commands.shared import interrupts
from simulation.experiments import incidents
from simulation.experiments.limits import expected
from simulation.fitting import whatif
from simulation.running import deciding, executors

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
    "limits": ["--of", "failure_rate"],
}


class Runs:
    """Does runs, counts them, and is cut off before one of them."""

    def __init__(self, monkeypatch):
        self.done = 0
        self.last = None
        self.error = KeyboardInterrupt
        self._do = executors.summary_of
        for module in (executors, expected):
            monkeypatch.setattr(module, "summary_of", self)

    def __call__(self, task, **how):
        if self.done == self.last:
            raise self.error
        self.done += 1
        return self._do(task, **how)


@pytest.fixture
def runs(monkeypatch):
    return Runs(monkeypatch)


@pytest.fixture
def retrylab(tmp_path):
    (tmp_path / "small.yaml").write_text(SCENARIO)
    return partial(in_process.retrylab, cwd=tmp_path)


def words(command, *more):
    return [command, "small.yaml", *COMMANDS[command], "--workers", 1, *more]


@pytest.mark.parametrize("command", sliced(COMMANDS, 6))
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
        "interrupted: 1 finished run is not kept; with --out DIR the same command would go on from there\n"
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
    assert lines[1] == "The best so far, not confirmed yet:"
    assert "No run had finished." not in lines
    assert "all expectations held in 2 of 2 runs" in lines


# ── the folder ──────────────────────────────────────────────────────────────────────────────────────────────────

FOLDERS = {
    "run": ["run", "small.yaml"],
    **{command: words(command) for command in COMMANDS},
}
DOCUMENTS = {
    "run": "summary.json",
    "compare": "comparison.json",
    "sweep": "sweep.json",
    "tune": "tuning.json",
    "limits": "limits.json",
}


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


OTHERS = [("run", "report.html"), ("run", "overview.png"), ("run", "scenario.yaml"), ("sweep", "scenario.yaml"),
          ("tune", "tuned.yaml")]  # fmt: skip


@pytest.mark.parametrize(("command", "name"), [*DOCUMENTS.items(), *OTHERS], ids=str)
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


def test_what_had_finished_is_printed(retrylab, runs):
    """Of a sweep and a comparison the settings of which all runs have finished."""
    runs.last = 10  # of the third setting two
    for command, shown in (("sweep", r"^2 +\d"), ("compare", "2 settings on the same seeds")):
        runs.done = 0
        done = retrylab(*words(command))
        assert done.returncode == 130
        assert re.search(shown, done.stdout, re.MULTILINE), done.stdout
        assert not re.search(r"^3 +\d", done.stdout, re.MULTILINE)
        runs.done = 0
        assert len(json.loads(retrylab(*words(command, "--json")).stdout)) > 1


@pytest.fixture
def interrupt(monkeypatch):
    """Have something raise KeyboardInterrupt when it is called for so many times."""

    def at(module, name, calls):
        left = itertools.count(calls - 1, -1)
        function = getattr(module, name)

        def call(*arguments, **options):
            if not next(left):
                raise KeyboardInterrupt
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    return at


OUTAGE = "faults: [{channel: email, at: 1s, for: 1m, outage: true}]\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--jsonl"]])
def test_an_interrupted_run_prints_what_was_known_by_then(options, retrylab, tmp_path, monkeypatch):
    """And files before it are as they are without the interrupt."""
    asked = itertools.count()

    @contextmanager
    def interrupts():
        yield lambda: next(asked) >= 6  # once before the run begins, once after 256 events

    (tmp_path / "outage.yaml").write_text(SCENARIO.replace("5/s", "500/s") + OUTAGE)
    monkeypatch.setattr("simulation.commands.run.interrupts", interrupts)
    done = retrylab("run", "small.yaml", "outage.yaml", *options)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    if not options:
        first, second = done.stdout.split("small  seed 3 · interrupted at 0:0")
        assert "holds  sent >= 1" in first
        heading, row, *rest = second.splitlines()[1:]
        found = dict(zip(heading.split("  ")[1:], row.split()[1:], strict=False))
        assert rest == ["expectations are not decided by a part of a run"]
        figures = [int(each.replace(",", "")) for each in row.split()[1:5]]
        assert figures[0] == figures[1] + figures[2] + figures[3] > 100, found
        return
    documents = json.loads(done.stdout) if "--json" in options else list(map(json.loads, done.stdout.splitlines()))
    assert [each.get("interrupted_after_s") is not None for each in documents] == [False, True]
    assert 0 < documents[1]["interrupted_after_s"] < 5
    assert documents[1]["offered"] == documents[1]["channels"]["email"]["offered"] > 100


def test_one_interrupt_is_noted_and_a_second_one_ends_what_does_not_end():
    before = signal.getsignal(signal.SIGINT)
    with interrupts() as came:
        assert not came()
        signal.raise_signal(signal.SIGINT)
        assert came()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_replicates_that_are_interrupted_leave_what_they_have_shown(retrylab, interrupt, tmp_path):
    (tmp_path / "small.yaml").write_text(SCENARIO.replace("sent >= 1", "{that: sent >= 1, in: 90% of runs}"))
    interrupt(deciding, "held_in_run", 4)
    done = retrylab("run", "small.yaml", "--replicates", 40, "--workers", 1)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert "held in 4 of 4 runs" in done.stdout


def test_incidents_that_are_interrupted_say_which_were_judged(retrylab, interrupt):
    interrupt(incidents, "run", 3)
    done = retrylab("incidents", "--workers", 1)
    assert done.returncode == 130
    assert "of 2 incidents hold" in done.stdout


def test_replays_that_are_interrupted_say_what_those_before_show(retrylab, interrupt, tmp_path):
    rows = [f"{at / 10},email,sent,0.1\n" for at in range(40)]
    (tmp_path / "log.csv").write_text("time_s,channel,outcome,latency_s\n" + "".join(rows))
    interrupt(whatif, "_replay", 3)
    done = retrylab("whatif", "log.csv", "small.yaml", "--time", "time_s")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert "seeds 3 to 4" in done.stdout
