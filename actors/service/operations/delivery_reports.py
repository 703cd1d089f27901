"""Delivery reports: the later word of a provider on a message. Dead addresses are suppressed; all are counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec
import trio

from actors.domain.audit import AuditEntry
from actors.domain.store import SettingsChange, Store
from actors.domain.suppressions import Suppression, SuppressionSource, normal_address, printable_reason
from actors.errors import StoreBusy
from actors.kernel.effects import Effect
from actors.messages import NotificationChannel
from actors.outcomes import DeadDestination, Outcome, Sent
from actors.service.observability.metrics import Metrics

logger = logging.getLogger("retrylab.service")

UNDELIVERED = "undelivered"
"""The action of a report in the audit trail."""

AT_ONCE = 20
"""Reports that are made durable together, before others may go on: a piece of some ten milliseconds."""

REMEMBERED = 10_000
"""The latest reports, by which one that comes again is known at once."""

ENTRIES_LOOKED_AT = 100
"""The latest audit entries of its notification, by which one that comes again is known after a restart, or elsewhere.

A report of a message that this service has not sent names no notification, and is looked for among the latest of all.
One that comes again behind more than these counts once more, and suppresses an address that an operator has lifted.
"""


_Key: TypeAlias = tuple[str | None, ...]


class DeliveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """The final word of a provider on one message."""

    outcome: Outcome
    channel: NotificationChannel
    address: str
    """The address to which the message went."""
    by: str
    """The provider, or the token of the program, that reports it."""
    notification_id: str | None = None
    """The id of the notification. None: it is not known."""
    message_id: str | None = None
    """The provider's own name of the message; None: it gives none."""


class DeliveryReports:
    """Takes delivery reports: what ended as sent stays so, and is in the audit trail, the log and the metrics."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._taken: dict[_Key, None] = {}
        self._taking: WeakValueDictionary[_Key, trio.Lock] = WeakValueDictionary()

    async def take(self, report: DeliveryReport) -> bool:
        """Take a report, unless it came before; return whether its address is suppressed by it. Raise StoreError where
        it cannot be made durable, or looked up."""
        entry = _entry(report, 0)
        key = entry.about, entry.why, entry.by, entry.notification_id, entry.message_id
        async with self._taking.setdefault(key, trio.Lock()):
            if key in self._taken or await self._is_in_trail(report):
                return False
            suppresses, effect = self._hand_over(report)
            await self._store.wait_for(effect)
            self._taken[key] = None
            if len(self._taken) > REMEMBERED:
                del self._taken[next(iter(self._taken))]
        return suppresses

    async def take_all(self, reports: Sequence[DeliveryReport]) -> int:
        """Take reports, a few at a time, whether or not they came before; return how many addresses are suppressed.
        Raise StoreError where they cannot all be made durable; the first of them are."""
        suppressed = 0
        for start in range(0, len(reports), AT_ONCE):
            handed_over = [self._hand_over(report) for report in reports[start : start + AT_ONCE]]
            for suppresses, effect in handed_over:
                await self._store.wait_for(effect)
                suppressed += suppresses
            await trio.lowlevel.checkpoint()
        return suppressed

    async def _is_in_trail(self, report: DeliveryReport) -> bool:
        if isinstance(report.outcome, Sent):
            return False
        trail = await self._store.audit_trail(limit=ENTRIES_LOOKED_AT, notification_id=report.notification_id)
        return any(entry == _entry(report, entry.at_ns) for entry in trail)

    def _hand_over(self, report: DeliveryReport) -> tuple[bool, Effect | None]:
        if self._store.is_busy:
            raise StoreBusy
        outcome, kind = report.outcome, type(report.outcome).__name__
        self._metrics.count_report(report.channel, kind)
        if isinstance(outcome, Sent):
            return False, None
        fields = {"channel": report.channel.value, "id": report.notification_id, "kind": kind, "by": report.by}
        logger.warning("reported as undelivered", extra={"fields": fields})
        entry = _entry(report, time.time_ns())
        known = self._store.suppressions.find(report.channel, report.address)
        if known is not None or not isinstance(outcome, DeadDestination):
            return False, self._store.note(entry)
        suppression = Suppression(
            channel=report.channel,
            address=report.address,
            reason=printable_reason(outcome.reason),
            source=SuppressionSource.PROVIDER,
            since_ns=entry.at_ns,
            by=report.by,
        )
        return True, self._store.change(SettingsChange(audit=entry, suppressed=(suppression,)))


def _entry(report: DeliveryReport, at_ns: int) -> AuditEntry:
    return AuditEntry(
        at_ns=at_ns,
        action=UNDELIVERED,
        by=report.by,
        notification_id=report.notification_id,
        about=f"{report.channel} {normal_address(report.channel, report.address)}",
        why=printable_reason(report.outcome.reason) if not isinstance(report.outcome, Sent) else None,
        message_id=report.message_id,
    )
