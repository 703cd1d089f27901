"""How fast cases are explored: seeds and notifications a second, with one process and with two; and what it would be
with the settings of the file and no variations.

    python tests/benchmark/explore.py [--seeds N] [--rounds N]

The two take turns, and the ratio is the median of the rounds' ratios. Two processes are worth it from some hundred
seeds on: each takes a second to start.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from simulation.verification.exploring.explore import explore

SWARM = Path(__file__).parents[1] / "verification" / "drawing" / "swarm.yaml"


def measure(seeds: int, workers: int, *, plain: bool = False) -> float:
    """Explore, print how fast it went, and return the seeds a second.

    Args:
        seeds: how many cases.
        workers: how many processes.
        plain: with the settings of the file, and no case that varies another.
    """
    begin = time.perf_counter()
    how: dict[str, Any] = {"settings": "given", "guided": False} if plain else {}
    exploration = explore(SWARM, seeds=seeds, workers=workers, shrink_runs=0, **how)
    took = time.perf_counter() - begin
    broken = "" if exploration.failure is None else f", and seed {exploration.failure.seed} broke"
    print(
        f"{workers} process{'' if workers == 1 else 'es'}{', plain' if plain else ''}: "
        f"{exploration.cases / took:6.1f} seeds/s, {exploration.notifications / took:8,.0f} notifications/s{broken}"
    )
    return exploration.cases / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    measure(20, 1)  # what is imported and compiled only once
    ratios, plain = [], []
    for _ in range(given.rounds):
        one = measure(given.seeds, 1)
        plain.append(measure(given.seeds, 1, plain=True) / one)
        ratios.append(measure(given.seeds, 2) / one)
    print(f"two processes are {statistics.median(ratios):.2f} times as fast as one")
    print(f"without drawn settings and variations it is {statistics.median(plain):.2f} times as fast")


if __name__ == "__main__":
    main()
