"""One run of one side in this process, printed as JSON: ``python side.py SIDE LOAD NOTIFICATIONS``.

A process of its own gives each side the same start, and its peak memory to itself.
"""

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from load import LOADS, Load

Run = Callable[[], Any]
"""Does the work that is timed, the metrics included; building the model or reading the scenario is not."""

Count = Callable[[Any], tuple[int, int]]
"""Returns how many notifications and attempts there were, from what the run returned."""

WARM_UP = 300
"""Notifications in a run before the timed one, so that imports and caches do not count."""


def process(load: Load) -> tuple[Run, Count]:
    """Return the run of the SimPy model with a process for each notification."""
    import row_metrics
    import simpy_process

    env, rows = simpy_process.build(load)

    def run() -> Any:
        env.run()
        return row_metrics.metrics(rows)

    return run, lambda figures: (figures["accepted"], figures["attempts"])


def checked(load: Load) -> tuple[Run, Count]:
    """Return the run of the SimPy model with the product's other duties."""
    import simpy_checked

    env, model = simpy_checked.build(load)

    def run() -> Any:
        env.run()
        recorder, end_ns = model.recorder, int(env.now * 1e9)
        recorder.end()
        return recorder.summary_of(None, end_ns), recorder.digest(), recorder.series.frame({}, end_ns)

    return run, lambda made: (made[0]["accepted"], made[0]["attempts"])


def product(
    load: Load, record: str = "full", remember_ids: str = "1d", settings: Sequence[str] = ()
) -> tuple[Run, Count]:
    import scenario_file

    import simulation

    scenario = scenario_file.scenario(load, record, remember_ids, settings)

    def run() -> Any:
        result = simulation.run(scenario)
        assert result.summary["in_flight"] == 0, "the run was to end with nothing in flight"
        assert len(result.series) > 0
        return result

    return run, _counts


def aggregates(load: Load) -> tuple[Run, Count]:
    """Return the run of the scenario that keeps no rows."""
    return product(load, record="aggregates")


def forgetful(load: Load) -> tuple[Run, Count]:
    """Return the run of the scenario that keeps no rows, and ids for an hour."""
    return product(load, record="aggregates", remember_ids="1h")


def with_policy(name: str, load: Load) -> tuple[Run, Count]:
    """Return the run of the scenario with other settings of its channel."""
    import scenario_file

    return product(load, settings=scenario_file.POLICIES[name])


def tables(load: Load) -> tuple[Run, Count]:
    """Return the run of the scenario with all its tables made and kept."""
    run, counts = product(load)

    def run_and_make_tables() -> Any:
        result = run()
        made = (result.notifications, result.attempts, result.breaker, result.dlq, result.series)
        assert all(table is not None for table in made)
        return result

    return run_and_make_tables, counts


def _counts(result: Any) -> tuple[int, int]:
    return result.summary["accepted"], result.summary["attempts"]


SIDES: dict[str, Callable[[Load], tuple[Run, Count]]] = {
    "process": process,
    "checked": checked,
    "product": product,
    "aggregates": aggregates,
    "forgetful": forgetful,
    "tables": tables,
}


def main(side: str, load: str, notifications: str) -> None:
    """Run it once for warming up and once for the clock; a side that has no name here is a policy."""
    make = SIDES.get(side) or partial(with_policy, side)
    run, _ = make(LOADS[load](WARM_UP))
    run()
    run, count = make(LOADS[load](int(notifications)))
    gc.collect()
    started = time.process_time()
    came_of_it = run()
    seconds = time.process_time() - started
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handled, attempts = count(came_of_it)
    print(
        json.dumps(
            {"seconds": seconds, "notifications": handled, "attempts": attempts, "peak_rss_bytes": peak_kib * 1024}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
