"""The kinds of stress that are put on a scenario to find out how much its settings stand, and the scenario with it.

::

    kind          how much                                    put on
    outage        how long, at most the scenario's duration   a channel, from `at`; 10 min follow its end
    latency       times the usual latency, up to 10           a channel, from `at` to the end
    failure_rate  share of attempts that fail besides         a channel, from `at` to the end
    load          times the usual arrivals, up to 10          the entries of a channel, all the time
    capacity      how much of the providers' capacity is gone a channel that has one, from `at` to the end
    nodes         how many nodes crash and stay away          a fleet, at `at`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import duration_text, plain_number
from actors.instants import NS_PER_S, seconds
from actors.messages import NotificationChannel
from actors.settings.faults import FaultConfig
from actors.settings.quantities import Rate
from simulation.scenario import Scenario
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.limits import ALL, WantedLimit, wanted_limits
from simulation.scenario.workload import ClosedWorkload, WorkloadEntry

GRID = 8
"""The number of amounts that are tried first."""

STEP = 1.85
"""The ratio of neighbours among these durations and shares: five bisections bring an edge within :data:`PRECISION`;
with 2 it takes six."""

FOLLOWS_S = 600.0
"""A run goes on for at least so long after the end of an outage."""

FACTOR_MAX = 10.0
TRACE_MAX = 1_000_000
"""The most instants of a trace whose load is multiplied."""

PRECISION = 0.02


@dataclass(frozen=True)
class Kind:
    name: str
    mildest: float
    """The amount that changes nothing."""

    text: Callable[[float, Stress], str]
    put_on: Callable[[Stress, float], Scenario]
    most: Callable[[Stress], float]
    steps: Callable[[float], Sequence[float]]
    """Returns the amounts that are tried first, up to the most."""

    is_whole: bool = False
    ends: bool = False
    """Whether it is over before arrivals end."""


class Scale(ABC):
    """The amounts among which an edge is looked for."""

    precision = PRECISION
    """An edge is found to within this share of it."""

    @property
    @abstractmethod
    def least(self) -> float:
        """Nothing, or the least that is tried."""

    @property
    @abstractmethod
    def most(self) -> float:
        """The most that is tried."""

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether only whole amounts exist."""

    def between(self, low: float, high: float) -> float | None:
        """Return an amount between two that are too far apart; None: they are near enough to each other."""
        if self.is_whole:
            return None if high - low <= 1 else float((low + high) // 2)
        if high - low <= self.precision * high:
            return None
        if low > self.least:
            return _rounded((low * high) ** 0.5, low, high)
        return _rounded((low + high) / 2, low, high) if high - low > self.most * 1e-4 else None

    def milder(self, amount: float, by: float) -> float:
        """Return an amount that is milder by a share, and at least the least."""
        less = amount - max(1, round(amount * by)) if self.is_whole else _rounded(amount * (1 - by))
        return max(self.least, less)

    def harsher(self, amount: float, by: float) -> float:
        """Return an amount that is harsher by a share, and at most the most."""
        more = amount + max(1, round(amount * by)) if self.is_whole else _rounded(amount * (1 + by))
        return min(self.most, more)


@dataclass(frozen=True)
class Stress(Scale):
    kind: Kind
    on: str
    """A channel, or `ALL`."""

    scenario: Scenario
    at: float
    """When it begins, in seconds of the run."""

    @property
    def least(self) -> float:
        return self.kind.mildest

    @property
    def is_whole(self) -> bool:
        return self.kind.is_whole

    @property
    def name(self) -> str:
        """As it stands in a file: ``email.outage``."""
        return f"{self.on}.{self.kind.name}"

    @cached_property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that are hit."""
        there = channels_with_traffic(self.scenario)
        return there if self.on == ALL else tuple(each for each in there if each.value == self.on)

    @property
    def most(self) -> float:
        """At least the amount that the file wants to take, unless amounts are counts."""
        most = self.kind.most(self)
        if self.kind.is_whole:
            return most
        return max([most, *(each.amount for each in self.wanted)])

    @property
    def wanted(self) -> list[WantedLimit]:
        """The amounts of this stress that the file demands to withstand."""
        limits = wanted_limits(self.scenario.limits)
        return [each for each in limits if (each.on, each.kind) == (self.on, self.kind.name)]

    @property
    def grid(self) -> Sequence[float]:
        return self.kind.steps(self.most)

    def text(self, amount: float) -> str:
        return self.kind.text(amount, self)

    def put_on(self, amount: float) -> Scenario:
        """Return the scenario with so much of it, and without a recording of each event."""
        found = self.kind.put_on(self, amount)
        return found if found.record == "aggregates" else found.model_copy(update={"record": "aggregates"})


def stresses(
    scenario: Scenario, kinds: Sequence[str] | None = None, on: Sequence[str] = (), at: float | None = None
) -> tuple[list[Stress], list[str]]:
    """Return the stresses that can be put on a scenario, and a line for each kind that was asked for and cannot.

    Args:
        scenario: the scenario.
        kinds: names of kinds; all of them when None.
        on: channels, or ``all``; each of them, and all together, when empty.
        at: when it begins; at the end of the first quarter of `duration` when None.

    Raises:
        ConfigurationError: there is no such kind or channel, or the run is over before `at`; all problems.
    """
    there = channels_with_traffic(scenario)
    problems = [
        f"--of {name}: wanted a kind of {', '.join(KINDS)}, got {name!r}" for name in kinds or () if name not in KINDS
    ]
    known = [*map(str, there), ALL]
    problems += [f"--on {name}: wanted {', '.join(known)}, got {name!r}" for name in on if name not in known]
    ends_s = scenario.arrivals_end_ns / NS_PER_S
    at_s = scenario.duration / 4 if at is None else at
    if not 0 <= at_s < ends_s:
        problems.append(f"--at: wanted an instant before arrivals end at {duration_text(ends_s)}, got {at_s:g}s")
    if problems:
        raise ConfigurationError(problems)
    found: list[Stress] = []
    lacking: list[str] = []
    for name in dict.fromkeys(kinds or KINDS):
        places = list(on) or ([*known[:-1], ALL] if len(there) > 1 else known[:-1])
        if (name == "load" and not on) or name == "nodes":
            places = [ALL]
        if not on:
            limits = [each.on for each in wanted_limits(scenario.limits) if each.kind == name]
            places = list(dict.fromkeys([*places, *limits]))
        of_kind = [Stress(KINDS[name], place, scenario, at_s) for place in places]
        usable = [stress for stress in of_kind if stress.most > stress.kind.mildest]
        found += usable
        if not usable:
            of = f" of {', '.join(on)}" if on else ""
            lacking.append(f"{name}: {_LACKING.get(name, 'nothing to put it on').format(of=of)}")
    return found, lacking


_LACKING = {"capacity": "no provider{of} has a capacity of more than one", "nodes": "there is one process"}


def channels_with_traffic(scenario: Scenario) -> tuple[NotificationChannel, ...]:
    """Return the channels on which notifications are sent, or to which they fall back."""
    used = {channel for entry in scenario.workload for channel in entry.channels}
    while more := {
        fallback.channel
        for channel in used
        if (fallback := scenario.channel_as_given(channel).fallback) is not None and fallback.channel not in used
    }:
        used |= more
    return tuple(channel for channel in scenario.channels_used if channel in used)


def _rounded(amount: float, low: float | None = None, high: float | None = None) -> float:
    """Return an amount with three digits, or with all of them where that would be outside of the bounds."""
    short = float(f"{amount:.3g}")
    return amount if low is not None and high is not None and not low < short < high else short


def _divided(most: float) -> Sequence[float]:
    return [_rounded(most / STEP**step) for step in reversed(range(1, GRID))] + [most]


def _multiplied(most: float) -> Sequence[float]:
    return [_rounded(most ** (step / GRID)) for step in range(1, GRID)] + [most]


def _counted(most: float) -> Sequence[float]:
    return sorted({float(ceil(most * step / GRID)) for step in range(1, GRID + 1)})


# ── what is put on ──────────────────────────────────────────────────────────────────────────────────────────────────


def _with_fault(stress: Stress, **keys: Any) -> Scenario:
    fault = FaultConfig.model_validate({"channel": list(stress.channels), "at": stress.at, **keys})
    return stress.scenario.model_copy(update={"faults": (*stress.scenario.faults, fault)})


def _outage(stress: Stress, lasts: float) -> Scenario:
    """Return the scenario with one outage of the channels, in place of its own outages of them.

    The new outage takes the number of the first one that it replaces, as expectations name faults by number; a further
    outage of these channels alone becomes the same outage once more, which changes nothing.
    """
    scenario, channels = stress.scenario, set(stress.channels)
    keys = {"channel": list(stress.channels), "at": stress.at, "for": lasts or 1e-9, "outage": True}
    new = FaultConfig.model_validate(keys)
    faults: list[FaultConfig] = []
    is_in = not lasts
    for fault in scenario.faults:
        hit = {each for each in stress.channels if each in fault.channel}
        if not fault.outage or not hit or fault.host or fault.node or fault.provider or fault.upstream:
            faults.append(fault)
            continue
        others = tuple(
            each for each in channels_with_traffic(scenario) if each in fault.channel and each not in channels
        )
        rest = fault.injects - {"outage"}
        if others:
            faults.append(fault.model_copy(update={"channel": others}))
        elif rest:
            faults.append(fault.model_copy(update={"outage": False}))
        elif lasts:
            faults.append(new)
            is_in = True
        else:  # so short between two instants that it is none: on its own channels, as without other outages too
            faults.append(fault.model_copy(update={"at": stress.at + 1e-9, "for_": 1e-9}))
        if others and rest:
            faults.append(fault.model_copy(update={"channel": tuple(sorted(hit)), "outage": False}))
    if not is_in:
        faults.append(new)
    duration = max(scenario.duration, stress.at + lasts + FOLLOWS_S)
    return scenario.model_copy(update={"faults": tuple(faults), "duration": duration})


def _load(stress: Stress, factor: float) -> Scenario:
    if factor == 1:
        return stress.scenario
    workload = tuple(
        _multiplied_entry(stress.scenario, entry, factor)
        if stress.on == ALL or set(entry.channels) & set(stress.channels)
        else entry
        for entry in stress.scenario.workload
    )
    return stress.scenario.model_copy(update={"workload": workload})


def _multiplied_entry(scenario: Scenario, entry: WorkloadEntry, factor: float) -> WorkloadEntry:
    if isinstance(entry, ClosedWorkload):
        return entry.model_copy(update={"clients": max(1, round(entry.clients * factor))})
    return entry.model_copy(update={"arrivals": _multiplied_arrivals(entry.arrivals, factor)})


def _multiplied_arrivals(arrivals: Arrivals, factor: float) -> Arrivals:
    (key,) = [key for key in type(arrivals).model_fields if getattr(arrivals, key) is not None]
    given = getattr(arrivals, key)
    if key == "trace":
        key, given = "times", _instants_of(given.counts, given.every, factor)
    elif key == "times":
        given = tuple(given[int(number / factor)] for number in range(round(len(given) * factor)))
    elif isinstance(given, Rate):
        given = _more(given, factor)
    elif key == "stages":
        given = tuple(
            stage.model_copy(update={"to": _more(stage.to, factor)}) if hasattr(stage, "to") else stage
            for stage in given
        )
    elif key == "burst" and not isinstance(given.size, int):
        raise ConfigurationError(["load: wanted bursts of one size, got sizes that are drawn"])
    else:
        rates = {name: _more(rate, factor) for name in _RATES if isinstance(rate := getattr(given, name, None), Rate)}
        counts = {name: max(1, round(of * factor)) for name in _COUNTS if (of := getattr(given, name, None))}
        given = given.model_copy(update=rates | counts)
    return Arrivals.model_construct(_fields_set={key}, **{**dict.fromkeys(type(arrivals).model_fields), key: given})


_RATES = ("from_", "to", "mean", "peak")
_COUNTS = ("size", "count")


def _more(rate: Rate, factor: float) -> Rate:
    return Rate(rate.count * factor, rate.period)


def _instants_of(counts: Sequence[int], every: float, factor: float) -> tuple[float, ...]:
    if sum(counts) * factor > TRACE_MAX:
        got = f"{sum(counts):,} times {plain_number(factor)}"
        raise ConfigurationError([f"load: wanted a trace of at most {TRACE_MAX:,} arrivals, got {got}"])
    times: list[float] = []
    owed = 0.0
    for bucket, count in enumerate(counts):
        owed += count * factor
        here, owed = int(owed + 1e-9), owed - int(owed + 1e-9)
        times += [round((bucket + place / here) * every, 9) for place in range(here)]
    return tuple(times)


def _capacities(stress: Stress) -> Mapping[NotificationChannel, int]:
    found: dict[NotificationChannel, int] = {}
    for channel in stress.channels:
        lanes = stress.scenario.channel_as_given(channel).by_provider().values()
        if given := [lane.provider.capacity for lane in lanes if lane.provider.capacity is not None]:
            found[channel] = max(given)
    return found


def _largest_capacity(stress: Stress) -> int:
    return max(_capacities(stress).values(), default=1)


def _less_capacity(stress: Stress, lost: float) -> Scenario:
    if not lost:
        return stress.scenario
    share = lost / _largest_capacity(stress)
    faults = [
        FaultConfig.model_validate({"channel": channel, "at": stress.at, "capacity": max(1, of - round(of * share))})
        for channel, of in _capacities(stress).items()
    ]
    return stress.scenario.model_copy(update={"faults": (*stress.scenario.faults, *faults)})


def _fewer_nodes(stress: Stress, lost: float) -> Scenario:
    if not lost:
        return stress.scenario
    scenario = stress.scenario
    away = seconds(scenario.activity_end_ns + scenario.drain_ns) + 1
    fault = FaultConfig.model_validate(
        {"channel": ALL, "at": stress.at, "node": list(range(1, int(lost) + 1)), "crash": "process"}
        | {"restart_after": away}
    )
    return scenario.model_copy(update={"faults": (*scenario.faults, fault)})


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "outage",
            0.0,
            lambda lasts, _: duration_text(lasts),
            _outage,
            lambda stress: stress.scenario.duration,
            _divided,
            ends=True,
        ),
        Kind(
            "latency",
            1.0,
            lambda factor, _: f"×{plain_number(factor)}",
            lambda stress, factor: stress.scenario if factor == 1 else _with_fault(stress, latency_factor=factor),
            lambda _: FACTOR_MAX,
            _multiplied,
        ),
        Kind(
            "failure_rate",
            0.0,
            lambda share, _: f"+{plain_number(share * 100)}%",
            lambda stress, share: _with_fault(stress, failure_rate=share) if share else stress.scenario,
            lambda _: 1.0,
            _divided,
        ),
        Kind("load", 1.0, lambda factor, _: f"×{plain_number(factor)}", _load, lambda _: FACTOR_MAX, _multiplied),
        Kind(
            "capacity",
            0.0,
            lambda lost, stress: f"{lost:.0f} of {_largest_capacity(stress)} lost",
            _less_capacity,
            lambda stress: _largest_capacity(stress) - 1,
            _counted,
            is_whole=True,
        ),
        Kind(
            "nodes",
            0.0,
            lambda lost, stress: f"{lost:.0f} of {stress.scenario.fleet.count} lost",
            _fewer_nodes,
            lambda stress: stress.scenario.fleet.count if stress.scenario.fleet.count > 1 else 0,
            _counted,
            is_whole=True,
        ),
    )
}
"""By name."""
