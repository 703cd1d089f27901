"""Settings of injected failures: the same keys in a scenario file and in a live configuration.

Rates are shares of the attempts that a fault meets, between 0 and 1; a fault left out injects nothing.

Most faults are the provider's, and :mod:`actors.faults.rules` says in which order they are looked at. Crashes and
clock steps hit the system itself: a simulation injects them (:mod:`simulation.running.system_faults`), and also makes
messages come twice or late (:mod:`simulation.engine.message_faults`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StrictBool, ValidationInfo, WrapValidator, model_validator

from actors.channel_names import CHANNEL_NAME_SCHEMA, EVERY_CHANNEL, EveryChannel, in_order
from actors.messages import NotificationChannel
from actors.settings.base import Settings, plain_or
from actors.settings.distributions import Distribution
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveNumber,
    PositiveRate,
    PositiveWholeNumber,
    Rate,
    Share,
    SignedDuration,
    Text,
    Wanted,
    number,
    wanted,
    whole_number,
)


def _one_or_more(
    text: str, accepts: Callable[[Any], bool], ordered: Callable[[list[Any]], Iterable[Any]], one: dict[str, Any]
) -> Wanted:
    """Return the marker of one value or a list of at least one, which is read as a tuple in order."""

    def read(value: Any, _unit_required: bool) -> tuple[Any, ...] | None:
        given = list(value) if isinstance(value, (list, tuple)) else [value]
        return tuple(ordered(given)) if given and all(map(accepts, given)) else None

    return Wanted(text, read, {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


def _channels(value: Any, _unit_required: bool) -> tuple[NotificationChannel, ...] | None:
    if isinstance(value, EveryChannel) or value == "all":
        return EVERY_CHANNEL
    try:
        return tuple(in_order(map(NotificationChannel, value if isinstance(value, (list, tuple)) else [value]))) or None
    except (ValueError, TypeError):
        return None


def _written(channels: tuple[NotificationChannel, ...]) -> str | list[str]:
    names = [str(channel) for channel in channels]
    return "all" if isinstance(channels, EveryChannel) else names[0] if len(names) == 1 else names


ChannelNames = Annotated[
    tuple[NotificationChannel, ...],
    Wanted(
        "a channel such as email, a list of channels, or all",
        _channels,
        {
            "anyOf": [
                CHANNEL_NAME_SCHEMA,
                {"const": "all"},
                {"type": "array", "items": CHANNEL_NAME_SCHEMA, "minItems": 1},
            ]
        },
        _written,
    ),
]
"""One channel, a list of channels, or ``all``; read, it is a tuple in order. A channel is hit if it is ``in`` it."""


def is_host(text: str) -> bool:
    return bool(text) and not set(text) & set(" @/")


Hosts = Annotated[
    tuple[str, ...],
    _one_or_more(
        "a host such as mail.example.org, or a list of them",
        lambda host: isinstance(host, str) and is_host(host),
        lambda hosts: dict.fromkeys(map(str.lower, hosts)),
        {"type": "string", "pattern": "^[^ @/]+$"},
    ),
]
"""One host of recipients, or a list of hosts; read, it is a tuple, in lower case."""


NODES_MAX = 1_000
"""Each takes 60 kB of memory, a millisecond to start, and a row in each table of nodes."""

NodeCount = Annotated[int, whole_number(1, NODES_MAX)]
"""How many processes of a service there are."""

Nodes = Annotated[
    tuple[int, ...],
    _one_or_more(
        f"the number of a node, from 1 to {NODES_MAX:,}, or a list of them",
        lambda number: type(number) is int and 1 <= number <= NODES_MAX,
        lambda numbers: sorted(set(numbers)),
        {"type": "integer", "minimum": 1, "maximum": NODES_MAX},
    ),
]
"""One node of a fleet, or a list of nodes; read, it is a tuple in order."""


def _layer(value: Any, _unit_required: bool) -> bool | int | None:
    return value if type(value) in (bool, int) and value in range(0 if type(value) is bool else 1, 5) else None


Layer = Annotated[
    bool | int,
    Wanted(
        "true, false or the number of a layer from 1 to 4",
        _layer,
        {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": 4}]},
    ),
]
"""The layer behind a provider that is hit; true is the first layer, false none."""


class Change(Settings):
    """A value of a fault that moves in a straight line from one number to another, and stays there."""

    from_: float
    to: float

    over: PositiveDuration
    """How long that takes."""

    def at(self, seconds: float) -> float:
        """Return the value at `seconds` after its start."""
        return self.from_ + (self.to - self.from_) * min(1.0, seconds / self.over)


class ChangingShare(Change):
    """A share that goes in a straight line from one value to another, and stays there to the end of the window."""

    wanted_text: ClassVar[str] = "a share such as 30%, or one that changes such as {from: 0%, to: 60%, over: 10m}"

    from_: Share = Field(alias="from")
    """The share at the window's start."""

    to: Share
    """The share that it gets to."""


class ChangingFactor(Change):
    """A factor that goes in a straight line from one value to another, and stays there to the end of the window."""

    wanted_text: ClassVar[str] = "a number of more than 0, or one that changes such as {from: 1, to: 10, over: 10m}"

    from_: PositiveNumber = Field(alias="from")
    """The factor at the window's start."""

    to: PositiveNumber
    """The factor that it gets to."""


def value_at(value: float | Change, seconds: float) -> float:
    """Return a value of a fault at `seconds` after the start of its window."""
    return value.at(seconds) if isinstance(value, Change) else value


class QuotaFault(Settings):
    """A quota that the provider enforces: what goes over it is answered with `throttled`."""

    wanted_text: ClassVar[str] = "a quota such as {rate: 10/s, retry_after: 30s}"

    rate: PositiveRate
    """How much it takes, from all senders together."""

    retry_after: Duration | None = None
    """The wait that it asks for. None: it does not say."""

    kind: Literal["fixed_window", "sliding_window", "token_bucket"] = "fixed_window"
    """How the provider counts. `fixed_window`: whole windows from the run's start, as most providers do, so that
    120/min are 120 in each minute. `sliding_window`: in any window of this length. `token_bucket`: tokens flow in
    evenly, into a bucket that is full at first."""

    burst: PositiveWholeNumber | None = None
    """Token bucket only: how many it takes at once. None: as many as the count of the rate."""

    per: Literal["provider", "host"] = "provider"
    """Whom the quota is for: all together, or each host of recipients. Recipients without a host, such as
    phone numbers, have one quota together."""

    counts: Literal["accepted", "all"] = "accepted"
    """Which attempts a window counts. `all`: refused attempts too, so that a sender who goes on too fast gets nothing
    more; in fixed windows that makes no difference, as the first attempts are taken in any case."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.burst is not None and self.kind != "token_bucket":
            raise wanted("burst only with kind: token_bucket")
        if self.counts == "all" and self.kind == "token_bucket":
            raise wanted("counts: all only with windows; a bucket counts what it gives")
        return self

    @property
    def whole(self) -> Rate:
        """The rate with a whole count of at least one, in as much more time as that is more."""
        count = max(1, round(self.rate.count))
        return Rate(float(count), self.rate.period * count / self.rate.count)


class Burst(Settings):
    """Failures in bursts: a two-state Markov chain (Gilbert 1960) with exponential stays in each state."""

    mean_good: PositiveDuration
    """How long a good spell lasts on average."""

    mean_bad: PositiveDuration
    """How long a bad spell lasts on average."""

    failure_rate: Share = 1.0
    """Share of attempts that fail in a bad spell."""


class Flap(Settings):
    """Up and down in turn while the window lasts, up first; down answers with transient failures."""

    wanted_text: ClassVar[str] = "up and down such as {up: 30s, down: 10s}"

    up: PositiveDuration
    """How long it is up each time."""

    down: PositiveDuration
    """How long it is down each time."""


class Reorder(Settings):
    """Messages between actors overtake each other."""

    delay: Distribution
    """By how much each is late."""


ACTORS = ("handler", "limiter", "breaker", "channel", "dlq", "alert")
"""The actors of the pipeline; each channel has its own limiter, breaker and channel, the other actors exist once."""

ACTOR_NAME = "[A-Za-z][A-Za-z0-9_-]{0,59}"

ActorName: TypeAlias = Annotated[
    str,
    Wanted(
        f"one of {', '.join(ACTORS)}, or the name of an own actor",
        lambda value, _: value if isinstance(value, str) and re.fullmatch(ACTOR_NAME, value) else None,
        {"anyOf": [{"enum": list(ACTORS)}, {"type": "string", "pattern": f"^{ACTOR_NAME}$"}]},
    ),
]
"""An actor of the pipeline, or an own one."""

_ACTORS_OF_CHANNELS = {"limiter", "breaker", "channel"}


class Crash(Settings):
    """One actor raises and is restarted by its supervisor."""

    wanted_text: ClassVar[str] = "process, or an actor such as {actor: breaker}"

    actor: ActorName
    """The actor that crashes. ``channel`` is the actor that asks the provider; of several, `provider` chooses."""


def _crash(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    return value if value == "process" else Crash.model_validate(value, context=info.context)


class Deploy(Settings):
    """A rolling deploy: all nodes of a fleet are stopped and started again, one after the other."""

    wanted_text: ClassVar[str] = "a rolling deploy such as {each_down: 5s, every: 30s}"

    each_down: Duration
    """How long each node is gone."""

    every: PositiveDuration
    """The time from the stop of one node to the stop of the next."""

    drain: Duration = 0.0
    """How long a stopped node, which gets nothing new, goes on with its notifications. Notifications that have not
    ended then stay in the store, and the other nodes take them over at once."""


class Scale(Settings):
    """The number of nodes of a fleet changes."""

    wanted_text: ClassVar[str] = "a number of nodes such as {to: 20}"

    to: NodeCount
    """How many nodes run from now on: new ones start, or those with the highest numbers stop for good."""

    drain: Duration = 0.0
    """As of a deploy."""


_WITHOUT_CHANNEL = ("deploy", "scale", "partition", "crash", "clock_step")


class FaultConfig(Settings):
    """A fault: what it does, on which channels and when. Several keys act together."""

    wanted_text: ClassVar[str] = "a fault such as {channel: email, at: 2m, for: 3m, outage: true}"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("on", "target"), "did you mean channel?"),
        **dict.fromkeys(("kind", "type"), "what goes wrong is a key of its own, such as outage: true"),
        **dict.fromkeys(("from", "to", "until", "end"), "write its start and how long it lasts, as at: 5m, for: 2m"),
        "factor": "did you mean latency_factor?",
    }

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [key]} for key in ("channel", *_WITHOUT_CHANNEL)]}
    )

    channel: ChannelNames = EVERY_CHANNEL
    """The channels whose provider is hit: one, a list, or `all`. Not needed where no provider is hit: it is an error
    beside `deploy`, `scale` and `partition` alone, and has no effect beside `clock_step` or a crash, except the crash
    of a channel's own actor, which without `channel` happens on all channels."""

    provider: Text | None = None
    """Which provider of the channel is hit, where it has several: `primary`, or a name under `failover`. None: all
    providers."""

    host: Hosts | None = None
    """Only attempts to recipients at this host, or these hosts, are hit: addresses of the domain, or URLs with the
    host. The fault counts them all together: for a quota, and how many have failed. None: all recipients."""

    node: Nodes | None = None
    """Only attempts of this node of a fleet are hit, or of these nodes. None: all nodes."""

    upstream: Layer = False
    """The service behind the provider's API is hit, not the provider: rates are of its requests, not of attempts. With
    several layers `true` or 1 is the first behind the provider, 2 the layer behind that."""

    at: Duration = 0.0
    """When the window starts, from the start of the run."""

    for_: PositiveDuration | None = Field(None, alias="for")
    """How long the window lasts: it is [at, at + for). None: to the end of the run."""

    failure_rate: Annotated[Share | ChangingShare, plain_or(Share, ChangingShare)] | None = None
    """Share of attempts that fail transiently; a share that changes makes a slow decline."""

    fail_first: PositiveWholeNumber | None = None
    """This number of first attempts in the window fails transiently."""

    outage: StrictBool = False
    """Every attempt fails transiently, after the provider's latency."""

    latency: Distribution | None = None
    """The provider's latency, in place of its usual one. With a capacity it holds for requests that arrive in the
    window; `speed` also changes those in work and queued."""

    latency_factor: Annotated[PositiveNumber | ChangingFactor, plain_or(PositiveNumber, ChangingFactor)] | None = None
    """Multiplies the provider's latency; a factor that changes makes a slow decline."""

    hang: StrictBool = False
    """The provider never answers: attempts run into their timeout."""

    throttle: QuotaFault | None = None
    """A quota that the provider enforces."""

    permanent_rate: Share | None = None
    """Share of attempts that fail for good."""

    dead_destination_rate: Share | None = None
    """Share of attempts that find the address gone."""

    refused_rate: Share | None = None
    """Share of attempts that get no connection: nothing is sent, and none of a capacity is taken up."""

    channel_fault_rate: Share | None = None
    """Share of attempts that find the channel itself broken, for example since its credentials have expired."""

    burst: Burst | None = None
    """Failures in bursts, beside the failures of `failure_rate`; the window begins in the good state."""

    flap: Flap | None = None
    """Up and down in turn."""

    capacity: PositiveWholeNumber | None = None
    """How many requests the provider works on at once, unless its own capacity is smaller; the rest queue."""

    speed: Annotated[float, number(0)] | None = None
    """How fast a provider with a capacity works, as a multiple of its usual speed: at 0.2 every request takes five
    times as long, also those in work and queued; at 0 the provider is frozen. Windows that overlap multiply."""

    lost_reply_rate: Share | None = None
    """Share of attempts that succeed, but whose reply is lost."""

    duplicate_rate: Share | None = None
    """Share of messages between actors that arrive twice."""

    reorder: Reorder | None = None
    """Messages between actors that come late, and so out of order."""

    crash: Annotated[Crash | Literal["process"], WrapValidator(_crash)] | None = None
    """An actor raises at the window's start; or the whole process ends then, or the `node` of a fleet, whatever the
    `channel`, and everything that is not in its store is lost."""

    restart_after: Duration | None = None
    """How long after a crash it comes back. None: an actor when its supervision says so, the process at once."""

    deploy: Deploy | None = None
    """The nodes of a fleet are stopped and started again, one after the other, from the window's start on."""

    scale: Scale | None = None
    """The number of nodes changes at the window's start."""

    partition: Literal["store"] | None = None
    """The nodes do not reach their store while the window lasts. Their changes are not durable meanwhile, and nothing
    follows from them. After nine tenths of `takeover_after` they start no attempt and get no new notifications. After
    `takeover_after`, if other nodes reach the store, these take over the notifications of the cut-off nodes, which end
    and start again at the end of the window. Else they go on then with the notifications that they have."""

    clock_step: SignedDuration | None = None
    """By how much the wall clock jumps at the window's start, whatever the `channel`, and for good; the monotonic clock
    does not. Quiet hours and remembered ids go by the wall clock; retries, limits and breakers do not. Only retries
    that a process takes up from its store after a crash do: they come sooner after a step forward, and later after a
    step back, but no later than their wait after the restart."""

    @cached_property
    def injects(self) -> frozenset[str]:
        """The keys of the faults that this entry injects."""
        keys = [key for key in type(self).model_fields if key not in _NOT_FAULTS]
        return frozenset(key for key in keys if not any(getattr(self, key) is nothing for nothing in (None, False)))

    @property
    def ends_at(self) -> float | None:
        """When it is over, in seconds of the run: its window, or the time that a crash takes. None: never."""
        if self.for_ is not None:
            return self.at + self.for_
        if self.crash == "process" or self.restart_after is not None:
            return self.at + (self.restart_after or 0.0)
        return None

    @model_validator(mode="before")
    @classmethod
    def _with_channel(cls, given: Any) -> Any:
        """Have a channel that is left out be missed along with all other problems, where it is required."""
        if not isinstance(given, dict) or "channel" in given:
            return given
        injects = given.keys() - _NOT_FAULTS - {"for"}
        return given if injects and injects <= set(_WITHOUT_CHANNEL) else {**given, "channel": None}

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.injects:
            raise wanted("at least one fault such as outage: true or failure_rate: 30%", "none")
        if self.host is not None and (others := sorted(self.injects & _OF_NO_HOST)):
            raise wanted("host only beside faults of single attempts", ", ".join(others))
        if self.node is not None and (others := sorted(self.injects & NO_NODE_FAULT_KEYS)):
            raise wanted("node only beside a crash, a partition, and faults of single attempts", ", ".join(others))
        is_of_one = self.provider is not None or not isinstance(self.channel, EveryChannel)
        if is_of_one and self.injects <= FLEET_FAULT_KEYS:
            raise wanted(
                "no channel and no provider for what hits all that a node does", ", ".join(sorted(self.injects))
            )
        if self.upstream and (others := sorted(self.injects & SYSTEM_FAULT_KEYS)):
            raise wanted("upstream only beside faults of its requests", ", ".join(others))
        if self.restart_after is not None and self.crash is None:
            raise wanted("crash beside restart_after", "none")
        return self


def hits_all(fault: FaultConfig) -> bool:
    """Tell whether a fault hits all channels, whatever its `channel`: it hits no provider and no channel's actor."""
    is_of_one = isinstance(fault.crash, Crash) and fault.crash.actor in _ACTORS_OF_CHANNELS
    return fault.injects <= set(_WITHOUT_CHANNEL) and not is_of_one


def channels_hit(fault: FaultConfig) -> ChannelNames:
    return EVERY_CHANNEL if hits_all(fault) else fault.channel


_NOT_FAULTS = {"channel", "provider", "host", "node", "upstream", "at", "for_", "restart_after"}

FAULT_KEYS = tuple(key for key in FaultConfig.model_fields if key not in _NOT_FAULTS)
"""The keys that inject something, in the order of the model. Tables with a row for each fault are checked with them."""

SYSTEM_FAULT_KEYS = frozenset({"duplicate_rate", "reorder", "crash", "deploy", "scale", "partition", "clock_step"})
"""The faults that hit the system or its messages, and no provider. Only a simulation injects them."""

FLEET_FAULT_KEYS = frozenset({"deploy", "scale", "partition"})
"""The system faults that need several nodes."""

_OF_NO_HOST = SYSTEM_FAULT_KEYS | {"capacity", "speed"}

NO_NODE_FAULT_KEYS = _OF_NO_HOST - {"crash", "partition"}
"""The faults that cannot hit some nodes of a fleet and not others."""
