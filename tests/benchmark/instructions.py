"""How many instructions of the processor a notification takes, and whether that is more than at the commit before.

::

    python tests/benchmark/instructions.py                    # against the parent of the checked-out commit
    python tests/benchmark/instructions.py --against 48561f7  # against another commit
    python tests/benchmark/instructions.py --load tripping    # under another load than the steady one

Times of the processor depend on what else a machine does; instructions, which valgrind counts, hardly do. What a run
takes before its first notification cancels out: the number is the difference between a run of many and one of few,
divided by how many more there were. Both commits are measured by this file, with the same interpreter and libraries.
The exit code is 1 where a notification takes more than `MOST` times as many as at the other commit, or where one of
them does not run to its end. Without valgrind, git or the other commit nothing is measured, and the exit code is 0.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

MOST = 1.03
"""How many times as many instructions a notification may take as at the commit before."""

FEW, MANY = 500, 3500

_COUNTED = re.compile(r"Collected : (\d+)")

_RUN = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/benchmark"]
from load import LOADS
from side import SIDES, WARM_UP
for notifications in (WARM_UP, int(sys.argv[4])):
    run, count = SIDES[sys.argv[2]](LOADS[sys.argv[3]](notifications))
    came_of_it = run()
print(count(came_of_it)[0])
"""


class NotMeasurableError(Exception):
    """There is nothing to compare, or nothing to count with."""


class CrashedError(Exception):
    """The code of a tree does not run to its end under valgrind."""


class _Counted(NamedTuple):
    notifications: int
    instructions: int


def measure(tree: Path, side: str = "product", load: str = "steady", sizes: Sequence[int] = (FEW, MANY)) -> float:
    """Return the instructions that a notification takes by the code of a tree, as the benchmark's sides run it.

    Raises:
        NotMeasurableError: valgrind is not installed.
        CrashedError: the code of the tree does not run under it.
    """
    if shutil.which("valgrind") is None:
        raise NotMeasurableError("valgrind is not installed")
    # Else the two runs of a new checkout compile it side by side, and not the same modules each.
    compiled = [sys.executable, "-m", "compileall", "-q", "actors", "simulation", "tests/benchmark"]
    subprocess.run(compiled, cwd=tree, check=False)
    with ThreadPoolExecutor(len(sizes)) as pool:
        few, many = pool.map(lambda notifications: _count(tree, side, load, notifications), sizes)
    return (many.instructions - few.instructions) / (many.notifications - few.notifications)


def _count(tree: Path, side: str, load: str, notifications: int) -> _Counted:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, sys.executable, "-c", _RUN, str(tree), side, load, str(notifications)]
    # Hashes decide how dictionaries lie in memory, and so how long it takes to look something up in them.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True)
    counted = _COUNTED.search(done.stderr)
    if done.returncode or counted is None:
        raise CrashedError(f"{tree} does not run under valgrind: {done.stderr[-2000:]}")
    return _Counted(int(done.stdout), int(counted[1]))


@contextlib.contextmanager
def checked_out(commit: str, root: Path = ROOT) -> Iterator[Path]:
    """Check a commit out into a folder of its own, which is removed in the end.

    Raises:
        NotMeasurableError: there is no such commit here: it is the first one, the clone is shallow, or no clone at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        added = _git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        if added.returncode:
            raise NotMeasurableError(f"the commit {commit} is not here: {added.stderr.strip()}")
        try:
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotMeasurableError("git is not installed") from None


def main() -> int:
    """Compare the working tree with another commit; return the exit code."""
    parser = argparse.ArgumentParser(description="Count the instructions of a notification.")
    parser.add_argument("--against", default="HEAD~1", help="the commit to compare with; by default the one before")
    parser.add_argument("--side", default="product", help="as side.py has it; product by default")
    parser.add_argument("--load", default="steady", help="as load.py has it; steady by default")
    options = parser.parse_args()
    try:
        with checked_out(options.against) as tree:
            before = measure(tree, options.side, options.load)
        now = measure(ROOT, options.side, options.load)
    except NotMeasurableError as why:
        print(f"skipped: {why}")
        return 0
    print(f"{options.side}, {options.load}: {before:,.0f} instructions a notification at {options.against}")
    print(f"{options.side}, {options.load}: {now:,.0f} now, {now / before - 1:+.1%} (at most {MOST - 1:+.0%})")
    return int(now > MOST * before)


if __name__ == "__main__":
    sys.exit(main())
