"""The reader of the output may go, as ``head`` does: every command then ends with 141, and says nothing of it.

Or there is no room for it any more: then it says so, in a line.
"""

import os
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
from effort import sliced

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
MAIN = "from simulation.commands.cli import main; main()"
STEADY = "scenarios/steady-state.yaml"
TIMES = ["--vary", "channels.email.timeout=1s,2s"]
SHORT = ["--set", "duration=5s", "--set", "expect=[]"]
FEW = [*SHORT, "--workers", "1", "--replicates", "2"]


@pytest.fixture
def no_one_reads():
    """The end of a pipe that is written to, whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def ended(code, *arguments, stdout, stderr=subprocess.PIPE):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=BUFFERED, stdout=stdout, stderr=stderr, check=False)
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize(
    "arguments",
    sliced(
        [
            ["--help"],
            ["run", "--help"],
            ["--version"],
            [],
            ["run", STEADY, *SHORT],
            ["lint", "scenarios/throttling-provider.yaml"],
            ["schema"],
            ["dlq", "--help"],
        ],
        8,
    ),
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_says_that_no_one_reads(arguments, no_one_reads):
    assert ended(MAIN, *arguments, stdout=no_one_reads) == (141, "")


@pytest.mark.parametrize(
    "arguments",
    sliced(
        [
            ["run", STEADY, *SHORT, "--json"],
            ["compare", STEADY, *FEW, *TIMES],
            ["sweep", STEADY, *FEW, *TIMES, "--out", "DIR"],
            ["explore", STEADY, "--set", "duration=5s", "--seeds", "1", "--workers", "1"],
            ["validate", "--list"],
            ["validate", "--case", "grpc-throttling", "--case", "layers", "--workers", "1"],
        ],
        6,
    ),
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_those_that_take_long_to_start_say_so_too(arguments, no_one_reads, tmp_path):
    arguments = [tmp_path / "out" if argument == "DIR" else argument for argument in arguments]
    assert in_process.written_to(no_one_reads, *arguments, cwd=ROOT) == (141, "")


def test_what_goes_wrong_is_no_bad_input_where_no_one_receives_it(no_one_reads):
    assert ended(MAIN, "lint", "nowhere.yaml", stdout=subprocess.DEVNULL, stderr=no_one_reads)[0] == 141
    assert ended(MAIN, "lint", "nowhere.yaml", stdout=no_one_reads)[0] == 2


def test_head_gets_its_line():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, "pipesize": 4096}
    with subprocess.Popen([sys.executable, "-c", MAIN, "schema"], cwd=ROOT, env=BUFFERED, **pipes) as process:
        assert process.stdout.read(2) == b"{\n"  # more is to come than the pipe holds
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_what_was_not_flushed_yet_is_found_out_before_the_end(no_one_reads):
    """A text shorter than the buffer; Python alone would complain at exit, and end with 120."""
    unflushed = (
        "import sys, simulation.commands.app as app; "
        f"app.application = lambda names: lambda: sys.stdout.write('short'); {MAIN}"
    )
    assert ended(unflushed, stdout=no_one_reads) == (141, "")
    assert ended(unflushed, stdout=subprocess.DEVNULL) == (0, "")


def test_a_pipe_inside_of_a_command_that_breaks_is_not_the_one_it_prints_to():
    inside = (
        "import typer, simulation.commands.app as app\n"
        "whole = app.application()\n"
        "app.application = lambda names: whole\n"
        "@whole.command()\n"
        "def ask():\n"
        "    try:\n"
        "        raise BrokenPipeError\n"
        "    except OSError:\n"
        "        raise typer.Exit(2) from None\n"
    )
    assert ended(f"{inside}{MAIN}", "ask", stdout=subprocess.DEVNULL) == (2, "")


def test_no_output_at_all_is_no_broken_pipe():
    closed = f"import os, sys; sys.stdout = None; {MAIN}"
    assert ended(closed, "lint", STEADY, stdout=subprocess.DEVNULL) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is wanted")
@pytest.mark.parametrize("arguments", sliced([["--help"], ["run", STEADY, *SHORT]], 4), ids=" ".join)
def test_a_disk_without_room_is_said_in_a_line(arguments):
    with open("/dev/full", "wb", buffering=0) as full:
        assert ended(MAIN, *arguments, stdout=full) == (2, "output: No space left on device\n")
        assert ended(MAIN, *arguments, stdout=full, stderr=full)[0] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is wanted")
def test_nor_is_there_for_the_list_of_cases():
    listed = ["validate", "--list"]
    assert in_process.written_to("/dev/full", *listed, cwd=ROOT) == (2, "output: No space left on device\n")
    assert in_process.written_to("/dev/full", *listed, cwd=ROOT, stderr_too=True)[0] == 2
