"""An estimate of the size of a run before it begins: arrivals, time and memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from actors.formatting import counted
from actors.settings.channel import ChannelConfig
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.model import Scenario
from simulation.scenario.workload import ClosedWorkload

logger = logging.getLogger(__name__)

SECONDS_EACH = 30e-6
"""Of an attempt, with all that leads to it: 15 µs without limits, breakers that open and retries, some 40 with them."""
BYTES_EACH = 500
"""Of an attempt where its row is kept."""
BYTES_REMEMBERED = 350
"""Of a notification whose id is remembered."""
BYTES_MEASURED = 16
"""Of a notification without kept rows: its durations."""
BYTES_OF_A_CLIENT = 4_000
BYTES_OF_A_NODE = 60_000
LONG_S = 600.0
LARGE_BYTES = 10**9


class RunSize(NamedTuple):
    """The expected arrivals, time in seconds, and memory in bytes, of one run or of several."""

    arrivals: float
    seconds: float
    """On one core."""
    bytes: float

    def __str__(self) -> str:
        return f"{_count(self.arrivals)}, about {_time(self.seconds)} and {_memory(self.bytes)} of memory"


def size_of(scenario: Scenario) -> RunSize:
    """Return the size of a run of a scenario, as its arrivals, failure rates and retries let expect."""
    end_s = scenario.duration + scenario.drain
    arrivals = attempts = memory = 0.0
    for entry in scenario.workload:
        expected = expected_notifications(scenario, entry)
        each = [_attempts(scenario.channel_config(channel), end_s) for channel in entry.channels]
        arrivals += expected
        attempts += expected * sum(each) / len(each)
        memory += BYTES_OF_A_CLIENT * entry.clients if isinstance(entry, ClosedWorkload) else 0
    remembered = arrivals * min(1.0, scenario.remember_ids / scenario.duration)
    if scenario.record == "full":
        memory += BYTES_EACH * attempts
    else:
        memory += BYTES_REMEMBERED * remembered + BYTES_MEASURED * arrivals
    return RunSize(arrivals, SECONDS_EACH * attempts, memory + BYTES_OF_A_NODE * scenario.nodes_at_most)


def warning_of(size: RunSize, left: Callable[[], int | None] = lambda: None) -> str | None:
    """Return what to say of something large before it begins; None: it is not."""
    if size.seconds < LONG_S and size.bytes < LARGE_BYTES:
        return None
    there = left()
    if there is None or size.bytes < there:
        return str(size)
    less = "record: aggregates, a shorter duration or fewer arrivals take less"
    return f"{size}, of which {_memory(there)} are left: it will be ended before they are filled; {less}"


def log_size(name: str, size: RunSize, left: Callable[[], int | None]) -> None:
    """Log the size of a large run before it begins. Commands that print it turn the logger off."""
    text = None if logger.disabled else warning_of(size, left)
    if text is not None:
        logger.warning("%s: %s", name, text)


def size_of_runs(scenarios: Iterable[Scenario], replicates: int, at_once: int) -> RunSize:
    """Return the size of `replicates` runs of each scenario, `at_once` of which run in parallel."""
    sizes = [size_of(scenario) for scenario in scenarios]
    return RunSize(
        replicates * math.fsum(size.arrivals for size in sizes),
        replicates * math.fsum(size.seconds for size in sizes) / at_once,
        max(size.bytes for size in sizes) * min(at_once, replicates * len(sizes)),
    )


def _attempts(config: ChannelConfig, end_s: float) -> float:
    """Return how many attempts a notification takes where each fails as often as the provider usually does."""
    fails, most = config.provider.failure_rate, config.retry.attempts_bound
    if fails < 1:
        return (1 - math.pow(fails, min(most, 1_000))) / (1 - fails)
    pause_s = max(config.retry.calculate_delay(int(min(most, 1_000))), 1e-3)
    return min(most, 1 + end_s / pause_s)


def _count(number: float) -> str:
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{_rounded(number / size)} {word} arrivals"
    return counted(round(number), "arrival")


_DAY_S = 86_400.0


def _time(seconds: float) -> str:
    for at_least_s, unit_s, word in (
        (365 * _DAY_S, 365 * _DAY_S, "year"),
        (2 * _DAY_S, _DAY_S, "day"),
        (5_400.0, 3_600.0, "hour"),
        (90.0, 60.0, "minute"),
    ):
        if seconds >= at_least_s:
            number = _rounded(seconds / unit_s)
            return f"{number} {word}{'' if number == '1' else 's'}"
    return counted(max(1, round(seconds)), "second")


def _memory(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if size >= unit:
            return f"{_rounded(size / unit)} {name}"
    return f"{_rounded(max(size, 1e6) / 1e6)} MB"


def _rounded(number: float) -> str:
    """Return a number of at least 1 with two digits that count; an estimate has no more."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if 10 <= rounded < 1e6 else f"{rounded:g}"
