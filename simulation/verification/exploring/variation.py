"""Variations of a case: the same once more, with something that happens at an instant of which the case says that it
matters.

A crash falls into the half-open second of a breaker in one case of hundreds; into that of a case in which the breaker
is known to be half-open it can be aimed. What was before that instant stays as it was, since a variation has the seed
of the case: so what is aimed at is hit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from actors.instants import seconds
from actors.kernel.randomness import RandomStreams
from actors.settings.faults import FaultConfig
from simulation.scenario import Operation, Scenario
from simulation.verification.drawing.disturbances import (
    TOO_MANY_CRASHES,
    bearable,
    cancellation,
    down_time,
    edit,
    start_at_an_edge,
)
from simulation.verification.drawing.drawn_settings import draw_settings
from simulation.verification.drawing.numbers import log_uniform
from simulation.verification.drawing.zones import has_local_times
from simulation.verification.exploring.pairs import DISABLED, FAILING, HALF_OPEN, LEFT, REDRIVEN, Span, seen_in
from simulation.verification.exploring.trial import attempt

WEIGHTS: Mapping[str, int] = {HALF_OPEN: 4, LEFT: 2, REDRIVEN: 2, FAILING: 2, DISABLED: 2}
"""How often a state is aimed at, where it is more often than others: it is short, or there is much to get wrong."""

AIMS = 3
"""At most so much is aimed in one variation."""

MOST_CRASHES = 3
"""At most so often one actor crashes by one aim."""

_SHARE_AT_ONCE = 0.3
"""In so many variations all is aimed at one instant, also where quiet hours begin or end."""

_SELDOM = 0.15
"""How often each of the settings of a case is another one."""


def varied(case: Scenario, seed: int, spans: Sequence[Span] | None = None) -> Scenario:
    """Return a variation of a case; without the spans of the states of its run, it is run to find out."""
    if spans is None:
        result = attempt(case, invariants="default").result
        spans = () if result is None else seen_in(result.history, case).spans
    random = RandomStreams(seed).stream("swarm.variation")
    faults, operations = list(case.faults), list(case.operations)
    changes: dict[str, Any] = {}
    if faults and random.random() < 0.2:
        del faults[random.randrange(len(faults))]
    if random.random() < _SELDOM:
        case = draw_settings(case, random).scenario
    if random.random() < _SELDOM:
        changes["seed"] = seed
    if random.random() < _SELDOM and case.nodes_at_most == 1:
        changes["commit_latency"] = log_uniform(random, 0.001, 1.0)
    is_at_once, target = random.random() < _SHARE_AT_ONCE, _aim(case, spans, random)
    if case.quiet_hours and random.random() < (2.0 * _SELDOM if is_at_once else _SELDOM):
        start = start_at_an_edge(case, target[1], random)
        changes["start"] = case.start if has_local_times(case) else start
    aims = 1
    while aims < AIMS and random.random() < 0.4:
        aims += 1
    for _ in range(aims):
        channel, at = target if is_at_once else _aim(case, spans, random)
        aimed = random.choice(list(_AIMED.values()))(case, channel, at, random)
        faults += [each for each in aimed if isinstance(each, FaultConfig)]  # behind the others, whose draws stay so
        operations += [each for each in aimed if isinstance(each, Operation)]
    changes["faults"] = bearable(faults)
    changes["operations"] = tuple(sorted(operations, key=lambda operation: operation.at))
    return case.model_copy(update=changes)


def _aim(case: Scenario, spans: Sequence[Span], random: Random) -> tuple[str, float]:
    """Return a channel and an instant in seconds at which something goes on there: at an edge of it, or in it."""
    if not spans:
        return random.choice(case.channels_used).value, round(random.uniform(0.0, 1.2 * case.duration), 3)
    states = sorted({span.state for span in spans})
    state = random.choices(states, [WEIGHTS.get(state, 1) for state in states])[0]
    span = random.choice([span for span in spans if span.state == state])
    start_ns, end_ns = span.start_ns, span.end_ns
    where = random.choice(["begins", "just begun", "within", "within", "within", "ends"])
    at_ns = {
        "begins": start_ns,
        "just begun": start_ns + 1,
        "within": random.randint(min(start_ns + 1, end_ns), end_ns),
        "ends": end_ns,
    }[where]
    channel = span.channel if span.channel in case.channels_used else random.choice(case.channels_used).value
    assert channel is not None
    return channel, seconds(at_ns)


# ── what is aimed ───────────────────────────────────────────────────────────────────────────────────────────────


def _crash_of_the_process(_case: Scenario, channel: str, at: float, random: Random) -> list[FaultConfig]:
    after = random.choice([0.0, 0.0, log_uniform(random, 0.01, 60.0)])
    return [FaultConfig.model_validate({"channel": channel, "at": at, "crash": "process", "restart_after": after})]


def _crash_of_an_actor(case: Scenario, channel: str, at: float, random: Random) -> list[FaultConfig]:
    actors = ["handler", "breaker", "breaker", "channel", "dlq", "alert"]
    if case.channel_config(_of(case, channel)).rate_limit is not None:
        actors.append("limiter")
    crash = {"channel": channel, "crash": {"actor": random.choice(actors)}}
    if crash["crash"] == {"actor": "alert"} and random.random() < 0.3:
        return [FaultConfig.model_validate({**crash, "at": round(at + 5.0 * n, 9)}) for n in range(TOO_MANY_CRASHES)]
    crashes = []
    while True:
        restarts = {"restart_after": down_time(random)} if random.random() < 0.5 else {}
        crashes.append(FaultConfig.model_validate({**crash, "at": at, **restarts}))
        if len(crashes) == MOST_CRASHES or random.random() < 0.5:
            return crashes
        # Once more: while it is down, just after it is back, or when the first one should be forgotten.
        at = round(at + log_uniform(random, 0.01, 180.0), 9)


def _step(_case: Scenario, channel: str, at: float, random: Random) -> list[FaultConfig]:
    step = random.choice([-1.0, 1.0]) * log_uniform(random, 0.1, 2 * 86_400.0)
    return [FaultConfig.model_validate({"channel": channel, "at": at, "clock_step": step})]


def _redrive(case: Scenario, channel: str, at: float, random: Random) -> list[Operation]:
    written: dict[str, Any] = {"at": at, "redrive": "all"}
    if random.random() < 0.5:
        written["channel"] = channel
    if random.random() < 0.5:
        written["edit"] = edit(case, random)
    if random.random() < 0.2:
        written["served"] = "include"
    return [Operation.model_validate(written)]


def _discard(_case: Scenario, channel: str, at: float, _random: Random) -> list[Operation]:
    return [Operation.model_validate({"at": at, "channel": channel, "discard": "all"})]


def _cancel(_case: Scenario, channel: str, at: float, random: Random) -> list[Operation]:
    return [cancellation(channel, at, random)]


def _override(case: Scenario, channel: str, at: float, random: Random) -> list[Operation]:
    order = random.choice(["force-open", "disable", "metrics-only", "close"])
    orders: list[dict[str, Any]] = [{"channel": channel, "at": at, "breaker": order}]
    if order != "close":  # no operator leaves it so
        until = at + log_uniform(random, max(1e-3, case.duration / 30), max(2e-3, case.duration))
        orders.append({"channel": channel, "at": round(until, 3), "breaker": "close"})
    return [Operation.model_validate(each) for each in orders]


_AIMED: Mapping[str, Callable[[Scenario, str, float, Random], Sequence[FaultConfig | Operation]]] = {
    "crash of the process": _crash_of_the_process,
    "once more": _crash_of_the_process,
    "crash of an actor": _crash_of_an_actor,
    "step": _step,
    "redrive": _redrive,
    "discard": _discard,
    "cancel": _cancel,
    "override": _override,
}


def _of(case: Scenario, name: str) -> Any:
    return next(channel for channel in case.channels_used if channel == name)
