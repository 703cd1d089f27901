"""The store's records of notifications, and the state that a start finds in it (sections 6, 7 and 9).

The state of a notification follows from its history alone, so a handler that starts again has the same state of each as
before, except for what was only in memory: how far the jitter of its waits had come, whether a wait was drawn or asked
for by a provider, and its retry budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from actors.endpoints import EndpointMark, EndpointState
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from simulation.verification.model.addresses import DISABLED, address
from simulation.verification.model.notifications import Notification


def state_after(command: SendNotification, events: list[NotificationEvent], epoch_ns: int, now_ns: int) -> Notification:
    """Return the state of a notification with this history, on the clock that started at `epoch_ns`.

    A history is kept by the calendar: where the wall clock was stepped, its instants move by the step. But nothing was
    accepted in the future, and no wait is longer than it was decided.
    """

    def here(event: NotificationEvent, instant_ns: int) -> int:
        return instant_ns + event.epoch_ns - epoch_ns

    requested = events[0]
    accepted_ns = here(requested, requested.at_ns)
    since_ns = getattr(requested, "waited_since_ns", None)
    state = Notification(command, accepted_ns if since_ns is None else here(requested, since_ns), accepted_ns)
    state.schedule(epoch_ns)
    scheduled_ns = state.due_ns
    for event in events:
        state.due_ns = scheduled_ns if event is requested else None
        resumes_ns = None
        if isinstance(event, NotificationFailed):
            state.attempts, state.counted_for_user = event.attempt, True
            state.fail(event)
            if state.first_start_ns is None and not event.refused:
                state.first_start_ns = here(event, event.started_ns)
            resumes_ns = event.next_retry_at_ns
        elif isinstance(event, NotificationDeferred):
            resumes_ns = event.resumes_at_ns
        elif isinstance(event, NotificationMovedToDeadLetter):
            state.first_failed_ns = state.first_failed_ns or event.at_ns + event.epoch_ns
        elif isinstance(event, NotificationRedriven):
            state.edit(event.edit)
            state.redriven_without_operator += event.without_operator
            state.fresh_since_ns, state.older = here(event, event.at_ns), len(state.failures)
            state.attempts, state.counted_for_user, state.given_up = 0, True, None
            state.first_start_ns = None
            scheduled_ns = None
        if resumes_ns is not None:
            state.due_ns = min(here(event, resumes_ns), now_ns + resumes_ns - event.at_ns)
    latest_ns = max(now_ns, scheduled_ns or now_ns)
    state.waited_since_ns = min(state.waited_since_ns, latest_ns)
    state.fresh_since_ns = min(state.fresh_since_ns, latest_ns)
    if state.first_start_ns is not None:
        state.first_start_ns = min(state.first_start_ns, now_ns)
    return state


class History(msgspec.Struct):
    """The history of a notification in the store."""

    command: SendNotification
    events: list[NotificationEvent]
    node: int | None
    """Which of several has it under way, or had it last."""


class Store:
    """The state that outlives a crash of the process: histories of unfinished notifications, dead letters, ids, gone
    addresses.

    A read sees at once all changes that were handed to it.
    """

    def __init__(self, remember_ns: int) -> None:
        self.remember_ns = remember_ns
        self.begin_empty()

    def begin_empty(self) -> None:
        self.open: dict[str, History] = {}
        self.dead: dict[str, History] = {}
        self.gone: set[tuple[str, str]] = set()
        """Addresses of which a provider has said that they are gone."""
        self.endpoints: dict[tuple[str, str], EndpointMark] = {}
        """By address, what is known of those of which every attempt fails."""
        self.ids: dict[str, SendNotification] = {}
        self._ended: deque[tuple[int, str]] = deque()
        self._latest_ended_ns = 0
        self._requests: dict[str, list[str]] = {}
        """By each that is one of several of a request, all of them."""
        self._delivered: set[str] = set()
        """Of these, those that were sent."""

    def keep(self, event: NotificationEvent, command: SendNotification, node: int | None) -> None:
        name, calendar_ns = event.notification_id, event.epoch_ns + event.at_ns
        match event:
            case NotificationFailed():
                self.open[name].events.append(event)
                if event.kind == "DeadDestination" and command.recipient:
                    self.gone.add(address(command))
                if event.endpoint is not None:
                    self._mark(address(command), event.endpoint, calendar_ns)
            case NotificationRequested():
                self.open[name] = History(command, [event], node)
                if event.instead_of is not None:
                    self._join(name, event.instead_of)
            case NotificationSent() | NotificationSuppressed():
                if self.endpoints and isinstance(event, NotificationSent):
                    self.endpoints.pop(address(command), None)
                self._remember(self.open.pop(name).command, calendar_ns)
                self._end(name, delivered=isinstance(event, NotificationSent))
            case NotificationMovedToDeadLetter():
                entry = self.dead[name] = self.open.pop(name)
                entry.events.append(event)
                self.ids[name] = entry.command
            case NotificationRedriven():
                entry = self.open[name] = self.dead.pop(name)
                entry.events.append(event)
                entry.node = node
                self.ids.pop(name, None)
                self.gone.discard(address(command))
                if self.is_disabled(command) and not event.without_operator:
                    del self.endpoints[address(command)]
            case DeadLetterDiscarded():
                self._remember(self.dead.pop(name).command, calendar_ns)
                self._end(name, delivered=False)
            case _:
                self.open[name].events.append(event)

    def _mark(self, key: tuple[str, str], mark: EndpointMark, calendar_ns: int) -> None:
        """Know this of an endpoint; and forget, as each mark does, the two oldest whose time is over by the calendar.

        Where the calendar is set back after that, they are as forgotten as before.
        """
        failing = (each for each, known in self.endpoints.items() if known.state is not DISABLED)
        for each in list(islice(failing, 2)):
            if self.endpoints[each].until_ns <= calendar_ns:
                del self.endpoints[each]
        if mark.state is not EndpointState.FAILING:  # which keeps its place among those that fail
            self.endpoints.pop(key, None)
        self.endpoints[key] = mark

    def accepted_first(self, event: NotificationEvent) -> SendNotification | None:
        """Return the command under way with the id of one that is about to be accepted: another node was faster."""
        entry = self.open.get(event.notification_id) if isinstance(event, NotificationRequested) else None
        return None if entry is None else entry.command

    def open_at(self, node: int | None) -> dict[str, History]:
        """Return what a node has under way, in the order in which it got it."""
        return {name: entry for name, entry in self.open.items() if entry.node == node}

    def hand_over(self, names: Sequence[str], node: int) -> list[History]:
        """Have a node own what another one had; return what has happened to each until now."""
        for name in names:
            self.open[name] = self.open.pop(name)
            self.open[name].node = node
        return [History(entry.command, list(entry.events), node) for entry in map(self.open.__getitem__, names)]

    def has_letter(self, letter: DeadLetterMessage | str) -> bool:
        """Return whether a notification is a dead letter; of a letter, whether it is that of its latest death."""
        if isinstance(letter, str):
            return letter in self.dead
        entry = self.dead.get(letter.notification_id)
        died = None if entry is None else entry.events[-1]
        return died is not None and died.epoch_ns + died.at_ns == letter.epoch_ns + letter.moved_at_ns

    def known(self, notification_id: str, calendar_ns: int) -> SendNotification | None:
        """ "Remembered ids are bounded by a time to live" (6) from the end on; of a dead letter, while it is one."""
        if notification_id not in self.ids:
            return None
        self._forget(calendar_ns)
        return self.ids.get(notification_id)

    def _remember(self, command: SendNotification, calendar_ns: int) -> None:
        self._forget(calendar_ns)
        self._latest_ended_ns = max(self._latest_ended_ns, calendar_ns)  # the wall clock may be set back
        self.ids[command.notification_id] = command
        self._ended.append((self._latest_ended_ns, command.notification_id))

    def _forget(self, calendar_ns: int) -> None:
        while self._ended and self._ended[0][0] <= calendar_ns - self.remember_ns:
            self.ids.pop(self._ended.popleft()[1], None)

    def is_disabled(self, command: SendNotification) -> bool:
        mark = self.endpoints.get(address(command)) if self.endpoints else None
        return mark is not None and mark.state is DISABLED

    def is_unreachable(self, command: SendNotification) -> bool:
        """Tell whether nothing is sent to the address of a command: it is gone, or its endpoint is disabled."""
        return self.is_gone(command) or self.is_disabled(command)

    def is_gone(self, command: SendNotification) -> bool:
        return bool(self.gone) and address(command) in self.gone

    # ── requests: a notification and what falls back from it ────────────────────────────────────────────────────

    def _join(self, name: str, instead_of: str) -> None:
        members = self._requests.setdefault(instead_of, [instead_of])
        for other in self._requests.get(name, [name]):
            if other not in members:
                members.append(other)
            self._requests[other] = members

    def _end(self, name: str, *, delivered: bool) -> None:
        members = self._requests.get(name)
        if members is None:
            return
        if delivered:
            self._delivered.add(name)
        if not any(member in self.open or member in self.dead for member in members):
            for member in members:
                del self._requests[member]
                self._delivered.discard(member)

    def is_served(self, name: str, is_under_way: Callable[[str], bool]) -> bool:
        """ "A letter whose fallback was delivered or is under way is served" (15)."""
        others = [other for other in self._requests.get(name, []) if other != name]
        return self.is_delivered(name) or any(other in self.open or is_under_way(other) for other in others)

    def is_delivered(self, name: str) -> bool:
        return any(member in self._delivered for member in self._requests.get(name, []))

    def letter(self, name: str) -> DeadLetterMessage | None:
        entry = self.dead.get(name)
        if entry is None:
            return None
        moved = entry.events[-1]
        assert isinstance(moved, NotificationMovedToDeadLetter)
        return state_after(entry.command, entry.events, moved.epoch_ns, moved.at_ns).letter(moved)
