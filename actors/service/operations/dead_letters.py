"""The dead letter queue as people work with it: look, try again, edit, discard, by the piece or in bulk.

Each action names who does it; what was done, when and why stays in the store's audit trail. Two people who
do the same at once do it once: the first takes the letter out of the queue, and the second learns that it was gone.

It needs no service round it::

    async with Notifier.open(…) as notifier, trio.open_nursery() as nursery:
        letters = DeadLetters(notifier, nursery)
        for letter in letters.list(Filter(reason="mailbox full")).letters:
            await letters.retry(letter.notification_id, by="ann", why="the quota is raised")
"""

from __future__ import annotations

import functools
import hashlib
import math
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, get_args

import pykka
import trio

from actors.domain.audit import AuditEntry
from actors.domain.endpoints import ENABLE, Endpoints, about
from actors.domain.store import SettingsChange, Store
from actors.errors import NotifierClosed
from actors.frozen import NO_METADATA, FrozenDict
from actors.instants import since_1970_ns
from actors.kernel.effects import Effect
from actors.kernel.futures import Future
from actors.messages import DeadLetterMessage, NotificationChannel
from actors.notifier import BreakerOverride, Notifier
from actors.pipeline.dead_letter_queue import (
    DeadLetterQueue,
    DiscardDeadLetter,
    RedriveDeadLetter,
    SubmitDiscard,
    SubmitRedrive,
)
from actors.pipeline.orders import Served
from actors.service.operations.bulk import Action, Bulk, DryRun, Ends
from actors.service.operations.queries import (
    ALL,
    By,
    Filter,
    Group,
    Known,
    Page,
    grouped,
    in_flight_or_ended,
    page_of,
    paged,
    slices,
)
from actors.service.operations.timeline import Timeline, timeline

Found: TypeAlias = list[DeadLetterMessage]

BULKS_KEPT = 100
"""How many bulk runs that have ended are remembered."""

SAMPLE = 5
"""How many dead letters a dry run shows."""


class Erased(NamedTuple):
    """The traces of a user that have been erased: the number of each."""

    cancelled: int
    """Notifications that waited."""
    discarded: int
    histories: int
    """Histories of notifications that have ended."""
    preferences: bool
    """Whether the store had preferences of the user."""
    in_flight: int
    """Notifications that are on their way and go on: when they have ended, do it again. With 0 nothing is left."""


class DeadLetters:
    """The actions of people on the dead letters of a notifier.

    `by` is who asks, and `why` the reason, for the audit trail. A change is durable when its method returns; else that
    raises NotifierClosed where the notifier is closed, StoreFailed or StoreBusy where the store takes nothing.
    """

    def __init__(self, notifier: Notifier, nursery: trio.Nursery) -> None:
        self._bulks: dict[str, Bulk] = {}
        self._ends = Ends(self._bulks)
        self.use(notifier, nursery)

    def use(self, notifier: Notifier, nursery: trio.Nursery) -> None:
        """Go on with another notifier over the same store; bulk runs that were cut off go on as tasks of `nursery`."""
        self._notifier = notifier
        self._nursery = nursery
        self._ends.listen(notifier.bus)
        for bulk in self._bulks.values():
            if bulk.ended_at is None:
                nursery.start_soon(self._run, bulk)

    def list(
        self, filter: Filter = ALL, *, limit: int = 50, after: str | None = None, newest_first: bool = False
    ) -> Page:
        """Return a page of at most `limit` dead letters that fit, oldest first or newest first; `after` is the
        `next` of the page before. None, or any other text, gives the first page."""
        return paged(self._queue, filter, limit=limit, after=after, newest_first=newest_first)

    async def page(
        self, filter: Filter = ALL, *, limit: int = 50, after: str | None = None, newest_first: bool = False
    ) -> Page:
        """Return what `list` does; other tasks run meanwhile, however many letters there are."""
        found = await self.find(filter, most=limit + 1, after=after, newest_first=newest_first)
        return page_of(found, limit, after)

    async def find(
        self, filter: Filter = ALL, *, most: float = math.inf, after: str | None = None, newest_first: bool = False
    ) -> Found:
        """Return the dead letters that fit, or the first of them: at least `most`, where there are as many; other tasks
        run meanwhile, and what they take from the queue may be among them."""
        found: Found = []
        for letters in slices(self._queue, filter, after=after, newest_first=newest_first):
            found += letters
            if len(found) >= most:
                break
            await trio.lowlevel.checkpoint()
        return found

    def in_flight_or_ended(self, filter: Filter) -> Sequence[Known]:
        """Return the notifications that fit and are not dead letters; see `in_flight_or_ended` of the queries."""
        commands = (each.command for each in self._notifier.pipeline.handler.actor.deliveries.by_id.values())
        return in_flight_or_ended(filter, self._store, commands, since_1970_ns(self._now))

    def letter(self, notification_id: str) -> DeadLetterMessage | None:
        return self._queue.letter(notification_id)

    def groups(self, filter: Filter = ALL, by: By = "reason") -> Sequence[Group]:
        """Return how many dead letters that fit have which reason, channel or recipient, the largest group first."""
        return grouped(filter.fitting(self._queue.letters), by)

    async def show(self, notification_id: str) -> Timeline | None:
        """Return all that is known of a notification, or None where that is nothing.

        Raises:
            StoreError: the store cannot be read.
        """
        return await timeline(self._store, notification_id, since_1970_ns(self._now))

    async def retry(
        self,
        notification_id: str,
        *,
        by: str | None,
        edit: Mapping[str, Any] | None = None,
        why: str | None = None,
        served: Served = "exclude",
    ) -> bool:
        """Try a notification again with a fresh set of attempts; return whether it was a dead letter, once that is so.

        An edited one goes to its provider under another idempotency key, since it is another payload: where an earlier
        attempt was ambiguous, its recipient may get both.

        Args:
            notification_id: which.
            edit: fields to change first, of :data:`actors.pipeline.editing.EDITABLE`; what is not in it stays.
            served: ``include`` to try it also if it is served: its fallback was delivered or is under way, so its
                recipient may be reached twice.

        Raises:
            LetterServed: it is served, and that is not included; nothing has happened.
            ValueError: `served` is something else.
            EditRefused: it cannot be edited so; nothing has happened.
        """
        order = RedriveDeadLetter(notification_id=notification_id, by=by, why=why, served=_served(served))
        changes = NO_METADATA if edit is None else FrozenDict(edit)
        return await self._ask(lambda answer: SubmitRedrive(order, changes, answer))

    async def discard(self, notification_id: str, *, by: str | None, why: str) -> bool:
        """Remove a dead letter for good; return whether it was one."""
        return await self._discard(notification_id, by, why)

    def _discard(self, notification_id: str, by: str | None, why: str, *, though_taken: bool = False) -> Future[bool]:
        order = DiscardDeadLetter(notification_id=notification_id, reason=why, by=by)
        return self._ask(lambda answer: SubmitDiscard(order, answer, though_taken))

    def _ask(self, order: Callable[[Future[bool]], SubmitRedrive | SubmitDiscard]) -> Future[bool]:
        answer: Future[bool] = self._notifier.system.future_class()
        self._notifier.bus.check_store()
        try:
            self._notifier.pipeline.dead_letter_queue.tell(order(answer))
        except pykka.ActorDeadError:
            raise NotifierClosed from None
        self._notifier.bus.pending.add(answer)
        return answer

    async def cancel(self, notification_id: str, *, by: str | None, why: str | None = None) -> bool:
        """Cancel a notification that waits, as :meth:`Notifier.cancel` does; return whether it did."""
        cancelled = await self._notifier.cancel(notification_id)
        if cancelled:
            entry = self._entry("cancel", by, notification_id, why, notification_id)
            await self._store.wait_for(self._store.note(entry))
        return cancelled

    async def erase(self, user: str, *, by: str | None, why: str | None = None) -> Erased:
        """Erase what is kept of a user: cancel what waits, discard dead letters, forget preferences, and delete the
        histories of what has ended.

        An attempt at a provider goes on; a notification that dies meanwhile is erased too. A redrive that waits for
        room is refused, and its letter erased. An id that has ended is remembered with its command until `remember_ids`
        has passed. Suppressions and disabled endpoints stay, so that nothing is sent to those addresses again, and so
        does the audit trail, which has what operators have edited; there this action is about a digest of the user's
        id: SHA-256, the first 16 hexadecimal digits. With several nodes, what waits is cancelled at this one.

        The user of a notification that names none is its recipient. After an error, done again, it goes on.
        """
        if not self._notifier.bus.is_open():
            raise NotifierClosed
        intake, queue = self._notifier.pipeline.handler.actor.intake, self._queue
        had_preferences = user in self._store.preferences
        cancelled = discarded = histories = 0
        asked: set[str] = set()
        for number in range(2 + len(intake.ids_of(user))):  # each of those in flight may end in a pass of its own
            # All orders of a kind are given before the first is awaited, so that the store makes them durable together.
            ids = [each for each in intake.ids_of(user) if each not in asked]
            asked.update(ids)
            cancelled += sum([await each for each in [self._notifier.cancel(each) for each in ids]])
            discarding = [self._discard(each, None, "erased", though_taken=True) for each in queue.ids_of(user)]
            discarded += sum([await each for each in discarding])
            await trio.lowlevel.checkpoint()  # between two looks at all letters
            in_flight = set(intake.ids_of(user))
            histories += await self._store.erase_histories(lambda command: command.user == user)
            if number == 0:
                await self._store.wait_for(self._forget_preferences(user, had_preferences, by, why))
            letters_left = queue.ids_of(user)
            if not letters_left and in_flight <= set(intake.ids_of(user)):
                break  # nothing has ended since its letters were discarded and its histories erased
        left = {*intake.ids_of(user), *letters_left}
        return Erased(cancelled, discarded, histories, had_preferences, in_flight=len(left))

    def _forget_preferences(self, user: str, has_any: bool, by: str | None, why: str | None) -> Effect | None:
        digest = hashlib.sha256(user.encode(errors="replace")).hexdigest()[:16]
        entry = self._entry("erase", by, f"user {digest}", why)
        return self._store.change(SettingsChange(audit=entry, preferences={user: None} if has_any else {}))

    async def operate_breaker(
        self,
        channel: NotificationChannel | str,
        override: BreakerOverride,
        provider: str | None = None,
        *,
        by: str | None,
        why: str | None = None,
    ) -> bool:
        """Override breakers as :meth:`Notifier.operate_breaker` does; return whether one has changed.

        Raises:
            UnknownChannel: the channel is not configured.
            ConfigurationError: there is no such override, or the channel has no such provider.
        """
        self._notifier.bus.check_store()
        changed = await self._notifier.operate_breaker(channel, override, provider)
        about = f"{channel}" if provider is None else f"{channel}, {provider}"
        about += "" if override == "close" else ", until another override or a restart"
        await self._store.wait_for(self._store.note(self._entry(f"breaker {override}", by, about, why)))
        return changed

    @property
    def endpoints(self) -> Endpoints:
        return self._store.endpoints

    async def enable_endpoint(
        self, channel: NotificationChannel, address: str, *, by: str | None, why: str | None = None
    ) -> bool:
        """Send to an endpoint again that is disabled; return whether it was. Its dead letters stay until a retry."""
        endpoint = self.endpoints.find(channel, address)
        if endpoint is None or endpoint.disabled_at is None:
            return False
        entry = self._entry(ENABLE, by, about(endpoint), why)
        await self._store.wait_for(self._store.change(SettingsChange(audit=entry, enabled=(endpoint.key,))))
        return True

    def dry_run(
        self, filter: Filter, action: Action = "discard", *, served: Served = "exclude", found: Found | None = None
    ) -> DryRun:
        """Return what a bulk run would be about, see `start_bulk`; nothing happens.

        With the dead letters that fit in `found`, from `find`, it may be called in a thread.
        """
        letters, left_out = _taken(filter.fitting(self._queue.letters) if found is None else found, action, served)
        return DryRun(len(letters), left_out, grouped(letters, "reason"), letters[:SAMPLE])

    def start_bulk(
        self,
        action: Action,
        filter: Filter,
        *,
        by: str | None,
        why: str | None,
        rate_per_s: float,
        served: Served = "exclude",
        found: Found | None = None,
    ) -> Bulk:
        """Retry or discard all dead letters that fit now, in their order. A retry leaves out those that are served.

        Args:
            action: what to do with each.
            filter: which.
            why: the reason; without one it is ``bulk retry`` or ``bulk discard``. In the trail the run's name follows.
            rate_per_s: how many to start a second at the most, above 0 and up to 10,000.
            served: ``include`` to retry also those that are served: whose fallback was delivered or is under way.
            found: the dead letters that fit, from `find`. None: it looks for them.

        Raises:
            ValueError: there is no such action, the rate is out of range, or `served` is something else.
        """
        letters, left_out = _taken(filter.fitting(self._queue.letters) if found is None else found, action, served)
        bulk = Bulk(
            id=secrets.token_hex(4),
            action=action,
            filter=filter,
            by=by,
            why=why,
            rate_per_s=rate_per_s,
            total=len(letters) + left_out,
            served=served,
            left_out=left_out,
            started_at=self._now,
            _note_cancel=self._note_cancel,
            _left=deque(letter.notification_id for letter in letters),
        )
        # What may raise comes first, so that no run is known that does not run.
        self._notifier.bus.check_store()
        others = "" if served == "exclude" else ", served ones too"
        about = f"{filter} ({len(letters):,} dead letters{others}, run {bulk.id})"
        self._store.note(self._entry(f"bulk {action}", by, about, why))
        self._nursery.start_soon(self._run, bulk)
        for old in [each for each in self._bulks.values() if each.ended_at is not None][:-BULKS_KEPT]:
            del self._bulks[old.id]
        self._bulks[bulk.id] = bulk
        self._ends.listen(self._notifier.bus)
        return bulk

    def bulks(self) -> Sequence[Bulk]:
        """Return the bulk runs of this process, oldest first: all that run, and the latest that have ended."""
        return [*self._bulks.values()]

    def bulk(self, bulk_id: str) -> Bulk | None:
        return self._bulks.get(bulk_id)

    async def _run(self, bulk: Bulk) -> None:
        why = f"{bulk.why or f'bulk {bulk.action}'} (run {bulk.id})"
        do = functools.partial(self.retry, served=bulk.served) if bulk.action == "retry" else self.discard
        await bulk.run(functools.partial(do, by=bulk.by, why=why))
        bulk.end(self._now)

    def _note_cancel(self, bulk: Bulk, by: str | None) -> None:
        self._store.note(self._entry(f"cancel bulk {bulk.action}", by, f"run {bulk.id}", None))

    async def audit(self, limit: int | None = None, notification_id: str | None = None) -> Sequence[AuditEntry]:
        """Return who did what, when and why, newest first; to one notification, or at all."""
        return await self._store.audit_trail(limit=limit, notification_id=notification_id)

    def _entry(
        self, action: str, by: str | None, about: str, why: str | None, notification_id: str | None = None
    ) -> AuditEntry:
        at_ns = since_1970_ns(self._now)
        return AuditEntry(at_ns=at_ns, action=action, by=by, about=about, why=why, notification_id=notification_id)

    @property
    def _queue(self) -> DeadLetterQueue:
        return self._notifier.pipeline.dead_letter_queue.actor

    @property
    def _store(self) -> Store:
        return self._notifier.pipeline.store

    @property
    def _now(self) -> datetime:
        return self._notifier.system.present


def _taken(fitting: Iterable[DeadLetterMessage], action: Action, served: Served) -> tuple[list[DeadLetterMessage], int]:
    letters = [*fitting]
    if action == "discard" or _served(served) == "include":
        return letters, 0
    taken = [letter for letter in letters if not letter.served]
    return taken, len(letters) - len(taken)


def _served(value: Served) -> Served:
    if value not in get_args(Served):
        raise ValueError(f"served: wanted one of {', '.join(get_args(Served))}, got {value!r}")
    return value
