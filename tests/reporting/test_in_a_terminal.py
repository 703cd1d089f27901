"""The real command with a terminal at its standard error, and without one."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import in_process
import pytest
from effort import sliced
from screen import Screen

from simulation.reporting.terminal import watch_run, watch_runs
from simulation.scenario import load

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
OUTAGE = ROOT / "scenarios" / "provider-outage.yaml"
DEADLINE_S = 120
"""Only ends a test that hangs."""

ENDLESS = [f"--set={each}" for each in ("duration=100h", "record=aggregates", "remember_ids=1h", "expect=[]")]
"""Some minutes: nothing is said of them beforehand."""


class InTerminal:
    """A command whose standard input and standard error are a terminal, and whose standard output is a file."""

    def __init__(self, tmp_path, *arguments, width=100, height=30, **env):
        self.text = ""
        self._size = width, height
        self._out = tmp_path / "stdout"
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "simulation", *map(str, arguments)],
                stdin=slave,
                stdout=out,
                stderr=slave,
                cwd=ROOT,
                env={**kept, "TERM": "xterm-256color", **env},
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self):
        """Read some of what it shows; False when it has ended."""
        assert select.select([self._master], [], [], DEADLINE_S)[0], f"nothing comes any more after {self.text!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # no one has the terminal open any more
            return False
        self.text += data.decode()
        return bool(data)

    def read_until(self, pattern):
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.text):
            assert self._read(), f"it ended with {self.text!r}"
            assert time.monotonic() < deadline

    def type(self, keys):
        os.write(self._master, keys)

    @property
    def screen(self):
        """What is left on it, where it has not been resized."""
        screen = Screen(*self._size)
        screen.feed(self.text)
        return screen

    def end(self):
        """Wait for its end; return the exit code and what is on standard output."""
        while self._read():
            pass
        code = self._process.wait(DEADLINE_S)
        return code, self._out.read_text()


def test_a_run_is_seen_while_it_goes_on_and_then_only_its_result(tmp_path):
    longer = ["--set", "duration=6m", "--set", "expect=[]"]
    with InTerminal(tmp_path, "run", OUTAGE, *longer) as command:
        code, out = command.end()
    assert code == 0
    shown = re.sub(r"\x1b\[[\d;]*m", "", command.text)
    assert re.search(r"provider-outage · [\d.]+ (s|min) of 6 min", shown)
    assert re.search(r"channel +accepted +sent +dead +in flight +attempts +sent p50 +sent p99 +breaker", shown)
    assert "\x1b[3" in command.text  # colours
    assert (command.screen.text, command.screen.cursor_is_seen) == ("", True)
    piped = in_process.retrylab("run", OUTAGE, *longer, cwd=ROOT)
    assert (piped.stdout, piped.stderr) == (out, "")
    assert "\x1b" not in out


@pytest.mark.thorough
@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "dumb"])
def test_nothing_is_seen_with_json_or_where_the_cursor_cannot_move(tmp_path, options):
    env = {} if options else {"TERM": "dumb"}
    with InTerminal(tmp_path, "run", OUTAGE, "--set", "duration=3m", "--set", "expect=[]", *options, **env) as command:
        code, out = command.end()
    assert (code, command.text) == (0, "")
    assert "provider-outage" in out


@pytest.mark.parametrize("runtime", sliced(["simpy", "trio"], 4))
def test_ctrl_c_leaves_one_line_and_the_cursor(tmp_path, runtime):
    with InTerminal(tmp_path, "run", OUTAGE, OUTAGE, *ENDLESS, "--runtime", runtime) as command:
        command.read_until("now ")
        assert "1 of 2" in command.text
        command.type(b"\x03")
        code, out = command.end()
    assert code == 130
    assert re.match(r"provider-outage  seed 7 · interrupted at \d+:\d\d", out)
    assert (command.screen.text, command.screen.cursor_is_seen) == ("interrupted", True)


@pytest.mark.thorough
def test_ctrl_c_ends_a_sweep_too_with_its_workers_and_keeps_what_has_finished(tmp_path):
    vary = ["--vary", "channels.email.retry.max_attempts=1,2", "--replicates", "500", "--workers", "2"]
    with InTerminal(tmp_path, "sweep", OUTAGE, *vary, "--set", "duration=1m", "--out", tmp_path / "out") as command:
        command.read_until(r"[1-9]\d* of 1,000 runs")
        command.type(b"\x03")
        code, _ = command.end()
    assert code == 130
    kept = r"interrupted: [\d,]+ finished runs? (is|are) kept in .*, and the same command goes on from there"
    assert re.fullmatch(kept, " ".join(command.screen.text.split()))
    assert command.screen.cursor_is_seen
    assert (tmp_path / "out" / "runs.jsonl").read_text().endswith("}\n")


def test_where_it_is_to_be_quiet_there_is_nothing_to_tell(capsys):
    with watch_run(load(OUTAGE), quiet=True) as progress, watch_runs(quiet=True) as progress_of_runs:
        assert progress is None
        assert progress_of_runs is None
    assert capsys.readouterr() == ("", "")
