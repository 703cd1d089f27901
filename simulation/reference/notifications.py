"""One notification as its history tells it, and what the store keeps of all of them.

The state of a notification follows from its history alone (specification, 7 and 9), so a handler that starts again
knows of each what it knew before, but for what was only in memory: how far the jitter of its waits had come, whether a
wait was drawn or asked for by a provider, and its retry budget.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import msgspec

from actors.endpoints import EndpointMark
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
from actors.outcomes import Outcome
from simulation.reference.addresses import DISABLED, address
from simulation.reference.instants import calendar_ns, sooner, wait_ns


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt on its way; an answer to any but the latest of its notification is stale."""

    command: SendNotification
    """With its template filled in."""
    number: int
    charged: bool
    """Whether its notification was counted against the user's limit before."""
    until_ns: int | None
    """The last instant at which it may start."""
    edits: int = 0
    wanted_until_ns: int | None = None
    """When its notification expires, whatever else bounds the attempt."""
    host: str = ""
    """That whose breaker decides about it; ``""`` where one does for all."""
    key: str = ""
    """Whose turns it has a part in, where keys take turns."""
    tenant: str = ""
    """Whose bounds hold for it; ``""``: no one's."""

    @property
    def name(self) -> str:
        """How it is called in a report."""
        return f"attempt {self.number} of {self.command.notification_id}"


@dataclass(eq=False, slots=True)
class Admitted:
    """An attempt that has been let through to a provider, with what it has for that."""

    attempt: Attempt
    lane: int
    permit: Any
    in_flight: int
    """How many were at the provider when it set out, itself included."""


@dataclass(eq=False, slots=True)
class Send:
    """One time that a provider is asked."""

    admitted: Admitted
    started_ns: int
    """When it set out; of a copy, when the first did."""
    ended_ns: int = 0
    """When its answer comes: it took until then, also where its breaker is down and learns of that later."""
    outcome: Outcome | None = None
    """None: not known yet; or where it comes back so, that it was not made, as the node had no lease."""
    hedges: int = 0
    """Copies of it that were sent."""


@dataclass(eq=False, slots=True)
class Notification:
    """The state of one that is accepted and has not ended."""

    command: SendNotification
    waited_since_ns: int
    fresh_since_ns: int
    """When it was accepted or last redriven: its expiry counts from here."""
    attempts: int = 0
    charged: bool = False
    under_way: Attempt | None = None
    due_ns: int | None = None
    decided_wait_ns: int | None = None
    progress: Any = None
    charge: Any = 0
    """What its retry was charged to the channel's budget."""
    failures: tuple[NotificationFailed, ...] = ()
    first_failed_ns: int | None = None
    """By the calendar."""
    given_up: str | None = None
    falls_back_ns: int | None = None
    accepted: SendNotification | None = None
    edits: int = 0
    redriven_without_operator: int = 0

    @property
    def known_as(self) -> SendNotification:
        """The command as it was accepted: a repetition is the same if it equals that."""
        return self.command if self.accepted is None else self.accepted

    @property
    def expires_at_ns(self) -> int | None:
        """ "A notification older than this is dead-lettered as expired, not sent" (1)."""
        age = self.command.expires_after
        return None if age is None else self.fresh_since_ns + wait_ns(age)

    @property
    def due_since_ns(self) -> int:
        """Since when its next attempt is due, or from when on."""
        return self.fresh_since_ns if self.due_ns is None else self.due_ns

    @property
    def sent_until_ns(self) -> int | None:
        """The last instant at which it may be sent here, where it may fall back."""
        return sooner(self.expires_at_ns, self.falls_back_ns)

    def schedule(self, epoch_ns: int) -> None:
        """It waits until its `not_before`, and "expiry and delivery time count from there"."""
        until_ns = scheduled_ns(self.command, epoch_ns)
        if until_ns is not None and until_ns > self.fresh_since_ns:
            self.due_ns = self.fresh_since_ns = until_ns
            self.waited_since_ns = max(self.waited_since_ns, until_ns)

    def fail(self, event: NotificationFailed) -> None:
        """Take down a failed attempt."""
        self.failures += (event,)
        self.given_up = event.given_up
        self.first_failed_ns = self.first_failed_ns or event.at_ns + event.epoch_ns

    def letter(self, moved: NotificationMovedToDeadLetter) -> DeadLetterMessage:
        """ "`first_failure` is the time of the first *failure*, not of the first attempt" (1)."""
        first_ns, last = self.first_failed_ns, self.failures[-1] if self.failures else None
        return DeadLetterMessage(
            notification_id=moved.notification_id,
            command=self.command,
            failure_reason=moved.reason,
            attempts=moved.attempts,
            requested_at_ns=moved.requested_at_ns,
            first_failure_ns=moved.at_ns if first_ns is None else first_ns - moved.epoch_ns,
            last_failure_ns=moved.at_ns if last is None else last.at_ns + last.epoch_ns - moved.epoch_ns,
            moved_at_ns=moved.at_ns,
            epoch_ns=moved.epoch_ns,
            history=self.failures,
            accepted=self.accepted,
            edits=self.edits,
            redriven_without_operator=self.redriven_without_operator,
        )

    def counted_failures(self) -> tuple[NotificationFailed, ...]:
        """Return the failures that have used up the attempts since it was accepted or redriven."""
        counted = [failed for failed in self.failures if failed.kind != "ChannelFault"]
        return tuple(counted[-self.attempts :] if self.attempts else ())

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Change fields of the command, as an operator may before a redrive (7)."""
        if changes:
            self.accepted = self.known_as
            self.command = msgspec.structs.replace(self.command, **changes)
            self.edits += not changes.keys() <= {"expires_after", "priority"}  # no provider gets to see these


class Commit(NamedTuple):
    """A change of a notification that is not durable yet."""

    event: NotificationEvent
    notification: Notification
    then: Callable[[Notification], None] | None
    """What follows when it is."""
    why: str
    """The rule by which it happens, in words, and the settings that these are about."""
    about: tuple[Any, ...]


def scheduled_ns(command: SendNotification, epoch_ns: int) -> int | None:
    """Return the instant before which a command is not to be sent, on the clock that started at `epoch_ns`."""
    return None if command.not_before is None else calendar_ns(command.not_before) - epoch_ns


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
        state.due_ns, state.decided_wait_ns = (scheduled_ns if event is requested else None), None
        resumes_ns = None
        if isinstance(event, NotificationFailed):
            state.attempts, state.charged = event.attempt, True
            state.fail(event)
            resumes_ns = event.next_retry_at_ns
        elif isinstance(event, NotificationDeferred):
            resumes_ns = event.resumes_at_ns
        elif isinstance(event, NotificationMovedToDeadLetter):
            state.first_failed_ns = state.first_failed_ns or event.at_ns + event.epoch_ns
        elif isinstance(event, NotificationRedriven):
            state.edit(event.edit)
            state.redriven_without_operator += event.without_operator
            state.fresh_since_ns = here(event, event.at_ns)
            state.attempts, state.charged, state.given_up = 0, True, None
            scheduled_ns = None
        if resumes_ns is not None:
            state.due_ns, state.decided_wait_ns = here(event, resumes_ns), resumes_ns - event.at_ns
    latest_ns = max(now_ns, scheduled_ns or now_ns)
    state.waited_since_ns = min(state.waited_since_ns, latest_ns)
    state.fresh_since_ns = min(state.fresh_since_ns, latest_ns)
    if state.due_ns is not None and state.decided_wait_ns is not None:
        state.due_ns = min(state.due_ns, now_ns + state.decided_wait_ns)
    return state


@dataclass(slots=True)
class History:
    """What has happened to a notification, as the store has it."""

    command: SendNotification
    """As it was accepted."""
    events: list[NotificationEvent]
    node: int | None
    """Which of several has it under way, or had it last."""


News: TypeAlias = DeadLetterMessage | str | None
"""What the other nodes are to know of a change: a letter that there is now; by its id, one that is none any more; or
nothing."""


class Store:
    """What outlives a crash of the process: histories of what has not ended, dead letters, ids, gone addresses.

    It answers at once by all that it was handed, and loses in a crash what was not durable by then.
    """

    def __init__(self, remember_ns: int, latency_ns: int) -> None:
        self.remember_ns = remember_ns
        self.latency_ns = latency_ns
        self.journal: list[tuple[int, NotificationEvent, SendNotification]] = []
        """By when it is durable, each change, where that takes time."""
        self._begin_empty()

    def _begin_empty(self) -> None:
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

    def keep(self, event: NotificationEvent, command: SendNotification, node: int | None) -> News:
        """Take a change by a node, which is durable `latency_ns` later; return what it is to the others."""
        if self.latency_ns:
            self.journal.append((event.at_ns + self.latency_ns, event, command))
        self._apply(event, command, node)
        name = event.notification_id
        is_of_letter = isinstance(event, (NotificationMovedToDeadLetter, NotificationRedriven, DeadLetterDiscarded))
        return (self.letter(name) or name) if is_of_letter else None

    def accepted_first(self, event: NotificationEvent) -> SendNotification | None:
        """Return what is under way already with the id of what is about to be accepted, as it was accepted: another
        node was faster, from which it may have been taken over."""
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

    def crash(self, now_ns: int) -> None:
        """Lose what is not durable before this instant."""
        if self.latency_ns:
            self.journal = [change for change in self.journal if change[0] < now_ns]
            self._begin_empty()
            for _, event, command in self.journal:
                self.known(event.notification_id, event.epoch_ns + event.at_ns)  # what was forgotten then is so now
                self._apply(event, command, None)

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

    def _apply(self, event: NotificationEvent, command: SendNotification, node: int | None) -> None:
        name, calendar_ns = event.notification_id, event.epoch_ns + event.at_ns
        match event:
            case NotificationRequested():
                self.open[name] = History(command, [event], node)
                if event.instead_of is not None:
                    self._join(name, event.instead_of)
            case NotificationSent() | NotificationSuppressed():
                if isinstance(event, NotificationSent):
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
                if isinstance(event, NotificationFailed) and event.kind == "DeadDestination":
                    self.gone.add(address(command))
                if isinstance(event, NotificationFailed) and event.endpoint is not None:
                    self.endpoints[address(command)] = event.endpoint

    def is_disabled(self, command: SendNotification) -> bool:
        """Tell whether the endpoint of a command is disabled."""
        mark = self.endpoints.get(address(command))
        return mark is not None and mark.state is DISABLED

    # ── requests: a notification and what falls back from it ────────────────────────────────────────────────────

    def _join(self, name: str, instead_of: str) -> None:
        members = self._requests.setdefault(instead_of, [instead_of])
        for other in self._requests.get(name, [name]):
            if other not in members:
                members.append(other)
            self._requests[other] = members

    def _end(self, name: str, *, delivered: bool) -> None:
        members = self._requests.get(name, [])
        if delivered and members:
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
        """Return whether one of its request was sent."""
        return any(member in self._delivered for member in self._requests.get(name, []))

    def letters(self) -> OrderedDict[str, DeadLetterMessage]:
        """Return the dead letters, the oldest first."""
        return OrderedDict((name, letter) for name in self.dead if (letter := self.letter(name)) is not None)

    def letter(self, name: str) -> DeadLetterMessage | None:
        """Return the dead letter of a notification, if it is one."""
        entry = self.dead.get(name)
        if entry is None:
            return None
        moved = entry.events[-1]
        assert isinstance(moved, NotificationMovedToDeadLetter)
        return state_after(entry.command, entry.events, moved.epoch_ns, moved.at_ns).letter(moved)
