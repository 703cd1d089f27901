"""Paths that cannot be used: each is refused in a line that says which option it is of, or which file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import in_process
import pytest
from console_command import app
from effort import sliced

from simulation.commands.dlq import dlq
from simulation.commands.shared import given_path
from simulation.results.files import KINDS

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("undrawn")]

STEADY = Path(__file__).parents[2] / "scenarios" / "steady-state.yaml"
SHORT = ["--set", "duration=2s", "--set", "expect=[]"]
FEW = [*SHORT, "--vary", "channels.email.timeout=1s,2s", "--replicates", "2", "--workers", "1"]


ENTERS_ALL = hasattr(os, "geteuid") and os.geteuid() == 0
"""Whether no folder is locked to the user who runs the tests, as to root in a container."""

AS_OTHERS_DO = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if ENTERS_ALL and shutil.which("setpriv") else []
"""Before a command: what root alone may do, it may not."""


def retrylab(*arguments, cwd):
    if not (cwd / "locked").exists() or not AS_OTHERS_DO:
        return in_process.retrylab(*arguments, cwd=cwd)
    program = [*AS_OTHERS_DO, sys.executable, "-c", "from simulation.commands.cli import main; main()"]
    command = [*program, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def lock(folder):
    if ENTERS_ALL and not AS_OTHERS_DO:
        pytest.skip("wanted a user who may not enter every folder, or setpriv")
    folder.mkdir(mode=0)


@pytest.fixture(params=["locked", "too long"])
def place(request, tmp_path):
    """A path of which it cannot be known what is there, and why."""
    if request.param == "too long":
        return "a" * 300, "File name too long"
    lock(tmp_path / "locked")
    return "locked/place", "Permission denied"


@pytest.mark.parametrize(
    "command", sliced([["run", STEADY, *SHORT], ["sweep", STEADY, *FEW], ["compare", STEADY, *FEW]], 6)
)
def test_out_of_which_no_one_can_tell_is_named(command, place, tmp_path):
    path, reason = place
    done = retrylab(*command, "--out", path, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"--out {path}: {reason}\n")


@pytest.mark.parametrize(
    "command", sliced([["fit"], ["whatif", STEADY], ["plot"], ["run"]], 8, 3), ids=lambda words: words[0]
)
def test_input_of_which_no_one_can_tell_is_named_as_what_it_is(command, place, tmp_path):
    path, reason = place
    name, *others = command
    done = retrylab(name, path, *others, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{path}: ")
    assert reason.lower() in done.stderr.lower()


@pytest.mark.thorough
@pytest.mark.parametrize("command", sliced(["fit", "plot"], 4))
def test_a_folder_that_may_not_be_read_is_named_as_what_it_is(command, tmp_path):
    lock(tmp_path / "locked")
    done = retrylab(command, "locked", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("locked")
    assert done.stderr.endswith("Permission denied\n")


def test_every_path_is_refused_where_it_is_empty():
    """By the parser that all of them have, of which one option shows that it works."""
    callbacks = {info.callback for typer_app in (app, dlq) for info in typer_app.registered_commands}
    paths = 0
    for callback in callbacks:
        for name, hint in get_type_hints(callback, include_extras=True).items():
            if Path in (getattr(hint, "__origin__", None), *get_args(getattr(hint, "__origin__", None))):
                assert hint.__metadata__[0].parser is given_path, (callback, name)
                paths += 1
    assert paths > 20


@pytest.mark.parametrize("command", [["run", STEADY, *SHORT, "--out"], ["run", STEADY, *SHORT, "--record"], ["lint"]])
def test_an_empty_path_is_none(command, tmp_path):
    done = retrylab(*command, "", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "wanted a path, got an empty one" in done.stderr
    assert not list(tmp_path.iterdir())


NAMES = {
    "run": ["scenario.yaml", "summary.json", "notifications.parquet"],
    "sweep": ["scenario.yaml", "sweep.json", "runs.jsonl"],
    "tune": ["tuned.yaml", "tuned-2.yaml", "tuning.json"],
    "compare": ["comparison.json", "runs.parquet"],
}
MANY = {"run": SHORT, "sweep": FEW, "compare": FEW, "tune": [*FEW, "--minimize", "requests", "--trials", "1"]}


@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in NAMES.items() for name in names])
def test_a_result_does_not_take_the_place_of_the_scenario(command, name, tmp_path):
    (tmp_path / name).write_bytes(STEADY.read_bytes())
    done = retrylab(command, name, *MANY[command], "--out", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"--out .: wanted a folder where {name} may be written, got the one where that is ")
    assert (tmp_path / name).read_bytes() == STEADY.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_result_does_not_take_the_place_of_any_of_several_scenarios(tmp_path):
    (tmp_path / "a").mkdir()
    for file in (tmp_path / "a" / "scenario.yaml", tmp_path / "a.yaml"):
        file.write_bytes(STEADY.read_bytes())
    done = retrylab("run", "a/scenario.yaml", "a.yaml", *SHORT, "--out", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "--out a")
    assert (tmp_path / "a" / "scenario.yaml").read_bytes() == STEADY.read_bytes()


@pytest.mark.parametrize("command", sliced(MANY, 4, 1))
def test_beside_a_scenario_of_another_name_there_is_room(command, tmp_path):
    """And what is written has the names by which a scenario in its place is found."""
    (tmp_path / "mine.yaml").write_bytes(STEADY.read_bytes())
    assert retrylab(command, "mine.yaml", *MANY[command], "--out", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "mine.yaml").read_bytes() == STEADY.read_bytes()
    ((document, kind),) = [(name, kind) for name, kind in KINDS.items() if (tmp_path / name).exists()]
    for path in tmp_path.iterdir():
        assert path.name == "mine.yaml" or any(path.match(pattern) for pattern in (document, *kind.files))


def test_what_is_fitted_does_not_take_the_place_of_the_log(tmp_path):
    log = "time,latency,outcome,channel\n0,0.1,ok,email\n1,0.2,ok,email\n"
    (tmp_path / "log.csv").write_text(log)
    done = retrylab("fit", "log.csv", "--out", tmp_path / "log.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--out {tmp_path / 'log.csv'}: wanted a file for the scenario, got the log itself\n"
    assert (tmp_path / "log.csv").read_text() == log


def test_what_is_fitted_takes_the_place_of_what_was_fitted_and_of_nothing_else(tmp_path):
    (tmp_path / "log.csv").write_text("time,latency,outcome,channel\n0,0.1,ok,email\n1,0.2,ok,email\n")
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(STEADY.read_bytes())
    done = retrylab("fit", "log.csv", "--out", mine, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--out {mine}: wanted a new file, or one that a fit has written, got another\n"
    assert mine.read_bytes() == STEADY.read_bytes()
    (tmp_path / "empty.yaml").touch()
    for name in ("new.yaml", "new.yaml", "empty.yaml"):
        assert retrylab("fit", "log.csv", "--out", name, cwd=tmp_path).returncode == 0
