"""Logs whose every parameter is known, from the simulation and from plain draws, and what a fit should find in them."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

import simulation
from simulation.scenario import parse


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario, and the truth about it by the names that :func:`found_in` gives to estimates."""

    name: str
    provider: dict[str, Any]
    truth: dict[str, float]
    rate: str = "5/s"
    duration: str = "10m"
    faults: list[dict[str, Any]] = []
    breaker: bool = False
    timeout: str = "10s"
    family: str | None = None
    absent: tuple[str, ...] = ("burst", "outage", "lost_reply_rate")
    """What must not be found, as it is not there."""

    def log(self, seed):
        email = {
            "provider": self.provider,
            "retry": {"max_attempts": 4, "initial_delay": "1s"},
            "timeout": self.timeout,
            "circuit_breaker": {"enabled": self.breaker},
        }
        scenario = {
            "name": "known",
            "seed": seed,
            "duration": self.duration,
            "workload": [{"channel": "email", "arrivals": {"poisson": self.rate}}],
            "channels": {"email": email},
            "faults": self.faults,
        }
        return simulation.run(parse(json.dumps(scenario))).attempts


SIMULATED = msgspec.yaml.decode(Path(__file__).with_suffix(".yaml").read_bytes(), type=list[Known])


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
