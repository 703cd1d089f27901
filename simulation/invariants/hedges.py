"""Hedging: no more copies of an attempt than there may be, and none before its time."""

from __future__ import annotations

from actors.messages import NotificationFailed, NotificationSent
from simulation.invariants.base import Context, Invariant, Verdict, observes


class Hedges(Invariant):
    """An attempt is sent as often as the `hedging` of its channel allows, the first time included."""

    name = "hedges"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._most = dict.fromkeys(context.channels, 1)
        for (channel, _), config in context.providers.items():
            if config.hedging is not None:
                self._most[channel] = max(self._most[channel], config.hedging.max_attempts)

    @observes(NotificationSent, NotificationFailed)
    def on_outcome(self, event: NotificationSent | NotificationFailed) -> Verdict:
        most = self._most[event.channel]
        if 1 + event.hedges <= most:
            return None
        return f"an attempt of {event.notification_id} was sent {1 + event.hedges} times, of at most {most}"
