"""Logs of trouble, and how the scenario that is fitted to one compares with it under the same policies.

``python tests/fitting/calibrated_logs.py`` prints the table of all.
"""

import math
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

import simulation

METRICS = ("sent_fraction", "retry_amplification", "delivery_time_s.p50", "delivery_time_s.p99")
TOGETHER = 0.95
"""With which all metrics of all logs are in their intervals."""

PATIENT = "retry: {max_attempts: 5, initial_delay: 1s, jitter: full}, timeout: 4s"
NO_BREAKER = f"{PATIENT}, circuit_breaker: {{enabled: false}}"
WAITS = f"{PATIENT}, circuit_breaker: {{failure_threshold: 5, timeout: 20s}}"
RATE_BREAKER = (
    f"{PATIENT}, circuit_breaker: {{window: {{time: 10s}}, failure_rate: 50%, when_open: fail, timeout: 10s}}"
)
HASTY = "retry: {max_attempts: 3, initial_delay: 500ms, jitter: none}, timeout: 2s, circuit_breaker: {enabled: false}"
EQUAL = (
    "retry: {max_attempts: 6, initial_delay: 2s, max_delay: 30s, jitter: equal}, timeout: 8s, "
    "circuit_breaker: {enabled: false}"
)
EXPONENTIAL = "{latency: {exponential: {mean: 300ms}}, failure_rate: 0.5%}"
UNIFORM = "{latency: {uniform: {low: 50ms, high: 400ms}}, failure_rate: 2%}"
PROVIDER = "{latency: {lognormal: {median: 200ms, p99: 1500ms}}, failure_rate: 1%}"


@dataclass(frozen=True)
class Trouble:
    """A log: what goes wrong in it, and the policies that it was written under."""

    name: str
    faults: str
    policies: str = NO_BREAKER
    provider: str = PROVIDER
    rate: str = "6/s"

    def recorded(self, seed):
        text = (
            f"seed: {seed}\nduration: 8m\nworkload: [{{channel: email, arrivals: {{poisson: {self.rate}}}}}]\n"
            f"channels: {{email: {{{self.policies}, provider: {self.provider}}}}}\nfaults: [{self.faults}]\n"
        )
        return simulation.run(simulation.parse(text))


def window(at, lasts, fault):
    return f"{{channel: email, at: {at}s, for: {lasts}s, {fault}}}"


HALF_HANG = "latency: {mixture: [{weight: 50, constant: 30s}, {weight: 50, lognormal: {median: 500ms, p99: 3s}}]}"
BURSTS = "{channel: email, burst: {mean_good: 40s, mean_bad: 6s, failure_rate: 80%}}"
THIRD_HANGS = "latency: {mixture: [{weight: 30, constant: 30s}, {weight: 70, lognormal: {median: 300ms, p99: 2s}}]}"
LONG_BURSTS = "{channel: email, burst: {mean_good: 60s, mean_bad: 15s, failure_rate: 50%}}"
SHORT_BURSTS = "{channel: email, burst: {mean_good: 20s, mean_bad: 3s, failure_rate: 100%}}"
OUTAGE, HANG = "outage: true", "hang: true"
TROUBLES = (
    Trouble("outage", window(120, 90, "outage: true")),
    Trouble("outage behind a breaker", window(120, 90, "outage: true"), WAITS),
    Trouble("partial outage, 35%", window(120, 180, "failure_rate: 35%")),
    Trouble("partial outage, 70%, breaker fails", window(120, 180, "failure_rate: 70%"), RATE_BREAKER),
    Trouble("brownout, ×5", window(120, 150, "latency_factor: 5")),
    Trouble("brownout, half hang", window(120, 180, HALF_HANG)),
    Trouble("hang", window(200, 60, "hang: true")),
    Trouble("bursts", BURSTS),
    Trouble("bursts behind a breaker", BURSTS, WAITS),
    Trouble("throttling", "{channel: email, throttle: {rate: 4/s}}", rate="3.5/s"),
    Trouble("throttling for a while", window(120, 120, "throttle: {rate: 3/s}")),
    Trouble("outage and brownout", window(60, 60, "outage: true") + ", " + window(240, 120, "latency_factor: 4")),
    Trouble("partial outage in a brownout", window(120, 240, "latency_factor: 4, failure_rate: 25%")),
    Trouble("partial outage and hang", window(60, 150, "failure_rate: 30%") + ", " + window(300, 40, "hang: true")),
    Trouble("bursts and an outage", BURSTS + ", " + window(200, 60, "outage: true")),
    Trouble(
        "total within a partial outage", window(60, 300, "failure_rate: 20%") + ", " + window(180, 60, "outage: true")
    ),
    # With other policies, providers and rates.
    Trouble("outage of 15 s", window(200, 15, OUTAGE)),
    Trouble("outage, hasty", window(100, 150, OUTAGE), HASTY, EXPONENTIAL),
    Trouble("two outages", f"{window(60, 40, OUTAGE)}, {window(300, 80, OUTAGE)}", EQUAL, UNIFORM),
    Trouble("partial outage, 12%", window(150, 200, "failure_rate: 12%"), rate="12/s"),
    Trouble("partial outage, 90%, hasty", window(100, 120, "failure_rate: 90%"), HASTY, UNIFORM),
    Trouble("partial outage, 50%, breaker waits", window(100, 120, "failure_rate: 50%"), WAITS),
    Trouble("brownout, ×3, hasty", window(200, 200, "latency_factor: 3"), HASTY, EXPONENTIAL),
    Trouble("brownout, ×12", window(100, 100, "latency_factor: 12"), EQUAL, EXPONENTIAL),
    Trouble("brownout with failures", window(100, 200, "latency_factor: 3, failure_rate: 10%"), NO_BREAKER, UNIFORM),
    Trouble("brownout, a third hangs", window(120, 150, THIRD_HANGS), EQUAL),
    Trouble("hang behind a breaker", window(100, 80, HANG), WAITS, EXPONENTIAL),
    Trouble("hang of 20 s, hasty", window(300, 20, HANG), HASTY),
    Trouble("long bursts", LONG_BURSTS, NO_BREAKER, UNIFORM),
    Trouble("short bursts, hasty", SHORT_BURSTS, HASTY, EXPONENTIAL),
    Trouble("long bursts, breaker fails", LONG_BURSTS, RATE_BREAKER),
    Trouble("throttling to 5/s of 8/s", window(100, 150, "throttle: {rate: 5/s}"), EQUAL, rate="8/s"),
    Trouble("throttling above the load", "{channel: email, throttle: {rate: 5/s}}", EQUAL, EXPONENTIAL, "4.5/s"),
    Trouble("throttling and outage", f"{window(60, 100, 'throttle: {rate: 3/s}')}, {window(280, 60, OUTAGE)}"),
    Trouble(
        "throttling in a brownout",
        f"{window(120, 120, 'throttle: {rate: 4/s}')}, {window(120, 120, 'latency_factor: 3')}",
        NO_BREAKER,
        UNIFORM,
    ),
    Trouble("bursts and brownout", f"{SHORT_BURSTS}, {window(200, 120, 'latency_factor: 5')}"),
    Trouble("bursts and throttling", f"{BURSTS}, {window(250, 100, 'throttle: {rate: 3/s}')}"),
    Trouble("bursts and hang", f"{LONG_BURSTS}, {window(250, 60, HANG)}", EQUAL),
    Trouble("hang and outage", f"{window(60, 40, HANG)}, {window(300, 60, OUTAGE)}", HASTY, UNIFORM),
    Trouble(
        "partial outage and throttling",
        f"{window(60, 120, 'failure_rate: 40%')}, {window(280, 100, 'throttle: {rate: 3/s}')}",
        EQUAL,
    ),
)


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
    sets = [f"channels.email.{part}" for part in split(trouble.policies)]
    with tempfile.TemporaryDirectory() as folder:
        simulation.save(recorded, Path(folder) / "recorded")
        fit = simulation.fit(Path(folder) / "recorded", resamples=0)
        path = Path(folder) / "calibrated.yaml"
        simulation.save(fit, path)
        scenario = simulation.load(path, sets=[*(part.replace(": ", "=", 1) for part in sets), "record=aggregates"])
        runs = [simulation.run(scenario.model_copy(update={"seed": 1000 + each})).summary for each in range(seeds)]
    return [between(trouble.name, metric, value_at(recorded.summary, metric), runs, confidence) for metric in METRICS]


def split(policies):
    """Return the policies one by one: ``a: {b: 1, c: 2}, d: 3`` is two."""
    depth, parts = 0, [""]
    for letter in policies:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


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
