"""Paths that cannot be used: each is refused in a line that says which option it is of, or which file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEADY = Path(__file__).parents[2] / "scenarios" / "steady-state.yaml"
SHORT = ["--set", "duration=2s", "--set", "expect=[]"]
FEW = [*SHORT, "--vary", "channels.email.timeout=1s,2s", "--replicates", "2", "--workers", "1"]


def retrylab(*arguments, cwd):
    command = [sys.executable, "-c", "from simulation.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(params=["locked", "too long"])
def place(request, tmp_path):
    """A path of which nobody can tell what is there, and why."""
    if request.param == "too long":
        return "a" * 300, "File name too long"
    (tmp_path / "locked").mkdir(mode=0)
    if os.access(tmp_path / "locked", os.X_OK):
        pytest.skip("somebody is wanted who may not enter every folder")
    return "locked/place", "Permission denied"


@pytest.mark.parametrize("command", [["run", STEADY, *SHORT], ["sweep", STEADY, *FEW], ["compare", STEADY, *FEW]])
def test_out_of_which_nobody_can_tell_is_named(command, place, tmp_path):
    path, reason = place
    done = retrylab(*command, "--out", path, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"--out {path}: {reason}\n")


@pytest.mark.parametrize("command", [["fit"], ["whatif", STEADY], ["plot"], ["run"]], ids=lambda words: words[0])
def test_input_of_which_nobody_can_tell_is_named_as_what_it_is(command, place, tmp_path):
    path, reason = place
    name, *others = command
    done = retrylab(name, path, *others, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{path}: ")
    assert reason.lower() in done.stderr.lower()
