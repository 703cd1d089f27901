"""What a command and a worker import before they begin: each package more is waited for in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.running.process_pool import PRELOADED

ROOT = Path(__file__).resolve().parents[2]

OURS = {"actors", "simulation"}
SETTINGS = {
    "annotated_types",
    "cython_runtime",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
    "yaml",
}
ACTORS = {"msgspec", "pykka", "simpy"}
TEMPLATES = {"jinja2", "markupsafe"}
COMMAND = {"annotated_doc", "rich", "shellingham", "typer"}


def imported_by(code: str, *arguments: str) -> tuple[set[str], int]:
    """Return the packages, beside Python's, that are there when `code` has run, and how many threads are."""
    watch = (
        "import atexit, json, os, sys, threading\n"
        "def tell():\n"
        "    tasks = '/proc/self/task'\n"  # those of libraries too, where the system counts them
        "    threads = len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()\n"
        "    names = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "    print(json.dumps([names, threads]), file=sys.__stderr__)\n"
        "atexit.register(tell)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch + code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names, threads = json.loads(done.stderr.splitlines()[-1])
    known = sys.stdlib_module_names | {"__main__", "__mp_main__", "sitecustomize"}  # the last is a distribution's own
    return {name for name in names if name not in known and not name.startswith("_")}, threads


@pytest.mark.integration
def test_a_run_imports_only_what_it_uses():
    code = "from simulation.commands.cli import main\nmain()\n"
    packages, _ = imported_by(code, "run", "scenarios/steady-state.yaml", "--set", "duration=2s", "--set", "expect=[]")
    assert packages <= OURS | SETTINGS | ACTORS | TEMPLATES | COMMAND
    assert {"pydantic", "simpy", "typer"} <= packages  # it is seen what is imported


@pytest.mark.integration
def test_only_a_check_loads_what_asks_whether_the_simulator_is_right():
    code = (
        "import simulation, sys\n"
        "def loaded(*invariants):\n"
        "    simulation.run('scenarios/steady-state.yaml', sets=['duration=1s', 'expect=[]'], **dict(invariants))\n"
        "    return any(name.startswith('simulation.verification') for name in sys.modules)\n"
        "assert not loaded()\n"
        "assert loaded(('invariants', ['conservation']))\n"
    )
    imported_by(code)


@pytest.mark.integration
def test_a_worker_begins_with_runs_alone_and_starts_no_thread():
    # The processes that share runs are forked of one that has imported this: a thread would not survive that.
    code = f"import importlib\nfor name in {PRELOADED}: importlib.import_module(name)\n"
    packages, threads = imported_by(code)
    assert packages <= OURS | SETTINGS | ACTORS
    assert threads == 1
