"""What the stores on disk write for a seeded history, byte by byte: to compare two states of the code.

::

    python tests/storage/stored_formats.py --seed 1 --calls 2000 > after.txt
    PYTHONPATH=<another checkout> python tests/storage/stored_formats.py --seed 1 --calls 2000 > before.txt
    cmp before.txt after.txt

Changes of all kinds are handed over in groups, each group as one batch; every few groups the store is opened again.
What says only when or where the script ran is left out: versions, leases, snapshots and clocks.
"""

import argparse
import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import trio
from postgres_server import running_server
from shelves import EPOCH_NS, S, busy, change, command, event_of, mark, suppression

from actors.domain.audit import AuditEntry
from actors.domain.caution import Caution
from actors.domain.notification_state import CANCELLED
from actors.domain.user_preferences import UserPreferences
from actors.errors import Overtaken
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.storage.postgres.store import PostgresStore
from actors.storage.sqlite.store import SqliteStore

SQLITE_TABLES = "notifications history remembered audit closed suppressions endpoints preferences requests marks"
POSTGRES_TABLES = {
    "notifications": "notification_id, seq, state, via, at_ns, command, requested, request_id, served, ended_as",
    "history": "*",
    "settings": "*",
    "endpoints": "*",
    "audit": "*",
    "closed": "*",
    "changes": "notification_id, kind, name, endpoint",
    "marks": "*",
}
GROUPS_AN_OPENING = 12
REMEMBER_S = 400


class History:
    """Draws what may happen next to some notifications, whose states it knows."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.open: dict[str, SendNotification] = {}
        self.dead: dict[str, SendNotification] = {}
        self._ended: list[SendNotification] = []
        self._unsure: dict[str, SendNotification] = {}
        """What has an id that may be remembered: nothing more happens to it in its group."""
        self._number = 0
        self._at_s = 0.0

    def groups(self, calls: int) -> Iterator[list[tuple[str, Any]]]:
        while calls > 0:
            size = min(calls, self._random.choice((1, 1, 2, 5, 20, 150)))
            yield [self._call() for _ in range(size)]
            calls -= size

    def settle(self, overtaken: set[str]) -> None:
        """Learn which ids of the last group were remembered."""
        self.open |= {each: one for each, one in self._unsure.items() if each not in overtaken}
        self._unsure.clear()

    def _call(self) -> tuple[str, Any]:
        self._at_s += self._random.choice((0, 0.001, 0.25, 3))
        if self._random.random() < 0.06:
            return self._of_people()
        if self.open and self._random.random() < 0.04:
            return "mark", (self._random.choice(list(self.open)), self._random.random() < 0.5)
        fates = [self._accepted] * 4 + [self._goes_on] * 6 * bool(self.open) + [self._of_letter] * 2 * bool(self.dead)
        return "commit", self._random.choice(fates)()

    def _accepted(self) -> tuple[Any, SendNotification]:
        random = self._random
        known = [*self.open.values(), *self.dead.values()]
        again = self._ended and random.random() < 0.1
        self._number += 1
        one = random.choice(self._ended) if again else self._new()
        if again and any(one.notification_id in ids for ids in (self.open, self.dead, self._unsure)):
            one, again = self._new(), False
        fields: dict[str, Any] = {}
        if known and random.random() < 0.2:
            fields["instead_of"] = random.choice(known).notification_id
        (self._unsure if again else self.open)[one.notification_id] = one
        return event_of(NotificationRequested, one, self._at_s, **fields), one

    def _new(self) -> SendNotification:
        random = self._random
        fields: dict[str, Any] = {"recipient": f"user-{random.randrange(30)}@Example.org", "message": "é\U0001f600" * 3}
        if random.random() < 0.2:
            fields |= {"user_id": f"u{random.randrange(9)}", "metadata": {"lang": "sv", "sum": [1, 2.5, None]}}
        if random.random() < 0.3:
            fields |= {"channel": NotificationChannel.SMS, "recipient": f"+46 70 {random.randrange(20)}"}
        return command(f"n{self._number}", **fields)

    def _goes_on(self) -> tuple[Any, SendNotification]:
        random = self._random
        one = random.choice(list(self.open.values()))
        kind = random.choices(
            (
                NotificationFailed,
                NotificationDeferred,
                NotificationSent,
                NotificationSuppressed,
                NotificationMovedToDeadLetter,
            ),
            (6, 1, 3, 1, 3),
        )[0]
        fields: dict[str, Any] = {}
        if kind is NotificationFailed:
            fields = {"answer": random.choice((None, "450 busy \ud800")), "attempt": random.randrange(1, 9)}
            if random.random() < 0.2:
                fields["kind"] = "DeadDestination"
            elif random.random() < 0.4:
                fields["endpoint"] = mark(random.choice(("failing", "failing", "disabled")), self._at_s)
        elif kind is NotificationSuppressed:
            fields["reason"] = random.choice((CANCELLED, "off"))
        if kind in (NotificationSent, NotificationSuppressed):
            self._ended.append(self.open.pop(one.notification_id))
        elif kind is NotificationMovedToDeadLetter:
            self.dead[one.notification_id] = self.open.pop(one.notification_id)
        return event_of(kind, one, self._at_s, **fields), one

    def _of_letter(self) -> tuple[Any, SendNotification]:
        random = self._random
        one = self.dead.pop(random.choice(list(self.dead)))
        by = random.choice((None, "eva"))
        if random.random() < 0.6:
            self.open[one.notification_id] = one
            fields = {"by": by, "include_served": True, "without_operator": random.random() < 0.2}
            return event_of(NotificationRedriven, one, self._at_s, **fields), one
        self._ended.append(one)
        return event_of(DeadLetterDiscarded, one, self._at_s, by=by), one

    def _of_people(self) -> tuple[str, Any]:
        random = self._random
        address = f"user-{random.randrange(30)}@example.org"
        key = (NotificationChannel.EMAIL, address)
        if random.random() < 0.3:
            return "note", AuditEntry(at_ns=EPOCH_NS + round(self._at_s * S), action="pause", by="eva", about="email")
        fields = random.choice(
            (
                {"suppressed": [suppression(address, "asked", random.choice(("operator", "provider")), "eva")]},
                {"imported": {key: suppression(address, "of a file", random.choice(("file", "provider")))}},
                {"lifted": [key]},
                {"enabled": [key]},
                {"preferences": {f"u{random.randrange(9)}": random.choice((None, UserPreferences()))}},
            )
        )
        return "change", change("eva", **fields)


async def play(open_store: Any, seed: int, calls: int) -> None:
    """Have stores write a history; those that are opened later go on with it."""
    history = History(seed)
    groups, is_over = history.groups(calls), False
    while not is_over:
        async with open_store() as store:
            for _ in range(GROUPS_AN_OPENING):
                group = next(groups, None)
                is_over = group is None
                history.settle(await _overtaken(store, group or []))


async def _overtaken(store: Any, group: list[tuple[str, Any]]) -> set[str]:
    """Hand a group over as one batch; return the ids that were known."""
    async with busy(store):
        effects = []
        for what, given in group:
            if what == "commit":
                effects.append(store.commit(*given))
            elif what == "mark":
                notification_id, alone = given
                store._be_careful({notification_id: Caution(suspicions=1, deaths=0)})
                effects.append(store.mark(notification_id, alone=alone))
            else:
                effects.append(getattr(store, what)(given))
    overtaken = set()
    for effect in effects:
        try:
            await effect()
        except Overtaken as error:
            overtaken.add(error.notification_id)
    return overtaken


def written_to_sqlite(seed: int, calls: int, directory: Path) -> list[str]:
    """Return the rows of a file in which a store has written a history."""
    path = directory / "store.db"
    trio.run(play, lambda: SqliteStore.open(path, remember_ids=REMEMBER_S), seed, calls)
    with contextlib.closing(sqlite3.connect(path)) as sql:
        return [
            f"{table}: {row!r}"
            for table in SQLITE_TABLES.split()
            for row in sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        ]


def written_to_postgres(seed: int, calls: int, url: str) -> list[str]:
    """Return the rows of a database, empty before, in which a store has written a history."""

    async def write() -> None:
        async with PostgresStore.open(url, node="one"):
            pass  # its tables are there now
        with psycopg.connect(url) as sql:
            other = "INSERT INTO retrylab.nodes (token, name, lease_until, seen) VALUES (0, 'other', 'infinity', '0')"
            sql.execute(other)  # which has never looked, so that no row of `changes` is deleted
        await play(lambda: PostgresStore.open(url, node="one", remember_ids=REMEMBER_S), seed, calls)

    trio.run(write)
    with psycopg.connect(url) as sql:
        return [
            f"{table}: {row!r}"
            for table, columns in POSTGRES_TABLES.items()
            for row in sorted(sql.execute(f"SELECT {columns} FROM retrylab.{table}").fetchall(), key=repr)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(*written_to_sqlite(options.seed, options.calls, Path(directory)), sep="\n")
    with running_server() as server:
        print(*written_to_postgres(options.seed, options.calls, server.new_database()), sep="\n")


if __name__ == "__main__":
    main()
