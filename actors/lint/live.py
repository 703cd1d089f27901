"""The linter over the channels of a live service."""

from __future__ import annotations

from collections.abc import Mapping

from actors.lint.channel import Finding, lint
from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig, ProviderConfig
from actors.settings.defaults import Reach


def lint_live(
    channels: Mapping[NotificationChannel, ChannelConfig],
    reaches: Mapping[NotificationChannel, Mapping[str, Reach]],
    *,
    are_simulated: bool,
) -> list[Finding]:
    """Return what cannot work in the settings of a live service, of which it is not known what arrives.

    Args:
        channels: the settings, with the defaults that follow from the transports.
        reaches: those of the transports of each channel, by the name of the provider.
        are_simulated: whether the providers are those that the settings describe, else these are unused.
    """
    found = []
    for channel, config in channels.items():
        if not are_simulated:
            others = {
                name: other.model_copy(update={"provider": ProviderConfig()}) for name, other in config.failover.items()
            }
            config = config.model_copy(update={"provider": ProviderConfig(), "failover": others})
        found += lint(
            channel,
            config,
            meets_channel_faults=not are_simulated,
            recipients_choose_hosts=any(reach.recipients_choose_hosts for reach in reaches[channel].values()),
        )
    return found
