"""How long after each fault its backlog lasts: notifications accepted on its channels before its end and pending."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import (
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)

CHANGES: Mapping[type, int] = {
    NotificationRequested: 1,
    NotificationRedriven: 1,
    NotificationSent: -1,
    NotificationSuppressed: -1,
    NotificationMovedToDeadLetter: -1,
}
"""By how much an event changes how many notifications are pending."""


instant_of = attrgetter("at_ns")
"""Returns the instant of an event."""


def waits_since_ns(requested: NotificationRequested) -> int:
    """Return since when the user of a notification waits: since the first of its chain of fallbacks was accepted."""
    return requested.at_ns if requested.waited_since_ns is None else requested.waited_since_ns


def _accepted_ns(requested: NotificationRequested) -> int:
    """Return when the first notification of a chain of fallbacks was accepted, even if it is for a later instant."""
    return min(requested.at_ns, waits_since_ns(requested))


class FaultTimes(NamedTuple):
    number: int
    channels: Container[NotificationChannel]
    begins_ns: int
    ends_ns: int


class Backlogs:
    def __init__(self, faults: Sequence[FaultTimes], *, is_in_order: bool = True) -> None:
        """Follow these faults, which all end. Unless events come in the order of their instants, all are kept to the
        end of the run: messages of an actor that is down are recorded when it is back."""
        self._is_in_order = is_in_order
        self._kept: list[RecordedEvent] = []
        self._backlogs = [Backlog(fault) for fault in faults]
        self._under_way = list(self._backlogs)

    def fold(self, chunk: Sequence[RecordedEvent]) -> None:
        if not self._under_way:
            return
        if not self._is_in_order:
            self._kept += [event for event in chunk if type(event) in CHANGES]
            return
        changes: list[Any] = [event for event in chunk if type(event) in CHANGES]
        for backlog in self._under_way:
            backlog.fold([event for event in changes if event.channel in backlog.fault.channels])
        self._under_way = [backlog for backlog in self._under_way if backlog.cleared_ns is None]

    def end(self, simulated_ns: int) -> dict[str, dict[str, Any]]:
        """Return the summary of each fault, for a run that has lasted so long."""
        if self._kept:
            kept, self._kept, self._is_in_order = sorted(self._kept, key=instant_of), [], True
            self.fold(kept)
        return {str(each.fault.number): {"backlog_cleared_s": each.cleared_s(simulated_ns)} for each in self._backlogs}

    def least_s(self, number: int, now_ns: int) -> float | None:
        """Return how long the backlog of a fault stays at least, as far as it is known; None: it is not."""
        for each in self._backlogs if self._is_in_order else ():
            if each.fault.number == number and each.cleared_ns is None and now_ns > each.fault.ends_ns:
                return (now_ns - each.fault.ends_ns) / NS_PER_S
        return None


class Backlog:
    def __init__(self, fault: FaultTimes) -> None:
        self.fault = fault
        self.cleared_ns: int | None = None
        """When no more was pending than as the fault began."""
        self._pending = 0
        self._at_begin: int | None = None
        self._left: int | None = None
        """The notifications accepted before the end of the fault that are pending; None before that end."""
        self._younger: set[str] = set()
        """The ids of notifications that were accepted after the end of the fault."""

    def fold(self, chunk: Sequence[Any]) -> None:
        """Take in the events that change how many are pending on its channels, in order."""
        pending = [*accumulate([CHANGES[type(event)] for event in chunk], initial=self._pending)]
        self._pending = pending[-1]
        fault, first = self.fault, 0
        if self._at_begin is None:
            first = bisect_left(chunk, fault.begins_ns, key=instant_of)
            if first == len(chunk):
                return
            self._at_begin = pending[first]
        if self._left is None:
            first = bisect_left(chunk, fault.ends_ns, lo=first, key=instant_of)
            if first == len(chunk):
                return
            self._left = pending[first]
            if self._left <= self._at_begin:
                self.cleared_ns = fault.ends_ns
                return
        for event in chunk[first:]:
            if not self._is_younger(event):
                self._left += CHANGES[type(event)]
                if self._left <= self._at_begin:
                    self.cleared_ns = event.at_ns
                    self._younger.clear()
                    return

    def _is_younger(self, event: Any) -> bool:
        if isinstance(event, NotificationRequested):
            is_younger = _accepted_ns(event) >= self.fault.ends_ns
            if is_younger:
                self._younger.add(event.notification_id)
            return is_younger
        return event.notification_id in self._younger

    def cleared_s(self, simulated_ns: int) -> float | None:
        """Return how long after the end of the fault its backlog was gone; None if it never was in a run that ended
        so."""
        ends_ns = self.fault.ends_ns
        if self.cleared_ns is not None:
            return (self.cleared_ns - ends_ns) / NS_PER_S
        at_begin = self._pending if self._at_begin is None else self._at_begin
        is_clear = self._left is None and simulated_ns >= ends_ns and self._pending <= at_begin
        return 0.0 if is_clear else None
