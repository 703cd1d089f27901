"""Hunt mutants: plant each mistake in a copy of the product, and see what finds it, and after how many seeds.

``python tests/mutants/hunt.py [NAME…] [--strangers] [--without LAW…] [--seeds 200]``; exit code 1 when one survives, or
where the product itself, without any mistake, breaks: no find counts there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalogue import MUTANTS, OF_TESTS, STRANGERS, Mutant

from simulation.verification.known import PLAYED_BY_THE_MODEL

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
PACKAGES = ("actors", "simulation")
STALKING = Path(__file__).parent / "stalking.py"


@dataclass(frozen=True)
class Kill:
    """How a mutant was found."""

    killer: str
    """The invariant that broke; ``expectations``, ``crash`` or ``no end``."""

    ground: str
    """The scenario."""

    seed: int
    text: str
    """What was said of it."""


@dataclass(frozen=True)
class Hunt:
    """What came of the hunt for one mutant."""

    mutant: Mutant
    kill: Kill | None
    """None: it has survived."""

    seconds: float

    false_alarms: tuple[Kill, ...] = ()
    """Where the product breaks without the mistake too; nothing is found there."""


def hunt(mutant: Mutant, seeds: int = 200, *, shipped: bool = True, without: Sequence[str] = ()) -> Hunt:
    """Plant a mistake in a copy of the product, and lead that over every ground until it breaks.

    Args:
        mutant: the mistake.
        seeds: how many of each ground to try at most.
        shipped: whether to try the shipped scenarios too, when all else has been tried.
        without: the names of laws that are left out.

    Raises:
        DoesNotApply: it cannot be planted any more.
        RuntimeError: the copy does not even start.
    """
    began = time.monotonic()
    false_alarms: list[Kill] = []
    with copy_of_the_product() as copy:
        mutant.plant(copy)
        left = route(seeds, shipped=shipped)
        while True:
            kill = stalk(copy, left, without)
            alarm = None if kill is None else stalk(ROOT, [(kill.ground, kill.seed)], without)
            if kill is None or alarm is None:
                return Hunt(mutant, kill, time.monotonic() - began, tuple(false_alarms))
            false_alarms.append(alarm)
            left = left[left.index((kill.ground, kill.seed)) + 1 :]


def route(seeds: int, *, shipped: bool) -> list[tuple[str, int]]:
    """Return every ground and seed in the order in which they are tried."""
    sys.path.append(str(SUPPORT))  # where the small worlds are
    import stalking  # which imports the product: not before a copy of it is wanted

    few = {ground for ground, most in stalking.grounds().items() if most is not None}
    return [(ground, seed) for ground, seed in stalking.route(seeds) if shipped or ground not in few]


@contextmanager
def copy_of_the_product() -> Iterator[Path]:
    """Give a folder with a copy of the packages."""
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            # What is compiled comes along, but for files that another process is just writing.
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("*.pyc.*"))
        yield Path(folder)


def stalk(copy: Path, route: Sequence[tuple[str, int]], without: Sequence[str] = ()) -> Kill | None:
    """Follow a route with a copy in a process of its own; return the first find."""
    path = os.pathsep.join((str(copy), str(SUPPORT)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(STALKING), str(copy), *without],
        input=json.dumps(route),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the copy in {copy} does not run:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return None if found is None else Kill(**found)


def chosen(names: Sequence[str], *, strangers: bool = False) -> list[Mutant]:
    """Return the mutants of these names, those of strangers among them.

    When there are no names: all but those of strangers; or these alone.

    Raises:
        SystemExit: a name is not known.
    """
    of_strangers = [mutant for areas in STRANGERS.values() for area in areas.values() for mutant in area]
    by_name = {mutant.name: mutant for mutant in (*MUTANTS, *OF_TESTS, *of_strangers)}
    if unknown := [name for name in names if name not in by_name]:
        raise SystemExit(f"wanted names of mutants ({', '.join(by_name)}), got {', '.join(unknown)}")
    return [by_name[name] for name in names] or (of_strangers if strangers else list(MUTANTS))


def row(hunt: Hunt) -> str:
    """Return the line of the table for a hunt."""
    if hunt.kill is None:
        killer, where = "SURVIVES", ""
    else:
        killer, where = hunt.kill.killer, f"{hunt.kill.ground}, seed {hunt.kill.seed}"
    return f"{hunt.mutant.name:<44} {killer:<24} {where:<36} {hunt.seconds:6.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description="Plants mistakes in copies of the product and shows what finds them.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="which mutants; all when left out")
    parser.add_argument("--strangers", action="store_true", help="where no names are given: those of strangers")
    parser.add_argument("--seeds", type=int, default=200, help="how many of each scenario to try at most")
    parser.add_argument("--workers", type=int, default=2, help="how many mutants to hunt at a time")
    parser.add_argument("--without", metavar="LAW", nargs="+", default=[], help="leave out these laws")
    parser.add_argument("--verbose", action="store_true", help="also say what was broken")
    options = parser.parse_args(arguments)
    if played := [law for law in options.without if law in PLAYED_BY_THE_MODEL]:
        parser.error(f"--without: {', '.join(played)} stands for reference-model; name that to leave the model out")
    mutants = chosen(options.names, strangers=options.strangers)
    print(f"{'mutant':<44} {'killer':<24} {'scenario and seed':<36} {'s':>6}")
    survivors = 0
    false_alarms: dict[tuple[str, int], Kill] = {}
    with ThreadPoolExecutor(options.workers) as pool:
        for result in pool.map(lambda each: hunt(each, options.seeds, without=options.without), mutants):
            survivors += result.kill is None
            false_alarms |= {(alarm.ground, alarm.seed): alarm for alarm in result.false_alarms}
            print(row(result), flush=True)
            if options.verbose and result.kill is not None:
                print(f"    {result.mutant.mistake}\n    {result.kill.text}")
    print(f"{len(mutants) - survivors} of {len(mutants)} killed, {survivors} survived")
    for alarm in false_alarms.values():
        print(f"without any mistake: {alarm.killer} in {alarm.ground}, seed {alarm.seed}: {alarm.text}")
    return 1 if survivors or false_alarms else 0


if __name__ == "__main__":
    sys.exit(main())
