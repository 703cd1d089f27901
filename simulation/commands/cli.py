"""The console command. It needs nothing but Python until it knows which command is meant, and then imports only that.

So it starts at once, and where the extra of a command is not installed it can say so.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from simulation.commands.names import COMMANDS, Exit, missing, missing_module, version_line

GARBAGE_MIN = 50_000
"""Python looks for cycles after so many net allocations: a command imports ten thousand objects that stay."""


def main() -> None:
    """Run the command; report an error in one line."""
    gc.set_threshold(GARBAGE_MIN)
    atexit.register(gc.freeze)  # what is there at the end goes with the process, and need not be looked through again
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it looks for them in all packages that are installed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what its encoding cannot show; stderr escapes that anyway
    trouble: OSError | None = None
    try:
        _run(sys.argv[1:])
        code: int | str | None = Exit.HOLDS
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED  # before a command was chosen
    except OSError as error:
        trouble = error
    except SystemExit as end:
        code = end.code
        if isinstance(end.__context__, BrokenPipeError):
            trouble = end.__context__  # of which typer makes a 1, which is what an expectation that does not hold is
    # Python itself would flush at exit, too late to report a failure.
    trouble = _flush(sys.stdout) or trouble
    if trouble is not None:
        code = Exit.NO_ONE_READS if isinstance(trouble, BrokenPipeError) else Exit.BAD_INPUT
        if code == Exit.BAD_INPUT:
            with suppress(OSError):  # that cannot be said either
                _say(f"{trouble.filename or 'output'}: {trouble.strerror}")
    if isinstance(_flush(sys.stderr), BrokenPipeError):
        code = Exit.NO_ONE_READS
    sys.exit(code)


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(version_line())
        return
    # Whatever else stands first, all commands are there: for the help, and to know which name was nearly hit.
    name = arguments[0] if arguments and arguments[0] in COMMANDS else None
    if lacking := missing(name):
        _say(lacking)
        sys.exit(Exit.BAD_INPUT)
    from simulation.commands.app import application

    try:
        application(COMMANDS if name is None else [name])()
    except ModuleNotFoundError as error:
        if not (lacking := missing_module(name, error)):
            raise
        _say(lacking)
        sys.exit(Exit.BAD_INPUT)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _flush(stream: TextIO | None) -> OSError | None:
    """Return the error that kept the output from being written; the rest of it is then dropped."""
    if stream is None:  # it was closed from the start
        return None
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None
