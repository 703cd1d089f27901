"""Settings that are drawn: those of a scenario with some of them changed, mostly to values at an edge.

What may be drawn is read from the settings models themselves, so a key that is added there is drawn as well. A value is
at an edge when it is the least or the most that is drawn, 0, 1, as large as another setting of the same channel, or
just below or above that: there the comparisons are that somebody may have got wrong.

What does not fit together is left to the models to find: a change that they refuse is repaired by leaving out what they
object to, and given up where that does not help.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.types import Strict

from actors.messages import NotificationChannel, Priority
from actors.settings.base import OneOf, Settings, known_keys
from actors.settings.channel import (
    ChannelConfig,
    CircuitBreakerConfig,
    DeadLettersConfig,
    ProviderConfig,
    QuotaConfig,
    RetryConfig,
)
from actors.settings.distributions import Distribution
from actors.settings.faults import ChannelNames
from actors.settings.order import OrderConfig, TenantConfig
from actors.settings.quantities import (
    FROM_FILE,
    Duration,
    DurationOr0,
    NotNegative,
    PositiveDuration,
    PositiveNumber,
    PositiveRate,
    PositiveShare,
    Rate,
    Share,
    Text,
    TimeOfDay,
    Wanted,
    ZoneName,
    parse_duration,
    parse_rate,
    write_duration,
    write_rate,
)
from simulation.scenario import ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.consistency import findings
from simulation.scenario.people import QuietHoursShare
from simulation.scenario.workload import WorkloadEntry, ZipfSpread
from simulation.scenario.writing import as_data
from simulation.verification.drawing.numbers import log_uniform

Data: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

CHANGES = (1, 24)
"""How many settings of a channel are changed is about log-uniform between these."""

GROUPS = 6
"""The most groups of settings that are drawn until one is valid."""

REPAIRS = 4
"""The most times that invalid settings are left out; then the change is given up."""

LONGEST_S = 600.0
"""No longer duration is drawn."""

MOST = 30
"""No larger whole number is drawn: as many attempts, at no time at all, come before anything else."""

LEAST_S: Mapping[str, float] = {"half_open_max": 0.05, "disable_after": 5.0}
"""The least of what is drawn, where with less time would hardly go on, as it is half-open again and again meanwhile, or
where nothing would happen in so short a time."""

MOST_S: Mapping[str, float] = {"disable_after": 60.0}
"""The most of what is drawn, where a run is over before more has passed, as by default; so it is always drawn."""

WEIGHTS: Mapping[str, int] = {"retry": 8, "circuit_breaker": 8, "provider": 1}
"""How often a key is drawn of its group, where it is more or less often than others, with 2: groups have many keys."""

DRAIN_S = 60 * 86_400.0
"""How long a run with drawn settings may go on: whatever waits for the slowest of them comes to an end."""

UNLIMITED_DRAIN_S = 600.0
"""The same where nothing bounds the retries: a breaker that an order keeps open refuses them until the run ends."""

_NOT_DRAWN: Mapping[type[Settings], frozenset[str]] = {
    ProviderConfig: frozenset({"script", "price", "upstream", "account"}),
    QuotaConfig: frozenset({"account", "across"}),
    CircuitBreakerConfig: frozenset({"shared", "share_latency"}),  # drawn together with nodes
    # Drawn together with providers that throttle, and with slots.
    RetryConfig: frozenset({"after_retry_after", "retry_after_max", "holds_slot"}),
    # Drawn together with the classes and tenants of the workload, and with names of channels.
    ChannelConfig: frozenset({"order", "tenant", "kind"}),
}
_REASONS = ("injected failure", "provider outage", "throttled", "timed out")
_ZONES = ("UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns")
_SHARE_ANEW = 0.4
"""In so many channels each of the largest groups is drawn as a whole, before single settings are changed."""

_TOGETHER: tuple[tuple[Path, ...], ...] = (
    (("retry", "budget"), ("hedging",), ("retry", "per_outcome"), ("retry", "jitter"), ("retry", "retry_after_excess")),
    (("endpoints",), ("redrive",), ("fallback",), ("circuit_breaker", "timeout")),
)
_TOGETHER_WITH_CLASSES: tuple[Path, ...] = (("max_in_flight",), ("tenant",), ("order",), ("provider", "latency"))
"""Settings that seldom meet by chance, and of which each may have a part in what another one does."""

_SHARE_TOGETHER = 0.4
"""In so many cases some of these are all drawn at once, on each channel."""

_SHARE_WITH_CLASSES = 0.5
"""In so many cases the workload has classes and tenants, and channels an order and bounds for these."""

SPARE = "spare"
"""The name of a provider that is added to a channel."""


@dataclass(frozen=True, slots=True)
class DrawnSettings:
    """A scenario with settings that were drawn."""

    scenario: Scenario
    changed: int

    repaired: int
    """In how many of these something else had to be left out."""

    refused: int
    """How many further changes the models refused, and were given up."""


def draw_settings(scenario: Scenario, random: Random, classes: Random | None = None) -> DrawnSettings:
    """Return a scenario with some of its settings changed, which is as valid as it was. `classes` draws, in half of the
    cases, classes, tenants and hosts of what arrives, and the order of channels and their bounds of tenants."""
    return _Drawing(scenario, random, classes).drawn()


class _Drawing:
    def __init__(self, scenario: Scenario, random: Random, classes: Random | None) -> None:
        self._scenario = scenario
        self._random = random
        self._classes = classes
        self._changed = self._repaired = self._refused = 0

    def drawn(self) -> DrawnSettings:
        random, scenario = self._random, self._scenario
        changes: dict[str, Any] = {}
        given = {channel: scenario.channel_as_given(channel) for channel in scenario.channels_used}
        varied = [channel for channel in given if random.random() < 0.8] or [random.choice(list(given))]
        channels: Mapping[NotificationChannel, ChannelConfig] = {
            channel: self._channel(config) if channel in varied else config for channel, config in given.items()
        }
        channels = self._without_circles(channels, given)
        changes["channels"] = scenario.channels.model_copy(
            update={channel.value: config for channel, config in channels.items()}
        )
        values = Values(random, {})
        if random.random() < 0.3:
            changes["remember_ids"] = parse_duration(values.duration(least=0.001))
        if random.random() < 0.3:
            changes["max_pending"] = random.choice([1, 2, 5, 20, 50])
        if random.random() < 0.3:
            letters = self._valid(DeadLettersConfig, values.group(DeadLettersConfig))
            changes["dead_letters"] = scenario.dead_letters if letters is None else letters
        if random.random() < 0.3 and scenario.quiet_hours:
            changes["quiet_hours"] = tuple(map(self._quiet_hours, scenario.quiet_hours))
        changes["workload"] = tuple(map(self._entry, scenario.workload))
        if self._classes is not None and self._classes.random() < _SHARE_WITH_CLASSES:
            entries = [self._of_a_class(entry, self._classes) for entry in changes["workload"]]
            changes["workload"] = tuple(entries)
            ordered = {channel.value: self._in_order(config, self._classes) for channel, config in channels.items()}
            changes["channels"] = changes["channels"].model_copy(update=ordered)
            channels = {channel: ordered[channel.value] for channel in channels}
            together = (*_TOGETHER, _TOGETHER_WITH_CLASSES, _TOGETHER_WITH_CLASSES)
        else:
            together = _TOGETHER
        if self._classes is not None and self._classes.random() < _SHARE_TOGETHER:
            paths, classes = self._classes.choice(together), self._classes
            drawn = {channel: self._drawn_together(config, paths, classes) for channel, config in channels.items()}
            drawn = dict(self._without_circles(drawn, channels))
            changes["channels"] = changes["channels"].model_copy(
                update={channel.value: config for channel, config in drawn.items()}
            )
            channels = drawn
        retries = [config.retry for config in channels.values()]
        is_unlimited = any(retry.attempts_most == math.inf and retry.max_elapsed is None for retry in retries)
        changes["drain"] = UNLIMITED_DRAIN_S if is_unlimited else max(scenario.drain, DRAIN_S)
        self._changed += sum(key in changes for key in ("remember_ids", "max_pending", "dead_letters", "quiet_hours"))
        return DrawnSettings(scenario.model_copy(update=changes), self._changed, self._repaired, self._refused)

    def _channel(self, config: ChannelConfig) -> ChannelConfig:
        data: Data = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
        wanted = round(math.exp(self._random.uniform(*map(math.log, CHANGES))))
        changed, tries = 0, 0
        for key, model in (("retry", RetryConfig), ("circuit_breaker", CircuitBreakerConfig)):
            if self._random.random() < _SHARE_ANEW:
                repaired, found = self._repair(data | {key: Values(self._random, data).group(model)})
                if found is not None:
                    data, config = repaired, found
                    changed += 1
        while changed < wanted and tries < 3 * wanted:
            tries += 1
            candidate = deepcopy(data)
            values = Values(self._random, candidate)
            values.change(ChannelConfig, candidate)
            if candidate == data:
                continue
            repaired, found = self._repair(candidate)
            if found is None:
                self._refused += 1
                continue
            data, config = repaired, found
            changed += 1
        self._changed += changed
        return config

    def _repair(self, data: Data) -> tuple[Data, ChannelConfig | None]:
        """Return the data without its invalid parts, and the valid settings; None if leaving out does not help."""
        for repairs in range(REPAIRS + 1):
            try:
                config = ChannelConfig.model_validate(data, context=FROM_FILE)
            except ValidationError as error:
                path: Path = tuple(key for key in error.errors(include_url=False)[0]["loc"] if key != "[key]")
                if not _leave_out(data, path):
                    break
                continue
            self._repaired += repairs > 0
            return data, config
        return data, None

    def _valid(self, model: type[Settings], data: Data) -> Any:
        try:
            return model.model_validate(data, context=FROM_FILE)
        except ValidationError:
            self._refused += 1
            return None

    def _without_circles(
        self, channels: Mapping[NotificationChannel, ChannelConfig], given: Mapping[NotificationChannel, ChannelConfig]
    ) -> Mapping[NotificationChannel, ChannelConfig]:
        update = {channel.value: config for channel, config in channels.items()}
        drawn = self._scenario.model_copy(
            update={"channels": self._scenario.channels.model_copy(update=update), "faults": (), "operations": ()}
        )
        if next(findings(as_data(drawn) | {"expect": []}), None) is None:
            return channels
        self._refused += 1
        return given

    def _quiet_hours(self, rule: QuietHoursShare) -> QuietHoursShare:
        data = rule.model_dump(mode="json", by_alias=True, exclude_unset=True)
        values = Values(self._random, data)
        values.change(QuietHoursShare, data)
        found = self._valid(QuietHoursShare, data)
        return rule if found is None else found

    def _entry(self, entry: WorkloadEntry) -> WorkloadEntry:
        if isinstance(entry, EventWorkload) or self._random.random() < 0.7:
            return entry
        self._changed += 1
        values = Values(self._random, {})
        if isinstance(entry, ClosedWorkload) or self._random.random() < 0.7:
            return entry.model_copy(update={"expires_after": parse_duration(values.duration(least=0.001))})
        return entry.model_copy(update={"repeats": self._random.choice([0.0, 0.2, 1.0])})

    def _drawn_together(self, config: ChannelConfig, paths: Sequence[Path], random: Random) -> ChannelConfig:
        data: Data = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for path in paths:
            candidate = deepcopy(data)
            group: Data = candidate
            model: type[Settings] = ChannelConfig
            for key in path[:-1]:
                group, model = group.setdefault(str(key), {}), _GROUPS[str(key)]
            key = str(path[-1])
            group[key] = Values(random, data, is_full=True).value(known_keys(model)[key], key)
            repaired, found = self._repair(candidate)
            if found is None:
                self._refused += 1
            else:
                data, config = repaired, found
                self._changed += 1
        return config

    def _of_a_class(self, entry: WorkloadEntry, random: Random) -> WorkloadEntry:
        if isinstance(entry, EventWorkload):
            return entry
        changes: Data = {}
        if random.random() < 0.8:
            changes["priority"] = random.choice(list(Priority))
        if random.random() < 0.7:
            changes["tenants"] = random.choice([1, 2, 3, 6, ZipfSpread(count=5, zipf=1.5)])
        if entry.hosts is None and random.random() < 0.3:
            changes["hosts"] = random.choice([1, 2, 4])
        self._changed += len(changes)
        return entry.model_copy(update=changes)

    def _in_order(self, config: ChannelConfig, random: Random) -> ChannelConfig:
        values = Values(random, config.model_dump(mode="json", by_alias=True, exclude_unset=True))
        changes: Data = {}
        for key, model, share in (("order", OrderConfig, 0.8), ("tenant", TenantConfig, 0.4)):
            if random.random() < share and (found := self._valid(model, values.group(model))) is not None:
                changes[key] = found
        self._changed += len(changes)
        return config.model_copy(update=changes)


_GROUPS: Mapping[str, type[Settings]] = {
    "retry": RetryConfig,
    "circuit_breaker": CircuitBreakerConfig,
    "provider": ProviderConfig,
}
"""The model of each group whose keys are drawn together with others."""


def _leave_out(data: Data, path: Path) -> bool:
    parent: Any = data
    for key in path[:-1]:
        parent = parent.get(key) if isinstance(parent, dict) else None
    if not path or not isinstance(parent, dict) or path[-1] not in parent:
        return False
    del parent[path[-1]]
    return True


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Values:
    """Draws values of settings, as a file has them, by the types of the models."""

    def __init__(self, random: Random, others: Data, *, is_full: bool = False) -> None:
        """Make what draws, with edges at the values of other settings; where it `is_full`, nearly all of a group are
        drawn, and a group of what may be a single value too."""
        self._random = random
        self._is_full = is_full
        self._durations: list[float] = []
        self._rates: list[Rate] = []
        self._numbers: list[int] = []
        self._shares: list[float] = []
        for value in _scalars(others):
            if isinstance(value, bool):
                continue
            if isinstance(value, int):
                self._numbers.append(value)
            elif isinstance(value, float):
                self._shares.append(value)
            elif (length := parse_duration(value)) is not None:
                self._durations.append(length)
            elif (rate := parse_rate(value)) is not None:
                self._rates.append(rate)

    def change(self, model: type[Settings], data: Data) -> None:
        """Change one setting of a group, or of a group in it."""
        random, keys = self._random, _keys(model)
        key = random.choices(list(keys), [WEIGHTS.get(key, 2) for key in keys])[0]
        annotation, present = keys[key], data.get(key)
        if key == "failover":
            self._change_failover(annotation, data)
        elif isinstance(present, dict) and (inner := _model_of(annotation, present)) is not None:
            if random.random() < 0.1 and not _is_needed(model, key):
                del data[key]
            elif random.random() < 0.3 or issubclass(inner, OneOf | Distribution):
                data[key] = self.value(annotation, key)
            else:
                self.change(inner, present)
        elif key in data and random.random() < 0.15 and not _is_needed(model, key):
            del data[key]
        else:
            data[key] = self.value(annotation, key)

    def _change_failover(self, annotation: Any, data: Data) -> None:
        others, model = data.setdefault("failover", {}), get_args(annotation)[1]
        if not others or self._random.random() < 0.2:
            others.setdefault(SPARE, {})  # none is taken away: faults and operations may name it
        self.change(model, others[self._random.choice(list(others))])

    def value(self, annotation: Any, key: str = "") -> Any:
        """Return a value of a type; that of a setting that says nothing is never drawn."""
        random = self._random
        options = [each for each in _options(annotation) if each is not type(None)]
        groups = [each for each in options if isinstance(each, type) and issubclass(each, Settings)]
        option = random.choice(groups if groups and self._is_full else options)
        markers = tuple(option.__metadata__) if get_origin(option) is Annotated else ()
        plain = get_args(option)[0] if markers else option
        for marker in markers:
            if isinstance(marker, Strict):
                return random.random() < 0.5
            if marker in _OF_MARKER:
                return _OF_MARKER[marker](self, key)
            if isinstance(marker, Wanted):
                return self._by_schema(marker)
        if get_origin(plain) is tuple:
            return self._several(get_args(plain)[0], key)
        if get_origin(plain) is dict:
            return {random.choice(_REASONS): self.value(get_args(plain)[1], key)}
        if get_origin(plain) is Literal:
            return random.choice(get_args(plain))
        if isinstance(plain, type) and issubclass(plain, NotificationChannel):
            return random.choice(list(plain)).value
        assert isinstance(plain, type)
        assert issubclass(plain, Settings), plain
        return self._latency() if issubclass(plain, Distribution) else self.group(plain)

    def group(self, model: type[Settings]) -> Data:
        """Return a group of settings: what it has to have, and some of the rest; mostly one that is valid."""
        for _ in range(GROUPS):
            data = self._any_group(model)
            try:
                model.model_validate(data, context=FROM_FILE)
            except ValidationError:
                continue
            break
        return data

    def _any_group(self, model: type[Settings]) -> Data:
        keys = _keys(model)
        if issubclass(model, OneOf):
            key = self._random.choice(list(keys))
            return {key: self.value(keys[key], key)}
        share = self._random.choice([0.8] if self._is_full else [0.1, 0.3, 0.6])
        data = {
            key: self.value(annotation, key)
            for key, annotation in keys.items()
            if key in MOST_S or key == "kind" or _is_needed(model, key) or self._random.random() < share
        }
        alone = [key for key in ("max_per_minute", "rate", "rates") if key in keys]
        if alone:  # exactly one of them
            kept = self._random.choice(alone)
            data = {key: value for key, value in data.items() if key not in alone}
            data[kept] = self.value(keys[kept], kept)
        return data

    def _several(self, annotation: Any, key: str) -> list[Any]:
        """Return a list of values; for rates only those with an effect: longer windows with lower rates."""
        if annotation == PositiveRate:
            count = self._random.choice([1, 2, 3, 5])
            return [f"{count}/{self._random.choice(['s', '2s'])}", f"{count * self._random.choice([2, 10])}/min"]
        return [self.value(annotation, key) for _ in range(self._random.choice([1, 1, 2, 3]))]

    def _latency(self) -> Data:
        if self._random.random() < 0.7:
            return {"constant": self.duration()}
        return {"exponential": {"mean": self.duration(least=0.001)}}

    def _by_schema(self, marker: Wanted) -> Any:
        schema = marker.__get_pydantic_json_schema__(None, None)
        schema = schema.get("anyOf", [schema])[0]  # and no word such as unlimited: a case has to come to an end
        least = schema["minimum"]
        if schema["type"] == "integer":
            return self.whole_number(least)
        drawn = self._random.choice([least, least, least + 1, least + 0.001, 2 * least, 10 * least])
        return float(max(least, drawn))

    def whole_number(self, least: int) -> int:
        near = [number + by for number in self._numbers for by in (-1, 0, 1)]
        drawn = self._edge(near, [least, least + 1, least + 2], lambda: log_uniform(self._random, 1, MOST))
        found: int = round(drawn)
        return max(least, min(MOST, found))

    def duration(self, key: str = "", *, least: float = 0.0) -> str:
        least, most = max(least, LEAST_S.get(key, 0.0)), MOST_S.get(key, LONGEST_S)
        near = [length + by for length in self._durations for by in (-1e-9, 0.0, 0.0, 1e-9)]
        near += [length * by for length in self._durations for by in (0.5, 2.0)]
        drawn = self._edge(near, [least, 0.001, 1.0], lambda: log_uniform(self._random, 0.05, most))
        return write_duration(round(max(least, min(most, drawn)), 9))

    def rate(self) -> str:
        near = [rate for rate in self._rates for _ in range(2)]
        near += [Rate(rate.count * by, rate.period) for rate in self._rates for by in (0.5, 2.0)]
        edges = [Rate(1.0, 1.0), Rate(1.0, 10.0), Rate(2.0, 1.0)]

        def any_rate() -> Rate:
            return Rate(float(round(log_uniform(self._random, 1, MOST))), self._random.choice([1.0, 10.0, 60.0]))

        return write_rate(self._edge(near, edges, any_rate))

    def share(self, *, least: float = 0.0) -> float:
        drawn = self._edge(
            [share for share in self._shares if share <= 1], [least, 1.0, 0.5], lambda: round(self._random.random(), 2)
        )
        return float(min(1.0, max(least, drawn)))

    def channels(self) -> list[str]:
        names = [channel.value for channel in NotificationChannel if self._random.random() < 0.6]
        return names or [self._random.choice(list(NotificationChannel)).value]

    def _edge(self, near: Sequence[Any], edges: Sequence[Any], other: Callable[[], Any]) -> Any:
        where = self._random.random()
        if where < 0.4 and near:
            return self._random.choice(near)
        return self._random.choice(edges) if where < 0.7 else other()


def _marker(annotation: Any) -> Any:
    return annotation.__metadata__[0]


_LEAST_SHARE = 0.01
_OF_MARKER: Mapping[Any, Callable[[Values, str], Any]] = {
    _marker(Duration): lambda values, key: values.duration(key),
    _marker(DurationOr0): lambda values, key: values.duration(key),
    _marker(PositiveDuration): lambda values, key: values.duration(key, least=1e-9),
    _marker(PositiveRate): lambda values, _: values.rate(),
    _marker(Share): lambda values, _: values.share(),
    _marker(PositiveShare): lambda values, _: values.share(least=_LEAST_SHARE),
    _marker(PositiveNumber): lambda values, _: values.share(least=_LEAST_SHARE),
    _marker(NotNegative): lambda values, _: values.share(),
    _marker(Text): lambda values, _: values._random.choice(_REASONS),
    _marker(TimeOfDay): lambda values, _: values._random.choice(["00:00", "07:00", "12:00", "22:00", "23:59"]),
    _marker(ChannelNames): lambda values, _: values.channels(),
    _marker(ZoneName): lambda values, _: values._random.choice(_ZONES),
}


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _keys(model: type[Settings]) -> dict[str, Any]:
    left_out = _NOT_DRAWN.get(model, frozenset())
    return {key: annotation for key, annotation in known_keys(model).items() if key not in left_out}


def _is_needed(model: type[Settings], key: str) -> bool:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return fields[key].is_required()


def _options(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _options(argument)
    elif get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) in (Union, types.UnionType):
        if any(isinstance(marker, Wanted) for marker in annotation.__metadata__):
            yield annotation  # a number or a word
            return
        yield from _options(get_args(annotation)[0])
    else:
        yield annotation


def _model_of(annotation: Any, present: Data) -> type[Settings] | None:
    models = [
        plain
        for option in _options(annotation)
        if isinstance(plain := get_args(option)[0] if get_origin(option) is Annotated else option, type)
        and issubclass(plain, Settings)
    ]
    kinds = {get_args(known_keys(model)["kind"])[0]: model for model in models if "kind" in known_keys(model)}
    if len(models) > 1:
        return kinds.get(present.get("kind"), models[0])
    return models[0] if models else None


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _scalars(child)
    elif isinstance(value, list):
        for child in value:
            yield from _scalars(child)
    else:
        yield value
