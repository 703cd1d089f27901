"""How many bytes a notification takes while it is in flight and no rows are kept, printed as JSON.

``python in_flight.py PLACE FEW MANY``

It is what the allocations of Python come to at the most in a run that ends with many in flight, less those of a run
with few. So it is the same on any machine with the same hashes of texts (``PYTHONHASHSEED=0``), but for the room that
dictionaries keep free: 30 to 80 bytes of it.
"""

import json
import sys
import tracemalloc

import simulation
from simulation.scenario import parse

SCENARIO = """\
name: in-flight
duration: {seconds}s
drain: 0s
record: aggregates
workload:
  - {{channel: email, arrivals: {{poisson: 100/s}}, users: 1000}}
channels:
  email: {{{settings}}}
"""
PLACES = {
    "behind a breaker": (
        "circuit_breaker: {failure_threshold: 1, timeout: 1d}, provider: {latency: 10ms, failure_rate: 100%}"
    ),
    "at a provider": "timeout: 1d, provider: {latency: 10h}",
    "before a retry": (
        "retry: {initial_delay: 10h, max_delay: 10h}, circuit_breaker: {enabled: false}, "
        "provider: {latency: 10ms, failure_rate: 100%}"
    ),
}


def peak(place: str, notifications: int) -> tuple[int, int]:
    """Return how many are in flight in the end, and how many bytes were allocated at the most."""
    scenario = parse(SCENARIO.format(seconds=notifications / 100, settings=PLACES[place]), "in-flight.yaml")
    tracemalloc.start()
    in_flight = simulation.run(scenario).summary["in_flight"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return in_flight, most


def main(place: str, few: str, many: str) -> None:
    """Run it once for warming up, and twice for the difference."""
    peak(place, 100)
    fewer, less = peak(place, int(few))
    more, most = peak(place, int(many))
    print(json.dumps({"bytes_each": (most - less) / (more - fewer)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
