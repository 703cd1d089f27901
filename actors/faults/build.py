"""The providers of each channel: custom ones, or the unreliable ones that the settings describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from actors.domain.attempts import Provider, WrappedProvider
from actors.errors import ConfigurationError
from actors.faults.conditions import EnforcedQuota
from actors.faults.provider import SimulatedProvider
from actors.faults.rules import FailureRule, FaultRules
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel
from actors.settings.accounts import AccountConfig
from actors.settings.channel import NOT_FOR_ALL_HOSTS, PRIMARY, ChannelConfig
from actors.settings.defaults import Reach, filled_in, is_reached_by_choice
from actors.settings.faults import FaultConfig

Providers: TypeAlias = (
    "Mapping[NotificationChannel, Provider | Mapping[str, Provider]] | Mapping[str, Provider | Mapping[str, Provider]]"
)
"""By channel; where a channel has several, by name in it, its own being called ``primary``."""

NO_ACCOUNTS: Mapping[str, EnforcedQuota] = {}


def unreliable_providers(
    channel: NotificationChannel,
    config: ChannelConfig,
    faults: Sequence[FaultConfig],
    streams: RandomStreams,
    rules: Sequence[FailureRule] = (),
    accounts: Mapping[str, EnforcedQuota] = NO_ACCOUNTS,
) -> dict[str, SimulatedProvider]:
    """Return the unreliable providers of a channel's settings, by name.

    A fault that names no provider hits all of the channel's. `rules` are those of the channel's own provider. The
    `accounts` are those of one run, by name: see :func:`enforced_quotas`.
    """
    return {
        name: SimulatedProvider.from_config(
            settings.provider,
            faults_of(faults, channel, name),
            streams,
            stream_name(channel, name),
            rules=rules if name == PRIMARY else (),
            called=name if config.failover else None,
            account=accounts.get(settings.provider.account or ""),
        )
        for name, settings in config.by_provider().items()
    }


def fault_rules_of(provider: Provider) -> Iterator[FaultRules]:
    """Yield the fault rules of a provider and of the providers that it wraps, where they have any."""
    while True:
        rules = getattr(provider, "fault_rules", None)
        if isinstance(rules, FaultRules):
            yield rules
        if not isinstance(provider, WrappedProvider):
            return
        provider = provider.wrapped


def enforced_quotas(accounts: Mapping[str, AccountConfig]) -> dict[str, EnforcedQuota]:
    """Return the quotas that the providers of accounts enforce in one run, by the name of the account."""
    return {name: EnforcedQuota(own.throttle) for name, own in accounts.items() if own.throttle is not None}


def faults_of(faults: Sequence[FaultConfig], channel: NotificationChannel, name: str) -> list[FaultConfig]:
    return [fault for fault in faults if channel in fault.channel and fault.provider in (None, name)]


def stream_name(channel: NotificationChannel, name: str) -> str:
    return f"{channel}.provider" if name == PRIMARY else f"{channel}.{name}.provider"


def with_defaults(
    channels: Mapping[NotificationChannel, ChannelConfig],
    providers: Mapping[NotificationChannel, Mapping[str, Provider]],
) -> dict[NotificationChannel, ChannelConfig]:
    """Return the settings of channels with the defaults that follow from their providers.

    Raises:
        ConfigurationError: recipients choose the host where a hint is to hold for the whole channel.
    """
    reaches = {channel: reaches_of(providers[channel]) for channel in channels}
    problems = [
        f"channels.{channel}.retry.after_retry_after: wanted {NOT_FOR_ALL_HOSTS}, got 'channel'"
        for channel, config in channels.items()
        if config.retry.after_retry_after == "channel" and is_reached_by_choice(reaches[channel])
    ]
    if problems:
        raise ConfigurationError(problems)
    return {channel: filled_in(channel, config, reaches[channel]) for channel, config in channels.items()}


def reaches_of(providers: Mapping[str, Provider]) -> dict[str, Reach]:
    return {
        name: Reach(provider.connections_max, provider.recipients_choose_hosts) for name, provider in providers.items()
    }


def checked_providers(
    channels: Mapping[NotificationChannel, ChannelConfig], providers: Providers | Provider
) -> dict[NotificationChannel, dict[str, Provider]]:
    """Return the providers of each channel, by name in the order of its settings; one given for all serves each.

    Raises:
        ConfigurationError: some are missing, or are no providers; it lists all problems.
    """
    problems: list[str] = []
    found: dict[NotificationChannel, dict[str, Provider]] = {}
    for channel, config in channels.items():
        names = list(config.by_provider())
        if isinstance(providers, Provider):
            found[channel] = dict.fromkeys(names, providers)
        elif not isinstance(providers, Mapping):
            raise ConfigurationError([f"providers: wanted a Provider, or a mapping of them, got {providers!r}"])
        elif channel not in providers:
            problems.append(f"providers: none for {channel}")
        else:
            found[channel], wrong = _of_channel(channel, names, providers[channel])
            problems += wrong
    if problems:
        raise ConfigurationError(problems)
    return found


def _of_channel(
    channel: NotificationChannel, names: Sequence[str], given: Any
) -> tuple[dict[str, Provider], list[str]]:
    if not isinstance(given, Mapping):
        given = {names[0]: given}
    problems = [f"providers.{channel}: none for {name}" for name in names if name not in given]
    for name, provider in given.items():
        place = f"providers.{channel}" if len(names) == 1 else f"providers.{channel}.{name}"
        if name not in names:
            problems.append(
                f"{place}: the channel has no provider of this name in its settings, only {', '.join(names)}"
            )
        elif not isinstance(provider, Provider):
            problems.append(f"{place}: wanted a Provider, got {provider!r}")
    return {name: given[name] for name in names if name in given}, problems
