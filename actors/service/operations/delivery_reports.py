"""Delivery reports: what a provider says later of what it had taken. Dead addresses are suppressed; all are counted."""

from __future__ import annotations

import logging
import time

from actors.domain.audit import AuditEntry
from actors.domain.store import SettingsChange, Store
from actors.domain.suppressions import Suppression, SuppressionSource, normal_address, printable_reason
from actors.messages import NotificationChannel
from actors.outcomes import DeadDestination, Outcome, Sent
from actors.service.observability.metrics import Metrics
from actors.service.operations.dead_letters import done

logger = logging.getLogger("retrylab.service")

UNDELIVERED = "undelivered"
"""The action of a report in the audit trail."""


async def take_report(
    store: Store,
    metrics: Metrics,
    outcome: Outcome,
    *,
    channel: NotificationChannel,
    address: str,
    by: str,
    notification_id: str | None = None,
) -> bool:
    """Take a report; return whether it has its address suppressed from now on.

    What ended as sent stays so; that it was not delivered is in the audit trail, in the log and in the metrics.

    Args:
        store: keeps the suppression, and the entry of the audit trail.
        metrics: counts it.
        outcome: what it says, which is final.
        channel: on which channel.
        address: whose message it is about.
        by: who reports it.
        notification_id: which notification it is about; None where that is not known.

    Raises:
        StoreError: it cannot be made durable.
    """
    kind = type(outcome).__name__
    metrics.count_report(channel, kind)
    if isinstance(outcome, Sent):
        return False
    fields = {"channel": channel.value, "id": notification_id, "kind": kind, "by": by}
    logger.warning("reported as undelivered", extra={"fields": fields})
    now_ns = time.time_ns()
    entry = AuditEntry(
        at_ns=now_ns,
        action=UNDELIVERED,
        by=by,
        notification_id=notification_id,
        about=f"{channel} {normal_address(channel, address)}",
        why=printable_reason(outcome.reason),
    )
    is_new = isinstance(outcome, DeadDestination) and store.suppressions.find(channel, address) is None
    if not is_new:
        await done(store.note(entry))
        return False
    suppression = Suppression(
        channel=channel,
        address=address,
        reason=printable_reason(outcome.reason),
        source=SuppressionSource.PROVIDER,
        since_ns=now_ns,
        by=by,
    )
    await done(store.change(SettingsChange(audit=entry, suppressed=(suppression,))))
    return True
