"""The admin alert: tells people when they are needed, and never delays a notification."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import ClassVar, TypeAlias

from actors.instants import ns
from actors.kernel.actor import STOP_ON_FAILURE, Actor, Supervision, handles
from actors.kernel.async_handlers import failure, is_async
from actors.messages import Message, NotificationChannel
from actors.policies.breaker.per_host import recipient_host

logger = logging.getLogger(__name__)

ALERTS_KEPT = 1000

Notify: TypeAlias = Callable[[str], Awaitable[None] | None]
"""Delivers the text of an alert to people: a plain function that returns at once, or an ``async def`` that may not."""


class Alert(Message, frozen=True, kw_only=True, gc=False):
    """A notification was moved to the dead letter queue."""

    notification_id: str
    channel: NotificationChannel
    reason: str

    @property
    def text(self) -> str:
        """The text of the alert for the administrator."""
        return f"Notification {self.notification_id} moved to DLQ: {self.reason}"


class AlertOfChannel(Message, frozen=True, kw_only=True, gc=False):
    """An alert that a channel and a reason say; each kind has its own words."""

    says: ClassVar[str]
    """The text, with places for the channel and the reason."""

    channel: NotificationChannel
    reason: str

    @property
    def text(self) -> str:
        return self.says.format(channel=self.channel, reason=self.reason)


class ChannelBroken(AlertOfChannel, frozen=True, kw_only=True, gc=False):
    """A provider said that the channel itself is broken: credentials, configuration."""

    says = "Channel {channel} is broken: {reason}"


class EndpointDisabled(Message, frozen=True, kw_only=True, gc=False):
    """All attempts at an endpoint have failed for `disable_after`, so nothing is sent to it any more."""

    channel: NotificationChannel
    address: str
    """As the notification has it."""

    since: datetime
    """When the first attempt of this row of failures failed."""

    reason: str
    """The reason of the latest failure."""

    @property
    def text(self) -> str:
        since = f"all attempts have failed since {self.since:%Y-%m-%d %H:%M:%S} UTC, the latest: {self.reason}"
        return f"Endpoint {_without_secrets(self.address)} of channel {self.channel} is disabled: {since}"


class TemplateUnusable(AlertOfChannel, frozen=True, kw_only=True, gc=False):
    """A template cannot be used, and notifications that name it wait until it can."""

    says = "Notifications on channel {channel} wait for a template that cannot be used: {reason}"


class PreferencesUnusable(AlertOfChannel, frozen=True, kw_only=True, gc=False):
    """Preferences raise, and notifications wait until they answer."""

    says = "Notifications on channel {channel} wait for preferences: {reason}"


def _without_secrets(address: str) -> str:
    """Return an address as an alert shows it: of a subscription to Web Push the host, and no query of a URL."""
    return recipient_host(address) if address.lstrip().startswith("{") else address.partition("?")[0]


_AnyAlert: TypeAlias = Alert | EndpointDisabled | AlertOfChannel


class AdminAlert(Actor):
    """Raises one alert for each channel and reason, or endpoint; others within `quiet_for` seconds are only counted.

    Best effort: a `notify` that raises is reported in the log and harms nothing, and an ``async`` one may take its
    time, since each alert is delivered in an actor of its own.
    """

    supervision = Supervision(then="restart")
    _stands_at = "alert"

    def __init__(self, notify: Notify | None = None, quiet_for: float = 300.0) -> None:
        super().__init__()
        self._notify = notify
        self._quiet_for_ns = ns(quiet_for)
        self._latest_ns: dict[tuple[type, NotificationChannel, str], int] = {}
        """When each alert was last raised, the oldest first."""
        self.alerts: deque[str] = deque(maxlen=ALERTS_KEPT)
        """The texts of the latest alerts raised."""
        self.repeated = 0
        """How many were only counted."""

    @handles(Alert, ChannelBroken, EndpointDisabled, PreferencesUnusable, TemplateUnusable)
    def on_alert(self, alert: _AnyAlert) -> None:
        latest_ns, now_ns = self._latest_ns, self.now_ns
        while latest_ns and now_ns - latest_ns[oldest := next(iter(latest_ns))] >= self._quiet_for_ns:
            del latest_ns[oldest]
        key = (type(alert), alert.channel, alert.address if isinstance(alert, EndpointDisabled) else alert.reason)
        if key in latest_ns:
            self.repeated += 1
            return
        latest_ns[key] = now_ns
        self.alerts.append(alert.text)
        if self._notify is None:
            _log(alert)
        elif is_async(self._notify):
            self.spawn(_Messenger, self._notify).tell(_Bring(text=alert.text))
        else:
            try:
                self._notify(alert.text)
            except BaseException as error:
                logger.error("could not raise the alert %r", alert.text, exc_info=failure(error))


def _log(alert: _AnyAlert) -> None:
    match alert:
        case Alert():  # the queue has logged it, with the reason
            logger.debug("%s", alert.text)
        case AlertOfChannel():
            logger.warning("%s", alert.text)
        case EndpointDisabled():  # the log of the service hides URLs, whose paths may be secrets, but no hosts
            told = {"host": recipient_host(alert.address)}
            logger.warning("%s; retrylab dlq endpoints shows it", alert.text, extra={"fields": told})


class _Bring(Message, frozen=True, kw_only=True, gc=False):
    text: str


class _Messenger(Actor):
    """Delivers one alert and stops, so that a slow one delays no other."""

    supervision = STOP_ON_FAILURE

    def __init__(self, notify: Callable[[str], Awaitable[None]]) -> None:
        super().__init__()
        self._notify = notify

    @handles(_Bring)
    async def on_bring(self, bring: _Bring) -> None:
        try:
            await self._notify(bring.text)
        except BaseException as error:
            raised = failure(self.system._explained(error))
            logger.error("could not raise the alert %r", bring.text, exc_info=raised)
        self.stop()
