"""Swarm testing of a scenario: each seed draws a small case of it, with faults, operations and a schedule of its own.

Which kinds of faults there are at all is drawn anew for each case, and how strong each is on a logarithmic scale: a
case with some kinds left out goes further with those that it has than one with all of them at a middling strength. The
idea is that of Groce, Zhang, Eide, Chen and Regehr, "Swarm Testing", ISSTA 2012.

The settings under test (channels, preferences, quiet hours, templates) are those of the scenario, or those with some
changes (:mod:`simulation.verification.drawing.drawn_settings`). All else is drawn, from streams that depend on the
seed and their names alone: the same case in any process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, TypeAlias

from actors.instants import seconds
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel
from actors.settings.distributions import Distribution
from actors.settings.faults import Change, Crash, FaultConfig
from actors.settings.quantities import Rate
from simulation.scenario import (
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    Operation,
    Scenario,
    ScheduleConfig,
    WorkloadEntry,
)
from simulation.scenario.arrivals import Arrivals, HoldStage, Stage
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.operations import EditConfig
from simulation.scenario.workload import Spread, ZipfSpread, count_of
from simulation.verification.drawing.coincidence import coinciding
from simulation.verification.drawing.dead_letters import burying
from simulation.verification.drawing.disturbances import (
    TOO_MANY_CRASHES,
    bearable,
    cancellation,
    down_time,
    edit,
    start_at_a_change,
    start_at_an_edge,
)
from simulation.verification.drawing.drawn_settings import DrawnSettings, draw_settings
from simulation.verification.drawing.fault_kinds import KINDS, drawn_strength
from simulation.verification.drawing.late_messages import astray
from simulation.verification.drawing.names import renamed
from simulation.verification.drawing.numbers import log_uniform, rounded
from simulation.verification.drawing.overlapping_faults import overlapping
from simulation.verification.drawing.parts_and_wholes import at_layers, at_places, layers_behind, unlike
from simulation.verification.drawing.queueing import queueing
from simulation.verification.drawing.quiet_hours import nightfall
from simulation.verification.drawing.rare_settings import outages_of_endpoints, with_rare_settings
from simulation.verification.drawing.seldom_met import SELDOM_MET
from simulation.verification.drawing.slow_stores import losing
from simulation.verification.drawing.whole_groups import with_held_slots, with_pauses, with_whole_groups
from simulation.verification.drawing.zones import in_zones

NOTIFICATIONS = (30, 300)
"""The number of notifications of a case is about log-uniform between these."""

ScheduleKind: TypeAlias = Literal["mixed", "normal", "random-walk", "pct"]
"""How the order of ready messages is drawn. ``mixed``: in two of three cases as usual, as only these are compared with
the reference model; else one of the other two."""

SettingsKind: TypeAlias = Literal["mixed", "given", "drawn"]
"""Which settings a case has: those of the scenario, with changes that are drawn, or with these in half of the cases."""

SHORTEST_S = 1.0
_SHARE_OF_KINDS = 0.35
_SHARE_SCHEDULED = 0.2
_SHARE_CANCELLING = 0.3
_SHARE_SERVED = 0.2
_SHARE_AT_TIMEOUT = 0.3
_SHARE_MIXED = 0.4
_SHARE_AGAIN = 0.5
_SHARE_OFTEN = 0.15
_SHARE_PAUSING = 0.1
_SHARE_OF_MANY = 0.15
_SHARE_COMMITTING = 0.2
_SHARE_ASTRAY = 0.08
_MIXED = (
    "failure_rate", "lost_reply_rate", "refused_rate", "channel_fault_rate", "permanent_rate", "dead_destination_rate",
)  # fmt: skip
"""Failures of several kinds, of which a mixture has some."""

_LONGEST_WINDOW = 1.5
"""As a share of the time in which notifications arrive."""


def _without_what_hits_nothing(scenario: Scenario, _random: Random) -> Scenario:
    """Return a scenario without the faults of layers and limiters that its settings, as drawn, do not have."""

    def hits(fault: FaultConfig) -> bool:
        channels = [scenario.channel_as_given(each) for each in scenario.channels_used if each in fault.channel]
        if fault.crash == Crash(actor="limiter"):
            return any(config.rate_limit is not None for config in channels)
        return (fault.upstream or 0) <= max(layers_behind(scenario, fault), default=0)

    return scenario.model_copy(update={"faults": tuple(filter(hits, scenario.faults))})


_SHAPES: tuple[tuple[Callable[[Scenario, Random], Scenario], str, float], ...] = (
    (queueing, "queues", 0.25),
    (burying, "burying", 0.2),
    (losing, "losing", 0.15),
    (unlike, "unlike", 0.2),
    (at_places, "places", 0.15),
    (overlapping, "overlaps", 0.15),
    (with_pauses, "hints", 0.2),
    (with_held_slots, "held slots", 0.2),
    *((change, change.__name__, 0.04) for change in SELDOM_MET),
    (at_layers, "layers", 0.7),
    (_without_what_hits_nothing, "hits nothing", 1.0),
    (coinciding, "coincidence", 0.25),
    (nightfall, "nights", 0.15),
    (in_zones, "zones", 0.2),
    (renamed, "names", 0.15),
)
"""The changes of a whole case, each with the name of its stream and its share of cases with drawn settings. Coincidence
applies to all changes before it."""


@dataclass(frozen=True, slots=True)
class Case:
    """The draw of a seed for a scenario."""

    scenario: Scenario
    """The scenario that runs."""

    settings: DrawnSettings | None
    """Its settings, where they were drawn; None: they are those of the scenario that it is a case of."""


def case(
    scenario: Scenario, seed: int, *, schedule: ScheduleKind = "mixed", settings: SettingsKind = "mixed"
) -> Scenario:
    """Return the case of a scenario that a seed draws; see :func:`drawn_case`."""
    return drawn_case(scenario, seed, schedule=schedule, settings=settings).scenario


def drawn_case(
    scenario: Scenario, seed: int, *, schedule: ScheduleKind = "mixed", settings: SettingsKind = "mixed"
) -> Case:
    """Return the case that a seed draws, with what was drawn of its settings; each of the scenario's own faults and
    operations is in half of the cases."""
    streams = RandomStreams(seed)

    def stream(name: str) -> Random:
        return streams.stream(f"swarm.{name}")

    drawn: DrawnSettings | None = None
    draw = stream("settings")
    if settings == "drawn" or (settings == "mixed" and draw.random() < 0.5):
        drawn = draw_settings(scenario, draw, stream("classes"))
        rare = with_whole_groups(with_rare_settings(drawn.scenario, stream), stream("groups"))
        drawn = replace(drawn, scenario=rare)
        scenario = drawn.scenario
    found = _case(scenario, seed, schedule, stream)
    if drawn is not None:
        for change, name, share in _SHAPES:
            draw = stream(name)
            if draw.random() < share:
                found = change(found, draw)
    return Case(found, drawn)


def _case(scenario: Scenario, seed: int, schedule: ScheduleKind, stream: Callable[[str], Random]) -> Scenario:
    workload, time_factor = _workload(scenario, stream("workload"))
    duration = rounded(max(SHORTEST_S, seconds(scenario.arrivals_end_ns) * time_factor))
    workload = _scheduled(workload, duration, stream("schedules"))
    if scenario.has_endpoints:
        workload = _to_few(workload, stream("endpoints"))
    workload = _to_many(workload, stream("crowds"))
    settled = scenario.model_copy(update={"workload": workload, "duration": duration})
    faults = _with_edges(scenario, _faults(scenario, duration, time_factor, stream("faults")), stream("edges"))
    faults = _again_and_again(faults, stream("repeats")) + _mixture(scenario, duration, stream("mixture"))
    faults += outages_of_endpoints(scenario, duration, stream("disabling"))
    if (draw := stream("astray")).random() < _SHARE_ASTRAY:
        faults += astray(duration, draw)
    faults = tuple(fault for fault in bearable(faults) if _has_recipients(fault, workload))
    changes: dict[str, Any] = {
        "seed": seed,
        "duration": duration,
        "workload": workload,
        # Also those that have no settings and, without the entries left out, no arrivals any more.
        "channels": scenario.channels.model_copy(
            update={str(channel): scenario.channel_as_given(channel) for channel in scenario.channels_used}
        ),
        "faults": faults,
        "operations": _all_operations(settled, scenario, duration, time_factor, stream),
        "schedule": _schedule(schedule, stream("schedule")),
        "record": "full",
        "expect": (),
        "limits": {},
        "sweep": None,
    }
    if (draw := stream("pauses")).random() < _SHARE_PAUSING:
        changes |= _with_pause(workload, duration, faults, draw)
    if scenario.quiet_hours:
        changes["start"] = _start(scenario, duration, stream("start"))
    if scenario.nodes_at_most == 1:
        draw = stream("commits")
        loses = any(fault.crash in ("process", Crash(actor="handler")) for fault in faults)
        share = 0.5 if loses else _SHARE_COMMITTING
        changes["commit_latency"] = log_uniform(draw, 0.001, 3.0) if draw.random() < share else scenario.commit_latency
    return scenario.model_copy(update=changes)


def _has_recipients(fault: FaultConfig, workload: tuple[WorkloadEntry, ...]) -> bool:
    return fault.host is None or any(
        NotificationChannel.EMAIL in fault.channel  # where domain events send to a host
        if isinstance(entry, EventWorkload)
        else entry.channel in fault.channel and entry.hosts is not None
        for entry in workload
    )


def _start(scenario: Scenario, duration: float, random: Random) -> datetime:
    """Return when a case starts: at any time of the day; in some cases so that quiet hours begin or end within it, or
    that clocks change soon."""
    midnight = scenario.start.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight + timedelta(minutes=random.randrange(24 * 60))
    where = random.random()
    if where < 0.3:
        return start_at_an_edge(scenario, rounded(random.uniform(0.0, duration)), random)
    return start_at_a_change(scenario, random) if where < 0.45 else start


# ── workload ────────────────────────────────────────────────────────────────────────────────────────────────────


def _workload(scenario: Scenario, random: Random) -> tuple[tuple[WorkloadEntry, ...], float]:
    """Return some of the entries with few arrivals, and the factor by which the time of arrivals changes.

    Fewer arrivals come of a shorter time as well as of lower rates, in a proportion that is drawn: limits are met at
    the rates of the file, and windows and waits at its length.
    """
    kept = [entry for entry in scenario.workload if random.random() < 0.8]
    entries = kept or [random.choice(scenario.workload)]
    weights = [math.exp(random.uniform(-1.0, 1.0)) for _ in entries]
    target = math.exp(random.uniform(*map(math.log, NOTIFICATIONS)))
    expected = math.fsum(
        expected_notifications(scenario, entry) * weight for entry, weight in zip(entries, weights, strict=True)
    )
    factor = min(1.0, target / max(expected, 1.0))
    time_share = random.random()
    time_factor, rate_factor = factor**time_share, factor ** (1.0 - time_share)
    # Not shorter than that: what is left of the factor is the rates'.
    least = min(1.0, SHORTEST_S / seconds(scenario.arrivals_end_ns))
    if time_factor < least:
        time_factor, rate_factor = least, factor / least
    scaled = tuple(
        _scaled(scenario, entry, rate_factor * weight, time_factor, random)
        for entry, weight in zip(entries, weights, strict=True)
    )
    return scaled, time_factor


def _scaled(
    scenario: Scenario, entry: WorkloadEntry, rate_factor: float, time_factor: float, random: Random
) -> WorkloadEntry:
    changes: dict[str, Any] = {}
    if entry.at:
        changes["at"] = rounded(entry.at * time_factor)
    if entry.for_ is not None:
        changes["for_"] = max(1e-3, rounded(entry.for_ * time_factor))
    if entry.users is not None:
        users = max(1, round(log_uniform(random, 1, max(1.01, count_of(entry.users)))))
        changes["users"] = _so_many(users, entry.users)
    if isinstance(entry, ClosedWorkload):
        changes["clients"] = max(1, round(entry.clients * rate_factor))
        return entry.model_copy(update=changes)
    changes["arrivals"] = _fewer(scenario, entry, rate_factor, time_factor, random)
    return entry.model_copy(update=changes)


def _scheduled(workload: tuple[WorkloadEntry, ...], duration: float, random: Random) -> tuple[WorkloadEntry, ...]:
    if random.random() >= _SHARE_SCHEDULED:
        return workload
    ahead = Distribution.model_validate({"uniform": {"high": log_uniform(random, 1.0, 2.0 * max(1.0, duration))}})
    return tuple(
        entry.model_copy(update={"not_before": ahead})
        if isinstance(entry, ChannelWorkload) and random.random() < 0.5
        else entry
        for entry in workload
    )


def _to_few(workload: tuple[WorkloadEntry, ...], random: Random) -> tuple[WorkloadEntry, ...]:
    """Have half of the entries go to one address or a few, so that all attempts at one may fail for a while."""
    return tuple(
        entry.model_copy(update={"users": _so_many(random.choice([1, 1, 2, 3]), entry.users)})
        if random.random() < 0.5
        else entry
        for entry in workload
    )


def _to_many(workload: tuple[WorkloadEntry, ...], random: Random) -> tuple[WorkloadEntry, ...]:
    if random.random() >= _SHARE_OF_MANY:
        return workload
    return tuple(entry.model_copy(update={"users": _so_many(1000, entry.users)}) for entry in workload)


def _with_pause(
    workload: tuple[WorkloadEntry, ...], duration: float, faults: tuple[FaultConfig, ...], random: Random
) -> Mapping[str, Any]:
    """Return workload and faults, much of both repeated after a pause of hours, in which all limited memory is
    forgotten."""
    pause = log_uniform(random, 3600.0, 10_000.0)
    first = [
        entry.model_copy(update={"name": None, "for_": max(1e-3, min(duration - entry.at, entry.for_ or duration))})
        for entry in workload
    ]
    again: list[Any] = [each for each in (*first, *faults) if random.random() < 0.6]
    later = [each.model_copy(update={"at": round(each.at + pause, 3)}) for each in again]
    return {
        "duration": duration + pause,
        "workload": (*first, *(each for each in later if not isinstance(each, FaultConfig))),
        "faults": (*faults, *(each for each in later if isinstance(each, FaultConfig))),
    }


def _so_many(count: int, spread: Spread | None) -> Spread:
    return spread.model_copy(update={"count": count}) if isinstance(spread, ZipfSpread) else count


def _fewer(scenario: Scenario, entry: Any, rate_factor: float, time_factor: float, random: Random) -> Arrivals:
    def scaled(rate: Rate) -> Rate:
        return Rate(rounded(rate.count * rate_factor), rate.period)

    arrivals: Arrivals = entry.arrivals
    written: dict[str, Any]
    if arrivals.constant is not None:
        written = {"constant": scaled(arrivals.constant)}
    elif arrivals.poisson is not None:
        written = {"poisson": scaled(arrivals.poisson)}
    elif arrivals.ramp is not None:
        written = {"ramp": {"from": scaled(arrivals.ramp.from_), "to": scaled(arrivals.ramp.to)}}
    elif arrivals.diurnal is not None:
        wave = arrivals.diurnal
        # The peak by its ratio, which rounding must not bring below 1.
        mean = scaled(wave.mean)
        ratio = wave.peak.per_second / wave.mean.per_second
        peak = Rate(mean.per_second * ratio, 1.0)
        written = {"diurnal": {"mean": Rate(mean.per_second, 1.0), "peak": peak, "peak_at": wave.peak_at}}
    elif arrivals.weekly is not None:
        written = {"weekly": {"mean": scaled(arrivals.weekly.mean), "factors": arrivals.weekly.factors}}
    elif arrivals.stages is not None:
        written = {"stages": [_shorter(stage, scaled, time_factor) for stage in arrivals.stages]}
    elif (burst := arrivals.burst) is not None and isinstance(burst.every, float) and isinstance(burst.size, int):
        every = rounded(max(1e-3, burst.every * time_factor))
        written = {"burst": {"size": max(1, round(burst.size * rate_factor)), "every": every}}
    else:
        share = rate_factor * time_factor
        times_ns = scenario.arrival_times_ns(entry.model_copy(update={"at": 0.0}), random)
        kept = [at_ns for at_ns in times_ns if random.random() < share]
        return Arrivals.model_validate({"times": [round(seconds(at_ns) * time_factor, 3) for at_ns in kept] or [0.0]})
    return Arrivals.model_validate(written)


def _shorter(stage: Stage, scaled: Callable[[Rate], Rate], time_factor: float) -> dict[str, Any]:
    if isinstance(stage, HoldStage):
        return {"hold": max(1e-3, rounded(stage.hold * time_factor))}
    return {"to": scaled(stage.to), "over": rounded(stage.over * time_factor)}


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _faults(scenario: Scenario, duration: float, time_factor: float, random: Random) -> tuple[FaultConfig, ...]:
    own = tuple(
        fault.model_copy(
            update={
                "at": rounded(fault.at * time_factor),
                "for_": None if fault.for_ is None else max(1e-3, rounded(fault.for_ * time_factor)),
                **{
                    key: change.model_copy(update={"over": max(1e-3, rounded(change.over * time_factor))})
                    for key in ("failure_rate", "latency_factor")
                    if isinstance(change := getattr(fault, key), Change)
                },
            }
        )
        for fault in scenario.faults
        if random.random() < 0.5
    )
    kinds = [kind for kind in KINDS if random.random() < _SHARE_OF_KINDS] or [random.choice(list(KINDS))]
    drawn = tuple(_fault(scenario, kinds, duration, random) for _ in range(random.randrange(1, 6)))
    return own + drawn


def _fault(scenario: Scenario, kinds: list[str], duration: float, random: Random) -> FaultConfig:
    used = scenario.channels_used
    channels = list(used) if random.random() < 0.25 else [random.choice(used)]
    written: dict[str, Any] = {"channel": channels, **_window(duration, random)}
    providers = scenario.providers_used[channels[0]]
    if len(channels) == 1 and len(providers) > 1 and random.random() < 0.7:
        written["provider"] = random.choice(providers)
    kind = random.choice(kinds)
    strength = drawn_strength(kind, random)
    if kind == "crash" and strength["crash"] == {"actor": "limiter"}:
        with_one = [channel for channel in used if scenario.channel_config(channel).rate_limit is not None]
        if with_one:
            written["channel"] = [random.choice(with_one)]
        else:
            strength["crash"] = {"actor": "handler"}
    if "crash" in strength or "clock_step" in strength:
        written.pop("for")
        written.pop("provider", None)
    return FaultConfig.model_validate(written | strength)


def _mixture(scenario: Scenario, duration: float, random: Random) -> tuple[FaultConfig, ...]:
    """Return, in some cases, failures of several kinds in one window, so that a notification meets one after the other;
    in half of these the actors that know of them crash meanwhile, once or a few times."""
    if random.random() >= _SHARE_MIXED:
        return ()
    channel = random.choice(scenario.channels_used)
    window = _window(duration, random)
    kinds = [key for key in _MIXED if random.random() < 0.6] or [random.choice(_MIXED)]
    rates = {key: log_uniform(random, 0.1, 0.5) for key in kinds}
    faults = [{"channel": channel, **window, **rates}]
    crashes = random.choice([0, 0, 1, 3])
    for _ in range(crashes):
        at = rounded(window["at"] + random.random() * window["for"])
        crash: Any = random.choice(["process", {"actor": "handler"}])
        faults.append({"channel": channel, "at": at, "crash": crash, "restart_after": down_time(random)})
    return tuple(map(FaultConfig.model_validate, faults))


def _again_and_again(faults: tuple[FaultConfig, ...], random: Random) -> tuple[FaultConfig, ...]:
    """Return the faults with some crashes repeated: of the alert, whose failures end no run, more often than restarts
    are granted, and of actors with a given `restart_after`."""
    found: list[FaultConfig] = []
    for fault in faults:
        found.append(fault)
        if fault.crash == Crash(actor="alert") and random.random() < _SHARE_AGAIN:
            found[-1] = fault.model_copy(update={"restart_after": None})
            found += _repeated(found[-1], log_uniform(random, 0.5, 5.0))
        elif isinstance(fault.crash, Crash) and fault.restart_after is not None and random.random() < _SHARE_OFTEN:
            found += _repeated(fault, log_uniform(random, 0.1, 5.0))
    return tuple(found)


def _repeated(fault: FaultConfig, apart: float) -> Iterator[FaultConfig]:
    for number in range(1, TOO_MANY_CRASHES):
        yield fault.model_copy(update={"at": rounded(fault.at + apart * number)})


def _with_edges(scenario: Scenario, faults: tuple[FaultConfig, ...], random: Random) -> tuple[FaultConfig, ...]:
    """Return the faults, some of whose latencies are a time-out to the nanosecond, or just beside it."""
    return tuple(
        fault
        if fault.latency is None or random.random() >= _SHARE_AT_TIMEOUT
        else fault.model_copy(update={"latency": _latency_at_timeout(scenario, fault, random)})
        for fault in faults
    )


def _latency_at_timeout(scenario: Scenario, fault: FaultConfig, random: Random) -> Distribution:
    providers = scenario.channel_config(fault.channel[0]).by_provider()
    timeout = providers.get(fault.provider or "", random.choice(list(providers.values()))).timeout
    return Distribution.model_validate({"constant": max(0.0, timeout + random.choice([-1e-9, 0.0, 0.0, 0.0, 1e-9]))})


def _window(duration: float, random: Random) -> dict[str, Any]:
    at = 0.0 if random.random() < 0.1 else rounded(random.uniform(0.0, 1.1 * duration))
    return {"at": at, "for": log_uniform(random, duration / 30, _LONGEST_WINDOW * duration)}


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────


_REASONS = ("injected", "outage", "expired", "budget", "breaker", "e")


def _all_operations(
    settled: Scenario, scenario: Scenario, duration: float, time_factor: float, stream: Callable[[str], Random]
) -> tuple[Operation, ...]:
    operations = _operations(settled, scenario, duration, time_factor, stream("operations"))
    operations = _with_edits(scenario, operations, stream("edits"))
    operations = _with_served(operations, stream("served"))
    cancelling = _cancellations(settled, duration, stream("cancellations"))
    return tuple(sorted([*operations, *cancelling], key=lambda operation: operation.at))


def _operations(
    settled: Scenario, scenario: Scenario, duration: float, time_factor: float, random: Random
) -> tuple[Operation, ...]:
    own = [
        operation.model_copy(update={"at": rounded(operation.at * time_factor)})
        for operation in scenario.operations
        if random.random() < 0.5
    ]
    drawn: list[Operation] = []
    while random.random() < 0.6 and len(drawn) < 5:
        drawn += _orders(settled, duration, random)
    return tuple(sorted([*own, *drawn], key=lambda operation: operation.at))


def _orders(scenario: Scenario, duration: float, random: Random) -> list[Operation]:
    channel = random.choice(scenario.channels_used)
    if random.random() < 0.65:
        written: dict[str, Any] = {"at": rounded(random.uniform(0.2, 3.0) * duration)}
        if random.random() < 0.3:
            written["channel"] = channel
        which: Any = "all" if random.random() < 0.6 else {"reason": random.choice(_REASONS)}
        written["redrive" if random.random() < 0.75 else "discard"] = which
        return [Operation.model_validate(written)]
    at = rounded(random.uniform(0.0, 1.2) * duration)
    on: dict[str, Any] = {"channel": channel}
    if random.random() < 0.5:
        on["provider"] = random.choice(scenario.providers_used[channel])
    order = random.choice(["force-open", "force-open", "disable", "metrics-only", "close"])
    orders = [{**on, "at": at, "breaker": order}]
    if order != "close":  # no operator leaves it so
        until = at + log_uniform(random, duration / 30, duration)
        orders.append({"channel": channel, "at": rounded(until), "breaker": "close"})
    return [Operation.model_validate(written) for written in orders]


def _with_edits(scenario: Scenario, operations: tuple[Operation, ...], random: Random) -> tuple[Operation, ...]:
    return tuple(
        operation.model_copy(update={"edit": EditConfig.model_validate(edit(scenario, random))})
        if operation.redrive is not None and operation.edit is None and random.random() < 0.3
        else operation
        for operation in operations
    )


def _with_served(operations: tuple[Operation, ...], random: Random) -> tuple[Operation, ...]:
    return tuple(
        operation.model_copy(update={"served": "include"})
        if operation.redrive is not None and random.random() < _SHARE_SERVED
        else operation
        for operation in operations
    )


def _cancellations(scenario: Scenario, duration: float, random: Random) -> list[Operation]:
    if random.random() >= _SHARE_CANCELLING:
        return []
    return [
        cancellation(random.choice(scenario.channels_used).value, rounded(random.uniform(0.1, 1.5) * duration), random)
        for _ in range(random.randrange(1, 4))
    ]


# ── schedules ───────────────────────────────────────────────────────────────────────────────────────────────────


def _schedule(kind: ScheduleKind, random: Random) -> ScheduleConfig | None:
    if kind == "mixed":
        kind = random.choice(["normal", "normal", "normal", "normal", "random-walk", "pct"])
    if kind == "random-walk":
        return ScheduleConfig(random_walk=True)
    if kind == "pct":
        depth, steps = random.randrange(2, 5), round(log_uniform(random, 50, 2000))
        return ScheduleConfig.model_validate({"pct": {"depth": depth, "steps": steps}})
    return None
