"""Endpoints at which every attempt fails, and the disabled ones among them, as a store keeps them.

An endpoint is an address of a channel, in its normal form. Its new state after a failed attempt is in the event of the
failure (:class:`~actors.endpoints.EndpointMark`), so that both become durable at once. A successful attempt removes the
state; an operator enables a disabled endpoint, by an order or by the redrive of a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.suppressions import Key, normal_address, printable_reason
from actors.endpoints import EndpointMark, EndpointState
from actors.instants import utc
from actors.messages import (
    Message,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationRedriven,
    NotificationSent,
    SendNotification,
)

DISABLE, ENABLE = "disable endpoint", "enable endpoint"
"""The actions of the audit trail."""

DELIVERED = "a notification was sent to it"

FORGOTTEN_AT_ONCE = 2
"""How many are forgotten, if their time has passed, for each that comes: so they become fewer."""


class Endpoint(Message, frozen=True, kw_only=True, gc=False):
    """An endpoint at which every attempt fails."""

    channel: NotificationChannel
    address: str
    """In its normal form."""

    mark: EndpointMark
    reason: str
    """The reason of the failure that led to this state."""

    marked_ns: int
    """When, in nanoseconds since 1970."""

    def __post_init__(self) -> None:
        normal = normal_address(self.channel, self.address)
        if normal != self.address:  # an earlier release had another normal form
            msgspec.structs.force_setattr(self, "address", normal)

    @property
    def key(self) -> Key:
        return self.channel, self.address

    @property
    def state(self) -> EndpointState:
        """The state of the endpoint: suspected, failing or disabled."""
        return self.mark.state

    @property
    def since(self) -> datetime:
        """Since when all attempts fail, in UTC."""
        return utc(self.mark.since_ns)

    @property
    def disabled_at(self) -> datetime | None:
        """When it was disabled, in UTC; None: it is not."""
        return utc(self.marked_ns) if self.state is EndpointState.DISABLED else None


class EndpointChange(NamedTuple):
    """The change of an endpoint by an event of a notification."""

    endpoints: dict[Key, Endpoint | None]
    """The state from now on; None: it is no longer known as failing."""

    audit: AuditEntry | None = None
    """That it was disabled or enabled, without an operator."""


class Endpoints:
    """All known endpoints: always the same object in a store."""

    def __init__(self) -> None:
        self.disabled: dict[Key, Endpoint] = {}
        """Always the same object, for the handler to look into."""
        self._failing: dict[Key, Endpoint] = {}
        """The endpoints that fail and are not disabled, nearly in the order in which they began to fail."""
        self.any = False
        """Whether there are any at all: mostly there are none, and each event asks."""

    def __iter__(self) -> Iterator[Endpoint]:
        yield from self.disabled.values()
        yield from self._failing.values()

    def find(self, channel: NotificationChannel, address: str) -> Endpoint | None:
        """Return the endpoint of an address; None: it is not known as failing."""
        return self.at((channel, normal_address(channel, address)))

    def is_disabled(self, channel: NotificationChannel, address: str) -> bool:
        return (channel, normal_address(channel, address)) in self.disabled

    def at(self, key: Key) -> Endpoint | None:
        """Return the endpoint of an address in its normal form; None: it is not known as failing."""
        return self.disabled.get(key) or self._failing.get(key)

    def set(self, key: Key, endpoint: Endpoint | None) -> None:
        """Know this of one from now on; None: nothing."""
        self.disabled.pop(key, None)
        if endpoint is None or endpoint.state is not EndpointState.FAILING:
            self._failing.pop(key, None)
        if endpoint is not None:
            (self.disabled if endpoint.state is EndpointState.DISABLED else self._failing)[key] = endpoint
        self.any = bool(self.disabled or self._failing)

    def clear(self) -> None:
        self.disabled.clear()
        self._failing.clear()
        self.any = False

    def apply(self, change: EndpointChange) -> None:
        for key, endpoint in change.endpoints.items():
            self.set(key, endpoint)

    def change_by(self, event: NotificationEvent, command: SendNotification) -> EndpointChange | None:
        """Return what changes by an event of the notification of a command; None: nothing."""
        if isinstance(event, NotificationFailed):
            return None if event.endpoint is None else self._marked(event, event.endpoint, command.recipient)
        if not self.any:
            return None
        if isinstance(event, NotificationSent):
            known = self.find(event.channel, command.recipient)
            is_back = known is not None
        elif isinstance(event, NotificationRedriven) and not event.without_operator:
            known = self.find(event.channel, command.recipient)
            is_back = known is not None and known.state is EndpointState.DISABLED
        else:
            return None
        if known is None or not is_back:
            return None
        is_told = known.state is EndpointState.DISABLED and isinstance(event, NotificationSent)
        return EndpointChange({known.key: None}, _entry(ENABLE, event, known, DELIVERED) if is_told else None)

    def _marked(self, event: NotificationFailed, mark: EndpointMark, address: str) -> EndpointChange:
        now_ns = event.epoch_ns + event.at_ns
        endpoint = Endpoint(
            channel=event.channel,
            address=address,
            mark=mark,
            reason=printable_reason(event.reason),
            marked_ns=now_ns,
        )
        changes: dict[Key, Endpoint | None] = {
            key: None for key, old in islice(self._failing.items(), FORGOTTEN_AT_ONCE) if old.mark.until_ns <= now_ns
        }
        changes[endpoint.key] = endpoint
        is_disabled = mark.state is EndpointState.DISABLED
        return EndpointChange(changes, _entry(DISABLE, event, endpoint, endpoint.reason) if is_disabled else None)


def _entry(action: str, event: NotificationEvent, endpoint: Endpoint, why: str) -> AuditEntry:
    return AuditEntry(
        at_ns=event.epoch_ns + event.at_ns,
        action=action,
        notification_id=event.notification_id,
        about=about(endpoint),
        why=why,
    )


def about(endpoint: Endpoint) -> str:
    """Return the name of an endpoint in the audit trail."""
    return f"{endpoint.channel} {endpoint.address}"
