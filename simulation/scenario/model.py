"""A scenario as its file describes it, typed: durations in seconds, shares between 0 and 1, everything frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from itertools import takewhile
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    WrapValidator,
    model_validator,
)

from actors.channel_names import A_CHANNEL_NAME, CHANNEL_NAME_SCHEMA
from actors.errors import ConfigurationError
from actors.formatting import duration_text
from actors.instants import ns, since_1970_ns, utc
from actors.kernel.node import names_at_nodes
from actors.messages import BreakerState, NotificationChannel, Priority
from actors.pipeline.lane import breaker_name
from actors.settings.accounts import AccountConfig
from actors.settings.base import AtMost, NotEmpty, Settings, at_places, plain_or
from actors.settings.channel import KEEP_ALL_LETTERS, PRIMARY, ChannelConfig, DeadLettersConfig, named_and_in_order
from actors.settings.defaults import filled_in, simulated_reaches, with_accounts
from actors.settings.faults import ACTOR_NAME, ACTORS, Crash, FaultConfig, NodeCount
from actors.settings.hints import nearest
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveWholeNumber,
    ShownName,
    ShownText,
    Text,
    Wanted,
    WholeNumber,
    wanted,
)
from actors.settings.yaml_tree import MappingNode
from simulation.scenario.arrivals import DAY_NS, arrival_times_ns, time_of_week_ns
from simulation.scenario.expectations import Entry as ExpectEntry, flattened
from simulation.scenario.limits import LimitBound
from simulation.scenario.metrics import Outline, entry_names
from simulation.scenario.operations import Operation
from simulation.scenario.people import PreferenceShare, QuietHoursShare, TemplateText
from simulation.scenario.ranges import Sweep
from simulation.scenario.schedule import ScheduleConfig
from simulation.scenario.workload import (
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    WorkloadEntry,
    by_its_keys,
    class_of,
    zone_of,
)
from simulation.scenario.world import Host, HostName
from simulation.sheets import Column, Row, Sheet, notebook

# ── own actors ────────────────────────────────────────────────────────────────────────────────────────────────────────


_CODE = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"

ActorKey: TypeAlias = Annotated[
    str,
    Wanted(
        "a name of letters, digits, _ and - that no actor of the pipeline has",
        lambda value, _: value if re.fullmatch(ACTOR_NAME, value) and value not in ACTORS else None,
        {"type": "string", "pattern": f"^{ACTOR_NAME}$", "not": {"enum": list(ACTORS)}},
    ),
]

CodeName: TypeAlias = Annotated[
    str,
    Wanted(
        "a class such as shop.digests:Digest",
        lambda value, _: value if isinstance(value, str) and re.fullmatch(_CODE, value) else None,
        {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"},
    ),
]


class OwnActorConfig(Settings):
    """An actor of a class of yours, with its settings: the arguments of the constructor."""

    model_config = ConfigDict(extra="allow")

    wanted_text: ClassVar[str] = "a class with its settings, such as {actor: shop.digests:Digest, at_most: 20}"

    actor: CodeName
    """The class, `module:name`: a subclass of `actors.OwnActor`. It is code, so it is imported only with `--code`."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as the file has them."""
        return self.model_extra or {}


Routing: TypeAlias = Literal["round_robin", "random", "by_user", "by_host"]
"""Which of the living nodes gets an arrival: each in turn, any, always the same for a user, or for a host of
recipients."""


class NodesConfig(Settings):
    """The processes of the service. Each has a handler, breakers, limiters, budgets, adaptive state and random streams
    of its own; they share the providers and the store."""

    wanted_text: ClassVar[str] = "how many, such as 12, or a mapping such as {count: 12, routing: by_user}"

    count: NodeCount = 1
    """How many nodes there are, at most 1,000."""

    routing: Routing = "round_robin"
    """Which of the living nodes gets an arrival: each in turn, any of them, or always the same for a user or for a host
    of recipients, while that node lives."""

    takeover_after: PositiveDuration = 30.0
    """How long after the death of a node the others take over its notifications, unless it is back before: its lease on
    the store."""


ONE_PROCESS = NodesConfig()

Nodes: TypeAlias = Annotated[NodeCount | NodesConfig, plain_or(NodeCount, NodesConfig)]
"""A count, or a mapping."""


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────


def _of_others(schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = {"allOf": [schema["additionalProperties"], {"required": ["kind"]}]}
    schema["propertyNames"] = CHANNEL_NAME_SCHEMA


class Channels(Settings):
    """Settings of each channel. One of email, sms, push and webhook that is left out has the defaults; there may be any
    other, by a name of its own, that says its `kind`."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_of_others)
    if not TYPE_CHECKING:  # which takes it for an argument
        __pydantic_extra__: dict[str, ChannelConfig]

    email: ChannelConfig = ChannelConfig()
    """Of email."""

    sms: ChannelConfig = ChannelConfig()
    """Of SMS."""

    push: ChannelConfig = ChannelConfig()
    """Of push notifications."""

    webhook: ChannelConfig = ChannelConfig()
    """Of webhooks."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        problems = []
        for name in self.model_extra or ():
            try:
                NotificationChannel(name)
            except ValueError:
                near = nearest(name, type(self).model_fields)
                text = A_CHANNEL_NAME + (f"; did you mean {near}?" if near else "")
                problems.append(((name,), wanted(text, repr(name)), None))
        if problems:
            raise at_places(problems)
        named_and_in_order({channel: self.of(channel) for channel in self.there if channel in self.model_fields_set})
        return self

    @property
    def there(self) -> list[NotificationChannel]:
        """The four, and then the others in the order of the file."""
        return [*NotificationChannel, *map(NotificationChannel, self.model_extra or ())]

    def of(self, channel: NotificationChannel) -> ChannelConfig:
        """Return the settings of a channel.

        Raises:
            ConfigurationError: it is none of the four, and there are no settings of it.
        """
        others: Mapping[str, ChannelConfig] = (self.model_extra or {}) if channel.is_own else self.__dict__
        if channel not in others:
            text = f"wanted an existing channel ({', '.join(self.there)}), got {channel.value!r}"
            raise ConfigurationError([text])
        return others[channel]


def _instant(value: Any, _unit_required: bool) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else value
        if isinstance(instant, datetime) and instant.tzinfo is not None:
            instant = instant.astimezone(UTC)
            return instant if 1970 <= instant.year <= 2200 else None
    except (ValueError, OverflowError):
        pass
    return None


Instant = Annotated[
    datetime,
    Wanted(
        "a UTC instant from 1970 to 2200 such as 2026-01-01T00:00:00Z",
        _instant,
        {"type": "string", "format": "date-time"},
        datetime.isoformat,
    ),
]


def _all_traces(workload: Any) -> bool:
    entries = workload if isinstance(workload, (list, tuple)) else []
    arrivals = [entry.get("arrivals") for entry in entries if isinstance(entry, dict)]
    return bool(arrivals) and all(isinstance(process, dict) and process.get("trace") for process in arrivals)


class Scenario(Settings):
    """A failure-injection scenario of retrylab: arrivals, faults, and expectations."""

    wanted_text: ClassVar[str] = "a mapping with at least duration and workload"

    name: ShownName
    """The name of the scenario in reports; the file's name without its ending when left out."""

    description: ShownText = ""
    """The behaviour that the scenario shows, in a sentence or two for reports."""

    seed: WholeNumber = 0
    """Where all its randomness comes from: same seed, same run."""

    duration: PositiveDuration
    """How long notifications arrive. A trace says itself how long it is, and is replayed whole, from the `at` of its
    entry on; so `duration` may be left out when all arrivals are traces."""

    drain: Duration = 3600.0
    """How long after `duration` the run goes on at most, until nothing is in flight."""

    start: Instant = datetime(2026, 1, 1, tzinfo=UTC)
    """Where on the calendar the run starts: matters to quiet hours and diurnal arrivals."""

    record: Literal["full", "aggregates"] = "full"
    """Keep a row for every notification and attempt, or the aggregates only."""

    remember_ids: PositiveDuration = 86400.0
    """How long a notification's id is remembered, so that a second one with it is not sent."""

    max_pending: PositiveWholeNumber | None = None
    """How many notifications may be accepted and not ended; an arrival that would be more is refused, and lost to this
    service: one of priority `bulk` at 80% of it, a normal one at 95%. None: no bound; live it is 100,000."""

    commit_latency: Duration = 0.0
    """How long the store takes to make a change durable, and known to other nodes; a crash of the process forgets
    changes that are not durable by then."""

    nodes: Nodes = 1
    """How many processes of the service there are, or that and more of them."""

    workload: Annotated[tuple[Annotated[WorkloadEntry, WrapValidator(by_its_keys)], ...], NotEmpty(), AtMost(1_000)]
    """The notifications and domain events that arrive."""

    channels: Channels = Channels()
    """Settings of the channels."""

    accounts: dict[Text, AccountConfig] = Field(default_factory=dict)
    """Quotas and limits at a provider that several channels share, by the name with which channels refer to them."""

    faults: Annotated[tuple[FaultConfig, ...], AtMost(1_000)] = ()
    """The faults that are injected: outages, latency, crashes."""

    dead_letters: DeadLettersConfig = KEEP_ALL_LETTERS
    """How many dead letters are kept, and for how long; all of them when left out."""

    operations: Annotated[tuple[Operation, ...], AtMost(10_000)] = ()
    """Operations of an operator during the run: redrive or discard dead letters, override breakers. The run goes on
    until the last of them, and at most until the end of `drain`."""

    schedule: ScheduleConfig | None = None
    """In which order ready messages are taken where the actor system promises none. None: first come, first served."""

    expect: Annotated[tuple[ExpectEntry, ...], AtMost(1_000), AfterValidator(flattened)] = ()
    """Conditions on the summary that must hold, e.g. ``sent_fraction >= 0.99``; the run fails otherwise. A condition
    may be on a part of the run, or on a share of runs."""

    limits: dict[Text, LimitBound] = Field(default_factory=dict)
    """How much of an outage, latency, failures, load, or lost capacity or nodes the service must survive while the
    expectations hold: ``{email.outage: ">= 2m", all.load: ">= 1.5"}``. `retrylab limits` and pytest check them, a run
    does not."""

    sweep: Sweep | None = None
    """Which settings to vary in a sweep."""

    preferences: Annotated[tuple[PreferenceShare, ...], AtMost(1_000)] = ()
    """Which channels shares of the users have switched off."""

    quiet_hours: Annotated[tuple[QuietHoursShare, ...], AtMost(1_000)] = ()
    """When shares of the users want nothing."""

    templates: dict[Text, TemplateText] = Field(default_factory=dict)
    """Templates by name; `name.lang` is the one for a language."""

    world: dict[HostName, Host] = Field(default_factory=dict)
    """The hosts that a service under test may call, each with its channel: `run --service` and
    `simulation.run_service` use them; a simulation of the pipeline does not."""

    actors: dict[ActorKey, OwnActorConfig] = Field(default_factory=dict)
    """Actors of yours beside the pipeline, by their names. Their code is imported only for a run, with `--code`."""

    _may_import: bool = PrivateAttr(False)
    _in_file: MappingNode | None = PrivateAttr(None)

    @property
    def may_import(self) -> bool:
        """Whether a run may import the code that it names."""
        return self._may_import

    @property
    def in_file(self) -> MappingNode | None:
        """The file of the scenario, for the places that name code. None: the scenario names no code, or is from no
        file."""
        return self._in_file

    def with_code(self, allowed: bool = True, in_file: MappingNode | None = None) -> Self:
        """Return a copy whose runs may import the code that it names, with the file in which the code is named."""
        copied = self.model_copy()
        copied._may_import = allowed
        copied._in_file = in_file or self._in_file
        return copied

    @model_validator(mode="wrap")
    @classmethod
    def _as_long_as_its_traces(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict) or data.get("duration") is not None or not _all_traces(data.get("workload")):
            return handler(data)
        scenario = handler({**data, "duration": "1s"})
        opened = [entry for entry in scenario.workload if not isinstance(entry, ClosedWorkload)]
        traces = [(entry, entry.arrivals.trace.duration) for entry in opened if entry.arrivals.trace is not None]
        longest = max(entry.at + min(lasts, entry.for_ or lasts) for entry, lasts in traces)
        object.__setattr__(scenario, "duration", longest)  # not yet handed out, so still to be completed
        return scenario

    @model_validator(mode="after")
    def _some_day(self) -> Self:
        problems = []
        for number, entry in enumerate(self.workload):
            daily = None if isinstance(entry, ClosedWorkload) else entry.arrivals.daily
            begins_ns, ends_ns = ns(entry.at), self.arrivals_end_of(entry)
            if daily and next(daily.starts_ns(self.epoch_ns + begins_ns, ends_ns - begins_ns), None) is None:
                begins, ends = (f"{utc(self.epoch_ns + at_ns):%Y-%m-%dT%H:%M:%SZ}" for at_ns in (begins_ns, ends_ns))
                got = f"{daily.at:%H:%M} in {daily.zone} and {begins} to {ends}"
                problem = wanted("a local time that comes within the run, on one of its days", got)
                problems.append((("workload", number, "arrivals", "daily"), problem, None))
        if problems:
            raise at_places(problems)
        return self

    @cached_property
    def zones(self) -> tuple[str, ...]:
        """The time zones that users are in; of an entry that says none, UTC."""
        return tuple(dict.fromkeys(zone_of(entry) or "UTC" for entry in self.workload))

    def zones_of(self, rule: QuietHoursShare) -> tuple[str, ...]:
        """Return the time zones in which quiet hours hold."""
        return self.zones if rule.own_zone is None else (rule.own_zone,)

    @cached_property
    def channels_used(self) -> tuple[NotificationChannel, ...]:
        """The channels of the workload or with settings: the four first, then the others in the file's order."""
        used = {channel for entry in self.workload for channel in entry.channels}
        used |= {NotificationChannel(name) for name in self.channels.model_fields_set}
        used |= {host.channel for host in self.world.values() if host.channel is not None}
        fallbacks = [self.channel_as_given(channel).fallback for channel in used]
        used |= {fallback.channel for fallback in fallbacks if fallback is not None}
        return tuple(channel for channel in self.channels.there if channel in used)

    def channel_config(self, channel: NotificationChannel) -> ChannelConfig:
        """Return the settings of `channel`: the defaults when the file has none; values that depend on the channel, on
        the connections to its providers and on accounts are filled in."""
        config = self.channel_as_given(channel)
        return with_accounts(filled_in(channel, config, simulated_reaches(config)), self.accounts)

    def channel_as_given(self, channel: NotificationChannel) -> ChannelConfig:
        """Return the settings of `channel` as the file has them.

        Raises:
            ConfigurationError: it is none of the four, and the file has no such channel.
        """
        return self.channels.of(channel)

    def _repr_html_(self) -> str:
        called = [(entry.called, entry.name) for entry in self.workload]
        facts = {
            "lasts": f"{duration_text(self.duration)}, then a drain",
            "workload": ", ".join(what if name is None else f"{name} ({what})" for what, name in called),
            "channels": ", ".join(map(str, self.channels_used)),
            "faults": "; ".join(", ".join(sorted(map(str, fault.injects))) for fault in self.faults) or "none",
            "expects": "; ".join(each.text for each in self.expect) or "nothing",
            "seed": str(self.seed),
        }
        columns = (Column(""), Column(""))
        return notebook(Sheet(self.name, columns, [Row(fact) for fact in facts.items()], said=[self.description]))

    @cached_property
    def outline(self) -> Outline:
        """The parts of the scenario by which metrics of its runs are split."""
        classes = {class_of(entry) for entry in self.workload}
        return Outline(
            providers=tuple((channel, tuple(names)) for channel, names in self.providers_used.items()),
            entries=entry_names((entry.name, entry.called) for entry in self.workload),
            classes=tuple(priority.value for priority in Priority if priority in classes),
            faults=tuple(number for number, fault in enumerate(self.faults) if fault.ends_at is not None),
            within_s=tuple({each.within_s for each in self.expect if each.within_s is not None}),
            windows=tuple(dict.fromkeys(each.window for each in self.expect if each.window is not None)),
            nodes=self.nodes_at_most,
            upstreams=self.upstream_layers,
            shares_breakers=self.shares_breakers,
            has_endpoints=self.has_endpoints,
            has_own_actors=bool(self.actors),
            queues=tuple((channel, names) for channel in self.channels_used if (names := self._bounded_at(channel))),
        )

    def _bounded_at(self, channel: NotificationChannel) -> tuple[str, ...]:
        lanes = self.channel_config(channel).by_provider()
        return tuple(name for name, lane in lanes.items() if lane.provider.queue is not None)

    @property
    def has_upstreams(self) -> bool:
        """Whether a provider asks an upstream."""
        return self.upstream_layers > 0

    @property
    def upstream_layers(self) -> int:
        """The most layers of upstreams that a provider has."""
        lanes = [lane for of in self.channels_used for lane in self.channel_as_given(of).by_provider().values()]
        return max((len(lane.provider.upstream.chain) for lane in lanes if lane.provider.upstream), default=0)

    @property
    def shares_breakers(self) -> bool:
        """Whether there are nodes that share breakers."""
        channels = [self.channel_as_given(channel) for channel in self.channels_used]
        lanes = [lane for config in channels for lane in config.by_provider().values()]
        return self.nodes_at_most > 1 and any(lane.circuit_breaker.shared != "none" for lane in lanes)

    @property
    def has_endpoints(self) -> bool:
        """Whether endpoints are disabled after failures."""
        return any(self.channel_as_given(channel).endpoints is not None for channel in self.channels_used)

    @property
    def providers_used(self) -> dict[NotificationChannel, list[str]]:
        """The channels that it uses, and the names of each one's providers in the order in which they are tried."""
        return {channel: [PRIMARY, *self.channel_as_given(channel).failover] for channel in self.channels_used}

    @property
    def breakers(self) -> dict[str, BreakerState]:
        """The circuit breakers by name, with the state in which each begins."""
        return {
            of_node: config.circuit_breaker.begins
            for channel in self.channels_used
            for number, (name, config) in enumerate(self.channel_config(channel).by_provider().items())
            for of_node in names_at_nodes(breaker_name(channel, number, name), self.nodes_at_most)
        }

    @cached_property
    def fleet(self) -> NodesConfig:
        """The processes of the service."""
        return self.nodes if isinstance(self.nodes, NodesConfig) else NodesConfig(count=self.nodes)

    @property
    def nodes_at_most(self) -> int:
        """How many processes of the service there are at any time."""
        return max(self.fleet.count, *(fault.scale.to for fault in self.faults if fault.scale is not None), 1)

    @property
    def arrivals_end_ns(self) -> int:
        """When all arrivals have ended: at `duration`, or at the end of a longer trace."""
        return max(self._longest_end_of(entry) for entry in self.workload)

    def arrivals_end_of(self, entry: WorkloadEntry) -> int:
        """Return when the window of one entry ends, in nanoseconds; none of its arrivals is at that instant or later.

        That is before it starts where it starts after `duration`.
        """
        end_ns = self._longest_end_of(entry)
        return end_ns if entry.for_ is None else min(end_ns, ns(entry.at) + ns(entry.for_))

    def _longest_end_of(self, entry: WorkloadEntry) -> int:
        """Return when the window of one entry ends at the latest: at `duration`, or where its trace does."""
        trace = None if isinstance(entry, ClosedWorkload) else entry.arrivals.trace
        if trace is None:
            return ns(self.duration)
        lasts_ns = ns(trace.duration)
        return ns(entry.at) + (lasts_ns if entry.for_ is None else min(lasts_ns, ns(entry.for_)))

    def arrival_times_ns(self, entry: EventWorkload | ChannelWorkload, random: Random) -> Iterator[int]:
        """Yield the instants at which an open entry arrives, in order.

        Args:
            entry: of the workload.
            random: the stream that it draws from.
        """
        start_ns, end_ns = ns(entry.at), self.arrivals_end_of(entry)
        times_ns = arrival_times_ns(
            entry.arrivals,
            random,
            max(0, end_ns - start_ns) if entry.for_ is None else ns(entry.for_),
            epoch_ns=self.epoch_ns + start_ns,
        )
        if start_ns == 0 and entry.for_ is None:
            return times_ns
        return takewhile(lambda at_ns: at_ns < end_ns, (start_ns + at_ns for at_ns in times_ns))

    @property
    def activity_end_ns(self) -> int:
        """The instant, in nanoseconds, after which no input comes: arrivals have ended, and the operator has given the
        last order.

        It is one nanosecond after the store has made the change of that order durable, since events of that same
        instant may happen in any order.
        """
        carried_out_ns = ns(self.commit_latency) + 1
        return max(self.arrivals_end_ns, *(ns(operation.at) + carried_out_ns for operation in self.operations), 0)

    @property
    def drain_ns(self) -> int:
        """How long the run goes on at most after `activity_end_ns`, in nanoseconds."""
        return ns(self.drain)

    @property
    def crashes_as_a_whole(self) -> bool:
        """Whether its process crashes at some time."""
        return any(fault.crash == "process" for fault in self.faults)

    @property
    def is_for_service(self) -> bool:
        """Whether it names calls into a service, or hosts of its world; a simulation of the pipeline does without."""
        return bool(self.world) or any(getattr(entry, "calls", None) is not None for entry in self.workload)

    @property
    def has_partitions(self) -> bool:
        """Whether nodes do not reach their store for a time."""
        return any(fault.partition is not None for fault in self.faults)

    @property
    def may_be_down(self) -> bool:
        """Whether no process may accept an arrival, or one may die at its acceptance."""
        return self.crashes_as_a_whole or self.may_end_accepting or self.nodes_at_most > 1

    @property
    def may_refuse(self) -> bool:
        """Whether any arrival may not be accepted."""
        return self.may_be_down or self.max_pending is not None

    @property
    def resends(self) -> bool:
        """Whether anything that is refused is offered once more."""
        open_entries = [entry for entry in self.workload if not isinstance(entry, ClosedWorkload)]
        return any(entry.resend is not None for entry in open_entries)

    @property
    def may_end_accepting(self) -> bool:
        """Whether a process, or the run, may end while an arrival is not durably accepted: its store takes its time or
        is out of reach, or its handler is down."""
        has_no_handler = any(isinstance(fault.crash, Crash) and fault.crash.actor == "handler" for fault in self.faults)
        return self.commit_latency > 0 or self.has_partitions or has_no_handler

    @property
    def epoch_ns(self) -> int:
        """Nanoseconds from 1970 to the start of the run."""
        return since_1970_ns(self.start)

    @property
    def time_of_week_ns(self) -> int:
        """How long after Monday 00:00 UTC the run starts."""
        return time_of_week_ns(self.epoch_ns)

    @property
    def time_of_day_ns(self) -> int:
        """The time of day (UTC) at which the run starts."""
        return self.time_of_week_ns % DAY_NS
