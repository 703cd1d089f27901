"""The endpoints that fail: how each failed attempt changes its endpoint, and who learns of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.domain.endpoints import Endpoints
from actors.endpoints import EndpointMark, EndpointState
from actors.instants import utc
from actors.messages import NotificationChannel, SendNotification
from actors.outcomes import Ambiguous, Outcome, Permanent, Transient
from actors.pipeline.alert import EndpointDisabled
from actors.policies.failing_endpoints import after_failure
from actors.settings.channel import ChannelConfig


class EndpointWatch:
    """Watches the endpoints of the channels where some may be disabled."""

    def __init__(self, channels: Mapping[NotificationChannel, ChannelConfig], endpoints: Endpoints) -> None:
        self._configs = {
            channel: config.endpoints for channel, config in channels.items() if config.endpoints is not None
        }
        self._endpoints = endpoints
        self.is_on = bool(self._configs)
        self.disabled: Mapping[Any, Any] = endpoints.disabled if self._configs else {}
        """The disabled endpoints; callers look here first, as there are mostly none."""

    def is_disabled(self, command: SendNotification) -> bool:
        return command.channel in self._configs and self._endpoints.is_disabled(command.channel, command.recipient)

    def mark_of(
        self, command: SendNotification, outcome: Outcome, now_ns: int, to_alert: Callable[[Any], None]
    ) -> EndpointMark | None:
        """Return the new state of an endpoint after a failed attempt, and raise an alert if that disables it.

        A broken channel, a throttle, a request that could not be written and an address gone for good do not count
        against the endpoint.
        """
        config = self._configs.get(command.channel)
        if config is None or not command.recipient or not _tells_of_endpoint(outcome):
            return None
        known = self._endpoints.find(command.channel, command.recipient)
        mark = after_failure(None if known is None else known.mark, config, now_ns)
        if mark is not None and mark.state is EndpointState.DISABLED:
            to_alert(
                EndpointDisabled(
                    channel=command.channel,
                    address=command.recipient,
                    since=utc(mark.since_ns),
                    reason=outcome.reason,
                )
            )
        return mark


def _tells_of_endpoint(outcome: Outcome) -> bool:
    match outcome:
        case Transient():
            return not outcome.throttled
        case Permanent():
            return not outcome.unwritten
        case _:
            return isinstance(outcome, Ambiguous)
