"""The settings of a scenario that are worth turning: their values, their ranges, and their places in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

from actors.instants import NS_PER_S
from actors.messages import BreakerState
from actors.settings.channel import ChannelConfig
from actors.settings.quantities import Rate, write_duration
from simulation.reporting.fault_windows import AT_THE_START
from simulation.scenario import Scenario
from simulation.scenario.limits import ALL, wanted_limits
from simulation.scenario.schema import json_schema
from simulation.scenario.workload import ClosedWorkload
from simulation.studio.splicing import CannotEdit, Path, Splices

Kind: TypeAlias = Literal["duration", "count", "number", "rate", "share", "switch", "choice"]
"""How a value is written: ``30s``, ``5``, ``1.5``, ``20/s``, ``30%``, ``true``, or a word."""


class Turn(NamedTuple):
    """A setting, and how far it may be turned: further than anyone wants, and not to where nothing can be seen."""

    key: str
    """Dotted, below a channel or an entry."""

    label: str
    kind: Kind
    model: str
    """The name of the model in the schema that the last key is of."""

    low: float = 0.0
    high: float = 1.0
    """Seconds, events a second, or shares from 0 to 1."""

    log: bool = False
    """Whether each step of the slider multiplies."""

    per: str = "s"
    """The window of a rate."""

    @property
    def stops(self) -> tuple[float, ...]:
        """Where its slider stops: numbers that people would choose, some forty at most."""
        if self.kind == "share":
            found: Iterable[float] = _SHARES
        elif self.kind == "duration":
            found = _SECONDS
        elif self.log:
            found = (round(mantissa * 10.0**power, 2) for power in range(-1, 4) for mantissa in _MANTISSAS)
        else:
            step = 1 if self.kind == "count" else 0.1
            found = (round(self.low + number * step, 1) for number in range(round((self.high - self.low) / step) + 1))
        is_whole = self.kind == "count"
        return tuple(each for each in found if self.low <= each <= self.high and not (is_whole and each % 1))

    def write(self, value: Any) -> str:
        match self.kind:
            case "duration":
                return write_duration(value)
            case "rate":
                return f"{value:g}/{self.per}"
            case "share":
                return f"{value * 100:g}%"
            case "switch":
                return "true" if value else "false"
            case "count" | "number":
                return value if isinstance(value, str) else f"{value:g}"
            case "choice":
                return str(value)


_SHARES = (0, 0.005, *(part / 100 for part in (*range(1, 11), *range(15, 101, 5))))
_SECONDS = (
    *(0, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45),
    *(60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600),
)
_MANTISSAS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)

BREAKER = "Breaker: "
OF_A_CHANNEL = (
    Turn("circuit_breaker.enabled", "Circuit breaker", "switch", "CircuitBreakerConfig"),
    Turn("circuit_breaker.failure_threshold", f"{BREAKER}failures to open", "count", "CircuitBreakerConfig", 1, 50),
    Turn("circuit_breaker.timeout", f"{BREAKER}stays open for", "duration", "CircuitBreakerConfig", 1, 1800, True),
    Turn("circuit_breaker.half_open_permits", f"{BREAKER}probes", "count", "CircuitBreakerConfig", 1, 20),
    Turn("circuit_breaker.when_open", f"{BREAKER}when open", "choice", "CircuitBreakerConfig"),
    Turn("circuit_breaker.resume_rate", f"{BREAKER}first resume rate", "rate", "CircuitBreakerConfig", 0.1, 500, True),
    Turn("circuit_breaker.resume_rate_max", f"{BREAKER}top resume rate", "rate", "CircuitBreakerConfig", 1, 500, True),
    Turn("retry.max_attempts", "Retry: attempts", "count", "RetryConfig", 1, 15),
    Turn("retry.initial_delay", "Retry: first wait", "duration", "RetryConfig", 0.1, 300, True),
    Turn("retry.backoff_multiplier", "Retry: each wait is times the last", "number", "RetryConfig", 1, 5),
    Turn("retry.max_delay", "Retry: longest wait", "duration", "RetryConfig", 1, 3600, True),
    Turn("retry.jitter", "Retry: jitter", "choice", "RetryConfig"),
    Turn("retry.retry_after_max", "Retry: longest pause after a hint", "duration", "RetryConfig", 1, 3600, True),
    Turn("retry.holds_slot", "Retry: slot held while waiting", "switch", "RetryConfig"),
    Turn("timeout", "Timeout of an attempt", "duration", "ChannelConfig", 0.1, 60, True),
    Turn("deadline", "Deadline of all attempts", "duration", "ChannelConfig", 1, 1800, True),
    Turn("rate_limit.rate", "Rate limit", "rate", "RateLimitConfig", 1, 500, True),
    Turn("quota.rate", "Quota", "rate", "QuotaConfig", 1, 500, True),
    Turn("max_in_flight", "Attempts at once", "count", "ChannelConfig", 1, 500, True),
    Turn("max_in_flight.limit", "Attempts at once", "count", "BulkheadConfig", 1, 500, True),
    Turn("provider.failure_rate", "Provider: usual failures", "share", "ProviderConfig"),
)
OF_AN_ENTRY = (
    Turn("arrivals.poisson", "Arrivals, poisson", "rate", "Arrivals", 0.1, 500, True),
    Turn("arrivals.constant", "Arrivals, constant", "rate", "Arrivals", 0.1, 500, True),
    Turn("arrivals.daily.count", "Arrivals each day", "count", "DailyArrivals", 1, 8000, True),
)
OF_A_FAULT = (
    Turn("at", "Begins at", "duration", "FaultConfig", 0, 3600),
    Turn("for", "Lasts", "duration", "FaultConfig", 0.1, 3600, True),
    Turn("failure_rate", "Share that fails", "share", "FaultConfig"),
    Turn("refused_rate", "Share that gets no connection", "share", "FaultConfig"),
    Turn("latency_factor", "Latency, times", "number", "FaultConfig", 0.1, 50, True),
    Turn("speed", "Speed of the provider", "number", "FaultConfig", 0, 2),
)
_FIELD = {"for": "for_"}
"""The names in the model of keys that are words of Python."""


def knobs(splices: Splices, scenario: Scenario) -> list[dict[str, Any]]:
    """Return the settings worth turning of a scenario, in groups, as plain data.

    Each has the `path`, `group`, `label`, `kind`, `sentence`, `default` (empty if there is none), `value`, and the
    values that it can be given as `stops`; values as they are written in YAML. `at` is the stop nearest to the value.
    `splice` says where the value goes in the text; null, with the reason in `why`, where it cannot be changed in place.
    """
    found = []
    for path, group, turn, value in _turned(scenario):
        has_stops = turn.kind in ("choice", "switch") or turn.stops  # of a run of 50 ms no second is one
        if has_stops and isinstance(value, (int, float, str)):
            knob = _knob(splices, path, group, turn, value)
            found.append({**knob, "marks": _marks(scenario, path, turn)})
    return found


def _marks(scenario: Scenario, path: Path, turn: Turn) -> list[dict[str, Any]]:
    """Return the stops of a fault's slider up to which the scenario is to take it, as its `limits` say."""
    if path[0] != "faults":
        return []
    fault = scenario.faults[int(path[1])]
    kind = {"for": "outage" if fault.outage else "", "latency_factor": "latency"}.get(path[2], path[2])
    return [
        {"at": min(range(len(turn.stops)), key=lambda each: abs(turn.stops[each] - limit.amount)), "text": limit.text}
        for limit in wanted_limits(scenario.limits)
        if limit.kind == kind and (limit.on == ALL or limit.on in fault.channel)
    ]


def groups_hit(scenario: Scenario) -> set[str]:
    """Return the groups of the channels that faults are about."""
    hit = (channel for channel in scenario.channels_used if any(channel in fault.channel for fault in scenario.faults))
    return {f"Channel {channel}" for channel in hit}


def _turned(scenario: Scenario) -> Iterator[tuple[Path, str, Turn, Any]]:
    yield ("seed",), "Run", Turn("seed", "Seed", "count", "Scenario", 0, 99), scenario.seed
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload):
            continue
        for turn in OF_AN_ENTRY:
            if (value := _at(entry, turn.key)) is not None:
                name = entry.name if entry.name is not None else entry.called
                value = getattr(value, "per_second", value)
                yield ("workload", str(number), *turn.key.split(".")), f"Arrivals: {name}", turn, value
    for number, fault in enumerate(scenario.faults):
        group = f"Fault {number + 1}: {', '.join(fault.channel or sorted(fault.injects))}"
        for turn in OF_A_FAULT:
            is_time = turn.kind == "duration"
            high = min(turn.high, scenario.arrivals_end_ns / NS_PER_S) if is_time else turn.high
            value = (
                None
                if turn.key == "for" and fault.injects <= AT_THE_START
                else getattr(fault, _FIELD.get(turn.key, turn.key))
            )
            if isinstance(value, float):
                yield ("faults", str(number), turn.key), group, turn._replace(high=high), value
    for channel in scenario.channels_used:
        config = scenario.channel_config(channel)
        of_backups = (
            turn._replace(key=f"failover.{name}.{turn.key}", label=f"{turn.label} of {name}")
            for name in config.failover
            for turn in OF_A_CHANNEL
            if turn.model == "QuotaConfig"
        )
        for turn in (*OF_A_CHANNEL, *of_backups):
            value = _at(config, turn.key)
            if isinstance(value, Rate):  # in its own window: 60/min lets through other bursts than 1/s
                windows = {1.0: "s", 60.0: "min", 3600.0: "h"}
                turn = turn._replace(per=windows.get(value.period) or write_duration(value.period))
                value = value.count
            if _has_effect(turn, config) and value is not None:
                yield ("channels", channel.value, *turn.key.split(".")), f"Channel {channel}", turn, value


def _has_effect(turn: Turn, config: ChannelConfig) -> bool:
    """Return whether turning a setting of a channel changes anything while its other settings are as they are."""
    breaker, retry, keys = config.circuit_breaker, config.retry, turn.key.split(".")
    match keys:
        case ["circuit_breaker", "enabled"]:
            return breaker.initial_state != "disabled"
        case ["circuit_breaker", "when_open"]:
            return breaker.begins not in _NEVER_OPEN
        case ["circuit_breaker", "resume_rate" | "resume_rate_max"]:
            return breaker.begins is BreakerState.CLOSED and breaker.when_open == "wait"
        case ["circuit_breaker", "failure_threshold"]:
            return breaker.begins is BreakerState.CLOSED and breaker.window is None
        case ["circuit_breaker", _]:
            return breaker.begins is BreakerState.CLOSED
        case ["retry", "backoff_multiplier"]:
            return retry.max_attempts != 1 and retry.schedule is None and retry.growth == "exponential"
        case ["retry", "initial_delay" | "max_delay"]:
            return retry.max_attempts != 1 and retry.schedule is None
        case ["retry", "holds_slot"]:
            lanes = config.by_provider().values()
            return all(lane.max_in_flight is not None and lane.concurrency_limit is None for lane in lanes)
        case ["retry", "retry_after_max"]:
            return retry.after_retry_after != "only_it"
        case ["retry", "jitter"]:
            return retry.max_attempts != 1
        case _:
            return True


_NEVER_OPEN = (BreakerState.DISABLED, BreakerState.METRICS_ONLY)


def is_own(path: str) -> bool:
    """Return whether a sender decides a setting: not the arrivals, and not the provider's behaviour."""
    return path.startswith("channels.") and ".provider." not in path


def _at(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)
    return settings


def _knob(splices: Splices, path: Path, group: str, turn: Turn, value: Any) -> dict[str, Any]:
    about = described()[turn.model]["properties"][path[-1]]
    stops: Sequence[Any] = turn.stops
    if turn.kind in ("choice", "switch"):
        stops = about["enum"] if turn.kind == "choice" else (False, True)
    elif isinstance(value, str):
        stops = (*stops, value)  # a word in place of a number: unlimited
    at = stops.index(value) if value in stops else min(range(len(stops)), key=lambda each: abs(stops[each] - value))
    return {
        "path": ".".join(path),
        "group": group,
        "label": turn.label,
        "kind": turn.kind,
        "value": turn.write(value),
        "stops": [turn.write(each) for each in stops],
        "at": at,
        "sentence": one_line(about.get("description", "")),
        "default": _default(about, turn),
        **splice_document(splices, path),
    }


def splice_document(splices: Splices, path: Path) -> dict[str, Any]:
    """Return where a value goes in the text, as plain data, or why it cannot be changed there.

    Places are counted as JavaScript does, where some characters count for two.
    """
    try:
        found = splices.splice(path)
    except CannotEdit as why:
        return {"splice": None, "why": str(why)}
    start, end = (len(splices.text[:at].encode("utf-16-le")) // 2 for at in (found.start, found.end))
    return {"splice": {"start": start, "end": end, "before": found.before, "after": found.after}, "why": ""}


@cache
def described() -> Mapping[str, Any]:
    """Return the parts of the schema that have keys, by the names of their models."""
    schema = json_schema()
    found = {"Scenario": schema}
    for name, part in schema["$defs"].items():
        found[name] = (
            part
            if "properties" in part
            else next((each for each in part.get("anyOf", []) if each.get("title") == name), {"properties": {}})
        )
    return found


def _default(about: Mapping[str, Any], turn: Turn) -> str:
    default = about.get("default")
    if default is None:
        return ""
    if turn.kind == "share":
        return f"{default * 100:g}%"
    if turn.kind == "switch":
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def one_line(text: str) -> str:
    """Return a description of the schema as a page has it."""
    return re.sub(r"\bNone: ", "Left out: ", re.sub(r"`+", "", " ".join(text.split())))
