"""The dead letter queue as people work with it: look, try again, edit, discard, by the piece or in bulk.

Whoever does something says who he is, and what was done, when and why stays in the store's audit trail. Two people who
do the same at once do it once: the first takes the letter out of the queue, and the second is told that it was gone.

It needs no service round it::

    async with Notifier.open(…) as notifier, trio.open_nursery() as nursery:
        letters = DeadLetters(notifier, nursery)
        for letter in letters.list(Filter(reason="mailbox full")).letters:
            await letters.retry(letter.notification_id, by="ann", why="the quota is raised")
"""

from __future__ import annotations

import functools
import itertools
import re
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

import pykka
import trio

from actors.effects import Effect, Foreseen
from actors.errors import NotifierClosed, RetrylabError
from actors.futures import Future
from actors.instants import since_1970_ns
from actors.messages import (
    NO_METADATA,
    DeadLetterDiscarded,
    DeadLetterMessage,
    FrozenDict,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.notifier import BreakerOrder, Notifier
from actors.pipeline.dead_letter_queue import (
    DeadLetterQueue,
    DiscardDeadLetter,
    RedriveDeadLetter,
    SubmitDiscard,
    SubmitRedrive,
)
from actors.storage.audit import AuditEntry
from actors.storage.store import Store, dead_letter_after, state_after

Action: TypeAlias = Literal["retry", "discard"]
By: TypeAlias = Literal["reason", "channel", "recipient"]

BULKS_KEPT = 100
"""How many bulk runs are remembered, those under way beside them."""

SAMPLE = 5
"""How many dead letters a dry run shows."""

RATE_MAX_PER_S = 10_000.0
"""The most dead letters a second that a bulk run may ask for."""

CATCH_UP_S = 0.02
"""How much time a bulk run that is late makes up for: a clock wakes nobody up at once."""

AT_ONCE = 100
"""How many orders of a bulk run may wait for the store at once."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which dead letters; all that is given has to fit, and all of them fit a filter in which nothing is."""

    reason: str | None = None
    """Part of the reason for which they were given up; upper and lower case are the same."""

    reason_is: str | None = None
    """The whole reason, to the letter."""

    channel: NotificationChannel | None = None

    recipient: str | None = None
    """Part of the address; upper and lower case are the same."""

    id_prefix: str | None = None
    """How the notification's id begins."""

    since: datetime | None = None
    """They were given up at this instant or later. With a time zone."""

    until: datetime | None = None
    """They were given up before this instant. With a time zone."""

    def fitting(self, letters: Iterable[DeadLetterMessage]) -> Iterator[DeadLetterMessage]:
        """Return those of the dead letters that fit, in their order."""
        return functools.reduce(lambda left, condition: filter(condition, left), self._conditions(), iter(letters))

    def fits(self, letter: DeadLetterMessage) -> bool:
        """Tell whether a dead letter fits."""
        return any(True for _ in self.fitting((letter,)))

    def _conditions(self) -> Iterator[Callable[[DeadLetterMessage], bool]]:
        """Return what is asked of a letter; what can be worked out once for all letters is, as there may be many."""
        if (channel := self.channel) is not None:
            yield lambda letter: letter.command.channel == channel
        if (whole := self.reason_is) is not None:
            yield lambda letter: letter.failure_reason == whole
        if (prefix := self.id_prefix) is not None:
            yield lambda letter: letter.notification_id.startswith(prefix)
        if self.since is not None:
            since_ns = since_1970_ns(self.since)
            yield lambda letter: _moved_ns(letter) >= since_ns
        if self.until is not None:
            until_ns = since_1970_ns(self.until)
            yield lambda letter: _moved_ns(letter) < until_ns
        if self.reason is not None:
            reason = self.reason.casefold()
            yield lambda letter: reason in letter.failure_reason.casefold()
        if self.recipient is not None:
            recipient = self.recipient.casefold()
            yield lambda letter: recipient in letter.command.recipient.casefold()

    def __str__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None) or "all"


ALL = Filter()


@dataclass(frozen=True)
class Page:
    """Some of the dead letters, in order."""

    letters: list[DeadLetterMessage]

    next: str | None
    """What to ask for the page after this one with; None: there is none."""


@dataclass(frozen=True)
class Group:
    """Dead letters that have something in common."""

    key: str
    """What: their reason, channel or recipient."""

    count: int
    oldest: datetime
    """When the first of them was given up."""

    newest: datetime
    """When the last of them was given up."""


@dataclass(frozen=True)
class DryRun:
    """What a bulk run would be about if it started now."""

    count: int
    groups: Sequence[Group]
    """By reason, the largest first."""

    sample: list[DeadLetterMessage]
    """The oldest few."""


@dataclass(frozen=True)
class Timeline:
    """All that is known of one notification."""

    notification_id: str

    state: Literal["dead letter", "in flight", "sent", "suppressed", "discarded", "ended"]
    """Where it is now; `ended` where it is only remembered that it has come to an end."""

    letter: DeadLetterMessage | None
    """Its dead letter, if it is one now."""

    command: SendNotification
    """As it is tried now, with what has been edited."""

    accepted: SendNotification
    """As it was accepted."""

    events: tuple[NotificationEvent, ...]
    """What happened to it, in order; none where it is not kept."""

    audit: tuple[AuditEntry, ...]
    """What people did to it, in order."""

    @property
    def attempts(self) -> list[NotificationFailed | NotificationSent]:
        """Its attempts, in order, with the outcome, reason and raw answer of each that failed."""
        return [event for event in self.events if isinstance(event, (NotificationFailed, NotificationSent))]


@dataclass
class Bulk:
    """Dead letters being retried or discarded, one after the other."""

    id: str
    action: Action
    filter: Filter
    by: str | None
    """Who started it."""

    why: str | None
    rate_per_s: float
    """How many are taken up a second at the most."""

    total: int
    """How many dead letters fitted when it started; those that come later are none of its business."""

    started_at: datetime
    _note_cancel: Any = field(repr=False)
    _left: deque[str] = field(repr=False)
    _waits: trio.CancelScope = field(default_factory=trio.CancelScope, repr=False)
    """Round its waits between one letter and the next."""

    done: int = 0
    skipped: int = 0
    """How many were dead letters no more when their turn came."""

    failed: int = 0
    state: Literal["running", "finished", "cancelled"] = "running"
    ended_at: datetime | None = None
    cancelled_by: str | None = None

    def cancel(self, by: str | None) -> bool:
        """Let it end before its time; what it has not taken up stays. Tell whether it was still running."""
        if self.state != "running":
            return False
        self.state, self.cancelled_by = "cancelled", by
        self._left.clear()
        self._waits.cancel()
        self._note_cancel(self, by)
        return True


class DeadLetters:
    """What people do with the dead letters of a notifier."""

    def __init__(self, notifier: Notifier, nursery: trio.Nursery) -> None:
        """Work with this notifier; bulk runs are tasks of this nursery."""
        self._bulks: dict[str, Bulk] = {}
        self.use(notifier, nursery)

    def use(self, notifier: Notifier, nursery: trio.Nursery) -> None:
        """Go on with another notifier over the same store; bulk runs that were cut off go on as tasks of `nursery`."""
        self._notifier = notifier
        self._nursery = nursery
        for bulk in self._bulks.values():
            if bulk.state == "running":
                nursery.start_soon(self._run, bulk)

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────

    def list(
        self, filter: Filter = ALL, *, limit: int = 50, after: str | None = None, newest_first: bool = False
    ) -> Page:
        """Return a page of the dead letters that fit, oldest first or newest first.

        Args:
            filter: which of them.
            limit: how many at the most.
            after: `next` of the page before this one. None, or what is no such thing, for the first page.
            newest_first: whether to begin with those that were given up last.
        """
        found: list[DeadLetterMessage] = []
        for letter in self._fitting(filter, after, newest_first):
            if len(found) == limit:
                return Page(found, _cursor(found[-1]) if found else after)
            found.append(letter)
        return Page(found, None)

    def _fitting(
        self, filter: Filter, after: str | None = None, newest_first: bool = False
    ) -> Iterator[DeadLetterMessage]:
        letters = self._queue.newest_first if newest_first else self._queue.letters
        if after is not None and (cursor := read_cursor(after)) is not None:
            letters = self._behind(letters, *cursor, newest_first)
        return filter.fitting(letters)

    def _behind(
        self, letters: Iterator[DeadLetterMessage], moved_ns: int, notification_id: str, newest_first: bool
    ) -> Iterator[DeadLetterMessage]:
        """Return the letters behind one, or, where that is gone, from its instant on: none is left out."""
        last = self._queue.letter(notification_id)
        if last is not None and _moved_ns(last) == moved_ns:
            next(letter for letter in letters if letter.notification_id == notification_id)
            return letters
        return itertools.dropwhile(
            lambda letter: _moved_ns(letter) > moved_ns if newest_first else _moved_ns(letter) < moved_ns, letters
        )

    def letter(self, notification_id: str) -> DeadLetterMessage | None:
        """Return the dead letter of a notification, or None."""
        return self._queue.letter(notification_id)

    def groups(self, filter: Filter = ALL, by: By = "reason") -> Sequence[Group]:
        """Return how many dead letters that fit have which reason, channel or recipient, the largest group first."""
        return grouped(self._fitting(filter), by)

    async def show(self, notification_id: str) -> Timeline | None:
        """Return all that is known of a notification, or None where that is nothing.

        Raises:
            StoreError: the store cannot be read.
        """
        return await timeline(self._store, notification_id, since_1970_ns(self._now))

    # ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def retry(
        self,
        notification_id: str,
        *,
        by: str | None,
        edit: Mapping[str, Any] | None = None,
        why: str | None = None,
    ) -> bool:
        """Try a notification again with a fresh set of attempts; return whether it was a dead letter, once that is so.

        An edited one goes to its provider under another idempotency key, since it is another payload: where an earlier
        attempt was ambiguous, its recipient may get both.

        Args:
            notification_id: which.
            by: who wants it.
            edit: fields to change first, of :data:`actors.pipeline.editing.EDITABLE`; what is not in it stays.
            why: the reason, for the record.

        Raises:
            EditRefused: it cannot be edited so; nothing has happened.
            NotifierClosed: the notifier is closed.
            StoreFailed: it cannot be made durable.
        """
        order = RedriveDeadLetter(notification_id=notification_id, by=by, why=why)
        answer: Future[bool] = self._future()
        self._tell(SubmitRedrive(order, NO_METADATA if edit is None else FrozenDict(edit), answer))
        return await answer

    async def discard(self, notification_id: str, *, by: str | None, why: str) -> bool:
        """Remove a dead letter for good, for the reason `why`; return whether it was one, once that is durable.

        Raises:
            NotifierClosed: the notifier is closed.
            StoreFailed: it cannot be made durable.
        """
        answer: Future[bool] = self._future()
        order = DiscardDeadLetter(notification_id=notification_id, reason=why, by=by)
        self._tell(SubmitDiscard(order, answer))
        return await answer

    async def operate_breaker(
        self,
        channel: NotificationChannel | str,
        order: BreakerOrder,
        provider: str | None = None,
        *,
        by: str | None,
        why: str | None = None,
    ) -> bool:
        """Order breakers about as :meth:`Notifier.operate_breaker` does, and keep who did so and why.

        Raises:
            UnknownChannel: the channel is not configured.
            ConfigurationError: there is no such order, or the channel has no such provider.
            StoreFailed: it cannot be made durable that it was done.
        """
        changed = await self._notifier.operate_breaker(channel, order, provider)
        about = f"{channel}" if provider is None else f"{channel}, {provider}"
        await done(self._note(f"breaker {order}", by, about, why))
        return changed

    # ── bulk ────────────────────────────────────────────────────────────────────────────────────────────────────

    def dry_run(self, filter: Filter) -> DryRun:
        """Return what a bulk run over this filter would be about; nothing happens."""
        letters = [*self._fitting(filter)]
        return DryRun(len(letters), grouped(letters, "reason"), letters[:SAMPLE])

    def start_bulk(self, action: Action, filter: Filter, *, by: str | None, why: str | None, rate_per_s: float) -> Bulk:
        """Retry or discard all dead letters that fit now, in their order.

        Args:
            action: what to do with each.
            filter: which.
            by: who wants it.
            why: the reason, for the record; a discard without one says ``bulk discard``.
            rate_per_s: how many to take up a second at the most, above 0 and up to :data:`RATE_MAX_PER_S`.

        Raises:
            ValueError: the rate is out of range.
        """
        if not 0 < rate_per_s <= RATE_MAX_PER_S:
            raise ValueError(f"rate_per_s: wanted a number above 0 and up to {RATE_MAX_PER_S:g}, got {rate_per_s!r}")
        left = deque(letter.notification_id for letter in self._fitting(filter))
        bulk = Bulk(
            id=secrets.token_hex(4),
            action=action,
            filter=filter,
            by=by,
            why=why,
            rate_per_s=rate_per_s,
            total=len(left),
            started_at=self._now,
            _note_cancel=self._note_cancel,
            _left=left,
        )
        self._forget_old_bulks()
        self._bulks[bulk.id] = bulk
        self._note(f"bulk {action}", by, f"{filter} ({len(left):,} dead letters, run {bulk.id})", why)
        self._nursery.start_soon(self._run, bulk)
        return bulk

    def bulks(self) -> Sequence[Bulk]:
        """Return the bulk runs of this process, oldest first: those that run, and the latest that have ended."""
        return [*self._bulks.values()]

    def bulk(self, bulk_id: str) -> Bulk | None:
        """Return one bulk run, or None."""
        return self._bulks.get(bulk_id)

    async def _run(self, bulk: Bulk) -> None:
        """Take up the letters of a bulk run one after the other, no more of them than its rate allows."""
        at_once = trio.Semaphore(AT_ONCE)
        next_at = trio.current_time()
        bulk._waits = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            with bulk._waits:
                while bulk._left:
                    await at_once.acquire()
                    await trio.sleep_until(next_at)
                    if not bulk._left:
                        break  # cancelled at this very instant
                    notification_id = bulk._left.popleft()
                    next_at = max(next_at, trio.current_time() - CATCH_UP_S) + 1 / bulk.rate_per_s
                    nursery.start_soon(self._do_one, bulk, notification_id, at_once)
        if bulk.state == "running":
            bulk.state = "finished"
        bulk.ended_at = self._now

    async def _do_one(self, bulk: Bulk, notification_id: str, at_once: trio.Semaphore) -> None:
        try:
            if bulk.action == "retry":
                was_one = await self.retry(notification_id, by=bulk.by, why=bulk.why)
            else:
                was_one = await self.discard(notification_id, by=bulk.by, why=bulk.why or "bulk discard")
        except RetrylabError:
            bulk.failed += 1
        except trio.Cancelled:
            bulk._left.appendleft(notification_id)  # to be asked again when it goes on
            raise
        else:
            bulk.done += was_one
            bulk.skipped += not was_one
        finally:
            at_once.release()

    def _note_cancel(self, bulk: Bulk, by: str | None) -> None:
        self._note(f"cancel bulk {bulk.action}", by, f"run {bulk.id}", None)

    def _forget_old_bulks(self) -> None:
        ended = [bulk.id for bulk in self._bulks.values() if bulk.state != "running"]
        for bulk_id in ended[: max(0, len(self._bulks) - BULKS_KEPT + 1)]:
            del self._bulks[bulk_id]

    # ── the audit trail ─────────────────────────────────────────────────────────────────────────────────────────

    async def audit(self, limit: int | None = None, notification_id: str | None = None) -> Sequence[AuditEntry]:
        """Return who did what, when and why, newest first; to one notification, or at all.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self._store.audit_trail(limit=limit, notification_id=notification_id)

    def _note(self, action: str, by: str | None, about: str, why: str | None) -> Effect | None:
        entry = AuditEntry(at_ns=since_1970_ns(self._now), action=action, by=by, about=about, why=why)
        return self._store.note(entry)

    # ── the notifier ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _queue(self) -> DeadLetterQueue:
        queue: DeadLetterQueue = self._notifier.pipeline.dead_letter_queue.actor
        return queue

    @property
    def _store(self) -> Store:
        return self._notifier.pipeline.store

    @property
    def _now(self) -> datetime:
        return self._notifier.system.present

    def _future(self) -> Future[bool]:
        return self._notifier.system.future_class()

    def _tell(self, message: SubmitRedrive | SubmitDiscard) -> None:
        try:
            self._notifier.pipeline.dead_letter_queue.tell(message)
        except pykka.ActorDeadError:
            raise NotifierClosed from None


_KEYS: dict[By, Any] = {
    "reason": lambda letter: letter.failure_reason,
    "channel": lambda letter: NotificationChannel(letter.channel).value,
    "recipient": lambda letter: letter.command.recipient,
}


def grouped(letters: Iterable[DeadLetterMessage], by: By) -> list[Group]:
    """Return how many dead letters have which reason, channel or recipient, the largest group first."""
    groups: dict[str, list[DeadLetterMessage]] = {}
    counts: Counter[str] = Counter()
    for letter in letters:
        key = _KEYS[by](letter)
        counts[key] += 1
        oldest, newest = groups.setdefault(key, [letter, letter])
        if _moved_ns(letter) < _moved_ns(oldest):
            groups[key][0] = letter
        elif _moved_ns(letter) > _moved_ns(newest):
            groups[key][1] = letter
    return [Group(key, count, groups[key][0].moved_at, groups[key][1].moved_at) for key, count in counts.most_common()]


async def timeline(store: Store, notification_id: str, now_ns: int) -> Timeline | None:
    """Return all that a store knows of a notification, or None where that is nothing.

    Args:
        store: which.
        notification_id: of which notification.
        now_ns: the present instant, in nanoseconds since 1970.

    Raises:
        StoreError: the store cannot be read.
    """
    past = await store.past(notification_id)
    audit = tuple(reversed(await store.audit_trail(notification_id=notification_id)))
    if past is None:
        command = store.remembered.get(notification_id, now_ns)
        return None if command is None else Timeline(notification_id, "ended", None, command, command, (), audit)
    letter = None
    state: Any
    match past.events[-1]:
        case NotificationMovedToDeadLetter() as moved:
            state, letter = "dead letter", dead_letter_after(past.command, past.events, moved)
        case NotificationSent():
            state = "sent"
        case NotificationSuppressed():
            state = "suppressed"
        case DeadLetterDiscarded():
            state = "discarded"
        case _:
            state = "in flight"
    command = state_after(past.command, past.events, 0).command
    return Timeline(notification_id, state, letter, command, past.command, past.events, audit)


async def done(effect: Effect | None) -> None:
    """Wait until what a store was handed is durable."""
    if effect is not None and not isinstance(effect, Foreseen):
        await effect()


def _moved_ns(letter: DeadLetterMessage) -> int:
    return letter.epoch_ns + letter.moved_at_ns


def _cursor(letter: DeadLetterMessage) -> str:
    return f"{_moved_ns(letter)}-{letter.notification_id}"


def read_cursor(text: str) -> tuple[int, str] | None:
    """Return the instant and the id of the last letter of a page, from what its `next` says; None: it is no such."""
    moved, dash, notification_id = text.partition("-")
    return (int(moved), notification_id) if dash and re.fullmatch("[0-9]{1,19}", moved) else None
