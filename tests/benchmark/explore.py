"""How fast cases are explored: seeds and notifications a second, with one process and with two.

    python tests/benchmark/explore.py [--seeds N] [--rounds N]

The two take turns, and the ratio is the median of the rounds' ratios. Two processes are worth it from some hundred
seeds on: each takes a second to start.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from simulation.exploration.explore import explore
from simulation.exploration.report import report

SWARM = Path(__file__).parents[1] / "exploration" / "swarm.yaml"


def measure(seeds: int, workers: int) -> float:
    """Explore, print how fast it went, and return the seeds a second."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        exploration = explore(SWARM, seeds=seeds, workers=workers, failures=folder)
        took = time.perf_counter() - begin
    if exploration.failure is not None:
        raise SystemExit(report(exploration))
    print(
        f"{workers} process{'' if workers == 1 else 'es'}: {exploration.cases / took:6.1f} seeds/s, "
        f"{exploration.notifications / took:8,.0f} notifications/s"
    )
    return exploration.cases / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    measure(20, 1)  # what is imported and compiled only once
    ratios = []
    for _ in range(given.rounds):
        one = measure(given.seeds, 1)
        ratios.append(measure(given.seeds, 2) / one)
    print(f"two processes are {statistics.median(ratios):.2f} times as fast as one")


if __name__ == "__main__":
    main()
