"""Settings of channels and policies: the same keys in a scenario file, in a live configuration and in Python.

Durations are seconds, shares lie between 0 and 1, rates are :class:`actors.settings.quantities.Rate`. A setting left
out takes the default written here. Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from actors.channel_names import in_order
from actors.messages import ChannelKind, NotificationChannel
from actors.settings.accounts import AccountConfig
from actors.settings.adaptive import AdaptiveRateConfig, AdaptiveThrottleConfig, ConcurrencyLimitConfig, HedgingConfig
from actors.settings.base import Settings, at_key, at_places
from actors.settings.breaker import CircuitBreakerConfig as CircuitBreakerConfig
from actors.settings.bulkhead import BulkheadConfig, MaxInFlight, slots_of
from actors.settings.distributions import Distribution
from actors.settings.faults import QuotaFault
from actors.settings.hints import nearest
from actors.settings.order import FairBy, OrderConfig, TenantConfig as TenantConfig
from actors.settings.quantities import (
    Duration,
    NotNegative,
    PositiveDuration,
    PositiveWholeNumber,
    Share,
    Text,
    matching,
    wanted,
)
from actors.settings.rate_limit import QuotaConfig as QuotaConfig, RateLimitConfig as RateLimitConfig
from actors.settings.redrive import EndpointsConfig as EndpointsConfig, RedriveConfig as RedriveConfig
from actors.settings.retry import RetryConfig as RetryConfig
from actors.settings.script import ScriptedAnswer

PRIMARY = "primary"
"""The name of a channel's own provider, where it has others to fall back on."""


def keys_of_provider(name: str) -> tuple[str, ...]:
    """Return the keys that lead from the settings of a channel to those of one of its providers."""
    return () if name == PRIMARY else ("failover", name)


ProviderName = Annotated[
    str,
    matching(
        f"the name of a provider, of letters, digits, - and _, and other than {PRIMARY}",
        r"[A-Za-z0-9_-]+",
        but=PRIMARY,
    ),
]

Discipline: TypeAlias = Literal["fifo", "critical_first", "processor_sharing"]


class LatencyByLoadConfig(Settings):
    """A provider that becomes slower the more it has to do."""

    wanted_text: ClassVar[str] = "a mapping such as {per_in_flight: 10ms}"

    per_in_flight: PositiveDuration
    """How much longer an attempt takes for each other attempt that is at the provider when it starts, worked on or
    queued. With arrivals at random at a rate r and a mean latency L it takes L / (1 - r · per_in_flight) on average,
    and longer and longer where r · per_in_flight is 1 or more."""


class QueueConfig(Settings):
    """The bound of the queue at a provider with a capacity. Without it all requests wait, for as long as it takes."""

    wanted_text: ClassVar[str] = "a mapping such as {limit: 256, when_full: refuse}"

    limit: PositiveWholeNumber
    """How many requests wait at most; requests that the provider works on do not count."""

    when_full: Literal["refuse", "drop"] = "refuse"
    """What happens to an attempt when the queue is full. `refuse`: it fails at once, transiently, with the reason
    `queue full`. `drop`: it never gets an answer."""


class OneAtATimeConfig(Settings):
    """A provider, or endpoints behind it, that works on one attempt at a time: a lock for each host or user."""

    wanted_text: ClassVar[str] = "a mapping such as {per: host, when_busy: fail}"

    per: Literal["host", "user"] = "host"
    """Which attempts exclude each other: attempts to one host of recipients, or to one user. All recipients without a
    host exclude each other, and so do all notifications without a user."""

    when_busy: Literal["fail", "wait"] = "fail"
    """What happens to an attempt that comes during another. `fail`: it fails at once, transiently, with the reason
    `busy`. `wait`: it begins when the attempts before it have ended, in their order; while it waits, it takes up a
    place of the capacity that a fault gives."""


UPSTREAM_LAYERS_MAX = 4


class UpstreamConfig(Settings):
    """The service behind a provider's API, such as a carrier, and how the provider retries its requests to it."""

    wanted_text: ClassVar[str] = "a mapping such as {retry: {max_attempts: 3}, failure_rate: 10%}"

    retry: RetryConfig = RetryConfig()
    """When the provider asks again, and how often: not `unlimited`. It goes on with that also when its sender has
    stopped waiting."""

    timeout: PositiveDuration | None = None
    """How long it waits for an answer before it counts the request as failed. None: as long as it takes."""

    latency: Distribution = Field(default_factory=lambda: Distribution(constant=0.0))
    """How long the upstream takes to answer; the provider's own latency comes before the first request."""

    failure_rate: Share = 0.0
    """Share of the requests that fail transiently. A fault with `upstream: true` adds to it."""

    upstream: UpstreamConfig | None = None
    """The service that this one asks before it answers, and so on: at most four layers behind the provider. A `timeout`
    includes the requests to layers behind; faults name a layer by its number. None: this is the last layer."""

    @property
    def chain(self) -> tuple[UpstreamConfig, ...]:
        """This layer and those behind it."""
        return (self, *(() if self.upstream is None else self.upstream.chain))

    @model_validator(mode="after")
    def _ends(self) -> Self:
        for path, own in [((), self.retry), *self.retry.rules().items()]:
            if own.max_attempts == "unlimited":
                raise at_key(".".join(("retry", *path, "max_attempts")), wanted("a whole number"), own.max_attempts)
        return self

    @model_validator(mode="after")
    def _is_not_too_deep(self) -> Self:
        if len(self.chain) > UPSTREAM_LAYERS_MAX:
            raise at_key("upstream", wanted(f"at most {UPSTREAM_LAYERS_MAX} layers of upstream"), self.upstream)
        return self


class ProviderConfig(Settings):
    """The simulated provider behind a channel when nothing is wrong."""

    latency: Distribution = Field(default_factory=lambda: Distribution(constant=0.0))
    """How long it takes to answer; with a capacity, how long it works on an attempt."""

    latency_by_load: LatencyByLoadConfig | None = None
    """How much longer the provider takes the more is in flight there. None: its latency does not depend on it."""

    failure_rate: Share = 0.0
    """Share of attempts that fail transiently."""

    capacity: PositiveWholeNumber | None = None
    """How many requests the provider works on at once; the rest queue. None: no bound."""

    queue: QueueConfig | None = None
    """How many requests may wait for the provider's capacity, or a fault's. With a bound the summary counts waiting
    requests, and requests worked on though their sender has stopped waiting. None: no bound and no counts."""

    throttle: QuotaFault | None = None
    """The quota that the provider enforces: it answers requests above the quota with `throttled`. None: only the quotas
    of its `account` and of faults."""

    one_at_a_time: OneAtATimeConfig | None = None
    """Whether it works on one attempt at a time for each host or user. None: on as many as come."""

    connections: PositiveWholeNumber | None = None
    """How many connections to the provider there are at most, as a transport has: a channel's `max_in_flight` is this
    number if it is left out or larger. Waiting for a connection is no attempt and no failure. None: no bound."""

    account: Text | None = None
    """The account whose `throttle` holds for all providers with this account together. None: none."""

    price: NotNegative = 0.0
    """The cost of a request, in a unit of your own; the summary's `cost` is the sum of all."""

    discipline: Discipline = "fifo"
    """What happens to requests above the capacity. `fifo`: they wait, first come, first served. `critical_first`:
    critical notifications go before all others, but do not interrupt a request in work. `processor_sharing`: no request
    waits, but all become slower, since they share the capacity equally. Real email and SMS gateways slow down like that
    as load grows."""

    upstream: UpstreamConfig | None = None
    """The service that the provider asks before it answers, with retries; `upstream_requests` counts the requests. An
    attempt that the provider itself does not fail is sent if one of these requests is, and else fails as the last of
    them does. The provider's capacity is free meanwhile. None: the provider delivers by itself."""

    script: tuple[ScriptedAnswer, ...] = ()
    """The answers to the first attempts, in the order in which the attempts start; each copy of a hedge is one. No
    other setting of the provider, no fault, no queue and no draw affects them. After the last answer the other settings
    hold, as if no attempt had been made before. Empty: they hold from the beginning."""

    @model_validator(mode="after")
    def _has_something_to_share(self) -> Self:
        if self.discipline != "fifo" and self.capacity is None:
            what = f"a capacity with the discipline {self.discipline}, without which it works on all at once"
            raise wanted(what, "none")
        if self.queue is not None and (self.capacity is None or self.discipline == "processor_sharing"):
            why = "none" if self.capacity is None else "processor_sharing, under which none waits"
            raise wanted("queue only with a capacity, and the discipline fifo or critical_first", why)
        one = self.one_at_a_time
        if one is not None and (self.discipline != "fifo" or (one.when_busy == "wait" and self.capacity is not None)):
            raise wanted("one_at_a_time only with the discipline fifo, and when_busy: wait only without a capacity")
        return self


class FailoverConfig(Settings):
    """One more provider of a channel; a key left out has the channel's value, except `provider`.

    A group that is given, such as `circuit_breaker`, replaces the channel's: keys left out in it have the defaults.
    """

    wanted_text: ClassVar[str] = "a provider such as {provider: {latency: {constant: 200ms}}, quota: {rate: 100/min}}"

    circuit_breaker: CircuitBreakerConfig | None = None
    """When to stop sending to this provider."""

    quota: QuotaConfig | None = None
    """The limit of this provider's account; null for no limit."""

    timeout: PositiveDuration | None = None
    """How long one attempt may take before it counts as ambiguous."""

    max_in_flight: MaxInFlight | None = None
    """Attempts in flight at once (bulkhead); null for no bound. If the channel has none either: as many as its
    transport has connections. `{limit: 10, wait: 500ms}` refuses an attempt that finds no slot in that time."""

    adaptive_rate: AdaptiveRateConfig | None = None
    """A rate that follows what the provider accepts; null for none."""

    concurrency_limit: ConcurrencyLimitConfig | None = None
    """A bulkhead whose size follows this provider's latency; null for none."""

    adaptive_throttle: AdaptiveThrottleConfig | None = None
    """Refuse at the sender a share of the attempts that the provider would refuse; null for none."""

    hedging: HedgingConfig | None = None
    """Send a copy when its answer is late; null for never."""

    provider: ProviderConfig = ProviderConfig()
    """How this provider behaves in a simulation."""

    @property
    def slots(self) -> int | None:
        """How many attempts may be under way at once by `max_in_flight`; None: there is no bound."""
        return slots_of(self.max_in_flight)

    def differences(self) -> dict[str, Any]:
        """Return the values that differ from the channel's; None means that the provider has no such policy."""
        given = {key: getattr(self, key) for key in ("provider", *self.model_fields_set)}
        needed = ("circuit_breaker", "timeout")
        return {key: value for key, value in given.items() if value is not None or key not in needed}


class FallbackConfig(Settings):
    """Another channel for the same message, once this one has dead-lettered it."""

    wanted_text: ClassVar[str] = "a mapping such as {channel: sms, after: 30s}"

    channel: NotificationChannel
    """The channel to fall back to, with the id ``<id>/<channel>`` and the command's address for that channel."""

    after: PositiveDuration | None = None
    """How long this channel may take: a notification that it has not sent by then, and is not just sending, expires.
    The time begins when the notification first sets out for the provider: waiting in quiet hours before that does not
    count, waiting at a limit, at an open breaker and between retries does. None: as long as its retries take."""


class ChannelConfig(Settings):
    """All settings of one channel."""

    kind: ChannelKind | None = None
    """The kind of the channel's recipients. Required, except for email, sms, push and webhook, which are their own
    kinds. `call` is a request to a service: it needs no recipient, and without a recipient it has no user."""

    retry: RetryConfig = RetryConfig()
    """When to try again, and when to stop."""

    order: OrderConfig = OrderConfig()
    """Which notifications go first where several wait."""

    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    """When to stop sending to a provider that fails, and when to try it again."""

    rate_limit: RateLimitConfig | None = None
    """Per user; charged once a notification. None: no limit."""

    quota: QuotaConfig | None = None
    """For all together, as a provider's account has it; charged once an attempt. None: no limit."""

    tenant: TenantConfig | None = None
    """The bounds of each tenant, by `metadata.tenant`. None: no bound."""

    timeout: PositiveDuration = 10.0
    """How long one attempt may take before it counts as ambiguous."""

    deadline: PositiveDuration | None = None
    """How long all attempts together may take, from the start of the first one on, over all providers; a redrive begins
    anew. An attempt that is in flight then is cut: it is ambiguous and the last one, and the breaker does not count it.
    None: no bound."""

    max_in_flight: MaxInFlight | None = None
    """Attempts under way at once (bulkhead). Left out, or larger: the number of the transport's connections, in a
    simulation the `connections` of the `provider`. Null: no bound. With `order.fair_by` (by host if there is a circuit
    breaker per host) no host, tenant or user gets more than a quarter of the slots while others wait, nor one of the
    last sixteenth. With a number an attempt waits for a slot as long as it takes; with `{limit: 10, wait: 500ms}` it is
    refused after that wait: a failed attempt, which no breaker counts."""

    adaptive_rate: AdaptiveRateConfig | None = None
    """A rate that follows what the provider takes. None: no limit but the `quota`."""

    concurrency_limit: ConcurrencyLimitConfig | None = None
    """A bulkhead whose size follows the provider's latency. None: the size is `max_in_flight`."""

    adaptive_throttle: AdaptiveThrottleConfig | None = None
    """Refuse at the sender a share of the attempts that the provider would refuse; each fails. None: refuse none."""

    hedging: HedgingConfig | None = None
    """Send a copy when the answer is late; only for a provider that takes an idempotency key. None: never."""

    provider: ProviderConfig = ProviderConfig()
    """How the channel's own provider behaves in a simulation."""

    failover: dict[ProviderName, FailoverConfig] = Field(default_factory=dict)
    """Further providers by name, in the order in which they are tried. Each is tried while those before it take
    nothing: the breaker is open, the quota is used up, no slot is free. The channel's own is called `primary`."""

    switch_after: PositiveWholeNumber | None = None
    """After this number of failed attempts a notification tries the next provider first. A Retry-After of one provider
    holds for the notification's next attempt, also at another provider. None: always the same order."""

    fallback: FallbackConfig | None = None
    """Another channel for notifications that this one dead-letters. None: the dead letter queue is the end."""

    redrive: RedriveConfig | None = None
    """Which dead letters are redriven without an operator when the provider is back. None: no letters."""

    endpoints: EndpointsConfig | None = None
    """When an endpoint whose attempts all fail is disabled, until an operator enables it. None: never."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.deadline is not None and self.retry.max_elapsed is not None:
            raise at_key("deadline", wanted("no deadline beside retry.max_elapsed: one of them at most"), self.deadline)
        if self.switch_after is not None and not self.failover:
            raise wanted("switch_after only with failover, where there is a provider to switch to")
        if self.redrive is not None and not any(each.circuit_breaker.enabled for each in self.by_provider().values()):
            raise wanted("redrive only with a circuit breaker that is enabled, whose closing starts it")
        if self.retry.holds_slot:
            lanes = self.by_provider().values()
            if any(lane.concurrency_limit is not None for lane in lanes):
                text = "holds_slot without a concurrency_limit, which goes by the latency of attempts alone"
                raise at_places([(("retry", "holds_slot"), wanted(text, "both"), None)])
            if any(lane.max_in_flight is None for lane in lanes):
                text = "holds_slot only with max_in_flight, which says how many slots there are"
                raise at_places([(("retry", "holds_slot"), wanted(text, "no max_in_flight"), None)])
        breakers = [self.circuit_breaker, *(each.circuit_breaker for each in self.failover.values())]
        if self.retry.after_retry_after == "host" and any(
            each is not None and each.per == "channel" and "per" in each.model_fields_set for each in breakers
        ):
            text = "after_retry_after: host only with circuit_breaker.per: host, by which hosts have lines of their own"
            raise at_places([(("retry", "after_retry_after"), wanted(text, "per: channel"), None)])
        for name, other in self.failover.items():
            breaker = other.circuit_breaker
            if breaker is not None and breaker.per != self.circuit_breaker.per:
                raise wanted(f"circuit breakers of all providers per {self.circuit_breaker.per}", f"another for {name}")
            if breaker is not None and "when_open" in breaker.model_fields_set:
                raise wanted("when_open only for the whole channel: it decides when no provider takes anything", name)
        return self

    @property
    def slots(self) -> int | None:
        """How many attempts may be under way at once by `max_in_flight`; None: there is no bound."""
        return slots_of(self.max_in_flight)

    @property
    def slot_wait(self) -> float | None:
        """How many seconds an attempt waits for a slot, at most; then it is refused. None: as long as it takes."""
        return self.max_in_flight.wait if isinstance(self.max_in_flight, BulkheadConfig) else None

    @property
    def fair_by(self) -> FairBy:
        """The key (user, host, tenant, none) whose values take turns within a class of traffic."""
        return self.order.fair_by or ("host" if self.circuit_breaker.per == "host" else "none")

    def accounts_named(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the paths at which it names accounts, with the names."""
        providers: dict[tuple[str, ...], ChannelConfig | FailoverConfig] = {(): self}
        providers |= {("failover", name): other for name, other in self.failover.items()}
        for path, each in providers.items():
            if each.quota is not None and each.quota.account is not None:
                yield (*path, "quota", "account"), each.quota.account
            if each.provider.account is not None:
                yield (*path, "provider", "account"), each.provider.account

    def by_provider(self) -> dict[str, ChannelConfig]:
        """Return the settings that hold for each provider, by its name, in the order in which they are tried."""
        alone = self.model_copy(update={"failover": {}}) if self.failover else self
        others = {name: alone.model_copy(update=other.differences()) for name, other in self.failover.items()}
        return {PRIMARY: alone, **others}


def kind_of(channel: str, config: ChannelConfig) -> ChannelKind:
    """Return the kind of a channel of this name: each of the four is its own kind, another channel's settings say
    it."""
    return config.kind or ChannelKind(channel)


NOT_FOR_ALL_HOSTS = "only_it or host where recipients choose the host: what one of them asks for holds for no other"


def named_and_in_order(
    channels: Mapping[NotificationChannel, ChannelConfig],
) -> dict[NotificationChannel, ChannelConfig]:
    """Return the settings in order: the four channels first, then the others as they are written.

    Raises:
        ValidationError: a channel beside the four does not say its kind, or one of the four does.
    """
    problems: list[tuple[tuple[str | int, ...], PydanticCustomError, Any]] = []
    for channel, config in channels.items():
        if channel.is_own and config.kind is None:
            near = nearest(channel, NotificationChannel)
            asks = f" (did you mean {near}?)" if near else ""
            four = ", ".join(NotificationChannel)
            text = f"the kind of a channel that is none of {four}: one of these or call{asks}"
            problems.append(((channel.value, "kind"), wanted(text, "nothing"), None))
        elif not channel.is_own and config.kind is not None:
            text = f"no kind, as {channel} is one itself"
            problems.append(((channel.value, "kind"), wanted(text), config.kind.value))
        elif kind_of(channel, config) is ChannelKind.WEBHOOK and config.retry.after_retry_after == "channel":
            problems.append(((channel.value, "retry", "after_retry_after"), wanted(NOT_FOR_ALL_HOSTS), "channel"))
    if problems:
        raise at_places(problems)
    return {channel: channels[channel] for channel in in_order(channels)}


class DeadLettersConfig(Settings):
    """How much the dead letter queue keeps. What exceeds its bounds is discarded, the oldest first."""

    keep: PositiveDuration | None = None
    """How long a dead letter is kept. None: until it is redriven or discarded."""

    at_most: PositiveWholeNumber | None = None
    """How many are kept. None: no bound."""


KEEP_ALL_LETTERS = DeadLettersConfig()

CHANNELS_MAX = 100
"""How many channels a live service may have."""

SUBSCRIBER_TIMEOUT = 60.0
"""Seconds that an async subscriber may take where nothing else is said."""


class NotifierConfig(Settings):
    """All settings of a live notifier."""

    channels: Annotated[dict[NotificationChannel, ChannelConfig], AfterValidator(named_and_in_order)] = Field(
        default_factory=dict
    )
    """The channels there are, at most 100; all four with their defaults when empty."""

    accounts: dict[Text, AccountConfig] = Field(default_factory=dict)
    """The accounts that channels share at a provider, by the name that the channels use."""

    remember_ids: PositiveDuration = 86_400.0
    """How long the id of a notification that has ended is remembered; the same id is not sent again meanwhile."""

    max_pending: PositiveWholeNumber | None = 100_000
    """How many notifications may be accepted and not ended. A notification above the bound is refused (`Overloaded`;
    429 over HTTP): priority `bulk` from 80% of the bound on, normal from 95%. None: no bound."""

    drain: Duration = 30.0
    """How long a shutdown waits for attempts in flight."""

    subscriber_timeout: PositiveDuration = SUBSCRIBER_TIMEOUT
    """How long an async subscriber may take for an event; then it is cancelled, and `publish` waits for it no more."""

    dead_letters: DeadLettersConfig = DeadLettersConfig(keep=30 * 86_400.0, at_most=100_000)
    """How many dead letters are kept, and for how long."""

    platform: str = "our platform"
    """The name of the service in templates."""

    @model_validator(mode="after")
    def _has_so_many_channels(self) -> Self:
        if len(self.channels) > CHANNELS_MAX:
            raise at_key("channels", wanted(f"at most {CHANNELS_MAX} channels", f"{len(self.channels)}"), None)
        for channel, config in self.channels.items():
            fallback = config.fallback
            if fallback is not None and fallback.channel.is_own and fallback.channel not in self.channels:
                text = wanted(f"one of the channels {', '.join(self.channels)}")
                raise at_places([(("channels", channel, "fallback", "channel"), text, fallback.channel.value)])
        return self

    @model_validator(mode="after")
    def _names_accounts_that_there_are(self) -> Self:
        there = an_account_of(self.accounts)
        problems = [
            (("channels", channel, *path), wanted(there, repr(name)), name)
            for channel, config in self.channels.items()
            for path, name in config.accounts_named()
            if name not in self.accounts
        ]
        if problems:
            raise at_places(problems)
        return self


def an_account_of(accounts: Iterable[str]) -> str:
    return "the name of an account, of which there are: " + (", ".join(accounts) or "none")
