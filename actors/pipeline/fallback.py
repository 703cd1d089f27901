"""Fallback from one channel to another: what one dead-letters goes out on the next, as a notification of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from actors.instants import NS_PER_S, wait_ns
from actors.messages import ChannelKind, NotificationChannel, SendNotification
from actors.settings.channel import ChannelConfig, FallbackConfig

logger = logging.getLogger(__name__)


class Fallbacks:
    """Where each channel falls back to, and how long it may take before."""

    def __init__(self, channels: Mapping[NotificationChannel, ChannelConfig]) -> None:
        self._by_channel: dict[NotificationChannel, FallbackConfig] = {
            channel: config.fallback for channel, config in channels.items() if config.fallback is not None
        }
        self._calls = {channel for channel, config in channels.items() if config.kind is ChannelKind.CALL}
        """The channels that need no address."""

    def time_limit_ns(self, command: SendNotification, now_ns: int) -> int | None:
        """Return the last instant at which what sets out now on its channel may be sent there; None: there is no limit,
        also where the fallback would have no address."""
        fallback = self._by_channel.get(command.channel)
        if fallback is None or fallback.after is None or self._address_of(command, fallback.channel) is None:
            return None
        return now_ns + wait_ns(fallback.after)

    def _address_of(self, command: SendNotification, channel: NotificationChannel) -> str | None:
        return command.addresses.get(channel, "" if channel in self._calls else None)

    def instead_of(self, command: SendNotification, now_ns: int, expires_at_ns: int | None) -> SendNotification | None:
        """Return the fallback for a command that its channel has dead-lettered; None when there is none."""
        fallback = self._by_channel.get(command.channel)
        if fallback is None:
            return None
        recipient = self._address_of(command, fallback.channel)
        if recipient is None:
            logger.warning("%s: no address for a fallback to %s", command.notification_id, fallback.channel)
            return None
        left_s = None if expires_at_ns is None else (expires_at_ns - now_ns) / NS_PER_S
        if left_s is not None and left_s < 0:
            return None
        return SendNotification(
            notification_id=f"{command.notification_id}/{fallback.channel}",
            channel=fallback.channel,
            recipient=recipient,
            message=command.message,
            subject=command.subject,
            metadata=command.metadata,
            user_id=command.user or None,
            critical=command.critical,
            priority=command.priority,
            expires_after=left_s,
            addresses=command.addresses,
            zone=command.zone,
        )


def problems_of_fallbacks(channels: Mapping[NotificationChannel, ChannelConfig]) -> Iterator[str]:
    """Yield the problems of the fallbacks among these channels: to a channel that is not there, or in a circle."""
    for start, config in channels.items():
        way = [start]
        fallback = config.fallback
        while fallback is not None and fallback.channel in channels and fallback.channel not in way:
            way.append(fallback.channel)
            fallback = channels[fallback.channel].fallback
        if fallback is None:
            continue
        if fallback.channel == start:
            yield (
                f"channels.{start}.fallback.channel: wanted fallbacks that end somewhere, got "
                + " to ".join([*way, start])
            )
        elif fallback.channel not in channels and len(way) == 1:
            yield (
                f"channels.{start}.fallback.channel: wanted a channel with settings of its own "
                f"({', '.join(channels)}), got {fallback.channel.value!r}"
            )
