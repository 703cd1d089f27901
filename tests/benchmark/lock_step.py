"""What it costs to compare a run with the reference model, event by event, and to check the laws besides; and how many
seeds a second that makes.

    python tests/benchmark/lock_step.py [--rounds N] [--seeds N]

The sides take turns, and a ratio is the median of those of the rounds; times are of the processor.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import simulation
from simulation.scenario import load

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "verification"), str(TESTS / "support")]
LOADS = {
    "steady-state": ["duration=5m"],
    "provider-outage": ["duration=5m"],
    "wait-or-fail": [],
    "breaker-per-host": ["duration=5m"],
}
WANTED = {"reference-model": 4.0, "all": 9.0}
"""At most so many times a plain run is wanted of the model alone, and of all that is checked."""


def took(run: Callable[[], Any]) -> float:
    """Return the seconds of the processor that something takes."""
    began = time.process_time()
    run()
    return time.process_time() - began


def ratio(name: str, checked: str, rounds: int) -> float:
    """Return how many times as long a run of a shipped scenario takes that is checked."""
    path, sets = TESTS.parent / "scenarios" / f"{name}.yaml", LOADS[name]
    simulation.run(path, sets=["duration=5s"], invariants=[checked])  # what is imported only once
    return statistics.median(
        took(lambda: simulation.run(path, sets=sets, invariants=[checked]))
        / took(lambda: simulation.run(path, sets=sets))
        for _ in range(rounds)
    )


def main() -> None:
    import many_seeds

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=200)
    given = parser.parse_args()
    for name in LOADS:
        for checked, most in WANTED.items():
            times = ratio(name, checked, given.rounds)
            print(f"{name}, {checked}: {times:.1f} times a plain run (at most {most:g} is wanted)")
    scenario = load(many_seeds.SCENARIOS[0])
    seconds = took(lambda: [many_seeds.difference(scenario, seed) for seed in range(given.seeds)])
    print(f"swarm: {given.seeds / seconds:.1f} seeds a second of the processor")


if __name__ == "__main__":
    main()
