"""A command in the process of its test, where it starts at once.

For what it says, what it writes and how it ends. What is about pipes, encodings, signals or rights wants a process of
its own, which takes a second to start.
"""

import contextlib
import io
import subprocess
import sys
from unittest import mock

from simulation.commands.cli import main


def retrylab(*arguments, cwd):
    """Return what `subprocess.run` would, had the command been run in this folder with its output captured as text."""
    command = ["retrylab", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    captured = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(cwd), captured[0], captured[1], mock.patch.object(sys, "argv", command):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(command, int(code or 0), out.getvalue(), err.getvalue())
