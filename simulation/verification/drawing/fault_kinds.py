"""The kinds of faults that a case of the swarm may have, and how strong they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, get_args

from actors.settings.faults import QuotaFault
from actors.settings.quantities import Rate
from simulation.verification.drawing.disturbances import down_time
from simulation.verification.drawing.numbers import log_uniform


def _share(random: Random) -> float:
    return log_uniform(random, 0.01, 1.0)


def _factor(random: Random) -> float:
    return log_uniform(random, 2.0, 50.0)


def _steady_or_changing(strength: Callable[[Random], float], random: Random) -> float | dict[str, float]:
    if random.random() < 0.7:
        return strength(random)
    return {"from": strength(random), "to": strength(random), "over": log_uniform(random, 1.0, 120.0)}


def drawn_quota(random: Random, rate: Rate) -> dict[str, Any]:
    """Return a quota that a provider enforces, without what it asks for, of any kind."""
    kind = random.choice(get_args(QuotaFault.model_fields["kind"].annotation))
    bursts = kind == "token_bucket" and random.random() < 0.5
    return {"rate": rate, "kind": kind, **({"burst": random.randint(1, 10)} if bursts else {})}


def _throttle(random: Random) -> dict[str, Any]:
    written = drawn_quota(random, Rate(log_uniform(random, 0.1, 10.0), random.choice([1.0, 1.0, 10.0])))
    if random.random() < 0.6:
        written["retry_after"] = log_uniform(random, 0.1, 60.0)
    return {"throttle": written}


def _crash(random: Random) -> dict[str, Any]:
    actor = random.choice(["handler", "limiter", "breaker", "channel", "dlq", "alert"])
    written: dict[str, Any] = {"crash": {"actor": actor}}
    if random.random() < 0.5:
        written["restart_after"] = down_time(random)
    return written


def _crash_of_the_process(random: Random) -> dict[str, Any]:
    return {"crash": "process", "restart_after": 0.0 if random.random() < 0.3 else log_uniform(random, 0.01, 60.0)}


def _clock_step(random: Random) -> dict[str, Any]:
    return {"clock_step": random.choice([-1.0, 1.0]) * log_uniform(random, 0.1, 2 * 86_400.0)}


KINDS: Mapping[str, Callable[[Random], dict[str, Any]]] = {
    "failure_rate": lambda random: {"failure_rate": _steady_or_changing(_share, random)},
    "fail_first": lambda random: {"fail_first": round(log_uniform(random, 1, 20))},
    "outage": lambda _: {"outage": True},
    "latency": lambda random: {"latency": {"exponential": {"mean": log_uniform(random, 0.001, 20.0)}}},
    "latency_factor": lambda random: {"latency_factor": _steady_or_changing(_factor, random)},
    "hang": lambda _: {"hang": True},
    "throttle": _throttle,
    "permanent_rate": lambda random: {"permanent_rate": _share(random)},
    "dead_destination_rate": lambda random: {"dead_destination_rate": _share(random)},
    "lost_reply_rate": lambda random: {"lost_reply_rate": _share(random)},
    "burst": lambda random: {
        "burst": {
            "mean_good": log_uniform(random, 0.5, 60.0),
            "mean_bad": log_uniform(random, 0.5, 30.0),
            "failure_rate": log_uniform(random, 0.3, 1.0),
        }
    },
    "flap": lambda random: {"flap": {"up": log_uniform(random, 0.2, 30.0), "down": log_uniform(random, 0.2, 30.0)}},
    "capacity": lambda random: {"capacity": round(log_uniform(random, 1, 8))},
    "speed": lambda random: {"speed": 0.0 if random.random() < 0.3 else log_uniform(random, 0.02, 1.0)},
    "duplicate_rate": lambda random: {"duplicate_rate": _share(random)},
    "reorder": lambda random: {"reorder": {"delay": {"exponential": {"mean": log_uniform(random, 0.001, 10.0)}}}},
    "crash": _crash,
    "crash_process": _crash_of_the_process,
    "clock_step": _clock_step,
    "channel_fault_rate": lambda random: {"channel_fault_rate": _share(random)},
}
"""The kinds of faults that a case may have, each with what draws how strong it is."""
