"""Logs of trouble, and how the scenario that is fitted to one compares with it under the same policies.

``python tests/fitting/calibrated_logs.py`` prints the table of all.
"""

import json
import math
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from beside import tables

import simulation

METRICS = ("sent_fraction", "retry_amplification", "delivery_time_s.p50", "delivery_time_s.p99")
TOGETHER = 0.95
"""With which all metrics of all logs are in their intervals."""

TABLES = tables(__file__)


@dataclass(frozen=True)
class Trouble:
    """A log: what goes wrong in it, and the policies that it was written under."""

    name: str
    faults: list[dict[str, Any]]
    policies: str = "patient, no breaker"
    provider: str = "lognormal"
    rate: str = "6/s"

    def recorded(self, seed):
        scenario = {
            "seed": seed,
            "duration": "8m",
            "workload": [{"channel": "email", "arrivals": {"poisson": self.rate}}],
            "channels": {"email": TABLES["policies"][self.policies] | {"provider": TABLES["providers"][self.provider]}},
            "faults": [{"channel": "email", **fault} for fault in self.faults],
        }
        return simulation.run(simulation.parse(json.dumps(scenario)))


TROUBLES = tuple(Trouble(**row) for row in TABLES["troubles"])

CONFIDENCE = 1.0 - (1.0 - TOGETHER) / (len(TROUBLES) * len(METRICS))
"""Of an interval (Bonferroni)."""


def value_at(summary, path):
    """Return a metric; infinite where it is never."""
    found = summary
    for key in path.split("."):
        found = found[key]
    return math.inf if found is None else float(found)


@dataclass(frozen=True)
class Compared:
    """A metric of a log, and of the scenario that was fitted to it."""

    trouble: str
    metric: str
    logged: float
    mean: float
    low: float
    high: float

    @property
    def meets(self):
        return self.low <= self.logged <= self.high


def compared(trouble, seeds=20, confidence=None):
    """Return the metrics of a log, and intervals for those of the scenario that is fitted to it.

    The log is that of a saved run, which knows when each notification was requested; each has a seed of its own.
    """
    recorded = trouble.recorded(TROUBLES.index(trouble) + 1)
    sets = [f"channels.email.{key}={json.dumps(value)}" for key, value in TABLES["policies"][trouble.policies].items()]
    with tempfile.TemporaryDirectory() as folder:
        simulation.save(recorded, Path(folder) / "recorded")
        fit = simulation.fit(Path(folder) / "recorded", resamples=0)
        path = Path(folder) / "calibrated.yaml"
        simulation.save(fit, path)
        scenario = simulation.load(path, sets=[*sets, "record=aggregates"])
        runs = [simulation.run(scenario.model_copy(update={"seed": 1000 + each})).summary for each in range(seeds)]
    return [between(trouble.name, metric, value_at(recorded.summary, metric), runs, confidence) for metric in METRICS]


def between(trouble, metric, logged, runs, confidence):
    """Return a prediction interval of Student's t; by the inverse of a time that is never in some runs, which is 0."""
    values = [value_at(run, metric) for run in runs]
    some_never = math.inf in values
    if some_never:
        values = [1.0 / value for value in values]
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = (
        float(stats.t.ppf((1.0 + (confidence or CONFIDENCE)) / 2.0, len(values) - 1))
        * spread
        * math.sqrt(1.0 + 1.0 / len(values))
    )
    if some_never:
        ends = (1.0 / end if end > 0.0 else math.inf for end in (mean, mean + half, mean - half))
        return Compared(trouble, metric, logged, *ends)
    low, high = mean - half - 1e-9, mean + half + 1e-9
    if metric == "sent_fraction":
        low = min(
            low, 1.0 - most_lost(runs, confidence or CONFIDENCE) / statistics.fmean(run["accepted"] for run in runs)
        )
    return Compared(trouble, metric, logged, mean, low, high)


def most_lost(runs, confidence):
    """Return how many another run may lose by chance alone, where those before have lost few or none at all.

    Losses are Poisson, of a mean that runs before have told (a negative binomial, by the prior of Jeffreys): twenty
    runs without any do not show that there never is one, and have no spread.
    """
    lost = sum(run["accepted"] * (1.0 - run["sent_fraction"]) for run in runs)
    return float(stats.nbinom.ppf((1.0 + confidence) / 2.0, lost + 0.5, len(runs) / (len(runs) + 1.0)))


if __name__ == "__main__":
    for trouble in TROUBLES:
        if len(sys.argv) < 2 or sys.argv[1] in trouble.name:
            for each in compared(trouble):
                numbers = (f"{number:10.4f}" for number in (each.logged, each.mean, each.low, each.high))
                print(f"{trouble.name:36s} {each.metric:22s}", *numbers, "" if each.meets else " MISSED", flush=True)
