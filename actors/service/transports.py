"""Which transport each channel of the service has, as its file says it, and how they are opened.

::

    transports:
      email:
        smtp: {host: mail.example.com, sender: shop@example.com, username: shop, password: {env: SMTP_PASSWORD}}
        failover:
          backup: {smtp: {host: mail.example.net, sender: shop@example.com}}
      push: {simulated: true}

A channel that has more than one provider in its settings has a transport for each, by the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WrapValidator, model_validator

from actors.channel_names import channel_named
from actors.domain.attempts import Provider
from actors.errors import ConfigurationError
from actors.faults.build import enforced_quotas, faults_of, unreliable_providers
from actors.faults.chaos import FaultyProvider
from actors.kernel.randomness import RandomStreams
from actors.messages import ChannelKind, NotificationChannel
from actors.settings.accounts import AccountConfig
from actors.settings.base import Settings, check_one_given, known_keys
from actors.settings.channel import PRIMARY, ChannelConfig, ProviderName, kind_of
from actors.settings.defaults import NO_BOUNDS, Reach, filled_in, simulated_reaches
from actors.settings.faults import SYSTEM_FAULT_KEYS, FaultConfig
from actors.settings.quantities import wanted
from actors.settings.transports import (
    FcmConfig,
    SmtpConfig,
    TargetSettings,
    TwilioConfig,
    WebhookConfig,
    WebPushConfig,
    held_in_key_file,
)


def _with_key_file(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, Mapping) or "service_account" not in value:
        return value
    path = Path((info.context or {}).get("directory", ""), str(value["service_account"]))
    held, got = held_in_key_file(path)
    if held is None:
        raise wanted("the key file of a service account, in JSON, as service_account", got)
    return held | {key: given for key, given in value.items() if key != "service_account"}


_PROVIDERS = {
    "smtp": ("email", "EmailProvider"),
    "twilio": ("sms", "SmsProvider"),
    "fcm": ("push", "PushProvider"),
    "web_push": ("webpush", "WebPushProvider"),
    "standard_webhooks": ("webhook", "WebhookProvider"),
}
"""The provider for the settings under a key: its module in `actors.transports`, imported when needed, and its class."""


class TransportConfig(Settings):
    """One of the transports of a channel."""

    model_config = ConfigDict(hide_input_in_errors=True)

    simulated: Literal[True] | None = None
    """Nothing goes out: the unreliable provider that the channel's `provider` describes answers."""

    @classmethod
    def kinds(cls) -> list[str]:
        return [key for key in known_keys(cls) if key != "failover"]

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        check_one_given(self, self.kinds())
        return self

    def reach(self, simulated: Reach) -> Reach:
        """Return how it reaches its server; where it is simulated, as its provider's settings say."""
        held = next(own for key in self.kinds() if (own := getattr(self, key)) is not None)
        return simulated if self.simulated else Reach(held.connections, isinstance(held, TargetSettings))

    def open(self) -> Provider | None:
        """Return the transport; None where it is simulated. Raise ConfigurationError where its settings cannot be used,
        such as a file of certificates that is none."""
        for key, (module, name) in _PROVIDERS.items():
            if (config := getattr(self, key, None)) is not None:
                provider: Provider = getattr(import_module(f"actors.transports.{module}"), name)(config)
                return provider
        return None


class EmailTransport(TransportConfig):
    """How emails go out."""

    wanted_text: ClassVar[str] = "a transport such as {smtp: {host: mail.example.com, sender: shop@example.com}}"
    smtp: SmtpConfig | None = None


class SmsTransport(TransportConfig):
    """How SMS go out."""

    wanted_text: ClassVar[str] = "a transport such as {twilio: {account_sid: …, auth_token: …, sender: '+4930…'}}"
    twilio: TwilioConfig | None = None


class PushTransport(TransportConfig):
    """How push messages go out."""

    wanted_text: ClassVar[str] = "a transport such as {fcm: {service_account: key.json}}"
    fcm: Annotated[FcmConfig | None, BeforeValidator(_with_key_file)] = None
    """To apps; `service_account` may name the key file, in place of the settings that it holds."""
    web_push: WebPushConfig | None = None
    """To browsers."""


class WebhookTransport(TransportConfig):
    """How webhooks go out."""

    wanted_text: ClassVar[str] = "a transport such as {standard_webhooks: {signing_keys: [whsec_…]}}"
    standard_webhooks: WebhookConfig | None = None


class EmailTransports(EmailTransport):
    """The transport of emails for the channel's own provider, and for the providers that it fails over to."""

    failover: dict[ProviderName, EmailTransport] = Field(default_factory=dict)


class SmsTransports(SmsTransport):
    """The transport of SMS for the channel's own provider, and for the providers that it fails over to."""

    failover: dict[ProviderName, SmsTransport] = Field(default_factory=dict)


class PushTransports(PushTransport):
    """The transport of push messages for the channel's own provider, and for the providers that it fails over to."""

    failover: dict[ProviderName, PushTransport] = Field(default_factory=dict)


class WebhookTransports(WebhookTransport):
    """The transport of webhooks for the channel's own provider, and for the providers that it fails over to."""

    failover: dict[ProviderName, WebhookTransport] = Field(default_factory=dict)


_BY_KIND: dict[ChannelKind, type[TransportConfig]] = {
    ChannelKind.EMAIL: EmailTransports,
    ChannelKind.SMS: SmsTransports,
    ChannelKind.PUSH: PushTransports,
    ChannelKind.WEBHOOK: WebhookTransports,
}


def _of_its_kind(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    if isinstance(value, TransportConfig):
        return value
    others = value.get("failover") if isinstance(value, dict) else None
    keys = set(value) if isinstance(value, dict) else set()
    keys.update(*(other for other in (others.values() if isinstance(others, dict) else ()) if isinstance(other, dict)))
    kinds = [model for model in _BY_KIND.values() if keys & set(model.kinds()) - {"simulated"}]
    return (kinds or [EmailTransports])[0].model_validate(value, context=info.context)


class TransportsConfig(Settings):
    """The transport of each channel. A transport makes its channel exist; a channel beside the four needs settings,
    too."""

    model_config = ConfigDict(extra="allow")
    if not TYPE_CHECKING:  # which takes it for an argument
        __pydantic_extra__: dict[str, Annotated[TransportConfig, WrapValidator(_of_its_kind)]]

    email: EmailTransports | None = None
    sms: SmsTransports | None = None
    push: PushTransports | None = None
    webhook: WebhookTransports | None = None

    def of(self, channel: NotificationChannel) -> dict[str, TransportConfig]:
        own: Any = (self.model_extra or {} if channel.is_own else self.__dict__).get(channel.value)
        return {} if own is None else {PRIMARY: own, **own.failover}

    def filled_in(self, channel: NotificationChannel, config: ChannelConfig) -> ChannelConfig:
        return filled_in(channel, config, self.reaches(channel, config))

    def reaches(self, channel: NotificationChannel, config: ChannelConfig) -> dict[str, Reach]:
        simulated = simulated_reaches(config)
        return {name: own.reach(simulated.get(name, NO_BOUNDS)) for name, own in self.of(channel).items()}

    @property
    def simulated(self) -> list[str]:
        """The channels, and further providers of channels, whose transport is simulated: nothing goes out."""
        return [
            channel.value if name == PRIMARY else f"{channel}/{name}"
            for channel in self.channels
            for name, transport in self.of(channel).items()
            if transport.simulated
        ]

    @property
    def channels(self) -> list[NotificationChannel]:
        others = filter(None, map(channel_named, self.model_extra or ()))
        return [channel for channel in (*NotificationChannel, *others) if self.of(channel)]


def is_of_a_provider(fault: FaultConfig) -> bool:
    return not fault.injects & SYSTEM_FAULT_KEYS


def open_transports(
    transports: TransportsConfig,
    channels: Mapping[NotificationChannel, ChannelConfig],
    faults: Sequence[FaultConfig],
    streams: RandomStreams,
    stack: AsyncExitStack,
    accounts: Mapping[str, AccountConfig],
) -> dict[NotificationChannel, dict[str, Provider]]:
    """Return the provider of each channel, by name, with the faults round the providers that they hit.

    `streams` are for the injected faults, and `stack` closes the transports. Simulated providers enforce the quotas of
    `accounts` that channels share.

    Raises:
        ConfigurationError: some transports cannot be opened; lists all problems.
    """
    problems: list[str] = []
    enforced = enforced_quotas(accounts)
    opened: dict[NotificationChannel, dict[str, Provider]] = {}
    for channel, config in channels.items():
        opened[channel] = {}
        simulated = unreliable_providers(channel, config, faults, streams, accounts=enforced)
        for name, transport in transports.of(channel).items():
            try:
                provider = transport.open()
            except ConfigurationError as error:
                problems += [f"{place_of(channel, name)}: {problem}" for problem in error.problems]
                continue
            if provider is None:
                opened[channel][name] = simulated[name]
                continue
            aclose = getattr(provider, "aclose", None)
            if aclose is not None:
                stack.push_async_callback(aclose)
            hit = faults_of(faults, channel, name)
            if hit:
                provider = FaultyProvider(provider, hit, streams=streams, name=f"{channel}.{name}.provider")
            opened[channel][name] = provider
    if problems:
        raise ConfigurationError(problems)
    return opened


def place_of(channel: NotificationChannel, name: str) -> str:
    return f"transports.{channel}" if name == PRIMARY else f"transports.{channel}.failover.{name}"


def transports_of_another_kind(
    transports: TransportsConfig, channels: Mapping[NotificationChannel, ChannelConfig]
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Iterate over channels and transports that have no match of their kind, as :func:`missing_transports` does."""
    for channel, config in channels.items():
        if config.kind is ChannelKind.CALL:
            what = "a kind that has a transport, as a call has in Python alone"
            yield ("channels", channel.value, "kind"), what, config.kind.value
    for name in transports.model_extra or ():
        if (named := channel_named(name)) is None or named not in channels:
            known = ", ".join(dict.fromkeys([*NotificationChannel, *channels]))
            yield ("transports", name), f"an existing channel ({known}; `channels` may have more)", repr(name)
            continue
        model = _BY_KIND.get(kind_of(named, channels[named]), TransportConfig)
        for provider, transport in transports.of(named).items():
            if not transport.simulated and not isinstance(transport, model.__mro__[1]):
                given = next(key for key in transport.kinds() if getattr(transport, key) is not None)
                yield (
                    tuple(place_of(named, provider).split(".")),
                    f"a transport for kind {kind_of(named, channels[named])}",
                    given,
                )


def missing_transports(
    transports: TransportsConfig, channels: Mapping[NotificationChannel, ChannelConfig]
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Iterate over mismatches of channels and transports: the path, the wanted value and the given value of each."""
    for channel, config in channels.items():
        wanted_names, there = list(config.by_provider()), transports.of(channel)
        for name in wanted_names:
            if name not in there:
                path = ("transports", channel.value) if there else ("transports",)
                yield path, f"a transport for {channel}" + ("" if name == PRIMARY else f"'s provider {name}"), "none"
        for name in there:
            if name not in wanted_names:
                known = ", ".join(wanted_names[1:]) or "none"
                yield (
                    ("transports", channel.value, "failover", name),
                    f"the name of a provider under channels.{channel}.failover, of which there are: {known}",
                    repr(name),
                )
