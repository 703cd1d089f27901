"""One run of notifications that all come at once and wait, in this process, printed as JSON.

``python waiting.py PLACE NOTIFICATIONS [--calls]``

With ``--calls`` the functions called are counted, which is the same on any machine; else the time of the processor, and
how much of it the garbage collector took.
"""

import argparse
import cProfile
import gc
import json
import pstats
import resource
import time
from collections.abc import Mapping
from typing import Any

import simulation
from simulation.scenario import Scenario, parse

BASE = """\
name: waiting
duration: 1s
drain: 30d
record: aggregates
workload:
  - {{channel: email, arrivals: {{burst: {{size: {size}, every: 1d}}}}, {parties}, priority: {first}}}
  - {{channel: email, arrivals: {{burst: {{size: {size}, every: 1d}}}}, {parties}, priority: normal}}
  - {{channel: email, arrivals: {{burst: {{size: {size}, every: 1d}}}}, {parties}, priority: {last}}}
channels:
  email: {{{settings}, provider: {{latency: 10ms}}}}
"""

QUOTA = "quota: {rate: 1000/s, kind: token_bucket, burst: 1}"
PLACES: Mapping[str, str] = {
    "all of one class, quota": QUOTA,
    "strict, quota": QUOTA,
    "weighted by tenant, quota": f"{QUOTA}, order: {{kind: weighted, fair_by: tenant}}",
    "aging by user, quota": f"{QUOTA}, order: {{aging: 10s, fair_by: user}}",
    "weighted by tenant, slots": "max_in_flight: 20, order: {kind: weighted, fair_by: tenant}",
    "by host, slots, a breaker per host": "max_in_flight: 20, circuit_breaker: {per: host}",
    "weighted by tenant, limits of ten users": (
        "rate_limit: {rate: 100/s, kind: token_bucket}, order: {kind: weighted, fair_by: tenant}"
    ),
    "strict, bounds of ten tenants": "tenant: {max_in_flight: 2}",
}
"""By where they wait and in which order, the settings of the channel."""


def scenario(place: str, notifications: int) -> Scenario:
    """Return the scenario: a third of each class, of as many users, hosts and tenants as a hundredth of them."""
    many = max(10, notifications // 100)
    users, tenants = (10 if "ten users" in place else many), (10 if "ten tenants" in place else many)
    first, last = ("normal", "normal") if "one class" in place else ("critical", "bulk")
    parties = f"users: {users * 7}, hosts: {many}, tenants: {tenants}".replace("70,", "10,")
    values: dict[str, Any] = {"first": first, "last": last, "parties": parties, "settings": PLACES[place]}
    return parse(BASE.format(size=notifications // 3, **values), "waiting.yaml")


class Collections:
    """The time that the garbage collector takes: the more is alive, the longer it looks at all of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._on_collection)

    def _on_collection(self, phase: str, _: Any) -> None:
        now = time.process_time()
        if phase == "start":
            self._began = now
        else:
            self.seconds += now - self._began


def main() -> None:
    """Run it once for warming up, and once more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", choices=list(PLACES))
    parser.add_argument("notifications", type=int)
    parser.add_argument("--calls", action="store_true")
    options = parser.parse_args()
    simulation.run(scenario(options.place, 300))
    given = scenario(options.place, options.notifications)
    gc.collect()
    profile, collections = cProfile.Profile(), Collections()
    started = time.process_time()
    if options.calls:
        profile.enable()
    result = simulation.run(given)
    profile.disable()
    seconds = time.process_time() - started
    summary = result.summary
    assert summary["sent"] == summary["accepted"], "all were to be sent in the end"
    print(
        json.dumps(
            {
                "notifications": summary["accepted"],
                "waiting": max(summary["peaks"]["waiting"].values()),
                "seconds": seconds,
                "collecting": collections.seconds,
                "calls": pstats.Stats(profile).total_calls if options.calls else None,  # type: ignore[attr-defined]
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
