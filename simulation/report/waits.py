"""How long people waited for notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from actors.instants import NS_PER_S
from actors.messages import NotificationRequested

if TYPE_CHECKING:
    from simulation.result import Result


def waited_for(result: Result) -> pd.DataFrame:
    """Return ``result.notifications`` with `requested_at` as the summary counts delivery times.

    Of a fallback that is when the first of those was accepted that it stands in for: since then its user waits.
    """
    table = result.notifications
    if all(result.scenario.channel_config(channel).fallback is None for channel in result.scenario.channels_used):
        return table
    since_s = {
        event.notification_id: event.waited_since_ns / NS_PER_S
        for event in result.history
        if type(event) is NotificationRequested and event.waited_since_ns is not None
    }
    return table.assign(requested_at=table["id"].map(since_s).fillna(table["requested_at"]))
