"""The metrics of a window of a run: delivery counts notifications offered in it, all else counts events in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.instants import ns
from actors.messages import (
    BreakerTransitioned,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from simulation.results.backlogs import waits_since_ns
from simulation.results.counters import BreakerMetrics, by_type, fold_transition
from simulation.results.interruptions import Request
from simulation.results.ledger import Ledger, Refused
from simulation.scenario.metrics import Window


class WindowMetrics:
    def __init__(self, window: Window, ledger: Ledger) -> None:
        self.window = window
        self._ledger = ledger
        self._from_ns = ns(window.from_s)
        self._to_ns = None if window.to_s is None else ns(window.to_s)
        self._accepted: set[str] = set()
        """The ids of notifications that were accepted in the window and have not been sent."""
        self._has_begun = False

    def fold(self, chunk: Sequence[RecordedEvent]) -> None:
        self._ledger.accept([event for event in chunk if type(event) is NotificationRequested])
        # Not all come in the order of their instants: what lies before an actor that is down is recorded late.
        before = [event for event in chunk if event.at_ns < self._from_ns]
        if before:
            self._ledger.carry(by_type(before))
        if not self._has_begun and len(before) < len(chunk):
            self._ledger.begin()
            self._has_begun = True
        inside = [event for event in chunk if self._holds(event.at_ns)]
        if inside:
            events = by_type(inside)
            self._ledger.count(events)
            self._ledger.follow_dead_letters(events)
        self._follow(by_type(chunk))  # what was accepted before may be for an instant in it, and ends behind it

    def _follow(self, events: Mapping[type, Sequence[Any]]) -> None:
        requested: list[NotificationRequested] = [
            event for event in events.get(NotificationRequested, ()) if self._holds(waits_since_ns(event))
        ]
        self._accepted.update([event.notification_id for event in requested])
        sent: list[NotificationSent] = [
            event for event in events.get(NotificationSent, ()) if self._holds(event.requested_at_ns)
        ]
        suppressed: list[NotificationSuppressed] = [
            event for event in events.get(NotificationSuppressed, ()) if event.notification_id in self._accepted
        ]
        self._ledger.follow(requested, suppressed, sent)
        self._accepted.difference_update([event.notification_id for event in sent])

    def refuse(self, refused: Refused, at_ns: int) -> None:
        """Note that an arrival is refused; see :meth:`Ledger.refuse`."""
        if self._holds(at_ns):
            self._ledger.refuse(refused)

    def interrupt(self, request: Request) -> None:
        """Note that the answer to a request is lost; see :meth:`Ledger.interrupt`. It counts where it is lost in the
        window; its recipient, where that person's notification was offered in it."""
        assert request.lost_ns is not None
        self._ledger.interrupt(request, counts=self._holds(request.lost_ns))

    def reach(self, request: Request) -> None:
        self._ledger.interrupt(request, counts=False)

    def _holds(self, at_ns: int) -> bool:
        return at_ns >= self._from_ns and (self._to_ns is None or at_ns < self._to_ns)

    def summary(
        self,
        simulated_ns: int,
        breakers: Sequence[str],
        transitions: Sequence[BreakerTransitioned],
        *,
        are_shared: bool,
    ) -> dict[str, Any]:
        """Return the metrics as the summary names them, after a run that has lasted so long, with these breakers, which
        nodes share or not, and all their transitions."""
        to_ns = simulated_ns if self._to_ns is None else min(self._to_ns, simulated_ns)
        opened = self._breakers(breakers, transitions, to_ns, are_shared)
        metrics = self._ledger.summary(max(0, to_ns - self._from_ns))
        channels = {name: {**figures, "breaker": opened[name]} for name, figures in metrics.pop("channels").items()}
        told_apart = {group: metrics.pop(group) for group in ("workload", "classes")}
        return {**metrics, "breaker": opened, **told_apart, "channels": channels}

    def _breakers(
        self, names: Sequence[str], transitions: Sequence[BreakerTransitioned], to_ns: int, are_shared: bool
    ) -> dict[str, dict[str, Any]]:
        before, until = ({name: BreakerMetrics(is_shared=are_shared) for name in names} for _ in range(2))
        for transition in transitions:
            if transition.at_ns < self._from_ns:
                fold_transition(before, transition)
            if transition.at_ns < to_ns:
                fold_transition(until, transition)
        found = {}
        for name in names:
            less, all_in_all = before[name].summary(self._from_ns), until[name].summary(max(to_ns, self._from_ns))
            found[name] = {key: all_in_all[key] - less[key] for key in all_in_all}
        return found
