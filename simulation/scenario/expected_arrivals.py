"""How many arrivals a process is expected to bring, without drawing any of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice

from actors.instants import ns, seconds
from actors.settings.distribution_moments import limited_mean
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario, WorkloadEntry
from simulation.scenario.arrivals import (
    HOURS_A_WEEK,
    MONDAY_NS,
    Arrivals,
    DiurnalArrivals,
    WeeklyArrivals,
    expected_along,
    most_along,
    pieces_of,
    pieces_of_weeks,
    time_of_week_ns,
    wave,
)

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
_STEPS_A_DAY = 1440


def expected_arrivals(
    arrivals: Arrivals, duration: float, *, epoch_ns: int = MONDAY_NS, until: float | None = None
) -> float:
    """Return how many arrive, on average.

    Args:
        arrivals: the process.
        duration: how many seconds it lasts.
        epoch_ns: where on the calendar it starts, from 1970 on; diurnal, weekly and daily arrivals only.
        until: count arrivals until so many seconds from the start, at most `duration`; all when None.
    """
    if arrivals.ramp is not None:
        low, high = arrivals.ramp.from_.per_second, arrivals.ramp.to.per_second
        if until is None:
            return (low + high) / 2 * duration
        return (low + (high - low) * until / duration / 2) * until
    duration = duration if until is None else until
    steady = arrivals.constant or arrivals.poisson
    if steady is not None:
        return steady.per_second * duration
    if arrivals.burst is not None:
        return arrivals.burst.mean_size * arrivals.burst.expected_bursts(duration)
    if arrivals.diurnal is not None:
        return _of_a_wave(arrivals.diurnal, duration, seconds(time_of_week_ns(epoch_ns)))
    if arrivals.weekly is not None:
        return _of_weeks(arrivals.weekly, duration, seconds(time_of_week_ns(epoch_ns)))
    if arrivals.daily is not None:
        starts_ns, over = arrivals.daily.starts_ns(epoch_ns, ns(duration)), arrivals.daily.over
        shares = (min(1.0, (duration - seconds(at_ns)) / over) if over else 1.0 for at_ns in starts_ns)
        return arrivals.daily.count * math.fsum(shares)
    if arrivals.stages is not None:
        return expected_along(pieces_of(arrivals.stages, ns(duration)), ns(duration))
    if arrivals.trace is not None:
        whole, rest = divmod(duration, arrivals.trace.every)
        counts = arrivals.trace.counts
        part = counts[int(whole)] * rest / arrivals.trace.every if whole < len(counts) else 0.0
        return sum(counts[: int(whole)]) + part
    if arrivals.times is not None:
        return float(bisect_left(arrivals.times, duration))
    raise AssertionError("exactly one is given")


def expected_notifications(scenario: Scenario, entry: WorkloadEntry, until_s: float = math.inf) -> float:
    """Return about how many notifications an entry of the workload has brought by `until_s` seconds, or by its end."""
    if not isinstance(entry, ClosedWorkload):
        return expected_in_window(scenario, entry, until_s=until_s) * len(entry.channels)
    end_s = seconds(scenario.arrivals_end_of(entry))
    return entry.clients * max(0.0, min(until_s, end_s) - entry.at) / max(limited_mean(entry.think, end_s), 0.1)


def expected_in_window(
    scenario: Scenario, entry: EventWorkload | ChannelWorkload, *, until_s: float = math.inf
) -> float:
    """Return about how many times an open entry of the workload has arrived by `until_s` seconds, or by its end."""
    start_ns, end_ns = ns(entry.at), scenario.arrivals_end_of(entry)
    until = min(until_s - entry.at, seconds(end_ns - start_ns))
    if until <= 0:
        return 0.0
    lasts = seconds(end_ns - start_ns) if entry.for_ is None else entry.for_
    return expected_arrivals(entry.arrivals, lasts, epoch_ns=scenario.epoch_ns + start_ns, until=until)


def most_in_windows(scenario: Scenario, entries: Sequence[EventWorkload | ChannelWorkload], stretch_s: float) -> float:
    """Return how many arrivals all entries together bring in the busiest `stretch_s` seconds, or a little more.

    Only entries whose windows one stretch can meet add up. The most windows are met by one that ends as some window
    starts.
    """
    windows = [(entry, entry.at, seconds(scenario.arrivals_end_of(entry))) for entry in entries]
    windows = [(entry, start_s, end_s) for entry, start_s, end_s in windows if start_s < end_s]
    most = 0.0
    for _, last_s, _ in windows:
        met = (
            most_arrivals(entry.arrivals, min(stretch_s, end_s - start_s))
            for entry, start_s, end_s in windows
            if start_s <= last_s and last_s - stretch_s < end_s
        )
        most = max(most, math.fsum(met))
    return most


def most_arrivals(arrivals: Arrivals, seconds: float) -> float:
    """Return the expected arrivals in the busiest stretch of so many seconds, or a little more."""
    steady = arrivals.constant or arrivals.poisson
    if steady is not None:
        return steady.per_second * seconds
    if arrivals.burst is not None:
        return arrivals.burst.mean_size * arrivals.burst.expected_bursts(seconds)
    if arrivals.daily is not None:
        whole, rest = divmod(seconds, DAY_S)
        over = arrivals.daily.over
        return arrivals.daily.count * (whole + (min(1.0, rest / over) if over else 1.0))
    if arrivals.ramp is not None:
        return max(arrivals.ramp.from_.per_second, arrivals.ramp.to.per_second) * seconds
    if arrivals.diurnal is not None:
        return arrivals.diurnal.peak.per_second * seconds
    if arrivals.weekly is not None:
        weeks, rest = divmod(seconds, WEEK_S)
        two_weeks = list(islice(pieces_of_weeks(arrivals.weekly.rates, 0), 2 * HOURS_A_WEEK))
        return weeks * WEEK_S * arrivals.weekly.mean.per_second + most_along(two_weeks, rest)
    if arrivals.stages is not None:
        return most_along(list(pieces_of(arrivals.stages, ns(seconds))), seconds)
    if arrivals.trace is not None:
        counts = arrivals.trace.counts
        buckets = seconds / arrivals.trace.every
        whole = min(len(counts), int(buckets))
        sums = [0, *accumulate(counts)]
        most = max((sums[end] - sums[end - whole] for end in range(whole, len(sums))), default=0)
        return most + (buckets - whole) * max(counts, default=0) if whole < len(counts) else float(most)
    if arrivals.times is not None:
        times = arrivals.times
        return float(max(bisect_left(times, start + seconds) - first for first, start in enumerate(times)))
    raise AssertionError("exactly one is given")


def _of_weeks(weekly: WeeklyArrivals, duration: float, time_of_week: float) -> float:
    """Whole weeks by their mean, the rest by its hours."""
    weeks, rest = divmod(duration, WEEK_S)
    pieces = pieces_of_weeks(weekly.rates, ns(time_of_week % WEEK_S))
    return weeks * WEEK_S * weekly.mean.per_second + expected_along(pieces, ns(rest))


def _of_a_wave(diurnal: DiurnalArrivals, duration: float, time_of_day: float) -> float:
    """Sum whole days by their mean, and the rest by the midpoints of minutes."""
    days, rest = divmod(duration, DAY_S)
    level, swing = wave(diurnal.mean.per_second, diurnal.peak.per_second)
    steps = max(1, math.ceil(rest / DAY_S * _STEPS_A_DAY))
    width = rest / steps
    since_peak = time_of_day - diurnal.peak_at
    rates = (
        max(0.0, level + swing * math.cos(2 * math.pi * (since_peak + (step + 0.5) * width) / DAY_S))
        for step in range(steps)
    )
    return days * DAY_S * diurnal.mean.per_second + math.fsum(rates) * width
