"""The part that a notification had in the death of a process: it had not ended when its process died."""

from __future__ import annotations

import msgspec

from actors.messages import NotificationDeferred, NotificationEvent, NotificationFailed

PAUSE_S = 10.0
"""For how many seconds after the start of its process a notification waits for each death that is counted."""

DEATHS_MAX = 3
REASON = "its process has ended three times while nothing else was being sent"
"""The reason of the dead letter after `DEATHS_MAX` deaths."""


class Caution(msgspec.Struct, frozen=True, gc=False):
    """The part that a notification may have had in the death of its process. An outcome of an attempt ends it."""

    suspicions: int = 0
    """How many times in a row a process has died while an attempt of the notification was under way."""

    deaths: int = 0
    """How many of these times no other attempt was under way."""

    def after_death(self, *, was_alone: bool) -> Caution:
        return Caution(self.suspicions + 1, self.deaths + was_alone)


def ends_caution(event: NotificationEvent) -> bool:
    """Tell whether an event says that a process has outlived an attempt of its notification, or that none will follow.

    A notification that is deferred, or refused on our side, has not been tried: its caution stays.
    """
    return not (type(event) is NotificationDeferred or (type(event) is NotificationFailed and event.refused))
