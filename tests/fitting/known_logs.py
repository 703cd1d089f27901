"""Logs whose every parameter is known, from the simulation and from plain draws, and what a fit should find in them."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

import simulation
from simulation.scenario import parse

HEAD = "name: known\nworkload:\n  - {channel: email, arrivals: {poisson: RATE}}\n"


@dataclass(frozen=True)
class Known:
    """A scenario, and the truth about it by the names that :func:`found_in` gives to estimates."""

    name: str
    provider: str
    truth: dict[str, float]
    rate: str = "5/s"
    duration: str = "10m"
    faults: str = "[]"
    breaker: bool = False
    retry: str = "{max_attempts: 4, initial_delay: 1s}"
    timeout: str = "10s"
    family: str | None = None
    absent: tuple[str, ...] = field(default=("burst", "outage", "lost_reply_rate"))
    """What must not be found, as it is not there."""

    def log(self, seed):
        text = HEAD.replace("RATE", self.rate) + (
            f"seed: {seed}\nduration: {self.duration}\nchannels:\n  email:\n    provider: {self.provider}\n"
            f"    retry: {self.retry}\n    timeout: {self.timeout}\n"
            f"    circuit_breaker: {{enabled: {str(self.breaker).lower()}}}\nfaults: {self.faults}\n"
        )
        return simulation.run(parse(text)).attempts


LOGNORMAL = "{latency: {lognormal: {median: 80ms, p99: 900ms}}, failure_rate: 1%}"
OF_LOGNORMAL = {"median": 0.08, "p99": 0.9, "failure_rate": 0.01}
WITH_OUTAGE = ("burst", "lost_reply_rate")
WITH_BURST = ("outage", "lost_reply_rate")

SIMULATED = [
    Known("lognormal", LOGNORMAL, OF_LOGNORMAL, family="lognormal"),
    Known("two hundred", LOGNORMAL, OF_LOGNORMAL, rate="1/s", duration="200s", family="lognormal"),
    Known(
        "exponential, fails often",
        "{latency: {exponential: {mean: 200ms}}, failure_rate: 40%}",
        {"mean": 0.2, "failure_rate": 0.4},
        family="exponential",
    ),
    Known(
        "gamma",
        "{latency: {gamma: {mean: 150ms, shape: 4}}, failure_rate: 5%}",
        {"mean": 0.15, "shape": 4, "failure_rate": 0.05},
        family="gamma",
    ),
    Known(
        "pareto",
        "{latency: {pareto: {minimum: 30ms, alpha: 1.8}}, failure_rate: 20%}",
        {"minimum": 0.03, "alpha": 1.8, "failure_rate": 0.2},
        family="pareto",
    ),
    Known(
        "uniform, hardly ever fails",
        "{latency: {uniform: {low: 50ms, high: 300ms}}, failure_rate: 0.1%}",
        {"low": 0.05, "high": 0.3, "failure_rate": 0.001},
        family="uniform",
    ),
    Known(
        "normal",
        "{latency: {normal: {mean: 200ms, sd: 60ms}}, failure_rate: 5%}",
        {"mean": 0.2, "sd": 0.06, "failure_rate": 0.05},
        family="normal",
    ),
    Known(
        "timeouts",
        "{latency: {lognormal: {median: 80ms, p99: 900ms}}, failure_rate: 5%}",
        {"median": 0.08, "p99": 0.9, "failure_rate": 0.05},
        timeout="500ms",
        family="lognormal",
    ),
    Known(
        "exponential timeouts",
        "{latency: {exponential: {mean: 200ms}}, failure_rate: 5%}",
        {"mean": 0.2, "failure_rate": 0.05},
        timeout="400ms",
        family="exponential",
    ),
    Known(
        "an outage behind a breaker",
        LOGNORMAL,
        {**OF_LOGNORMAL, "outage.start": 120.0, "outage.end": 300.0},
        rate="10/s",
        faults="[{channel: email, at: 2m, for: 3m, outage: true}]",
        breaker=True,
        absent=WITH_OUTAGE,
    ),
    Known(
        "an outage in full view, of what fails often",
        "{latency: {exponential: {mean: 200ms}}, failure_rate: 30%}",
        {"mean": 0.2, "failure_rate": 0.3, "outage.start": 200.0, "outage.end": 260.0},
        faults="[{channel: email, at: 200s, for: 60s, outage: true}]",
        absent=WITH_OUTAGE,
    ),
    Known(
        "two outages and a hang",
        LOGNORMAL,
        {**OF_LOGNORMAL, "outage.start": 100.0, "outage.end": 130.0, "outage1.start": 200.0, "outage1.end": 245.0,
         "hang.start": 400.0, "hang.end": 430.0},
        faults="[{channel: email, at: 100s, for: 30s, outage: true}, {channel: email, at: 200s, for: 45s, "
        "outage: true}, {channel: email, at: 400s, for: 30s, hang: true}]",
        absent=WITH_OUTAGE,
    ),
    Known(
        "bursts",
        LOGNORMAL,
        {**OF_LOGNORMAL, "burst.mean_good": 60.0, "burst.mean_bad": 10.0, "burst.failure_rate": 0.9},
        rate="2/s",
        duration="40m",
        faults="[{channel: email, burst: {mean_good: 60s, mean_bad: 10s, failure_rate: 90%}}]",
        absent=WITH_BURST,
    ),
    Known(
        "bursts of nothing but failures",
        "{latency: {exponential: {mean: 100ms}}}",
        {"mean": 0.1, "failure_rate": 0.0, "burst.mean_good": 100.0, "burst.mean_bad": 10.0, "burst.failure_rate": 1.0},
        rate="2/s",
        duration="40m",
        faults="[{channel: email, burst: {mean_good: 100s, mean_bad: 10s, failure_rate: 100%}}]",
        absent=WITH_BURST,
    ),
    Known(
        "weak bursts",
        "{latency: {exponential: {mean: 100ms}}, failure_rate: 5%}",
        {"mean": 0.1, "failure_rate": 0.05, "burst.mean_good": 100.0, "burst.mean_bad": 30.0,
         "burst.failure_rate": 0.4},
        rate="2/s",
        duration="60m",
        faults="[{channel: email, burst: {mean_good: 100s, mean_bad: 30s, failure_rate: 40%}}]",
        absent=WITH_BURST,
    ),
    Known(
        "bursts and an outage",
        LOGNORMAL,
        {**OF_LOGNORMAL, "burst.mean_good": 60.0, "burst.mean_bad": 6.0, "burst.failure_rate": 0.8,
         "outage.start": 1000.0, "outage.end": 1120.0},
        rate="2/s",
        duration="40m",
        faults="[{channel: email, burst: {mean_good: 60s, mean_bad: 6s, failure_rate: 80%}}, "
        "{channel: email, at: 1000s, for: 120s, outage: true}]",
        absent=("lost_reply_rate",),
    ),
    Known(
        "lost replies",
        LOGNORMAL,
        {**OF_LOGNORMAL, "lost_reply_rate": 0.03},
        timeout="2s",
        faults="[{channel: email, lost_reply_rate: 3%}]",
        absent=("burst", "outage"),
    ),
    Known(
        "other ends",
        LOGNORMAL,
        {**OF_LOGNORMAL, "permanent_rate": 0.04, "dead_destination_rate": 0.02},
        faults="[{channel: email, permanent_rate: 4%, dead_destination_rate: 2%}]",
    ),
    Known(
        "a brownout",
        "{latency: {lognormal: {median: 80ms, p99: 500ms}}, failure_rate: 1%}",
        {"median": 0.08, "p99": 0.5, "failure_rate": 0.01, "brownout.start": 200.0, "brownout.end": 300.0,
         "brownout.factor": 6.0},
        faults="[{channel: email, at: 200s, for: 100s, latency_factor: 6}]",
    ),
    Known(
        "a quota",
        "{latency: {constant: 50ms}}",
        {"throttle.rate": 3.0},
        faults="[{channel: email, throttle: {rate: 3/s}}]",
        duration="5m",
        family="constant",
    ),
]  # fmt: skip


def found_in(fit):
    """Return the estimates in a fit of one provider, by name."""
    (provider,) = fit.providers.values()
    estimates = dict(provider.latency.fit.parameters)
    failing = provider.failing
    estimates |= failing.rates
    if failing.bursts is not None:
        for name in ("mean_good", "mean_bad", "failure_rate"):
            estimates[f"burst.{name}"] = getattr(failing.bursts, name)
    seen = {}
    for outage in failing.outages:
        number = seen.setdefault(outage.kind, 0)
        seen[outage.kind] += 1
        name = f"{outage.kind}{number or ''}"
        estimates[f"{name}.start"], estimates[f"{name}.end"] = outage.window.start_s, outage.window.end_s
    for brownout in provider.brownouts:
        estimates |= {
            "brownout.start": brownout.window.start_s,
            "brownout.end": brownout.window.end_s,
            "brownout.factor": brownout.factor,
        }
    if provider.lost_reply_rate is not None:
        estimates["lost_reply_rate"] = provider.lost_reply_rate
    if provider.throttling is not None:
        estimates["throttle.rate"] = provider.throttling.rate
    return estimates


def misses(known, seed):
    """Return what a fit of a log gets wrong: parameters beyond their intervals, and what is not there."""
    fit = simulation.fit(known.log(seed), resamples=0)
    (provider,) = fit.providers.values()
    estimates = found_in(fit)
    wrong = [
        name for name, truth in known.truth.items() if name not in estimates or not estimates[name].contains(truth)
    ]
    wrong += [f"no {name}" for name in known.absent if any(key.startswith(name) for key in estimates)]
    if known.family is not None and provider.latency.fit.family != known.family:
        wrong.append("family")
    return wrong


def drawn_log(random, size, rate, spells=None, failure_rate=0.01, bad_rate=0.9, latency=None):
    """Return a log by plain draws: Poisson attempts, lognormal latencies, and failures that may come in bursts.

    Args:
        random: a numpy generator.
        size: how many attempts.
        rate: attempts a second.
        spells: mean good and bad spells in seconds; None: no bursts.
        failure_rate: in good spells.
        bad_rate: what bad spells add.
        latency: seconds; lognormal with a median of 80 ms and a p99 of 900 ms when None.
    """
    start = np.cumsum(random.exponential(1.0 / rate, size))
    fails = np.full(size, failure_rate)
    if spells is not None:
        count = int(start[-1] / sum(spells) * 1.5) + 50
        lengths = np.column_stack([random.exponential(mean, count) for mean in spells]).ravel()
        is_bad = np.searchsorted(np.cumsum(lengths), start, side="right") % 2 == 1
        fails = fails + bad_rate * is_bad
    failed = random.random(size) < fails
    if latency is None:
        latency = np.exp(math.log(0.08) + math.log(0.9 / 0.08) / 2.3263478740408408 * random.standard_normal(size))
    return pd.DataFrame({"time": start, "latency": latency, "outcome": np.where(failed, "failed", "ok")})
