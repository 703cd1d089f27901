"""When notifications arrive: settings of the arrival processes, and the instants they give.

All instants are whole nanoseconds from the start of the run, in order, in [0, duration). Processes are generators that
hold nothing but their state; a trace holds one bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import cycle, islice, pairwise
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import Field, GetJsonSchemaHandler, PrivateAttr, ValidationInfo, WrapValidator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from actors.instants import NS_PER_S, ns
from actors.settings.base import NotEmpty, OneOf, Settings, at_key
from actors.settings.csv_column import DataFile, read_numbers
from actors.settings.quantities import (
    LONGEST_S,
    Duration,
    PositiveDuration,
    PositiveRate,
    PositiveWholeNumber,
    Rate,
    RateFrom0,
    Text,
    number as number_from,
    wanted,
    write_duration,
)
from simulation.scenario.changing_rates import Piece, poisson_along

HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
COUNT_MAX = 10_000_000
"""The most arrivals in one bucket of a trace, which is kept in memory."""


class BurstArrivals(Settings):
    """So many at the same instant, again and again, the first time at 0."""

    size: PositiveWholeNumber
    """How many arrive at the same instant."""

    every: PositiveDuration
    """How long after one burst the next one comes."""


class RampArrivals(Settings):
    """Poisson arrivals whose rate goes from one value to another in a straight line over the whole duration."""

    from_: PositiveRate = Field(alias="from")
    """The rate at the start of the run."""

    to: PositiveRate
    """The rate at its `duration`."""


class DiurnalArrivals(Settings):
    """Poisson arrivals whose rate is a sine wave over the day, with this mean and this peak.

    A peak of more than twice the mean would take the trough below 0: the wave is then cut there, and lowered so that
    mean and peak stay what they are.
    """

    mean: PositiveRate
    """The mean rate over a day."""

    peak: PositiveRate
    """The highest rate, from once to a thousand times the mean."""

    peak_at: Duration
    """The time of day (UTC) of the peak, from midnight: ``18h``."""

    @model_validator(mode="after")
    def _peak_is_one(self) -> Self:
        if not self.mean.per_second <= self.peak.per_second <= 1000 * self.mean.per_second:
            raise wanted("a peak from once to a thousand times the mean")
        return self


class ToStage(Settings):
    """The rate goes in a straight line from what it was to another one."""

    wanted_text: ClassVar[str] = "a stage such as {to: 100/s, over: 10m} or {hold: 1h}"

    to: RateFrom0
    """The rate at the end of the stage."""

    over: Duration
    """How long that takes. `0s`: at once."""


class HoldStage(Settings):
    """The rate stays what it was."""

    hold: PositiveDuration
    """For how long."""


def _stage(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    if isinstance(value, (ToStage, HoldStage)):
        return value
    if not isinstance(value, dict):
        raise wanted(ToStage.wanted_text)
    if "hold" in value and value.keys() & {"to", "over"}:
        raise wanted("either hold, or to and over", "both")
    return (HoldStage if "hold" in value else ToStage).model_validate(value, context=info.context)


Stage: TypeAlias = ToStage | HoldStage

HOURS_A_WEEK = 168


class WeeklyArrivals(Settings):
    """Poisson arrivals whose rate changes with the hour of the week, and is even within the hour."""

    wanted_text: ClassVar[str] = "a week such as {mean: 10/s, factors: [0.2, 0.1, …]} with 168 factors"

    mean: PositiveRate
    """The mean rate over a week."""

    factors: tuple[Annotated[float, number_from(0)], ...]
    """How busy each of the 168 hours is, from Monday 00:00 UTC on, against the others: they need not have a mean of
    1."""

    @model_validator(mode="after")
    def _of_a_week(self) -> Self:
        if len(self.factors) != HOURS_A_WEEK:
            raise at_key("factors", wanted("168 factors, one for each hour", f"{len(self.factors)}"), self.factors)
        if not 0 < math.fsum(self.factors) < math.inf:
            raise at_key("factors", wanted("a factor above 0, and a finite sum", "none"), self.factors)
        return self

    @property
    def rates(self) -> tuple[float, ...]:
        """The rate a second in each hour of the week."""
        unit = self.mean.per_second * HOURS_A_WEEK / math.fsum(self.factors)
        return tuple(factor * unit for factor in self.factors)


class TraceArrivals(Settings):
    """Replayed counts: each row is a bucket of time, its count arrives exactly, at random within the bucket."""

    wanted_text: ClassVar[str] = "a CSV file such as counts.csv, or {file: counts.csv, column: value, every: 5m}"

    file: DataFile
    """A CSV file with a header."""

    column: Text
    """The column with the counts."""

    every: PositiveDuration
    """How long a bucket is. Rows are taken by index: gaps in a file's own timestamps close up."""

    _counts: tuple[int, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _read(self) -> Self:
        try:
            self._counts = _read_counts(Path(self.file), self.column)
        except PydanticCustomError as problem:
            raise at_key(type(self).model_fields["file"].alias or "file", problem, self.file) from None
        if self.duration > LONGEST_S:
            raise at_key("every", wanted("buckets that together last at most 36525d (a hundred years)"), self.every)
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """Arrivals in each bucket."""
        return self._counts

    @property
    def duration(self) -> float:
        """Seconds that the trace covers."""
        return len(self._counts) * self.every


class FlatTrace(TraceArrivals):
    """The short form of a trace, ``{trace: counts.csv, column: value, every: 5m}``."""

    file: DataFile = Field(alias="trace")
    """A CSV file with a header; the path is relative to the scenario file."""


class Arrivals(OneOf):
    """One arrival process; give exactly one of the keys."""

    wanted_text: ClassVar[str] = "arrivals such as {poisson: 20/s}"

    constant: PositiveRate | None = None
    """Evenly spaced, the first at 0."""

    poisson: PositiveRate | None = None
    """Independent of each other, at this mean rate."""

    burst: BurstArrivals | None = None
    """Many at once, again and again."""

    ramp: RampArrivals | None = None
    """At random, at a rate that rises or falls in a straight line."""

    diurnal: DiurnalArrivals | None = None
    """At random, at a rate that rises and falls with the time of day."""

    weekly: WeeklyArrivals | None = None
    """At random, at a rate that rises and falls with the hour of the week."""

    stages: Annotated[tuple[Annotated[Stage, WrapValidator(_stage)], ...], NotEmpty()] | None = None
    """At random, at a rate that goes in straight lines from one value to another, from 0 on; the last one holds to the
    end: ``[{to: 100/s, over: 10m}, {hold: 1h}, {to: 0/s, over: 5m}]``."""

    trace: TraceArrivals | None = None
    """As often as a file has counted."""

    times: Annotated[tuple[Duration, ...], NotEmpty()] | None = None
    """Exactly at these instants from the start, in order: ``[0s, 1.5s, 1.5s]``. Those at `duration` or later do not
    arrive."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for earlier, later in pairwise(self.times or ()):
            if later < earlier:
                got = f"{write_duration(later)} after {write_duration(earlier)}"
                raise at_key("times", wanted("instants in order", got), self.times)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _flat_trace(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, dict) and not isinstance(data.get("trace"), (dict, TraceArrivals, type(None))):
            return handler({"trace": FlatTrace.model_validate(data, context=info.context)})
        return handler(data)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        in_full = super().__get_pydantic_json_schema__(core, handler)
        return {"anyOf": [in_full, handler(FlatTrace.__pydantic_core_schema__)]}


def _read_counts(path: Path, name: str) -> tuple[int, ...]:
    def column(header: list[str]) -> int | None:
        if header.count(name) > 1:
            raise wanted(f"one column named {name} in {path.name}", f"{header.count(name)}")
        return header.index(name) if name in header else None

    counts = []
    for line, count in read_numbers(path, column, f"a column named {name}"):
        if not count.is_integer() or not 0 <= count <= COUNT_MAX:
            raise wanted(f"a whole count from 0 to {COUNT_MAX:,} in line {line} of {path.name}", "another number")
        counts.append(int(count))
    return tuple(counts)


def arrival_times_ns(
    arrivals: Arrivals, random: Random, duration_ns: int, *, time_of_week_ns: int = 0
) -> Iterator[int]:
    """Yield the instants of `arrivals` in order, all of them in [0, `duration_ns`).

    Args:
        arrivals: The process.
        random: The stream that it draws from.
        duration_ns: Where arrivals stop.
        time_of_week_ns: How long after Monday 00:00 UTC they start; diurnal and weekly arrivals only.
    """
    if arrivals.constant is not None:
        return constant(arrivals.constant, duration_ns)
    if arrivals.poisson is not None:
        return poisson(arrivals.poisson.per_second, random, duration_ns)
    if arrivals.burst is not None:
        return bursts(arrivals.burst.size, ns(arrivals.burst.every), duration_ns)
    if arrivals.ramp is not None:
        return ramp(arrivals.ramp.from_.per_second, arrivals.ramp.to.per_second, random, duration_ns)
    if arrivals.diurnal is not None:
        wave = arrivals.diurnal
        since_peak_ns = time_of_week_ns - ns(wave.peak_at)
        return diurnal(wave.mean.per_second, wave.peak.per_second, since_peak_ns, random, duration_ns)
    if arrivals.weekly is not None:
        return poisson_along(pieces_of_weeks(arrivals.weekly.rates, time_of_week_ns), random, duration_ns)
    if arrivals.stages is not None:
        return poisson_along(pieces_of(arrivals.stages, duration_ns), random, duration_ns)
    if arrivals.times is not None:
        return at_instants(arrivals.times, duration_ns)
    assert arrivals.trace is not None  # exactly one is given
    return trace(arrivals.trace.counts, ns(arrivals.trace.every), random, duration_ns)


def constant(rate: Rate, duration_ns: int) -> Iterator[int]:
    """Yield instants evenly spaced: the k-th, from 0, at k / rate rounded to a nanosecond, so that no error adds up."""
    period, per = (Fraction(rate.period) * NS_PER_S / Fraction(rate.count)).as_integer_ratio()
    doubled = per  # twice k · period plus a half, over twice the denominator: rounds to the nearest in whole numbers
    while (at_ns := doubled // (2 * per)) < duration_ns:
        yield at_ns
        doubled += 2 * period


def poisson(per_second: float, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield a Poisson process: independent exponential gaps, each rounded to a nanosecond."""
    mean_gap_ns = NS_PER_S / per_second
    uniform, log = random.random, math.log
    at_ns = -log(1.0 - uniform()) * mean_gap_ns
    while at_ns < duration_ns:
        yield int(at_ns)
        at_ns -= log(1.0 - uniform()) * mean_gap_ns


def bursts(size: int, every_ns: int, duration_ns: int) -> Iterator[int]:
    """Yield `size` instants at 0, `every_ns`, 2 · `every_ns` and so on."""
    for at_ns in range(0, duration_ns, max(1, every_ns)):
        for _ in range(size):
            yield at_ns


def ramp(from_per_second: float, to_per_second: float, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield a Poisson process whose rate goes in a straight line from one value to another over the duration."""
    return poisson_along([Piece(duration_ns, from_per_second, to_per_second)], random, duration_ns)


def pieces_of(stages: Sequence[Stage], duration_ns: int) -> Iterator[Piece]:
    """Yield the rate of stages, from 0 on; the last value holds to the end of the duration."""
    rate = 0.0
    for stage in stages:
        if isinstance(stage, HoldStage):
            yield Piece(ns(stage.hold), rate, rate)
        else:
            yield Piece(ns(stage.over), rate, stage.to.per_second)
            rate = stage.to.per_second
    yield Piece(duration_ns, rate, rate)


def pieces_of_weeks(rates: Sequence[float], time_of_week_ns: int) -> Iterator[Piece]:
    """Yield the rate of week after week without an end, from a time of the week on.

    Args:
        rates: a second, in each hour from Monday 00:00 UTC on.
        time_of_week_ns: where in the week it begins.
    """
    hour, into_ns = divmod(time_of_week_ns, HOUR_NS)
    for rate in islice(cycle(rates), hour % HOURS_A_WEEK, None):
        yield Piece(HOUR_NS - into_ns, rate, rate)
        into_ns = 0


def diurnal(
    mean_per_second: float, peak_per_second: float, since_peak_ns: int, random: Random, duration_ns: int
) -> Iterator[int]:
    """Yield a Poisson process whose rate is max(0, level + swing · cos(2π · time since the peak / day)).

    By thinning (Lewis and Shedler 1979): candidates at the peak rate, each kept with probability rate / peak.

    Args:
        mean_per_second: The mean rate over a day.
        peak_per_second: The highest rate, from once to a thousand times the mean.
        since_peak_ns: How long after a peak the run starts; may be negative.
        random: The stream that it draws from.
        duration_ns: Where arrivals stop.
    """
    level, swing = wave(mean_per_second, peak_per_second)
    radians_per_ns = 2.0 * math.pi / DAY_NS
    since_peak_ns %= DAY_NS
    for at_ns in poisson(peak_per_second, random, duration_ns):
        rate = level + swing * math.cos(radians_per_ns * ((at_ns + since_peak_ns) % DAY_NS))
        if random.random() * peak_per_second < rate:
            yield at_ns


def wave(mean: float, peak: float) -> tuple[float, float]:
    """Return level and swing such that max(0, level + swing · cos θ) has this mean and this peak.

    Up to a peak of twice the mean that is the plain wave (mean, peak - mean). Beyond it the rate is above 0 only for
    |θ| < φ, and its mean over the circle is peak · (sin φ - φ cos φ) / (π (1 - cos φ)), which grows with φ from 0 to
    peak / 2: φ is found by bisection.
    """
    if peak <= 2.0 * mean:
        return mean, peak - mean
    low, high = 0.0, math.pi
    for _ in range(60):
        phi = (low + high) / 2.0
        share = (math.sin(phi) - phi * math.cos(phi)) / (math.pi * (1.0 - math.cos(phi)))
        low, high = (phi, high) if share * peak < mean else (low, phi)
    swing = peak / (1.0 - math.cos(phi))
    return peak - swing, swing


def at_instants(times: tuple[float, ...], duration_ns: int) -> Iterator[int]:
    """Yield these instants, given in seconds and in order, as far as they are below the duration."""
    for time in times:
        if (at_ns := ns(time)) >= duration_ns:
            return
        yield at_ns


def trace(counts: tuple[int, ...], every_ns: int, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield exactly `counts[i]` instants in the i-th bucket, uniform in it: a Poisson process given its counts.

    Of a bucket that the duration cuts, what falls behind the cut does not arrive.
    """
    for index, count in enumerate(counts):
        start_ns = index * every_ns
        if start_ns >= duration_ns:
            return
        for at_ns in sorted(start_ns + int(random.random() * every_ns) for _ in range(count)):
            if at_ns >= duration_ns:
                return
            yield at_ns
