"""The admin alert: tells people that something landed in the dead letter queue, and never gets in anyone's way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from actors.actor import Actor, handles
from actors.instants import ns
from actors.messages import Message, NotificationChannel

logger = logging.getLogger(__name__)

ALERTS_KEPT = 1000


class Alert(Message, frozen=True, kw_only=True, gc=False):
    """A notification was moved to the dead letter queue."""

    notification_id: str
    channel: NotificationChannel
    reason: str

    @property
    def text(self) -> str:
        """What the administrator reads."""
        return f"Notification {self.notification_id} moved to DLQ: {self.reason}"


class AdminAlert(Actor):
    """Raises one alert for each channel and reason; further ones within `quiet_for` seconds are only counted.

    Best effort: `notify` may raise or be slow to no harm, since it is called in this actor and no other one waits for
    it.
    """

    def __init__(self, notify: Callable[[str], None] | None = None, quiet_for: float = 300.0) -> None:
        super().__init__()
        self._notify = notify if notify is not None else logger.warning
        self._quiet_for_ns = ns(quiet_for)
        self._latest_ns: dict[tuple[NotificationChannel, str], int] = {}
        self.alerts: deque[str] = deque(maxlen=ALERTS_KEPT)
        """The texts of the latest alerts raised."""
        self.repeated = 0
        """How many were only counted."""

    @handles(Alert)
    def on_alert(self, alert: Alert) -> None:
        key = (alert.channel, alert.reason)
        latest_ns = self._latest_ns.get(key)
        if latest_ns is not None and self.now_ns - latest_ns < self._quiet_for_ns:
            self.repeated += 1
            return
        self._latest_ns[key] = self.now_ns
        self.alerts.append(alert.text)
        self._notify(alert.text)
