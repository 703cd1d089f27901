"""Calls a notifier as a program does that is drawn from a seed, and checks all that it answers.

    python tests/pipeline/random_callers.py --seeds 0:2000
    python tests/pipeline/random_callers.py --seeds 17:18 --on-disk --shrink

What is checked stands in `callers` and `answered`; what is drawn, in `drawn_calls`.
"""

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import trio
from answered import Disagreement
from callers import Callers
from drawn_calls import Program, drawn_program
from trio.testing import MockClock

from actors.errors import InvariantBreach


def carry_out(program: Program) -> int:
    """Carry a program out on the clock for tests; return how many calls it has made.

    Raises:
        Disagreement: an answer is not as it should be.
        InvariantBreach: the run breaks an invariant.
    """
    with tempfile.TemporaryDirectory() as folder:
        callers = Callers(program, Path(folder) / "notifications.db")
        clock = MockClock() if program.is_on_disk else MockClock(autojump_threshold=0)
        trio._core._run._r.seed(program.seed)  # which orders the tasks that are ready, with or without pytest
        with mock.patch.object(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
            trio.run(callers.run, clock=clock)
    return callers.calls_made


def difference(program: Program) -> str | None:
    """Return what is wrong in the run of a program; None: nothing."""
    try:
        carry_out(program)
    except InvariantBreach as breach:
        return breach.message + "\n" + "\n".join(breach.history[-12:])
    except Disagreement as disagreement:
        return str(disagreement)
    except Exception:
        return traceback.format_exc()
    return None


def shrunk(program: Program) -> Program:
    """Return a program with as few calls as may be in which something is wrong still."""
    size = len(program.calls) // 2
    while size:
        place = 0
        while place < len(program.calls):
            fewer = program.without(set(range(place, place + size)))
            if difference(fewer) is not None:
                program = fewer
            else:
                place += size
        size //= 2
    return program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that are asked for, print what is wrong, and return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:100", help="first:behind the last")
    parser.add_argument("--on-disk", action="store_true", help="with a store in a file, which is opened twice")
    parser.add_argument("--shrink", action="store_true", help="show the fewest calls that something is wrong with")
    options = parser.parse_args(arguments)
    first, last = map(int, options.seeds.split(":"))
    logging.disable(logging.CRITICAL)
    began, calls, differ = time.monotonic(), 0, 0
    for seed in range(first, last):
        program = drawn_program(seed, is_on_disk=options.on_disk)
        calls += len(program.calls)
        found = difference(program)
        if found is not None:
            differ += 1
            print(f"{seed}: {found}\n", flush=True)
            if options.shrink:
                fewest = shrunk(program)
                print(f"{difference(fewest)}\n", *fewest.calls, f"leaves: {fewest.leaves}", sep="\n", flush=True)
    print(f"{last - first} seeds, {calls} calls, {differ} differ, {time.monotonic() - began:.1f} s")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
