"""A ground of the hunt: what happens in a case of the swarm is committed to a store on disk, which is opened again now
and then, and has to say of it what the store in memory says.

In between people change settings, ids come once more, attempts are marked, and processes die: then what the next one
opens is the file as it was at that instant.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import msgspec
import trio

import simulation.running.runner as runner
from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution
from actors.domain.store import SettingsChange, Store
from actors.domain.suppressions import Suppression, SuppressionSource
from actors.domain.user_preferences import UserPreferences
from actors.errors import Overtaken
from actors.instants import since_1970_ns
from actors.messages import NotificationDeferred, NotificationEvent, NotificationRequested, SendNotification
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.store import SqliteStore
from simulation.scenario import Scenario
from simulation.verification.exploring.trial import attempt

Change: TypeAlias = tuple[NotificationEvent, SendNotification]

TIMES_OPENED = 4
_SHARE_CHANGED = 0.1
_SHARE_MARKED = 0.3
_SHARE_AGAIN = 0.1
_SHARE_DYING = 0.5
_ASKED_ONE_BY_ONE = 40
"""Of so many notifications it is asked what the store has to look up on the disk."""


def reopened(case: Scenario, seed: int) -> str | None:
    """Run a case and lead what was committed in it through a store on disk; return where that is wrong, or None."""
    # Where the wall clock steps back, how much longer an id is remembered depends on when the store was opened.
    case = case.model_copy(update={"faults": tuple(fault for fault in case.faults if fault.clock_step is None)})
    changes, remember_ids_ns = _committed(case)
    shelf = _Shelf(changes, remember_ids_ns, since_1970_ns(case.start), Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        try:
            return trio.run(shelf.compare, Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _committed(case: Scenario) -> tuple[list[Change], int]:
    """Return what a run of a case commits, and how long it remembers ids."""
    changes: list[Change] = []

    class Noting(MemoryStore):
        def commit(self, event: NotificationEvent, command: SendNotification) -> Any:
            done = super().commit(event, command)
            changes.append((event, command))
            return done

    remember_ids_ns = round(case.remember_ids * 1e9)
    with runs_over(Noting(remember_ids_ns=remember_ids_ns)):
        attempt(case)
    return changes, remember_ids_ns


@contextmanager
def runs_over(store: MemoryStore) -> Iterator[None]:
    """Have runs keep what they do in this store."""
    made = runner._store
    runner._store = lambda _: store
    try:
        yield
    finally:
        runner._store = made


def was_tried(event: NotificationEvent) -> bool:
    """Tell whether an event says that its notification was tried, or will not be."""
    return not (isinstance(event, NotificationDeferred) or getattr(event, "refused", False))


@dataclass
class Marks:
    """What the file knows of attempts when a process dies: the rule of :meth:`Store.mark`, in other words."""

    known: dict[str, Caution] = field(default_factory=dict)
    """What the process that has the file is careful with."""
    written: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """By notification with a mark: whether an attempt is under way, and whether no other one is."""

    def open(self, open_ids: Sequence[str], *, has_died: bool) -> None:
        """Take in that the next process opens the file."""
        found = {each: Caution() for each in open_ids if has_died}
        for each, (is_under_way, is_alone) in self.written.items():
            if each in open_ids:
                is_suspect = has_died and is_under_way
                found[each] = self.known[each].after_death(was_alone=is_alone) if is_suspect else self.known[each]
        self.known = found
        self.written = {each: (False, False) for each, caution in found.items() if caution.suspicions}

    def mark(self, notification_id: str, *, alone: bool) -> None:
        """Take in the mark of an attempt."""
        self.written[notification_id] = True, alone

    def take_away(self, event: NotificationEvent) -> None:
        """Take in what has happened to a notification; where it was not tried, all is as it was."""
        if was_tried(event) and self.known.pop(event.notification_id, None) is not None:
            self.written.pop(event.notification_id, None)


class _Shelf:
    """A store on disk, and one in memory that gets the same."""

    def __init__(self, changes: Sequence[Change], remember_ids_ns: int, epoch_ns: int, random: Random) -> None:
        self._changes = changes
        self._remember_ids_ns = remember_ids_ns
        self._epoch_ns = epoch_ns
        self._random = random
        self._memory = MemoryStore(remember_ids_ns=remember_ids_ns)
        self._marks = Marks()
        self._done: list[Change] = []

    async def compare(self, folder: Path) -> str | None:
        """Lead all changes through a store in a folder, opened a few times; return where it is wrong, or None."""
        path, count, random = folder / "0.db", len(self._changes), self._random
        edges = sorted({0, count, *(random.randrange(count + 1) for _ in range(TIMES_OPENED - 1))})
        has_died = False
        for number, start in enumerate(edges):
            self._marks.open(list(self._memory.open_ids()), has_died=has_died)
            changes = self._changes[start : edges[number + 1]] if number + 1 < len(edges) else ()
            async with SqliteStore.open(path, remember_ids=self._remember_ids_ns / 1e9) as store:
                if store.cautions != self._marks.known:
                    return f"{store.cautions} is known of attempts under way, {self._marks.known} is wanted"
                if (wrong := await self._difference(store)) is not None:
                    return wrong
                for event, command in changes:
                    self._commit(store, event, command)
                    if (wrong := await self._beside(store, event, command)) is not None:
                        return wrong
                has_died = random.random() < _SHARE_DYING
                if has_died:
                    # As what is handed over becomes durable in order, all is when this is.
                    await store.note(self._noted(AuditEntry(at_ns=self._now_ns, action="look")))()
                    path = _copied(path, folder / f"{number + 1}.db")
        return None

    @property
    def _now_ns(self) -> int:
        """The instant of the latest change, in nanoseconds since 1970."""
        return self._done[-1][0].epoch_ns + self._done[-1][0].at_ns if self._done else self._epoch_ns

    def _commit(self, store: SqliteStore, event: NotificationEvent, command: SendNotification) -> None:
        for each in (self._memory, store):
            each.remembered.get(event.notification_id, event.epoch_ns + event.at_ns)
            each.commit(event, command)
        self._done.append((event, command))
        self._marks.take_away(event)

    def _noted(self, entry: AuditEntry) -> AuditEntry:
        self._memory.note(entry)
        return entry

    # ── what else there is ──────────────────────────────────────────────────────────────────────────────────────

    async def _beside(self, store: SqliteStore, event: NotificationEvent, command: SendNotification) -> str | None:
        """Do, now and then, what happens to a store beside the events of notifications."""
        random = self._random
        if random.random() < _SHARE_CHANGED:
            change = self._change(command)
            for each in (self._memory, store):
                each.change(change)
        if self._marks.known and random.random() < _SHARE_MARKED:
            marked, alone = random.choice(sorted(self._marks.known)), random.random() < 0.5
            if alone or random.random() < 0.5:
                store.mark(marked, alone=alone)
            else:
                store.mark_as_not_alone(marked)
            self._marks.mark(marked, alone=alone)
        if random.random() < _SHARE_AGAIN:
            return await self._comes_again(store, event)
        return None

    def _change(self, command: SendNotification) -> SettingsChange:
        """Return what an operator, or a user, changes of addresses and preferences."""
        random, key = self._random, (command.channel, command.recipient)
        suppression = Suppression(
            channel=command.channel,
            address=command.recipient,
            reason=random.choice(["complaint", "unsubscribed"]),
            source=SuppressionSource.OPERATOR,
            since_ns=self._now_ns,
            by=random.choice([None, "ann"]),
        )
        preferences = random.choice([{"channels": {command.channel.value: False}}, {"quiet_hours": None}, {}])
        lifted = sorted(each.key for each in self._memory.suppressions)
        enabled = sorted(each.key for each in self._memory.endpoints)
        fields: dict[str, Any] = random.choice(
            [
                {"suppressed": (suppression,)},
                {"lifted": (random.choice([*lifted, key]),)},
                {"enabled": (random.choice([*enabled, key]),)},
                {"preferences": {command.user: UserPreferences.model_validate(preferences)}},
                {"preferences": {command.user: None}},
            ]
        )
        audit = AuditEntry(at_ns=self._now_ns, action="change", by=random.choice([None, "ann"]), about=command.user)
        return SettingsChange(audit=audit, **fields)

    async def _comes_again(self, store: SqliteStore, event: NotificationEvent) -> str | None:
        """Have an id come again that came before; return what is wrong with what the store says of that, or None."""
        first, command = self._random.choice(self._done)
        if not isinstance(first, NotificationRequested) or first.instead_of is not None:
            return None
        notification_id = first.notification_id
        known = self._memory.remembered.get(notification_id, self._now_ns)
        if known is None or self._memory.is_dead_letter(notification_id):
            return None
        again = msgspec.structs.replace(first, at_ns=event.at_ns, epoch_ns=event.epoch_ns)
        try:
            await store.commit(again, msgspec.structs.replace(command, message="once more"))()
        except Overtaken as overtaken:
            return None if overtaken.known == known else f"{notification_id} came with {overtaken.known}, not {known}"
        return f"{notification_id} was accepted once more, which is remembered"

    # ── what it says ────────────────────────────────────────────────────────────────────────────────────────────

    async def _difference(self, store: SqliteStore) -> str | None:
        ids = sorted({event.notification_id for event, _ in self._done})
        some = self._random.sample(ids, min(len(ids), _ASKED_ONE_BY_ONE))
        in_memory, on_disk = await self._said(self._memory, ids, some), await self._said(store, ids, some)
        for what, said in in_memory.items():
            if said != on_disk[what]:
                return f"{what} are other ones when the store is opened again after {len(self._done)} changes"
        return None

    async def _said(self, store: Store, ids: Sequence[str], some: Sequence[str]) -> dict[str, Any]:
        """Return all that a store answers."""
        now_ns = self._now_ns
        return {
            "open deliveries": list(store.open_deliveries(self._epoch_ns)),
            "dead letters": list(store.dead_letters()),
            "what is served": {each: (store.is_served(each), store.is_delivered(each)) for each in ids},
            "suppressions": {suppression.key: suppression for suppression in store.suppressions},
            "endpoints": {endpoint.key: endpoint for endpoint in store.endpoints},
            "preferences": {user: preferences.written() for user, preferences in store.preferences.items()},
            "remembered ids": {each: await store.recall(each, now_ns) for each in ids},
            "ends": {each: await store.ended_as(each, now_ns) for each in some},
            "histories": {each: await store.past(each) for each in some},
            "audit trails": await store.audit_trail(),
            "audit trails of notifications": [await store.audit_trail(notification_id=each, limit=2) for each in some],
        }


def _copied(path: Path, to: Path) -> Path:
    """Return a copy of the file of a store as it is while a process has it open."""
    for suffix in ("", "-wal"):
        if (part := path.with_name(path.name + suffix)).exists():
            shutil.copyfile(part, to.with_name(to.name + suffix))
    return to
