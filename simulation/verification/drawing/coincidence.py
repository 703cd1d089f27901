"""Coincidences: a case all of whose times are multiples of one step, so that much of it falls due at one instant.

Times that are drawn hardly ever meet. That a retry is due just when its notification expires, a quota has room, or the
breaker closes is what a comparison is right or wrong about; in such a case it happens all the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeAlias

from pydantic import ValidationError

from actors.settings.quantities import FROM_FILE, parse_duration, write_duration
from simulation.scenario import ClosedWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import as_data

STEPS_S = (0.25, 0.5, 1.0, 2.0)

_MOST_STEPS = 6
"""The most steps between arrivals, and of a provider's latency."""

_DISTRIBUTIONS = frozenset({"latency", "not_before"})
"""Keys of times that are drawn for each notification or attempt; but for how long clients think, as that says how many
come."""

_NOT_IN_STEP: Mapping[str, Any] = {"jitter": "none", "retry_after_jitter": 0.0, "retry_after_excess": "0s"}
"""The settings that keep times apart, and their values without effect."""

_ONLY_WITH_JITTER = frozenset({"cap_before_jitter", "cap_after_draw", "jitter_side"})

_FACTORS = frozenset({"latency_factor", "speed", "backoff_multiplier", "multiplier"})
"""Keys of numbers by which times are multiplied or divided."""

Write: TypeAlias = Callable[[float], str]
"""Returns a time in seconds as a file has it: as a multiple of the step."""


def coinciding(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario with times that are multiples of a step; it itself where its settings do not allow that."""
    step_s = random.choice(STEPS_S)

    def write(length_s: float) -> str:
        return write_duration(max(1, round(length_s / step_s)) * step_s if length_s else 0.0)

    as_it_is = as_data(scenario)
    own = {key: as_it_is[key] for key in ("actors",) if key in as_it_is}
    data: dict[str, Any] = _in_step(as_it_is, write, step_s, random) | own
    for entry, written in zip(scenario.workload, data["workload"], strict=True):
        if not isinstance(entry, ClosedWorkload) and entry.arrivals.times is None:  # else they are in step by now
            written["arrivals"] = {"burst": _as_many(scenario, entry, write, step_s, random)}
    if scenario.schedule is not None and scenario.commit_latency:
        # What became durable in the instant of a crash would be so or not by whose turn comes first.
        data["commit_latency"] = write_duration(scenario.commit_latency)
    try:
        return Scenario.model_validate(data, context=FROM_FILE).with_code(scenario.may_import)
    except ValidationError:
        return scenario


def _as_many(scenario: Scenario, entry: Any, write: Write, step_s: float, random: Random) -> dict[str, Any]:
    length_s = max(step_s, entry.for_ or scenario.duration - entry.at)
    count = max(1.0, expected_notifications(scenario, entry))
    every_s = step_s * max(random.randint(1, _MOST_STEPS), math.floor(length_s / count / step_s))
    return {"size": max(1, round(count * every_s / length_s)), "every": write(every_s)}


def _in_step(value: Any, write: Write, step_s: float, random: Random) -> Any:
    if isinstance(value, dict):
        return {
            key: _one_of_two(write, step_s, 0 if key == "latency" else 1, random)
            if key in _DISTRIBUTIONS and isinstance(each, dict)  # else it is one time
            else _without_jitter(key, each)
            if key in _NOT_IN_STEP
            else _in_step_too(each)
            if key in _FACTORS and isinstance(each, float)
            else _in_step(each, write, step_s, random)
            for key, each in value.items()
            if key not in _ONLY_WITH_JITTER
        }
    if isinstance(value, list):
        return [_in_step(each, write, step_s, random) for each in value]
    if isinstance(value, str) and (length_s := parse_duration(value)) is not None:
        return write(length_s)
    return value


def _one_of_two(write: Write, step_s: float, least: int, random: Random) -> dict[str, Any]:
    short, long = random.randint(least, _MOST_STEPS), random.randint(0, _MOST_STEPS)
    return {
        "mixture": [
            {"weight": 3, "constant": write(short * step_s)},
            {"weight": 1, "constant": write((short + long) * step_s)},
        ]
    }


def _in_step_too(factor: float) -> float:
    return float(round(factor)) if factor >= 1 or not factor else 2.0 ** round(math.log2(factor))


def _without_jitter(key: str, value: Any) -> Any:
    return _NOT_IN_STEP[key] if isinstance(value, str) or key != "jitter" else 0.0
