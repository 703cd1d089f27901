"""The store: where every change is made durable that must survive the process.

A change is committed before anything else follows from it: the pipeline goes on when the store says so. A store in
memory says so at once; one that has to wait returns an effect, and the pipeline goes on with the message that it is
done. What a store keeps is the history of each notification, from which its state follows
(:func:`actors.domain.delivery.state_after`), and beside it settings: preferences of users, and suppressions.

What a store answers reflects every change that was handed to `commit`, those that are not durable yet included: only a
crash of the process can lose them. Its histories outlive the process, so the instants in them may be of another run's
clock; they are anchored to the asking one's by way of the calendar. The calendar is as the wall clock shows it: when
that steps while a notification waits in a store, what is read from there afterwards is off by the step.
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
    """What changes at once, or not at all."""

    audit: AuditEntry
    """Who changes what; kept with the change."""

    suppressed: tuple[Suppression, ...] = ()
    """As :meth:`Suppressions.add` takes them."""

    imported: Mapping[Key, Suppression] = {}
    """As :meth:`Suppressions.add_all` takes them; their texts can be stored."""

    lifted: tuple[Key, ...] = ()
    """Addresses that are no longer suppressed, whatever suppressed them."""

    enabled: tuple[Key, ...] = ()
    """Endpoints that are no longer disabled."""

    preferences: Mapping[str, UserPreferences | None] = {}
    """What users have set from now on, by user id; None: nothing."""


class StoredHistory(msgspec.Struct, frozen=True):
    """All that a store knows of one notification."""

    command: SendNotification
    """As it was accepted."""

    events: tuple[NotificationEvent, ...]
    """What happened to it, from its acceptance on, each with the instants of the run that it happened in."""


class Takeover(msgspec.Struct, frozen=True):
    """This node has taken over what another one had, and is responsible for it from now on."""

    histories: tuple[StoredHistory, ...]


class LettersChanged(msgspec.Struct, frozen=True):
    """Other nodes have dead-lettered notifications, or have redriven or discarded dead letters."""

    found: tuple[DeadLetterMessage, ...]
    gone: tuple[str, ...]
    """The ids of those that are no longer dead letters."""


class LeaseLost(msgspec.Struct, frozen=True):
    """Nothing can be made durable any more, and another node may take over what this one has: nothing more is sent.

    Also where there are no nodes, and what the store is in is gone.
    """

    why: str


class LeaseRenewed(msgspec.Struct, frozen=True):
    """Attempts may start again, of which the store has said that they may not: its lease holds, and it can be
    written."""


class StoreWaits(msgspec.Struct, frozen=True):
    """The store is busy from now on: callers that wait for it are to wait no longer."""


class NodesChanged(msgspec.Struct, frozen=True):
    """More nodes share the store now, or fewer."""

    nodes: frozenset[int]
    """Those that have a lease, this one included, by the numbers that the store gives them."""


class BreakerVote(msgspec.Struct, frozen=True):
    """Another node says that a circuit breaker is open, by its own calls; or that it is not."""

    node: int
    """Its number, as the store gives it."""

    breaker: str
    """The breaker's name in the history, such as ``email/backup``."""

    host: str
    """Of recipients, where each has a breaker of its own; else ``""``."""

    open_ns: int
    """For how long from now on it says so, in nanoseconds; 0: no longer."""


News: TypeAlias = Takeover | LettersChanged | LeaseLost | LeaseRenewed | StoreWaits | NodesChanged | BreakerVote


class Store(Protocol):
    """Keeps every notification that has not ended, dead letters, and the ids of those that ended lately."""

    outlives_process: bool
    """Whether what is in it is found by another process after this one has died."""

    remembered: RememberedIds
    """By instants since 1970. The id of a dead letter is known for as long as the letter is kept. Of what has ended, a
    store on disk has only the latest here, and finds out at the commit whether an id is new: see `Overtaken`."""

    on_news: Callable[[News], None] | None
    """Called, in the thread of the system, with news from other nodes that share the store; set by the pipeline.
    What the store is asked reflects it already."""

    lease_holds: Callable[[], bool] | None
    """Tells whether an attempt may start now: not on a lease that is over, nor while its outcome could not be written.
    If not, there is news when it may. None: it always may."""

    is_busy: bool
    """Whether nothing has become durable for a second, so that callers get `StoreBusy`; the pipeline sees to that, by
    what it is told (`StoreWaits`) and by looking here."""

    living_nodes: frozenset[int]
    """The nodes that share it now, this one included, by number; there is news when they change. One where it is its
    alone."""

    cautions: dict[str, Caution]
    """By notification, what is known of those that had not ended when a process died from which this one has them;
    taken out by the handler."""

    suppressions: Suppressions
    """Addresses that nothing is sent to: always the same object, in which changes show, those of other nodes too."""

    endpoints: Endpoints
    """Those of which every attempt fails, and those that are disabled for it; likewise."""

    @property
    def preferences(self) -> Mapping[str, UserPreferences]:
        """What users have set, by user id; always the same mapping."""

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        """Make durable that `event` happened to the notification of `command`, as that is tried, with what is edited.

        Returns None when it is, or an effect at the end of which it is.

        Raises:
            Unstorable: this is how it was requested, and its command would not come back as it is. Nothing happens.
            Overtaken: of an effect. It was requested here with an id that is remembered, or it was requested, redriven
                or discarded and another node that shares the store was first. Nothing happens, and the store answers
                as if it had not been handed over.
            StoreFailed: it cannot be made durable; of an effect that began already, that raises it.
        """

    def mark(self, notification_id: str, *, alone: bool) -> Effect | None:
        """Record that an attempt of a notification is about to start; returns and raises what `note` does.

        The next event of the notification takes the mark away, but for one that says that it was not tried (see
        :func:`actors.domain.caution.ends_caution`). A mark that is found by the process after this one says that the
        attempt was under way when this one died.

        Args:
            notification_id: one of `cautions`.
            alone: whether no other attempt is under way.
        """

    def mark_as_not_alone(self, notification_id: str) -> Effect | None:
        """Record that others are under way beside the attempt that is marked, if it still is; as `mark`."""

    def open_deliveries(self, epoch_ns: int, now_ns: int | None = None) -> Iterable[Delivery]:
        """Return what has not ended, in the order of acceptance, for a handler that starts again.

        Args:
            epoch_ns: where on the calendar the handler's clock started; the instants returned are on that clock.
            now_ns: the present instant of that clock, which nothing that has happened is later than; None: any may be.
        """

    def open_ids(self) -> Collection[str]:
        """Return the ids of what this node has that has not ended, in the order of acceptance."""

    def dead_letters(self, is_under_way: Callable[[str], bool] | None = None) -> Iterator[DeadLetterMessage]:
        """Return the dead letters, oldest first; those that are served say so, as `is_served` does."""

    def dead_letter(
        self, notification_id: str, is_under_way: Callable[[str], bool] | None = None
    ) -> DeadLetterMessage | None:
        """Return the dead letter of a notification, or None; it says whether it is served."""

    def dead_letter_ids(self) -> list[str]:
        """Return the ids of the dead letters, oldest first; another node may have taken some of them."""

    def dead_commands(self) -> Iterator[tuple[str, SendNotification]]:
        """Return the ids and commands of those, which takes a fraction of what `dead_letters` does."""

    def count_dead_letters(self) -> int:
        """Return how many dead letters there are."""

    def keep_letter(self, letter: DeadLetterMessage) -> None:
        """Keep a letter that the pipeline has made, if it is a dead letter still, so that the store need not make it
        from its history."""

    def is_dead_letter(self, notification_id: str, moved_ns: int | None = None) -> bool:
        """Tell whether this is the notification of a dead letter.

        Args:
            notification_id: which.
            moved_ns: when it was dead-lettered, in nanoseconds since 1970: a letter of another time is another one.
                None: whenever that was.
        """

    def is_served(self, notification_id: str, is_under_way: Callable[[str], bool] | None = None) -> bool:
        """Tell whether another notification of the same request was delivered or is under way.

        Args:
            notification_id: of a dead letter.
            is_under_way: tells of what has ended in the store whether more may follow from it; None: of nothing.
        """

    def is_delivered(self, notification_id: str) -> bool:
        """Tell whether another notification of the same request was delivered.

        Args:
            notification_id: of one that has just been dead-lettered, or suppressed.
        """

    async def recall(self, notification_id: str, now_ns: int) -> SendNotification | None:
        """Return the command that an id came with which is remembered; None: that is new, or has not ended.

        Args:
            notification_id: which.
            now_ns: the present instant, in nanoseconds since 1970.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """

    async def ended_as(self, notification_id: str, now_ns: int) -> EndedAs | None:
        """Return how a notification has ended that is remembered; None: it has not, or that is not known.

        Args:
            notification_id: which.
            now_ns: the present instant, in nanoseconds since 1970.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """

    async def past(self, notification_id: str) -> StoredHistory | None:
        """Return what happened to a notification that has not ended, or is a dead letter; else None.

        For a while also to one that has ended since it was redriven or discarded, unless another one has its id since.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """

    async def erase_histories(self, is_meant: Callable[[SendNotification], bool]) -> int:
        """Erase, for good, what is kept of notifications that have ended since they were redriven or discarded, and
        that are meant by their commands; return how many that are.

        Raises:
            StoreError: the store is closed, or cannot be written.
        """

    def change(self, change: SettingsChange) -> Effect | None:
        """Make changes of `suppressions`, `endpoints` and `preferences` durable; returns and raises what `note` does.

        It raises `StoreBusy`, where the store is busy, and `Unstorable` where a text has half a surrogate pair: then
        nothing is changed.

        What a provider says of an address comes by the event of the failure, and is lifted by that of a redrive; and
        what becomes of an endpoint by attempts comes by their events.
        """

    def say(self, breaker: str, host: str, open_ns: int) -> None:
        """Have the other nodes know that a breaker is open here by its own calls, for so long from now on.

        They get it as a `BreakerVote`, as soon as may be, unless it has lapsed or this node is gone by then.

        Args:
            breaker: its name in the history.
            host: of recipients, where each has one; else ``""``.
            open_ns: for how long, in nanoseconds; 0: it is not any more.
        """

    def said(self) -> Iterable[BreakerVote]:
        """Return what other nodes say of their breakers now, for one that starts; in the order of their numbers."""

    async def wait_for(self, effect: Effect | None) -> None:
        """Wait, as a caller, until what the store was given is durable; not for longer than until the store is busy.

        Raises:
            StoreBusy: it is busy; what it was given becomes durable later.
            StoreFailed: it cannot be made durable.
        """

    def note(self, entry: AuditEntry) -> Effect | None:
        """Make an audit entry durable; returns and raises what `commit` does.

        That a dead letter was redriven or discarded comes by its event, and needs no note.
        """

    async def audit_trail(self, *, limit: int | None = None, notification_id: str | None = None) -> list[AuditEntry]:
        """Return what operators have done, and what the queue has discarded by itself, newest first.

        Args:
            limit: how many at the most; None: all that is kept.
            notification_id: only what was done to this notification.

        Raises:
            StoreError: the store is closed, or cannot be read.
        """


def listen(store: Store, on_news: Callable[[News], None]) -> None:
    """Have a function called with the news of a store."""
    store.on_news = on_news
