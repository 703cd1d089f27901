"""The linter over a channel, and over those of a live service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.lint.breakers import breaker_rules, channel_fault_rules, endpoint_rules, host_rules
from actors.lint.findings import Finding
from actors.lint.load import adaptive_rules, failover_rules, hedging_rules, load_rules, timeout_rules, upstream_rules
from actors.lint.retries import budget_rules, early_end_rules, expiry_rules, retry_rules
from actors.lint.traffic import Traffic
from actors.messages import ChannelKind

if TYPE_CHECKING:
    from actors.messages import NotificationChannel
    from actors.settings.channel import ChannelConfig
    from actors.settings.defaults import Reach

_OF_EACH_PROVIDER = (breaker_rules, timeout_rules, hedging_rules, adaptive_rules, upstream_rules)


def lint(channel: str, config: ChannelConfig, traffic: Traffic | None = None) -> list[Finding]:
    """Return the findings on the settings of one channel; the paths begin with ``channels``.

    Args:
        channel: its name.
        config: its settings.
        traffic: the notifications, as far as they are known. None: no finding depends on them. The recipients of
            webhooks always choose their hosts.
    """
    from actors.settings.channel import kind_of

    traffic = traffic or Traffic()
    is_webhook = kind_of(channel, config) is ChannelKind.WEBHOOK
    traffic = replace(traffic, chooses_hosts=traffic.chooses_hosts or is_webhook)
    rules = (
        retry_rules, budget_rules, _provider_rules, channel_fault_rules, load_rules, failover_rules, host_rules,
        endpoint_rules, expiry_rules, early_end_rules,
    )  # fmt: skip
    found = [finding for rule in rules for finding in rule(config, traffic)]
    return [finding.under("channels", channel) for finding in found]


def _provider_rules(config: ChannelConfig, traffic: Traffic) -> list[Finding]:
    """Return findings about the settings that each provider of a channel may have of its own.

    The path of a finding leads to the further provider whose settings make it one, also where the key is the channel's;
    but a finding about inherited settings alone is reported once, of the channel.
    """
    (_, primary), *others = config.by_provider().items()
    found = [finding for rule in _OF_EACH_PROVIDER for finding in rule(primary, traffic)]
    # A further provider gets what those before it do not take: how much of what arrives is not known.
    at_most = replace(traffic, is_bound=True)
    for name, own in others:
        given = config.failover[name].model_fields_set
        found += [
            finding.under("failover", name)
            for rule in _OF_EACH_PROVIDER
            for finding in rule(own, at_most)
            if finding.path[0] in given or finding not in found
        ]
    return found


def lint_live(
    channels: Mapping[NotificationChannel, ChannelConfig],
    reaches: Mapping[NotificationChannel, Mapping[str, Reach]],
    *,
    are_simulated: bool,
) -> list[Finding]:
    """Return the findings on the settings of a live service, whose arrivals are unknown.

    Args:
        channels: the settings, with the defaults that follow from the transports.
        reaches: the reach of each transport, by channel and by the name of the provider.
        are_simulated: whether the providers are those that the settings describe, else these are unused.
    """
    from actors.settings.channel import ProviderConfig

    found = []
    for channel, config in channels.items():
        if not are_simulated:
            unused = {"provider": ProviderConfig()}
            others = {name: other.model_copy(update=unused) for name, other in config.failover.items()}
            config = config.model_copy(update={**unused, "failover": others})
        chooses_hosts = any(reach.recipients_choose_hosts for reach in reaches[channel].values())
        traffic = Traffic(meets_channel_faults=not are_simulated, may_never_expire=True, chooses_hosts=chooses_hosts)
        found += lint(channel, config, traffic)
    return found
