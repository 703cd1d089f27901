"""What a recording says about notifications, for comparing it with what a notifier answers."""

from collections import Counter, OrderedDict
from typing import Any

import msgspec

from actors.messages import (
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)

STEPS = (
    NotificationRequested,
    NotificationFailed,
    NotificationDeferred,
    NotificationSent,
    NotificationSuppressed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    DeadLetterDiscarded,
)
"""The events that are a part of the history of a notification."""

ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)


class Book:
    """All that was recorded, and where each notification is by that."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.histories: dict[str, list[Any]] = {}
        """By id, what has happened since it was accepted last."""
        self.states: dict[str, str] = {}
        self.open: dict[str, Any] = {}
        self.dead: OrderedDict[str, NotificationMovedToDeadLetter] = OrderedDict()
        """In the order in which they died."""
        self.ended_ns: dict[str, int] = {}
        """When those ended that are neither open nor dead letters, on the clock of the run."""
        self.breakers: dict[tuple[str, str | None], str] = {}
        self.counts: Counter[tuple[str, type]] = Counter()

    def record(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, BreakerTransitioned):
            self.breakers[event.breaker, event.host] = event.to_state
        if isinstance(event, STEPS):
            self._step(event)

    def _step(self, event: Any) -> None:
        name, kind = event.notification_id, type(event)
        self.counts[name, kind] += 1
        if kind is NotificationRequested:
            self.histories[name] = []
            self.ended_ns.pop(name, None)
        self.histories[name].append(event)
        if kind in (NotificationRequested, NotificationRedriven):
            self.open[name] = event
            self.dead.pop(name, None)
            self.states[name] = "in flight"
        elif kind in ENDS:
            del self.open[name]
            if kind is NotificationMovedToDeadLetter:
                self.dead[name] = event
                self.states[name] = "dead letter"
            else:
                self.ended_ns[name] = event.at_ns
                is_cancelled = kind is NotificationSuppressed and event.reason == "cancelled"
                self.states[name] = {NotificationSent: "sent"}.get(kind, "cancelled" if is_cancelled else "suppressed")
        elif kind is DeadLetterDiscarded:
            del self.dead[name]
            self.ended_ns[name] = event.at_ns
            self.states[name] = "discarded"

    def edited(self, name: str, accepted: SendNotification) -> SendNotification:
        """Return a command with all edits of its redrives."""
        edits = [each.edit for each in self.histories[name] if type(each) is NotificationRedriven]
        return msgspec.structs.replace(accepted, **{field: edit[field] for edit in edits for field in edit})

    def is_served(self, name: str) -> bool:
        """Tell whether another notification of the request of a dead letter was delivered, or is under way."""
        first = self._request_of(name)
        others = [each for each in self.histories if each != name and self._request_of(each) == first]
        return any(self.states[each] in ("sent", "in flight") for each in others)

    def _request_of(self, name: str) -> str:
        requested = self.histories[name][0]
        before = self.histories.get(requested.instead_of)
        if before is None or before[0].at_ns > requested.at_ns:  # then that is another one, whose id was forgotten
            return name
        return self._request_of(requested.instead_of)

    def since(self, place: int, name: str, kind: type) -> list[Any]:
        """Return the events of a notification and a type from a place in the recording on."""
        return [each for each in self.events[place:] if type(each) is kind and each.notification_id == name]

    def duplicates_since(self, place: int, name: str, *, conflict: bool) -> int:
        """Return how often an id came again, from a place on, with another payload or with the same."""
        return sum(each.conflict is conflict for each in self.since(place, name, DuplicateIgnored))

    def accepted_at(self, name: str) -> int:
        """Return the place in the recording of the latest acceptance of an id; -1: there is none."""
        for place in range(len(self.events) - 1, -1, -1):
            event = self.events[place]
            if type(event) is NotificationRequested and event.notification_id == name:
                return place
        return -1

    def is_with_a_provider(self, name: str, asked_ns: dict[str, int]) -> bool:
        """Tell whether an attempt may have begun whose outcome is not recorded.

        Args:
            name: of which notification.
            asked_ns: by id, when a provider was asked last.
        """
        outcomes = [each.at_ns for each in self.histories[name] if isinstance(each, (NotificationFailed, *ENDS))]
        return name in asked_ns and (not outcomes or asked_ns[name] >= outcomes[-1])
