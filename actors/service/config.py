"""The settings of the service: the notifier's, and the settings of everything round it. They stand in a YAML file.

::

    listen: 127.0.0.1:8080
    trusted_proxies: [10.0.0.0/8]    # whose X-Forwarded-For counts
    store: {sqlite: notifications.db}
    tokens:
      - {name: shop, role: ingest, secret: {env: SHOP_TOKEN}}
      - {name: ann, role: operator, secret: {file: /run/secrets/ann}}
    transports:
      email: {smtp: {host: mail.example.com, sender: shop@example.com}}
      sms: {twilio: {account_sid: AC…, auth_token: {env: TWILIO_TOKEN}, sender: '+4930123456'}}
    channels:                    # the same keys as in a scenario
      email: {retry: {max_attempts: 5}, circuit_breaker: {failure_threshold: 10}}
    events:                      # types of one's own, see own_events.py
      PasswordResetRequested:
        - {channel: email, recipient: email, id: request_id, template: password-reset, critical: true}
    drain: 30s
    templates: templates         # a directory
    preferences: preferences.yaml

Paths are relative to the file. Every secret may stand elsewhere: ``{env: NAME}`` or ``{file: path}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, WrapValidator, model_validator
from pydantic_core import InitErrorDetails

from actors.channel_names import EveryChannel, in_order
from actors.messages import NotificationChannel
from actors.pipeline.fallback import problems_of_fallbacks
from actors.service.own_events import EventRule, EventType
from actors.service.tokens import TokenConfig
from actors.service.transports import TransportsConfig, is_of_a_provider, missing_transports, transports_of_another_kind
from actors.settings.base import NOT_SHOWN, NotEmpty, Settings, at_key, check_one_given
from actors.settings.channel import NOT_FOR_ALL_HOSTS, ChannelConfig, NotifierConfig
from actors.settings.csv_column import DataFile
from actors.settings.defaults import is_reached_by_choice, with_accounts
from actors.settings.faults import FaultConfig
from actors.settings.file import load_settings
from actors.settings.quantities import PositiveDuration, Share, Text, Wanted, wanted
from actors.settings.secret import Secret
from actors.settings.transports import ApiUrl

_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", re.ASCII)

_DSN = re.compile(r"\bpostgres(?:ql)?:/|\bpassword\s*=")
"""The mark of a DSN that was given where a path is wanted."""


def _address(value: Any, _unit_required: bool) -> str | None:
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    return value if match is not None and int(match[3]) <= 65535 else None


Address = Annotated[str, Wanted("a host and a port such as 127.0.0.1:8080 or [::1]:8080", _address, {"type": "string"})]


def _network(value: Any, _unit_required: bool) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return network if network is not None and network.prefixlen else None


Network = Annotated[
    IPv4Network | IPv6Network,
    Wanted("a network such as 10.0.0.0/8, 127.0.0.1 or fd00::/8, not all there are", _network, {"type": "string"}, str),
]


class Dsn(Secret):
    """The DSN of a database in PostgreSQL, as libpq takes it; it may contain a password."""

    __slots__ = ()

    wanted_text: ClassVar[str] = "a DSN such as postgresql://user@host/database or host=… dbname=…"

    @classmethod
    def _is_well_formed(cls, text: str) -> bool:
        return re.match(r"postgres(ql)?://|\s*\w+\s*=", text) is not None


class StoreConfig(Settings):
    """A store that outlives the process."""

    wanted_text: ClassVar[str] = "memory, or a store such as {sqlite: notifications.db} or {postgres: DSN}"
    sqlite: DataFile | None = None
    """The path of the file; for one process at a time."""
    postgres: Dsn | None = None
    """The DSN of a database in PostgreSQL, as libpq takes it; it may contain a password. For several nodes."""
    node: Text | None = None
    """With PostgreSQL, the name of this node: a restarted node takes over the notifications of the earlier node of its
    name, unless that is alive. None: a new name each time; after a crash other nodes take over when the lease ends."""
    lease: PositiveDuration = 30.0
    """With PostgreSQL, how long a node keeps its notifications without reaching the database; at least 1 s."""
    keep_audit: PositiveDuration = 400 * 86_400.0
    """How long the audit trail is kept."""

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        check_one_given(self, ("sqlite", "postgres"))
        for key in ("node", "lease"):
            if self.postgres is None and key in self.model_fields_set:
                raise at_key(key, wanted(f"{key} only with postgres"), getattr(self, key))
        if self.sqlite is not None and _DSN.search(self.sqlite):
            raise at_key(
                "sqlite", wanted("the path of a file; what names a database goes to postgres", NOT_SHOWN), None
            )
        if self.lease < 1:
            raise at_key("lease", wanted("a lease of at least 1s"), self.lease)
        return self


StoreChoice: TypeAlias = Annotated[
    StoreConfig | Literal["memory"],
    WrapValidator(
        lambda value, _, info: value if value == "memory" else StoreConfig.model_validate(value, context=info.context)
    ),
]


class LogsConfig(Settings):
    """The log, on the standard error output. It never has bodies, recipients or secrets."""

    format: Literal["auto", "json", "text"] = "auto"
    """A JSON document a line, or text for people. auto: text on a terminal, else JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged. info has what goes wrong, and what operators do; debug has every step."""


class TracingConfig(Settings):
    """Where spans go; needs the extra ``tracing``."""

    wanted_text: ClassVar[str] = "a collector such as {endpoint: http://localhost:4318}"
    endpoint: ApiUrl
    """The base URL of a collector that takes OTLP over HTTP; ``/v1/traces`` is added."""
    service_name: Text = "retrylab"
    """The name of the service in traces."""
    sample: Share = 1.0
    """Share of the notifications that are traced."""


class ServiceConfig(NotifierConfig):
    """All settings of the service."""

    other_names: ClassVar[Mapping[str, str]] = {
        "actors": "a service imports no code: open a notifier with actors= in a program of yours"
    }

    listen: Address = "127.0.0.1:8080"
    """The address to listen on for HTTP; with port 0 the system chooses a port, which is printed."""
    trusted_proxies: tuple[Network, ...] = ()
    """The networks of the proxies in front, whose `X-Forwarded-For` says where a request comes from. Without them a
    request comes from the other end of the connection, and the header is ignored."""
    store: StoreChoice
    """The store of accepted notifications: memory, which is gone with the process, or a store that outlives it."""
    tokens: Annotated[tuple[TokenConfig, ...], NotEmpty()]
    """The tokens, each with its role."""
    transports: TransportsConfig
    """The transports of each channel."""
    events: dict[EventType, tuple[EventRule, ...]] = Field(default_factory=dict)
    """Your own types of events, with the notifications that each leads to; a built-in type leads to these instead."""
    templates: DataFile | None = None
    """The directory of the templates; the built-in ones alone when None."""
    preferences: DataFile | None = None
    """The file of users' preferences; none when None."""
    suppressions: DataFile | None = None
    """The file of addresses that nothing is sent to, beside those in the store; none when None."""
    faults: tuple[FaultConfig, ...] = ()
    """Faults to inject between the service and its providers, for a game day: the same keys as in a scenario; `at`
    counts from the moment at which the settings were read."""
    logs: LogsConfig = LogsConfig()
    tracing: TracingConfig | None = None
    """None: no spans."""

    @property
    def store_kind(self) -> str:
        if isinstance(self.store, str):
            return self.store
        return "sqlite" if self.store.postgres is None else "postgres"

    @cached_property
    def notifier(self) -> NotifierConfig:
        """The settings of the notifier, with every channel that there is, and what follows from its transports."""
        own = {name: getattr(self, name) for name in NotifierConfig.model_fields}
        present = in_order([*self.channels, *self.transports.channels])
        channels = {
            channel: with_accounts(
                self.transports.filled_in(channel, self.channels.get(channel, ChannelConfig())), self.accounts
            )
            for channel in present
            if channel in self.channels or not channel.is_own
        }
        return NotifierConfig.model_construct(**own | {"channels": channels})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [
            InitErrorDetails(type=wanted(what, got), loc=path, input=None) for path, what, got in self._misfits()
        ]
        if problems:
            raise ValidationError.from_exception_data("ServiceConfig", problems)
        return self

    def _misfits(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        channels = self.notifier.channels
        if not channels:
            yield ("transports",), "a transport for at least one channel", "none"
        yield from missing_transports(self.transports, channels)
        yield from transports_of_another_kind(self.transports, self.channels)
        for problem in problems_of_fallbacks(channels):
            path, _, text = problem.partition(": ")
            what, _, got = text.removeprefix("wanted ").partition(", got ")
            yield tuple(path.split(".")), what, got or "another"
        for channel, config in channels.items():
            reaches = self.transports.reaches(channel, config)
            if config.retry.after_retry_after == "channel" and is_reached_by_choice(reaches):
                yield ("channels", channel.value, "retry", "after_retry_after"), NOT_FOR_ALL_HOSTS, "channel"
        for number, fault in enumerate(self.faults):
            if not is_of_a_provider(fault):
                yield ("faults", number), "a fault of a provider, as a service can inject it", ", ".join(fault.injects)
            for channel in () if isinstance(fault.channel, EveryChannel) else fault.channel:
                if channel not in channels:
                    yield ("faults", number, "channel"), "a channel that has a transport", channel.value
                elif fault.provider is not None and fault.provider not in channels[channel].by_provider():
                    known = ", ".join(channels[channel].by_provider())
                    yield ("faults", number, "provider"), f"a provider of {channel}: {known}", repr(fault.provider)
        for name, rules in self.events.items():
            taken: set[NotificationChannel] = set()
            for number, rule in enumerate(rules):
                if rule.channel not in channels:
                    yield ("events", name, number, "channel"), "a channel that has a transport", rule.channel.value
                elif rule.channel in taken:  # both would have the same id
                    what = "each channel once for a type of events"
                    yield ("events", name, number, "channel"), what, f"{rule.channel} twice"
                taken.add(rule.channel)
        seen: set[Secret] = set()
        for number, token in enumerate(self.tokens):
            if token.secret in seen:
                yield ("tokens", number, "secret"), "a token of its own", "the same twice"
            seen.add(token.secret)

    def differs_from(self, other: ServiceConfig) -> frozenset[str]:
        return frozenset(key for key in type(self).model_fields if getattr(self, key) != getattr(other, key))


def load(path: Path) -> ServiceConfig:
    """Return the settings in a file.

    Raises:
        ConfigurationError: it cannot be used. `problems` has one line for each thing that is wrong, in the order of the
            file: ``service.yaml:8:7: channels.email.retry.max_attempts: wanted …, got …``.
    """
    return load_settings(ServiceConfig, path, context={"directory": str(path.parent)})
