"""The store in memory: commits at no cost, and is gone with the process."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from actors.domain.audit import AuditEntry, entry_of
from actors.domain.caution import Caution
from actors.domain.delivery import Delivery, dead_letter_after, left_out, noted, requested, state_after
from actors.domain.endpoints import EndpointChange, Endpoints
from actors.domain.notification_state import ended_as
from actors.domain.remembered_ids import EndedAs, RememberedIds
from actors.domain.requests import Requests
from actors.domain.store import BreakerVote, News, SettingsChange, StoredHistory
from actors.domain.suppressions import Key, Suppression, Suppressions, suppression_from
from actors.domain.user_preferences import UserPreferences
from actors.kernel.effects import Effect, Foreseen
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

DAY_NS = 86_400 * 1_000_000_000
AUDIT_KEPT = 10_000
CLOSED_KEPT = 1_000


Serving: TypeAlias = Literal["delivered", "under way"]
"""How another notification of its request serves a dead letter: it was delivered, or is under way."""


class RequestNote(msgspec.Struct, gc=False):
    """The request of a notification, as other nodes that share the store have noted it."""

    request_id: str | None
    """The request of a fallback; None: the notification is the first of its own."""
    served_by: Serving | None
    """How it is served as far as those nodes know; None: it is not served."""


class Entry(msgspec.Struct, gc=False):
    """A notification that has not ended."""

    command: SendNotification
    """As it was accepted."""
    accepted_ns: int
    epoch_ns: int
    """When it was accepted: `at_ns` and `epoch_ns` of its first event."""
    first: NotificationRequested | None = None
    """That event, where it says more than its command and those; None of nearly all, as it takes 88 bytes."""
    later: list[NotificationEvent] | None = None
    """The events since. None: there are none, as for nearly all in flight."""
    noted: RequestNote | None = None
    """The shared store's note on its request. None: there is none."""

    @property
    def requested(self) -> NotificationRequested:
        return self.first or requested(self.command, self.accepted_ns, self.epoch_ns)

    @property
    def events(self) -> Sequence[NotificationEvent]:
        return (self.requested, *(self.later or ()))

    @property
    def latest(self) -> NotificationEvent:
        return self.later[-1] if self.later else self.requested

    @property
    def was_redriven(self) -> bool:
        return self.later is not None and NotificationRedriven in map(type, self.later)

    def leave_out(self) -> slice | None:
        """Drop the events that its history leaves out; return where they were in `later`."""
        assert self.later is not None
        gone = left_out(self.later)
        if gone is not None:
            del self.later[gone]
        return gone

    def add(self, event: NotificationEvent) -> None:
        if self.later is None:
            self.later = [event]
        else:
            self.later.append(event)

    def note_request(self, request_id: str | None, served_by: Serving | None) -> None:
        """Take what others have noted, which share the store, of its request; see :class:`RequestNote`."""
        self.noted = RequestNote(request_id, served_by)


def entry_of_accepted(command: SendNotification, event: NotificationRequested) -> Entry:
    if (  # the event says more than the command and the instant of its acceptance
        event.instead_of is not None
        or event.waited_since_ns is not None
        or event.traceparent is not None
        or event.node is not None
        or event.priority is not command.priority  # which an earlier release has not written
    ):
        return Entry(command, event.at_ns, event.epoch_ns, event)
    return Entry(command, event.at_ns, event.epoch_ns)


class DeadEntry(Entry, gc=False):
    """A dead letter; or a notification that was one, and has been redriven."""

    letter: DeadLetterMessage | None = None
    """None: it has not been made from the history yet, which takes some microseconds."""

    @classmethod
    def of_dead(cls, entry: Entry) -> DeadEntry:
        return cls(entry.command, entry.accepted_ns, entry.epoch_ns, entry.first, entry.later, entry.noted)

    @property
    def since_ns(self) -> int:
        """Since when it has been dead, in nanoseconds since 1970."""
        moved = self.latest
        return moved.epoch_ns + moved.at_ns

    @property
    def as_letter(self) -> DeadLetterMessage:
        """The dead letter, which does not say whether it is served."""
        if self.letter is None:
            moved = self.latest
            assert isinstance(moved, NotificationMovedToDeadLetter)
            self.letter = dead_letter_after(self.command, self.events, moved)
        return self.letter


class Beside(NamedTuple):
    """The changes that an event makes in a store beyond its notification, the notification's request and its id."""

    endpoints: EndpointChange | None = None
    suppression: Suppression | None = None
    closed: StoredHistory | None = None
    """The history to keep, if a notification ends on which an operator has acted."""
    left_out: slice | None = None
    """Which of the events since its acceptance its history leaves out from now on."""
    audit: NotificationEvent | AuditEntry | None = None
    """The new entry of the audit trail: the event, if people or the queue act on a dead letter; or the entry on an
    endpoint that the event changes."""


NOTHING = Beside()


class MemoryStore:
    """Keeps the histories of notifications that have not ended, and of dead letters.

    Of the audit trail it keeps the latest 10,000 entries, and of notifications that have ended since they were
    redriven or discarded the latest 1,000.
    """

    outlives_process = False
    is_busy = False
    on_news: Callable[[News], None] | None = None
    living_nodes = frozenset({1})
    lease_holds: Callable[[], bool] | None = None

    def __init__(self, *, remember_ids_ns: int = DAY_NS, ahead_ns: Callable[[], int] | None = None) -> None:
        """Keep nothing yet.

        Args:
            remember_ids_ns: for how long the id of a notification that has ended is remembered, in nanoseconds.
            ahead_ns: returns by how much the calendar has been set forward, so that ids are not forgotten earlier for
                that. None: it is never set, or they are.
        """
        self.remembered = RememberedIds(remember_ids_ns, ahead_ns=ahead_ns)
        self._open: dict[str, Entry] = {}
        self._open_anywhere: Container[str] = self._open
        """The ids of all notifications that have not ended, of other nodes too."""
        self._dead: OrderedDict[str, DeadEntry] = OrderedDict()  # as a dict is slow where much is taken from its front
        self._closed: dict[str, StoredHistory] = {}
        """Notifications that ended after an operator had acted on them, the oldest first."""
        self._requests = Requests()
        """The requests with a notification that is open, or a dead letter."""
        self._audit: deque[AuditEntry] = deque(maxlen=AUDIT_KEPT)
        self.cautions: dict[str, Caution] = {}  # always empty, as it dies with its process
        self.suppressions = Suppressions()
        self.endpoints = Endpoints()
        self.preferences: dict[str, UserPreferences] = {}
        self.kept: dict[tuple[str, str], bytes] = {}
        self._take_in_by_kind: dict[type, Callable[[Any, SendNotification], Beside]] = {
            NotificationRequested: self._open_one,
            NotificationDeferred: self._add,
            NotificationFailed: self._add_failure,
            NotificationSent: self._end,
            NotificationSuppressed: self._suppress,
            NotificationMovedToDeadLetter: self._bury,
            NotificationRedriven: self._redrive,
            DeadLetterDiscarded: self._discard,
        }

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        beside = self._take_in_by_kind[type(event)](event, command)
        if beside is not NOTHING:
            if beside.audit is not None and (entry := entry_of(beside.audit)) is not None:
                self._audit.append(entry)
            if beside.closed is not None:
                self._closed.pop(event.notification_id, None)
                self._closed[event.notification_id] = beside.closed
                if len(self._closed) > CLOSED_KEPT:
                    del self._closed[next(iter(self._closed))]
        return None

    def _take_in(self, event: NotificationEvent, command: SendNotification) -> Beside:
        return self._take_in_by_kind[type(event)](event, command)

    def _open_one(self, event: NotificationRequested, command: SendNotification) -> Beside:
        notification_id = event.notification_id
        entry = self._open[notification_id] = entry_of_accepted(command, event)
        if entry.first is not None:
            self._join_request(entry)
        if self._closed:
            self._closed.pop(notification_id, None)  # of an earlier notification, whose id is forgotten
        return NOTHING

    def _add(self, event: NotificationEvent, _: SendNotification) -> Beside:
        self._open[event.notification_id].add(event)
        return NOTHING

    def _add_failure(self, event: NotificationFailed, command: SendNotification) -> Beside:
        entry = self._open[event.notification_id]
        entry.add(event)
        gone = entry.leave_out() if event.unlimited else None
        change = None if event.endpoint is None else self._change_of_endpoints(event, command)
        suppression = suppression_from(event, command.recipient)
        if suppression is not None:
            self.suppressions.add(suppression)
        elif change is None and gone is None:
            return NOTHING
        return Beside(change, suppression, left_out=gone, audit=change and change.audit)

    def _end(self, event: NotificationSent | NotificationSuppressed, command: SendNotification) -> Beside:
        notification_id = event.notification_id
        change = self._change_of_endpoints(event, command) if self.endpoints.any else None
        entry = self._open.pop(notification_id)
        self.remembered.add(entry.command, event.epoch_ns + event.at_ns)
        if self._requests.by_member:
            self._end_in_request(event)
        if change is None and (entry.later is None or not entry.was_redriven):
            return NOTHING
        return Beside(change, closed=_closed_by(entry, event), audit=change and change.audit)

    def _suppress(self, event: NotificationSuppressed, command: SendNotification) -> Beside:
        beside = self._end(event, command)
        self.remembered.note_end(event.notification_id, ended_as(event))
        return beside

    def _bury(self, event: NotificationMovedToDeadLetter, _: SendNotification) -> Beside:
        entry = self._open.pop(event.notification_id)
        entry.add(event)
        self._dead[event.notification_id] = DeadEntry.of_dead(entry)
        self.remembered.keep(entry.command)
        return NOTHING

    def _redrive(self, event: NotificationRedriven, command: SendNotification) -> Beside:
        entry = self._open[event.notification_id] = self._dead.pop(event.notification_id)
        entry.add(event)
        entry.letter = None
        self.remembered.forget(event.notification_id)
        self.suppressions.lift(command.channel, command.recipient)
        return Beside(self._change_of_endpoints(event, command), audit=event)

    def _discard(self, event: DeadLetterDiscarded, _: SendNotification) -> Beside:
        entry = self._dead.pop(event.notification_id)
        self.remembered.add(entry.command, event.epoch_ns + event.at_ns)
        self.remembered.note_end(event.notification_id, ended_as(event))
        self._end_in_request(event)
        return Beside(closed=_closed_by(entry, event), audit=event)

    def _change_of_endpoints(self, event: NotificationEvent, command: SendNotification) -> EndpointChange | None:
        change = self.endpoints.change_by(event, command)
        if change is not None:
            self.endpoints.apply(change)
        return change

    def mark(self, notification_id: str, *, alone: bool) -> Effect | None:
        return None

    def mark_as_not_alone(self, notification_id: str) -> Effect | None:
        return None

    def open_deliveries(self, epoch_ns: int, now_ns: int | None = None) -> Iterable[Delivery]:
        return [state_after(entry.command, entry.events, epoch_ns, now_ns) for entry in self._open.values()]

    def open_ids(self) -> Collection[str]:
        return self._open.keys()

    def dead_letters(self, is_under_way: Callable[[str], bool] | None = None) -> Iterator[DeadLetterMessage]:
        for notification_id, entry in self._dead.items():
            yield noted(entry.as_letter, self.is_served(notification_id, is_under_way))

    def dead_letter(
        self, notification_id: str, is_under_way: Callable[[str], bool] | None = None
    ) -> DeadLetterMessage | None:
        if not self.is_dead_letter(notification_id):
            return None
        return noted(self._dead[notification_id].as_letter, self.is_served(notification_id, is_under_way))

    def dead_letter_ids(self) -> list[str]:
        return list(self._dead)

    def dead_commands(self) -> Iterator[tuple[str, SendNotification]]:
        for notification_id, entry in self._dead.items():
            letter = entry.letter or (entry.as_letter if entry.was_redriven else None)
            yield notification_id, entry.command if letter is None else letter.command  # which may have been edited

    def count_dead_letters(self) -> int:
        return len(self._dead)

    def keep_letter(self, letter: DeadLetterMessage) -> None:
        entry = self._dead.get(letter.notification_id)
        if entry is not None and entry.since_ns == letter.epoch_ns + letter.moved_at_ns:
            entry.letter = letter

    def is_dead_letter(self, notification_id: str, moved_ns: int | None = None) -> bool:
        entry = self._dead.get(notification_id)
        return entry is not None and moved_ns in (None, entry.since_ns)

    def is_served(self, notification_id: str, is_under_way: Callable[[str], bool] | None = None) -> bool:
        return self._requests.is_served(
            notification_id,
            lambda other: other in self._open_anywhere or (is_under_way is not None and is_under_way(other)),
        )

    def is_delivered(self, notification_id: str) -> bool:
        return self._requests.is_delivered(notification_id)

    async def recall(self, notification_id: str, now_ns: int) -> SendNotification | None:
        return self.remembered.get(notification_id, now_ns)

    async def ended_as(self, notification_id: str, now_ns: int) -> EndedAs | None:
        if notification_id in self._dead or self.remembered.get(notification_id, now_ns) is None:
            return None
        return self.remembered.ended_as(notification_id)

    async def past(self, notification_id: str) -> StoredHistory | None:
        return self._past(notification_id) or self._closed.get(notification_id)

    async def erase_histories(self, is_meant: Callable[[SendNotification], bool]) -> int:
        meant = [each for each, history in self._closed.items() if is_meant(history.command)]
        for notification_id in meant:
            del self._closed[notification_id]
        return len(meant)

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        """Do nothing, as no other node shares this store; see :meth:`Store.say`."""

    def said(self) -> Iterable[BreakerVote]:
        return ()

    async def wait_for(self, effect: Effect | None) -> None:
        if effect is not None and not isinstance(effect, Foreseen):
            await effect()

    def note(self, entry: AuditEntry) -> Effect | None:
        self._audit.append(entry)
        return None

    def keep(self, actor: str, key: str, value: bytes | None, now_ns: int) -> Effect | None:
        if value is None:
            self.kept.pop((actor, key), None)
        else:
            self.kept[actor, key] = value
        return None

    def change(self, change: SettingsChange) -> Effect | None:
        self._apply(change)
        return self.note(change.audit)

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        found = (each for each in reversed(self._audit) if notification_id in (None, each.notification_id))
        return list(itertools.islice(found, limit))

    def _apply(self, change: SettingsChange) -> dict[Key, Suppression]:
        """Apply it from now on; return which of the suppressions that it imports are kept."""
        for suppression in change.suppressed:
            self.suppressions.add(suppression)
        kept = self.suppressions.add_all(change.imported)
        for key in change.lifted:
            self.suppressions.remove(key)
        for key in change.enabled:
            self.endpoints.set(key, None)
        for user_id, preferences in change.preferences.items():
            if preferences is None:
                self.preferences.pop(user_id, None)
            else:
                self.preferences[user_id] = preferences
        return kept

    def _past(self, notification_id: str) -> StoredHistory | None:
        entry = self._open.get(notification_id) or self._dead.get(notification_id)
        return None if entry is None else StoredHistory(entry.command, tuple(entry.events))

    def _join_request(self, entry: Entry) -> None:
        """Add a fallback to the request of the notification that it replaces."""
        if entry.first is not None and entry.first.instead_of is not None:
            self._requests.join(entry.command.notification_id, entry.first.instead_of)

    def _end_in_request(self, event: NotificationEvent) -> None:
        request = self._requests.by_member.get(event.notification_id)
        if request is not None:
            if type(event) is NotificationSent:
                request.note_delivery()
            self._requests.forget_unless(request, self._open_anywhere, self._dead)


def _closed_by(entry: Entry, event: NotificationEvent) -> StoredHistory | None:
    if entry.was_redriven or (isinstance(event, DeadLetterDiscarded) and event.by is not None):
        return StoredHistory(entry.command, (*entry.events, event))
    return None
