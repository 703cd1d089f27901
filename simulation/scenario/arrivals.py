"""When notifications arrive: settings of the arrival processes, and the instants they give.

All instants are whole nanoseconds from the start of the run, in order, in [0, duration). Processes are generators that
hold nothing but their state; a trace holds one bucket.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from itertools import accumulate, cycle, islice, pairwise, takewhile
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import Field, GetJsonSchemaHandler, PrivateAttr, ValidationInfo, WrapValidator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from actors.instants import NS_PER_S, first_clock_change, ns, seconds, since_1970_ns, time_zone, utc
from actors.settings.base import NotEmpty, OneOf, Settings, at_key, plain_or
from actors.settings.csv_column import DataFile, read_numbers
from actors.settings.distribution_moments import limited_mean, mean
from actors.settings.distributions import Distribution, Exponential, Lognormal, Pareto, Uniform
from actors.settings.quantities import (
    LONGEST_S,
    Duration,
    NotNegative,
    PositiveDuration,
    PositiveNumber,
    PositiveRate,
    PositiveWholeNumber,
    Rate,
    RateFrom0,
    Text,
    TimeOfDay,
    ZoneName,
    number as number_from,
    wanted,
    whole_number,
    write_duration,
)

# ── rates that change ─────────────────────────────────────────────────────────────────────────────────────────────────


class Piece(NamedTuple):
    """A time over which a rate goes in a straight line."""

    length_ns: int
    first: float
    """The rate a second at its start, at least 0."""

    last: float
    """The rate that it has come to at its end."""


def poisson_along(pieces: Iterable[Piece], random: Random, duration_ns: int) -> Iterator[int]:
    """Yield a Poisson process with this rate, in [0, `duration_ns`).

    By inversion (Çinlar 1975; Lewis and Shedler 1979, section 2): the n-th arrival of a unit Poisson process at u is
    put where the integrated rate reaches u. Within a piece that is a·t + b·t²/2, whose root is taken in the form
    2u / (a + sqrt(a² + 2bu)), which loses no digits where b is small and holds for b = 0.
    """
    start_ns, expected = 0, random.expovariate(1.0)  # `expected` counts from the start of the piece
    for length_ns, first, last in pieces:
        if start_ns >= duration_ns:
            return
        if length_ns:
            length_s, end_ns = length_ns / NS_PER_S, start_ns + length_ns
            area, slope = (first + last) / 2.0 * length_s, (last - first) / length_s
            while expected <= area:
                root = first + math.sqrt(max(0.0, first * first + 2.0 * slope * expected))
                at_ns = start_ns + int(2.0 * expected / root * NS_PER_S) if root else start_ns
                if at_ns >= duration_ns:
                    return
                yield min(at_ns, end_ns)
                expected += random.expovariate(1.0)
            expected -= area
            start_ns = end_ns


def expected_along(pieces: Iterable[Piece], until_ns: int) -> float:
    areas, start_ns = [], 0
    for piece in pieces:
        if start_ns >= until_ns:
            break
        areas.append(_area(piece, min(piece.length_ns, until_ns - start_ns)))
        start_ns += piece.length_ns
    return math.fsum(areas)


def most_along(pieces: Sequence[Piece], stretch_s: float) -> float:
    """Return how many arrive on average in the busiest stretch of `stretch_s` seconds.

    As the stretch moves, its arrivals follow a quadratic until one of its ends meets another piece. So the most is
    where an end meets a piece, or at the vertex between.
    """
    starts = [0.0, *(seconds(at_ns) for at_ns in accumulate(piece.length_ns for piece in pieces))]
    sums = [0.0, *accumulate(_area(piece, piece.length_ns) for piece in pieces)]
    end = starts[-1]

    def until(at: float) -> float:
        number = min(bisect_right(starts, at), len(pieces)) - 1
        piece = pieces[number]
        return sums[number] + _area(piece, min(piece.length_ns, (at - starts[number]) * NS_PER_S))

    def within(start: float) -> float:
        return until(min(end, start + stretch_s)) - until(start)

    if stretch_s >= end:
        return sums[-1]
    edges = sorted({at for edge in starts for at in (edge, edge - stretch_s) if 0 <= at <= end - stretch_s})
    most = max(map(within, edges))
    for low, high in pairwise(edges):
        middle = (low + high) / 2.0
        one, two, three = within(low), within(middle), within(high)
        bend = one - 2.0 * two + three
        if bend < 0.0:  # the vertex of the parabola through the three, as a share of the half of the way
            offset = (one - three) / (2.0 * bend)
            if -1.0 < offset < 1.0:
                most = max(most, within(middle + offset * (high - low) / 2.0))
    return most


def _area(piece: Piece, length_ns: float) -> float:
    """Return how many arrive on average in the first `length_ns` nanoseconds of a piece."""
    if not piece.length_ns:
        return 0.0
    at_end = piece.first + (piece.last - piece.first) * (length_ns / piece.length_ns)
    return (piece.first + at_end) / 2.0 * (length_ns / NS_PER_S)


# ── days of a time zone ───────────────────────────────────────────────────────────────────────────────────────────────


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def instants_at(at: time, zone: str, days: Collection[str], begins: datetime) -> Iterator[datetime]:
    """Yield the instants, in UTC and from `begins` on, at which it is `at` in a zone on these days of the week.

    A local time that does not exist, since the clocks are put forward over it, goes to the next one that does. Of one
    that comes twice it is the first.
    """
    local = time_zone(zone)
    day = begins.astimezone(local).date() - timedelta(days=1)  # whose time may have been put forward to the next day
    while True:
        if WEEKDAYS[day.weekday()] in days and (instant := _instant_of(datetime.combine(day, at, local))) >= begins:
            yield instant
        day += timedelta(days=1)


def _instant_of(shown: datetime) -> datetime:
    first, second = (shown.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # By the offsets before and after a gap, the two are on either side of it (PEP 495).
    change = first_clock_change(second, first, shown.tzinfo)
    assert change is not None
    return change


HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
MONDAY_NS = 4 * DAY_NS
"""The first Monday 00:00 UTC from 1970 on, which began on a Thursday."""
COUNT_MAX = 10_000_000
"""The most arrivals in one bucket of a trace, one day or one burst: a bucket and a day are kept in memory."""


class UniformSize(Uniform):
    """Equally likely anywhere from `low` to `high`."""

    low: NotNegative = 0.0
    """The fewest."""

    high: NotNegative
    """The most."""


class ExponentialSize(Exponential):
    """Exponential, with this mean."""

    mean: PositiveNumber
    """The mean."""


class LognormalSize(Lognormal):
    """Lognormal by its median and 99th percentile."""

    median: PositiveNumber
    """Half of all are smaller."""

    p99: PositiveNumber
    """99 of 100 are smaller."""


class ParetoSize(Pareto):
    """Pareto: P(X > x) = (minimum / x)^alpha."""

    minimum: PositiveNumber
    """The fewest."""


class SizeDistribution(OneOf):
    """How many arrive at the same instant, drawn for each burst, as the nearest whole number and at least 1; give
    exactly one of the keys."""

    wanted_text: ClassVar[str] = "a whole number such as 100, or a distribution such as {uniform: {low: 50, high: 150}}"

    uniform: UniformSize | None = None
    """Equally likely between two numbers."""

    exponential: ExponentialSize | None = None
    """Many small ones, few large ones."""

    lognormal: LognormalSize | None = None
    """By its median and 99th percentile."""

    pareto: ParetoSize | None = None
    """With a heavy tail."""

    @property
    def given(self) -> UniformSize | ExponentialSize | LognormalSize | ParetoSize:
        given = self.uniform or self.exponential or self.lognormal or self.pareto
        assert given is not None  # exactly one is given
        return given

    def sampler(self, random: Random) -> Callable[[], int]:
        draw = self.given.sampler(random)
        return lambda: min(COUNT_MAX, max(1, round(draw())))


class BurstArrivals(Settings):
    """Many at the same instant, again and again, the first time at 0."""

    size: Annotated[PositiveWholeNumber | SizeDistribution, plain_or(PositiveWholeNumber, SizeDistribution)]
    """How many arrive at the same instant. Of a distribution, each burst draws its own."""

    every: Annotated[PositiveDuration | Distribution, plain_or(PositiveDuration, Distribution)]
    """How long after one burst the next one comes. Of a distribution, each time drawn anew."""

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if isinstance(self.every, Distribution) and not mean(self.every) > 0:
            raise at_key("every", wanted("intervals that are not all 0s"), self.every)
        return self

    @property
    def mean_size(self) -> float:
        return self.size.given.limited_mean(COUNT_MAX) if isinstance(self.size, SizeDistribution) else self.size

    def expected_bursts(self, seconds: float) -> float:
        """Return about how many bursts there are in a time, in seconds, with the one at its beginning."""
        if isinstance(self.every, Distribution):
            return 1.0 + seconds / limited_mean(self.every, seconds) if seconds > 0 else 0.0
        return float(math.ceil(seconds / self.every))


Weekday: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class DailyArrivals(Settings):
    """A fixed count each day, from a local time of day in a time zone on, as a digest at eight in the morning.

    A local time that does not exist, since the clocks are put forward over it, goes to the next one that does; one that
    comes twice counts once, the first time.
    """

    wanted_text: ClassVar[str] = "a mapping such as {at: 08:00, zone: Europe/Berlin, count: 60000, over: 5m}"

    at: TimeOfDay
    """The local time at which they begin to arrive."""

    zone: ZoneName = "UTC"
    """The time zone."""

    count: Annotated[int, whole_number(1, COUNT_MAX)]
    """How many arrive on each of the days, at most 10,000,000."""

    over: Duration = 0.0
    """For how long, at most 24h: each at a random instant within, as of a Poisson process with this count. `0s`: all at
    once."""

    days: Annotated[tuple[Weekday, ...], NotEmpty()] | None = None
    """On which days of the week there. None: on each."""

    @model_validator(mode="after")
    def _within_a_day(self) -> Self:
        if ns(self.over) > DAY_NS:
            raise at_key("over", wanted("a duration of at most 24h"), self.over)
        return self

    def starts_ns(self, epoch_ns: int, duration_ns: int) -> Iterator[int]:
        """Yield when each day's begin to arrive, from an instant of the calendar on, in [0, `duration_ns`)."""
        instants = instants_at(self.at, self.zone, self.days or WEEKDAYS, utc(epoch_ns))
        starts_ns = (since_1970_ns(instant) - epoch_ns for instant in instants)
        return (at_ns for at_ns in takewhile(lambda at_ns: at_ns < duration_ns, starts_ns) if at_ns >= 0)


class RampArrivals(Settings):
    """Poisson arrivals whose rate goes from one value to another in a straight line over the whole duration."""

    from_: PositiveRate = Field(alias="from")
    """The rate at the start of the run."""

    to: PositiveRate
    """The rate at its `duration`."""


class DiurnalArrivals(Settings):
    """Poisson arrivals whose rate is a sine wave over the day, with this mean and this peak.

    A peak of more than twice the mean would take the trough below 0: the wave is then cut there, and lowered so that
    mean and peak stay as given.
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
    """A stage in which the rate goes in a straight line from the rate before it to another one."""

    wanted_text: ClassVar[str] = "a stage such as {to: 100/s, over: 10m} or {hold: 1h}"

    to: RateFrom0
    """The rate at the end of the stage."""

    over: Duration
    """How long the change of the rate takes. `0s`: at once."""


class HoldStage(Settings):
    """A stage in which the rate stays as before."""

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
    """How busy each of the 168 hours is, from Monday 00:00 UTC on, relative to the other hours: their mean need not be
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

    daily: DailyArrivals | None = None
    """A fixed count each day from a local time on, at once or spread over a while."""

    stages: Annotated[tuple[Annotated[Stage, WrapValidator(_stage)], ...], NotEmpty()] | None = None
    """At random, at a rate that goes in straight lines from one value to another, from 0 on; the last one holds to the
    end: ``[{to: 100/s, over: 10m}, {hold: 1h}, {to: 0/s, over: 5m}]``."""

    trace: TraceArrivals | None = None
    """As often as a file has counted."""

    times: Annotated[tuple[Duration, ...], NotEmpty()] | None = None
    """Arrivals at exactly these instants from the start, in order: ``[0s, 1.5s, 1.5s]``; none at `duration` or
    later."""

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
    arrivals: Arrivals, random: Random, duration_ns: int, *, epoch_ns: int = MONDAY_NS
) -> Iterator[int]:
    """Yield the instants of `arrivals` in order, all of them in [0, `duration_ns`).

    Args:
        arrivals: The process.
        random: The stream that it draws from.
        duration_ns: Where arrivals stop.
        epoch_ns: Where on the calendar they start, from 1970 on; diurnal, weekly and daily arrivals only.
    """
    if arrivals.constant is not None:
        return constant(arrivals.constant, duration_ns)
    if arrivals.poisson is not None:
        return poisson(arrivals.poisson.per_second, random, duration_ns)
    if arrivals.burst is not None:
        return bursts(arrivals.burst, random, duration_ns)
    if arrivals.ramp is not None:
        return ramp(arrivals.ramp.from_.per_second, arrivals.ramp.to.per_second, random, duration_ns)
    if arrivals.diurnal is not None:
        wave = arrivals.diurnal
        since_peak_ns = epoch_ns - ns(wave.peak_at)
        return diurnal(wave.mean.per_second, wave.peak.per_second, since_peak_ns, random, duration_ns)
    if arrivals.weekly is not None:
        return poisson_along(pieces_of_weeks(arrivals.weekly.rates, time_of_week_ns(epoch_ns)), random, duration_ns)
    if arrivals.daily is not None:
        return daily(arrivals.daily, epoch_ns, random, duration_ns)
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


def bursts(burst: BurstArrivals, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield bursts of instants, the first at 0. Each draws its size, and then when the next one comes."""
    size, every = burst.size, burst.every
    draw_size = size.sampler(random) if isinstance(size, SizeDistribution) else lambda: size
    draw_every = every.sampler(random) if isinstance(every, Distribution) else lambda: every
    at_ns = 0
    while at_ns < duration_ns:
        for _ in range(draw_size()):
            yield at_ns
        at_ns += max(1, ns(draw_every()))


def daily(config: DailyArrivals, epoch_ns: int, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield the instants of each day, each uniform within `over`: a Poisson process given its count.

    An instant after the end of the run does not arrive.
    """
    over_ns, waiting = ns(config.over), list[int]()
    for start_ns in config.starts_ns(epoch_ns, duration_ns):
        before = bisect_left(waiting, start_ns)  # on a day of 23 hours those of two days may mix
        yield from waiting[:before]
        drawn = (start_ns + int(random.random() * over_ns) for _ in range(config.count))
        waiting = sorted([*waiting[before:], *drawn]) if over_ns else [start_ns] * config.count
    yield from waiting[: bisect_left(waiting, duration_ns)]


def time_of_week_ns(epoch_ns: int) -> int:
    """Return how long after Monday 00:00 UTC an instant of the calendar is."""
    return (epoch_ns - MONDAY_NS) % (7 * DAY_NS)


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
    for at_s in times:
        if (at_ns := ns(at_s)) >= duration_ns:
            return
        yield at_ns


def trace(counts: tuple[int, ...], every_ns: int, random: Random, duration_ns: int) -> Iterator[int]:
    """Yield exactly `counts[i]` instants in the i-th bucket, uniform in it: a Poisson process given its counts.

    An instant behind the end of the duration does not arrive.
    """
    for index, count in enumerate(counts):
        start_ns = index * every_ns
        if start_ns >= duration_ns:
            return
        for at_ns in sorted(start_ns + int(random.random() * every_ns) for _ in range(count)):
            if at_ns >= duration_ns:
                return
            yield at_ns
