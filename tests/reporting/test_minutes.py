"""The line a minute where there is no terminal: in the log of a job that is watched for signs of life."""

import contextlib
import io
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_process import retrylab

import simulation
from actors.formatting import counted
from simulation.commands.validate import _said
from simulation.reporting.terminal import canvas, minutes, watch_run, watch_runs
from simulation.reporting.terminal.minutes import MinuteLines
from simulation.scenario import load
from simulation.verification.cases.procedure import planned

ROOT = Path(__file__).parents[2]
OUTAGE = ROOT / "scenarios" / "provider-outage.yaml"
SHORT = ["--set", "duration=3m", "--set", "expect=[]"]
DEADLINE_S = 120
"""Only ends a test that hangs."""


class Clock:
    """A clock that stands still, or goes on by so many seconds whenever it is looked at."""

    def __init__(self, step_s=0.0):
        self.now_s = 1000.0
        self.step_s = step_s

    def __call__(self):
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def hurried(monkeypatch):
    """A minute passes whenever a command looks whether it has."""
    monkeypatch.setattr(minutes, "time", SimpleNamespace(perf_counter=Clock(60.0)))


def test_there_is_one_for_each_full_minute_and_none_before(capsys):
    clock = Clock()
    lines = MinuteLines(lambda: "3 of 9 runs", clock)
    shown = []
    for second in range(0, 301, 7):
        clock.now_s = 1000.0 + second
        if lines.is_due():
            lines.draw()
            shown.append(second)
    assert shown == [63, 126, 182, 245]
    assert capsys.readouterr().err.splitlines() == [f"after {n} min: 3 of 9 runs" for n in (1, 2, 3, 4)]


def test_what_was_held_up_says_one_line_and_not_one_for_each_minute(capsys):
    clock = Clock()
    lines = MinuteLines(lambda: "0 of 9 runs", clock)
    clock.now_s += 600.0
    lines.draw()
    assert not lines.is_due()
    assert capsys.readouterr().err == "after 10 min: 0 of 9 runs\n"


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


class Broken(io.StringIO):
    def write(self, _):
        raise BrokenPipeError


@pytest.mark.parametrize("stderr", [None, closed(), Broken()], ids=["none", "closed", "broken"])
def test_a_log_that_cannot_be_written_ends_nothing_and_moves_to_no_other_stream(stderr, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    lines = MinuteLines(lambda: "3 of 9 runs")
    lines.draw()
    assert capsys.readouterr().out == ""


def test_a_run_without_standard_error_is_a_run(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with watch_run(load(OUTAGE)) as progress:
        simulation.run(OUTAGE, sets=["duration=1m", "expect=[]"], progress=progress)


def test_a_run_says_how_far_it_is_what_is_left_and_how_it_stands(hurried):
    done = retrylab("run", OUTAGE, OUTAGE, *SHORT, cwd=ROOT, minute_s=60.0)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) > 2
    on_its_way = (
        r"after \d+ min: [12] of 2 provider-outage, ([\d.]+ \w+ of 3 min, [\d.]+ \w+ left|[\d.]+ min, nothing arrives "
        r"any more, ends by [\d.]+ \w+), ×\S+ real time,( \S+ notifications/s,)? [\d,]+ in the DLQ.*"
    )
    assert [line for line in lines if not re.fullmatch(on_its_way, line)] == []
    assert [line.split(": ")[1][:6] for line in (lines[0], lines[-1])] == ["1 of 2", "2 of 2"]


def test_with_json_there_is_none(hurried):
    done = retrylab("run", OUTAGE, *SHORT, "--json", cwd=ROOT, minute_s=60.0)
    assert (done.returncode, done.stderr) == (0, "")
    with _said(["layers"], full=False, quiet=True) as on_experiment:
        assert on_experiment is None


class Log(io.StringIO):
    """A stream that tells when something has been written."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def write(self, text):
        super().write(text)
        self.written.set()
        return len(text)


def test_many_runs_say_it_while_none_of_them_ends(monkeypatch):
    clock, log = Clock(), Log()
    monkeypatch.setattr(minutes, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(canvas, "TICK_S", 0.001)
    with contextlib.redirect_stderr(log), watch_runs("cases") as progress:
        progress(0, 40)
        progress(10, 40)
        clock.now_s += 60.0
        assert log.written.wait(DEADLINE_S)
    assert re.fullmatch(r"after 1 min: 10 of 40 cases, \S+ cases/(s|min), [\d.]+ \w+ left\n", log.getvalue())


def test_a_validation_says_which_experiment_of_how_many(monkeypatch):
    clock, log = Clock(60.0), Log()
    monkeypatch.setattr(minutes, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(canvas, "TICK_S", 0.001)
    with contextlib.redirect_stderr(log), _said(["layers"], full=False, quiet=False) as on_experiment:
        on_experiment("layers: first")
        on_experiment("layers: second")
        while "second" not in log.getvalue():
            log.written.clear()
            assert log.written.wait(DEADLINE_S)
    experiments = counted(len(planned(["layers"], full=False)["layers"]), "experiment")
    assert f": 1 of {experiments}, now layers: second\n" in log.getvalue()
