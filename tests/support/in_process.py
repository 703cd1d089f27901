"""A command in the process of its test, where it starts at once.

For what it says, what it writes and how it ends. What is about pipes, encodings, signals or rights wants a process of
its own, which takes a second to start.
"""

import contextlib
import io
import logging
import math
import re
import subprocess
import sys
from unittest import mock

from simulation.commands.cli import main
from simulation.reporting.terminal import minutes


def retrylab(*arguments, cwd, minute_s=math.inf):
    """Return what `subprocess.run` would, had the command been run in this folder with its output captured as text.

    A minute has so many seconds by which a line says how far it is: none, unless a test is about these lines, since a
    loaded machine takes longer.
    """
    out, err = io.StringIO(), io.StringIO()
    done = _done(arguments, out, err, cwd, minute_s)
    done.stdout, done.stderr = out.getvalue(), err.getvalue()
    return done


def encoded(*arguments, cwd, encoding):
    """Return what `subprocess.run` would, with output in this encoding captured as bytes."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors) for errors in ("strict", "backslashreplace"))
    done = _done(arguments, out, err, cwd)
    done.stdout, done.stderr = out.buffer.getvalue(), err.buffer.getvalue()
    return done


def written_to(path_or_descriptor, *arguments, cwd, stderr_too=False):
    """Return how the command ends, and what it says on standard error, when its output goes there."""
    out = open(path_or_descriptor, "w", encoding="utf-8", closefd=not isinstance(path_or_descriptor, int))  # noqa: SIM115 - it may not close
    err = io.StringIO()
    code = _done(arguments, out, out if stderr_too else err, cwd).returncode
    with contextlib.suppress(OSError):  # it has gone, or there is no room
        out.close()
    return code, err.getvalue()


def _done(arguments, out, err, cwd, minute_s=math.inf):
    command = ["retrylab", *map(str, arguments)]
    captured = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    patched = mock.patch.object(sys, "argv", command), mock.patch.object(minutes, "MINUTE_S", minute_s)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with contextlib.chdir(cwd), captured[0], captured[1], patched[0], patched[1]:
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:  # `serve` sets up the log of its process
            root.setLevel(level)
            root.handlers[:] = handlers
        sys.stdout.flush()  # as Python does at exit: by then it has to go well
    return subprocess.CompletedProcess(command, int(code or 0))


def without_minutes(stderr):
    """Return what a process of its own has said on standard error, but for how far it was after each minute."""
    return re.sub(r"^after [0-9]+ min: .*\n", "", stderr, flags=re.MULTILINE)
