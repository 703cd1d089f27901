"""The store: it makes every change durable that must survive the process.

A change is committed before anything follows from it: the pipeline goes on when the store says so. A store in memory
says so at once; a store that has to wait returns an effect, and the pipeline goes on with the message at its end. A
store keeps the history of each notification, from which its state follows
(:func:`actors.domain.delivery.state_after`), and settings: preferences of users, and suppressions.

The answers of a store reflect every change that was handed to `commit`, durable or not: only a crash of the process can
lose one. Histories outlive the process, so their instants may be on another run's clock; the calendar converts them to
the clock of the run that asks. The calendar follows the wall clock: if the wall clock steps while a notification waits
in a store, its instants are off by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution
from actors.domain.delivery import Delivery
from actors.domain.endpoints import Endpoints
from actors.domain.remembered_ids import EndedAs, RememberedIds
from actors.domain.suppressions import Key, Suppression, Suppressions
from actors.domain.user_preferences import UserPreferences
from actors.kernel.effects import Effect
from actors.messages import DeadLetterMessage, NotificationEvent, SendNotification


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of settings that are made together, or not at all."""

    audit: AuditEntry
    """The record of who changes what; kept with the change."""

    suppressed: tuple[Suppression, ...] = ()
    """As :meth:`Suppressions.add` takes them."""

    imported: Mapping[Key, Suppression] = {}
    """As :meth:`Suppressions.add_all` takes them; their texts can be stored."""

    lifted: tuple[Key, ...] = ()
    """Addresses to suppress no longer, whatever the source of the suppression."""

    enabled: tuple[Key, ...] = ()
    """Endpoints that are no longer disabled."""

    preferences: Mapping[str, UserPreferences | None] = {}
    """The new preferences of users, by user id; None: the user has none any more."""


class StoredHistory(msgspec.Struct, frozen=True):
    """All that a store knows of one notification."""

    command: SendNotification
    """As it was accepted."""

    events: tuple[NotificationEvent, ...]
    """The events of the notification, from its acceptance on, each with instants on the clock of its own run."""


class Takeover(msgspec.Struct, frozen=True):
    """This node has taken over notifications of another node, and is responsible for them from now on."""

    histories: tuple[StoredHistory, ...]


class LettersChanged(msgspec.Struct, frozen=True):
    """Other nodes have dead-lettered notifications, or have redriven or discarded dead letters."""

    found: tuple[DeadLetterMessage, ...]
    gone: tuple[str, ...]
    """The ids of notifications that are no longer dead letters."""


class LeaseLost(msgspec.Struct, frozen=True):
    """Nothing can be made durable any more, and another node may take over the notifications here: sending ends.

    A store without nodes says so if its file or database is gone.
    """

    why: str


class LeaseRenewed(msgspec.Struct, frozen=True):
    """Attempts may start again after a pause: the lease holds, and the store can be written."""


class StoreWaits(msgspec.Struct, frozen=True):
    """The store has become busy: callers stop waiting for it."""


class NodesChanged(msgspec.Struct, frozen=True):
    """More nodes share the store now, or fewer."""

    nodes: frozenset[int]
    """The nodes with a lease, this one included, by the numbers that the store gives them."""


class BreakerVote(msgspec.Struct, frozen=True):
    """Another node says that a circuit breaker is open, by its own calls; or that it is not."""

    node: int
    """Its number, as the store gives it."""

    breaker: str
    """The breaker's name in the history, such as ``email/backup``."""

    host: str
    """The recipients' host, where each host has a breaker; else ``""``."""

    open_ns: int
    """For how long from now on the vote holds, in nanoseconds; 0: no longer."""


News: TypeAlias = Takeover | LettersChanged | LeaseLost | LeaseRenewed | StoreWaits | NodesChanged | BreakerVote


class Store(Protocol):
    """Keeps every notification that has not ended, dead letters, and the ids of those that ended lately.

    Its async methods raise StoreError where the store is closed, or cannot be read or written.
    """

    outlives_process: bool
    """Whether another process finds its contents after this one has died."""

    remembered: RememberedIds
    """By instants since 1970. The id of a dead letter is known for as long as the letter is kept. A store on disk has
    only the ids that ended last here, and finds out at the commit whether an id is new: see `Overtaken`."""

    on_news: Callable[[News], None] | None
    """Called, in the thread of the system, with news from other nodes that share the store, which its answers reflect
    already; set by :func:`listen`."""

    lease_holds: Callable[[], bool] | None
    """Tells whether an attempt may start now: not on a lease that is over, nor while its outcome could not be written.
    If not, there is news when it may. None: it always may."""

    living_nodes: frozenset[int]
    """The nodes that share it now, this one included, by number; there is news when they change. One where it is its
    alone."""

    cautions: dict[str, Caution]
    """By notification that had not ended when an earlier process died: its part in that. The handler takes it out."""

    suppressions: Suppressions
    """Addresses that nothing is sent to: always the same object, in which all changes show, by other nodes too."""

    endpoints: Endpoints
    """Endpoints at which every attempt fails, and disabled ones; likewise."""

    @property
    def kept(self) -> Mapping[tuple[str, str], bytes]:
        """The values that own actors keep at this node, by actor and key."""

    @property
    def is_busy(self) -> bool:
        """Whether nothing has become durable for a second: then the pipeline gives callers `StoreBusy`. The message
        `StoreWaits` announces it."""

    @property
    def preferences(self) -> Mapping[str, UserPreferences]:
        """The preferences that are stored, by user id; always the same mapping."""

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        """Make durable that `event` happened to the notification of `command`, which has its edits.

        Returns None when the event is durable, or an effect at the end of which it is.

        Raises:
            Unstorable: the event is a request, and its command would not come back as it is. Nothing happens.
            Overtaken: raised by the effect. The event is a request with an id that is remembered, or a request, redrive
                or discard for which another node that shares the store was first. Nothing happens, and the store
                answers as if the event had not been handed over.
            StoreFailed: the event cannot be made durable; if an effect has begun already, the effect raises it.
        """

    def mark(self, notification_id: str, *, alone: bool) -> Effect | None:
        """Record that an attempt of a notification is about to start; returns and raises what `note` does.

        The next event of the notification removes the mark, unless it says that the attempt was not made (see
        :func:`actors.domain.caution.ends_caution`). A mark found by the next process says that the attempt was under
        way when this process died.

        Args:
            notification_id: an id in `cautions`.
            alone: whether no other attempt is under way.
        """

    def mark_as_not_alone(self, notification_id: str) -> Effect | None:
        """Record that other attempts are under way beside a marked one, if its mark is still there; as `mark`."""

    def open_deliveries(self, epoch_ns: int, now_ns: int | None = None) -> Iterable[Delivery]:
        """Return the notifications that have not ended, in the order of acceptance, for a handler that starts again.

        Args:
            epoch_ns: where on the calendar the handler's clock started; the instants returned are on that clock.
            now_ns: the present instant of that clock, which no past event is later than; None: any may be.
        """

    def open_ids(self) -> Collection[str]:
        """Return the ids of the notifications at this node that have not ended, in the order of acceptance."""

    def dead_letters(self, is_under_way: Callable[[str], bool] | None = None) -> Iterator[DeadLetterMessage]:
        """Return the dead letters, oldest first; `served` of each is as `is_served` says."""

    def dead_letter(
        self, notification_id: str, is_under_way: Callable[[str], bool] | None = None
    ) -> DeadLetterMessage | None:
        """Return the dead letter of a notification, or None; it says whether it is served."""

    def dead_letter_ids(self) -> list[str]:
        """Return the ids of the dead letters, oldest first; another node may have taken some of them."""

    def dead_commands(self) -> Iterator[tuple[str, SendNotification]]:
        """Return the ids and commands of the dead letters, in a fraction of the time of `dead_letters`."""

    def count_dead_letters(self) -> int:
        """Return how many dead letters there are."""

    def keep_letter(self, letter: DeadLetterMessage) -> None:
        """Keep a letter of the pipeline if it is a dead letter still, which saves making it from its history."""

    def is_dead_letter(self, notification_id: str, moved_ns: int | None = None) -> bool:
        """Tell whether a notification is a dead letter; with `moved_ns`, one that died then, in ns since 1970."""

    def is_served(self, notification_id: str, is_under_way: Callable[[str], bool] | None = None) -> bool:
        """Tell whether another notification of a dead letter's request was delivered, or may yet be.

        `is_under_way` tells whether a fallback may yet follow from a notification that has ended; None: never.
        """

    def is_delivered(self, notification_id: str) -> bool:
        """Tell whether another notification of the same request was delivered; this one has just ended."""

    async def recall(self, notification_id: str, now_ns: int) -> SendNotification | None:
        """Return the command of a remembered id; None: the id is new, or has not ended. `now_ns` is since 1970."""

    async def ended_as(self, notification_id: str, now_ns: int) -> EndedAs | None:
        """Return how a remembered notification has ended; None: it has not, or is unknown. `now_ns` is since 1970."""

    async def past(self, notification_id: str) -> StoredHistory | None:
        """Return the history of a notification that has not ended, or is a dead letter; else None.

        For a while also the history of a redriven or discarded one that has ended, unless its id has come again since.
        """

    async def erase_histories(self, is_meant: Callable[[SendNotification], bool]) -> int:
        """Erase for good the histories of notifications that have ended since they were redriven or discarded.

        `is_meant` chooses them by their commands; return how many they were.
        """

    def change(self, change: SettingsChange) -> Effect | None:
        """Make changes of `suppressions`, `endpoints` and `preferences` durable; returns and raises what `note` does.

        It raises `StoreBusy` where the store is busy, and `Unstorable` where a text has half a surrogate pair: then
        nothing is changed. Suppressions by a provider, and failing endpoints, come by events of attempts and redrives.
        """

    def keep(self, actor: str, key: str, value: bytes | None, now_ns: int) -> Effect | None:
        """Make durable the value that an own actor keeps under a key, None: none; returns and raises what `note` does.

        It raises `Unstorable` where the key cannot be kept.
        """

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        """Tell the other nodes that a breaker is open here by its own calls, for `open_ns` from now on; 0: no longer.

        They get it as a `BreakerVote`, as soon as possible, unless it has lapsed or this node is gone by then. `host`
        is the recipients' host where each host has a breaker; else ``""``.
        """

    def said(self) -> Iterable[BreakerVote]:
        """Return the present votes of other nodes, in the order of their numbers, for a node that starts."""

    async def wait_for(self, effect: Effect | None) -> None:
        """Wait, as a caller, until an effect of the store is durable, or the store is busy.

        Raises:
            StoreBusy: the store is busy; the effect becomes durable later.
            StoreFailed: it cannot be made durable.
        """

    def note(self, entry: AuditEntry) -> Effect | None:
        """Make an audit entry durable; returns and raises what `commit` does.

        That a dead letter was redriven or discarded comes by its event, and needs no note.
        """

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        """Return the entries of operators' actions and of discards by the queue itself, newest first.

        Args:
            limit: the most entries to return; None: all that are kept.
            notification_id: return only entries about this notification.
        """


def listen(store: Store, on_news: Callable[[News], None]) -> None:
    """Have a function called with the news of a store."""
    store.on_news = on_news
