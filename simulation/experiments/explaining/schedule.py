"""When the attempts of a call are made, by its retry policy alone."""

from __future__ import annotations

import math
from itertools import accumulate
from random import Random
from statistics import median

from actors.instants import NS_PER_S, wait_ns
from actors.policies.retry.backoff import Backoff
from actors.settings.retry import RetryConfig
from simulation.experiments.explaining.parts import Attempt, Reach, Schedule
from simulation.reporting.retry_waits import DRAWS, Fixed, envelope, policy_text

SHOWN = 10
"""Attempts of a schedule that are listed one by one; the last one follows."""

_DRAWN_WAITS_MAX = 400_000
_ENVELOPE_MAX = 1000
"""A schedule is looked at as far as this attempt."""


def schedules(config: RetryConfig, seed: int = 0) -> tuple[Schedule, ...]:
    """Return the schedule of a policy, and that of each kind of failure or reason with a rule of its own."""
    found = [_schedule("any", config, seed)]
    rules = [*config.per_outcome, *config.per_reason.items()]
    return (*found, *(_schedule(name, config.with_rule(rule), seed) for name, rule in rules if rule is not None))


def drawn_starts(config: RetryConfig, takes_s: float = 0.0, seed: int = 0) -> list[list[float]]:
    """Return the starts of attempts in seconds from the first, a row for each of many calls that never succeed.

    Without jitter there is one row. An attempt that is not made, for `max_elapsed` comes first, starts at infinity.

    Args:
        config: the policy.
        takes_s: how long an attempt takes.
        seed: of the draws.
    """
    retries = min(config.max_attempts, _ENVELOPE_MAX) - 1
    rows = 1 if config.jitter == "none" else max(1, min(DRAWS, _DRAWN_WAITS_MAX // max(1, retries)))
    policy = Backoff(config, Random(seed))
    takes_ns = wait_ns(takes_s)
    end_ns = math.inf if config.max_elapsed is None else wait_ns(config.max_elapsed)
    starts = []
    for _ in range(rows):
        row = [0.0]
        memory_ns: int | None = None
        at_ns = 0
        for number in range(1, retries + 1):
            delay_ns, memory_ns = policy.next_wait(number, memory_ns)
            at_ns += takes_ns + delay_ns
            row.append(at_ns / NS_PER_S if at_ns < end_ns else math.inf)
        starts.append(row)
    return starts


def _schedule(failures: str, config: RetryConfig, seed: int) -> Schedule:
    count = min(config.max_attempts, _ENVELOPE_MAX)
    jittered = config.jitter != "none"
    earliest, latest = _reach_of_starts(config, count)
    drawn = drawn_starts(config, seed=seed)
    made = [[start for start in column if start < math.inf] for column in zip(*drawn, strict=True)]
    if config.jitter == "soft":  # where a wait is cut off, a higher draw may bring the next start forward
        earliest = [min([at, *column]) for at, column in zip(earliest, made, strict=True)]
        latest = [max([at, *column]) for at, column in zip(latest, made, strict=True)]
    attempts = [Attempt(1, None, Reach(0.0, 0.0, 0.0))]
    waits = list(zip(*envelope(config, count - 1, seed)[:3], strict=True)) if count > 1 else []
    for number, wait in enumerate(waits, 2):
        if config.max_elapsed is not None and earliest[number - 1] >= config.max_elapsed:
            break
        is_certain = config.max_elapsed is None or latest[number - 1] < config.max_elapsed
        latest_s = latest[number - 1] if is_certain else config.max_elapsed or 0.0
        middle = median(made[number - 1]) if made[number - 1] else None
        attempts.append(Attempt(number, Reach(*wait), Reach(earliest[number - 1], middle, latest_s), is_certain))
    listed = attempts if len(attempts) <= SHOWN + 1 else [*attempts[:SHOWN], attempts[-1]]
    return Schedule(
        failures,
        policy_text(config),
        tuple(listed),
        config.max_attempts,
        sum(map(len, made)) / len(drawn),
        len(drawn) if jittered else 0,
    )


def _reach_of_starts(config: RetryConfig, count: int) -> tuple[list[float], list[float]]:
    """Return the earliest and the latest start of each attempt: every wait rises with its draw, and with the wait
    before it, so these are the starts where each draw is the lowest, and where each is the highest."""
    ends = []
    for share in (0.0, 1.0):
        policy = Backoff(config, Fixed(share))
        memory_ns: int | None = None
        waits = []
        for number in range(1, count):
            delay_ns, memory_ns = policy.next_wait(number, memory_ns)
            waits.append(delay_ns)
        ends.append([at_ns / NS_PER_S for at_ns in accumulate(waits, initial=0)])
    return ends[0], ends[1]
