"""What the encoding of the output cannot show is replaced; nothing goes wrong for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
from effort import sliced

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
STEADY = ROOT / "scenarios" / "steady-state.yaml"
SHORT = ["--set", "duration=5s", "--set", "expect=[sent >= 1]"]
TIMES = ["--vary", "channels.email.timeout=1s,2s", "--workers", "1", "--replicates", "2"]
MANY = {"compare": TIMES, "sweep": [*TIMES, "--out", "out"]}

POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}
ENCODINGS = ["posix", "ascii", "latin-1"]


def retrylab(environment, *arguments, cwd):
    command = [sys.executable, "-c", "from simulation.commands.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, check=False)


def retrylab_in(encoding, *arguments, cwd):
    """Run it in a process of its own where the encoding comes from the environment alone."""
    if encoding == "posix":
        return retrylab(POSIX, *arguments, cwd=cwd)
    return in_process.encoded(*arguments, cwd=cwd, encoding=encoding)


@pytest.mark.parametrize("encoding", sliced(ENCODINGS, 3))
@pytest.mark.parametrize("command", sliced(["run", "compare", "sweep"], 6))
def test_what_cannot_be_shown_is_replaced(command, encoding, tmp_path):
    done = retrylab_in(encoding, command, STEADY, *SHORT, *MANY.get(command, []), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"steady-state" in done.stdout
    assert (b"\xb7" if encoding == "latin-1" else b"?") in done.stdout  # the dot in the first line


@pytest.mark.parametrize("encoding", sliced(ENCODINGS, 3, 1))
def test_json_is_whole_in_every_encoding(encoding, tmp_path):
    done = retrylab_in(encoding, "run", STEADY, *SHORT, "--set", r'name="\u2192 \xfc"', "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["scenario"] == "→ ü"


def test_a_file_whose_name_is_no_text_is_shown_as_far_as_it_is(tmp_path):
    file = os.fsencode(tmp_path) + b"/caf\xe9.yaml"
    with open(file, "wb") as scenario:
        scenario.write(STEADY.read_bytes().replace(b"name: steady-state\n", b""))
    done = retrylab({"PYTHONUTF8": "1"}, "run", file, *SHORT, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"caf\udce9  seed 1")


def test_a_file_whose_name_is_an_order_to_a_terminal_is_shown_without(tmp_path):
    (tmp_path / "a\x1b[31m.yaml").write_bytes(STEADY.read_bytes().replace(b"name: steady-state\n", b""))
    done = in_process.encoded("run", "a\x1b[31m.yaml", *SHORT, cwd=tmp_path, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"a\x1b[31m  seed 1")
