"""How a sweep scales: cells a second with one process and with two, and on a Dask cluster of two processes.

    python tests/benchmark/sweep.py [--replicates N] [--rounds N] [--json]

They take turns, and the ratios are the medians of the rounds' ratios. Processes are new in each round, as they are for
a command: each takes a second to start. The cluster is there already.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import simulation

SCENARIO = Path(__file__).parents[2] / "scenarios" / "provider-outage.yaml"
VARY = {
    "channels.push.retry.max_attempts": [1, 2, 3, 5, 8],
    "channels.email.circuit_breaker.timeout": {"from": "10s", "to": "2m", "steps": 8},
}


def measure(what: str, replicates: int, **executor: Any) -> float:
    """Sweep, say how fast it went, and return the runs a second."""
    begin = time.perf_counter()
    swept = simulation.sweep(SCENARIO, VARY, replicates=replicates, sets=["duration=1m"], **executor)
    took = time.perf_counter() - begin
    print(
        f"{what:20} {len(swept.runs) / took:6.1f} runs/s, {swept.runs['accepted'].sum() / took:8,.0f} notifications/s",
        file=sys.stderr,
    )
    return len(swept.runs) / took


def main() -> None:
    from distributed import LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON")
    given = parser.parse_args()
    measure("to warm up", 1)
    ratios, cluster_ratios = [], []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        for _ in range(given.rounds):
            one = measure("one process", given.replicates)
            ratios.append(measure("two processes", given.replicates, workers=2) / one)
            cluster_ratios.append(measure("a cluster of two", given.replicates, cluster=cluster) / one)
    two, cluster_of_two = statistics.median(ratios), statistics.median(cluster_ratios)
    if given.json:
        print(json.dumps({"two processes": two, "a Dask cluster of two": cluster_of_two}))
        return
    print(f"two processes are {two:.2f} times as fast as one")
    print(f"a Dask cluster of two processes is {cluster_of_two:.2f} times as fast as one")


if __name__ == "__main__":
    main()
