"""How long studio takes from a change to its picture, for every scenario that ships, beside the runner alone.

::

    python tests/benchmark/studio.py              # some minutes
    python tests/benchmark/studio.py --only provider-outage --rounds 5

A worker is started once and warm, as studio has it. The clock starts when it is asked, and ends at the first frame with
something to draw, and at the last one. Beside it the runner alone runs the same scenario in a process of its own, in
turn, so that both see the same neighbours on a busy machine. Nothing is asserted: times depend on the machine. The
ratio of processor times depends on it less.

With a history kept (``record: full``) on both sides, and without the pages' own drawing, which is some 10 ms a frame.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

SCENARIOS = Path(__file__).parents[2] / "scenarios"

FIRST_S, RATIO = 0.1, 1.3
"""What is wanted: the first picture within this time, and the whole within so many times what the runner takes."""


class Took(NamedTuple):
    """Seconds."""

    first: float
    """Until there is something to draw."""

    whole: float
    """Until all of it is."""

    processor: float
    """Of the process."""

    first_processor: float
    """Of the process, until there is something to draw."""


def alone(connection: Connection) -> None:
    """Run scenarios that are asked for, and say how long each took."""
    import simulation

    while (asked := connection.recv()) is not None:
        started, used = time.perf_counter(), time.process_time()
        simulation.run(simulation.parse(*asked))
        whole = time.perf_counter() - started
        connection.send(Took(whole, whole, *[time.process_time() - used] * 2))


def studio(connection: Connection) -> None:
    """Run scenarios that are asked for as a worker of studio does, and say how long each took."""
    from simulation.studio.worker import Worker

    while (asked := connection.recv()) is not None:
        seen: dict[str, float] = {}

        def note(line: dict[str, object], seen: dict[str, float] = seen) -> None:
            json.dumps(line)
            if line["type"] == "frame" and line["to"]:
                seen.setdefault("first", time.perf_counter())
                seen.setdefault("first_processor", time.process_time())
            if line["type"] == "done":
                seen["whole"] = time.perf_counter()
                seen["processor"] = time.process_time()

        started, used = time.perf_counter(), time.process_time()
        Worker(note, lambda: False).do({"do": "run", "text": asked[0], "filename": asked[1]})
        since = {"first": started, "whole": started, "processor": used, "first_processor": used}
        connection.send(Took(**{name: seen[name] - begin for name, begin in since.items()}))


def measured(paths: list[Path], rounds: int) -> Iterator[tuple[Path, list[Took], list[Took]]]:
    """Yield for each scenario what the runner alone and studio took in each round."""
    context = multiprocessing.get_context("spawn")
    sides = []
    for side in (alone, studio):
        ours, theirs = context.Pipe()
        process = context.Process(target=side, args=(theirs,), daemon=True)
        process.start()
        sides.append((ours, process))
    warm = (SCENARIOS / "steady-state.yaml").read_text(encoding="utf-8").replace("duration: 10m", "duration: 10s")
    for path in [None, *paths]:
        asked = (warm, "warm.yaml") if path is None else (path.read_text(encoding="utf-8"), str(path))
        took: list[list[Took]] = [[], []]
        for _ in range(rounds):
            for (connection, _process), found in zip(sides, took, strict=True):
                connection.send(asked)
                found.append(connection.recv())
        if path is not None:
            yield path, took[0], took[1]
    for connection, process in sides:
        connection.send(None)
        process.join()


def main() -> None:
    """Measure, and print a line for each scenario."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    paths = sorted(SCENARIOS.rglob("*.yaml"))
    if options.only:
        paths = [path for path in paths if path.stem in options.only]
    print(f"{'scenario':26} {'first':>8} {'processor':>9} {'whole':>8} {'alone':>8} {'ratio':>6} {'of processor':>13}")
    for path, runner, worker in measured(paths, options.rounds):
        first, whole = (median(getattr(took, name) for took in worker) for name in ("first", "whole"))
        early = median(took.first_processor for took in worker)
        one = median(took.whole for took in runner)
        ratio = median(theirs.whole / ours.whole for ours, theirs in zip(runner, worker, strict=True))
        used = median(theirs.processor / ours.processor for ours, theirs in zip(runner, worker, strict=True))
        missed = ("" if first <= FIRST_S else " late") + ("" if used <= RATIO else " more")
        print(
            f"{path.stem:26} {first * 1e3:5.0f} ms {early * 1e3:6.0f} ms {whole:6.2f} s {one:6.2f} s {ratio:6.2f} "
            f"{used:13.2f}{missed}"
        )
    print(f"at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB in a process")


if __name__ == "__main__":
    main()
